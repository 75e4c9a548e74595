"""Each answer that was recorded from a real API server, from the fake: the same head, and the same body to the byte.

Only what no two servers have in common is left out: dates, audit ids, the uids of flow schemas.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.cluster import ADMIN_HEADERS, FakeCluster
from tests.support.fakeapi.faults import Reply
from tests.support.fakeapi.http import CUTTERS, framed
from tests.support.fakeapi.lists import Wait, list_json, make_token
from tests.support.fakeapi.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES, Json, ResourceType
from tests.support.fakeapi.statuses import LAST_CHUNK, Response

RESPONSES = Path(__file__).parents[2] / "data" / "kubernetes" / "responses"
SLICES, NAMESPACES_PATH = ENDPOINT_SLICES.path(), NAMESPACES.path()
_DATE = "Mon, 23 Nov 2026 07:56:46 GMT"
_OWN = ("audit-id", "date", "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid")


@dataclass(frozen=True)
class Recorded:
    status: int
    headers: list[tuple[str, str]]
    wire: bytes  # the body as it was sent
    is_http2: bool

    @property
    def body(self) -> bytes:
        if ("transfer-encoding", "chunked") not in self.headers:
            return self.wire
        found, rest = b"", self.wire
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            found += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return found


def recorded(name: str) -> Recorded:
    text = (RESPONSES / f"{name}.http").read_bytes()
    blank = b"\r\n\r\n" if b"\r\n\r\n" in text else b"\n\n"
    head, _, wire = text.partition(blank)
    first, *lines = head.decode().splitlines()
    headers = [(line.partition(": ")[0].lower(), line.partition(": ")[2]) for line in lines]
    return Recorded(int(first.split()[1]), headers, wire, first.startswith("HTTP/2"))


def items(name: str) -> list[Json]:
    return json.loads(recorded(name).body)["items"]


def get(path: str, query: dict[str, str] | None = None, token: str | None = "admin-token") -> ApiRequest:
    headers = ADMIN_HEADERS if token == "admin-token" else {"authorization": f"Bearer {token}"} if token else {}
    return ApiRequest("GET", path, query or {}, headers)


def holding(kind: ResourceType, values: list[Json], rv: int) -> FakeCluster:
    cluster = FakeCluster(has_defaults=False)
    cluster.behaviour.progress_seconds = 1e9
    cluster.restore(kind, values, rv, 0.0)
    return cluster


def with_slices(rv: int = 266) -> FakeCluster:
    return holding(ENDPOINT_SLICES, items("list_consistent"), rv)


def answer(cluster: FakeCluster, request: ApiRequest) -> Response:
    """The answer, after whatever the server waits for."""
    response = cluster.handle(request, 1.0)
    if isinstance(response, Wait):
        response = cluster.handle(request, response.until, 1.0)
    assert isinstance(response, Response)
    return response


def wire(response: Response, ends_at: float) -> bytes:
    """The body on the wire, as far as it is known at `ends_at`."""
    body = response.watch.take(ends_at) if response.watch else response.body
    if not response.is_chunked:
        return body
    return framed(CUTTERS["real"](body)) + LAST_CHUNK


def assert_same(name: str, response: Response, ends_at: float = 13.0) -> None:
    expected = recorded(name)
    assert response.status == expected.status
    if expected.is_http2:
        assert (response.watch.take(ends_at) if response.watch else response.body) == expected.body
        return
    headers = [(header.lower(), value) for header, value in response.all_headers(_DATE)]
    assert [header for header, _ in headers] == [header for header, _ in expected.headers]
    assert _common(headers) == _common(expected.headers)
    assert wire(response, ends_at) == expected.wire


def _common(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in headers if pair[0] not in _OWN]


def test_a_consistent_list_is_the_recorded_one_to_the_chunk() -> None:
    cluster = with_slices(263)
    assert_same("list_consistent", answer(cluster, get(SLICES)))


def test_a_list_from_the_cache_ignores_the_limit_and_tells_the_version_of_the_cache() -> None:
    cluster = with_slices(260)
    cluster.store.tick(3)
    assert_same("list_rv0", answer(cluster, get(SLICES, {"resourceVersion": "0", "limit": "2"})))


def test_the_first_page_has_the_recorded_continue_token_and_count() -> None:
    later = [{**items("list_page1")[0], "metadata": {**items("list_page1")[0]["metadata"], "name": name}}
             for name in ("kube-node-lease", "kube-public", "kube-system")]  # fmt: skip
    cluster = holding(NAMESPACES, items("list_page1") + later, 263)
    assert_same("list_page1", answer(cluster, get(NAMESPACES_PATH, {"limit": "2"})))


def test_a_continue_token_that_is_none_is_refused_in_the_recorded_words() -> None:
    assert_same("list_bad_continue", answer(FakeCluster(), get(SLICES, {"limit": "2", "continue": "xyz"})))


def test_an_expired_continue_token_is_answered_with_one_for_an_inconsistent_rest() -> None:
    cluster = FakeCluster()
    token = make_token(cluster.rv, "/kube-node-lease\0")
    cluster.store.tick()
    cluster.compact()
    response = answer(cluster, get(NAMESPACES_PATH, {"limit": "2", "continue": token}))
    expected = recorded("list_continue_410")
    assert (response.status, response.body) == (expected.status, expected.body)


def test_a_version_that_is_no_number_is_400_for_a_list() -> None:
    assert_same("list_bad_rv", answer(FakeCluster(), get(SLICES, {"resourceVersion": "abc"})))


def test_a_version_that_is_no_number_is_500_for_a_watch() -> None:
    assert_same("watch_bad_rv", answer(FakeCluster(), get(SLICES, {"watch": "1", "resourceVersion": "abc"})))


def test_a_list_from_the_future_is_504_after_three_seconds() -> None:
    cluster = holding(ENDPOINT_SLICES, [], 266)
    request = get(SLICES, {"resourceVersion": "99999999"})
    waiting = cluster.handle(request, 1.0)
    assert waiting == Wait(4.0)
    assert cluster.handle(request, 3.9, 1.0) == waiting
    assert_same("list_too_large_rv", answer(cluster, request))


def test_a_watch_from_before_the_window_ends_with_the_recorded_error_event() -> None:
    cluster = with_slices(280)
    response = answer(cluster, get(SLICES, {"watch": "1", "resourceVersion": "1"}))
    assert_same("watch_410", response)
    assert response.watch is not None
    assert response.watch.is_over


def test_a_watch_from_the_future_is_silent_until_it_times_out() -> None:
    cluster = with_slices(266)
    query = {"watch": "1", "resourceVersion": "99999999", "allowWatchBookmarks": "true", "timeoutSeconds": "12"}
    assert_same("watch_future_rv", answer(cluster, get(SLICES, query)))


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("watch_rv0_plain", {"resourceVersion": "0"}),
        ("watch_rv0_bookmarks", {"resourceVersion": "0", "allowWatchBookmarks": "true"}),
        ("watchlist", {"allowWatchBookmarks": "true", "sendInitialEvents": "true",
                       "resourceVersionMatch": "NotOlderThan"}),
    ],
)  # fmt: skip
def test_initial_events_are_the_recorded_ones_to_the_chunk(name: str, query: dict[str, str]) -> None:
    """In the order of keys, not of versions; cut anywhere; the end bookmark for who asked for bookmarks."""
    request = get(SLICES, {"watch": "1", "timeoutSeconds": "12", **query})
    assert_same(name, answer(with_slices(266), request))


def test_a_watch_of_services_shows_them_as_recorded() -> None:
    lines = [json.loads(line) for line in recorded("watch_timeout").body.splitlines()]
    cluster = holding(SERVICES, [], 5000)
    cluster.restore(SERVICES, [_without_kind(line["object"]) for line in lines], 5000, 0.0)
    assert_same("watch_timeout", answer(cluster, get(SERVICES.path(), {"watch": "1", "timeoutSeconds": "8"})))


def _without_kind(value: Json) -> Json:
    return {name: part for name, part in value.items() if name not in ("kind", "apiVersion")}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("watchlist_no_match", {"sendInitialEvents": "true"}),
        ("watchlist_gate_off", {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}),
    ],
)
def test_watch_lists_are_refused_in_the_recorded_words(name: str, query: dict[str, str]) -> None:
    cluster = FakeCluster()
    cluster.behaviour.watch_list = "refused" if name == "watchlist_gate_off" else "served"
    assert_same(name, answer(cluster, get(SLICES, {"watch": "1", "allowWatchBookmarks": "true", **query})))


def _as_service_account(cluster: FakeCluster) -> Response:
    cluster.access.tokens["sa"] = "system:serviceaccount:default:nobody"
    return answer(cluster, get(SERVICES.path(), token="sa"))


def _overloaded(cluster: FakeCluster) -> Response:
    cluster.faults.add(Reply("429"))
    return answer(cluster, get(SERVICES.path()))


REFUSALS: dict[str, Callable[[FakeCluster], Response]] = {
    "unauthorized": lambda cluster: answer(cluster, get(SLICES, token="stale")),
    "forbidden_anonymous": lambda cluster: answer(cluster, get(SLICES, token=None)),
    "list_forbidden": _as_service_account,
    "notfound": lambda cluster: answer(cluster, get("/apis/discovery.k8s.io/v9/endpointslices")),
    "apf_429": _overloaded,
    "version": lambda cluster: answer(cluster, get("/version")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_other_answers_are_the_recorded_ones(name: str) -> None:
    assert_same(name, REFUSALS[name](FakeCluster()))


def test_every_recorded_answer_is_compared() -> None:
    source = Path(__file__).read_text()
    assert [path.stem for path in RESPONSES.glob("*.http") if f'"{path.stem}"' not in source] == []


def test_a_list_without_objects_is_empty_and_not_null_unless_wanted() -> None:
    cluster = holding(ENDPOINT_SLICES, [], 7)
    assert answer(cluster, get(SLICES)).body == list_json(ENDPOINT_SLICES, {"resourceVersion": "7"}, [])
    cluster.behaviour.null_lists = True
    assert json.loads(answer(cluster, get(SLICES)).body)["items"] is None
