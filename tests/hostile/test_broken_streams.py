"""TCP clients that break every rule harm nobody but themselves."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from random import Random

import pytest

from bench import processes
from bench.mutations import HEADER_OCTETS, packets, seeds
from kdns.wire.name import from_text
from tests.hostile.streams import connect, framed, is_closed_by_server, read_reply, reset
from tests.server.serving import Server
from tests.support.messages import COOKIE, message, opt, option, query

QUERIES = [
    query(name, qtype, edns=edns, ident=ident)
    for ident, (name, qtype) in enumerate(
        [
            ("mail.example.org", "A"),
            ("example.org", "SOA"),
            ("wWw.eXample.org", "CNAME"),
            ("absent.example.org", "A"),
            ("_tcp.example.org", "A"),
            ("host.lab.example.org", "AAAA"),
            ("www.example.com", "A"),
            ("dns-version.cluster.local", "TXT"),
            ("odd.example.org", "TYPE65280"),
            ("example.org", "AXFR"),
            ("web.example.org", "ANY"),
        ]
    )
    for edns in (b"", opt(), opt(options=option(COOKIE, bytes(8))), opt(version=1))
]
ODD_QUERIES = [
    query("mail.example.org", flags=4 << 11),
    query("mail.example.org", qclass=3),
    message(b"", (0, 0, 0, 0)),
    message(b"\xc0\x0c\0\1\0\1"),
    query("mail.example.org") + b"\0",
]
SHORT_CONNECTIONS = 2000
MEBIBYTE = 1 << 20


def over_udp(target: Server, sent: bytes) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((target.address, target.port))
        sock.send(sent)
        return sock.recv(65535)


def descriptors(target: Server) -> int:
    """How many files the worker has open."""
    return len(os.listdir(f"/proc/{target.children()['kdns-worker-0']}/fd"))


def still_answers(target: Server) -> None:
    with connect(target) as sock:
        sock.sendall(framed(QUERIES[0]))
        assert read_reply(sock) == over_udp(target, QUERIES[0])


def test_a_stream_is_answered_alike_whole_and_octet_by_octet_and_as_datagrams(target: Server) -> None:
    expected = [over_udp(target, sent) for sent in (*QUERIES, *ODD_QUERIES)]
    stream = b"".join(map(framed, (*QUERIES, *ODD_QUERIES)))
    with connect(target) as whole:
        whole.sendall(stream)
        assert [read_reply(whole) for _ in expected] == expected
    with connect(target) as slow:
        for octet in stream:
            slow.send(bytes((octet,)))
        assert [read_reply(slow) for _ in expected] == expected


@pytest.mark.parametrize("seed", range(5))
def test_however_a_stream_is_cut_the_replies_are_the_same(target: Server, seed: int) -> None:
    rng = Random(seed)
    asked = rng.choices(QUERIES, k=200)
    stream = b"".join(map(framed, asked))
    expected = {sent: over_udp(target, sent) for sent in QUERIES}
    with connect(target) as sock:
        while stream:
            cut = rng.randint(1, 200)
            sock.sendall(stream[:cut])
            stream = stream[cut:]
        assert [read_reply(sock) for _ in asked] == [expected[sent] for sent in asked]


def test_responses_and_messages_without_a_header_are_passed_over(target: Server) -> None:
    ignored = [b"", b"\0", bytes(11), over_udp(target, QUERIES[0])]
    with connect(target) as sock:
        for octets in ignored:
            sock.sendall(framed(octets))
        sock.sendall(framed(QUERIES[4]))
        assert read_reply(sock) == over_udp(target, QUERIES[4])


@pytest.mark.parametrize(
    "begun",
    [b"", b"\0", b"\0\x20", framed(QUERIES[0])[:-1], b"\xff\xff" + QUERIES[0], b"\xff\xff" + bytes(65534)],
    ids=["nothing", "half a length", "a length", "almost a query", "a length too long", "almost the longest message"],
)
@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_what_is_never_completed_is_let_go(
    target: Server, begun: bytes, end: Callable[[socket.socket], None]
) -> None:
    before = descriptors(target)
    for _ in range(20):
        sock = connect(target)
        sock.sendall(begun)
        end(sock)
    still_answers(target)
    wait_for_descriptors(target, before)


def test_a_half_closed_stream_gets_all_its_replies_and_then_an_end(target: Server) -> None:
    with connect(target) as sock:
        sock.sendall(b"".join(map(framed, QUERIES)) + b"\0")
        sock.shutdown(socket.SHUT_WR)
        assert [read_reply(sock) for _ in QUERIES] == [over_udp(target, sent) for sent in QUERIES]
        assert is_closed_by_server(sock)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_messages_get_the_same_on_a_stream_as_in_datagrams(target: Server, seed: int) -> None:
    names = [from_text(name) for name in ("mail.example.org", "absent.example.org", "lab.example.org", "example.com")]
    mutated = list(packets(seed, seeds(names, (1, 28, 16, 43, 255)), 2000))
    with connect(target) as sock:
        for changed in mutated:
            sock.sendall(framed(changed))
            if len(changed) >= HEADER_OCTETS and not changed[2] & 0x80:
                assert read_reply(sock) == over_udp(target, changed), changed.hex()


@pytest.mark.parametrize("seed", range(10))
def test_garbage_is_answered_or_passed_over(target: Server, seed: int) -> None:
    rng = Random(seed)
    with connect(target) as sock:
        for _ in range(200):
            body = rng.randbytes(rng.choice((0, 5, 12, 40, 300)))
            length = rng.choice((len(body), len(body), rng.randrange(1 << 12)))
            sock.sendall(length.to_bytes(2, "big") + body)
    still_answers(target)


def test_who_sends_and_never_reads_is_not_read_either(target: Server) -> None:
    """Queries of 60 octets get replies that no kernel buffer holds; the worker keeps a few and stops reading."""
    pids = processes.tree(target.process.pid)
    still_answers(target)
    before = processes.pss_octets(pids)
    greedy = [connect(target, f"127.0.0.{host}") for host in range(2, 10)]
    stream = framed(query("example.org", "MX", edns=opt())) * 2000
    for sock in greedy:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.2)
        send_until_stuck(sock, stream)
        still_answers(target)
    assert processes.pss_octets(pids) - before < 2 * MEBIBYTE
    for sock in greedy:
        reset(sock)


def send_until_stuck(sock: socket.socket, stream: bytes) -> None:
    try:
        while True:
            sock.sendall(stream)
    except TimeoutError:
        return


def test_thousands_of_short_connections_leave_nothing_behind(target: Server) -> None:
    pids = processes.tree(target.process.pid)
    before = descriptors(target)
    memory = processes.pss_octets(pids)
    for count in range(SHORT_CONNECTIONS):
        sock = connect(target, f"127.0.1.{count % 200 + 1}")
        if count % 2:
            sock.sendall(framed(QUERIES[count % len(QUERIES)]))
            assert read_reply(sock)
        if count % 3:
            reset(sock)
        else:
            sock.close()
    still_answers(target)
    wait_for_descriptors(target, before)
    assert processes.pss_octets(pids) - memory < MEBIBYTE


def wait_for_descriptors(target: Server, count: int) -> None:
    """Wait until the worker has no more files open than that; each look is a query and its reply."""
    for _ in range(2000):
        if descriptors(target) <= count:
            return
        over_udp(target, QUERIES[0])
    pytest.fail(f"{descriptors(target)} files open, {count} before")
