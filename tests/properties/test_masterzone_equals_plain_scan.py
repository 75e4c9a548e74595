"""Find and lookup equal a reference that scans all records for every step, written from the RFCs' text.

The reference knows no tree, no dictionary and no wire form: a zone is a list of (owner, type, value), a name a tuple
of labels. RFC 1034 section 4.3.2, RFC 4592 section 3.3, RFC 6672 section 3.2, RFC 2308 section 2.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import join, labels
from kdns.zone.aliases import MAX_ALIASES
from kdns.zone.masterzone import MasterZone, MasterZoneBuilder
from kdns.zone.model import Found, Kind, Lookup
from kdns.zone.rrset import RRset
from tests.support.zonetext import chased, zone_of

Name = tuple[str, ...]
APEX: Name = ("z",)
OUTSIDE: Name = ("x", "elsewhere")
DS = 43
TTL = 60


class Rr(NamedTuple):
    owner: Name
    rrtype: int
    value: Name | bytes  # a name for types that hold one, else rdata


SOA = Rr(APEX, RRType.SOA, bytes(2) + (1).to_bytes(4, "big") + bytes(12) + (30).to_bytes(4, "big"))
APEX_NS = Rr(APEX, RRType.NS, ("a", "z"))


# The reference

def is_at_or_below(name: Name, ancestor: Name) -> bool:
    return len(name) >= len(ancestor) and name[len(name) - len(ancestor) :] == ancestor


class Plain:
    """A zone as its records; every question reads them all."""

    def __init__(self, records: list[Rr]) -> None:
        self.records = records

    def at(self, owner: Name, rrtype: int) -> list[Name | bytes]:
        return [record.value for record in self.records if (record.owner, record.rrtype) == (owner, rrtype)]

    def owns_anything(self, owner: Name) -> bool:
        return any(record.owner == owner for record in self.records)

    def exists(self, name: Name) -> bool:
        """ "A domain name exists if it or a domain name below it owns records" (RFC 4592 section 2.2.3)."""
        return any(is_at_or_below(record.owner, name) for record in self.records)

    def closest_encloser(self, name: Name) -> Name:
        while not self.exists(name):
            name = name[1:]
        return name

    def boundary(self, name: Name) -> tuple[Kind, Name] | None:
        """The first cut or DNAME met on the way down from the apex, matching label by label."""
        for depth in range(len(APEX), len(name) + 1):
            node = name[len(name) - depth :]
            if depth > len(APEX) and self.at(node, RRType.NS):
                return Kind.CUT, node
            if node != name and self.at(node, RRType.DNAME):
                return Kind.DNAME, node
        return None

    def find(self, name: Name) -> tuple[Kind, Name]:
        if boundary := self.boundary(name):
            return boundary
        if self.owns_anything(name):
            return Kind.NODE, name
        if self.exists(name):
            return Kind.EMPTY, name
        source = ("*", *self.closest_encloser(name))
        return (Kind.WILDCARD, source) if self.exists(source) else (Kind.ABSENT, name)


class Expected(NamedTuple):
    rcode: int
    answer: list[tuple[Name, int, list[Name | bytes]]]
    referral: Name | None = None
    denied: bool = False


def too_long(name: Name) -> bool:
    return sum(len(label) + 1 for label in name) + 1 > 255


def answer(zone: Plain, qname: Name, qtype: int) -> Expected:
    """RFC 1034 section 4.3.2, with the aliases of one answer counted and remembered."""
    chain: list[tuple[Name, int, list[Name | bytes]]] = []
    seen = [qname]
    name = qname
    while True:
        kind, owner = zone.find(name)
        target = None
        if kind is Kind.CUT:
            if not (qtype == DS and name == owner):
                return Expected(Rcode.NOERROR, chain, referral=owner)
            found = zone.at(owner, DS)
            return Expected(Rcode.NOERROR, [*chain, (name, DS, found)] if found else chain, denied=not found)
        if kind is Kind.DNAME:
            redirection = (owner, int(RRType.DNAME), zone.at(owner, RRType.DNAME))
            chain += [redirection] if redirection not in chain else []
            (value,) = redirection[2]
            assert isinstance(value, tuple)
            target = name[: len(name) - len(owner)] + value
            if too_long(target):
                return Expected(Rcode.YXDOMAIN, chain)
            chain.append((name, RRType.CNAME, [target]))
            if qtype == RRType.CNAME:
                return Expected(Rcode.NOERROR, chain)
        elif kind is Kind.ABSENT:
            return Expected(Rcode.NXDOMAIN, chain, denied=True)
        elif found := zone.at(owner, qtype):
            return Expected(Rcode.NOERROR, [*chain, (name, qtype, found)])
        elif alias := zone.at(owner, RRType.CNAME):
            assert isinstance(alias[0], tuple)
            target = alias[0]
            chain.append((name, RRType.CNAME, alias))
            if qtype == RRType.ANY:
                return Expected(Rcode.NOERROR, chain)
        elif qtype == RRType.ANY and zone.owns_anything(owner):
            return Expected(Rcode.NOERROR, [*chain, (name, RRType.HINFO, [b"\x07RFC8482\x00"])])
        else:
            return Expected(Rcode.NOERROR, chain, denied=True)
        if target in seen or len(seen) > MAX_ALIASES or not is_at_or_below(target, APEX):
            return Expected(Rcode.NOERROR, chain)
        seen.append(target)
        name = target


# The same zone as rrsets

def wire(name: Name) -> bytes:
    return join([label.encode() for label in name])


def rdata(value: Name | bytes) -> bytes:
    return wire(value) if isinstance(value, tuple) else value


def built(records: list[Rr]) -> MasterZone:
    rrsets: dict[tuple[Name, int], list[bytes]] = {}
    for record in records:
        rrsets.setdefault((record.owner, record.rrtype), []).append(rdata(record.value))
    builder = MasterZoneBuilder(0)
    for (owner, rrtype), rdatas in rrsets.items():
        builder.add(RRset(wire(owner), rrtype, TTL, tuple(rdatas)))
    return builder.build()


# Zones from few labels, so that names meet

label = st.sampled_from(["a", "b", "*"])
inside = st.lists(label, max_size=3).map(lambda found: (*found, *APEX))
target = st.one_of(inside, inside, st.just(OUTSIDE))
record = st.one_of(
    st.builds(Rr, inside, st.just(int(RRType.A)), st.sampled_from([b"\1\1\1\1", b"\2\2\2\2"])),
    st.builds(Rr, inside, st.just(int(RRType.TXT)), st.just(b"\1x")),
    st.builds(Rr, inside, st.just(int(RRType.CNAME)), target),
    st.builds(Rr, inside, st.just(int(RRType.NS)), target),
    st.builds(Rr, inside, st.just(int(RRType.DNAME)), target),
    st.builds(Rr, inside, st.just(DS), st.just(b"\0\1\2\3")),
)
qtypes = st.sampled_from((RRType.A, RRType.TXT, RRType.CNAME, RRType.NS, RRType.DNAME, RRType.ANY, DS)).map(int)


def allowed(records: list[Rr]) -> list[Rr]:
    """Drop what no zone may hold: a CNAME beside others, second CNAMEs and DNAMEs, data below a DNAME."""
    kept: list[Rr] = [SOA, APEX_NS]
    for new in dict.fromkeys(records):
        here = [old for old in kept if old.owner == new.owner]
        if (new.rrtype == RRType.CNAME and here) or any(old.rrtype == RRType.CNAME for old in here):
            continue
        if new.rrtype == RRType.DNAME and any(old.rrtype == RRType.DNAME for old in here):
            continue
        kept.append(new)
    redirected = [old.owner for old in kept if old.rrtype == RRType.DNAME]
    return [old for old in kept if not any(old.owner != top and is_at_or_below(old.owner, top) for top in redirected)]


zones = st.lists(record, max_size=14).map(allowed)


def as_names(rrset: RRset) -> tuple[bytes, int, list[bytes]]:
    return rrset.owner, rrset.rrtype, sorted(rrset.rdatas)


@settings(max_examples=400)
@given(zones, st.lists(inside, min_size=1, max_size=8))
def test_find_equals_the_plain_scan(records: list[Rr], qnames: list[Name]) -> None:
    plain, zone = Plain(records), built(records)
    for qname in qnames:
        found: Found = zone.find(wire(qname))
        kind, owner = plain.find(qname)
        assert (found.kind, found.owner) == (kind, wire(owner))
        owned = {r.rrtype for r in records if r.owner == owner} if kind is not Kind.ABSENT else set()
        assert set(found.rrsets) == owned


@settings(max_examples=200)
@given(zones, st.lists(inside, min_size=1, max_size=8))
def test_what_is_denied_early_is_what_find_calls_absent(records: list[Rr], qnames: list[Name]) -> None:
    zone = built(records)
    for qname in qnames:
        ttl = zone.denies(wire(qname))
        absent = zone.find(wire(qname)).kind is Kind.ABSENT
        assert ttl in ((zone.negative_ttl, None) if absent else (None,))


@settings(max_examples=600)
@given(zones, st.lists(st.tuples(inside, qtypes), min_size=1, max_size=8))
def test_lookup_equals_the_plain_scan(records: list[Rr], questions: list[tuple[Name, int]]) -> None:
    plain, zone = Plain(records), built(records)
    for qname, qtype in questions:
        found: Lookup = chased(zone, zone_of(zone), wire(qname), qtype)
        expected = answer(plain, qname, qtype)
        assert found.rcode == expected.rcode
        assert [as_names(rrset) for rrset in found.answer] == [
            (wire(owner), rrtype, sorted(map(rdata, values))) for owner, rrtype, values in expected.answer
        ]
        assert (found.denial is not None) == expected.denied
        assert [rrset.owner for rrset in found.authority] == ([wire(expected.referral)] if expected.referral else [])
        assert found.authoritative == (expected.referral is None or bool(expected.answer))


@given(zones, st.lists(st.tuples(inside, qtypes), min_size=1, max_size=5))
def test_every_lookup_ends_and_says_what_it_was_made_of(records: list[Rr], questions: list[tuple[Name, int]]) -> None:
    zone = built(records)
    for qname, qtype in questions:
        found = chased(zone, zone_of(zone), wire(qname), qtype)
        assert found.depends == ((0, b""),)
        assert len(found.answer) <= 2 * (MAX_ALIASES + 1) + 1
        assert all(labels(rrset.owner)[-1] == b"z" for rrset in (*found.answer, *found.authority, *found.additional))
        if found.glue:
            assert found.additional


@given(zones, st.lists(inside, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_records_changes_no_finding(records: list[Rr], qnames: list[Name], rng: random.Random) -> None:
    shuffled = rng.sample(records, len(records))
    one, other = built(records), built(shuffled)
    for qname in qnames:
        left, right = one.find(wire(qname)), other.find(wire(qname))
        assert left[:1] + left[2:] == right[:1] + right[2:]
        assert set(left.rrsets) == set(right.rrsets)
