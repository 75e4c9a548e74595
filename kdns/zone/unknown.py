"""A zone of which nobody has told us anything yet: its names are neither answered nor denied (Kind.UNKNOWN)."""

from __future__ import annotations

from kdns.wire.iana import RRType
from kdns.zone.model import NO_RRSETS, Found, Kind
from kdns.zone.rrset import RRset

_NOTE = "this zone is not loaded yet"


class UnknownZone:
    """Stands where a zone file's zone will be; see kdns.zone.model.Zone."""

    serial = 0
    negative_ttl = 0

    def __init__(self, apex: bytes) -> None:
        self.apex = apex
        self.soa = RRset(apex, RRType.SOA, 0, ())

    def find(self, qname: bytes) -> Found:
        """That it is not known."""
        return Found(Kind.UNKNOWN, NO_RRSETS, qname, (-1, qname), lasting=False, note=_NOTE)

    def denies(self, qname: bytes) -> int | None:
        """Nothing is denied."""
        return None

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """None are known."""
        return ()
