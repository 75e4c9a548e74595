"""A responder that asks a guard first: whatever is kept, nothing is sent before (RFC 7873, 5001, 8914).

    known form or parsed -> guard -> refused, silence, TC -> reply + options of this client
                                  -> answered as ever     -> reply + options of this client

Every reply gets the options that are due to its client: kept ones, errors, truncated ones, those that come from
outside. There is always room for them (kdns.answer.site.Site.room). Not here: what the guard decides
(kdns.answer.guard), how answers are made (kdns.answer.steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kdns.answer.acl import REPLIES, Acl
from kdns.answer.case import BROKEN, Client
from kdns.answer.compiler import ID_OCTETS
from kdns.answer.cookies import asks_for_cookie_alone
from kdns.answer.form import form_with_cookie
from kdns.answer.guard import Asker, Guard, Judged, Ruling, told_nsid
from kdns.answer.outside import Pending
from kdns.answer.replying import complete
from kdns.answer.responder import Responder, transfer_query
from kdns.answer.site import Site
from kdns.answer.table import Entry
from kdns.observe.tally import Meter, Tally
from kdns.wire.builder import with_options
from kdns.wire.cookie import COOKIE_OPTION
from kdns.wire.iana import Rcode
from kdns.wire.message import layout
from kdns.wire.outside import Told
from kdns.wire.query import HEADER_OCTETS, Query, find_option, parse_query
from kdns.wire.rules import AclAction
from kdns.zone.model import Zone

if TYPE_CHECKING:
    from random import Random


class _Known(NamedTuple):
    """A query in a common form (kdns.answer.form), and the reply that is kept for it."""

    question: bytes
    payload: int
    cookie: bytes | None
    entry: Entry


class _Case(NamedTuple):
    """A query, and what is to become of it."""

    message: bytes
    query: Query
    client: Client
    tcp: bool
    judged: Judged
    meter: Meter


class GuardedResponder(Responder):
    """See the module's docstring. The arguments are those of Responder, but for the guard."""

    def __init__(
        self,
        guard: Guard,
        sites: tuple[Site, ...],
        tally: Tally,
        rng: Random,
        serial_cell: Callable[[Zone], list[bytes]],
        on_failure: Callable[[Exception, bytes], None],
        numbers: Mapping[bytes, int] | None = None,
    ) -> None:
        super().__init__(sites, tally, rng, serial_cell, on_failure, numbers)
        self.guard = guard
        self.has_short_cut = not guard.is_strict

    def respond(
        self, message: bytes, client: Client, tcp: bool, meter: Meter | None = None
    ) -> bytes | Pending | None:
        """As Responder.respond."""
        meter = meter or self.meter
        try:
            return self._respond(message, client, Asker(client[0], tcp), meter)
        except Exception as error:  # a guard that fails lets nothing pass
            self._on_failure(error, message)
            query = parse_query(message)
            broken = self._replier.refuse(query, None, tcp, BROKEN) if query else None
            return self._send(message, query, broken, b"", meter) if query and broken else None

    def transfer(
        self, message: bytes, client: Client, has_room: bool, meter: Meter | None = None
    ) -> Iterator[bytes] | None:
        """As Responder.transfer; who may not ask for it, or not so, is left to `respond`."""
        query = transfer_query(message)
        site = self._site(query.qname) if query else None
        if query is None or site is None or not _lets_pass(site, query, client):
            return None
        if self.guard.is_malformed(_cookie_of(query)):
            return None
        stream = super().transfer(message, client, has_room, meter)
        if stream is None:
            return None
        options = self._judge(query, Asker(client[0], True)).options + self._nsid(query)
        return (_with_options(one, options) for one in stream) if options else stream

    def _respond(self, message: bytes, client: Client, asker: Asker, meter: Meter) -> bytes | Pending | None:
        known = self._known(message, asker.tcp)
        if known is not None:
            judged = self._judge_known(known, asker)
            if judged.ruling is Ruling.ANSWER:
                end = HEADER_OCTETS + len(known.question)
                return self._complete_for(message, end, known.entry, known.payload > 0, judged.options, meter)
        query = parse_query(message)
        if query is None:
            return super().respond(message, client, asker.tcp, meter)  # which counts it
        if known is None:
            judged = self._judge(query, asker)
        outcome = _OUTCOMES[judged.ruling](self, _Case(message, query, client, asker.tcp, judged, meter))
        options = judged.options + (self._nsid(query) if self.guard.has_nsid else b"")
        if isinstance(outcome, Pending):
            return Pending(outcome.ask, partial(_finish, outcome.finish, options)) if options else outcome
        return None if outcome is None else self._send(message, query, outcome, options, meter)

    def _known(self, message: bytes, tcp: bool) -> _Known | None:
        """That there is such a reply says that the question is a sound one."""
        form = form_with_cookie(message[ID_OCTETS:])
        if form is None:
            return None
        question, payload, cookie = form[0].lower(), form[1], form[2]
        entry = self.table.current.get(question) or self.kept(question, payload, tcp)
        return None if entry is None else _Known(question, payload, cookie, entry)

    def _judge_known(self, known: _Known, asker: Asker) -> Judged:
        qname, qtype = known.question[:-4], int.from_bytes(known.question[-4:-2])
        site = self._site(qname) if self.guard.has_acl else None
        return self.guard.judge(site, asker, qname, qtype, known.cookie)

    def _judge(self, query: Query, asker: Asker) -> Judged:
        site = None if query.rcode else self._site(query.qname)
        return self.guard.judge(site, asker, query.qname, query.qtype, _cookie_of(query))

    def _nsid(self, query: Query) -> bytes:
        return told_nsid(self._site(query.qname), query.edns.options) if query.edns else b""

    def _send(self, message: bytes, query: Query, entry: Entry, options: bytes, meter: Meter) -> bytes:
        return self._complete_for(message, query.end, entry, query.edns is not None, options, meter)

    def _complete_for(
        self, message: bytes, end: int, entry: Entry, with_opt: bool, options: bytes, meter: Meter
    ) -> bytes:
        """The reply, with the options of this client; see kdns.answer.replying.complete."""
        reply = complete(message, end, entry, with_opt, meter)
        return with_options(reply, len(reply) - len(entry[2]), options) if options else reply

    def _ask_acl(self, acl: Acl, qname: bytes, qtype: int, client: bytes) -> AclAction:
        return self.guard.ask_acl(acl, client, qname, qtype)

    # What becomes of a query, by ruling

    def _let_pass(self, case: _Case) -> Entry | Pending | None:
        message, query, client, tcp, judged, meter = case
        is_sound = query.edns is not None and not query.edns.version
        if judged.has_cookie and is_sound and asks_for_cookie_alone(message):
            return self._replier.bare(query, self._site(query.qname), tcp, Rcode.NOERROR)
        return self._keep_or_answer(message, query, client, tcp, meter)

    def _turn_away(self, case: _Case) -> Entry:
        reason = REPLIES[AclAction(case.judged.ruling.value)]
        return self._replier.refuse(case.query, self._site(case.query.qname), case.tcp, reason, "acl")

    def _send_to_tcp(self, case: _Case) -> Entry:
        """An error, which is as short, is sent as it is."""
        site = self._site(case.query.qname)
        if case.query.rcode:
            return self._replier.bare(case.query, site, case.tcp, case.query.rcode)
        return self._replier.truncated(case.query, site)

    def _call_malformed(self, case: _Case) -> Entry:
        site = self._site(case.query.qname)
        return self._replier.bare(case.query, site, case.tcp, case.query.rcode or Rcode.FORMERR)


_OUTCOMES: dict[Ruling, Callable[[GuardedResponder, _Case], Entry | Pending | None]] = {
    Ruling.ANSWER: GuardedResponder._let_pass,
    Ruling.BLOCK: GuardedResponder._turn_away,
    Ruling.FILTER: GuardedResponder._turn_away,
    Ruling.SILENCE: lambda *_: None,
    Ruling.SLIP: GuardedResponder._send_to_tcp,
    Ruling.FORMERR: GuardedResponder._call_malformed,
}


def _cookie_of(query: Query) -> bytes | None:
    return find_option(query.edns.options, COOKIE_OPTION) if query.edns else None


def _lets_pass(site: Site, query: Query, client: Client) -> bool:
    return site.acl is None or site.acl.verdict(query.qname, query.qtype, client[0]).action is AclAction.ALLOW


def _finish(finish: Callable[[Told], bytes | Pending], options: bytes, told: Told) -> bytes | Pending:
    """A reply that was waited for, with the options of this client."""
    reply = finish(told)
    if isinstance(reply, Pending):
        return reply._replace(finish=partial(_finish, reply.finish, options))
    return _with_options(reply, options)


def _with_options(reply: bytes, options: bytes) -> bytes:
    measured = layout(reply)
    if measured is None or measured.opt_at is None:
        return reply
    return with_options(reply, measured.opt_at, options)
