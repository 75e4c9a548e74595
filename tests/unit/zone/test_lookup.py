"""The lookup pipeline: answers, aliases, referrals, denials, additional data (RFC 1034 section 4.3.2)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import from_text
from kdns.zone.aliases import MAX_ALIASES
from kdns.zone.lookup import MAX_ADDITIONAL_TARGETS, lookup
from kdns.zone.model import NO_RRSETS, Found, Kind
from kdns.zone.rrset import RRset
from tests.support.zonetext import ask, build, name, zone, zone_of

TEXT = """\
www       A     192.0.2.10
www       A     192.0.2.11
www       AAAA  2001:db8::10
a.b       TXT   deep
alias     CNAME www
twice     CNAME alias
out       CNAME www.example.net.
dangling  CNAME nope
empty     CNAME b
notype    CNAME ns
*.wild    A     192.0.2.20
*.walias  CNAME www
*.wmx     MX    10 ns
sub       NS    ns.sub
sub       NS    ns.far
sub       NS    ns.example.net.
sub       DS    1 8 2 00000000000000000000000000000000000000000000000000000000000000ff
ns.sub    A     192.0.2.30
ns.sub    AAAA  2001:db8::30
ns.far    A     192.0.2.31
bare      NS    ns.example.net.
into      CNAME host.sub
info      HINFO cpu os
info      A     192.0.2.50
loop1     CNAME loop2
loop2     CNAME loop3
loop3     CNAME loop2
self      CNAME self
"""
EXAMPLE = zone(TEXT)
WWW = ["www.example.org. 3600 A 192.0.2.10", "www.example.org. 3600 A 192.0.2.11"]
SOA = "example.org. 300"


# Answers

def test_a_name_with_the_type_is_answered_with_nothing_beside_it() -> None:
    shown = ask(EXAMPLE, "www.example.org", "A")
    assert (shown.rcode, shown.answer, shown.authority, shown.additional) == ("NOERROR", WWW, [], [])
    assert shown.aa
    assert shown.raw.depends == ((0, b""),)
    assert shown.raw.lasting


def test_soa_at_the_apex_is_the_soa_that_the_zone_gives_now() -> None:
    class Later:
        """A zone whose serial moves on while its apex rrsets still hold the old one."""

        apex = EXAMPLE.apex
        serial = 8
        negative_ttl = 5
        soa = RRset(EXAMPLE.apex, RRType.SOA, 60, (EXAMPLE.soa.rdatas[0][:-20] + b"\0\0\0\x08" + b"\0" * 16,))

        def find(self, qname: bytes) -> Found:
            return EXAMPLE.find(qname)

        def denies(self, qname: bytes) -> int | None:
            return None

        def addresses(self, qname: bytes) -> tuple[RRset, ...]:
            return EXAMPLE.addresses(qname)

    later = Later()
    found = lookup(later, zone_of(later), name("example.org"), RRType.SOA)
    assert found.answer == (later.soa,)


def test_soa_of_a_name_below_the_apex_is_nodata() -> None:
    shown = ask(EXAMPLE, "www.example.org", "SOA")
    assert (shown.rcode, shown.answer, shown.denial) == ("NOERROR", [], SOA)


def test_ns_at_the_apex_is_answered_with_addresses() -> None:
    shown = ask(EXAMPLE, "example.org", "NS")
    assert shown.answer == ["example.org. 3600 NS ns.example.org."]
    assert shown.additional == ["ns.example.org. 3600 A 192.0.2.1"]
    assert shown.aa
    assert not shown.raw.glue


def test_ns_at_the_apex_brings_the_glue_of_servers_below_a_cut() -> None:
    where = zone("@ NS ns.sub\nsub NS ns.sub\nns.sub A 192.0.2.8\n")
    assert "ns.sub.example.org. 3600 A 192.0.2.8" in ask(where, "example.org", "NS").additional


@pytest.mark.parametrize("qtype", ["TXT", "TYPE65280", "MAILA", "DS", "CNAME", "HTTPS"])
def test_a_type_that_the_name_does_not_own_is_nodata(qtype: str) -> None:
    shown = ask(EXAMPLE, "www.example.org", qtype)
    assert (shown.rcode, shown.answer, shown.authority, shown.denial) == ("NOERROR", [], [], SOA)
    assert shown.aa


def test_a_name_that_does_not_exist_is_nxdomain_and_never_kept() -> None:
    shown = ask(EXAMPLE, "nope.example.org", "A")
    assert (shown.rcode, shown.answer, shown.denial, shown.aa) == ("NXDOMAIN", [], SOA, True)
    assert not shown.raw.lasting


def test_an_empty_non_terminal_is_nodata() -> None:
    shown = ask(EXAMPLE, "b.example.org", "A")
    assert (shown.rcode, shown.denial) == ("NOERROR", SOA)
    assert shown.raw.lasting


# Aliases

def test_an_alias_is_followed_within_the_zone() -> None:
    shown = ask(EXAMPLE, "twice.example.org", "A")
    assert shown.answer == [
        "twice.example.org. 3600 CNAME alias.example.org.", "alias.example.org. 3600 CNAME www.example.org.", *WWW
    ]
    assert shown.denial == ""


def test_an_alias_asked_for_as_cname_is_not_followed() -> None:
    assert ask(EXAMPLE, "twice.example.org", "CNAME").answer == ["twice.example.org. 3600 CNAME alias.example.org."]


def test_an_alias_out_of_all_zones_is_answered_alone_and_denies_nothing() -> None:
    shown = ask(EXAMPLE, "out.example.org", "A")
    assert (shown.rcode, shown.answer) == ("NOERROR", ["out.example.org. 3600 CNAME www.example.net."])
    assert (shown.denial, shown.authority, shown.aa) == ("", [], True)


def test_the_rcode_of_a_chain_is_that_of_its_last_name() -> None:
    shown = ask(EXAMPLE, "dangling.example.org", "A")
    assert (shown.rcode, shown.denial) == ("NXDOMAIN", SOA)
    assert shown.answer == ["dangling.example.org. 3600 CNAME nope.example.org."]


@pytest.mark.parametrize(("qname", "qtype"), [("empty", "A"), ("notype", "TXT")])
def test_a_chain_that_ends_without_data_is_nodata_with_the_chain(qname: str, qtype: str) -> None:
    shown = ask(EXAMPLE, f"{qname}.example.org", qtype)
    assert (shown.rcode, shown.denial, len(shown.answer)) == ("NOERROR", SOA, 1)


def test_a_chain_runs_through_several_zones_and_the_last_one_denies() -> None:
    net = zone("www CNAME deep.sub\n", "example.net", source=1)
    sub = zone("", "sub.example.net", source=2, head="$TTL 9\n@ SOA ns.test. host.test. 1 2 3 4 5\n@ NS ns.test.\n")
    shown = ask((EXAMPLE, net, sub), "out.example.org", "A")
    assert shown.answer == [
        "out.example.org. 3600 CNAME www.example.net.", "www.example.net. 3600 CNAME deep.sub.example.net."
    ]
    assert (shown.rcode, shown.denial) == ("NXDOMAIN", "sub.example.net. 5")
    assert shown.raw.depends == ((0, b""), (1, b""), (2, b""))


def test_a_target_is_looked_up_folded_and_shown_as_written() -> None:
    where = zone("a CNAME WWW.Example.ORG.\nwww A 192.0.2.9\n")
    shown = ask(where, "a.example.org", "A")
    assert shown.raw.answer[0].rdatas == (from_text("WWW.Example.ORG"),)
    assert shown.answer[1:] == ["www.example.org. 3600 A 192.0.2.9"]


@pytest.mark.parametrize(
    ("qname", "chain"),
    [("loop1", ["loop1", "loop2", "loop3"]), ("loop2", ["loop2", "loop3"]), ("self", ["self"])],
)
def test_a_circle_is_answered_once_round_without_error(qname: str, chain: list[str]) -> None:
    shown = ask(EXAMPLE, f"{qname}.example.org", "A")
    assert [line.split(".")[0] for line in shown.answer] == chain
    assert (shown.rcode, shown.denial, shown.authority) == ("NOERROR", "", [])


def chain_of(length: int) -> str:
    links = "".join(f"c{at} CNAME c{after}\n" for at, after in pairwise(range(length + 1)))
    return f"{links}c{length} A 192.0.2.99\n"


def test_the_longest_chain_that_is_followed_ends_in_its_address() -> None:
    shown = ask(zone(chain_of(MAX_ALIASES)), "c0.example.org", "A")
    assert len(shown.answer) == MAX_ALIASES + 1
    assert shown.answer[-1].endswith("A 192.0.2.99")


def test_a_longer_chain_is_answered_as_far_as_it_was_followed() -> None:
    shown = ask(zone(chain_of(MAX_ALIASES + 5)), "c0.example.org", "A")
    assert len(shown.answer) == MAX_ALIASES + 1
    assert shown.answer[-1] == f"c{MAX_ALIASES}.example.org. 3600 CNAME c{MAX_ALIASES + 1}.example.org."
    assert (shown.rcode, shown.denial) == ("NOERROR", "")


def test_a_type_beside_a_cname_is_answered_and_not_the_alias() -> None:
    where = zone("a CNAME ns\na NSEC ns CNAME NSEC\n")
    assert ask(where, "a.example.org", "NSEC").answer == ["a.example.org. 3600 NSEC ns.example.org. CNAME NSEC"]


# Wildcards

def test_a_wildcard_answer_is_owned_by_the_name_asked_for_and_never_kept() -> None:
    shown = ask(EXAMPLE, "q.wild.example.org", "A")
    assert shown.answer == ["q.wild.example.org. 3600 A 192.0.2.20"]
    assert not shown.raw.lasting


def test_a_wildcard_without_the_type_is_nodata() -> None:
    shown = ask(EXAMPLE, "q.wild.example.org", "TXT")
    assert (shown.rcode, shown.answer, shown.denial) == ("NOERROR", [], SOA)


def test_a_wildcard_alias_is_owned_by_the_name_asked_for_and_followed() -> None:
    assert ask(EXAMPLE, "q.walias.example.org", "A").answer == [
        "q.walias.example.org. 3600 CNAME www.example.org.", *WWW
    ]


def test_a_wildcard_alias_into_itself_ends() -> None:
    where = zone("*.w CNAME x.w\n")
    assert ask(where, "q.w.example.org", "A").answer == [
        "q.w.example.org. 3600 CNAME x.w.example.org.", "x.w.example.org. 3600 CNAME x.w.example.org."
    ]


def test_additional_data_comes_from_wildcards_too() -> None:
    where = zone("m MX 10 host.wild\n*.wild A 192.0.2.20\n")
    assert ask(where, "m.example.org", "MX").additional == ["host.wild.example.org. 3600 A 192.0.2.20"]


def test_a_wildcard_mx_has_its_additional_data() -> None:
    shown = ask(EXAMPLE, "q.wmx.example.org", "MX")
    assert shown.answer == ["q.wmx.example.org. 3600 MX 10 ns.example.org."]
    assert shown.additional == ["ns.example.org. 3600 A 192.0.2.1"]


def test_ns_at_a_wildcard_is_plain_data() -> None:
    where = zone("*.w NS ns\n")
    assert ask(where, "q.w.example.org", "NS").answer == ["q.w.example.org. 3600 NS ns.example.org."]
    assert ask(where, "q.w.example.org", "A").denial == SOA


# Referrals

REFERRAL = [
    "sub.example.org. 3600 NS ns.sub.example.org.",
    "sub.example.org. 3600 NS ns.far.example.org.",
    "sub.example.org. 3600 NS ns.example.net.",
]
GLUE = [
    "ns.sub.example.org. 3600 A 192.0.2.30",
    "ns.sub.example.org. 3600 AAAA 2001:db8::30",
    "ns.far.example.org. 3600 A 192.0.2.31",
]


@pytest.mark.parametrize("qname", ["sub", "host.sub", "a.b.c.sub", "ns.sub"])
@pytest.mark.parametrize("qtype", ["A", "NS", "ANY", "SOA", "CNAME"])
def test_names_at_and_below_a_cut_are_referred(qname: str, qtype: str) -> None:
    shown = ask(EXAMPLE, f"{qname}.example.org", qtype)
    assert (shown.rcode, shown.answer, shown.authority, shown.additional) == ("NOERROR", [], REFERRAL, GLUE)
    assert not shown.aa
    assert shown.denial == ""
    assert shown.raw.glue


def test_in_domain_glue_stands_first_whatever_the_order_of_the_servers() -> None:
    where = zone("sub NS ns.far\nsub NS ns.sub\nns.sub A 192.0.2.30\nns.far A 192.0.2.31\n")
    shown = ask(where, "x.sub.example.org", "A")
    assert [line.split()[0] for line in shown.additional] == ["ns.sub.example.org.", "ns.far.example.org."]


def test_a_referral_without_in_domain_servers_needs_no_glue() -> None:
    shown = ask(EXAMPLE, "x.bare.example.org", "A")
    assert (shown.authority, shown.additional) == (["bare.example.org. 3600 NS ns.example.net."], [])
    assert not shown.raw.glue


def test_addresses_of_siblings_alone_are_no_in_domain_glue() -> None:
    where = zone("sub NS ns.far\nns.far A 192.0.2.31\n")
    shown = ask(where, "x.sub.example.org", "A")
    assert shown.additional == ["ns.far.example.org. 3600 A 192.0.2.31"]
    assert not shown.raw.glue


def test_glue_of_a_sibling_delegation_is_given() -> None:
    where = zone("one NS ns.two\ntwo NS ns.two\nns.two A 192.0.2.22\n")
    assert ask(where, "x.one.example.org", "A").additional == ["ns.two.example.org. 3600 A 192.0.2.22"]


def test_addresses_of_servers_in_another_zone_of_ours_are_given_and_depended_on() -> None:
    net = zone("", "example.net", source=3)
    shown = ask((EXAMPLE, net), "x.bare.example.org", "A")
    assert shown.additional == ["ns.example.net. 3600 A 192.0.2.1"]
    assert (3, b"") in shown.raw.depends


def test_a_chain_into_a_delegation_carries_the_chain_and_the_referral_with_aa() -> None:
    shown = ask(EXAMPLE, "into.example.org", "A")
    assert shown.answer == ["into.example.org. 3600 CNAME host.sub.example.org."]
    assert (shown.authority, shown.additional, shown.rcode) == (REFERRAL, GLUE, "NOERROR")
    assert shown.aa
    assert shown.denial == ""


def test_a_referral_of_a_random_name_is_never_kept_and_that_of_the_cut_is() -> None:
    where = zone("sub NS ns.example.net.\n")
    assert ask(where, "sub.example.org", "A").raw.lasting
    assert not ask(where, "random.sub.example.org", "A").raw.lasting


def test_ds_at_a_cut_is_answered_by_the_parent_side() -> None:
    shown = ask(EXAMPLE, "sub.example.org", "DS")
    assert (shown.rcode, len(shown.answer), shown.authority, shown.aa) == ("NOERROR", 1, [], True)
    assert shown.answer[0].startswith("sub.example.org. 3600 DS 1 8 2 ")


def test_a_cut_without_ds_is_nodata_at_the_parent_side() -> None:
    shown = ask(EXAMPLE, "bare.example.org", "DS")
    assert (shown.rcode, shown.answer, shown.authority, shown.denial, shown.aa) == ("NOERROR", [], [], SOA, True)


def test_ds_below_a_cut_is_referred() -> None:
    assert ask(EXAMPLE, "x.sub.example.org", "DS").authority == REFERRAL


def test_ds_of_a_zone_whose_parent_is_ours_too_comes_from_the_parent() -> None:
    child = zone("", "sub.example.org", source=1)
    shown = ask((EXAMPLE, child), "sub.example.org", "DS")
    assert shown.answer[0].startswith("sub.example.org. 3600 DS")
    assert shown.raw.depends == ((0, b""),)
    child_of_bare = zone("", "bare.example.org", source=1)
    assert ask((EXAMPLE, child_of_bare), "bare.example.org", "DS").denial == SOA


def test_ds_of_a_zone_that_no_zone_of_ours_delegates_is_nodata_of_itself() -> None:
    assert ask(EXAMPLE, "example.org", "DS").denial == SOA
    unlinked = zone("", "unlinked.example.org", source=1)
    shown = ask((EXAMPLE, unlinked), "unlinked.example.org", "DS")
    assert (shown.rcode, shown.denial) == ("NOERROR", "unlinked.example.org. 300")
    root = zone("", ".")
    assert ask(root, ".", "DS").denial == ". 300"


def test_other_types_at_the_apex_of_a_child_come_from_the_child() -> None:
    child = zone("@ A 192.0.2.77\n", "sub.example.org", source=1)
    assert ask((EXAMPLE, child), "sub.example.org", "A").answer == ["sub.example.org. 3600 A 192.0.2.77"]


# Additional data

@pytest.mark.parametrize(
    "rdata",
    ["MX 10 www", "SRV 0 0 80 www", "SVCB 1 www", "HTTPS 0 www", "HTTPS 1 www alpn=h2"],
)
def test_addresses_of_targets_stand_in_the_additional_section(rdata: str) -> None:
    where = zone(f"x {rdata}\nwww A 192.0.2.10\nwww AAAA 2001:db8::10\n")
    assert ask(where, "x.example.org", rdata.split()[0]).additional == [
        "www.example.org. 3600 A 192.0.2.10", "www.example.org. 3600 AAAA 2001:db8::10"
    ]


@pytest.mark.parametrize("rdata", ["MX 0 .", "SRV 0 0 0 .", "HTTPS 1 ."])
def test_the_root_as_target_names_no_host(rdata: str) -> None:
    where = zone(f"x {rdata}\nx A 192.0.2.7\n. A 192.0.2.9\n", ".", head="@ 60 SOA a. b. 1 2 3 4 5\n@ 60 NS a.\n")
    assert ask(where, "x", rdata.split()[0]).additional == []


def test_targets_are_looked_up_once_and_folded() -> None:
    where = zone("x MX 10 NS\nx MX 20 ns\n")
    assert ask(where, "x.example.org", "MX").additional == ["ns.example.org. 3600 A 192.0.2.1"]


@pytest.mark.parametrize("target", ["nope", "b", "alias", "host.example.net."])
def test_targets_without_addresses_of_ours_add_nothing(target: str) -> None:
    where = zone(f"x MX 10 {target}\na.b TXT deep\nalias CNAME ns\n")
    shown = ask(where, "x.example.org", "MX")
    assert (shown.additional, shown.rcode, shown.denial) == ([], "NOERROR", "")


def test_glue_is_no_additional_data_of_mail_and_service_records() -> None:
    where = zone("x MX 10 ns.sub\nsub NS ns.sub\nns.sub A 192.0.2.30\n")
    assert ask(where, "x.example.org", "MX").additional == []


def test_nodata_has_no_additional_section() -> None:
    where = zone("x MX 10 ns\n")
    assert ask(where, "x.example.org", "A").additional == []


def test_additional_data_from_another_zone_is_depended_on() -> None:
    org = zone("x MX 10 ns.example.net.\n")
    shown = ask((org, zone("", "example.net", source=1)), "x.example.org", "MX")
    assert shown.additional == ["ns.example.net. 3600 A 192.0.2.1"]
    assert shown.raw.depends == ((0, b""), (1, b""))


def test_an_alias_to_a_service_has_the_addresses_of_the_service() -> None:
    where = zone("x CNAME y\ny SRV 0 0 1 ns\n")
    shown = ask(where, "x.example.org", "SRV")
    assert [line.split()[2] for line in shown.answer] == ["CNAME", "SRV"]
    assert shown.additional == ["ns.example.org. 3600 A 192.0.2.1"]


def test_a_huge_service_looks_up_a_bounded_number_of_targets() -> None:
    looked_up: list[bytes] = []
    targets = tuple(b"\0\0\0\0\0\1" + name(f"h{at}.example.org") for at in range(MAX_ADDITIONAL_TARGETS + 50))

    class Counting:
        apex, serial, soa, negative_ttl = EXAMPLE.apex, 7, EXAMPLE.soa, 300

        def find(self, qname: bytes) -> Found:
            looked_up.append(qname)
            return Found(Kind.NODE, {RRType.SRV: RRset(qname, RRType.SRV, 5, targets)}, qname, (0, b""))

        def denies(self, qname: bytes) -> int | None:
            return None

        def addresses(self, qname: bytes) -> tuple[RRset, ...]:
            return ()

    counting = Counting()
    found = lookup(counting, zone_of(counting), name("srv.example.org"), RRType.SRV)
    assert len(found.answer[0].rdatas) == MAX_ADDITIONAL_TARGETS + 50
    assert len(looked_up) == 1 + MAX_ADDITIONAL_TARGETS


# ANY

def test_any_at_a_name_with_records_is_one_hinfo() -> None:
    shown = ask(EXAMPLE, "www.example.org", "ANY")
    assert shown.answer == ['www.example.org. 3789 HINFO "RFC8482" ""']
    assert (shown.rcode, shown.denial, shown.aa) == ("NOERROR", "", True)


def test_any_at_an_alias_is_the_alias_alone() -> None:
    assert ask(EXAMPLE, "alias.example.org", "ANY").answer == ["alias.example.org. 3600 CNAME www.example.org."]


def test_any_at_a_name_with_a_hinfo_is_that_hinfo() -> None:
    assert ask(EXAMPLE, "info.example.org", "ANY").answer == ['info.example.org. 3600 HINFO "cpu" "os"']


def test_any_under_a_wildcard_is_owned_by_the_name_asked_for() -> None:
    assert ask(EXAMPLE, "q.wild.example.org", "ANY").answer == ['q.wild.example.org. 3789 HINFO "RFC8482" ""']


@pytest.mark.parametrize(("qname", "rcode"), [("b", "NOERROR"), ("nope", "NXDOMAIN")])
def test_any_without_records_is_denied_as_every_type_is(qname: str, rcode: str) -> None:
    shown = ask(EXAMPLE, f"{qname}.example.org", "ANY")
    assert (shown.rcode, shown.answer, shown.denial) == (rcode, [], SOA)


# What a Found carries on

class OneName:
    """A zone in which every name gives the same."""

    apex, serial, soa, negative_ttl = EXAMPLE.apex, 7, EXAMPLE.soa, 300

    def __init__(self, found: Found) -> None:
        self.found = found

    def find(self, qname: bytes) -> Found:
        return self.found

    def denies(self, qname: bytes) -> int | None:
        return None

    def addresses(self, qname: bytes) -> tuple[RRset, ...]:
        return ()


@pytest.mark.parametrize("kind", [Kind.EMPTY, Kind.ABSENT])
def test_a_findings_own_negative_ttl_and_note_reach_the_denial(kind: Kind) -> None:
    where = OneName(Found(kind, NO_RRSETS, b"\0", (5, b"key"), 1, True, "no ready endpoint"))
    found = lookup(where, zone_of(where), name("x.example.org"), RRType.A)
    assert found.denial is not None
    assert (found.denial.ttl, found.note) == (1, "no ready endpoint")
    assert (found.depends, found.lasting) == (((5, b"key"),), True)


def test_a_negative_ttl_of_zero_is_not_taken_for_none() -> None:
    where = OneName(Found(Kind.ABSENT, NO_RRSETS, b"\0", (5, b"key"), 0))
    found = lookup(where, zone_of(where), name("x.example.org"), RRType.A)
    assert found.denial is not None
    assert found.denial.ttl == 0


def test_one_finding_that_does_not_last_makes_a_chain_not_last() -> None:
    shown = ask(EXAMPLE, "dangling.example.org", "A")
    assert not shown.raw.lasting
    assert ask(EXAMPLE, "twice.example.org", "A").raw.lasting
    assert not ask(EXAMPLE, "random.walias.example.org", "A").raw.lasting


def test_additional_data_that_does_not_last_makes_the_answer_not_last() -> None:
    """What was computed from its name announces no change, so an answer that holds it must not be kept."""
    where = zone("x MX 10 host.wild\n*.wild A 192.0.2.20\n")
    assert not ask(where, "x.example.org", "MX").raw.lasting


# DNAME (RFC 6672)

DNAMES = zone("""\
d DNAME e
www.e A 192.0.2.60
alias.e CNAME www.e
grow DNAME grow.grow
far DNAME example.net.
d A 192.0.2.61
two DNAME d
loop DNAME loop
""")


def test_a_name_below_a_dname_gets_the_dname_a_cname_of_its_ttl_and_the_target() -> None:
    assert ask(DNAMES, "www.d.example.org", "A").answer == [
        "d.example.org. 3600 DNAME e.example.org.",
        "www.d.example.org. 3600 CNAME www.e.example.org.",
        "www.e.example.org. 3600 A 192.0.2.60",
    ]


def test_the_owner_of_a_dname_is_not_redirected() -> None:
    assert ask(DNAMES, "d.example.org", "A").answer == ["d.example.org. 3600 A 192.0.2.61"]
    assert ask(DNAMES, "d.example.org", "TXT").denial == SOA
    assert ask(DNAMES, "d.example.org", "DNAME").answer == ["d.example.org. 3600 DNAME e.example.org."]


def test_cname_below_a_dname_is_the_synthesized_one_and_not_followed() -> None:
    assert ask(DNAMES, "alias.d.example.org", "CNAME").answer == [
        "d.example.org. 3600 DNAME e.example.org.", "alias.d.example.org. 3600 CNAME alias.e.example.org."
    ]


def test_a_dname_to_a_name_that_does_not_exist_is_nxdomain_with_the_way_there() -> None:
    shown = ask(DNAMES, "nope.d.example.org", "A")
    assert (shown.rcode, len(shown.answer), shown.denial) == ("NXDOMAIN", 2, SOA)


def test_dnames_chain() -> None:
    shown = ask(DNAMES, "www.two.example.org", "A")
    assert [line.split()[2] for line in shown.answer] == ["DNAME", "CNAME", "DNAME", "CNAME", "A"]


def test_a_dname_out_of_our_zones_ends_with_the_cname() -> None:
    shown = ask(DNAMES, "x.far.example.org", "A")
    assert shown.answer[-1] == "x.far.example.org. 3600 CNAME x.example.net."
    assert (shown.rcode, shown.denial) == ("NOERROR", "")


def test_a_dname_used_twice_is_answered_once() -> None:
    shown = ask(DNAMES, "x.grow.example.org", "A")
    assert sum(" DNAME " in line for line in shown.answer) == 1
    assert sum(" CNAME " in line for line in shown.answer) == MAX_ALIASES + 1
    assert shown.rcode == "NOERROR"


def test_a_dname_onto_itself_ends() -> None:
    assert [line.split()[2] for line in ask(DNAMES, "x.loop.example.org", "A").answer] == ["DNAME", "CNAME"]


def test_a_name_that_grows_too_long_is_yxdomain_with_the_dname() -> None:
    long_target = ".".join(["t" * 60] * 3)
    where = zone(f"d DNAME {long_target}\n")
    shown = ask(where, f"{'q' * 60}.d.example.org", "A")
    assert shown.raw.rcode == Rcode.YXDOMAIN
    assert [line.split()[2] for line in shown.answer] == ["DNAME"]
    assert shown.denial == ""
    assert ask(where, "q.d.example.org", "A").rcode == "NXDOMAIN"


def test_the_synthesized_target_is_looked_up_folded() -> None:
    rrsets = [
        RRset(name("d.example.org"), RRType.DNAME, 60, (from_text("E.Example.ORG"),)),
        RRset(name("x.e.example.org"), RRType.A, 60, (b"\xc0\0\2\1",)),
        EXAMPLE.soa,
    ]
    assert ask(build(rrsets), "x.d.example.org", "A").answer[-1] == "x.e.example.org. 60 A 192.0.2.1"
