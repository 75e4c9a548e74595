"""One query with all that its answer may depend on, and the reasons for which it is told nothing (RFC 8914).

Not here: what answers it (kdns.answer.steps).
"""

from __future__ import annotations

from typing import NamedTuple

from kdns.answer.outcome import Refusal
from kdns.answer.rewrite import Reverter
from kdns.answer.shape import Keys
from kdns.answer.site import Site
from kdns.answer.template import Sender
from kdns.observe.tally import Meter
from kdns.wire.iana import EDE, Rcode, RRType
from kdns.wire.query import HEADER_OCTETS, Query

Client = tuple[bytes, int]  # packed address and port

TYPE_AND_CLASS_OCTETS = 4  # of a question, behind its name

TRANSFERS = frozenset((RRType.AXFR, RRType.IXFR))

# What answers a query that nothing else does.
NOT_READY: Refusal = (Rcode.SERVFAIL, EDE.NOT_READY, "data is not loaded yet")
NOT_OURS: Refusal = (Rcode.REFUSED, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server")
NOT_IN: Refusal = (Rcode.REFUSED, EDE.NOT_SUPPORTED, "only class IN is served")
NO_TRANSFER: Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "zone transfer is not allowed")
OVER_UDP: Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "a whole zone is sent over TCP alone")
BUSY: Refusal = (Rcode.SERVFAIL, EDE.OTHER, "too many zone transfers at once")
BROKEN: Refusal = (Rcode.SERVFAIL, EDE.OTHER, "kdns failed to answer; its log says why")


class Case(NamedTuple):
    """One query and all that its answer may depend on. keys: see kdns.answer.shape. meter: what counts the reply.

    While it is answered, `query` may become another question: what `rewrite` makes of it, where an alias leads.
    names: those that have led there. site: the one that takes that question. redirecting: the `cname` rules that hold
    for it.
    """

    message: bytes
    query: Query
    keys: Keys
    client: Client
    tcp: bool
    site: Site
    meter: Meter
    names: tuple[bytes, ...] = ()
    redirecting: Reverter | None = None


def sender_of(case: Case) -> Sender:
    """What its query says of itself. A name that nobody has sent is in small letters: `rewrite`, aliases."""
    sent = case.message[HEADER_OCTETS : case.query.end - TYPE_AND_CLASS_OCTETS]
    qname = sent if sent.lower() == case.query.qname else case.query.qname
    return Sender(case.client[0], int.from_bytes(case.message[:2]), qname)
