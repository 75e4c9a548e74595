"""One record as text, as a line of a zone file has it, to an rrset (RFC 1035 section 5.1).

Owner, TTL, class and type stand in this order or with TTL and class the other way round; both may be missing: then
they are DEFAULT_TTL and IN. Names without a last dot end at the root. Comments and several lines are not read.
Not here: zone files (kdns.zone.masterfile).
"""

from __future__ import annotations

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.ttl

from kdns.wire.iana import RRType
from kdns.zone.rrset import RRset

DEFAULT_TTL = 3600  # of a record without one, as in CoreDNS's templates
_MAX_TTL = 2**31 - 1  # RFC 2181 section 8
_NOT_DATA = frozenset((0, RRType.OPT, *range(128, 256)))  # RFC 6895 section 3.1


def parse_record(text: str) -> RRset:
    """An rrset of this one record. Raises ValueError, which says what is wrong."""
    try:
        return _parse(text)
    except (dns.exception.DNSException, AssertionError, UnicodeError) as error:
        raise ValueError(str(error) or "malformed field") from error


def _parse(text: str) -> RRset:
    owner, _, rest = text.strip().partition(" ")
    ttl, rrtype, rdata_text = _fixed(rest.split(None, 1))
    name = dns.name.from_text(owner, dns.name.root).to_wire()
    rdata = dns.rdata.from_text(dns.rdataclass.IN, rrtype, rdata_text, dns.name.root, False).to_wire()
    assert name is not None
    assert rdata is not None
    return RRset(name, int(rrtype), ttl, (rdata,))


def _fixed(words: list[str]) -> tuple[int, dns.rdatatype.RdataType, str]:
    """TTL, type and the text of the RDATA."""
    ttl: int | None = None
    has_class = False
    while words:
        word, rest = words[0], words[1] if len(words) > 1 else ""
        if word.upper() == "IN" and not has_class:
            has_class = True
        elif word[0].isdigit() and ttl is None:
            ttl = dns.ttl.from_text(word)
        else:
            return _checked(DEFAULT_TTL if ttl is None else ttl, word, rest)
        words = rest.split(None, 1)
    raise ValueError("a record has an owner, a type and RDATA")


def _checked(ttl: int, word: str, rest: str) -> tuple[int, dns.rdatatype.RdataType, str]:
    rrtype = dns.rdatatype.from_text(word)
    if ttl > _MAX_TTL:
        raise ValueError(f"TTL {ttl} is above {_MAX_TTL}")
    if rrtype in _NOT_DATA:
        raise ValueError(f"type {word} is for messages, not for data")
    return ttl, rrtype, rest
