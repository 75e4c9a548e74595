"""Replies of other servers: measured, read, aged and written anew (RFC 1035 section 4.1, RFC 3597, RFC 6891)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

import dns.flags
import dns.message
import pytest

from kdns.wire.iana import Rcode
from kdns.wire.message import (
    MAX_POINTERS_FOLLOWED,
    MAX_TTL,
    PAYLOAD_OCTETS,
    Body,
    Layout,
    Message,
    Record,
    age,
    body_of,
    build_query,
    encode_body,
    layout,
    parse_message,
)
from kdns.wire.name import from_text
from kdns.wire.query import HEADER_OCTETS, Edns
from tests.support.messages import (
    AAAA,
    ANY,
    CD,
    CNAME,
    COOKIE,
    DO,
    MX,
    NS,
    QR,
    RD,
    SOA,
    SRV,
    TXT,
    A,
    Answer,
    message,
    opt,
    option,
    question,
)

QUESTION = question("www.Example.org")
HERE = b"\xc0\x0c"  # a pointer to the question's name
BEHIND = HEADER_OCTETS + len(QUESTION)  # where the first record starts
ADDRESS = bytes([192, 0, 2, 1])
SOA_NUMBERS = pack(">5I", 1, 7200, 900, 86400, 60)
SOA_RDATA = b"\x02ns\xc0\x10" + b"\x04root\xc0\x10" + SOA_NUMBERS


def record(rrtype: int, rdata: bytes, owner: bytes = HERE, ttl: int = 300, rrclass: int = 1) -> bytes:
    return owner + pack(">2HIH", rrtype, rrclass, ttl, len(rdata)) + rdata


def reply(
    answer: Sequence[bytes] = (),
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
    *,
    flags: int = QR | RD,
    asked: bytes = QUESTION,
    questions: int = 1,
) -> bytes:
    counts = (questions, len(answer), len(authority), len(additional))
    return message(asked + b"".join((*answer, *authority, *additional)), counts, flags)


def measured(octets: bytes) -> Layout:
    found = layout(octets)
    assert found is not None
    return found


def parsed(octets: bytes) -> Message:
    found = parse_message(octets)
    assert found is not None
    return found


def first_rdata(octets: bytes) -> bytes:
    return parsed(octets).answer[0].rdata


def is_malformed(octets: bytes) -> bool:
    """Both readers have to agree."""
    found = parse_message(octets)
    assert (found is None) == (layout(octets) is None)
    return found is None


# layout


def test_a_layout_says_where_each_ttl_stands() -> None:
    octets = reply([record(CNAME, b"\x01x\xc0\x10"), record(A, ADDRESS, b"\xc0\x2d", 60)])
    found = measured(octets)
    assert found.ttls == (300, 60)
    assert [octets[at : at + 4] for at in found.ttl_at] == [pack(">I", 300), pack(">I", 60)]
    assert (found.question_end, found.end, found.counts) == (BEHIND, len(octets), (2, 0, 0))


def test_an_opt_record_at_the_end_is_cut_off_and_counts_nowhere() -> None:
    octets = reply([record(A, ADDRESS)], additional=[record(A, ADDRESS, b"\x01g\0"), opt(1400, option(15, b"\0\1"))])
    found = measured(octets)
    assert found.opt_at == len(octets) - 17 == found.end
    assert found.opt_is_last
    assert (found.counts, len(found.ttls)) == ((1, 0, 1), 2)


def test_an_opt_record_in_the_middle_is_told_apart() -> None:
    octets = reply(additional=[opt(), record(A, ADDRESS)])
    found = measured(octets)
    assert (found.opt_at, found.opt_is_last, found.end) == (BEHIND, False, len(octets))
    assert (found.counts, found.ttls) == ((0, 0, 1), (300,))
    assert body_of(octets, found) is None


def test_a_message_without_opt_ends_where_its_records_do() -> None:
    found = measured(reply([record(A, ADDRESS)]))
    assert (found.opt_at, found.opt_is_last) == (None, False)
    assert found.end == BEHIND + len(record(A, ADDRESS))


def test_the_rcode_has_the_upper_bits_of_the_opt_record() -> None:
    octets = reply(additional=[opt(rcode=1)], flags=QR | 7)
    assert measured(octets).rcode == parsed(octets).rcode == 0x17
    assert measured(octets).flags == parsed(octets).flags == QR | 7


def test_the_soa_of_a_denial_gives_its_ttl_and_its_minimum() -> None:
    found = measured(reply(authority=[record(NS, HERE), record(SOA, SOA_RDATA, ttl=900)], flags=QR | Rcode.NXDOMAIN))
    assert found.soa == (900, 60)
    assert found.rcode == Rcode.NXDOMAIN


def test_an_soa_that_is_the_answer_or_additional_is_no_denial() -> None:
    assert measured(reply([record(SOA, SOA_RDATA)])).soa is None
    assert measured(reply(additional=[record(SOA, SOA_RDATA)])).soa is None


def test_of_two_soa_records_the_first_counts() -> None:
    both = [record(SOA, SOA_RDATA, ttl=5), record(SOA, SOA_RDATA, ttl=6)]
    assert measured(reply(authority=both)).soa == (5, 60)


def test_an_soa_too_short_for_its_numbers_is_malformed() -> None:
    assert is_malformed(reply(authority=[record(SOA, b"\0" + SOA_NUMBERS)]))
    assert measured(reply(authority=[record(SOA, b"\0\0" + SOA_NUMBERS)])).soa == (300, 60)


@pytest.mark.parametrize(
    ("answer", "qtype", "is_answered"),
    [
        ([], A, False),
        ([record(A, ADDRESS)], A, True),
        ([record(CNAME, HERE)], A, False),
        ([record(CNAME, HERE), record(A, ADDRESS)], A, True),
        ([record(CNAME, HERE)], CNAME, True),
        ([record(TXT, b"\0")], ANY, True),
        ([], ANY, False),
        ([record(A, ADDRESS)], AAAA, False),
    ],
)
def test_answered_is_what_has_a_record_of_the_type_asked_for(
    answer: list[bytes], qtype: int, is_answered: bool
) -> None:
    authority = [record(NS, HERE)]  # whatever stands there answers nothing
    octets = reply(answer, authority, asked=question("www.example.org", qtype))
    assert measured(octets).is_answered is is_answered


@pytest.mark.parametrize("ttl", [0, 1, MAX_TTL, MAX_TTL + 1, 0xFFFFFFFF])
def test_a_ttl_with_the_top_bit_set_is_zero(ttl: int) -> None:
    octets = reply([record(A, ADDRESS, ttl=ttl)], [record(SOA, SOA_RDATA[:-4] + pack(">I", ttl), ttl=ttl)])
    sane = ttl if ttl <= MAX_TTL else 0
    assert measured(octets).ttls == (sane, sane)
    assert measured(octets).soa == (sane, sane)
    assert parsed(octets).answer[0].ttl == sane


def test_a_refusal_without_a_question_is_measured_too() -> None:
    octets = reply(asked=b"", questions=0, flags=QR | Rcode.FORMERR)
    assert (measured(octets).question_end, measured(octets).rcode) == (12, Rcode.FORMERR)
    assert parsed(octets).question == b""


# What is malformed for both readers


def test_a_label_type_that_is_none_is_malformed_wherever_it_stands() -> None:
    assert all(is_malformed(reply([record(A, ADDRESS, bytes((octet,)) + bytes(200))])) for octet in range(64, 192))


def test_every_cut_of_a_reply_is_malformed() -> None:
    edns = opt(options=option(COOKIE, bytes(8)))
    octets = reply([record(CNAME, b"\x01x\xc0\x10")], [record(SOA, SOA_RDATA)], [edns])
    assert not is_malformed(octets)
    assert all(is_malformed(octets[:end]) for end in range(len(octets)))


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(reply([record(A, ADDRESS)]) + b"\0", id="trailing octets"),
        pytest.param(reply([record(A, ADDRESS)], asked=QUESTION * 2, questions=2), id="two questions"),
        pytest.param(reply(asked=b"\xc0\x0c\0\1\0\1"), id="a question that is a pointer"),
        pytest.param(reply(asked=b"\x40" + b"a" * 64 + b"\0\0\1\0\1"), id="a question of a label type that is none"),
        pytest.param(reply([record(A, ADDRESS, b"\x80a\0")]), id="an owner of a label type that is none"),
        pytest.param(reply([record(A, ADDRESS, b"\x40a\0")]), id="an owner of a label type that was"),
        pytest.param(reply([record(A, ADDRESS, pack(">H", 0xC000 | BEHIND))]), id="an owner that is itself"),
        pytest.param(reply([record(A, ADDRESS, b"\xc0\x40")]), id="an owner that comes later"),
        pytest.param(reply([record(A, ADDRESS, b"\xc0\x0b")]), id="an owner in the header"),
        pytest.param(reply([record(A, ADDRESS, b"\x01a" + pack(">H", 0xC000 | BEHIND))]), id="a loop of one label"),
        pytest.param(reply([record(A, ADDRESS, (b"\x3f" + b"a" * 63) * 4 + b"\0")]), id="an owner of 257 octets"),
        pytest.param(reply([record(A, ADDRESS) + b"\0"]), id="an RDLENGTH too small"),
        pytest.param(reply([record(A, ADDRESS)[:-1]]), id="an RDLENGTH too large"),
        pytest.param(reply(additional=[opt(), opt()]), id="two OPT records"),
        pytest.param(reply(additional=[b"\x01a" + opt()]), id="an OPT record with an owner"),
        pytest.param(reply(additional=[HERE + opt()[1:]]), id="an OPT record with a pointer for an owner"),
        pytest.param(reply([opt()]), id="an OPT record in the answer section"),
        pytest.param(reply(authority=[opt()]), id="an OPT record in the authority section"),
        pytest.param(reply(authority=[opt()], additional=[record(A, ADDRESS)]), id="an OPT record too early"),
        pytest.param(message(QUESTION, (1, 65535, 65535, 65535)), id="counts that lie"),
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(11), id="less than a header"),
    ],
)
def test_what_breaks_the_format_is_no_message(octets: bytes) -> None:
    assert is_malformed(octets)


def test_an_owner_of_255_octets_is_the_longest() -> None:
    longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert len(longest) == 255
    assert parsed(reply([record(A, ADDRESS, longest)])).answer[0].owner == longest
    assert is_malformed(reply([record(A, ADDRESS, b"\x01a" + longest)]))
    assert is_malformed(reply([record(A, ADDRESS, longest.replace(b"\x3d", b"\x3ea"))]))


# parse_message


def test_a_name_that_only_grows_too_long_by_its_pointer_is_malformed() -> None:
    suffix = (b"\x3f" + b"a" * 63) * 3
    asked = question(suffix + b"\0")
    fits, grows = (record(CNAME, bytes((octets,)) + b"b" * octets + HERE) for octets in (61, 62))
    assert len(first_rdata(reply([fits], asked=asked))) == 255
    assert parse_message(reply([grows], asked=asked)) is None


COMPRESSED = {
    "NS": (NS, HERE),
    "MD": (3, HERE),
    "MF": (4, HERE),
    "CNAME": (CNAME, HERE),
    "PTR": (12, HERE),
    "MB": (7, HERE),
    "MG": (8, HERE),
    "MR": (9, HERE),
    "DNAME": (39, HERE),
    "SOA": (SOA, HERE + HERE + SOA_NUMBERS),
    "MINFO": (14, HERE + HERE),
    "RP": (17, HERE + HERE),
    "MX": (MX, b"\0\x0a" + HERE),
    "AFSDB": (18, b"\0\1" + HERE),
    "RT": (21, b"\0\1" + HERE),
    "KX": (36, b"\0\1" + HERE),
    "PX": (26, b"\0\1" + HERE + HERE),
    "SRV": (SRV, bytes(6) + HERE),
    "SIG": (24, bytes(18) + HERE + b"signature"),
    "NXT": (30, HERE + b"bitmap"),
    "NAPTR": (35, bytes(4) + b"\x01U\x07E2U+sip\0" + HERE),
}


@pytest.mark.parametrize("mnemonic", COMPRESSED)
def test_compressed_names_in_rdata_are_written_out(mnemonic: str) -> None:
    rrtype, rdata = COMPRESSED[mnemonic]
    assert first_rdata(reply([record(rrtype, rdata)])) == rdata.replace(HERE, from_text("www.Example.org"))


@pytest.mark.parametrize("mnemonic", COMPRESSED)
def test_a_name_that_reaches_beyond_its_rdata_is_malformed(mnemonic: str) -> None:
    rrtype, rdata = COMPRESSED[mnemonic]
    cut = rdata[: rdata.rindex(HERE) + 1]
    octets = HERE + pack(">2HIH", rrtype, 1, 300, len(cut)) + rdata + b"\0" * 40
    assert parse_message(message(QUESTION + octets, (1, 1, 0, 0), QR)) is None


@pytest.mark.parametrize("mnemonic", sorted(set(COMPRESSED) - {"SIG", "NXT"}))
def test_octets_behind_the_last_name_are_malformed(mnemonic: str) -> None:
    rrtype, rdata = COMPRESSED[mnemonic]
    assert parse_message(reply([record(rrtype, rdata + b"\0")])) is None


def test_rdata_of_other_types_is_left_as_it_is() -> None:
    assert first_rdata(reply([record(TXT, HERE)])) == HERE
    assert first_rdata(reply([record(46, HERE)])) == HERE  # RRSIG: never compressed (RFC 4034 section 3.1.7)
    assert first_rdata(reply([record(65280, HERE)])) == HERE


@pytest.mark.parametrize(("rrtype", "octets"), [(A, 3), (A, 5), (AAAA, 15), (AAAA, 4)])
def test_an_address_of_another_length_is_malformed(rrtype: int, octets: int) -> None:
    assert parse_message(reply([record(rrtype, bytes(octets))])) is None


def test_the_strings_of_a_naptr_record_must_end_before_its_name() -> None:
    assert parse_message(reply([record(35, bytes(4) + b"\x01U\x07E2U+sip\xff" + HERE)])) is None


@pytest.mark.parametrize("pointer", [0xC000, 0xC00B, 0xC000 | BEHIND + 12, 0xC000 | BEHIND + 14, 0xFFFF])
def test_a_pointer_in_rdata_must_lead_back_and_not_into_the_header(pointer: int) -> None:
    assert parse_message(reply([record(CNAME, pack(">H", pointer))])) is None


def test_a_pointer_to_a_name_that_comes_later_is_malformed_though_the_name_is_well_formed() -> None:
    later = record(A, ADDRESS, from_text("later.example.org"))
    assert parse_message(reply([record(CNAME, pack(">H", 0xC000 | BEHIND + 14)), later])) is None


def test_a_pointer_into_the_header_is_malformed_though_a_name_stands_there() -> None:
    """The header of a reply that we pass on is another."""
    octets = reply([record(CNAME, pack(">H", 0xC000))])
    assert parse_message(b"\1a" + octets[2:]) is None
    octets = reply([record(CNAME, b"\xc0\x08")])  # the count of authority records, which is 0
    assert parse_message(octets) is None


def test_two_pointers_that_lead_to_each_other_are_malformed() -> None:
    first = record(TXT, pack(">H", 0xC000 | BEHIND + 24 + 2))
    assert parse_message(reply([first, record(CNAME, pack(">H", 0xC000 | BEHIND + 12))])) is None


def chain(pointers: int) -> bytes:
    """An alias behind so many pointers, each to the one before it and the first to the question."""
    start = BEHIND + 12
    links = [HERE, *(pack(">H", 0xC000 | start + 2 * at) for at in range(pointers - 2))]
    return reply([record(TXT, b"".join(links)), record(CNAME, pack(">H", 0xC000 | start + 2 * (pointers - 2)))])


def test_a_chain_of_pointers_is_followed_up_to_a_bound() -> None:
    assert parsed(chain(MAX_POINTERS_FOLLOWED)).answer[1].rdata == from_text("www.Example.org")
    assert parse_message(chain(MAX_POINTERS_FOLLOWED + 1)) is None


def test_labels_without_end_are_read_no_further_than_a_name_may_be_long() -> None:
    """Else each of thousands of records would walk through all of them."""
    endless = record(TXT, b"\x01a" * 10_000)
    aliases = [record(CNAME, pack(">H", 0xC000 | BEHIND + 12 + 2 * at)) for at in range(100)]
    assert parse_message(reply([endless, *aliases])) is None


def test_rdata_that_no_message_could_hold_written_out_is_malformed() -> None:
    asked = question((b"\x3f" + b"a" * 63) * 3 + b"\0")
    room = 65535 - 18
    assert parse_message(reply([record(30, HERE + bytes(65300))], asked=asked)) is not None
    assert parse_message(reply([record(30, HERE + bytes(room - 2))], asked=asked)) is None


def test_the_version_of_edns_is_told() -> None:
    assert parsed(reply(additional=[opt(version=255)])).edns == Edns(1232, 255, False)


def test_edns_and_options_are_told_beside_the_sections() -> None:
    options = option(COOKIE, b"12345678") + option(15, b"\0\x16")
    found = parsed(reply([record(A, ADDRESS)], additional=[opt(1400, options, flags=DO), record(A, ADDRESS)]))
    assert found.edns == Edns(1400, 0, True)
    assert found.options == ((COOKIE, b"12345678"), (15, b"\0\x16"))
    assert len(found.additional) == 1


def test_a_payload_size_below_512_means_512() -> None:
    assert parsed(reply(additional=[opt(100)])).edns == Edns(512, 0, False)


@pytest.mark.parametrize("options", [b"\0", b"\0\x0a\0", option(COOKIE, bytes(8))[:-1], option(3, b"") + b"\0"])
def test_options_that_do_not_fill_the_opt_record_are_malformed(options: bytes) -> None:
    assert parse_message(reply(additional=[opt(options=options)])) is None


def test_the_question_keeps_its_letter_case() -> None:
    assert parsed(reply()).question == QUESTION
    assert parsed(reply()).id == 0x1234


# build_query


def test_a_query_has_our_payload_size_and_no_more_than_was_asked_for() -> None:
    found = dns.message.from_wire(build_query(7, QUESTION, RD | CD))
    assert (found.id, found.payload, found.ednsflags, found.options) == (7, PAYLOAD_OCTETS, 0, ())
    assert found.flags == dns.flags.RD | dns.flags.CD
    assert str(found.question[0]) == "www.Example.org. IN A"
    assert PAYLOAD_OCTETS == 1232


def test_a_query_may_ask_for_dnssec() -> None:
    found = dns.message.from_wire(build_query(7, QUESTION, 0, 4096, True))
    assert (found.payload, found.ednsflags, found.options) == (4096, DO, ())


def test_a_query_without_payload_size_has_no_edns() -> None:
    found = build_query(0xFFFF, QUESTION, RD, 0)
    assert found == b"\xff\xff\x01\0\0\1" + bytes(6) + QUESTION


# Bodies


def told(body: Body | None, asked: bytes = QUESTION, seconds: int = 0) -> Answer:
    """The reply that a client gets that was told this body."""
    assert body is not None
    octets = age(body.octets, body.ttl_at, body.ttls, seconds)
    return Answer(message(asked + octets, (1, *body.counts), QR))


def test_a_body_stands_behind_the_question_of_another_letter_case() -> None:
    octets = reply([record(CNAME, b"\x01x\xc0\x10"), record(A, ADDRESS, b"\xc0\x2d")], additional=[opt()])
    found = told(body_of(octets, measured(octets)), question("WWW.example.ORG"))
    assert found.answer == ["WWW.example.ORG. 300 CNAME x.example.ORG.", "x.example.ORG. 300 A 192.0.2.1"]
    assert not found.has_edns


def test_records_count_down_each_for_itself_and_not_below_zero() -> None:
    octets = reply([record(A, ADDRESS, ttl=300), record(A, bytes(4), ttl=20)])
    ttls = [line.split()[1] for line in told(body_of(octets, measured(octets)), seconds=100).answer]
    assert ttls == ["200", "0"]


def test_ageing_by_nothing_writes_the_ttls_as_they_are_told() -> None:
    """Those that were insane become 0, and stale ones may be set anew."""
    octets = reply([record(A, ADDRESS, ttl=0xFFFFFFFF)])
    body = body_of(octets, measured(octets))
    assert told(body).answer == ["www.Example.org. 0 A 192.0.2.1"]
    assert body is not None
    assert told(body._replace(ttls=(30,))).answer == ["www.Example.org. 30 A 192.0.2.1"]


def test_a_reply_with_its_opt_record_in_the_middle_is_written_anew() -> None:
    octets = reply([record(CNAME, b"\x01x\xc0\x10")], additional=[opt(), record(A, ADDRESS, b"\xc0\x2d", 60)])
    found = parsed(octets)
    whole = told(encode_body(QUESTION, found.answer, found.authority, found.additional))
    assert whole.answer == ["www.Example.org. 300 CNAME x.Example.org."]
    assert whole.additional == ["x.Example.org. 60 A 192.0.2.1"]
    assert not whole.has_edns


def test_aliases_of_ours_and_the_answer_of_others_become_one_body() -> None:
    ours = question("api.shop.svc.cluster.local")
    alias = Record(ours[:-4], CNAME, 1, 30, from_text("www.Example.org"))
    theirs = parsed(reply([record(A, ADDRESS, ttl=60)], [record(NS, b"\x02ns\xc0\x10")]))
    found = told(encode_body(ours, (alias, *theirs.answer), theirs.authority), ours, seconds=10)
    assert found.answer == [
        "api.shop.svc.cluster.local. 20 CNAME www.Example.org.", "www.Example.org. 50 A 192.0.2.1",
    ]
    assert found.authority == ["www.Example.org. 290 NS ns.Example.org."]


def test_an_encoded_body_is_compressed_and_its_offsets_are_right() -> None:
    owner = from_text("www.Example.org")
    records = [Record(owner, A, 1, ttl, bytes((10, 0, 0, ttl))) for ttl in range(1, 5)]
    body = encode_body(QUESTION, records)
    assert body is not None
    assert len(body.octets) == 4 * 16
    assert body.ttls == (1, 2, 3, 4)
    assert [body.octets[at + 3] for at in body.ttl_at] == [1, 2, 3, 4]


def test_a_body_that_does_not_fit_is_none() -> None:
    records = [Record(b"\0", TXT, 1, 60, bytes(1000))] * 70
    assert encode_body(QUESTION, records) is None
    assert encode_body(QUESTION, records[:1], limit=BEHIND + 1011) is not None
    assert encode_body(QUESTION, records[:1], limit=BEHIND + 1010) is None


def test_records_of_another_class_are_not_written() -> None:
    assert encode_body(QUESTION, [Record(b"\0", TXT, 3, 60, b"\0")]) is None


def test_an_empty_body_is_a_body() -> None:
    assert encode_body(QUESTION, ()) == Body(b"", (0, 0, 0), (), ())
    assert body_of(reply(), measured(reply())) == Body(b"", (0, 0, 0), (), ())

