"""The metrics in Prometheus's text format, made by prometheus_client of values and of nothing else.

No global registry and nothing of the process or of Python: what is exposed is what is in `Facts`. Importing this
costs 12 MB, so only who is scraped does. Not here: counting (kdns.observe.tally), the figures of a cluster
(kdns.observe.status), HTTP (kdns.server).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kdns import __version__
from kdns.observe import families
from kdns.observe.facts import ClusterFacts, Facts
from kdns.observe.families import SINGLE, SUM, Family, Kind, Sample
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
    build = Sample(families.BUILD_INFO, (f"kdns-{__version__}", "", ""))
    yield from _sampled({build: 1, **facts.samples})
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


def _sampled(samples: Mapping[Sample, float]) -> Iterator[Metric]:
    """What is told sample by sample, in the order of the families."""
    found: dict[str, dict[tuple[str, ...], dict[int, float]]] = {name: {(): {SINGLE: 0}} for name in families.ALWAYS}
    for sample, value in samples.items():
        found.setdefault(sample.name, {}).setdefault(sample.labels, {})[sample.bucket] = value
    for name, family in families.ALL.items():
        if name in found:
            yield _MAKE[family.kind](name, family, found[name])


def _counter(name: str, family: Family, series: Series) -> Metric:
    metric = CounterMetricFamily(name.removesuffix("_total"), family.help, labels=family.labels)
    for labels, values in series.items():
        metric.add_metric(labels, values[SINGLE])
    return metric


def _gauge(name: str, family: Family, series: Series) -> Metric:
    metric = GaugeMetricFamily(name, family.help, labels=family.labels)
    for labels, values in series.items():
        metric.add_metric(labels, values[SINGLE])
    return metric


def _histogram(name: str, family: Family, series: Series) -> Metric:
    """Buckets are told as Prometheus wants them: each with all that are below it."""
    metric = HistogramMetricFamily(name, family.help, labels=family.labels)
    bounds = [*map(str, family.bounds), "+Inf"]
    for labels, values in series.items():
        sums = accumulate(values.get(bucket, 0) for bucket in range(len(bounds)))
        scale = 1e9 if name.endswith("_seconds") else 1
        metric.add_metric(labels, list(zip(bounds, sums, strict=True)), values.get(SUM, 0) / scale)
    return metric


Series = Mapping[tuple[str, ...], Mapping[int, float]]
_MAKE = {Kind.COUNTER: _counter, Kind.GAUGE: _gauge, Kind.HISTOGRAM: _histogram}


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
