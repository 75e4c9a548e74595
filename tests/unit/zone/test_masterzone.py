"""MasterZone: what stands at a name (RFC 1034 section 4.2, RFC 4592, RFC 6672)."""

from __future__ import annotations

import pytest

from kdns.wire.iana import RRType
from kdns.wire.name import from_text
from kdns.zone.masterzone import MasterZone, MasterZoneBuilder
from kdns.zone.model import Found, Kind, Zone
from kdns.zone.rrset import RRset
from tests.support.zonetext import lines, name, zone

TEXT = """\
WWW        A     192.0.2.10
www        AAAA  2001:db8::10
a.b.c      TXT   deep
*.wild     A     192.0.2.20
x.wild     TXT   here
sub.empty.wild TXT below
a.*.star   TXT   below-an-asterisk
sub        NS    ns.sub
sub        NS    ns.elsewhere.test.
sub        DS    1 8 2 00000000000000000000000000000000000000000000000000000000000000ff
ns.sub     A     192.0.2.30
ns.sub     AAAA  2001:db8::30
deep.sub   NS    ns.deep.sub
alias      DNAME target
alias      A     192.0.2.40
"""


@pytest.fixture(name="example", scope="module")
def example_zone() -> MasterZone:
    return zone(TEXT, source=7)


def find(where: MasterZone, qname: str) -> Found:
    return where.find(name(qname))


def kind_and_owner(where: MasterZone, qname: str) -> tuple[Kind, bytes]:
    found = find(where, qname)
    return found.kind, found.owner


def test_a_master_zone_is_a_zone(example: MasterZone) -> None:
    as_zone: Zone = example
    assert as_zone.apex == name("example.org")


def test_apex_serial_and_soa_are_those_of_the_file(example: MasterZone) -> None:
    assert example.serial == 7
    assert lines([example.soa]) == [
        "example.org. 3600 SOA ns.example.org. hostmaster.example.org. 7 3600 600 86400 300"
    ]


@pytest.mark.parametrize(
    ("ttl", "minimum", "expected"), [(3600, 300, 300), (60, 300, 60), (300, 0, 0), (2**31 - 1, 2**32 - 1, 2**31 - 1)]
)
def test_negative_ttl_is_the_lower_of_soa_ttl_and_minimum(ttl: int, minimum: int, expected: int) -> None:
    head = f"@ {ttl} SOA ns host 1 2 3 4 {minimum}\n@ {ttl} NS ns.test.\n"
    assert zone("", head=head).negative_ttl == expected


def test_a_name_with_records_is_a_node(example: MasterZone) -> None:
    found = find(example, "www.example.org")
    assert found.kind is Kind.NODE
    assert set(found.rrsets) == {RRType.A, RRType.AAAA}
    assert found.owner == name("www.example.org")
    assert found.lasting


def test_owner_case_is_kept_as_loaded_and_folded_for_finding(example: MasterZone) -> None:
    rrsets = find(example, "www.example.org").rrsets
    assert rrsets[RRType.A].owner == from_text("WWW.example.org")
    assert rrsets[RRType.AAAA].owner == from_text("www.example.org")


def test_the_apex_is_a_node_although_it_has_ns(example: MasterZone) -> None:
    found = find(example, "example.org")
    assert found.kind is Kind.NODE
    assert set(found.rrsets) == {RRType.SOA, RRType.NS}


@pytest.mark.parametrize("qname", ["b.c.example.org", "c.example.org", "wild.example.org", "empty.wild.example.org"])
def test_a_name_with_records_only_below_it_is_empty(example: MasterZone, qname: str) -> None:
    found = find(example, qname)
    assert (found.kind, dict(found.rrsets), found.lasting) == (Kind.EMPTY, {}, True)


def test_a_name_without_anything_is_absent_and_does_not_last(example: MasterZone) -> None:
    found = find(example, "nope.example.org")
    assert (found.kind, dict(found.rrsets), found.lasting) == (Kind.ABSENT, {}, False)


def test_every_finding_depends_on_the_whole_zone_of_its_source(example: MasterZone) -> None:
    for qname in ("www", "c", "nope", "q.wild", "sub", "x.alias"):
        assert find(example, f"{qname}.example.org").depends == (7, b"")


@pytest.mark.parametrize("qname", ["q.wild.example.org", "p.q.wild.example.org"])
def test_a_wildcard_covers_names_at_any_depth_below_its_parent(example: MasterZone, qname: str) -> None:
    found = find(example, qname)
    assert (found.kind, found.owner, found.lasting) == (Kind.WILDCARD, name("*.wild.example.org"), False)
    assert lines(found.rrsets.values()) == ["*.wild.example.org. 3600 A 192.0.2.20"]


def test_a_wildcard_asked_for_by_name_is_a_node(example: MasterZone) -> None:
    assert kind_and_owner(example, "*.wild.example.org") == (Kind.NODE, name("*.wild.example.org"))


@pytest.mark.parametrize("qname", ["q.x.wild", "q.empty.wild", "q.sub.empty.wild"])
def test_a_wildcard_does_not_reach_below_a_name_that_exists(example: MasterZone, qname: str) -> None:
    assert find(example, f"{qname}.example.org").kind is Kind.ABSENT


def test_an_asterisk_below_which_names_stand_is_a_wildcard_without_records(example: MasterZone) -> None:
    found = find(example, "q.star.example.org")
    assert (found.kind, dict(found.rrsets), found.owner) == (Kind.WILDCARD, {}, name("*.star.example.org"))


def test_an_asterisk_in_the_middle_of_a_name_is_no_wildcard(example: MasterZone) -> None:
    assert find(example, "a.q.star.example.org").kind is Kind.WILDCARD
    assert find(example, "a.q.star.example.org").owner == name("*.star.example.org")
    assert find(example, "q.*.star.example.org").kind is Kind.ABSENT
    assert find(example, "a.*.star.example.org").kind is Kind.NODE


@pytest.mark.parametrize("qname", ["sub", "ns.sub", "any.thing.sub", "deep.sub", "x.deep.sub"])
def test_names_at_and_below_a_cut_are_the_topmost_cut(example: MasterZone, qname: str) -> None:
    found = find(example, f"{qname}.example.org")
    assert (found.kind, found.owner) == (Kind.CUT, name("sub.example.org"))
    assert RRType.NS in found.rrsets


def test_only_the_cut_itself_lasts_because_any_label_fits_below_it(example: MasterZone) -> None:
    assert find(example, "sub.example.org").lasting
    assert not find(example, "random.sub.example.org").lasting


def test_the_owner_of_a_dname_is_a_node_and_names_below_it_are_redirected(example: MasterZone) -> None:
    assert kind_and_owner(example, "alias.example.org") == (Kind.NODE, name("alias.example.org"))
    assert kind_and_owner(example, "x.y.alias.example.org") == (Kind.DNAME, name("alias.example.org"))
    assert not find(example, "x.alias.example.org").lasting


def test_a_dname_at_the_apex_redirects_all_below_it() -> None:
    redirected = zone("@ DNAME example.net.\n", head="@ 60 SOA ns.test. host.test. 1 2 3 4 5\n@ 60 NS ns.test.\n")
    assert find(redirected, "example.org").kind is Kind.NODE
    assert kind_and_owner(redirected, "x.example.org") == (Kind.DNAME, name("example.org"))


def test_a_cut_that_has_a_dname_too_is_a_cut() -> None:
    both = zone("sub NS ns.test.\nsub DNAME target\n")
    assert kind_and_owner(both, "sub.example.org") == (Kind.CUT, name("sub.example.org"))
    assert kind_and_owner(both, "x.sub.example.org") == (Kind.CUT, name("sub.example.org"))


def test_a_cut_below_a_wildcard_label_is_found_before_the_wildcard() -> None:
    where = zone("*.w A 192.0.2.9\ncut.w NS ns.test.\n")
    assert find(where, "x.cut.w.example.org").kind is Kind.CUT
    assert find(where, "x.other.w.example.org").kind is Kind.WILDCARD


def test_addresses_include_glue_below_a_cut(example: MasterZone) -> None:
    assert lines(example.addresses(name("ns.sub.example.org"))) == [
        "ns.sub.example.org. 3600 A 192.0.2.30",
        "ns.sub.example.org. 3600 AAAA 2001:db8::30",
    ]


@pytest.mark.parametrize("qname", ["nope.example.org", "c.example.org", "a.b.c.example.org"])
def test_a_name_without_addresses_gives_none(example: MasterZone, qname: str) -> None:
    assert example.addresses(name(qname)) == ()


def test_the_root_can_be_a_zone() -> None:
    root = zone("test A 192.0.2.2\n*.wild A 192.0.2.3\n", origin=".")
    assert root.apex == b"\0"
    assert find(root, ".").kind is Kind.NODE
    assert find(root, "test").kind is Kind.NODE
    assert find(root, "nope").kind is Kind.ABSENT
    assert find(root, "q.wild").kind is Kind.WILDCARD


def test_a_wildcard_below_the_apex_covers_the_whole_zone() -> None:
    assert find(zone("* A 192.0.2.5\n"), "a.b.c.example.org").owner == name("*.example.org")


def test_building_needs_a_soa() -> None:
    builder = MasterZoneBuilder(0)
    builder.add(RRset(name("www.example.org"), RRType.A, 60, (b"\xc0\0\2\1",)))
    with pytest.raises(ValueError, match="SOA"):
        builder.build()


def test_records_may_come_in_any_order_with_the_soa_last(example: MasterZone) -> None:
    builder = MasterZoneBuilder(7)
    builder.add(RRset(name("example.org"), RRType.NS, 60, (name("ns.test"),)))
    builder.add(RRset(name("x.example.org"), RRType.A, 60, (b"\xc0\0\2\1",)))
    builder.add(RRset(from_text("Example.ORG"), RRType.SOA, 60, example.soa.rdatas))
    built = builder.build()
    assert built.apex == name("example.org")
    assert built.find(name("example.org")).kind is Kind.NODE
    assert built.find(name("x.example.org")).kind is Kind.NODE


def test_an_rrset_takes_the_place_of_an_earlier_one_of_its_owner_and_type(example: MasterZone) -> None:
    builder = MasterZoneBuilder(0)
    for address in (b"\xc0\0\2\1", b"\xc0\0\2\2"):
        builder.add(RRset(name("x.example.org"), RRType.A, 60, (address,)))
    builder.add(example.soa)
    assert builder.build().find(name("x.example.org")).rrsets[RRType.A].rdatas == (b"\xc0\0\2\2",)


def test_what_is_added_after_build_does_not_reach_the_zone_that_was_built(example: MasterZone) -> None:
    builder = MasterZoneBuilder(0)
    builder.add(example.soa)
    built = builder.build()
    builder.add(RRset(name("late.example.org"), RRType.A, 60, (b"\xc0\0\2\1",)))
    assert built.find(name("late.example.org")).kind is Kind.ABSENT
    with pytest.raises(ValueError, match="SOA"):
        builder.build()


def test_an_empty_name_becomes_a_node_when_its_records_come_after_those_below() -> None:
    where = zone("a.b A 192.0.2.1\nb A 192.0.2.2\n")
    assert find(where, "b.example.org").kind is Kind.NODE
    assert find(where, "a.b.example.org").kind is Kind.NODE


# Denials told before a query is parsed

PLAIN = "www A 192.0.2.10\na.b A 192.0.2.11\n*.wild A 192.0.2.12\n"


@pytest.mark.parametrize("qname", ["nope", "x.www", "x.b", "y.x.nope", "x.*.wild"])
def test_a_name_that_nothing_speaks_for_is_denied_with_the_negative_ttl(qname: str) -> None:
    where = zone(PLAIN)
    assert find(where, f"{qname}.example.org").kind is Kind.ABSENT
    assert where.denies(name(f"{qname}.example.org")) == 300


@pytest.mark.parametrize("qname", ["example.org", "www.example.org", "b.example.org", "q.wild.example.org"])
def test_a_name_that_exists_or_that_a_wildcard_covers_is_not_denied(qname: str) -> None:
    assert zone(PLAIN).denies(name(qname)) is None


@pytest.mark.parametrize("boundary", ["sub NS ns.example.net.", "old DNAME new"])
def test_a_zone_with_delegations_or_redirections_leaves_denying_to_find(boundary: str) -> None:
    assert zone(boundary + "\n").denies(name("nope.example.org")) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"\x0bfoo\x07example\x03org\0",  # one label that ends in the octets of the apex's first one
        b"\x0ffoo\x07example\x03org\0",  # cut short
        b"\xc0foo\x07example\x03org\0",  # a pointer
        b"\x00\x07example\x03org\0",
        (b"\x3f" + b"x" * 63) * 4 + b"\x07example\x03org\0",  # too long
    ],
)
def test_octets_that_only_end_like_the_apex_are_not_denied(octets: bytes) -> None:
    assert zone(PLAIN).denies(octets) is None
    assert zone("* A 192.0.2.1\n").denies(octets) is None
