"""Build a reply message: compression (RFC 1035 section 4.1.4), whole rrsets or a truncated one (RFC 2181 section 9).

The builder writes what follows the ID: flags, counts, the question in lower case, records, OPT. It tells where the
SOA serial stands and which records may be rotated, so that a kept reply can be completed by splicing alone.
Not here: which rrsets belong into a reply (kdns.zone.lookup) and which reply is kept (kdns.answer.table).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from kdns.wire.iana import RRType
from kdns.wire.query import DO_BIT, HEADER_OCTETS
from kdns.wire.rdata import COMPRESSIBLE, SRV_TARGET_AT, name_at

MAX_MESSAGE_OCTETS = 65535
MAX_POINTER = 0x3FFF  # a pointer has 14 bits (RFC 1035 section 4.1.4)
# Pointers that may follow each other in one name. Long alias chains would lead from name to name; readers give up
# at some depth, Go's resolver after 10 and dnspython after 16.
MAX_POINTERS_IN_NAME = 8
FIXED_RR_OCTETS = 10  # type, class, TTL, RDLENGTH
# Fits beside the longest question into the smallest reply; RFC 8914 section 6 wants texts short anyway.
MAX_EDE_TEXT_OCTETS = 200

_fixed = Struct(">2HIH").pack
_short = Struct(">H").pack
_head = Struct(">6H").pack
_CLASS_IN = 1
_OPT_LENGTH_AT = 9  # in an OPT record: root owner, type, class and TTL stand before the length of its options
_ADDRESS_OCTETS: dict[int, int] = {RRType.A: 4, RRType.AAAA: 16}


class MessageBuilder:
    """One reply being written. Offsets are those of the whole message, the ID included.

    limit: octets that the message may have, the OPT included.
    opt: the finished OPT record, or b"".
    """

    def __init__(self, question: bytes, limit: int, opt: bytes) -> None:
        self._out = bytearray(HEADER_OCTETS)
        self._out += question
        self._question = len(question) > 0
        self._limit = limit - len(opt)
        self._opt = opt
        self._places: dict[bytes, tuple[int, int]] = {}  # of each name written: its offset, the pointers in it
        if question:
            self._remember(question[:-4], HEADER_OCTETS)
        self.counts = [0, 0, 0]  # answer, authority, additional

    def __len__(self) -> int:
        return len(self._out)

    @property
    def room(self) -> int:
        """Octets left for records."""
        return self._limit - len(self._out)

    def add(self, section: int, owner: bytes, rrtype: int, ttl: int, rdatas: Sequence[bytes]) -> bool:
        """Write a whole rrset, or nothing if it does not fit; says which."""
        mark, known = len(self._out), len(self._places)
        if self._records(owner, rrtype, ttl, rdatas) < len(rdatas):
            self._roll_back(mark, known)
            return False
        self.counts[section] += len(rdatas)
        return True

    def add_some(self, section: int, owner: bytes, rrtype: int, ttl: int, rdatas: Sequence[bytes]) -> int:
        """Write as many records as fit, in order; returns how many."""
        count = self._records(owner, rrtype, ttl, rdatas)
        self.counts[section] += count
        return count

    def finish(self, flags: int) -> bytes:
        """The message behind its ID."""
        counts = (*self.counts[:2], self.counts[2] + bool(self._opt))
        self._out[:HEADER_OCTETS] = _head(0, flags, self._question, *counts)
        return bytes(self._out[2:]) + self._opt

    def _records(self, owner: bytes, rrtype: int, ttl: int, rdatas: Sequence[bytes]) -> int:
        """Write the records of an rrset up to the first that does not fit; returns how many."""
        last = 0
        for count, rdata in enumerate(rdatas):
            mark, known = len(self._out), len(self._places)
            if count == 2 and rrtype in _ADDRESS_OCTETS:
                return count + self._more_addresses(_ADDRESS_OCTETS[rrtype], last, rdatas[count:])
            self._record(owner, rrtype, ttl, rdata)
            if len(self._out) > self._limit:
                self._roll_back(mark, known)
                return count
            last = mark
        return len(rdatas)

    def _more_addresses(self, octets: int, last: int, rdatas: Sequence[bytes]) -> int:
        """As many records as fit that differ in their address alone from the last one, which started there.

        From the second one of an rrset on all owners are the same pointer.
        """
        head = self._out[last : len(self._out) - octets]
        fitting = rdatas[: self.room // (len(head) + octets)]
        for rdata in fitting:
            self._out += head
            self._out += rdata
        return len(fitting)

    def _record(self, owner: bytes, rrtype: int, ttl: int, rdata: bytes) -> None:
        self._name(owner)
        at = len(self._out)
        self._out += _fixed(rrtype, _CLASS_IN, ttl, 0)
        names = COMPRESSIBLE.get(rrtype)
        if names:
            self._compressed(rdata, *names)
        else:
            self._out += rdata
            if rrtype == RRType.SRV:
                self._remember(name_at(rdata, SRV_TARGET_AT), at + FIXED_RR_OCTETS + SRV_TARGET_AT)
        self._out[at + 8 : at + 10] = _short(len(self._out) - at - FIXED_RR_OCTETS)

    def _compressed(self, rdata: bytes, skip: int, count: int) -> None:
        self._out += rdata[:skip]
        at = skip
        for _ in range(count):
            name = name_at(rdata, at)
            self._name(name)
            at += len(name)
        self._out += rdata[at:]

    def _name(self, name: bytes) -> None:
        """Write a name, its longest known suffix as a pointer."""
        at = 0
        while name[at]:
            place = self._places.get(name[at:].lower())
            if place is not None:
                offset, pointers = place
                if pointers + 1 < MAX_POINTERS_IN_NAME:
                    self._remember(name, len(self._out), at, pointers + 1)
                self._out += name[:at]
                self._out += _short(0xC000 | offset)
                return
            at += name[at] + 1
        self._remember(name, len(self._out))
        self._out += name

    def _remember(self, name: bytes, offset: int, until: int | None = None, pointers: int = 0) -> None:
        """Note where the name and its ancestors stand, so far as they are written out, for others to point at."""
        at = 0
        while name[at] and at != until and offset + at <= MAX_POINTER:
            self._places.setdefault(name[at:].lower(), (offset + at, pointers))
            at += name[at] + 1

    def _roll_back(self, mark: int, known: int) -> None:
        del self._out[mark:]
        for name in list(self._places)[known:]:
            del self._places[name]


def opt_record(payload_octets: int, extended_rcode: int, dnssec_ok: bool, options: bytes = b"") -> bytes:
    """An OPT record (RFC 6891 section 6.1.2); `extended_rcode` is the whole RCODE, of which it takes the top."""
    ttl = (extended_rcode >> 4) << 24 | (DO_BIT if dnssec_ok else 0)
    return b"\0" + _fixed(RRType.OPT, payload_octets, ttl, len(options)) + options


def with_options(message: bytes, opt_at: int, options: bytes) -> bytes:
    """A message whose OPT record, the last record, has these options behind its own. Its octets are not counted."""
    length_at = opt_at + _OPT_LENGTH_AT
    length = int.from_bytes(message[length_at : length_at + 2]) + len(options)
    return message[:length_at] + _short(length) + message[length_at + 2 :] + options


def ede_option(code: int, text: str, most: int = MAX_EDE_TEXT_OCTETS) -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2); a text with more than `most` octets is cut."""
    body = _short(code) + text.encode()[:most].decode(errors="ignore").encode()
    return _short(15) + _short(len(body)) + body
