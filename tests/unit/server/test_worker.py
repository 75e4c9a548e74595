"""kdns.server.worker: a worker in a process of its own, with the test in control's place."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from random import Random

import dns.message
import dns.query
import pytest

from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.observe.families import KDNS_RESPONSES, PANICS, Sample
from kdns.observe.logs import Log
from kdns.observe.querylog import QueryLog
from kdns.observe.sampling import NAMESPACE_WORDS
from kdns.server.assembly import Plan
from kdns.server.feed import Change, Scope, encode
from kdns.server.labels import labels_of
from kdns.server.process import EXIT_ERROR, fork
from kdns.server.publisher import Publisher
from kdns.server.slots import Slots, SlotState
from kdns.server.sockets import Address, bind_all
from kdns.server.worker import Worker, WorkerPlan, run_worker
from kdns.wire.name import ROOT, from_text
from kdns.zone.delta import ZoneDelta
from kdns.zone.subtree import Subtree
from tests.server.serving import free_port
from tests.support.stopping import stop

SPECIFICATION = Specification(
    sources=(ClusterSpec((from_text("cluster.local"),)),), sites=(SiteSpec((ROOT,), (0,)),), listeners=((0,),)
)
PATIENCE = 10.0
PLAN = Plan(SPECIFICATION, ((Address("127.0.0.1", 53),),), (), (QueryLog([]),))
LAYOUT = labels_of(PLAN).layout


def delta(value: int, *, count: int = 1) -> ZoneDelta:
    subtrees = tuple(
        Subtree(from_text(f"s{at}.shop.svc")[:-1], addresses=(bytes((10, 0, 0, value)),)) for at in range(count)
    )
    return ZoneDelta(0, serial=value, subtrees=subtrees, namespaces=(b"\x04shop",))


class Harness:
    """A slot, its sockets, and the test as control."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", free_port())
        self.binding = bind_all([self.address], 1)[self.address]
        self.slots = Slots(1, LAYOUT.words + NAMESPACE_WORDS)
        self.slot = self.slots[0]
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.ours, self.theirs):
            end.setblocking(False)
        self.log, self._log_writer = os.pipe()
        self.value = 1
        self.size = 1
        self.publisher = Publisher(1, [self.ours], self.image, lambda _: self.slot.incarnation)
        self.pid = 0

    def image(self) -> Iterator[ZoneDelta]:
        yield ZoneDelta(0, serial=self.value, reset=True)
        yield delta(self.value, count=self.size)

    def start(self) -> None:
        self.slot.begin(time.monotonic_ns())
        sockets = [self.binding.for_slot(0, 0)]
        plan = WorkerPlan(PLAN, sockets, self.theirs, self.slot, Log(self._log_writer))
        self.pid = fork(lambda: run_worker(plan))
        self.publisher.subscribers[0].acknowledged = 0  # as its Hello is going to say

    def exchange_until(self, is_so: Callable[[], bool]) -> None:
        """Do control's work until something is so."""
        subscriber = self.publisher.subscribers[0]
        end = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < end
            select.select([self.ours], [], [], 0.01)
            self.publisher.receive(subscriber)
            if subscriber.is_lagging:
                self.publisher.catch_up(subscriber)

    def become_current(self) -> None:
        self.exchange_until(lambda: self.publisher.visible_generation == self.publisher.generation)

    def ask(self) -> list[str]:
        query = dns.message.make_query("s0.shop.svc.cluster.local", "A")
        reply = dns.query.udp(query, self.address.host, port=self.address.port, timeout=PATIENCE)
        return [rdata.to_text() for rrset in reply.answer for rdata in rrset]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, when it ends by itself."""
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def logged(self) -> str:
        """Wait for something in the log."""
        assert select.select([self.log], [], [], PATIENCE)[0]
        return os.read(self.log, 65536).decode()

    def close(self) -> None:
        if self.pid:
            self.end(signal.SIGKILL)
        self.binding.close()
        for end in (self.ours, self.theirs):
            end.close()
        for fd in (self.log, self._log_writer):
            os.close(fd)


@pytest.fixture
def worker() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.close()


def test_queries_are_refused_until_the_image_is_whole(worker: Harness) -> None:
    worker.start()
    query = dns.message.make_query("s0.shop.svc.cluster.local", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(worker.address)
        client.send(query)
        with pytest.raises(ConnectionRefusedError):
            client.recv(4096)
        worker.exchange_until(lambda: worker.slot.heartbeat_ns > 0)
        worker.become_current()
        assert worker.slot.state is SlotState.READY
        client.send(query)
        assert dns.message.from_wire(client.recv(4096)).answer
    assert worker.end() == 0


def test_queries_queued_between_two_workers_of_a_slot_are_answered_by_the_second(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    worker.end(signal.SIGKILL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(dns.message.make_query("s0.shop.svc.cluster.local", "A").to_wire(), worker.address)
        worker.start()
        worker.become_current()
        assert dns.message.from_wire(client.recv(4096)).answer
    assert worker.end() == 0


def test_the_supervisor_hears_of_a_worker_that_can_answer(worker: Harness) -> None:
    signals: list[int] = []
    former = signal.signal(signal.SIGCHLD, lambda number, _: signals.append(number))
    try:
        worker.start()
        worker.become_current()
        assert signals
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_a_port_that_somebody_has_taken_since_it_was_reserved_ends_the_worker(worker: Harness) -> None:
    worker.binding.reservation.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(worker.address)
        worker.start()
        worker.exchange_until(lambda: bool(select.select([worker.log], [], [], 0)[0]))
        assert f"cannot listen on UDP {worker.address}: address already in use: another" in worker.logged()
        assert worker.wait() == EXIT_ERROR


def test_changes_are_applied_in_order(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    for value in (2, 3, 4):
        worker.publisher.publish(Scope.DELTA, 0, [delta(value)])
    worker.become_current()
    assert worker.ask() == ["10.0.0.4"]


def test_a_malformed_message_is_logged_and_an_image_makes_up_for_it(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    worker.ours.send(b"\xc1 this is no message")
    assert "kdns bug: a change from control cannot be loaded" in worker.logged()
    assert worker.ask() == ["10.0.0.1"]
    worker.value = 5
    worker.exchange_until(lambda: worker.publisher.visible_generation == 0)  # it has asked
    worker.become_current()
    assert worker.ask() == ["10.0.0.5"]


@pytest.mark.parametrize(
    "change",
    [
        Change(1, 2, Scope.DELTA, 0, b"\0\0\0\x01\xc1"),
        Change(1, 2, Scope.DELTA, 0, None),  # its memfd is missing
        Change(1, 2, Scope.SOURCE, 0, b""),
        Change(1, 2, Scope.SOURCE, 99, b""),
    ],
)
def test_a_change_that_cannot_be_loaded_changes_nothing(worker: Harness, change: Change) -> None:
    worker.start()
    worker.become_current()
    worker.ours.send(encode(change))
    assert "kdns bug" in worker.logged()
    assert worker.ask() == ["10.0.0.1"]


def test_a_missing_generation_makes_the_worker_ask(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    worker.publisher.generation += 1
    worker.value = 6
    worker.publisher.publish(Scope.DELTA, 0, [delta(9)])
    worker.become_current()
    assert worker.ask() == ["10.0.0.6"]


def test_queries_are_answered_while_a_large_image_is_loaded(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    worker.size = 20_000
    worker.value = 2
    worker.publisher.publish_image()
    worker.publisher.catch_up(worker.publisher.subscribers[0])
    answers = {tuple(worker.ask()) for _ in range(50)}
    assert answers <= {("10.0.0.1",), ("10.0.0.2",)}
    worker.become_current()
    assert worker.ask() == ["10.0.0.2"]


def test_the_heart_beats(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    before = worker.slot.heartbeat_ns
    worker.exchange_until(lambda: worker.slot.heartbeat_ns > before)
    assert worker.slot.heartbeat_ns <= time.monotonic_ns()


def test_counters_go_on_where_the_former_worker_left_them(worker: Harness) -> None:
    replies = Sample(KDNS_RESPONSES, ("udp", "A", "NOERROR"))
    worker.start()
    worker.become_current()
    for _ in range(3):
        worker.ask()
    assert worker.end() == 0
    assert LAYOUT.samples(worker.slot.counters[: LAYOUT.words].tolist())[replies] == 3
    worker.start()
    worker.become_current()
    worker.ask()
    assert worker.end() == 0
    assert LAYOUT.samples(worker.slot.counters[: LAYOUT.words].tolist())[replies] == 4


def test_a_new_worker_takes_nothing_from_what_was_sent_to_the_former_one(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    stop(worker.pid)
    for value in range(2, 30):
        worker.publisher.publish(Scope.DELTA, 0, [delta(value)])
    assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    worker.value = 77
    worker.start()
    worker.exchange_until(lambda: worker.slot.state is SlotState.READY)
    worker.become_current()
    assert worker.ask() == ["10.0.0.77"]


def test_a_worker_without_control_answers_on(worker: Harness) -> None:
    worker.start()
    worker.become_current()
    for _ in range(2000):  # nobody hears it, and its acknowledgements would fill the socket
        try:
            worker.theirs.send(b"nobody reads this")
        except BlockingIOError:
            break
    worker.ours.send(encode(Change(1, 2, Scope.DELTA, 0, None)))
    assert "kdns bug" in worker.logged()
    assert worker.ask() == ["10.0.0.1"]
    assert worker.end() == 0


@pytest.mark.parametrize("beats", [0, 1, 2])
def test_a_worker_that_never_got_an_image_ends_at_once(worker: Harness, beats: int) -> None:
    """However early it is told to: before its loop runs, or while it waits for control."""
    worker.start()
    end = time.monotonic() + PATIENCE
    for _ in range(beats):
        before = worker.slot.heartbeat_ns
        while worker.slot.heartbeat_ns == before:
            assert time.monotonic() < end
    assert worker.end() in (0, -signal.SIGTERM)


def test_rotation_differs_between_workers() -> None:
    """Each worker draws for itself: what the parent drew from before the fork is not repeated in every child."""
    draws = [_drawn() for _ in range(2)]
    assert draws[0] != draws[1]


def _drawn() -> bytes:
    reader, writer = os.pipe()

    def body() -> int:
        os.write(writer, Random().randbytes(16))
        return 0

    os.waitpid(fork(body), 0)
    drawn = os.read(reader, 16)
    os.close(reader)
    os.close(writer)
    return drawn


def test_a_query_that_a_mistake_of_kdns_kept_from_its_answer_is_counted(worker: Harness) -> None:
    plan = WorkerPlan(PLAN, [], worker.theirs, worker.slot, Log(worker._log_writer))
    loop = asyncio.new_event_loop()
    try:
        Worker(plan, loop)._report_failure(RuntimeError("bug"), b"\x01\x02")
    finally:
        loop.close()
    assert LAYOUT.samples(worker.slot.counters[: LAYOUT.words].tolist()) == {Sample(PANICS): 1}
    assert "kdns bug: a query could not be answered: RuntimeError('bug'); query: 0102" in worker.logged()
