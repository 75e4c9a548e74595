"""Who may do what, as answers tell it; and the book of faults."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.fakeapi.access import ADMIN, ANONYMOUS, Access
from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.builders import namespace, port, service
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.faults import REPLIES, Cut, FaultBook, Reply
from tests.support.fakeapi.lists import Wait
from tests.support.fakeapi.resources import SERVICES
from tests.support.fakeapi.statuses import StatusError

BOB = {"authorization": "Bearer bobs"}


@pytest.fixture
def cluster() -> FakeCluster:
    """With a namespace, a Service, and bob, who may nothing."""
    made = FakeCluster()
    made.create(namespace("shop"), 0.0)
    made.create(service("shop", "web", [port(80)]), 0.0)
    made.access.tokens["bobs"] = "bob"
    return made


def status(cluster: FakeCluster, path: str, method: str = "GET", **query: str) -> int:
    response = cluster.handle(ApiRequest(method, path, query, BOB), 1.0)
    assert not isinstance(response, Wait)
    return response.status


def message(cluster: FakeCluster, path: str, method: str = "GET", **query: str) -> str:
    response = cluster.handle(ApiRequest(method, path, query, BOB), 1.0)
    assert not isinstance(response, Wait)
    return str(json.loads(response.body)["message"])


def test_a_list_needs_list_and_a_watch_needs_watch(cluster: FakeCluster) -> None:
    cluster.access.allow("bob", "services", verbs=("list",))
    assert status(cluster, SERVICES.path()) == 200
    assert status(cluster, SERVICES.path(), watch="1") == 403
    assert 'cannot watch resource "services"' in message(cluster, SERVICES.path(), watch="1")


def test_a_role_in_a_namespace_does_not_suffice_for_all(cluster: FakeCluster) -> None:
    cluster.access.allow("bob", "services", namespace="shop")
    assert status(cluster, SERVICES.path("shop")) == 200
    assert status(cluster, SERVICES.path()) == 403
    assert status(cluster, SERVICES.path("default")) == 403
    assert message(cluster, SERVICES.path("default")) == (
        'services is forbidden: User "bob" cannot list resource "services" in API group "" in the namespace "default"'
    )


def test_one_object_is_named_where_it_is_refused(cluster: FakeCluster) -> None:
    refused = message(cluster, SERVICES.path("shop", "web"))
    assert refused.startswith('services "web" is forbidden: User "bob" cannot get')
    assert 'cannot delete resource "services"' in message(cluster, SERVICES.path("shop", "web"), "DELETE")
    assert cluster.store.get("services", "shop/web") is not None


def test_a_namespace_may_be_read_by_a_role_in_it(cluster: FakeCluster) -> None:
    cluster.access.allow("bob", "namespaces", namespace="shop")
    assert status(cluster, "/api/v1/namespaces/shop") == 200
    assert status(cluster, "/api/v1/namespaces/default") == 403


def test_what_is_revoked_and_what_is_forgotten(cluster: FakeCluster) -> None:
    cluster.access.allow("bob", "*", verbs=("*",))
    assert status(cluster, SERVICES.path()) == 200
    cluster.access.revoke("bob")
    assert status(cluster, SERVICES.path()) == 403
    del cluster.access.tokens["bobs"]
    assert status(cluster, SERVICES.path()) == 401


def test_who_has_no_permission_at_all_is_not_told_what_paths_there_are(cluster: FakeCluster) -> None:
    assert status(cluster, "/apis/nonsense") == 403
    cluster.access.allow("bob", "services")
    assert status(cluster, "/apis/nonsense") == 404
    assert status(cluster, "/readyz") == 200


@pytest.mark.parametrize(
    ("authorization", "certificate", "user"),
    [
        ("Bearer admin-token", "", ADMIN),
        ("bearer admin-token", "bob", ADMIN),
        ("", "bob", "bob"),
        ("", "", ANONYMOUS),
    ],
)
def test_users_are_known_by_token_before_certificate(authorization: str, certificate: str, user: str) -> None:
    assert Access().user(authorization, certificate) == user


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Basic admin-token", "Bearer"])
def test_a_wrong_token_is_401_whatever_the_certificate(authorization: str) -> None:
    with pytest.raises(StatusError) as refused:
        Access().user(authorization, ADMIN)
    assert refused.value.code == 401


def test_a_fault_waits_for_its_turn_and_is_then_used_up() -> None:
    book = FaultBook()
    book.add(Reply("500"), "services", "list", times=2, after=1)
    asked = [("services", "list"), ("pods", "list"), ("services", "watch"), *[("services", "list")] * 3]
    assert [book.take(*each) is not None for each in asked] == [False, False, False, True, True, False]
    assert book.entries == []


def test_any_is_for_lists_and_watches_and_watch_is_for_watch_lists_too() -> None:
    book = FaultBook()
    taken = {}
    for on in ("any", "watch", "watchlist", "list", "get", "write"):
        book.entries.clear()
        book.add(Cut("eof"), on=on, times=None)
        purposes = ("list", "watch", "watchlist", "get", "write")
        taken[on] = [purpose for purpose in purposes if book.take("services", purpose)]
    assert taken == {
        "any": ["list", "watch", "watchlist"], "watch": ["watch", "watchlist"], "watchlist": ["watchlist"],
        "list": ["list"], "get": ["get"], "write": ["write"],
    }  # fmt: skip


def test_a_fault_without_end_lasts_until_it_is_removed() -> None:
    book = FaultBook()
    entry = book.add(Reply("503"), times=None)
    assert all(book.take("pods", "list") for _ in range(100))
    book.remove(entry)
    book.remove(entry)
    assert book.take("pods", "list") is None


@pytest.mark.parametrize("name", REPLIES)
def test_each_reply_is_an_answer_with_its_status(cluster: FakeCluster, name: str) -> None:
    cluster.access.allow("bob", "services")
    cluster.faults.add(Reply(name), "services")
    response = cluster.handle(ApiRequest("GET", SERVICES.path(), {}, BOB), 1.0)
    assert not isinstance(response, Wait)
    assert response.status == int(name[:3])
    has_delay = "Retry-After" in response.headers
    assert has_delay == (name in ("429", "429 unready", "503", "504"))
    plain = name in ("404", "429", "429 without Retry-After")
    assert response.headers["Content-Type"].startswith("text/plain" if plain else "application/json")
    assert status(cluster, SERVICES.path()) == 200


def test_a_reply_that_is_not_known_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="'418' is none of 401, 403"):
        Reply("418")


def test_what_was_asked_can_be_looked_at(cluster: FakeCluster) -> None:
    status(cluster, SERVICES.path("shop"), limit="5")
    seen = cluster.server.seen[-1]
    assert (seen.at, seen.user, seen.status, seen.request.purpose) == (1.0, "bob", 403, "list")
    assert seen.request == replace(seen.request, path="/api/v1/namespaces/shop/services", query={"limit": "5"})
