"""Events, pages and Status objects as a real API server writes them, and what it would not write."""

from __future__ import annotations

import json

import pytest

from kdns.kube import api
from kdns.kube.events import (
    ADDED,
    BOOKMARK,
    DELETED,
    ERROR,
    MODIFIED,
    EventDecoder,
    Status,
    Unreadable,
    read_page,
    read_status,
)
from tests.unit.kube.reflecting import bookmark, end_bookmark, recorded, recorded_list, recorded_watch

KINDS = {"namespaces": "Namespace", "services": "Service", "endpointslices": "EndpointSlice", "pods": "Pod"}


def event_of(kind: str, value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("resource", KINDS)
def test_every_line_of_a_recorded_watch_is_read_whole(resource: str) -> None:
    decoder = EventDecoder(KINDS[resource])
    for line in recorded_watch(resource).splitlines():
        plain, sighting = json.loads(line), decoder.event(line)
        assert sighting.type == plain["type"]
        assert sighting.meta.name == plain["object"]["metadata"].get("name")
        assert sighting.resource_version == plain["object"]["metadata"]["resourceVersion"]
        assert sighting.read is not None
        assert not sighting.flaw


@pytest.mark.parametrize("resource", KINDS)
def test_the_head_of_an_event_tells_it_from_all_others(resource: str) -> None:
    decoder = EventDecoder(KINDS[resource])
    for line in recorded_watch(resource).splitlines():
        whole, head = decoder.event(line), decoder.event_head(line)
        assert head.type == whole.type
        assert head.read is None
        assert (head.meta.name, head.meta.namespace) == (whole.meta.name, whole.meta.namespace)
        assert (head.meta.uid, head.meta.resource_version) == (whole.meta.uid, whole.meta.resource_version)


@pytest.mark.parametrize("resource", KINDS)
def test_items_of_a_recorded_list_are_read_although_they_have_no_kind(resource: str) -> None:
    decoder = EventDecoder(KINDS[resource])
    body = recorded_list(resource)
    found = read_page(body)
    plain = json.loads(body)
    assert found.resource_version == plain["metadata"]["resourceVersion"]
    assert found.token == ""
    assert found.items is not None
    assert "kind" not in plain["items"][0]
    for item, raw in zip(plain["items"], found.items, strict=True):
        assert decoder.item(raw).type == ADDED
        assert decoder.item(raw).meta.name == item["metadata"]["name"]
        assert decoder.item_head(raw).meta.resource_version == item["metadata"]["resourceVersion"]


def test_a_page_says_how_to_go_on() -> None:
    found = read_page(recorded("list_page1").body)
    assert found.token.startswith("eyJ2IjoibWV0YS5rOHMuaW8vdjEi")
    assert found.items is not None
    assert len(found.items) == 2


@pytest.mark.parametrize(
    "body", [b'{"metadata":{"resourceVersion":"7"},"items":null}', b'{"metadata":{"resourceVersion":"7"}}']
)
def test_a_list_without_items_has_a_version_all_the_same(body: bytes) -> None:
    assert read_page(body).items is None
    assert read_page(body).resource_version == "7"


@pytest.mark.parametrize("body", [b"{}", b'{"metadata":null}', b'{"metadata":{"continue":null}}'])
def test_a_list_without_metadata_has_neither_version_nor_token(body: bytes) -> None:
    assert (read_page(body).resource_version, read_page(body).token) == ("", "")


def test_null_lists_of_a_bookmark_are_read() -> None:
    line = recorded("watchlist").body.splitlines()[-1]
    assert b'"addressType":"","endpoints":null,"ports":null' in line
    found = EventDecoder("EndpointSlice").event(line)
    assert (found.type, found.resource_version, found.flaw) == (BOOKMARK, "266", "")
    assert found.ends_initial_events


def test_only_the_annotation_with_true_ends_initial_events() -> None:
    decoder = EventDecoder("Service")
    assert decoder.event(event_of("Service", end_bookmark(5))).ends_initial_events
    assert not decoder.event(event_of("Service", bookmark(5))).ends_initial_events
    assert not decoder.event(
        event_of("Service", bookmark(5, {"k8s.io/initial-events-end": "false"}))
    ).ends_initial_events


@pytest.mark.parametrize("kind", KINDS.values())
def test_an_error_event_is_read_as_a_status_whatever_the_kind(kind: str) -> None:
    found = EventDecoder(kind).event(recorded("watch_410").body.strip())
    assert found.type == ERROR
    assert found.status == Status("too old resource version: 1 (280)", "Expired", 410)
    assert found.read is None


@pytest.mark.parametrize("value", [None, {}, {"code": "x"}, {"message": 7}])
def test_an_error_event_without_a_status_is_an_error_event(value: object) -> None:
    found = EventDecoder("Pod").event(event_of("Pod", {"type": "ERROR", "object": value}))
    assert found.type == ERROR
    assert found.status == Status()


@pytest.mark.parametrize("kind", [ADDED, MODIFIED, DELETED])
def test_an_object_that_does_not_fit_is_named_with_its_flaw(kind: str) -> None:
    meta = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "9", "labels": {"a": 1}}
    value = {"type": kind, "object": {"metadata": meta, "spec": {"ports": [{"port": "eighty"}]}}}
    found = EventDecoder("Service").event(event_of("Service", value))
    assert found.type == kind
    assert found.meta == api.ObjectMeta(name="web", namespace="shop", uid="u", resource_version="9")
    assert found.read is None
    assert found.flaw == "metadata.labels[...]: Expected str, got int"


def test_a_flaw_says_where_it_is() -> None:
    value = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": "eighty"}]}}
    decoder = EventDecoder("Service")
    event = decoder.event(event_of("Service", {"type": ADDED, "object": value}))
    page = read_page(json.dumps({"items": [value]}).encode())
    assert page.items is not None
    assert event.flaw == decoder.item(page.items[0]).flaw == "spec.ports[0].port: Expected int, got str"


def test_unknown_fields_are_passed_over() -> None:
    value = {"type": ADDED, "object": {"metadata": {"name": "web", "new": {"deep": [1]}}, "later": True}, "extra": 1}
    found = EventDecoder("Service").event(event_of("Service", value))
    assert (found.meta.name, found.flaw) == ("web", "")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"type":"ADDED","object":{"metadata":{"name":"we',
        b'{"type":"ADDED","object":{"metadata":{"name":"\xff\xfe"}}}',
        b"<html>502 Bad Gateway</html>",
        b"[]",
        b'"ADDED"',
        b'{"type":7}',
        b'{"type":"ERROR","object":"no"}',
        b'{"type":"ADDED","object":{"metadata":{"name":7}}}',
        b'{"type":"ADDED"} trailing',
    ],
)
def test_what_no_api_server_writes_is_unreadable(line: bytes) -> None:
    with pytest.raises(Unreadable):
        EventDecoder("Service").event(line)


@pytest.mark.parametrize("body", [b"", b"[]", b"404 page not found", b'{"items":{}}', b'{"metadata":', b"\xff"])
def test_what_is_no_list_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_page(body)


@pytest.mark.parametrize("value", [{"type": ADDED}, {"type": ADDED, "object": None}, {"type": ADDED, "object": {}}])
def test_an_event_without_an_object_names_none(value: object) -> None:
    found = EventDecoder("Service").event(event_of("Service", value))
    assert found.meta.name is None
    assert EventDecoder("Service").event_head(event_of("Service", value)).meta.name is None


def test_a_missing_type_is_an_unknown_one() -> None:
    assert EventDecoder("Service").event(b"{}").type == ""


def test_a_status_is_read_from_a_refusal() -> None:
    found = read_status(recorded("list_too_large_rv").body)
    assert (found.code, found.reason) == (504, "Timeout")
    assert found.message == "Timeout: Too large resource version: 99999999, current: 266"
    assert found.details is not None
    assert found.details.retry_after_seconds == 1


def test_a_refusal_in_plain_text_is_its_own_message() -> None:
    assert read_status(recorded("notfound").body) == Status(message="404 page not found")
    assert read_status(recorded("apf_429").body) == Status(message="Too many requests, please try again later.")
    assert read_status(b"\xff\n") == Status(message="\ufffd")
