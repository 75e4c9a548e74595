"""Questions in, actions out: the forwarder without its sockets, its clock and its chance.

A question is answered from what is kept, joins a flight that is on its way for the same question, or starts one. Each
is told of exactly once, within the patience of `Limits`: with an answer, with what has expired and stands in for it
(RFC 8767), or with the reason why there is none.

Where CoreDNS's `max_concurrent` says REFUSED, this says SERVFAIL: resolvers take REFUSED for a lasting word on the
name's zone, and some do not ask the next server after it. RD and the cache: what was answered to a question without
RD is not kept, for it may be a referral; what was answered with RD serves both.

Not here: sockets, message IDs and ports (kdns.server), how upstreams are asked (kdns.forward.exchange).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kdns.forward import telling
from kdns.forward.cache import AnswerCache, Entry, Key
from kdns.forward.exchange import Exchange, Outcome
from kdns.forward.fairness import Room, Shed, TopClients
from kdns.forward.flights import Flight, FlightKey, Waiter
from kdns.forward.groups import FAILING, Group, Route, make_groups
from kdns.forward.reply import Answer
from kdns.forward.values import Action, Fault, GroupSpec, Limits, Tell
from kdns.wire.outside import Ask, Purpose, Source, Told
from kdns.wire.query import CD_BIT, RD_BIT

if TYPE_CHECKING:
    from random import Random


# Reading a member of an enumeration costs more than comparing it.
_PREFETCH, _UPSTREAM = int(Purpose.PREFETCH), Source.UPSTREAM


@dataclass(slots=True)
class Counts:
    """What happened, for metrics. joined: questions that found a flight on its way."""

    asked: int = 0
    flights: int = 0
    joined: int = 0
    failed: int = 0
    not_ours: int = 0
    shed: dict[Shed, int] = field(default_factory=lambda: dict.fromkeys(Shed, 0))


class Resolver:
    """All forwarding of one configuration. groups: by the number that questions name. now: monotonic seconds.

    upstreams: what the index in a Send means, and how each fares. clients: who asks most.
    """

    def __init__(self, groups: Mapping[int, GroupSpec], limits: Limits, rng: Random, now: float) -> None:
        self.groups, self.upstreams = make_groups(groups, rng)
        self.clients = TopClients()
        self.counts = Counts()
        self._limits = limits
        self._exchange = Exchange(limits, rng)
        self._room: Room[Waiter] = Room(limits.in_flight, limits.client_in_flight)
        self._flights: dict[FlightKey, Flight] = {}

    @property
    def wake_at(self) -> float:
        """When to call `wake`, infinity for never; it changes with every call."""
        return self._exchange.wake_at

    @property
    def waiting(self) -> int:
        """Questions that wait for upstreams."""
        return len(self._room)

    @property
    def in_flight(self) -> int:
        """Flights on their way."""
        return len(self._flights)

    def ask(self, worker: int, ask: Ask, now: float) -> list[Action]:
        """A question of a worker."""
        self.counts.asked += 1
        self.clients.asked(ask.client)
        out: list[Action] = []
        group = self.groups.get(ask.group)
        if group is None:
            self._refuse(worker, ask, out)
            return out
        key = (ask.question, ask.flags & CD_BIT | ask.dnssec_ok)
        if group.cache is None or not self._from_cache(group, group.cache, key, worker, ask, now, out):
            self._from_upstream(group, key, worker, ask, now, out)
        return out

    def shed_before(self, client: bytes, reason: Shed, count: int) -> None:
        """A worker has shed so many questions of a client. client: b"" for those it has not kept apart."""
        self.counts.asked += count
        self.counts.shed[reason] += count
        self.clients.asked(client, count)
        self.clients.shed(client, count)

    def replied(self, token: int, reply: bytes, now: float) -> list[Action]:
        """A reply to the message with this token, which kdns.wire.upstream.judge has let pass."""
        out: list[Action] = []
        outcome = self._exchange.replied(token, reply, now, out)
        if outcome is not None:
            self._settle(outcome, now, out)
        return out

    def failed(self, token: int, fault: Fault, now: float) -> list[Action]:
        """The message with this token got no reply of use."""
        out: list[Action] = []
        outcome = self._exchange.failed(token, fault, now, out)
        if outcome is not None:
            self._settle(outcome, now, out)
        return out

    def wake(self, now: float) -> list[Action]:
        """Do what is due by now."""
        out: list[Action] = []
        for outcome in self._exchange.wake(now, out):
            self._settle(outcome, now, out)
        return out

    # What is kept

    def _from_cache(
        self, group: Group, cache: AnswerCache, key: Key, worker: int, ask: Ask, now: float, out: list[Action]
    ) -> bool:
        """Answer from the cache; False if an upstream has to be asked while the worker waits."""
        entry = cache.find(key, now)
        if entry is None:
            cache.counts.misses += 1
            return False
        if now >= entry.expires:
            return self._from_stale(group, cache, entry, worker, ask, now, out)
        is_prefetch = ask.purpose == Purpose.PREFETCH
        if is_prefetch and not cache.is_young(entry, now) and group.failures.find(key, now) is None:
            return False
        cache.hit(entry, now)
        out.append(Tell(worker, _kept(ask.number, cache, entry, now)))
        if not is_prefetch and cache.wants_prefetch(entry, now):
            self._refresh(group, ask, now, out)
        return True

    def _from_stale(
        self, group: Group, cache: AnswerCache, entry: Entry, worker: int, ask: Ask, now: float, out: list[Action]
    ) -> bool:
        """What has expired: told at once, unless an upstream is to be tried first."""
        cache.counts.misses += 1
        has_failed = group.failures.find(entry.key, now) is not None
        if not has_failed and (cache.spec.is_verifying or ask.purpose == Purpose.PREFETCH):
            flight = self._flights.get(_flight_key(ask))
            if flight is None or not flight.is_late:
                return False
        cache.counts.stale += 1
        out.append(Tell(worker, telling.stale(ask.number, entry.stale())))
        if not has_failed:
            self._refresh(group, ask, now, out)
        return True

    def _refresh(self, group: Group, ask: Ask, now: float, out: list[Action]) -> None:
        """Ask for what is kept anew, while nobody waits."""
        key = _flight_key(ask)
        route = group.route(ask.question[:-4])
        if key in self._flights or route is None or not ask.flags & RD_BIT:
            return
        if group.failures.find(_cache_key(key), now) is not None:
            return
        if route.is_full or self._room.refuses_prefetch():
            self.counts.shed[Shed.PREFETCH] += 1
            return
        if group.cache is not None:
            group.cache.counts.prefetches += 1
        flight = self._flight(group, route, key, ask, now)
        self._wait(Waiter(flight, None, 0, b"", True))
        self._start(flight, now, out)

    # Who waits

    def _from_upstream(self, group: Group, key: Key, worker: int, ask: Ask, now: float, out: list[Action]) -> None:
        failure = group.failures.find(key, now)
        if failure is not None:
            told = telling.failure(ask.number, failure.answer, True, int(failure.until - now))
            out.append(Tell(worker, told))
            return
        route = group.route(ask.question[:-4])
        if route is None:
            self._refuse(worker, ask, out)
            return
        flight_key = _flight_key(ask)
        if route.is_bounded or ask.purpose or not self._room.takes(ask.client):
            reason = self._refusal(route, flight_key, ask)
            if reason is not None:
                self._turn_away(worker, ask, reason, group, key, now, out)
                return
            self._make_way(route, flight_key, now, out)
        self._join(group, route, flight_key, worker, ask, now, out)

    def _refusal(self, route: Route, key: FlightKey, ask: Ask) -> Shed | None:
        """Why this question may not wait; None if it may."""
        is_prefetch = ask.purpose == Purpose.PREFETCH
        if key not in self._flights and (route.is_full if is_prefetch else route.refuses(ask.client)):
            route.rejected += 1
            return Shed.MAX_CONCURRENT
        if is_prefetch:
            return Shed.PREFETCH if self._room.refuses_prefetch() else None
        return self._room.refusal(ask.client)

    def _make_way(self, route: Route, key: FlightKey, now: float, out: list[Action]) -> None:
        """See to it that there is room for one who waits, and on the line for its flight."""
        loser = self._room.loser()
        if loser is not None:
            self._shed(loser, Shed.FULL, now, out)
        # A flight for which others wait as well is theirs then: whoever has most loses until one is over.
        while key not in self._flights and (flight := route.loser()) is not None:
            route.rejected += 1
            self._shed(next(iter(flight.waiters)), Shed.MAX_CONCURRENT, now, out)

    def _join(
        self, group: Group, route: Route, key: FlightKey, worker: int, ask: Ask, now: float, out: list[Action]
    ) -> None:
        """Wait for the flight of this question, which may have to start."""
        flight = self._flights.get(key)
        if flight is not None:
            self.counts.joined += 1
            self._wait(Waiter(flight, worker, ask.number, ask.client, ask.purpose == _PREFETCH))
            return
        flight = self._flight(group, route, key, ask, now)
        if group.cache is not None and group.cache.spec.is_verifying:
            self._be_patient(flight, group.cache, now)
        self._wait(Waiter(flight, worker, ask.number, ask.client, ask.purpose == _PREFETCH))
        self._start(flight, now, out)

    def _flight(self, group: Group, route: Route, key: FlightKey, ask: Ask, now: float) -> Flight:
        flags, deadline = ask.flags & (RD_BIT | CD_BIT), now + self._limits.patience
        flight = Flight(key, key[1], group, route, flags, ask.dnssec_ok, deadline)
        self._flights[key] = flight
        route.enter(flight)
        self.counts.flights += 1
        return flight

    def _be_patient(self, flight: Flight, cache: AnswerCache, now: float) -> None:
        """Only for a moment where something stands in."""
        if cache.find(_cache_key(flight.key), now) is not None:
            flight.stale_at = now + cache.spec.verify_timeout

    def _start(self, flight: Flight, now: float, out: list[Action]) -> None:
        outcome = self._exchange.start(flight, now, out)
        if outcome is not None:
            self._settle(outcome, now, out)

    def _wait(self, waiter: Waiter) -> None:
        flight = waiter.flight
        flight.waiters[waiter] = None
        if flight.route.is_bounded and len(flight.waiters) == 1:
            self._charge(flight)
        if waiter.is_prefetch:
            self._room.enter_prefetch(waiter)
        else:
            self._room.enter(waiter.client, waiter)

    def _charge(self, flight: Flight) -> None:
        """It is the flight of whoever waits for it first now, unless it is over already."""
        if self._flights.get(flight.key) is flight:
            flight.route.leave(flight)
            flight.route.enter(flight)

    def _refuse(self, worker: int, ask: Ask, out: list[Action]) -> None:
        self.counts.not_ours += 1
        out.append(Tell(worker, telling.not_ours(ask.number)))

    def _turn_away(
        self, worker: int, ask: Ask, reason: Shed, group: Group, key: Key, now: float, out: list[Action]
    ) -> None:
        """There is no room for it: what has expired may stand in."""
        self.counts.shed[reason] += 1
        self.clients.shed(ask.client)
        told = self._stand_in(group, key, ask.number, now)
        out.append(Tell(worker, told or telling.shed(ask.number, reason)))

    def _shed(self, waiter: Waiter, reason: Shed, now: float, out: list[Action]) -> None:
        """One that waits makes room; nobody waits for its flight then, maybe."""
        if waiter.is_prefetch:
            reason = Shed.PREFETCH
        self.counts.shed[reason] += 1
        self.clients.shed(waiter.client)
        flight = waiter.flight
        told = self._stand_in(flight.group, _cache_key(flight.key), waiter.number, now)
        self._dismiss(waiter, told or telling.shed(waiter.number, reason), out)
        if not flight.waiters:
            self._land(flight)
            self._exchange.abandon(flight, out)

    # What becomes of a flight

    def _settle(self, outcome: Outcome, now: float, out: list[Action]) -> None:
        """Tell those who wait what has become of their flight."""
        flight, answer = outcome.flight, outcome.answer
        if not outcome.is_over:
            self._lose_patience(flight, now, out)
            return
        self._land(flight)
        if answer is None or answer.rcode in FAILING:
            self._disappoint(flight, answer, now, out)
        else:
            self._satisfy(flight, answer, now, out)

    def _land(self, flight: Flight) -> None:
        del self._flights[flight.key]
        flight.route.leave(flight)

    def _satisfy(self, flight: Flight, answer: Answer, now: float, out: list[Action]) -> None:
        group, key = flight.group, _cache_key(flight.key)
        keep, spec = 0, None
        if group.cache is not None and flight.flags & RD_BIT:
            group.failures.forget(key)
            answer, keep = group.cache.store(key, answer, now)
            spec = group.cache.spec
        waiters, flight.waiters = flight.waiters, {}
        for waiter in waiters:
            self._room.leave(waiter.client, waiter)
            if waiter.worker is not None:
                told = telling.fresh(waiter.number, answer, _UPSTREAM, keep, spec, keep)
                out.append(Tell(waiter.worker, told))

    def _disappoint(self, flight: Flight, answer: Answer | None, now: float, out: list[Action]) -> None:
        self.counts.failed += 1
        group, key, keep = flight.group, _cache_key(flight.key), 0
        if flight.flags & RD_BIT:
            keep = int(group.failures.note(key, answer, now))
        for waiter in list(flight.waiters):
            told = self._stand_in(group, key, waiter.number, now)
            self._dismiss(waiter, told or telling.failure(waiter.number, answer, False, keep), out)

    def _lose_patience(self, flight: Flight, now: float, out: list[Action]) -> None:
        """Who waits is told what has expired, and the flight goes on for those who come later."""
        flight.is_late = True
        key = _cache_key(flight.key)
        for waiter in list(flight.waiters):
            told = self._stand_in(flight.group, key, waiter.number, now)
            if told is not None:
                self._dismiss(waiter, told, out)
        if not flight.waiters:
            self._wait(Waiter(flight, None, 0, b"", True))

    def _stand_in(self, group: Group, key: Key, number: int, now: float) -> Told | None:
        """What is kept and may be told though no upstream can be asked; None if there is nothing."""
        cache = group.cache
        entry = cache.find(key, now) if cache is not None else None
        if cache is None or entry is None:
            return None
        if now < entry.expires:  # a prefetch that failed
            return _kept(number, cache, entry, now)
        cache.counts.stale += 1
        return telling.stale(number, entry.stale())

    def _dismiss(self, waiter: Waiter, told: Told, out: list[Action]) -> None:
        """It waits no more."""
        flight = waiter.flight
        was_first = next(iter(flight.waiters)) is waiter
        del flight.waiters[waiter]
        if was_first and flight.waiters and flight.route.is_bounded:
            self._charge(flight)
        self._room.leave(waiter.client, waiter)
        if waiter.worker is not None:
            out.append(Tell(waiter.worker, told))


def _flight_key(ask: Ask) -> FlightKey:
    return ask.group, ask.question, ask.flags & (RD_BIT | CD_BIT) | ask.dnssec_ok


def _cache_key(key: FlightKey) -> Key:
    """A cache entry serves questions with RD and without."""
    return key[1], key[2] & ~RD_BIT


def _kept(number: int, cache: AnswerCache, entry: Entry, now: float) -> Told:
    keep, whole = int(entry.expires - now), int(entry.expires - entry.stored)
    return telling.fresh(number, entry.at(now), entry.shelf.source, keep, cache.spec, whole)
