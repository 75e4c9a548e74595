"""What a real API server answered, through a reflector: it ends with what the objects give when decoded alone."""

from __future__ import annotations

import json

import pytest

from kdns.kube.objects import Change, EndpointSlice, Key
from kdns.kube.request import Resource
from tests.unit.kube.builders import decode
from tests.unit.kube.reflecting import (
    NAMESPACES,
    PODS,
    SERVICES,
    SLICES,
    Driven,
    apply,
    recorded,
    recorded_list,
    recorded_watch,
)

RECORDED = [
    (NAMESPACES, "namespaces"),
    (SERVICES, "services"),
    (SLICES, "endpointslices"),
    (PODS, "pods"),
]


def truth(resource: Resource, name: str) -> dict[Key, Change]:
    """The state at the end of the recorded watch."""
    last = {item["metadata"]["uid"]: item for item in json.loads(recorded_list(name))["items"]}
    for line in recorded_watch(name).splitlines():
        event = json.loads(line)
        if event["type"] == "DELETED":
            del last[event["object"]["metadata"]["uid"]]
        elif event["type"] != "BOOKMARK":
            last[event["object"]["metadata"]["uid"]] = event["object"]
    found: dict[Key, Change] = {}
    apply(found, (decode(resource.kind, item) for item in last.values()))
    return found


def last_version(name: str) -> str:
    return str(json.loads(recorded_watch(name).splitlines()[-1])["object"]["metadata"]["resourceVersion"])


@pytest.mark.parametrize(("resource", "name"), RECORDED)
def test_a_list_and_its_watch_end_with_the_truth(resource: Resource, name: str) -> None:
    driven = Driven(resource, is_paged=True)
    body = recorded_list(name)
    assert driven.answer(body).synced
    assert driven.query["resourceVersion"] == json.loads(body)["metadata"]["resourceVersion"]
    driven.open()
    driven.feed_octets(recorded_watch(name))
    assert driven.objects == truth(resource, name)
    assert driven.reflector.resource_version == last_version(name)
    assert driven.loud() == []


@pytest.mark.parametrize(("resource", "name"), RECORDED)
def test_a_watch_that_breaks_after_every_few_lines_ends_with_the_truth(resource: Resource, name: str) -> None:
    driven = Driven(resource, is_paged=True)
    driven.answer(recorded_list(name))
    recorded_lines = recorded_watch(name).splitlines(keepends=True)
    for start in range(0, len(recorded_lines), 7):
        part = recorded_lines[start : start + 7]
        driven.open()
        driven.feed_octets(b"".join(part) + recorded_lines[0][:100])
        assert driven.reflector.resource_version == json.loads(part[-1])["object"]["metadata"]["resourceVersion"]
        driven.fail()
        assert driven.query["resourceVersion"] == driven.reflector.resource_version
    assert driven.objects == truth(resource, name)
    assert driven.reflector.statistics.lists == 2  # the watch list that was refused, and the list


@pytest.mark.parametrize(("resource", "name"), RECORDED)
def test_a_relist_of_the_same_objects_changes_nothing(resource: Resource, name: str) -> None:
    driven = Driven(resource, is_paged=True)
    body = recorded_list(name)
    first = driven.answer(body)
    driven.open()
    driven.feed_octets(recorded("watch_410").body)
    again = driven.answer(body)
    assert again.synced
    assert again.changes == []
    assert len(first.changes) == len(json.loads(body)["items"])


def test_the_recorded_watch_list_syncs_at_its_end_bookmark() -> None:
    driven = Driven(SLICES)
    found = recorded("watchlist")
    driven.open(found.status, found.headers)
    outcome = driven.feed_octets(found.body)
    assert outcome.synced
    assert driven.reflector.resource_version == "266"
    assert driven.reflector.is_live
    assert {key[2] for key in driven.objects} >= {"kubernetes", "headless-tdg2j"}
    assert all(isinstance(one, EndpointSlice) for one in driven.objects.values())
    driven.now += 60
    driven.end()
    assert driven.query["resourceVersion"] == "266"


def test_the_synthetic_events_of_the_recorded_watch_list_are_not_in_the_order_of_their_versions() -> None:
    versions = [
        int(json.loads(line)["object"]["metadata"]["resourceVersion"])
        for line in recorded("watchlist").body.splitlines()
    ]
    assert versions != sorted(versions)


def test_a_watch_from_a_version_that_is_long_gone_leads_to_a_list() -> None:
    driven = Driven(SLICES)
    driven.sync()
    driven.now += 300
    driven.end()
    found = recorded("watch_410")
    driven.open(found.status, found.headers)
    driven.feed_octets(found.body)
    assert driven.purpose == "watch list"
    assert "too old resource version: 1 (280)" in driven.notices[-1].text


def test_a_watch_from_a_version_that_is_not_there_yet_is_silent_and_found_out() -> None:
    found = recorded("watch_future_rv")
    assert (found.status, found.body) == (200, b"")
    driven = Driven(SLICES)
    driven.sync(version=99999999)
    driven.wake()
    assert driven.purpose == "probe"
    driven.answer(recorded("list_consistent").body)
    assert driven.purpose == "watch list"
    assert "gone back from resource version 99999999 to 263" in driven.loud()[0]


def test_initial_events_without_an_end_bookmark_lead_to_pages() -> None:
    driven = Driven(SLICES)
    driven.open()
    driven.feed_octets(recorded("watch_rv0_plain").body)
    driven.wake()
    assert driven.purpose == "list"
    driven.answer(recorded("list_consistent").body)
    assert driven.reflector.resource_version == "263"
    assert driven.reflector.is_synced


def test_initial_events_that_end_with_their_time_are_no_sync() -> None:
    driven = Driven(SERVICES)
    driven.open()
    driven.feed_octets(recorded("watch_timeout").body)
    assert driven.objects != {}
    driven.now += 4
    driven.end()
    assert not driven.reflector.is_synced
    assert driven.reflector.resource_version == ""
    assert driven.purpose == "watch list"
    assert driven.delay >= 0.8


def test_a_server_without_the_feature_gate_ends_in_sync_by_pages() -> None:
    driven = Driven(SLICES)
    driven.refuse("watchlist_gate_off")
    assert driven.answer(recorded("list_consistent").body).synced
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "263"
    assert len(driven.objects) == len(json.loads(recorded("list_consistent").body)["items"])
