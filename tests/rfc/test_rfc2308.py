"""RFC 2308: negative answers."""

from __future__ import annotations

import pytest

from tests.support.zonetext import ask, zone

TEXT = """\
host A 192.0.2.1
a.empty A 192.0.2.2
alias CNAME nope
chain CNAME alias
dead-end CNAME host
out CNAME www.example.net.
"""
EXAMPLE = zone(TEXT)


def test_2_1_a_name_error_has_the_soa_in_its_authority_section() -> None:
    shown = ask(EXAMPLE, "nope.example.org", "A")
    assert (shown.rcode, shown.denial, shown.authority) == ("NXDOMAIN", "example.org. 300", [])


@pytest.mark.parametrize("qname", ["alias", "chain"])
def test_2_1_a_name_error_at_the_end_of_aliases_is_one_with_the_aliases(qname: str) -> None:
    shown = ask(EXAMPLE, f"{qname}.example.org", "A")
    assert (shown.rcode, shown.denial) == ("NXDOMAIN", "example.org. 300")
    assert " CNAME " in shown.answer[-1]


def test_2_2_no_data_is_noerror_without_answers_and_with_the_soa() -> None:
    shown = ask(EXAMPLE, "host.example.org", "AAAA")
    assert (shown.rcode, shown.answer, shown.denial) == ("NOERROR", [], "example.org. 300")


def test_2_2_no_data_at_the_end_of_an_alias() -> None:
    shown = ask(EXAMPLE, "dead-end.example.org", "AAAA")
    assert (shown.rcode, len(shown.answer), shown.denial) == ("NOERROR", 1, "example.org. 300")


def test_2_2_1_an_empty_name_is_no_data_too() -> None:
    assert ask(EXAMPLE, "empty.example.org", "A").rcode == "NOERROR"
    assert ask(EXAMPLE, "empty.example.org", "A").denial == "example.org. 300"


def test_2_2_an_alias_out_of_our_zones_denies_nothing() -> None:
    assert ask(EXAMPLE, "out.example.org", "A").denial == ""


@pytest.mark.parametrize(("ttl", "minimum", "expected"), [(60, 300, 60), (300, 60, 60), (0, 60, 0), (60, 0, 0)])
def test_3_and_5_the_ttl_is_the_minimum_of_the_soas_minimum_and_ttl(ttl: int, minimum: int, expected: int) -> None:
    where = zone("", head=f"@ {ttl} SOA ns.test. host.test. 1 2 3 4 {minimum}\n@ 60 NS ns.test.\n")
    assert ask(where, "nope.example.org", "A").denial == f"example.org. {expected}"
    assert ask(where, "example.org", "SOA").answer[0].startswith(f"example.org. {ttl} SOA")


@pytest.mark.parametrize(
    ("units", "seconds"), [("90", 90), ("1m30s", 90), ("2H", 7200), ("1d", 86400), ("1w2d", 777600)]
)
def test_4_the_ttl_directive_is_the_ttl_of_records_without_one(units: str, seconds: int) -> None:
    where = zone("x A 192.0.2.1\n", head=f"$TTL {units}\n@ SOA ns.test. host.test. 1 2 3 4 5\n@ NS ns.test.\n")
    assert ask(where, "x.example.org", "A").answer == [f"x.example.org. {seconds} A 192.0.2.1"]


def test_4_the_ttl_directive_holds_from_where_it_stands() -> None:
    where = zone("x A 192.0.2.1\n$TTL 60\ny A 192.0.2.2\n")
    assert ask(where, "x.example.org", "A").answer == ["x.example.org. 3600 A 192.0.2.1"]
    assert ask(where, "y.example.org", "A").answer == ["y.example.org. 60 A 192.0.2.2"]
