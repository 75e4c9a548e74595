"""Watches of the pure cluster: order, bookmarks, timeouts, windows, selections, watch lists, replicas, odd lines."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakeapi.apiserver import ApiRequest, Behaviour
from tests.support.fakeapi.builders import endpoint_slice, namespace, pod, pod_status, port, service
from tests.support.fakeapi.cache import BUFFERED_EVENTS_MAX, End
from tests.support.fakeapi.cluster import ADMIN_HEADERS, FakeCluster
from tests.support.fakeapi.faults import TWISTS, Cut, Twist
from tests.support.fakeapi.lists import Wait
from tests.support.fakeapi.resources import SERVICES
from tests.unit.fakeapi.asking import ask, listed, take, told, watch

BOOKMARKS = {"allowWatchBookmarks": "true"}
WATCH_LIST = {**BOOKMARKS, "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


@pytest.fixture
def cluster() -> FakeCluster:
    """With a namespace, and nothing else beyond what each cluster has."""
    made = FakeCluster()
    made.create(namespace("shop"), 0.0)
    return made


def put(cluster: FakeCluster, name: str, now: float = 1.0, **labels: str) -> None:
    cluster.apply(service("shop", name, [port(80)], labels), now)


def since(cluster: FakeCluster) -> dict[str, str]:
    return {"resourceVersion": str(cluster.rv)}


def test_events_come_in_the_order_of_their_versions(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster))
    put(cluster, "web")
    put(cluster, "api")
    put(cluster, "web", tier="front")
    cluster.delete("services", "shop", "api", 2.0)
    lines = take(cluster, watched, 2.0)
    assert told(lines) == ["ADDED web", "ADDED api", "MODIFIED web", "DELETED api"]
    versions = [int(line["object"]["metadata"]["resourceVersion"]) for line in lines]
    assert versions == sorted(set(versions))
    assert versions[-1] == cluster.rv


def test_events_of_other_resources_are_not_told(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster))
    cluster.apply(endpoint_slice("shop", "web-1", "web", ["10.0.0.1"]), 1.0)
    assert take(cluster, watched, 1.0) == []


def test_one_namespace_is_watched_without_the_others(cluster: FakeCluster) -> None:
    cluster.create(namespace("shop-2"), 0.0)
    request = ApiRequest("GET", SERVICES.path("shop"), {"watch": "1", **since(cluster)}, ADMIN_HEADERS)
    response = cluster.handle(request, 1.0)
    assert not isinstance(response, Wait)
    assert response.watch is not None
    cluster.apply(service("shop-2", "web", [port(80)]), 1.0)
    put(cluster, "api")
    assert told(take(cluster, response.watch, 1.0)) == ["ADDED api"]


def test_initial_events_come_in_the_order_of_keys_and_not_of_versions(cluster: FakeCluster) -> None:
    for name in ("web", "api", "db"):
        put(cluster, name)
    lines = take(cluster, watch(cluster, "services"), 1.0)
    assert told(lines) == ["ADDED kubernetes", "ADDED api", "ADDED db", "ADDED web"]
    versions = [int(line["object"]["metadata"]["resourceVersion"]) for line in lines]
    assert versions != sorted(versions)


def test_a_watch_that_is_resumed_begins_after_its_version(cluster: FakeCluster) -> None:
    put(cluster, "web")
    rv = since(cluster)
    put(cluster, "api")
    assert told(take(cluster, watch(cluster, "services", **rv), 2.0)) == ["ADDED api"]


def test_bookmarks_come_each_minute_and_two_seconds_before_the_end(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster), **BOOKMARKS, timeoutSeconds="70")
    put(cluster, "web")
    assert [told(take(cluster, watched, now)) for now in (1.0, 59.9, 60.0, 67.9, 68.0, 69.9)] == [
        ["ADDED web"], [], ["BOOKMARK"], [], ["BOOKMARK"], []
    ]  # fmt: skip
    assert watched.next_due == 70.0
    assert take(cluster, watched, 70.0) == []
    assert watched.is_over
    assert watched.end is End.CLEAN


def test_bookmarks_are_for_who_asks(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster), timeoutSeconds="600")
    put(cluster, "web")
    assert told(take(cluster, watched, 599.0)) == ["ADDED web"]


def test_a_quiet_resource_has_bookmarks_only_as_far_as_etcd_tells_of_progress() -> None:
    bookmarks = []
    for seconds in (5.0, math.inf):
        cluster = FakeCluster(behaviour=Behaviour(progress_seconds=seconds))
        watched = watch(cluster, "services", **since(cluster), **BOOKMARKS)
        lines = [line for now in range(0, 300, 5) for line in take(cluster, watched, float(now))]
        bookmarks.append([int(line["object"]["metadata"]["resourceVersion"]) for line in lines])
    assert bookmarks[1] == []
    assert len(bookmarks[0]) == 4
    assert bookmarks[0] == sorted(set(bookmarks[0]))


def test_without_a_timeout_a_watch_ends_within_an_hour(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster))
    assert 1800.0 <= watched.next_due <= 3600.0


def test_a_window_that_is_full_forgets_and_whoever_is_older_has_expired(cluster: FakeCluster) -> None:
    rv = since(cluster)
    for number in range(1001):
        put(cluster, "web", n=str(number))
    lines = take(cluster, watch(cluster, "services", **rv), 1.0)
    assert told(lines) == ["ERROR 410"]
    later = {"resourceVersion": str(cluster.rv - 1000)}
    assert len(take(cluster, watch(cluster, "services", **later), 1.0)) == 1000


def test_a_resource_expires_alone(cluster: FakeCluster) -> None:
    rv = since(cluster)
    put(cluster, "web")
    cluster.expire("services")
    assert told(take(cluster, watch(cluster, "services", **rv), 1.0)) == ["ERROR 410"]
    assert take(cluster, watch(cluster, "pods", **rv), 1.0) == []


@pytest.mark.parametrize("end", [End.BROKEN, End.CLEAN])
def test_after_a_restart_even_what_is_quiet_has_expired(cluster: FakeCluster, end: End) -> None:
    rv = since(cluster)
    watched = watch(cluster, "pods", **rv)
    put(cluster, "web")
    cluster.restart(end=end)
    assert watched.end is end
    assert watched.is_over
    assert told(take(cluster, watch(cluster, "pods", **rv), 1.0)) == ["ERROR 410"]
    assert cluster.watches() == []


def test_a_rollback_goes_back_in_versions_and_objects_and_who_was_ahead_hears_nothing(cluster: FakeCluster) -> None:
    backup = cluster.rv
    put(cluster, "web")
    cluster.store.tick(1000)
    ahead = since(cluster)
    cluster.rollback(backup)
    assert cluster.rv == backup
    assert [item["metadata"]["name"] for item in cluster.objects("services")] == ["kubernetes"]
    watched = watch(cluster, "services", 1.0, **ahead, **BOOKMARKS, timeoutSeconds="300")
    put(cluster, "api", 2.0)
    assert take(cluster, watched, 100.0) == []


def test_who_takes_too_little_is_closed_without_an_error(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster))
    for number in range(BUFFERED_EVENTS_MAX + 1):
        put(cluster, "web", n=str(number))
    assert watched.end is End.CLEAN
    assert not watched.is_over
    assert len(take(cluster, watched, 1.0)) == BUFFERED_EVENTS_MAX
    assert watched.is_over


def test_events_from_before_a_watch_are_not_held_against_it(cluster: FakeCluster) -> None:
    rv = since(cluster)
    for number in range(BUFFERED_EVENTS_MAX * 3):
        put(cluster, "web", n=str(number))
    watched = watch(cluster, "services", **rv)
    put(cluster, "web", n="last")
    assert len(take(cluster, watched, 1.0)) == BUFFERED_EVENTS_MAX * 3 + 1
    assert watched.end is End.OPEN


@given(st.integers(1, 5000))
def test_taking_in_parts_gives_the_same_as_taking_all_at_once(octets: int) -> None:
    cluster = FakeCluster()
    cluster.create(namespace("shop"), 0.0)
    whole, parted = (watch(cluster, "services", **WATCH_LIST) for _ in range(2))
    for number in range(20):
        put(cluster, f"web-{number % 7}", n=str(number))
    parts = b""
    while parted.next_due == -math.inf:
        parts += parted.take(1.0, octets)
    assert parts == whole.take(1.0)


def test_what_enters_a_selection_is_added_and_what_leaves_it_is_deleted(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", **since(cluster), labelSelector="tier=front")
    put(cluster, "web", tier="back")
    put(cluster, "web", tier="front")
    put(cluster, "web", tier="front", more="so")
    put(cluster, "web", tier="back", more="so")
    left = cluster.rv
    put(cluster, "web", tier="back")
    lines = take(cluster, watched, 1.0)
    assert told(lines) == ["ADDED web", "MODIFIED web", "DELETED web"]
    assert lines[2]["object"]["metadata"]["labels"] == {"tier": "front", "more": "so"}
    assert int(lines[2]["object"]["metadata"]["resourceVersion"]) == left


def test_pods_that_end_leave_a_field_selection(cluster: FakeCluster) -> None:
    watched = watch(cluster, "pods", **since(cluster), fieldSelector="status.phase!=Succeeded,status.phase!=Failed")
    cluster.create(pod("shop", "job"), 1.0)
    for phase in ("Running", "Succeeded", "Failed"):
        cluster.patch_status("pods", "shop", "job", pod_status("10.0.0.1", phase=phase), 1.0)
    assert told(take(cluster, watched, 1.0)) == ["ADDED job", "MODIFIED job", "DELETED job"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("served", ["ADDED kubernetes", "BOOKMARK"]),
        ("ignored", ["ADDED kubernetes"]),
        ("endless", ["ADDED kubernetes"]),
        ("error", ["ERROR 500"]),
    ],
)
def test_a_watch_list_is_as_the_server_has_it(mode: str, expected: list[str]) -> None:
    cluster = FakeCluster(behaviour=Behaviour(watch_list=mode))
    watched = watch(cluster, "services", **WATCH_LIST, timeoutSeconds="50")
    assert told(take(cluster, watched, 30.0)) == expected
    assert watched.is_over == (mode == "error")


def test_a_refused_watch_list_is_422() -> None:
    cluster = FakeCluster(behaviour=Behaviour(watch_list="refused"))
    assert ask(cluster, "services", watch="1", **WATCH_LIST).status == 422


def test_a_watch_list_from_the_future_is_an_error_event_after_three_seconds(cluster: FakeCluster) -> None:
    query = {"watch": "1", **WATCH_LIST, "resourceVersion": "999999"}
    request = ApiRequest("GET", SERVICES.path(), query, ADMIN_HEADERS)
    assert cluster.handle(request, 1.0) == Wait(4.0)
    response = cluster.handle(request, 4.0, 1.0)
    assert not isinstance(response, Wait)
    assert response.watch is not None
    assert told(take(cluster, response.watch, 4.0)) == ["ERROR 504"]


def test_watching_without_initial_events_is_possible(cluster: FakeCluster) -> None:
    watched = watch(cluster, "services", sendInitialEvents="false", resourceVersionMatch="NotOlderThan")
    put(cluster, "web")
    assert told(take(cluster, watched, 1.0)) == ["ADDED web"]


def test_a_replica_that_lags_is_silent_for_who_is_ahead_until_it_has_caught_up(cluster: FakeCluster) -> None:
    cluster.add_server(Behaviour(lag_seconds=10.0))
    put(cluster, "web", 100.0)
    ahead = since(cluster)
    watched = watch(cluster, "services", 101.0, 1, **ahead)
    put(cluster, "api", 102.0)
    assert take(cluster, watched, 111.9) == []
    assert cluster.next_due == 112.0
    assert told(take(cluster, watched, 112.0)) == ["ADDED api"]


def test_a_replica_that_lags_lists_the_past_from_its_cache_only(cluster: FakeCluster) -> None:
    cluster.add_server(Behaviour(lag_seconds=10.0))
    put(cluster, "web", 100.0)

    def names(**query: str) -> list[str]:
        response = ask(cluster, "services", 101.0, "", 1, **query)
        return [item["metadata"]["name"] for item in json.loads(response.body)["items"]]

    assert names(resourceVersion="0") == ["kubernetes"]
    assert names() == ["kubernetes", "web"]


def test_a_watch_list_of_a_replica_that_lags_waits_until_it_is_current(cluster: FakeCluster) -> None:
    cluster.add_server(Behaviour(lag_seconds=2.0))
    put(cluster, "web", 100.0)
    request = ApiRequest("GET", SERVICES.path(), {"watch": "1", **WATCH_LIST}, ADMIN_HEADERS)
    assert isinstance(cluster.handle(request, 101.0, replica=1), Wait)
    response = cluster.handle(request, 102.0, 101.0, 1)
    assert not isinstance(response, Wait)
    assert response.watch is not None
    assert told(take(cluster, response.watch, 102.0)) == ["ADDED kubernetes", "ADDED web", "BOOKMARK"]


@pytest.mark.parametrize("name", TWISTS)
def test_odd_lines_hold_the_event_that_they_are_made_of(cluster: FakeCluster, name: str) -> None:
    cluster.faults.add(Twist(name), "services", "watch")
    watched = watch(cluster, "services", **since(cluster))
    put(cluster, "web")
    text = watched.take(1.0)
    assert text.endswith(b"}\n")
    event = json.loads(text.splitlines()[-1])
    assert event["object"]["metadata"]["name"] == "web"
    assert event["type"] == ("MODIFIED" if name == "swapped" else "ADDED")
    plain = watch(cluster, "services", resourceVersion=str(cluster.rv - 1)).take(1.0)
    assert text != plain


def test_a_watch_whose_answer_never_comes_is_not_left_open(cluster: FakeCluster) -> None:
    cluster.faults.add(Cut("reset"), "services", "watch")
    watch(cluster, "services", **since(cluster))
    assert cluster.watches() == []


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_a_list_and_its_watch_together_are_the_present(rng: random.Random, writes: int) -> None:
    """Whatever is written, and wherever between the list begins: what all reflectors rely on."""
    cluster = FakeCluster()
    cluster.create(namespace("shop"), 0.0)
    start = rng.randrange(writes)
    known: dict[str, str] = {}
    watched = None
    for number in range(writes):
        if number == start:
            body = listed(cluster, "services")
            known = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in body["items"]}
            watched = watch(cluster, "services", resourceVersion=body["metadata"]["resourceVersion"])
        name = f"web-{rng.randrange(4)}"
        if rng.random() < 0.3 and cluster.store.get("services", f"shop/{name}"):
            cluster.delete("services", "shop", name, 1.0)
        else:
            put(cluster, name, n=str(number))
    assert watched is not None
    for line in take(cluster, watched, 1.0):
        meta = line["object"]["metadata"]
        known.pop(meta["name"], None)
        if line["type"] != "DELETED":
            known[meta["name"]] = meta["resourceVersion"]
    assert known == {
        value["metadata"]["name"]: value["metadata"]["resourceVersion"] for value in cluster.objects("services")
    }
