"""Where domain names stand in RDATA: what message compression and additional processing need to know of a type.

Only the types of RFC 1035 may have compressed names (RFC 3597 section 4); a SRV target may not (RFC 2782), but may
be what a later name points to. All other RDATA is opaque here. Not here: RDATA as text (dnspython reads it).
"""

from __future__ import annotations

from kdns.wire.iana import RRType

# Types of which RDATA is `skip` octets, then `count` names that may be compressed, then opaque octets.
COMPRESSIBLE: dict[int, tuple[int, int]] = {
    RRType.NS: (0, 1),
    RRType.CNAME: (0, 1),
    RRType.SOA: (0, 2),
    RRType.PTR: (0, 1),
    RRType.MX: (2, 1),
}

# Types that name a host whose addresses belong into the additional section, and where that name starts
# (RFC 1035 section 3.3, RFC 2782, RFC 9460 section 4.1).
TARGET_AT: dict[int, int] = {
    RRType.NS: 0,
    RRType.MX: 2,
    RRType.SRV: 6,
    RRType.SVCB: 2,
    RRType.HTTPS: 2,
}

SRV_TARGET_AT = 6


def name_at(rdata: bytes, at: int) -> bytes:
    """The uncompressed wire name that starts at `at`."""
    end = at
    while length := rdata[end]:
        end += length + 1
    return rdata[at : end + 1]
