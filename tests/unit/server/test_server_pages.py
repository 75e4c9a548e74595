"""kdns.server.pages: what the pages say of what the supervisor sees."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdns.corefile import Condition, ReadyWhen, parse_corefile
from kdns.observe.families import DROPPED, Sample
from kdns.observe.logs import Log
from kdns.observe.status import Word
from kdns.observe.tally import Tally
from kdns.server.admin import HEALTH, METRICS, READY
from kdns.server.assembly import assemble
from kdns.server.control import Birth
from kdns.server.fleet import Fleet
from kdns.server.labels import labels_of
from kdns.server.pages import View, pages_of
from kdns.server.slots import Serials, SlotState
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_SERVICES

COREFILE = """
. {
    kubernetes cluster.local
    file a.zone example.org
}
cluster.local:5353 {
    kubernetes cluster.local {
        ttl 60
    }
}
"""


NewFleet = Callable[..., Fleet]


@pytest.fixture
def new_fleet() -> Iterator[NewFleet]:
    """Fleets without processes."""
    plan = assemble(parse_corefile(COREFILE, "Corefile"), lambda _: (), lambda: ())
    fleets = []

    def make(workers: int = 2) -> Fleet:
        fleets.append(Fleet(plan, {}, workers, Serials(), Birth.START, Log(quiet=True)))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()


@pytest.fixture
def fleet(new_fleet: NewFleet) -> Fleet:
    """One that reads queries, and knows all of its clusters."""
    fleet = new_fleet()
    for slot in fleet.slots:
        slot.pid, slot.state = 1, SlotState.READY
    for status in fleet.statuses:
        status[Word.IS_LOADED] = 1
    return fleet


def _view(fleet: Fleet | None, *others: Fleet, is_terminating: bool = False) -> View:
    fleets = [one for one in (fleet, *others) if one is not None]
    return View(fleet, fleets, {}, is_terminating, ReadyWhen())


def _page(path: str, view: View) -> tuple[int, str]:
    page = pages_of(lambda: view)[path]()
    return page.status, page.body.decode()


def _metrics(view: View) -> dict[str, dict[tuple[str, ...], float]]:
    families = text_string_to_metric_families(_page(METRICS, view)[1])
    samples = [sample for family in families for sample in family.samples]
    return {
        name: {tuple(one.labels.values()): one.value for one in samples if one.name == name}
        for name in {sample.name for sample in samples}
    }


@pytest.mark.parametrize("is_terminating", [False, True])
def test_health_is_that_the_process_lives(is_terminating: bool) -> None:
    assert _page(HEALTH, _view(None, is_terminating=is_terminating)) == (200, "OK")


def test_ready_lists_what_is_not(fleet: Fleet) -> None:
    assert _page(READY, _view(fleet)) == (200, "OK")
    fleet.statuses[0][Word.LACKS] = LACKS_SERVICES | LACKS_ENDPOINTS
    fleet.statuses[2][Word.IS_LOADED] = 0
    assert _page(READY, _view(fleet)) == (
        503,
        "kubernetes cluster.local.: not wholly known yet: services, endpointslices\n"
        "kubernetes cluster.local. (2): nothing is known yet",
    )
    serving = replace(_view(fleet), ready_when=ReadyWhen(Condition.SERVING))
    assert _page(READY, serving) == (200, "OK")


def test_the_end_is_announced_before_anything_else_changes(fleet: Fleet) -> None:
    assert _page(READY, _view(fleet, is_terminating=True)) == (503, "Shutting down")


def test_without_a_fleet_nothing_is_ready() -> None:
    assert _page(READY, _view(None)) == (503, "workers: none is left")


def test_only_the_fleet_that_answers_decides(fleet: Fleet, new_fleet: NewFleet) -> None:
    assert _page(READY, _view(fleet, new_fleet())) == (200, "OK")
    assert _page(READY, _view(new_fleet(), fleet))[0] == 503


def test_workers_are_counted_by_state(fleet: Fleet, new_fleet: NewFleet) -> None:
    fleet.slots[0].pid = 0
    workers = _metrics(_view(fleet, new_fleet(3)))["kdns_workers"]
    assert workers == {("missing",): 1, ("starting",): 0, ("ready",): 1, ("draining",): 0}
    assert sum(_metrics(_view(None))["kdns_workers"].values()) == 0


def test_counters_are_those_of_all_workers_that_there_have_been(fleet: Fleet, new_fleet: NewFleet) -> None:
    other = new_fleet(1)
    for slot, count in ((fleet.slots[0], 1), (fleet.slots[1], 2), (other.slots[0], 4)):
        for _ in range(count):
            Tally(labels_of(fleet.plan).layout, slot.counters).dropped()
    gone = {Sample(DROPPED): 8}
    assert _metrics(replace(_view(fleet, other), gone=gone))["kdns_dns_dropped_total"] == {(): 15}
    assert _metrics(replace(_view(None, other), gone=gone))["kdns_dns_dropped_total"] == {(): 12}


def test_clusters_are_told_as_soon_as_control_has_told_of_them(fleet: Fleet) -> None:
    assert "kdns_cluster_staleness_seconds" not in _metrics(_view(fleet))
    row = fleet.statuses[2]
    row[Word.KINDS], row[Word.SERVICES] = LACKS_SERVICES, 9
    row.stale_since_ns = time.monotonic_ns() - 5 * 10**9
    metrics = _metrics(_view(fleet))
    assert metrics["kdns_cluster_objects"] == {("services", "cluster.local. (2)"): 9}
    assert 5 <= metrics["kdns_cluster_staleness_seconds"][("cluster.local. (2)",)] < 60


def test_metrics_say_whether_ready_says_ok(fleet: Fleet) -> None:
    assert _metrics(_view(fleet))["kdns_ready"] == {(): 1}
    assert _metrics(_view(fleet, is_terminating=True))["kdns_ready"] == {(): 0}


def test_nothing_is_loaded_for_who_does_not_scrape() -> None:
    """Some 12 MB in every process that is forked."""
    program = "import sys, kdns.server.supervisor; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
