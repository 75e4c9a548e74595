"""kdns.server.fleet: its forwarder, which nobody forks: the test plays it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

import kdns.server.fleet
from kdns.corefile import parse_corefile
from kdns.observe.logs import Log
from kdns.server.assembly import assemble
from kdns.server.birth import Birth
from kdns.server.fleet import Fleet
from kdns.server.forwarder import Count, ForwarderPlan
from kdns.server.report import Report
from kdns.server.restarts import SILENCE_SECONDS, Watchdog
from kdns.server.slots import Serials, SlotState
from kdns.server.worker import WorkerPlan

KILLED = int(signal.SIGKILL)  # a wait status
QUIET = ". {\n whoami\n}\n"
FORWARDING = ". {\n whoami\n}\nexample.org {\n forward . 192.0.2.1\n}\n"


class Stage:
    """A fleet of two workers; `forwarders` and `workers` are the plans that were forked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, corefile: str) -> None:
        self.forwarders: list[ForwarderPlan] = []
        self.workers: list[WorkerPlan] = []
        self.killed: list[tuple[int, int]] = []
        self.kept: dict[str, set[int]] = {}
        self._pids = count(2**22)  # beyond what the kernel gives to anybody
        monkeypatch.setattr(kdns.server.fleet, "fork", self._fork)
        monkeypatch.setattr(kdns.server.fleet, "enter", lambda name, keep, _: self.kept.update({name: keep}))
        monkeypatch.setattr(kdns.server.fleet, "run_worker", lambda plan: self.workers.append(plan) or 0)
        monkeypatch.setattr(kdns.server.fleet, "run_control", lambda _: 0)
        monkeypatch.setattr(kdns.server.fleet, "run_forwarder", lambda plan: self.forwarders.append(plan) or 0)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.killed.append((pid, number)))
        plan = assemble(parse_corefile(corefile, "Corefile"), lambda _: (), lambda: ())
        self.fleet = Fleet(plan, {}, 2, Serials(), Birth.START, Log(quiet=True))
        self.now = time.monotonic()
        self._watchdog = Watchdog(self.now, 1e9)
        self.tick()

    @property
    def slot_pids(self) -> list[int]:
        return [slot.pid for slot in self.fleet.slots]

    @property
    def pid(self) -> int:
        return self.fleet.forwarder_slot.pid

    def tick(self, later: float = 0.0, *, beats: bool = True) -> None:
        self.now += later
        for slot in (*self.fleet.slots, *([self.fleet.forwarder_slot] if beats else ())):
            slot.heartbeat_ns = int(self.now * 1e9)
        self.fleet.tick(self.now, self._watchdog)

    def end(self, pid: int, status: int = KILLED) -> bool:
        return self.fleet.on_exit(pid, status, self.now)

    def _fork(self, body: Callable[[], int]) -> int:
        body()
        return next(self._pids)


@pytest.fixture(params=[FORWARDING])
def stage(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(monkeypatch, request.param)
    yield made
    made.fleet.close()


@pytest.mark.parametrize("stage", [QUIET], indirect=True)
def test_without_forward_nobody_forwards(stage: Stage) -> None:
    assert stage.forwarders == []
    assert stage.pid == 0
    assert [plan.forwarder for plan in stage.workers] == [None, None]


def test_the_forwarder_and_each_worker_share_a_pair_of_sockets(stage: Stage) -> None:
    (plan,) = stage.forwarders
    assert [len(group.forwards) for group in plan.groups] == [0, 1]
    for feed, worker in zip(plan.feeds, stage.workers, strict=True):
        assert worker.forwarder is not None
        assert worker.forwarder.slot is plan.slot
        feed.send(b"hello")
        assert worker.forwarder.feed.recv(10) == b"hello"


def test_the_sockets_are_kept_open_where_they_are_used(stage: Stage) -> None:
    assert stage.kept["kdns-forwarder"] == {feed.fileno() for feed in stage.forwarders[0].feeds}
    for index, worker in enumerate(stage.workers):
        assert worker.forwarder is not None
        assert worker.forwarder.feed.fileno() in stage.kept[f"kdns-worker-{index}"]
        assert worker.forwarder.feed.fileno() not in stage.kept["kdns-control"]


def test_a_forwarder_that_dies_is_replaced_on_the_same_sockets(stage: Stage) -> None:
    first = stage.pid
    stage.fleet.forwarder_slot.counters[Count.ASKED] = 5
    assert not stage.end(first)
    assert stage.pid == 0
    stage.tick()
    assert stage.pid not in (0, first)
    before, after = stage.forwarders
    assert before.feeds == after.feeds
    assert (after.slot.incarnation, after.slot.counters[Count.ASKED]) == (2, 5)
    assert stage.slot_pids == [slot.pid for slot in stage.fleet.slots]


def test_one_that_dies_again_and_again_is_started_less_and_less_often(stage: Stage) -> None:
    for _ in range(3):
        stage.end(stage.pid)
        stage.tick(0.15)
    assert len(stage.forwarders) == 3
    assert stage.pid == 0
    stage.tick(0.2)
    assert len(stage.forwarders) == 4


def test_one_that_ends_with_an_error_has_found_a_loop_and_ends_the_fleet(stage: Stage) -> None:
    assert stage.end(stage.pid, 1 << 8)


def test_one_that_ends_with_a_bug_does_not_end_the_fleet(stage: Stage) -> None:
    assert not stage.end(stage.pid, 70 << 8)


def test_it_is_told_to_look_for_loops_once_it_can_hear_of_it(stage: Stage) -> None:
    stage.fleet.look_for_loops()
    assert stage.killed == []
    stage.fleet.forwarder_slot.state = SlotState.READY
    stage.fleet.look_for_loops()
    assert stage.killed == [(stage.pid, signal.SIGUSR2)]


def test_one_that_is_silent_is_killed_once(stage: Stage) -> None:
    pid = stage.pid
    stage.tick(SILENCE_SECONDS + 0.1, beats=False)
    stage.fleet.forwarder_slot.heartbeat_ns = int(stage.now * 1e9)
    stage.tick()
    assert stage.killed == [(pid, signal.SIGKILL)]


def test_what_it_reports_outlives_it(stage: Stage) -> None:
    assert stage.fleet.forwarder_report() == Report()
    stage.forwarders[0].board.write(Report(asked=7))
    stage.end(stage.pid)
    stage.tick()
    assert stage.fleet.forwarder_report().asked == 7
    assert stage.forwarders[1].board.read().asked == 7


@pytest.mark.parametrize("stage", [QUIET], indirect=True)
def test_without_forward_there_is_nothing_to_report(stage: Stage) -> None:
    assert stage.fleet.forwarder_report() == Report()


def test_readiness_does_not_depend_on_it(stage: Stage) -> None:
    before = stage.fleet.shortfall(stage.now)
    stage.end(stage.pid)
    assert stage.fleet.shortfall(stage.now) == before


@pytest.mark.parametrize("is_replaced", [False, True])
def test_it_goes_when_no_worker_is_left_that_could_wait_for_it(stage: Stage, is_replaced: bool) -> None:
    pid, workers = stage.pid, stage.slot_pids
    stage.fleet.drain(is_replaced)
    stage.tick()
    assert pid not in {killed for killed, _ in stage.killed}
    stage.end(workers[0], 0)
    stage.tick()
    assert pid not in {killed for killed, _ in stage.killed}
    stage.end(workers[1], 0)
    stage.tick()
    stage.tick()
    assert [number for killed, number in stage.killed if killed == pid] == [signal.SIGTERM]
    assert not stage.fleet.is_gone
    stage.end(pid, 0)
    for killed, _ in stage.killed:
        stage.end(killed, 0)
    assert stage.fleet.is_gone


def test_one_that_dies_while_all_end_is_not_replaced(stage: Stage) -> None:
    stage.fleet.drain()
    stage.end(stage.pid)
    stage.tick(10.0)
    assert len(stage.forwarders) == 1


def test_the_last_resort_ends_it_too(stage: Stage) -> None:
    pid = stage.pid
    stage.fleet.kill()
    assert (pid, signal.SIGKILL) in stage.killed


def test_its_sockets_are_closed_with_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    stage = Stage(monkeypatch, FORWARDING)
    stage.fleet.close()
    assert len(os.listdir("/proc/self/fd")) == before
