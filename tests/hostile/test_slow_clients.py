"""Clients that fill every connection and send an octet at a time do not keep others waiting."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from kdns.server.tcp import DEFAULT_LIMITS
from tests.hostile.streams import connect, framed, is_closed_by_server, read_reply
from tests.server.serving import Server
from tests.support.messages import query

QUERY = query("mail.example.org")
SLOW_CLIENTS = DEFAULT_LIMITS.connections // DEFAULT_LIMITS.per_client  # addresses, to fill all connections
AT_ONCE = 0.5  # seconds; it takes a millisecond, if the machine has nothing else to do


@pytest.fixture(autouse=True)
def enough_descriptors() -> Iterator[None]:
    """This process holds the other end of every connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DEFAULT_LIMITS.connections * 2
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def slow_clients(target: Server, addresses: int, each: int) -> Iterator[list[socket.socket]]:
    """So many connections from so many addresses, each of which has sent the first octet of a length."""
    with ExitStack() as stack:
        socks = []
        for count in range(addresses * each):
            sock = stack.enter_context(connect(target, f"127.0.2.{count // each + 1}"))
            sock.sendall(b"\0")
            socks.append(sock)
        yield socks


def assert_answered_at_once(target: Server, source: str) -> None:
    begun = time.monotonic()
    with connect(target, source) as sock:
        sock.sendall(framed(QUERY))
        assert read_reply(sock)[:2] == QUERY[:2]
    assert time.monotonic() - begun < AT_ONCE
    begun = time.monotonic()
    assert target.addresses("mail.example.org") == ["192.0.2.25"]
    assert time.monotonic() - begun < AT_ONCE


def test_with_every_connection_taken_by_slow_clients_another_is_answered_at_once(target: Server) -> None:
    with slow_clients(target, SLOW_CLIENTS, DEFAULT_LIMITS.per_client) as slow:
        assert len(slow) == DEFAULT_LIMITS.connections
        for _ in range(20):
            assert_answered_at_once(target, "127.0.3.1")
        for sock in slow[-200:]:  # they go on, an octet each
            sock.sendall(b"\x20")
        assert_answered_at_once(target, "127.0.3.2")
        assert is_closed_by_server(slow[0])  # the one that has been waiting longest gave way


def test_a_slow_client_only_takes_connections_from_its_own_address(target: Server) -> None:
    with connect(target, "127.0.3.1") as other, slow_clients(target, 1, DEFAULT_LIMITS.per_client + 50) as slow:
        assert all(is_closed_by_server(sock) for sock in slow[:50])
        for _ in range(3):
            other.sendall(framed(QUERY))
            assert read_reply(other)[:2] == QUERY[:2]
        slow[-1].sendall(framed(QUERY)[1:])
        assert read_reply(slow[-1])[:2] == QUERY[:2]


def test_who_asks_keeps_the_connection_while_slow_clients_come_and_go(target: Server) -> None:
    with connect(target, "127.0.3.1") as asking:
        for _ in range(3):
            with slow_clients(target, SLOW_CLIENTS, DEFAULT_LIMITS.per_client // 2):
                asking.sendall(framed(QUERY))
                assert read_reply(asking)[:2] == QUERY[:2]
