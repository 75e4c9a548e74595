"""What a worker counts of queries and replies, for one integer addition on the hot path.

A reply that is kept knows its *cell*: a number for the zone, type, rcode and directive that it was made of, for its
size and that of its query, and whether that had the DO bit. Each socket has counts of its own, so that it is known
which listener, transport and address family they are of:

    meter = tally.meter(listener, tcp, family)                  once, by whoever reads the socket
    cell = tally.cell(zone, Making(qtype, rcode, maker, ...))   once for each reply that is compiled
    meter.counts[cell] += 1                                     once for each reply that is sent
    meter.took(nanoseconds, replies)                            once for each batch: its replies leave together

Once a second `fold` adds all of it to the worker slot's shared words and begins anew at zero. The words are few and
dense, by a `Layout` that supervisor and workers make of the same plan, and they outlive the worker: no counter goes
backwards, and at most a second is lost with a worker.

A histogram of times has as many observations as there were replies; how the times of one second are spread over the
zones that were asked for in it is by the number of replies of each. Replies that had to be waited for have times and
counts apart, so that they do not mix with those that were given at once.
Not here: the names (kdns.observe.families), the memory (kdns.server.slots), the text (kdns.observe.exposition).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import NamedTuple

from kdns.observe.families import (
    AUTOPATH_SUCCESS,
    CACHE_HITS,
    CACHE_REQUESTS,
    DO_REQUESTS,
    DROPPED,
    DURATION,
    KDNS_RESPONSES,
    PANICS,
    REQUEST_SIZE,
    REQUESTS,
    RESPONSE_SIZE,
    RESPONSES,
    SEND_FAILURES,
    SIZE_BOUNDS,
    SUM,
    TEMPLATE_MATCHES,
    TIME_BOUNDS,
    UNASKED,
    Sample,
    time_bucket,
)
from kdns.wire.iana import Rcode, rcode_text

# CoreDNS's; the rest is "other", so that a client cannot grow this.
TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 43: "DS",
    46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY",
}  # fmt: skip
OTHER = "other"
PROTOCOLS = ("udp", "tcp")
FAMILIES = ("1", "2")  # IPv4, IPv6, as CoreDNS writes them
# Replies that a worker has kept of what came from outside: hits of `cache`, which the forwarder does not hear of.
KEPT_SUCCESS, KEPT_DENIAL = "cache: kept answer", "cache: kept denial"
_KEPT = {KEPT_SUCCESS: "success", KEPT_DENIAL: "denial"}
# Who can have made a reply: a directive, or one of the above. The first is for replies that no directive made, errors
# above all.
MAKERS = (
    "", "acl", "any", "autopath", "cache", "chaos", "file", "forward", "hosts", "kubernetes", "rewrite",
    "template", "transfer", "whoami", KEPT_SUCCESS, KEPT_DENIAL,
)  # fmt: skip
# Combinations that have a cell: what clusters ask for makes some hundreds, names made up in all lengths many more.
# Beyond that the sizes of a reply are taken for those of the first one that is otherwise alike.
CELLS_MAX = 4096
NO_ZONE = "dropped"  # CoreDNS's word for queries that are in no zone

_TYPE_TEXTS = (*TYPES.values(), OTHER)
_TYPE_AT = {rrtype: at for at, rrtype in enumerate(TYPES)}
_RCODE_TEXTS = (*(rcode_text(rcode) for rcode in Rcode), OTHER)
_RCODE_AT = {int(rcode): at for at, rcode in enumerate(Rcode)}
_MAKER_AT = {maker: at for at, maker in enumerate(MAKERS)}

# What `template` made where an expression was found: where none is, the reply is SERVFAIL. By code and maker.
_TEMPLATED = frozenset(
    code * len(MAKERS) + _MAKER_AT["template"]
    for code in range(len(_RCODE_TEXTS))
    if code != _RCODE_AT[int(Rcode.SERVFAIL)]
)

# A walk of `autopath` that came to a name: rcode and maker.
_FOUND_ON_A_WALK = (_RCODE_AT[int(Rcode.NOERROR)], _MAKER_AT["autopath"])

# The words of one zone at one listener: tables one behind the other.
_BY_TYPE = len(_TYPE_TEXTS) * len(_RCODE_TEXTS)  # for each transport and family
_BY_MAKER = len(_RCODE_TEXTS) * len(MAKERS)
_TIMES = len(TIME_BOUNDS) + 2  # a bucket without bound, and the sum
_SIZES = len(SIZE_BOUNDS) + 2
_SOCKETS = len(PROTOCOLS) * len(FAMILIES)
_MAKERS_AT = _SOCKETS * _BY_TYPE
_TIMES_AT = _MAKERS_AT + _BY_MAKER
_QUERY_SIZES_AT = _TIMES_AT + _TIMES  # for each transport
_REPLY_SIZES_AT = _QUERY_SIZES_AT + len(PROTOCOLS) * _SIZES
_DO_AT = _REPLY_SIZES_AT + len(PROTOCOLS) * _SIZES
_TEMPLATES_AT = _DO_AT + 1
ZONE_WORDS = _TEMPLATES_AT + len(_TYPE_TEXTS)
# Before the zones: what is of no zone.
_DROPPED, _SEND_FAILED, _PANICS, _UNASKED, _HEAD_WORDS = range(5)

FIRST_BOUND_NS = round(TIME_BOUNDS[0] * 1e9)  # what takes no longer is in the first bucket
# The bucket of each size that a message can have.
_SIZE_BUCKET = bytes(bisect_left(SIZE_BOUNDS, octets) for octets in range(1 << 16))
_HEADS = {_DROPPED: DROPPED, _SEND_FAILED: SEND_FAILURES, _PANICS: PANICS, _UNASKED: UNASKED}


class Server(NamedTuple):
    """One listener. label: as CoreDNS names it, `dns://127.0.0.1:53`. zones: those of the layout that it serves."""

    label: str
    zones: tuple[int, ...]


class Layout:
    """Where which word stands.

    zones: their texts, with their final dot; one more is for queries in none of them. caches: for each zone the zones
    of the `cache` line of its block, as metrics name them; may be fewer.
    """

    def __init__(self, servers: Sequence[Server], zones: Sequence[str], caches: Sequence[str] = ()) -> None:
        self.servers = tuple(servers)
        self.zones = (*zones, NO_ZONE)
        self.no_zone = len(zones)
        self._caches = (*caches, *[""] * (len(self.zones) - len(caches)))
        pairs = [(at, zone) for at, server in enumerate(servers) for zone in (*server.zones, self.no_zone)]
        self._pairs = tuple(dict.fromkeys(pairs))
        self._base = {pair: _HEAD_WORDS + at * ZONE_WORDS for at, pair in enumerate(self._pairs)}

    @property
    def words(self) -> int:
        """How many there are."""
        return _HEAD_WORDS + len(self._pairs) * ZONE_WORDS

    def base(self, listener: int, zone: int) -> int:
        """Where the words of a zone at a listener begin; those of no zone where it is not served."""
        return self._base.get((listener, zone)) or self._base[listener, self.no_zone]

    def samples(self, words: Sequence[int]) -> Counter[Sample]:
        """What the words say, the zeros left out. Those of several layouts, and of gone workers, may be added up."""
        found: Counter[Sample] = Counter()
        for at, count in enumerate(words):
            if count:
                for sample in self._samples_of(at):
                    found[sample] += count
        return found

    def _samples_of(self, at: int) -> Iterable[Sample]:
        """The samples that a word is part of."""
        if at < _HEAD_WORDS:
            return (Sample(_HEADS[at], ()),)
        pair, inside = divmod(at - _HEAD_WORDS, ZONE_WORDS)
        listener, zone = self._pairs[pair]
        where = Where(self.servers[listener].label, self.zones[zone], self._caches[zone])
        start, describe = next(part for part in _PARTS if inside >= part[0])
        return describe(where, inside - start)


class Making(NamedTuple):
    """What a reply was made of, besides its zone. maker: one of MAKERS. Sizes are those of the whole messages."""

    qtype: int
    rcode: int
    maker: str = ""
    query_octets: int = 0
    reply_octets: int = 0
    dnssec_ok: bool = False


class Meter:
    """What was counted at one socket and is not told yet. The lists are the same for as long as it lives.

    counts: by cell. times: of replies by bucket, and their sum in nanoseconds, the last.
    """

    __slots__ = ("_late", "counts", "times")

    def __init__(self, cells: int, late: Meter | None = None) -> None:
        self.counts = [0] * cells
        self.times = [0] * _TIMES
        self._late = late

    @property
    def late(self) -> Meter:
        """That of replies that were waited for; its own."""
        return self._late or self

    def took(self, took_ns: int, replies: int) -> None:
        """So many replies left after this time."""
        times = self.times
        times[time_bucket(took_ns)] += replies
        times[-1] += took_ns * replies


class _Cell(NamedTuple):
    """Where in the words of its zone a cell's replies are counted."""

    zone: int
    by_type: int
    by_maker: int
    query_octets: int
    reply_octets: int
    dnssec_ok: bool


class Tally:
    """See the module's docstring. words: those of the worker's slot, by the layout."""

    def __init__(self, layout: Layout, words: MutableSequence[int] | memoryview) -> None:
        self._layout = layout
        self._words = words
        self._cells: dict[tuple[int, ...], int] = {}
        self._alike: dict[tuple[int, ...], int] = {}  # the first cell of each combination without sizes
        self._of_cell: list[_Cell] = []
        self._meters: dict[tuple[int, int, int], Meter] = {}  # by listener, place of proto, place of family

    @property
    def no_zone(self) -> int:
        """The number of queries that are in no zone."""
        return self._layout.no_zone

    def meter(self, listener: int, tcp: bool, family: int) -> Meter:
        """The counts of a socket. family: 4 or 6. The same for as long as the worker lives."""
        key = (listener, int(tcp), int(family == 6))
        meter = self._meters.get(key)
        if meter is None:
            cells = len(self._of_cell)
            meter = self._meters[key] = Meter(cells, Meter(cells))
        return meter

    def cell(self, zone: int, making: Making) -> int:
        """The cell of replies like this. zone: by the layout. There are only so many as there are combinations."""
        qtype, rcode, maker, query_octets, reply_octets, dnssec_ok = making
        rrtype, code = _TYPE_AT.get(qtype, len(TYPES)), _RCODE_AT.get(rcode, len(_RCODE_AT))
        alike = (zone, rrtype, code, _MAKER_AT[maker], dnssec_ok)
        key = (*alike, query_octets, reply_octets)
        cell = self._cells.get(key)
        if cell is None and len(self._of_cell) >= CELLS_MAX:
            cell = self._alike.get(alike)
        if cell is None:
            cell = self._cells[key] = len(self._of_cell)
            self._alike.setdefault(alike, cell)
            by_type, by_maker = rrtype * len(_RCODE_TEXTS) + code, code * len(MAKERS) + alike[3]
            self._of_cell.append(_Cell(zone, by_type, by_maker, query_octets, reply_octets, dnssec_ok))
            for meter in self._meters.values():
                meter.counts.append(0)
                meter.late.counts.append(0)
        return cell

    def fold(self) -> None:
        """Add what was counted since the last time to the words."""
        for (listener, proto, family), meter in self._meters.items():
            table = (proto * len(FAMILIES) + family) * _BY_TYPE
            for one in (meter, meter.late):
                self._fold_times(listener, self._fold_counts(listener, proto, table, one.counts), one.times)

    def _fold_counts(self, listener: int, proto: int, table: int, counts: list[int]) -> Counter[int]:
        """Returns how many replies there were of each zone, by where its words begin."""
        words = self._words
        replies: Counter[int] = Counter()
        for at, count in enumerate(counts):
            if not count:
                continue
            counts[at] = 0
            cell = self._of_cell[at]
            base = self._layout.base(listener, cell.zone)
            replies[base] += count
            words[base + table + cell.by_type] += count
            words[base + _MAKERS_AT + cell.by_maker] += count
            for sizes, octets in ((_QUERY_SIZES_AT, cell.query_octets), (_REPLY_SIZES_AT, cell.reply_octets)):
                start = base + sizes + proto * _SIZES
                words[start + _SIZE_BUCKET[octets]] += count
                words[start + _SIZES - 1] += octets * count
            if cell.dnssec_ok:
                words[base + _DO_AT] += count
            if cell.by_maker in _TEMPLATED:
                words[base + _TEMPLATES_AT + cell.by_type // len(_RCODE_TEXTS)] += count
        return replies

    def _fold_times(self, listener: int, replies: Counter[int], times: list[int]) -> None:
        """Give each zone as many times as it had replies, spread as those of all are. Untimed ones took none."""
        words = self._words
        *buckets, sum_ns = times
        timed = sum(buckets)
        for base, count in replies.items():
            start, below, given = base + _TIMES_AT, 0, 0
            for bucket, observed in enumerate(buckets if timed else [1]):
                if observed:
                    below += observed
                    upto = (2 * count * below + (timed or 1)) // (2 * (timed or 1))
                    words[start + bucket] += upto - given
                    given = upto
            words[start + _TIMES - 1] += sum_ns * count // (timed or 1)
        if timed:
            times[:] = [0] * _TIMES

    def dropped(self) -> None:
        """A message got no reply: too short for a header, or a reply itself."""
        self._words[_DROPPED] += 1

    def send_failed(self, count: int) -> None:
        """Replies that the kernel did not take."""
        self._words[_SEND_FAILED] += count

    def panicked(self) -> None:
        """A mistake of kdns kept a query from its answer."""
        self._words[_PANICS] += 1

    def unasked(self, count: int) -> None:
        """Questions for outside that no forwarder was there for, or that it has not answered."""
        self._words[_UNASKED] += count


class Where(NamedTuple):
    """What the words of a pair of listener and zone are labelled with."""

    server: str
    zone: str
    cache: str

    @property
    def labels(self) -> tuple[str, str, str]:
        """The values of `server`, `zone` and `view`."""
        return self.server, self.zone, ""


def _by_type(where: Where, inside: int) -> Iterator[Sample]:
    socket, cell = divmod(inside, _BY_TYPE)
    proto, family = divmod(socket, len(FAMILIES))
    rrtype, rcode = divmod(cell, len(_RCODE_TEXTS))
    text = _TYPE_TEXTS[rrtype]
    yield Sample(REQUESTS, (*where.labels, PROTOCOLS[proto], FAMILIES[family], text))
    yield Sample(KDNS_RESPONSES, (PROTOCOLS[proto], text, _RCODE_TEXTS[rcode]))


def _by_maker(where: Where, inside: int) -> Iterator[Sample]:
    rcode, at = divmod(inside, len(MAKERS))
    kind = _KEPT.get(MAKERS[at])
    yield Sample(RESPONSES, (*where.labels, _RCODE_TEXTS[rcode], "cache" if kind else MAKERS[at]))
    if kind and where.cache:  # a failure is remembered without `cache`, too (RFC 9520)
        yield Sample(CACHE_REQUESTS, (where.server, where.cache, ""))
        yield Sample(CACHE_HITS, (where.server, kind, where.cache, ""))
    if (rcode, at) == _FOUND_ON_A_WALK:
        yield Sample(AUTOPATH_SUCCESS, (where.server,))


def _times(where: Where, inside: int) -> Iterator[Sample]:
    yield Sample(DURATION, where.labels, SUM if inside == _TIMES - 1 else inside)


def _query_sizes(where: Where, inside: int) -> Iterator[Sample]:
    yield _size(REQUEST_SIZE, where, inside)


def _reply_sizes(where: Where, inside: int) -> Iterator[Sample]:
    yield _size(RESPONSE_SIZE, where, inside)


def _size(name: str, where: Where, inside: int) -> Sample:
    proto, bucket = divmod(inside, _SIZES)
    return Sample(name, (*where.labels, PROTOCOLS[proto]), SUM if bucket == _SIZES - 1 else bucket)


def _dnssec_ok(where: Where, _: int) -> Iterator[Sample]:
    yield Sample(DO_REQUESTS, where.labels)


def _templates(where: Where, inside: int) -> Iterator[Sample]:
    yield Sample(TEMPLATE_MATCHES, (*where.labels, "IN", _TYPE_TEXTS[inside]))


# The tables of a zone's words, the last first.
_PARTS = (
    (_TEMPLATES_AT, _templates),
    (_DO_AT, _dnssec_ok),
    (_REPLY_SIZES_AT, _reply_sizes),
    (_QUERY_SIZES_AT, _query_sizes),
    (_TIMES_AT, _times),
    (_MAKERS_AT, _by_maker),
    (0, _by_type),
)
