"""Zones from text and lookups as text, so that tests read like zone files. dnspython turns rdata into text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from kdns.wire.name import ROOT, from_text, parent, to_text
from kdns.zone.aliases import is_followed, joined
from kdns.zone.lookup import ZoneOf, lookup
from kdns.zone.masterfile import read
from kdns.zone.masterzone import MasterZone, MasterZoneBuilder
from kdns.zone.model import Lookup, Zone
from kdns.zone.rrset import RRset

HEAD = """\
$TTL 3600
@ IN SOA ns hostmaster 7 3600 600 86400 300
@ NS ns
ns A 192.0.2.1
"""


def name(text: str) -> bytes:
    """A folded wire name."""
    return from_text(text).lower()


def build(rrsets: Iterable[RRset], source: int = 0) -> MasterZone:
    builder = MasterZoneBuilder(source)
    for rrset in rrsets:
        builder.add(rrset)
    return builder.build()


def zone(text: str, origin: str = "example.org", source: int = 0, head: str = HEAD) -> MasterZone:
    """A zone of these records, below a usual head."""
    return build(read(head + text, from_text(origin), "test.zone", None).rrsets, source)


def zone_of(*zones: Zone) -> ZoneOf:
    """The deepest of these zones that holds a name."""
    by_apex = {zone.apex: zone for zone in zones}

    def deepest(qname: bytes, _: int) -> Zone | None:
        while qname not in by_apex:
            if qname == ROOT:
                return None
            qname = parent(qname)
        return by_apex[qname]

    return deepest


@dataclass(frozen=True)
class Shown:
    """A lookup as text; `denial` is "apex ttl" of the SOA, "" for none."""

    rcode: str
    answer: list[str]
    authority: list[str]
    additional: list[str]
    denial: str
    aa: bool
    raw: Lookup


def ask(zones: Zone | tuple[Zone, ...], qname: str, qtype: str) -> Shown:
    """Look a question up in these zones."""
    known = zone_of(*zones) if isinstance(zones, tuple) else zone_of(zones)
    folded = name(qname)
    rrtype = int(dns.rdatatype.from_text(qtype))
    start = known(folded, rrtype)
    assert start is not None, f"{qname} is in none of the zones"
    return show(chased(start, known, folded, rrtype))


def chased(zone: Zone, known: ZoneOf, qname: bytes, qtype: int) -> Lookup:
    """The answer to a question, its aliases followed to wherever there is a zone."""
    names = (qname,)
    found = lookup(zone, known, qname, qtype)
    while target := found.leads_to:
        if not is_followed(target, names):
            return found._replace(leads_to=b"")
        end = known(target, qtype)
        if end is None:
            break
        names = (*names, target)
        found = joined(found, lookup(end, known, target, qtype))
    return found


def show(found: Lookup) -> Shown:
    denial = f"{to_text(found.denial.zone.apex)} {found.denial.ttl}" if found.denial else ""
    return Shown(
        dns.rcode.to_text(dns.rcode.Rcode.make(found.rcode)),
        lines(found.answer),
        lines(found.authority),
        lines(found.additional),
        denial,
        found.authoritative,
        found,
    )


def lines(rrsets: Iterable[RRset]) -> list[str]:
    """`owner ttl type rdata`, one for each record."""
    return [
        f"{to_text(rrset.owner)} {rrset.ttl} {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rrset.rrtype))} "
        f"{rdata_text(rrset.rrtype, rdata)}"
        for rrset in rrsets
        for rdata in rrset.rdatas
    ]


def rdata_text(rrtype: int, rdata: bytes) -> str:
    known = dns.rdatatype.RdataType.make(rrtype)
    return dns.rdata.from_wire(dns.rdataclass.IN, known, rdata, 0, len(rdata)).to_text()
