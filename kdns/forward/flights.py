"""Questions on their way: one flight for each, however many clients wait for it.

Who waits is bounded by kdns.forward.fairness, and so are the flights: each has somebody who waits, but for those that
refresh what is kept, which are counted as waiting too. Not here: what a flight does (kdns.forward.exchange).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from kdns.forward.health import Upstream
from kdns.forward.values import Transport

if TYPE_CHECKING:
    from kdns.forward.groups import Group, Route
    from kdns.forward.reply import Answer

# Group, folded question, and what else the answer may depend on: RD, CD and DO.
FlightKey = tuple[int, bytes, int]


class Waiter:
    """One question of a worker that waits. worker: None if nobody is to be told."""

    __slots__ = ("client", "flight", "is_prefetch", "number", "worker")

    def __init__(self, flight: Flight, worker: int | None, number: int, client: bytes, is_prefetch: bool) -> None:
        self.flight = flight
        self.worker = worker
        self.number = number
        self.client = client
        self.is_prefetch = is_prefetch


class Flight:
    """One question to upstreams, and who waits for it. Times are those of `now`.

    deadline: when it ends, answered or not. retry_at: when the next upstream is asked. stale_at: when those who wait
    are told what has expired. tokens: messages whose answer it waits for. tried: indices of the upstreams asked in
    this round. unanswered: how often an upstream was asked that has not answered. sent: the last message, for its
    upstream is in doubt if it takes too long. refusal: the last answer that made the next upstream be asked.
    is_late: `stale_at` has passed.
    """

    __slots__ = (
        "deadline",
        "dnssec_ok",
        "due",
        "flags",
        "group",
        "is_late",
        "is_over",
        "key",
        "question",
        "refusal",
        "retry_at",
        "round",
        "route",
        "sends",
        "sent",
        "stale_at",
        "tokens",
        "tried",
        "unanswered",
        "waiters",
    )

    def __init__(
        self, key: FlightKey, group: Group, route: Route, flags: int, dnssec_ok: bool, deadline: float
    ) -> None:
        self.key, self.group, self.route = key, group, route
        self.question = key[1]
        self.flags, self.dnssec_ok = flags, dnssec_ok
        self.deadline = deadline
        self.due = self.retry_at = self.stale_at = inf
        self.waiters: dict[Waiter, None] = {}
        self.tokens: set[int] = set()
        self.tried: list[int] = []
        self.round = self.sends = self.unanswered = 0
        self.sent: Attempt | None = None
        self.refusal: Answer | None = None
        self.is_late = self.is_over = False

    def move_to(self, route: Route) -> None:
        """Begin anew with the upstreams of another line, within the same time."""
        self.route.flights -= 1
        route.flights += 1
        self.route = route
        self.tried.clear()
        self.round = self.sends = self.unanswered = 0
        self.sent = self.refusal = None


class Attempt(msgspec.Struct, frozen=True):
    """One message to an upstream. flight: None for a probe; one that does not list it waits for it no more."""

    flight: Flight | None
    upstream: Upstream
    transport: Transport
    with_edns: bool
    sent_at: float
