"""One call: when it is sent again, where to, and when it is given up."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from random import Random

import pytest

from kdns.client.budget import RetryBudget, make_budget
from kdns.client.calling import Call, GiveUp, Step, Try
from kdns.client.cells import Cell, Cells
from kdns.client.endpoint import Endpoint
from kdns.client.errors import NoEndpoints, Saturated
from kdns.client.options import Budget, Hedge, Retries, Throttle
from kdns.client.outcome import FAILED, NEUTRAL, OK, UNREACHABLE, Outcome, Safety

REFUSED = Outcome(False, Safety.REFUSED, text="REFUSED_STREAM")
NEVER_SENT = Outcome(False, Safety.NEVER_SENT, text="the pooled connection was closed")
EXACT = Retries(backoff_first=0.1, backoff_most=1.0)


class Half(Random):
    """Every draw is a half: waits are half of the largest."""

    def random(self) -> float:
        return 0.5


class Endpoints:
    """A Source that goes round, over those that were not tried first; remembers all that it was asked."""

    def __init__(self, count: int) -> None:
        self.cells: tuple[Cell, ...] = Cells().of((Endpoint(f"10.0.0.{n + 1}", 80) for n in range(count)), 0.0)
        self.picked: list[Cell] = []
        self.released: list[tuple[Cell, Outcome, float, float]] = []
        self.problem: Exception | None = None

    def pick(self, now: float, key: bytes | None, tried: Collection[Cell], idempotent: bool) -> Cell:
        if self.problem is not None:
            raise self.problem
        if not self.cells:
            raise NoEndpoints("svc:80", "NXDOMAIN", 1.0)
        fresh = [cell for cell in self.cells if cell not in tried]
        cell = fresh[0] if fresh else self.cells[0]
        cell.outstanding += 1
        self.picked.append(cell)
        return cell

    def release(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        cell.outstanding -= 1
        self.released.append((cell, outcome, started, now))


def make_call(
    source: Endpoints,
    retries: Retries = EXACT,
    *,
    idempotent: bool = True,
    deadline: float = inf,
    hedge: Hedge | None = None,
    budget: RetryBudget | None = None,
    wait_for_ready: bool = False,
) -> Call:
    return Call(
        source,
        retries,
        budget or make_budget(retries.budget, 0.0),
        Half(),
        target="svc:80",
        idempotent=idempotent,
        deadline=deadline,
        hedge=hedge,
        wait_for_ready=wait_for_ready,
    )


def begun(step: Step) -> Try:
    assert step.try_ is not None, step
    return step.try_


def test_a_call_that_goes_well_is_one_attempt() -> None:
    source = Endpoints(3)
    call = make_call(source)
    step = call.start(1.0)
    assert step == Step(Try(1, source.cells[0], inf))
    assert call.ended(1, OK, 1.5) == Step(result=1)
    assert source.released == [(source.cells[0], OK, 1.0, 1.5)]


def test_an_attempt_is_to_be_cut_off_by_its_own_time_or_the_deadline() -> None:
    retries = Retries(per_try_timeout=1.0)
    assert begun(make_call(Endpoints(1), retries).start(5.0)).until == 6.0
    assert begun(make_call(Endpoints(1), retries, deadline=5.5).start(5.0)).until == 5.5
    assert begun(make_call(Endpoints(1), deadline=7.0).start(5.0)).until == 7.0


def test_an_idempotent_call_is_sent_again_elsewhere_after_a_wait() -> None:
    source = Endpoints(3)
    call = make_call(source)
    call.start(0.0)
    step = call.ended(1, FAILED, 1.0)
    assert step.try_ is None
    assert step.wake_at == pytest.approx(1.05)
    assert step.retry is not None
    assert (step.retry.attempt, step.retry.reason, step.retry.is_hedge) == (2, "failed", False)
    assert call.woken(1.02) == Step(wake_at=step.wake_at)  # too early is harmless
    assert begun(call.woken(step.wake_at)).cell is source.cells[1]
    assert call.ended(2, OK, 2.0).result == 2


def test_waits_grow_with_each_attempt() -> None:
    call, now, waits = make_call(Endpoints(9), Retries(attempts=6, backoff_first=0.1, backoff_most=0.5)), 0.0, []
    call.start(now)
    for number in range(1, 6):
        step = call.ended(number, FAILED, now)
        waits.append(step.wake_at - now)
        now = step.wake_at
        call.woken(now)
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.25, 0.25])


def test_after_the_last_attempt_its_failure_is_the_calls() -> None:
    source = Endpoints(5)
    call = make_call(source)
    call.start(0.0)
    for number in (1, 2):
        call.woken(call.ended(number, FAILED, float(number)).wake_at)
    assert call.ended(3, FAILED, 3.0).give_up == GiveUp("attempts", 3)
    assert source.picked == list(source.cells[:3])


def test_what_may_have_been_processed_is_not_sent_again_unless_idempotent() -> None:
    call = make_call(Endpoints(3), idempotent=False)
    call.start(0.0)
    assert call.ended(1, FAILED, 0.1).give_up == GiveUp("not safe", 1)


def test_unreachable_moves_on_at_once_until_all_were_tried_and_counts_as_nothing() -> None:
    source = Endpoints(7)
    call = make_call(source, Retries(attempts=1, budget=Budget(share=0, per_second=0)), idempotent=False)
    step = call.start(0.0)
    for number in range(1, 7):
        step = call.ended(number, UNREACHABLE, 0.0)
        assert begun(step).number == number + 1
        assert step.retry is not None
        assert step.retry.seconds == 0
    assert call.ended(7, UNREACHABLE, 0.0).give_up == GiveUp("unreachable", 7)
    assert source.picked[:7] == list(source.cells)
    assert all(cell.outstanding == 0 for cell in source.cells)


def test_unreachable_moves_on_only_until_the_deadline() -> None:
    call = make_call(Endpoints(7), deadline=1.0)
    call.start(0.0)
    begun(call.ended(1, UNREACHABLE, 0.5))
    assert call.ended(2, UNREACHABLE, 1.0).give_up == GiveUp("deadline", 2)


def test_an_unreachable_path_of_a_request_that_may_be_sent_is_not_repeated_unless_idempotent() -> None:
    lost = Outcome(False, Safety.MAYBE_PROCESSED, unreachable=True, text="No route to host")
    call = make_call(Endpoints(3), idempotent=False)
    call.start(0.0)
    assert call.ended(1, lost, 0.1).give_up == GiveUp("not safe", 1)
    call = make_call(Endpoints(3))
    call.start(0.0)
    assert begun(call.ended(1, lost, 0.1)).number == 2


def test_a_failed_endpoint_that_is_up_is_taken_again_when_the_others_cannot_be_reached() -> None:
    source = Endpoints(2)
    call = make_call(source)
    call.start(0.0)
    call.woken(call.ended(1, FAILED, 0.0).wake_at)
    assert begun(call.ended(2, UNREACHABLE, 1.0)).cell is source.cells[0]


@pytest.mark.parametrize("outcome", [REFUSED, NEVER_SENT])
@pytest.mark.parametrize("idempotent", [True, False])
def test_what_nobody_began_is_sent_again_once_for_nothing(outcome: Outcome, idempotent: bool) -> None:
    retries = Retries(attempts=1, budget=Budget(share=0, per_second=0))
    call = make_call(Endpoints(3), retries, idempotent=idempotent)
    call.start(0.0)
    assert begun(call.ended(1, outcome, 0.1)).number == 2
    assert call.ended(2, outcome, 0.2).give_up == GiveUp("attempts", 2)


def test_what_was_refused_twice_is_an_ordinary_retry_even_if_not_idempotent() -> None:
    call = make_call(Endpoints(4), idempotent=False)
    call.start(0.0)
    call.ended(1, REFUSED, 0.1)
    step = call.ended(2, REFUSED, 0.2)
    assert step.wake_at > 0.2
    begun(call.woken(step.wake_at))
    assert call.ended(3, FAILED, 0.5).give_up == GiveUp("not safe", 3)


def test_no_retry_without_budget() -> None:
    call = make_call(Endpoints(3), Retries(budget=Budget(share=0, per_second=0)))
    call.start(0.0)
    assert call.ended(1, FAILED, 0.1).give_up == GiveUp("budget", 1)


def test_the_throttle_hears_of_failures_and_successes() -> None:
    budget = make_budget(Throttle(tokens=4, ratio=1.0), 0.0)
    call = make_call(Endpoints(3), budget=budget)
    call.start(0.0)
    call.woken(call.ended(1, FAILED, 0.1).wake_at)
    assert call.ended(2, FAILED, 0.2).give_up == GiveUp("budget", 2)
    call = make_call(Endpoints(3), budget=budget)
    call.start(1.0)
    call.ended(1, OK, 1.1)
    assert budget.spend(1.2)


def test_a_retry_that_would_begin_after_the_deadline_is_not_waited_for() -> None:
    budget = make_budget(Budget(share=0, per_second=0.1), 0.0)
    call = make_call(Endpoints(3), deadline=0.12, budget=budget)
    call.start(0.0)
    assert call.ended(1, FAILED, 0.1).give_up == GiveUp("deadline", 1)
    assert budget.spend(0.1)  # it cost nothing


@pytest.mark.parametrize(("seconds", "wake_at"), [(0.0, None), (2.0, 3.0), (30.0, 31.0)])
def test_the_server_says_when_it_may_be_sent_again(seconds: float, wake_at: float | None) -> None:
    call = make_call(Endpoints(3))
    call.start(0.0)
    step = call.ended(1, Outcome(False, again_after=seconds, text="503"), 1.0)
    if wake_at is None:
        assert begun(step).number == 2
    else:
        assert step.wake_at == wake_at


@pytest.mark.parametrize("seconds", [-1.0, 30.1])
def test_the_server_may_forbid_it_or_ask_for_too_much_patience(seconds: float) -> None:
    call = make_call(Endpoints(3))
    call.start(0.0)
    assert call.ended(1, Outcome(False, again_after=seconds), 1.0).give_up == GiveUp("pushback", 1)


def test_a_refusal_with_a_wait_is_waited_for() -> None:
    call = make_call(Endpoints(3), idempotent=False)
    call.start(0.0)
    assert call.ended(1, Outcome(False, Safety.REFUSED, again_after=1.0), 1.0).wake_at == 2.0


def test_the_error_of_an_app_ends_the_call_and_is_its_result() -> None:
    budget = make_budget(Throttle(tokens=2, ratio=1.0), 0.0)
    call = make_call(Endpoints(3), budget=budget)
    call.start(0.0)
    assert call.ended(1, NEUTRAL, 1.0).result == 1


def test_a_cut_attempt_is_a_failure_of_its_endpoint() -> None:
    source = Endpoints(3)
    call = make_call(source, Retries(per_try_timeout=1.0, backoff_first=0.1))
    call.start(0.0)
    step = call.cut(1, None, 1.0)
    assert step.wake_at < inf
    assert not source.released[0][1].ok
    assert begun(call.woken(step.wake_at)).number == 2
    assert begun(call.cut(2, False, 2.1)).number == 3  # no connection: at once
    assert call.cut(99, None, 3.0) == Step()


def test_at_the_deadline_the_call_ends_and_a_hanging_endpoint_is_blamed() -> None:
    source = Endpoints(3)
    call = make_call(source, deadline=2.0)
    call.start(0.0)
    step = call.cut(1, None, 2.0)
    assert step.give_up == GiveUp("deadline", 1)
    assert step.cancel == (1,)
    assert not source.released[0][1].ok


def test_who_was_asked_at_the_last_moment_is_not_blamed_for_the_deadline() -> None:
    source = Endpoints(3)
    call = make_call(source, deadline=2.0)
    call.start(0.0)
    call.woken(call.ended(1, FAILED, 1.5).wake_at)
    step = call.woken(2.0)
    assert step.give_up == GiveUp("deadline", 1)
    assert source.released[1][1] == NEUTRAL


def test_nothing_is_begun_at_or_after_the_deadline() -> None:
    source = Endpoints(3)
    assert make_call(source, deadline=1.0).start(1.0).give_up == GiveUp("deadline")
    assert source.picked == []


def test_without_endpoints_a_call_fails_at_once() -> None:
    step = make_call(Endpoints(0)).start(0.0)
    assert step.give_up is not None
    assert step.give_up.reason == "no endpoints"
    assert isinstance(step.give_up.error, NoEndpoints)


def test_wait_for_ready_waits_for_endpoints() -> None:
    source, ready = Endpoints(0), Endpoints(2)
    call = make_call(source, deadline=5.0, wait_for_ready=True)
    assert call.start(0.0) == Step(wake_at=5.0, watch=True)
    assert call.woken(1.0) == Step(wake_at=5.0, watch=True)  # another empty set
    source.cells = ready.cells
    assert begun(call.woken(2.0)).cell is ready.cells[0]


def test_wait_for_ready_ends_with_the_deadline() -> None:
    call = make_call(Endpoints(0), deadline=5.0, wait_for_ready=True)
    call.start(0.0)
    assert call.woken(5.0).give_up == GiveUp("deadline")
    assert call.woken(6.0) == Step()


@pytest.mark.parametrize("error", [NoEndpoints("svc:80", "NODATA"), Saturated("full")])
def test_a_retry_that_finds_nobody_ends_with_the_last_failure(error: NoEndpoints | Saturated) -> None:
    source = Endpoints(3)
    call = make_call(source)
    call.start(0.0)
    wake_at = call.ended(1, FAILED, 0.0).wake_at
    source.problem = error
    give_up = call.woken(wake_at).give_up
    assert give_up is not None
    assert (give_up.number, give_up.error) == (1, error)


def test_an_abandoned_call_releases_what_is_out_and_says_nothing_of_it() -> None:
    source = Endpoints(3)
    call = make_call(source, hedge=Hedge(delay=0.1))
    call.start(0.0)
    call.woken(0.1)
    assert call.abandoned(0.5) == (1, 2)
    assert [released[1] for released in source.released] == [NEUTRAL, NEUTRAL]
    assert call.abandoned(0.6) == ()
    assert call.ended(1, OK, 0.7) == Step()
    assert call.woken(0.8) == Step()


def test_a_hedge_goes_to_another_endpoint_and_the_first_good_one_wins() -> None:
    source = Endpoints(3)
    call = make_call(source, hedge=Hedge(delay=0.1))
    assert call.start(0.0).wake_at == 0.1
    step = call.woken(0.1)
    assert begun(step) == Try(2, source.cells[1], inf)
    assert step.retry is not None
    assert step.retry.is_hedge
    assert step.wake_at == inf
    assert call.ended(2, OK, 0.2) == Step(result=2, cancel=(1,))
    assert source.released == [(source.cells[1], OK, 0.1, 0.2), (source.cells[0], NEUTRAL, 0.0, 0.2)]


def test_more_hedges_follow_each_after_the_delay() -> None:
    call = make_call(Endpoints(5), hedge=Hedge(delay=0.1, attempts=3))
    call.start(0.0)
    assert call.woken(0.1).wake_at == pytest.approx(0.2)
    assert call.woken(0.2).wake_at == inf


def test_a_failure_sends_the_next_hedge_at_once() -> None:
    call = make_call(Endpoints(3), hedge=Hedge(delay=1.0))
    call.start(0.0)
    step = call.ended(1, FAILED, 0.2)
    assert begun(step).number == 2
    assert step.retry is not None
    assert step.retry.seconds == 0


def test_a_hedge_that_is_out_may_still_win_when_nothing_more_is_sent() -> None:
    call = make_call(Endpoints(3), Retries(attempts=2), hedge=Hedge(delay=0.1))
    call.start(0.0)
    call.woken(0.1)
    assert call.ended(1, FAILED, 0.2) == Step()
    assert call.ended(2, OK, 0.3).result == 2


def test_when_all_hedges_fail_the_last_one_is_the_calls_failure() -> None:
    call = make_call(Endpoints(3), Retries(attempts=2), hedge=Hedge(delay=0.1))
    call.start(0.0)
    call.woken(0.1)
    call.ended(2, FAILED, 0.2)
    assert call.ended(1, FAILED, 0.3).give_up == GiveUp("attempts", 1)


def test_pushback_stops_what_was_to_come_and_waits_for_what_is_out() -> None:
    call = make_call(Endpoints(5), Retries(attempts=4), hedge=Hedge(delay=0.1))
    call.start(0.0)
    call.woken(0.1)
    assert call.ended(1, FAILED, 0.2).wake_at < inf
    assert call.ended(2, Outcome(False, again_after=-1.0), 0.21).give_up == GiveUp("pushback", 2)


def test_a_call_that_is_not_idempotent_is_never_hedged() -> None:
    call = make_call(Endpoints(3), idempotent=False, hedge=Hedge(delay=0.1))
    assert call.start(0.0).wake_at == inf


def test_no_hedge_to_the_same_endpoint_nor_without_budget_nor_without_room() -> None:
    alone, poor, full = Endpoints(1), Endpoints(3), Endpoints(3)
    for source, retries in ((alone, EXACT), (poor, Retries(budget=Budget(share=0, per_second=0))), (full, EXACT)):
        call = make_call(source, retries, hedge=Hedge(delay=0.1))
        call.start(0.0)
        source.problem = Saturated("full") if source is full else None
        assert call.woken(0.1) == Step()
        assert source.cells[0].outstanding == 1
        assert call.ended(1, OK, 0.2).result == 1


def test_a_hedge_that_nobody_could_send_costs_no_budget() -> None:
    budget = make_budget(Budget(share=0, per_second=0.1), 0.0)
    call = make_call(Endpoints(1), hedge=Hedge(delay=0.1), budget=budget)
    call.start(0.0)
    call.woken(0.1)
    assert budget.spend(0.1)


def test_unreachable_endpoints_leave_all_attempts_for_later() -> None:
    call = make_call(Endpoints(6), Retries(attempts=2))
    call.start(0.0)
    call.ended(1, UNREACHABLE, 0.0)
    call.ended(2, UNREACHABLE, 0.0)
    begun(call.woken(call.ended(3, FAILED, 0.1).wake_at))
    assert call.ended(4, FAILED, 1.0).give_up == GiveUp("attempts", 4)


def test_pushback_lets_what_is_out_end_and_begins_nothing_more() -> None:
    call = make_call(Endpoints(6), Retries(attempts=5), hedge=Hedge(delay=0.1, attempts=3))
    call.start(0.0)
    call.woken(0.1)
    call.woken(0.2)
    assert call.ended(1, FAILED, 0.3).wake_at < inf
    assert call.ended(2, Outcome(False, again_after=-1.0), 0.31) == Step()
    assert call.woken(9.0) == Step()
    assert call.ended(3, OK, 9.5).result == 3


def test_a_change_of_the_set_while_an_attempt_is_out_begins_no_other() -> None:
    source, ready = Endpoints(0), Endpoints(2)
    call = make_call(source, wait_for_ready=True)
    call.start(0.0)
    source.cells = ready.cells
    begun(call.woken(1.0))
    assert call.woken(2.0) == Step()
    assert source.picked == [ready.cells[0]]
