"""RFC 3597: unknown types, in zone files and in lookups."""

from __future__ import annotations

import pytest

from kdns.zone.masterfile import ZoneFileError
from tests.support.zonetext import ask, name, zone


def rdata_of(text: str, rrtype: int) -> bytes:
    return zone(f"x {text}\n").find(name("x.example.org")).rrsets[rrtype].rdatas[0]


@pytest.mark.parametrize(
    ("text", "rrtype", "rdata"),
    [
        (r"TYPE731 \# 6 abcdef012345", 731, bytes.fromhex("abcdef012345")),
        (r"TYPE731 \# 6 abc def 01 2345", 731, bytes.fromhex("abcdef012345")),
        (r"TYPE731 \# ( 6 abcdef ; comment" "\n  012345 )", 731, bytes.fromhex("abcdef012345")),
        (r"CLASS1 TYPE731 \# 1 00", 731, b"\0"),
        (r"TYPE62347 \# 0", 62347, b""),
        (r"type65535 \# 1 FF", 65535, b"\xff"),
    ],
)
def test_5_unknown_types_have_a_text_form(text: str, rrtype: int, rdata: bytes) -> None:
    assert rdata_of(text, rrtype) == rdata


def test_5_known_types_may_be_written_in_the_unknown_form() -> None:
    assert rdata_of(r"A \# 4 0A000001", 1) == bytes((10, 0, 0, 1))
    assert rdata_of(r"TYPE1 \# 4 0A000002", 1) == bytes((10, 0, 0, 2))
    assert rdata_of("TYPE1 10.0.0.3", 1) == bytes((10, 0, 0, 3))


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (r"TYPE731 \# 3 abcd", "abcd"),
        (r"TYPE731 \# 1 abcd", "abcd"),
        (r"TYPE731 \# 1 xy", "xy"),
        (r"TYPE731 \# x ab", "x"),
        (r"TYPE731 abcd", "abcd"),
        (r"TYPE731 \#", r"\#"),
        (r"A \# 3 0a0000", "0a0000"),
        (r"TYPE65536 \# 0", "TYPE65536"),
    ],
)
def test_5_a_wrong_text_form_is_refused_with_its_word(text: str, token: str) -> None:
    with pytest.raises(ZoneFileError) as caught:
        zone(f"x {text}\n")
    assert (caught.value.line, caught.value.token) == (5, token)


def test_5_only_class_in_is_served_by_whatever_name() -> None:
    assert rdata_of(r"CLASS1 A 10.0.0.1", 1) == bytes((10, 0, 0, 1))
    with pytest.raises(ZoneFileError, match="class IN"):
        zone("x CLASS3 A 10.0.0.1\n")


def test_3_unknown_types_are_answered_like_any_other() -> None:
    where = zone("x TYPE65280 \\# 4 0a000001\n*.w TYPE65280 \\# 1 07\nalias CNAME x\n")
    assert ask(where, "x.example.org", "TYPE65280").answer == [r"x.example.org. 3600 TYPE65280 \# 4 0a000001"]
    assert ask(where, "q.w.example.org", "TYPE65280").answer == [r"q.w.example.org. 3600 TYPE65280 \# 1 07"]
    assert len(ask(where, "alias.example.org", "TYPE65280").answer) == 2
    assert ask(where, "x.example.org", "TYPE65281").denial == "example.org. 300"


def test_6_unknown_rdata_is_compared_octet_by_octet() -> None:
    where = zone("x TYPE65280 \\# 1 41\nx TYPE65280 \\# 1 61\nx TYPE65280 \\# 1 41\n")
    assert where.find(name("x.example.org")).rrsets[65280].rdatas == (b"A", b"a")


def test_4_names_in_rdata_of_known_types_are_not_compressed() -> None:
    assert rdata_of("MX 10 mail", 15) == b"\x00\x0a" + name("mail.example.org")


@pytest.mark.parametrize("rrtype", [0, 41, 128, 251, 252, 253, 254, 255])
def test_types_for_queries_and_messages_are_no_data(rrtype: int) -> None:
    with pytest.raises(ZoneFileError, match="not for zones") as caught:
        zone(f"x TYPE{rrtype} \\# 0\n")
    assert caught.value.line == 5
