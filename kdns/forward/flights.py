"""Questions on their way: one flight for each, however many clients wait for it.

Who waits is bounded by kdns.forward.fairness, and so are the flights: each has somebody who waits, but for those that
refresh what is kept, which are counted as waiting too. All of these are structs, for one of each is made for nearly
every question, and structs are made quickly. Not here: what a flight does (kdns.forward.exchange).
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


class Waiter(msgspec.Struct, eq=False):
    """One question of a worker that waits. worker: None if nobody is to be told."""

    flight: Flight
    worker: int | None
    number: int
    client: bytes
    is_prefetch: bool


class Flight(msgspec.Struct, eq=False):
    """One question to upstreams, and who waits for it. Times are those of `now`.

    deadline: when it ends, answered or not. respite: if not 0, its deadline should an upstream be back at the first
    one, before which all were down. retry_at: when the next upstream is asked. stale_at: when those who wait
    are told what has expired. tokens: messages whose answer it waits for. tried: indices of the upstreams asked in
    this round. unanswered: how often an upstream was asked that has not answered. sent: the last message, for its
    upstream is in doubt if it takes too long. refusal: the last answer that made the next upstream be asked.
    useless: what stands in for an answer, if upstreams were heard and said nothing of use. is_late: `stale_at` has
    passed. charged: the client whose flight it is for `max_concurrent`.
    """

    key: FlightKey
    question: bytes
    group: Group
    route: Route
    flags: int
    dnssec_ok: bool
    deadline: float
    due: float = inf
    retry_at: float = inf
    stale_at: float = inf
    waiters: dict[Waiter, None] = {}
    tokens: set[int] = set()
    tried: list[int] = []
    round: int = 0
    sends: int = 0
    unanswered: int = 0
    sent: Attempt | None = None
    refusal: Answer | None = None
    useless: Answer | None = None
    is_late: bool = False
    is_over: bool = False
    respite: float = 0.0
    charged: bytes = b""

    def hurry(self, deadline: float) -> None:
        """All upstreams are down: no use in waiting for long."""
        if deadline < self.deadline:
            self.deadline, self.respite = deadline, self.deadline

    def go_on(self, now: float) -> bool:
        """At its deadline: whether an upstream is back, which is to be asked now."""
        if not self.respite or self.route.is_down:
            return False
        self._calm_down()
        self.retry_at = now
        return True

    def move_to(self, route: Route) -> None:
        """Begin anew with the upstreams of another line, within the same time."""
        self.route.leave(self)
        route.enter(self)
        self.route = route
        self.tried.clear()
        self.round = self.sends = self.unanswered = 0
        self.sent = self.refusal = self.useless = None
        if self.respite:
            self._calm_down()

    def _calm_down(self) -> None:
        self.deadline, self.respite = self.respite, 0.0


class Attempt(msgspec.Struct, frozen=True):
    """One message to an upstream. flight: None for a probe; one that does not list it waits for it no more."""

    flight: Flight | None
    upstream: Upstream
    transport: Transport
    with_edns: bool
    sent_at: float
