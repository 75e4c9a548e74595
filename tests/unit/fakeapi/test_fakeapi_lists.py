"""Lists of the pure cluster: which state they show, pages, versions, selections, and what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakeapi.builders import namespace, port, service
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.lists import INCONSISTENT, make_token, parse_token
from tests.support.fakeapi.resources import TYPES, Target, parse_path
from tests.support.fakeapi.statuses import StatusError
from tests.unit.fakeapi.asking import ask, listed, names


def filled(count: int = 5) -> FakeCluster:
    cluster = FakeCluster()
    cluster.create(namespace("shop"), 0.0)
    for number in range(count):
        tier = "front" if number % 2 else "back"
        cluster.apply(service("shop", f"web-{number}", [port(80)], {"tier": tier, "n": str(number)}), 0.0)
    return cluster


def pages(cluster: FakeCluster, **query: str) -> list[dict[str, object]]:
    """All pages, by their tokens."""
    found = [listed(cluster, "services", **query)]
    while token := found[-1]["metadata"].get("continue"):
        found.append(listed(cluster, "services", **{**query, "continue": token}))
    return found


@given(st.integers(1, 12), st.integers(0, 10))
def test_pages_together_are_the_list(limit: int, count: int) -> None:
    cluster = filled(count)
    found = pages(cluster, limit=str(limit))
    assert [name for page in found for name in names(page)] == names(listed(cluster, "services"))
    left = count + 1
    for page in found:
        left -= len(names(page))
        assert page["metadata"].get("remainingItemCount", 0) == left


def test_items_come_in_the_order_of_their_keys_and_a_dash_is_before_a_slash() -> None:
    cluster = FakeCluster(has_defaults=False)
    for name in ("a", "a-b", "b"):
        cluster.create(namespace(name), 0.0)
        cluster.create(service(name, "web", [port(80)]), 0.0)
    items = listed(cluster, "services")["items"]
    assert [item["metadata"]["namespace"] for item in items] == ["a-b", "a", "b"]


def test_later_pages_are_of_the_version_of_the_first() -> None:
    cluster = filled()
    first = listed(cluster, "services", limit="2")
    cluster.delete("services", "shop", "web-3", 1.0)
    cluster.apply(service("shop", "web-2x", [port(80)]), 1.0)
    rest = listed(cluster, "services", limit="9", **{"continue": first["metadata"]["continue"]})
    assert names(rest) == ["web-1", "web-2", "web-3", "web-4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_the_inconsistent_rest_is_of_the_present() -> None:
    cluster = filled()
    token = listed(cluster, "services", limit="2")["metadata"]["continue"]
    cluster.delete("services", "shop", "web-3", 1.0)
    cluster.compact()
    expired = listed(cluster, "services", limit="2", **{"continue": token})
    assert (expired["code"], expired["reason"]) == (410, "Expired")
    rest = listed(cluster, "services", limit="9", **{"continue": expired["metadata"]["continue"]})
    assert names(rest) == ["web-1", "web-2", "web-4"]
    assert rest["metadata"]["resourceVersion"] == str(cluster.rv)


def test_history_is_compacted_after_some_minutes_by_itself() -> None:
    cluster = filled()
    cluster.advance(1.0)
    token = listed(cluster, "services", limit="2", now=1.0)["metadata"]["continue"]
    cluster.delete("services", "shop", "web-3", 2.0)
    codes = []
    for now in (200.0, 400.0, 700.0):
        cluster.advance(now)
        codes.append(ask(cluster, "services", now, limit="2", **{"continue": token}).status)
    assert codes == [200, 200, 410]


def test_a_selection_is_not_counted() -> None:
    page = listed(filled(), "services", limit="1", labelSelector="tier=back")
    assert names(page) == ["web-0"]
    assert "remainingItemCount" not in page["metadata"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("tier=front", "13"),
        ("tier==front", "13"),
        ("tier!=front", "024"),
        ("tier in (front, back)", "01234"),
        ("tier notin (front)", "024"),
        ("tier", "01234"),
        ("!tier", ""),
        ("tier=front,n!=1", "3"),
        ("n in (1,2,4),tier=back", "24"),
    ],
)
def test_label_selectors_select(selector: str, expected: str) -> None:
    found = json.loads(ask(filled(), "services", namespace="shop", labelSelector=selector).body)
    assert "".join(name[-1] for name in names(found)) == expected


@pytest.mark.parametrize(
    ("resource", "selector", "expected"),
    [
        ("services", "metadata.name=web-1", ["web-1"]),
        ("services", "metadata.namespace!=shop", ["kubernetes"]),
        ("services", "spec.type=ExternalName", []),
        ("namespaces", "metadata.name=shop,status.phase=Active", ["shop"]),
    ],
)
def test_field_selectors_select(resource: str, selector: str, expected: list[str]) -> None:
    assert names(listed(filled(), resource, fieldSelector=selector)) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"fieldSelector": "spec.nonsense=1"},
        {"fieldSelector": "metadata.name"},
        {"labelSelector": "a==b==c"},
        {"limit": "many"},
        {"continue": "xyz"},
        {"continue": "a"},
        {"continue": base64.b64encode(b'{"v":"meta.k8s.io/v1","rv":0,"start":""}').decode()},
        {"continue": make_token(5, "web"), "resourceVersion": "5"},
        {"resourceVersion": "-1"},
    ],
)
def test_what_makes_no_sense_is_400(query: dict[str, str]) -> None:
    assert listed(filled(), "services", **query)["code"] == 400


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "5", "continue": make_token(5, "web")},
        {"sendInitialEvents": "true"},
        {"watch": "1", "resourceVersionMatch": "NotOlderThan"},
    ],
)
def test_options_that_do_not_go_together_are_422(query: dict[str, str]) -> None:
    assert listed(filled(), "services", **query)["code"] == 422


def test_an_exact_version_is_the_past_until_it_is_compacted() -> None:
    cluster = filled(2)
    then = {"resourceVersion": str(cluster.rv), "resourceVersionMatch": "Exact"}
    cluster.delete("services", "shop", "web-0", 1.0)
    assert names(listed(cluster, "services", **then)) == ["kubernetes", "web-0", "web-1"]
    limited = {"resourceVersion": then["resourceVersion"], "limit": "2"}
    assert names(listed(cluster, "services", **limited)) == ["kubernetes", "web-0"]
    cluster.compact()
    gone = listed(cluster, "services", **then)
    assert (gone["code"], gone["message"]) == (410, "The resourceVersion for the provided list is too old.")


def test_a_version_that_is_not_exact_is_the_least() -> None:
    cluster = filled(2)
    then = {"resourceVersion": str(cluster.rv)}
    cluster.delete("services", "shop", "web-0", 1.0)
    assert names(listed(cluster, "services", **then)) == ["kubernetes", "web-1"]


def test_the_version_of_a_list_is_that_of_the_store_and_from_the_cache_that_of_the_resource() -> None:
    cluster = filled(2)
    before = str(cluster.rv)
    cluster.store.tick(100)
    assert listed(cluster, "services", resourceVersion="0")["metadata"]["resourceVersion"] == before
    assert listed(cluster, "services")["metadata"]["resourceVersion"] == str(cluster.rv)


@given(st.integers(-1, 10**9), st.text("abc/-.", min_size=1).filter(lambda text: text.strip("/")))
def test_tokens_tell_what_they_were_made_of(rv: int, start: str) -> None:
    if rv == 0:
        with pytest.raises(StatusError):
            parse_token(make_token(rv, start))
        return
    assert parse_token(make_token(rv, "/" + start)) == (rv, start)
    assert INCONSISTENT == -1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/services", Target(TYPES["services"])),
        ("/api/v1/namespaces", Target(TYPES["namespaces"])),
        ("/api/v1/namespaces/shop", Target(TYPES["namespaces"], "", "shop")),
        ("/api/v1/namespaces/shop/status", Target(TYPES["namespaces"], "", "shop", "status")),
        ("/api/v1/namespaces/shop/services", Target(TYPES["services"], "shop")),
        ("/api/v1/namespaces/services", Target(TYPES["namespaces"], "", "services")),
        ("/api/v1/namespaces/shop/pods/p/status", Target(TYPES["pods"], "shop", "p", "status")),
        ("/api/v1/endpointslices", None),
        ("/api/v1/services/web", None),
        ("/api/v1/namespaces/shop/secrets", None),
        ("/apis/discovery.k8s.io/v1beta1/endpointslices", None),
    ],
)
def test_paths_name_collections_and_objects(path: str, expected: Target | None) -> None:
    assert parse_path(path) == expected


@pytest.mark.parametrize("plural", TYPES)
def test_a_path_that_is_written_is_read_again(plural: str) -> None:
    each = TYPES[plural]
    where = "shop" if each.is_namespaced else ""
    assert parse_path(each.path(where, "web", "status")) == Target(each, where, "web", "status")
