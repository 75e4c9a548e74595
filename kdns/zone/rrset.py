"""RRsets (RFC 2181 section 5): all records of one owner and type, with one TTL.

RDATA is uncompressed wire form. The class is always IN: kdns serves no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kdns.wire.iana import RRType


class RRset(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One rrset; `rdatas` are distinct and in the order to answer in before any rotation."""

    owner: bytes
    rrtype: int
    ttl: int
    rdatas: tuple[bytes, ...]


def address_rrsets(owner: bytes, ttl: int, addresses: Sequence[bytes]) -> dict[int, RRset]:
    """The A and AAAA rrsets of packed addresses, by type; a type without addresses has none."""
    rrsets: dict[int, RRset] = {}
    for rrtype, octets in ((RRType.A, 4), (RRType.AAAA, 16)):
        rdatas = tuple(address for address in addresses if len(address) == octets)
        if rdatas:
            rrsets[rrtype] = RRset(owner, rrtype, ttl, rdatas)
    return rrsets
