"""The fields of Kubernetes' API objects (core/v1, discovery/v1) that DNS needs, as msgspec reads them.

Null and missing mean the same everywhere, as they do to Go's decoder; unknown fields are skipped.
These live for one decode; what is kept is kdns.kube.objects.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field


class TypeMeta(msgspec.Struct, gc=False):
    """What an object says it is; `items` is set for lists. Nothing is checked here."""

    kind: Any = None
    api_version: Any = field(default=None, name="apiVersion")


class ListMeta(TypeMeta, gc=False):
    """An object that may be a list, its items unread."""

    items: msgspec.Raw = msgspec.Raw()


class ObjectMeta(msgspec.Struct, gc=False):
    """metadata."""

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str | None] | None = None
    deletion_timestamp: Any = field(default=None, name="deletionTimestamp")
    uid: str | None = None
    resource_version: str | None = field(default=None, name="resourceVersion")
    annotations: dict[str, str | None] | None = None


class ApiObject(msgspec.Struct, gc=False):
    """An object of any kind; alone, all that a Namespace has for us."""

    metadata: ObjectMeta | None = None


class ServicePort(msgspec.Struct, gc=False):
    """An element of a Service's spec.ports."""

    port: int
    name: str | None = None
    protocol: str | None = None
    target_port: int | str | None = field(default=None, name="targetPort")


class ServiceSpec(msgspec.Struct, gc=False):
    """A Service's spec."""

    type: str | None = None
    cluster_ip: str | None = field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = field(default=None, name="clusterIPs")
    external_name: str | None = field(default=None, name="externalName")
    ports: list[ServicePort] | None = None
    selector: dict[str, str | None] | None = None
    ip_families: list[str] | None = field(default=None, name="ipFamilies")
    publish_not_ready_addresses: bool | None = field(default=None, name="publishNotReadyAddresses")


class Service(ApiObject, gc=False):
    """A Service."""

    spec: ServiceSpec | None = None


class EndpointConditions(msgspec.Struct, gc=False):
    """Conditions of an endpoint. Null is true for `ready` and `serving`, and false for `terminating`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(msgspec.Struct, gc=False):
    """What an endpoint stands for."""

    kind: str | None = None
    name: str | None = None


class Endpoint(msgspec.Struct, gc=False):
    """An element of an EndpointSlice's endpoints."""

    addresses: list[str] | None = None
    conditions: EndpointConditions | None = None
    hostname: str | None = None
    target_ref: ObjectReference | None = field(default=None, name="targetRef")


class EndpointPort(msgspec.Struct, gc=False):
    """An element of an EndpointSlice's ports; a port without number means all ports."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class EndpointSlice(ApiObject, gc=False):
    """An EndpointSlice."""

    address_type: str | None = field(default=None, name="addressType")
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


class ContainerPort(msgspec.Struct, gc=False):
    """An element of a container's ports."""

    container_port: int = field(name="containerPort")
    name: str | None = None
    protocol: str | None = None


class Container(msgspec.Struct, gc=False):
    """A container; restart_policy makes an init container a sidecar."""

    ports: list[ContainerPort] | None = None
    restart_policy: str | None = field(default=None, name="restartPolicy")


class PodSpec(msgspec.Struct, gc=False):
    """A Pod's spec."""

    containers: list[Container] | None = None
    init_containers: list[Container] | None = field(default=None, name="initContainers")
    hostname: str | None = None
    subdomain: str | None = None


class PodIP(msgspec.Struct, gc=False):
    """An element of a Pod's status.podIPs."""

    ip: str | None = None


class PodCondition(msgspec.Struct, gc=False):
    """An element of a Pod's status.conditions."""

    type: str | None = None
    status: str | None = None


class PodStatus(msgspec.Struct, gc=False):
    """A Pod's status."""

    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = field(default=None, name="podIPs")
    conditions: list[PodCondition] | None = None


class Pod(ApiObject, gc=False):
    """A Pod."""

    spec: PodSpec | None = None
    status: PodStatus | None = None
