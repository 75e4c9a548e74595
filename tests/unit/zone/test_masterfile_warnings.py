"""Master files that can be served but hold something odd: each warning names file, line and record."""

from __future__ import annotations

import pytest

from kdns.wire.name import from_text
from kdns.zone.masterfile import MasterFile, read
from tests.support.zonetext import HEAD, lines

ORIGIN = from_text("example.org")
LINE = HEAD.count("\n") + 1


def load(text: str) -> MasterFile:
    return read(HEAD + text, ORIGIN, "test.zone", lambda path: "x A 192.0.2.1\n")


def warnings(text: str) -> list[str]:
    return [str(problem) for problem in load(text).warnings]


def test_differing_ttls_become_the_lowest_and_are_told_with_both_places() -> None:
    found = load("x 300 A 192.0.2.1\nx 60 A 192.0.2.2\nx 90 A 192.0.2.3\n")
    assert found.rrsets[-1].ttl == 60
    assert [str(problem) for problem in found.warnings] == [
        "test.zone:6: TTL 60 differs from 300 at test.zone:5: the rrset gets 60 (near 'x.example.org. A')",
        "test.zone:7: TTL 90 differs from 60 at test.zone:5: the rrset gets 60 (near 'x.example.org. A')",
    ]


def test_a_record_that_stands_twice_lowers_the_ttl_too() -> None:
    found = load("x 300 A 192.0.2.1\nx 60 A 192.0.2.1\n")
    assert found.rrsets[-1].ttl == 60
    assert len(found.warnings) == 2


def test_ttls_of_different_types_may_differ() -> None:
    assert warnings("x 300 A 192.0.2.1\nx 60 AAAA ::1\n") == []


def test_signatures_of_different_types_have_the_ttls_of_those() -> None:
    signature = "8 2 300 20300101000000 20200101000000 1 example.org. aaaa"
    assert warnings(f"x 300 RRSIG A {signature}\nx 60 RRSIG TXT {signature}\n") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("A 192.0.2.1", "A 192.0.2.1"), ("CNAME host.example.net.", "CNAME HOST.example.net."), ("TXT a", 'TXT "a"')],
)
def test_a_record_that_stands_twice_is_taken_once_and_told(first: str, second: str) -> None:
    found = load(f"x {first}\nX {second}\n")
    assert len(lines(found.rrsets)) == 4
    assert [problem[:3] for problem in found.warnings] == [
        ("test.zone", LINE + 1, f"the same record stands at test.zone:{LINE}")
    ]


def test_strings_that_differ_in_case_are_different_records() -> None:
    assert len(load("x TXT a\nx TXT A\n").rrsets[-1].rdatas) == 2
    assert warnings("x TXT a\nx TXT A\n") == []


def test_warnings_of_an_included_file_name_it() -> None:
    assert warnings("x A 192.0.2.1\n$INCLUDE hosts\n") == [
        "hosts:1: the same record stands at test.zone:5 (near 'x.example.org. A')"
    ]


@pytest.mark.parametrize("record", ["MX 10", "SRV 0 0 80", "NS"])
@pytest.mark.parametrize(
    ("target", "fault"),
    [("nope", "does not exist"), ("b", "has no address"), ("text", "has no address"), ("alias", "is an alias"),
     ("x.redirected", "is an alias"), ("q.textwild", "has no address")],
)
def test_a_target_in_the_zone_must_own_an_address(record: str, target: str, fault: str) -> None:
    others = "a.b A 192.0.2.1\ntext TXT x\nalias CNAME ns\nredirected DNAME b\n*.textwild TXT x\n"
    rrtype = record.split()[0]
    assert warnings(f"t {record} {target}\n{others}") == [
        f"test.zone:5: {rrtype} target {target}.example.org. {fault} (near 't.example.org. {rrtype}')"
    ]


@pytest.mark.parametrize(
    "record",
    ["MX 10 ns", "MX 10 v6", "MX 10 q.wild", "MX 0 .", "MX 10 nope.example.net.", "SRV 0 0 0 .", "CNAME nope",
     "PTR nope", "MX 10 host.child", "HTTPS 0 alias"],
)
def test_a_target_that_is_well_or_elsewhere_is_no_matter(record: str) -> None:
    others = "v6 AAAA ::1\n*.wild A 192.0.2.1\nchild NS ns.example.net.\nalias CNAME ns\n"
    assert warnings(f"t {record}\n{others}") == []


def test_a_name_server_below_its_own_delegation_needs_glue() -> None:
    assert warnings("sub NS ns.sub\n") == [
        "test.zone:5: NS target ns.sub.example.org. is below its own delegation and has no glue "
        "(near 'sub.example.org. NS')"
    ]
    assert warnings("sub NS ns.sub\nns.sub A 192.0.2.1\n") == []
    assert warnings("sub NS sub\nsub AAAA ::1\n") == []


def test_a_name_server_below_another_delegation_may_do_without() -> None:
    assert warnings("one NS ns.two\ntwo NS ns.example.net.\n") == []


@pytest.mark.parametrize("record", ["x.sub A 192.0.2.1", "ns.sub TXT x", "sub A 192.0.2.1", "sub MX 10 ns"])
def test_data_at_or_below_a_delegation_that_is_no_glue_is_never_answered(record: str) -> None:
    owner, rrtype = record.split()[:2]
    assert warnings(f"sub NS ns.sub\nns.sub A 192.0.2.9\n{record}\n") == [
        "test.zone:7: never answered: it stands at or below the delegation of sub.example.org. and is no glue "
        f"(near '{owner}.example.org. {rrtype}')"
    ]


def test_what_belongs_to_a_delegation_is_no_matter() -> None:
    digest = "1 8 2 00000000000000000000000000000000000000000000000000000000000000ff"
    assert warnings(f"sub NS ns.sub\nsub DS {digest}\nsub NSEC x NS DS\nns.sub A 192.0.2.9\nns.sub AAAA ::1\n") == []


@pytest.mark.parametrize("record", ["NS ns", "DNAME ns"])
def test_delegations_and_redirections_at_a_wildcard_do_nothing(record: str) -> None:
    rrtype = record.split()[0]
    assert warnings(f"*.w {record}\n") == [
        f"test.zone:5: {rrtype} at a wildcard neither delegates nor redirects (near '*.w.example.org. {rrtype}')"
    ]


def test_warnings_stand_in_the_order_of_the_file() -> None:
    text = "t MX 10 nope\nx 60 A 192.0.2.1\nx 90 A 192.0.2.2\nu MX 10 nope\ny A 192.0.2.1\ny A 192.0.2.1\n"
    assert [problem.line for problem in load(text).warnings] == [5, 7, 8, 10]
