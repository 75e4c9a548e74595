"""Kubernetes objects for tests, written as the API would write them and read by the decoder under test."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from kdns.kube.decode import ObjectDecoder
from kdns.kube.objects import Change, EndpointSlice, Namespace, Pod, Service, Tombstone
from kdns.kube.store import ClusterStore
from kdns.zone.delta import ZoneDelta
from kdns.zone.subtree import Subtree

DATA = Path(__file__).parents[2] / "data" / "kubernetes"
SERVICE_NAME = "kubernetes.io/service-name"


def packed(*addresses: str) -> bytes:
    return b"".join(ip_address(address).packed for address in addresses)


def wire(*labels: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in labels)


def meta(name: str, namespace: str | None = "shop", **more: object) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def decode(kind: str, value: dict[str, Any], remarks: list[str] | None = None) -> Change:
    """Through JSON, as from the API."""
    return ObjectDecoder().decode_json(kind, json.dumps(value).encode(), [] if remarks is None else remarks)


def namespace(name: str, **labels: str) -> Namespace:
    found = decode("Namespace", {"metadata": meta(name, None, labels=labels)})
    assert isinstance(found, Namespace)
    return found


def service(name: str = "web", ns: str = "shop", labels: dict[str, str] | None = None, **spec: object) -> Service:
    found = decode("Service", {"metadata": meta(name, ns, labels=labels), "spec": spec})
    assert isinstance(found, Service)
    return found


def endpoint(*addresses: str, ready: bool | None = None, pod: str | None = None, **more: object) -> dict[str, Any]:
    conditions = {} if ready is None else {"conditions": {"ready": ready}}
    target = {"targetRef": {"kind": "Pod", "name": pod}} if pod else {}
    return {"addresses": list(addresses), **conditions, **target, **more}


def draining(*addresses: str, **more: object) -> dict[str, Any]:
    """An endpoint that is terminating and still serving, as the EndpointSlice controller writes it."""
    return endpoint(*addresses, **more) | {"conditions": {"ready": False, "serving": True, "terminating": True}}


def piece(
    name: str = "web-1",
    *endpoints: dict[str, Any] | str,
    of: str = "web",
    ns: str = "shop",
    ports: list[dict[str, Any]] | None = None,
    family: str = "IPv4",
    labels: dict[str, str] | None = None,
) -> EndpointSlice:
    """An EndpointSlice; an endpoint given as text is a ready one without hostname."""
    found = decode(
        "EndpointSlice",
        {
            "metadata": meta(name, ns, labels={SERVICE_NAME: of, **(labels or {})}),
            "addressType": family,
            "endpoints": [endpoint(one) if isinstance(one, str) else one for one in endpoints],
            "ports": ports,
        },
    )
    assert isinstance(found, EndpointSlice)
    return found


def pod(
    name: str,
    *addresses: str,
    ns: str = "shop",
    labels: dict[str, str] | None = None,
    phase: str = "Running",
    ready: bool = True,
    deleted: bool = False,
    **spec: object,
) -> Pod:
    deletion = {"deletionTimestamp": "2026-03-01T08:00:00Z"} if deleted else {}
    found = decode(
        "Pod",
        {
            "metadata": meta(name, ns, labels=labels, **deletion),
            "spec": spec,
            "status": {
                "phase": phase,
                "podIPs": [{"ip": address} for address in addresses],
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        },
    )
    assert isinstance(found, Pod)
    return found


class Published:
    """What somebody knows who has been told everything that a store said, as a worker is."""

    def __init__(self) -> None:
        self.subtrees: dict[bytes, Subtree] = {}
        self.namespaces: set[bytes] = set()
        self.pods: set[tuple[bytes, bytes]] = set()

    def take(self, delta: ZoneDelta | None) -> None:
        if delta is None:
            return
        if delta.reset:
            self.subtrees, self.namespaces, self.pods = {}, set(), set()
        for owner in delta.removed:
            del self.subtrees[owner]
        self.subtrees.update((one.owner, one) for one in delta.subtrees)
        assert self.namespaces.isdisjoint(delta.namespaces)
        assert self.namespaces.issuperset(delta.namespaces_removed)
        self.namespaces = (self.namespaces - set(delta.namespaces_removed)) | set(delta.namespaces)
        assert self.pods.isdisjoint(delta.pods)
        assert self.pods.issuperset(delta.pods_removed)
        self.pods = (self.pods - set(delta.pods_removed)) | set(delta.pods)

    @classmethod
    def image_of(cls, store: ClusterStore) -> Published:
        found = cls()
        for part in store.image():
            found.take(part)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Published) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return repr(vars(self))


class Event(NamedTuple):
    """One line of a recorded watch."""

    seconds: float
    type: str
    change: Change


RESOURCES = {"namespaces": "Namespace", "services": "Service", "endpointslices": "EndpointSlice", "pods": "Pod"}


def recorded_lists() -> list[Change]:
    found = []
    for resource, kind in RESOURCES.items():
        body = json.loads(gzip.decompress((DATA / f"recorded/{resource}.list.json.gz").read_bytes()))
        found += [decode(kind, item) for item in body["items"]]
    return found


def recorded_events() -> list[Event]:
    """The four watches merged by time, bookmarks left out."""
    events = [event for resource, kind in RESOURCES.items() for event in _events(resource, kind)]
    return sorted(events, key=lambda event: event.seconds)


def _events(resource: str, kind: str) -> Iterator[Event]:
    for line in gzip.decompress((DATA / f"recorded/{resource}.watch.jsonl.gz").read_bytes()).splitlines():
        seconds, _, text = line.partition(b"\t")
        event = json.loads(text)
        if event["type"] == "BOOKMARK":
            continue
        change = decode(kind, event["object"])
        gone = event["type"] == "DELETED"
        yield Event(float(seconds), event["type"], Tombstone(change.key) if gone else change)
