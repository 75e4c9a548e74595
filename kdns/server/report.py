"""What the forwarder tells of itself: a report in memory that it shares with the supervisor, and that outlives it.

Written once a second, read for /metrics. There is one writer and no lock: a report is written beside the last one,
and then counts. A forwarder that was forked anew adds to what the one before has counted, so that no counter goes
backwards. Not here: the metrics' names (kdns.observe).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from operator import add
from typing import TypeVar, cast

import msgspec

from kdns.forward.health import Rank, Upstream
from kdns.forward.resolver import Resolver
from kdns.forward.values import UpstreamSpec

# 16 upstreams of 1,000 lines are 4 MB of address space; what is not written to is no memory.
BOARD_OCTETS = 4 << 20
TOP_CLIENTS = 20  # told of; a label value each
_HEADER_OCTETS = 24
_TURN, _LENGTHS = 0, 1  # words: how many reports there were; the lengths of the two halves
_TRIES = 3  # a report is copied in microseconds, and written once a second


class CacheReport(msgspec.Struct, frozen=True, gc=False):
    """The cache of one group, by the number of its site. entries_*: how many there are; the rest has happened."""

    entries_success: int = 0
    entries_denial: int = 0
    hits_success: int = 0
    hits_denial: int = 0
    evictions_success: int = 0
    evictions_denial: int = 0
    misses: int = 0
    prefetches: int = 0
    stale: int = 0


class UpstreamReport(msgspec.Struct, frozen=True, gc=False):
    """One upstream, by `address:port`. is_down: now. rtt_sum: seconds, of all rtt_count answers.

    times: by rcode of its answers the buckets of kdns.observe.families.TIME_BOUNDS, and the sum in nanoseconds.
    connections: by transport the questions that found a connection, and those for which one was made.
    """

    is_down: bool = False
    requests: int = 0
    failures: int = 0
    probes: int = 0
    probe_failures: int = 0
    rtt_sum: float = 0.0
    rtt_count: int = 0
    times: dict[int, tuple[int, ...]] = {}
    connections: dict[str, tuple[int, int]] = {}


class ClientReport(msgspec.Struct, frozen=True, gc=False):
    """One of the clients that asked most since the forwarder was started. shed: of its questions, not answered."""

    address: str
    asked: int
    shed: int


class Report(msgspec.Struct, frozen=True, gc=False):
    """All of it. in_flight: messages to upstreams, now. shed: by reason. rejected: for `max_concurrent`.

    broken: questions for which all upstreams were down. strangers: messages of upstreams that answer nothing.
    """

    in_flight: int = 0
    asked: int = 0
    flights: int = 0
    joined: int = 0
    failed: int = 0
    not_ours: int = 0
    rejected: int = 0
    broken: int = 0
    strangers: int = 0
    shed: dict[str, int] = {}
    caches: dict[int, CacheReport] = {}
    upstreams: dict[str, UpstreamReport] = {}
    clients: tuple[ClientReport, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Report)


class Board:
    """Where the report stands, in one half of the memory; the next one is written into the other half."""

    def __init__(self, octets: int = BOARD_OCTETS) -> None:
        self._map = mmap.mmap(-1, octets)
        self._room = (octets - _HEADER_OCTETS) // 2
        self._header = memoryview(self._map)[:_HEADER_OCTETS].cast("Q")

    def write(self, report: Report) -> None:
        """Put it up. Where it is too long, the last one stays."""
        data = _encoder.encode(report)
        if len(data) > self._room:
            return
        turn = self._header[_TURN] + 1
        start = self._start(turn)
        self._map[start : start + len(data)] = data
        self._header[_LENGTHS + turn % 2] = len(data)
        self._header[_TURN] = turn

    def read(self) -> Report:
        """The last one; an empty one before the first."""
        for _ in range(_TRIES):
            turn = self._header[_TURN]
            start = self._start(turn)
            data = self._map[start : start + self._header[_LENGTHS + turn % 2]]
            if turn == self._header[_TURN] and data:
                return _decoder.decode(data)
        return Report()

    def _start(self, turn: int) -> int:
        return _HEADER_OCTETS + turn % 2 * self._room


def report_of(resolvers: Iterable[Resolver], in_flight: int) -> Report:
    """What some resolvers have counted together."""
    found = Report()
    for resolver in resolvers:
        found = combined(found, _report(resolver, in_flight))
    return found


def with_connections(report: Report, counts: Mapping[tuple[UpstreamSpec, str], tuple[int, int]]) -> Report:
    """The same with questions by connections: by upstream and transport, those that found one, and the others."""
    upstreams = dict(report.upstreams)
    for (spec, proto), row in counts.items():
        name = upstream_name(spec)
        more = UpstreamReport(upstreams.get(name, _NO_UPSTREAM).is_down, connections={proto: row})
        upstreams[name] = _both_upstreams(upstreams.get(name, _NO_UPSTREAM), more)
    return msgspec.structs.replace(report, upstreams=upstreams)


def combined(one: Report, other: Report) -> Report:
    """Counts of both; what is now, and clients, of the other one."""
    return Report(
        in_flight=other.in_flight,
        asked=one.asked + other.asked,
        flights=one.flights + other.flights,
        joined=one.joined + other.joined,
        failed=one.failed + other.failed,
        not_ours=one.not_ours + other.not_ours,
        rejected=one.rejected + other.rejected,
        broken=one.broken + other.broken,
        strangers=one.strangers + other.strangers,
        shed={reason: one.shed.get(reason, 0) + other.shed.get(reason, 0) for reason in one.shed | other.shed},
        caches={
            group: _both_caches(one.caches.get(group, _NO_CACHE), other.caches.get(group, _NO_CACHE))
            for group in one.caches | other.caches
        },
        upstreams={
            name: _both_upstreams(one.upstreams.get(name, _NO_UPSTREAM), other.upstreams.get(name, _NO_UPSTREAM))
            for name in one.upstreams | other.upstreams
        },
        clients=other.clients,
    )


_K = TypeVar("_K")
_Row = TypeVar("_Row", bound=tuple[int, ...])
_NO_CACHE = CacheReport()
_NO_UPSTREAM = UpstreamReport()


def _both_caches(one: CacheReport, other: CacheReport) -> CacheReport:
    return CacheReport(
        other.entries_success,
        other.entries_denial,
        one.hits_success + other.hits_success,
        one.hits_denial + other.hits_denial,
        one.evictions_success + other.evictions_success,
        one.evictions_denial + other.evictions_denial,
        one.misses + other.misses,
        one.prefetches + other.prefetches,
        one.stale + other.stale,
    )


def _both_upstreams(one: UpstreamReport, other: UpstreamReport) -> UpstreamReport:
    return UpstreamReport(
        other.is_down,
        one.requests + other.requests,
        one.failures + other.failures,
        one.probes + other.probes,
        one.probe_failures + other.probe_failures,
        one.rtt_sum + other.rtt_sum,
        one.rtt_count + other.rtt_count,
        _both_rows(one.times, other.times),
        _both_rows(one.connections, other.connections),
    )


def _both_rows(one: dict[_K, _Row], other: dict[_K, _Row]) -> dict[_K, _Row]:
    """Rows of one length, added column by column."""
    rows = dict(one)
    for key, row in other.items():
        rows[key] = cast("_Row", tuple(map(add, rows[key], row))) if key in rows else row
    return rows


def _report(resolver: Resolver, in_flight: int) -> Report:
    counts = resolver.counts
    upstreams: dict[str, UpstreamReport] = {}
    for upstream in resolver.upstreams:  # one server may stand in several lines, and be cared for differently
        name = upstream_name(upstream.spec)
        upstreams[name] = _both_upstreams(upstreams.get(name, _NO_UPSTREAM), _upstream(upstream))
    return Report(
        in_flight=in_flight,
        asked=counts.asked,
        flights=counts.flights,
        joined=counts.joined,
        failed=counts.failed,
        not_ours=counts.not_ours,
        rejected=sum(route.rejected for group in resolver.groups.values() for route in group.routes),
        broken=sum(route.broken for group in resolver.groups.values() for route in group.routes),
        shed={reason.value: count for reason, count in counts.shed.items()},
        caches=_caches(resolver),
        upstreams=upstreams,
        clients=tuple(
            ClientReport(str(ip_address(client)), count.asked, count.shed)
            for client, count in resolver.clients.top(TOP_CLIENTS)
            if client  # nobody's: asked for the workers' own sake
        ),
    )


def upstream_name(spec: UpstreamSpec) -> str:
    """An upstream as metrics name it."""
    host, port = spec.host, spec.port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _upstream(one: Upstream) -> UpstreamReport:
    is_down = one.rank is Rank.DOWN
    return UpstreamReport(
        is_down,
        one.requests,
        one.failures,
        one.probes,
        one.probe_failures,
        one.rtt_sum,
        one.rtt_count,
        {rcode: tuple(row) for rcode, row in one.times.items()},
    )


def _caches(resolver: Resolver) -> dict[int, CacheReport]:
    found = {}
    for number, group in resolver.groups.items():
        cache = group.cache
        if cache is not None:
            success, denial, counts = cache.success, cache.denial, cache.counts
            found[number] = CacheReport(
                success.entries,
                denial.entries,
                success.hits,
                denial.hits,
                success.evictions,
                denial.evictions,
                counts.misses,
                counts.prefetches,
                counts.stale,
            )
    return found
