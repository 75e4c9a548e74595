"""A cluster that people work on: random writes, of a few names so that they meet again.

Not here: what goes wrong (troubles).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.support.fakeapi.builders import (
    SERVICE_NAME,
    endpoint,
    endpoint_slice,
    external,
    headless,
    namespace,
    pod,
    pod_status,
    port,
    service,
)
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.resources import Json

_NAMESPACES = ("shop", "data", "batch")
_NAMES = ("web", "api", "db", "mail")
_PORTS = ((), ((80, "http"),), ((80, "http"), (443, "https")), ((5060, "sip", "UDP"),))


class Churn:
    """`write` makes one random change; what it makes is always what an API server takes."""

    def __init__(self, cluster: FakeCluster, rng: random.Random, has_pods: bool = True) -> None:
        self._cluster = cluster
        self._rng = rng
        self._writes: list[Callable[[float], None]] = [
            *[self._service] * 3, *[self._slice] * 8, *[self._endpoints] * 8, self._move_endpoint, self._move_slice,
            self._touch, self._delete, self._delete, self._namespace, *[self._pod] * (4 if has_pods else 0),
        ]  # fmt: skip

    def fill(self, writes: int, now: float) -> None:
        for name in _NAMESPACES:
            self._cluster.apply(namespace(name), now)
        for _ in range(writes):
            self.write(now)

    def write(self, now: float) -> None:
        self._rng.choice(self._writes)(now)

    def _place(self, now: float) -> str:
        name = self._rng.choice(_NAMESPACES)
        if self._cluster.store.get("namespaces", name) is None:
            self._cluster.create(namespace(name, {"team": self._rng.choice(_NAMES)}), now)
        return name

    def _ports(self) -> list[Json]:
        return [port(*each) for each in self._rng.choice(_PORTS)]

    def _address(self) -> str:
        return f"10.0.0.{self._rng.randint(1, 40)}"

    def _service(self, now: float) -> None:
        where, name = self._place(now), self._rng.choice(_NAMES)
        made = self._rng.choice([
            service(where, name, [port(80, "http")]), service(where, name, [port(53, "dns", "UDP")]),
            headless(where, name, self._ports()), external(where, name, "db.example.com"),
        ])  # fmt: skip
        old = self._cluster.store.get("services", f"{where}/{name}")
        if old is not None:  # a ClusterIP is immutable: what changes its nature is another Service
            self._cluster.delete("services", where, name, now)
        self._cluster.create(made, now)

    def _endpoint(self) -> Json:
        rng = self._rng
        told = {"hostname": rng.choice(("a", "b"))} if rng.random() < 0.2 else {}
        return endpoint(self._address(), rng.choice((True, True, True, False, None)), **told)

    def _slice(self, now: float) -> None:
        where, owner = self._place(now), self._rng.choice(_NAMES)
        name = f"{owner}-{self._rng.randint(1, 3)}"
        made = [self._endpoint() for _ in range(self._rng.randint(0, 6))]
        endpoints = {each["addresses"][0]: each for each in made}
        self._cluster.apply(endpoint_slice(where, name, owner, endpoints.values(), self._ports()), now)

    def _some(self, resource: str) -> Json | None:
        keys = sorted(key for key in self._cluster.store.objects(resource) if not key.startswith("default/"))
        if not keys:
            return None
        item = self._cluster.store.get(resource, self._rng.choice(keys))
        assert item is not None
        return item.value

    def _endpoints(self, now: float) -> None:
        """One endpoint of a slice comes, goes or turns."""
        found = self._some("endpointslices")
        if found is None:
            return
        endpoints = list(found["endpoints"] or ())
        if endpoints and self._rng.random() < 0.5:
            endpoints.pop(self._rng.randrange(len(endpoints)))
        if self._rng.random() < 0.7:
            made = self._endpoint()
            endpoints = [each for each in endpoints if each["addresses"] != made["addresses"]] + [made]
        self._put_slice(found, now, endpoints=endpoints)

    def _move_endpoint(self, now: float) -> None:
        """From one slice to another, in two writes as controllers do it."""
        first, second = self._some("endpointslices"), self._some("endpointslices")
        if not first or not second or not first["endpoints"] or first is second:
            return
        moved = self._rng.choice(first["endpoints"])
        self._put_slice(first, now, endpoints=[each for each in first["endpoints"] if each is not moved])
        self._put_slice(second, now, endpoints=[*(second["endpoints"] or ()), moved])

    def _move_slice(self, now: float) -> None:
        """To another Service, by its label."""
        found = self._some("endpointslices")
        if found is not None:
            labels = {**found["metadata"].get("labels", {}), SERVICE_NAME: self._rng.choice(_NAMES)}
            self._put_slice({**found, "metadata": {**found["metadata"], "labels": labels}}, now)

    def _put_slice(self, found: Json, now: float, **changes: object) -> None:
        meta = {name: part for name, part in found["metadata"].items() if name != "resourceVersion"}
        changed = {**found, **changes, "metadata": meta, "kind": "EndpointSlice"}
        self._cluster.replace({**changed, "apiVersion": "discovery.k8s.io/v1"}, now)

    def _touch(self, now: float) -> None:
        """A change that changes no answer."""
        resource = self._rng.choice(("services", "endpointslices"))
        found = self._some(resource)
        if found is not None:
            meta = found["metadata"]
            patch = {"metadata": {"annotations": {"touched": str(now)}}}
            self._cluster.patch(resource, meta["namespace"], meta["name"], patch, now)

    def _delete(self, now: float) -> None:
        resource = self._rng.choice(("services", "endpointslices", "endpointslices", "pods"))
        found = self._some(resource)
        if found is not None:
            self._cluster.delete(resource, found["metadata"]["namespace"], found["metadata"]["name"], now)

    def _namespace(self, now: float) -> None:
        name = self._rng.choice(_NAMESPACES)
        if self._cluster.store.get("namespaces", name) is None:
            self._cluster.create(namespace(name), now)
        elif self._rng.random() < 0.3:
            self._cluster.delete("namespaces", "", name, now)

    def _pod(self, now: float) -> None:
        where, name = self._place(now), f"pod-{self._rng.randint(1, 8)}"
        if self._cluster.store.get("pods", f"{where}/{name}") is None:
            self._cluster.create(pod(where, name), now)
        phase = self._rng.choice(("Running", "Running", "Pending", "Succeeded", "Failed"))
        self._cluster.patch_status("pods", where, name, pod_status(self._address(), phase=phase), now)
