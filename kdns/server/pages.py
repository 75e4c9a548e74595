"""What /health, /ready and /metrics say of what the supervisor sees.

A reload does not show before it is done: the fleet that answers decides. Counters are those of all workers there have
ever been. Not here: serving the pages (kdns.server.admin), what is ready (kdns.server.readiness), the metrics'
names and texts (kdns.observe.exposition).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from kdns.corefile import ReadyWhen
from kdns.observe import families
from kdns.observe.facts import ClusterFacts, Facts
from kdns.observe.families import Sample
from kdns.observe.sampling import TOLD_MAX
from kdns.observe.status import Word
from kdns.server.admin import HEALTH, METRICS, READY
from kdns.server.fleet import Fleet
from kdns.server.footprint import footprint
from kdns.server.http1 import Page, Pages
from kdns.server.queues import queue_samples
from kdns.server.readiness import reasons_not_ready
from kdns.server.reloading import HASH_NAME
from kdns.server.slots import Slot
from kdns.server.status import SourceStatus, Statuses

_NO_FLEET = "none is left"
_WORKER_STATES = ("missing", "starting", "ready", "draining")


@dataclass(frozen=True, slots=True)
class View:
    """What the supervisor sees at this moment.

    current: the fleet that answers; None from the last drain on. fleets: all that have processes.
    gone: the counters of fleets that are gone. version: the hash of the configuration in use.
    health: what is known of answers to /health.
    """

    current: Fleet | None
    fleets: Sequence[Fleet]
    gone: Mapping[Sample, float]
    is_terminating: bool
    ready_when: ReadyWhen
    version: str = ""
    failed_reloads: int = 0
    health: Mapping[Sample, int] = field(default_factory=dict)

    def reasons_not_ready(self, now: float) -> list[str]:
        """Why queries should not be sent here, by CLOCK_MONOTONIC's seconds."""
        sources = self.current.statuses if self.current else ()
        workers = self.current.shortfall(now) if self.current else _NO_FLEET
        return reasons_not_ready(self.ready_when, sources, workers, self.is_terminating, int(now * 1e9))


def pages_of(look: Callable[[], View]) -> Pages:
    """The pages by their paths. They cost nothing until they are asked for."""
    return {HEALTH: _health, READY: partial(_ready, look), METRICS: partial(_metrics, look)}


def _health() -> Page:
    """That the process lives, as in CoreDNS also while it prepares to end: restarting it would help nobody."""
    return Page(HTTPStatus.OK, b"OK")


def _ready(look: Callable[[], View]) -> Page:
    reasons = look().reasons_not_ready(time.monotonic())
    if reasons:
        return Page(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(reasons).encode())
    return Page(HTTPStatus.OK, b"OK")


def _metrics(look: Callable[[], View]) -> Page:
    from kdns.observe import exposition  # of use only to who scrapes, and large

    page = exposition.expose(_facts(look(), time.monotonic()))
    return Page(HTTPStatus.OK, page, exposition.CONTENT_TYPE)


def _facts(view: View, now: float) -> Facts:
    fleet = view.current
    return Facts(
        workers=_workers(fleet.slots if fleet else ()),
        is_ready=not view.reasons_not_ready(now),
        clusters=[_cluster(status) for status in fleet.statuses if status[Word.KINDS]] if fleet else [],
        now_ns=int(now * 1e9),
        samples=_samples(view),
    )


def _samples(view: View) -> Mapping[Sample, float]:
    """What workers and forwarders have counted, what the supervisor knows itself, and the kernel."""
    found: Counter[Sample] = Counter(view.gone)
    for one in view.fleets:
        found.update(one.counters())
    _keep_most(found, families.NAMESPACE_REQUESTS)
    found.update({Sample(families.RELOAD_FAILED): view.failed_reloads, **view.health, **footprint()})
    if view.version:
        found[Sample(families.RELOAD_VERSION, (HASH_NAME, view.version))] = 1
    fleet = view.current
    if fleet is not None:
        found.update(fleet.gauges())
        for server, zone, name in fleet.plan.admin.enabled:
            found[Sample(families.PLUGIN_ENABLED, (server, zone, "", name))] = 1
        for address, binding in fleet.bindings.items():
            found.update(queue_samples(str(address), binding.udp))
        found.update(_snapshot_time(fleet.plan.settings.snapshot))
        found.update(_hosts(fleet.statuses))
    return found


def _hosts(statuses: Statuses) -> dict[Sample, float]:
    """Of all hosts files together, as CoreDNS tells it; nothing where there are none."""
    rows = [one for one in statuses if one.origin.is_hosts]
    if not rows:
        return {}
    return {
        Sample(families.HOSTS_ENTRIES): sum(one[Word.HOSTS_NAMES] for one in rows),
        Sample(families.HOSTS_TIME): max(one[Word.HOSTS_READ_AT] for one in rows),
    }


def _keep_most(samples: Counter[Sample], name: str) -> None:
    """Tell only those of a metric that have most."""
    for sample in sorted((one for one in samples if one.name == name), key=lambda one: -samples[one])[TOLD_MAX:]:
        del samples[sample]


def _snapshot_time(path: str) -> dict[Sample, float]:
    try:
        return {Sample(families.SNAPSHOT_TIME): os.stat(path).st_mtime} if path else {}
    except OSError:  # none was written yet, or it cannot be seen from here
        return {}


def _workers(slots: Iterable[Slot]) -> dict[str, int]:
    """How many are in which state, the states in which none is included."""
    found = Counter("missing" if not slot.pid else slot.state.name.lower() for slot in slots)
    return {state: found[state] for state in _WORKER_STATES}


def _cluster(status: SourceStatus) -> ClusterFacts:
    return ClusterFacts(status.origin.label, {word: status[word] for word in Word})
