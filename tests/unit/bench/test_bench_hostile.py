"""Mutated packets are the same for the same seed, and of every kind; a reply that breaks a rule is noticed."""

from __future__ import annotations

import dns.message
import pytest

from bench.hostile import Outcome, valid_queries
from bench.mutations import HEADER_OCTETS, packets
from tests.support.messages import opt, query

SENT = query("www.example.org", ident=7)
REPLY = SENT[:2] + b"\x81\x00" + SENT[4:]


def test_the_same_seed_gives_the_same_packets_and_another_one_others() -> None:
    valid = valid_queries()
    assert list(packets(1, valid, 500)) == list(packets(1, valid, 500))
    assert list(packets(1, valid, 500)) != list(packets(2, valid, 500))


def test_packets_are_of_every_kind() -> None:
    found = list(packets(1, valid_queries(), 5000))
    assert len(found) == 5000
    assert any(len(packet) < HEADER_OCTETS for packet in found)
    assert any(len(packet) > 300 for packet in found)
    assert any(packet[2:3] and packet[2] & 0x80 for packet in found)
    assert any(packet.endswith(opt()) for packet in found)
    valid = {query[2:] for query in valid_queries()}
    assert sum(packet[2:] in valid for packet in found) < len(found) / 10


def test_seeds_are_what_dnspython_calls_queries() -> None:
    for message in valid_queries():
        assert len(dns.message.from_wire(message).question) == 1


def test_a_lawful_reply_is_counted() -> None:
    outcome = Outcome(sent=3)
    outcome.note(SENT, REPLY)
    assert (outcome.faults, outcome.rcodes, outcome.dropped) == ([], {0: 1}, 2)


@pytest.mark.parametrize(
    ("sent", "reply", "fault"),
    [
        (None, REPLY, "to nothing"),
        (SENT, SENT, "QR or opcode"),
        (SENT, REPLY[:2] + b"\xa1" + REPLY[3:], "QR or opcode"),
        (SENT, REPLY + bytes(1300), "longer than"),
        (SENT, REPLY[:6] + b"\0\1" + REPLY[8:], "no DNS message"),
        (SENT, REPLY[:-3], "no DNS message"),
    ],
)
def test_a_reply_that_breaks_a_rule_is_a_fault(sent: bytes | None, reply: bytes, fault: str) -> None:
    outcome = Outcome(sent=1)
    outcome.note(sent, reply)
    assert len(outcome.faults) == 1
    assert fault in outcome.faults[0]
