"""The client's events as OpenTelemetry metrics: `hooks=[OtelHooks()]` (the extra `kdns[otel]`).

Instruments are those of the app's MeterProvider; without an SDK they cost next to nothing and go nowhere. Retries,
ejections and give-ups are events of the span that is current as well, so that a trace tells why it took so long.
docs/client.md lists the names. Not here: spans of their own, which the app's HTTP or gRPC instrumentation makes.
"""

from __future__ import annotations

from kdns.client.hooks import Ejected, Ended, GaveUp, Hooks, Picked, Resolved, Retried, Returned

try:
    from opentelemetry import trace
    from opentelemetry.metrics import MeterProvider, get_meter_provider
except ImportError as error:
    raise ImportError("kdns.client.otel needs opentelemetry-api: pip install 'kdns[otel]'") from error


class OtelHooks(Hooks):
    """Counts by a meter; one of it serves all balancers and resolvers of a process. provider: None for the global."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = (provider or get_meter_provider()).get_meter("kdns.client")
        self._picks = meter.create_counter("kdns.client.picks", "{pick}", "Endpoints picked for an attempt.")
        self._attempts = meter.create_histogram("kdns.client.attempt.duration", "s", "How long attempts took.")
        self._retries = meter.create_counter("kdns.client.retries", "{retry}", "Further attempts of calls.")
        self._give_ups = meter.create_counter("kdns.client.give_ups", "{call}", "Calls that were not sent again.")
        self._ejections = meter.create_counter("kdns.client.ejections", "{endpoint}", "Endpoints taken out.")
        self._returns = meter.create_counter("kdns.client.returns", "{endpoint}", "Endpoints that came back.")
        self._resolutions = meter.create_histogram("kdns.client.resolution.duration", "s", "How long DNS took.")

    def picked(self, event: Picked) -> None:
        """See Hooks."""
        self._picks.add(1, {"target": event.target})

    def ended(self, event: Ended) -> None:
        """See Hooks."""
        self._attempts.record(event.seconds, {"target": event.target, "outcome": event.outcome.word})

    def retried(self, event: Retried) -> None:
        """See Hooks."""
        kind = "hedge" if event.is_hedge else "retry"
        self._retries.add(1, {"target": event.target, "kind": kind})
        trace.get_current_span().add_event(
            f"kdns.client.{kind}", {"target": event.target, "attempt": event.attempt, "reason": event.reason}
        )

    def gave_up(self, event: GaveUp) -> None:
        """See Hooks."""
        self._give_ups.add(1, {"target": event.target, "reason": event.reason})
        trace.get_current_span().add_event("kdns.client.give_up", {"target": event.target, "reason": event.reason})

    def ejected(self, event: Ejected) -> None:
        """See Hooks."""
        kind = "ejected" if event.is_reachable else "unreachable"
        self._ejections.add(1, {"target": event.target, "kind": kind})
        trace.get_current_span().add_event(
            f"kdns.client.{kind}", {"target": event.target, "endpoint": str(event.endpoint), "reason": event.reason}
        )

    def returned(self, event: Returned) -> None:
        """See Hooks."""
        self._returns.add(1, {"target": event.target})

    def resolved(self, event: Resolved) -> None:
        """See Hooks."""
        result = "ok" if event.endpoints.problem is None else "problem"
        self._resolutions.record(event.seconds, {"target": event.target, "result": result})
