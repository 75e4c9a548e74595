"""Queries that wait for the forwarder, and replies made of what it tells (RFC 1035, 2181 section 9, 6604, 8914).

    Pending -> (kdns.server carries the Ask) -> Told -> reply for this very query -> kept for Told.keep seconds

Two kinds: a name that is for outside, whose answer is passed on as it stands; and one where something is to be made
of the answer first (the layers of kdns.answer.outcome): our CNAMEs come before it, `rewrite` rewrites it
back. What is kept
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

from kdns.answer.case import Case
from kdns.answer.compiler import COPIED_FLAGS, Frame, Reply, both_heads
from kdns.answer.minimal import minimal_body
from kdns.answer.outcome import CHAIN_RCODES, Answered, Leads, Outcome, through_all
from kdns.answer.shape import Keys, asks_for_dnssec, entry_of, frame_of, key_for, opt_of, question_of
from kdns.answer.table import Entry, ReplyTable
from kdns.observe.tally import KEPT_DENIAL, KEPT_SUCCESS
from kdns.wire.iana import EDE, Rcode, RRClass
from kdns.wire.message import Body, Record, age, encode_body, parse_message
from kdns.wire.outside import NO_EDE, Ask, Purpose, Source, Told
from kdns.wire.query import AA_BIT, AD_BIT, CD_BIT, HEADER_OCTETS, QR_BIT, RA_BIT, RD_BIT, TC_BIT, Query
from kdns.zone.model import Dependency, Lookup
from kdns.zone.rrset import RRset

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
_ADDRESSES = frozenset((b"\0\x01\0\x01", b"\0\x1c\0\x01"))  # type and class of A and AAAA
_EMPTY = Body(b"", (0, 0, 0), (), ())
MAX_HEADER_RCODE = 15  # that has room in a header
_AS_TOLD = Lookup(Rcode.NOERROR)  # stands for the sections as they are told
_FAILED = Lookup(Rcode.SERVFAIL, authoritative=False, lasting=False)
_MALFORMED = (EDE.INVALID_DATA, "the answer for the name that the alias leads to is malformed")
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


class _Asked(NamedTuple):
    """A query for outside, all that its reply needs.

    keys: under which the reply may be kept, () for not at all. epoch: see Outside.
    """

    case: Case
    leads: Leads
    ask: Ask
    keys: Keys
    epoch: int


class _Content(NamedTuple):
    """What a reply is to have. flags: AA and AD. seconds: for which it may be kept."""

    body: Body
    rcode: int
    ede: tuple[int, str] | None
    flags: int = 0
    seconds: int = 0
    depends: tuple[Dependency, ...] = ()


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
    on_failure: told of an exception; a kdns bug by definition. settle: the reply to a query of which the outcome is
    another one, once something was told of it.

    Epochs: what is told after the zones changed must not be kept. A reply for a name that no zone has depends on the
    publication of zones alone, one of which something is made, such as an alias of ours, on every change.
    """

    def __init__(
        self,
        table: ReplyTable,
        complete: Callable[[Case, Entry], bytes],
        cell: Callable[[Query, Reply, int, bytes, str], int],
        on_failure: Callable[[Exception, bytes], None],
        settle: Callable[[Case, Outcome], bytes | Pending],
        limit: int = KEPT_OUTSIDE,
    ) -> None:
        self._table = table
        self._complete = complete
        self._cell = cell
        self._on_failure = on_failure
        self._settle = settle
        self._limit = limit
        self._clock = Clock()
        self._due: list[_Due] = []
        self._watched: dict[int, _Watch] = {}  # by the numbers of `_due`, and no longer than those are there
        self._wanted: list[int] = []  # which of them are to be asked for again, each once at the most
        self._number = 0
        self._publications = 0
        self._changes = 0

    def pending(self, case: Case, leads: Leads) -> Pending:
        """What waits for the answer to a question for outside."""
        group, query = leads.site.group, case.query
        if group is None:
            raise ValueError("a site without `forward` has nothing to ask outside")
        flags = query.flags & (RD_BIT | CD_BIT) | (RD_BIT if leads.recurses else 0)
        ask = Ask(0, group, leads.question, flags, asks_for_dnssec(query), case.client[0])
        keys = case.keys if leads.lasting else ()
        case = case._replace(meter=case.meter.late)
        return Pending(ask, partial(self._finish, _Asked(case, leads, ask, keys, self._epoch(leads))))

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

    def _epoch(self, leads: Leads) -> int:
        return self._changes if leads.layers else self._publications

    def _finish(self, asked: _Asked, told: Told) -> bytes | Pending:
        try:
            outcome = _outcome(asked.leads, told)
            if not isinstance(outcome, Answered) or outcome.told is None:
                return self._settle(asked.case._replace(keys=()), outcome)
            entry = self._entry(asked, outcome, outcome.told)
        except Exception as error:  # whatever a server outside has sent, the client is not left without a reply
            self._on_failure(error, asked.case.message)
            broken = _failure(EDE.OTHER, "kdns failed; its log says why")
            entry = self._entry(asked._replace(keys=()), Answered(_AS_TOLD), broken)
        return self._complete(asked.case, entry)

    def _refresh(self, asked: _Asked, kept: Kept) -> Pending:
        """Ask again for what is kept. A failure does not replace it; what does goes on with its hits."""

        def renew(told: Told) -> bytes:
            outcome = _outcome(asked.leads, told)
            if told.source is not Source.FAILURE and isinstance(outcome, Answered) and outcome.told is not None:
                self._entry(asked, outcome, outcome.told, kept.hits)
            return b""

        return Pending(msgspec.structs.replace(asked.ask, purpose=Purpose.PREFETCH), renew)

    def _entry(self, asked: _Asked, answered: Answered, told: Told, hits: int = 0) -> Entry:
        """The reply, kept if it may be. hits: what the one that it replaces had."""
        case = asked.case
        query, site = case.query, case.site
        content = _as_told(case, told) if answered.found is _AS_TOLD else _composed(case, answered, told)
        body, rcode = content.body, content.rcode
        if site.minimal and rcode == Rcode.NOERROR:
            body = minimal_body(body)
        opt = opt_of(query, site, rcode, content.ede)
        frame = frame_of(query, site, case.tcp, opt)
        reply, body = _fit(frame, body, QR_BIT | RA_BIT | query.flags & COPIED_FLAGS | rcode | content.flags)
        cell = self._cell(query, reply, rcode, opt, answered.maker or _MAKERS[told.source])
        if not content.seconds or not asked.keys or asked.epoch != self._epoch(asked.leads):
            return entry_of(cell, reply, opt, depends=content.depends)
        kept = self._kept(body, told, content.seconds, hits)
        hit = self._cell(query, reply, rcode, opt, _kept_maker(rcode, body))
        entry = entry_of(hit, reply, opt, depends=content.depends, body=kept)
        key = key_for(asked.keys, reply, opt, site.room)
        self._table.keep(key, entry)
        self._schedule(key, entry, content.seconds)
        if isinstance(kept, Watched):
            self._watched[self._number] = _Watch(key, entry, partial(self._refresh, asked, kept))
        return entry_of(cell, reply, opt, depends=content.depends, body=kept)

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


def _outcome(leads: Leads, told: Told) -> Outcome:
    """What comes of a question of which this was told; what no layer has changed is passed on as it stands."""
    if leads.exists and told.rcode == Rcode.NXDOMAIN:
        told = msgspec.structs.replace(told, rcode=Rcode.NOERROR)
    if leads.layers:
        first = _read(leads, told)
        outcome = through_all(first, leads.layers)
        if outcome is not first:
            return outcome
    return Answered(_AS_TOLD, told=told)


def _read(leads: Leads, told: Told) -> Answered:
    """What is told, for layers to make something of.

    An extended rcode is between the forwarder and its upstream: this client may not even have EDNS.
    """
    ede = (told.ede, told.text) if told.ede != NO_EDE else None
    if told.rcode > MAX_HEADER_RCODE:
        return Answered(_FAILED, ede, told=told)
    octets = age(told.body, told.ttl_at, told.ttls, 0)
    message = parse_message(_message_head(0, QR_BIT, 1, *told.counts) + leads.question + octets)
    if message is None or any(
        record.rrclass != RRClass.IN
        for section in (message.answer, message.authority, message.additional) for record in section
    ):
        return Answered(_FAILED, _MALFORMED, told=told)
    found = Lookup(
        told.rcode, _rrsets(message.answer), _rrsets(message.authority), _rrsets(message.additional),
        authoritative=False, lasting=leads.lasting,
    )  # fmt: skip
    return Answered(found, ede, told=told)


def _rrsets(section: tuple[Record, ...]) -> tuple[RRset, ...]:
    """Each record as an rrset of its own, for their TTLs may differ."""
    return tuple(RRset(record.owner, record.rrtype, record.ttl, (record.rdata,)) for record in section)


def _records(section: tuple[RRset, ...]) -> tuple[Record, ...]:
    return tuple(
        Record(rrset.owner, rrset.rrtype, RRClass.IN, rrset.ttl, rdata) for rrset in section for rdata in rrset.rdatas
    )


def _as_told(case: Case, told: Told) -> _Content:
    """The sections as they are told, with the TTLs of now.

    AD is for who understands it alone (RFC 6840 section 5.7): queries with and without it have one key.
    """
    if told.rcode > MAX_HEADER_RCODE:
        told = _failure(told.ede, told.text)
    ede = (told.ede, told.text) if told.ede != NO_EDE else None
    body = Body(age(told.body, told.ttl_at, told.ttls, 0), told.counts, told.ttl_at, told.ttls)
    seconds = _seconds(told, told.rcode)
    if asks_for_dnssec(case.query):
        return _Content(body, told.rcode, ede, told.flags & AD_BIT, seconds)
    flags = told.flags & case.query.flags & AD_BIT
    return _Content(body, told.rcode, ede, flags, 0 if told.flags & AD_BIT else seconds)


def _composed(case: Case, answered: Answered, told: Told) -> _Content:
    """What layers have made of what was told. It never has AD: nobody signed our aliases, or what was rewritten."""
    found, rcode = answered.found, answered.found.rcode
    sections = _records(found.answer), _records(found.authority), _records(found.additional)
    body = encode_body(question_of(case.query), *sections)
    if body is None:
        return _Content(_EMPTY, Rcode.SERVFAIL, _MALFORMED)
    ede = answered.ede or ((EDE.OTHER, found.note) if found.note else None)
    flags = AA_BIT if found.authoritative and rcode in CHAIN_RCODES else 0
    seconds = min((_seconds(told, rcode), *body.ttls)) if found.lasting else 0
    return _Content(body, rcode, ede, flags, seconds, found.depends)


def _seconds(told: Told, rcode: int) -> int:
    """For how long the reply may be kept, 0 for not at all.

    Names made up at random are asked once: a denial that is asked for again comes from the forwarder's cache.
    """
    return 0 if rcode == Rcode.NXDOMAIN and told.source is Source.UPSTREAM else told.keep


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
