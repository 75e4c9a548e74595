"""Building messages: compression, whole rrsets, room (RFC 1035 section 4.1.4, 2181 section 9, 6891, 8914)."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.builder import MAX_POINTER, MessageBuilder, ede_option, opt_record
from kdns.wire.iana import RRType
from kdns.wire.name import from_text, to_text
from kdns.zone.rrset import RRset
from tests.support.messages import Answer, question
from tests.support.zonetext import lines

ORG = "example.org"
QUESTION = question(f"www.{ORG}")
ADDRESS = bytes([192, 0, 2, 1])
ANSWER, AUTHORITY, ADDITIONAL = range(3)


def builder(limit: int = 65535, opt: bytes = b"", of: bytes = QUESTION) -> MessageBuilder:
    return MessageBuilder(of, limit, opt)


def finish(one: MessageBuilder, flags: int = 0x8400) -> Answer:
    return Answer(b"\x12\x34" + one.finish(flags))


def srv(target: str, port: int = 80) -> bytes:
    return pack(">3H", 0, 100, port) + from_text(target)


def test_a_message_has_its_flags_question_and_counts() -> None:
    one = builder()
    assert one.add(ANSWER, from_text(f"www.{ORG}"), RRType.A, 60, [ADDRESS, bytes(4)])
    assert one.add(ADDITIONAL, from_text(f"ns.{ORG}"), RRType.A, 60, [ADDRESS])
    reply = finish(one, 0x8583)
    assert (reply.ident, reply.rcode, reply.flags) == (0x1234, "NXDOMAIN", {"QR", "AA", "RD", "RA"})
    assert reply.counts == (1, 2, 0, 1)
    assert reply.answer == ["www.example.org. 60 A 192.0.2.1", "www.example.org. 60 A 0.0.0.0"]
    assert reply.additional == ["ns.example.org. 60 A 192.0.2.1"]


def test_a_message_without_question_says_so() -> None:
    assert finish(builder(of=b"")).counts == (0, 0, 0, 0)


def test_the_opt_record_ends_the_message_and_is_counted() -> None:
    reply = finish(builder(opt=opt_record(1232, 0, True, ede_option(20, "not ours"))))
    assert reply.counts == (1, 0, 0, 1)
    assert (reply.payload, reply.dnssec_ok, reply.ede) == (1232, True, [(20, "not ours")])


@pytest.mark.parametrize(
    ("text", "kept"), [("x" * 999, "x" * 200), ("ä" * 150, "ä" * 100), ("xä" * 150, "xä" * 66 + "x")]
)
def test_the_text_of_an_extended_error_is_cut_between_characters(text: str, kept: str) -> None:
    reply = finish(builder(limit=512, opt=opt_record(1232, 0, False, ede_option(0, text))))
    [(_, told)] = reply.ede
    assert told == kept
    assert len(reply.wire) <= 512


def test_an_extended_rcode_stands_in_two_places() -> None:
    reply = finish(builder(opt=opt_record(1232, 16, False)), 0x8000)
    assert reply.rcode == "BADVERS"
    assert reply.message.edns == 0


# Compression


def test_an_owner_that_was_asked_for_is_a_pointer_to_the_question() -> None:
    one = builder()
    before = len(one)
    one.add(ANSWER, from_text(f"www.{ORG}"), RRType.A, 60, [ADDRESS])
    assert len(one) - before == 2 + 10 + 4


@pytest.mark.parametrize(
    ("rrtype", "rdata", "written"),
    [
        (RRType.CNAME, from_text(f"a.{ORG}"), 4),
        (RRType.NS, from_text(ORG), 2),
        (RRType.PTR, from_text("b.org"), 4),
        (RRType.MX, pack(">H", 10) + from_text(f"mail.{ORG}"), 2 + 7),
        (RRType.SOA, from_text(f"ns.{ORG}") + from_text(f"host.ns.{ORG}") + bytes(20), 5 + 7 + 20),
        (RRType.SRV, srv(f"a.{ORG}"), 6 + len(from_text(f"a.{ORG}"))),
        (RRType.DNAME, from_text(f"a.{ORG}"), len(from_text(f"a.{ORG}"))),
        (RRType.HTTPS, pack(">H", 1) + from_text(ORG), 2 + len(from_text(ORG))),
        (RRType.CNAME, b"\0", 1),
    ],
)
def test_names_in_rdata_are_compressed_where_rfc_3597_allows_it(rrtype: int, rdata: bytes, written: int) -> None:
    one = builder()
    before = len(one)
    one.add(ANSWER, from_text(f"www.{ORG}"), rrtype, 60, [rdata])
    assert len(one) - before == 12 + written
    reply = finish(one)
    assert len(reply.answer) == 1
    if rrtype in (RRType.CNAME, RRType.NS, RRType.PTR):
        assert reply.rdata == [to_text(rdata)]


def test_a_srv_target_is_written_whole_and_pointed_to_later() -> None:
    one = builder()
    one.add(ANSWER, from_text(f"www.{ORG}"), RRType.SRV, 60, [srv("web.elsewhere.test")])
    before = len(one)
    one.add(ADDITIONAL, from_text("web.elsewhere.test"), RRType.A, 60, [ADDRESS])
    assert len(one) - before == 2 + 10 + 4
    assert finish(one).additional == ["web.elsewhere.test. 60 A 192.0.2.1"]


def test_the_beginning_of_a_name_that_ended_in_a_pointer_can_be_pointed_to() -> None:
    one = builder()
    one.add(ANSWER, from_text(f"www.{ORG}"), RRType.CNAME, 60, [from_text(f"x.y.{ORG}")])
    before = len(one)
    one.add(ANSWER, from_text(f"z.y.{ORG}"), RRType.A, 60, [ADDRESS])
    assert len(one) - before == 2 + 2 + 10 + 4
    assert finish(one).answer[1] == "z.y.example.org. 60 A 192.0.2.1"


def test_names_are_compared_without_case() -> None:
    one = builder()
    before = len(one)
    one.add(ANSWER, from_text("WWW.Example.ORG"), RRType.A, 60, [ADDRESS])
    assert len(one) - before == 16


def test_labels_with_dots_and_zeros_are_not_confused_with_other_labels() -> None:
    names = [from_text(text) for text in (r"a\.b.test", "a.b.test", r"a\000.test", r"\001b.test", "b.test")]
    one = builder(of=question("."))
    for name in names:
        one.add(ANSWER, name, RRType.CNAME, 60, [name])
    assert [line.split()[0] for line in finish(one).answer] == [to_text(name) for name in names]


def test_no_pointer_leads_past_16383_octets() -> None:
    one = builder()
    names = [f"host-{at}.zone-{at % 40}.test" for at in range(1200)]
    for name in names:
        assert one.add(ANSWER, from_text(name), RRType.CNAME, 60, [from_text(f"target.{name}")])
    reply = finish(one)
    assert len(reply.wire) > MAX_POINTER + 5000
    assert reply.answer == [f"{name}. 60 CNAME target.{name}." for name in names]


def test_a_name_that_straddles_the_last_offset_is_remembered_up_to_there() -> None:
    one = builder(of=b"")
    filler = bytes(MAX_POINTER - 12 - 11 - 1)
    assert one.add(ANSWER, b"\0", 65280, 60, [filler])
    assert len(one) == MAX_POINTER - 1
    name = from_text("a.b.c.test")  # "a" at 16382, "b" at 16384
    one.add(ANSWER, name, RRType.A, 60, [ADDRESS])
    whole = len(one)
    one.add(ANSWER, name, RRType.A, 60, [ADDRESS])
    assert len(one) - whole == 2 + 14
    whole = len(one)
    one.add(ANSWER, from_text("b.c.test"), RRType.A, 60, [ADDRESS])
    assert len(one) - whole == len(from_text("b.c.test")) + 14
    assert [line.split()[0] for line in finish(one).answer[1:]] == ["a.b.c.test.", "a.b.c.test.", "b.c.test."]


# Room


def test_an_rrset_that_does_not_fit_leaves_nothing_behind() -> None:
    one = builder(limit=100)
    assert one.add(ANSWER, from_text(f"www.{ORG}"), RRType.A, 60, [ADDRESS])
    before = len(one)
    assert not one.add(AUTHORITY, from_text(ORG), RRType.NS, 60, [from_text(f"ns{n}.{ORG}") for n in range(9)])
    assert len(one) == before
    assert finish(one).counts == (1, 1, 0, 0)


def test_a_rolled_back_name_is_never_pointed_to() -> None:
    one = builder(limit=90)
    assert not one.add(ANSWER, from_text("new.test"), RRType.TXT, 60, [bytes(80)])
    assert one.add(ANSWER, from_text("new.test"), RRType.A, 60, [ADDRESS])
    assert finish(one).answer == ["new.test. 60 A 192.0.2.1"]


def test_names_known_before_a_roll_back_stay_known() -> None:
    one = builder(limit=110)
    assert one.add(ANSWER, from_text("old.test"), RRType.A, 60, [ADDRESS])
    assert not one.add(ANSWER, from_text("x.old.test"), RRType.TXT, 60, [bytes(80)])
    before = len(one)
    assert one.add(ANSWER, from_text("y.old.test"), RRType.A, 60, [ADDRESS])
    assert len(one) - before == 2 + 2 + 14
    assert finish(one).answer[1] == "y.old.test. 60 A 192.0.2.1"


def test_as_many_records_as_fit_are_written_in_order() -> None:
    one = builder(limit=len(QUESTION) + 12 + 3 * 16 + 15)
    rdatas = [bytes([10, 0, 0, n]) for n in range(9)]
    assert one.add_some(ANSWER, from_text(f"www.{ORG}"), RRType.A, 60, rdatas) == 3
    assert finish(one).rdata == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(("rrtype", "octets"), [(RRType.A, 4), (RRType.AAAA, 16)])
@pytest.mark.parametrize("owner", [f"www.{ORG}", f"x.www.{ORG}", "elsewhere.test", "."])
@pytest.mark.parametrize("room", [0, 30, 100, 333, 10_000])
def test_many_addresses_are_written_as_one_by_one(rrtype: RRType, octets: int, owner: str, room: int) -> None:
    rdatas = [bytes([n]) * octets for n in range(1, 30)]
    limit = len(QUESTION) + 12 + room
    at_once, each = builder(limit=limit), builder(limit=limit)
    count = at_once.add_some(ANSWER, from_text(owner), rrtype, 60, rdatas)
    for rdata in rdatas:
        if not each.add(ANSWER, from_text(owner), rrtype, 60, [rdata]):
            break
    assert (at_once.finish(0), at_once.room) == (each.finish(0), each.room)
    assert count == each.counts[ANSWER]
    whole = builder(limit=limit)
    assert whole.add(ANSWER, from_text(owner), rrtype, 60, rdatas) is (count == len(rdatas))
    assert len(whole) == (len(at_once) if count == len(rdatas) else len(QUESTION) + 12)


@pytest.mark.parametrize("spare", [0, 1])
def test_the_limit_may_be_reached_and_includes_the_opt_record(spare: int) -> None:
    opt = opt_record(1232, 0, False)
    limit = 12 + len(QUESTION) + 16 + len(opt) - 1 + spare
    one = builder(limit, opt)
    assert one.add(ANSWER, from_text(f"www.{ORG}"), RRType.A, 60, [ADDRESS]) is bool(spare)
    assert one.room == (0 if spare else 15)
    assert len(finish(one).wire) <= limit


NAMES = st.lists(st.sampled_from([b"a", b"B", b"web", b"\xff\x00", b"x" * 60]), min_size=0, max_size=4).map(
    lambda parts: b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
)
RRSETS = st.lists(
    st.tuples(
        st.integers(0, 2), NAMES, st.sampled_from([RRType.CNAME, RRType.SRV, RRType.MX, RRType.SOA, RRType.A]), NAMES
    ),
    max_size=12,
)


def _rdata(rrtype: int, target: bytes) -> bytes:
    made = {
        RRType.CNAME: target,
        RRType.SRV: bytes(6) + target,
        RRType.MX: bytes(2) + target,
        RRType.SOA: target + target + bytes(20),
        RRType.A: bytes(4),
    }
    return made[RRType(rrtype)]


@given(NAMES, RRSETS, st.integers(80, 600))
def test_dnspython_reads_back_exactly_what_was_added(
    qname: bytes, rrsets: list[tuple[int, bytes, int, bytes]], limit: int
) -> None:
    one = MessageBuilder(qname.lower() + b"\0\x01\0\x01", max(limit, len(qname) + 16), b"")
    written: list[list[str]] = [[], [], []]
    for section, owner, rrtype, target in sorted(rrsets, key=lambda rrset: rrset[0]):
        rdata = _rdata(rrtype, target)
        if one.add(section, owner, rrtype, 7, [rdata]):
            written[section] += [line.lower() for line in lines([RRset(owner, rrtype, 7, (rdata,))])]
    reply = finish(one)
    assert len(reply.wire) <= max(limit, len(qname) + 16)
    got = [[line.lower() for line in section] for section in (reply.answer, reply.authority, reply.additional)]
    assert [_normal(section) for section in got] == [_normal(section) for section in written]


def _normal(lines: list[str]) -> list[str]:
    """dnspython escapes a few characters fewer than we do; none of them is among the labels used here."""
    return [line.replace("\\255", "?") for line in lines]
