"""The client's events as Prometheus metrics: `hooks=[PrometheusHooks()]` (the extra `kdns[prometheus]`).

Labels are bounded: targets and reasons, never endpoints, which come and go with each rollout; `balancer.snapshot()`
tells them. docs/client.md lists the metrics. Not here: the exposition, which is the app's (`prometheus_client`).
"""

from __future__ import annotations

from kdns.client.hooks import Ejected, Ended, GaveUp, Hooks, Picked, Resolved, Retried, Returned

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise ImportError("kdns.client.prometheus needs prometheus_client: pip install 'kdns[prometheus]'") from error

# From what a pod on the same node answers in to a timeout that nobody waits for.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class PrometheusHooks(Hooks):
    """Counts into a registry; one of it serves all balancers and resolvers of a process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"kdns_client_{name}", text, ("target", *labels), registry=registry)

        def seconds(name: str, text: str) -> Histogram:
            return Histogram(f"kdns_client_{name}_seconds", text, ("target",), buckets=SECONDS, registry=registry)

        self._picks = counter("picks", "Endpoints picked for an attempt.")
        self._attempts = counter("attempts", "Attempts that ended, by outcome.", "outcome")
        self._attempt_seconds = seconds("attempt", "How long attempts took.")
        self._retries = counter("retries", "Further attempts of calls, by kind: retry or hedge.", "kind")
        self._give_ups = counter("give_ups", "Calls that failed and were not sent again, by reason.", "reason")
        self._ejections = counter("ejections", "Endpoints taken out, by kind: ejected or unreachable.", "kind")
        self._returns = counter("returns", "Endpoints that came back.")
        self._resolutions = counter("resolutions", "Targets asked for in DNS, by result.", "result")
        self._resolution_seconds = seconds("resolution", "How long DNS took.")
        self._endpoints = Gauge("kdns_client_endpoints", "Endpoints that DNS names.", ("target",), registry=registry)

    def picked(self, event: Picked) -> None:
        """See Hooks."""
        self._picks.labels(event.target).inc()

    def ended(self, event: Ended) -> None:
        """See Hooks."""
        self._attempts.labels(event.target, event.outcome.word).inc()
        self._attempt_seconds.labels(event.target).observe(event.seconds)

    def retried(self, event: Retried) -> None:
        """See Hooks."""
        self._retries.labels(event.target, "hedge" if event.is_hedge else "retry").inc()

    def gave_up(self, event: GaveUp) -> None:
        """See Hooks."""
        self._give_ups.labels(event.target, event.reason).inc()

    def ejected(self, event: Ejected) -> None:
        """See Hooks."""
        self._ejections.labels(event.target, "ejected" if event.is_reachable else "unreachable").inc()

    def returned(self, event: Returned) -> None:
        """See Hooks."""
        self._returns.labels(event.target).inc()

    def resolved(self, event: Resolved) -> None:
        """See Hooks."""
        self._resolutions.labels(event.target, "ok" if event.endpoints.problem is None else "problem").inc()
        self._resolution_seconds.labels(event.target).observe(event.seconds)
        self._endpoints.labels(event.target).set(len(event.endpoints))
