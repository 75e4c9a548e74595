"""What a Service answers (Kubernetes DNS-based service discovery 1.1.0): a Service and its slices to a Subtree.

Where CoreDNS does more than the specification and clients rely on it, so does this: endpoint names below services
with ClusterIP, endpoint names from Pod names. A Subtree follows from the set of slices, whatever their order.
Not here: which objects there are (kdns.kube.store), names, weights and additional records (kdns.zone.packed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kdns.kube.decode import Keep
from kdns.kube.names import alias_target, wire_label
from kdns.kube.objects import EndpointSlice, Key, Service, group_order
from kdns.wire.name import InvalidName
from kdns.zone.subtree import HostSet, Port, Subtree

NOT_ALLOCATED = "the Service has no clusterIP yet"

_SVC = b"\x03svc"
_BY_ADDRESS = b"\0"

LabelPredicate = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """What a `kubernetes` block says about which objects are shown, and how.

    namespaces: names of the namespaces to show; None for all.
    namespace_matches: shows the namespaces with such labels; None for all.
    labels_match: Services, EndpointSlices and Pods without such labels are not there; None for all are.
    noendpoints: use no EndpointSlices: no headless services, no endpoint names.
    ignore_empty_service: hide services with a ClusterIP and no ready endpoint.
    endpoint_pod_names: name endpoints without hostname by their Pod instead of their address.
    verified_pods: say which Pods there are.
    """

    namespaces: frozenset[str] | None = None
    namespace_matches: LabelPredicate | None = None
    labels_match: LabelPredicate | None = None
    noendpoints: bool = False
    ignore_empty_service: bool = False
    endpoint_pod_names: bool = False
    verified_pods: bool = False

    @property
    def keep(self) -> Keep:
        """What objects for these options must keep when they are decoded."""
        return Keep(labels=self.labels_match is not None, pod_names=self.endpoint_pod_names)


def owner_of(service: Key) -> bytes:
    """The owner of a Service's subtree: b"\\x03web\\x04shop\\x03svc"."""
    _, namespace, name = service
    return _label(name) + _label(namespace) + _SVC


def namespace_label(name: str) -> bytes:
    """A namespace as deltas name it: b"\\x04shop"."""
    return _label(name)


def subtree(service: Service, slices: Iterable[EndpointSlice], options: SchemaOptions) -> Subtree | None:
    """All that a Service answers; None if it answers nothing, not even that it exists."""
    owner = owner_of(service.key)
    if service.external_name:
        return _alias(owner, service.external_name)
    if service.headless:
        return None if options.noendpoints else Subtree(owner, headless=True, hosts=_host_sets(slices, options))
    hosts = () if options.noendpoints else _host_sets(slices, options)
    return Subtree(
        owner,
        addresses=service.addresses,
        # An SRV record needs a target with an address.
        ports=service.ports if service.addresses else (),
        hosts=hosts,
        note="" if service.addresses else NOT_ALLOCATED,
        # Without slices nothing is known about endpoints, and what is not known to be empty is not hidden.
        hidden=options.ignore_empty_service and not options.noendpoints and not hosts,
    )


def _alias(owner: bytes, external_name: str) -> Subtree:
    try:
        return Subtree(owner, target=alias_target(external_name))
    except InvalidName as error:
        return Subtree(owner, note=str(error))


_Ports = tuple[Port, ...]
_Host = tuple[bytes, bytes]  # packed address, wire label


def _host_sets(slices: Iterable[EndpointSlice], options: SchemaOptions) -> tuple[HostSet, ...]:
    """The ready hosts of all slices: a host that stands in several of them, as it may while it moves, counts once."""
    groups: dict[tuple[int, _Ports], list[EndpointSlice]] = {}
    for piece in slices:
        if piece.addresses:
            groups.setdefault((piece.octets, piece.ports), []).append(piece)
    return tuple(
        hosts
        for (octets, ports), pieces in sorted(groups.items(), key=lambda group: group_order(*group[0]))
        for hosts in _group_sets(octets, ports, pieces, options)
    )


def _group_sets(octets: int, ports: _Ports, pieces: list[EndpointSlice], options: SchemaOptions) -> Iterator[HostSet]:
    """One host set, or as many as the most labels that one address has: addresses in a set are distinct."""
    if len(pieces) == 1 and not _has_labels(pieces[0], options):
        yield HostSet(octets, ports, _distinct(pieces[0]))
        return
    layers: list[list[_Host]] = []
    depth, previous = 0, b""
    for host in sorted({host for piece in pieces for host in _hosts(piece, options)}):
        depth = depth + 1 if host[0] == previous else 0
        previous = host[0]
        if depth == len(layers):
            layers.append([])
        layers[depth].append(host)
    for layer in layers:
        labels = b"".join(label for _, label in layer)
        addresses = b"".join(address for address, _ in layer)
        yield HostSet(octets, ports, addresses, labels if labels.strip(_BY_ADDRESS) else b"")


def _has_labels(piece: EndpointSlice, options: SchemaOptions) -> bool:
    return bool(piece.hostnames or (options.endpoint_pod_names and piece.pod_names))


def _distinct(piece: EndpointSlice) -> bytes:
    """The addresses of a slice, each once; they are sorted, and twice only under different names."""
    if not (piece.hostnames or piece.pod_names):
        return piece.addresses
    return b"".join(dict.fromkeys(_addresses(piece)))


def _hosts(piece: EndpointSlice, options: SchemaOptions) -> Iterator[_Host]:
    """Each host and its label: the hostname, else the Pod's name if that is wanted, else b"\\0"."""
    addresses = _addresses(piece)
    labels = _labels(piece.hostnames, len(addresses))
    if options.endpoint_pod_names:
        pod_names = _labels(piece.pod_names, len(addresses))
        labels = [pod if label == _BY_ADDRESS else label for label, pod in zip(labels, pod_names, strict=True)]
    return zip(addresses, labels, strict=True)


def _addresses(piece: EndpointSlice) -> list[bytes]:
    packed, octets = piece.addresses, piece.octets
    return [packed[at : at + octets] for at in range(0, len(packed), octets)]


def _labels(packed: bytes, count: int) -> list[bytes]:
    """The single labels of a packed column; all b"\\0" where the column is empty."""
    if not packed:
        return [_BY_ADDRESS] * count
    labels, at = [], 0
    while at < len(packed):
        end = at + packed[at] + 1
        labels.append(packed[at:end])
        at = end
    return labels


def _label(name: str) -> bytes:
    label = wire_label(name)
    if label is None:
        raise ValueError(f"{name!r} is no DNS label")
    return label
