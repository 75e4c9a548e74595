"""However names grow from each other, no reader has to follow more than a few pointers (RFC 1035 section 4.1.4)."""

from __future__ import annotations

from itertools import pairwise

import dns.message
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.builder import MAX_POINTERS_IN_NAME, MessageBuilder
from kdns.wire.name import from_text
from kdns.wire.query import HEADER_OCTETS

QUESTION = from_text("example.org") + b"\0\1\0\1"
CNAME = 5


def pointers_in(message: bytes, at: int) -> int:
    """How many pointers a reader follows from here to the root."""
    count = 0
    while message[at]:
        if message[at] >= 0xC0:
            at = (message[at] & 0x3F) << 8 | message[at + 1]
            count += 1
        else:
            at += message[at] + 1
    return count


def build(names: list[str]) -> bytes:
    """A reply with an alias from each name to the next."""
    builder = MessageBuilder(QUESTION, 65535, b"")
    for owner, target in pairwise(names):
        assert builder.add(0, from_text(owner), CNAME, 5, [from_text(target)])
    return b"\0\0" + builder.finish(0x8000)


def every_name(message: bytes) -> list[int]:
    """Where the owners and targets of a reply of aliases start."""
    found, at = [], HEADER_OCTETS + len(QUESTION)
    while at < len(message):
        found.append(at)
        while 0 < message[at] < 0xC0:
            at += message[at] + 1
        at += 2 if message[at] else 1
        found.append(at + 10)
        at += 10 + int.from_bytes(message[at + 8 : at + 10])
    return found


def test_a_name_that_grows_by_a_label_each_time_stays_shallow() -> None:
    names = ["more." * count + "example.org" for count in range(1, 20)]
    message = build(names)
    assert max(pointers_in(message, at) for at in every_name(message)) == MAX_POINTERS_IN_NAME
    assert [str(rrset.name) for rrset in dns.message.from_wire(message).answer] == [f"{name}." for name in names[:-1]]


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=12), min_size=2, max_size=24))
def test_names_read_back_as_written_and_never_cost_many_pointers(prefixes: list[list[str]]) -> None:
    names = [".".join([*prefix, "example.org"]) for prefix in prefixes]
    message = build(names)
    assert max(pointers_in(message, at) for at in every_name(message)) <= MAX_POINTERS_IN_NAME
    read = dns.message.from_wire(message, one_rr_per_rrset=True).answer
    assert [(str(rrset.name), rrset[0].to_text()) for rrset in read] == [
        (f"{owner}.", f"{target}.") for owner, target in pairwise(names)
    ]
