"""kdns.server.tcp: framing, pipelining, limits and timeouts, with limits that tests can wait for."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar
from unittest.mock import patch

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.server.tcp import DEFAULT_LIMITS, Client, Connection, Connections, TcpLimits, listen
from kdns.wire.framing import frame
from tests.support.loopback import has_ipv6

T = TypeVar("T")
PATIENCE = 10.0
QUICK = TcpLimits(idle=0.2, write=0.2, sweep=0.02)


class Echo:
    """Answers each query with its octets reversed; drops what is shorter than a header's ID."""

    def __init__(self, padding: int = 0) -> None:
        self.padding = padding
        self.queries: list[tuple[bytes, Client, bool]] = []

    def respond(self, query: bytes, client: Client, tcp: bool) -> bytes | None:
        self.queries.append((query, client, tcp))
        return query[::-1] + bytes(self.padding) if len(query) >= 2 else None


class Service:
    """A listening worker's TCP side."""

    def __init__(
        self, limits: TcpLimits = DEFAULT_LIMITS, echo: Echo | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.echo = echo or Echo()
        self.connections = Connections(asyncio.get_running_loop(), limits)
        self.sock = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.setblocking(False)
        self.server: asyncio.AbstractServer | None = None

    async def __aenter__(self) -> Service:
        self.server = await listen(self.connections, self.sock, self.echo, 100)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()
        self.connections.abort_all()
        await asyncio.sleep(0)

    async def connect(self, source: str = "") -> Peer:
        address = self.sock.getsockname()
        local = (source, 0) if source else None
        reader, writer = await asyncio.open_connection(address[0], address[1], local_addr=local)
        return Peer(reader, writer)

    async def count_is(self, wanted: int) -> None:
        """Wait until there are so many connections."""
        await until(lambda: len(self.connections) == wanted)


class Peer:
    """A client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *queries: bytes) -> None:
        self.writer.write(b"".join(map(frame, queries)))

    async def receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            length = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(length)

    async def is_closed(self) -> bool:
        """Wait for the end of the stream; False if there is something else."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionResetError:
            return


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop go round until something is so."""
    async with asyncio.timeout(PATIENCE):
        for _ in iter(is_so, True):
            await asyncio.sleep(0.001)


def run(body: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await body()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


def test_a_query_is_answered_with_its_client_and_transport() -> None:
    async def body() -> None:
        async with Service() as service:
            peer = await service.connect("127.0.0.7")
            port = peer.writer.get_extra_info("sockname")[1]
            peer.send(b"abc")
            assert await peer.receive() == b"cba"
            assert service.echo.queries == [(b"abc", (b"\x7f\0\0\x07", port), True)]
            await peer.close()

    run(body)


@pytest.mark.skipif(not has_ipv6(), reason="this kernel has no IPv6")
def test_an_ipv6_client_is_known_by_its_packed_address() -> None:
    async def body() -> None:
        async with Service(host="::1") as service:
            peer = await service.connect()
            peer.send(b"abc")
            await peer.receive()
            assert service.echo.queries[0][1][0] == bytes(15) + b"\x01"
            await peer.close()

    run(body)


def test_pipelined_queries_are_all_answered_in_order() -> None:
    queries = [struct.pack(">H", number) + b"query" for number in range(1000)]

    async def body() -> None:
        async with Service() as service:
            peer = await service.connect()
            peer.send(*queries)
            for query in queries:
                assert await peer.receive() == query[::-1]
            await peer.close()

    run(body)


def test_one_client_with_many_queries_does_not_keep_another_one_waiting() -> None:
    async def body() -> None:
        async with Service(TcpLimits(slice_messages=4)) as service:
            greedy, modest = await service.connect(), await service.connect()
            modest.send(b"first")
            await modest.receive()
            greedy.send(*[b"greedy"] * 2000)
            await greedy.receive()
            before = len(service.echo.queries)
            modest.send(b"modest")
            await modest.receive()
            served = [query for query, *_ in service.echo.queries[before:]]
            assert served.index(b"modest") < 200
            await greedy.close()
            await modest.close()

    run(body)


@settings(max_examples=30, deadline=None)
@given(
    queries=st.lists(st.binary(max_size=40), max_size=12),
    cuts=st.lists(st.integers(1, 200), max_size=6),
    rest=st.binary(max_size=1),
)
def test_however_the_stream_is_cut_the_replies_are_the_same(
    queries: list[bytes], cuts: list[int], rest: bytes
) -> None:
    async def body() -> bytes:
        async with Service() as service:
            peer = await service.connect()
            stream, start = b"".join(map(frame, queries)) + rest, 0
            for end in (*sorted(cuts), len(stream)):
                peer.writer.write(stream[start:end])
                await peer.writer.drain()
                await asyncio.sleep(0)
                start = max(start, end)
            peer.writer.write_eof()
            received = await peer.reader.read()
            await peer.close()
            return received

    assert run(body) == b"".join(frame(query[::-1]) for query in queries if len(query) >= 2)


def test_empty_and_short_messages_are_passed_on_and_the_stream_goes_on() -> None:
    async def body() -> None:
        async with Service() as service:
            peer = await service.connect()
            peer.send(b"", b"x", b"abc")
            assert await peer.receive() == b"cba"
            assert [query for query, *_ in service.echo.queries] == [b"", b"x", b"abc"]
            await peer.close()

    run(body)


def test_a_half_closed_connection_gets_all_its_replies_and_is_closed() -> None:
    async def body() -> None:
        async with Service(TcpLimits(slice_messages=2)) as service:
            peer = await service.connect()
            peer.send(*[b"abc"] * 50)
            peer.writer.write(b"\0\x09half")
            peer.writer.write_eof()
            assert await peer.reader.read() == frame(b"cba") * 50
            await service.count_is(0)
            assert service.connections.buffered_octets == 0
            await peer.close()

    run(body)


def test_an_idle_connection_is_closed_and_one_that_asks_is_not() -> None:
    async def body() -> None:
        async with Service(QUICK) as service:
            idle, busy = await service.connect(), await service.connect()
            await service.count_is(2)
            is_closed = asyncio.ensure_future(idle.is_closed())
            while not is_closed.done():
                busy.send(b"abc")
                await busy.receive()
                await asyncio.sleep(0.01)
            assert is_closed.result()
            busy.send(b"abc")
            assert await busy.receive() == b"cba"
            await busy.close()
            await idle.close()

    run(body)


def test_a_client_that_sends_one_octet_at_a_time_is_idle() -> None:
    async def body() -> None:
        async with Service(QUICK) as service:
            slow = await service.connect()
            slow.writer.write(b"\xff\xff")
            is_closed = asyncio.ensure_future(slow.is_closed())
            while not is_closed.done():
                slow.writer.write(b"x")
                await asyncio.sleep(0.01)
            assert is_closed.result()
            await service.count_is(0)
            await slow.close()

    run(body)


def test_a_client_that_does_not_take_its_replies_is_not_read_and_is_cut_off() -> None:
    async def body() -> None:
        async with Service(QUICK, Echo(padding=60_000)) as service:
            peer = await service.connect()
            vars(peer.reader)["_transport"].pause_reading()
            peer.send(*[b"abc"] * 5000)
            await service.count_is(1)
            await service.count_is(0)
            assert len(service.echo.queries) < 5000
            await peer.close()

    run(body)


def test_a_client_that_reads_slowly_gets_everything() -> None:
    async def body() -> None:
        async with Service(TcpLimits(), Echo(padding=60_000)) as service:
            peer = await service.connect()
            peer.send(*[b"abc"] * 300)
            for _ in range(300):
                assert len(await peer.receive()) == 60_003
            await peer.close()

    run(body)


def test_at_the_cap_the_one_that_has_gone_longest_without_a_query_goes() -> None:
    async def body() -> None:
        async with Service(TcpLimits(connections=3)) as service:
            peers = []
            for _ in range(3):
                peers.append(await service.connect())
                peers[-1].send(b"abc")
                await peers[-1].receive()
            peers[0].send(b"abc")  # now the second one is the laziest
            await peers[0].receive()
            newcomer = await service.connect()
            assert await peers[1].is_closed()
            for peer in (newcomer, peers[0], peers[2]):
                peer.send(b"abc")
                assert await peer.receive() == b"cba"
            for peer in (newcomer, *peers):
                await peer.close()

    run(body)


def test_slow_clients_at_the_cap_do_not_stop_others() -> None:
    async def body() -> None:
        async with Service(TcpLimits(connections=20, per_client=1000)) as service:
            slow = [await service.connect() for _ in range(20)]
            for peer in slow:
                peer.writer.write(b"\0\x20slow")
            await service.count_is(20)
            for _ in range(40):
                peer = await service.connect()
                peer.send(b"abc")
                assert await peer.receive() == b"cba"
                await peer.close()
            for peer in slow:
                await peer.close()

    run(body)


def test_one_client_address_cannot_take_the_connections_of_others() -> None:
    async def body() -> None:
        async with Service(TcpLimits(connections=100, per_client=2)) as service:
            other = await service.connect("127.0.0.9")
            await service.count_is(1)
            first, second, third = [await service.connect("127.0.0.8") for _ in range(3)]
            assert await first.is_closed()
            for peer in (other, second, third):
                peer.send(b"abc")
                assert await peer.receive() == b"cba"
            await service.count_is(3)
            for peer in (other, first, second, third):
                await peer.close()

    run(body)


def test_a_client_limited_to_one_connection_can_connect_again_and_again() -> None:
    async def body() -> None:
        async with Service(TcpLimits(per_client=1)) as service:
            peers = []
            for _ in range(5):
                peers.append(await service.connect())
                peers[-1].send(b"abc")
                assert await peers[-1].receive() == b"cba"
            await service.count_is(1)
            for peer in peers:
                await peer.close()

    run(body)


def test_queries_that_are_never_completed_are_kept_only_up_to_a_bound() -> None:
    limits = TcpLimits(buffered_octets=100_000)

    async def body() -> None:
        async with Service(limits) as service:
            peers = []
            for _ in range(10):
                peer = await service.connect()
                peer.writer.write(b"\xff\xff" + bytes(30_000))
                peers.append(peer)
                await peer.writer.drain()
            await service.count_is(3)
            assert service.connections.buffered_octets <= limits.buffered_octets
            for peer in peers:
                await peer.close()
            await service.count_is(0)
            assert service.connections.buffered_octets == 0

    run(body)


def test_draining_closes_what_has_nothing_left_and_lets_the_others_complete_their_query() -> None:
    async def body() -> None:
        async with Service() as service:
            idle, busy = await service.connect(), await service.connect()
            busy.writer.write(frame(b"abc")[:3])
            await service.count_is(2)
            await until(lambda: service.connections.buffered_octets > 0)
            service.connections.drain()
            assert await idle.is_closed()
            busy.writer.write(frame(b"abc")[3:])
            assert await busy.receive() == b"cba"
            assert await busy.is_closed()
            await service.count_is(0)
            await idle.close()
            await busy.close()

    run(body)


def test_a_connection_that_is_gone_leaves_nothing_for_the_cycle_collector() -> None:
    async def body() -> None:
        async with Service() as service:
            alive: weakref.WeakSet[Connection] = weakref.WeakSet()
            admit = service.connections.admit

            def remembering(connection: Connection) -> None:
                alive.add(connection)
                admit(connection)

            with patch.object(service.connections, "admit", remembering):
                for _ in range(20):
                    peer = await service.connect()
                    peer.send(b"abc", b"def")
                    await peer.receive()
                    await peer.close()
            await until(lambda: not alive)

    gc.collect()
    gc.disable()
    try:
        run(body)
    finally:
        gc.enable()


def test_a_reset_in_the_middle_of_a_query_is_forgotten() -> None:
    async def body() -> None:
        async with Service() as service:
            with socket.create_connection(service.sock.getsockname()) as peer:
                peer.sendall(b"\0\x20half")
                await service.count_is(1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await service.count_is(0)
            assert service.connections.buffered_octets == 0

    run(body)
