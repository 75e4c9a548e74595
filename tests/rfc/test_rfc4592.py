"""RFC 4592: wildcards. The zone and the queries are those of section 2.2.1."""

from __future__ import annotations

import pytest

from kdns.zone.model import Kind
from tests.support.zonetext import ask, name, zone

EXAMPLE = zone("", "example", head="""\
$ORIGIN example.
example.                 3600 IN  SOA   ns.example.com. host.example.com. 1 2 3 4 300
example.                 3600     NS    ns.example.com.
example.                 3600     NS    ns.example.net.
*.example.               3600     TXT   "this is a wildcard"
*.example.               3600     MX    10 host1.example.
sub.*.example.           3600     TXT   "this is not a wildcard"
host1.example.           3600     A     192.0.2.1
_ssh._tcp.host1.example. 3600     SRV   0 0 22 host1
_ssh._tcp.host2.example. 3600     SRV   0 0 22 host2
subdel.example.          3600     NS    ns.example.com.
subdel.example.          3600     NS    ns.example.net.
""")
DENIAL = "example. 300"


@pytest.mark.parametrize(
    ("qname", "qtype", "answer"),
    [
        ("host3.example", "MX", ["host3.example. 3600 MX 10 host1.example."]),
        ("host3.example", "A", []),
        ("foo.bar.example", "TXT", ['foo.bar.example. 3600 TXT "this is a wildcard"']),
    ],
)
def test_2_2_1_responses_that_are_synthesized_from_a_wildcard(qname: str, qtype: str, answer: list[str]) -> None:
    shown = ask(EXAMPLE, qname, qtype)
    assert (shown.rcode, shown.answer) == ("NOERROR", answer)
    assert shown.denial == ("" if answer else DENIAL)


@pytest.mark.parametrize(
    ("qname", "qtype", "rcode"),
    [
        ("host1.example", "MX", "NOERROR"),  # "because host1.example. exists"
        ("sub.*.example", "MX", "NOERROR"),  # "because sub.*.example. exists"
        ("_telnet._tcp.host1.example", "SRV", "NXDOMAIN"),  # "because _tcp.host1.example. exists (without data)"
        ("ghost.*.example", "MX", "NXDOMAIN"),  # "because *.example. exists"
    ],
)
def test_2_2_1_responses_that_are_not_synthesized(qname: str, qtype: str, rcode: str) -> None:
    shown = ask(EXAMPLE, qname, qtype)
    assert (shown.rcode, shown.answer, shown.denial) == (rcode, [], DENIAL)


def test_2_2_1_no_wildcard_across_a_zone_cut() -> None:
    shown = ask(EXAMPLE, "host.subdel.example", "A")
    assert (shown.rcode, shown.answer, shown.aa) == ("NOERROR", [], False)
    assert shown.authority == ["subdel.example. 3600 NS ns.example.com.", "subdel.example. 3600 NS ns.example.net."]


@pytest.mark.parametrize("qname", ["_tcp.host1.example", "host2.example", "_tcp.host2.example"])
def test_2_2_2_empty_non_terminals_exist(qname: str) -> None:
    shown = ask(EXAMPLE, qname, "TXT")
    assert (shown.rcode, shown.answer, shown.denial) == ("NOERROR", [], DENIAL)


@pytest.mark.parametrize("qname", ["nope.host2.example", "nope._tcp.host2.example"])
def test_2_2_2_a_wildcard_does_not_reach_below_empty_non_terminals(qname: str) -> None:
    assert ask(EXAMPLE, qname, "TXT").rcode == "NXDOMAIN"


def test_2_2_3_a_wildcard_without_records_exists_and_synthesizes_nothing_but_existence() -> None:
    where = zone("a.*.w TXT below\n")
    assert where.find(name("*.w.example.org")).kind is Kind.EMPTY
    shown = ask(where, "q.w.example.org", "TXT")
    assert (shown.rcode, shown.answer, shown.denial) == ("NOERROR", [], "example.org. 300")


def test_2_3_asking_for_the_wildcard_itself_is_asking_for_a_name() -> None:
    assert ask(EXAMPLE, "*.example", "TXT").answer == ['*.example. 3600 TXT "this is a wildcard"']


def test_2_1_1_only_an_asterisk_alone_in_its_label_is_a_wildcard() -> None:
    where = zone("*a.w TXT x\na*.v TXT x\n\\042.u TXT x\n")
    assert ask(where, "ba.w.example.org", "TXT").rcode == "NXDOMAIN"
    assert ask(where, "ab.v.example.org", "TXT").rcode == "NXDOMAIN"
    assert ask(where, "q.u.example.org", "TXT").answer == ['q.u.example.org. 3600 TXT "x"']  # \042 is an asterisk


def test_3_3_1_the_closest_encloser_alone_decides_which_wildcard_answers() -> None:
    where = zone("* TXT far\n*.b TXT near\nx.a.b TXT here\n")
    assert ask(where, "q.b.example.org", "TXT").answer == ['q.b.example.org. 3600 TXT "near"']
    assert ask(where, "q.a.b.example.org", "TXT").rcode == "NXDOMAIN"
    assert ask(where, "q.c.example.org", "TXT").answer == ['q.c.example.org. 3600 TXT "far"']


def test_4_2_ns_at_a_wildcard_delegates_nothing() -> None:
    where = zone("*.w NS ns\n")
    assert ask(where, "q.w.example.org", "A").denial == "example.org. 300"


def test_4_3_a_cname_at_a_wildcard_is_followed_under_the_name_asked_for() -> None:
    where = zone("*.w CNAME host\nhost A 192.0.2.1\n")
    assert ask(where, "a.b.w.example.org", "A").answer == [
        "a.b.w.example.org. 3600 CNAME host.example.org.", "host.example.org. 3600 A 192.0.2.1"
    ]


def test_4_4_dname_at_a_wildcard_redirects_nothing_that_the_wildcard_covers() -> None:
    where = zone("*.w DNAME host\n")
    assert ask(where, "q.w.example.org", "A").denial == "example.org. 300"
    assert ask(where, "q.w.example.org", "DNAME").answer == ["q.w.example.org. 3600 DNAME host.example.org."]


def test_4_5_srv_at_a_wildcard_is_synthesized() -> None:
    where = zone("*.w SRV 0 0 22 ns\n")
    shown = ask(where, "_ssh._tcp.w.example.org", "SRV")
    assert shown.answer == ["_ssh._tcp.w.example.org. 3600 SRV 0 0 22 ns.example.org."]
    assert shown.additional == ["ns.example.org. 3600 A 192.0.2.1"]
