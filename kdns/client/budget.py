"""How many retries a balancer may make in all, so that an outage is not answered with a multiple of the load.

`Budget` is Finagle's and tower's: in a window retries are at most a share of the requests, and a few each second for
apps with little traffic. Requests and retries are counted in slots of a tenth of the window. Requests count for at
most the window and retries for at least the window, so that whatever window ends with a retry holds the bound exactly:
retries <= share * requests + per_second * window. What was saved before an outage can be spent in its first seconds,
and is then missing until the window is over. `Throttle` is gRPC's (A6): it looks at failures, not at retries.

Not here: which failures may be sent again at all (kdns.client.calling).
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from kdns.client.options import Budget, Throttle

_SLOTS = 10  # tower's; what is forgotten comes in steps of a tenth of the window
_ROUNDING = 1e-9  # of share * requests: 5 * 0.2 must be worth one retry


class RetryBudget(Protocol):
    """What a call tells, and asks. `now`: seconds of time.monotonic()."""

    def started(self, now: float) -> None:
        """A call began; not told of its retries."""

    def succeeded(self, now: float) -> None:
        """An attempt ended well."""

    def failed(self, now: float) -> None:
        """An attempt failed, and was one (not: no connection could be had)."""

    def spend(self, now: float) -> bool:
        """Whether a retry or a hedge may be sent now; if so, it is counted."""


def make_budget(options: Budget | Throttle | None, now: float) -> RetryBudget:
    """The one that the options ask for; None: no limit."""
    if options is None:
        return Unlimited()
    return SharedBudget(options, now) if isinstance(options, Budget) else ThrottledBudget(options)


class SharedBudget:
    """A share of the requests, and a few each second (Finagle's RetryBudget, tower's TpsBudget)."""

    __slots__ = ("_ends_at", "_options", "_requests", "_reserve", "_spent", "_width")

    def __init__(self, options: Budget, now: float) -> None:
        self._options = options
        self._reserve = options.per_second * options.window
        self._width = options.window / _SLOTS
        self._ends_at = now + self._width  # of the newest slot, which is the last one
        self._requests = [0] * _SLOTS
        self._spent = [0] * (_SLOTS + 1)

    def started(self, now: float) -> None:
        """A call began."""
        if now >= self._ends_at:
            self._turn(now)
        self._requests[-1] += 1

    def succeeded(self, now: float) -> None:
        """Is not counted."""

    def failed(self, now: float) -> None:
        """Is not counted."""

    def balance(self, now: float) -> float:
        """How many retries could be sent now; below 0 when requests are forgotten sooner than their retries."""
        if now >= self._ends_at:
            self._turn(now)
        return self._options.share * sum(self._requests) + self._reserve - sum(self._spent)

    def spend(self, now: float) -> bool:
        """Whether there is one left; then it is gone."""
        if self.balance(now) < 1 - _ROUNDING:
            return False
        self._spent[-1] += 1
        return True

    def _turn(self, now: float) -> None:
        """Begin as many slots as time has passed for; beyond all of them there is nothing more to forget."""
        slots = int((now - self._ends_at) / self._width) + 1
        self._ends_at += slots * self._width
        if self._ends_at <= now:  # rounding
            self._ends_at = now + self._width
        fresh = [0] * min(slots, _SLOTS + 1)
        self._spent = (self._spent + fresh)[-_SLOTS - 1 :]
        self._requests = (self._requests + fresh)[-_SLOTS:]


class ThrottledBudget:
    """gRPC's retry throttling (A6): retries stop while the tokens are half gone."""

    __slots__ = ("_options", "_tokens")

    def __init__(self, options: Throttle) -> None:
        self._options = options
        self._tokens = options.tokens

    def started(self, now: float) -> None:
        """Is not counted."""

    def succeeded(self, now: float) -> None:
        """A part of a token comes back."""
        self._tokens = min(self._options.tokens, self._tokens + self._options.ratio)

    def failed(self, now: float) -> None:
        """A token is gone."""
        self._tokens = max(0.0, self._tokens - 1.0)

    def balance(self, now: float) -> float:
        """The tokens above the half below which nothing is sent again."""
        return self._tokens - self._options.tokens / 2

    def spend(self, now: float) -> bool:
        """Whether more than half of the tokens is there; a retry itself costs none."""
        return self._tokens > self._options.tokens / 2


class Unlimited:
    """For tests and tools: nothing but `attempts` limits a call."""

    __slots__ = ()

    def started(self, now: float) -> None:
        """Is not counted."""

    def succeeded(self, now: float) -> None:
        """Is not counted."""

    def failed(self, now: float) -> None:
        """Is not counted."""

    def balance(self, now: float) -> float:
        """No limit."""
        return inf

    def spend(self, now: float) -> bool:
        """Always."""
        return True
