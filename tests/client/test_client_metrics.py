"""Hooks for Prometheus and OpenTelemetry: what a real registry and a real SDK see of a balancer's day."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from kdns.client import BlockingBalancer, BlockingResolver, Lease, ResolverOptions
from kdns.client.hooks import Hooks
from kdns.client.otel import OtelHooks
from kdns.client.outcome import FAILED, NEUTRAL, OK, UNREACHABLE
from kdns.client.prometheus import PrometheusHooks
from kdns.client.testing import BlockingScriptedResolver, FakeClock
from tests.support.scripted_backend import FAILURE, BlockingScriptedBackend

DOC = (Path(__file__).resolve().parents[2] / "docs/client.md").read_text()
TARGET = "web:http"


def a_day(hooks: Hooks) -> None:
    """One endpoint refuses, one answers; one call fails for good; DNS answers and fails."""
    clock = FakeClock()
    resolver = BlockingScriptedResolver({TARGET: ["10.0.0.1:80", "10.0.0.2:80"]})
    balancer = BlockingBalancer(TARGET, resolver=resolver, hooks=[hooks], clock=clock, sleep=clock.sleep, rng=Random(1))

    def act(lease: Lease, broken: bool = False) -> None:
        if lease.host == "10.0.0.1":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        if broken:
            raise ConnectionResetError(errno.ECONNRESET, "reset")

    for _ in range(10):
        balancer.call(act)
    with pytest.raises(ConnectionResetError):
        balancer.call(act, True)
    dns = BlockingScriptedBackend()
    dns.say("web.example.", ["10.0.0.1"])
    names = BlockingResolver(ResolverOptions(), backend=lambda: dns, hooks=[hooks], clock=clock, rng=Random(1))
    names.resolve("dns:///web.example:80")
    dns.say_all(FAILURE)
    clock.advance(29.0)
    names.resolve("dns:///web.example:80")


def test_prometheus_counts_what_happened() -> None:
    registry = CollectorRegistry()
    a_day(PrometheusHooks(registry))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"kdns_client_{name}", {"target": TARGET, **labels})

    assert value("attempts_total", outcome="ok") == 10
    assert value("attempts_total", outcome="unreachable") == 1
    assert value("attempts_total", outcome="failed") == 1
    assert value("picks_total") == 12
    assert value("ejections_total", kind="unreachable") == 1
    assert value("give_ups_total", reason="not safe") == 1
    assert value("attempt_seconds_count") == 12
    other = {"target": "dns:///web.example:80"}
    assert registry.get_sample_value("kdns_client_resolutions_total", {**other, "result": "ok"}) == 1
    assert registry.get_sample_value("kdns_client_resolutions_total", {**other, "result": "problem"}) == 1
    assert registry.get_sample_value("kdns_client_endpoints", other) == 1


def test_no_label_names_an_endpoint() -> None:
    registry = CollectorRegistry()
    a_day(PrometheusHooks(registry))
    assert "10.0.0." not in generate_latest(registry).decode()


def test_opentelemetry_counts_the_same_and_marks_the_current_span() -> None:
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    with tracing.get_tracer("test").start_as_current_span("request"):
        a_day(OtelHooks(MeterProvider([reader])))
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (picks,) = metrics["kdns.client.picks"].data.data_points
    assert (picks.value, dict(picks.attributes)) == (12, {"target": TARGET})
    counts = {
        point.attributes["outcome"]: point.count for point in metrics["kdns.client.attempt.duration"].data.data_points
    }
    assert counts == {"ok": 10, "unreachable": 1, "failed": 1}
    (span,) = spans.get_finished_spans()
    assert [event.name for event in span.events].count("kdns.client.unreachable") == 1
    assert [event.name for event in span.events].count("kdns.client.give_up") == 1


def test_the_page_lists_every_metric() -> None:
    registry = CollectorRegistry()
    hooks = PrometheusHooks(registry)
    a_day(hooks)
    names = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert names == set(re.findall(r"^\| `(kdns_client_\w+)` \|", DOC, re.MULTILINE))
    source = Path(sys.modules["kdns.client.otel"].__file__ or "").read_text()
    made = set(re.findall(r'create_\w+\("([\w.]+)"', source))
    assert made == set(re.findall(r"`(kdns\.client\.[\w.]+)` \|", DOC))


@pytest.mark.parametrize(
    ("outcome", "word"), [(OK, "ok"), (FAILED, "failed"), (UNREACHABLE, "unreachable"), (NEUTRAL, "neutral")]
)
def test_outcomes_have_words(outcome: object, word: str) -> None:
    assert outcome.word == word  # type: ignore[attr-defined]


@pytest.mark.parametrize(("module", "needs"), [("prometheus", "prometheus_client"), ("otel", "opentelemetry")])
def test_without_its_extra_a_module_says_which_one_it_needs(module: str, needs: str) -> None:
    program = f"import sys; sys.modules[{needs!r}] = None; import kdns.client.{module}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 1
    assert f"pip install 'kdns[{module}]'" in ran.stderr
