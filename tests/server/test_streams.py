"""TCP on a whole server: pipelining, slow clients, and many of them."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path

import dns.flags
import dns.message
import pytest

from kdns.server.tcp import DEFAULT_LIMITS
from tests.server.conftest import Serve
from tests.server.serving import Server, zone


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    (tmp_path / "example.org.zone").write_text(zone(1, "www A 192.0.2.1"))
    return serve("--zones", "example.org.zone", workers=1)


def _query(number: int) -> bytes:
    return dns.message.make_query("www.example.org", "A", id=number).to_wire(prepend_length=True)


def _reply(stream: BufferedReader) -> dns.message.Message:
    return dns.message.from_wire(stream.read(int.from_bytes(stream.read(2), "big")))


def test_many_queries_in_flight_on_one_connection_are_all_answered(server: Server) -> None:
    with server.connect() as client, client.makefile("rb") as stream:
        client.sendall(b"".join(map(_query, range(500))))
        client.shutdown(socket.SHUT_WR)
        replies = [_reply(stream) for _ in range(500)]
        assert [reply.id for reply in replies] == list(range(500))
        assert all(reply.answer for reply in replies)
        assert stream.read() == b""


def test_a_query_octet_by_octet_is_answered(server: Server) -> None:
    with server.connect() as client, client.makefile("rb") as stream:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in _query(7):
            client.send(bytes((octet,)))
        assert _reply(stream).id == 7


def test_clients_that_never_finish_do_not_stop_others(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(DEFAULT_LIMITS.per_client + 50):
            slow = stack.enter_context(server.connect())
            slow.sendall(b"\x02\x00half a query")
        assert server.addresses("www.example.org", tcp=True) == ["192.0.2.1"]
        assert server.addresses("www.example.org") == ["192.0.2.1"]


@pytest.mark.parametrize("odd", [b"\0\0", b"\0\x01x", b"\0\x0c" + bytes(12), b"\0\x05short" * 3])
def test_odd_messages_do_not_end_the_connection(server: Server, odd: bytes) -> None:
    with server.connect() as client, client.makefile("rb") as stream:
        client.sendall(odd + _query(9))
        reply = next(reply for reply in iter(lambda: _reply(stream), None) if reply.id == 9)
        assert reply.answer


def test_a_large_answer_comes_whole_over_tcp_and_cut_over_udp(serve: Serve, tmp_path: Path) -> None:
    many = [f"many A 192.0.2.{number}" for number in range(250)]
    (tmp_path / "example.org.zone").write_text(zone(1, *many))
    server = serve("--zones", "example.org.zone")
    assert len(server.addresses("many.example.org", tcp=True)) == 250
    cut = server.ask("many.example.org")
    assert cut.flags & dns.flags.TC
    assert 0 < len(cut.answer[0]) < 250
