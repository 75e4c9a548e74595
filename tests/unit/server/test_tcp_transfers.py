"""kdns.server.tcp: zone transfers, at the client's pace, bounded in number and time, and in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from kdns.observe.querylog import Exchange
from kdns.server.tcp import DEFAULT_LIMITS, Client, TcpLimits, listen, observed_transfer
from tests.unit.server.test_tcp import Peer, Service, run, until

WHOLE = b"give me all of it"
BLOCK = bytes(16_000)


class Zone:
    """Sends `count` messages to who asks for WHOLE; keeps how far each stream has come, -1 for one that is gone."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.sent: list[int] = []
        self.fails_at = -1

    def __call__(self, query: bytes, client: Client, has_room: bool) -> Iterator[bytes] | None:
        if query != WHOLE:
            return None
        return self._stream() if has_room else iter((b"busy",))

    def _stream(self) -> Iterator[bytes]:
        self.sent.append(0)
        place = len(self.sent) - 1
        try:
            for at in range(self.count):
                if at == self.fails_at:
                    raise ValueError("broken zone")
                self.sent[place] += 1
                yield at.to_bytes(4) + BLOCK
        finally:
            self.sent[place] = -1


class Transferring(Service):
    """A listening worker's TCP side that transfers a zone."""

    def __init__(self, zone: Zone, limits: TcpLimits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self.zone = zone

    async def __aenter__(self) -> Transferring:
        self.server = await listen(self.connections, self.sock, self.echo, 100, self.zone)
        return self


def test_all_messages_come_in_order_and_what_was_asked_behind_it_comes_after() -> None:
    async def body() -> None:
        async with Transferring(Zone(50)) as service:
            peer = await service.connect()
            peer.send(b"before", WHOLE, b"after")
            assert await peer.receive() == b"erofeb"
            assert [int.from_bytes((await peer.receive())[:4]) for _ in range(50)] == list(range(50))
            assert await peer.receive() == b"retfa"
            assert service.connections.transfers == 0
            await peer.close()

    run(body)


def test_another_client_is_answered_while_one_takes_its_time() -> None:
    async def body() -> None:
        async with Transferring(Zone(10_000)) as service:
            slow, quick = await service.connect(), await service.connect()
            slow.writer.transport.pause_reading()
            slow.send(WHOLE)
            await until(lambda: bool(service.zone.sent))
            quick.send(b"abc")
            assert await quick.receive() == b"cba"
            assert 0 < service.zone.sent[0] < 2_000  # what the kernel holds, and no more
            slow.writer.transport.abort()
            await until(lambda: service.zone.sent == [-1])
            assert service.connections.transfers == 0
            await quick.close()

    run(body)


def test_who_takes_nothing_is_cut_off() -> None:
    async def body() -> None:
        async with Transferring(Zone(10_000), TcpLimits(write=0.1, sweep=0.02)) as service:
            slow = await service.connect()
            slow.writer.transport.pause_reading()
            slow.send(WHOLE)
            await until(lambda: service.zone.sent == [-1])
            await service.count_is(0)
            slow.writer.transport.abort()

    run(body)


def test_a_transfer_ends_after_its_time_though_the_client_reads() -> None:
    async def body() -> None:
        async with Transferring(Zone(1_000_000), TcpLimits(transfer=0.1)) as service:
            peer = await service.connect()
            peer.send(WHOLE)
            octets = 0
            try:
                while block := await peer.reader.read(1 << 20):
                    octets += len(block)
            except ConnectionResetError:
                pass
            assert octets > 0
            assert service.zone.sent == [-1]
            peer.writer.close()

    run(body)


def test_there_are_only_so_many_at_once_and_then_again() -> None:
    async def start(service: Transferring) -> Peer:
        peer = await service.connect()
        peer.writer.transport.pause_reading()
        peer.send(WHOLE)
        count = len(service.zone.sent)
        await until(lambda: len(service.zone.sent) > count)
        return peer

    async def body() -> None:
        async with Transferring(Zone(10_000), TcpLimits(transfers=2)) as service:
            peers = [await start(service) for _ in range(2)]
            late = await service.connect()
            late.send(WHOLE, b"abc")
            assert [await late.receive(), await late.receive()] == [b"busy", b"cba"]
            peers[0].writer.transport.abort()
            await until(lambda: service.connections.transfers == 1)
            late.send(WHOLE)
            assert (await late.receive())[4:] == BLOCK
            for peer in (peers[1], late):
                peer.writer.transport.abort()
            await service.count_is(0)
            assert service.connections.transfers == 0

    run(body)


def test_half_a_zone_is_no_whole_one() -> None:
    """A bug of ours in the middle of it closes the connection, and is reported."""

    async def body() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        zone = Zone(10)
        zone.fails_at = 3
        async with Transferring(zone) as service:
            peer = await service.connect()
            peer.send(WHOLE)
            assert [(await peer.receive())[3] for _ in range(3)] == [0, 1, 2]
            assert await peer.is_closed()
            assert [str(error) for error in reported] == ["broken zone"]
            assert service.connections.transfers == 0
            await peer.close()

    run(body)


def test_a_half_closed_connection_gets_the_whole_zone() -> None:
    async def body() -> None:
        async with Transferring(Zone(20)) as service:
            peer = await service.connect()
            peer.send(WHOLE)
            peer.writer.write_eof()
            for _ in range(20):
                await peer.receive()
            assert await peer.is_closed()
            await peer.close()

    run(body)


def test_the_log_hears_of_a_transfer_once_with_its_first_message() -> None:
    heard: list[Exchange] = []
    begin = observed_transfer(Zone(3), heard.append)
    assert begin(b"another", (b"", 1), True) is None
    stream = begin(WHOLE, (b"\x7f\0\0\1", 1), True)
    assert stream is not None
    assert len(list(stream)) == 3
    assert [(one.query, one.reply[:4], one.tcp) for one in heard] == [(WHOLE, bytes(4), True)]
