"""What the names of a cluster must answer, read from the JSON of its objects alone.

Independent of how kdns gets there: this follows the text of Kubernetes' DNS specification 1.1.0, and CoreDNS where it
says more (SRV weights, names of endpoints below Services with a ClusterIP). Not here: TTLs, additional records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address

from tests.support.fakeapi.builders import SERVICE_NAME
from tests.support.fakeapi.resources import Json

ZONE = "cluster.local"
APEXES = (ZONE, "in-addr.arpa", "ip6.arpa")

_NONE: frozenset[str] = frozenset()

Question = tuple[str, str]  # a name without its last dot, and a type
Place = tuple[str, str]  # of a Service: namespace and name
Ports = tuple[tuple[str, str, int], ...]  # name, protocol in lower case, number


@dataclass(frozen=True)
class Host:
    """An endpoint as names show it. ports: of its slice."""

    address: str
    label: str
    ports: Ports


@dataclass
class Expected:
    """records: rdata as dnspython writes it. reasons: for each question, the Services (and what they are) that make
    it have an answer. names: all that exist, empty ones too. ready, unready: addresses of headless Services.
    """

    records: dict[Question, frozenset[str]] = field(default_factory=dict)
    reasons: dict[Question, frozenset[str]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    ready: set[tuple[str, str]] = field(default_factory=set)
    unready: set[tuple[str, str]] = field(default_factory=set)

    def add(self, name: str, rrtype: str, rdata: Iterable[str], reason: str) -> None:
        found = frozenset(rdata)
        if found:
            self.records[name, rrtype] = self.records.get((name, rrtype), _NONE) | found
            self.reasons[name, rrtype] = self.reasons.get((name, rrtype), _NONE) | {reason}
            self.names |= _with_ancestors(name)

    def take(self, other: Expected) -> None:
        """Add all that another one has."""
        for mine, others in ((self.records, other.records), (self.reasons, other.reasons)):
            for question, found in others.items():
                mine[question] = mine[question] | found if question in mine else found
        self.names |= other.names
        self.ready |= other.ready
        self.unready |= other.unready


class Oracle:
    """Says what is expected of a cluster. What follows from a Service is kept as long as it and its slices are the
    same values: most of a cluster does not change at a time.
    """

    def __init__(self, terminating_serving: bool) -> None:
        self._terminating_serving = terminating_serving
        self._kept: dict[tuple[int, ...], tuple[list[Json], Expected]] = {}  # by identities; the values live on here

    def expected(
        self, namespaces: Iterable[Json], services: Iterable[Json], slices: Iterable[Json], pods: Iterable[Json] = ()
    ) -> Expected:
        """pods: those that pod names are verified by."""
        made = Expected(names={*APEXES, f"svc.{ZONE}", f"pod.{ZONE}"})
        pieces: dict[Place, list[Json]] = defaultdict(list)
        for piece in slices:
            owner = piece["metadata"].get("labels", {}).get(SERVICE_NAME)
            pieces[piece["metadata"]["namespace"], owner].append(piece)
        former, self._kept = self._kept, {}
        for service in services:
            place = service["metadata"]["namespace"], service["metadata"]["name"]
            made.take(self._of_service([service, *pieces[place]], former))
        for namespace in namespaces:
            made.names |= {f"{namespace['metadata']['name']}.{branch}.{ZONE}" for branch in ("svc", "pod")}
        for pod in pods:
            made.take(_of_pod(pod))
        return made

    def _of_service(self, values: list[Json], former: dict[tuple[int, ...], tuple[list[Json], Expected]]) -> Expected:
        key = tuple(map(id, values))
        if key not in former:
            service, *slices = values
            former[key] = values, _of_service(service, slices, self._terminating_serving)
        self._kept[key] = former[key]
        return former[key][1]


def dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


@cache
def reverse(address: str) -> str:
    return ip_address(address).reverse_pointer


def _of_service(service: Json, slices: list[Json], terminating_serving: bool) -> Expected:
    made = Expected()
    meta, spec = service["metadata"], service["spec"]
    owner = f"{meta['name']}.{meta['namespace']}.svc.{ZONE}"
    if spec["type"] == "ExternalName":
        made.add(owner, "CNAME", [spec["externalName"].rstrip(".") + "."], f"{owner} alias")
        return made
    if spec["clusterIP"] == "None":
        hosts = _hosts(slices, terminating_serving)
        reason = f"{owner} headless"
        made.ready |= {(owner, host.address) for host in hosts}
        made.unready |= {(owner, address) for piece in slices for address in _unready(piece)}
        _addresses(made, owner, (host.address for host in hosts), reason)
        _services(made, owner, [(port, f"{host.label}.{owner}") for host in hosts for port in host.ports], reason)
        _endpoints(made, owner, hosts, reason)
        return made
    addresses, reason = spec["clusterIPs"], f"{owner} clusterip"
    _addresses(made, owner, addresses, reason)
    _services(made, owner, [(port, owner) for port in _ports(spec) for _ in addresses], reason)
    for address in addresses:
        made.add(reverse(address), "PTR", [f"{owner}."], reason)
    _endpoints(made, owner, _hosts(slices, False), reason)
    return made


def _endpoints(made: Expected, owner: str, hosts: set[Host], reason: str) -> None:
    """The names of endpoints, and the reverse names that are no ClusterIP's."""
    for label in {host.label for host in hosts}:
        here = [host for host in hosts if host.label == label]
        name = f"{label}.{owner}"
        _addresses(made, name, (host.address for host in here), reason)
        made.add(name, "SRV", _srv([(port, name) for host in here for port in host.ports]), reason)
        for host in here:
            made.add(reverse(host.address), "PTR", [f"{name}."], reason)


def _addresses(made: Expected, name: str, addresses: Iterable[str], reason: str) -> None:
    for address in addresses:
        made.add(name, "AAAA" if ":" in address else "A", [address], reason)


def _services(made: Expected, owner: str, targets: list[tuple[tuple[str, str, int], str]], reason: str) -> None:
    """SRV records of all ports at the owner, and of each named one below it."""
    made.add(owner, "SRV", _srv(targets), reason)
    for name, protocol in {(port[0], port[1]) for port, _ in targets if port[0]}:
        these = [target for target in targets if target[0][:2] == (name, protocol)]
        made.add(f"_{name}._{protocol}.{owner}", "SRV", _srv(these), reason)


def _srv(targets: list[tuple[tuple[str, str, int], str]]) -> Iterator[str]:
    weight = max(1, 100 // len(targets)) if targets else 0
    return (f"0 {weight} {number} {target}." for (_, _, number), target in targets)


def _hosts(slices: Iterable[Json], terminating_serving: bool) -> set[Host]:
    """The ready endpoints; of an address family that has none, those that terminate and still serve, if so wanted."""
    found: set[Host] = set()
    for family in ("IPv4", "IPv6"):
        these = [piece for piece in slices if piece["addressType"] == family]
        ready = {host for piece in these for host in _hosts_in(piece, _is_ready)}
        draining = {host for piece in these for host in _hosts_in(piece, _is_draining)}
        has_ready = bool(ready) or not terminating_serving
        found |= ready if has_ready else draining
    return found


def _hosts_in(piece: Json, wanted: object) -> Iterator[Host]:
    assert callable(wanted)
    for endpoint in piece["endpoints"] or ():
        if wanted(endpoint.get("conditions") or {}):
            for address in endpoint["addresses"]:
                yield Host(address, endpoint.get("hostname") or dashed(address), _ports(piece))


def _unready(piece: Json) -> Iterator[str]:
    for endpoint in piece["endpoints"] or ():
        if not _is_ready(endpoint.get("conditions") or {}):
            yield from endpoint["addresses"]


def _is_ready(conditions: Json) -> bool:
    return conditions.get("ready") is not False


def _is_draining(conditions: Json) -> bool:
    is_serving = conditions.get("serving") is not False
    return conditions.get("ready") is False and is_serving and conditions.get("terminating") is True


def _ports(described: Json) -> Ports:
    ports = {(port.get("name") or "", port.get("protocol", "TCP").lower(), port["port"])
             for port in described.get("ports") or ()}  # fmt: skip
    return tuple(sorted(ports))


def _of_pod(pod: Json) -> Expected:
    made = Expected()
    status = pod.get("status") or {}
    has_ended = status.get("phase") in ("Succeeded", "Failed", "Unknown")
    for entry in () if has_ended else status.get("podIPs") or ():
        name = f"{dashed(entry['ip'])}.{pod['metadata']['namespace']}.pod.{ZONE}"
        _addresses(made, name, [entry["ip"]], f"{name} pod")
    return made


@cache
def _with_ancestors(name: str) -> frozenset[str]:
    """The name and all names above it, below its zone."""
    return frozenset() if name in APEXES else _with_ancestors(name.partition(".")[2]) | {name}
