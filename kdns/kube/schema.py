"""What a Service answers (Kubernetes DNS-based service discovery 1.1.0): a Service and its slices to a Subtree.

Where CoreDNS does more than the specification and clients rely on it, so does this: endpoint names below services
with ClusterIP, endpoint names from Pod names. A Subtree follows from the set of slices, whatever their order.
Not here: which objects there are (kdns.kube.store), names, weights and additional records (kdns.zone.packed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import add

from msgspec.structs import replace

from kdns.kube.columns import NO_LABEL, split_addresses, split_labels
from kdns.kube.decode import Keep
from kdns.kube.names import alias_target, wire_label
from kdns.kube.objects import EndpointSlice, Key, Service, group_order
from kdns.wire.name import InvalidName
from kdns.zone.subtree import HostSet, Port, Subtree

NOT_ALLOCATED = "the Service has no clusterIP yet"

_SVC = b"\x03svc"

LabelPredicate = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """What a `kubernetes` block says about which objects are shown, and how.

    namespaces: names of the namespaces to show; None for all.
    namespaces_exist: those exist, whether or not a Namespace is known: their Namespaces are not watched.
    namespace_matches: shows the namespaces with such labels; None for all.
    labels_match: Services, EndpointSlices and Pods without such labels are not there; None for all are.
    noendpoints: use no EndpointSlices: no headless services, no endpoint names.
    ignore_empty_service: hide services with a ClusterIP and no ready endpoint.
    endpoint_pod_names: name endpoints without hostname by their Pod instead of their address.
    verified_pods: say which Pods there are.
    terminating_serving: answer with endpoints of headless services that are terminating and still serving while no
        others are ready, as kube-proxy does for those with a ClusterIP. Endpoint names and reverse names of the
        latter are not kept so: clients reach these endpoints by the ClusterIP alone.
    """

    namespaces: frozenset[str] | None = None
    namespace_matches: LabelPredicate | None = None
    labels_match: LabelPredicate | None = None
    noendpoints: bool = False
    ignore_empty_service: bool = False
    endpoint_pod_names: bool = False
    verified_pods: bool = False
    namespaces_exist: bool = False
    terminating_serving: bool = False

    @property
    def keep(self) -> Keep:
        """What objects for these options must keep when they are decoded."""
        return Keep(
            labels=self.labels_match is not None,
            pod_names=self.endpoint_pod_names,
            draining=self.terminating_serving,
        )


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
        shown = _or_draining(slices) if options.terminating_serving else slices
        return None if options.noendpoints else Subtree(owner, headless=True, hosts=_host_sets(shown, options))
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


def _or_draining(slices: Iterable[EndpointSlice]) -> Iterable[EndpointSlice]:
    """Slices with what is draining in place of what is ready, where nothing of an address family is ready.

    That is kube-proxy's rule (KEP-1669), which it follows for each family alone.
    """
    slices = tuple(slices)
    with_ready = {piece.octets for piece in slices if piece.addresses}
    return (piece if piece.octets in with_ready else _as_if_ready(piece) for piece in slices)


def _as_if_ready(piece: EndpointSlice) -> EndpointSlice:
    hosts = piece.draining
    if hosts is None:
        return piece
    return replace(piece, addresses=hosts.addresses, hostnames=hosts.hostnames, pod_names=hosts.pod_names)


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
    if not any(piece.hostnames or (options.endpoint_pod_names and piece.pod_names) for piece in pieces):
        yield HostSet(octets, ports, _distinct_addresses(pieces))
        return
    for layer in _layers(octets, _merged(_hosts(piece, options) for piece in pieces)):
        addresses = b"".join([host[:octets] for host in layer])
        labels = b"".join([host[octets:] for host in layer])
        yield HostSet(octets, ports, addresses, labels if labels.strip(NO_LABEL) else b"")


def _distinct_addresses(pieces: list[EndpointSlice]) -> bytes:
    """The addresses of all these slices, each once. In one slice they are twice only under different names."""
    first = pieces[0]
    if len(pieces) == 1 and not (first.hostnames or first.pod_names):
        return first.addresses
    return b"".join(_merged(split_addresses(piece.addresses, piece.octets) for piece in pieces))


def _merged(sorted_lists: Iterable[list[bytes]]) -> list[bytes]:
    """All that is in these lists, sorted and once: sorting them together takes advantage of their being sorted."""
    return list(dict.fromkeys(sorted(chain.from_iterable(sorted_lists))))


def _layers(octets: int, hosts: list[bytes]) -> Iterable[list[bytes]]:
    """Sorted hosts in lists that have each address once: the first ones of all, the second ones, and so on."""
    if len({host[:octets] for host in hosts}) == len(hosts):
        return [hosts]
    layers: list[list[bytes]] = []
    depth, previous = 0, b""
    for host in hosts:
        depth = depth + 1 if host[:octets] == previous else 0
        previous = host[:octets]
        if depth == len(layers):
            layers.append([])
        layers[depth].append(host)
    return layers


def _hosts(piece: EndpointSlice, options: SchemaOptions) -> list[bytes]:
    """Each host: its address and its label (hostname, else the Pod's name if that is wanted, else b"\\0")."""
    addresses = split_addresses(piece.addresses, piece.octets)
    labels = split_labels(piece.hostnames, len(addresses))
    if options.endpoint_pod_names:
        pod_names = split_labels(piece.pod_names, len(addresses))
        labels = [pod if label == NO_LABEL else label for label, pod in zip(labels, pod_names, strict=True)]
    return list(map(add, addresses, labels))


def _label(name: str) -> bytes:
    label = wire_label(name)
    if label is None:
        raise ValueError(f"{name!r} is no DNS label")
    return label
