"""Kubernetes objects as far as DNS answers depend on them: packed, immutable, compared by value.

150,000 endpoints are held in these by one process, so each field costs memory in every large cluster: a new one
needs an answer that depends on it. Equality is what tells a change from a heartbeat.

Label sets are kept in Kubernetes' own text form, sorted: "app=web,tier=front". Of endpoints that are not ready only
the addresses are kept: they tell one that failed from one that is on its way to another slice.

Not here: reading them (kdns.kube.decode), what answers follow (kdns.kube.schema).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kdns.zone.subtree import Port

Key = tuple[str, str, str]  # kind, namespace ("" for a Namespace), name

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"


class Namespace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A Namespace."""

    key: Key
    labels: str


class Service(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A Service.

    headless: whether it has no ClusterIP on purpose. addresses: packed ClusterIPs; () if none is allocated yet.
    external_name: as written, "" unless the type is ExternalName.
    targets: the targetPort of each of `ports`. families: the lengths of addresses that its endpoints may have.
    """

    key: Key
    labels: str
    headless: bool
    addresses: tuple[bytes, ...]
    ports: tuple[Port, ...]
    external_name: str
    selector: str
    targets: tuple[int | str, ...]
    families: tuple[int, ...]
    publish_not_ready: bool


class Hosts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Endpoints in packed columns, as an EndpointSlice has them for those that are ready."""

    addresses: bytes
    hostnames: bytes
    pod_names: bytes


class EndpointSlice(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An EndpointSlice of addresses; one entry for each ready endpoint and address, sorted.

    service: key of the Service it belongs to. octets: length of its addresses. addresses: packed.
    hostnames, pod_names: one wire label for each address, b"\\0" where there is none; b"" if no address has one.
    unready: packed addresses of the endpoints that are not ready, sorted and distinct, without those in `addresses`.
    draining: those of them that are terminating and still serving; None if there are none, or none were kept.
    """

    key: Key
    labels: str
    service: Key
    octets: int
    ports: tuple[Port, ...]
    addresses: bytes
    hostnames: bytes
    pod_names: bytes
    unready: bytes
    draining: Hosts | None = None

    @property
    def endpoints(self) -> int:
        """How many endpoints there are, ready or not."""
        return (len(self.addresses) + len(self.unready)) // self.octets


class ContainerPort(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A container's port that a Service may name as its targetPort; `protocol` as in kdns.zone.subtree.Port."""

    name: str
    protocol: bytes
    number: int


class Pod(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A Pod. addresses: packed status.podIPs. ports: the named ports of its containers."""

    key: Key
    labels: str
    addresses: tuple[bytes, ...]
    ports: tuple[ContainerPort, ...]
    hostname: str
    subdomain: str
    phase: str
    ready: bool
    terminating: bool


class Tombstone(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """There is no such object, or none any more, that an answer could depend on."""

    key: Key


Object = Namespace | Service | EndpointSlice | Pod
Change = Object | Tombstone


def service_key(namespace: str, name: str) -> Key:
    """The key of a Service."""
    return ("Service", namespace, name)


def describe(key: Key) -> str:
    """An object as people name it: `Service shop/web`."""
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def labels_text(labels: Mapping[str, str]) -> str:
    """A label set in text form."""
    return ",".join(sorted(f"{name}={value}" for name, value in labels.items()))


def labels_mapping(text: str) -> dict[str, str]:
    """The label set that a text form tells."""
    pairs = (label.partition("=") for label in text.split(",") if label)
    return {name: value for name, _, value in pairs}


def port_order(port: Port) -> tuple[bytes, bytes, int]:
    """A key for the order in which ports are kept."""
    return port.name, port.protocol, port.number


def group_order(octets: int, ports: tuple[Port, ...]) -> tuple[int, list[tuple[bytes, bytes, int]]]:
    """A key for the order of endpoints grouped by the length of their addresses and by their ports."""
    return octets, list(map(port_order, ports))
