"""A Mirror under test, what an API server would say to it, and a worker's state that follows what it publishes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

from kdns.kube.mirror import IDENTITY, Mirror, Restored, Turn, resources_for
from kdns.kube.request import Request, Resource
from kdns.kube.schema import SchemaOptions
from kdns.kube.snapshot import Snapshot
from kdns.wire.iana import RRType
from kdns.wire.name import from_text
from kdns.zone.cluster import ForwardZone, PodNames, ReverseZone
from kdns.zone.model import Kind
from kdns.zone.state import ClusterState
from tests.unit.kube.builders import meta
from tests.unit.kube.reflecting import REFUSED, START, Event, end_bookmark, lines

OPTIONS = SchemaOptions()
CLUSTER_UID = "11111111-2222-3333-4444-555555555555"
FORWARD, REVERSE = from_text("cluster.local"), from_text("in-addr.arpa")
TTL, NEGATIVE_TTL = 30, 5
SERIAL = 1_700_000_000


def item(kind: str, version: int, name: str, namespace: str | None = "shop", **fields: Any) -> dict[str, Any]:
    """An object as an event carries it."""
    labels = fields.pop("labels", {})
    more = {"labels": labels, "resourceVersion": str(version), "uid": f"{kind}-{namespace}-{name}"}
    return {"kind": kind, "metadata": meta(name, namespace, **more), **fields}


def service(name: str, version: int, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80}]
    return item("Service", version, name, namespace, spec={"ports": ports, **spec})


def rows(name: str, version: int, owner: str, *addresses: str, namespace: str = "shop") -> dict[str, Any]:
    """An EndpointSlice; the endpoint at 10.0.0.N has the hostname h-N."""
    return item(
        "EndpointSlice",
        version,
        name,
        namespace,
        labels={"kubernetes.io/service-name": owner},
        addressType="IPv4",
        ports=[{"name": "http", "port": 80}],
        endpoints=[
            {"addresses": [one], "hostname": f"h-{one.rpartition('.')[2]}", "conditions": {"ready": True}}
            for one in addresses
        ],
    )


def added(value: dict[str, Any]) -> Event:
    return {"type": "ADDED", "object": value}


def modified(value: dict[str, Any]) -> Event:
    return {"type": "MODIFIED", "object": value}


def deleted(value: dict[str, Any]) -> Event:
    return {"type": "DELETED", "object": value}


class Watching:
    """A Mirror, its time, and who is told what it says. `turns`: all so far."""

    def __init__(
        self,
        options: SchemaOptions = OPTIONS,
        resources: Sequence[Resource] = (),
        snapshot: Snapshot | None = None,
        age: float = 100.0,
        wants_identity: bool = False,
    ) -> None:
        self.now = START
        restored = Restored(snapshot, START - age) if snapshot is not None else None
        self.resources = tuple(resources) or resources_for(options, "")
        self.mirror = Mirror(
            0, options, self.resources, Random(7), START, None, restored, wants_identity or snapshot is not None
        )
        self.state = ClusterState(0)
        self.turns: list[Turn] = []
        self.publish_image()

    # The API server's part

    def owner(self, plural: str) -> int:
        """Of the first resource with this name."""
        return next(at for at, one in enumerate(self.resources) if str(one) == plural)

    def request(self, owner: int) -> Request:
        """What is asked for; the time goes on until it is due."""
        found = dict(self.mirror.requests())[owner]
        self.now = max(self.now, found.due)
        return found

    def purpose(self, plural: str) -> str:
        query = dict(self.request(self.owner(plural)).query)
        if "watch" not in query:
            return "list"
        return "watchlist" if "sendInitialEvents" in query else "watch"

    def open(self, plural: str, status: int = 200) -> None:
        owner = self.owner(plural)
        self.mirror.opened(owner, self.request(owner).number, status, {}, self.now)

    def say(self, plural: str, *events: Event) -> Turn:
        """Events on the open stream of a resource, and what follows from them."""
        owner = self.owner(plural)
        self.mirror.received(owner, self.request(owner).number, lines(*events), self.now)
        return self.turn()

    def sync(self, plural: str, *values: dict[str, Any], version: int = 100) -> Turn:
        """A watch list with these objects; the stream stays open."""
        self.open(plural)
        return self.say(plural, *map(added, values), end_bookmark(version))

    def refuse(self, plural: str, status: int, message: str = "no") -> Turn:
        owner = self.owner(plural)
        self.answer(owner, {"kind": "Status", "code": status, "message": message}, status)
        return self.turn()

    def break_off(self, plural: str) -> Turn:
        owner = self.owner(plural)
        self.mirror.failed(owner, self.request(owner).number, REFUSED, self.now)
        return self.turn()

    def identify(self, uid: str = CLUSTER_UID, status: int = 200, version: str = "") -> Turn:
        """Answer the question which cluster it is."""
        items = [{"metadata": {"name": "kube-system", "uid": uid}}] if uid else []
        meta = {"resourceVersion": version}
        self.answer(IDENTITY, {"kind": "NamespaceList", "metadata": meta, "items": items}, status)
        return self.turn()

    def answer(self, owner: int, body: object, status: int = 200) -> None:
        """A whole answer."""
        number = self.request(owner).number
        self.mirror.opened(owner, number, status, {}, self.now)
        self.mirror.received(owner, number, json.dumps(body).encode(), self.now)
        self.mirror.ended(owner, number, self.now)

    # Time, and what is published

    def turn(self, after: float = 0.0) -> Turn:
        self.now += after
        turn = self.mirror.turn(self.now, SERIAL + int(self.now))
        self.turns.append(turn)
        if turn.is_image:
            self.publish_image()
        elif turn.delta is not None:
            for _ in self.state.change(turn.delta):
                pass
        assert self.state.lacks == self.mirror.lacks
        assert self.state.lacking == set(self.mirror.store.lacking)
        assert self.mirror.wake_at > self.now
        return turn

    def wake(self) -> Turn:
        """Let the time pass until a turn is due."""
        assert self.mirror.wake_at < math.inf
        return self.turn(self.mirror.wake_at - self.now)

    def publish_image(self) -> None:
        """As a worker that is new would be told."""
        self.state = ClusterState(0, self.state)
        for part in self.mirror.store.image():
            self.state.load(part)

    def find(self, qname: str) -> str:
        """What a worker says of a name: UNKNOWN, ABSENT, EMPTY, or the rrsets there but for the SOA."""
        name = from_text(qname)
        insecure = PodNames.INSECURE
        zone = (
            ReverseZone(self.state, REVERSE, FORWARD, TTL, NEGATIVE_TTL)
            if qname.endswith("in-addr.arpa")
            else ForwardZone(self.state, FORWARD, TTL, NEGATIVE_TTL, insecure)
        )
        found = zone.find(name)
        if found.kind is not Kind.NODE:
            return found.kind.name
        rrsets = ((rrtype, rrset.rdatas) for rrtype, rrset in found.rrsets.items() if rrtype != RRType.SOA)
        return str(sorted(rrsets))

    @property
    def texts(self) -> list[str]:
        """The texts of all notices so far."""
        return [notice.text for turn in self.turns for notice in turn.notices]


WEB, DB = "web.shop.svc.cluster.local", "db.shop.svc.cluster.local"

SHOP: dict[str, list[dict[str, Any]]] = {
    "namespaces": [item("Namespace", 1, "shop", None, labels={"open": "yes"}), item("Namespace", 2, "bank", None)],
    "services": [
        service("web", 3, clusterIP="10.96.0.1"),
        service("db", 4, clusterIP="None"),
        service("docs", 5, type="ExternalName", externalName="docs.example.com"),
        service("vault", 6, "bank", clusterIP="10.96.0.2"),
    ],
    "endpointslices": [rows("db-1", 7, "db", "10.0.0.1", "10.0.0.2"), rows("web-1", 8, "web", "10.0.0.3")],
}
PROBES = [
    WEB,
    DB,
    f"h-1.{DB}",
    f"_http._tcp.{WEB}",
    f"_http._tcp.{DB}",
    f"_tcp.{WEB}",
    f"none.{WEB}",
    "docs.shop.svc.cluster.local",
    "vault.bank.svc.cluster.local",
    "nobody.shop.svc.cluster.local",
    "shop.svc.cluster.local",
    "nowhere.svc.cluster.local",
    "10-0-0-9.shop.pod.cluster.local",
    "10-0-0-9.nowhere.pod.cluster.local",
    "cluster.local",
    "elsewhere.cluster.local",
    "dns-version.cluster.local",
    "1.0.96.10.in-addr.arpa",
    "1.0.0.10.in-addr.arpa",
    "9.9.9.10.in-addr.arpa",
    "0.10.in-addr.arpa",
]


def synced(watching: Watching | None = None, shop: dict[str, list[dict[str, Any]]] = SHOP) -> Watching:
    """Told all of a shop."""
    watching = watching or Watching()
    for plural, values in shop.items():
        watching.sync(plural, *values)
    return watching


def snapshot_of(watching: Watching, cluster: str = CLUSTER_UID) -> Snapshot:
    """Of all that it knows."""
    return Snapshot("the same", cluster, 1_700_000_000.0, watching.mirror.sections())


FINAL = {qname: synced().find(qname) for qname in PROBES}
