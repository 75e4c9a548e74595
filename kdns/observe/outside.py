"""What the forwarder tells of its work: words for each group of `forward` and `cache` lines, and the metrics of them.

The forwarder writes the words into memory shared with the supervisor, group after group in the order of the server
blocks; counters go on over its restarts, gauges are written anew.
Not here: the memory (kdns.server.slots), who counts (kdns.forward), upstreams one by one: their number changes with
/etc/resolv.conf.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from kdns.observe.families import SHED, Sample


class GroupWord(IntEnum):
    """Where a figure stands in the row of its group."""

    CACHE_REQUESTS = 0  # questions that the cache was looked through for
    CACHE_HITS_SUCCESS = 1
    CACHE_HITS_DENIAL = 2
    CACHE_MISSES = 3
    CACHE_PREFETCHES = 4
    CACHE_STALE = 5
    CACHE_DROPS = 6
    CACHE_EVICTIONS_SUCCESS = 7
    CACHE_EVICTIONS_DENIAL = 8
    CACHE_ENTRIES_SUCCESS = 9
    CACHE_ENTRIES_DENIAL = 10
    ALL_UPSTREAMS_DOWN = 11
    REJECTED_CONCURRENT = 12  # over `max_concurrent`
    SHED_CLIENT = 13  # of a client that has too many under way
    SHED_FULL = 14  # as there are too many of all clients


GROUP_WORDS = len(GroupWord)
# Gauges are written anew by whoever follows; all others are counted on.
GAUGES = frozenset((GroupWord.CACHE_ENTRIES_SUCCESS, GroupWord.CACHE_ENTRIES_DENIAL))


class Group(NamedTuple):
    """One group as metrics name it. server: `dns://:53`; zones: of `cache`, joined by commas as CoreDNS does."""

    server: str
    zones: str


class _Told(NamedTuple):
    """Of which metric a word is. type: the value of the label `type` or `reason`, "" where there is none."""

    name: str
    type: str = ""
    is_of_all: bool = False  # without labels: the sum over all groups


_METRICS = {
    GroupWord.CACHE_REQUESTS: _Told("coredns_cache_requests_total"),
    GroupWord.CACHE_HITS_SUCCESS: _Told("coredns_cache_hits_total", "success"),
    GroupWord.CACHE_HITS_DENIAL: _Told("coredns_cache_hits_total", "denial"),
    GroupWord.CACHE_MISSES: _Told("coredns_cache_misses_total"),
    GroupWord.CACHE_PREFETCHES: _Told("coredns_cache_prefetch_total"),
    GroupWord.CACHE_STALE: _Told("coredns_cache_served_stale_total"),
    GroupWord.CACHE_DROPS: _Told("coredns_cache_drops_total"),
    GroupWord.CACHE_EVICTIONS_SUCCESS: _Told("coredns_cache_evictions_total", "success"),
    GroupWord.CACHE_EVICTIONS_DENIAL: _Told("coredns_cache_evictions_total", "denial"),
    GroupWord.CACHE_ENTRIES_SUCCESS: _Told("coredns_cache_entries", "success"),
    GroupWord.CACHE_ENTRIES_DENIAL: _Told("coredns_cache_entries", "denial"),
    GroupWord.ALL_UPSTREAMS_DOWN: _Told("coredns_forward_healthcheck_broken_total", is_of_all=True),
    GroupWord.REJECTED_CONCURRENT: _Told("coredns_forward_max_concurrent_rejects_total", is_of_all=True),
    GroupWord.SHED_CLIENT: _Told(SHED, "client"),
    GroupWord.SHED_FULL: _Told(SHED, "full"),
}


def samples(groups: Sequence[Group], words: Sequence[int]) -> dict[Sample, float]:
    """What the words of all groups say."""
    found: dict[Sample, float] = {}
    for at, group in enumerate(groups):
        row = words[at * GROUP_WORDS : (at + 1) * GROUP_WORDS]
        for word, told in _METRICS.items():
            sample = Sample(told.name, _labels(group, told))
            found[sample] = found.get(sample, 0) + row[word]
    return found


def _labels(group: Group, told: _Told) -> tuple[str, ...]:
    if told.is_of_all:
        return ()
    return (group.server, *([told.type] if told.type else []), group.zones, "")
