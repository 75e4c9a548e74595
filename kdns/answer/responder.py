"""The whole decision from a query's bytes to a reply's bytes (RFC 1034 4.3.2, 6891, 7766, 8482, 8906, 8914, 9619).

    known form, kept reply? -> parse -> site (server block) -> zone -> lookup -> compile -> keep -> complete
                                                            -> Pending, for what `forward` takes

Every query with a header gets a reply, whatever else it is; nothing raises. Listeners with the same sites share one.
Names of our zones are answered here and now: only a name that no zone decides, or one that is an alias of such a
name, ever waits. Not here: sockets, and the short cut past all this for what is kept (kdns.server.udp); what becomes
of a query that waits (kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from kdns.answer.compiler import ID_OCTETS, Frame, Reply, compile_error, compile_reply
from kdns.answer.form import form_of
from kdns.answer.outside import Asked, Outside, Pending
from kdns.answer.shape import Keys, entry_of, form_key, frame_of, key_for, keys_of, making_of, opt_of, question_of
from kdns.answer.site import Passage, Site
from kdns.answer.table import GENERATION, Entry, ReplyTable, SerialSplice
from kdns.observe.tally import Meter, Tally
from kdns.wire.iana import EDE, Rcode, RRClass, RRType
from kdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, ROOT, is_subdomain, suffixes
from kdns.wire.query import HEADER_OCTETS, RD_BIT, Query, parse_query
from kdns.zone.lookup import hinfo, lookup
from kdns.zone.model import Denial, Dependency, Lookup, Zone
from kdns.zone.rrset import RRset, address_rrsets

if TYPE_CHECKING:
    from random import Random

Client = tuple[bytes, int]  # packed address and port

SERIAL_OCTETS = 4
_TRANSFERS = frozenset((RRType.AXFR, RRType.IXFR))
_srv_head = Struct(">3H").pack

# What answers a query that no zone decides: rcode, EDE code and text.
_Refusal = tuple[int, int, str]
_NOT_READY: _Refusal = (Rcode.SERVFAIL, EDE.NOT_READY, "data is not loaded yet")
_NOT_OURS: _Refusal = (Rcode.REFUSED, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server")
_CLASS: _Refusal = (Rcode.REFUSED, EDE.NOT_SUPPORTED, "only class IN is served")
_TRANSFER: _Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "zone transfer is not allowed")
_BROKEN: _Refusal = (Rcode.SERVFAIL, EDE.OTHER, "kdns failed to answer; its log says why")


class _Case(NamedTuple):
    """One query and all that its answer may depend on. keys: see kdns.answer.shape. meter: what counts the reply.

    maker: the directive that is answering it, one of kdns.observe.tally.MAKERS.
    """

    message: bytes
    query: Query
    keys: Keys
    client: Client
    tcp: bool
    site: Site
    meter: Meter
    maker: str = ""


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
        self.tally = tally
        self._numbers = numbers or {}
        self.meter = tally.meter(0, False, 4)
        self.table = ReplyTable(generation)
        self.ready = False
        self._sites = {apex: site for site in sites for apex in site.zones}
        self._deciders: list[tuple[bytes, Zone | None]] = []
        self._rng = rng
        self._serial_cell = serial_cell
        self._on_failure = on_failure
        self._outside = Outside(self.table, self._complete, self._cell, on_failure)

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
            apex: zone
            for site in self._sites.values()
            for apex, zone in site.deciders().items()
            if self._site(apex) is site
        }
        self._deciders = sorted(deciders.items(), key=lambda item: len(item[0]), reverse=True)

    def drop(self, changed: Iterable[Dependency]) -> Iterator[None]:
        """Forget the replies made of what changed, in steps; see ReplyTable.drop."""
        self._outside.changed()
        return self.table.drop(changed)

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
        for apex, zone in self._deciders:
            if qname.endswith(apex):
                ttl = zone.denies(qname) if zone else None
                if ttl is None:
                    break
                return self.table.denials.get((question[-4:], len(question), apex, ttl))
        return self.table.current.get(question + form_key(RD_BIT, payload, tcp))

    def _keep_or_answer(
        self, message: bytes, query: Query, client: Client, tcp: bool, meter: Meter
    ) -> Entry | Pending:
        keys = keys_of(query, tcp)
        try:
            kept = next(filter(None, map(self.table.find, keys)), None)
            return kept or self._answer(message, query, keys, client, tcp, meter)
        except Exception as error:  # a wrong answer would be worse, and silence too
            self._on_failure(error, message)
            return self._refuse(query, None, tcp, _BROKEN)

    def _answer(
        self, message: bytes, query: Query, keys: Keys, client: Client, tcp: bool, meter: Meter
    ) -> Entry | Pending:
        site = self._site(query.qname)
        if query.rcode:
            opt = opt_of(query, site, query.rcode)
            reply = compile_error(frame_of(query, site, tcp, opt), query.rcode)
            return entry_of(self._cell(query, reply, query.rcode, opt), reply, opt)
        refusal = self._refusal(query, site)
        if refusal or site is None:
            return self._refuse(query, site, tcp, refusal or _NOT_OURS)
        case = _Case(message, query, keys, client, tcp, site, meter)
        for step in _ORDER:
            outcome = step(self, case._replace(maker=_MAKER_OF.get(step, "")))
            if outcome is not None:
                return outcome
        return self._refuse(query, site, tcp, _NOT_OURS)

    def _any(self, case: _Case) -> Entry | None:
        """The `any` directive."""
        if case.query.qtype != RRType.ANY or not case.site.any_hinfo:
            return None
        return self._compile(case, Lookup(Rcode.NOERROR, (hinfo(case.query.qname),), lasting=False))

    def _zones_or_outside(self, case: _Case) -> Entry | Pending | None:
        """Clusters, then zone files, then `forward`."""
        query, site = case.query, case.site
        passage = site.passage(query.qname)
        if passage.zone is None:
            return self._forward(case, passage) if passage.is_outside else None
        case = case._replace(maker=passage.directive)
        found = lookup(passage.zone, site.zone_of, query.qname, query.qtype)
        return (self._follow(case, found) if found.leads_to else None) or self._compile(case, found)

    def _forward(self, case: _Case, passage: Passage) -> Pending:
        """A name for outside."""
        return self._pend(case, case.site, passage, question_of(case.query), None)

    def _follow(self, case: _Case, found: Lookup) -> Pending | None:
        """An alias that leads outside; None if the site that takes its target does not forward it.

        The client's resolver takes it from there then, as far as it can.
        """
        target = found.leads_to
        site = self._site(target)
        passage = site.passage(target) if site else None
        if site is None or passage is None or not passage.is_outside:
            return None
        return self._pend(case, site, passage, target + question_of(case.query)[len(case.query.qname) :], found)

    def _pend(self, case: _Case, site: Site, passage: Passage, question: bytes, chain: Lookup | None) -> Pending:
        """Wait for the answer to a question that this site forwards.

        Where a zone passed the name on nothing is kept: it may turn up in that zone.
        """
        keys = () if passage.passed else case.keys
        asked = Asked(case.message, case.query, case.tcp, case.site, keys, chain, passage.exists, case.meter.late)
        return self._outside.pending(asked, site, question, case.client[0])

    def _whoami(self, case: _Case) -> Entry | None:
        """The `whoami` directive."""
        if not case.site.whoami:
            return None
        return self._compile(case, _whoami(case.query.qname, case.client, case.tcp))

    def _compile(self, case: _Case, found: Lookup) -> Entry:
        """The reply that says what was found, kept where that may be."""
        query, keys, site, tcp = case.query, case.keys, case.site, case.tcp
        if found.rcode == Rcode.SERVFAIL:
            return self._refuse(query, site, tcp, (found.rcode, EDE.NOT_READY, found.note), case.maker)
        opt = opt_of(query, site, 0, (EDE.OTHER, found.note) if found.note else None)
        frame = frame_of(query, site, tcp, opt)
        if keys and found.rcode == Rcode.NXDOMAIN and not (found.answer or found.note):
            return self._deny(case, frame, opt, found)
        reply = compile_reply(frame, found, self._rng)
        cell = self._cell(query, reply, found.rcode, opt, case.maker)
        if not (found.lasting and keys):
            return entry_of(cell, reply, opt)
        entry = entry_of(cell, reply, opt, self._splice(reply, found), found.depends)
        self.table.keep(key_for(keys, reply, opt), entry)
        return entry

    def _deny(self, case: _Case, frame: Frame, opt: bytes, found: Lookup) -> Entry:
        """The denial of a name: one for all names of this length that one zone decides; `kept` finds it."""
        query = case.query
        apex, decider = self._decider(query.qname)
        denial = found.denial
        if denial is None or denial.zone is not decider:
            reply = compile_reply(frame, found, self._rng)
            return entry_of(self._cell(query, reply, found.rcode, opt, case.maker), reply, opt)
        key = case.keys[0][len(query.qname) :], len(query.qname) + 4, apex, denial.ttl
        entry = self.table.denials.get(key)
        if entry is None:
            entry = self._compile_denial(case, frame, opt, denial)
            self.table.keep_denial(key, entry)
        return entry

    def _compile_denial(self, case: _Case, frame: Frame, opt: bytes, denial: Denial) -> Entry:
        """Compile it for a name that has only the apex in common with the others.

        Else the authority section could be compressed against labels that the next name does not have.
        """
        own_octets = len(case.query.qname) - len(denial.zone.apex)
        stand_in = frame._replace(question=_filler(own_octets) + frame.question[own_octets:])
        found = Lookup(Rcode.NXDOMAIN, denial=denial)
        reply = compile_reply(stand_in, found, self._rng)
        cell = self._cell(case.query, reply, found.rcode, opt, case.maker)
        return entry_of(cell, reply, opt, self._splice(reply, found))

    def _decider(self, qname: bytes) -> tuple[bytes, Zone | None]:
        """As `kept` finds it, for a well-formed name."""
        return next((item for item in self._deciders if is_subdomain(qname, item[0])), (ROOT, None))

    def _refusal(self, query: Query, site: Site | None) -> _Refusal | None:
        if query.qclass != RRClass.IN:
            return _CLASS
        if query.qtype in _TRANSFERS:
            return _TRANSFER
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

    def _refuse(self, query: Query, site: Site | None, tcp: bool, refusal: _Refusal, maker: str = "") -> Entry:
        rcode, code, text = refusal
        opt = opt_of(query, site, rcode, (code, text))
        reply = compile_error(frame_of(query, site, tcp, opt), rcode)
        return entry_of(self._cell(query, reply, rcode, opt, maker), reply, opt)

    def _splice(self, reply: Reply, found: Lookup) -> SerialSplice | None:
        """Where the SOA serial of a denial that is kept has to be put in, and the serial of now."""
        if found.denial is None or reply.serial_at is None:
            return None
        return reply.serial_at, self._serial_cell(found.denial.zone)

    def _complete(self, asked: Asked, entry: Entry) -> bytes:
        query = asked.query
        return complete(asked.message, query.end, entry, query.edns is not None, asked.meter or self.meter)


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
_ORDER: tuple[_Step, ...] = (Responder._any, Responder._zones_or_outside, Responder._whoami)
# Which directive answers in a step, for who counts; zones and names outside say it themselves.
_MAKER_OF: dict[_Step, str] = {Responder._any: "any", Responder._whoami: "whoami"}


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
