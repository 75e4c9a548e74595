"""One shared row per source: what control knows of it, for the supervisor to judge readiness by and to expose.

An anonymous shared mapping made before the fork, as kdns.server.slots; it belongs to the fleet and outlives its
control. Every word is 64 bits with one writer: control, and while there is none, the supervisor. Not here: what a
word means and how it is exposed (kdns.observe.status), when that is enough to be ready (kdns.server.readiness).
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kdns.observe.families import FAILED_READS, PROGRAMMING_BOUNDS, Sample
from kdns.observe.status import COUNTERS, Word
from kdns.server.assembly import ClusterPlan, HostsPlan, SourcePlan
from kdns.server.birth import Former
from kdns.wire.name import to_text

WORD_OCTETS = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """Which source it is. label: its first zone, and a number where several begin with that.

    is_watched: its objects come from an API server.
    zones: its apexes. access: which API server, as configured; "" for files.
    namespaces: the only ones that are watched; none for all. is_hosts: it is a `hosts` line.
    """

    label: str
    is_watched: bool
    zones: frozenset[bytes] = frozenset()
    access: str = ""
    namespaces: frozenset[str] = frozenset()
    is_hosts: bool = False


class SourceStatus:
    """The row of one source: `status[Word.SERVICES] = 12`. Counters are told as counted since `begin`.

    programming: the buckets of kdns.observe.families.PROGRAMMING, and the sum in nanoseconds.
    """

    __slots__ = ("_base", "_words", "origin", "programming")

    def __init__(self, origin: Origin, words: memoryview) -> None:
        self.origin = origin
        self._words = words[: len(Word)]
        self.programming = words[len(Word) :]
        self._base = dict.fromkeys(COUNTERS, 0)

    def begin(self) -> None:
        """To be called by a new control: it goes on counting where the one before stopped."""
        self._base = {word: self[word] for word in COUNTERS}

    def __getitem__(self, word: Word) -> int:
        return int(self._words[word])

    def __setitem__(self, word: Word, value: int) -> None:
        self._words[word] = self._base.get(word, 0) + value

    @property
    def stale_since_ns(self) -> int | None:
        """Since when changes may have been missed, by CLOCK_MONOTONIC, negative before the boot; None for current.

        The earliest time that is told counts until it is current again: a control that follows one that died knows
        only its own time.
        """
        return self[Word.STALE_SINCE_NS] or None

    @stale_since_ns.setter
    def stale_since_ns(self, since_ns: int | None) -> None:
        former = self.stale_since_ns
        if since_ns is not None and former is not None:
            since_ns = min(since_ns, former)
        self._words[Word.STALE_SINCE_NS] = 0 if since_ns is None else since_ns or 1

    @property
    def published(self) -> Former | None:
        """What is answered from, of an API server; None if nothing was published yet."""
        if not self[Word.SERIAL]:
            return None
        return Former(self[Word.LACKS], self[Word.SERIAL] - 1, self[Word.LACKING_NAMESPACES])

    @published.setter
    def published(self, what: Former) -> None:
        self[Word.LACKS], self[Word.LACKING_NAMESPACES] = what.lacks, what.namespaces
        self[Word.SERIAL] = what.serial + 1

    def staleness_ns(self, now_ns: int) -> int:
        """How old the answers may be; 0 if they are current."""
        since_ns = self.stale_since_ns
        return 0 if since_ns is None else max(0, now_ns - since_ns)


class Statuses:
    """The rows of all sources of a plan, in its order."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        size = len(Word) + len(PROGRAMMING_BOUNDS) + 2
        self._map = mmap.mmap(-1, max(1, len(origins) * size) * WORD_OCTETS)
        view = memoryview(self._map).cast("q")
        self._all = [SourceStatus(origin, view[at * size : (at + 1) * size]) for at, origin in enumerate(origins)]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> SourceStatus:
        return self._all[index]

    def __iter__(self) -> Iterator[SourceStatus]:
        return iter(self._all)

    def answering(self, origin: Origin) -> list[SourceStatus]:
        """The rows of what has been published of these zones: those of the same API server, if there are any."""
        alike = [one for one in self._all if one.published is not None and one.origin.zones & origin.zones]
        return [one for one in alike if one.origin.access == origin.access] or alike

    def lose_control(self, now_ns: int) -> None:
        """Nobody watches the API servers any more: what was current is stale from now on, until control says so."""
        for status in self._all:
            if status.origin.is_watched:
                status.stale_since_ns = now_ns


def failed_reads(statuses: Iterable[SourceStatus]) -> dict[Sample, int]:
    """How often files of each source could not be used; 0 too, so that an alert on it has a first value."""
    return {
        Sample(FAILED_READS, (one.origin.label,)): one[Word.FAILED_READS]
        for one in statuses
        if not one.origin.is_watched
    }


def origins_of(sources: Sequence[SourcePlan]) -> tuple[Origin, ...]:
    """Who the sources of a plan are; no two have the same label."""
    seen: Counter[str] = Counter()
    origins = []
    for source in sources:
        zones = _zones(source)
        zone = f"hosts {source.hosts.path}".strip() if isinstance(source, HostsPlan) else to_text(zones[0])
        seen[zone] += 1
        label = zone if seen[zone] == 1 else f"{zone} ({seen[zone]})"
        origins.append(_origin(source, label, frozenset(zones)))
    return tuple(origins)


def _zones(source: SourcePlan) -> tuple[bytes, ...]:
    """Of hosts none: they share theirs with whatever they pass names on to."""
    if isinstance(source, HostsPlan):
        return ()
    return source.kubernetes.zones if isinstance(source, ClusterPlan) else (source.apex,)


def _origin(source: SourcePlan, label: str, zones: frozenset[bytes]) -> Origin:
    if not isinstance(source, ClusterPlan):
        return Origin(label, False, zones, is_hosts=isinstance(source, HostsPlan))
    kubernetes = source.kubernetes
    if not kubernetes.is_watched:
        return Origin(label, False, zones)
    access = kubernetes.endpoint or f"{kubernetes.kubeconfig} {kubernetes.context}".strip() or "in-cluster"
    return Origin(label, True, zones, access, frozenset(kubernetes.namespaces))
