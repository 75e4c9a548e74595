"""What a cluster asks its DNS server: the question mix, written as "name TYPE" lines for the load driver.

`MIX` says how often each kind of question comes. Which service a question is about is drawn evenly from all
services, which is the hardest case for a server's caches; `--skew` draws the n-th service with a weight of
n**-skew instead.

The share of names that never come twice is not here: the driver makes those up (`miss=10`), since a file
would repeat them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import accumulate, islice
from pathlib import Path

from bench.cluster import CLUSTER_DOMAIN, Cluster, Pod, Service

NAME_TEXT_MAX = 253  # RFC 1035: 255 octets on the wire
COUNT = 100_000  # about as many different questions as 10,000 services have
OUTSIDE_NAMES = ("api.github.com", "registry-1.docker.io", "sts.amazonaws.com", "db.example.com")

Question = tuple[str, str]


class Asker:
    """Draws questions about one cluster from one source of chance."""

    def __init__(self, cluster: Cluster, rng: random.Random, skew: float) -> None:
        self.cluster = cluster
        self.rng = rng
        shuffled = rng.sample(cluster.services, len(cluster.services))
        self._by_kind = {
            kind: [s for s in shuffled if s.kind == kind] for kind in ("ClusterIP", "Headless", "ExternalName")
        }
        self._weights = {kind: _cumulative(len(found), skew) for kind, found in self._by_kind.items()}

    def service(self, kind: str) -> Service:
        """A service of the kind; a small cluster that has none of it gives a ClusterIP service."""
        kind = kind if self._by_kind[kind] else "ClusterIP"
        return self.rng.choices(self._by_kind[kind], cum_weights=self._weights[kind])[0]

    def endpoint(self, kind: str) -> tuple[Service, Pod] | None:
        """A ready endpoint of a service of the kind, or None if the service drawn has none."""
        service = self.service(kind)
        place = self.rng.randrange(service.pod_count) if service.pod_count else 0
        pod = next(islice(self.cluster.pods(service), place, None), None)
        return (service, pod) if pod is not None and pod.ready else None


def _cumulative(count: int, skew: float) -> list[float]:
    return list(accumulate((n + 1) ** -skew for n in range(count)))


def _address(kind: str, rtype: str) -> Callable[[Asker], Question]:
    return lambda asker: (asker.service(kind).fqdn, rtype)


def _srv(kind: str) -> Callable[[Asker], Question]:
    def ask(asker: Asker) -> Question:
        service = asker.service(kind)
        port = asker.rng.choice(service.ports) if service.ports else None
        prefix = f"_{port.name}._{port.protocol.lower()}." if port is not None and port.name else ""
        return prefix + service.fqdn, "SRV"

    return ask


def _search_path_miss(asker: Asker) -> Question:
    """What a stub with ndots:5 asks before the name that was meant: each suffix of the pod's search path."""
    namespace = asker.service("ClusterIP").namespace
    meant = asker.rng.choice((asker.service("ClusterIP").fqdn, asker.rng.choice(OUTSIDE_NAMES)))
    suffix = asker.rng.choice((f"{namespace}.svc.{CLUSTER_DOMAIN}", f"svc.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN))
    return f"{meant}.{suffix}", asker.rng.choice(("A", "AAAA"))


def _endpoint_name(asker: Asker) -> Question:
    found = asker.endpoint("Headless")
    if found is None:
        return asker.service("Headless").fqdn, "A"
    service, pod = found
    return f"{pod.endpoint_name('IPv4')}.{service.fqdn}", "A"


def _pointer(asker: Asker) -> Question:
    """Half of ClusterIPs, half of endpoints."""
    found = asker.endpoint("ClusterIP")
    if found is None or asker.rng.random() < 0.5:
        return ip_address(asker.service("ClusterIP").cluster_ips[0]).reverse_pointer, "PTR"
    return ip_address(found[1].addresses["IPv4"]).reverse_pointer, "PTR"


# How a question of each kind is drawn, and its weight. AAAA nearly always follows A, and most services have IPv4
# only: those are the NODATA replies with SOA.
MIX: tuple[tuple[str, int, Callable[[Asker], Question]], ...] = (
    ("ClusterIP A", 30, _address("ClusterIP", "A")),
    ("ClusterIP AAAA", 20, _address("ClusterIP", "AAAA")),
    ("headless A", 9, _address("Headless", "A")),
    ("headless AAAA", 4, _address("Headless", "AAAA")),
    ("ClusterIP SRV", 5, _srv("ClusterIP")),
    ("headless SRV", 3, _srv("Headless")),
    ("endpoint name A", 3, _endpoint_name),
    ("search-path miss", 20, _search_path_miss),
    ("PTR", 4, _pointer),
    ("ExternalName A", 2, _address("ExternalName", "A")),
)


def questions(cluster: Cluster, count: int, seed: int, skew: float = 0.0) -> Iterator[Question]:
    """Draw so many questions; the same for the same arguments."""
    rng = random.Random(seed)
    asker = Asker(cluster, rng, skew)
    for _, _, draw in rng.choices(MIX, [weight for _, weight, _ in MIX], k=count):
        question = draw(asker)
        if len(question[0]) <= NAME_TEXT_MAX:  # a stub does not send a longer one either
            yield question


def write_queries(cluster: Cluster, path: Path, count: int = COUNT, seed: int = 1, skew: float = 0.0) -> None:
    """Write the questions for the load driver, one a line."""
    with path.open("w", encoding="ascii") as out:
        out.writelines(f"{name} {rtype}\n" for name, rtype in questions(cluster, count, seed, skew))
