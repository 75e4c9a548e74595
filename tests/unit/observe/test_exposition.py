"""kdns.observe.exposition: what scrapers parse, and what they are told."""

from __future__ import annotations

import re
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
from kdns.observe.counters import DROPPED, SEND_FAILED, SLOTS, new_counts, reply_counter
from kdns.observe.exposition import FactsCollector, expose
from kdns.observe.facts import ClusterFacts, Facts
from kdns.observe.status import KINDS, METRICS, OBJECTS, Word
from kdns.wire.iana import Rcode, RRType
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_PODS, LACKS_SERVICES

NOW_NS = 500 * 10**9
SERVICES_AND_ENDPOINTS = LACKS_SERVICES | LACKS_ENDPOINTS
QUIET = Facts(new_counts(), {"missing": 0, "ready": 2}, True, (), NOW_NS)


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
    counts = new_counts()
    counts[reply_counter(False, RRType.AAAA, Rcode.NOERROR)] = 7
    counts[reply_counter(True, 65280, Rcode.NXDOMAIN)] = 2
    counts[DROPPED], counts[SEND_FAILED] = 3, 4
    samples = _samples(replace(QUIET, counters=counts))
    replies = {key[1:]: value for key, value in samples.items() if key[0] == "kdns_dns_responses_total"}
    assert replies == {
        ("proto=udp", "rcode=NOERROR", "type=AAAA"): 7,
        ("proto=tcp", "rcode=NXDOMAIN", "type=other"): 2,
    }
    assert samples[("kdns_dns_dropped_total",)] == 3
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


def test_families_are_named_and_described_as_promtool_wants_them() -> None:
    counts = [1] * SLOTS
    page = expose(replace(_facts(_cluster(KINDS=15)), counters=counts)).decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", page, re.MULTILINE))
    assert types.keys() == helps.keys()
    for name, kind in types.items():
        assert re.fullmatch(r"kdns(_[a-z]+)+", name)
        assert name.endswith("_total") == (kind == "counter")
        assert helps[name].endswith(".")
    assert len(page) < 100_000  # with every combination of labels seen


def test_a_family_without_samples_is_left_out() -> None:
    assert "kdns_dns_responses" not in expose(QUIET).decode()
    assert "kdns_cluster" not in expose(QUIET).decode()


_COUNTS = st.lists(st.integers(0, 2**53), min_size=SLOTS, max_size=SLOTS)
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
    counts: list[int], clusters: Sequence[ClusterFacts], is_ready: bool
) -> None:
    facts = Facts(counts, {"ready": 1}, is_ready, clusters, NOW_NS)
    text = list(parse_text(expose(facts).decode()))
    strict = list(parse_openmetrics(openmetrics.generate_latest(FactsCollector(facts)).decode()))
    assert sum(len(family.samples) for family in text) == sum(len(family.samples) for family in strict)
    assert len({family.name for family in text}) == len(text)
