"""The resources that the fake API server has, and how a path names them.

Not here: what becomes of an object that is written (objects), who may do what (access).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


def _at(*path: str) -> Callable[[Json], str]:
    def read(value: Any) -> str:
        for name in path:
            value = (value or {}).get(name)
        return {True: "true", False: "false", None: ""}.get(value, value) if not isinstance(value, str) else value

    return read


_COMMON_FIELDS = {"metadata.name": _at("metadata", "name"), "metadata.namespace": _at("metadata", "namespace")}


@dataclass(frozen=True)
class ResourceType:
    """One kind of objects.

    blank: what stands behind `metadata` in an object without content, as bookmarks have it.
    fields: what a field selector may ask.
    """

    plural: str
    kind: str
    group_version: str
    is_namespaced: bool
    blank: bytes
    fields: Mapping[str, Callable[[Json], str]]

    @property
    def group(self) -> str:
        return self.group_version.rpartition("/")[0]

    @property
    def qualified(self) -> str:
        """As errors name it: `services`, `endpointslices.discovery.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        return f"/apis/{self.group_version}" if self.group else f"/api/{self.group_version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        place = f"/namespaces/{namespace}" if namespace and self.is_namespaced else ""
        return f"{self.root}{place}/{self.plural}" + "".join(f"/{part}" for part in (name, subresource) if part)

    def key(self, value: Json) -> str:
        """Where an object stands in the order of lists: `namespace/name`, or its name."""
        meta = value["metadata"]
        return f"{meta['namespace']}/{meta['name']}" if self.is_namespaced else str(meta["name"])


NAMESPACES = ResourceType(
    "namespaces", "Namespace", "v1", False, b'"spec":{},"status":{}',
    {"metadata.name": _at("metadata", "name"), "status.phase": _at("status", "phase")},
)  # fmt: skip
SERVICES = ResourceType(
    "services", "Service", "v1", True, b'"spec":{},"status":{"loadBalancer":{}}',
    {**_COMMON_FIELDS, "spec.clusterIP": _at("spec", "clusterIP"), "spec.type": _at("spec", "type")},
)  # fmt: skip
ENDPOINT_SLICES = ResourceType(
    "endpointslices", "EndpointSlice", "discovery.k8s.io/v1", True,
    b'"addressType":"","endpoints":null,"ports":null', _COMMON_FIELDS,
)  # fmt: skip
_POD_FIELDS = {
    f"{where}.{name}": _at(where, name)
    for where, names in {
        "spec": ("nodeName", "restartPolicy", "schedulerName", "serviceAccountName", "hostNetwork"),
        "status": ("phase", "podIP", "nominatedNodeName"),
    }.items()
    for name in names
}
PODS = ResourceType(
    "pods", "Pod", "v1", True, b'"spec":{"containers":null},"status":{}', {**_COMMON_FIELDS, **_POD_FIELDS}
)
TYPES = {each.plural: each for each in (NAMESPACES, SERVICES, ENDPOINT_SLICES, PODS)}
BY_KIND = {(each.kind, each.group_version): each for each in TYPES.values()}


def type_of(value: Json) -> ResourceType:
    """Of an object with kind and apiVersion. Raises KeyError for what this server does not have."""
    return BY_KIND[value["kind"], value["apiVersion"]]


@dataclass(frozen=True)
class Target:
    """What a path names: a collection, or one object if there is a name."""

    type: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""


_ROOTS = {root: {each.plural: each for each in TYPES.values() if each.root == root}
          for root in {each.root for each in TYPES.values()}}  # fmt: skip


def parse_path(path: str) -> Target | None:
    """What a path names; None if nothing that this server has."""
    for root, types in _ROOTS.items():
        if path.startswith(root + "/"):
            return _target(types, path[len(root) + 1 :].split("/"))
    return None


def _target(types: Mapping[str, ResourceType], parts: list[str]) -> Target | None:
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] in types:
        namespace, parts = parts[1], parts[2:]
    named = types.get(parts[0])
    if named is None or len(parts) > 3 or not all(parts):
        return None
    if len(parts) > 1 and named.is_namespaced and not namespace:
        return None
    name, subresource = (*parts[1:], "", "")[:2]
    if subresource not in ("", "status"):
        return None
    return Target(named, namespace, name, subresource)
