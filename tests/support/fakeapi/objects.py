"""What an API server makes of an object that is written: defaults, allocated addresses, metadata, managedFields, and
the order of fields, so that the JSON that comes back is the real one's.

Not here: where objects are kept (store).
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from tests.support.fakeapi.resources import Json, ResourceType


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_METADATA = _names(
    "name generateName namespace uid resourceVersion generation creationTimestamp deletionTimestamp "
    "deletionGracePeriodSeconds labels annotations ownerReferences finalizers managedFields"
)
_ORDERS = {
    "Namespace": ("metadata", "spec", "status"),
    "Service": ("metadata", "spec", "status"),
    "Pod": ("metadata", "spec", "status"),
    "EndpointSlice": ("metadata", "addressType", "endpoints", "ports"),
    "service spec": _names(
        "ports selector clusterIP clusterIPs type externalIPs sessionAffinity loadBalancerIP "
        "loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort "
        "publishNotReadyAddresses sessionAffinityConfig ipFamilies ipFamilyPolicy "
        "allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution"
    ),
    "port": ("name", "protocol", "appProtocol", "port", "targetPort", "nodePort"),
    "slice port": ("name", "protocol", "port", "appProtocol"),
    "endpoint": _names("addresses conditions hostname targetRef nodeName zone hints deprecatedTopology"),
    "conditions": ("ready", "serving", "terminating"),
}
_WITH_GENERATION = frozenset({"EndpointSlice", "Pod"})
_GRANULAR = frozenset({"labels", "annotations", "sessionAffinityConfig", "clientIP"})
# By which fields entries of a list are told apart; other lists are one field.
_LIST_KEYS = {"ports": ("port", "protocol"), "ownerReferences": ("uid",), "containers": ("name",),
              "conditions": ("type",), "podIPs": ("ip",)}  # fmt: skip
_ATOMIC = frozenset({"selector", "resources"})
_NODE_PORTS = 30_000
_IPV4_START, _IPV6_START = int(IPv4Address("10.96.0.10")), int(IPv6Address("fd00:10:96::10"))


def timestamp(epoch_seconds: float) -> str:
    """As metadata has it, to the second."""
    return datetime.fromtimestamp(int(epoch_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Author:
    """Completes objects as an API server does; what it allocates follows from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._addresses = 0
        self._node_ports = 0

    def uid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def created(self, kind: ResourceType, value: Json, manager: str, at: str) -> Json:
        """A new object, complete but for its resourceVersion."""
        given = dict(value["metadata"])
        if not given.get("name"):
            given["name"] = given["generateName"] + self._suffix()
        if kind.kind == "Namespace":
            given["labels"] = {"kubernetes.io/metadata.name": given["name"], **(given.get("labels") or {})}
        made = self._defaulted(kind, {**value, "metadata": given}, None)
        given |= {"uid": self.uid(), "creationTimestamp": at}
        if kind.kind in _WITH_GENERATION:
            given["generation"] = 1
        given["managedFields"] = [_managed(kind, {**made, "metadata": given}, value, manager, at, "")]
        return arranged(kind, {**made, "metadata": given})

    def replaced(
        self, kind: ResourceType, old: Json, value: Json, manager: str, at: str, subresource: str,
        patch: Json | None = None,
    ) -> Json:  # fmt: skip
        """What an object becomes, complete but for its resourceVersion; `old` itself if nothing changes.

        patch: what the writer sent, if that is not all of the object.
        """
        kept, given = dict(old["metadata"]), dict(value.get("metadata") or {})
        if subresource == "status":
            merged = {**old, "status": value.get("status") or {}}
        else:
            made = self._defaulted(kind, value, old)
            merged = {**made, "status": old["status"]} if "status" in old else made
            for name in ("labels", "annotations", "ownerReferences", "finalizers"):
                kept.pop(name, None)
                if given.get(name):
                    kept[name] = given[name]
        merged = arranged(kind, {**merged, "metadata": kept})
        if merged == old:
            return old
        if kind.kind in _WITH_GENERATION and subresource != "status" and _content(merged) != _content(old):
            kept["generation"] = int(kept["generation"]) + 1
        entry = _managed(kind, merged, value, manager, at, subresource, patch)
        kept["managedFields"] = [
            other for other in kept.get("managedFields", ())
            if (other["manager"], other.get("subresource", "")) != (manager, subresource)
        ] + [entry]  # fmt: skip
        return arranged(kind, {**merged, "metadata": kept})

    def _suffix(self) -> str:
        return "".join(self._rng.choices("bcdfghjklmnpqrstvwxz2456789", k=5))

    def _defaulted(self, kind: ResourceType, value: Json, old: Json | None) -> Json:
        return _DEFAULTS[kind.kind](self, value, old)

    def _service(self, value: Json, old: Json | None) -> Json:
        spec = {"type": "ClusterIP", "sessionAffinity": "None", **(value.get("spec") or {})}
        before = (old or {}).get("spec") or {}
        spec["ports"] = [{"protocol": "TCP", "targetPort": port["port"], **port} for port in spec.get("ports") or ()]
        if not spec["ports"]:
            del spec["ports"]
        if spec["type"] == "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
                spec.pop(name, None)
        else:
            self._addressed(spec, before)
        if spec["type"] in ("NodePort", "LoadBalancer"):
            self._exposed(spec)
        if spec["sessionAffinity"] == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
        return {**value, "spec": spec, "status": value.get("status") or {"loadBalancer": {}}}

    def _addressed(self, spec: Json, before: Json) -> None:
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilyPolicy", before.get("ipFamilyPolicy", "SingleStack"))
        both = ["IPv4", "IPv6"] if spec["ipFamilyPolicy"] != "SingleStack" else ["IPv4"]
        spec.setdefault("ipFamilies", before.get("ipFamilies", both))
        if before.get("clusterIP") and not spec.get("clusterIP"):
            spec["clusterIP"], spec["clusterIPs"] = before["clusterIP"], before["clusterIPs"]
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if not spec.get("clusterIPs"):
            self._addresses += 1
            spec["clusterIPs"] = [
                str(IPv4Address(_IPV4_START + self._addresses)) if family == "IPv4"
                else str(IPv6Address(_IPV6_START + self._addresses))
                for family in spec["ipFamilies"]
            ]  # fmt: skip
        spec["clusterIP"] = spec["clusterIPs"][0]

    def _exposed(self, spec: Json) -> None:
        spec.setdefault("externalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
        for port in spec.get("ports", ()):
            if "nodePort" not in port:
                self._node_ports += 1
                port["nodePort"] = _NODE_PORTS + self._node_ports

    def _slice(self, value: Json, old: Json | None) -> Json:
        endpoints = [{"conditions": {}, **endpoint} for endpoint in value.get("endpoints") or ()]
        ports = [{"name": "", "protocol": "TCP", **port} for port in value.get("ports") or ()]
        return {**value, "endpoints": endpoints or None, "ports": ports or None}

    def _namespace(self, value: Json, old: Json | None) -> Json:
        status = value.get("status") or {"phase": "Active"}
        return {**value, "spec": value.get("spec") or {"finalizers": ["kubernetes"]}, "status": status}

    def _pod(self, value: Json, old: Json | None) -> Json:
        defaults = {
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": True,
        }  # fmt: skip
        status = value.get("status") or {"phase": "Pending", "qosClass": "BestEffort"}
        return {**value, "spec": {**defaults, **(value.get("spec") or {})}, "status": status}


_DEFAULTS: dict[str, Callable[[Author, Json, Json | None], Json]] = {
    "Service": Author._service,
    "EndpointSlice": Author._slice,
    "Namespace": Author._namespace,
    "Pod": Author._pod,
}


def arranged(kind: ResourceType, value: Json) -> Json:
    """The object with its fields in the order in which the API server writes them, without kind and apiVersion."""
    made = _ordered({name: part for name, part in value.items() if name not in ("kind", "apiVersion")}, kind.kind)
    made["metadata"] = _order(made["metadata"], _METADATA)
    if kind.kind == "Service" and "spec" in made:
        made["spec"] = spec = _ordered(made["spec"], "service spec")
        if spec.get("ports"):
            spec["ports"] = [_ordered(port, "port") for port in spec["ports"]]
    if kind.kind == "EndpointSlice":
        made["endpoints"] = [_endpoint(each) for each in made["endpoints"] or ()] or None
        made["ports"] = [_ordered(port, "slice port") for port in made["ports"] or ()] or None
    return made


def _endpoint(value: Json) -> Json:
    made = _ordered(value, "endpoint")
    made["conditions"] = _ordered(made.get("conditions") or {}, "conditions")
    return made


def _ordered(value: Json, what: str) -> Json:
    return _order(value, _ORDERS[what])


def _order(value: Json, names: Iterable[str]) -> Json:
    made = {name: value[name] for name in names if name in value}
    return made | value if len(made) < len(value) else made


def _content(value: Json) -> Json:
    return {name: part for name, part in value.items() if name not in ("metadata", "status")}


def _managed(
    kind: ResourceType, made: Json, given: Json, manager: str, at: str, subresource: str, patch: Json | None = None
) -> Json:
    """The managedFields entry of a writer: the fields that it set, defaults among them, but nothing allocated."""
    if patch is not None:
        fields = _fields(patch)
    elif subresource == "status":
        fields = {"f:status": _fields(given.get("status") or {})}
    else:
        fields = _set_fields(kind, made, given)
    entry = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": kind.group_version,
        "time": at,
        "fieldsType": "FieldsV1",
        "fieldsV1": _sorted(fields),
    }
    return {**entry, "subresource": subresource} if subresource else entry


_ALLOCATED = frozenset({"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})


def _set_fields(kind: ResourceType, made: Json, given: Json) -> Json:
    meta = made["metadata"]
    fields: Json = {}
    written = {name: meta[name] for name in ("labels", "annotations", "ownerReferences") if meta.get(name)}
    if "generateName" in meta:
        written["generateName"] = meta["generateName"]
    if written:
        fields["f:metadata"] = _fields(written)
    if kind.kind == "EndpointSlice":
        return fields | {f"f:{name}": {} for name in ("addressType", "endpoints", "ports") if made.get(name)}
    own = given.get("spec") or {}
    spec = {name: part for name, part in made["spec"].items() if name not in _ALLOCATED or name in own}
    if kind.kind == "Service" and "ports" in spec:
        spec["ports"] = _unallocated(spec["ports"], own.get("ports") or [])
    if kind.kind != "Namespace":
        fields["f:spec"] = _fields(spec)
    return fields


def _unallocated(ports: list[Json], given: list[Json]) -> list[Json]:
    """Ports without the nodePort that nobody asked for."""
    asked = {port.get("nodePort") for port in given}
    return [
        {name: part for name, part in port.items() if name != "nodePort" or part in asked} for port in ports
    ]  # fmt: skip


def _fields(value: Json) -> Json:
    return {f"f:{name}": _field(name, part) for name, part in value.items()}


def _field(name: str, part: Any) -> Json:
    if isinstance(part, dict) and name not in _ATOMIC:
        return ({".": {}} if name in _GRANULAR else {}) | _fields(part)
    if isinstance(part, list) and name in _LIST_KEYS:
        return {".": {}} | dict(_entry(name, entry) for entry in part)
    return {}


def _entry(name: str, entry: Json) -> tuple[str, Json]:
    keys = {key: entry[key] for key in _LIST_KEYS[name] if key in entry}
    text = ",".join(f'"{key}":{part}' if isinstance(part, int) else f'"{key}":"{part}"' for key, part in keys.items())
    return f"k:{{{text}}}", {} if name == "ownerReferences" else {".": {}} | _fields(entry)


def _sorted(value: Json) -> Json:
    return {name: _sorted(part) for name, part in sorted(value.items(), key=_field_order)}


def _field_order(field: tuple[str, Json]) -> tuple[str, list[tuple[bool, Any]]]:
    """By name; entries of a list by the values that tell them apart, numbers as numbers."""
    kind, _, rest = field[0].partition(":")
    if kind != "k":
        return field[0], []
    return kind, [(isinstance(part, str), part) for part in json.loads(rest).values()]
