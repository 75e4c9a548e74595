"""Parse one query message (RFC 1035 section 4.1, RFC 6891, RFC 9619), whatever bytes it is made of.

In: a datagram or a TCP message. Out: a `Query`, or None for what must not be answered (RFC 8906 does not ask for
an answer to fewer than 12 octets or to a response). A query that is malformed is a value too: its `rcode` says what
to reply. Nothing here raises. Not here: what the answer is (kdns.answer.responder), TCP framing (kdns.wire.framing).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from kdns.wire.iana import Opcode, Rcode, RRType

HEADER_OCTETS = 12
OPT_OCTETS = 11  # an OPT record without options: root owner, type, payload size, extended RCODE and flags, length
MIN_PAYLOAD_OCTETS = 512  # RFC 6891 section 6.2.5: a smaller size means this one
DO_BIT = 0x8000  # of the OPT flags, RFC 3225
QR_BIT, TC_BIT, RD_BIT = 0x8000, 0x0200, 0x0100
OPCODE_BITS = 0x7800
AA_BIT, RA_BIT, AD_BIT, CD_BIT = 0x0400, 0x0080, 0x0020, 0x0010

_header = Struct(">6H").unpack_from
_question = Struct(">2H").unpack_from
_record = Struct(">2HIH").unpack_from
_option = Struct(">2H")


class Edns(NamedTuple):
    """The query's OPT record. options: all of them, whole; see find_option."""

    payload_octets: int
    version: int
    dnssec_ok: bool
    options: bytes = b""


class Query(NamedTuple):
    """One query.

    end: offset behind the question, 12 if no question could be read.
    qname: folded wire name; the question as sent is message[12:end].
    rcode: NOERROR, or the error that this query gets whatever it asks.
    plain: the query's only record behind the question, if any, is an OPT at its end: the message up to there and
        the OPT's fixed part say all that the reply depends on.
    """

    flags: int
    end: int
    qname: bytes
    qtype: int
    qclass: int
    edns: Edns | None
    rcode: int
    plain: bool


def parse_query(message: bytes) -> Query | None:
    """Parse a message; None if it is to be dropped: too short for a header, or itself a response."""
    if len(message) < HEADER_OCTETS:
        return None
    _, flags, questions, answers, authorities, additionals = _header(message)
    if flags & QR_BIT:
        return None
    if flags >> 11 & 15 != Opcode.QUERY:
        return _malformed(message, Rcode.NOTIMP)  # before the count is looked at: RFC 9619 section 4
    if questions != 1:
        return _malformed(message, Rcode.FORMERR)
    end = name_end(message, HEADER_OCTETS)
    if end is None or end + 4 > len(message):
        return _malformed(message, Rcode.FORMERR)
    qname = message[HEADER_OCTETS:end].lower()
    qtype, qclass = _question(message, end)
    end += 4
    if end == len(message) and not (answers or authorities or additionals):
        return Query(flags, end, qname, qtype, qclass, None, Rcode.NOERROR, True)
    if answers:
        edns = _records(message, end, answers + authorities, additionals)[0]
        return Query(flags, end, qname, qtype, qclass, edns, Rcode.FORMERR, False)
    edns, rcode = _records(message, end, authorities, additionals)
    if edns is not None and edns.version and rcode == Rcode.NOERROR:
        rcode = Rcode.BADVERS
    plain = additionals == 1 and not authorities and edns is not None
    return Query(flags, end, qname, qtype, qclass, edns, rcode, plain)


def name_end(message: bytes, at: int) -> int | None:
    """Offset behind the uncompressed name at `at`; None if it is cut short, over-long or has a pointer.

    A pointer in a question could only point into the header.
    """
    start, size = at, len(message)
    while at < size:
        length = message[at]
        if length > 63:
            return None
        at += length + 1
        if at - start > 255:
            return None
        if not length:
            return at
    return None


def find_option(options: bytes, code: int) -> bytes | None:
    """The body of the first option with this code, None if there is none."""
    at = 0
    while at + _option.size <= len(options):
        found, octets = _option.unpack_from(options, at)
        at += _option.size + octets
        if found == code:
            return options[at - octets : at]
    return None


def _malformed(message: bytes, rcode: int) -> Query:
    """A query of which no question is read. Its OPT is still looked for: an answer to it has one (RFC 6891 6.1.1)."""
    _, flags, questions, answers, authorities, additionals = _header(message)
    at: int | None = HEADER_OCTETS
    for _ in range(questions):
        end = name_end(message, at) if at is not None else None
        at = end + 4 if end is not None else None
        if at is None:
            break
    edns = _records(message, at, answers + authorities, additionals)[0] if at is not None else None
    return Query(flags, HEADER_OCTETS, b"\0", 0, 0, edns, rcode, False)


def _records(message: bytes, at: int, authorities: int, additionals: int) -> tuple[Edns | None, int]:
    """Walk the records behind the question for an OPT; FORMERR for garbage or a second OPT (RFC 6891 6.1.1)."""
    edns: Edns | None = None
    for index in range(authorities + additionals):
        owner_end = _skip_name(message, at)
        if owner_end is None or owner_end + 10 > len(message):
            return edns, Rcode.FORMERR
        rrtype, rrclass, ttl, length = _record(message, owner_end)
        fixed_end = owner_end + 10
        if fixed_end + length > len(message):
            return edns, Rcode.FORMERR
        if rrtype == RRType.OPT and index >= authorities:
            if edns is not None or owner_end != at + 1 or not _options_are_whole(message, fixed_end, length):
                return edns, Rcode.FORMERR
            options = message[fixed_end : fixed_end + length]
            edns = Edns(max(rrclass, MIN_PAYLOAD_OCTETS), ttl >> 16 & 255, bool(ttl & DO_BIT), options)
        at = fixed_end + length
    return edns, Rcode.NOERROR if at == len(message) else Rcode.FORMERR


def _skip_name(message: bytes, at: int) -> int | None:
    """Offset behind the name at `at`, which may end in a pointer; where that points does not matter here."""
    size = len(message)
    while at < size:
        length = message[at]
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return None
        at += length + 1
        if not length:
            return at
    return None


def _options_are_whole(message: bytes, at: int, length: int) -> bool:
    """Whether the options fill the OPT's RDATA exactly (RFC 6891 section 6.1.2)."""
    end = at + length
    while at + 4 <= end:
        at += 4 + (message[at + 2] << 8 | message[at + 3])
    return at == end
