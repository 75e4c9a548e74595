"""A zone made of rrsets: what a zone file gives (RFC 1034 section 4.2, RFC 4592, RFC 6672).

A `MasterZoneBuilder` takes rrsets one at a time, so that whoever feeds it can stop between two queries; it keeps the
tree whole as it goes, and `build` only hands it over. A `MasterZone` never changes.
Not here: reading files (kdns.zone.masterfile), what is answered (kdns.zone.lookup). Nothing is checked here either:
what a file must not hold (two CNAMEs, no SOA at the apex) kdns.zone.assemble has refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from kdns.wire.iana import RRType
from kdns.wire.name import parent
from kdns.wire.query import name_end
from kdns.zone.model import NO_RRSETS, Found, Kind, RRsets
from kdns.zone.rrset import RRset

__all__ = ["MasterZone", "MasterZoneBuilder"]

_WHOLE_ZONE = b""  # the one key under which a zone file announces changes
_WILDCARD = b"\x01*"
_ADDRESS_TYPES = (RRType.A, RRType.AAAA)


class MasterZone:
    """A zone file as lookup sees it; made by MasterZoneBuilder.build."""

    __slots__ = ("_apex", "_boundaries", "_depends", "_negative_ttl", "_nodes", "_soa")

    def __init__(
        self, source: int, soa: RRset, nodes: Mapping[bytes, RRsets], boundaries: Mapping[bytes, Kind]
    ) -> None:
        self._depends = (source, _WHOLE_ZONE)
        self._apex = soa.owner.lower()
        self._soa = soa
        self._nodes = nodes
        self._boundaries = boundaries
        # "The TTL of this record is set from the minimum of the MINIMUM field of the SOA record and the TTL of the
        # SOA itself" (RFC 2308 section 3). The MINIMUM ends the RDATA.
        self._negative_ttl = min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"))

    @property
    def apex(self) -> bytes:
        """The name of the zone, folded."""
        return self._apex

    @property
    def serial(self) -> int:
        """The serial that the file gives."""
        return int.from_bytes(self._soa.rdatas[0][-20:-16], "big")

    @property
    def soa(self) -> RRset:
        """The SOA record as the file gives it."""
        return self._soa

    @property
    def nodes(self) -> Mapping[bytes, RRsets]:
        """The rrsets of each name, empty ones above names included."""
        return self._nodes

    @property
    def negative_ttl(self) -> int:
        """TTL of a denial (RFC 2308 section 3)."""
        return self._negative_ttl

    def find(self, qname: bytes) -> Found:
        """What stands at this name. Under a wildcard, a cut or a DNAME any label fits: such names do not last."""
        if self._boundaries and (beyond := self._beyond(qname)) is not None:
            return beyond
        rrsets = self._nodes.get(qname)
        if rrsets is None:
            return self._nonexistent(qname)
        return Found(Kind.NODE if rrsets else Kind.EMPTY, rrsets, qname, self._depends)

    def denies(self, qname: bytes) -> int | None:
        """The negative TTL for names that no node, no boundary and no wildcard speaks for."""
        if self._boundaries or qname in self._nodes or name_end(qname, 0) != len(qname):
            return None
        encloser = self._closest_encloser(qname)
        # A label may hold the octets of the apex: then the name ends like it, and stands elsewhere in the tree.
        if len(encloser) < len(self._apex) or _WILDCARD + encloser in self._nodes:
            return None
        return self._negative_ttl

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """The A and AAAA rrsets at exactly this name, glue below a cut included."""
        rrsets = self._nodes.get(name, NO_RRSETS)
        return tuple(rrsets[rrtype] for rrtype in _ADDRESS_TYPES if rrtype in rrsets)

    def _beyond(self, qname: bytes) -> Found | None:
        """The cut that the name is at or below, or the DNAME that it is below: the one nearest to the apex."""
        boundary, apex, boundaries = None, self._apex, self._boundaries
        # A DNAME redirects what is below it, not its owner.
        name = parent(qname) if boundaries.get(qname) is Kind.DNAME and qname != apex else qname
        while name != apex:
            if name in boundaries:
                boundary = name
            name = parent(name)
        if apex in boundaries and qname != apex:
            boundary = apex
        if boundary is None:
            return None
        return Found(
            boundaries[boundary], self._nodes[boundary], boundary, self._depends, None, boundary == qname
        )

    def _nonexistent(self, qname: bytes) -> Found:
        """The wildcard below the closest encloser answers, if there is one (RFC 4592 section 3.3.1)."""
        wildcard = _WILDCARD + self._closest_encloser(qname)
        rrsets = self._nodes.get(wildcard)
        if rrsets is None:
            return Found(Kind.ABSENT, NO_RRSETS, qname, self._depends, None, False)
        return Found(Kind.WILDCARD, rrsets, wildcard, self._depends, None, False)

    def _closest_encloser(self, qname: bytes) -> bytes:
        """The longest existing ancestor of a name that does not exist (RFC 4592 section 3.3.1)."""
        encloser = parent(qname)
        while encloser not in self._nodes:
            encloser = parent(encloser)
        return encloser


class MasterZoneBuilder:
    """Collects the rrsets of one zone, in any order. source: the zone file's index in the configuration."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._soa: RRset | None = None
        self._nodes: dict[bytes, dict[int, RRset]] = {}
        self._boundaries: dict[bytes, Kind] = {}

    def add(self, rrset: RRset) -> None:
        """Add an rrset. One of the same owner and type takes the place of what was added before."""
        owner = rrset.owner.lower()
        rrsets = self._nodes.get(owner)
        if rrsets is None:
            rrsets = self._nodes[owner] = {}
            self._add_ancestors(owner)
        rrsets[rrset.rrtype] = rrset
        if rrset.rrtype == RRType.SOA:
            self._soa = rrset
        elif rrset.rrtype == RRType.NS:
            self._boundaries[owner] = Kind.CUT
        elif rrset.rrtype == RRType.DNAME:
            self._boundaries.setdefault(owner, Kind.DNAME)

    def build(self) -> MasterZone:
        """The zone; the builder starts anew. Raises ValueError if no SOA was added."""
        if self._soa is None:
            raise ValueError("a zone needs a SOA record")
        apex = self._soa.owner.lower()
        # NS at the apex is no cut. Most zones then have no boundaries at all and are searched faster.
        if self._boundaries.get(apex) is Kind.CUT:
            del self._boundaries[apex]
            if RRType.DNAME in self._nodes[apex]:
                self._boundaries[apex] = Kind.DNAME
        zone = MasterZone(self._source, self._soa, self._nodes, self._boundaries)
        self._soa, self._nodes, self._boundaries = None, {}, {}  # what is published is out of reach
        return zone

    def _add_ancestors(self, owner: bytes) -> None:
        """Empty non-terminals, up to the root: the apex may still be unknown, and lookup stops there."""
        name = parent(owner)
        while name not in self._nodes:
            self._nodes[name] = {}
            name = parent(name)
