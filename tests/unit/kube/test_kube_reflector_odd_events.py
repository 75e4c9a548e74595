"""Events and objects as they should not be, and as they sometimes are: the stream goes on."""

from __future__ import annotations

from typing import Any

import pytest

from kdns.kube.objects import EndpointSlice, Pod, Service, Tombstone
from kdns.kube.request import Severity
from kdns.kube.troubles import REMARKS_PER_WINDOW
from tests.unit.kube.builders import SERVICE_NAME, endpoint
from tests.unit.kube.reflecting import (
    EXPIRED,
    NAMESPACES,
    PODS,
    SLICES,
    Driven,
    added,
    bookmark,
    deleted,
    end_bookmark,
    error,
    lines,
    modified,
    service_keys,
    synced,
)


def without_address(name: str, version: int) -> dict[str, Any]:
    event = modified(name, version)
    event["object"]["spec"] = {}
    return event


def invalid(name: str, version: int, kind: str = "MODIFIED") -> dict[str, Any]:
    """A Service that no API server would take."""
    event = modified(name, version)
    event["object"]["spec"]["ports"] = [{"port": 70000}]
    return {**event, "type": kind}


def unfit(name: str, version: int, kind: str = "MODIFIED") -> dict[str, Any]:
    """A Service whose JSON does not fit the type."""
    event = modified(name, version)
    event["object"]["spec"]["ports"] = [{"port": "eighty"}]
    return {**event, "type": kind}


# Events that should not come


def test_an_object_that_is_added_twice_is_changed() -> None:
    driven = synced("web")
    assert [change.key for change in driven.feed(added("web", 150, "10.96.0.2")).changes] == service_keys("web")


def test_an_object_that_is_added_again_as_it_is_known_is_no_change() -> None:
    driven = synced()
    driven.feed(added("web", 150))
    assert driven.feed(added("web", 150)).changes == []
    assert driven.feed(modified("web", 150)).changes == []


def test_an_unknown_object_that_is_modified_is_there_from_now_on() -> None:
    driven = synced()
    driven.feed(modified("web", 150))
    assert driven.names == {"web"}


def test_an_unknown_object_that_is_deleted_is_no_change_but_moves_the_version() -> None:
    driven = synced("web")
    assert driven.feed(deleted("other", 150)).changes == []
    assert driven.reflector.resource_version == "150"


def test_a_deleted_object_may_come_back() -> None:
    driven = synced("web")
    outcome = driven.feed(deleted("web", 150), added("web", 151))
    assert [type(change) for change in outcome.changes] == [Tombstone, Service]
    assert driven.names == {"web"}


def test_an_unknown_type_is_told_once_and_the_stream_goes_on() -> None:
    driven = synced()
    for version in range(150, 160):
        driven.feed({**added("x", version), "type": "PATCHED" * 100}, added(f"s{version}", version))
    assert len(driven.names) == 10
    assert len(driven.loud()) == 1
    assert "Service: watch events of the unknown type 'PATCHED" in driven.loud()[0]
    assert len(driven.loud()[0]) < 200


def test_an_unknown_type_among_the_initial_events_is_passed_over() -> None:
    driven = Driven()
    driven.open()
    assert driven.feed(added("web", 1), {"type": "", "object": None}, {}, end_bookmark(9)).synced
    assert driven.names == {"web"}


@pytest.mark.parametrize("value", [None, {}, {"metadata": None}, {"metadata": {}}, {"metadata": {"name": ""}}])
def test_an_event_that_names_no_object_is_told_and_passed_over(value: object) -> None:
    driven = synced("web")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        assert driven.feed({"type": kind, "object": value}).changes == []
    assert driven.reflector.is_live
    assert driven.loud() == ["Service without metadata.name: ignored"]


def test_an_event_without_a_version_leaves_the_last_one() -> None:
    driven = synced()
    event = added("web", 1)
    del event["object"]["metadata"]["resourceVersion"]
    assert len(driven.feed(event).changes) == 1
    assert len(driven.feed(event).changes) == 1
    driven.feed({"type": "BOOKMARK", "object": {}})
    assert driven.reflector.resource_version == "100"


def test_a_second_end_bookmark_is_a_bookmark() -> None:
    driven = synced("web")
    outcome = driven.feed(end_bookmark(170))
    assert (outcome.changes, outcome.synced) == ([], False)
    assert driven.reflector.resource_version == "170"


def test_an_end_bookmark_without_a_version_is_unreadable() -> None:
    driven = Driven()
    driven.open()
    event = end_bookmark(1)
    event["object"]["metadata"]["resourceVersion"] = ""
    assert not driven.feed(added("web", 1), event).synced
    assert driven.purpose == "watch list"
    assert driven.delay >= 0.8


def test_null_lists_of_a_slice_and_its_bookmarks_are_read() -> None:
    driven = Driven(SLICES)
    meta = {"name": "web-1", "namespace": "shop", "resourceVersion": "5", "labels": {SERVICE_NAME: "web"}}
    value = {"metadata": meta, "addressType": "IPv4", "endpoints": None, "ports": None}
    odd = {"metadata": {"resourceVersion": "9"}, "addressType": "", "endpoints": None, "ports": None}
    driven.open()
    driven.feed({"type": "ADDED", "object": value}, end_bookmark(8), {"type": "BOOKMARK", "object": odd})
    (found,) = driven.objects.values()
    assert isinstance(found, EndpointSlice)
    assert found.endpoints == 0
    assert driven.reflector.resource_version == "9"
    assert driven.notices == []


def test_unknown_fields_are_passed_over() -> None:
    driven = synced()
    event = added("web", 150)
    event["object"]["spec"]["brandNew"] = {"deep": [1, None, {"x": "y"}]}
    driven.feed({**event, "sent": "later"})
    assert driven.names == {"web"}
    assert driven.notices == []


def test_an_object_of_one_and_a_half_megabytes_on_one_line_is_read() -> None:
    driven = synced()
    event = added("web", 150)
    event["object"]["metadata"]["annotations"] = {"huge": "x" * 1_500_000}
    data = lines(event)
    for start in range(0, len(data), 2048):
        driven.feed_octets(data[start : start + 2048])
    assert driven.names == {"web"}


def test_an_error_event_of_pods_is_read_although_their_status_is_no_text() -> None:
    driven = Driven(PODS)
    driven.sync()
    driven.feed(EXPIRED)
    assert driven.purpose == "watch list"
    driven.open()
    driven.feed(error(500, "InternalError", "no RequestWatchProgress"))
    assert driven.purpose == "list"


# Objects that are wrong


@pytest.mark.parametrize(
    ("event", "flaw"), [(invalid, "port 70000 is not in 1..65535"), (unfit, "Expected int, got str")]
)
def test_an_object_that_cannot_be_read_stays_as_it_was_and_is_named(event: Any, flaw: str) -> None:
    driven = synced("web", "api")
    outcome = driven.feed(event("web", 150), modified("api", 151))
    assert [change.key for change in outcome.changes] == service_keys("api")
    assert driven.names == {"web", "api"}
    assert driven.reflector.resource_version == "151"
    (notice,) = outcome.notices
    assert notice.severity is Severity.WARNING
    assert notice.text.startswith("Service shop/web")
    assert flaw in notice.text
    assert notice.text.endswith("what was known of it stays until it is corrected")


@pytest.mark.parametrize("event", [invalid, unfit])
def test_an_object_that_never_could_be_read_is_not_answered_and_named(event: Any) -> None:
    driven = synced("api")
    assert driven.feed(event("web", 150, "ADDED"), event("web", 151)).changes == []
    assert driven.names == {"api"}
    assert all(text.endswith("it is left out of all answers until it is corrected") for text in driven.loud())
    assert driven.loud()
    driven.feed(modified("web", 152))
    assert driven.names == {"api", "web"}


@pytest.mark.parametrize("event", [invalid, unfit])
def test_an_object_that_is_deleted_and_comes_back_unreadable_is_not_what_it_was(event: Any) -> None:
    driven = synced("web")
    driven.feed(deleted("web", 150), event("web", 151, "ADDED"))
    assert driven.names == set()
    assert driven.loud()[0].endswith("it is left out of all answers until it is corrected")


@pytest.mark.parametrize("event", [invalid, unfit])
def test_a_wrong_object_is_told_once_and_comes_back_when_it_is_right(event: Any) -> None:
    driven = synced("web")
    for version in range(150, 160):
        driven.feed(event("web", version))
    assert len(driven.loud()) == 1
    driven.feed(modified("web", 200))
    assert driven.names == {"web"}


@pytest.mark.parametrize("event", [invalid, unfit])
def test_a_wrong_object_in_a_list_does_not_spoil_the_others(event: Any) -> None:
    driven = Driven()
    driven.open()
    assert driven.feed(event("web", 5, "ADDED"), added("api", 6), end_bookmark(9)).synced
    assert driven.names == {"api"}


@pytest.mark.parametrize("event", [invalid, unfit])
def test_a_wrong_object_that_is_deleted_is_gone_without_a_word(event: Any) -> None:
    driven = synced("web")
    outcome = driven.feed(event("web", 150, "DELETED"))
    assert outcome.changes == [Tombstone(("Service", "shop", "web"))]
    assert outcome.notices == []


@pytest.mark.parametrize("event", [invalid, unfit])
def test_a_relist_that_shows_a_wrong_object_leaves_it_as_it_was(event: Any) -> None:
    driven = synced("web", "api")
    driven.feed(EXPIRED)
    driven.open()
    assert driven.feed(event("web", 150, "ADDED"), added("api", 11)).changes == []
    assert driven.feed(end_bookmark(160)).changes == []
    assert driven.names == {"web", "api"}


@pytest.mark.parametrize("event", [invalid, unfit])
def test_a_relist_reads_an_object_again_that_could_not_be_read(event: Any) -> None:
    driven = synced("web")
    driven.feed(event("web", 150))
    driven.feed(EXPIRED)
    driven.open()
    driven.feed(added("web", 150, "10.96.0.77"))
    assert [change.key for change in driven.feed(end_bookmark(160)).changes] == service_keys("web")


def test_an_object_without_meaning_for_dns_is_told_quietly() -> None:
    driven = Driven(NAMESPACES)
    driven.open()
    meta = {"name": "Not_A_Label", "uid": "u", "resourceVersion": "3"}
    outcome = driven.feed({"type": "ADDED", "object": {"metadata": meta}}, end_bookmark(9))
    assert driven.objects == {}
    assert [notice.severity for notice in outcome.notices] == [Severity.INFO]
    assert "Namespace Not_A_Label" in outcome.notices[0].text


def test_remarks_on_thousands_of_objects_are_a_few_lines() -> None:
    driven = synced()
    for version in range(200, 3000):
        driven.feed(without_address(f"s{version}", version))
    assert len(driven.notices) == REMARKS_PER_WINDOW
    assert len(driven.names) == 2800


def test_a_remark_that_comes_with_every_change_is_told_once() -> None:
    driven = synced()
    for version in range(200, 250):
        driven.now += 120
        driven.feed(without_address("web", version))
    assert len(driven.notices) == 1


def test_pods_are_followed_with_their_addresses() -> None:
    driven = Driven(PODS)
    value = {
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "u", "resourceVersion": "4"},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.244.0.7"}]},
    }
    driven.open()
    driven.feed({"type": "ADDED", "object": value}, end_bookmark(9))
    (found,) = driven.objects.values()
    assert isinstance(found, Pod)
    assert found.addresses == (bytes([10, 244, 0, 7]),)
    gone = {**value, "metadata": {**value["metadata"], "resourceVersion": "12"}}
    driven.feed({"type": "DELETED", "object": gone})
    assert driven.objects == {}


def test_a_slice_without_a_service_is_told_and_answers_nothing() -> None:
    driven = Driven(SLICES)
    meta = {"name": "stray", "namespace": "shop", "uid": "u", "resourceVersion": "5"}
    value = {"metadata": meta, "addressType": "IPv4", "endpoints": [endpoint("10.0.0.1")]}
    driven.open()
    driven.feed({"type": "ADDED", "object": value}, end_bookmark(9))
    assert driven.objects == {}
    assert "no label kubernetes.io/service-name" in driven.notices[0].text
    driven.feed({"type": "BOOKMARK", "object": bookmark(10)["object"]})
    assert driven.reflector.is_live
