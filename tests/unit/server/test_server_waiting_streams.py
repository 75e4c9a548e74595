"""kdns.server.tcp: clients that wait for an answer from outside, over TCP."""

from __future__ import annotations

import gc
import socket
import struct
import weakref
from collections.abc import Awaitable, Callable
from unittest.mock import patch

import pytest

from kdns.observe.querylog import Exchange
from kdns.server.tcp import DEFAULT_LIMITS, Connection, Connections, ObservedResponder, TcpLimits
from kdns.wire.outside import Ask, Told
from tests.support.engines import Served
from tests.support.forwarding import SHED, FakeOutside, forwarding
from tests.support.messages import Answer, query
from tests.support.shop import SUBTREES, WEB
from tests.unit.server.test_tcp import Service, run, until

ANSWER = "192.0.2.80"


class Forwarding(Service):
    """A worker's TCP side with a forwarder that answers when told to."""

    def __init__(self, limits: TcpLimits = DEFAULT_LIMITS, seen: list[Exchange] | None = None) -> None:
        super().__init__(limits)
        self.outside = FakeOutside()
        self.connections.outside = self.outside
        self.served: Served = forwarding(*SUBTREES)
        responder = self.served.responder
        self.echo = responder if seen is None else ObservedResponder(responder, seen.append)

    async def asked(self, count: int) -> None:
        """Wait until so many questions wait."""
        await until(lambda: len(self.outside.asked) == count)

    def tell(self, name: str, at: int = 0, **rest: object) -> None:
        self.outside.tell(f"{name}. 60 A {ANSWER}", at=at, **rest)


def scenario(body: Callable[[Forwarding], Awaitable[None]], limits: TcpLimits = DEFAULT_LIMITS,
             seen: list[Exchange] | None = None) -> None:
    async def whole() -> None:
        async with Forwarding(limits, seen) as service:
            await body(service)

    run(whole)


def test_replies_come_as_they_are_there() -> None:
    async def body(service: Forwarding) -> None:
        peer = await service.connect()
        peer.send(query("a.test", ident=1), query(WEB, ident=2), query("b.test", ident=3))
        assert Answer(await peer.receive()).ident == 2
        await service.asked(2)
        service.tell("b.test", at=1)
        assert Answer(await peer.receive()).ident == 3
        service.tell("a.test", keep=60)
        first = Answer(await peer.receive())
        assert (first.ident, first.rdata) == (1, [ANSWER])
        peer.send(query("a.test", ident=4))
        assert Answer(await peer.receive()).ident == 4
        await peer.close()

    scenario(body)


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_left_is_not_missed(is_reset: bool) -> None:
    async def body(service: Forwarding) -> None:
        peer = await service.connect()
        peer.send(query("a.test"), query("b.test"))
        await service.asked(2)
        if is_reset:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()
        if is_reset:  # else it might be half-closed, and still listening
            await service.count_is(0)
        service.tell("a.test")
        service.tell("b.test")
        await service.count_is(0)
        other = await service.connect()
        other.send(query(WEB))
        assert Answer(await other.receive()).rdata == ["10.0.0.1"]
        await other.close()
        await peer.close()

    scenario(body)


def test_a_half_closed_client_hears_what_it_waits_for() -> None:
    async def body(service: Forwarding) -> None:
        peer = await service.connect()
        peer.send(query("a.test", ident=1), query("b.test", ident=2))
        peer.writer.write_eof()
        await service.asked(2)
        service.tell("a.test")
        assert Answer(await peer.receive()).ident == 1
        service.tell("b.test")
        assert Answer(await peer.receive()).ident == 2
        assert await peer.is_closed()
        await peer.close()

    scenario(body)


def test_draining_waits_for_what_is_asked() -> None:
    async def body(service: Forwarding) -> None:
        waiting, idle = await service.connect(), await service.connect()
        waiting.send(query("a.test", ident=1))
        await service.asked(1)
        await service.count_is(2)
        service.connections.drain()
        assert await idle.is_closed()
        await service.count_is(1)
        service.tell("a.test")
        assert Answer(await waiting.receive()).ident == 1
        assert await waiting.is_closed()
        for one in (waiting, idle):
            await one.close()

    scenario(body)


def test_a_connection_with_enough_that_waits_is_not_read() -> None:
    async def body(service: Forwarding) -> None:
        peer = await service.connect()
        peer.send(*(query(f"h{at}.test", ident=at) for at in range(10)), query(WEB, ident=99))
        await service.asked(3)
        other = await service.connect()
        other.send(query(WEB))
        await other.receive()
        assert len(service.outside.asked) == 3
        for at in range(10):
            await service.asked(min(3, 10 - at))
            service.tell(f"h{at}.test")
        idents = [Answer(await peer.receive()).ident for _ in range(11)]
        assert [ident for ident in idents if ident != 99] == list(range(10))
        for one in (peer, other):
            await one.close()

    scenario(body, TcpLimits(waiting=3))


def test_without_room_the_client_hears_servfail_in_its_turn() -> None:
    async def body(service: Forwarding) -> None:
        service.outside.refused = SHED
        peer = await service.connect()
        peer.send(query("a.test", ident=1), query(WEB, ident=2))
        assert [Answer(await peer.receive()).rcode for _ in range(2)] == ["SERVFAIL", "NOERROR"]
        service.outside.refused = None
        peer.send(query("a.test", ident=3))
        await service.asked(1)
        service.tell("a.test")
        assert Answer(await peer.receive()).rdata == [ANSWER]
        await peer.close()

    scenario(body)


def test_an_answer_during_the_hand_over_is_sent_too() -> None:
    """The asker may find that the forwarder is gone while it takes the question."""

    async def body(service: Forwarding) -> None:
        class Hasty(FakeOutside):
            def ask(self, ask: Ask, on_told: Callable[[Told], None], patience: float = 0.0) -> None:
                super().ask(ask, on_told)
                self.tell(rcode="SERVFAIL")

        service.connections.outside = Hasty()
        peer = await service.connect()
        for ident in range(3):
            peer.send(query("a.test", ident=ident))
            reply = Answer(await peer.receive())
            assert (reply.ident, reply.rcode) == (ident, "SERVFAIL")
        peer.writer.write_eof()
        assert await peer.is_closed()
        await peer.close()

    scenario(body)


def test_the_query_log_sees_the_reply_and_how_long_it_took() -> None:
    seen: list[Exchange] = []

    async def body(service: Forwarding) -> None:
        peer = await service.connect()
        peer.send(query("a.test", ident=1))
        await service.asked(1)
        assert seen == []
        service.tell("a.test")
        reply = await peer.receive()
        assert [(what.query, what.reply, what.tcp) for what in seen] == [(query("a.test", ident=1), reply, True)]
        assert seen[0].duration_ns > 0
        await peer.close()

    scenario(body, seen=seen)


def test_a_connection_that_waited_leaves_no_garbage() -> None:
    """Workers run without the cycle collector."""
    made: list[weakref.ref[Connection]] = []
    admit = Connections.admit

    def note(connections: Connections, connection: Connection) -> None:
        made.append(weakref.ref(connection))
        admit(connections, connection)

    async def body(service: Forwarding) -> None:
        peer = await service.connect()
        peer.send(query("a.test"))
        await service.asked(1)
        service.tell("a.test")
        await peer.receive()
        await peer.close()
        await service.count_is(0)
        await until(lambda: all(ref() is None for ref in made))

    gc.disable()
    try:
        with patch.object(Connections, "admit", note):
            scenario(body)
    finally:
        gc.enable()
    assert len(made) == 1
