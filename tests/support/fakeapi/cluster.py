"""A Kubernetes control plane without sockets and without a clock: a store, and API servers in front of it.

    cluster = FakeCluster()
    cluster.apply(service("shop", "web", ports=[port(80)]), now=1.0)
    response = cluster.handle(ApiRequest("GET", "/api/v1/services", headers=ADMIN_HEADERS), now=2.0)

`now` counts seconds from the cluster's `epoch` (unix time) and never goes back.
Not here: sockets (server), reflectors over simulated time (simulation).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import msgspec

from tests.support.fakeapi.access import ADMIN_TOKEN, Access
from tests.support.fakeapi.apiserver import ApiRequest, ApiServer, Behaviour
from tests.support.fakeapi.cache import End, Watch, object_json
from tests.support.fakeapi.faults import FaultBook
from tests.support.fakeapi.lists import Wait
from tests.support.fakeapi.objects import Author, timestamp
from tests.support.fakeapi.resources import BY_KIND, TYPES, Json, ResourceType
from tests.support.fakeapi.statuses import Response
from tests.support.fakeapi.store import Item, Store
from tests.support.fakeapi.writes import MANAGER, Writer

EPOCH = 1_795_420_800.0  # 2026-11-23 08:00:00 UTC
ADMIN_HEADERS: Mapping[str, str] = {"authorization": f"Bearer {ADMIN_TOKEN}"}


class FakeCluster:
    """The store, its API servers (`servers`, the first is `server`), who may do what, and the faults to come.

    has_defaults: with the namespaces that every cluster has, and the Service default/kubernetes.
    """

    def __init__(
        self, rng: random.Random | None = None, epoch: float = EPOCH, has_defaults: bool = True,
        behaviour: Behaviour | None = None, now: float = 0.0,
    ) -> None:  # fmt: skip
        self.epoch = epoch
        self.rng = rng or random.Random(1)
        self.store = Store()
        self.access = Access()
        self.faults = FaultBook()
        self.writer = Writer(self.store, Author(self.rng), epoch)
        self.servers: list[ApiServer] = []
        self.add_server(behaviour)
        if has_defaults:
            self._add_defaults(now)

    @property
    def server(self) -> ApiServer:
        return self.servers[0]

    @property
    def behaviour(self) -> Behaviour:
        """Of the first server."""
        return self.server.behaviour

    @property
    def rv(self) -> int:
        return self.store.rv

    def add_server(self, behaviour: Behaviour | None = None) -> ApiServer:
        """One more API server over the same store, maybe with a lag."""
        made = ApiServer(self.store, self.writer, self.access, self.faults, self.rng, behaviour)
        self.servers.append(made)
        return made

    def handle(
        self, request: ApiRequest, now: float, since: float | None = None, replica: int = 0
    ) -> Response | Wait:
        return self.servers[replica].handle(request, now, since)

    def advance(self, now: float) -> None:
        """Let time pass: caches that lag, bookmarks' resourceVersions, compaction."""
        for server in self.servers:
            server.advance(now)

    @property
    def next_due(self) -> float:
        """When `advance` lets somebody see something new."""
        return min(server.next_due for server in self.servers)

    def create(self, value: Json, now: float, manager: str = MANAGER) -> Json:
        return self._whole(value, self.writer.create(value, now, manager))

    def replace(self, value: Json, now: float, manager: str = MANAGER) -> Json:
        return self._whole(value, self.writer.replace(value, now, manager))

    def apply(self, value: Json, now: float, manager: str = MANAGER) -> Json:
        """Create or replace."""
        return self._whole(value, self.writer.apply(value, now, manager))

    def patch(
        self, plural: str, namespace: str, name: str, patch: Json, now: float, subresource: str = ""
    ) -> Json:
        """A JSON merge patch; of `status` with that subresource."""
        item = self.writer.patch(plural, namespace, name, patch, now, subresource)
        return _with_kind(TYPES[plural], item)

    def patch_status(self, plural: str, namespace: str, name: str, status: Json, now: float) -> Json:
        return self.patch(plural, namespace, name, {"status": status}, now, "status")

    def delete(self, plural: str, namespace: str, name: str, now: float) -> None:
        self.writer.delete(plural, namespace, name, now)

    def load(self, document: bytes, now: float = 0.0) -> None:
        """Fill the store with a recorded list, object by object as it stands; it is then at the list's version."""
        read = msgspec.json.decode(document)
        kind = BY_KIND[read["kind"].removesuffix("List"), read["apiVersion"]]
        self.restore(kind, read["items"], int(read["metadata"]["resourceVersion"]), now)

    def restore(self, kind: ResourceType, values: Iterable[Json], rv: int, now: float) -> None:
        """Complete objects under the versions that they have; the store's own rises to `rv` at least."""
        for value in values:
            self.store.place(kind.plural, kind.key(value), value)
        self.store.rv = max(self.store.rv, rv)
        self.store.compact(self.store.rv)
        for server in self.servers:
            server.restart(End.BROKEN)

    def restart(self, replica: int | None = None, end: End = End.BROKEN) -> None:
        """Restart all API servers, or one. End.BROKEN is SIGKILL; End.CLEAN is SIGTERM, at its very end."""
        for server in self.servers if replica is None else [self.servers[replica]]:
            server.restart(end)

    def rollback(self, rv: int) -> None:
        """etcd is restored from a backup: resourceVersions go back, and the API servers restart."""
        self.store.rollback(rv)
        self.restart()

    def expire(self, resource: str = "") -> None:
        """Empty the windows of the watch caches: whoever watches from the past gets 410."""
        for server in self.servers:
            for plural in [resource] if resource else TYPES:
                server.cache(plural).expire()

    def compact(self) -> None:
        """Continue tokens and exact lists of the past expire."""
        self.store.compact(self.store.rv)

    def watches(self, resource: str = "") -> list[Watch]:
        """The open ones."""
        return [
            watch for server in self.servers for watch in server.watches if resource in ("", watch.resource)
        ]  # fmt: skip

    def end_watches(self, resource: str = "", end: End = End.CLEAN) -> None:
        for watch in self.watches(resource):
            watch.close(end)

    def objects(self, resource: str) -> list[Json]:
        """The truth, in the order of lists, with kind and apiVersion."""
        return [_with_kind(TYPES[resource], item) for _, item in sorted(self.store.objects(resource).items())]

    def object_lines(self, resource: str) -> list[bytes]:
        """The truth as a watch would show it."""
        found = sorted(self.store.objects(resource).items())
        return [object_json(TYPES[resource], item) for _, item in found]

    def _whole(self, value: Json, item: Item) -> Json:
        return _with_kind(BY_KIND[value["kind"], value["apiVersion"]], item)

    def _add_defaults(self, now: float) -> None:
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self.create({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}, now, "kube-apiserver")
        meta = {"name": "kubernetes", "namespace": "default"}
        ports = [{"name": "https", "port": 443, "targetPort": 6443}]
        self.create(
            {"kind": "Service", "apiVersion": "v1", "spec": {"ports": ports, "clusterIP": "10.96.0.1"},
             "metadata": {**meta, "labels": {"component": "apiserver", "provider": "kubernetes"}}},
            now, "kube-apiserver",
        )  # fmt: skip
        self.create(
            {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
             "metadata": {**meta, "labels": {"kubernetes.io/service-name": "kubernetes"}},
             "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
             "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]},
            now, "kube-apiserver",
        )  # fmt: skip

    def time(self, now: float) -> str:
        """A timestamp as objects have it."""
        return timestamp(self.epoch + now)


def _with_kind(kind: ResourceType, item: Item) -> Json:
    return {"kind": kind.kind, "apiVersion": kind.group_version, **item.value}
