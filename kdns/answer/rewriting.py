"""Where `rewrite` has changed a question: which one was asked, and what is made of the answer.

The steps behind `rewrite` see the query as rewritten; the reply has the client's own question, and the records that
are found are rewritten back before they are written. Answers of servers outside come as octets, and are read for it.
Not here: the rules (kdns.answer.rewrite), the steps (kdns.answer.steps).
"""

from __future__ import annotations

from typing import NamedTuple

from kdns.answer.rewrite import Reverter
from kdns.wire.iana import Rcode, RRType
from kdns.wire.message import Message, Record
from kdns.wire.query import Query
from kdns.zone.model import Lookup
from kdns.zone.rrset import RRset


class Rewriting(NamedTuple):
    """asked: the query as the client sent it. reverter: makes of the answer one to that."""

    asked: Query
    reverter: Reverter


def reverted(message: Message, reverter: Reverter) -> Message:
    """A message of a server outside with its records rewritten back."""

    def section(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(
            Record(
                reverter.owner(record.owner), record.rrtype, record.rrclass, reverter.ttl(record.ttl),
                reverter.rdata(record.rrtype, record.rdata),
            )
            for record in records
        )

    return message._replace(
        answer=section(message.answer),
        authority=section(message.authority),
        additional=section(message.additional),
    )


def aliases_of(chain: Lookup | None, message: Message | None) -> Lookup:
    """The CNAME records of ours and of a message that answers for the last one: what a `cname` rule looks at."""
    answer = tuple(
        RRset(record.owner, record.rrtype, record.ttl, (record.rdata,))
        for record in (message.answer if message else ())
        if record.rrtype == RRType.CNAME
    )
    return Lookup(Rcode.NOERROR, (*(chain.answer if chain else ()), *answer))
