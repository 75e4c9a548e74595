"""Queries that wait for the forwarder, and replies made of what it tells (RFC 1035, 2181 section 9, 6604, 8914).

    Pending -> (kdns.server carries the Ask) -> Told -> reply for this very query -> kept for Told.keep seconds

Two kinds: a name that is for outside, whose answer is passed on as it stands; and a name of ours that is an alias of
one for outside, whose answer is our CNAMEs with the outside answer behind them, all in one message. What is kept
counts its hits and ages once a second, by `tick`; it is gone when it has expired, and when the zones may have changed
so that they take the name themselves. Not here: asking (kdns.server.asking), for how long an answer holds
(kdns.forward), the choice of what is for outside (kdns.answer.steps).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from struct import Struct
from typing import NamedTuple

import msgspec

from kdns.answer.compiler import COPIED_FLAGS, Frame, Reply, both_heads
from kdns.answer.minimal import minimal_body
from kdns.answer.rewrite import Reverter
from kdns.answer.rewriting import reverted
from kdns.answer.shape import Keys, asks_for_dnssec, entry_of, frame_of, key_for, opt_of, question_of
from kdns.answer.site import Site
from kdns.answer.table import Entry, ReplyTable
from kdns.observe.tally import KEPT_DENIAL, KEPT_SUCCESS, Meter
from kdns.wire.iana import EDE, Rcode, RRClass
from kdns.wire.message import Body, Message, Record, age, encode_body, parse_message
from kdns.wire.outside import NO_EDE, Ask, Purpose, Source, Told
from kdns.wire.query import AA_BIT, AD_BIT, CD_BIT, HEADER_OCTETS, QR_BIT, RA_BIT, RD_BIT, TC_BIT, Query
from kdns.zone.model import Lookup

# Forwarded replies that are kept for the hot path, over all listeners with the same sites: about what CoreDNS's
# cache holds, at some 1.2 KiB each. They never push out replies to cluster names: the one that expires first goes.
KEPT_OUTSIDE = 8192

# So many that are due are seen to in one call of `tick`, at some 2 us each; the rest is for the next call.
DUE_AT_ONCE = 256

# What is to be asked again before it expires is asked two ticks ahead at the least: one may pass until it is asked.
PREFETCH_SECONDS = 2

_head = Struct(">5H").pack
_message_head = Struct(">6H").pack
_RDLENGTH_AT, _RDATA_AT = 4, 6  # behind where the TTL of a record stands
_CHAIN_RCODES = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))
_ADDRESSES = frozenset((b"\0\x01\0\x01", b"\0\x1c\0\x01"))  # type and class of A and AAAA
_EMPTY = Body(b"", (0, 0, 0), (), ())
# Who has made a reply, by where its answer comes from.
_MAKERS = {
    Source.UPSTREAM: "forward",
    Source.CACHE_SUCCESS: "cache",
    Source.CACHE_DENIAL: "cache",
    Source.STALE: "cache",
    Source.FAILURE: "forward",
}


class Pending(NamedTuple):
    """A query that waits.

    ask: its `number` is for whoever carries it. finish: makes its whole reply of what the forwarder tells, or says
    what it waits for next; called once at the most.
    """

    ask: Ask
    finish: Callable[[Told], bytes | Pending]


class Asked(NamedTuple):
    """A query for outside, all that its reply needs.

    message: as it came. site: the one that the name of the query is in. keys: under which the reply may be kept, ()
    for not at all. chain: what the zones answered, where they led outside. exists: the name that is asked is an
    empty non-terminal here, and so is not denied whatever is told. reverter: rewrites the answer back, where the
    question was rewritten. meter: what counts the reply, None for that of the responder. epoch: see Outside, which
    sets it. maker: the directive that is to count as having made the reply, "" for whoever has the answer.
    """

    message: bytes
    query: Query
    tcp: bool
    site: Site
    keys: Keys
    chain: Lookup | None
    exists: bool
    reverter: Reverter | None = None
    meter: Meter | None = None
    epoch: int = 0
    maker: str = ""


class Clock:
    """Whole seconds, as the last tick told them."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0


class Kept:
    """The body of a kept reply: each call counts as a hit, and gives it with the TTLs of now.

    It is patched at the first call after a tick, so that a second without calls costs nothing. Addresses take turns
    in being first, as those of cluster names do (kdns.answer.compiler); the first call gives them as they were told.
    """

    __slots__ = ("_at", "_body", "_clock", "_doubled", "_fresh", "_made_at", "_run", "_turn", "hits")

    def __init__(self, clock: Clock, fresh: Body, keeps_ttls: bool = False) -> None:
        self._clock = clock
        self._fresh = fresh._replace(ttl_at=(), ttls=()) if keeps_ttls else fresh
        self._run = _address_run(fresh)
        self._made_at = clock.now
        self._turn = 0
        self._renew(clock.now)
        self.hits = 0

    def __call__(self) -> bytes:
        """The body, as Body of kdns.answer.compiler."""
        self.hits += 1
        if self._clock.now != self._at:
            self._renew(self._clock.now)
        if self._run is None:
            return self._body
        start, end, size = self._run
        at, octets = self._turn, end - start
        self._turn = (at + size) % octets
        return self._body[:start] + self._doubled[at : at + octets] + self._body[end:]

    def _renew(self, now: int) -> None:
        self._at = now
        fresh = self._fresh
        self._body = age(fresh.octets, fresh.ttl_at, fresh.ttls, now - self._made_at)
        self._doubled = self._body[slice(*self._run[:2])] * 2 if self._run else b""


class Watched(Kept):
    """A body that is asked for again when it has been called often enough and little of its time is left.

    That is looked at once a second at the most, by the first call after a tick. due_at: since when little is left.
    hits: so many calls it had before it was asked for again. wanted: where it then puts its number, once.
    """

    __slots__ = ("_due_at", "_gap", "_hits_wanted", "_number", "_wanted")

    def __init__(
        self, clock: Clock, fresh: Body, told: Told, due_at: int, hits: int, number: int, wanted: list[int]
    ) -> None:
        super().__init__(clock, fresh, told.keeps_ttls)
        self.hits = hits
        self._gap = told.prefetch_gap
        self._hits_wanted = told.prefetch_hits
        self._due_at: int | None = due_at
        self._number = number
        self._wanted = wanted

    def __call__(self) -> bytes:
        """As of Kept."""
        now = self._clock.now
        if now != self._at:
            self._look(now)
        return super().__call__()

    def _look(self, now: int) -> None:
        if now - self._at > self._gap:
            self.hits = 0
        if self._due_at is not None and now >= self._due_at and self.hits + 1 >= self._hits_wanted:
            self._due_at = None
            self._wanted.append(self._number)


class _Due(NamedTuple):
    """A kept reply that expires; `number` settles ties, and keeps the order of making."""

    at: int
    number: int
    key: bytes
    entry: Entry


class _Watch(NamedTuple):
    """How to ask again for a kept reply."""

    key: bytes
    entry: Entry
    refresh: Callable[[], Pending]


class Outside:
    """The queries of one responder that wait, and the replies of theirs that it keeps.

    complete: makes the message of a query out of an entry, and counts it. cell: where a reply of a maker is counted.
    on_failure: told of an exception; a kdns bug by definition.

    Epochs: what is told after the zones changed must not be kept. A reply for a name that no zone has depends on the
    publication of zones alone, one with an alias of ours on every change.
    """

    def __init__(
        self,
        table: ReplyTable,
        complete: Callable[[Asked, Entry], bytes],
        cell: Callable[[Query, Reply, int, bytes, str], int],
        on_failure: Callable[[Exception, bytes], None],
        limit: int = KEPT_OUTSIDE,
    ) -> None:
        self._table = table
        self._complete = complete
        self._cell = cell
        self._on_failure = on_failure
        self._limit = limit
        self._clock = Clock()
        self._due: list[_Due] = []
        self._watched: dict[int, _Watch] = {}  # by the numbers of `_due`, and no longer than those are there
        self._wanted: list[int] = []  # which of them are to be asked for again, each once at the most
        self._number = 0
        self._publications = 0
        self._changes = 0

    def pending(self, asked: Asked, site: Site, question: bytes, client: bytes) -> Pending:
        """What waits for the answer to a question (folded name, type, class) that this site forwards."""
        group = site.group
        if group is None:
            raise ValueError("a site without `forward` has nothing to ask outside")
        flags = asked.query.flags & (RD_BIT | CD_BIT)
        if asked.chain is not None:
            flags |= RD_BIT  # it is we who want to know where the alias ends
        ask = Ask(0, group, question, flags, asks_for_dnssec(asked.query), client)
        asked = asked._replace(epoch=self._epoch(asked))
        return Pending(ask, partial(self._finish, asked, ask))

    def published(self) -> None:
        """The zones are others now: what is kept is out of the table already."""
        self._publications += 1
        self._changes += 1
        self._due.clear()
        self._watched.clear()
        self._wanted.clear()

    def changed(self) -> None:
        """Something in the zones is going to be other than it was."""
        self._changes += 1

    def tick(self, now: int) -> list[Pending]:
        """Once a second and more often while `is_behind`: age, drop what has expired, ask again what is asked often.

        now: whole seconds, never going back. What is given back is to be asked; nobody waits for its reply.
        """
        self._clock.now = now
        watches = [self._watched.pop(number, None) for number in self._wanted[:DUE_AT_ONCE]]
        del self._wanted[:DUE_AT_ONCE]
        again = [watch.refresh() for watch in watches if watch and self._table.holds(watch.key, watch.entry)]
        for _ in range(DUE_AT_ONCE):
            if not self._due or self._due[0].at > now:
                break
            self._drop_first()
        return again

    @property
    def is_behind(self) -> bool:
        """Whether `tick` has left something that is due."""
        return bool(self._wanted) or (bool(self._due) and self._due[0].at <= self._clock.now)

    def _epoch(self, asked: Asked) -> int:
        return self._changes if asked.chain is not None else self._publications

    def _finish(self, asked: Asked, ask: Ask, told: Told) -> bytes:
        try:
            entry = self._entry(asked, ask, told)
        except Exception as error:  # whatever a server outside has sent, the client is not left without a reply
            self._on_failure(error, asked.message)
            entry = self._entry(asked._replace(keys=()), ask, _failure(EDE.OTHER, "kdns failed; its log says why"))
        return self._complete(asked, entry)

    def _refresh(self, asked: Asked, ask: Ask, kept: Kept) -> Pending:
        """Ask again for what is kept. A failure does not replace it; what does goes on with its hits."""

        def renew(told: Told) -> bytes:
            if told.source is not Source.FAILURE:
                self._entry(asked, ask, told, kept.hits)
            return b""

        return Pending(msgspec.structs.replace(ask, purpose=Purpose.PREFETCH), renew)

    def _entry(self, asked: Asked, ask: Ask, told: Told, hits: int = 0) -> Entry:
        """The reply, kept if it may be. hits: what the one that it replaces had."""
        query = asked.query
        if asked.exists and told.rcode == Rcode.NXDOMAIN:
            told = msgspec.structs.replace(told, rcode=Rcode.NOERROR)
        body, told = _content(asked, ask.question, told)
        if asked.site.minimal and told.rcode == Rcode.NOERROR:
            body = minimal_body(body)
        opt = opt_of(query, asked.site, told.rcode, _ede(told, asked.chain))
        frame = frame_of(query, asked.site, asked.tcp, opt)
        reply, body = _fit(frame, body, _flags(asked, told))
        depends = asked.chain.depends if asked.chain else ()
        seconds = self._seconds(asked, told, body)
        cell = self._cell(query, reply, told.rcode, opt, asked.maker or _MAKERS[told.source])
        if not seconds:
            return entry_of(cell, reply, opt, depends=depends)
        kept = self._kept(body, told, seconds, hits)
        hit = self._cell(query, reply, told.rcode, opt, _kept_maker(told.rcode, body))
        entry = entry_of(hit, reply, opt, depends=depends, body=kept)
        key = key_for(asked.keys, reply, opt, asked.site.room)
        self._table.keep(key, entry)
        self._schedule(key, entry, seconds)
        if isinstance(kept, Watched):
            self._watched[self._number] = _Watch(key, entry, partial(self._refresh, asked, ask, kept))
        return entry_of(cell, reply, opt, depends=depends, body=kept)

    def _seconds(self, asked: Asked, told: Told, body: Body) -> int:
        """For how long the reply may be kept, 0 for not at all."""
        if asked.reverter is not None:  # it may have shortened TTLs
            told = msgspec.structs.replace(told, keep=min((told.keep, *body.ttls)))
        if not asked.keys or asked.epoch != self._epoch(asked):
            return 0
        if told.rcode == Rcode.NXDOMAIN and told.source is Source.UPSTREAM:
            return 0  # names made up at random are asked once: what is asked again comes from the forwarder's cache
        if asked.chain is not None:
            return min(told.keep, *(rrset.ttl for rrset in asked.chain.answer)) if asked.chain.lasting else 0
        if told.flags & AD_BIT and not asks_for_dnssec(asked.query):
            return 0  # queries with and without AD have one key
        return told.keep

    def _kept(self, body: Body, told: Told, seconds: int, hits: int) -> Kept:
        ahead = max(PREFETCH_SECONDS, told.prefetch_left)
        if not told.prefetch_hits or seconds <= PREFETCH_SECONDS:
            return Kept(self._clock, body, told.keeps_ttls)
        due_at, number = self._clock.now + seconds - ahead, self._number + 1  # `_schedule` gives it that one
        return Watched(self._clock, body, told, due_at, hits, number, self._wanted)

    def _schedule(self, key: bytes, entry: Entry, seconds: int) -> None:
        if len(self._due) >= self._limit:
            self._drop_first()
        self._number += 1
        heappush(self._due, _Due(self._clock.now + seconds, self._number, key, entry))

    def _drop_first(self) -> None:
        """Forget the one that expires first."""
        due = heappop(self._due)
        self._watched.pop(due.number, None)
        self._table.discard(due.key, due.entry)


def _kept_maker(rcode: int, body: Body) -> str:
    """Who makes the reply whenever what is kept is told again."""
    return KEPT_SUCCESS if rcode == Rcode.NOERROR and body.counts[0] else KEPT_DENIAL


def _failure(code: int, text: str) -> Told:
    return Told(0, Rcode.SERVFAIL, 0, b"", (0, 0, 0), source=Source.FAILURE, ede=code, text=text)


def _content(asked: Asked, target: bytes, told: Told) -> tuple[Body, Told]:
    """What is to stand behind the question, with the TTLs of now, and what is told, made a failure where it is one.

    target: the question that was asked outside.
    """
    body, told = _unreverted(asked, target, told)
    if asked.reverter is None:
        return body, told
    return body, msgspec.structs.replace(told, rcode=asked.reverter.rcode(told.rcode))


def _unreverted(asked: Asked, target: bytes, told: Told) -> tuple[Body, Told]:
    """The same, but for the rcode.

    An extended rcode is between the forwarder and its upstream: this client may not even have EDNS.
    """
    if told.rcode > 15:
        return _EMPTY, _failure(told.ede, told.text)
    if asked.chain is None and asked.reverter is None:
        return Body(age(told.body, told.ttl_at, told.ttls, 0), told.counts, told.ttl_at, told.ttls), told
    if asked.chain is not None and told.rcode not in _CHAIN_RCODES:
        return _EMPTY, msgspec.structs.replace(told, rcode=Rcode.SERVFAIL)
    body = _composed(asked, message_of(target, told))
    if body is None:
        return _EMPTY, _failure(EDE.INVALID_DATA, "the answer for the name that the alias leads to is malformed")
    return body, told


def message_of(question: bytes, told: Told) -> Message | None:
    """What is told, read, with the TTLs of now; None if it is malformed."""
    octets = age(told.body, told.ttl_at, told.ttls, 0)
    return parse_message(_message_head(0, QR_BIT, 1, *told.counts) + question + octets)


def _composed(asked: Asked, message: Message | None) -> Body | None:
    """Our aliases with the sections of a message behind them, rewritten back; None if it would be too long."""
    if message is None:
        return None
    aliases = [
        Record(rrset.owner, rrset.rrtype, RRClass.IN, rrset.ttl, rdata)
        for rrset in (asked.chain.answer if asked.chain else ())
        for rdata in rrset.rdatas
    ]
    message = message._replace(answer=(*aliases, *message.answer))
    if asked.reverter is not None:
        message = reverted(message, asked.reverter)
    return encode_body(question_of(asked.query), message.answer, message.authority, message.additional)


def _ede(told: Told, chain: Lookup | None) -> tuple[int, str] | None:
    if told.ede != NO_EDE:
        return told.ede, told.text
    if chain is not None and told.rcode == Rcode.SERVFAIL:
        return EDE.OTHER, "the name that the alias leads to cannot be resolved"
    return (EDE.OTHER, chain.note) if chain is not None and chain.note else None


def _flags(asked: Asked, told: Told) -> int:
    """AD only for who understands it (RFC 6840 section 5.7), and never for what nobody signed: an alias of ours, and
    what was rewritten.
    """
    query = asked.query
    flags = QR_BIT | RA_BIT | query.flags & COPIED_FLAGS | told.rcode
    if asked.chain is not None:
        return flags | (AA_BIT if told.rcode in _CHAIN_RCODES else 0)
    if asked.reverter is not None:
        return flags
    is_asked = query.flags & AD_BIT or asks_for_dnssec(query)
    return flags | (told.flags & AD_BIT if is_asked else 0)


def _address_run(body: Body) -> tuple[int, int, int] | None:
    """The addresses that end the answer section: where they start and end, and the size of one.

    None where there are not two that differ in nothing but the address: only such may change places, for no name in
    the message can point into them, and their TTLs count down alike.
    """
    answers = body.counts[0]
    if answers < 2:
        return None
    ends = [_record_end(body.octets, at) for at in body.ttl_at[:answers]]
    ttl_at, start = body.ttl_at[answers - 1], ends[answers - 2]
    head, size = body.octets[start : ttl_at + _RDATA_AT], ends[-1] - start
    if head[-_RDATA_AT - 4 : -_RDATA_AT] not in _ADDRESSES:
        return None
    while start >= size and body.octets[start - size : start].startswith(head) and start - size in (0, *ends):
        start -= size
    return (start, ends[-1], size) if ends[-1] - start > size else None


def _record_end(octets: bytes, ttl_at: int) -> int:
    return ttl_at + _RDATA_AT + int.from_bytes(octets[ttl_at + _RDLENGTH_AT : ttl_at + _RDATA_AT])


def _fit(frame: Frame, body: Body, flags: int) -> tuple[Reply, Body]:
    """The reply with as many whole records as there is room for, and its body.

    Additional records are left out all together and without TC; whatever else is missing sets it. Records are cut
    from the end, and compressed names point back, so that what is left stands as it is.
    """
    answers, authorities, _ = body.counts
    start = HEADER_OCTETS + len(frame.question)
    room = frame.limit - start - len(frame.opt)
    whole = len(body.octets) <= room
    if not whole:
        ends = [_record_end(body.octets, at) for at in body.ttl_at]
        wanted = answers + authorities
        counts = (answers, authorities, 0)
        if wanted and ends[wanted - 1] > room:
            flags |= TC_BIT
            wanted = sum(end <= room for end in ends[:answers])
            counts = (wanted, 0, 0)
        end = ends[wanted - 1] if wanted else 0
        body = Body(body.octets[:end], counts, body.ttl_at[:wanted], body.ttls[:wanted])
    answers, authorities, additionals = body.counts
    heads = both_heads(_head(flags, 1, answers, authorities, additionals), False)
    return Reply(heads, body.octets, start + len(body.octets), whole=whole), body
