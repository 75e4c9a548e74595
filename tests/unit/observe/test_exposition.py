"""kdns.observe.exposition: what scrapers parse, and what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from kdns import __version__
from kdns.kube.request import Fault
from kdns.observe import families
from kdns.observe.exposition import FactsCollector, expose
from kdns.observe.facts import ClusterFacts, Facts
from kdns.observe.families import SINGLE, SUM, Kind, Sample
from kdns.observe.status import KINDS, METRICS, OBJECTS, Word
from kdns.observe.tally import Layout, Making, Server, Tally
from kdns.wire.iana import Rcode, RRType
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_PODS, LACKS_SERVICES
from tests.support.promlint import promlint

NOW_NS = 500 * 10**9
SERVICES_AND_ENDPOINTS = LACKS_SERVICES | LACKS_ENDPOINTS
LAYOUT = Layout([Server("dns://:53", (0, 1))], ["cluster.local.", "."], [".", "."])
QUIET = Facts({"missing": 0, "ready": 2}, True, (), NOW_NS)


def _cluster(label: str = "cluster.local.", **words: int) -> ClusterFacts:
    said = {Word[name]: value for name, value in words.items()}
    return ClusterFacts(label, dict.fromkeys(Word, 0) | {Word.KINDS: SERVICES_AND_ENDPOINTS} | said)


def _facts(*clusters: ClusterFacts) -> Facts:
    return replace(QUIET, clusters=clusters)


def _samples(facts: Facts) -> dict[tuple[str, ...], float]:
    """Values by name and label values. Raises if a series comes twice."""
    found: dict[tuple[str, ...], float] = {}
    for family in parse_text(expose(facts).decode()):
        for sample in family.samples:
            key = (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def test_versions_readiness_and_workers_are_told() -> None:
    samples = _samples(QUIET)
    assert samples[("kdns_ready",)] == 1
    assert samples[("kdns_workers", "state=ready")] == 2
    assert samples[("kdns_workers", "state=missing")] == 0
    assert any(key[0] == "kdns_build_info" and f"version={__version__}" in key for key in samples)
    assert _samples(replace(QUIET, is_ready=False))[("kdns_ready",)] == 0


def test_replies_are_told_by_transport_type_and_rcode() -> None:
    words = [0] * LAYOUT.words
    tally = Tally(LAYOUT, words)
    tally.meter(0, False, 4).counts[tally.cell(0, Making(RRType.AAAA, Rcode.NOERROR))] += 7
    tally.meter(0, True, 4).counts[tally.cell(0, Making(65280, Rcode.NXDOMAIN))] += 2
    tally.dropped()
    tally.send_failed(4)
    tally.fold()
    samples = _samples(replace(QUIET, samples=LAYOUT.samples(words)))
    replies = {key[1:]: value for key, value in samples.items() if key[0] == "kdns_dns_responses_total"}
    assert replies == {
        ("proto=udp", "rcode=NOERROR", "type=AAAA"): 7,
        ("proto=tcp", "rcode=NXDOMAIN", "type=other"): 2,
    }
    assert samples[("kdns_dns_dropped_total",)] == 1
    assert samples[("kdns_dns_send_failures_total",)] == 4


@pytest.mark.parametrize(
    ("since_ns", "age"), [(0, 0.0), (NOW_NS - 10**9, 1.0), (-(10**9), 501.0), (NOW_NS + 1, 0.0), (NOW_NS, 0.0)]
)
def test_staleness_is_the_age_of_the_answers(since_ns: int, age: float) -> None:
    samples = _samples(_facts(_cluster(STALE_SINCE_NS=since_ns)))
    assert samples[("kdns_cluster_staleness_seconds", "source=cluster.local.")] == pytest.approx(age)


def test_only_kinds_that_a_cluster_is_made_of_are_told() -> None:
    cluster = _cluster(KINDS=LACKS_SERVICES | LACKS_NAMESPACES, LACKS=LACKS_NAMESPACES, SERVICES=12, NAMESPACES=3)
    samples = _samples(_facts(cluster))
    synced = {key[1]: value for key, value in samples.items() if key[0] == "kdns_cluster_synced"}
    objects = {key[1]: value for key, value in samples.items() if key[0] == "kdns_cluster_objects"}
    assert synced == {"kind=services": 1, "kind=namespaces": 0}
    assert objects == {"kind=services": 12, "kind=namespaces": 3}


def test_every_figure_reaches_a_series() -> None:
    kinds = SERVICES_AND_ENDPOINTS | LACKS_NAMESPACES | LACKS_PODS
    special = {Word.KINDS, Word.LACKS, Word.IS_LOADED, Word.IS_SYNCED, Word.STALE_SINCE_NS}
    special |= {Word.SERIAL, Word.LACKING_NAMESPACES}  # between one control and the next
    special |= {Word.HOSTS_NAMES, Word.HOSTS_READ_AT, Word.FAILED_READS}  # of no cluster
    words = {word.name: 1000 + word for word in Word if word not in special}
    values = _samples(_facts(_cluster(KINDS=kinds, **words))).values()
    assert set(words.values()) <= set(values)


def test_clusters_are_told_apart() -> None:
    samples = _samples(_facts(_cluster(DELTAS=1), _cluster("cluster.local. (2)", DELTAS=2)))
    assert samples[("kdns_cluster_deltas_total", "source=cluster.local.")] == 1
    assert samples[("kdns_cluster_deltas_total", "source=cluster.local. (2)")] == 2


def test_every_fault_of_a_request_has_a_place_of_its_own() -> None:
    (failures,) = (metric for metric in METRICS if metric.name == "failures")
    assert set(failures.words) == {fault.name.lower() for fault in Fault} | {"status"}


def test_words_and_metrics_are_used_once() -> None:
    words = [word for metric in METRICS for word in metric.words.values()]
    assert len(words) == len(set(words))
    assert not set(words) & set(OBJECTS.values())
    assert OBJECTS.keys() == KINDS.keys()
    assert sorted(Word) == list(range(len(Word)))


def _everything() -> Facts:
    """Facts in which every family has a sample, and every word of a layout its count."""
    samples: dict[Sample, float] = dict(LAYOUT.samples([1] * LAYOUT.words))
    for name, family in families.ALL.items():
        kind = 0 if family.kind is Kind.HISTOGRAM else SINGLE
        samples.setdefault(Sample(name, tuple(family.labels), kind), 1)
    return replace(_facts(_cluster(KINDS=15)), samples=samples)


def test_the_page_has_nothing_that_promlint_complains_of() -> None:
    page = expose(_everything()).decode()
    assert promlint(page) == []
    assert len(page) < 2_000_000  # with every combination of labels seen


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("# TYPE a_total counter\na_total 1\n", "a_total: no help"),
        ("# HELP a Text.\n# TYPE a counter\na 1\n", "a: a counter whose name does not end in _total"),
        ("# HELP a_total Text.\n# TYPE a_total gauge\na_total 1\n", "a_total: named like a counter"),
        ("# HELP a_ms Text.\n# TYPE a_ms gauge\na_ms 1\n", "a_ms: abbreviated unit ms"),
        ("# HELP a_milliseconds T.\n# TYPE a_milliseconds gauge\na_milliseconds 1\n", "a_milliseconds: no base unit"),
        ("# HELP a_gauge Text.\n# TYPE a_gauge gauge\na_gauge 1\n", "a_gauge: its kind in its name"),
        ("# HELP aB Text.\n# TYPE aB gauge\naB 1\n", "aB: not in snake_case"),
        ('# HELP a Text.\n# TYPE a gauge\na{bC="1"} 1\n', "a: the label bC is not in snake_case"),
        ('# HELP a Text.\n# TYPE a gauge\na{le="1"} 1\n', "a: a label le, and no histogram"),
        ("# HELP a Text.\n# TYPE a gauge\na 1\na 2\n", "a: twice"),
        ("# HELP a_count T.\n# TYPE a_count gauge\na_count 1\n", "a_count: named like a part of a histogram"),
    ],
)
def test_the_lint_sees_what_promlint_sees(page: str, complaint: str) -> None:
    assert complaint in promlint(page)


def test_coredns_names_and_labels_are_those_of_its_documentation() -> None:
    page = expose(_everything()).decode()
    labels = {
        family.name + "_total" * (family.type == "counter"): {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for family in parse_text(page)
    }
    for line in COREDNS_DOCUMENTED.split():
        name, _, names = line.partition("{")
        assert labels[name] == set(filter(None, names.rstrip("}").split(","))), name


# From the README of each of CoreDNS's plugins, where we tell something of it.
COREDNS_DOCUMENTED = """
coredns_build_info{version,revision,goversion} coredns_panics_total{}
coredns_dns_requests_total{server,zone,view,proto,family,type}
coredns_dns_request_size_bytes{server,zone,view,proto} coredns_dns_response_size_bytes{server,zone,view,proto}
coredns_dns_do_requests_total{server,view,zone} coredns_dns_responses_total{server,zone,view,rcode,plugin}
coredns_dns_request_duration_seconds{server,zone,view} coredns_plugin_enabled{server,zone,view,name}
coredns_reload_failed_total{} coredns_reload_version_info{hash,value}
coredns_health_request_duration_seconds{} coredns_health_request_failures_total{}
coredns_cache_entries{server,type,zones,view} coredns_cache_hits_total{server,type,zones,view}
coredns_cache_misses_total{server,zones,view} coredns_cache_requests_total{server,zones,view}
coredns_cache_prefetch_total{server,zones,view}
coredns_cache_served_stale_total{server,zones,view} coredns_cache_evictions_total{server,type,zones,view}
coredns_forward_healthcheck_broken_total{} coredns_forward_max_concurrent_rejects_total{}
coredns_proxy_request_duration_seconds{proxy_name,to,rcode} coredns_proxy_healthcheck_failures_total{proxy_name,to}
coredns_proxy_conn_cache_hits_total{proxy_name,to,proto} coredns_proxy_conn_cache_misses_total{proxy_name,to,proto}
coredns_kubernetes_dns_programming_duration_seconds{service_kind}
"""


def test_a_histogram_is_told_with_cumulated_buckets_and_its_sum_in_seconds() -> None:
    where = ("dns://:53", ".", "")
    samples = {
        Sample(families.DURATION, where, 0): 3,
        Sample(families.DURATION, where, 2): 2,
        Sample(families.DURATION, where, 16): 1,
        Sample(families.DURATION, where, SUM): 2_500_000_000,
    }
    page = expose(replace(QUIET, samples=samples)).decode()
    (family,) = (one for one in parse_text(page) if one.type == "histogram")
    told = {sample.labels.get("le", sample.name): sample.value for sample in family.samples}
    assert (told["0.00025"], told["0.0005"], told["0.001"], told["8.192"], told["+Inf"]) == (3, 3, 5, 5, 6)
    assert told["coredns_dns_request_duration_seconds_count"] == 6
    assert told["coredns_dns_request_duration_seconds_sum"] == 2.5


def test_what_an_alert_needs_a_first_value_of_is_told_from_the_start() -> None:
    samples = _samples(QUIET)
    assert [samples[(name,)] for name in families.ALWAYS] == [0] * 5


def test_replies_are_told_by_the_names_of_coredns_too() -> None:
    words = [0] * LAYOUT.words
    tally = Tally(LAYOUT, words)
    tally.meter(0, False, 4).counts[tally.cell(0, Making(RRType.AAAA, Rcode.NOERROR))] += 7
    tally.meter(0, True, 4).counts[tally.cell(0, Making(RRType.AAAA, Rcode.NXDOMAIN))] += 2
    tally.fold()
    page = expose(replace(QUIET, samples=LAYOUT.samples(words))).decode()
    told = [sample for family in parse_text(page) for sample in family.samples]
    requests = {(one.labels["proto"], one.labels["type"]): one.value for one in told if one.name == families.REQUESTS}
    assert requests == {("udp", "AAAA"): 7, ("tcp", "AAAA"): 2}
    assert {one.labels["rcode"]: one.value for one in told if one.name == families.RESPONSES} == {
        "NOERROR": 7,
        "NXDOMAIN": 2,
    }


def test_a_family_without_samples_is_left_out() -> None:
    assert "kdns_dns_responses" not in expose(QUIET).decode()
    assert "kdns_cluster" not in expose(QUIET).decode()


_COUNTS = st.dictionaries(st.integers(0, LAYOUT.words - 1), st.integers(0, 2**53), max_size=50)
_CLUSTERS = st.lists(
    st.builds(
        lambda label, words: ClusterFacts(label, dict(zip(Word, words, strict=True))),
        st.text(max_size=20),
        st.lists(st.integers(0, 2**53), min_size=len(Word), max_size=len(Word)),
    ),
    max_size=3,
    unique_by=lambda cluster: cluster.label,
)


@given(_COUNTS, _CLUSTERS, st.booleans())
def test_both_parsers_take_whatever_there_is(
    counts: dict[int, int], clusters: Sequence[ClusterFacts], is_ready: bool
) -> None:
    samples = LAYOUT.samples([counts.get(at, 0) for at in range(LAYOUT.words)])
    facts = Facts({"ready": 1}, is_ready, clusters, NOW_NS, samples)
    text = list(parse_text(expose(facts).decode()))
    strict = list(parse_openmetrics(openmetrics.generate_latest(FactsCollector(facts)).decode()))
    assert sum(len(family.samples) for family in text) == sum(len(family.samples) for family in strict)
    assert len({family.name for family in text}) == len(text)
