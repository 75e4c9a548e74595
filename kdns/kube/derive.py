"""EndpointSlices that the EndpointSlice controller would write, for manifests with Pods and without slices.

The rules are those of k8s.io/endpointslice in Kubernetes 1.36 as far as an answer shows them: which Pods a Service
selects, which of them count, at which addresses and ports, and under which hostname. Slices here are as large as they
come, since no answer shows where one ends. Not here: when to derive (kdns.kube.manifest_set).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from kdns.kube.columns import NO_LABEL, HostSorter
from kdns.kube.names import wire_label
from kdns.kube.objects import (
    SERVICE_NAME_LABEL,
    EndpointSlice,
    Pod,
    Service,
    group_order,
    labels_mapping,
    labels_text,
)
from kdns.zone.subtree import Port

_TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


class PodIndex:
    """Pods of one namespace by their labels."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._pods: dict[str, list[Pod]] = defaultdict(list)
        for pod in pods:
            for label in pod.labels.split(","):
                self._pods[label].append(pod)

    def selected(self, selector: str) -> Iterator[Pod]:
        """The Pods with all labels of the selector; none for an empty selector."""
        wanted = set(selector.split(","))
        fewest = min((self._pods.get(label, []) for label in wanted), key=len) if selector else []
        return (pod for pod in fewest if wanted.issubset(pod.labels.split(",")))


def derive_slices(service: Service, pods: PodIndex) -> tuple[EndpointSlice, ...]:
    """One slice for each address family and set of ports that the Pods selected by a Service have."""
    groups: dict[tuple[int, tuple[Port, ...]], HostSorter] = defaultdict(HostSorter)
    for pod in pods.selected(service.selector):
        if pod.phase in _TERMINAL_PHASES:
            continue
        for address in pod.addresses:
            if len(address) in service.families:
                _sort_out(service, pod, address, groups[len(address), _ports(service, pod)])
    return tuple(
        _slice(service, number, octets, ports, groups[octets, ports])
        for number, (octets, ports) in enumerate(sorted(groups, key=lambda group: group_order(*group)))
    )


def _sort_out(service: Service, pod: Pod, address: bytes, found: HostSorter) -> None:
    host = address, _hostname(service, pod), _pod_name(pod)
    if service.publish_not_ready or (pod.ready and not pod.terminating):
        found.ready.add(host)
        return
    found.unready.add(address)
    if pod.ready and pod.terminating:
        found.draining.add(host)


def _slice(
    service: Service, number: int, octets: int, ports: tuple[Port, ...], found: HostSorter
) -> EndpointSlice:
    _, namespace, name = service.key
    return EndpointSlice(
        # No object of the API can have this name.
        key=("EndpointSlice", namespace, f"{name}/derived-{number}"),
        labels=labels_text({**labels_mapping(service.labels), SERVICE_NAME_LABEL: name}),
        service=service.key,
        octets=octets,
        ports=ports,
        **found.columns(),
    )


def _ports(service: Service, pod: Pod) -> tuple[Port, ...]:
    """The Service's ports with the numbers they have in this Pod; a port that the Pod lacks is left out."""
    found = []
    for port, target in zip(service.ports, service.targets, strict=True):
        number = target if isinstance(target, int) else _container_port(pod, target, port.protocol)
        if number is not None:
            found.append(Port(port.name, port.protocol, number))
    return tuple(found)


def _container_port(pod: Pod, name: str, protocol: bytes) -> int | None:
    named = (port.number for port in pod.ports if port.name == name and port.protocol == protocol)
    return next(named, None)


def _hostname(service: Service, pod: Pod) -> bytes:
    if not pod.hostname or pod.subdomain != service.key[2]:
        return NO_LABEL
    return wire_label(pod.hostname) or NO_LABEL


def _pod_name(pod: Pod) -> bytes:
    return wire_label(pod.key[2]) or NO_LABEL
