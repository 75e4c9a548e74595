"""Compile a lookup into a reply: sections, size limit, rotation (RFC 1035, 2181 section 9, 6891, 9471).

A compiled reply gives tails: all that follows the ID, with the question in lower case. Each tail starts its address
records at another one, so that clients spread evenly; where not all records fit, each tail has others (musl resolvers
without TCP live on them). Not here: what stands in the sections (kdns.zone.lookup), when a reply is kept
(kdns.answer.responder).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from kdns.wire.builder import FIXED_RR_OCTETS, MessageBuilder
from kdns.wire.iana import RRType
from kdns.wire.name import is_subdomain
from kdns.wire.query import AA_BIT, CD_BIT, OPCODE_BITS, QR_BIT, RD_BIT, TC_BIT
from kdns.zone.model import Denial, Lookup
from kdns.zone.rrset import RRset

if TYPE_CHECKING:
    from random import Random

ANSWER, AUTHORITY, ADDITIONAL = range(3)

# A truncated rrset other than addresses is compiled with this many starts, not with all: enough that a client which
# asks again meets other records, few enough to compile at once.
TRUNCATED_VARIANTS = 8

_ROTATED = frozenset((RRType.A, RRType.AAAA))
_COPIED_FLAGS = OPCODE_BITS | RD_BIT | CD_BIT  # RFC 1035 section 4.1.1, RFC 4035 section 3.2.2
_SERIAL_FROM_END = 20  # of an SOA record: serial, refresh, retry, expire and minimum end it


# What follows the ID; where it differs from reply to reply, a call that gives the next one.
Tail = bytes | Callable[[], bytes]


class Reply(NamedTuple):
    """A compiled reply.

    serial_at: offset in the message of the SOA serial to splice, None if there is none.
    """

    tail: Tail
    serial_at: int | None


class Frame(NamedTuple):
    """What a reply has besides its records.

    question: question section in lower case, b"" for none.
    flags: of the query.
    limit: octets that the message may have.
    opt: the OPT record of the reply, b"" for none.
    """

    question: bytes
    flags: int
    limit: int
    opt: bytes


def compile_error(frame: Frame, rcode: int) -> Reply:
    """A reply without records."""
    builder = MessageBuilder(frame.question, frame.limit, frame.opt)
    return Reply(builder.finish(_flags(frame, rcode & 15)), None)


def compile_reply(frame: Frame, lookup: Lookup, rng: Random) -> Reply:
    """The reply that says what a lookup found."""
    last = lookup.answer[-1] if lookup.answer else None
    if last is None or len(last.rdatas) == 1:
        draft = _Draft(frame, lookup, 0)
        return Reply(draft.tail, draft.serial_at)
    count = len(last.rdatas)
    start = rng.randrange(count)
    if last.rrtype in _ROTATED:
        return Reply(_rotation(_Draft(frame, lookup, start), last, start).__next__, None)
    whole = _Draft(frame, lookup, 0)  # in the order given: the first PTR record is the one that counts
    if not whole.truncated:
        return Reply(whole.tail, whole.serial_at)
    starts = range(start, start + count, max(1, count // TRUNCATED_VARIANTS))
    return Reply(cycle([_Draft(frame, lookup, at % count).tail for at in starts]).__next__, None)


class _Draft:
    """One way to write the reply: with the last answer rrset started at its `start`th record.

    tail: the message behind the ID.
    last_at, last_count: where in the message the last answer rrset starts, and how many records of it are there.
    """

    def __init__(self, frame: Frame, lookup: Lookup, start: int) -> None:
        self._builder = MessageBuilder(frame.question, frame.limit, frame.opt)
        self._qname = frame.question[:-4]
        self.serial_at: int | None = None
        self.last_at = self.last_count = 0
        self.truncated = not (
            self._write_answer(lookup.answer, start)
            and self._write_whole(AUTHORITY, lookup.authority)
            and self._write_denial(lookup.denial)
        )
        if not self.truncated:
            left_out = self._write_additional(lookup.additional)
            # RFC 9471 section 2.1; other additional data, sibling glue too, may be missed.
            self.truncated = lookup.glue and _has_in_domain_glue(lookup.authority[0].owner, left_out)
        flags = _flags(frame, lookup.rcode & 15)
        flags |= (AA_BIT if lookup.authoritative else 0) | (TC_BIT if self.truncated else 0)
        self.tail = self._builder.finish(flags)

    def _write_answer(self, rrsets: tuple[RRset, ...], start: int) -> bool:
        if not rrsets:
            return True
        *chain, last = rrsets
        if not self._write_whole(ANSWER, tuple(chain)):
            return False
        rdatas = last.rdatas[start:] + last.rdatas[:start] if start else last.rdatas
        self.last_at = len(self._builder)
        self.last_count = self._builder.add_some(ANSWER, last.owner, last.rrtype, last.ttl, rdatas)
        return self.last_count == len(rdatas)

    def _write_whole(self, section: int, rrsets: tuple[RRset, ...]) -> bool:
        return all(self._builder.add(section, r.owner, r.rrtype, r.ttl, r.rdatas) for r in rrsets)

    def _write_denial(self, denial: Denial | None) -> bool:
        if denial is None:
            return True
        soa = denial.zone.soa
        if not self._builder.add(AUTHORITY, soa.owner, soa.rrtype, denial.ttl, soa.rdatas):
            return False
        self.serial_at = len(self._builder) - _SERIAL_FROM_END
        return True

    def _write_additional(self, rrsets: tuple[RRset, ...]) -> list[RRset]:
        """Write each rrset that fits, whole; gives those that did not."""
        return [rrset for rrset in rrsets if not self._write_whole(ADDITIONAL, (rrset,))]


def _rotation(draft: _Draft, last: RRset, start: int) -> Iterator[bytes]:
    """Tails that start the address records at each record in turn.

    Address records of one rrset have one size, so a rotation is a window on the records written twice in a row.
    """
    owner_octets = 2 if last.owner[0] else 1  # a pointer to the question or to a CNAME's target, or the root
    head_octets = owner_octets + FIXED_RR_OCTETS
    size = head_octets + len(last.rdatas[0])
    at = draft.last_at - 2  # in the tail, which lacks the ID
    end = at + draft.last_count * size
    before, head, behind = draft.tail[:at], draft.tail[at : at + head_octets], draft.tail[end:]
    records = b"".join(head + rdata for rdata in last.rdatas[start:] + last.rdatas[:start])
    return _windows(before, records * 2, behind, len(records), size, end - at)


def _windows(before: bytes, doubled: bytes, behind: bytes, period: int, step: int, width: int) -> Iterator[bytes]:
    while True:
        for at in range(0, period, step):
            yield before + doubled[at : at + width] + behind


def _has_in_domain_glue(cut: bytes, rrsets: list[RRset]) -> bool:
    return any(is_subdomain(rrset.owner.lower(), cut.lower()) for rrset in rrsets)


def _flags(frame: Frame, rcode: int) -> int:
    return QR_BIT | (frame.flags & _COPIED_FLAGS) | rcode
