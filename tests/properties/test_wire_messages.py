"""Messages that dnspython writes are read as it meant them; any other octets are read alike or not at all."""

from __future__ import annotations

import dns.exception
import dns.message
import dns.name
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.lifetime import Kind, Limits, lifetime
from kdns.wire.message import age, body_of, encode_body, layout, parse_message
from kdns.wire.query import HEADER_OCTETS
from tests.support.messages import QR, Answer, message, mixed_case

NAMES = ("www.example.org.", "example.org.", "a.b.Example.org.", "ns.example.net.", "net.", ".", "x.www.example.org.")
RDATA = {
    "A": "192.0.2.{n}",
    "AAAA": "2001:db8::{n}",
    "NS": "{name}",
    "CNAME": "{name}",
    "PTR": "{name}",
    "DNAME": "{name}",
    "MX": "{n} {name}",
    "KX": "{n} {name}",
    "RT": "{n} {name}",
    "AFSDB": "{n} {name}",
    "SRV": "{n} 1 53 {name}",
    "SOA": "{name} {other} {n} 2 3 4 5",
    "RP": "{name} {other}",
    "PX": "{n} {name} {other}",
    "NAPTR": '{n} 1 "u" "E2U+sip" "" {name}',
    "TXT": '"{n}" "more"',
    "HTTPS": '{n} {name} alpn="h2"',
    "CAA": '{n} issue "ca.example"',
    "TYPE65280": r"\# 2 c00c",
}
TTLS = st.sampled_from((0, 1, 59, 300, 86400, 0x7FFFFFFF))


@st.composite
def rrsets(draw: st.DrawFn) -> dns.rrset.RRset:
    rrtype = draw(st.sampled_from(sorted(RDATA)))
    name, other = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
    text = RDATA[rrtype].format(n=draw(st.integers(1, 9)), name=name, other=other)
    return dns.rrset.from_text(draw(st.sampled_from(NAMES)), draw(TTLS), "IN", rrtype, text)


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """A reply as a server would write it, with names compressed."""
    query = dns.message.make_query(draw(st.sampled_from(NAMES)), draw(st.sampled_from(sorted(RDATA))))
    query.use_edns(draw(st.sampled_from((-1, 0))), payload=1400)
    built = dns.message.make_response(query)
    for section in (built.answer, built.authority, built.additional):
        section.extend(draw(st.lists(rrsets(), max_size=3)))
    built.set_rcode(draw(st.sampled_from((0, 3, 16) if built.edns >= 0 else (0, 2, 3))))
    return built.to_wire()


def expected(section: list[dns.rrset.RRset]) -> list[tuple[bytes, int, int, int, bytes]]:
    """What dnspython reads, in wire form without compression."""
    return [
        (rrset.name.to_wire(), rrset.rdtype, rrset.rdclass, rrset.ttl, rdata.to_wire())
        for rrset in section
        for rdata in rrset
    ]


def read_by_dnspython(octets: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(octets, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError, KeyError, IndexError):
        return None


@given(replies())
def test_a_message_is_read_as_it_was_written(octets: bytes) -> None:
    oracle = dns.message.from_wire(octets, one_rr_per_rrset=True)
    found = parse_message(octets)
    assert found is not None
    assert (found.id, found.rcode) == (oracle.id, oracle.rcode())
    assert list(found.answer) == expected(oracle.answer)
    assert list(found.authority) == expected(oracle.authority)
    assert list(found.additional) == expected(oracle.additional)
    assert (found.edns is not None) == (oracle.edns >= 0)


@given(replies())
def test_the_fast_reader_and_the_whole_one_agree(octets: bytes) -> None:
    found, whole = layout(octets), parse_message(octets)
    assert found is not None
    assert whole is not None
    sections = (whole.answer, whole.authority, whole.additional)
    assert found.counts == tuple(map(len, sections))
    assert found.ttls == tuple(record.ttl for section in sections for record in section)
    assert [int.from_bytes(octets[at : at + 4]) for at in found.ttl_at] == list(found.ttls)
    assert (found.flags, found.rcode) == (whole.flags, whole.rcode)
    assert octets[HEADER_OCTETS : found.question_end] == whole.question
    qtype = int.from_bytes(whole.question[-4:-2])
    assert found.is_answered == any(record.rrtype == qtype for record in whole.answer)


@given(replies(), st.integers(0, 400))
def test_a_body_aged_says_the_same_with_later_ttls(octets: bytes, seconds: int) -> None:
    measured = layout(octets)
    assert measured is not None
    body = body_of(octets, measured)
    assert body is not None
    asked = octets[HEADER_OCTETS : measured.question_end]
    later = message(asked + age(body.octets, body.ttl_at, body.ttls, seconds), (1, *body.counts), QR)
    before, after = parse_message(octets), parse_message(later)
    assert before is not None
    assert after is not None
    for old, new in zip(before.answer + before.authority, after.answer + after.authority, strict=True):
        assert new == old._replace(ttl=max(0, old.ttl - seconds))


@given(replies(), st.sampled_from(NAMES))
def test_a_message_written_anew_says_the_same_behind_any_question(octets: bytes, qname: str) -> None:
    found = parse_message(octets)
    assert found is not None
    asked = dns.name.from_text(mixed_case(qname)).to_wire() + found.question[-4:]
    body = encode_body(asked, found.answer, found.authority, found.additional)
    assert body is not None
    written = Answer(message(asked + body.octets, (1, *body.counts), QR))
    read = dns.message.from_wire(octets, one_rr_per_rrset=True)
    pairs = zip(
        expected(written.message.answer + written.message.authority + written.message.additional),
        expected(read.answer + read.authority + read.additional),
        strict=True,
    )
    for new, old in pairs:
        assert (new[0].lower(), new[1:4], new[4].lower()) == (old[0].lower(), old[1:4], old[4].lower())
    assert [int.from_bytes(body.octets[at : at + 4]) for at in body.ttl_at] == list(body.ttls)


@given(replies(), st.integers(0, 400), st.integers(0, 400))
def test_nothing_is_kept_beyond_the_ttl_of_any_record(octets: bytes, success_most: int, denial_most: int) -> None:
    measured, whole = layout(octets), parse_message(octets)
    assert measured is not None
    assert whole is not None
    held = lifetime(measured, Limits(success_most=success_most, denial_most=denial_most))
    kind, seconds = held.kind, held.seconds
    assert (seconds > 0) == (kind in (Kind.SUCCESS, Kind.DENIAL))
    records = whole.answer + whole.authority + whole.additional
    assert all(seconds <= record.ttl for record in records)
    assert seconds <= {Kind.SUCCESS: success_most, Kind.DENIAL: denial_most}.get(kind, 0)
    assert (kind is Kind.FAILURE) == (whole.rcode not in (0, 3))


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    layout(octets)
    parse_message(octets)


@given(replies(), st.data())
def test_mutated_replies_are_read_as_dnspython_reads_them_or_not_at_all(octets: bytes, data: st.DataObject) -> None:
    changed = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from((0, 1, 12, 41, 63, 64, 0xC0, 0xFF))))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else changed)
    found, measured, oracle = parse_message(cut), layout(cut), read_by_dnspython(cut)
    assert found is None or measured is not None, "the whole reader accepts nothing that the fast one does not"
    intact = layout(octets)
    assert intact is not None
    end = intact.question_end
    if HEADER_OCTETS < end <= len(cut) and cut[HEADER_OCTETS:end] == octets[HEADER_OCTETS:end]:
        assert layout(cut, end) == measured, "to know where the question ends changes nothing"
    if found is None or oracle is None or oracle.opcode() != 0:
        return
    ours = (len(found.answer), len(found.authority), len(found.additional))
    assert ours == (len(oracle.answer), len(oracle.authority), len(oracle.additional))
    assert [record.owner for record in found.answer] == [rrset.name.to_wire() for rrset in oracle.answer]
    assert found.rcode == oracle.rcode()
