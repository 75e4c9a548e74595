"""The metrics in Prometheus's text format, made by prometheus_client of values and of nothing else.

No global registry and nothing of the process or of Python: what is exposed is what is in `Facts`. Importing this
costs 12 MB, so only who is scraped does. Not here: counting (kdns.observe.counters), the figures of a cluster
(kdns.observe.status), HTTP (kdns.server).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kdns import __version__
from kdns.observe import counters
from kdns.observe.facts import ClusterFacts, Facts
from kdns.observe.status import KINDS, METRICS, OBJECTS, StatusMetric, Word

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CLUSTER = "kdns_cluster_"
_SOURCE = "source"


def expose(facts: Facts) -> bytes:
    """The page to be scraped, of the type CONTENT_TYPE."""
    return generate_latest(FactsCollector(facts))


class FactsCollector(Collector):
    """The metric families of some facts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Families with their samples; those without are left out."""
        return (family for family in _families(self._facts) if family.samples)


def _families(facts: Facts) -> Iterator[Metric]:
    yield from _process(facts)
    yield from _queries(facts.counters)
    yield _staleness(facts)
    yield from _objects(facts.clusters)
    for metric in METRICS:
        yield _family(metric, facts.clusters)


def _process(facts: Facts) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "kdns_build_info", "1, with the versions of kdns and of Python.", labels=("version", "python")
    )
    build.add_metric((__version__, platform.python_version()), 1)
    yield build
    yield GaugeMetricFamily("kdns_ready", "1 while /ready says OK, else 0.", facts.is_ready)
    workers = GaugeMetricFamily(
        "kdns_workers", "Worker processes by state; only those that are ready read queries.", labels=("state",)
    )
    for state, count in facts.workers.items():
        workers.add_metric((state,), count)
    yield workers


def _queries(counts: Sequence[int]) -> Iterator[Metric]:
    """Replies; only labels that have been seen, for most of some 500 combinations never are."""
    replies = CounterMetricFamily(
        "kdns_dns_responses",
        "Replies sent, by transport, query type and response code.",
        labels=("proto", "type", "rcode"),
    )
    for index, count in enumerate(counts[: counters.DROPPED]):
        if count:
            replies.add_metric(tuple(counters.labels(index).values()), count)
    yield replies
    yield CounterMetricFamily(
        "kdns_dns_dropped",
        "Messages that got no reply: too short for a header, or replies themselves.",
        counts[counters.DROPPED],
    )
    yield CounterMetricFamily(
        "kdns_dns_send_failures", "Replies that the kernel did not take.", counts[counters.SEND_FAILED]
    )


def _staleness(facts: Facts) -> Metric:
    """A cluster that never was in sync is stale since kdns began to watch it, so that an alert finds it, too."""
    family = GaugeMetricFamily(
        f"{_CLUSTER}staleness_seconds",
        "Time since the answers of a cluster were last known to be current; 0 while they are.",
        labels=(_SOURCE,),
    )
    for cluster in facts.clusters:
        since_ns = cluster.words[Word.STALE_SINCE_NS]
        age_ns = max(0, facts.now_ns - since_ns) if since_ns else 0
        family.add_metric((cluster.label,), age_ns / 1e9)
    return family


def _objects(clusters: Sequence[ClusterFacts]) -> Iterator[Metric]:
    """What there is of each kind that a cluster is made of."""
    labels = (_SOURCE, "kind")
    synced = GaugeMetricFamily(
        f"{_CLUSTER}synced",
        "1 if all objects of a kind are known, from the API server or a snapshot; else what needs them is SERVFAIL.",
        labels=labels,
    )
    objects = GaugeMetricFamily(f"{_CLUSTER}objects", "Objects of a kind that are held in memory.", labels=labels)
    for cluster in clusters:
        for bit, kind in KINDS.items():
            if cluster.words[Word.KINDS] & bit:
                synced.add_metric((cluster.label, kind), not cluster.words[Word.LACKS] & bit)
                objects.add_metric((cluster.label, kind), cluster.words[OBJECTS[bit]])
    yield from (synced, objects)


def _family(metric: StatusMetric, clusters: Sequence[ClusterFacts]) -> Metric:
    labels = (_SOURCE, metric.label) if metric.label else (_SOURCE,)
    make = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
    family = make(_CLUSTER + metric.name, metric.help, labels=labels)
    for cluster in clusters:
        for value, word in metric.words.items():
            family.add_metric((cluster.label, value)[: len(labels)], cluster.words[word])
    return family
