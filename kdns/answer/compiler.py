"""Compile a lookup into a reply: sections, size limit, rotation (RFC 1035, 2181 section 9, 6891, 9471).

A compiled reply gives bodies: what follows the question. Each body starts its address records at another one, so
that clients spread evenly; where not all records fit, each body has others (musl resolvers without TCP live on them).
The OPT record is no part of it: with it and without it a reply is otherwise the same. Not here: what stands in the
sections (kdns.zone.lookup), when a reply is kept (kdns.answer.replying).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import cycle
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from kdns.wire.builder import FIXED_RR_OCTETS, MessageBuilder
from kdns.wire.iana import RRType
from kdns.wire.name import is_subdomain
from kdns.wire.query import AA_BIT, CD_BIT, HEADER_OCTETS, OPCODE_BITS, QR_BIT, RD_BIT, TC_BIT
from kdns.zone.model import Denial, Lookup
from kdns.zone.rrset import RRset

if TYPE_CHECKING:
    from random import Random

ANSWER, AUTHORITY, ADDITIONAL = range(3)

# A truncated rrset other than addresses is compiled with this many starts, not with all, and so are addresses of a
# name that the question does not lead to: enough that a client which asks again meets other records, few enough to
# compile at once.
TRUNCATED_VARIANTS = 8

ID_OCTETS = 2
_ROTATED = frozenset((RRType.A, RRType.AAAA))
COPIED_FLAGS = OPCODE_BITS | RD_BIT | CD_BIT  # RFC 1035 section 4.1.1, RFC 4035 section 3.2.2
_SERIAL_FROM_END = 20  # of an SOA record: serial, refresh, retry, expire and minimum end it


# What follows the question, without the OPT record; where it differs from reply to reply, a call gives the next one.
Body = bytes | Callable[[], bytes]


class Reply(NamedTuple):
    """A compiled reply.

    heads: flags and counts, for a reply without OPT record and for one with it.
    octets: length of the message without OPT record.
    serial_at: offset in the body of the SOA serial to splice, None if there is none.
    whole: nothing was cut or left out for lack of room.
    """

    heads: tuple[bytes, bytes]
    body: Body
    octets: int
    serial_at: int | None = None
    whole: bool = True


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
    return Reply(_heads(builder.finish(_flags(frame, rcode & 15)), frame), b"", len(builder))


def compile_truncated(frame: Frame) -> Reply:
    """A reply without records that sends the client to TCP (RFC 2181 section 9)."""
    builder = MessageBuilder(frame.question, frame.limit, frame.opt)
    return Reply(_heads(builder.finish(_flags(frame, 0) | TC_BIT), frame), b"", len(builder), whole=False)


def compile_reply(frame: Frame, lookup: Lookup, rng: Random) -> Reply:
    """The reply that says what a lookup found."""
    last = lookup.answer[-1] if lookup.answer else None
    count = len(last.rdatas) if last else 1
    if last is None or count == 1:
        draft = _Draft(frame, lookup, 0)
        return draft.reply(draft.body)
    start = rng.randrange(count)
    if last.rrtype in _ROTATED:
        draft = _Draft(frame, lookup, start)
        if draft.owner_octets:
            return draft.reply(_rotation(draft, last, start).__next__)
    else:
        draft = _Draft(frame, lookup, 0)  # in the order given: the first PTR record is the one that counts
        if not draft.truncated:
            return draft.reply(draft.body)
    starts = [at % count for at in range(start, start + count, max(1, count // TRUNCATED_VARIANTS))]
    # All of them have the same header, and so the same number of records.
    fewest = min(_Draft(frame, lookup, at).last_count for at in starts)
    drafts = [_Draft(frame, lookup, at, fewest) for at in starts]
    return drafts[0].reply(cycle([draft.body for draft in drafts]).__next__)


class _Draft:
    """One way to write the reply: with the last answer rrset started at its `start`th record, at most `most` of it.

    body: what follows the question, without the OPT.
    last_at, last_count: where in the body the last answer rrset starts, and how many records of it are there.
    """

    def __init__(self, frame: Frame, lookup: Lookup, start: int, most: int | None = None) -> None:
        self._builder = MessageBuilder(frame.question, frame.limit, frame.opt)
        self._body_at = len(self._builder)
        self._serial_at: int | None = None
        self.last_at = self.last_count = 0
        self._whole = False
        self.truncated = not (
            self._write_answer(lookup.answer, start, most)
            and self._write_whole(AUTHORITY, lookup.authority)
            and self._write_denial(lookup.denial)
        )
        if not self.truncated:
            left_out = self._write_additional(lookup.additional)
            self._whole = not left_out
            # RFC 9471 section 2.1; other additional data, sibling glue too, may be missed.
            self.truncated = lookup.glue and _has_in_domain_glue(lookup.authority[0].owner, left_out)
        flags = _flags(frame, lookup.rcode & 15)
        flags |= (AA_BIT if lookup.authoritative else 0) | (TC_BIT if self.truncated else 0)
        tail = self._builder.finish(flags)
        self._heads = _heads(tail, frame)
        self.body = tail[self._body_at - ID_OCTETS : len(self._builder) - ID_OCTETS]

    def reply(self, body: Body) -> Reply:
        """The reply with this body, which is this draft's or one of the same records."""
        return Reply(self._heads, body, len(self._builder), self._serial_at, self._whole and not self.truncated)

    @property
    def owner_octets(self) -> int:
        """Octets of the owner of each record of the last answer rrset; 0 if the first one has it written out.

        It is a pointer to the question or to a CNAME's target, or the root. A template may make any other name, and
        so may `rewrite`; behind many aliases, names are written out too.
        """
        first = self.body[self.last_at : self.last_at + 1]
        return 2 if first >= b"\xc0" else 1 if first == b"\0" else 0

    def _write_answer(self, rrsets: tuple[RRset, ...], start: int, most: int | None) -> bool:
        if not rrsets:
            return True
        *chain, last = rrsets
        if not self._write_whole(ANSWER, tuple(chain)):
            return False
        rdatas = last.rdatas[start:] + last.rdatas[:start] if start else last.rdatas
        self.last_at = len(self._builder) - self._body_at
        self.last_count = self._builder.add_some(ANSWER, last.owner, last.rrtype, last.ttl, rdatas[:most])
        return self.last_count == len(rdatas)

    def _write_whole(self, section: int, rrsets: tuple[RRset, ...]) -> bool:
        return all(self._builder.add(section, r.owner, r.rrtype, r.ttl, r.rdatas) for r in rrsets)

    def _write_denial(self, denial: Denial | None) -> bool:
        if denial is None:
            return True
        soa = denial.zone.soa
        if not self._builder.add(AUTHORITY, soa.owner, soa.rrtype, denial.ttl, soa.rdatas):
            return False
        self._serial_at = len(self._builder) - self._body_at - _SERIAL_FROM_END
        return True

    def _write_additional(self, rrsets: tuple[RRset, ...]) -> list[RRset]:
        """Write each rrset that fits, whole; gives those that did not."""
        return [rrset for rrset in rrsets if not self._write_whole(ADDITIONAL, (rrset,))]


def _rotation(draft: _Draft, last: RRset, start: int) -> Iterator[bytes]:
    """Bodies that start the address records at each record in turn.

    Address records of one rrset have one size, so a rotation is a window on the records written twice in a row.
    """
    head_octets = draft.owner_octets + FIXED_RR_OCTETS
    size = head_octets + len(last.rdatas[0])
    body, at = draft.body, draft.last_at
    end = at + draft.last_count * size
    before, head, behind = body[:at], body[at : at + head_octets], body[end:]
    records = b"".join(head + rdata for rdata in last.rdatas[start:] + last.rdatas[:start])
    step = _step(len(last.rdatas), draft.last_count) * size
    return _windows(before, records * 2, behind, len(records), step, end - at)


def _step(count: int, shown: int) -> int:
    """How many records further each start is: 1 where all are shown.

    Where only some are, the next reply shows others, so that a burst of queries meets as many as it can; a step
    without a common factor with the count still makes each record first equally often.
    """
    if not 0 < shown < count:
        return 1
    return next(step for step in range(shown, shown + count) if gcd(step, count) == 1)


def _windows(before: bytes, doubled: bytes, behind: bytes, period: int, step: int, width: int) -> Iterator[bytes]:
    at = 0
    while True:
        yield before + doubled[at : at + width] + behind
        at = (at + step) % period


def _has_in_domain_glue(cut: bytes, rrsets: list[RRset]) -> bool:
    return any(is_subdomain(rrset.owner.lower(), cut.lower()) for rrset in rrsets)


def _flags(frame: Frame, rcode: int) -> int:
    return QR_BIT | (frame.flags & COPIED_FLAGS) | rcode


@lru_cache(maxsize=256)
def both_heads(head: bytes, has_opt: bool) -> tuple[bytes, bytes]:
    """Flags and counts of a reply without and with its OPT record, of which the one that `has_opt` says is given.

    One pair for all replies that have them, so that keeping many costs little.
    """
    with_opt = int.from_bytes(head[-2:]) + (not has_opt)
    return head[:-2] + (with_opt - 1).to_bytes(2), head[:-2] + with_opt.to_bytes(2)


def _heads(tail: bytes, frame: Frame) -> tuple[bytes, bytes]:
    return both_heads(tail[: HEADER_OCTETS - ID_OCTETS], bool(frame.opt))
