"""A made-up cluster of any size, the same on every machine: services, and the pods behind them.

Everything follows from `Size` (its seed included), so a dump and a zone file written from the same size
hold the same names. Pods are made on demand from their number, so that a cluster of 150,000 endpoints is
never held in memory.

Not here: the two ways to write a cluster down. `bench/dump.py` prints it as kubectl would;
`bench/zonefiles.py` as RFC 1035 master files with the records that Kubernetes DNS-based service discovery
1.1.0 derives from it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

CLUSTER_DOMAIN = "cluster.local"
SLICE_ENDPOINTS_MAX = 100  # kube-controller-manager's --max-endpoints-per-slice default
PODS_PER_NODE = 110  # the kubelet's default
SERVICES_MAX = 60_000  # the last 16 bits of a service's IPv6 address are its number

CLUSTER_IPS_V4 = int(IPv4Address("10.96.0.10"))
CLUSTER_IPS_V6 = int(IPv6Address("fd00:10:96::10"))
POD_IPS_V4 = int(IPv4Address("10.128.0.0"))
ZONES = ("eu-1a", "eu-1b", "eu-1c")

TEAMS = (
    "shop",
    "payments",
    "search",
    "billing",
    "media",
    "platform",
    "data",
    "identity",
    "growth",
    "logistics",
)
NOUNS = (
    "web",
    "api",
    "cart",
    "auth",
    "orders",
    "catalog",
    "worker",
    "gateway",
    "mailer",
    "ledger",
    "cache",
    "feed",
)
OUTSIDE = ("db.example.com", "smtp.example.net", "api.example.org", "blobs.storage.example.com")


@dataclass(frozen=True, slots=True)
class Size:
    """How large the cluster is and what it is made of; shares are of services, or of endpoints where named so."""

    namespaces: int = 200
    services: int = 10_000
    endpoints: int = 150_000  # entries in EndpointSlices: a dual-stack pod counts twice, as it does there
    headless: float = 0.15
    external_name: float = 0.025
    dual_stack: float = 0.05
    without_endpoints: float = 0.02
    not_ready_endpoints: float = 0.01
    seed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.namespaces <= self.services <= SERVICES_MAX:
            raise ValueError(
                f"need 1 <= namespaces <= services <= {SERVICES_MAX}, not {self.namespaces}, {self.services}"
            )


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service; a name of "" is the unnamed port."""

    name: str
    number: int
    protocol: str = "TCP"


PORT_SETS: tuple[tuple[tuple[Port, ...], int], ...] = (
    ((Port("http", 80),), 45),
    ((Port("http", 80), Port("metrics", 9090)), 20),
    ((Port("grpc", 9000),), 12),
    ((Port("grpc", 9000), Port("http", 8080)), 8),
    ((Port("", 8080),), 8),
    ((Port("https", 443),), 4),
    ((Port("dns", 53, "UDP"), Port("dns-tcp", 53)), 3),
)
# (fewest, most, weight): most services are small, and a few fill more than one or two slices.
POD_COUNTS: tuple[tuple[int, int, int], ...] = ((1, 3, 52), (4, 15, 32), (16, 60, 11), (100, 250, 5))


@dataclass(frozen=True, slots=True)
class Service:
    """One Service and where its pods begin in the numbering of all pods."""

    number: int
    namespace: str
    name: str
    kind: str  # "ClusterIP", "Headless" or "ExternalName"
    families: tuple[str, ...] = ("IPv4",)
    ports: tuple[Port, ...] = ()
    external_name: str = ""
    stateful: bool = False
    pod_count: int = 0
    first_pod: int = 0

    @property
    def fqdn(self) -> str:
        """The service's name, absolute, without the final dot."""
        return f"{self.name}.{self.namespace}.svc.{CLUSTER_DOMAIN}"

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """The ClusterIPs in the order of the families; none for headless and ExternalName services."""
        if self.kind != "ClusterIP":
            return ()
        v4, v6 = IPv4Address(CLUSTER_IPS_V4 + self.number), IPv6Address(CLUSTER_IPS_V6 + self.number)
        return tuple(str(v4 if family == "IPv4" else v6) for family in self.families)


@dataclass(frozen=True, slots=True)
class Pod:
    """One endpoint in all its families."""

    name: str
    uid: str
    hostname: str
    node: str
    zone: str
    ready: bool
    terminating: bool
    addresses: dict[str, str] = field(hash=False)

    def endpoint_name(self, family: str) -> str:
        """The label below the service: the hostname, or the address with dashes."""
        return self.hostname or self.addresses[family].replace(".", "-").replace(":", "-")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The services, in the order of kubectl: by namespace, then by name."""

    size: Size
    namespaces: tuple[str, ...]
    services: tuple[Service, ...]
    nodes: int

    def pods(self, service: Service) -> Iterator[Pod]:
        """The pods of one service, ready or not."""
        rng = random.Random(f"{self.size.seed} {service.number}")
        suffix = _hex(rng, 10)
        for ordinal in range(service.pod_count):
            yield self._pod(service, ordinal, suffix, rng)

    def _pod(self, service: Service, ordinal: int, suffix: str, rng: random.Random) -> Pod:
        index = service.first_pod + ordinal
        node, place = index % self.nodes, index // self.nodes + 2
        stateful_name = f"{service.name}-{ordinal}"
        ready = rng.random() >= self.size.not_ready_endpoints
        v4 = IPv4Address(POD_IPS_V4 + (node << 8) + place)
        return Pod(
            name=stateful_name if service.stateful else f"{service.name}-{suffix}-{_hex(rng, 5)}",
            uid=uid(rng),
            hostname=stateful_name if service.stateful else "",
            node=f"node-{node}",
            zone=ZONES[node % len(ZONES)],
            ready=ready,
            terminating=not ready and rng.random() < 0.5,
            addresses={"IPv4": str(v4), "IPv6": f"fd00:10:244:{node + 1:x}::{place:x}"},
        )


def build(size: Size) -> Cluster:
    """Plan the whole cluster: every service, and how many pods stand behind it."""
    rng = random.Random(size.seed)
    teams = [
        f"{TEAMS[i % len(TEAMS)]}-{i // len(TEAMS)}" if i >= len(TEAMS) else TEAMS[i] for i in range(size.namespaces)
    ]
    services: list[Service] = []
    for number in range(size.services):
        services.append(_draft(number, teams[number % len(teams)], services, rng, size))
    counts = _pod_counts(services, rng, size)
    placed, first_pod = [], 0
    for draft, count in zip(services, counts, strict=True):
        placed.append(replace(draft, pod_count=count, first_pod=first_pod))
        first_pod += count
    placed.sort(key=lambda service: (service.namespace, service.name))
    nodes = max(3, -(-first_pod // PODS_PER_NODE))
    return Cluster(size, tuple(sorted(teams)), tuple(placed), nodes)


def _draft(number: int, namespace: str, earlier: list[Service], rng: random.Random, size: Size) -> Service:
    """A service without its pods. The first of each namespace is a ClusterIP service: none is empty."""
    name = f"{rng.choice(NOUNS)}-{number}"
    share = rng.random()
    if number >= size.namespaces and share < size.external_name:
        inside = earlier[number % size.namespaces].fqdn  # the first service of the same namespace
        return Service(number, namespace, name, "ExternalName", (), external_name=rng.choice((*OUTSIDE, inside)))
    headless = number >= size.namespaces and share < size.external_name + size.headless
    families = ("IPv4", "IPv6") if rng.random() < size.dual_stack else ("IPv4",)
    ports = rng.choices([ports for ports, _ in PORT_SETS], [weight for _, weight in PORT_SETS])[0]
    kind = "Headless" if headless else "ClusterIP"
    return Service(number, namespace, name, kind, families, ports, stateful=headless and rng.random() < 0.6)


def _pod_counts(services: list[Service], rng: random.Random, size: Size) -> list[int]:
    """How many pods each service has; their endpoints sum up to exactly `size.endpoints`."""
    weights = [weight for _, _, weight in POD_COUNTS]
    counts = []
    for service in services:
        fewest, most, _ = rng.choices(POD_COUNTS, weights)[0]
        empty = service.kind == "ExternalName" or rng.random() < size.without_endpoints
        counts.append(0 if empty else rng.randint(fewest, most))
    missing = size.endpoints - sum(n * len(s.families) for s, n in zip(services, counts, strict=True))
    movable = [i for i, n in enumerate(counts) if n]
    while missing:
        before = missing
        for i in rng.sample(movable, len(movable)):
            step, families = (missing > 0) - (missing < 0), len(services[i].families)
            # One pod of a dual-stack service is two endpoints, which could miss the sum by one.
            if families <= abs(missing) and 1 <= counts[i] + step <= POD_COUNTS[-1][1]:
                counts[i] += step
                missing -= step * families
        if missing == before:
            raise ValueError(f"{size.services} services cannot have {size.endpoints} endpoints of 1..250 each")
    return counts


def uid(rng: random.Random) -> str:
    """A random UUID (RFC 9562 version 4) from the given source of chance."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"
