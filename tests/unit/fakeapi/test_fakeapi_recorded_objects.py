"""The recorded lists and watches of a real cluster, played through the fake; and what the fake makes of manifests
that a real cluster was given."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.cluster import ADMIN_HEADERS, FakeCluster
from tests.support.fakeapi.resources import BY_KIND, TYPES, Json
from tests.support.fakeapi.statuses import Response

DATA = Path(__file__).parents[2] / "data" / "kubernetes"
LIST_RV = 1524
END = 1000.0  # of time, for a watch: nothing recorded took so long


@dataclass(frozen=True)
class Event:
    resource: str
    line: bytes
    verb: str
    object: Json
    rv: int


def documents() -> dict[str, bytes]:
    return {name: gzip.decompress((DATA / "recorded" / f"{name}.list.json.gz").read_bytes()) for name in TYPES}


def events(resource: str) -> Iterator[Event]:
    with gzip.open(DATA / "recorded" / f"{resource}.watch.jsonl.gz") as lines:
        for text in lines:
            line = text.partition(b"\t")[2].rstrip(b"\n") + b"\n"
            read = json.loads(line)
            if read["type"] != "BOOKMARK":
                rv = int(read["object"]["metadata"]["resourceVersion"])
                yield Event(resource, line, read["type"], read["object"], rv)


@pytest.fixture(scope="module")
def recorded() -> list[Event]:
    """All writes in the order in which they were made."""
    return sorted((event for name in TYPES for event in events(name)), key=lambda event: event.rv)


def loaded() -> FakeCluster:
    cluster = FakeCluster(has_defaults=False)
    cluster.behaviour.progress_seconds = 1e9
    for document in documents().values():
        cluster.load(document)
    return cluster


def play(cluster: FakeCluster, event: Event, now: float) -> None:
    kind, store = TYPES[event.resource], cluster.store
    if event.verb == "DELETED":
        store.remove(event.resource, kind.key(event.object), now, event.rv)
        return
    value = {name: part for name, part in event.object.items() if name not in ("kind", "apiVersion")}
    store.put(event.resource, kind.key(value), value, now, event.rv)


def get(cluster: FakeCluster, resource: str, now: float = 0.0, **query: str) -> Response:
    response = cluster.handle(ApiRequest("GET", TYPES[resource].path(), query, ADMIN_HEADERS), now)
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize("resource", TYPES)
def test_a_recorded_list_comes_back_to_the_byte(resource: str) -> None:
    assert get(loaded(), resource, limit="500").body == documents()[resource]


@pytest.mark.parametrize("resource", TYPES)
def test_a_recorded_watch_comes_back_to_the_byte(resource: str, recorded: list[Event]) -> None:
    """All writes of scaling, rollouts and deletions, but for what a recorded deletion itself changed."""
    cluster = loaded()
    query = {"watch": "1", "resourceVersion": str(LIST_RV), "timeoutSeconds": "600"}
    watch = get(cluster, resource, **query).watch
    assert watch is not None
    seen = b""
    for event in recorded:
        play(cluster, event, 1.0)
        seen += watch.take(1.0)
    expected = [event.line for event in recorded if event.resource == resource]
    assert [_without_deletion(line) for line in seen.splitlines()] == [_without_deletion(line) for line in expected]


def _without_deletion(line: bytes) -> Json:
    """A deleted Pod's last state differs in what its deletion itself changed (grace period, generation)."""
    event = json.loads(line)
    if event["type"] == "DELETED":
        meta = event["object"]["metadata"]
        event["object"] = {name: meta[name] for name in ("name", "uid", "resourceVersion")}
    return event


@pytest.mark.parametrize("parts", [1, 7, 100])
def test_a_watch_that_is_broken_off_and_resumed_misses_nothing(parts: int, recorded: list[Event]) -> None:
    cluster = loaded()
    cluster.behaviour.window_events = 10_000
    found: list[int] = []
    rv = LIST_RV
    for start in range(0, len(recorded), len(recorded) // parts + 1):
        for event in recorded[start : start + len(recorded) // parts + 1]:
            play(cluster, event, 1.0)
        watch = get(cluster, "endpointslices", 1.0, watch="1", resourceVersion=str(rv)).watch
        assert watch is not None
        found += [int(json.loads(line)["object"]["metadata"]["resourceVersion"]) for line in
                  watch.take(1.0).splitlines()]  # fmt: skip
        watch.close(watch.end)
        rv = found[-1] if found else rv
    assert found == [event.rv for event in recorded if event.resource == "endpointslices"]


def manifests() -> Iterator[Json]:
    wanted = {kind for kind, _ in BY_KIND}
    for document in yaml.safe_load_all((DATA / "shop-manifests.yaml").read_text()):
        if document and document["kind"] in wanted:
            yield document


def _likeness(value: Json) -> Json:
    """An object without what each cluster chooses for itself, and without what was done to it later."""
    meta = dict(value["metadata"])
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        meta.pop(name, None)
    meta["managedFields"] = [{**entry, "time": ""} for entry in meta["managedFields"][:1]]
    spec = {name: part for name, part in value.get("spec", {}).items() if name not in ("clusterIP", "clusterIPs")}
    for port in spec.get("ports", ()):
        port.pop("nodePort", None)
    told = ("metadata", "spec", "status", "kind", "apiVersion")
    rest = {name: part for name, part in value.items() if name not in told}
    return {"metadata": meta, "spec": spec, **rest}


def test_what_is_created_looks_as_the_real_server_made_it_of_the_same_manifest() -> None:
    """Defaults, managedFields, the order of fields: for each Namespace, Service and EndpointSlice of them."""
    found = {name: {TYPES[name].key(value): value for value in json.loads(text)["items"]}
             for name, text in documents().items()}  # fmt: skip
    cluster, compared = FakeCluster(), 0
    cluster.create({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "elsewhere"}}, 0.0)
    for manifest in manifests():
        kind = BY_KIND[manifest["kind"], manifest["apiVersion"]]
        expected = found[kind.plural].get(kind.key({"metadata": {"namespace": "default", **manifest["metadata"]}}))
        if expected is None or kind.plural == "pods" or cluster.store.get(kind.plural, kind.key(expected)):
            continue
        annotations = {**(manifest["metadata"].get("annotations") or {}), **expected["metadata"]["annotations"]}
        manifest["metadata"] |= {"annotations": annotations}
        made = cluster.create(manifest, 1.0)
        assert json.dumps(_likeness(made)) == json.dumps(_likeness(expected)), kind.key(expected)
        compared += 1
    assert compared > 15
