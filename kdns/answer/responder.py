"""The whole decision from a query's bytes to a reply's bytes (RFC 1034 4.3.2, 6891, 7766, 8482, 8906, 8914, 9619).

    parse -> kept reply? -> site (server block) -> zone -> lookup -> compile -> keep -> splice ID, case, serial

Every query with a header gets a reply, whatever else it is; nothing raises. A responder belongs to one listener.
Not here: sockets, and the short cut past all this for what is kept (kdns.server.udp).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from kdns.answer.compiler import Frame, Reply, compile_error, compile_reply
from kdns.answer.site import Site
from kdns.answer.table import GENERATION, Entry, ReplyTable
from kdns.observe.counters import DROPPED, reply_counter
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
from kdns.zone.lookup import lookup
from kdns.zone.model import Denial, Dependency, Lookup, Zone
from kdns.zone.rrset import RRset, address_rrsets

if TYPE_CHECKING:
    from random import Random

Client = tuple[bytes, int]  # packed address and port

SERIAL_OCTETS = 4
_NAME_AT = HEADER_OCTETS - 2  # in a message without its ID
_COOKIE_TAIL = b"\0\x0c\0\x0a\0\x08"  # RDLENGTH 12, option 10 of 8 octets: a client cookie alone (RFC 7873)
_NO_OPTIONS = b"\0\0"  # RDLENGTH of an OPT record without options
_NOT_FOLDED = b"A"  # in a key, what no folded message has: junk behind a query must not make a key of it
# Flags and QDCOUNT of the queries that dig sends, and those of the same query without the AD bit.
_AD_HEAD, _NO_AD_HEAD = b"\x01\x20\0\1", b"\x01\0\0\1"
# Payload sizes that resolvers send; any other is taken for the next smaller one.
_COMMON_PAYLOADS = (512, 1220, 1232, 1280, 1400, 1410, 1432, 1452, 1472, 2048, 4096, 8192, 16384, 65535)
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

# RFC 8482 section 4.2; the TTL is Cloudflare's, whom the RFC came from.
_HINFO_RDATA = b"\x07RFC8482\x00"
_HINFO_TTL = 3789


class Responder:
    """Answers the queries of one listener.

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
        self.udp = ReplyTable(generation)
        self.tcp = ReplyTable(generation)
        self.ready = False
        self._sites = {apex: site for site in sites for apex in site.zones}
        self._deciders: list[tuple[bytes, Zone | None]] = []
        self._rng = rng
        self._serial_cell = serial_cell
        self._on_failure = on_failure

    def publish(self) -> None:
        """The zones of the sites are others now: forget all replies, and answer from the new zones."""
        self.udp.clear()
        self.tcp.clear()
        self._set_deciders()
        self.ready = True

    def replace(self, changed: Dependency) -> None:
        """A zone file's zone is another now: forget the replies made of the old one."""
        self.drop({changed})
        self.udp.denials.clear()
        self.tcp.denials.clear()
        self._set_deciders()

    def _set_deciders(self) -> None:
        deciders = {
            apex: zone
            for site in self._sites.values()
            for apex, zone in site.deciders().items()
            if self._site(apex) is site
        }
        self._deciders = sorted(deciders.items(), key=lambda item: len(item[0]), reverse=True)

    def drop(self, changed: set[Dependency]) -> None:
        """Forget the replies made of what changed."""
        self.udp.drop(changed)
        self.tcp.drop(changed)

    def respond(self, message: bytes, client: Client, tcp: bool) -> bytes | None:
        """The reply to a whole DNS message; None for what is to be dropped in silence."""
        table = self.tcp if tcp else self.udp
        asked = message[2:]
        entry = table.current.get(asked.lower()) or self.kept(asked, table)
        if entry is None:
            query = parse_query(message)
            if query is None:
                self.counts[DROPPED] += 1
                return None
            entry = self._keep_or_answer(message, query, client, tcp)
        return complete(message, entry, self.counts)

    def kept(self, asked: bytes, table: ReplyTable) -> Entry | None:
        """A kept reply for a message (without its ID) that is in no table as it is, told without parsing it.

        That is one with a client cookie, which dig and c-ares send anew each time, or with the AD bit, or one for a
        name that does not exist. The message may be anything else, or no query at all, and must not be mistaken.
        """
        plain = asked[:-14] + _NO_OPTIONS if asked[-14:-8] == _COOKIE_TAIL else asked
        if plain.startswith(_AD_HEAD):
            plain = plain.replace(_AD_HEAD, _NO_AD_HEAD, 1)
        folded = plain.lower()
        entry = table.current.get(folded) if plain is not asked else None
        if entry:
            return entry
        end = folded.find(0, _NAME_AT) + 1
        qname = folded[_NAME_AT:end]
        for apex, zone in self._deciders:
            if qname.endswith(apex):
                ttl = zone.denies(qname) if zone else None
                if zone is None or ttl is None:
                    return None
                return table.denials.get((plain[:_NAME_AT], plain[end:], end, apex, ttl))
        return None

    def _keep_or_answer(self, message: bytes, query: Query, client: Client, tcp: bool) -> Entry:
        table = self.tcp if tcp else self.udp
        key = _table_key(message, query)
        entry = table.find(key) if key else None
        if entry is None:
            entry, lasting = self._compile(message, query, client, tcp)
            if lasting and key:
                table.keep(key, entry)
        return entry

    def _compile(self, message: bytes, query: Query, client: Client, tcp: bool) -> tuple[Entry, bool]:
        try:
            return self._answer(message, query, client, tcp)
        except Exception as error:  # a wrong answer would be worse, and silence too
            self._on_failure(error, message)
            return self._refuse(query, None, tcp, _BROKEN), False

    def _answer(self, message: bytes, query: Query, client: Client, tcp: bool) -> tuple[Entry, bool]:
        if query.rcode:
            return self._entry(query, compile_error(_frame(query, None, tcp), query.rcode), query.rcode, tcp), False
        site = self._site(query.qname)
        refusal = self._refusal(query, site)
        if refusal or site is None:
            return self._refuse(query, site, tcp, refusal or _NOT_OURS), False
        found = self._lookup(site, query, client, tcp)
        if found is None:
            return self._refuse(query, site, tcp, _NOT_OURS), False
        frame = _frame(query, site, tcp, (EDE.OTHER, found.note) if found.note else None)
        if query.plain and found.rcode == Rcode.NXDOMAIN and not (found.answer or found.note):
            apex, decider = self._decider(query.qname)
            if found.denial and found.denial.zone is decider:
                return self._denial(message, query, frame, found.denial, apex, tcp), False
        reply = compile_reply(frame, found, self._rng)
        # What is not kept has the serial of now already; and a zone that is asked second-hand has no cell to keep.
        return self._entry(query, reply, found.rcode, tcp, found if found.lasting else None), found.lasting

    def _decider(self, qname: bytes) -> tuple[bytes, Zone | None]:
        """As `kept` finds it, for a well-formed name."""
        return next((item for item in self._deciders if is_subdomain(qname, item[0])), (ROOT, None))

    def _denial(
        self, message: bytes, query: Query, frame: Frame, denial: Denial, apex: bytes, tcp: bool
    ) -> Entry:
        """The one reply for all names of this length that do not exist, kept for `kept` to find.

        It is compiled for a name that has only the apex in common with them, so that nothing of the authority
        section can be compressed against labels that the next name does not have.
        """
        own_octets = len(query.qname) - len(denial.zone.apex)
        stand_in = _filler(own_octets) + frame.question[own_octets:]
        found = Lookup(Rcode.NXDOMAIN, denial=denial)
        reply = compile_reply(frame._replace(question=stand_in), found, self._rng)
        entry = self._entry(query, reply, found.rcode, tcp, found)
        table = self.tcp if tcp else self.udp
        table.keep_denial((*_shape(message, query), query.end - 6, apex, denial.ttl), entry)
        return entry

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
        reply = compile_error(_frame(query, site, tcp, (code, text), rcode), rcode)
        return self._entry(query, reply, rcode, tcp)

    def _entry(self, query: Query, reply: Reply, rcode: int, tcp: bool, found: Lookup | None = None) -> Entry:
        splice = None
        if found and found.denial and reply.serial_at is not None:
            splice = reply.serial_at, self._serial_cell(found.denial.zone)
        counter = reply_counter(tcp, query.qtype, rcode)
        return reply.tail, counter, query.end, splice, found.depends if found else ()


def complete(message: bytes, entry: Entry, counts: list[int]) -> bytes:
    """Splice ID, letter case of the question and SOA serial into a reply's next tail, and count it."""
    tail, counter, end, splice, _ = entry
    reply = message[:2] + (tail if isinstance(tail, bytes) else tail())
    if reply[HEADER_OCTETS:end] != message[HEADER_OCTETS:end]:
        reply = reply[:HEADER_OCTETS] + message[HEADER_OCTETS:end] + reply[end:]
    if splice:
        at, cell = splice
        reply = reply[:at] + cell[0] + reply[at + SERIAL_OCTETS :]
    counts[counter] += 1
    return reply


class _Shape(NamedTuple):
    """A query but for its name, without what no reply depends on: flags that are not copied, EDNS options, sizes.

    head: flags and counts. rest: type, class, and the fixed part of the OPT record.
    """

    head: bytes
    rest: bytes


def _shape(message: bytes, query: Query) -> _Shape:
    head = (query.flags & (RD_BIT | CD_BIT)).to_bytes(2) + message[4:HEADER_OCTETS]
    rest = message[query.end - 4 : query.end]
    if query.edns:
        flags = DO_BIT if query.edns.dnssec_ok else 0
        rest += message[query.end : query.end + 3] + _pair(_payload(query.edns), 0) + _pair(flags, 0)
    return _Shape(head, rest)


def _table_key(message: bytes, query: Query) -> bytes | None:
    """The key under which the reply may be kept: the message behind the ID, folded, in its plainest form.

    None if the reply depends on more than that, or the type is one that hardly anybody asks for. Folding also changes
    octets that are no letters of the name: where that could make two different queries equal, the octets outside the
    name are added as they are.
    """
    if not query.plain or query.rcode or query.qtype not in _KEPT_TYPES:
        return None
    head, rest = _shape(message, query)
    key = head.lower() + query.qname + rest.lower()
    outside = head + rest
    return key if outside.lower() == outside == outside.upper() else key + _NOT_FOLDED + outside


def _payload(edns: Edns) -> int:
    """The payload size to reply to: a common one, so that odd sizes do not make replies of their own."""
    return _COMMON_PAYLOADS[bisect_right(_COMMON_PAYLOADS, edns.payload_octets) - 1]


def _frame(
    query: Query, site: Site | None, tcp: bool, ede: tuple[int, str] | None = None, rcode: int = 0
) -> Frame:
    """What the reply has besides records; EDNS only if the query had it (RFC 6891 section 7)."""
    cap = site.max_udp_octets if site else MIN_PAYLOAD_OCTETS
    asked = _payload(query.edns) if query.edns else MIN_PAYLOAD_OCTETS
    opt = b""
    if query.edns:
        options = ede_option(*ede) if ede else b""
        opt = opt_record(cap, rcode or query.rcode, query.edns.dnssec_ok, options)
    question = b""
    if query.end > HEADER_OCTETS:
        question = query.qname + _pair(query.qtype, query.qclass)
    return Frame(question, query.flags, MAX_MESSAGE_OCTETS if tcp else min(asked, cap), opt)


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
    return Lookup(Rcode.NOERROR, (RRset(qname, RRType.HINFO, _HINFO_TTL, (_HINFO_RDATA,)),), lasting=False)


def _whoami(qname: bytes, client: Client, tcp: bool) -> Lookup:
    """The client's address and port, as CoreDNS's `whoami` says them."""
    address, port = client
    owner = (b"\x04_tcp" if tcp else b"\x04_udp") + qname
    srv = RRset(owner, RRType.SRV, 0, (_srv_head(0, 0, port) + b"\0",))
    addresses = tuple(address_rrsets(qname, 0, (address,)).values())
    additional = (*addresses, srv) if len(owner) <= MAX_NAME_OCTETS else addresses
    return Lookup(Rcode.NOERROR, additional=additional, lasting=False)
