"""Hosts files: what is read of them, what is remarked, and what their zones answer."""

from __future__ import annotations

from typing import Any

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.site import Backend, Site
from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import ROOT, from_text, parent, to_text
from kdns.zone import hosts
from kdns.zone.addresses import IN_ADDR, IP6, reverse_name
from kdns.zone.hosts import (
    HostsEntry,
    HostsSpec,
    HostsZones,
    entries_of,
    hosts_zones,
    parse_address,
    parse_hosts,
    rrsets_of,
)
from kdns.zone.masterzone import MasterZoneBuilder
from kdns.zone.model import Kind, Lookup, Zone
from tests.support.engines import zone_rrsets
from tests.support.messages import AAAA, HTTPS, MX, NS, PTR, SOA, A
from tests.support.subtrees import packed
from tests.support.zonetext import chased

ORG = from_text("example.org")
TEXT = """\
# a comment
192.0.2.1 web.example.org www.example.org  # the canonical name first
192.0.2.2\tweb.example.org
2001:db8::1 web.example.org
192.0.2.3 only4.deep.example.org
2001:db8::6 only6.example.org
192.0.2.9 elsewhere.example.net
"""


def served(text: str = TEXT, zones: tuple[bytes, ...] = (ORG,), **options: Any) -> HostsZones:
    spec = HostsSpec(zones, **options)
    return hosts_zones(3, spec, parse_hosts(text, "hosts").entries)


def ask(zones: HostsZones, name: str, qtype: int = A) -> Lookup:
    qname = from_text(name)
    zone = next(zones.zones[apex] for apex in sorted(zones.zones, key=len, reverse=True) if qname.endswith(apex))
    return chased(zone, lambda name, _: zone if name.endswith(zone.apex) else None, qname, qtype)


def rdatas(found: Lookup) -> list[bytes]:
    return [rdata for rrset in found.answer for rdata in rrset.rdatas]


def test_a_line_is_an_address_and_its_names_with_the_comment_left_out() -> None:
    entries = parse_hosts(TEXT, "hosts").entries
    assert entries[0] == HostsEntry(packed("192.0.2.1"), (from_text("web.example.org"), from_text("www.example.org")))
    assert len(entries) == 6


def test_names_are_folded_and_may_end_in_a_dot() -> None:
    [entry] = parse_hosts("192.0.2.1 WWW.Example.ORG. www.example.org", "hosts").entries
    assert entry.names == (from_text("www.example.org"),)


def test_windows_line_ends_and_a_byte_order_mark_are_taken() -> None:
    text = parse_hosts("\ufeff192.0.2.1 a\r\n192.0.2.2 b\r\n", "hosts")
    assert [entry.address[-1] for entry in text.entries] == [1, 2]
    assert text.remarks == ()


@pytest.mark.parametrize(("line", "message", "token"), [
    ("192.0.2 web", "not an IPv4 or IPv6 address: the line is left out", "192.0.2"),
    ("web 192.0.2.1", "not an IPv4 or IPv6 address: the line is left out", "web"),
    ("192.0.2.1", "an address without a name: the line is left out", "192.0.2.1"),
    ("192.0.2.1 a..b", "not a name, and left out: empty label", "a..b"),
    ("192.0.2.1 " + "x" * 64, "not a name, and left out: label longer than 63 octets", "x" * 64),
    ("192.0.2.1 b\u00fccher.de",
     "not a name, and left out: 'b\u00fccher.de' is not ASCII: write the name in its xn-- form", "b\u00fccher.de"),
])
def test_a_line_that_cannot_be_used_is_a_remark_with_its_place(line: str, message: str, token: str) -> None:
    text = parse_hosts(f"192.0.2.8 before\n{line}\n192.0.2.9 behind\n", "/etc/hosts")
    [remark] = text.remarks
    assert (remark.path, remark.line, remark.message, remark.token) == ("/etc/hosts", 2, message, token)
    assert [entry.address[-1] for entry in text.entries] == [8, 9]


def test_the_good_names_of_a_line_count_beside_a_bad_one() -> None:
    text = parse_hosts("192.0.2.1 good bad..name fine", "hosts")
    assert text.entries[0].names == (from_text("good"), from_text("fine"))
    assert len(text.remarks) == 1


def test_remarks_are_bounded_and_say_how_many_more_there_are() -> None:
    text = parse_hosts("garbage\n" * 100, "hosts")
    assert len(text.remarks) == hosts.MAX_REMARKS
    assert text.remarks[-1].message == f"and {100 - hosts.MAX_REMARKS + 1} more such remarks"


def test_what_is_too_much_is_left_out_and_remarked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "MAX_ENTRIES", 3)
    text = parse_hosts("192.0.2.1 a b\n192.0.2.2 c\n192.0.2.3 d\n192.0.2.4 e\n", "hosts")
    assert len(text.entries) == 2
    assert "more than 3 names" in text.remarks[0].message
    assert text.remarks[0].line == 3


@pytest.mark.parametrize(("text", "address"), [
    ("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("fe80::1%lo0", "fe80::1"), ("::ffff:192.0.2.1", "192.0.2.1"),
])
def test_addresses_lose_their_scope_and_mapped_ones_are_ipv4(text: str, address: str) -> None:
    assert parse_address(text) == packed(address)


@pytest.mark.parametrize("text", ["127.1", "0x7f.1", "1.2.3.4.5", "", "::g", "1.2.3.04", "1.2.3.4/8"])
def test_what_only_looks_like_an_address_is_none(text: str) -> None:
    assert parse_address(text) is None


def test_a_name_has_all_its_addresses_in_the_order_of_the_file() -> None:
    zones = served()
    assert rdatas(ask(zones, "web.example.org")) == [packed("192.0.2.1"), packed("192.0.2.2")]
    assert rdatas(ask(zones, "web.example.org", AAAA)) == [packed("2001:db8::1")]
    assert rdatas(ask(zones, "www.example.org")) == [packed("192.0.2.1")]


def test_an_address_that_stands_twice_is_answered_once() -> None:
    zones = served("192.0.2.1 a.example.org\n192.0.2.1 a.example.org b.example.org\n")
    assert rdatas(ask(zones, "a.example.org")) == [packed("192.0.2.1")]
    assert rdatas(ask(zones, "1.2.0.192.in-addr.arpa", PTR)) == [
        from_text("a.example.org"), from_text("b.example.org"),
    ]


def test_records_have_the_ttl_of_the_directive() -> None:
    assert ask(served(ttl=42), "web.example.org").answer[0].ttl == 42


@pytest.mark.parametrize(("name", "qtype"), [
    ("only4.deep.example.org", AAAA), ("only6.example.org", A), ("web.example.org", MX), ("web.example.org", HTTPS),
    ("deep.example.org", A), ("example.org", A), ("example.org", SOA), ("example.org", NS),
])
def test_a_name_with_other_records_or_names_below_is_nodata(name: str, qtype: int) -> None:
    found = ask(served(), name, qtype)
    assert (found.rcode, found.answer) == (Rcode.NOERROR, ())
    assert found.denial is not None


def test_a_name_that_is_not_listed_is_nxdomain_for_some_seconds() -> None:
    found = ask(served(), "nope.example.org")
    assert found.rcode == Rcode.NXDOMAIN
    assert found.denial is not None
    assert found.denial.ttl == hosts.NEGATIVE_TTL
    assert not found.lasting


def test_a_denial_lives_no_longer_than_records_do() -> None:
    assert served(ttl=2).zones[ORG].negative_ttl == 2
    assert served(ttl=0).zones[ORG].negative_ttl == 0


def test_the_soa_of_denials_names_nobody_as_a_resolvers_local_zones_do() -> None:
    soa = served().zones[ORG].soa
    text = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SOA, soa.rdatas[0], 0, len(soa.rdatas[0]))
    assert str(text) == "localhost. nobody.invalid. 1 3600 1200 604800 5"
    assert (soa.owner, soa.ttl) == (ORG, hosts.NEGATIVE_TTL)


def test_names_outside_the_zones_have_neither_addresses_nor_reverse_names() -> None:
    zones = served()
    assert ask(zones, "9.2.0.192.in-addr.arpa", PTR).rcode == Rcode.NXDOMAIN
    assert ask(served(zones=(ROOT,)), "elsewhere.example.net").answer
    assert ask(served(zones=(ROOT,)), "9.2.0.192.in-addr.arpa", PTR).answer


@pytest.mark.parametrize("address", ["192.0.2.1", "192.0.2.2", "2001:db8::1"])
def test_an_address_has_the_names_of_its_lines(address: str) -> None:
    found = ask(served(), str(dns.reversename.from_address(address)), PTR)
    assert rdatas(found)[0] == from_text("web.example.org")


def test_an_address_leads_back_to_its_first_names_alone() -> None:
    zones = served("".join(f"0.0.0.0 ad{at}.example.org\n" for at in range(200)))
    names = rdatas(ask(zones, "0.0.0.0.in-addr.arpa", PTR))
    assert names == [from_text(f"ad{at}.example.org") for at in range(hosts.MAX_REVERSE_NAMES)]
    assert ask(zones, "ad199.example.org").answer


def test_without_reverse_there_are_no_reverse_zones() -> None:
    zones = served(reverse=False)
    assert set(zones.zones) == {ORG}
    in_addr = served(zones=(ORG, IN_ADDR), reverse=False)
    assert ask(in_addr, "1.2.0.192.in-addr.arpa", PTR).rcode == Rcode.NXDOMAIN


def test_reverse_names_are_always_passed_on_and_others_where_the_directive_says() -> None:
    assert served().fallthrough == {ORG: (), IN_ADDR: (IN_ADDR,), IP6: (IP6,)}
    assert served(fallthrough=(ROOT,)).fallthrough[ORG] == (ROOT,)


def test_all_that_is_found_depends_on_the_whole_file() -> None:
    zones = served()
    for name in ("web.example.org", "nope.example.org", "deep.example.org"):
        assert zones.zones[ORG].find(from_text(name)).depends == (3, b"")


def test_an_empty_text_denies_all_but_the_apex() -> None:
    zone = served("").zones[ORG]
    assert zone.find(ORG).kind is Kind.EMPTY
    assert zone.find(from_text("a.example.org")).kind is Kind.ABSENT


WILD = """\
192.0.2.1 *.wild.example.org
192.0.2.2 own.wild.example.org
2001:db8::3 deep.under.wild.example.org
192.0.2.4 a.*.wild.example.org
"""


def test_a_wildcard_answers_under_the_asked_name_what_has_no_entry_of_its_own() -> None:
    found = ask(served(WILD), "any.wild.example.org")
    assert [(rrset.owner, rrset.rdatas) for rrset in found.answer] == [
        (from_text("any.wild.example.org"), (packed("192.0.2.1"),))
    ]
    assert rdatas(ask(served(WILD), "own.wild.example.org")) == [packed("192.0.2.2")]
    assert rdatas(ask(served(WILD), "*.wild.example.org")) == [packed("192.0.2.1")]


def test_a_wildcard_speaks_for_one_label_alone() -> None:
    zones = served(WILD)
    assert ask(zones, "two.labels.wild.example.org").rcode == Rcode.NXDOMAIN
    above = ask(zones, "wild.example.org")
    assert (above.rcode, above.answer) == (Rcode.NOERROR, ())


def test_a_wildcard_speaks_for_a_name_that_is_only_above_others() -> None:
    assert rdatas(ask(served(WILD), "under.wild.example.org")) == [packed("192.0.2.1")]


def test_an_asterisk_further_right_is_a_label_like_any_other() -> None:
    zones = served(WILD)
    assert rdatas(ask(zones, "a.*.wild.example.org")) == [packed("192.0.2.4")]
    assert ask(zones, "a.b.wild.example.org").rcode == Rcode.NXDOMAIN


def test_the_other_types_of_a_name_under_a_wildcard_are_nodata() -> None:
    for qtype in (AAAA, MX):
        found = ask(served(WILD), "any.wild.example.org", qtype)
        assert (found.rcode, found.answer) == (Rcode.NOERROR, ())
    # An entry of its own counts for both families, as for every listed name.
    assert ask(served(f"{WILD}2001:db8::1 *.wild.example.org\n"), "own.wild.example.org", AAAA).answer == ()


def test_names_under_a_wildcard_do_not_last_and_are_not_denied_unseen() -> None:
    zone = served(WILD).zones[ORG]
    made_up = from_text("any.wild.example.org")
    assert zone.find(made_up).kind is Kind.WILDCARD
    assert not zone.find(made_up).lasting
    assert zone.denies(made_up) is None
    assert zone.denies(from_text("two.labels.wild.example.org")) == zone.negative_ttl
    assert zone.find(from_text("*.wild.example.org")).lasting


def test_a_wildcard_at_the_root_answers_names_of_one_label() -> None:
    zones = served("192.0.2.1 *", zones=(ROOT,))
    assert rdatas(ask(zones, "printer")) == [packed("192.0.2.1")]
    assert ask(zones, "a.printer").rcode == Rcode.NXDOMAIN
    assert ask(zones, ".").answer == ()


def test_an_address_does_not_lead_back_to_a_wildcard() -> None:
    zones = served("192.0.2.1 *.example.org web.example.org\n192.0.2.2 *.example.org\n")
    assert rdatas(ask(zones, "1.2.0.192.in-addr.arpa", PTR)) == [from_text("web.example.org")]
    assert ask(zones, "2.2.0.192.in-addr.arpa", PTR).rcode == Rcode.NXDOMAIN


def test_a_name_under_a_wildcard_is_not_passed_on() -> None:
    site = site_of(served("192.0.2.1 *.example.org", fallthrough=(ROOT,)))
    assert rdatas(through(site, "behind.example.org")) == [packed("192.0.2.1")]
    assert through(site, "web.example.org", AAAA).answer == ()


def test_the_addresses_of_a_target_are_told_for_the_additional_section() -> None:
    zone = served().zones[ORG]
    assert [rrset.rrtype for rrset in zone.addresses(from_text("web.example.org"))] == [RRType.A, RRType.AAAA]
    assert zone.addresses(from_text("nope.example.org")) == ()


def _file_zone(text: str) -> Zone:
    builder = MasterZoneBuilder(1)
    for rrset in zone_rrsets(text):
        builder.add(rrset)
    return builder.build()


def site_of(zones: HostsZones) -> Site:
    behind = _file_zone("behind A 192.0.2.77\nweb AAAA 2001:db8::77\n")
    backends = (Backend(lambda: zones.zones, zones.fallthrough), Backend(lambda: {ORG: behind}, {}))
    return Site((ORG,), backends, False, False, 1232)


def through(site: Site, name: str, qtype: int = A) -> Lookup:
    zone = site.zone_of(from_text(name), qtype)
    assert zone is not None
    return chased(zone, site.zone_of, from_text(name), qtype)


def test_what_is_not_listed_is_passed_on_with_fallthrough_only() -> None:
    assert through(site_of(served(fallthrough=(ROOT,))), "behind.example.org").answer
    assert through(site_of(served()), "behind.example.org").rcode == Rcode.NXDOMAIN


def test_a_listed_name_is_never_passed_on_for_its_other_family() -> None:
    site = site_of(served("192.0.2.1 web.example.org", fallthrough=(ROOT,)))
    found = through(site, "web.example.org", AAAA)
    assert (found.rcode, found.answer) == (Rcode.NOERROR, ())


def test_the_soa_of_the_zone_behind_is_asked_of_that_zone() -> None:
    found = through(site_of(served(fallthrough=(ROOT,))), "example.org", SOA)
    assert found.answer[0].rrtype == SOA
    assert b"nobody" not in found.answer[0].rdatas[0]


LABELS = st.sampled_from([b"\x01a", b"\x01b", b"\x03web", b"\x01*", b"\x0bexample\x03org"])
NAMES = st.lists(LABELS, max_size=4).map(lambda parts: b"".join(parts) + ORG)
ADDRESSES = st.sampled_from([packed("192.0.2.1"), packed("192.0.2.2"), packed("2001:db8::1")])
ENTRIES = st.lists(st.builds(HostsEntry, ADDRESSES, st.lists(NAMES, min_size=1, max_size=3).map(tuple)), max_size=6)


@given(ENTRIES, NAMES)
def test_a_name_has_exactly_the_addresses_that_the_lines_give_it(entries: list[HostsEntry], name: bytes) -> None:
    found = hosts_zones(0, HostsSpec((ORG,)), entries).zones[ORG].find(name)
    own = {entry.address for entry in entries if name in entry.names}
    wildcard = b"\x01*" + parent(name)
    listed = own or {entry.address for entry in entries if wildcard in entry.names}
    above = any(other.endswith(name) and other != name for entry in entries for other in entry.names)
    assert {rdata for rrset in found.rrsets.values() for rdata in rrset.rdatas} == listed
    assert (found.kind is Kind.WILDCARD) == (bool(listed) and not own)
    if not listed and name != ORG:
        assert (found.kind is Kind.EMPTY) == above or found.kind is Kind.ABSENT


@given(ENTRIES, NAMES | st.binary(max_size=20).map(lambda octets: octets + ORG))
def test_what_is_denied_without_a_look_is_absent(entries: list[HostsEntry], name: bytes) -> None:
    for zone in hosts_zones(0, HostsSpec((ORG, ROOT)), entries).zones.values():
        if zone.denies(name) is not None:
            assert zone.find(name).kind is Kind.ABSENT


@given(ENTRIES)
def test_each_address_of_a_name_leads_back_to_it_and_to_no_wildcard(entries: list[HostsEntry]) -> None:
    zones = hosts_zones(0, HostsSpec((ORG,)), entries)
    for entry in entries:
        text = ".".join(map(str, entry.address)) if len(entry.address) == 4 else "2001:db8::1"
        found = ask(zones, str(dns.reversename.from_address(text)), PTR)
        plain = {name for name in entry.names if not name.startswith(b"\x01*")}
        assert plain <= set(rdatas(found)), to_text(entry.names[0])
        assert not any(name.startswith(b"\x01*") for name in rdatas(found))


@given(st.text(max_size=200))
def test_any_text_gives_entries_and_remarks_and_never_raises(text: str) -> None:
    parsed = parse_hosts(text, "hosts")
    hosts_zones(0, HostsSpec((ROOT,)), parsed.entries)
    assert len(parsed.remarks) <= hosts.MAX_REMARKS


@given(ENTRIES)
def test_entries_that_travel_as_rrsets_make_the_same_zones(entries: list[HostsEntry]) -> None:
    plain, travelled = (
        hosts_zones(0, HostsSpec((ORG,)), lines).zones for lines in (entries, list(entries_of(rrsets_of(entries))))
    )
    for entry in entries:
        for name in entry.names:
            assert plain[ORG].find(name) == travelled[ORG].find(name)
        reverse = reverse_name(entry.address)
        tree = IN_ADDR if len(entry.address) == 4 else IP6
        assert plain[tree].find(reverse) == travelled[tree].find(reverse)
