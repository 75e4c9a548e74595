"""What a real Kubernetes 1.36 control plane wrote: a dump, manifests, and a watch that is replayed event by event."""

from __future__ import annotations

import gzip
import json
from array import array
from collections import Counter
from functools import cache

import pytest

from kdns.kube.manifest_set import ManifestSet
from kdns.kube.manifests import Manifest, parse_manifest
from kdns.kube.objects import Change, Key, Object, Service, Tombstone
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.zone.subtree import Port, Subtree
from tests.unit.kube.builders import DATA, Event, Published, packed, recorded_events, recorded_lists, wire

VERIFIED = SchemaOptions(verified_pods=True)


@cache
def dump() -> Manifest:
    return parse_manifest("shop-cluster.json", gzip.decompress((DATA / "shop-cluster.json.gz").read_bytes()))


@cache
def written() -> Manifest:
    return parse_manifest("shop-manifests.yaml", (DATA / "shop-manifests.yaml").read_bytes())


@cache
def events() -> list[Event]:
    return recorded_events()


def published(*manifests: Manifest, options: SchemaOptions = VERIFIED) -> Published:
    found, store = ManifestSet(), ClusterStore(0, options)
    store.load(found.update_all({one.path: one for one in manifests}), 1)
    return Published.image_of(store)


def without(manifest: Manifest, *kinds: str) -> Manifest:
    kept = {key: one for key, one in manifest.objects.items() if key[0] not in kinds}
    return Manifest(manifest.path, kept, array("L", [1] * len(kept)))


# The dump


def test_the_dump_has_all_objects_of_the_cluster() -> None:
    items = json.loads(gzip.decompress((DATA / "shop-cluster.json.gz").read_bytes()))["items"]
    assert Counter(key[0] for key in dump().objects) == Counter(item["kind"] for item in items)
    assert dump().ignored == {}
    assert dump().problems == ()


def test_lines_of_the_dump_are_where_its_items_start() -> None:
    lines = gzip.decompress((DATA / "shop-cluster.json.gz").read_bytes()).decode().splitlines()
    assert {lines[line - 1] for _, line in dump().located()} == {"  {"}
    for one, line in dump().located():
        assert f'"kind": "{one.key[0]}"' in lines[line + 1]


def answers(name: str, namespace: str) -> Subtree:
    return published(dump()).subtrees[wire(name, namespace, "svc")]


def test_services_of_the_dump_answer_as_they_were_meant() -> None:
    assert len(answers("web", "shop").addresses) == 2
    assert {hosts.octets for hosts in answers("web", "shop").hosts} == {4, 16}
    assert [len(address) for address in answers("opensearch", "data").addresses] == [16]
    assert answers("payments", "shop").target == wire("payments", "example", "com") + b"\0"
    assert answers("search", "shop").target == wire("opensearch", "data", "svc", "cluster", "local") + b"\0"
    assert answers("typo", "shop").hosts == answers("admin", "shop").hosts == ()
    assert answers("unnamed", "shop").ports == (Port(b"", b"tcp", 8080),)
    assert {port.protocol for port in answers("sip", "data").ports} == {b"tcp", b"udp", b"sctp"}


def test_never_ready_pods_are_published_where_the_service_wants_it() -> None:
    kafka = answers("kafka", "data")
    assert kafka.headless
    assert [len(hosts.addresses) // hosts.octets for hosts in kafka.hosts] == [3, 3]
    assert all(
        sorted(hosts.labels.split(b"\x07")[1:]) == [b"kafka-0", b"kafka-1", b"kafka-2"] for hosts in kafka.hosts
    )


def test_two_slices_of_120_pods_are_one_set_of_hosts() -> None:
    (hosts,) = answers("workers", "batch").hosts
    assert len(hosts.addresses) == 4 * 120
    assert hosts.labels == b""


def test_a_headless_service_without_ports_has_named_hosts() -> None:
    (hosts,) = answers("subdomain", "batch").hosts
    assert (hosts.ports, hosts.labels) == ((), wire("follow", "lead"))


def test_derived_slices_answer_as_those_of_the_real_controller() -> None:
    real, derived = published(dump()).subtrees, published(without(dump(), "EndpointSlice")).subtrees
    selecting = {
        wire(one.key[2], one.key[1], "svc")
        for one in dump().objects.values()
        if isinstance(one, Service) and one.selector
    }
    assert len(selecting) == 13
    assert {owner: derived[owner] for owner in selecting} == {owner: real[owner] for owner in selecting}


def test_derived_slices_have_the_pod_names_of_the_real_ones() -> None:
    options = SchemaOptions(endpoint_pod_names=True)
    real = published(dump(), options=options).subtrees[wire("workers", "batch", "svc")]
    derived = published(without(dump(), "EndpointSlice"), options=options).subtrees[wire("workers", "batch", "svc")]
    assert derived == real
    assert real.hosts[0].labels.count(b"worker-") == 120


def test_the_problems_of_the_dump_are_the_selectors_that_match_nothing() -> None:
    found = ManifestSet()
    found.update("dump", dump())
    assert [problem.message.split(":")[0] for problem in found.problems()] == [
        "Service data/sip",
        "Service shop/typo",
    ]


# The manifests as people wrote them, before the API server allocated anything


def test_the_written_manifests_have_headless_services_and_the_manual_slice() -> None:
    found = published(written()).subtrees
    assert found[wire("postgres", "data", "svc")] == Subtree(wire("postgres", "data", "svc"), headless=True)
    assert found[wire("mainframe", "data", "svc")].hosts[0].addresses == packed("192.0.2.50", "192.0.2.51")
    assert found[wire("mainframe", "data", "svc")].addresses == ()
    assert found[wire("kube-dns", "kube-system", "svc")].addresses == (packed("10.96.0.10"),)
    assert found[wire("payments", "shop", "svc")].target


def test_the_written_manifests_name_what_kdns_does_not_invent() -> None:
    lines = (DATA / "shop-manifests.yaml").read_text().splitlines()
    for problem in written().problems:
        assert "no clusterIP" in problem.message
        name = problem.message.split(":")[0].partition("/")[2]
        assert lines[problem.line - 1] == "apiVersion: v1"
        assert f"name: {name}," in lines[problem.line + 1]
    assert len(written().problems) == 8
    assert written().ignored == {"Deployment": 6, "StatefulSet": 2}


def test_dump_and_manifests_together_hold_the_same_objects() -> None:
    found = ManifestSet()
    found.update("shop-cluster.json", dump())
    with pytest.raises(ValueError, match=r"shop-manifests\.yaml:1: Namespace data stands here and in shop-cluster"):
        found.update(
            "shop-manifests.yaml",
            Manifest("shop-manifests.yaml", {("Namespace", "", "data"): namespace()}, array("L", [1])),
        )


def namespace() -> Object:
    return written().objects["Namespace", "", "data"]


# The watch


class Replay:
    """The cluster as the API server had it, and what was published on the way."""

    def __init__(self, options: SchemaOptions) -> None:
        self.options = options
        self.store = ClusterStore(0, options)
        self.objects: dict[Key, Change] = {change.key: change for change in recorded_lists()}
        self.store.load(self.objects.values(), 1)
        self.published = Published.image_of(self.store)

    def step(self, event: Event, serial: int) -> bool:
        """Apply one event; whether there was a delta."""
        delta = self.store.apply([event.change], serial)
        self.published.take(delta)
        self.objects.pop(event.change.key, None)
        if not isinstance(event.change, Tombstone):
            self.objects[event.change.key] = event.change
        return delta is not None

    def rebuilt(self) -> Published:
        fresh = ClusterStore(0, self.options)
        fresh.load(self.objects.values(), 1)
        return Published.image_of(fresh)


@pytest.mark.parametrize(
    "options",
    [
        SchemaOptions(),
        SchemaOptions(verified_pods=True, endpoint_pod_names=True),
        SchemaOptions(ignore_empty_service=True, namespaces=frozenset({"shop", "batch"})),
        SchemaOptions(
            namespace_matches=lambda labels: "team" in labels, labels_match=lambda labels: "app" not in labels
        ),
    ],
    ids=["plain", "pods", "namespaces", "labels"],
)
def test_after_each_event_what_was_published_is_what_a_rebuild_says(options: SchemaOptions) -> None:
    replay = Replay(options)
    assert replay.published == replay.rebuilt()
    for serial, event in enumerate(events(), 2):
        changed = replay.step(event, serial)
        assert replay.published == replay.rebuilt(), event
        assert not changed or replay.published == Published.image_of(replay.store), event


def test_the_recorded_operations_show_in_the_answers() -> None:
    replay = Replay(VERIFIED)
    seen: dict[bytes, list[Subtree | None]] = {}
    for serial, event in enumerate(events(), 2):
        before = dict(replay.published.subtrees)
        replay.step(event, serial)
        for owner in before.keys() | replay.published.subtrees.keys():
            if before.get(owner) != replay.published.subtrees.get(owner):
                seen.setdefault(owner, []).append(replay.published.subtrees.get(owner))
    payments = seen[wire("payments", "shop", "svc")]
    assert [bool(one and one.target) for one in payments] == [True, False, False]
    assert [bool(one and one.hosts) for one in payments] == [False, False, True]
    unnamed = seen[wire("unnamed", "shop", "svc")]
    assert any(one is None for one in unnamed)
    assert unnamed[-1] is not None
    workers = [len(one.hosts[0].addresses) // 4 for one in seen[wire("workers", "batch", "svc")] if one]
    assert (max(workers), workers[-1]) == (260, 90)
    postgres = replay.published.subtrees[wire("postgres", "data", "svc")]
    assert len(postgres.hosts[0].addresses) // 4 == 5
    assert b"\x05empty" not in replay.published.namespaces


def test_most_events_change_no_answer() -> None:
    """Heartbeats of Pods, labels, and slices that only count endpoints which are not ready yet."""
    replay = Replay(SchemaOptions())
    by_kind: Counter[tuple[str, bool]] = Counter()
    for serial, event in enumerate(events(), 2):
        by_kind[event.change.key[0], replay.step(event, serial)] += 1
    assert by_kind["Pod", True] == 0
    assert by_kind["EndpointSlice", False] > 0
    web_labelled = [event for event in events() if event.change.key == ("Service", "shop", "web")]
    assert len(web_labelled) == 1
    assert replay.store.apply([web_labelled[0].change], 1 << 20) is None


def test_at_the_end_derived_slices_answer_as_those_of_the_real_controller() -> None:
    replay = Replay(SchemaOptions())
    for serial, event in enumerate(events(), 2):
        replay.step(event, serial)
    objects = {
        key: one
        for key, one in replay.objects.items()
        if key[0] != "EndpointSlice" and not isinstance(one, Tombstone)
    }
    derived = published(Manifest("derived", objects, array("L", [1] * len(objects)))).subtrees
    without_selector = {wire("mainframe", "data", "svc"), wire("kubernetes", "default", "svc")}
    for owner in replay.published.subtrees.keys() - without_selector:
        assert derived[owner] == replay.published.subtrees[owner]
