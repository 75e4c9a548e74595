"""kdns.server.worker with names outside: the test is control, and the forwarder too."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator

import dns.message
import dns.query
import dns.rcode
import pytest

from kdns.answer.spec import ClusterSpec, OutsideSpec, SiteSpec, Specification
from kdns.observe.logs import Log
from kdns.observe.querylog import LoggedBlock, LogRule, QueryLog
from kdns.server import worker as worker_module
from kdns.server.asking import MESSAGE_OCTETS_MAX, Tolds, decode_asks, encode
from kdns.server.assembly import Plan
from kdns.server.process import fork
from kdns.server.slots import Slots
from kdns.server.worker import ForwarderLink, WorkerPlan, run_worker
from kdns.wire.name import ROOT, from_text
from kdns.wire.outside import Ask, Purpose, Source, Told
from tests.support.forwarding import answering
from tests.unit.server.test_worker import PATIENCE, PLAN, Harness

CACHED = Source.CACHE_SUCCESS  # asked before: what upstreams have just been asked for, a worker does not keep

SPECIFICATION = Specification(
    sources=(ClusterSpec((from_text("cluster.local"),)),),
    sites=(SiteSpec((ROOT,), (0,), group=0, outside=(OutsideSpec(ROOT),)),),
    listeners=((0,),),
)
LOGGED = QueryLog([LoggedBlock((ROOT,), (LogRule((ROOT,), "{name} {rcode}", frozenset({"all"})),))])


class Forwarded(Harness):
    """A worker that has a forwarder."""

    def __init__(self) -> None:
        super().__init__()
        self.feed, self.workers_feed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.workers_feed.setblocking(False)
        self.feed.settimeout(PATIENCE)
        self.forwarder = Slots(1, 0)[0]
        self.forwarder.begin(time.monotonic_ns())
        self.forwarder.pid = 1
        self.query_log = QueryLog([])

    def start(self) -> None:
        self.slot.begin(time.monotonic_ns())
        plan = WorkerPlan(
            Plan(SPECIFICATION, PLAN.addresses, (), (self.query_log,)), [self.binding.for_slot(0, 0)], self.theirs,
            self.slot, Log(self._log_writer), forwarder=ForwarderLink(self.workers_feed, self.forwarder),
        )
        self.pid = fork(lambda: run_worker(plan))
        self.publisher.subscribers[0].acknowledged = 0

    def client(self) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.settimeout(PATIENCE)
        one.connect((self.address.host, self.address.port))
        return one

    def asked(self) -> Ask:
        [ask] = decode_asks(self.feed.recv(MESSAGE_OCTETS_MAX)).asks
        return ask

    def tell(self, told: Told, ask: Ask) -> None:
        numbered = Told(ask.number, *(getattr(told, field) for field in Told.__struct_fields__[1:]))
        self.feed.send(encode(Tolds(self.slot.incarnation, (numbered,))))

    def close(self) -> None:
        super().close()
        self.feed.close()
        self.workers_feed.close()


@pytest.fixture
def worker() -> Iterator[Forwarded]:
    harness = Forwarded()
    yield harness
    harness.close()


def www() -> bytes:
    return dns.message.make_query("www.example.net", "A").to_wire()


def _asked_again(one: socket.socket) -> list[str]:
    one.send(www())
    return answer(one.recv(4096))


def answer(reply: bytes) -> list[str]:
    return [rdata.to_text() for rrset in dns.message.from_wire(reply).answer for rdata in rrset]


def test_a_name_outside_is_asked_of_the_forwarder_and_kept(worker: Forwarded) -> None:
    worker.start()
    worker.become_current()
    with worker.client() as one:
        one.send(www())
        ask = worker.asked()
        assert worker.ask() == ["10.0.0.1"]  # nobody else waits
        worker.tell(answering(ask, "www.example.net. 60 A 192.0.2.80", keep=60, source=CACHED), ask)
        assert answer(one.recv(4096)) == ["192.0.2.80"]
        one.send(www())
        assert answer(one.recv(4096)) == ["192.0.2.80"]
    assert select.select([worker.feed], [], [], 0)[0] == []
    assert worker.end() == 0


def test_the_workers_clock_ages_drops_and_asks_again(worker: Forwarded) -> None:
    worker.start()
    worker.become_current()
    with worker.client() as one:
        one.send(www())
        ask = worker.asked()
        told = answering(ask, "www.example.net. 3 A 192.0.2.80", keep=3, prefetch_hits=1, prefetch_gap=3,
                         prefetch_left=2, source=CACHED)
        worker.tell(told, ask)
        assert answer(one.recv(4096)) == ["192.0.2.80"]
        while not select.select([worker.feed], [], [], 0.05)[0]:
            assert _asked_again(one) == ["192.0.2.80"]
        again = worker.asked()
        assert (again.question, again.purpose) == (ask.question, Purpose.PREFETCH)
        one.send(www())
        assert dns.message.from_wire(one.recv(4096)).answer[0].ttl in (1, 2, 3)
        worker.tell(answering(again, "www.example.net. 60 A 192.0.2.81", keep=60), again)
        end = time.monotonic() + PATIENCE
        while _asked_again(one) != ["192.0.2.81"]:
            assert time.monotonic() < end


def test_over_tcp_too(worker: Forwarded) -> None:
    worker.start()
    worker.become_current()
    with socket.create_connection((worker.address.host, worker.address.port), PATIENCE) as one:
        dns.query.send_tcp(one, www())
        ask = worker.asked()
        worker.tell(answering(ask, "www.example.net. 60 A 192.0.2.80"), ask)
        reply, _ = dns.query.receive_tcp(one, time.monotonic() + PATIENCE)
    assert answer(reply.to_wire()) == ["192.0.2.80"]


def test_without_a_forwarder_the_client_hears_so_at_once(worker: Forwarded) -> None:
    worker.forwarder.pid = 0
    worker.start()
    worker.become_current()
    with worker.client() as one:
        one.send(www())
        assert dns.message.from_wire(one.recv(4096)).rcode() == dns.rcode.SERVFAIL


def test_draining_waits_for_what_clients_wait_for(worker: Forwarded) -> None:
    worker.start()
    worker.become_current()
    with worker.client() as one:
        one.send(www())
        ask = worker.asked()
        os.kill(worker.pid, signal.SIGTERM)
        worker.exchange_until(lambda: worker.slot.state.name == "DRAINING")
        worker.tell(answering(ask, "www.example.net. 60 A 192.0.2.80"), ask)
        assert answer(one.recv(4096)) == ["192.0.2.80"]
    assert worker.end() == 0


def test_who_still_waits_at_the_end_of_draining_hears_servfail(
    worker: Forwarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "DRAIN_SECONDS", 0.1)
    worker.start()
    worker.become_current()
    with worker.client() as one:
        one.send(www())
        worker.asked()
        assert worker.end() == 0
        assert dns.message.from_wire(one.recv(4096)).rcode() == dns.rcode.SERVFAIL


def test_the_query_log_tells_of_it_when_it_is_answered(worker: Forwarded) -> None:
    worker.query_log = LOGGED
    worker.start()
    worker.become_current()
    with worker.client() as one:
        one.send(www())
        ask = worker.asked()
        worker.tell(answering(ask, rcode="NXDOMAIN"), ask)
        one.recv(4096)
    assert "www.example.net. NXDOMAIN" in worker.logged()
