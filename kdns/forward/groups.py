"""The `forward` and `cache` lines of one server block, made ready: which line a name belongs to, and its upstreams.

Not here: what the lines say (kdns.forward.values), who reads them (kdns.corefile).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kdns.forward.cache import AnswerCache, is_below_any
from kdns.forward.failures import Failures
from kdns.forward.fairness import Room
from kdns.forward.health import Care, Rank, Upstream
from kdns.forward.policy import Choice
from kdns.forward.reply import Answer
from kdns.forward.values import ForwardSpec, GroupSpec, Transport, UpstreamSpec
from kdns.wire.iana import Rcode, RRClass, RRType
from kdns.wire.lifetime import Limits
from kdns.wire.name import ROOT, suffixes
from kdns.wire.query import RD_BIT

if TYPE_CHECKING:
    from random import Random

    from kdns.forward.flights import Flight

# What an upstream says that cannot answer: the next one may know better.
FAILING = frozenset(map(int, (Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED)))


_DOWN = Rank.DOWN  # reading a member of an enumeration costs more than comparing it


class Route:
    """One `forward` line. A flight of it is that of whoever has waited for it longest, for `max_concurrent`."""

    def __init__(self, spec: ForwardSpec, upstreams: tuple[Upstream, ...], rng: Random) -> None:
        self.spec = spec
        self.upstreams = upstreams
        self.choice = Choice(spec.policy, upstreams, spec.is_failing_fast, rng)
        self.failover = FAILING.union(spec.failover)
        self.may_pass_on = bool(spec.next_rcodes) or spec.next_on_nodata
        # Whose the flights are is only kept where that matters, and it takes as long as to look for the answer.
        self.is_bounded = spec.max_concurrent > 0
        self._room: Room[Flight] = Room(spec.max_concurrent, sys.maxsize)
        self.flights = 0  # on their way
        self.rejected = 0  # for max_concurrent
        self.broken = 0  # flights that began while all upstreams were down

    def passes_on(self, answer: Answer) -> bool:
        """Whether the next line that fits is asked after this answer (`next`)."""
        if not self.may_pass_on:
            return False
        if answer.rcode in self.spec.next_rcodes:
            return True
        return self.spec.next_on_nodata and answer.rcode == Rcode.NOERROR and not answer.counts[0]

    def enter(self, flight: Flight) -> None:
        """It is on its way to these upstreams, for the client that has waited for it longest."""
        self.flights += 1
        if not self.is_bounded:
            return
        first = next(iter(flight.waiters), None)
        if first is None or first.is_prefetch:
            flight.charged = b""
            self._room.enter_prefetch(flight)
        else:
            flight.charged = first.client
            self._room.enter(first.client, flight)

    def leave(self, flight: Flight) -> None:
        """It is not any more."""
        self.flights -= 1
        if self.is_bounded:
            self._room.leave(flight.charged, flight)

    def refuses(self, client: bytes) -> bool:
        """Whether there is no room for a flight of this client, though others may have to make some."""
        return self.is_full and self._room.refusal(client) is not None

    def loser(self) -> Flight | None:
        """The flight that has to make room for the next one, if any."""
        return self._room.loser() if self.is_bounded else None

    @property
    def is_full(self) -> bool:
        """Whether as many flights are on their way as the line allows."""
        return 0 < self.spec.max_concurrent <= self.flights

    @property
    def is_down(self) -> bool:
        """Whether all its upstreams are."""
        return all(one.rank is _DOWN for one in self.upstreams)

    def covers(self, name: bytes) -> bool:
        """Whether `except` leaves it here; it is at or below the line's zone, whose own name always stays."""
        return name == self.spec.zone or not is_below_any(name, self.spec.excluded)


class Group:
    """All lines of one server block. cache: None without a `cache` line, and then nothing is kept at all."""

    def __init__(self, spec: GroupSpec, routes: list[Route]) -> None:
        self.routes = tuple(routes)
        self.cache = AnswerCache(spec.cache) if spec.cache is not None else None
        self.limits = self.cache.limits if self.cache is not None else Limits()
        self.failures = Failures(spec.cache.failure if spec.cache is not None else 0.0)
        self._by_zone: dict[bytes, list[Route]] = {}
        for route in routes:
            self._by_zone.setdefault(route.spec.zone, []).append(route)
        # Most often there is one line, for all names.
        is_plain = len(routes) == 1 and spec.forwards[0].zone == ROOT and not spec.forwards[0].excluded
        self._only = routes[0] if is_plain else None

    def route(self, name: bytes) -> Route | None:
        """The line that this folded name belongs to: of those that cover it the one with the longest zone."""
        return self._only if self._only is not None else next(self._routes(name), None)

    def route_after(self, route: Route, name: bytes) -> Route | None:
        """The line that would have this name if neither this one nor those before it were there."""
        routes = self._routes(name)
        return next(routes, None) if route in routes else None

    def _routes(self, name: bytes) -> Iterator[Route]:
        """All lines that cover a name, the longest zone first, and those of one zone as they are written."""
        for zone in suffixes(name):
            for route in self._by_zone.get(zone, ()):
                if route.covers(name):
                    yield route


def make_groups(specs: Mapping[int, GroupSpec], rng: Random) -> tuple[dict[int, Group], tuple[Upstream, ...]]:
    """Groups, and the table of all upstreams: what is cared for alike in several lines is one upstream."""
    table: dict[tuple[UpstreamSpec, Care], Upstream] = {}
    groups = {
        number: Group(spec, [_route(line, table, rng) for line in spec.forwards]) for number, spec in specs.items()
    }
    return groups, tuple(table.values())


def inherit(groups: Mapping[int, Group], former: Mapping[int, Group]) -> None:
    """Go on with the caches of former groups where the `cache` line is the same; those keep nothing any more.

    Which upstreams are asked may be other: what was told holds for its TTLs, whoever would be asked now.
    """
    for number, group in groups.items():
        heir, other = group.cache, former.get(number)
        if heir is not None and other is not None and other.cache is not None and other.cache.spec == heir.spec:
            group.cache, other.cache = other.cache, None


def _route(spec: ForwardSpec, table: dict[tuple[UpstreamSpec, Care], Upstream], rng: Random) -> Route:
    upstreams = []
    for one in spec.upstreams:
        key = (one, _care(one, spec))
        upstreams.append(table.setdefault(key, Upstream(len(table), *key)))
    return Route(spec, tuple(dict.fromkeys(upstreams)), rng)


def _care(upstream: UpstreamSpec, spec: ForwardSpec) -> Care:
    transport = Transport.TLS if upstream.is_tls else Transport.TCP if spec.force_tcp else Transport.UDP
    question = spec.health_name + RRType.NS.to_bytes(2, "big") + RRClass.IN.to_bytes(2, "big")
    flags = RD_BIT if spec.health_recursion_desired else 0
    return Care(transport, spec.max_fails, spec.health_interval, question, flags)
