"""What a query decides about its reply besides the records: under which keys it is kept, its size, its OPT record.

A reply that suits every common form of query (kdns.answer.form) is kept once for all of them; any other under a key
with all that matters of its query. Not here: the records (kdns.answer.compiler, kdns.answer.outside), the table
(kdns.answer.table).
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from struct import Struct

from kdns.answer.compiler import Body, Frame, Reply
from kdns.answer.form import COMMON_PAYLOADS, is_common
from kdns.answer.site import Site
from kdns.answer.spec import MAX_UDP_OCTETS
from kdns.answer.table import Entry, SerialSplice
from kdns.observe.tally import Making
from kdns.wire.builder import MAX_EDE_TEXT_OCTETS, MAX_MESSAGE_OCTETS, ede_option, opt_record
from kdns.wire.iana import RRType
from kdns.wire.query import CD_BIT, DO_BIT, HEADER_OCTETS, MIN_PAYLOAD_OCTETS, OPT_OCTETS, RD_BIT, Edns, Query
from kdns.zone.model import Dependency

_NOT_FOLDED = b"A"  # in a key, what no folded question has: no question can be mistaken for a key with more in it
# Replies to other types are not kept: 65,000 types asked for at random would fill the table with NODATA.
_KEPT_TYPES = frozenset(RRType)
_pair = Struct(">2H").pack

# Under which keys a reply may be kept and found: the one of all common forms first, if it is for them.
Keys = tuple[bytes, ...]


def keys_of(query: Query, tcp: bool) -> Keys:
    """Keys of a query's reply: the folded question, if the form is a common one; the question and all that matters.

    None at all if the reply depends on more, or the type is one that hardly anybody asks for. Who looks a question up
    folds all of it, type and class too: a type with an octet that is a letter has no key of the first kind.
    """
    if not query.plain or query.rcode or query.qtype not in _KEPT_TYPES:
        return ()
    tail = _pair(query.qtype, query.qclass)
    flags = query.flags & (RD_BIT | CD_BIT) | (DO_BIT if asks_for_dnssec(query) else 0)
    own = query.qname + tail + form_key(flags, _payload(query.edns) if query.edns else 0, tcp)
    if is_common(query) and tail.lower() == tail == tail.upper():
        return query.qname + tail, own
    return (own,)


def asks_for_dnssec(query: Query) -> bool:
    """Whether the query has the DO bit."""
    return query.edns is not None and query.edns.dnssec_ok


@lru_cache(maxsize=256)
def form_key(flags: int, payload: int, tcp: bool) -> bytes:
    """All that matters of a query beside its question, as the end of a key."""
    return _NOT_FOLDED + _pair(flags, payload) + bytes((tcp,))


def key_for(keys: Keys, reply: Reply, opt: bytes, room: int) -> bytes:
    """The key to keep a reply under: that of all common forms only if nothing is missing and it fits without EDNS.

    room: octets to leave for options, see frame_of.
    """
    suits_all = reply.whole and reply.octets + len(opt) + room <= MIN_PAYLOAD_OCTETS
    return keys[0] if suits_all else keys[-1]


def question_of(query: Query) -> bytes:
    """The folded question section, b"" if none could be read."""
    return query.qname + _pair(query.qtype, query.qclass) if query.end > HEADER_OCTETS else b""


def frame_of(query: Query, site: Site | None, tcp: bool, opt: bytes) -> Frame:
    """What the reply has besides records; EDNS only if the query had it (RFC 6891 section 7).

    There is room left in it for the options that a client may get beside the extended error (Site.room).
    """
    cap = site.max_udp_octets if site else MAX_UDP_OCTETS
    asked = _payload(query.edns) if query.edns else MIN_PAYLOAD_OCTETS
    limit = MAX_MESSAGE_OCTETS if tcp else min(asked, cap)
    if query.edns and site:
        limit -= site.room
    return Frame(question_of(query), query.flags, limit, opt if query.edns else b"")


def opt_of(query: Query, site: Site | None, rcode: int, ede: tuple[int, str] | None = None) -> bytes:
    """The OPT record that the reply has if the query has one."""
    if site is None:
        return _opt(MAX_UDP_OCTETS, rcode, asks_for_dnssec(query), ede, 0)
    return _opt(site.max_udp_octets, rcode, asks_for_dnssec(query), ede, site.room)


def making_of(query: Query, reply: Reply, rcode: int, opt: bytes, maker: str) -> Making:
    """What is counted of a reply. maker: one of kdns.observe.tally.MAKERS. The query's size is without options."""
    asked_octets, octets = query.end, reply.octets
    if query.edns:
        asked_octets += OPT_OCTETS
        octets += len(opt)
    return Making(query.qtype, rcode, maker, asked_octets, octets, asks_for_dnssec(query))


def entry_of(
    cell: int,
    reply: Reply,
    opt: bytes,
    splice: SerialSplice | None = None,
    depends: tuple[Dependency, ...] = (),
    body: Body | None = None,
) -> Entry:
    """What completes this reply. cell: where it is counted. body: instead of the reply's own."""
    return reply.heads, reply.body if body is None else body, opt, cell, splice, depends


def _payload(edns: Edns) -> int:
    """The payload size to reply to: a common one, so that odd sizes do not make replies of their own."""
    return COMMON_PAYLOADS[bisect_right(COMMON_PAYLOADS, edns.payload_octets) - 1]


@lru_cache(maxsize=256)
def _opt(cap: int, rcode: int, dnssec_ok: bool, ede: tuple[int, str] | None, room: int) -> bytes:
    """One for all replies that have it, so that keeping many costs little."""
    options = ede_option(*ede, MAX_EDE_TEXT_OCTETS - room) if ede else b""
    return opt_record(cap, rcode, dnssec_ok, options)
