"""kdns.server.fleet: whether its workers suffice, what a control is born as, what shared memory says without one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

import kdns.server.fleet
from kdns.corefile import parse_corefile
from kdns.observe.families import DROPPED, RESPONSES, Sample
from kdns.observe.logs import Log
from kdns.observe.status import Word
from kdns.observe.tally import Making, Tally
from kdns.server.assembly import assemble
from kdns.server.control import Birth, ControlPlan
from kdns.server.fleet import SHORTFALL_SECONDS, Fleet
from kdns.server.labels import labels_of
from kdns.server.process import EXIT_ERROR
from kdns.server.restarts import Watchdog
from kdns.server.slots import Serials, SlotState
from kdns.server.status import Statuses, origins_of
from kdns.wire.iana import RRType

COREFILE = ". {\n kubernetes cluster.local\n file a.zone example.org\n}\n"
KILLED = int(signal.SIGKILL)  # wait statuses
ERROR = EXIT_ERROR << 8


class Stage:
    """A fleet of two workers and a control that nobody forks: the test plays them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, birth: Birth) -> None:
        self.controls: list[ControlPlan] = []
        self.killed: list[tuple[int, int]] = []
        self._pids = count(2**22)  # beyond what the kernel gives to anybody
        monkeypatch.setattr(kdns.server.fleet, "fork", self._fork)
        monkeypatch.setattr(kdns.server.fleet, "enter", lambda *_: None)
        monkeypatch.setattr(kdns.server.fleet, "run_worker", lambda _: 0)
        monkeypatch.setattr(kdns.server.fleet, "run_control", self._run_control)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.killed.append((pid, number)))
        plan = assemble(parse_corefile(COREFILE, "Corefile"), lambda _: (), lambda: ())
        self.before = Statuses(origins_of(plan.sources))
        self.fleet = Fleet(plan, {}, 2, Serials(), birth, Log(quiet=True), self.before)
        self.layout = labels_of(plan).layout
        self.now = time.monotonic()
        self._watchdog = Watchdog(self.now, 1e9)  # nobody is silent
        self.tick()

    def tick(self, later: float = 0.0) -> None:
        self.now += later
        for slot in self.fleet.slots:
            slot.heartbeat_ns = int(self.now * 1e9)
        self.fleet.tick(self.now, self._watchdog)

    def become_ready(self) -> None:
        for slot in self.fleet.slots:
            slot.state = SlotState.READY

    def end(self, pid: int, status: int = KILLED) -> bool:
        return self.fleet.on_exit(pid, status, self.now)

    @property
    def control_pid(self) -> int:
        """Control is forked last."""
        return self._last_pid

    @property
    def shortfall(self) -> str:
        return self.fleet.shortfall(self.now)

    def _fork(self, body: Callable[[], int]) -> int:
        body()
        self._last_pid = next(self._pids)
        return self._last_pid

    def _run_control(self, plan: ControlPlan) -> int:
        self.controls.append(plan)
        return 0


@pytest.fixture(params=[Birth.START])
def stage(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(monkeypatch, request.param)
    yield made
    made.fleet.close()


def test_workers_suffice_when_all_of_them_read_queries(stage: Stage) -> None:
    assert stage.shortfall == "0 of 2 read queries"
    stage.fleet.slots[0].state = SlotState.READY
    assert stage.shortfall == "1 of 2 read queries"
    stage.become_ready()
    assert stage.shortfall == ""


def test_a_worker_that_is_being_replaced_is_missed_only_after_a_while(stage: Stage) -> None:
    stage.become_ready()
    stage.tick()
    stage.end(stage.fleet.slots[1].pid)
    stage.tick(1.0)
    assert stage.fleet.slots[1].state is SlotState.STARTING
    assert stage.shortfall == ""
    stage.tick(SHORTFALL_SECONDS)
    assert stage.shortfall == ""
    stage.tick(0.1)
    assert stage.shortfall == "1 of 2 read queries"
    stage.become_ready()
    assert stage.shortfall == ""


def test_a_later_loss_is_borne_as_long_as_the_first_one(stage: Stage) -> None:
    for _ in range(2):
        stage.become_ready()
        stage.tick(100.0)
        stage.fleet.slots[0].state = SlotState.STARTING
        stage.tick(1.0)
        stage.tick(SHORTFALL_SECONDS - 1.0)
        assert stage.shortfall == ""


def test_being_ready_is_noticed_without_a_tick(stage: Stage) -> None:
    assert not stage.fleet.was_ready
    stage.become_ready()
    assert stage.fleet.was_ready
    stage.end(stage.fleet.slots[0].pid)
    assert stage.fleet.was_ready
    assert stage.shortfall == ""


@pytest.mark.parametrize(
    ("stage", "birth"), [(Birth.START, Birth.START), (Birth.RELOAD, Birth.RELOAD)], indirect=["stage"]
)
def test_a_control_is_born_into_what_its_fleet_is(stage: Stage, birth: Birth) -> None:
    stage.end(stage.control_pid)  # before anything was answered
    stage.tick()
    stage.become_ready()
    stage.end(stage.control_pid)
    stage.tick(10.0)
    assert [plan.birth for plan in stage.controls] == [birth, birth, Birth.RESTART]
    assert [plan.epoch for plan in stage.controls] == [1, 2, 3]
    # What is answered meanwhile: by the fleet before, and once this one has been ready, by its own workers.
    assert [plan.former for plan in stage.controls] == [stage.before, stage.before, stage.fleet.statuses]


def test_every_control_has_the_rows_of_the_one_before(stage: Stage) -> None:
    stage.controls[0].statuses[0][Word.IS_SYNCED] = 1
    stage.become_ready()
    stage.end(stage.control_pid)
    stage.tick()
    assert stage.controls[1].statuses[0][Word.IS_SYNCED] == 1
    assert [status.origin.label for status in stage.fleet.statuses] == ["cluster.local.", "example.org."]


def test_without_control_what_it_watched_is_stale_and_what_it_read_is_not(stage: Stage) -> None:
    stage.become_ready()
    assert [status.stale_since_ns for status in stage.fleet.statuses] == [None, None]
    stage.now += 3
    stage.end(stage.control_pid)
    assert [status.stale_since_ns for status in stage.fleet.statuses] == [int(stage.now * 1e9), None]


def test_the_death_of_a_worker_makes_nothing_stale(stage: Stage) -> None:
    stage.end(stage.fleet.slots[0].pid)
    assert stage.fleet.statuses[0].stale_since_ns is None


def test_a_control_that_gives_up_is_followed_by_none_only_while_nothing_was_answered(stage: Stage) -> None:
    assert stage.end(stage.control_pid, ERROR)
    stage.tick()
    stage.become_ready()
    assert not stage.end(stage.control_pid, ERROR)


def test_a_worker_that_cannot_have_its_port_ends_a_start_and_no_more(stage: Stage) -> None:
    assert stage.end(stage.fleet.slots[0].pid, ERROR)
    stage.tick()
    stage.become_ready()
    assert not stage.end(stage.fleet.slots[0].pid, ERROR)


def test_counters_are_summed_over_workers_and_outlive_them(stage: Stage) -> None:
    for slot in stage.fleet.slots:
        tally = Tally(stage.layout, slot.counters)
        tally.dropped()
        tally.meter(0, False, 4).counts[tally.cell(0, Making(RRType.A, 0, "kubernetes"))] += 4
        tally.fold()
    stage.end(stage.fleet.slots[0].pid)
    stage.tick()
    counts = stage.fleet.counters()
    assert counts[Sample(DROPPED)] == 2
    assert counts[Sample(RESPONSES, ("dns://:53", ".", "", "NOERROR", "kubernetes"))] == 8


def test_draining_asks_all_processes_and_forks_no_more(stage: Stage) -> None:
    pids = {slot.pid for slot in stage.fleet.slots} | {stage.control_pid}
    stage.fleet.drain()
    assert set(stage.killed) == {(pid, signal.SIGTERM) for pid in pids}
    for pid in pids:
        assert not stage.end(pid, 0)
    assert stage.fleet.is_gone
    stage.tick(100.0)
    assert stage.fleet.is_gone
