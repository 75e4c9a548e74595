"""Who a server is: the names of class CH that `chaos` answers (RFC 4892; CoreDNS's `chaos`, BIND's names).

    version.bind, version.server      the version
    authors.bind                      the authors, a record for each
    hostname.bind, id.server          the name of the host

TXT alone, TTL 0. Any other name, type or server block: refused, like all that is not of class IN. Not here: what the
names say by default (kdns.server.assembly).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from kdns.answer.compiler import COPIED_FLAGS, Frame, Reply, both_heads
from kdns.wire.iana import RRClass, RRType
from kdns.wire.name import from_text
from kdns.wire.query import HEADER_OCTETS, QR_BIT, TC_BIT, Query

MAX_TEXT_OCTETS = 255  # of a character-string (RFC 1035 section 3.3)

_VERSION = frozenset(map(from_text, ("version.bind", "version.server")))
_AUTHORS = from_text("authors.bind")
_HOST = frozenset(map(from_text, ("hostname.bind", "id.server")))
_OWNER = (0xC000 | HEADER_OCTETS).to_bytes(2)  # a pointer to the question
_fixed = Struct(">2HIH").pack
_head = Struct(">5H").pack


@dataclass(frozen=True, slots=True)
class ChaosSpec:
    """What a server block says of itself; texts of at most MAX_TEXT_OCTETS."""

    version: bytes
    authors: tuple[bytes, ...]
    host: bytes


def texts(spec: ChaosSpec, query: Query) -> tuple[bytes, ...] | None:
    """What answers a query of class CH; None if nothing does."""
    if query.qtype != RRType.TXT:
        return None
    if query.qname == _AUTHORS:
        return spec.authors
    if query.qname in _VERSION:
        return (spec.version,)
    return (spec.host,) if query.qname in _HOST else None


def chaos_reply(frame: Frame, found: tuple[bytes, ...]) -> Reply:
    """The reply with a record for each text, or with those for which there is room, and TC."""
    start = HEADER_OCTETS + len(frame.question)
    records, octets = [], start
    for text in found:
        record = _OWNER + _fixed(RRType.TXT, RRClass.CH, 0, len(text) + 1) + len(text).to_bytes() + text
        if octets + len(record) > frame.limit - len(frame.opt):
            break
        records.append(record)
        octets += len(record)
    whole = len(records) == len(found)
    flags = QR_BIT | frame.flags & COPIED_FLAGS | (0 if whole else TC_BIT)
    heads = both_heads(_head(flags, 1, len(records), 0, 0), False)
    return Reply(heads, b"".join(records), octets, whole=whole)
