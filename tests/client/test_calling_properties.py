"""Whatever endpoints do and whenever: what a call never does, over a runner in fake time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection
from itertools import pairwise
from math import inf
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.client.budget import Unlimited, make_budget
from kdns.client.calling import BLAME_SHARE, Call, Step, Try
from kdns.client.cells import Cell, Cells, State
from kdns.client.endpoint import Endpoint
from kdns.client.errors import NoEndpoints, Saturated
from kdns.client.options import Budget, Hedge, Outliers, Retries
from kdns.client.outcome import FAILED, NEUTRAL, OK, UNREACHABLE, Outcome, Safety
from kdns.client.outlier import OutlierDetection

REFUSED = Outcome(False, Safety.REFUSED, text="refused")
NEVER_SENT = Outcome(False, Safety.NEVER_SENT, text="never sent")
PATH_LOST = Outcome(False, Safety.MAYBE_PROCESSED, unreachable=True, text="path lost")
OUTCOMES = [
    OK,
    FAILED,
    UNREACHABLE,
    REFUSED,
    NEVER_SENT,
    PATH_LOST,
    NEUTRAL,
    Outcome(False, again_after=0.5, text="later"),
    Outcome(False, again_after=-1.0, text="not again"),
    Outcome(False, Safety.REFUSED, again_after=0.2, text="refused, later"),
]
HANGS = inf
MOST_STEPS = 500


class Plan(NamedTuple):
    """What becomes of an attempt: this, after so many seconds; or its endpoint cannot be picked."""

    outcome: Outcome
    seconds: float
    problem: Exception | None


class Told(NamedTuple):
    """An attempt that was released."""

    cell: Cell
    outcome: Outcome
    started: float
    ended: float


plans = st.lists(
    st.builds(
        Plan,
        st.sampled_from(OUTCOMES),
        st.sampled_from([0.0, 0.01, 0.3, 1.0, 3.0, HANGS]),
        st.sampled_from([None] * 12 + [NoEndpoints("svc:80", "NODATA"), Saturated("full")]),
    ),
    min_size=1,
    max_size=14,
)


class Source:
    """Picks at random among those that this call has not tried, else among those that are up, else any."""

    def __init__(self, count: int, script: list[Plan], rng: Random) -> None:
        self.cells = Cells().of((Endpoint("10.0.0.1", 1 + n) for n in range(count)), 0.0)
        self.script, self.rng = script, rng
        self.picks: list[tuple[Cell, float, tuple[Cell, ...]]] = []
        self.released: list[Told] = []

    def plan(self, number: int) -> Plan:
        return self.script[number % len(self.script)]

    def pick(self, now: float, key: bytes | None, tried: Collection[Cell], idempotent: bool) -> Cell:
        problem = self.plan(len(self.picks)).problem
        if problem is not None:
            self.script[len(self.picks) % len(self.script)] = Plan(FAILED, 0.1, None)  # only once
            raise problem
        cell = self.rng.choice([cell for cell in self.cells if cell not in tried] or list(self.cells))
        cell.outstanding += 1
        self.picks.append((cell, now, tuple(tried)))
        return cell

    def release(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        cell.outstanding -= 1
        assert cell.outstanding >= 0
        self.released.append(Told(cell, outcome, started, now))


class Runner:
    """Does what the steps say, in fake time, until the call is over."""

    def __init__(self, call: Call, source: Source) -> None:
        self.call, self.source, self.now = call, source, 0.0
        self.tries: dict[int, tuple[Try, float]] = {}
        self.ends: list[tuple[Try, Outcome]] = []
        self.begun: list[tuple[Try, float]] = []
        self.cancelled: Counter[int] = Counter()
        self.wake_at = inf
        self.last: Step = Step()

    def run(self) -> Step:
        self.do(self.call.start(0.0))
        for _ in range(MOST_STEPS):
            if self.is_over():
                return self.last
            moment = min([self.wake_at, *(end for _, end in self.tries.values())])
            if moment == inf and not self.last.watch:
                self.do_abandon()
                return self.last
            self.now = max(self.now, min(moment, self.now + 10.0) if self.last.watch else moment)
            self.turn()
        raise AssertionError("the call never ends")

    def is_over(self) -> bool:
        return self.last.result is not None or self.last.give_up is not None

    def turn(self) -> None:
        for number, (try_, end) in self.tries.items():
            if end <= self.now:
                del self.tries[number]
                outcome, is_whole = self.planned(try_)
                self.ends.append((try_, outcome))
                step = self.call.ended(number, outcome, self.now) if is_whole else self.call.cut(number, None, self.now)
                self.do(step)
                return
        self.do(self.call.woken(self.now))

    def planned(self, try_: Try) -> tuple[Outcome, bool]:
        """What it comes to, and whether that is by itself."""
        plan = self.source.plan(try_.number - 1)
        started = dict(self.begun)[try_]
        return (plan.outcome, True) if started + plan.seconds <= try_.until else (FAILED, False)

    def do(self, step: Step) -> None:
        assert not self.is_over()
        self.last, self.wake_at = step, step.wake_at
        for number in step.cancel:
            self.cancelled[number] += 1
            self.tries.pop(number, None)
        if step.try_ is not None:
            try_ = step.try_
            assert try_.number not in dict(self.tries)
            self.begun.append((try_, self.now))
            self.tries[try_.number] = (try_, min(try_.until, self.now + self.source.plan(try_.number - 1).seconds))

    def do_abandon(self) -> None:
        for number in self.call.abandoned(self.now):
            self.cancelled[number] += 1
            del self.tries[number]


class Ran(NamedTuple):
    """A call that is over, and how it was made."""

    runner: Runner
    source: Source
    step: Step
    retries: Retries
    hedge: Hedge | None
    idempotent: bool
    deadline: float
    budget: Budget


@st.composite
def calls(draw: st.DrawFn) -> Ran:
    """A call among endpoints that do anything."""
    rng = Random(draw(st.integers(0, 1000)))
    budget = Budget(share=0, per_second=draw(st.sampled_from([0.0, 0.1, 0.2, 10.0])))
    retries = Retries(
        attempts=draw(st.integers(1, 5)), per_try_timeout=draw(st.sampled_from([None, 0.2, 1.0])), budget=budget
    )
    idempotent, deadline = draw(st.booleans()), draw(st.sampled_from([inf, 0.05, 1.0, 5.0]))
    hedge = draw(st.sampled_from([None, Hedge(delay=0.0), Hedge(delay=0.1, attempts=3)]))
    source = Source(draw(st.integers(1, 6)), draw(plans), rng)
    call = Call(
        source,
        retries,
        make_budget(budget, 0.0),
        rng,
        target="svc:80",
        idempotent=idempotent,
        deadline=deadline,
        hedge=hedge,
        wait_for_ready=draw(st.booleans()),
    )
    runner = Runner(call, source)
    return Ran(runner, source, runner.run(), retries, hedge, idempotent, deadline, budget)


every_call = settings(max_examples=150, deadline=None)


@every_call
@given(calls())
def test_each_pick_is_released_exactly_once(ran: Ran) -> None:
    picked = Counter(cell.key for cell, *_ in ran.source.picks)
    assert picked == Counter(told.cell.key for told in ran.source.released)
    assert all(cell.outstanding == 0 for cell in ran.source.cells)


@every_call
@given(calls())
def test_each_attempt_ends_or_is_cancelled_exactly_once(ran: Ran) -> None:
    ended = Counter(try_.number for try_, _ in ran.runner.ends)
    for try_, _ in ran.runner.begun:
        # An attempt that its deadline ended was cut, which is told, and is then named among those to cancel.
        assert ran.runner.cancelled[try_.number] <= 1
        assert ended[try_.number] + ran.runner.cancelled[try_.number] >= 1
    assert not ran.runner.tries


@every_call
@given(calls())
def test_a_call_that_is_not_idempotent_is_never_repeated_once_it_may_have_been_processed(ran: Ran) -> None:
    if ran.idempotent:
        return
    for try_, outcome in ran.runner.ends:
        if not outcome.ok and outcome.safety is Safety.MAYBE_PROCESSED:
            assert try_.number == len(ran.runner.begun)


@every_call
@given(calls())
def test_attempts_are_within_the_limit(ran: Ran) -> None:
    most = max(ran.retries.attempts, ran.hedge.attempts if ran.hedge and ran.idempotent else 1)
    free = sum(outcome.unreachable for _, outcome in ran.runner.ends)
    transparent = any(outcome.safety is not Safety.MAYBE_PROCESSED for _, outcome in ran.runner.ends if not outcome.ok)
    assert len(ran.runner.begun) <= most + free + transparent


@every_call
@given(calls())
def test_retries_are_within_the_budget(ran: Ran) -> None:
    free = sum(outcome.unreachable for _, outcome in ran.runner.ends)
    transparent = any(outcome.safety is not Safety.MAYBE_PROCESSED for _, outcome in ran.runner.ends if not outcome.ok)
    if ran.runner.now < 10:
        assert len(ran.runner.begun) - 1 <= ran.budget.per_second * 10 + free + transparent


@every_call
@given(calls())
def test_nothing_begins_at_the_deadline_or_ends_after_it(ran: Ran) -> None:
    for try_, started in ran.runner.begun:
        assert started < ran.deadline
        assert started <= try_.until <= ran.deadline
        if ran.retries.per_try_timeout is not None:
            assert try_.until <= started + ran.retries.per_try_timeout
    assert ran.runner.now <= ran.deadline


@every_call
@given(calls())
def test_distinct_endpoints_come_first(ran: Ran) -> None:
    for cell, _, tried in ran.source.picks:
        assert cell not in tried or len(tried) == len(ran.source.cells)
    first = [try_.cell for try_, _ in ran.runner.begun][: len(ran.source.cells)]
    assert len(set(first)) == len(first)


@every_call
@given(calls())
def test_the_result_is_a_good_attempt_and_a_failure_has_its_reason(ran: Ran) -> None:
    outcomes = {try_.number: outcome for try_, outcome in ran.runner.ends}
    if ran.step.result is not None:
        assert outcomes[ran.step.result].ok
    give_up = ran.step.give_up
    if give_up is not None:
        assert not any(outcome.ok for outcome in outcomes.values())
        assert give_up.reason
        assert give_up.number is None or give_up.number in {try_.number for try_, _ in ran.runner.begun}
        assert give_up.number is not None or give_up.error is not None or give_up.reason == "deadline"


@every_call
@given(calls())
def test_without_hedges_attempts_do_not_overlap(ran: Ran) -> None:
    if ran.hedge is not None and ran.idempotent:
        return
    spans = sorted((told.started, told.ended) for told in ran.source.released)
    for (_, end), (start, _) in pairwise(spans):
        assert end <= start


@every_call
@given(calls())
def test_what_is_cancelled_says_nothing_unless_it_had_the_time(ran: Ran) -> None:
    for told in ran.source.released:
        if told.outcome == NEUTRAL or told.outcome.ok or "no answer" not in told.outcome.text:
            continue
        whole = told.ended - told.started
        assert whole >= (ran.retries.per_try_timeout or inf) - 1e-9 or whole >= BLAME_SHARE * ran.deadline


class Fleet:
    """Endpoints with outlier detection; those that are up are picked first, then what is a last resort."""

    def __init__(self, count: int, rng: Random) -> None:
        self.cells = Cells().of((Endpoint("10.0.0.1", 1 + n) for n in range(count)), 0.0)
        self.detection, self.rng = OutlierDetection(Outliers(), rng), rng

    def pick(self, now: float, key: bytes | None, tried: Collection[Cell], idempotent: bool) -> Cell:
        if not tried and now >= (self.detection.probe_at if idempotent else self.detection.trial_at):
            cell = self.detection.probe(self.cells, now, idempotent)
            if cell is not None:
                cell.outstanding += 1
                return cell
        up = [cell for cell in self.cells if cell.state is State.UP]
        resorts = [cell for cell in self.cells if cell.state is State.UNREACHABLE]
        for group in (up, resorts):
            fresh = [cell for cell in group if cell not in tried]
            if fresh:
                break
        cell = self.rng.choice(fresh or up or list(self.cells))
        cell.outstanding += 1
        return cell

    def release(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        cell.outstanding -= 1
        self.detection.ended(cell, outcome, self.cells, started, now)


class Traffic:
    """Calls over a fleet at an even rate; `answer` says what an attempt comes to, and after how long."""

    def __init__(self, fleet: Fleet, retries: Retries, rng: Random) -> None:
        self.fleet, self.retries, self.rng = fleet, retries, rng
        self.budget = make_budget(retries.budget, 0.0) if retries.budget else Unlimited()
        self.attempts = self.failed = self.calls = 0
        self.queue: list[tuple[float, int, Call, int, Outcome | None]] = []
        self.answer = lambda cell, now: (OK, 0.01)

    def run(self, rate: float, seconds: float, idempotent: bool = True) -> None:
        for n in range(int(rate * seconds)):
            heapq.heappush(self.queue, (n / rate, len(self.queue), self.make(idempotent), 0, None))
        order, swept_at = len(self.queue), 0.0
        while self.queue:
            now, _, call, number, outcome = heapq.heappop(self.queue)
            if now >= swept_at:
                self.fleet.detection.swept(self.fleet.cells, now)
                swept_at = now + 1.0
            if number == 0:
                step = call.start(now)
                self.calls += 1
            else:
                step = call.woken(now) if outcome is None else call.ended(number, outcome, now)
            order += 1
            self.do(step, call, now, order)

    def make(self, idempotent: bool) -> Call:
        return Call(self.fleet, self.retries, self.budget, self.rng, target="svc:80", idempotent=idempotent)

    def do(self, step: Step, call: Call, now: float, order: int) -> None:
        if step.try_ is not None:
            outcome, seconds = self.answer(step.try_.cell, now)
            self.attempts += not outcome.unreachable
            heapq.heappush(self.queue, (now + seconds, order, call, step.try_.number, outcome))
        elif step.wake_at < inf:
            heapq.heappush(self.queue, (step.wake_at, order, call, -1, None))
        self.failed += step.give_up is not None


@pytest.mark.parametrize("rate", [20, 200])
def test_a_total_outage_is_amplified_by_no_more_than_the_budget(rate: int) -> None:
    rng = Random(3)
    traffic = Traffic(Fleet(5, rng), Retries(), rng)
    traffic.answer = lambda cell, now: (FAILED, 0.005)
    traffic.run(rate, 30)
    assert traffic.failed == traffic.calls
    assert traffic.attempts / traffic.calls <= 1.2 + 10 / rate


def test_seven_of_ten_that_vanish_at_once_fail_no_call() -> None:
    rng = Random(4)
    fleet = Fleet(10, rng)
    traffic = Traffic(fleet, Retries(), rng)
    gone = set(fleet.cells[:7])
    traffic.answer = lambda cell, now: (UNREACHABLE, 0.001) if cell in gone and now > 2 else (OK, 0.01)
    traffic.run(200, 6, idempotent=False)
    assert traffic.failed == 0
    assert traffic.attempts == traffic.calls


def test_one_that_fails_at_once_costs_a_few_more_attempts_and_no_call() -> None:
    rng = Random(5)
    fleet = Fleet(5, rng)
    traffic = Traffic(fleet, Retries(attempts=2), rng)
    traffic.answer = lambda cell, now: (FAILED, 0.001) if cell is fleet.cells[0] else (OK, 0.01)
    traffic.run(300, 20)
    assert traffic.failed == 0
    assert traffic.attempts <= 1.005 * traffic.calls
    assert fleet.cells[0].bad <= 5 + 7  # the threshold, and one for each probe


def test_without_retries_failures_are_the_threshold_and_one_for_each_probe() -> None:
    rng = Random(6)
    fleet = Fleet(4, rng)
    traffic = Traffic(fleet, Retries(attempts=1), rng)
    probes = []
    whole = fleet.detection.probe

    def probe(cells: Collection[Cell], now: float, idempotent: bool) -> Cell | None:
        cell = whole(cells, now, idempotent)
        if cell is not None:
            probes.append(now)
        return cell

    fleet.detection.probe = probe  # type: ignore[method-assign]
    traffic.answer = lambda cell, now: (FAILED, 0.001) if cell is fleet.cells[0] else (OK, 0.01)
    traffic.run(300, 20)
    assert traffic.failed == 5 + len(probes)


def test_after_an_outage_the_endpoints_come_back_one_after_another() -> None:
    rng = Random(7)
    fleet = Fleet(6, rng)
    traffic = Traffic(fleet, Retries(), rng)
    traffic.answer = lambda cell, now: (UNREACHABLE, 0.001) if now < 5 else (OK, 0.01)
    traffic.run(100, 40)
    assert all(cell.state is State.UP for cell in fleet.cells)
