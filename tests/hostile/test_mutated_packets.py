"""Packets that nobody should send get a reply or silence, and leave neither a trace in the log nor memory behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bench import processes
from bench.hostile import PROBE, SERVFAIL, Outcome, Sender, valid_queries
from bench.mutations import packets
from tests.server.serving import Server
from tests.support.messages import QR, message, opt, query, question

PACKETS = 25_000  # before memory is measured, and as many after; bench.hostile sends a million
GROWTH_OCTETS_MAX = 1 << 20


@pytest.fixture
def sender(target: Server) -> Iterator[Sender]:
    sender = Sender(target.port)
    yield sender
    sender.close()


def replies_to(sender: Sender, packets: list[bytes]) -> Outcome:
    """What became of these packets; all have been seen by the server when this returns."""
    outcome = Outcome()
    sender.send(packets, outcome)
    return outcome


def test_fifty_thousand_of_them_get_a_lawful_reply_or_none_and_take_no_memory(target: Server, sender: Sender) -> None:
    outcome = Outcome()
    pids = processes.tree(target.process.pid)
    sender.send(packets(1, valid_queries(), PACKETS), outcome)
    before = processes.pss_octets(pids)
    sender.send(packets(2, valid_queries(), PACKETS), outcome)
    assert processes.pss_octets(pids) - before < GROWTH_OCTETS_MAX
    assert outcome.sent == 2 * PACKETS
    assert not outcome.faults
    assert not outcome.rcodes[SERVFAIL]
    assert min(outcome.rcodes[rcode] for rcode in (0, 1, 3, 4, 5)) > PACKETS / 50  # they got past the header, too
    assert outcome.dropped > PACKETS / 50


def test_responses_are_never_answered_so_that_two_servers_cannot_play_ping_pong(
    target: Server, sender: Sender
) -> None:
    names = ("www.example.org", "absent.example.org", "example.com")
    kinds = [query(name, qtype, edns=edns) for name in names for qtype in ("A", "ANY") for edns in (b"", opt())]
    kinds += [message(b"", (0, 0, 0, 0)), message(b"\xff" * 9), query("www.example.org", flags=4 << 11)]
    own = [exchange(target, sent) for sent in kinds]
    assert all(reply[2] & 0x80 for reply in own)
    assert not replies_to(sender, own).rcodes
    flagged = [packet[:2] + bytes((packet[2] | QR >> 8,)) + packet[3:] for packet in kinds]
    assert not replies_to(sender, flagged).rcodes


def exchange(target: Server, sent: bytes) -> bytes:
    """The reply to a packet that must get one."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((target.address, target.port))
        sock.send(sent)
        return sock.recv(65535)


def test_packets_without_a_whole_header_are_dropped(sender: Sender) -> None:
    whole = query("www.example.org")
    outcome = replies_to(sender, [whole[:octets] for octets in range(12)])
    assert (outcome.sent, outcome.dropped) == (12, 12)


def test_a_header_alone_is_an_error_of_the_client(sender: Sender) -> None:
    assert replies_to(sender, [query("www.example.org")[:12]]).rcodes == {1: 1}


def test_the_largest_datagrams_are_answered_or_refused(sender: Sender) -> None:
    base = query("www.example.org")
    outcome = replies_to(sender, [base + bytes(octets - len(base)) for octets in (512, 4095, 4096, 4097, 65507)])
    assert outcome.rcodes == {1: 5}


def test_clients_that_are_gone_before_their_reply_comes_are_no_trouble(target: Server, sender: Sender) -> None:
    for _ in range(200):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect((target.address, target.port))
            sock.send(query("www.example.org"))
    assert replies_to(sender, [query("www.example.org")] * 200).rcodes == {0: 200}


def test_the_probe_is_told_from_every_other_reply() -> None:
    assert question(PROBE) not in b"".join(valid_queries())
