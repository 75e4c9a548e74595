"""Messages of other servers: read, measured, aged, written anew (RFC 1035 section 4.1, RFC 3597 section 4, RFC 6891).

Two ways to read a reply. `layout` is the fast one, for a reply that is passed on as it is: one walk that copies
nothing and says where its TTLs and its OPT record stand. `parse_message` gives the records with every name written
out, for what has to be put together anew (`encode_body`): an OPT record in the middle, names that are rewritten, the
records of two servers in one reply. A *body* is what follows the question, without the OPT record: Told.body.
Malformed octets are None, and nothing raises for what a peer sent. Not here: whether a reply belongs to a question
(kdns.wire.upstream), for how long it holds (kdns.wire.lifetime), our own replies (kdns.wire.builder).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import NamedTuple

from kdns.wire.builder import MAX_MESSAGE_OCTETS, MessageBuilder, opt_record
from kdns.wire.iana import RRClass, RRType
from kdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, ROOT
from kdns.wire.query import DO_BIT, HEADER_OCTETS, MIN_PAYLOAD_OCTETS, OPT_OCTETS, Edns, name_end

PAYLOAD_OCTETS = 1232  # what we ask upstreams to send at most: no fragments on any path (DNS flag day 2020)
MAX_TTL = 0x7FFFFFFF  # RFC 2181 section 8
# Pointers that are followed in one name, each of which leads back. Names are written with one or two; what this
# bounds is the work that one reply of 64 KiB can make.
MAX_POINTERS_FOLLOWED = 64

_header = Struct(">6H").unpack_from
_head = Struct(">6H").pack
_pointed = Struct(">3HIH").unpack_from  # a record of which the owner is a pointer, whole but for its RDATA
_fixed = Struct(">2HIH").unpack_from
_short = Struct(">H").unpack_from
_long = Struct(">I").unpack_from
_pair = Struct(">2H").unpack_from
_put_long = Struct(">I").pack_into
# A named tuple takes half the time without its own __new__; one is made for each reply that is forwarded.
_new = tuple.__new__

_ID_OCTETS = 2
_POINTER = 0xC000
_POINTED_OCTETS, _FIXED_OCTETS = 12, 10
_FIRST_POINTER = _POINTER + HEADER_OCTETS  # the header holds no names, and we change it
# Plain numbers: reading a member of an enumeration costs more than comparing it.
_SOA, _OPT, _NAPTR, _IN = int(RRType.SOA), int(RRType.OPT), int(RRType.NAPTR), int(RRClass.IN)
_META = frozenset((RRType.ANY, RRType.MAILA, RRType.MAILB))  # any record is of the type that they ask for
_SOA_NUMBERS_OCTETS = 20
_ANY_OCTETS = -1

# RDATA in which a sender may have compressed names (RFC 1035; RFC 3597 section 4 has the list): octets before the
# names, how many names, octets behind them. NAPTR has three strings more before its name.
_NAMES: dict[int, tuple[int, int, int]] = {
    RRType.NS: (0, 1, 0),
    3: (0, 1, 0),  # MD
    4: (0, 1, 0),  # MF
    RRType.CNAME: (0, 1, 0),
    RRType.SOA: (0, 2, _SOA_NUMBERS_OCTETS),
    7: (0, 1, 0),  # MB
    8: (0, 1, 0),  # MG
    9: (0, 1, 0),  # MR
    RRType.PTR: (0, 1, 0),
    14: (0, 2, 0),  # MINFO
    RRType.MX: (2, 1, 0),
    17: (0, 2, 0),  # RP
    18: (2, 1, 0),  # AFSDB
    21: (2, 1, 0),  # RT
    24: (18, 1, _ANY_OCTETS),  # SIG
    26: (2, 2, 0),  # PX
    30: (0, 1, _ANY_OCTETS),  # NXT
    RRType.SRV: (6, 1, 0),
    RRType.NAPTR: (4, 1, 0),
    36: (2, 1, 0),  # KX
    RRType.DNAME: (0, 1, 0),
}
_NAPTR_STRINGS = 3
# Types of which every RDATA has one length; the writer of rrsets relies on it.
_exact_octets = {int(RRType.A): 4, int(RRType.AAAA): 16}.get


class Record(NamedTuple):
    """One record. owner, and names in rdata: uncompressed, letter case as sent. ttl: seconds, at most MAX_TTL."""

    owner: bytes
    rrtype: int
    rrclass: int
    ttl: int
    rdata: bytes


class Message(NamedTuple):
    """A message with every name written out.

    question: name, type and class as sent, b"" if there is none. The OPT record is in no section: `edns` and
    `options` (code and value) say what it holds. rcode: of 12 bits.
    """

    id: int
    flags: int
    question: bytes
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    edns: Edns | None
    options: tuple[tuple[int, bytes], ...]
    rcode: int


class Layout(NamedTuple):
    """Where things stand in a message.

    ttl_at, ttls: offset and value of each record's TTL, the OPT record left out; of three `counts` as well.
    opt_at: offset of the OPT record. end: offset behind the last record that is to be passed on, so that the OPT
    record is cut off if it stands last, as it nearly always does; if it does not (`opt_is_last` is false and
    `opt_at` is not None), the octets cannot be passed on as they are.
    is_answered: an answer record has the type that was asked for; aliases alone have not.
    soa: TTL and MINIMUM of the SOA record in the authority section. rcode: of 12 bits.
    """

    question_end: int
    ttl_at: tuple[int, ...]
    ttls: tuple[int, ...]
    counts: tuple[int, int, int]
    opt_at: int | None
    opt_is_last: bool
    end: int
    is_answered: bool
    soa: tuple[int, int] | None
    flags: int
    rcode: int


class Body(NamedTuple):
    """What follows a question, the OPT record left out; offsets are those in `octets`."""

    octets: bytes
    counts: tuple[int, int, int]
    ttl_at: tuple[int, ...]
    ttls: tuple[int, ...]


class _Malformed(Exception):
    """Octets that are no message."""


def layout(data: bytes, question_end: int = 0) -> Layout | None:
    """Measure a message; None if it is malformed. question_end: where one question ends, if that is known.

    So is one whose records are of another class than an IN question, whose addresses have not their length, or whose
    RDATA is not as the names in it have it (RFC 1035 section 3.3): clients would choke on it, or read beyond it.
    """
    try:
        return _walk(data, question_end)
    except (_Malformed, IndexError, error):
        return None


def _walk(data: bytes, known_end: int) -> Layout:
    _, flags, questions, answers, authorities, additionals = _header(data)
    question_end = at = known_end if known_end and questions == 1 else _question_end(data, questions)
    qtype, qclass = _pair(data, at - 4) if questions else (0, _IN)
    first_additional = answers + authorities
    ttl_at: list[int] = []
    ttls: list[int] = []
    is_answered = qtype in _META and answers > 0
    soa: tuple[int, int] | None = None
    opt_at, opt_ttl, opt_end = None, 0, 0
    octets_at: dict[int, int] = {}
    for index in range(first_additional + additionals):
        start = at
        if data[at] >= 0xC0:
            pointer, rrtype, rrclass, ttl, length = _pointed(data, at)
            if pointer != _FIRST_POINTER or not questions:
                _name_end(data, at, octets_at)
            at += _POINTED_OCTETS
        else:
            at = _name_end(data, at, octets_at) if data[at] else at + 1
            rrtype, rrclass, ttl, length = _fixed(data, at)
            at += _FIXED_OCTETS
        fixed_end = at
        at += length
        if rrtype == _OPT:
            if opt_at is not None or index < first_additional or fixed_end - start != OPT_OCTETS:
                raise _Malformed  # RFC 6891 section 6.1.1
            opt_at, opt_ttl, opt_end = start, ttl, at
            continue
        if rrclass != _IN and qclass == _IN:
            raise _Malformed
        if rrtype in _NAMES:
            _check_names(data, rrtype, fixed_end, at, octets_at)
        elif _exact_octets(rrtype, length) != length:
            raise _Malformed
        ttl_at.append(fixed_end - 6)
        ttls.append(ttl)
        if index < answers:
            if rrtype == qtype:
                is_answered = True
        elif rrtype == _SOA and index < first_additional:
            soa = soa or (_sane(ttl), _sane(_long(data, at - 4)[0]))
    if at != len(data):
        raise _Malformed
    if ttls and max(ttls) > MAX_TTL:
        ttls = list(map(_sane, ttls))
    opt_is_last = opt_end == at
    return _new(Layout, (
        question_end, tuple(ttl_at), tuple(ttls), (answers, authorities, additionals - (opt_at is not None)),
        opt_at, opt_is_last, opt_at if opt_at is not None and opt_is_last else at,
        is_answered, soa, flags, flags & 15 | opt_ttl >> 24 << 4,
    ))  # fmt: skip


def parse_message(data: bytes) -> Message | None:
    """Read a message whole; None if it is malformed."""
    try:
        return _Reader(data).message()
    except (_Malformed, IndexError, error):
        return None


class _Reader:
    """Reads one message; raises _Malformed, IndexError or struct.error where it is none."""

    __slots__ = ("_at", "_data", "_opt", "_pointed_at", "_qclass")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = HEADER_OCTETS
        self._opt: Record | None = None
        self._qclass = _IN
        self._pointed_at: dict[int, bytes] = {}  # names by where pointers lead: most records point at one name

    def message(self) -> Message:
        """The message; trailing octets are none of it, and an error."""
        message_id, flags, questions, *counts = _header(self._data)
        self._at = _question_end(self._data, questions)
        question = self._data[HEADER_OCTETS : self._at]
        if question:
            self._qclass = _short(question, len(question) - 2)[0]
        answer, authority = (tuple(self._records(count, False)) for count in counts[:2])
        additional = tuple(self._records(counts[2], True))
        if self._at != len(self._data):
            raise _Malformed
        edns, options, extended = _edns(self._opt)
        return Message(
            message_id, flags, question, answer, authority, additional, edns, options, flags & 15 | extended
        )

    def _records(self, count: int, may_hold_opt: bool) -> Iterator[Record]:
        for _ in range(count):
            start = self._at
            owner, at = self._name(start)
            rrtype, rrclass, ttl, length = _fixed(self._data, at)
            at += _FIXED_OCTETS
            self._at = at + length
            if self._at > len(self._data):
                raise _Malformed
            if rrtype == _OPT:
                if self._opt is not None or not may_hold_opt or at - start != OPT_OCTETS:
                    raise _Malformed  # RFC 6891 section 6.1.1
                self._opt = Record(owner, rrtype, rrclass, ttl, self._data[at : self._at])
            else:
                if rrclass != _IN and self._qclass == _IN:
                    raise _Malformed
                yield Record(owner, rrtype, rrclass, _sane(ttl), self._rdata(rrtype, at, self._at))

    def _rdata(self, rrtype: int, at: int, end: int) -> bytes:
        known = _NAMES.get(rrtype)
        if known is None:
            if _exact_octets(rrtype, end - at) != end - at:
                raise _Malformed
            return self._data[at:end]
        before, names, behind = known
        start, at = at, at + before
        if rrtype == _NAPTR:
            for _ in range(_NAPTR_STRINGS):
                at += self._data[at] + 1
        parts = [self._data[start:at]]
        for _ in range(names):
            name, at = self._name(at)
            parts.append(name)
        if at > end or behind not in (_ANY_OCTETS, end - at):
            raise _Malformed
        rdata = b"".join((*parts, self._data[at:end]))
        if len(rdata) > MAX_MESSAGE_OCTETS:
            raise _Malformed  # no message could hold it with its names written out
        return rdata

    def _name(self, at: int) -> tuple[bytes, int]:
        """The name at an offset, and the offset behind it."""
        if self._data[at] < 0xC0:
            return self._expanded(at)
        target = _short(self._data, at)[0] - _POINTER
        name = self._pointed_at.get(target)
        if name is None:
            name = self._pointed_at[target] = self._expanded(at)[0]  # from `at`: it must lead back
        return name, at + 2

    def _expanded(self, at: int) -> tuple[bytes, int]:
        data, parts, octets, end = self._data, [], 0, 0
        for _ in range(MAX_POINTERS_FOLLOWED + 1):
            run = at
            at = _labels_end(data, at, MAX_NAME_OCTETS - 1 - octets)
            parts.append(data[run:at])
            octets += at - run
            if not data[at]:
                return b"".join((*parts, ROOT)), end or at + 1
            target = _short(data, at)[0] - _POINTER
            if not HEADER_OCTETS <= target < run:
                raise _Malformed  # RFC 1035 section 4.1.4: to a prior occurrence; so no loop is possible
            end = end or at + 2
            at = target
        raise _Malformed


def build_query(
    message_id: int, question: bytes, flags: int, payload_octets: int = PAYLOAD_OCTETS, dnssec_ok: bool = False
) -> bytes:
    """A query for a question (name, type, class). flags: RD and CD, where wanted. payload_octets 0: without EDNS."""
    if not payload_octets:
        return _head(message_id, flags, 1, 0, 0, 0) + question
    return _head(message_id, flags, 1, 0, 0, 1) + question + _opt(payload_octets, dnssec_ok)


@lru_cache(maxsize=16)
def _opt(payload_octets: int, dnssec_ok: bool) -> bytes:
    """Of the OPT records that are sent there are few."""
    return opt_record(payload_octets, 0, dnssec_ok)


def body_of(data: bytes, measured: Layout) -> Body | None:
    """The body of a message as it stands; None if its OPT record is in the middle, see `encode_body`."""
    if measured.opt_at is not None and not measured.opt_is_last:
        return None
    start = measured.question_end
    ttl_at = tuple([at - start for at in measured.ttl_at])
    return Body(data[start : measured.end], measured.counts, ttl_at, measured.ttls)


def encode_body(
    question: bytes,
    answer: Sequence[Record],
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    limit: int = MAX_MESSAGE_OCTETS,
) -> Body | None:
    """Write records anew, to stand behind this question or another of its length that differs in letter case alone.

    Their names must be uncompressed, as parse_message gives them. None if the message would have more than `limit`
    octets, or for records of another class than IN, which is the only one that is asked for.
    """
    builder = MessageBuilder(question, limit, b"")
    for section, records in enumerate((answer, authority, additional)):
        for owner, rrtype, rrclass, ttl, rdata in records:
            if rrclass != _IN or not builder.add(section, owner, rrtype, ttl, (rdata,)):
                return None
    data = bytes(_ID_OCTETS) + builder.finish(0)
    measured = layout(data)
    return body_of(data, measured) if measured is not None else None


def age(octets: bytes, ttl_at: Sequence[int], ttls: Sequence[int], seconds: int) -> bytes:
    """A body with its TTLs so many seconds later, and never below 0."""
    aged = bytearray(octets)
    for at, ttl in zip(ttl_at, ttls, strict=True):
        _put_long(aged, at, ttl - seconds if ttl > seconds else 0)
    return bytes(aged)


def _question_end(data: bytes, questions: int) -> int:
    """Offset behind the question, of which there may be none in a reply that refuses a query (RFC 1035 4.1.1)."""
    if not questions:
        return HEADER_OCTETS
    end = name_end(data, HEADER_OCTETS) if questions == 1 else None
    if end is None or end + 4 > len(data):
        raise _Malformed
    return end + 4


def _check_names(data: bytes, rrtype: int, at: int, end: int, octets_at: dict[int, int]) -> None:
    """Raise _Malformed if RDATA of a type with names is not what its type says, to the last octet."""
    before, names, behind = _NAMES[rrtype]
    at += before
    if rrtype == _NAPTR:
        for _ in range(_NAPTR_STRINGS):
            at += data[at] + 1
    for _ in range(names):
        at = _name_end(data, at, octets_at)
    if at > end or behind not in (_ANY_OCTETS, end - at):
        raise _Malformed


def _name_end(data: bytes, start: int, octets_at: dict[int, int]) -> int:
    """Offset behind a name that is one, where pointers in it lead as well. octets_at: see _octets_at."""
    at = _labels_end(data, start, MAX_NAME_OCTETS - 1)
    if not data[at]:
        return at + 1
    target = _short(data, at)[0] - _POINTER
    if not HEADER_OCTETS <= target < start:
        raise _Malformed
    if at - start + (octets_at.get(target) or _octets_at(data, target, octets_at)) > MAX_NAME_OCTETS:
        raise _Malformed
    return at + 2


def _octets_at(data: bytes, target: int, known: dict[int, int]) -> int:
    """How long the name is to which a pointer leads. known: those that were found before; each is read once."""
    runs, octets, at = [], 0, target
    for _ in range(MAX_POINTERS_FOLLOWED):
        run = at
        runs.append((run, octets))
        at = _labels_end(data, run, MAX_NAME_OCTETS - 1 - octets)
        octets += at - run
        if not data[at]:
            known.update((start, octets + 1 - before) for start, before in runs)
            return octets + 1
        at = _short(data, at)[0] - _POINTER
        if not HEADER_OCTETS <= at < run:
            raise _Malformed  # RFC 1035 section 4.1.4: to a prior occurrence; so no loop is possible
        if at in known:
            octets += known[at]
            known.update((start, octets - before) for start, before in runs)
            return octets
    raise _Malformed


def _labels_end(data: bytes, start: int, room_octets: int) -> int:
    """Offset of the root label or the pointer behind labels, which must not take more than `room_octets`."""
    at = start
    while 0 < (length := data[at]) <= MAX_LABEL_OCTETS:
        at += length + 1
        if at - start > room_octets:
            raise _Malformed
    if MAX_LABEL_OCTETS < length < 0xC0:
        raise _Malformed  # a label type that was never (RFC 6891 section 5)
    return at


def _edns(opt: Record | None) -> tuple[Edns | None, tuple[tuple[int, bytes], ...], int]:
    """What an OPT record says, its options, and the upper bits of the RCODE (RFC 6891 section 6.1.3)."""
    if opt is None:
        return None, (), 0
    edns = Edns(max(opt.rrclass, MIN_PAYLOAD_OCTETS), opt.ttl >> 16 & 255, bool(opt.ttl & DO_BIT))
    return edns, tuple(_options(opt.rdata)), opt.ttl >> 24 << 4


def _options(rdata: bytes) -> Iterator[tuple[int, bytes]]:
    """The options of an OPT record, which fill its RDATA (RFC 6891 section 6.1.2)."""
    at = 0
    while at < len(rdata):
        code, length = _pair(rdata, at)
        at += 4 + length
        if at > len(rdata):
            raise _Malformed
        yield code, rdata[at - length : at]


def _sane(ttl: int) -> int:
    """A TTL with the top bit set is 0 (RFC 2181 section 8)."""
    return ttl if ttl <= MAX_TTL else 0
