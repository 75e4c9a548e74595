"""The directives that answer, one after the other: each gives the reply, what waits for it, or nothing.

    rewrite: the steps behind it see another question, and its answer is rewritten back    (kdns.answer.rewriting)
    autopath: they are taken for one name after the other                                  (kdns.answer.searching)

Names of our zones are answered here and now: only a name that no zone decides, or one that is an alias of such a
name, ever waits. Not here: who may ask (kdns.answer.guard), what a query has to be like (kdns.answer.responder), what
becomes of one that waits (kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from struct import Struct

from kdns.answer.case import BROKEN, NO_TRANSFER, NOT_IN, NOT_OURS, TRANSFERS, Case, Client, Leads, Probe
from kdns.answer.chaos import chaos_reply, texts
from kdns.answer.outside import Asked, Outside, Pending, message_of
from kdns.answer.replying import Replier, complete
from kdns.answer.rewrite import Reverter
from kdns.answer.rewriting import Rewriting, aliases_of
from kdns.answer.searching import Searcher
from kdns.answer.shape import frame_of, opt_of, question_of
from kdns.answer.site import Passage, Site
from kdns.answer.table import Entry
from kdns.wire.iana import EDE, Rcode, RRClass, RRType
from kdns.wire.name import MAX_NAME_OCTETS
from kdns.wire.outside import Told
from kdns.zone.lookup import MAX_ALIASES, hinfo, lookup
from kdns.zone.model import Lookup
from kdns.zone.rrset import RRset, address_rrsets

_srv_head = Struct(">3H").pack


class Steps:
    """The steps of one responder.

    site_of: the server block that takes a name. on_failure: told of an exception; a kdns bug by definition.
    """

    def __init__(
        self,
        replier: Replier,
        outside: Outside,
        site_of: Callable[[bytes], Site | None],
        on_failure: Callable[[Exception, bytes], None],
    ) -> None:
        self._replier = replier
        self._outside = outside
        self._site_of = site_of
        self._on_failure = on_failure
        self._searcher = Searcher(self._probe, replier.compile, self._pend_leads, self._pend_searched, self._later)

    def answer(self, case: Case) -> Entry | Pending:
        """The reply to a query, or what waits for it."""
        return self._steps(_ORDER, case)

    def _steps(self, steps: Iterable[_Step], case: Case) -> Entry | Pending:
        for step in steps:
            outcome = step(self, case)
            if outcome is not None:
                return outcome
        return self._replier.refuse(case.asked, case.site, case.tcp, NOT_OURS)

    def chaos(self, case: Case) -> Entry | None:
        """The `chaos` directive, which answers before data are there, too."""
        query, site = case.query, case.site
        found = texts(site.chaos, query) if site.chaos and query.qclass == RRClass.CH else None
        if found is None:
            return None
        opt = opt_of(query, site, 0)
        return self._replier.entry(query, chaos_reply(frame_of(query, site, case.tcp, opt), found), 0, opt, "chaos")

    def _newer(self, case: Case) -> Entry | None:
        """IXFR over UDP, which `transfer` allows: there is room for the SOA alone (RFC 1995 section 2)."""
        if case.query.qtype != RRType.IXFR:
            return None
        zone = case.site.transferable(case.query.qname, case.client[0])
        found = Lookup(Rcode.NOERROR, (zone.soa,) if zone else (), lasting=False)
        return self._replier.compile(case._replace(maker="transfer"), found)

    def _any(self, case: Case) -> Entry | None:
        """The `any` directive."""
        query = case.query
        if query.qtype != RRType.ANY or query.qclass != RRClass.IN or not case.site.any_hinfo:
            return None
        found = Lookup(Rcode.NOERROR, (hinfo(query.qname),), lasting=False)
        return self._replier.compile(case._replace(maker="any"), found)

    def _rewrite(self, case: Case) -> Entry | Pending | None:
        """The `rewrite` directive: what is behind it answers another question."""
        asked, site, tcp = case.query, case.site, case.tcp
        found = site.rewriter.rewrite(asked.qname, asked.qtype, asked.qclass) if site.rewriter else None
        if found is None:
            return None
        if found.failure:
            return self._replier.refuse(asked, site, tcp, (Rcode.SERVFAIL, EDE.OTHER, found.failure), "rewrite")
        query = asked._replace(qname=found.qname, qtype=found.qtype, qclass=found.qclass)
        if query.qtype in TRANSFERS:
            return self._replier.refuse(asked, site, tcp, NO_TRANSFER, "rewrite")
        case = case._replace(query=query, rewriting=Rewriting(asked, found.reverter))
        if found.reverter.redirects:
            return self._redirected(case, found.reverter)
        return self._steps(_BEHIND_REWRITE, case)

    def _redirected(self, case: Case, reverter: Reverter) -> Entry | Pending:
        """The `cname` rules of `rewrite`: an alias may lead elsewhere."""
        probe = Probe()
        outcome = self._steps(_BEHIND_REWRITE, case._replace(probe=probe))
        leads = probe.leads
        found = leads.chain if leads else probe.found
        redirection = reverter.redirected(found) if found else None
        if redirection is not None:
            return self._onward(case, *redirection)
        if leads is None:
            return self._replier.compile(case, found, probe.ede) if found else outcome
        pending = self._pend_leads(case._replace(keys=()), leads)  # asked again, it would not be redirected

        def finish(told: Told) -> bytes | Pending:
            redirection = reverter.redirected(aliases_of(found, message_of(pending.ask.question, told)))
            if redirection is None:
                return pending.finish(told)
            return self._later(case, lambda: self._onward(case, *redirection), partial(pending.finish, told))

        return pending._replace(finish=finish)

    def _autopath(self, case: Case) -> Entry | Pending | None:
        """The `autopath` directive."""
        spec, query = case.site.autopath, case.query
        if spec is None or case.probe is not None or query.qclass != RRClass.IN:
            return None
        return self._searcher.search(case, spec, query.qname, query.qtype)

    def _template(self, case: Case) -> Entry | Pending | None:
        """The `template` directive. An alias that it makes is followed."""
        query, templates = case.query, case.site.templates
        templated = templates.answer(query.qname, query.qtype, query.qclass) if templates else None
        if templated is None:
            return None
        case, found = case._replace(maker="template"), templated.found
        last = found.answer[-1] if found.answer else None
        if last and last.rrtype == RRType.CNAME and query.qtype not in (RRType.CNAME, RRType.ANY):
            return self._onward(case, found.answer, last.rdatas[0].lower())
        return self._replier.compile(case, found, templated.ede)

    def _class(self, case: Case) -> Entry | None:
        """Zones, and servers outside as far as we ask them, are of class IN."""
        if case.query.qclass == RRClass.IN:
            return None
        return self._replier.refuse(case.asked, case.site, case.tcp, NOT_IN)

    def _zones_or_outside(self, case: Case) -> Entry | Pending | None:
        """Hosts, then clusters, then zone files, then `forward`."""
        query, site = case.query, case.site
        passage = site.passage(query.qname, query.qtype)
        if passage.zone is None:
            return self._forward(case, passage) if passage.is_outside else None
        case = case._replace(maker=passage.directive)
        found = lookup(passage.zone, site.zone_of, query.qname, query.qtype)
        return (self._follow(case, found) if found.leads_to else None) or self._replier.compile(case, found)

    def _forward(self, case: Case, passage: Passage) -> Entry | Pending:
        """A name for outside. ANY goes by TCP (RFC 8482 section 4.4): nobody's victim gets all that a name has."""
        if case.query.qtype == RRType.ANY and not case.tcp:
            return self._replier.truncated(case.asked, case.site)
        return self._pend(case, case.site, passage, question_of(case.query), None)

    def _onward(self, case: Case, answer: tuple[RRset, ...], target: bytes) -> Entry | Pending:
        """The answer to a question of which some aliases are known; the last one's target is looked up like any name.

        A target that nothing answers is left to the client's resolver.
        """
        probe = Probe()
        if case.aliases < MAX_ALIASES:
            probe = self._probe(case._replace(aliases=case.aliases + 1), target)
        found = (probe.leads.chain if probe.leads else probe.found) or Lookup(Rcode.NOERROR)
        whole = tuple(dict.fromkeys((*answer, *found.answer)))  # in a circle, aliases come again
        found = found._replace(answer=whole, lasting=False)
        if probe.leads is not None:
            return self._pend_leads(case, probe.leads._replace(chain=found))
        return self._replier.compile(case, found, probe.ede)

    def _follow(self, case: Case, found: Lookup) -> Pending | None:
        """An alias that leads outside; None if the site that takes its target does not forward it.

        The client's resolver takes it from there then, as far as it can.
        """
        target = found.leads_to
        site = self._site_of(target)
        passage = site.passage(target, case.query.qtype) if site else None
        if site is None or passage is None or not passage.is_outside:
            return None
        return self._pend(case, site, passage, target + question_of(case.query)[len(case.query.qname) :], found)

    def _pend(
        self, case: Case, site: Site, passage: Passage, question: bytes, chain: Lookup | None, maker: str = ""
    ) -> Pending:
        """Wait for the answer to a question that this site forwards. maker: see Asked.

        Where a cluster passed the name on nothing is kept: it may turn up there.
        """
        keys = case.keys if passage.lasting else ()
        reverter = case.rewriting.reverter if case.rewriting else None
        asked = Asked(
            case.message, case.asked, case.tcp, case.site, keys, chain, passage.exists, reverter, case.meter.late,
            maker=maker,
        )
        pending = self._outside.pending(asked, site, question, case.client[0])
        if case.probe is not None:
            case.probe.leads = Leads(site, passage, question, chain)
        return pending

    def _pend_leads(self, case: Case, leads: Leads) -> Pending:
        return self._pend(case, *leads)

    def _pend_searched(self, case: Case, leads: Leads) -> Pending:
        return self._pend(case, *leads, maker="autopath")

    def _probe(self, case: Case, qname: bytes | None) -> Probe:
        """What a name is answered with, None for the name that is asked, of which the first steps are taken already.

        Another name is looked up as if its client had asked for it. If that question would be rewritten it is as if
        refused.
        """
        probe = Probe()
        if qname is None:
            self._steps(_BEHIND_AUTOPATH, case._replace(probe=probe))
            return probe
        site = self._site_of(qname)
        query = case.query._replace(qname=qname)
        if site and not (site.rewriter and site.rewriter.changes(qname, query.qtype, query.qclass)):
            self._steps(_FOR_PROBES, case._replace(query=query, site=site, probe=probe))
        return probe

    def _later(
        self, case: Case, then: Callable[[], Entry | Pending | None], otherwise: Callable[[], bytes | Pending]
    ) -> bytes | Pending:
        """What comes of a query, once something was told of it; that of `otherwise` where `then` gives nothing."""
        try:
            outcome = then()
        except Exception as error:  # as in `_keep_or_answer`
            self._on_failure(error, case.message)
            outcome = self._replier.refuse(case.asked, None, case.tcp, BROKEN)
        if outcome is None or isinstance(outcome, Pending):
            return outcome or otherwise()
        query = case.asked
        return complete(case.message, query.end, outcome, query.edns is not None, case.meter.late)

    def _whoami(self, case: Case) -> Entry | None:
        """The `whoami` directive."""
        if not case.site.whoami:
            return None
        return self._replier.compile(case._replace(maker="whoami"), _whoami(case.query.qname, case.client, case.tcp))


# What answers a query that nothing refuses: the first of these that has an answer. The order is CoreDNS's: acl, any,
# rewrite, autopath, template, hosts, kubernetes, file, forward, whoami.
_Step = Callable[[Steps, Case], Entry | Pending | None]
_BEHIND_AUTOPATH: tuple[_Step, ...] = (Steps._template, Steps._class, Steps._zones_or_outside, Steps._whoami)
_BEHIND_REWRITE: tuple[_Step, ...] = (Steps._autopath, *_BEHIND_AUTOPATH)
_BEFORE_REWRITE: tuple[_Step, ...] = (Steps._any,)
_ORDER: tuple[_Step, ...] = (Steps.chaos, Steps._newer, *_BEFORE_REWRITE, Steps._rewrite, *_BEHIND_REWRITE)
# For the names that `autopath` tries.
_FOR_PROBES: tuple[_Step, ...] = (*_BEFORE_REWRITE, *_BEHIND_AUTOPATH)


def _whoami(qname: bytes, client: Client, tcp: bool) -> Lookup:
    """The client's address and port, as CoreDNS's `whoami` says them."""
    address, port = client
    owner = (b"\x04_tcp" if tcp else b"\x04_udp") + qname
    srv = RRset(owner, RRType.SRV, 0, (_srv_head(0, 0, port) + b"\0",))
    addresses = tuple(address_rrsets(qname, 0, (address,)).values())
    additional = (*addresses, srv) if len(owner) <= MAX_NAME_OCTETS else addresses
    return Lookup(Rcode.NOERROR, additional=additional, lasting=False)
