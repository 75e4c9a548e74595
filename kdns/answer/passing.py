"""Plain queries for outside: passed on and answered as octets, without parsing either.

Plain is a question in one of the common forms (kdns.answer.form), for an ordinary type, of a name in no zone of ours,
in a server block where nothing but `forward` has a say in it. So are nearly all questions for outside, and of most of
them nearly all replies: the query's ID and question, a header, the octets that the forwarder tells, the block's OPT
record. A client's cookie says nothing here: where kdns has cookies of its own, nothing is plain. Everything else goes
the long way (kdns.answer.outside), which may keep its reply: what upstreams have just been asked for is not kept by a
worker but by the forwarder alone, for most of it is never asked again. Not here: which blocks and names are plain
(kdns.answer.responder), how it is asked (kdns.server.waiting).
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
    QR_BIT,
    RA_BIT,
    RD_BIT,
    name_end,
)

_pair = Struct(">2H").pack
_head = Struct(">5H").pack
TAIL_OCTETS = 4  # type and class
_FLAGS_END = 3  # where in the header the octet with the AD bit is
_SERVFAIL, _UPSTREAM = int(Rcode.SERVFAIL), int(Source.UPSTREAM)
_PASSED = (int(Rcode.NOERROR), int(Rcode.NXDOMAIN))
_REPLY_BITS = QR_BIT | RD_BIT | RA_BIT

# How questions of ordinary types end, and their types.
_TYPES: dict[bytes, int] = {
    _pair(rrtype, RRClass.IN): int(rrtype)
    for rrtype in (
        RRType.A, RRType.NS, RRType.CNAME, RRType.SOA, RRType.PTR, RRType.MX, RRType.TXT, RRType.AAAA, RRType.SRV,
        RRType.NAPTR, RRType.HTTPS,
    )
}  # fmt: skip
# That one has an octet that is a letter: who folds a question folds it, too.
_HTTPS = _pair(RRType.HTTPS, RRClass.IN)
FOLDED_HTTPS = _HTTPS.lower()


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

    def refusal(self, message: bytes, octets: int, payload: int, told: Told) -> bytes | None:
        """The reply to a plain query that has none because of us; None where it does not fit. octets: see below."""
        head = message[:ID_OCTETS] + _header(_REPLY_BITS | _SERVFAIL, (0, 0, 0), payload > 0)
        opt = _refusal_opt(self.limit, told.ede, told.text) if payload else b""
        reply = head + message[HEADER_OCTETS : HEADER_OCTETS + octets] + opt
        return reply if len(reply) <= min(payload or MIN_PAYLOAD_OCTETS, self.limit) else None

    def reply(self, message: bytes, octets: int, payload: int, told: Told) -> bytes | None:
        """The reply to a plain query with this payload size; None where it takes more than passing on.

        octets: of its question.
        """
        rcode = told.rcode
        if told.source != _UPSTREAM or told.ede != NO_EDE or rcode not in _PASSED:
            return None
        flags = _REPLY_BITS | rcode | (told.flags & message[_FLAGS_END] & AD_BIT)
        head = message[:ID_OCTETS] + _header(flags, told.counts, payload > 0)
        body = told.body + self.opt if payload else told.body
        reply = head + message[HEADER_OCTETS : HEADER_OCTETS + octets] + body
        size = len(reply)
        return reply if size <= (payload or MIN_PAYLOAD_OCTETS) and size <= self.limit else None


def making_of(tail: bytes, rcode: int, query_octets: int, reply_octets: int) -> Making:
    """What is counted of a reply that was passed on. tail: type and class, one of those that are ordinary."""
    return Making(_TYPES[tail], rcode, "forward", query_octets, reply_octets)


def passing_of(group: int, limit: int, zone: int) -> Passing:
    """The block with this group, this cap on replies over UDP, and the number of its zone."""
    return Passing(group, limit, opt_record(limit, 0, False), zone)


def unfolded(question: bytes, sent: bytes) -> bytes:
    """A folded question that ends in FOLDED_HTTPS, with its type as it was sent. sent: the question, not folded."""
    return question[:-TAIL_OCTETS] + _HTTPS if sent.endswith(_HTTPS) else question


def is_plain(question: bytes) -> bool:
    """Whether what stands for a question in a common form, folded, is one of an ordinary type, to the last octet."""
    return question[-TAIL_OCTETS:] in _TYPES and name_end(question, 0) == len(question) - TAIL_OCTETS


@lru_cache(maxsize=64)  # there are no more texts than reasons, and few limits
def _refusal_opt(limit: int, ede: int, text: str) -> bytes:
    return opt_record(limit, 0, False, ede_option(ede, text))


@lru_cache(maxsize=256)
def _header(flags: int, counts: tuple[int, int, int], with_opt: bool) -> bytes:
    answers, authorities, additionals = counts
    return _head(flags, 1, answers, authorities, additionals + with_opt)
