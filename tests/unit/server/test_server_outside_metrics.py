"""kdns.server.outside_metrics: what the forwarder reports goes by CoreDNS's names, and adds up over forwarders."""

from __future__ import annotations

from kdns.forward.values import UpstreamSpec
from kdns.observe import families
from kdns.observe.families import ALL, SUM, Kind, Sample
from kdns.server.outside_metrics import Group, counters, gauges
from kdns.server.report import CacheReport, ClientReport, Report, UpstreamReport, combined, with_connections

GROUPS = (Group("dns://:53", "."), Group("dns://:53", "example.org.,example.net."))
BUCKETS = (1, 2, *[0] * 15, 900_000)
REPORT = Report(
    in_flight=3,
    joined=4,
    rejected=5,
    broken=6,
    strangers=7,
    shed={"client": 8, "full": 0},
    caches={0: CacheReport(1, 2, 3, 4, 5, 6, 7, 8, 9), 1: CacheReport(hits_success=1)},
    upstreams={"192.0.2.1:53": UpstreamReport(True, probe_failures=2, times={0: BUCKETS, 11: BUCKETS})},
    clients=(ClientReport("192.0.2.9", 20, 1),),
)


def test_every_sample_has_its_family_and_kind() -> None:
    for sample in counters(REPORT, GROUPS):
        assert ALL[sample.name].kind is not Kind.GAUGE
        assert len(sample.labels) == len(ALL[sample.name].labels)
    for sample in gauges(REPORT, GROUPS):
        assert ALL[sample.name].kind is Kind.GAUGE
        assert len(sample.labels) == len(ALL[sample.name].labels)


def test_questions_to_a_cache_are_hits_and_misses() -> None:
    told = counters(REPORT, GROUPS)
    assert told[Sample(families.CACHE_REQUESTS, ("dns://:53", ".", ""))] == 3 + 4 + 7
    assert told[Sample(families.CACHE_MISSES, ("dns://:53", ".", ""))] == 7
    assert told[Sample(families.CACHE_HITS, ("dns://:53", "denial", ".", ""))] == 4
    assert told[Sample(families.CACHE_HITS, ("dns://:53", "success", "example.org.,example.net.", ""))] == 1
    assert gauges(REPORT, GROUPS)[Sample(families.CACHE_ENTRIES, ("dns://:53", "denial", ".", ""))] == 2


def test_what_has_not_happened_yet_is_told_as_zero() -> None:
    told = counters(REPORT, GROUPS)
    assert told[Sample(families.CACHE_STALE, ("dns://:53", "example.org.,example.net.", ""))] == 0
    assert Sample(families.CACHE_STALE, ("dns://:53", "example.org.,example.net.", "")) in told
    assert Sample(families.SHED, ("full",)) in told


def test_upstreams_are_told_by_rcode() -> None:
    told = counters(REPORT, GROUPS)
    where = ("forward", "192.0.2.1:53")
    assert told[Sample(families.PROXY_DURATION, (*where, "NOERROR"), 1)] == 2
    assert told[Sample(families.PROXY_DURATION, (*where, "11"), SUM)] == 900_000
    assert told[Sample(families.PROXY_PROBES_FAILED, where)] == 2
    assert gauges(REPORT, GROUPS)[Sample(families.UPSTREAM_DOWN, ("192.0.2.1:53",))] == 1


def test_who_asks_most_is_told() -> None:
    told = gauges(REPORT, GROUPS)
    assert told[Sample(families.CLIENT_ASKED, ("192.0.2.9",))] == 20
    assert told[Sample(families.CLIENT_SHED, ("192.0.2.9",))] == 1


def test_without_a_forwarder_nothing_is_told() -> None:
    assert counters(Report(), GROUPS) == {}
    assert gauges(Report(), GROUPS) == {}


def test_a_forwarder_that_follows_goes_on_counting() -> None:
    spec = UpstreamSpec("192.0.2.1", 53)
    one = with_connections(REPORT, {(spec, "tcp"): (5, 1)})
    both = combined(one, with_connections(REPORT, {(spec, "tcp"): (2, 1), (spec, "tcp-tls"): (0, 1)}))
    upstream = both.upstreams["192.0.2.1:53"]
    assert upstream.connections == {"tcp": (7, 2), "tcp-tls": (0, 1)}
    assert upstream.times == {0: tuple(2 * count for count in BUCKETS), 11: tuple(2 * count for count in BUCKETS)}
    assert (both.broken, both.strangers, both.in_flight) == (12, 14, 3)
    assert upstream.is_down
    told = counters(both, GROUPS)
    assert told[Sample(families.PROXY_REUSED, ("forward", "192.0.2.1:53", "tcp"))] == 7
    assert told[Sample(families.PROXY_OPENED, ("forward", "192.0.2.1:53", "tcp-tls"))] == 1
