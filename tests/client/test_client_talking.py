"""The sockets of one exchange, read by hand: what is opened, read, told and closed."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import dns.message
import pytest

from kdns.client.backend import Question, Reply
from kdns.client.stub import StubBackend
from kdns.client.talking import DATAGRAMS_MAX, Line, Place, Talk, place_of, why
from kdns.wire.exchange import Done, Exchange, Send
from tests.support.dnsclients import descriptors

ASKED = b"\3web\4test\0\0\1\0\1"


class Watching:
    """Keeps what is to be watched."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}

    def watch(self, line: Line) -> None:
        self.lines[line.token] = line

    def unwatch(self, line: Line) -> None:
        assert line.sock.fileno() >= 0  # not closed yet, or the number might be another's
        del self.lines[line.token]

    def ready(self, talk: Talk, token: int) -> Done | None:
        """Wait until a line can be read or written, and go on with it."""
        line = self.lines[token]
        wanted = ([], [line.sock], []) if line.wants_write else ([line.sock], [], [])
        assert any(select.select(*wanted, 5.0))
        return talk.ready(token, 0.1)


class Servers:
    """A UDP socket and a listener on the same port, and a talk with them."""

    def __init__(self, udp: socket.socket, tcp: socket.socket) -> None:
        self.udp, self.tcp = udp, tcp
        self.watching = Watching()
        exchange = Exchange(ASKED, ["it"], 5.0, 0.0, Random(5))
        self.talk = Talk(exchange, [place_of(*udp.getsockname())], self.watching)

    def answer(self, truncated: bool = False) -> tuple[bytes, object]:
        octets, source = self.udp.recvfrom(4096)
        made = dns.message.make_response(dns.message.from_wire(octets))
        made.flags |= 0x0200 if truncated else 0
        self.udp.sendto(made.to_wire(), source)
        return octets, source


def one_port() -> tuple[socket.socket, socket.socket]:
    """UDP and TCP on one free port; a port that is free for the one may be taken for the other."""
    for _ in range(50):
        udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        udp.bind(("127.0.0.1", 0))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp
    raise AssertionError("no port is free for both")


@contextmanager
def serving() -> Iterator[Servers]:
    before = descriptors()
    udp, tcp = one_port()
    with udp, tcp:
        udp.settimeout(5.0)
        tcp.settimeout(5.0)
        servers = Servers(udp, tcp)
        yield servers
        servers.talk.close()
        assert servers.watching.lines == {}
    assert descriptors() == before


def test_an_answer_ends_it_and_closes_its_socket() -> None:
    with serving() as servers:
        assert servers.talk.start(0.0) is None
        servers.answer()
        over = servers.watching.ready(servers.talk, 1)
        assert over is not None
        assert over.message is not None
        assert servers.watching.lines == {}


def test_a_socket_that_is_ready_without_need_changes_nothing() -> None:
    with serving() as servers:
        servers.talk.start(0.0)
        assert servers.talk.ready(1, 0.1) is None
        assert servers.talk.ready(99, 0.1) is None
        assert list(servers.watching.lines) == [1]


def test_a_stream_is_connected_written_and_read_in_pieces() -> None:
    with serving() as servers:
        servers.tcp.listen()
        servers.talk.start(0.0)
        servers.answer(truncated=True)
        assert servers.watching.ready(servers.talk, 1) is None
        assert servers.watching.lines[2].wants_write
        assert servers.watching.ready(servers.talk, 2) is None
        assert not servers.watching.lines[2].wants_write
        peer, _ = servers.tcp.accept()
        with peer:
            octets = peer.recv(4096)
            made = dns.message.make_response(dns.message.from_wire(octets[2:])).to_wire()
            peer.sendall((len(made).to_bytes(2, "big") + made)[:9])
            assert servers.watching.ready(servers.talk, 2) is None
            peer.sendall(made[7:])
            over = servers.watching.ready(servers.talk, 2)
        assert over is not None
        assert over.reason == ""


def test_a_stream_that_is_refused_ends_with_its_reason() -> None:
    with serving() as servers:
        servers.tcp.close()
        servers.talk.start(0.0)
        servers.answer(truncated=True)
        assert servers.watching.ready(servers.talk, 1) is None
        if 2 in servers.watching.lines:  # loopback may refuse at once
            servers.watching.ready(servers.talk, 2)
        assert servers.watching.lines == {}
        assert not servers.talk.exchange.is_over  # one round more: it may be restarting


def test_many_datagrams_are_read_in_bounded_bites() -> None:
    with serving() as servers:
        servers.talk.start(0.0)
        _, source = servers.udp.recvfrom(4096)
        for _ in range(DATAGRAMS_MAX + 2):
            servers.udp.sendto(b"nonsense", source)
        line = servers.watching.lines[1]
        assert len(line.go()) == DATAGRAMS_MAX
        assert line.go() == [b"nonsense"] * 2
        assert line.go() == []


def test_an_address_that_is_none_of_this_machine_raises_an_error_of_the_socket() -> None:
    with pytest.raises(OSError, match=str(errno.EAFNOSUPPORT)):
        Line(Place("x", socket.AF_INET, None), Send(1, 0, False, b""))


def test_a_socket_that_cannot_be_connected_is_closed() -> None:
    before = descriptors()
    with pytest.raises(OSError):
        Line(place_of("255.255.255.255", 53), Send(1, 0, False, b""))  # the kernel forbids it: nothing is sent
    assert descriptors() == before


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ECONNREFUSED, "connection refused"), (errno.EMFILE, "this process has no descriptor left"),
     (errno.EPERM, "operation not permitted")],
)  # fmt: skip
def test_errors_are_told_in_words(number: int, text: str) -> None:
    assert why(OSError(number, "")) == text


def test_no_name_is_ever_looked_up_for_a_server() -> None:
    assert place_of("localhost", 53).address is None
    assert place_of("fe80::1%no-such-link", 53).address is None


def _close_in_child(backend: StubBackend) -> None:
    child = os.fork()
    if not child:
        backend.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_closing_in_a_forked_child_leaves_the_parents_loop_as_it_was() -> None:
    async def run() -> Reply:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            backend = StubBackend([server.getsockname()])
            told: asyncio.Future[Reply] = loop.create_future()
            backend.ask(Question("web.test.", 1), 5.0, told.set_result)
            octets, source = await loop.sock_recvfrom(server, 4096)
            _close_in_child(backend)
            await loop.sock_sendto(server, dns.message.make_response(dns.message.from_wire(octets)).to_wire(), source)
            reply = await told
            backend.close()
            return reply

    assert asyncio.run(run()).kind.value == "NODATA"
