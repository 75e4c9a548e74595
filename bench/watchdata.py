"""The cluster that the watch benchmarks serve: so many Services, each with one EndpointSlice of so many endpoints.

Objects are written as an API server writes them into a list or a watch, managedFields and all: some 280 octets for
each endpoint. Every fourth Service is headless. Neighbours in a slice run on different nodes, as pods of a real
Service do, which is the hardest case for whoever keeps their addresses. The same plan gives the same octets.

Not here: the HTTP around it (bench.watchserver), clusters of mixed sizes (bench.cluster).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import NamedTuple

NAMESPACES = 200
PODS_PER_NODE = 110
POD_IPS = int(IPv4Address("10.0.0.0"))
CLUSTER_IPS = int(IPv4Address("172.20.0.0"))
ZONES = ("eu-1a", "eu-1b", "eu-1c")
HEADLESS_EVERY = 4
LIST_VERSION = 1_000_000  # of the whole; that of each object is lower
UNREADY = frozenset[int]()

_ENDPOINT = (
    '{{"addresses":["{address}"],"conditions":{{"ready":{ready},"serving":{ready},"terminating":false}},'
    '"targetRef":{{"kind":"Pod","namespace":"{namespace}","name":"{name}-7c8d6f9b54-{suffix}",'
    '"uid":"{uid}"}},"nodeName":"node-{node}.eu-1.compute.internal","zone":"{zone}"}}'
)
_OWNER = (
    '"apiVersion":"v1","kind":"Service","name":"{name}","uid":"{owner}","controller":true,'
    '"blockOwnerDeletion":true'
)
_SLICE_FIELDS = (
    '"f:addressType":{{}},"f:endpoints":{{}},"f:metadata":{{"f:annotations":{{".":{{}},'
    '"f:endpoints.kubernetes.io/last-change-trigger-time":{{}}}},"f:generateName":{{}},"f:labels":{{".":{{}},'
    '"f:endpointslice.kubernetes.io/managed-by":{{}},"f:kubernetes.io/service-name":{{}}}},'
    '"f:ownerReferences":{{".":{{}},"k:{{\\"uid\\":\\"{owner}\\"}}":{{}}}}}},"f:ports":{{}}'
)
_SLICE = (
    '{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"name":"{name}-x7k2p",'
    '"generateName":"{name}-","namespace":"{namespace}","uid":"{uid}","resourceVersion":"{version}","generation":7,'
    '"creationTimestamp":"2026-03-01T08:00:00Z","labels":{{"app.kubernetes.io/name":"{name}",'
    '"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io",'
    '"kubernetes.io/service-name":"{name}"}},'
    '"annotations":{{"endpoints.kubernetes.io/last-change-trigger-time":"2026-03-01T08:00:00Z"}},'
    '"ownerReferences":[{{' + _OWNER + '}}],"managedFields":[{{"manager":"kube-controller-manager",'
    '"operation":"Update","apiVersion":"discovery.k8s.io/v1","time":"2026-03-01T08:00:00Z","fieldsType":"FieldsV1",'
    '"fieldsV1":{{' + _SLICE_FIELDS + '}}}}]}},"addressType":"IPv4","endpoints":[{endpoints}],'
    '"ports":[{{"name":"http","port":8080,"protocol":"TCP"}}]}}'
)
_SERVICE = (
    '{{"kind":"Service","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}",'
    '"resourceVersion":"{version}","creationTimestamp":"2026-03-01T08:00:00Z",'
    '"labels":{{"app.kubernetes.io/name":"{name}"}},"managedFields":[{{"manager":"kubectl-client-side-apply",'
    '"operation":"Update","apiVersion":"v1","time":"2026-03-01T08:00:00Z","fieldsType":"FieldsV1",'
    '"fieldsV1":{{"f:spec":{{"f:ports":{{}},"f:selector":{{}},"f:type":{{}}}}}}}}]}},"spec":{{'
    '"ports":[{{"name":"http","protocol":"TCP","port":80,"targetPort":8080}}],"selector":{{"app":"{name}"}},'
    '"clusterIP":"{address}","clusterIPs":["{address}"],"type":"ClusterIP","sessionAffinity":"None",'
    '"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster"}},'
    '"status":{{"loadBalancer":{{}}}}}}'
)
_NAMESPACE = (
    '{{"kind":"Namespace","apiVersion":"v1","metadata":{{"name":"{name}","uid":"{uid}","resourceVersion":"{version}",'
    '"creationTimestamp":"2026-03-01T08:00:00Z","labels":{{"kubernetes.io/metadata.name":"{name}"}}}},'
    '"spec":{{"finalizers":["kubernetes"]}},"status":{{"phase":"Active"}}}}'
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many Services, and how many endpoints each has."""

    services: int = 10_000
    endpoints: int = 15

    @property
    def nodes(self) -> int:
        """How many nodes all these endpoints need."""
        return max(3, -(-self.services * self.endpoints // PODS_PER_NODE))

    def is_headless(self, service: int) -> bool:
        """Whether a Service has no ClusterIP."""
        return service % HEADLESS_EVERY == 0

    def fqdn(self, service: int) -> str:
        """The name of a Service, absolute, without the final dot."""
        return f"{_name(service)}.{_namespace(service)}.svc.cluster.local"

    def node(self, service: int, endpoint: int) -> int:
        """The node that an endpoint runs on."""
        return (service * self.endpoints + endpoint) % self.nodes

    def address(self, service: int, endpoint: int) -> IPv4Address:
        """The address of an endpoint, one of the 256 of its node."""
        index = service * self.endpoints + endpoint
        return IPv4Address(POD_IPS + (index % self.nodes << 8) + index // self.nodes + 2)

    def endpoint_name(self, service: int, endpoint: int) -> str:
        """The name of an endpoint."""
        return f"{str(self.address(service, endpoint)).replace('.', '-')}.{self.fqdn(service)}"

    # Objects as JSON

    def namespaces(self) -> Iterator[bytes]:
        """All Namespaces."""
        for index in range(min(NAMESPACES, self.services)):
            yield _NAMESPACE.format(name=_namespace(index), uid=_uid("na", index), version=1 + index).encode()

    def all_services(self) -> Iterator[bytes]:
        """All Services."""
        for index in range(self.services):
            address = "None" if self.is_headless(index) else str(IPv4Address(CLUSTER_IPS + index + 1))
            yield _SERVICE.format(
                name=_name(index),
                namespace=_namespace(index),
                uid=_uid("5e", index),
                version=10_000 + index,
                address=address,
            ).encode()

    def slices(self) -> Iterator[bytes]:
        """All EndpointSlices, with all endpoints ready."""
        for index in range(self.services):
            yield self.slice(index, 200_000 + index)

    def slice(self, service: int, version: int, unready: frozenset[int] = UNREADY) -> bytes:
        """The EndpointSlice of a Service at some version; `unready` are the endpoints that are not ready."""
        name, namespace = _name(service), _namespace(service)
        return _SLICE.format(
            name=name,
            namespace=namespace,
            uid=_uid("51", service),
            owner=_uid("5e", service),
            version=version,
            endpoints=",".join(
                _ENDPOINT.format(
                    address=self.address(service, endpoint),
                    ready="false" if endpoint in unready else "true",
                    namespace=namespace,
                    name=name,
                    suffix=f"{endpoint:05x}",
                    uid=_uid("90", service * self.endpoints + endpoint),
                    node=self.node(service, endpoint),
                    zone=ZONES[self.node(service, endpoint) % len(ZONES)],
                )
                for endpoint in range(self.endpoints)
            ),
        ).encode()


class Toggled(NamedTuple):
    """A slice that has changed: the slice as JSON, the endpoint that it is about, and whether that is ready now."""

    piece: bytes
    endpoint: int
    is_ready: bool


class Toggler:
    """Changes slices one after the other: an endpoint of a ready Service fails, one that failed comes back.

    Each Service has at most one endpoint that is not ready, so that the cluster keeps its size.
    """

    def __init__(self, plan: Plan, version: int = LIST_VERSION) -> None:
        self.plan = plan
        self.version = version
        self._failed: dict[int, int] = {}

    def toggle(self, service: int, endpoint: int) -> Toggled:
        """Let the endpoint fail, or the one come back that has."""
        self.version += 1
        failed = self._failed.pop(service, None)
        if failed is not None:
            return Toggled(self.plan.slice(service, self.version), failed, True)
        self._failed[service] = endpoint
        return Toggled(self.plan.slice(service, self.version, frozenset((endpoint,))), endpoint, False)


def _name(service: int) -> str:
    return f"service-{service:05d}"


def _namespace(service: int) -> str:
    return f"team-{service % NAMESPACES:03d}"


def _uid(kind: str, index: int) -> str:
    """Shaped like a UUID; the first digits differ between neighbours, as those of real ones do."""
    mixed = index * 2654435761 % (1 << 32)  # Knuth's multiplicative hashing
    return f"{mixed:08x}-{kind}5e-4a{index % 100:02d}-9b1d-{index:012x}"
