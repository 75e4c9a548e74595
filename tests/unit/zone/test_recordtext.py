"""One record as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.name import from_text
from kdns.zone.recordtext import DEFAULT_TTL, parse_record
from kdns.zone.rrset import RRset
from tests.support.messages import CNAME, MX, SOA, TXT, A
from tests.support.subtrees import packed

ADDRESS = (packed("192.0.2.1"),)


@pytest.mark.parametrize("text", [
    "a.example. 60 IN A 192.0.2.1", "a.example. IN 60 A 192.0.2.1", "a.example. 60 A 192.0.2.1",
    "  a.example   1m in a   192.0.2.1  ", "a.example 60 IN TYPE1 \\# 4 c0000201",
])
def test_ttl_and_class_stand_in_any_order_or_not_at_all(text: str) -> None:
    assert parse_record(text) == RRset(from_text("a.example"), A, 60, ADDRESS)


def test_without_a_ttl_it_is_the_default() -> None:
    assert parse_record("a.example. A 192.0.2.1").ttl == DEFAULT_TTL


@pytest.mark.parametrize(("text", "rrtype", "rdata"), [
    (". 5 IN MX 10 mail.example.", MX, b"\0\x0a" + from_text("mail.example")),
    (". 5 IN CNAME Target", CNAME, b"\x06Target\0"),
    ('. 5 IN TXT "two words" three', TXT, b"\x09two words\x05three"),
    (". 5 IN SOA . . 1 2 3 4 5", SOA, b"\0\0" + b"".join(n.to_bytes(4) for n in range(1, 6))),
])
def test_rdata_is_uncompressed_and_keeps_its_letter_case(text: str, rrtype: int, rdata: bytes) -> None:
    assert parse_record(text) == RRset(b"\0", rrtype, 5, (rdata,))


@pytest.mark.parametrize("text", [
    "", "a.example.", "a.example. 60", "a.example. 60 IN", "a. A", "a. A 300.1.1.1", "a. A 192.0.2.1 x", "a. BOGUS x",
    "a. 60 60 A 192.0.2.1", "a. CH A 192.0.2.1", "a. 4294967296 A 192.0.2.1", "a. 2147483648 A 192.0.2.1",
    "a..b A 192.0.2.1", "a. OPT x", "a. TYPE255 \\# 0", 'a. TXT "open', "a. A ; 192.0.2.1",
])
def test_what_is_no_record_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_record(text)


@given(st.text(max_size=60))
def test_any_text_is_a_record_or_a_value_error(text: str) -> None:
    try:
        parse_record("a. 5 IN " + text)
        parse_record(text)
    except ValueError:
        pass
