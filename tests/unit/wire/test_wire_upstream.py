"""Which messages are taken for the reply of an upstream (RFC 5452 section 9, RFC 6891 section 7)."""

from __future__ import annotations

from random import Random

import pytest

from kdns.wire.iana import Opcode, Rcode
from kdns.wire.message import build_query
from kdns.wire.upstream import Judged, Sent, judge, randomise_case
from tests.support.messages import QR, RD, TC, A, message, opt, question, rrtype

QUESTION = question("wWw.eXample.ORG")
SENT = Sent(0x1234, QUESTION, True)
FOLDED = question("www.example.org")
RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([192, 0, 2, 1])
ECHO = message(QUESTION + RECORD, (1, 1, 0, 0), QR | RD)
BOTH = pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
EDNS_ERRORS = pytest.mark.parametrize("rcode", [Rcode.FORMERR, Rcode.NOTIMP])


def udp(octets: bytes, sent: Sent = SENT) -> Judged:
    return judge(sent, octets, False)


# The questions that are sent


def test_only_the_letter_case_of_the_name_is_drawn() -> None:
    asked = question("a-1.example.ORG", "HTTPS")  # type 65, which is "A"
    drawn = {randomise_case(asked, Random(seed)) for seed in range(200)}
    assert len(drawn) > 150
    assert {one[:-4].lower() for one in drawn} == {asked[:-4].lower()}
    assert {one[-4:] for one in drawn} == {asked[-4:]}


def test_each_letter_is_drawn_for_itself() -> None:
    asked = question("abcdefghijklmnopqrstuvwxyz")
    drawn = [randomise_case(asked, Random(seed))[1:27] for seed in range(100)]
    for at in range(26):
        upper = sum(one[at : at + 1].isupper() for one in drawn)
        assert 25 < upper < 75


def test_what_is_no_letter_stays_as_it_is() -> None:
    name = b"\x0a" + bytes(range(0x5B, 0x61)) + b"@{\xc1\xe1" + b"\0"
    assert all(randomise_case(name + b"\0\x41\0\1", Random(seed)) == name + b"\0\x41\0\1" for seed in range(50))


def test_the_root_has_no_letter_case() -> None:
    assert randomise_case(question(".", "NS"), Random(1)) == question(".", "NS")


# The replies that come


@BOTH
def test_a_reply_with_our_id_and_question_is_an_answer(tcp: bool) -> None:
    assert judge(SENT, ECHO, tcp) is Judged.ANSWER


@BOTH
@pytest.mark.parametrize("rcode", [0, 2, 3, 5, 6, 9, 15])
def test_an_answer_has_any_rcode(rcode: int, tcp: bool) -> None:
    assert judge(SENT, message(QUESTION, flags=QR | rcode), tcp) is Judged.ANSWER


@BOTH
def test_another_id_is_not_ours(tcp: bool) -> None:
    other = message(QUESTION, flags=QR, ident=0x1235)
    assert judge(SENT, other, tcp) is Judged.MISMATCH


@BOTH
def test_a_query_is_no_reply_even_if_it_is_our_own(tcp: bool) -> None:
    assert judge(SENT, build_query(SENT.id, QUESTION, RD), tcp) is Judged.MISMATCH


@pytest.mark.parametrize("opcode", [Opcode.IQUERY, Opcode.STATUS, Opcode.NOTIFY, Opcode.UPDATE, 15])
def test_a_reply_to_another_opcode_is_not_ours(opcode: int) -> None:
    assert udp(message(QUESTION, flags=QR | opcode << 11)) is Judged.MISMATCH


@pytest.mark.parametrize("octets", range(12))
def test_what_has_no_whole_header_is_not_ours(octets: int) -> None:
    assert udp(ECHO[:octets]) is Judged.MISMATCH


@BOTH
@pytest.mark.parametrize(
    "asked",
    [
        question("www.example.net"),
        question("wWw.eXample.ORG", "AAAA"),
        question("wWw.eXample.ORG", "A", 3),
        question("eXample.ORG"),
        question("a.wWw.eXample.ORG"),
        b"\xc0\x0c\0\1\0\1",
    ],
)
def test_another_question_is_not_ours(asked: bytes, tcp: bool) -> None:
    assert judge(SENT, message(asked, flags=QR), tcp) is Judged.MISMATCH


def test_a_question_cut_short_is_not_ours() -> None:
    assert {udp(message(QUESTION[:end], flags=QR)) for end in range(len(QUESTION))} == {Judged.MISMATCH}


def test_a_reply_in_another_letter_case_over_udp_may_be_a_guess() -> None:
    assert udp(message(FOLDED, flags=QR)) is Judged.NO_CASE
    assert udp(message(FOLDED, flags=QR | TC)) is Judged.NO_CASE


def test_over_tcp_the_letter_case_proves_nothing() -> None:
    assert judge(SENT, message(FOLDED, flags=QR), True) is Judged.ANSWER


def test_a_type_that_differs_like_a_letter_does_is_another_type() -> None:
    """65 and 97 are A and a."""
    sent = SENT._replace(question=question("www.example.org", rrtype("HTTPS")))
    assert udp(message(question("www.example.org", 97), flags=QR), sent) is Judged.MISMATCH


def test_a_name_without_letters_matches_as_it_is() -> None:
    sent = SENT._replace(question=question("1.2.3"))
    assert udp(message(question("1.2.3"), flags=QR), sent) is Judged.ANSWER


def test_a_truncated_reply_is_to_be_had_over_tcp() -> None:
    assert udp(message(QUESTION, flags=QR | TC)) is Judged.TRUNCATED


def test_a_truncated_reply_need_not_be_well_formed() -> None:
    assert udp(message(QUESTION + RECORD[:5], (1, 1, 0, 0), QR | TC)) is Judged.TRUNCATED


def test_what_is_truncated_over_tcp_is_worth_nothing() -> None:
    assert judge(SENT, message(QUESTION, flags=QR | TC), True) is Judged.MALFORMED


# Servers without EDNS


@BOTH
@EDNS_ERRORS
def test_an_error_without_opt_record_says_that_edns_is_not_understood(rcode: int, tcp: bool) -> None:
    assert judge(SENT, message(QUESTION, flags=QR | rcode), tcp) is Judged.EDNS_REFUSED


@EDNS_ERRORS
def test_an_error_with_an_opt_record_is_an_answer(rcode: int) -> None:
    assert udp(message(QUESTION + opt(), (1, 0, 0, 1), QR | rcode)) is Judged.ANSWER


@EDNS_ERRORS
def test_an_error_to_a_query_without_edns_is_an_answer(rcode: int) -> None:
    assert udp(message(QUESTION, flags=QR | rcode), SENT._replace(has_edns=False)) is Judged.ANSWER


@BOTH
@EDNS_ERRORS
def test_such_an_error_may_be_a_header_alone(rcode: int, tcp: bool) -> None:
    header = message(b"", (0, 0, 0, 0), QR | rcode)
    assert judge(SENT, header, tcp) is Judged.EDNS_REFUSED
    assert judge(SENT._replace(has_edns=False), header, tcp) is Judged.MALFORMED


@EDNS_ERRORS
def test_an_error_that_cannot_be_read_has_no_opt_record(rcode: int) -> None:
    assert udp(message(QUESTION + b"\xff", (1, 0, 0, 1), QR | rcode)) is Judged.EDNS_REFUSED


@EDNS_ERRORS
def test_an_error_in_another_letter_case_is_believed_no_more_than_an_answer(rcode: int) -> None:
    assert udp(message(FOLDED, flags=QR | rcode)) is Judged.NO_CASE


# Replies without our question


@pytest.mark.parametrize("rcode", [Rcode.NOERROR, Rcode.NXDOMAIN])
def test_an_answer_without_a_question_could_be_to_any(rcode: int) -> None:
    assert udp(message(RECORD, (0, 1, 0, 0), QR | rcode)) is Judged.MISMATCH


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED])
def test_a_failure_without_a_question_is_worth_nothing(rcode: int) -> None:
    assert udp(message(b"", (0, 0, 0, 0), QR | rcode)) is Judged.MALFORMED


def test_a_reply_with_two_questions_is_not_ours() -> None:
    assert udp(message(QUESTION * 2, (2, 0, 0, 0), QR)) is Judged.MISMATCH
    assert udp(message(QUESTION * 2, (2, 0, 0, 0), QR | Rcode.FORMERR)) is Judged.MISMATCH


def test_what_is_sent_and_what_is_judged_fit_together() -> None:
    asked = randomise_case(question("www.example.org", A), Random(3))
    query = build_query(77, asked, RD)
    reply = query[:2] + b"\x81\x80" + query[4:]
    assert udp(reply, Sent(77, asked, True)) is Judged.ANSWER
