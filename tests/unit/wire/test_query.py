"""Parsing queries, well-formed or not (RFC 1035 section 4.1, RFC 6891, RFC 8906, RFC 9619)."""

from __future__ import annotations

from struct import pack

import dns.exception
import dns.message
import dns.name
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdns.wire.iana import Opcode, Rcode
from kdns.wire.query import Edns, Query, find_option, name_end, parse_query
from tests.support.messages import (
    AA,
    AD,
    CD,
    COOKIE,
    DO,
    QR,
    RD,
    TC,
    message,
    opt,
    option,
    query,
    question,
)

NAME = b"\x03www\x07example\x03org\x00"
RECORD = NAME + pack(">2HIH", 1, 1, 60, 4) + bytes(4)  # an A record


def parsed(octets: bytes) -> Query:
    found = parse_query(octets)
    assert found is not None
    return found


def rcode(octets: bytes) -> int:
    return parsed(octets).rcode


def test_a_plain_query_is_understood_whole() -> None:
    found = parsed(query("WWW.Example.org", "AAAA", flags=RD))
    assert found == Query(RD, 12 + len(NAME) + 4, NAME, 28, 1, None, Rcode.NOERROR, True)


def test_the_question_for_the_root_is_well_formed() -> None:
    assert parsed(query(".", "NS")).qname == b"\0"


@pytest.mark.parametrize("octets", range(12))
def test_what_is_shorter_than_a_header_gets_no_reply(octets: int) -> None:
    assert parse_query(query("example.org")[:octets]) is None


@pytest.mark.parametrize("flags", [QR, QR | RD, QR | Opcode.NOTIFY << 11, 0xFFFF])
def test_a_response_gets_no_reply(flags: int) -> None:
    assert parse_query(query("example.org", flags=flags)) is None


# RFC 9619 section 4 and RFC 8906 section 3.1.4: the opcode is looked at first


@pytest.mark.parametrize("opcode", range(1, 16))
@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0), (9, 9, 9, 9)])
def test_another_opcode_is_not_implemented_whatever_the_counts(opcode: int, counts: tuple[int, ...]) -> None:
    found = parsed(message(question("example.org"), counts, flags=opcode << 11))
    assert (found.rcode, found.end, found.qname) == (Rcode.NOTIMP, 12, b"\0")


@pytest.mark.parametrize("count", [0, 2, 3, 65535])
def test_a_query_has_exactly_one_question(count: int) -> None:
    assert rcode(message(question("example.org") * min(count, 3), (count, 0, 0, 0))) == Rcode.FORMERR


def test_a_header_alone_with_no_question_is_malformed_but_answered() -> None:
    assert parsed(message(b"", (0, 0, 0, 0))) == Query(RD, 12, b"\0", 0, 0, None, Rcode.FORMERR, False)


# The question


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x03ww",
        b"\x03www",
        NAME,
        NAME + b"\0\x01\0",
        b"\xc0\x0c\0\x01\0\x01",
        b"\x03www\xc0\x0c\0\x01\0\x01",
        b"\x40" + b"a" * 64 + b"\0\0\x01\0\x01",
        b"\x80\0\0\x01\0\x01",
        (b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0\0\x01\0\x01",
        (b"\x01a") * 128 + b"\0\0\x01\0\x01",
    ],
    ids=["nothing", "cut-label", "no-root", "no-type", "cut-class", "pointer", "pointer-behind-a-label",
         "label-of-64", "label-type-2", "name-of-256", "many-labels"],
)
def test_an_unreadable_question_is_a_format_error_without_a_question(body: bytes) -> None:
    found = parsed(message(body))
    assert (found.rcode, found.end, found.plain) == (Rcode.FORMERR, 12, False)


def test_a_name_of_255_octets_is_read() -> None:
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert len(name) == 255
    assert parsed(query(name)).qname == name


def test_octets_that_are_no_letters_stand_in_names_as_they_are() -> None:
    name = b"\x05a\0.\xff@\x02[Z\x00"
    assert parsed(query(name)).qname == b"\x05a\0.\xff@\x02[z\x00"


@pytest.mark.parametrize(("qtype", "qclass"), [(0, 1), (65535, 1), (1, 0), (1, 3), (1, 255), (65, 65535)])
def test_any_type_and_class_is_a_value(qtype: int, qclass: int) -> None:
    found = parsed(query("example.org", qtype, qclass=qclass))
    assert (found.rcode, found.qtype, found.qclass) == (Rcode.NOERROR, qtype, qclass)


@pytest.mark.parametrize("flags", [0, RD, CD, AD, TC, AA, 0x0040, RD | 0x000F, 0x07FF])
def test_header_bits_that_a_query_should_not_have_do_not_matter(flags: int) -> None:
    found = parsed(query("example.org", flags=flags))
    assert (found.rcode, found.flags) == (Rcode.NOERROR, flags)


# Records behind the question


def test_octets_behind_the_last_record_are_a_format_error() -> None:
    assert rcode(query("example.org") + b"\0") == Rcode.FORMERR
    assert rcode(query("example.org", edns=opt()) + b"\0") == Rcode.FORMERR


def test_a_query_with_answers_is_a_format_error() -> None:
    assert rcode(message(question("example.org") + RECORD, (1, 1, 0, 0))) == Rcode.FORMERR


@pytest.mark.parametrize("counts", [(1, 0, 1, 0), (1, 0, 0, 1), (1, 0, 2, 3)])
def test_records_that_are_not_there_are_a_format_error(counts: tuple[int, ...]) -> None:
    assert rcode(message(question("example.org"), counts)) == Rcode.FORMERR


@pytest.mark.parametrize("cut", range(1, len(RECORD) + 1))
def test_a_record_that_is_cut_short_is_a_format_error(cut: int) -> None:
    assert rcode(message(question("example.org") + RECORD[:-cut], (1, 0, 0, 1))) == Rcode.FORMERR


@pytest.mark.parametrize("owner", [b"\xc0\x0c", b"\x01a\xc0\x0c", b"\0", NAME])
def test_other_records_are_skipped_but_such_a_query_is_not_plain(owner: bytes) -> None:
    record = owner + RECORD[len(NAME) :]
    for counts in ((1, 0, 1, 0), (1, 0, 0, 1)):
        found = parsed(message(question("example.org") + record, counts))
        assert (found.rcode, found.edns, found.plain) == (Rcode.NOERROR, None, False)


@pytest.mark.parametrize("owner", [b"\x40" + b"a" * 64 + b"\0", b"\x80\0", b"\xc0"])
def test_an_owner_that_is_no_name_is_a_format_error(owner: bytes) -> None:
    assert rcode(message(question("example.org") + owner + RECORD[len(NAME) :], (1, 0, 0, 1))) == Rcode.FORMERR


def test_an_opt_record_is_found_among_others() -> None:
    found = parsed(message(question("example.org") + RECORD + RECORD + opt(1400) + RECORD, (1, 0, 1, 3)))
    assert (found.rcode, found.edns, found.plain) == (Rcode.NOERROR, Edns(1400, 0, False), False)


# EDNS (RFC 6891)


def test_edns_tells_size_version_and_the_do_bit() -> None:
    found = parsed(query("example.org", edns=opt(4096, flags=DO)))
    assert (found.edns, found.rcode, found.plain) == (Edns(4096, 0, True), Rcode.NOERROR, True)


@pytest.mark.parametrize(("size", "meant"), [(0, 512), (511, 512), (512, 512), (513, 513), (65535, 65535)])
def test_6_2_5_sizes_below_512_mean_512(size: int, meant: int) -> None:
    assert parsed(query("example.org", edns=opt(size))).edns == Edns(meant, 0, False)


@pytest.mark.parametrize("version", [1, 2, 100, 255])
def test_6_1_3_another_version_is_badvers(version: int) -> None:
    found = parsed(query("example.org", edns=opt(version=version)))
    assert (found.rcode, found.edns) == (Rcode.BADVERS, Edns(1232, version, False))


def test_6_1_4_unknown_flags_are_ignored() -> None:
    assert parsed(query("example.org", edns=opt(flags=0x7FFF))).edns == Edns(1232, 0, False)


def test_6_1_1_two_opt_records_are_a_format_error() -> None:
    found = parsed(message(question("example.org") + opt() + opt(), (1, 0, 0, 2)))
    assert found.rcode == Rcode.FORMERR


def test_6_1_1_an_opt_record_elsewhere_than_at_the_root_is_a_format_error() -> None:
    assert rcode(query("example.org", edns=b"\x01a" + opt())) == Rcode.FORMERR
    assert rcode(query("example.org", edns=b"\xc0\x0c" + opt()[1:])) == Rcode.FORMERR


def test_an_opt_record_counts_in_the_additional_section_only() -> None:
    found = parsed(message(question("example.org") + opt(), (1, 0, 1, 0)))
    assert (found.rcode, found.edns) == (Rcode.NOERROR, None)


@pytest.mark.parametrize(
    "options",
    [
        option(COOKIE, bytes(8)),
        option(65001, b""),
        option(COOKIE, bytes(8)) + option(3, b"") + option(12, bytes(100)),
        option(65535, bytes(400)),
    ],
)
def test_6_1_2_unknown_options_are_ignored_whatever_they_hold(options: bytes) -> None:
    found = parsed(query("example.org", edns=opt(options=options)))
    assert (found.rcode, found.edns, found.plain) == (Rcode.NOERROR, Edns(1232, 0, False, options), True)


def test_an_option_is_found_among_others_and_of_two_the_first_counts() -> None:
    options = option(3, b"") + option(COOKIE, b"first") + option(COOKIE, b"second") + option(12, bytes(5))
    assert (find_option(options, COOKIE), find_option(options, 3)) == (b"first", b"")
    assert find_option(options, 15) is None
    assert find_option(b"", COOKIE) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=9)), max_size=6), st.integers(0, 5))
def test_an_option_is_found_exactly_if_there_is_one(found: list[tuple[int, bytes]], code: int) -> None:
    options = b"".join(option(*one) for one in found)
    assert find_option(options, code) == next((body for other, body in found if other == code), None)


@pytest.mark.parametrize("counts", [(1, 1, 0, 1), (0, 0, 0, 1), (2, 0, 0, 1)])
def test_the_options_of_a_malformed_query_are_known_where_its_opt_is(counts: tuple[int, int, int, int]) -> None:
    """Its reply has an OPT record then (RFC 6891 section 6.1.1), and what belongs into that."""
    body = question("example.org") * counts[0] + RECORD * counts[1] + opt(options=option(COOKIE, bytes(8)))
    found = parsed(message(body, counts))
    assert (found.rcode, found.edns) == (Rcode.FORMERR, Edns(1232, 0, False, option(COOKIE, bytes(8))))


@pytest.mark.parametrize(
    "options", [b"\0", b"\0\x0a\0", pack(">2H", 10, 9) + bytes(8), pack(">2H", 10, 7) + bytes(8), b"\0\x0a\xff\xff"]
)
def test_6_1_2_options_that_do_not_fill_the_record_are_a_format_error(options: bytes) -> None:
    assert rcode(query("example.org", edns=opt(options=options))) == Rcode.FORMERR


def test_a_format_error_counts_more_than_a_wrong_version() -> None:
    assert rcode(query("example.org", edns=opt(version=1)) + b"junk") == Rcode.FORMERR


# Any octets

COOKIES = opt(options=option(COOKIE, bytes(8)))
FRAGMENTS = st.sampled_from([NAME, RECORD, opt(), COOKIES, b"\0", b"\xc0\x0c", b"\0\x01"])
BODIES = st.lists(FRAGMENTS | st.binary(max_size=20), max_size=6).map(b"".join)
COUNTS = st.tuples(*[st.integers(0, 3) | st.just(65535)] * 4)


@given(st.binary(max_size=80) | st.builds(message, BODIES, COUNTS, st.integers(0, 65535)))
@example(message(question("example.org") + RECORD * 3, (1, 0, 65535, 65535)))
def test_any_octets_are_a_query_or_nothing(octets: bytes) -> None:
    found = parse_query(octets)
    if found is None:
        assert len(octets) < 12 or octets[2] & 0x80
    else:
        assert 12 <= found.end <= len(octets)
        assert found.qname.endswith(b"\0")


@given(st.builds(message, BODIES, st.just((1, 0, 0, 0)) | st.just((1, 0, 0, 1)) | COUNTS))
def test_what_we_take_dnspython_takes_too(octets: bytes) -> None:
    found = parse_query(octets)
    if found is None or found.rcode != Rcode.NOERROR or found.qclass in (254, 255):
        return
    try:
        theirs = dns.message.from_wire(octets)
    except (dns.exception.DNSException, ValueError):
        # dnspython reads the RDATA too, of options and of records that have no bearing on the answer.
        return
    assert theirs.question[0].name == dns.name.from_wire(found.qname, 0)[0]
    assert (theirs.question[0].rdtype, theirs.edns) == (found.qtype, found.edns.version if found.edns else -1)


@given(st.binary(max_size=300), st.integers(0, 20))
def test_the_end_of_a_name_lies_within_the_message(octets: bytes, at: int) -> None:
    end = name_end(octets, at)
    if end is not None:
        assert at < end <= min(len(octets), at + 255)
        assert octets[end - 1] == 0
