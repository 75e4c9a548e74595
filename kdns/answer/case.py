"""One query with all that its answer may depend on, and the reasons for which it is told nothing (RFC 8914).

Not here: what answers it (kdns.answer.steps).
"""

from __future__ import annotations

from typing import NamedTuple

from kdns.answer.rewriting import Rewriting
from kdns.answer.shape import Keys
from kdns.answer.site import Passage, Site
from kdns.answer.table import Entry
from kdns.observe.tally import Meter
from kdns.wire.iana import EDE, Rcode, RRType
from kdns.wire.query import Query
from kdns.zone.model import Lookup

Client = tuple[bytes, int]  # packed address and port

TRANSFERS = frozenset((RRType.AXFR, RRType.IXFR))

# What answers a query that nothing else does: rcode, EDE code and text.
Refusal = tuple[int, int, str]
NOT_READY: Refusal = (Rcode.SERVFAIL, EDE.NOT_READY, "data is not loaded yet")
NOT_OURS: Refusal = (Rcode.REFUSED, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server")
NOT_IN: Refusal = (Rcode.REFUSED, EDE.NOT_SUPPORTED, "only class IN is served")
NO_TRANSFER: Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "zone transfer is not allowed")
OVER_UDP: Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "a whole zone is sent over TCP alone")
BUSY: Refusal = (Rcode.SERVFAIL, EDE.OTHER, "too many zone transfers at once")
BROKEN: Refusal = (Rcode.SERVFAIL, EDE.OTHER, "kdns failed to answer; its log says why")

# What is given back for what a probe has taken.
PROBED: Entry = ((b"", b""), b"", b"", 0, None, ())


class Leads(NamedTuple):
    """A name for outside: the site that forwards the question, how, and the aliases of ours that lead there."""

    site: Site
    passage: Passage
    question: bytes
    chain: Lookup | None


class Probe:
    """Takes what would have been answered. found: by us, its EDE, and the directive; leads: where it is for outside.

    Neither: it is refused.
    """

    __slots__ = ("ede", "found", "leads", "maker")

    def __init__(self) -> None:
        self.found: Lookup | None = None
        self.ede: tuple[int, str] | None = None
        self.maker = ""
        self.leads: Leads | None = None


class Case(NamedTuple):
    """One query and all that its answer may depend on. keys: see kdns.answer.shape.

    query: what is to be answered; what `rewrite` made of the client's, if `rewriting` is set. probe: takes what is
    found, which is no reply yet. aliases: how many of a template or a `cname` rule have led here. meter: what counts
    the reply. maker: the directive that is answering it, one of kdns.observe.tally.MAKERS.
    """

    message: bytes
    query: Query
    keys: Keys
    client: Client
    tcp: bool
    site: Site
    meter: Meter
    maker: str = ""
    rewriting: Rewriting | None = None
    probe: Probe | None = None
    aliases: int = 0

    @property
    def asked(self) -> Query:
        """The query as the client sent it."""
        return self.rewriting.asked if self.rewriting else self.query
