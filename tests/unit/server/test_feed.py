"""kdns.server.feed and .publisher: whatever is lost, late or left over, a worker ends with what control has.

The sockets are real, the processes are not: a worker here is a Follower with a dictionary for an engine.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.server.feed import (
    MAX_MESSAGE_OCTETS,
    Acknowledge,
    Change,
    Follower,
    Hello,
    MalformedMessage,
    Scope,
    Verdict,
    decode_from_control,
    decode_from_worker,
    encode,
)
from kdns.server.parcel import unpack, unpack_file
from kdns.server.publisher import Publisher
from kdns.zone.delta import ZoneDelta


def change(epoch: int, generation: int, scope: Scope = Scope.DELTA) -> Change:
    return Change(epoch, generation, scope, 0, b"")


# The messages


@pytest.mark.parametrize("message", [Hello(3), Acknowledge(3, 2, 1)])
def test_a_workers_messages_are_decoded_by_control(message: Hello | Acknowledge) -> None:
    assert decode_from_worker(encode(message)) == message


@pytest.mark.parametrize("parcel", [b"", b"data", None])
@pytest.mark.parametrize("scope", Scope)
def test_controls_messages_are_decoded_by_a_worker(scope: Scope, parcel: bytes | None) -> None:
    message = Change(1, 2, scope, -1, parcel)
    assert decode_from_control(encode(message)) == message


@given(st.binary(max_size=100))
def test_any_octets_are_a_message_or_malformed(data: bytes) -> None:
    for decode in (decode_from_control, decode_from_worker):
        with contextlib.suppress(MalformedMessage):
            decode(data)


# The rules of following


def test_before_the_image_everything_else_is_ignored() -> None:
    follower = Follower()
    assert follower.judge(change(1, 1)) is Verdict.IGNORE
    assert follower.judge(change(1, 5, Scope.SOURCE)) is Verdict.IGNORE
    assert follower.judge(change(1, 5, Scope.IMAGE)) is Verdict.LOAD


def test_a_change_that_follows_is_loaded_and_an_old_one_is_ignored() -> None:
    follower = Follower()
    follower.loaded(change(1, 5, Scope.IMAGE))
    assert follower.judge(change(1, 6)) is Verdict.LOAD
    assert follower.judge(change(1, 6, Scope.SOURCE)) is Verdict.LOAD
    assert follower.judge(change(1, 5)) is Verdict.IGNORE
    assert follower.judge(change(1, 4)) is Verdict.IGNORE


def test_a_gap_makes_the_worker_ask_and_then_wait_for_the_image() -> None:
    follower = Follower()
    follower.loaded(change(1, 5, Scope.IMAGE))
    assert follower.judge(change(1, 7)) is Verdict.ASK
    follower.lost()
    assert follower.judge(change(1, 8)) is Verdict.IGNORE
    assert follower.judge(change(1, 8, Scope.IMAGE)) is Verdict.LOAD


def test_what_a_dead_control_left_over_is_ignored() -> None:
    follower = Follower()
    follower.loaded(change(2, 1, Scope.IMAGE))
    assert follower.judge(change(1, 2)) is Verdict.IGNORE
    assert follower.judge(change(1, 99, Scope.IMAGE)) is Verdict.IGNORE


def test_a_new_control_starts_with_an_image() -> None:
    follower = Follower()
    follower.loaded(change(1, 5, Scope.IMAGE))
    assert follower.judge(change(2, 6)) is Verdict.ASK
    assert follower.judge(change(2, 1, Scope.IMAGE)) is Verdict.LOAD


# Publisher and followers together


class World:
    """One control and the slots of its workers; the state is one number for each source."""

    def __init__(self, slots: int) -> None:
        self.state = {0: 0, 1: 0}
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(slots)]
        for pair in self.pairs:
            for end in pair:
                end.setblocking(False)
        self.epoch = 0
        self.workers = [Worker(pair[1], 1) for pair in self.pairs]
        self.publisher = self.new_control()

    def new_control(self) -> Publisher:
        """A control follows one that died: what was in its memory is gone, what is in the sockets is not."""
        self.epoch += 1
        ends = [pair[0] for pair in self.pairs]
        self.publisher = Publisher(self.epoch, ends, self.image, lambda slot: self.workers[slot].incarnation)
        return self.publisher

    def image(self) -> Iterator[ZoneDelta]:
        for source, value in self.state.items():
            yield ZoneDelta(source, serial=value)

    def change(self, source: int, scope: Scope) -> None:
        self.state[source] += 1
        self.publisher.publish(scope, source, [ZoneDelta(source, serial=self.state[source])])

    def kill_worker(self, slot: int) -> None:
        old = self.workers[slot]
        self.workers[slot] = Worker(old.sock, old.incarnation + 1)

    def exchange(self) -> None:
        """What control does when it comes round its loop."""
        for subscriber in self.publisher.subscribers:
            self.publisher.receive(subscriber)
            if subscriber.is_lagging:
                self.publisher.catch_up(subscriber)

    def settle(self) -> None:
        for _ in range(4):
            self.exchange()
            for worker in self.workers:
                worker.read()
        self.exchange()

    def close(self) -> None:
        for pair in self.pairs:
            for end in pair:
                end.close()


class Worker:
    """A worker without an engine."""

    def __init__(self, sock: socket.socket, incarnation: int) -> None:
        self.sock = sock
        self.incarnation = incarnation
        self.follower = Follower()
        self.state: dict[int, int | None] = {}
        self.send(Hello(incarnation))

    def send(self, message: Hello | Acknowledge) -> None:
        self.sock.send(encode(message))

    def read(self, most: int = 1000) -> None:
        for _ in range(most):
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, MAX_MESSAGE_OCTETS, 1)
            except BlockingIOError:
                return
            self.take(decode_from_control(data), fds)

    def take(self, message: Change, fds: list[int]) -> None:
        verdict = self.follower.judge(message)
        if verdict is not Verdict.LOAD:
            for fd in fds:
                os.close(fd)
        if verdict is Verdict.ASK:
            self.follower.lost()
            self.send(Hello(self.incarnation))
        if verdict is Verdict.LOAD:
            parts = unpack(message.parcel) if message.parcel is not None else unpack_file(fds[0])
            self.state |= {part.source: part.serial for part in parts}
            self.follower.loaded(message)
            self.send(Acknowledge(self.incarnation, message.epoch, message.generation))


@pytest.fixture
def world() -> Iterator[World]:
    one = World(slots=2)
    yield one
    one.close()


def test_everyone_gets_the_image_and_then_the_changes(world: World) -> None:
    world.settle()
    assert [worker.state for worker in world.workers] == [{0: 0, 1: 0}] * 2
    world.change(0, Scope.DELTA)
    world.change(1, Scope.SOURCE)
    assert world.publisher.visible_generation == 1
    world.settle()
    assert [worker.state for worker in world.workers] == [{0: 1, 1: 1}] * 2
    assert world.publisher.visible_generation == 3


def test_a_change_is_visible_when_the_last_worker_has_it(world: World) -> None:
    world.settle()
    world.change(0, Scope.DELTA)
    world.workers[0].read()
    world.exchange()
    assert world.publisher.visible_generation == 1
    world.workers[1].read()
    world.exchange()
    assert world.publisher.visible_generation == 2


def test_a_worker_that_reads_nothing_holds_nobody_up_and_gets_an_image_later(world: World) -> None:
    world.settle()
    slow = world.publisher.subscribers[1]
    for _ in range(20_000):
        world.change(0, Scope.DELTA)
        world.workers[0].read()
        world.publisher.receive(world.publisher.subscribers[0])
        if slow.is_lagging:
            break
    assert slow.is_lagging
    assert world.workers[0].state == world.state
    world.settle()
    assert world.workers[1].state == world.state
    assert world.publisher.visible_generation == world.publisher.generation


def test_acknowledgements_of_a_dead_worker_or_for_a_dead_control_do_not_count(world: World) -> None:
    world.settle()
    world.change(0, Scope.DELTA)
    world.workers[0].read()
    world.kill_worker(0)
    world.workers[1].read()
    world.exchange()
    assert world.publisher.visible_generation == 0
    world.new_control()
    world.workers[1].send(Acknowledge(1, 1, 99))
    world.exchange()
    assert world.publisher.visible_generation == 0
    world.settle()
    assert world.publisher.visible_generation == 1


def test_a_large_image_goes_by_memfd_and_leaks_no_descriptor(world: World) -> None:
    before = len(os.listdir("/proc/self/fd"))
    world.state |= {source: source for source in range(20_000)}
    world.settle()
    assert world.workers[0].state == world.state
    for _ in range(5):
        world.publisher.publish_image()
        world.settle()
    assert world.workers[1].state == world.state
    assert len(os.listdir("/proc/self/fd")) == before


STEPS = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 1), st.sampled_from([Scope.DELTA, Scope.SOURCE])),
    st.tuples(st.just("image")),
    st.tuples(st.just("read"), st.integers(0, 1), st.integers(1, 3)),
    st.tuples(st.just("exchange")),
    st.tuples(st.just("kill worker"), st.integers(0, 1)),
    st.tuples(st.just("kill control")),
    st.tuples(st.just("drop"), st.integers(0, 1)),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_dies_or_is_lost_every_worker_ends_with_the_state_of_control(
    steps: list[tuple[object, ...]],
) -> None:
    world = World(slots=2)
    actions: dict[str, Callable[..., object]] = {
        "change": world.change,
        "image": lambda: world.publisher.publish_image(),
        "read": lambda slot, most: world.workers[slot].read(most),
        "exchange": world.exchange,
        "kill worker": world.kill_worker,
        "kill control": world.new_control,
        "drop": lambda slot: _drop(world.workers[slot].sock),
    }
    try:
        for name, *arguments in steps:
            actions[str(name)](*arguments)
            for worker in world.workers:
                # Never a mixture: each source is at a value that it had.
                assert all(value is not None and value <= world.state[at] for at, value in worker.state.items())
        # A message that was dropped is noticed with the next one.
        world.settle()
        world.change(0, Scope.DELTA)
        world.settle()
        for worker in world.workers:
            assert worker.state == world.state
        assert world.publisher.visible_generation == world.publisher.generation
    finally:
        world.close()


def _drop(sock: socket.socket) -> None:
    """Lose a change on its way to a worker, which no socket does; images are asked for, so they are spared."""
    try:
        if decode_from_control(sock.recv(MAX_MESSAGE_OCTETS, socket.MSG_PEEK)).scope is Scope.IMAGE:
            return
        _, fds, _, _ = socket.recv_fds(sock, MAX_MESSAGE_OCTETS, 1)
    except BlockingIOError:
        return
    for fd in fds:
        os.close(fd)
