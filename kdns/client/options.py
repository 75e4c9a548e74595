"""All that can be set, with the reason for each default; frozen, checked when made, safe to share.

Sources: gRPC's proposals (A6, A42, A50, A58, A68), Envoy's and Finagle's documentation, linkerd2-proxy, the Google SRE
book; docs/client.md tells which for what. Seconds unless the name says otherwise. Not here: the algorithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from kdns.client.endpoint import Endpoint
from kdns.client.errors import OptionError


def _check(rules: Mapping[str, bool]) -> None:
    """Raise OptionError with the first rule that does not hold."""
    for text, holds in rules.items():
        if not holds:
            raise OptionError(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """How names are resolved.

    domain, namespace: of this pod; None: from resolv.conf or the service account, when a target needs them.
    servers: `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; () for those of resolv.conf.
    """

    domain: str | None = None
    namespace: str | None = None
    servers: tuple[str, ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    # Where kubelet puts the pod's namespace, for pods with a dnsPolicy that leaves the search list out.
    namespace_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
    # TTL 0 may be meant, but one query for each call never is; Linkerd's floor is 5 s, ours lets a scale-up show.
    ttl_least: float = 1.0
    # A day-long TTL would outlive any pod; RFC 8767 section 4 caps at 7 days, CoreDNS's cache at 3600 s.
    ttl_most: float = 3600.0
    # A set is asked anew between these shares of its TTL: before it expires, and not when all other pods do.
    # 1 / 0.8 = 1.25 queries for each TTL at most.
    refresh_from: float = 0.8
    refresh_to: float = 0.9
    # For denials without an SOA record, which c-ares never shows: CoreDNS's negative TTL in a cluster.
    negative_default: float = 5.0
    # RFC 2308 would allow hours; a Service that is created should be found within a Deployment's patience.
    negative_most: float = 30.0
    # RFC 9520 section 3.2: at least 1 s, at most 5 minutes, doubling. In a cluster DNS is back sooner than that.
    failure_first: float = 1.0
    failure_most: float = 30.0
    # RFC 8767 suggests 1 to 3 days: an outage of DNS must not become one of the services.
    stale_most: float = 86400.0
    # RFC 8767 section 5, client response timer: what expired while nobody asked is waited for so long, then used.
    stale_wait: float = 1.8
    # Endpoint failures ask DNS anew, but not more often than this: a crash loop is not a load test of cluster DNS.
    early_gap: float = 1.0
    # An empty answer must be seen twice, so far apart, before it clears a good set: a restarting DNS server, or one
    # that has lost its API server for a moment, denies what exists.
    empty_gap: float = 1.0
    # glibc's default for one server; all servers and retries are within it.
    query_timeout: float = 5.0
    # Targets of one resolver; apps have tens, a proxy for a whole cluster would have thousands.
    targets_most: int = 1024
    # RFC 2782 as written gives two records of weight 1 the shares 2/3 and 1/3, by its inclusive draw.
    strict_rfc2782: bool = False
    # "both": A and AAAA are both asked, and an endpoint has the addresses of both as endpoints of their own.
    families: str = "both"

    def __post_init__(self) -> None:
        _check(
            {
                "families must be 'both', 'ipv4' or 'ipv6'": self.families in ("both", "ipv4", "ipv6"),
                "0 < ttl_least <= ttl_most must hold": 0 < self.ttl_least <= self.ttl_most,
                "0 < refresh_from <= refresh_to <= 1 must hold": 0 < self.refresh_from <= self.refresh_to <= 1,
                "early_gap and empty_gap must be 1 or more": self.early_gap >= 1 and self.empty_gap >= 1,
                "0 < failure_first <= failure_most must hold": 0 < self.failure_first <= self.failure_most,
                "query_timeout must be above 0": self.query_timeout > 0,
                "targets_most must be 1 or more": self.targets_most >= 1,
                "negative_default and negative_most must be above 0": self.negative_default > 0 < self.negative_most,
                "stale_most and stale_wait must not be below 0": self.stale_most >= 0 and self.stale_wait >= 0,
            }
        )


class Policy(Enum):
    """How one of the endpoints is picked; docs/client.md says which for what."""

    PEAK_EWMA = "peak_ewma"
    LEAST_REQUEST = "least_request"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    WEIGHTED = "weighted"
    RENDEZVOUS = "rendezvous"
    RING_HASH = "ring_hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class EwmaOptions:
    """Peak EWMA: the latency of an endpoint, high after a peak and slowly forgotten."""

    # Finagle, Linkerd and Envoy alike.
    decay: float = 10.0
    # The cost of an endpoint is at least so many low medians of the set: without it, jitter of fast endpoints skews
    # load 1.3-1.9 times, and what was slow once, or is new, starves (simulated; bench/client.py).
    floor_share: float = 1.5
    # What a failure counts as, or the fast failures of a broken endpoint would draw all traffic (Linkerd: 5 s).
    penalty: float = 5.0
    # Retry-After counts as a latency too, but not beyond this (Linkerd).
    penalty_most: float = 300.0

    def __post_init__(self) -> None:
        _check(
            {
                "decay must be above 0": self.decay > 0,
                "floor_share must not be below 0": self.floor_share >= 0,
                "0 < penalty <= penalty_most must hold": 0 < self.penalty <= self.penalty_most,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HashOptions:
    """Rendezvous and ring hash."""

    # Of the mean load: Google's paper on consistent hashing with bounded loads uses 1.25; 0 for no bound.
    load_bound: float = 1.25
    # gRPC A42: at least 1024 entries in all.
    ring_least: int = 1024
    # gRPC A42 caps at 4096: 100 endpoints have 40 entries each.
    ring_most: int = 4096

    def __post_init__(self) -> None:
        _check(
            {
                "load_bound must be 0 or above 1": self.load_bound == 0 or self.load_bound > 1,
                "1 <= ring_least <= ring_most must hold": 1 <= self.ring_least <= self.ring_most,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStart:
    """A new endpoint's share grows over a window (Envoy): `max(least, (age / window) ** (1 / aggression))`."""

    window: float = 30.0
    aggression: float = 1.0
    least: float = 0.1

    def __post_init__(self) -> None:
        _check(
            {
                "window and aggression must be above 0": self.window > 0 and self.aggression > 0,
                "0 < least <= 1 must hold": 0 < self.least <= 1,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Each client talks to `size` endpoints only.

    index, clients: this client's number among so many (a StatefulSet's ordinal): then the load is exactly even (Google
    SRE book, chapter 20). Without them by rendezvous hashing of `seed` (gRPC A68), which is uneven, but where a
    change of the set changes at most one endpoint of the subset. seed: of this client; "" for host name and process.
    """

    size: int = 20  # Spring Cloud's 100 is for big fleets, Ribbon's 20 for pods
    index: int | None = None
    clients: int | None = None
    seed: str = ""

    def __post_init__(self) -> None:
        index, clients = self.index, self.clients
        _check(
            {
                "size must be 1 or more": self.size >= 1,
                "index and clients go together": (index is None) == (clients is None),
                "0 <= index < clients must hold": index is None or clients is None or 0 <= index < clients,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePreference:
    """Endpoints of our own zone first, while they have capacity for us.

    zone: ours. zone_of, or cidrs (`10.1.0.0/16` -> zone): DNS does not tell zones, so one of both is needed.
    healthy_least: our zone is left for all of them when less than this share of its endpoints is up (Envoy: 70 % of
    the locality's hosts by the overprovisioning factor of 1.4).
    """

    zone: str
    zone_of: Callable[[Endpoint], str | None] | None = None
    cidrs: Mapping[str, str] = field(default_factory=dict)
    healthy_least: float = 0.7

    def __post_init__(self) -> None:
        _check(
            {
                "zone preference needs zone_of or cidrs: DNS does not tell zones": (
                    self.zone_of is not None or bool(self.cidrs)
                ),
                "zone_of and cidrs exclude each other": self.zone_of is None or not self.cidrs,
                "0 < healthy_least <= 1 must hold": 0 < self.healthy_least <= 1,
                "zone must not be empty": bool(self.zone),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """When an endpoint is taken out, and for how long."""

    # Envoy and Finagle: 5; the first line, as it works at any rate of requests. 0 turns it off.
    consecutive: int = 5
    # Fewer do if each was cut off after a whole timeout and nothing was answered in between: a stopped process, a
    # black hole. Ours; not 2, which an overloaded service that still answers most requests would reach too often.
    silent: int = 3
    # gRPC A50 and Envoy: below mean - 1.9 standard deviations of the success rates.
    stdev_factor: float = 1.9
    # A50: at least 5 endpoints with 100 requests each in an interval.
    rate_hosts_least: int = 5
    rate_requests_least: int = 100
    # A50 and Envoy.
    interval: float = 10.0
    # Linkerd: 1 s -> 60 s. A50's 30 s -> 300 s lose a small service for minutes.
    ejection_first: float = 1.0
    ejection_most: float = 60.0
    # Of the wait, added at random, so that endpoints and clients do not come back together (Linkerd).
    jitter: float = 0.5
    # gRPC's 10 % means "1 of 3" anyway; with 50 % half of a service can fail and the rest carries on.
    ejected_most: float = 0.5
    # Envoy: with less than half of them up, all are used: the fault is probably ours, or of what they share.
    panic: float = 0.5
    # Connections: gRPC begins with 1 s, but a pod that restarts is back sooner; its factor is 1.6, cap 120 s.
    reconnect_first: float = 0.5
    reconnect_most: float = 30.0

    def __post_init__(self) -> None:
        _check(
            {
                "consecutive and silent must not be below 0": self.consecutive >= 0 and self.silent >= 0,
                "interval must be above 0": self.interval > 0,
                "0 < ejection_first <= ejection_most must hold": 0 < self.ejection_first <= self.ejection_most,
                "0 < reconnect_first <= reconnect_most must hold": 0 < self.reconnect_first <= self.reconnect_most,
                "jitter, ejected_most and panic must be between 0 and 1": all(
                    0 <= share <= 1 for share in (self.jitter, self.ejected_most, self.panic)
                ),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Finagle's retry budget: a share of the requests, and a few each second for apps with little traffic."""

    share: float = 0.2
    per_second: float = 10.0
    # How long what was not spent can be: Finagle's ttl.
    window: float = 10.0

    def __post_init__(self) -> None:
        _check(
            {
                "share and per_second must not be below 0": self.share >= 0 and self.per_second >= 0,
                "window must be above 0": self.window > 0,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """gRPC's retry throttling (A6): retries stop while more than some 10 % of the requests fail."""

    tokens: float = 10.0
    ratio: float = 0.1

    def __post_init__(self) -> None:
        _check({"0 < tokens <= 1000 and ratio > 0 must hold (gRPC A6)": 0 < self.tokens <= 1000 and self.ratio > 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Opt-in: another attempt while the first is still out (gRPC A6), for idempotent calls alone.

    delay: best at the 95th percentile of the latency: some 5 % more requests cut p99 from 1023 to 148 ms (simulated).
    attempts: in all.
    """

    delay: float
    attempts: int = 2

    def __post_init__(self) -> None:
        _check({"delay must not be below 0": self.delay >= 0, "2 <= attempts <= 5": 2 <= self.attempts <= 5})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a call is sent again.

    budget: None for no limit but `attempts`, which is for tests and tools only.
    """

    # In all: 2 retries. More than two endpoints failing one call is rarely solved by a fourth (gRPC caps at 5).
    attempts: int = 3
    # No default can be right for every app; with None only the deadline ends an attempt.
    per_try_timeout: float | None = None
    # Of a call in all, where the caller gives none. None: the app's own timeouts hold.
    timeout: float | None = None
    # Full jitter over 25 ms doubled up to 250 ms (Envoy's numbers, AWS's jitter).
    backoff_first: float = 0.025
    backoff_most: float = 0.25
    # A server's Retry-After beyond this is not waited for: the call fails instead.
    again_after_most: float = 30.0
    budget: Budget | Throttle | None = field(default_factory=Budget)

    def __post_init__(self) -> None:
        _check(
            {
                "1 <= attempts <= 10 must hold": 1 <= self.attempts <= 10,
                "per_try_timeout must be above 0": self.per_try_timeout is None or self.per_try_timeout > 0,
                "timeout must be above 0": self.timeout is None or self.timeout > 0,
                "0 < backoff_first <= backoff_most must hold": 0 < self.backoff_first <= self.backoff_most,
                "again_after_most must not be below 0": self.again_after_most >= 0,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerOptions:
    """How one balancer spreads, ejects and retries."""

    policy: Policy = Policy.PEAK_EWMA
    ewma: EwmaOptions = field(default_factory=EwmaOptions)
    hashing: HashOptions = field(default_factory=HashOptions)
    outliers: Outliers | None = field(default_factory=Outliers)
    retries: Retries = field(default_factory=Retries)
    hedge: Hedge | None = None
    # Off: with the floor of peak EWMA a new pod gets its share and no more.
    slow_start: SlowStart | None = None
    subset: Subset | None = None
    zones: ZonePreference | None = None
    # A lower SRV priority is left for the next when less than this share of it is up (Envoy: 1 / 1.4).
    priority_healthy_least: float = 0.7
    # Attempts on their way: to one endpoint, and of the balancer. Beyond: fail fast instead of a queue.
    max_outstanding: float = inf
    max_outstanding_total: float = inf
    # A removed endpoint's leases are told to end after so long (Envoy, kubelet's grace period).
    drain: float = 30.0

    def __post_init__(self) -> None:
        _check(
            {
                "max_outstanding must be 1 or more": self.max_outstanding >= 1,
                "max_outstanding_total must be 1 or more": self.max_outstanding_total >= 1,
                "0 < priority_healthy_least <= 1 must hold": 0 < self.priority_healthy_least <= 1,
                "drain must not be below 0": self.drain >= 0,
            }
        )
