"""What the forwarder has reported, as samples: CoreDNS's metrics of `cache` and `forward`, and our own.

Not here: the report (kdns.server.report), names and texts (kdns.observe.families).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kdns.observe import families
from kdns.observe.families import SUM, Sample
from kdns.server.report import CacheReport, Report, UpstreamReport
from kdns.wire.iana import Rcode, rcode_text

_PROXY = "forward"  # what CoreDNS calls the directive that upstreams are of
_RCODES = frozenset(Rcode)


class Group(NamedTuple):
    """The `forward` and `cache` lines of one server block as metrics name them.

    server: `dns://:53`. zones: of `cache`, joined by commas as CoreDNS does; "" without it.
    """

    server: str
    zones: str


def counters(report: Report, groups: Sequence[Group]) -> Counter[Sample]:
    """What only grows. Those of forwarders that are gone may be added."""
    found: Counter[Sample] = Counter()
    for number, cache in report.caches.items():
        found.update(dict(_cache(groups[number], cache)))
    for name, upstream in report.upstreams.items():
        found.update(dict(_upstream(name, upstream)))
    if report.upstreams:
        found[Sample(families.FORWARD_BROKEN)] += report.broken
        found[Sample(families.FORWARD_REJECTED)] += report.rejected
        found[Sample(families.JOINED)] += report.joined
        found[Sample(families.STRANGERS)] += report.strangers
    for reason, count in report.shed.items():
        found[Sample(families.SHED, (reason,))] += count
    return found


def gauges(report: Report, groups: Sequence[Group]) -> dict[Sample, float]:
    """What is so at this moment."""
    found: dict[Sample, float] = {}
    for number, cache in report.caches.items():
        server, zones = groups[number]
        for kind, entries in (("success", cache.entries_success), ("denial", cache.entries_denial)):
            sample = Sample(families.CACHE_ENTRIES, (server, kind, zones, ""))
            found[sample] = found.get(sample, 0) + entries  # blocks may differ in nothing that labels tell
    for name, upstream in report.upstreams.items():
        found[Sample(families.UPSTREAM_DOWN, (name,))] = upstream.is_down
    if report.upstreams:
        found[Sample(families.IN_FLIGHT)] = report.in_flight
    for client in report.clients:
        found[Sample(families.CLIENT_ASKED, (client.address,))] = client.asked
        found[Sample(families.CLIENT_SHED, (client.address,))] = client.shed
    return found


def _cache(group: Group, cache: CacheReport) -> Iterator[tuple[Sample, int]]:
    server, zones = group
    hits = cache.hits_success + cache.hits_denial
    for name, count in (
        (families.CACHE_REQUESTS, hits + cache.misses),
        (families.CACHE_MISSES, cache.misses),
        (families.CACHE_PREFETCHES, cache.prefetches),
        (families.CACHE_STALE, cache.stale),
    ):
        yield Sample(name, (server, zones, "")), count
    for name, kind, count in (
        (families.CACHE_HITS, "success", cache.hits_success),
        (families.CACHE_HITS, "denial", cache.hits_denial),
        (families.CACHE_EVICTIONS, "success", cache.evictions_success),
        (families.CACHE_EVICTIONS, "denial", cache.evictions_denial),
    ):
        yield Sample(name, (server, kind, zones, "")), count


def _upstream(name: str, upstream: UpstreamReport) -> Iterator[tuple[Sample, int]]:
    where = (_PROXY, name)
    yield Sample(families.PROXY_PROBES_FAILED, where), upstream.probe_failures
    for rcode, (*buckets, sum_ns) in upstream.times.items():
        labels = (*where, rcode_text(Rcode(rcode)) if rcode in _RCODES else str(rcode))
        for bucket, count in enumerate(buckets):
            yield Sample(families.PROXY_DURATION, labels, bucket), count
        yield Sample(families.PROXY_DURATION, labels, SUM), sum_ns
    for proto, (reused, opened) in upstream.connections.items():
        yield Sample(families.PROXY_REUSED, (*where, proto)), reused
        yield Sample(families.PROXY_OPENED, (*where, proto)), opened
