"""What a resolver and a balancer tell whoever wants to see: typed events, one method for each kind.

A hook is called where the thing happens, so it must be quick and must not raise; what it raises is logged once and
goes no further. Subclass `Hooks` and override what is wanted: a method that is not overridden costs nothing, as it is
never called. Not here: OpenTelemetry (kdns.client.otel), Prometheus (kdns.client.prometheus), log lines
(kdns.client.logs).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec

from kdns.client.endpoint import Endpoint, EndpointSet
from kdns.client.outcome import Outcome

P = ParamSpec("P")
log = logging.getLogger("kdns.client")


class Picked(NamedTuple):
    """An endpoint was picked for an attempt. outstanding: attempts on their way to it, this one included."""

    target: str
    endpoint: Endpoint
    outstanding: int
    attempt: int


class Ended(NamedTuple):
    """An attempt ended after so many seconds."""

    target: str
    endpoint: Endpoint
    outcome: Outcome
    seconds: float


class Retried(NamedTuple):
    """A call goes on. attempt: the number of the next one, from 2 on. seconds: until it begins. is_hedge: another is
    still out."""

    target: str
    attempt: int
    seconds: float
    reason: str
    is_hedge: bool


class GaveUp(NamedTuple):
    """A call that could have been sent again was not: "budget", "attempts", "deadline", "not safe", "pushback"."""

    target: str
    reason: str


class Ejected(NamedTuple):
    """An endpoint is out for so many seconds. is_reachable: false if no connection could be had."""

    target: str
    endpoint: Endpoint
    seconds: float
    reason: str
    is_reachable: bool


class Returned(NamedTuple):
    """An endpoint is back."""

    target: str
    endpoint: Endpoint


class Resolved(NamedTuple):
    """A target was asked for, in so many seconds, and this is what holds now; `problem` of the set says what failed."""

    target: str
    endpoints: EndpointSet
    former: EndpointSet | None
    seconds: float


class Hooks:
    """Override what you want to see."""

    def picked(self, event: Picked) -> None:
        """An endpoint was picked."""

    def ended(self, event: Ended) -> None:
        """An attempt ended."""

    def retried(self, event: Retried) -> None:
        """A call goes on after a failed attempt, or beside one."""

    def gave_up(self, event: GaveUp) -> None:
        """A call that failed is not sent again."""

    def ejected(self, event: Ejected) -> None:
        """An endpoint is out."""

    def returned(self, event: Returned) -> None:
        """An endpoint is back."""

    def resolved(self, event: Resolved) -> None:
        """A target was resolved anew, or could not be."""


def guarded(call: Callable[P, None]) -> Callable[P, None]:
    """A hook that harms nobody: what it raises is logged the first time."""
    has_raised = False

    def harmless(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal has_raised
        try:
            call(*args, **kwargs)
        except Exception:
            if not has_raised:
                log.exception("a hook raised, which is its fault; it is called on, and this is not logged again")
            has_raised = True

    return harmless


class Listeners:
    """For each kind of event the methods that somebody has overridden, to be called in turn."""

    __slots__ = ("ejected", "ended", "gave_up", "picked", "resolved", "retried", "returned")

    def __init__(self, hooks: Sequence[Hooks]) -> None:
        self.picked = _those(hooks, "picked", Hooks.picked)
        self.ended = _those(hooks, "ended", Hooks.ended)
        self.retried = _those(hooks, "retried", Hooks.retried)
        self.gave_up = _those(hooks, "gave_up", Hooks.gave_up)
        self.ejected = _those(hooks, "ejected", Hooks.ejected)
        self.returned = _those(hooks, "returned", Hooks.returned)
        self.resolved = _those(hooks, "resolved", Hooks.resolved)


def _those(
    hooks: Sequence[Hooks], name: str, default: Callable[..., None]
) -> tuple[Callable[..., None], ...]:
    """The overridden methods of that name."""
    return tuple(guarded(getattr(hook, name)) for hook in hooks if getattr(type(hook), name) is not default)
