"""What becomes of objects that are written: metadata, defaults, versions, conflicts, deletions; and the store."""

from __future__ import annotations

import pickle
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakeapi.builders import (
    endpoint_slice,
    external,
    headless,
    namespace,
    pod,
    pod_status,
    port,
    service,
)
from tests.support.fakeapi.churn import Churn
from tests.support.fakeapi.cluster import EPOCH, FakeCluster
from tests.support.fakeapi.journal import Journal
from tests.support.fakeapi.resources import TYPES, Json
from tests.support.fakeapi.statuses import StatusError
from tests.support.fakeapi.store import Revision, Store
from tests.support.fakeapi.writes import merge


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.create(namespace("shop"), 0.0)
    return made


def refusal(error: pytest.ExceptionInfo[StatusError]) -> tuple[int, str]:
    return error.value.code, error.value.message


def test_each_write_raises_the_one_version_of_all(cluster: FakeCluster) -> None:
    before = cluster.rv
    web = cluster.create(service("shop", "web", [port(80)]), 1.0)
    rows = cluster.create(endpoint_slice("shop", "web-1", "web"), 1.0)
    assert [each["metadata"]["resourceVersion"] for each in (web, rows)] == [str(before + 1), str(before + 2)]
    assert cluster.rv == before + 2


def test_metadata_is_what_a_server_gives(cluster: FakeCluster) -> None:
    meta = cluster.create(endpoint_slice("shop", "web-1", "web", ["10.0.0.1"]), 61.0)["metadata"]
    assert list(meta) == [
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "labels", "managedFields"
    ]  # fmt: skip
    assert (meta["generation"], meta["creationTimestamp"]) == (1, cluster.time(61.0))
    assert cluster.time(61.0) == "2026-11-23T08:01:01Z"
    assert cluster.epoch == EPOCH


def test_two_clusters_of_one_seed_are_equal_and_of_another_are_not() -> None:
    def made(seed: int) -> list[list[Json]]:
        one = FakeCluster(random.Random(seed))
        Churn(one, random.Random(1)).fill(100, 1.0)
        return [one.objects(plural) for plural in TYPES]

    assert made(1) == made(1) != made(2)


def test_a_replacement_keeps_what_the_server_gave_and_counts_generations(cluster: FakeCluster) -> None:
    first = cluster.create(endpoint_slice("shop", "web-1", "web", ["10.0.0.1"]), 1.0)
    touched = cluster.apply(endpoint_slice("shop", "web-1", "web", ["10.0.0.1"], labels={"a": "b"}), 2.0)
    changed = cluster.apply(endpoint_slice("shop", "web-1", "web", ["10.0.0.2"]), 3.0)
    assert [each["metadata"]["generation"] for each in (first, touched, changed)] == [1, 1, 2]
    assert {each["metadata"]["uid"] for each in (first, touched, changed)} == {first["metadata"]["uid"]}
    assert changed["metadata"]["creationTimestamp"] == first["metadata"]["creationTimestamp"]


def test_a_name_may_be_generated(cluster: FakeCluster) -> None:
    value = endpoint_slice("shop", "", "web")
    value["metadata"] |= {"name": "", "generateName": "web-"}
    first, second = cluster.create(value, 1.0), cluster.create(value, 1.0)
    assert first["metadata"]["name"].startswith("web-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_a_write_that_changes_nothing_is_none(cluster: FakeCluster) -> None:
    first = cluster.apply(service("shop", "web", [port(80)]), 1.0)
    again = cluster.apply(service("shop", "web", [port(80)]), 2.0)
    assert again == first
    cluster.patch("services", "shop", "web", {"spec": {"type": "ClusterIP"}}, 3.0)
    assert cluster.rv == int(first["metadata"]["resourceVersion"])


def test_services_get_addresses_by_their_families(cluster: FakeCluster) -> None:
    specs = [
        cluster.create(value, 1.0)["spec"]
        for value in (
            service("shop", "a", [port(80)]),
            service("shop", "b", [port(80)], ipFamilyPolicy="RequireDualStack"),
            service("shop", "c", [port(80)], ipFamilies=["IPv6"]),
            service("shop", "d", [port(80)], clusterIP="10.96.0.77"),
            headless("shop", "e"),
            external("shop", "f", "db.example.com"),
        )
    ]
    assert [len(spec.get("clusterIPs", ())) for spec in specs] == [1, 2, 1, 1, 1, 0]
    assert [":" in address for address in specs[1]["clusterIPs"]] == [False, True]
    assert ":" in specs[2]["clusterIP"]
    assert specs[3]["clusterIPs"] == ["10.96.0.77"]
    assert specs[4]["clusterIP"] == "None"
    addresses = [address for spec in specs[:4] for address in spec["clusterIPs"]]
    assert len(set(addresses)) == len(addresses)


def test_a_service_keeps_its_address_until_it_has_none(cluster: FakeCluster) -> None:
    first = cluster.create(service("shop", "web", [port(80)]), 1.0)
    second = cluster.apply(service("shop", "web", [port(81)]), 2.0)
    assert second["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    assert "clusterIP" not in cluster.apply(external("shop", "web", "db.example.com"), 3.0)["spec"]
    assert cluster.apply(service("shop", "web", [port(81)]), 4.0)["spec"]["clusterIP"]


def test_ports_for_outside_are_given_out(cluster: FakeCluster) -> None:
    made = cluster.create(service("shop", "web", [port(80), port(443)], type="LoadBalancer"), 1.0)["spec"]
    assert len({each["nodePort"] for each in made["ports"]}) == 2
    assert made["allocateLoadBalancerNodePorts"] is True


def test_status_is_written_apart(cluster: FakeCluster) -> None:
    cluster.create(pod("shop", "p"), 1.0)
    running = cluster.patch_status("pods", "shop", "p", pod_status("10.0.0.9"), 2.0)
    assert (running["status"]["phase"], running["metadata"]["generation"]) == ("Running", 1)
    assert [entry.get("subresource") for entry in running["metadata"]["managedFields"]] == [None, "status"]
    meta = {**running["metadata"], "labels": {"a": "b"}}
    kept = cluster.replace({**running, "status": {}, "metadata": meta}, 3.0)
    assert kept["status"] == running["status"]


def test_what_cannot_be_written_is_refused_in_the_servers_words(cluster: FakeCluster) -> None:
    web = cluster.create(service("shop", "web", [port(80)]), 1.0)
    with pytest.raises(StatusError) as twice:
        cluster.create(service("shop", "web", [port(80)]), 1.0)
    with pytest.raises(StatusError) as nowhere:
        cluster.create(service("nowhere", "web", [port(80)]), 1.0)
    with pytest.raises(StatusError) as unknown:
        cluster.replace(service("shop", "api", [port(80)]), 1.0)
    cluster.apply(service("shop", "web", [port(81)]), 1.0)
    with pytest.raises(StatusError) as late:
        cluster.replace(web, 1.0)
    with pytest.raises(StatusError) as gone:
        cluster.delete("endpointslices", "shop", "web-1", 1.0)
    assert refusal(twice) == (409, 'services "web" already exists')
    assert refusal(nowhere) == (404, 'namespaces "nowhere" not found')
    assert refusal(unknown) == (404, 'services "api" not found')
    assert refusal(late)[1].startswith('Operation cannot be fulfilled on services "web": the object has been')
    assert refusal(gone) == (404, 'endpointslices.discovery.k8s.io "web-1" not found')


def test_a_namespace_ends_in_steps_and_takes_all_with_it(cluster: FakeCluster) -> None:
    cluster.create(namespace("shop-2"), 0.0)
    for where in ("shop", "shop-2"):
        cluster.create(service(where, "web", [port(80)]), 1.0)
        cluster.create(endpoint_slice(where, "web-1", "web"), 1.0)
    seen: list[Revision] = []
    cluster.store.listeners.append(seen.append)
    cluster.delete("namespaces", "", "shop", 2.0)
    assert [(each.resource, each.new is None) for each in seen] == [
        ("namespaces", False), ("services", True), ("endpointslices", True), ("namespaces", False),
        ("namespaces", True),
    ]  # fmt: skip
    assert seen[0].new is not None
    assert seen[0].new.value["status"] == {"phase": "Terminating"}
    assert [each["metadata"]["namespace"] for each in cluster.objects("services")] == ["default", "shop-2"]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"a": 2}, {"a": 2, "b": {"c": 1, "d": [1]}}),
        ({"a": None}, {"b": {"c": 1, "d": [1]}}),
        ({"b": {"c": None, "d": [2]}}, {"a": 1, "b": {"d": [2]}}),
        ({"b": 3}, {"a": 1, "b": 3}),
        ({"e": {"f": None, "g": 1}}, {"a": 1, "b": {"c": 1, "d": [1]}, "e": {"g": 1}}),
    ],
)
def test_a_merge_patch_merges(patch: Json, expected: Json) -> None:
    before = {"a": 1, "b": {"c": 1, "d": [1]}}
    assert merge(before, patch) == expected
    assert before == {"a": 1, "b": {"c": 1, "d": [1]}}


def _item(name: str, n: int) -> Json:
    return {"metadata": {"name": name, "uid": "u"}, "n": n}


Step = tuple[str, int]  # a key, and what becomes of it; 0 is deletion
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40)


def apply(store: Store, step: Step) -> None:
    key, n = step
    if n:
        store.put("namespaces", key, _item(key, n), 0.0)
    elif store.get("namespaces", key):
        store.remove("namespaces", key, 0.0)


def state(objects: dict[str, object] | object) -> dict[str, tuple[int, int]]:
    assert isinstance(objects, dict)
    return {key: (item.rv, item.value["n"]) for key, item in objects.items()}


@given(STEPS)
def test_the_past_is_what_it_was_until_it_is_compacted(steps: list[Step]) -> None:
    store = Store()
    past = {store.rv: state(dict(store.objects("namespaces")))}
    for step in steps:
        apply(store, step)
        past[store.rv] = state(dict(store.objects("namespaces")))
    assert {rv: state(store.at("namespaces", rv)) for rv in past} == past
    middle = sorted(past)[len(past) // 2]
    store.compact(middle)
    for rv in past:
        if rv < middle:
            with pytest.raises(LookupError):
                store.at("namespaces", rv)
        else:
            assert state(store.at("namespaces", rv)) == past[rv]


@given(STEPS, STEPS, STEPS)
def test_a_rollback_is_as_if_nothing_had_come_after(
    before: list[Step], undone: list[Step], after: list[Step]
) -> None:
    rolled_back, straight = Store(), Store()
    for step in before:
        apply(rolled_back, step)
        apply(straight, step)
    backup = rolled_back.rv
    for step in undone:
        apply(rolled_back, step)
    rolled_back.rollback(backup)
    for step in after:
        apply(rolled_back, step)
        apply(straight, step)
    assert rolled_back.rv == straight.rv
    assert state(rolled_back.objects("namespaces")) == state(straight.objects("namespaces"))
    assert state(rolled_back.at("namespaces", backup)) == state(straight.at("namespaces", backup))


def test_a_version_may_be_given_if_it_lies_ahead() -> None:
    store = Store(rv=10)
    assert store.put("namespaces", "a", _item("a", 1), 0.0, 20).rv == 20
    with pytest.raises(ValueError, match="does not lie ahead"):
        store.put("namespaces", "b", _item("b", 1), 0.0, 20)


def _contents(store: Store) -> dict[str, int]:
    return {key: n for key, (_, n) in state(store.objects("namespaces")).items()}


@given(STEPS, STEPS)
def test_a_journal_gives_back_what_was_written(first: list[Step], second: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path, expected = Path(place) / "journal", Store()
        for steps in (first, second):
            store = Store()
            journal = Journal(store, path)
            assert _contents(store) == _contents(expected)
            for step in steps:
                for one in (store, expected):
                    apply(one, step)
                    one.tick()
            journal.close()
        with path.open("ab") as file:
            file.write(pickle.dumps(("namespaces", "a", _item("half a write", 1), 1))[:-5])
        last = Store()
        Journal(last, path).close()
        assert _contents(last) == _contents(expected)
        assert last.rv == expected.rv
