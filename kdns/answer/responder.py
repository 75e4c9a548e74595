"""The whole decision from a query's bytes to a reply's bytes (RFC 1034 4.3.2, 6891, 7766, 8482, 8906, 8914, 9619).

    known form, kept reply? -> parse -> site (server block) -> zone -> lookup -> compile -> keep -> complete
                                                            -> Pending, for what `forward` takes
    rewrite: the steps behind it see another question, and its answer is rewritten back    (kdns.answer.rewriting)
    autopath: they are taken for one name after the other                                  (kdns.answer.searching)

Every query with a header gets a reply, whatever else it is; nothing raises. Listeners with the same sites share one.
Names of our zones are answered here and now: only a name that no zone decides, or one that is an alias of such a
name, ever waits. Not here: sockets, and the short cut past all this for what is kept (kdns.server.udp); what becomes
of a query that waits (kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from kdns.answer.chaos import chaos_reply, texts
from kdns.answer.compiler import ID_OCTETS, Frame, Reply, compile_error, compile_reply, compile_truncated
from kdns.answer.form import form_of
from kdns.answer.minimal import minimal_lookup
from kdns.answer.outside import SHED, Asked, Outside, Pending, message_of
from kdns.answer.passing import Passing, is_plain, passing_of
from kdns.answer.rewrite import Reverter
from kdns.answer.rewriting import Rewriting, aliases_of
from kdns.answer.searching import Leads, Probe, Searcher
from kdns.answer.shape import Keys, entry_of, form_key, frame_of, key_for, keys_of, making_of, opt_of, question_of
from kdns.answer.site import Decider, Passage, Site
from kdns.answer.table import GENERATION, Entry, ReplyTable, SerialSplice
from kdns.answer.transfer import Request, contents_of, is_current, is_known, known_serial, messages, soa_message
from kdns.observe.tally import Making, Meter, Tally
from kdns.wire.iana import EDE, Rcode, RRClass, RRType
from kdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, ROOT, is_subdomain, suffixes
from kdns.wire.outside import Ask, Told
from kdns.wire.query import HEADER_OCTETS, RD_BIT, Query, parse_query
from kdns.zone.lookup import MAX_ALIASES, hinfo, lookup
from kdns.zone.model import Denial, Dependency, Lookup, Zone
from kdns.zone.rrset import RRset, address_rrsets

if TYPE_CHECKING:
    from random import Random

Client = tuple[bytes, int]  # packed address and port

SERIAL_OCTETS = 4
_TRANSFERS = frozenset((RRType.AXFR, RRType.IXFR))
_TRANSFER_TAILS = tuple(b"\0" + bytes((rrtype, 0, RRClass.IN)) for rrtype in _TRANSFERS)  # type and class
_srv_head = Struct(">3H").pack

# What is given back for what a probe has taken.
_PROBED: Entry = ((b"", b""), b"", b"", 0, None, ())

# What answers a query that no zone decides: rcode, EDE code and text.
_Refusal = tuple[int, int, str]
_NOT_READY: _Refusal = (Rcode.SERVFAIL, EDE.NOT_READY, "data is not loaded yet")
_NOT_OURS: _Refusal = (Rcode.REFUSED, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server")
_CLASS: _Refusal = (Rcode.REFUSED, EDE.NOT_SUPPORTED, "only class IN is served")
_TRANSFER: _Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "zone transfer is not allowed")
BROKEN: _Refusal = (Rcode.SERVFAIL, EDE.OTHER, "kdns failed to answer; its log says why")
_OVER_UDP: _Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "a whole zone is sent over TCP alone")
_BUSY: _Refusal = (Rcode.SERVFAIL, EDE.OTHER, "too many zone transfers at once")


class _Case(NamedTuple):
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


class Responder:
    """Answers the queries of the listeners that have these sites.

    sites: the server blocks of the listener.
    serial_cell: gives the cell with the serial octets of a zone, which lives as long as replies are kept.
    on_failure: told of an exception that a query caused; a kdns bug by definition.
    numbers: of the zones of the sites, by those of the tally.
    """

    def __init__(
        self,
        sites: tuple[Site, ...],
        tally: Tally,
        rng: Random,
        serial_cell: Callable[[Zone], list[bytes]],
        on_failure: Callable[[Exception, bytes], None],
        generation: int = GENERATION,
        numbers: Mapping[bytes, int] | None = None,
    ) -> None:
        self.has_short_cut = True  # what is kept may be sent without asking `respond`
        self.tally = tally
        self._numbers = numbers or {}
        self.meter = tally.meter(0, False, 4)
        self.table = ReplyTable(generation)
        self.ready = False
        self._sites = {apex: site for site in sites for apex in site.zones}
        self._deciders: list[Decider] = []
        # What passes names on that are in no zone, by the apexes of server blocks; and the apexes of all zones.
        self._passing: dict[bytes, Passing] = {}
        self._zones: tuple[bytes, ...] = ()
        self._rng = rng
        self._serial_cell = serial_cell
        self._on_failure = on_failure
        self._outside = Outside(self.table, self._complete, self._cell, on_failure)
        self._searcher = Searcher(self._probe, self._compile, self._pend_leads, self._later)

    def publish(self) -> None:
        """The zones of the sites are others now: forget all replies, and answer from the new zones."""
        self.table.clear()
        self._outside.published()
        self._set_deciders()
        self.ready = True

    def replace(self, changed: Dependency) -> None:
        """A zone file's zone is another now: forget the replies made of the old one."""
        for _ in self.drop({changed}):
            pass
        self.table.denials.clear()
        self._set_deciders()

    def _set_deciders(self) -> None:
        deciders = {
            decider.apex: decider
            for site in self._sites.values()
            for decider in site.deciders()
            if self._site(decider.apex) is site
        }
        self._deciders = sorted(deciders.values(), key=lambda decider: len(decider.apex), reverse=True)
        sites = self._sites.values()
        self._zones = tuple({apex for site in sites for backend in site.backends for apex in backend.zones()})
        self._passing = {
            apex: passing_of(site.group, site.max_udp_octets, self._zone_number(apex))
            for apex, site in self._sites.items()
            if site.group is not None and site.passes_on
        }

    def drop(self, changed: Iterable[Dependency]) -> Iterator[None]:
        """Forget the replies made of what changed, in steps; see ReplyTable.drop."""
        self._outside.changed()
        return self.table.drop(changed)

    @property
    def transfers(self) -> bool:
        """Whether anybody may have any zone whole."""
        return any(site.transfers for site in self._sites.values())

    def transfer(
        self, message: bytes, client: Client, has_room: bool, meter: Meter | None = None
    ) -> Iterator[bytes] | None:
        """The messages of a zone that a query over TCP asks for whole; None if `respond` is to answer it.

        They are made when asked for. has_room: whether one more transfer is borne now. meter: as for `respond`.
        """
        query, meter = transfer_query(message), meter or self.meter
        if query is None:
            return None
        site = self._site(query.qname)
        zone = site.transferable(query.qname, client[0]) if site and self.ready else None
        if zone is None or not is_known(zone):
            return None
        if not has_room:
            entry = self._refuse(query, site, True, _BUSY, "transfer")
            return iter((complete(message, query.end, entry, query.edns is not None, meter),))
        opt = opt_of(query, site, 0) if query.edns else b""
        request = Request(message[:ID_OCTETS], query.flags, message[HEADER_OCTETS : query.end], opt)
        meter.counts[self.tally.cell(self._zone_number(query.qname), Making(query.qtype, 0, "transfer"))] += 1
        if query.qtype == RRType.IXFR and is_current(known_serial(message), zone.soa):
            return iter((soa_message(request, zone.soa),))
        return messages(request, zone.soa, contents_of(zone))

    def tick(self, now: int) -> list[Pending]:
        """See Outside.tick."""
        return self._outside.tick(now)

    @property
    def is_behind(self) -> bool:
        """See Outside.is_behind."""
        return self._outside.is_behind

    def respond(
        self, message: bytes, client: Client, tcp: bool, meter: Meter | None = None
    ) -> bytes | Pending | None:
        """The reply to a whole DNS message, or what waits for it; None for what is to be dropped in silence.

        meter: what counts the reply, that of the socket which the message came by; `self.meter` if it is not told.
        """
        meter = meter or self.meter
        form = form_of(message[ID_OCTETS:])
        if form is not None:
            question, payload = form[0].lower(), form[1]
            entry = self.table.current.get(question) or self.kept(question, payload, tcp)
            if entry is not None:
                return complete(message, HEADER_OCTETS + len(question), entry, payload > 0, meter)
        query = parse_query(message)
        if query is None:
            self.tally.dropped()
            return None
        outcome = self._keep_or_answer(message, query, client, tcp, meter)
        if isinstance(outcome, Pending):
            return outcome
        return complete(message, query.end, outcome, query.edns is not None, meter)

    def kept(self, question: bytes, payload: int, tcp: bool) -> Entry | None:
        """What is kept for a folded question in a common form besides the reply that suits all of them.

        That is the denial of a name that surely does not exist, told without parsing, or a reply for this form alone.
        The question may be any octets, and must not be mistaken.
        """
        qname = question[:-4]
        for apex, zone, passing in self._deciders:
            if qname.endswith(apex):
                ttl = zone.denies(qname) if zone else None
                if ttl is None or any(one.denies(qname) is None for one in passing):
                    break
                return self.table.denials.get((question[-4:], len(question), apex, ttl))
        return self.table.current.get(question + form_key(RD_BIT, payload, tcp))

    def passing(self, question: bytes, payload: int, size: int) -> Passing | None:
        """What passes on the query whose common form this is, of `size` octets; None if it has to be looked into."""
        if not self._passing or not is_plain(question, size, payload):
            return None
        qname = question[:-4]
        if qname.endswith(self._zones):
            return None
        if len(self._sites) == 1:
            return self._passing.get(ROOT)
        return next((self._passing.get(apex) for apex in suffixes(qname) if apex in self._sites), None)

    def passed(
        self, passing: Passing, ask: Ask, message: bytes, payload: int, client: Client, meter: Meter, told: Told
    ) -> bytes | None:
        """The reply to a query that was passed on with this question. meter: of replies that were waited for.

        What takes care is answered as if it came now; should the zones have another mind by now, nothing fits.
        """
        passed = passing.reply(message, payload, told)
        if passed is not None:
            meter.counts[self.tally.cell(passing.zone, passed.making)] += 1
            return passed.message
        outcome = self.respond(message, client, False, meter)
        if isinstance(outcome, Pending):
            outcome = outcome.finish(told if outcome.ask == ask else SHED)
        while isinstance(outcome, Pending):
            outcome = outcome.finish(SHED)
        return outcome

    def _keep_or_answer(
        self, message: bytes, query: Query, client: Client, tcp: bool, meter: Meter
    ) -> Entry | Pending:
        keys = keys_of(query, tcp)
        try:
            kept = next(filter(None, map(self.table.find, keys)), None)
            return kept or self._answer(message, query, keys, client, tcp, meter)
        except Exception as error:  # a wrong answer would be worse, and silence too
            self._on_failure(error, message)
            return self._refuse(query, None, tcp, BROKEN)

    def _answer(
        self, message: bytes, query: Query, keys: Keys, client: Client, tcp: bool, meter: Meter
    ) -> Entry | Pending:
        site = self._site(query.qname)
        if query.rcode:
            return self._bare(query, tcp, query.rcode)
        if query.qclass == RRClass.CH and site is not None and site.chaos is not None:
            found = texts(site.chaos, query)
            if found is not None:
                opt = opt_of(query, site, 0)
                return self._entry(query, chaos_reply(frame_of(query, site, tcp, opt), found), 0, opt, "chaos")
        refusal = self._refusal(query, site, client)
        if refusal or site is None:
            return self._refuse(query, site, tcp, refusal or (_NOT_OURS if query.qclass == RRClass.IN else _CLASS))
        return self._steps(_ORDER, _Case(message, query, keys, client, tcp, site, meter))

    def _steps(self, steps: Iterable[_Step], case: _Case) -> Entry | Pending:
        for step in steps:
            outcome = step(self, case)
            if outcome is not None:
                return outcome
        return self._refuse(case.query, case.site, case.tcp, _NOT_OURS)

    def _any(self, case: _Case) -> Entry | None:
        """The `any` directive."""
        query = case.query
        if query.qtype != RRType.ANY or query.qclass != RRClass.IN or not case.site.any_hinfo:
            return None
        return self._compile(case._replace(maker="any"), Lookup(Rcode.NOERROR, (hinfo(query.qname),), lasting=False))

    def _rewrite(self, case: _Case) -> Entry | Pending | None:
        """The `rewrite` directive: what is behind it answers another question."""
        asked, site, tcp = case.query, case.site, case.tcp
        found = site.rewriter.rewrite(asked.qname, asked.qtype, asked.qclass) if site.rewriter else None
        if found is None:
            return None
        if found.failure:
            return self._refuse(asked, site, tcp, (Rcode.SERVFAIL, EDE.OTHER, found.failure), "rewrite")
        query = asked._replace(qname=found.qname, qtype=found.qtype, qclass=found.qclass)
        if query.qtype in _TRANSFERS:
            return self._refuse(asked, site, tcp, _TRANSFER, "rewrite")
        case = case._replace(query=query, rewriting=Rewriting(asked, found.reverter))
        if found.reverter.redirects:
            return self._redirected(case, found.reverter)
        return self._steps(_BEHIND_REWRITE, case)

    def _redirected(self, case: _Case, reverter: Reverter) -> Entry | Pending:
        """The `cname` rules of `rewrite`: an alias may lead elsewhere."""
        probe = Probe()
        outcome = self._steps(_BEHIND_REWRITE, case._replace(probe=probe))
        leads = probe.leads
        found = leads.chain if leads else probe.found
        redirection = reverter.redirected(found) if found else None
        if redirection is not None:
            return self._onward(case, *redirection)
        if leads is None:
            return self._compile(case, found, probe.ede) if found else outcome
        pending = self._pend_leads(case._replace(keys=()), leads)  # asked again, it would not be redirected

        def finish(told: Told) -> bytes | Pending:
            redirection = reverter.redirected(aliases_of(found, message_of(pending.ask.question, told)))
            if redirection is None:
                return pending.finish(told)
            return self._later(case, lambda: self._onward(case, *redirection), partial(pending.finish, told))

        return pending._replace(finish=finish)

    def _autopath(self, case: _Case) -> Entry | Pending | None:
        """The `autopath` directive."""
        spec, query = case.site.autopath, case.query
        if spec is None or case.probe is not None or query.qclass != RRClass.IN:
            return None
        return self._searcher.search(case._replace(maker="autopath"), spec, query.qname, query.qtype)

    def _template(self, case: _Case) -> Entry | Pending | None:
        """The `template` directive. An alias that it makes is followed."""
        query, templates = case.query, case.site.templates
        templated = templates.answer(query.qname, query.qtype, query.qclass) if templates else None
        if templated is None:
            return None
        case, found = case._replace(maker="template"), templated.found
        last = found.answer[-1] if found.answer else None
        if last and last.rrtype == RRType.CNAME and query.qtype not in (RRType.CNAME, RRType.ANY):
            return self._onward(case, found.answer, last.rdatas[0].lower())
        return self._compile(case, found, templated.ede)

    def _newer(self, case: _Case) -> Entry | None:
        """IXFR over UDP, which `transfer` allows: there is room for the SOA alone (RFC 1995 section 2)."""
        if case.query.qtype != RRType.IXFR:
            return None
        zone = case.site.transferable(case.query.qname, case.client[0])
        found = Lookup(Rcode.NOERROR, (zone.soa,) if zone else (), lasting=False)
        return self._compile(case._replace(maker="transfer"), found)

    def _class(self, case: _Case) -> Entry | None:
        """Zones, and servers outside as far as we ask them, are of class IN."""
        return None if case.query.qclass == RRClass.IN else self._refuse(case.query, case.site, case.tcp, _CLASS)

    def _zones_or_outside(self, case: _Case) -> Entry | Pending | None:
        """Hosts, then clusters, then zone files, then `forward`."""
        query, site = case.query, case.site
        passage = site.passage(query.qname, query.qtype)
        if passage.zone is None:
            return self._forward(case, passage) if passage.is_outside else None
        case = case._replace(maker=passage.directive)
        found = lookup(passage.zone, site.zone_of, query.qname, query.qtype)
        return (self._follow(case, found) if found.leads_to else None) or self._compile(case, found)

    def _forward(self, case: _Case, passage: Passage) -> Entry | Pending:
        """A name for outside. ANY goes by TCP (RFC 8482 section 4.4): nobody's victim gets all that a name has."""
        if case.query.qtype == RRType.ANY and not case.tcp:
            return self._truncated(case.query)
        return self._pend(case, case.site, passage, question_of(case.query), None)

    def _onward(self, case: _Case, answer: tuple[RRset, ...], target: bytes) -> Entry | Pending:
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
        return self._compile(case, found, probe.ede)

    def _follow(self, case: _Case, found: Lookup) -> Pending | None:
        """An alias that leads outside; None if the site that takes its target does not forward it.

        The client's resolver takes it from there then, as far as it can.
        """
        target = found.leads_to
        site = self._site(target)
        passage = site.passage(target, case.query.qtype) if site else None
        if site is None or passage is None or not passage.is_outside:
            return None
        return self._pend(case, site, passage, target + question_of(case.query)[len(case.query.qname) :], found)

    def _pend(self, case: _Case, site: Site, passage: Passage, question: bytes, chain: Lookup | None) -> Pending:
        """Wait for the answer to a question that this site forwards.

        Where a cluster passed the name on nothing is kept: it may turn up there.
        """
        keys = case.keys if passage.lasting else ()
        reverter = case.rewriting.reverter if case.rewriting else None
        asked = Asked(
            case.message, case.asked, case.tcp, case.site, keys, chain, passage.exists, reverter, case.meter.late
        )
        pending = self._outside.pending(asked, site, question, case.client[0])
        if case.probe is not None:
            case.probe.leads = Leads(site, passage, question, chain)
        return pending

    def _pend_leads(self, case: _Case, leads: Leads) -> Pending:
        return self._pend(case, *leads)

    def _probe(self, case: _Case, qname: bytes | None) -> Probe:
        """What a name is answered with, None for the name that is asked, of which the first steps are taken already.

        Another name is looked up as if its client had asked for it. If that question would be rewritten it is as if
        refused.
        """
        probe = Probe()
        if qname is None:
            self._steps(_BEHIND_AUTOPATH, case._replace(probe=probe))
            return probe
        site = self._site(qname)
        query = case.query._replace(qname=qname)
        if site and not (site.rewriter and site.rewriter.changes(qname, query.qtype, query.qclass)):
            self._steps(_FOR_PROBES, case._replace(query=query, site=site, probe=probe))
        return probe

    def _later(
        self, case: _Case, then: Callable[[], Entry | Pending | None], otherwise: Callable[[], bytes | Pending]
    ) -> bytes | Pending:
        """What comes of a query, once something was told of it; that of `otherwise` where `then` gives nothing."""
        try:
            outcome = then()
        except Exception as error:  # as in `_keep_or_answer`
            self._on_failure(error, case.message)
            outcome = self._refuse(case.asked, None, case.tcp, BROKEN)
        if outcome is None or isinstance(outcome, Pending):
            return outcome or otherwise()
        query = case.asked
        return complete(case.message, query.end, outcome, query.edns is not None, case.meter.late)

    def _whoami(self, case: _Case) -> Entry | None:
        """The `whoami` directive."""
        if not case.site.whoami:
            return None
        return self._compile(case._replace(maker="whoami"), _whoami(case.query.qname, case.client, case.tcp))

    def _compile(self, case: _Case, found: Lookup, ede: tuple[int, str] | None = None) -> Entry:
        """The reply that says what was found, kept where that may be. ede: why it is so, instead of the note."""
        if case.probe is not None:
            case.probe.found, case.probe.ede = found, ede
            return _PROBED
        if case.rewriting is not None:
            found = case.rewriting.reverter.revert(found)
        query, keys, site, tcp = case.asked, case.keys, case.site, case.tcp
        if site.minimal:
            found = minimal_lookup(found)
        if found.rcode == Rcode.SERVFAIL:
            return self._refuse(query, site, tcp, (found.rcode, *(ede or (EDE.NOT_READY, found.note))), case.maker)
        opt = opt_of(query, site, 0, ede or ((EDE.OTHER, found.note) if found.note else None))
        frame = frame_of(query, site, tcp, opt)
        if keys and found.rcode == Rcode.NXDOMAIN and not (found.answer or found.note):
            return self._deny(case, frame, opt, found)
        reply = compile_reply(frame, found, self._rng)
        cell = self._cell(query, reply, found.rcode, opt, case.maker)
        if not (found.lasting and keys):
            return entry_of(cell, reply, opt)
        entry = entry_of(cell, reply, opt, self._splice(reply, found), found.depends)
        self.table.keep(key_for(keys, reply, opt, site.room), entry)
        return entry

    def _deny(self, case: _Case, frame: Frame, opt: bytes, found: Lookup) -> Entry:
        """The denial of a name: one for all names of this length that one zone decides; `kept` finds it."""
        query, keys = case.asked, case.keys
        apex, decider, _ = self._decider(query.qname)
        denial = found.denial
        if denial is None or denial.zone is not decider:
            return self._entry(query, compile_reply(frame, found, self._rng), found.rcode, opt, case.maker)
        places = {key: (key[len(query.qname) :], len(query.qname) + 4, apex, denial.ttl) for key in keys}
        entry = next(filter(None, map(self.table.denials.get, places.values())), None)
        if entry is None:
            reply, entry = self._compile_denial(case, frame, opt, denial)
            self.table.keep_denial(places[key_for(keys, reply, opt, case.site.room)], entry)
        return entry

    def _compile_denial(self, case: _Case, frame: Frame, opt: bytes, denial: Denial) -> tuple[Reply, Entry]:
        """Compile it for a name that has only the apex in common with the others.

        Else the authority section could be compressed against labels that the next name does not have.
        """
        own_octets = len(case.asked.qname) - len(denial.zone.apex)
        stand_in = frame._replace(question=_filler(own_octets) + frame.question[own_octets:])
        found = Lookup(Rcode.NXDOMAIN, denial=denial)
        reply = compile_reply(stand_in, found, self._rng)
        cell = self._cell(case.asked, reply, found.rcode, opt, case.maker)
        return reply, entry_of(cell, reply, opt, self._splice(reply, found))

    def _decider(self, qname: bytes) -> Decider:
        """As `kept` finds it, for a well-formed name that nobody else knows."""
        return next((one for one in self._deciders if is_subdomain(qname, one.apex)), Decider(ROOT))

    def _refusal(self, query: Query, site: Site | None, client: Client) -> _Refusal | None:
        if query.qtype in _TRANSFERS:
            zone = site.transferable(query.qname, client[0]) if site else None
            if zone is None:
                return _TRANSFER
            if not is_known(zone):
                return _NOT_READY
            return _OVER_UDP if query.qtype == RRType.AXFR else None
        return None if self.ready else _NOT_READY

    def _site(self, qname: bytes) -> Site | None:
        """The site with the longest zone that the name is in."""
        sites = self._sites
        return next((sites[apex] for apex in suffixes(qname) if apex in sites), None)

    def _zone_number(self, qname: bytes) -> int:
        """That of the longest zone of the sites which the name is in."""
        numbers = self._numbers
        return next((numbers[apex] for apex in suffixes(qname) if apex in numbers), self.tally.no_zone)

    def _cell(self, query: Query, reply: Reply, rcode: int, opt: bytes, maker: str = "") -> int:
        """Where a reply is counted."""
        return self.tally.cell(self._zone_number(query.qname), making_of(query, reply, rcode, opt, maker))

    def _entry(self, query: Query, reply: Reply, rcode: int, opt: bytes, maker: str = "") -> Entry:
        """What completes a reply that is not kept."""
        return entry_of(self._cell(query, reply, rcode, opt, maker), reply, opt)

    def _refuse(self, query: Query, site: Site | None, tcp: bool, refusal: _Refusal, maker: str = "") -> Entry:
        rcode, code, text = refusal
        opt = opt_of(query, site, rcode, (code, text))
        return self._entry(query, compile_error(frame_of(query, site, tcp, opt), rcode), rcode, opt, maker)

    def _bare(self, query: Query, tcp: bool, rcode: int) -> Entry:
        """A reply that says nothing but its rcode."""
        site = self._site(query.qname)
        opt = opt_of(query, site, rcode)
        return self._entry(query, compile_error(frame_of(query, site, tcp, opt), rcode), rcode, opt)

    def _truncated(self, query: Query) -> Entry:
        """A reply over UDP that sends the client to TCP."""
        site = self._site(query.qname)
        opt = opt_of(query, site, 0)
        return self._entry(query, compile_truncated(frame_of(query, site, False, opt)), 0, opt)

    def _splice(self, reply: Reply, found: Lookup) -> SerialSplice | None:
        """Where the SOA serial of a denial that is kept has to be put in, and the serial of now."""
        if found.denial is None or reply.serial_at is None:
            return None
        return reply.serial_at, self._serial_cell(found.denial.zone)

    def _complete(self, asked: Asked, entry: Entry) -> bytes:
        query = asked.query
        return complete(asked.message, query.end, entry, query.edns is not None, asked.meter or self.meter)


def transfer_query(message: bytes) -> Query | None:
    """The query, if it is a sound one for a transfer."""
    if not any(tail in message for tail in _TRANSFER_TAILS):  # as good as always
        return None
    query = parse_query(message)
    if query is None or query.rcode or query.qclass != RRClass.IN or query.qtype not in _TRANSFERS:
        return None
    return query


def complete(message: bytes, end: int, entry: Entry, with_opt: bool, meter: Meter) -> bytes:
    """A kept reply for this message, whose question ends at `end`: its ID, its question as sent, serial, OPT."""
    heads, body, opt, cell, splice, _ = entry
    if not isinstance(body, bytes):
        body = body()
    if splice:
        at, serial = splice
        body = body[:at] + serial[0] + body[at + SERIAL_OCTETS :]
    meter.counts[cell] += 1
    reply = message[:ID_OCTETS] + heads[with_opt] + message[HEADER_OCTETS:end] + body
    return reply + opt if with_opt else reply


# What answers a query that nothing refuses: the first of these that has an answer. The order is CoreDNS's: acl, any,
# rewrite, autopath, template, hosts, kubernetes, file, forward, whoami.
_Step = Callable[[Responder, _Case], Entry | Pending | None]
_BEHIND_AUTOPATH: tuple[_Step, ...] = (
    Responder._template, Responder._class, Responder._zones_or_outside, Responder._whoami,
)
_BEHIND_REWRITE: tuple[_Step, ...] = (Responder._autopath, *_BEHIND_AUTOPATH)
_BEFORE_REWRITE: tuple[_Step, ...] = (Responder._any,)
_ORDER: tuple[_Step, ...] = (Responder._newer, *_BEFORE_REWRITE, Responder._rewrite, *_BEHIND_REWRITE)
# For the names that `autopath` tries.
_FOR_PROBES: tuple[_Step, ...] = (*_BEFORE_REWRITE, *_BEHIND_AUTOPATH)


def _filler(octets: int) -> bytes:
    """Labels of this many octets in all (2 or more), such as no name in a zone has."""
    lengths = [MAX_LABEL_OCTETS + 1] * (octets // (MAX_LABEL_OCTETS + 1))
    left = octets % (MAX_LABEL_OCTETS + 1)
    if left == 1:  # a label has an octet besides its length
        lengths[-1] -= 1
        left = 2
    return b"".join(bytes((length - 1,)) + b"\xff" * (length - 1) for length in (*lengths, left) if length)


def _whoami(qname: bytes, client: Client, tcp: bool) -> Lookup:
    """The client's address and port, as CoreDNS's `whoami` says them."""
    address, port = client
    owner = (b"\x04_tcp" if tcp else b"\x04_udp") + qname
    srv = RRset(owner, RRType.SRV, 0, (_srv_head(0, 0, port) + b"\0",))
    addresses = tuple(address_rrsets(qname, 0, (address,)).values())
    additional = (*addresses, srv) if len(owner) <= MAX_NAME_OCTETS else addresses
    return Lookup(Rcode.NOERROR, additional=additional, lasting=False)
