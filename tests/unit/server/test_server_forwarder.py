"""kdns.server.forwarder and kdns.server.desk: with a resolver of the test's, and the test in the workers' place."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import uvloop

from kdns.forward.fairness import TopClients
from kdns.forward.groups import Group, make_groups
from kdns.forward.health import Care, Upstream
from kdns.forward.resolver import Counts
from kdns.forward.values import (
    Action,
    CacheSpec,
    Cancel,
    Fault,
    ForwardSpec,
    GroupSpec,
    Limits,
    Send,
    Tell,
    Transport,
    UpstreamSpec,
)
from kdns.observe.logs import Log
from kdns.server.asking import MESSAGE_OCTETS_MAX, Asks, Tolds, decode_tolds, encode
from kdns.server.desk import WAKE_SECONDS
from kdns.server.forwarder import COUNTS, DRAIN_SECONDS, FORMER_SECONDS, Count, Forwarder, ForwarderPlan
from kdns.server.forwarding import ForwardPlan, GroupPlan
from kdns.server.probes import LoopPlan
from kdns.server.report import Board
from kdns.server.slots import Slots, SlotState
from kdns.wire.name import ROOT
from kdns.wire.outside import Ask, Told
from tests.server.serving import free_port
from tests.support.stand import RD, question
from tests.support.upstreamserver import Asked, ScriptedUpstream

PATIENCE = 20.0
TICK = 0.002  # seconds between two looks at what is waited for
WORKERS = 2


class Scripted:
    """A resolver that asks its first upstream whatever it is asked, and tells what came of it."""

    def __init__(self, groups: Mapping[int, GroupSpec]) -> None:
        self.specs = groups
        self.groups: dict[int, Group] = {}
        self.counts, self.clients = Counts(), TopClients()
        specs = [spec for group in groups.values() for line in group.forwards for spec in line.upstreams]
        self.upstreams = [listed(spec) for spec in specs]
        self.wake_at = math.inf
        self.timeout = PATIENCE
        self.woken: list[float] = []
        self.faults: list[Fault] = []
        self.waiting: dict[int, tuple[int, int]] = {}
        self.on_wake: list[Action] = []
        self._token = 0

    def ask(self, worker: int, ask: Ask, now: float) -> list[Action]:
        if not self.upstreams:
            return [Tell(worker, Told(ask.number, 2, 0, b"nobody", (0, 0, 0)))]
        self._token += 1
        self.counts.asked += 1
        self.waiting[self._token] = worker, ask.number
        return [Send(self._token, 0, Transport.UDP, ask.question, ask.flags, ask.dnssec_ok, True, self.timeout)]

    def replied(self, token: int, reply: bytes, now: float) -> list[Action]:
        worker, number = self.waiting.pop(token)
        return [Tell(worker, Told(number, 0, 0, reply[-30:], (1, 0, 0)))]

    def failed(self, token: int, fault: Fault, now: float) -> list[Action]:
        self.faults.append(fault)
        worker, number = self.waiting.pop(token)
        return [Tell(worker, Told(number, 2, 0, b"", (0, 0, 0)))]

    def wake(self, now: float) -> list[Action]:
        self.woken.append(now)
        self.wake_at = math.inf
        return self.on_wake


def listed(spec: UpstreamSpec) -> Upstream:
    return Upstream(0, spec, Care(Transport.UDP, 2, 0.5, b"", 0))


class Play:
    """A forwarder on a loop, and the test as its workers."""

    def __init__(self, *sources: UpstreamSpec | str, loop: LoopPlan | None = None) -> None:
        self.loop = uvloop.new_event_loop()
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(WORKERS)]
        for end in (one for pair in pairs for one in pair):
            end.setblocking(False)
        self.workers, self._feeds = zip(*pairs, strict=True)
        self.slot = Slots(1, COUNTS)[0]
        self.slot.begin(0)
        self._log, log_writer = os.pipe()
        self.resolvers: list[Scripted] = []
        group = GroupPlan((ForwardPlan(ForwardSpec(ROOT, ()), sources),), loop=loop)
        self.board = Board()
        plan = ForwarderPlan((GroupPlan(), group), self._feeds, self.slot, self.board, Log(log_writer))
        self._log_writer = log_writer
        self.forwarder = Forwarder(plan, self.loop, self._resolver)
        self.loop.set_exception_handler(self.forwarder.report_exception)
        self.forwarder.start()
        self._lines = b""

    @property
    def resolver(self) -> Scripted:
        return self.resolvers[-1]

    @property
    def log(self) -> str:
        os.set_blocking(self._log, False)
        with suppress(BlockingIOError):
            self._lines += os.read(self._log, 65536)
        return self._lines.decode()

    def _resolver(self, groups: Mapping[int, GroupSpec], limits: Limits) -> Scripted:
        assert limits == Limits()
        self.resolvers.append(Scripted(groups))
        kept = {number: GroupSpec(group.forwards, CacheSpec()) for number, group in groups.items()}
        self.resolvers[-1].groups = make_groups(kept, Random(1))[0]
        return self.resolvers[-1]

    def ask(self, worker: int, *numbers: int, incarnation: int = 1) -> None:
        asks = tuple(Ask(number, 1, question(), RD, False, bytes(4)) for number in numbers)
        self.workers[worker].send(encode(Asks(incarnation, asks)))

    def turn(self) -> None:
        """Let what is due be done, and what has come be read."""
        for _ in range(2):
            self.loop.run_until_complete(asyncio.sleep(0))

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, self.log
            self.loop.run_until_complete(asyncio.sleep(TICK))

    def heard(self, worker: int, count: int = 1) -> list[Tolds]:
        found: list[Tolds] = []

        def is_there() -> bool:
            with suppress(BlockingIOError):
                found.append(decode_tolds(self.workers[worker].recv(MESSAGE_OCTETS_MAX)))
            return sum(len(one.tolds) for one in found) >= count

        self.until(is_there)
        return found

    def close(self) -> None:
        self.forwarder.close()
        self.turn()
        self.loop.close()
        for end in (*self.workers, *self._feeds):
            end.close()
        os.close(self._log)
        os.close(self._log_writer)


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(lambda asked: asked.answer("192.0.2.1")) as one:
        yield one


@pytest.fixture
def play(upstream: ScriptedUpstream) -> Iterator[Play]:
    one = Play(UpstreamSpec("127.0.0.1", upstream.port))
    yield one
    one.close()


def test_groups_without_forward_are_not_the_resolvers(play: Play, upstream: ScriptedUpstream) -> None:
    assert list(play.resolver.specs) == [1]
    assert play.resolver.specs[1].forwards[0].upstreams == (UpstreamSpec("127.0.0.1", upstream.port),)
    assert play.slot.state is SlotState.READY


def test_each_worker_is_told_what_it_asked(play: Play) -> None:
    play.ask(0, 7, incarnation=3)
    play.ask(1, 7, 8, incarnation=5)
    (first,) = play.heard(0)
    assert (first.incarnation, [told.number for told in first.tolds]) == (3, [7])
    others = play.heard(1, 2)
    assert {one.incarnation for one in others} == {5}
    assert sorted(told.number for one in others for told in one.tolds) == [7, 8]


def test_a_fault_goes_back_to_the_resolver(play: Play) -> None:
    play.resolver.upstreams = [listed(UpstreamSpec("127.0.0.1", free_port()))]
    play.ask(0, 1)
    assert play.heard(0)[0].tolds[0].rcode == 2
    assert play.resolver.faults == [Fault.REFUSED]


def test_a_time_out_is_told_to_the_resolver(play: Play) -> None:
    with ScriptedUpstream(lambda _: None) as silent:
        play.resolver.upstreams = [listed(UpstreamSpec("127.0.0.1", silent.port))]
        play.resolver.timeout = 0.05
        play.ask(0, 1)
        play.heard(0)
    assert play.resolver.faults == [Fault.TIMEOUT]


def test_the_resolver_is_woken_when_it_wants_to_be(play: Play) -> None:
    wanted = play.resolver.wake_at = time.monotonic() + 0.05
    play.ask(0, 1)
    play.heard(0)
    play.until(lambda: bool(play.resolver.woken))
    assert play.resolver.woken[0] >= wanted


def test_an_earlier_wish_to_be_woken_is_heard(play: Play) -> None:
    play.resolver.wake_at = time.monotonic() + 1000
    play.ask(0, 1)
    play.heard(0)
    play.resolver.wake_at = time.monotonic()
    play.ask(0, 2)
    play.until(lambda: bool(play.resolver.woken))


def test_a_resolver_that_always_wants_to_be_woken_is_woken_now_and_then(play: Play) -> None:
    def wake(now: float) -> list[Action]:
        woken.append(now)
        return []

    woken: list[float] = []
    play.resolver.wake = wake
    play.resolver.wake_at = 0.0
    play.ask(0, 1)
    play.until(lambda: len(woken) > 5)
    assert min(later - earlier for earlier, later in pairwise(woken)) > WAKE_SECONDS / 2


def test_what_is_cancelled_is_not_heard_of_again(play: Play) -> None:
    with ScriptedUpstream(lambda _: None) as silent:
        play.resolver.upstreams = [listed(UpstreamSpec("127.0.0.1", silent.port))]
        play.resolver.timeout = 0.2
        play.ask(0, 1)
        play.until(lambda: len(silent.asked) == 1)
        play.resolver.on_wake = [Cancel(1), Cancel(1), Cancel(99)]
        play.resolver.wake_at = time.monotonic()
        play.ask(0, 2)
        play.until(lambda: bool(play.resolver.faults))
    assert list(play.resolver.waiting) == [1]
    assert play.resolver.faults == [Fault.TIMEOUT]


def test_a_worker_that_does_not_read_loses_what_it_is_told_and_it_is_counted(play: Play) -> None:
    play._feeds[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    counts = play.forwarder._counts
    while counts[Count.DROPPED] == 0:
        play.ask(0, *range(50))
        play.until(lambda: counts[Count.ASKED] % 50 == 0 and counts[Count.ASKED] > 0 and not play.resolver.waiting)
        play.turn()
    play.ask(1, 1)
    assert play.heard(1)[0].tolds[0].number == 1
    play.until(lambda: counts[Count.TOLD] + counts[Count.DROPPED] == counts[Count.ASKED])


def test_large_replies_are_told_in_several_messages(play: Play) -> None:
    tolds = [Told(number, 0, 0, bytes(20_000), (1, 0, 0)) for number in range(5)]
    for told in tolds:
        play.forwarder._tell(1 << 16, told)
    heard = play.heard(0, 5)
    assert [len(one.tolds) for one in heard] == [1] * 5
    assert [told for one in heard for told in one.tolds] == tolds


def test_a_message_that_is_none_is_a_bug_that_is_told_and_survived(play: Play) -> None:
    play.workers[0].send(b"\xc1")
    play.ask(0, 1)
    play.heard(0)
    assert "kdns bug: a message of worker 0 does not decode" in play.log


def test_an_exception_of_the_resolver_is_told_and_survived(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> list[Action]:
        raise ZeroDivisionError("oh")

    with monkeypatch.context() as patch:
        patch.setattr(play.resolver, "ask", explode)
        play.ask(0, 1)
        play.until(lambda: "ZeroDivisionError: oh" in play.log)
    play.ask(0, 2)
    assert play.heard(0)[0].tolds[0].number == 2


def test_it_beats_and_counts_into_its_slot(play: Play) -> None:
    play.ask(0, 1)
    play.heard(0)
    play.slot.heartbeat_ns = 0
    play.until(lambda: play.slot.heartbeat_ns > 0 and play.slot.counters[Count.TOLD] == 1)


def test_what_it_reports_goes_on_with_its_successor_and_with_its_next_resolver(play: Play) -> None:
    play.ask(0, 1, 2)
    play.heard(0, 2)
    play.until(lambda: play.board.read().asked == 2)
    again = Forwarder(play.forwarder._plan, play.loop, play._resolver)
    again._desk.resolver.counts.asked = 3
    again._copy_counters()
    assert play.board.read().asked == 5
    former, again._desk = again._desk, again._new_desk()
    again._former.append(former)
    again._copy_counters()
    again._forget(former)
    again._desk.resolver.counts.asked = 4
    again._copy_counters()
    assert play.board.read().asked == 9
    again._desk.close()


def test_the_next_forwarder_counts_on_from_the_last_ones_counters() -> None:
    one = Play()
    one.slot.counters[Count.ASKED] = 41
    plan = one.forwarder._plan
    again = Forwarder(plan, one.loop, one._resolver)
    assert again._counts[Count.ASKED] == 41
    again._desk.close()
    one.close()


def test_at_the_end_what_is_under_way_is_finished(play: Play) -> None:
    held: list[Asked] = []

    def script(asked: Asked) -> None:
        held.append(asked)

    with ScriptedUpstream(script) as slow:
        play.resolver.upstreams = [listed(UpstreamSpec("127.0.0.1", slow.port))]
        play.ask(0, 1)
        play.until(lambda: bool(held))
        play.forwarder.drain()
        play.forwarder.drain()
        assert play.slot.state is SlotState.DRAINING
        play.loop.call_soon(lambda: slow.send(held[0].answer("192.0.2.1"), held[0].source))
        began = time.monotonic()
        play.loop.run_forever()
        assert time.monotonic() - began < DRAIN_SECONDS
        assert decode_tolds(play.workers[0].recv(65536)).tolds[0].number == 1


def test_the_end_does_not_wait_for_a_silent_upstream(play: Play) -> None:
    with ScriptedUpstream(lambda _: None) as silent:
        play.resolver.upstreams = [listed(UpstreamSpec("127.0.0.1", silent.port))]
        play.ask(0, 1)
        play.until(lambda: bool(silent.asked))
        play.forwarder.drain()
        began = time.monotonic()
        play.loop.run_forever()
        assert time.monotonic() - began < DRAIN_SECONDS + 5


def test_a_changed_resolv_conf_is_followed_and_what_is_under_way_finished(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")
    play = Play(str(file))
    try:
        former = play.resolver
        cache = former.groups[1].cache
        assert former.specs[1].forwards[0].upstreams == (UpstreamSpec("192.0.2.1", 53),)
        file.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
        play.until(lambda: len(play.resolvers) == 2)
        assert len(play.resolver.specs[1].forwards[0].upstreams) == 2
        assert "other servers are asked from now on" in play.log
        assert cache is play.resolver.groups[1].cache is not None
        assert former.groups[1].cache is None
        (old,) = play.forwarder._former
        old._do([Tell(1 << 16, Told(5, 0, 0, b"", (0, 0, 0)))], time.monotonic())
        assert play.heard(0)[0].tolds[0].number == 5
        assert Limits().patience < FORMER_SECONDS
        play.forwarder._forget(old)
        assert play.forwarder._former == []
    finally:
        play.close()


def test_malformed_replies_of_an_upstream_are_logged_once_in_a_while(play: Play) -> None:
    one = Upstream(0, UpstreamSpec("192.0.2.1", 53), Care(Transport.UDP, 2, 0.5, b"", 0))
    play.resolver.upstreams = [one]
    one.malformed = 3
    play.forwarder._copy_counters()
    one.malformed = 2
    play.forwarder._copy_counters()
    assert play.log.count("192.0.2.1:53: 3 replies were malformed, and are not passed on") == 1
    assert play.log.count("malformed") == 1
    assert one.malformed == 2  # to be told the next time


def test_trouble_with_an_upstream_is_logged_once_in_a_while(play: Play) -> None:
    spec = UpstreamSpec("192.0.2.1", 853, True, "dns.example.org")
    for _ in range(3):
        play.forwarder._on_trouble(spec, "certificate has expired")
    play.forwarder._on_trouble(spec, "something else")
    lines = [line for line in play.log.splitlines() if "192.0.2.1:853" in line]
    assert [line.rpartition(": ")[2] for line in lines] == ["certificate has expired", "something else"]
