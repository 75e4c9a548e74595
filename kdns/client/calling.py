"""One call: its attempts, retries and hedges until one of them is the result, without IO (sans-IO).

Whoever runs it tells what happens (`start`, `ended`, `cut`, `woken`, `abandoned`) and does what the Step says. It
picks and releases endpoints itself, through a Source, so that each attempt is released exactly once, whatever happens.

When a failed attempt is sent again (gRPC A6; RFC 9110 section 9.2.2):
- no connection could be had: at once to the next distinct endpoint, until all were tried. It is no attempt, costs no
  budget, and is free of backoff.
- never sent, or refused by the server before it began: once for nothing and at once, from then on as below.
- may have been processed: if the call is idempotent; within `attempts`, the deadline and the budget; after backoff
  with full jitter, or when the server said (Retry-After, pushback), if that is not too long.
Another endpoint is taken while there is one. Once an octet was sent, a call that is not idempotent is never repeated,
but for what the server refused.

Hedges are for idempotent calls: another attempt beside those that are out, after a delay, or at once after a failure.
Each costs budget and goes to an endpoint that this call has not tried. The first good one wins, the others are
cancelled, which says nothing about their endpoints.

Not here: running `fn`, timers, hooks (kdns.client.balancer, kdns.client.blocking_balancer); which endpoint is picked
(kdns.client.core); what an exception means (kdns.client.classify).
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from random import Random
from typing import NamedTuple, Protocol

from kdns.client.backoff import full_jitter
from kdns.client.budget import RetryBudget
from kdns.client.cells import Cell
from kdns.client.classify import cut_off
from kdns.client.errors import NoEndpoints, Saturated
from kdns.client.options import Hedge, Retries
from kdns.client.outcome import NEUTRAL, Outcome, Safety

# An attempt that the call's deadline ends counts against its endpoint if it had this share of the whole time. So an
# endpoint that hangs is found without a per-try timeout, and one that was asked at the last moment is not blamed.
BLAME_SHARE = 0.5


class Source(Protocol):
    """Where endpoints come from: a balancer's core."""

    def pick(self, now: float, key: bytes | None, tried: Collection[Cell], idempotent: bool) -> Cell:
        """One endpoint, which has one more outstanding from now on; one of those tried only if there is no other.

        tried: empty for the first attempt of a call, which may be a probe then. Raises NoEndpoints, Saturated.
        """

    def release(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        """What was picked at `started` is over."""


class Try(NamedTuple):
    """An attempt to make. number: 1, 2, ... within the call. until: when it is to be cut off (time.monotonic)."""

    number: int
    cell: Cell
    until: float


class Retry(NamedTuple):
    """The call goes on: for hooks. attempt: its number. seconds: until it begins. is_hedge: others are still out."""

    attempt: int
    seconds: float
    reason: str
    is_hedge: bool


class GiveUp(NamedTuple):
    """The call is over without success.

    reason: "attempts", "budget", "deadline", "not safe", "pushback"; "unreachable": no endpoint could be connected to;
    "no endpoints", "saturated": none could be picked. number: of the attempt whose failure is the call's; None if
    there was none. error: why none could be picked.
    """

    reason: str
    number: int | None = None
    error: NoEndpoints | Saturated | None = None


class Step(NamedTuple):
    """What to do now.

    try_: begin this attempt, and tell how it `ended`, or `cut` it at `until`. wake_at: call `woken` then, unless
    another step comes first; inf for not at all. result: the call is over, and what this attempt came to is its result.
    give_up: it is over without one. cancel: these attempts; whatever they come to is of no interest. watch: call
    `woken` as well when there are other endpoints. retry: for hooks; its attempt is in `try_` or comes at `wake_at`.
    """

    try_: Try | None = None
    wake_at: float = inf
    result: int | None = None
    give_up: GiveUp | None = None
    cancel: tuple[int, ...] = ()
    watch: bool = False
    retry: Retry | None = None


class _Run(NamedTuple):
    cell: Cell
    started: float


NOTHING = Step()


class Call:
    """One call. Times are those of time.monotonic().

    deadline: of all of it; inf for none. key: what equal calls have in common, for hashing policies. hedge: only used
    if the call is idempotent. wait_for_ready: wait for endpoints while there are none.
    """

    __slots__ = (
        "_attempts",
        "_budget",
        "_deadline",
        "_found_unreachable",
        "_hedge",
        "_hedge_at",
        "_idempotent",
        "_is_over",
        "_is_watching",
        "_key",
        "_last",
        "_moved_free",
        "_next_at",
        "_number",
        "_retries",
        "_rng",
        "_runs",
        "_source",
        "_started",
        "_tried",
        "_waits_for_ready",
        "target",
    )

    def __init__(
        self,
        source: Source,
        retries: Retries,
        budget: RetryBudget,
        rng: Random,
        *,
        target: str,
        idempotent: bool = False,
        deadline: float = inf,
        key: bytes | None = None,
        hedge: Hedge | None = None,
        wait_for_ready: bool = False,
    ) -> None:
        self.target = target
        self._source, self._retries, self._budget, self._rng = source, retries, budget, rng
        self._idempotent, self._deadline, self._key = idempotent, deadline, key
        self._hedge = hedge if idempotent else None
        self._waits_for_ready = wait_for_ready
        self._runs: dict[int, _Run] = {}
        self._tried: list[Cell] = []
        self._found_unreachable: list[Cell] = []
        self._number = 0  # of attempts begun, with those that found nobody
        self._attempts = 0  # those that count
        self._last: int | None = None  # the last attempt that failed
        self._started = 0.0
        self._next_at = self._hedge_at = inf
        self._is_over = self._is_watching = self._moved_free = False

    # What happens.

    def start(self, now: float) -> Step:
        """Begin; once."""
        self._started = now
        self._budget.started(now)
        return self._send(now)

    def ended(self, number: int, outcome: Outcome, now: float) -> Step:
        """An attempt came to this. What was cancelled may be told or not: it is over already."""
        run = self._runs.pop(number, None)
        if run is None:
            return NOTHING
        self._source.release(run.cell, outcome, run.started, now)
        if outcome.ok:
            if not outcome.is_neutral:
                self._budget.succeeded(now)
            return self._finish(now, result=number)
        self._last = number
        if outcome.unreachable:
            self._attempts -= 1
            self._found_unreachable.append(run.cell)
        else:
            self._budget.failed(now)
        return self._after_failure(outcome, now)

    def cut(self, number: int, sent: bool | None, now: float) -> Step:
        """An attempt's `until` has come. sent: as for `kdns.client.classify.cut_off`. It is to be cancelled."""
        run = self._runs.get(number)
        if run is None:
            return NOTHING
        if now >= self._deadline:
            return self.woken(now)
        return self.ended(number, cut_off(now - run.started, sent), now)

    def woken(self, now: float) -> Step:
        """`wake_at` has come, or there are other endpoints. Harmless at any other time."""
        if self._is_over:
            return NOTHING
        if now >= self._deadline:
            return self._finish(now, give_up=GiveUp("deadline", self._last_or_out()))
        if self._is_watching or now >= self._next_at:
            return self._send(now)
        if now >= self._hedge_at:
            return self._send_hedge(now)
        return self._step()

    def abandoned(self, now: float) -> tuple[int, ...]:
        """Nobody waits for the call any more. Returns the attempts to cancel."""
        return self._finish(now).cancel

    # After a failure.

    def _after_failure(self, outcome: Outcome, now: float) -> Step:
        if now >= self._deadline:
            return self._finish(now, give_up=GiveUp("deadline", self._last))
        if self._next_at < inf and not _forbids_more(outcome):
            return self._step()  # the next one is on its way already
        if self._may_repeat(outcome) and self._is_free(outcome):
            return self._send(now, Retry(self._number + 1, 0.0, outcome.text, bool(self._runs)))
        seconds = self._wait_before_next(outcome)
        reason = self._why_not(outcome, seconds, now)
        if reason is not None:
            return self._stop(reason, now)
        retry = Retry(self._number + 1, seconds, outcome.text, bool(self._runs))
        if not seconds:
            return self._send(now, retry)
        self._next_at = now + seconds
        return self._step(retry=retry)

    def _may_repeat(self, outcome: Outcome) -> bool:
        return self._idempotent or outcome.safety is not Safety.MAYBE_PROCESSED

    def _is_free(self, outcome: Outcome) -> bool:
        """Whether it goes elsewhere at once and for nothing: whom nobody reached, or once what nobody began."""
        if outcome.unreachable:
            return True
        if outcome.safety is Safety.MAYBE_PROCESSED or self._moved_free or outcome.again_after is not None:
            return False
        self._moved_free = True
        self._attempts -= 1
        return True

    def _wait_before_next(self, outcome: Outcome) -> float:
        """Seconds. A hedge's failure sends the next one at once (A6)."""
        if outcome.again_after is not None:
            return outcome.again_after
        if self._hedge is not None and self._attempts < self._hedge.attempts:
            return 0.0
        retries = self._retries
        return full_jitter(retries.backoff_first, retries.backoff_most, max(0, self._attempts - 1), self._rng)

    def _why_not(self, outcome: Outcome, seconds: float, now: float) -> str | None:
        """Why it is not sent again, or None; the budget is asked last, as what is asked for is spent."""
        most = self._retries.attempts
        if self._hedge is not None:
            most = max(most, self._hedge.attempts)
        if not self._may_repeat(outcome):
            return "not safe"
        if _forbids_more(outcome) or (outcome.again_after or 0.0) > self._retries.again_after_most:
            return "pushback"
        if self._attempts >= most:
            return "attempts"
        if now + seconds >= self._deadline:
            return "deadline"
        return None if self._budget.spend(now) else "budget"

    def _stop(self, reason: str, now: float) -> Step:
        """Nothing more is sent; hedges that are still out may yet bring the result."""
        self._hedge_at = self._next_at = inf
        if self._runs:
            return self._step()
        return self._finish(now, give_up=GiveUp(reason, self._last))

    # Sending.

    def _send(self, now: float, retry: Retry | None = None) -> Step:
        """Begin the next attempt, if somebody can be picked."""
        if now >= self._deadline:
            return self._finish(now, give_up=GiveUp("deadline", self._last))
        self._next_at = inf
        try:
            cell = self._source.pick(now, self._key, self._tried, self._idempotent)
        except NoEndpoints as error:
            return self._nobody(error, now)
        except Saturated as error:
            return self._without("saturated", error, now)
        self._is_watching = False
        if cell in self._found_unreachable:
            self._source.release(cell, NEUTRAL, now, now)  # all were tried
            return self._stop("unreachable", now)
        return self._begin(cell, now, retry)

    def _send_hedge(self, now: float) -> Step:
        """Begin another attempt beside those that are out, if there are an untried endpoint and budget for it."""
        hedge = self._hedge
        self._hedge_at = inf
        if hedge is None:
            return self._step()
        try:
            cell = self._source.pick(now, self._key, self._tried, self._idempotent)
        except (NoEndpoints, Saturated):
            return self._step()
        if cell in self._tried or not self._budget.spend(now):
            self._source.release(cell, NEUTRAL, now, now)
            return self._step()
        return self._begin(cell, now, Retry(self._number + 1, 0.0, f"no answer in {hedge.delay:.3g} s", True))

    def _begin(self, cell: Cell, now: float, retry: Retry | None) -> Step:
        self._number += 1
        self._attempts += 1
        number = self._number
        self._runs[number] = _Run(cell, now)
        if cell not in self._tried:
            self._tried.append(cell)
        hedge, per_try = self._hedge, self._retries.per_try_timeout
        self._hedge_at = now + hedge.delay if hedge is not None and self._attempts < hedge.attempts else inf
        until = self._deadline if per_try is None else min(self._deadline, now + per_try)
        return self._step(Try(number, cell, until), retry)

    def _nobody(self, error: NoEndpoints, now: float) -> Step:
        if not self._waits_for_ready or self._runs:
            return self._without("no endpoints", error, now)
        self._is_watching = True
        return Step(wake_at=self._deadline, watch=True)

    def _without(self, reason: str, error: NoEndpoints | Saturated, now: float) -> Step:
        if self._runs:
            return self._stop(reason, now)
        return self._finish(now, give_up=GiveUp(reason, self._last, error))

    # Steps.

    def _step(self, try_: Try | None = None, retry: Retry | None = None) -> Step:
        return Step(try_, min(self._next_at, self._hedge_at), retry=retry)

    def _finish(self, now: float, result: int | None = None, give_up: GiveUp | None = None) -> Step:
        """The call is over; whatever is still out is cancelled."""
        cancel = tuple(self._runs)
        for run in self._runs.values():
            self._source.release(run.cell, self._blamed(run, now), run.started, now)
        self._runs = {}
        self._is_over = True
        return Step(None, inf, result, give_up, cancel)

    def _blamed(self, run: _Run, now: float) -> Outcome:
        """Of an attempt that is cancelled."""
        if now < self._deadline or now - run.started < BLAME_SHARE * (self._deadline - self._started):
            return NEUTRAL
        return cut_off(now - run.started, None)

    def _last_or_out(self) -> int | None:
        """The attempt that stands for the call at its deadline: the last that failed, or one that is still out."""
        return self._last if self._last is not None else next(iter(self._runs), None)


def _forbids_more(outcome: Outcome) -> bool:
    """gRPC's negative pushback."""
    return outcome.again_after is not None and outcome.again_after < 0
