"""What the fake does is what a real API server does: the protocol of lists and watches, asked of both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.support.fakeapi.api import Api, names
from tests.support.fakeapi.builders import (
    endpoint,
    endpoint_slice,
    external,
    headless,
    pod,
    pod_status,
    port,
    service,
)
from tests.support.fakeapi.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Json

WATCH_LIST = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}
END_NOTE = "k8s.io/initial-events-end"


def verbs(events: Iterator[Json], count: int) -> list[str]:
    return [event["type"] for event in islice(events, count)]


def current(api: Api, path: str) -> str:
    return str(api.request("GET", path).json["metadata"]["resourceVersion"])


def test_a_list_tells_a_version_and_its_items_have_no_kind_and_come_in_order(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(service(shop, "web", [port(80)]), service(shop, "api", [port(80)]))
    body = api.request("GET", SERVICES.path(shop)).json
    assert body["kind"] == "ServiceList"
    assert int(body["metadata"]["resourceVersion"]) >= int(body["items"][-1]["metadata"]["resourceVersion"])
    assert names(body["items"]) == ["api", "web"]
    assert not any({"kind", "apiVersion"} & set(item) for item in body["items"])


def test_a_list_of_nothing_is_an_empty_list(api: Api) -> None:
    assert api.request("GET", PODS.path(api.namespace("shop"))).json["items"] == []


def test_pages_continue_at_the_version_of_the_first(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(*(service(shop, f"web-{i}", [port(80)]) for i in range(5)))
    first = api.request("GET", SERVICES.path(shop), {"limit": "2"}).json
    api.delete("services", shop, "web-3")
    rest = api.request("GET", SERVICES.path(shop), {"limit": "9", "continue": first["metadata"]["continue"]}).json
    assert first["metadata"]["remainingItemCount"] == 3
    assert names(first["items"] + rest["items"]) == [f"web-{i}" for i in range(5)]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in rest["metadata"]


def test_a_watch_list_ends_with_a_marked_bookmark_and_goes_on(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(service(shop, "web", [port(80)]), service(shop, "api", [port(80)]))
    with api.watch(SERVICES.path(shop), **WATCH_LIST) as events:
        first, second, end = islice(events, 3)
        api.delete("services", shop, "api")
        after = next(events)
    assert [first["object"]["metadata"]["name"], second["object"]["metadata"]["name"]] == ["api", "web"]
    assert end["type"] == "BOOKMARK"
    assert end["object"]["metadata"]["annotations"] == {END_NOTE: "true"}
    assert int(end["object"]["metadata"]["resourceVersion"]) >= int(second["object"]["metadata"]["resourceVersion"])
    assert after["type"] == "DELETED"


def test_a_bookmark_of_slices_has_nulls(api: Api) -> None:
    with api.watch(ENDPOINT_SLICES.path(api.namespace("shop")), **WATCH_LIST) as events:
        end = next(events)["object"]
    end["metadata"].pop("resourceVersion")
    assert end == {
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": {"annotations": {END_NOTE: "true"}},
        "addressType": "", "endpoints": None, "ports": None,
    }  # fmt: skip


def test_a_watch_goes_on_from_a_version_and_a_deletion_has_a_version_of_its_own(api: Api) -> None:
    shop = api.namespace("shop")
    rv = current(api, SERVICES.path(shop))
    api.apply(service(shop, "web", [port(80)]))
    api.patch("services", shop, "web", {"metadata": {"labels": {"tier": "front"}}})
    api.delete("services", shop, "web")
    with api.watch(SERVICES.path(shop), resourceVersion=rv) as events:
        seen = list(islice(events, 3))
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert int(rv) < versions[0] < versions[1] < versions[2]
    assert seen[2]["object"]["metadata"]["labels"] == {"tier": "front"}


def test_what_leaves_a_selection_is_deleted_in_its_old_state(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(service(shop, "web", [port(80)], {"tier": "front"}))
    rv = current(api, SERVICES.path(shop))
    with api.watch(SERVICES.path(shop), resourceVersion=rv, labelSelector="tier=front") as events:
        changed = api.patch("services", shop, "web", {"metadata": {"labels": {"tier": "back"}}})
        event = next(events)
    assert event["type"] == "DELETED"
    assert event["object"]["metadata"]["labels"] == {"tier": "front"}
    assert event["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


def test_a_write_that_changes_nothing_is_no_event(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(service(shop, "web", [port(80)], {"tier": "front"}))
    rv = current(api, SERVICES.path(shop))
    api.patch("services", shop, "web", {"metadata": {"labels": {"tier": "front"}}})
    api.patch("services", shop, "web", {"metadata": {"labels": {"tier": "back"}}})
    with api.watch(SERVICES.path(shop), resourceVersion=rv) as events:
        assert next(events)["object"]["metadata"]["labels"] == {"tier": "back"}


def test_pods_that_end_leave_a_watch_for_those_that_run(api: Api) -> None:
    shop = api.namespace("shop")
    api.create(pod(shop, "job"))
    rv = current(api, PODS.path(shop))
    with api.watch(PODS.path(shop), resourceVersion=rv, fieldSelector="status.phase!=Succeeded") as events:
        api.set_pod_status(shop, "job", pod_status("10.0.0.9"))
        api.set_pod_status(shop, "job", pod_status("10.0.0.9", phase="Succeeded"))
        running, gone = islice(events, 2)
    assert (running["type"], running["object"]["status"]["podIP"]) == ("MODIFIED", "10.0.0.9")
    assert (gone["type"], gone["object"]["status"]["phase"]) == ("DELETED", "Running")


def test_a_deleted_namespace_takes_its_services_with_it(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(service(shop, "web", [port(80)]))
    rv = current(api, SERVICES.path(shop))
    selected = f"metadata.name={shop}"
    with (
        api.watch(SERVICES.path(shop), resourceVersion=rv) as services,
        api.watch(NAMESPACES.path(), resourceVersion=rv, fieldSelector=selected) as namespaces,
    ):
        api.delete("namespaces", "", shop)
        assert verbs(services, 1) == ["DELETED"]
        seen = []
        for event in namespaces:
            seen.append(event["type"])
            if event["type"] == "DELETED":
                break
    assert seen[0] == "MODIFIED"
    assert event["object"]["metadata"]["deletionTimestamp"]


def test_a_slice_without_endpoints_has_null_and_conditions_may_be_missing(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(
        endpoint_slice(shop, "none", "web"),
        endpoint_slice(
            shop, "some", "web", [endpoint("10.0.0.1", None), endpoint("10.0.0.2", False)], [port(80, "http")]
        ),
    )
    none, some = api.objects("endpointslices", shop)
    assert (none["endpoints"], none["ports"]) == (None, None)
    assert [each["conditions"] for each in some["endpoints"]] == [{}, {"ready": False}]
    assert some["ports"] == [{"name": "http", "protocol": "TCP", "port": 80}]


def test_services_get_addresses_unless_they_are_headless_or_external(api: Api) -> None:
    shop = api.namespace("shop")
    api.apply(service(shop, "a", [port(80)]), headless(shop, "b"), external(shop, "c", "db.example.com"))
    with_address, without, outside = (each["spec"] for each in api.objects("services", shop))
    assert with_address["clusterIPs"][0] == with_address["clusterIP"] != "None"
    assert (without["clusterIP"], without["clusterIPs"]) == ("None", ["None"])
    assert {"clusterIP", "clusterIPs", "ipFamilies"}.isdisjoint(outside)
    assert outside["externalName"] == "db.example.com"


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ({"resourceVersion": "abc"}, 400, "BadRequest"),
        ({"limit": "2", "continue": "xyz"}, 400, "BadRequest"),
        ({"watch": "1", "sendInitialEvents": "true"}, 422, "Invalid"),
        ({"fieldSelector": "spec.nonsense=1"}, 400, "BadRequest"),
        ({**WATCH_LIST, "resourceVersion": "0"}, 422, "Invalid"),
        ({"resourceVersionMatch": "Exact"}, 422, "Invalid"),
    ],
)
def test_queries_that_make_no_sense_are_refused(api: Api, query: dict[str, str], status: int, reason: str) -> None:
    answer = api.request("GET", SERVICES.path(), query)
    assert (answer.status, answer.json["reason"]) == (status, reason)


def test_a_watch_that_makes_no_sense_is_500_without_a_reason(api: Api) -> None:
    answer = api.request("GET", SERVICES.path(), {"watch": "1", "resourceVersion": "abc"})
    assert (answer.status, "reason" in answer.json) == (500, False)


def test_a_list_from_the_future_is_504_with_a_cause(api: Api) -> None:
    answer = api.request("GET", SERVICES.path(), {"resourceVersion": str(1 << 60)})
    assert (answer.status, answer.headers["Retry-After"]) == (504, "1")
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_a_path_that_is_not_there_is_404_in_plain_text(api: Api) -> None:
    answer = api.request("GET", "/apis/discovery.k8s.io/v9/endpointslices")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


def test_a_token_that_nobody_gave_out_is_401(api: Api) -> None:
    answer = api.request("GET", SERVICES.path(), token="stale")
    assert (answer.status, json.loads(answer.body)["message"]) == (401, "Unauthorized")
