"""What is odd in a zone that can be served: names that lead nowhere, records that are never answered.

In: the zone and its records. Out: warnings with file and line. What makes a zone unusable kdns.zone.assemble has
refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kdns.wire.iana import RRType, type_text
from kdns.wire.name import ROOT, is_subdomain, to_text
from kdns.wire.rdata import TARGET_AT, name_at
from kdns.zone.masterzone import MasterZone
from kdns.zone.model import Found, Kind
from kdns.zone.record import Problem, Record

_DS, _RRSIG, _NSEC = 43, 46, 47
_ADDRESS_TYPES = frozenset((RRType.A, RRType.AAAA))
_AT_CUT = frozenset((RRType.NS, _DS, _RRSIG, _NSEC))  # what the parent side of a cut may own (RFC 4035 section 2)
_HOST_TARGETS = frozenset((RRType.NS, RRType.MX, RRType.SRV))  # whose target must own addresses itself
_ODD_AT_WILDCARD = frozenset((RRType.NS, RRType.DNAME))
_WILDCARD = b"\x01*"


def check(zone: MasterZone, records: Iterable[Record]) -> Iterator[Problem]:
    """Yield a warning for each record that will not do what it seems to say."""
    records = tuple(records)
    glue = frozenset(_target(record) for record in records if record.rrtype == RRType.NS)
    for record in records:
        owner = record.owner.lower()
        message = _hidden(zone, record, owner, glue) or _leads_nowhere(zone, record, owner) or _odd_wildcard(record)
        if message:
            yield Problem(record.path, record.line, message, str(record))


def _hidden(zone: MasterZone, record: Record, owner: bytes, glue: frozenset[bytes]) -> str:
    """Data at or below a cut is the child's, but for the cut itself and for glue (RFC 1034 section 4.2.1)."""
    found = zone.find(owner)
    if found.kind is not Kind.CUT or (owner == found.owner and record.rrtype in _AT_CUT):
        return ""
    if record.rrtype in _ADDRESS_TYPES and owner in glue:
        return ""
    return f"never answered: it stands at or below the delegation of {to_text(found.owner)} and is no glue"


def _leads_nowhere(zone: MasterZone, record: Record, owner: bytes) -> str:
    """A target within the zone must exist and own an address, in its own name (RFC 2181 section 10.3, RFC 2782)."""
    if record.rrtype not in _HOST_TARGETS:
        return ""
    target = _target(record)
    if target == ROOT or not is_subdomain(target, zone.apex):
        return ""
    fault = _fault_of_target(zone, zone.find(target), owner, target)
    return f"{type_text(record.rrtype)} target {to_text(target)} {fault}" if fault else ""


def _fault_of_target(zone: MasterZone, found: Found, owner: bytes, target: bytes) -> str:
    if found.kind is Kind.CUT:
        missing = found.owner == owner and not zone.addresses(target)
        return "is below its own delegation and has no glue" if missing else ""
    if found.kind is Kind.ABSENT:
        return "does not exist"
    if found.kind is Kind.DNAME or RRType.CNAME in found.rrsets:
        return "is an alias"
    return "" if _ADDRESS_TYPES.intersection(found.rrsets) else "has no address"


def _odd_wildcard(record: Record) -> str:
    """RFC 4592 sections 4.2 and 4.4 leave open what these mean; here they answer only queries for their own type."""
    if record.rrtype in _ODD_AT_WILDCARD and record.owner.startswith(_WILDCARD):
        return f"{type_text(record.rrtype)} at a wildcard neither delegates nor redirects"
    return ""


def _target(record: Record) -> bytes:
    return name_at(record.rdata, TARGET_AT[record.rrtype]).lower()
