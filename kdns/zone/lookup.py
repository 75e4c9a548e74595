"""Answer one question from our zones (RFC 1034 section 4.3.2, as changed by RFC 2308, 4592, 6604, 6672, 8482).

In: zones and a question, its name folded. Out: a `Lookup`. No IO, no clock, no bytes of messages.
Rules: every kind of `Found` has one step, which either answers or names where an alias leads (`leads_to`). Additional
addresses that nobody knows yet are left out. Not here: following an alias, which may lead anywhere
(kdns.zone.aliases), what stands at a name (`Zone.find`), truncation and name compression (kdns.wire.builder).

Where servers differ: positive answers carry no NS rrset in the authority section (Knot's way; NSD adds it), and no
glue stands beside MX or SRV, being no data of ours (NSD's way; Knot adds it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import MAX_NAME_OCTETS, ROOT, is_subdomain, parent
from kdns.wire.rdata import TARGET_AT, name_at
from kdns.zone.model import Denial, Dependency, Found, Kind, Lookup, Zone
from kdns.zone.rrset import RRset

__all__ = ["MAX_ADDITIONAL_TARGETS", "hinfo", "lookup"]

ZoneOf = Callable[[bytes, int], Zone | None]

# Targets whose addresses are looked up for the additional section. A SRV record and an address take 70 octets and
# more, so beside a longer answer they would not fit even into the 65,535 octets of TCP.
MAX_ADDITIONAL_TARGETS = 1000

# The answer to ANY at a name that owns records (RFC 8482 section 4.2): HINFO "RFC8482" "". Its TTL is the one the
# RFC's authors run with: long, since it says nothing that could change.
_ANY_RDATA = b"\x07RFC8482\x00"
_ANY_TTL = 3789

_ADDRESS_TYPES = (RRType.A, RRType.AAAA)
_CHAIN_ENDS = frozenset((RRType.CNAME, RRType.ANY))  # qtypes that a CNAME itself answers


def lookup(zone: Zone, zone_of: ZoneOf, qname: bytes, qtype: int) -> Lookup:
    """Answer a question.

    zone: the deepest of our zones that holds `qname`.
    zone_of: gives that zone for any folded name and a type to be found there, None if the name is not ours.
    qname: folded. All owners in the answer that stem from it are folded too.
    An alias is not followed, see `leads_to`.
    """
    return _Walk(zone_of, qtype).run(zone, qname)


def _parent_side(zone: Zone, zone_of: ZoneOf) -> Zone:
    """Who answers DS for this zone's apex: the parent, if it is ours and delegates it (RFC 4035 section 3.1.4.1)."""
    above = zone_of(parent(zone.apex), RRType.DS) if zone.apex != ROOT else None
    if above is None:
        return zone
    found = above.find(zone.apex)
    return above if found.kind is Kind.CUT and found.owner == zone.apex else zone


def hinfo(name: bytes) -> RRset:
    """The HINFO rrset that answers ANY (RFC 8482 section 4.2)."""
    return RRset(name, RRType.HINFO, _ANY_TTL, (_ANY_RDATA,))


class _Walk:
    """One question, and what it has gathered so far. Dies with its answer."""

    __slots__ = ("_answer", "_depends", "_lasting", "_qtype", "_zone_of")

    def __init__(self, zone_of: ZoneOf, qtype: int) -> None:
        self._zone_of = zone_of
        self._qtype = qtype
        self._answer: list[RRset] = []
        self._depends: dict[Dependency, None] = {}  # ordered set
        self._lasting = True

    def run(self, zone: Zone, qname: bytes) -> Lookup:
        if self._qtype == RRType.DS and qname == zone.apex:
            zone = _parent_side(zone, self._zone_of)
        found = self._find(zone, qname)
        outcome = _STEPS[found.kind](self, zone, qname, found)
        return outcome if isinstance(outcome, Lookup) else self._done(note=found.note, leads_to=outcome)

    def at_node(self, zone: Zone, name: bytes, found: Found) -> Lookup | bytes:
        """Step 3a, and 3c for a wildcard: the records of the name, or the alias that it is."""
        qtype = self._qtype
        rrset = zone.soa if qtype == RRType.SOA and name == zone.apex else found.rrsets.get(qtype)
        if rrset is None:
            return self._without_type(zone, name, found)
        rrset = _owned_by(name, rrset, found)
        self._answer.append(rrset)
        additional = self._additional(rrset, glue=qtype == RRType.NS) if qtype in TARGET_AT else ()
        return self._done(additional=additional, note=found.note)

    def _without_type(self, zone: Zone, name: bytes, found: Found) -> Lookup | bytes:
        alias = found.rrsets.get(RRType.CNAME)
        if alias is not None:
            self._answer.append(_owned_by(name, alias, found))
            return self._done(note=found.note) if self._qtype in _CHAIN_ENDS else alias.rdatas[0].lower()
        if self._qtype == RRType.ANY and found.rrsets:
            self._answer.append(_any_rrset(name, found))
            return self._done(note=found.note)
        return self.deny(zone, name, found)

    def deny(self, zone: Zone, name: bytes, found: Found) -> Lookup:
        """NXDOMAIN or NODATA; the SOA goes with either (RFC 2308 section 3)."""
        rcode = Rcode.NXDOMAIN if found.kind is Kind.ABSENT else Rcode.NOERROR
        ttl = zone.negative_ttl if found.negative_ttl is None else found.negative_ttl
        return self._done(rcode, denial=Denial(zone, ttl), note=found.note)

    def refer(self, zone: Zone, name: bytes, found: Found) -> Lookup | bytes:
        """Step 3b: the NS rrset of the cut; but its DS is ours to answer (RFC 4035 section 3.1.4.1)."""
        if self._qtype == RRType.DS and name == found.owner:
            return self._at_parent_side(zone, name, found)
        servers = found.rrsets[RRType.NS]
        additional = self._additional(servers, glue=True)
        in_domain = [rrset for rrset in additional if is_subdomain(rrset.owner.lower(), found.owner)]
        siblings = [rrset for rrset in additional if not is_subdomain(rrset.owner.lower(), found.owner)]
        return self._done(
            authority=(servers,),
            # In-domain glue first: it is what a resolver cannot do without.
            additional=(*in_domain, *siblings),
            # "AA ... corresponds to the name which matches the query name, or the first owner name in the answer
            # section" (RFC 1035 section 4.1.1): a chain that ends in a referral began in our data.
            authoritative=bool(self._answer),
            glue=bool(in_domain),
            note=found.note,
        )

    def withhold(self, zone: Zone, name: bytes, found: Found) -> Lookup:
        """Nothing is said of a name that is not known yet, nor of the aliases that lead there."""
        return Lookup(Rcode.SERVFAIL, authoritative=False, lasting=False, note=found.note)

    def _at_parent_side(self, zone: Zone, name: bytes, found: Found) -> Lookup:
        rrset = found.rrsets.get(RRType.DS)
        if rrset is None:
            return self.deny(zone, name, found)
        self._answer.append(rrset)
        return self._done(note=found.note)

    def redirect(self, zone: Zone, name: bytes, found: Found) -> Lookup | bytes:
        """A name below a DNAME: synthesize its CNAME, of the same TTL (RFC 6672 section 3.1)."""
        rrset = found.rrsets[RRType.DNAME]
        if rrset not in self._answer:
            self._answer.append(rrset)
        target = name[: -len(found.owner)] + rrset.rdatas[0]
        if len(target) > MAX_NAME_OCTETS:
            return self._done(Rcode.YXDOMAIN, note=found.note)
        self._answer.append(RRset(name, RRType.CNAME, rrset.ttl, (target,)))
        return self._done(note=found.note) if self._qtype == RRType.CNAME else target.lower()

    def _find(self, zone: Zone, name: bytes) -> Found:
        found = zone.find(name)
        self._depends[found.depends] = None
        # Additional data counts too: what was computed from its name announces no change.
        self._lasting = self._lasting and found.lasting
        return found

    def _additional(self, rrset: RRset, glue: bool) -> tuple[RRset, ...]:
        """Addresses of the hosts that an rrset names, where they are ours (RFC 1035 section 3.3, RFC 2782)."""
        at = TARGET_AT[rrset.rrtype]
        targets = dict.fromkeys(name_at(rdata, at).lower() for rdata in rrset.rdatas[:MAX_ADDITIONAL_TARGETS])
        # The root as a target says "none" or "the owner itself" (RFC 2782, 7505, 9460 section 2.5).
        targets.pop(ROOT, None)
        return tuple(found for target in targets for found in self._addresses(target, glue))

    def _addresses(self, name: bytes, glue: bool) -> Iterator[RRset]:
        zone = self._zone_of(name, RRType.A)
        if zone is None:
            return
        found = self._find(zone, name)
        if found.kind is Kind.CUT:
            yield from zone.addresses(name) if glue else ()
        elif found.kind is Kind.NODE or found.kind is Kind.WILDCARD:
            for rrtype in _ADDRESS_TYPES:
                if (rrset := found.rrsets.get(rrtype)) is not None:
                    yield _owned_by(name, rrset, found)

    def _done(
        self,
        rcode: int = Rcode.NOERROR,
        authority: tuple[RRset, ...] = (),
        additional: tuple[RRset, ...] = (),
        denial: Denial | None = None,
        authoritative: bool = True,
        glue: bool = False,
        note: str = "",
        leads_to: bytes = b"",
    ) -> Lookup:
        answer, depends, lasting = tuple(self._answer), tuple(self._depends), self._lasting
        return Lookup(
            rcode, answer, authority, additional, denial, authoritative, glue, depends, lasting, note, leads_to
        )


_Step = Callable[[_Walk, Zone, bytes, Found], Lookup | bytes]
_STEPS: dict[Kind, _Step] = {
    Kind.NODE: _Walk.at_node,
    Kind.WILDCARD: _Walk.at_node,
    Kind.EMPTY: _Walk.deny,
    Kind.ABSENT: _Walk.deny,
    Kind.CUT: _Walk.refer,
    Kind.DNAME: _Walk.redirect,
    Kind.UNKNOWN: _Walk.withhold,
}


def _owned_by(name: bytes, rrset: RRset, found: Found) -> RRset:
    """The rrset as this name's own: a wildcard's records take the name asked for (RFC 4592 section 2.1.1)."""
    return RRset(name, rrset.rrtype, rrset.ttl, rrset.rdatas) if found.kind is Kind.WILDCARD else rrset


def _any_rrset(name: bytes, found: Found) -> RRset:
    """What ANY gets: the HINFO of the name if it has one, else RFC 8482's."""
    own = found.rrsets.get(RRType.HINFO)
    return _owned_by(name, own, found) if own else hinfo(name)
