"""IANA's DNS registries, as far as kdns gives a value a meaning; all other values pass as plain numbers.

https://www.iana.org/assignments/dns-parameters. Unknown types, classes and codes are values, not errors
(RFC 3597 section 2). Not here: what a type's RDATA looks like (kdns.wire.rdata).
"""

from __future__ import annotations

from enum import IntEnum


class RRType(IntEnum):
    """RR types that kdns treats by name."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    HINFO = 13
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    NAPTR = 35
    DNAME = 39
    OPT = 41
    DS = 43
    SVCB = 64
    HTTPS = 65
    TKEY = 249
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255
    CAA = 257


class RRClass(IntEnum):
    """CLASS and QCLASS values (RFC 1035 section 3.2.4)."""

    IN = 1
    CH = 3
    HS = 4
    NONE = 254
    ANY = 255


class Opcode(IntEnum):
    """OPCODE values (RFC 1035 section 4.1.1, RFC 1996, RFC 2136)."""

    QUERY = 0
    IQUERY = 1
    STATUS = 2
    NOTIFY = 4
    UPDATE = 5


class Rcode(IntEnum):
    """RCODE values; BADVERS needs the upper bits in OPT (RFC 6891 section 6.1.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    BADVERS = 16


class EDE(IntEnum):
    """Extended DNS Error codes (RFC 8914 section 4)."""

    OTHER = 0
    STALE_ANSWER = 3
    CACHED_ERROR = 13
    NOT_READY = 14
    BLOCKED = 15
    FILTERED = 17
    PROHIBITED = 18
    STALE_NXDOMAIN = 19
    NOT_AUTHORITATIVE = 20
    NOT_SUPPORTED = 21
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23
    INVALID_DATA = 24


def type_text(rrtype: int) -> str:
    """The mnemonic of an RR type, or TYPEnnn (RFC 3597 section 5)."""
    return RRType(rrtype).name if rrtype in _TYPES else f"TYPE{rrtype}"


def rcode_text(rcode: int) -> str:
    """The mnemonic of an RCODE, or RCODEnnn."""
    return Rcode(rcode).name if rcode in _RCODES else f"RCODE{rcode}"


_TYPES = frozenset(RRType)
_RCODES = frozenset(Rcode)
