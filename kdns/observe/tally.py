"""What a worker counts of queries and replies, for one integer addition on the hot path.

A reply that is kept knows its *cell*: a number for the zone, type, rcode and directive that it was made of. Each
socket has a list of counts of its own, so that it is known which listener, transport and address family they are of:

    counts = tally.counts(listener, tcp, family)      once, by whoever reads the socket
    cell = tally.cell(zone, qtype, rcode, plugin)     once for each reply that is compiled
    counts[cell] += 1                                 once for each reply that is sent

Once a second `fold` adds all of it to the worker slot's shared words and begins anew at zero. The words are few and
dense, by a `Layout` that supervisor and workers make of the same plan, and they outlive the worker: no counter goes
backwards, and at most a second is lost with a worker.

Sizes and times are observed once for each batch of datagrams: the last of a batch of n counts n times. So they are
exact while each query comes alone, and a fair sample under load, at a cost that does not grow with it.
Not here: the names (kdns.observe.families), the memory (kdns.server.slots), the text (kdns.observe.exposition).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import NamedTuple

from kdns.observe.families import (
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
    TIME_BOUNDS,
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
# Who can have made a reply. The first is for replies that no directive made, errors above all.
PLUGINS = (
    "", "acl", "any", "autopath", "cache", "file", "forward", "hosts", "kubernetes", "rewrite", "template",
    "transfer", "whoami",
)  # fmt: skip
NO_ZONE = "dropped"  # CoreDNS's word for queries that are in no zone

_TYPE_TEXTS = (*TYPES.values(), OTHER)
_TYPE_AT = {rrtype: at for at, rrtype in enumerate(TYPES)}
_RCODE_TEXTS = (*(rcode_text(rcode) for rcode in Rcode), OTHER)
_RCODE_AT = {int(rcode): at for at, rcode in enumerate(Rcode)}
_PLUGIN_AT = {plugin: at for at, plugin in enumerate(PLUGINS)}

# The words of one zone at one listener: tables one behind the other.
_BY_TYPE = len(_TYPE_TEXTS) * len(_RCODE_TEXTS)  # for each transport and family
_BY_PLUGIN = len(_RCODE_TEXTS) * len(PLUGINS)
_TIMES = len(TIME_BOUNDS) + 2  # a bucket without bound, and the sum
_SIZES = len(SIZE_BOUNDS) + 2
_SOCKETS = len(PROTOCOLS) * len(FAMILIES)
_PLUGINS_AT = _SOCKETS * _BY_TYPE
_TIMES_AT = _PLUGINS_AT + _BY_PLUGIN
_QUERY_SIZES_AT = _TIMES_AT + _TIMES  # for each transport
_REPLY_SIZES_AT = _QUERY_SIZES_AT + len(PROTOCOLS) * _SIZES
_DO_AT = _REPLY_SIZES_AT + len(PROTOCOLS) * _SIZES
_OBSERVED_WORDS = _DO_AT - _TIMES_AT
ZONE_WORDS = _DO_AT + 1
# Before the zones: what is of no zone.
_DROPPED, _SEND_FAILED, _PANICS, _HEAD_WORDS = range(4)

# The bucket of each size that a message can have.
_SIZE_BUCKET = bytes(bisect_left(SIZE_BOUNDS, octets) for octets in range(1 << 16))
_HEADS = {_DROPPED: DROPPED, _SEND_FAILED: SEND_FAILURES, _PANICS: PANICS}


class Server(NamedTuple):
    """One listener. label: as CoreDNS names it, `dns://127.0.0.1:53`. zones: those of the layout that it serves."""

    label: str
    zones: tuple[int, ...]


class Layout:
    """Where which word stands. zones: their texts, with their final dot; one more is for queries in none of them."""

    def __init__(self, servers: Sequence[Server], zones: Sequence[str]) -> None:
        self.servers = tuple(servers)
        self.zones = (*zones, NO_ZONE)
        self.no_zone = len(zones)
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
        where = (self.servers[listener].label, self.zones[zone], "")
        start, describe = next(part for part in _PARTS if inside >= part[0])
        return describe(where, inside - start)


class Tally:
    """See the module's docstring. words: those of the worker's slot, by the layout."""

    def __init__(self, layout: Layout, words: MutableSequence[int] | memoryview) -> None:
        self._layout = layout
        self._words = words
        self._cells: dict[tuple[int, int, int, int], int] = {}
        self._of_cell: list[tuple[int, int, int]] = []  # zone, place by type and rcode, place by rcode and plugin
        self._sockets: dict[tuple[int, int, int], list[int]] = {}  # by listener, place of proto, place of family
        self._observed: dict[tuple[int, int], list[int]] = {}  # times and sizes, by listener and zone

    def counts(self, listener: int, tcp: bool, family: int) -> list[int]:
        """The counts of a socket, by cells. family: 4 or 6. The same list for as long as the worker lives."""
        key = (listener, int(tcp), int(family == 6))
        return self._sockets.setdefault(key, [0] * len(self._of_cell))

    def cell(self, zone: int, qtype: int, rcode: int, plugin: str) -> int:
        """The cell of replies like this. zone: by the layout. There are only so many as there are combinations."""
        rrtype, code = _TYPE_AT.get(qtype, len(TYPES)), _RCODE_AT.get(rcode, len(_RCODE_AT))
        key = (zone, rrtype, code, _PLUGIN_AT[plugin])
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = len(self._of_cell)
            self._of_cell.append((zone, rrtype * len(_RCODE_TEXTS) + code, code * len(PLUGINS) + key[3]))
            for counts in self._sockets.values():
                counts.append(0)
        return cell

    def fold(self) -> None:
        """Add what was counted since the last time to the words."""
        words = self._words
        for (listener, proto, family), counts in self._sockets.items():
            table = (proto * len(FAMILIES) + family) * _BY_TYPE
            for cell, count in enumerate(counts):
                if count:
                    zone, by_type, by_plugin = self._of_cell[cell]
                    base = self._layout.base(listener, zone)
                    words[base + table + by_type] += count
                    words[base + _PLUGINS_AT + by_plugin] += count
                    counts[cell] = 0
        for (listener, zone), observed in self._observed.items():
            base = self._layout.base(listener, zone) + _TIMES_AT
            for at, count in enumerate(observed):
                if count:
                    words[base + at] += count
                    observed[at] = 0

    def observe(
        self, listener: int, tcp: bool, cell: int, count: int, query_octets: int, reply_octets: int, took_ns: int
    ) -> None:
        """One exchange that stands for `count` of them."""
        where = (listener, self._of_cell[cell][0])
        observed = self._observed.get(where) or self._observed.setdefault(where, [0] * _OBSERVED_WORDS)
        observed[time_bucket(took_ns)] += count
        observed[_TIMES - 1] += took_ns * count
        sizes = _TIMES + tcp * _SIZES
        observed[sizes + _SIZE_BUCKET[query_octets]] += count
        observed[sizes + _SIZES - 1] += query_octets * count
        sizes += len(PROTOCOLS) * _SIZES
        observed[sizes + _SIZE_BUCKET[reply_octets]] += count
        observed[sizes + _SIZES - 1] += reply_octets * count

    def dnssec_ok(self, listener: int, zone: int) -> None:
        """A query had the DO bit; none of them is answered by the short cut."""
        self._words[self._layout.base(listener, zone) + _DO_AT] += 1

    def dropped(self) -> None:
        """A message got no reply: too short for a header, or a reply itself."""
        self._words[_DROPPED] += 1

    def send_failed(self, count: int) -> None:
        """Replies that the kernel did not take."""
        self._words[_SEND_FAILED] += count

    def panicked(self) -> None:
        """A mistake of kdns kept a query from its answer."""
        self._words[_PANICS] += 1


Where = tuple[str, str, str]


def _by_type(where: Where, inside: int) -> Iterator[Sample]:
    socket, cell = divmod(inside, _BY_TYPE)
    proto, family = divmod(socket, len(FAMILIES))
    rrtype, rcode = divmod(cell, len(_RCODE_TEXTS))
    text = _TYPE_TEXTS[rrtype]
    yield Sample(REQUESTS, (*where, PROTOCOLS[proto], FAMILIES[family], text))
    yield Sample(KDNS_RESPONSES, (PROTOCOLS[proto], text, _RCODE_TEXTS[rcode]))


def _by_plugin(where: Where, inside: int) -> Iterator[Sample]:
    rcode, plugin = divmod(inside, len(PLUGINS))
    yield Sample(RESPONSES, (*where, _RCODE_TEXTS[rcode], PLUGINS[plugin]))


def _times(where: Where, inside: int) -> Iterator[Sample]:
    yield Sample(DURATION, where, SUM if inside == _TIMES - 1 else inside)


def _query_sizes(where: Where, inside: int) -> Iterator[Sample]:
    yield _size(REQUEST_SIZE, where, inside)


def _reply_sizes(where: Where, inside: int) -> Iterator[Sample]:
    yield _size(RESPONSE_SIZE, where, inside)


def _size(name: str, where: Where, inside: int) -> Sample:
    proto, bucket = divmod(inside, _SIZES)
    return Sample(name, (*where, PROTOCOLS[proto]), SUM if bucket == _SIZES - 1 else bucket)


def _dnssec_ok(where: Where, _: int) -> Iterator[Sample]:
    yield Sample(DO_REQUESTS, where)


# The tables of a zone's words, the last first.
_PARTS = (
    (_DO_AT, _dnssec_ok),
    (_REPLY_SIZES_AT, _reply_sizes),
    (_QUERY_SIZES_AT, _query_sizes),
    (_TIMES_AT, _times),
    (_PLUGINS_AT, _by_plugin),
    (0, _by_type),
)
