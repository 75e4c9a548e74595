"""The whole decision from a query's bytes to a reply's bytes (RFC 1034 4.3.2, 6891, 7766, 8482, 8906, 8914, 9619).

    known form, kept reply? -> parse -> site (server block) -> zone -> lookup -> compile -> keep -> complete

Every query with a header gets a reply, whatever else it is; nothing raises. Listeners with the same sites share one.
Not here: sockets, and the short cut past all this for what is kept (kdns.server.udp).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

from kdns.answer.compiler import ID_OCTETS, Frame, Reply, compile_error, compile_reply
from kdns.answer.form import COMMON_PAYLOADS, form_of, is_common
from kdns.answer.site import Site
from kdns.answer.spec import MAX_UDP_OCTETS
from kdns.answer.table import GENERATION, Entry, ReplyTable, SerialSplice
from kdns.observe.counters import DROPPED, TCP_COUNTERS, reply_counter
from kdns.wire.builder import MAX_MESSAGE_OCTETS, ede_option, opt_record
from kdns.wire.iana import EDE, Rcode, RRClass, RRType
from kdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, ROOT, is_subdomain, suffixes
from kdns.wire.query import (
    CD_BIT,
    DO_BIT,
    HEADER_OCTETS,
    MIN_PAYLOAD_OCTETS,
    RD_BIT,
    Edns,
    Query,
    parse_query,
)
from kdns.zone.lookup import hinfo, lookup
from kdns.zone.model import Denial, Dependency, Lookup, Zone
from kdns.zone.rrset import RRset, address_rrsets

if TYPE_CHECKING:
    from random import Random

Client = tuple[bytes, int]  # packed address and port

SERIAL_OCTETS = 4
_NOT_FOLDED = b"A"  # in a key, what no folded question has: no question can be mistaken for a key with more in it
# Replies to other types are not kept: 65,000 types asked for at random would fill the table with NODATA.
_KEPT_TYPES = frozenset(RRType)
_TRANSFERS = frozenset((RRType.AXFR, RRType.IXFR))
_srv_head = Struct(">3H").pack

# What answers a query that no zone decides: rcode, EDE code and text.
_Refusal = tuple[int, int, str]
_NOT_READY: _Refusal = (Rcode.SERVFAIL, EDE.NOT_READY, "data is not loaded yet")
_NOT_OURS: _Refusal = (Rcode.REFUSED, EDE.NOT_AUTHORITATIVE, "name is in no zone of this server")
_CLASS: _Refusal = (Rcode.REFUSED, EDE.NOT_SUPPORTED, "only class IN is served")
_TRANSFER: _Refusal = (Rcode.REFUSED, EDE.PROHIBITED, "zone transfer is not allowed")
_BROKEN: _Refusal = (Rcode.SERVFAIL, EDE.OTHER, "kdns failed to answer; its log says why")

class Responder:
    """Answers the queries of the listeners that have these sites.

    sites: the server blocks of the listener.
    serial_cell: gives the cell with the serial octets of a zone, which lives as long as replies are kept.
    on_failure: told of an exception that a query caused; a kdns bug by definition.
    """

    def __init__(
        self,
        sites: tuple[Site, ...],
        counts: list[int],
        rng: Random,
        serial_cell: Callable[[Zone], list[bytes]],
        on_failure: Callable[[Exception, bytes], None],
        generation: int = GENERATION,
    ) -> None:
        self.counts = counts
        self.table = ReplyTable(generation)
        self.ready = False
        self._sites = {apex: site for site in sites for apex in site.zones}
        self._deciders: list[tuple[bytes, Zone | None]] = []
        self._rng = rng
        self._serial_cell = serial_cell
        self._on_failure = on_failure

    def publish(self) -> None:
        """The zones of the sites are others now: forget all replies, and answer from the new zones."""
        self.table.clear()
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
        return self.table.drop(changed)

    def respond(self, message: bytes, client: Client, tcp: bool) -> bytes | None:
        """The reply to a whole DNS message; None for what is to be dropped in silence."""
        form = form_of(message[ID_OCTETS:])
        if form is not None:
            question, payload = form[0].lower(), form[1]
            entry = self.table.current.get(question) or self.kept(question, payload, tcp)
            if entry is not None:
                return complete(message, HEADER_OCTETS + len(question), entry, payload > 0, tcp, self.counts)
        query = parse_query(message)
        if query is None:
            self.counts[DROPPED] += 1
            return None
        entry = self._keep_or_answer(message, query, client, tcp)
        return complete(message, query.end, entry, query.edns is not None, tcp, self.counts)

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
        return self.table.current.get(question + _form_key(RD_BIT, payload, tcp))

    def _keep_or_answer(self, message: bytes, query: Query, client: Client, tcp: bool) -> Entry:
        keys = _keys(query, tcp)
        try:
            return next(filter(None, map(self.table.find, keys)), None) or self._answer(query, keys, client, tcp)
        except Exception as error:  # a wrong answer would be worse, and silence too
            self._on_failure(error, message)
            return self._refuse(query, None, tcp, _BROKEN)

    def _answer(self, query: Query, keys: Keys, client: Client, tcp: bool) -> Entry:
        site = self._site(query.qname)
        if query.rcode:
            opt = _opt(query, site, query.rcode)
            return _entry(query, compile_error(_frame(query, site, tcp, opt), query.rcode), query.rcode, opt)
        refusal = self._refusal(query, site)
        if refusal or site is None:
            return self._refuse(query, site, tcp, refusal or _NOT_OURS)
        found = self._lookup(site, query, client, tcp)
        if found is None:
            return self._refuse(query, site, tcp, _NOT_OURS)
        if found.rcode == Rcode.SERVFAIL:
            return self._refuse(query, site, tcp, (found.rcode, EDE.NOT_READY, found.note))
        opt = _opt(query, site, 0, (EDE.OTHER, found.note) if found.note else None)
        frame = _frame(query, site, tcp, opt)
        if keys and found.rcode == Rcode.NXDOMAIN and not (found.answer or found.note):
            return self._deny(query, keys, frame, opt, found)
        reply = compile_reply(frame, found, self._rng)
        if not (found.lasting and keys):
            return _entry(query, reply, found.rcode, opt)
        entry = _entry(query, reply, found.rcode, opt, self._splice(reply, found), found.depends)
        self.table.keep(keys[0] if _suits_all(reply, opt) else keys[-1], entry)
        return entry

    def _deny(self, query: Query, keys: Keys, frame: Frame, opt: bytes, found: Lookup) -> Entry:
        """The denial of a name: one for all names of this length that one zone decides; `kept` finds it."""
        apex, decider = self._decider(query.qname)
        denial = found.denial
        if denial is None or denial.zone is not decider:
            return _entry(query, compile_reply(frame, found, self._rng), found.rcode, opt)
        key = keys[0][len(query.qname) :], len(query.qname) + 4, apex, denial.ttl
        entry = self.table.denials.get(key)
        if entry is None:
            entry = self._compile_denial(query, frame, opt, denial)
            self.table.keep_denial(key, entry)
        return entry

    def _compile_denial(self, query: Query, frame: Frame, opt: bytes, denial: Denial) -> Entry:
        """Compile it for a name that has only the apex in common with the others.

        Else the authority section could be compressed against labels that the next name does not have.
        """
        own_octets = len(query.qname) - len(denial.zone.apex)
        stand_in = frame._replace(question=_filler(own_octets) + frame.question[own_octets:])
        found = Lookup(Rcode.NXDOMAIN, denial=denial)
        reply = compile_reply(stand_in, found, self._rng)
        return _entry(query, reply, found.rcode, opt, self._splice(reply, found))

    def _decider(self, qname: bytes) -> tuple[bytes, Zone | None]:
        """As `kept` finds it, for a well-formed name."""
        return next((item for item in self._deciders if is_subdomain(qname, item[0])), (ROOT, None))

    def _refusal(self, query: Query, site: Site | None) -> _Refusal | None:
        if query.qclass != RRClass.IN:
            return _CLASS
        if query.qtype in _TRANSFERS:
            return _TRANSFER
        return None if self.ready else _NOT_READY

    def _lookup(self, site: Site, query: Query, client: Client, tcp: bool) -> Lookup | None:
        """What to answer; None where nothing in the site has an answer."""
        if query.qtype == RRType.ANY and site.any_hinfo:
            return _hinfo(query.qname)
        zone = site.zone_of(query.qname)
        if zone is not None:
            return lookup(zone, site.zone_of, query.qname, query.qtype)
        return _whoami(query.qname, client, tcp) if site.whoami else None

    def _site(self, qname: bytes) -> Site | None:
        """The site with the longest zone that the name is in."""
        sites = self._sites
        return next((sites[apex] for apex in suffixes(qname) if apex in sites), None)

    def _refuse(self, query: Query, site: Site | None, tcp: bool, refusal: _Refusal) -> Entry:
        rcode, code, text = refusal
        opt = _opt(query, site, rcode, (code, text))
        return _entry(query, compile_error(_frame(query, site, tcp, opt), rcode), rcode, opt)

    def _splice(self, reply: Reply, found: Lookup) -> SerialSplice | None:
        """Where the SOA serial of a denial that is kept has to be put in, and the serial of now."""
        if found.denial is None or reply.serial_at is None:
            return None
        return reply.serial_at, self._serial_cell(found.denial.zone)


def complete(message: bytes, end: int, entry: Entry, with_opt: bool, tcp: bool, counts: list[int]) -> bytes:
    """A kept reply for this message, whose question ends at `end`: its ID, its question as sent, serial, OPT."""
    heads, body, opt, counter, splice, _ = entry
    if not isinstance(body, bytes):
        body = body()
    if splice:
        at, cell = splice
        body = body[:at] + cell[0] + body[at + SERIAL_OCTETS :]
    counts[counter + tcp * TCP_COUNTERS] += 1
    reply = message[:ID_OCTETS] + heads[with_opt] + message[HEADER_OCTETS:end] + body
    return reply + opt if with_opt else reply


def _entry(
    query: Query,
    reply: Reply,
    rcode: int,
    opt: bytes,
    splice: SerialSplice | None = None,
    depends: tuple[Dependency, ...] = (),
) -> Entry:
    return reply.heads, reply.body, opt, reply_counter(False, query.qtype, rcode), splice, depends


# Under which keys a reply may be kept and found: the one of all common forms first, if it is for them.
Keys = tuple[bytes, ...]


def _keys(query: Query, tcp: bool) -> Keys:
    """Keys of a query's reply: the folded question, if the form is a common one; the question and all that matters.

    None at all if the reply depends on more, or the type is one that hardly anybody asks for. Who looks a question up
    folds all of it, type and class too: a type with an octet that is a letter has no key of the first kind.
    """
    if not query.plain or query.rcode or query.qtype not in _KEPT_TYPES:
        return ()
    tail = _pair(query.qtype, query.qclass)
    flags = query.flags & (RD_BIT | CD_BIT) | (DO_BIT if query.edns and query.edns.dnssec_ok else 0)
    own = query.qname + tail + _form_key(flags, _payload(query.edns) if query.edns else 0, tcp)
    if is_common(query) and tail.lower() == tail == tail.upper():
        return query.qname + tail, own
    return (own,)


@lru_cache(maxsize=256)
def _form_key(flags: int, payload: int, tcp: bool) -> bytes:
    """All that matters of a query beside its question, as the end of a key."""
    return _NOT_FOLDED + _pair(flags, payload) + bytes((tcp,))


def _suits_all(reply: Reply, opt: bytes) -> bool:
    """Whether a reply is right for all common forms: nothing is missing, and it fits without EDNS."""
    return reply.whole and reply.octets + len(opt) <= MIN_PAYLOAD_OCTETS


def _payload(edns: Edns) -> int:
    """The payload size to reply to: a common one, so that odd sizes do not make replies of their own."""
    return COMMON_PAYLOADS[bisect_right(COMMON_PAYLOADS, edns.payload_octets) - 1]


def _frame(query: Query, site: Site | None, tcp: bool, opt: bytes) -> Frame:
    """What the reply has besides records; EDNS only if the query had it (RFC 6891 section 7)."""
    cap = site.max_udp_octets if site else MAX_UDP_OCTETS
    asked = _payload(query.edns) if query.edns else MIN_PAYLOAD_OCTETS
    question = query.qname + _pair(query.qtype, query.qclass) if query.end > HEADER_OCTETS else b""
    return Frame(question, query.flags, MAX_MESSAGE_OCTETS if tcp else min(asked, cap), opt if query.edns else b"")


def _opt(query: Query, site: Site | None, rcode: int, ede: tuple[int, str] | None = None) -> bytes:
    """The OPT record that the reply has if the query has one."""
    cap = site.max_udp_octets if site else MAX_UDP_OCTETS
    return _opt_of(cap, rcode, query.edns is not None and query.edns.dnssec_ok, ede)


@lru_cache(maxsize=256)
def _opt_of(cap: int, rcode: int, dnssec_ok: bool, ede: tuple[int, str] | None) -> bytes:
    """One for all replies that have it, so that keeping many costs little."""
    return opt_record(cap, rcode, dnssec_ok, ede_option(*ede) if ede else b"")


_pair = Struct(">2H").pack


def _filler(octets: int) -> bytes:
    """Labels of this many octets in all (2 or more), such as no name in a zone has."""
    lengths = [MAX_LABEL_OCTETS + 1] * (octets // (MAX_LABEL_OCTETS + 1))
    left = octets % (MAX_LABEL_OCTETS + 1)
    if left == 1:  # a label has an octet besides its length
        lengths[-1] -= 1
        left = 2
    return b"".join(bytes((length - 1,)) + b"\xff" * (length - 1) for length in (*lengths, left) if length)


def _hinfo(qname: bytes) -> Lookup:
    return Lookup(Rcode.NOERROR, (hinfo(qname),), lasting=False)


def _whoami(qname: bytes, client: Client, tcp: bool) -> Lookup:
    """The client's address and port, as CoreDNS's `whoami` says them."""
    address, port = client
    owner = (b"\x04_tcp" if tcp else b"\x04_udp") + qname
    srv = RRset(owner, RRType.SRV, 0, (_srv_head(0, 0, port) + b"\0",))
    addresses = tuple(address_rrsets(qname, 0, (address,)).values())
    additional = (*addresses, srv) if len(owner) <= MAX_NAME_OCTETS else addresses
    return Lookup(Rcode.NOERROR, additional=additional, lasting=False)
