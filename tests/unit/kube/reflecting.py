"""A reflector under test, its clock, and what an API server would write to it."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, NamedTuple

from kdns.kube.decode import ObjectDecoder
from kdns.kube.events import INITIAL_EVENTS_END
from kdns.kube.objects import Change, Key, Tombstone
from kdns.kube.reflector import Reflector, Resume
from kdns.kube.request import Failure, Fault, Notice, Outcome, Resource, Severity
from tests.unit.kube.builders import DATA

SERVICES = Resource("Service", "v1", "services")
SLICES = Resource("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
NAMESPACES = Resource("Namespace", "v1", "namespaces")
PODS = Resource("Pod", "v1", "pods")

START = 1000.0  # monotonic seconds begin anywhere
REFUSED = Failure(Fault.REFUSED, "nothing listens on 10.96.0.1:443: start the API server")
BROKEN = Failure(Fault.BROKEN, "the connection ended in the middle of an answer")

Event = dict[str, Any]


def service_object(name: str, version: int, address: str = "10.96.0.1", uid: str = "") -> dict[str, Any]:
    """A Service as a list has it: without kind."""
    meta = {"name": name, "namespace": "shop", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80}]}}


def added(name: str, version: int, address: str = "10.96.0.1", **more: str) -> Event:
    return {"type": "ADDED", "object": service_object(name, version, address, **more)}


def modified(name: str, version: int, address: str = "10.96.0.1", **more: str) -> Event:
    return {"type": "MODIFIED", "object": service_object(name, version, address, **more)}


def deleted(name: str, version: int) -> Event:
    return {"type": "DELETED", "object": service_object(name, version)}


def bookmark(version: int, annotations: Mapping[str, str] | None = None) -> Event:
    meta = {"resourceVersion": str(version), **({"annotations": dict(annotations)} if annotations else {})}
    return {"type": "BOOKMARK", "object": {"kind": "Service", "metadata": meta, "spec": {}, "status": {}}}


def end_bookmark(version: int) -> Event:
    return bookmark(version, {INITIAL_EVENTS_END: "true"})


def status(code: int, reason: str, message: str, **more: object) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, **more}


def error(code: int, reason: str, message: str = "") -> Event:
    return {"type": "ERROR", "object": status(code, reason, message or reason)}


EXPIRED = error(410, "Expired", "too old resource version: 1 (280)")


def lines(*events: Event | bytes) -> bytes:
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in events)


def page(version: int, *objects: dict[str, Any], token: str = "") -> bytes:
    meta = {"resourceVersion": str(version), **({"continue": token} if token else {})}
    return json.dumps({"kind": "ServiceList", "metadata": meta, "items": list(objects) or None}).encode()


def service_keys(*names: str) -> list[Key]:
    return [("Service", "shop", name) for name in names]


class Answer(NamedTuple):
    """A recorded answer, its chunks put together."""

    status: int
    headers: dict[str, str]
    body: bytes


def recorded(name: str) -> Answer:
    head, _, body = (DATA / "responses" / f"{name}.http").read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *fields = head.decode().split("\n")
    headers = {key.lower(): value for key, _, value in (field.partition(": ") for field in fields)}
    chunked = headers.get("transfer-encoding") == "chunked"
    return Answer(int(first.split()[1]), headers, _unchunked(body) if chunked else body)


def _unchunked(body: bytes) -> bytes:
    found = b""
    while True:
        size, _, rest = body.partition(b"\n")
        octets = int(size, 16)
        if not octets:
            return found
        found, body = found + rest[:octets], rest[octets:].removeprefix(b"\n")


def recorded_list(resource: str) -> bytes:
    return gzip.decompress((DATA / f"recorded/{resource}.list.json.gz").read_bytes())


def recorded_watch(resource: str) -> bytes:
    text = gzip.decompress((DATA / f"recorded/{resource}.watch.jsonl.gz").read_bytes())
    return b"".join(line.partition(b"\t")[2] + b"\n" for line in text.splitlines())


class Driven:
    """A reflector, told of its current request only, unless a test says otherwise; keeps what it told in turn."""

    def __init__(
        self, resource: Resource = SERVICES, resume: Resume | None = None, seed: int = 0, is_paged: bool = False
    ) -> None:
        self.now = START
        self.reflector = Reflector(resource, ObjectDecoder(), Random(seed), START, resume)
        self.objects: dict[Key, Change] = {}
        self.outcomes: list[Outcome] = []
        self.requests = 1
        if is_paged:
            self.refuse("watchlist_gate_off")

    # Inputs

    def open(self, code: int = 200, headers: Mapping[str, str] | None = None) -> Outcome:
        """The request is due, and is answered at once."""
        self.now = max(self.now, self.reflector.request.due)
        return self._note(self.reflector.opened(self.number, code, dict(headers or {}), self.now))

    def feed(self, *events: Event | bytes) -> Outcome:
        return self.feed_octets(lines(*events))

    def feed_octets(self, block: bytes) -> Outcome:
        return self._note(self.reflector.received(self.number, block, self.now))

    def end(self) -> Outcome:
        return self._note(self.reflector.ended(self.number, self.now))

    def fail(self, failure: Failure = BROKEN) -> Outcome:
        return self._note(self.reflector.failed(self.number, failure, self.now))

    def wake(self) -> Outcome:
        """Let the time pass until it has to be woken."""
        assert self.reflector.wake_at < math.inf
        self.now = max(self.now, self.reflector.wake_at)
        return self._note(self.reflector.wake(self.now))

    # Whole answers

    def answer(self, body: bytes, code: int = 200, headers: Mapping[str, str] | None = None) -> Outcome:
        """An answer to its end; all that follows from it."""
        parts = [self.open(code, headers), self.feed_octets(body), self.end()]
        return Outcome(
            [change for part in parts for change in part.changes],
            any(part.synced for part in parts),
            [notice for part in parts for notice in part.notices],
        )

    def refuse(self, name: str) -> Outcome:
        """A recorded refusal."""
        found = recorded(name)
        return self.answer(found.body, found.status, found.headers)

    def sync(self, *events: Event, version: int = 100) -> Outcome:
        """A watch list up to its end bookmark; the stream stays open."""
        self.open()
        return self.feed(*events, end_bookmark(version))

    # What is to be seen

    @property
    def number(self) -> int:
        return self.reflector.request.number

    @property
    def query(self) -> dict[str, str]:
        return dict(self.reflector.request.query)

    @property
    def delay(self) -> float:
        """How long the request has to wait."""
        return self.reflector.request.due - self.now

    @property
    def purpose(self) -> str:
        """What the request is for, told from its query."""
        query = self.query
        if "watch" in query:
            return "watch list" if "sendInitialEvents" in query else "watch"
        return "probe" if query.get("limit") == "1" else "list"

    @property
    def names(self) -> set[str]:
        """Of the objects that there are by all changes told."""
        return {key[2] for key in self.objects}

    @property
    def notices(self) -> list[Notice]:
        return [notice for outcome in self.outcomes for notice in outcome.notices]

    def loud(self) -> list[str]:
        """The texts of all warnings and errors so far."""
        return [notice.text for notice in self.notices if notice.severity is not Severity.INFO]

    def _note(self, outcome: Outcome) -> Outcome:
        self.outcomes.append(outcome)
        apply(self.objects, outcome.changes)
        return outcome


def apply(objects: dict[Key, Change], changes: Iterable[Change]) -> None:
    """As a store would."""
    for change in changes:
        if isinstance(change, Tombstone):
            objects.pop(change.key, None)
        else:
            objects[change.key] = change


def synced(*names: str) -> Driven:
    """In sync with Services of these names, and watching."""
    driven = Driven()
    driven.sync(*(added(name, version) for version, name in enumerate(names, 10)))
    return driven


def rewatching() -> Driven:
    """In sync, and about to open the next watch."""
    driven = synced("web")
    driven.now += 300
    driven.end()
    return driven


def prove(driven: Driven) -> None:
    """The request is answered by a watch that stands."""
    driven.open()
    driven.wake()
