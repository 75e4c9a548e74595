"""Plain queries for outside: passed on and answered as octets, without parsing either.

Plain is a question in one of the common forms (kdns.answer.form), without a cookie, for an ordinary type, of a name
in no zone of ours, in a server block where nothing but `forward` has a say in it. So are nearly all questions for
outside, and of most of them nearly all replies: the query's ID and question, a header, the octets that the forwarder
tells, the block's OPT record. Everything else goes the long way (kdns.answer.outside), which may keep its reply: what
upstreams have just been asked for is not kept by a worker but by the forwarder alone, for most of it is never asked
again. Not here: which blocks and names are plain (kdns.answer.responder), how it is asked (kdns.server.waiting).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from kdns.answer.compiler import ID_OCTETS
from kdns.observe.tally import Making
from kdns.wire.builder import ede_option, opt_record
from kdns.wire.iana import Rcode, RRClass, RRType
from kdns.wire.outside import NO_EDE, Ask, Source, Told
from kdns.wire.query import (
    AD_BIT,
    HEADER_OCTETS,
    MIN_PAYLOAD_OCTETS,
    OPT_OCTETS,
    QR_BIT,
    RA_BIT,
    RD_BIT,
    name_end,
)

_pair = Struct(">2H").pack
_head = Struct(">5H").pack
_TAIL_OCTETS = 4  # type and class
_FLAGS_END = 3  # where in the header the octet with the AD bit is
_NOERROR, _NXDOMAIN, _UPSTREAM = int(Rcode.NOERROR), int(Rcode.NXDOMAIN), int(Source.UPSTREAM)

# How questions of ordinary types end, and their types: none has an octet that is a letter, which would be folded too.
_TYPES: dict[bytes, int] = {
    _pair(rrtype, RRClass.IN): int(rrtype)
    for rrtype in (
        RRType.A, RRType.NS, RRType.CNAME, RRType.SOA, RRType.PTR, RRType.MX, RRType.TXT, RRType.AAAA, RRType.SRV,
        RRType.NAPTR,
    )
}  # fmt: skip


class Passed(NamedTuple):
    """A whole reply, and what is counted of it."""

    message: bytes
    making: Making


class Passing(NamedTuple):
    """A server block that passes on all names in no zone.

    limit: octets of its replies over UDP, opt: their OPT. zone: its number, for who counts.
    """

    group: int
    limit: int
    opt: bytes
    zone: int

    def ask(self, question: bytes, client: bytes) -> Ask:
        """Ask this folded question; whoever carries it gives it a number."""
        return Ask(0, self.group, question, RD_BIT, False, client)

    def refusal(self, message: bytes, payload: int, told: Told) -> Passed | None:
        """The reply to a plain query that has no answer because of us; None where it does not fit."""
        end = len(message) - (OPT_OCTETS if payload else 0)
        head = message[:ID_OCTETS] + _header(QR_BIT | RD_BIT | RA_BIT | _SERVFAIL, (0, 0, 0), payload > 0)
        opt = _refusal_opt(self.limit, told.ede, told.text) if payload else b""
        reply = head + message[HEADER_OCTETS:end] + opt
        if len(reply) > min(payload or MIN_PAYLOAD_OCTETS, self.limit):
            return None
        qtype = _TYPES[message[end - _TAIL_OCTETS : end]]
        return Passed(reply, Making(qtype, _SERVFAIL, "forward", len(message), len(reply)))

    def reply(self, message: bytes, payload: int, told: Told) -> Passed | None:
        """The reply to a plain query with this payload size; None where it takes more than passing on."""
        rcode = told.rcode
        if told.source != _UPSTREAM or told.ede != NO_EDE or rcode not in (_NOERROR, _NXDOMAIN):
            return None
        opt = self.opt if payload else b""
        end = len(message) - (OPT_OCTETS if payload else 0)
        flags = QR_BIT | RD_BIT | RA_BIT | rcode | (told.flags & message[_FLAGS_END] & AD_BIT)
        head = message[:ID_OCTETS] + _header(flags, told.counts, payload > 0)
        reply = head + message[HEADER_OCTETS:end] + told.body + opt
        if len(reply) > min(payload or MIN_PAYLOAD_OCTETS, self.limit):
            return None
        qtype = _TYPES[message[end - _TAIL_OCTETS : end]]
        return Passed(reply, Making(qtype, rcode, "forward", len(message), len(reply)))


_SERVFAIL = int(Rcode.SERVFAIL)


def passing_of(group: int, limit: int, zone: int) -> Passing:
    """The block with this group, this cap on replies over UDP, and the number of its zone."""
    return Passing(group, limit, opt_record(limit, 0, False), zone)


def is_plain(question: bytes, size: int, payload: int) -> bool:
    """Whether octets that stand for a folded question are one of an ordinary type, in a message with nothing else."""
    octets = len(question)
    if size != HEADER_OCTETS + octets + (OPT_OCTETS if payload else 0):
        return False
    return question[-_TAIL_OCTETS:] in _TYPES and name_end(question, 0) == octets - _TAIL_OCTETS


@lru_cache(maxsize=64)  # there are no more texts than reasons, and few limits
def _refusal_opt(limit: int, ede: int, text: str) -> bytes:
    return opt_record(limit, 0, False, ede_option(ede, text))


@lru_cache(maxsize=256)
def _header(flags: int, counts: tuple[int, int, int], with_opt: bool) -> bytes:
    answers, authorities, additionals = counts
    return _head(flags, 1, answers, authorities, additionals + with_opt)
