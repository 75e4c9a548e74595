"""What the resolver of kdns.forward is told and what it says: its configuration, and its actions.

Not here: the words between it and the workers (kdns.wire.outside).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import msgspec

from kdns.wire.name import ROOT
from kdns.wire.outside import Told

DEFAULT_CAPACITY = 9984  # CoreDNS's


class Transport(Enum):
    """How an upstream is spoken to."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Policy(Enum):
    """Which upstream is asked first."""

    RANDOM = "random"
    ROUND_ROBIN = "round_robin"
    SEQUENTIAL = "sequential"


class UpstreamSpec(NamedTuple):
    """One server. host: an address, maybe with a zone index. is_tls: DNS over TLS (RFC 7858), as server_name."""

    host: str
    port: int
    is_tls: bool = False
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class ForwardSpec:
    """One `forward` line. Times are seconds.

    zone: names at and below it are forwarded, but for those at and below `excluded`; both folded.
    max_fails: failures in a row after which an upstream is down, 0 for never. max_concurrent: flights at a time,
    0 for no bound but ours. health_interval: between probes of an upstream that is down; health_name: what they ask.
    is_failing_fast: SERVFAIL at once while all upstreams are down, instead of trying one. failover: rcodes with which
    the next upstream is asked, besides SERVFAIL and REFUSED. next_rcodes: those with which the next line that fits is
    asked; next_on_nodata: so where there is no record at all. tries: upstreams that leave one question unanswered,
    after which no other is asked; 0 for no bound but ours. read_timeout: for which one message to an upstream is
    listened to.
    """

    zone: bytes
    upstreams: tuple[UpstreamSpec, ...]
    excluded: tuple[bytes, ...] = ()
    force_tcp: bool = False
    policy: Policy = Policy.RANDOM
    max_fails: int = 2
    expire: float = 10.0
    max_concurrent: int = 0
    health_interval: float = 0.5
    health_name: bytes = ROOT
    health_recursion_desired: bool = True
    is_failing_fast: bool = False
    failover: tuple[int, ...] = ()
    next_rcodes: tuple[int, ...] = ()
    next_on_nodata: bool = False
    tries: int = 0
    read_timeout: float = 2.0


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """One `cache` line. Times are seconds.

    zones: folded; names outside of them are not kept. success, denial: how many, and how long at most and at least.
    disabled_success, disabled_denial: zones whose answers of that kind are not kept.
    prefetch_hits: 0 for no prefetch; else after so many hits with no gap of `prefetch_gap`, when `prefetch_percent`
    of the time to live are left. stale: for how long what has expired may stand in (0: not at all); is_verifying: an
    upstream is asked first, for `verify_timeout`. failure: for how long a failure is kept. keeps_ttls: TTLs are told
    as they came until the end (CoreDNS's `keepttl`).
    """

    zones: tuple[bytes, ...] = (ROOT,)
    success_capacity: int = DEFAULT_CAPACITY
    success_ttl: int = 3600
    success_min_ttl: int = 0
    denial_capacity: int = DEFAULT_CAPACITY
    denial_ttl: int = 1800
    denial_min_ttl: int = 0
    disabled_success: tuple[bytes, ...] = ()
    disabled_denial: tuple[bytes, ...] = ()
    prefetch_hits: int = 0
    prefetch_gap: float = 60.0
    prefetch_percent: int = 10
    stale: float = 0.0
    is_verifying: bool = False
    verify_timeout: float = 0.1
    failure: float = 5.0
    keeps_ttls: bool = False


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """All `forward` lines and the `cache` line of one server block; the longest zone of a line decides."""

    forwards: tuple[ForwardSpec, ...]
    cache: CacheSpec | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one resolver. Times are seconds.

    patience: within which every question is told of; the timeouts of stub resolvers begin at 5 s.
    in_flight: questions waiting for upstreams, of all clients: at 50 ms each they are 80,000/s, more than the
    forwarder's one process can do, and some 4 MB. client_in_flight: those of one client, which may be a
    node's cache with all its pods behind it.
    """

    patience: float = 4.0
    in_flight: int = 4096
    client_in_flight: int = 512


class Fault(Enum):
    """Why an upstream has not answered a question."""

    REFUSED = "connection refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timed out"
    BROKEN = "connection broken"
    TLS = "TLS"
    TRUNCATED = "truncated"  # over UDP: to be asked over TCP
    NO_CASE = "letter case not echoed"  # over UDP: somebody may be guessing; to be asked over TCP
    NO_EDNS = "EDNS not understood"  # to be asked without
    MALFORMED = "malformed"
    NO_ROOM = "no descriptor or memory left here"


class Send(msgspec.Struct, frozen=True, gc=False):
    """Ask an upstream. What becomes of it is told with `token`.

    upstream: index into the resolver's `upstreams`. question: with the letter case to be sent.
    timeout: seconds, after which Fault.TIMEOUT is to be told.
    """

    token: int
    upstream: int
    transport: Transport
    question: bytes
    flags: int
    dnssec_ok: bool
    with_edns: bool
    timeout: float


class Cancel(NamedTuple):
    """Nobody waits for this any more."""

    token: int


class Tell(msgspec.Struct, frozen=True, gc=False):
    """Tell a worker. worker: as it was given with the question."""

    worker: int
    told: Told


Action = Send | Cancel | Tell
