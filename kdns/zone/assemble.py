"""Records to rrsets: what must hold for a zone to be one (RFC 1034 section 3.6.2, 1035 section 5.2, 2181, 6672).

In: records in the order of the file. Out: the apex and its rrsets, or the ZoneFileError that names the first record
at fault. Not here: what is merely odd (kdns.zone.check).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdns.wire.iana import RRType, type_text
from kdns.wire.name import is_subdomain, suffixes, to_text
from kdns.zone.record import Problem, Record, ZoneFileError
from kdns.zone.rrset import RRset

# Types of which a name owns one record at most, and why.
_SINGLE: dict[int, str] = {
    RRType.SOA: "a zone has one SOA record (RFC 1035 section 5.2)",
    RRType.CNAME: "a name has one CNAME record (RFC 2181 section 10.1)",
    RRType.DNAME: "a name has one DNAME record (RFC 6672 section 2.4)",
}
_RRSIG, _NSEC = 46, 47  # may stand beside a CNAME (RFC 4034 sections 3 and 4)
_BESIDE_CNAME = frozenset((RRType.CNAME, _RRSIG, _NSEC))


class _Set:
    """An rrset that is being collected; `records` by canonical rdata, in the order of the file."""

    __slots__ = ("records", "ttl")

    def __init__(self, first: Record) -> None:
        self.records = {first.canonical: first}
        self.ttl = first.ttl

    @property
    def first(self) -> Record:
        return next(iter(self.records.values()))

    def rrset(self) -> RRset:
        first = self.first
        return RRset(first.owner, first.rrtype, self.ttl, tuple(record.rdata for record in self.records.values()))


class Assembly:
    """A zone that is being put together from records; `apex` is folded."""

    def __init__(self, apex: bytes) -> None:
        self.apex = apex
        self.warnings: list[Problem] = []
        self._nodes: dict[bytes, dict[int, _Set]] = {}

    def add(self, record: Record) -> None:
        """Add a record. Raises ZoneFileError if it cannot stand in this zone, or not beside those before it."""
        owner = record.owner.lower()
        node = self._nodes.get(owner)
        if node is None:
            node = self._new_node(owner, record)
        present = node.get(record.rrtype)
        if present is None:
            self._check_company(node, record)
            node[record.rrtype] = _Set(record)
        elif record.canonical in present.records:
            self._lower_ttl(present, record)
            self._warn_duplicate(present.records[record.canonical], record)
        else:
            self._extend(present, record)

    def rrsets(self) -> Iterator[RRset]:
        """All rrsets, by owner in the order of the file."""
        return (found.rrset() for node in self._nodes.values() for found in node.values())

    def records(self) -> Iterator[Record]:
        """All records without duplicates, by rrset."""
        for node in self._nodes.values():
            for found in node.values():
                yield from found.records.values()

    def finish(self, soa: Record) -> None:
        """What only the whole shows. Raises ZoneFileError."""
        if RRType.NS not in self._nodes[self.apex]:
            raise _error(soa, f"no NS record at {to_text(self.apex)}: a zone needs one")
        redirected = {owner for owner, node in self._nodes.items() if RRType.DNAME in node}
        if redirected:
            self._check_below(redirected)

    def _new_node(self, owner: bytes, record: Record) -> dict[int, _Set]:
        if not is_subdomain(owner, self.apex):
            raise _error(record, f"out-of-zone data: not at or below {to_text(self.apex)}")
        return self._nodes.setdefault(owner, {})

    def _check_company(self, node: dict[int, _Set], record: Record) -> None:
        if record.rrtype == RRType.SOA and record.owner.lower() != self.apex:
            raise _error(record, f"SOA record below the apex {to_text(self.apex)}")
        if record.rrtype == RRType.CNAME:
            others = [found for rrtype, found in node.items() if rrtype not in _BESIDE_CNAME]
            if others:
                first = others[0].first
                raise _error(record, f"CNAME beside other data: {type_text(first.rrtype)} at {first.where}")
        elif RRType.CNAME in node and record.rrtype not in _BESIDE_CNAME:
            raise _error(record, f"{type_text(record.rrtype)} beside a CNAME at {node[RRType.CNAME].first.where}")

    def _extend(self, present: _Set, record: Record) -> None:
        if record.rrtype in _SINGLE:
            raise _error(record, f"{_SINGLE[record.rrtype]}, the first is at {present.first.where}")
        self._lower_ttl(present, record)
        present.records[record.canonical] = record

    def _lower_ttl(self, present: _Set, record: Record) -> None:
        """ "... all TTLs in the RRset had been set to the TTL of the RR with the lowest" (RFC 2181 section 5.2)."""
        lowest = min(present.ttl, record.ttl)
        if record.ttl != present.ttl and record.rrtype != _RRSIG:  # RRSIGs have the TTLs of what they cover
            message = f"TTL {record.ttl} differs from {present.ttl} at {present.first.where}: the rrset gets {lowest}"
            self.warnings.append(Problem(record.path, record.line, message, str(record)))
        present.ttl = lowest

    def _warn_duplicate(self, earlier: Record, record: Record) -> None:
        if record.rrtype == RRType.SOA:  # what `dig axfr` prints ends in the SOA once more
            return
        message = f"the same record stands at {earlier.where}"
        self.warnings.append(Problem(record.path, record.line, message, str(record)))

    def _check_below(self, redirected: set[bytes]) -> None:
        """"There MUST be no resource records at any subdomain of the owner of a DNAME" (RFC 6672 section 2.4)."""
        for owner, node in self._nodes.items():
            above = redirected.intersection(suffixes(owner)[1:])
            if above:
                record = next(iter(node.values())).first
                raise _error(record, f"data below the DNAME at {to_text(above.pop())}: it would never be answered")


def assemble(records: Sequence[Record], origin: bytes | None, path: str) -> Assembly:
    """Put the zone together; its apex is `origin`, or the owner of the first SOA if that is None."""
    soas = [record for record in records if record.rrtype == RRType.SOA]
    if not soas:
        raise ZoneFileError(path, 1, f"no SOA record{f' at {to_text(origin)}' if origin else ''}: a zone needs one")
    assembly = Assembly((soas[0].owner if origin is None else origin).lower())
    for record in records:
        assembly.add(record)
    assembly.finish(soas[0])
    return assembly


def _error(record: Record, message: str) -> ZoneFileError:
    return ZoneFileError(record.path, record.line, message, str(record))
