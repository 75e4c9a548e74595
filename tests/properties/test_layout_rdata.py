"""What kdns.wire.message.layout lets pass of the common types, dnspython reads: names in RDATA end where it ends."""

from __future__ import annotations

from struct import pack

import dns.exception
import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.iana import RRType
from kdns.wire.message import layout, parse_message
from kdns.wire.query import HEADER_OCTETS
from tests.support.messages import QR, message

QUESTION = b"\x03www\x07example\x03org\x00\0\x01\0\x01"
FIRST_RDATA = HEADER_OCTETS + len(QUESTION) + 12
BEFORE = {RRType.CNAME: 0, RRType.NS: 0, RRType.PTR: 0, RRType.MX: 2, RRType.SRV: 6, RRType.SOA: 0}
NAMES = (
    b"\0", b"\xc0\x0c", b"\xc0\x10", b"\x01a\xc0\x0c", b"\x01a\0", b"\xff\xff", b"\xc0", b"\x40a", b"\x05a\0", b"",
    b"\xc0\x0b", b"\xc0\x1d", pack(">H", 0xC000 + FIRST_RDATA), pack(">H", 0xC000 + FIRST_RDATA - 2),
    b"\x3f" + b"x" * 63 + b"\xc0\x0c", (b"\x3f" + b"x" * 63) * 3 + b"\xc0\x0c", (b"\x3f" + b"x" * 63) * 4 + b"\0",
    *((b"\x3f" + b"x" * 63) * 3 + bytes((octets,)) + b"x" * octets + b"\xc0\x0c" for octets in (43, 44, 45, 46)),
)  # fmt: skip


@st.composite
def rdata(draw: st.DrawFn, rrtype: int) -> bytes:
    """Of the type, or nearly."""
    if rrtype not in BEFORE:
        return bytes(draw(st.integers(0, 17)))
    names = b"".join(draw(st.sampled_from(NAMES)) for _ in range(2 if rrtype == RRType.SOA else 1))
    behind = 20 if rrtype == RRType.SOA else 0
    octets = bytes(BEFORE[rrtype]) + names + bytes(behind)
    cut = draw(st.sampled_from((0, 0, 0, 1, 2, 5)))
    return octets[: len(octets) - cut] + draw(st.sampled_from((b"", b"", b"", b"\0", b"\xc0\x0c")))


@st.composite
def records(draw: st.DrawFn) -> bytes:
    rrtype = draw(st.sampled_from((*BEFORE, RRType.A, RRType.AAAA)))
    owner = draw(st.sampled_from(tuple(filter(None, NAMES))))
    octets = draw(rdata(rrtype))
    length = max(0, len(octets) + draw(st.sampled_from((0, 0, 0, 0, -1, 1))))
    return owner + pack(">HHIH", rrtype, 1, 60, length) + octets


@given(st.lists(records(), min_size=1, max_size=4))
def test_what_layout_lets_pass_dnspython_reads(built: list[bytes]) -> None:
    octets = message(QUESTION + b"".join(built), (1, len(built), 0, 0), QR)
    measured = layout(octets)
    assert measured is not None or parse_message(octets) is None
    if measured is None:
        return
    oracle = dns.message.from_wire(octets, one_rr_per_rrset=True)
    assert len(oracle.answer) == len(built)


@given(records())
def test_what_dnspython_does_not_read_layout_refuses(built: bytes) -> None:
    octets = message(QUESTION + built, (1, 1, 0, 0), QR)
    try:
        dns.message.from_wire(octets)
    except (dns.exception.DNSException, ValueError, IndexError):
        assert layout(octets) is None


@pytest.mark.parametrize(
    ("rrtype", "octets"),
    [
        ("A", b"\x0a\5\5"), ("A", b"\x0a\5\5\5\5"), ("AAAA", bytes(4)), ("AAAA", b""), ("CNAME", b"\xff\xff\xff\xff"),
        ("CNAME", b"\xc0\x0c\0"), ("CNAME", b"\x05abc"), ("NS", b""), ("PTR", b"\xc0"), ("MX", b"\0\1"),
        ("MX", b"\0\1\0\0"), ("SRV", bytes(6)), ("SRV", bytes(5)), ("SOA", bytes(21)), ("SOA", bytes(23)),
    ],
)  # fmt: skip
def test_rdata_that_is_not_what_its_type_says_is_malformed(rrtype: str, octets: bytes) -> None:
    head = b"\xc0\x0c" + pack(">HHIH", dns.rdatatype.from_text(rrtype), 1, 60, len(octets))
    assert layout(message(QUESTION + head + octets, (1, 1, 0, 0), QR)) is None


def test_a_record_of_another_class_is_malformed_under_a_question_of_class_in() -> None:
    record = b"\xc0\x0c" + pack(">HHIH", RRType.TXT, 3, 60, 2) + b"\x01x"
    assert layout(message(QUESTION + record, (1, 1, 0, 0), QR)) is None
    assert layout(message(QUESTION[:-1] + b"\3" + record, (1, 1, 0, 0), QR)) is not None


def test_names_that_lead_to_each_other_are_each_read_once_and_not_beyond_the_bound_of_a_name() -> None:
    targets = (HEADER_OCTETS, *range(FIRST_RDATA, 0x4000, 16))
    head = b"\xc0\x0c" + pack(">HHIH", RRType.CNAME, 1, 60, 4)
    built = [head + b"\x01a" + pack(">H", 0xC000 + target) for target in targets[:120]]
    fits = (255 - len(QUESTION) + 4) // 2  # labels of two octets before the question's name
    for count, is_read in ((fits, True), (fits + 1, False)):
        octets = message(QUESTION + b"".join(built[:count]), (1, count, 0, 0), QR)
        assert (layout(octets) is not None) is is_read
