"""The whole decision from a query's bytes to a reply's bytes (RFC 1034 4.3.2, 6891, 7766, 8482, 8906, 8914, 9619).

    known form, kept reply? -> parse -> site (server block) -> steps: the directives -> reply -> kept -> completed
                                                                                     -> Pending, for `forward`

Every query with a header gets a reply, whatever else it is; nothing raises. Listeners with the same sites share one.
Not here: what answers (kdns.answer.steps), how replies are made (kdns.answer.replying); sockets, and the short cut
past all this for what is kept (kdns.server.udp); what becomes of a query that waits (kdns.answer.outside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from kdns.answer.acl import Acl
from kdns.answer.case import (
    BROKEN,
    BUSY,
    NO_TRANSFER,
    NOT_IN,
    NOT_OURS,
    NOT_READY,
    OVER_UDP,
    TRANSFERS,
    Case,
    Client,
)
from kdns.answer.compiler import ID_OCTETS
from kdns.answer.form import form_of
from kdns.answer.outcome import Refusal
from kdns.answer.outside import Pending
from kdns.answer.passing import TAIL_OCTETS, Passing, is_plain, making_of, passing_of
from kdns.answer.replying import Replier, complete
from kdns.answer.shape import Keys, form_key, keys_of, opt_of
from kdns.answer.site import Decider, Site
from kdns.answer.steps import Steps
from kdns.answer.table import Entry, ReplyTable
from kdns.answer.transfer import Request, contents_of, is_current, is_known, known_serial, messages, soa_message
from kdns.observe.tally import Making, Meter, Tally
from kdns.wire.iana import RRClass, RRType
from kdns.wire.name import ROOT, is_subdomain, suffixes
from kdns.wire.outside import Ask, Told, Unasked, is_unasked, unasked
from kdns.wire.query import HEADER_OCTETS, OPT_OCTETS, RD_BIT, Query, parse_query
from kdns.wire.rules import AclAction
from kdns.zone.model import Dependency, Zone

if TYPE_CHECKING:
    from random import Random

# Kept apart, for to find the cell of a reply takes as long as to make it: most replies are of some dozens of sizes.
PASSED_CELLS_MAX = 4096

_OPT_AND_HEADER_OCTETS = HEADER_OCTETS + OPT_OCTETS
_CHANGED = unasked(Unasked.CHANGED)
_TRANSFER_TAILS = tuple(b"\0" + bytes((rrtype, 0, RRClass.IN)) for rrtype in TRANSFERS)  # type and class


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
        numbers: Mapping[bytes, int] | None = None,
    ) -> None:
        self.has_short_cut = True  # what is kept may be sent without asking `respond`
        self.tally = tally
        self.meter = tally.meter(0, False, 4)
        self.table = ReplyTable()
        self.ready = False
        self._sites = {apex: site for site in sites for apex in site.zones}
        self._deciders: list[Decider] = []
        # What passes names on that are in no zone, by the apexes of server blocks; and the apexes of all zones.
        self._passing: dict[bytes, Passing] = {}
        self._passed_cell = lru_cache(maxsize=PASSED_CELLS_MAX)(self._find_passed_cell)
        self._zones: tuple[bytes, ...] = ()
        self._on_failure = on_failure
        self._replier = Replier(self.table, tally, numbers or {}, rng, serial_cell, self._decider)
        self._steps = Steps(self._replier, self.table, self._site, self._ask_acl, on_failure)
        self._outside = self._steps.outside

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
            apex: passing_of(site.group, site.max_udp_octets, self._replier.zone_number(apex))
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
            entry = self._replier.refuse(query, site, True, BUSY, "transfer")
            return iter((complete(message, query.end, entry, query.edns is not None, meter),))
        opt = opt_of(query, site, 0) if query.edns else b""
        request = Request(message[:ID_OCTETS], query.flags, message[HEADER_OCTETS : query.end], opt)
        meter.counts[self.tally.cell(self._replier.zone_number(query.qname), Making(query.qtype, 0, "transfer"))] += 1
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
        if outcome is None or isinstance(outcome, Pending):
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

    def passing(self, question: bytes) -> Passing | None:
        """What passes on a query in a common form, this its folded question; None if it has to be looked into."""
        if not self._passing or not is_plain(question):
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
        question, is_refusal = ask.question, is_unasked(told)
        octets = len(question)
        if is_refusal:
            reply = passing.refusal(message, octets, payload, told)
        else:
            reply = passing.reply(message, octets, payload, told)
        if reply is not None:
            # Without options, as all queries are counted.
            asked = octets + (_OPT_AND_HEADER_OCTETS if payload else HEADER_OCTETS)
            meter.counts[self._passed_cell(passing.zone, question[-TAIL_OCTETS:], told.rcode, asked, len(reply))] += 1
            return reply
        outcome = self.respond(message, client, False, meter)
        if isinstance(outcome, Pending):
            outcome = outcome.finish(told if outcome.ask == ask or is_refusal else _CHANGED)
        while isinstance(outcome, Pending):
            outcome = outcome.finish(told if is_refusal else _CHANGED)
        return outcome

    def _find_passed_cell(self, zone: int, tail: bytes, rcode: int, query_octets: int, reply_octets: int) -> int:
        return self.tally.cell(zone, making_of(tail, rcode, query_octets, reply_octets))

    def _keep_or_answer(
        self, message: bytes, query: Query, client: Client, tcp: bool, meter: Meter
    ) -> Entry | Pending | None:
        keys = keys_of(query, tcp)
        try:
            kept = next(filter(None, map(self.table.find, keys)), None)
            return kept or self._answer(message, query, keys, client, tcp, meter)
        except Exception as error:  # a wrong answer would be worse, and silence too
            self._on_failure(error, message)
            return self._replier.refuse(query, None, tcp, BROKEN)

    def _answer(
        self, message: bytes, query: Query, keys: Keys, client: Client, tcp: bool, meter: Meter
    ) -> Entry | Pending | None:
        site = self._site(query.qname)
        if query.rcode:
            return self._replier.bare(query, site, tcp, query.rcode)
        refusal = self._refusal(query, site, client)
        if site is None:
            refusal = refusal or (NOT_OURS if query.qclass == RRClass.IN else NOT_IN)
            return self._replier.refuse(query, site, tcp, refusal)
        case = Case(message, query, keys, client, tcp, site, meter)
        if refusal:
            return self._steps.chaos(case) or self._replier.refuse(query, site, tcp, refusal)
        return self._steps.chaos(case) or self._steps.answer(case)

    def _decider(self, qname: bytes) -> Decider:
        """As `kept` finds it, for a well-formed name that nobody else knows."""
        return next((one for one in self._deciders if is_subdomain(qname, one.apex)), Decider(ROOT))

    def _refusal(self, query: Query, site: Site | None, client: Client) -> Refusal | None:
        if query.qtype in TRANSFERS:
            zone = site.transferable(query.qname, client[0]) if site else None
            if zone is None:
                return NO_TRANSFER
            if not is_known(zone):
                return NOT_READY
            return OVER_UDP if query.qtype == RRType.AXFR else None
        return None if self.ready else NOT_READY

    def _site(self, qname: bytes) -> Site | None:
        """The site with the longest zone that the name is in."""
        sites = self._sites
        return next((sites[apex] for apex in suffixes(qname) if apex in sites), None)

    def _ask_acl(self, acl: Acl, qname: bytes, qtype: int, client: bytes) -> AclAction:
        """What becomes of a name that an alias or a search list leads to."""
        return acl.verdict(qname, qtype, client).action


def transfer_query(message: bytes) -> Query | None:
    """The query, if it is a sound one for a transfer."""
    if not any(tail in message for tail in _TRANSFER_TAILS):  # as good as always
        return None
    query = parse_query(message)
    if query is None or query.rcode or query.qclass != RRClass.IN or query.qtype not in TRANSFERS:
        return None
    return query
