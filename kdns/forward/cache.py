"""What upstreams answered, kept: whole replies, each under its own question, with each record's TTL counted down.

Answers and denials have room of their own, so that a flood of names that do not exist pushes out no answer. Within
each, S3-FIFO (Yang and others, SOSP 2023) decides who leaves: a newcomer gets a tenth of the room, and stays beyond
that only if it is asked for again. Workers keep what is asked for often themselves, so that much of what comes here
is asked for once; two generations, which suit a worker, would let all of that push out what is of use.

RFC 2308, 2181, 8767. Not here: failures (kdns.forward.failures), for how long a reply holds (kdns.wire.lifetime).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

import msgspec

from kdns.forward.reply import Answer
from kdns.forward.values import CacheSpec
from kdns.wire.lifetime import STALE_TTL, Kind, Limits
from kdns.wire.message import age
from kdns.wire.name import ROOT, is_subdomain
from kdns.wire.outside import Source

# A body that is longer is not kept: so the default capacities take 80 MB at the very most, and with replies as they
# are, of 200 octets, some 14 MB.
BODY_MAX_OCTETS = 4096
# Workers count in whole seconds, and so may find that a prefetch is due that much earlier.
WORKERS_LEAD = 1
USES_MAX = 3  # S3-FIFO's: the most rounds that an entry stays without being asked for again
SMALL_SHARE = 10  # S3-FIFO's: one in ten places is for newcomers

Key = tuple[bytes, int]
_SUCCESS, _DENIAL = Kind.SUCCESS, Kind.DENIAL  # reading a member of an enumeration costs more than comparing it


class Entry(msgspec.Struct, eq=False):
    """One kept reply. answer: TTLs as of `stored`; aged: as of `aged_seconds` later. is_aging: TTLs count down.

    hits: in a row with no gap that is too long. is_live: it was not dropped.
    """

    key: Key
    shelf: Shelf
    is_aging: bool
    answer: Answer
    aged: Answer
    stored: float
    expires: float
    aged_seconds: int = 0
    uses: int = 0
    hits: int = 0
    last_hit: float = -inf
    is_live: bool = True

    def fill(self, answer: Answer, now: float, seconds: int) -> None:
        """It is this from now on, for so many seconds."""
        self.answer = self.aged = answer
        self.aged_seconds = 0
        self.stored, self.expires = now, now + seconds

    def at(self, now: float) -> Answer:
        """The answer with the TTLs of now, which are those of then where TTLs are kept."""
        seconds = int(now - self.stored) if self.is_aging else 0
        if seconds != self.aged_seconds:
            self.aged = _aged(self.answer, seconds)
            self.aged_seconds = seconds
        return self.aged

    def stale(self) -> Answer:
        """The answer with the TTLs of one that has expired: no more than they were."""
        return _with_ttls(self.answer, tuple([min(ttl, STALE_TTL) for ttl in self.answer.ttls]))


@dataclass(slots=True)
class CacheCounts:
    """What happened, but for what shelves count."""

    misses: int = 0
    prefetches: int = 0
    stale: int = 0


class AnswerCache:
    """The cache of one group."""

    def __init__(self, spec: CacheSpec) -> None:
        self.spec = spec
        self.limits = Limits(spec.success_ttl, spec.success_min_ttl, spec.denial_ttl, spec.denial_min_ttl)
        self._known: dict[Key, Entry] = {}
        self.success = Shelf(
            Source.CACHE_SUCCESS, spec.success_capacity, spec.success_min_ttl, spec.success_ttl, spec.disabled_success
        )
        self.denial = Shelf(
            Source.CACHE_DENIAL, spec.denial_capacity, spec.denial_min_ttl, spec.denial_ttl, spec.disabled_denial
        )
        self.counts = CacheCounts()
        self._keeps_all = spec.zones == (ROOT,)

    def find(self, key: Key, now: float) -> Entry | None:
        """What is kept, maybe expired (`expires`), but never for longer than it may stand in."""
        entry = self._known.get(key)
        if entry is None or now >= entry.expires + self.spec.stale:
            return None  # what is over keeps its place: most often it is filled again at once
        return entry

    def hit(self, entry: Entry, now: float) -> None:
        """A client is answered with it."""
        entry.shelf.hits += 1
        if entry.uses < USES_MAX:
            entry.uses += 1
        if now - entry.last_hit > self.spec.prefetch_gap:
            entry.hits = 0
        entry.hits += 1
        entry.last_hit = now

    def is_young(self, entry: Entry, now: float) -> bool:
        """Whether most of its time is left, and no prefetch is due: then another worker's has just brought it."""
        left, whole = entry.expires - now, entry.expires - entry.stored
        return left > max(whole / 2, self.spec.prefetch_percent * whole / 100 + WORKERS_LEAD)

    def wants_prefetch(self, entry: Entry, now: float) -> bool:
        """Whether it is asked for often enough, and so little of its time is left that a prefetch is due."""
        left, whole = entry.expires - now, entry.expires - entry.stored
        return 0 < self.spec.prefetch_hits <= entry.hits and 100 * left <= self.spec.prefetch_percent * whole

    def store(self, key: Key, answer: Answer, now: float) -> tuple[Answer, int]:
        """Keep an answer, if it may be. Returns what is to be told, and the seconds for which it may be kept."""
        kind, seconds = answer.lifetime.kind, answer.lifetime.seconds
        shelf = self.success if kind is _SUCCESS else self.denial if kind is _DENIAL else None
        if shelf is None or not ((self._keeps_all and not shelf.disabled) or self._may_keep(key[0][:-4], shelf)):
            return answer, 0
        answer = self._bounded(answer, shelf)
        if len(answer.body) <= BODY_MAX_OCTETS:
            self._keep(key, shelf, answer, now, seconds)
        return answer, seconds

    def _may_keep(self, name: bytes, shelf: Shelf) -> bool:
        if not self._keeps_all and not is_below_any(name, self.spec.zones):
            return False
        return not shelf.disabled or not is_below_any(name, shelf.disabled)

    def _bounded(self, answer: Answer, shelf: Shelf) -> Answer:
        """The answer with no TTL beyond what the `cache` line allows."""
        least, most = shelf.least, shelf.most
        if shelf is self.denial:
            most = min(most, answer.lifetime.seconds)  # RFC 2308 section 5: its SOA record ends with it
        if not answer.ttls or (min(answer.ttls) >= least and max(answer.ttls) <= most):
            return answer
        return _with_ttls(answer, tuple([min(most, max(least, ttl)) for ttl in answer.ttls]))

    def _keep(self, key: Key, shelf: Shelf, answer: Answer, now: float, seconds: int) -> None:
        entry = self._known.get(key)
        if entry is not None:
            if entry.shelf is shelf:
                entry.fill(answer, now, seconds)
                return
            self._drop(entry)
        entry = Entry(key, shelf, not self.spec.keeps_ttls, answer, answer, now, now + seconds)
        self._known[key] = entry
        for lost in shelf.put(entry):
            del self._known[lost.key]

    def _drop(self, entry: Entry) -> None:
        del self._known[entry.key]
        entry.shelf.drop(entry)


class Shelf:
    """The entries of one kind in the order in which they leave: S3-FIFO's two queues and its ghosts.

    least, most: bounds of their TTLs. disabled: zones of which none are kept. entries: how many there are, expired
    ones too; hits, evictions: what happened.
    """

    def __init__(self, source: Source, capacity: int, least: int, most: int, disabled: tuple[bytes, ...]) -> None:
        self.source = source
        self.least, self.most, self.disabled = least, most, disabled
        self.entries = self.hits = self.evictions = 0
        self._capacity = capacity
        self._newcomers: deque[Entry] = deque()
        self._main: deque[Entry] = deque()
        # Keys of those that left without being asked for again: one that comes back goes to the main queue at once.
        # Two generations, each half as long as there is room for: sets take half the time of what has an order.
        self._ghosts: set[Key] = set()
        self._older_ghosts: set[Key] = set()

    def put(self, entry: Entry) -> list[Entry]:
        """Add one; returns those that leave for it, itself if there is no room at all."""
        key = entry.key
        if key in self._ghosts or key in self._older_ghosts:
            self._ghosts.discard(key)
            self._older_ghosts.discard(key)
            self._main.append(entry)
        else:
            self._newcomers.append(entry)
        self.entries += 1
        lost = []
        # The queues hold those that were dropped as well, until their turn comes.
        while len(self._newcomers) + len(self._main) > self._capacity:
            leaving = self._next_to_leave()
            if leaving is not None and leaving.is_live:
                self.drop(leaving)
                self.evictions += 1
                lost.append(leaving)
        return lost

    def drop(self, entry: Entry) -> None:
        """It is not kept any more."""
        entry.is_live = False
        self.entries -= 1

    def _next_to_leave(self) -> Entry | None:
        """Move one entry on; returns it if it is to leave."""
        if SMALL_SHARE * len(self._newcomers) > self._capacity or not self._main:
            entry = self._newcomers.popleft()
            if entry.uses and entry.is_live:
                entry.uses = 0
                self._main.append(entry)
                return None
            self._remember(entry.key)
            return entry
        entry = self._main.popleft()
        if entry.uses and entry.is_live:
            entry.uses -= 1
            self._main.append(entry)
            return None
        return entry

    def _remember(self, key: Key) -> None:
        self._ghosts.add(key)
        if 2 * len(self._ghosts) > self._capacity:
            self._ghosts, self._older_ghosts = set(), self._ghosts


def is_below_any(name: bytes, zones: tuple[bytes, ...]) -> bool:
    """Whether a folded name is at or below one of these."""
    return any(is_subdomain(name, zone) for zone in zones)


def _aged(answer: Answer, seconds: int) -> Answer:
    return _with_ttls(answer, tuple([ttl - seconds if ttl > seconds else 0 for ttl in answer.ttls]))


def _with_ttls(answer: Answer, ttls: tuple[int, ...]) -> Answer:
    return msgspec.structs.replace(answer, body=age(answer.body, answer.ttl_at, ttls, 0), ttls=ttls)
