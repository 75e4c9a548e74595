"""The directives that answer, one after the other: each gives an outcome (kdns.answer.outcome), or nothing.

    rewrite: the steps behind it see another question, and its answer is rewritten back
    autopath: they are taken for one name after the other                                  (kdns.answer.searching)

An alias is followed in one way, whoever has it (a zone, a template, a `cname` rule): its target is answered as if the
client had asked for it, by the server block that takes it, and by all its directives but `autopath`, for it is a full
name. `acl` is one of them: what a client may not ask for, no alias tells it. Names of our zones are answered here and
now: only a name that no zone decides, or one that is an alias of such a name, ever waits. Not here: who may ask
(kdns.answer.guard), what a query has to be like (kdns.answer.responder), what becomes of one that waits
(kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from struct import Struct

from kdns.answer.acl import REPLIES, Acl
from kdns.answer.case import NO_TRANSFER, NOT_IN, NOT_OURS, TRANSFERS, Case, Client, sender_of
from kdns.answer.chaos import chaos_reply, texts
from kdns.answer.outcome import (
    Answered,
    Form,
    Leads,
    Outcome,
    followed,
    not_kept,
    refused,
    through,
)
from kdns.answer.outside import Outside, Pending
from kdns.answer.replying import Replier, complete
from kdns.answer.rewrite import Reverter
from kdns.answer.searching import Searcher
from kdns.answer.shape import frame_of, opt_of, question_of
from kdns.answer.site import Site
from kdns.answer.table import Entry, ReplyTable
from kdns.wire.iana import EDE, Rcode, RRClass, RRType
from kdns.wire.name import MAX_NAME_OCTETS
from kdns.wire.rules import AclAction
from kdns.zone.aliases import is_followed
from kdns.zone.lookup import hinfo, lookup
from kdns.zone.model import Lookup
from kdns.zone.rrset import RRset, address_rrsets

_srv_head = Struct(">3H").pack

AskAcl = Callable[[Acl, bytes, int, bytes], AclAction]

_SILENCE = Answered(Lookup(Rcode.REFUSED, authoritative=False, lasting=False), form=Form.SILENCE)
_TRUNCATED = Answered(Lookup(Rcode.NOERROR, lasting=False), form=Form.TRUNCATED)


class Steps:
    """The steps of one responder.

    table: for what is told from outside. site_of: the server block that takes a name. ask_acl: what an `acl` says of
    a name, a type and a client. on_failure: told of an exception; a kdns bug by definition.
    """

    def __init__(
        self,
        replier: Replier,
        table: ReplyTable,
        site_of: Callable[[bytes], Site | None],
        ask_acl: AskAcl,
        on_failure: Callable[[Exception, bytes], None],
    ) -> None:
        self.outside = Outside(table, _complete, replier.cell, on_failure, self._settle_later)
        self._replier = replier
        self._site_of = site_of
        self._ask_acl = ask_acl
        self._searcher = Searcher(partial(self._steps, _BEHIND_AUTOPATH), self._target)

    def answer(self, case: Case) -> Entry | Pending | None:
        """The reply to a query, or what waits for it; None for silence."""
        return self._settle(case, self._steps(_ORDER, case))

    def _steps(self, steps: Iterable[_Step], case: Case) -> Outcome:
        for step in steps:
            outcome = step(self, case)
            if outcome is not None:
                return outcome
        return None

    def _settle(self, case: Case, outcome: Outcome) -> Entry | Pending | None:
        if isinstance(outcome, Leads):
            return self.outside.pending(case, outcome)
        return _REPLIES[outcome.form](self._replier, case, outcome) if outcome else self._refuse(case)

    def _settle_later(self, case: Case, outcome: Outcome) -> bytes | Pending:
        """The same once something was told. Who waits is not left without a reply then, be it that it is refused."""
        settled = self._settle(case, outcome) or self._refuse(case)
        return settled if isinstance(settled, Pending) else _complete(case, settled)

    def _refuse(self, case: Case) -> Entry:
        return self._replier.refuse(case.query, case.site, case.tcp, NOT_OURS)

    def chaos(self, case: Case) -> Entry | None:
        """The `chaos` directive, which answers before data are there, too."""
        query, site = case.query, case.site
        found = texts(site.chaos, query) if site.chaos and query.qclass == RRClass.CH else None
        if found is None:
            return None
        opt = opt_of(query, site, 0)
        return self._replier.entry(query, chaos_reply(frame_of(query, site, case.tcp, opt), found), 0, opt, "chaos")

    def _newer(self, case: Case) -> Outcome:
        """IXFR over UDP, which `transfer` allows: there is room for the SOA alone (RFC 1995 section 2)."""
        if case.query.qtype != RRType.IXFR:
            return None
        zone = case.site.transferable(case.query.qname, case.client[0])
        found = Lookup(Rcode.NOERROR, (zone.soa,) if zone else (), lasting=False)
        return Answered(found, maker="transfer")

    def _any(self, case: Case) -> Outcome:
        """The `any` directive."""
        query = case.query
        if query.qtype != RRType.ANY or query.qclass != RRClass.IN or not case.site.any_hinfo:
            return None
        return Answered(Lookup(Rcode.NOERROR, (hinfo(query.qname),), lasting=False), maker="any")

    def _rewrite(self, case: Case) -> Outcome:
        """The `rewrite` directive: what is behind it answers another question."""
        return self._rewritten(case, _BEHIND_REWRITE)

    def _rewritten(self, case: Case, behind: Iterable[_Step]) -> Outcome:
        """What is behind `rewrite`, for the question that it makes; None if no rule holds."""
        asked = case.query
        found = case.site.rewriter.rewrite(asked.qname, asked.qtype, asked.qclass) if case.site.rewriter else None
        if found is None:
            return None
        if found.failure:
            return refused((Rcode.SERVFAIL, EDE.OTHER, found.failure), "rewrite")
        if found.qtype in TRANSFERS:
            return refused(NO_TRANSFER, "rewrite")
        query = asked._replace(qname=found.qname, qtype=found.qtype, qclass=found.qclass)
        names = case.names if query.qname == asked.qname else (*case.names, asked.qname)
        reverter = found.reverter
        case = case._replace(query=query, names=names, redirecting=reverter if reverter.redirects else None)
        outcome = self._steps(behind, case) or refused(NOT_OURS)
        return through(outcome, partial(_reverted, reverter))

    def _autopath(self, case: Case) -> Outcome:
        """The `autopath` directive."""
        spec = case.site.autopath
        return self._searcher.search(case, spec) if spec is not None and case.query.qclass == RRClass.IN else None

    def _template(self, case: Case) -> Outcome:
        """The `template` directive. An alias that it makes is followed."""
        query, templates = case.query, case.site.templates
        templated = templates.answer(query.qname, query.qtype, query.qclass, sender_of(case)) if templates else None
        if templated is None:
            return None
        found = templated.found
        last = found.answer[-1] if found.answer else None
        if last and last.rrtype == RRType.CNAME and query.qtype not in (RRType.CNAME, RRType.ANY):
            chain = Lookup(Rcode.NOERROR, found.answer, lasting=False, leads_to=last.rdatas[0].lower())
            return self._onward(case, chain, "template")
        return self._ended(case, Answered(found, templated.ede, "template"))

    def _class(self, case: Case) -> Outcome:
        """Zones, and servers outside as far as we ask them, are of class IN."""
        return None if case.query.qclass == RRClass.IN else refused(NOT_IN)

    def _zones_or_outside(self, case: Case) -> Outcome:
        """Hosts, then clusters, then zone files, then `forward`."""
        query, site = case.query, case.site
        passage = site.passage(query.qname, query.qtype)
        if passage.zone is not None:
            found = lookup(passage.zone, site.zone_of, query.qname, query.qtype)
            if found.leads_to:
                return self._onward(case, found, passage.directive)
            if passage.directive == "hosts":
                found = site.overlaid(found, query.qname)
            return self._ended(case, Answered(self._shown(case, found), maker=passage.directive))
        if not passage.is_outside:
            return None
        # ANY goes by TCP (RFC 8482 section 4.4): nobody's victim gets all that a name has.
        if query.qtype == RRType.ANY and not case.tcp:
            return _TRUNCATED
        # Where a cluster passed the name on nothing is kept: it may turn up there.
        return self._ended(case, Leads(site, question_of(query), passage.exists, passage.lasting))

    def _shown(self, case: Case, found: Lookup) -> Lookup:
        """What was found without the additional records that the client may not ask for."""
        acl = case.site.acl
        if acl is None or not any(acl.covers(one.owner.lower()) for one in found.additional):
            return found
        shown = tuple(
            one for one in found.additional
            if acl.verdict(one.owner.lower(), one.rrtype, case.client[0]).action is AclAction.ALLOW
        )
        return found._replace(additional=shown, lasting=False)

    def _whoami(self, case: Case) -> Outcome:
        """The `whoami` directive."""
        if not case.site.whoami:
            return None
        return Answered(_whoami(case.query.qname, case.client, case.tcp), maker="whoami")

    # Aliases

    def _onward(self, case: Case, chain: Lookup, maker: str) -> Outcome:
        """The answer to a question of which some aliases are known; the last one is followed."""
        redirection = case.redirecting.redirected(chain) if case.redirecting else None
        if redirection is not None:
            chain = chain._replace(answer=redirection.answer, leads_to=redirection.target, lasting=False)
        names = (*case.names, case.query.qname)
        if not is_followed(chain.leads_to, names):
            return Answered(chain._replace(leads_to=b""), maker=maker)
        return followed(self._target(case._replace(names=names), chain.leads_to), chain, maker)

    def _ended(self, case: Case, outcome: Outcome) -> Outcome:
        """An outcome in which no alias is left to be followed, unless a `cname` rule has one lead elsewhere."""
        return through(outcome, partial(self._redirected, case)) if case.redirecting else outcome

    def _redirected(self, case: Case, answered: Answered | None) -> Outcome:
        redirection = case.redirecting.redirected(answered.found) if case.redirecting and answered else None
        if redirection is None or answered is None:
            return answered
        chain = Lookup(
            Rcode.NOERROR, redirection.answer, authoritative=answered.found.authoritative, lasting=False,
            leads_to=redirection.target,
        )  # fmt: skip
        return self._onward(case._replace(redirecting=None), chain, answered.maker)

    def _target(self, case: Case, qname: bytes) -> Outcome:
        """What a name is answered with that nobody has asked for: an alias' target, a name of a search list.

        It is answered as if the client had asked for it; None if nothing answers.
        """
        site = self._site_of(qname)
        if site is None:
            return None
        case = case._replace(query=case.query._replace(qname=qname), site=site, redirecting=None)
        if site.acl is None or not site.acl.covers(qname):
            return self._steps(_FOR_TARGETS, case)
        action = self._ask_acl(site.acl, qname, case.query.qtype, case.client[0])
        if action is AclAction.DROP:
            return _SILENCE
        if action is not AclAction.ALLOW:
            return refused(REPLIES[action], "acl")
        return through(self._steps(_FOR_TARGETS, case), not_kept)

    def _rewrite_target(self, case: Case) -> Outcome:
        return self._rewritten(case, _BEHIND_AUTOPATH)


# What answers a query that nothing refuses: the first of these that has an answer. The order is CoreDNS's: acl, any,
# rewrite, autopath, template, hosts, kubernetes, file, forward, whoami.
_Step = Callable[[Steps, Case], Outcome]
_BEHIND_AUTOPATH: tuple[_Step, ...] = (Steps._template, Steps._class, Steps._zones_or_outside, Steps._whoami)
_BEHIND_REWRITE: tuple[_Step, ...] = (Steps._autopath, *_BEHIND_AUTOPATH)
_ORDER: tuple[_Step, ...] = (Steps._newer, Steps._any, Steps._rewrite, *_BEHIND_REWRITE)
# For the target of an alias, and for the names that `autopath` tries.
_FOR_TARGETS: tuple[_Step, ...] = (Steps._rewrite_target, *_BEHIND_AUTOPATH)

_REPLIES: dict[Form, Callable[[Replier, Case, Answered], Entry | None]] = {
    Form.WHOLE: Replier.compile,
    Form.TRUNCATED: lambda replier, case, _: replier.truncated(case.query, case.site),
    Form.SILENCE: lambda *_: None,
}


def _reverted(reverter: Reverter, answered: Answered | None) -> Outcome:
    return answered and answered._replace(found=reverter.revert(answered.found))


def _complete(case: Case, entry: Entry) -> bytes:
    query = case.query
    return complete(case.message, query.end, entry, query.edns is not None, case.meter)


def _whoami(qname: bytes, client: Client, tcp: bool) -> Lookup:
    """The client's address and port, as CoreDNS's `whoami` says them."""
    address, port = client
    owner = (b"\x04_tcp" if tcp else b"\x04_udp") + qname
    srv = RRset(owner, RRType.SRV, 0, (_srv_head(0, 0, port) + b"\0",))
    addresses = tuple(address_rrsets(qname, 0, (address,)).values())
    additional = (*addresses, srv) if len(owner) <= MAX_NAME_OCTETS else addresses
    return Lookup(Rcode.NOERROR, additional=additional, lasting=False)
