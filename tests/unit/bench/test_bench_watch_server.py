"""The made-up cluster of the watch benchmarks, and the API server that serves it: true where it matters, and the same
each time."""

from __future__ import annotations

import base64
import json
import math
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from bench.watchdata import LIST_VERSION, Plan, Toggler
from bench.watchserver import (
    CHUNK_OCTETS,
    KINDS,
    NAMESPACES,
    SERVICES,
    SLICES,
    ApiProcess,
    ApiServer,
    Catalogue,
    Churn,
    Mood,
    chunked,
    event,
)
from kdns.kube.mirror import Mirror, resources_for
from kdns.kube.objects import EndpointSlice
from kdns.kube.schema import SchemaOptions
from kdns.server.apiclient import ApiAccess, connect_to
from kdns.server.response import Response
from kdns.server.streams import Streams
from tests.support.arrivals import Heard, get, streaming

PLAN = Plan(services=20, endpoints=7)

# Data


def test_the_same_plan_gives_the_same_octets() -> None:
    one, other = Catalogue(PLAN), Catalogue(Plan(services=20, endpoints=7))
    assert one.objects == other.objects
    assert {path: len(objects) for path, objects in one.objects.items()} == {NAMESPACES: 20, SERVICES: 20, SLICES: 20}


def test_objects_are_what_an_api_server_writes() -> None:
    for path, objects in Catalogue(PLAN).objects.items():
        version, kind = KINDS[path]
        read = [json.loads(one) for one in objects]
        assert {(one["apiVersion"], one["kind"]) for one in read} == {(version, kind)}
        assert len({one["metadata"]["uid"] for one in read}) == len(read)
        assert all(0 < int(one["metadata"]["resourceVersion"]) < LIST_VERSION for one in read)


@pytest.mark.parametrize("plan", [PLAN, Plan(10_000, 15), Plan(10_000, 100)])
def test_addresses_are_distinct_usable_and_those_of_the_node(plan: Plan) -> None:
    step = max(1, plan.services // 500)
    places = [(service, endpoint) for service in range(0, plan.services, step) for endpoint in range(plan.endpoints)]
    addresses = [plan.address(*place) for place in places]
    assert len(set(addresses)) == len(places)
    assert all(address in ip_network("10.0.0.0/8") for address in addresses)
    for place, address in zip(places, addresses, strict=True):
        assert int(address) >> 8 == (10 << 16) + plan.node(*place)
        assert 2 <= int(address) & 255 < 255


def test_a_slice_of_a_hundred_endpoints_is_as_large_as_a_real_one() -> None:
    assert 25_000 < len(Plan(1, 100).slice(0, 1)) < 32_000


def test_a_slice_says_who_is_ready() -> None:
    piece = json.loads(PLAN.slice(3, 9, frozenset((2,))))
    ready = [one["conditions"]["ready"] for one in piece["endpoints"]]
    assert ready == [endpoint != 2 for endpoint in range(7)]
    assert [ip_address(one["addresses"][0]) for one in piece["endpoints"]] == [PLAN.address(3, n) for n in range(7)]


def test_an_endpoint_that_has_failed_is_the_one_that_comes_back() -> None:
    toggler = Toggler(PLAN)
    first, second, third = toggler.toggle(3, 2), toggler.toggle(3, 5), toggler.toggle(3, 5)
    assert [(one.endpoint, one.is_ready) for one in (first, second, third)] == [(2, False), (2, True), (5, False)]
    versions = [int(json.loads(one.piece)["metadata"]["resourceVersion"]) for one in (first, second, third)]
    assert versions == [LIST_VERSION + 1, LIST_VERSION + 2, LIST_VERSION + 3]


def test_kdns_understands_all_of_it() -> None:
    options = SchemaOptions()
    mirror = Mirror(0, options, resources_for(options, ""), random.Random(1), 0.0)
    catalogue = Catalogue(PLAN)
    for owner, request in list(mirror.requests()):
        mirror.opened(owner, request.number, 200, {}, 1.0)
        for block in catalogue.watch_list(request.path):
            mirror.received(owner, request.number, block, 1.0)
    turn = mirror.turn(1.0, 1)
    assert (mirror.lacks, turn.notices) == (0, [])
    slices = [one for one in mirror.store._objects["EndpointSlice"].values() if isinstance(one, EndpointSlice)]
    assert sum(one.endpoints for one in slices) == 140


# Churn


def test_churn_comes_at_its_rate_and_ends() -> None:
    churn = Churn(rate=1000.0, seconds=2.0, seed=4)
    churn.start(now=50.0)
    toggler, dues = Toggler(PLAN), []
    while churn.due < math.inf:
        dues.append(churn.due)
        churn.next_event(toggler)
    assert dues == sorted(dues)
    assert 50.0 < dues[0] <= dues[-1] < 52.0
    assert 1800 < len(dues) == churn.sent < 2200


def test_a_service_that_is_spared_has_no_events() -> None:
    churn = Churn(rate=1000.0, seconds=1.0, seed=4, spared=6)
    churn.start(now=0.0)
    toggler = Toggler(PLAN)
    names = {json.loads(churn.next_event(toggler))["object"]["metadata"]["name"][8:13] for _ in range(300)}
    assert names == {f"{number:05d}" for number in range(20) if number != 6}


# HTTP


def test_chunks_are_those_of_an_api_server() -> None:
    data = bytes(range(256)) * 20
    sent = chunked(data)
    assert sent.startswith(b"800\r\n")
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert response.feed(sent) == data
    assert sent.count(b"800\r\n") == len(data) // CHUNK_OCTETS


@contextmanager
def _served(tmp_path: Path) -> Iterator[tuple[ApiServer, Heard, Streams, Callable[[Callable[[], None]], None]]]:
    """A server that a thread steps, and streams of it."""
    over = threading.Event()
    with ApiServer(Catalogue(PLAN)) as server:
        todo: list[Callable[[], None]] = []

        def step() -> None:
            while not over.is_set():
                server.step(0.01)
                while todo:
                    todo.pop(0)()

        thread = threading.Thread(target=step)
        thread.start()
        client = connect_to(ApiAccess(kubeconfig=str(server.write_kubeconfig(tmp_path / "config"))))
        try:
            with streaming(client) as (streams, heard):
                yield server, heard, streams, todo.append
        finally:
            over.set()
            thread.join()


WATCH = (("watch", "1"), ("allowWatchBookmarks", "true"))


def _lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line.endswith(b"}")]


def test_a_watch_list_shows_all_and_then_what_changes(tmp_path: Path) -> None:
    with _served(tmp_path) as (server, heard, streams, do):
        streams.open(1, get(SLICES, *WATCH, ("sendInitialEvents", "true")))
        heard.until(lambda: b"initial-events-end" in heard.received(1, 1).body)
        do(lambda: server.tell(SLICES, event("MODIFIED", PLAN.slice(1, LIST_VERSION + 1))) and None)
        heard.until(lambda: b"MODIFIED" in heard.received(1, 1).body and heard.received(1, 1).body.endswith(b"\n"))
        lines = _lines(heard.received(1, 1).body)
        assert [line["type"] for line in lines] == ["ADDED"] * 20 + ["BOOKMARK", "MODIFIED"]
        assert lines[20]["object"]["metadata"]["resourceVersion"] == str(LIST_VERSION)
        assert (server.statistics.watch_lists, server.statistics.watches, server.watchers) == (1, 0, 1)
        assert 0 < server.statistics.list_began_ns <= server.statistics.list_ended_ns


def test_pages_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    with _served(tmp_path) as (server, heard, streams, _):
        names, token = [], ""
        for number in range(3):
            onwards = (("continue", token),) if token else ()
            streams.open(number, get(SERVICES, ("limit", "8"), *onwards))
            page = json.loads(heard.answer(number).body)
            names += [one["metadata"]["name"] for one in page["items"]]
            token = page["metadata"].get("continue", "")
        assert (names, token) == ([f"service-{number:05d}" for number in range(20)], "")
        assert server.statistics.pages == 3


def test_expired_watches_are_told_so_and_ended(tmp_path: Path) -> None:
    with _served(tmp_path) as (server, heard, streams, do):
        streams.open(1, get(SLICES, *WATCH, ("resourceVersion", "5")))
        heard.opened(1)
        do(lambda: server.expire(SLICES))
        answer = heard.answer(1)
        assert answer.failure is None
        assert _lines(answer.body)[0]["object"]["code"] == 410


@pytest.mark.parametrize(("mood", "status"), [(Mood(status=500), 500), (Mood(status=403), 403), (Mood(False), 422)])
def test_moods_are_answered_with(tmp_path: Path, mood: Mood, status: int) -> None:
    with _served(tmp_path) as (server, heard, streams, _):
        server.mood = mood
        streams.open(1, get(SLICES, *WATCH, ("sendInitialEvents", "true")))
        answer = heard.answer(1)
        assert (answer.status, json.loads(answer.body)["code"]) == (status, status)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with _served(tmp_path) as (_, heard, streams, _):
        streams.open(1, get("/api/v1/pods"))
        assert heard.answer(1).status == 404


def test_its_process_does_what_it_is_told_and_ends_with_its_input(tmp_path: Path) -> None:
    with ApiProcess(PLAN, tmp_path, [0]) as api:
        trusted = ssl.create_default_context(cadata=_ca(api.kubeconfig))
        with (
            socket.create_connection(("127.0.0.1", api.port)) as sock,
            trusted.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
        ):
            tls.sendall(f"GET {SLICES}?watch=1&resourceVersion=9 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            stream = tls.makefile("rb")
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            assert api.statistics()["watches"] == 1
            api.churn(rate=1000.0, seconds=0.05)
            while b"MODIFIED" not in stream.readline():
                pass
            assert api.statistics()["events"] >= 1
        api.behave(status=403)
        assert api.statistics()["connections"] == 1
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", api.port))


def test_a_kubeconfig_with_another_ca_does_not_trust_it(tmp_path: Path) -> None:
    with ApiProcess(PLAN, tmp_path, [0]) as api:
        foreign = ssl.create_default_context(cadata=_ca(api.foreign_kubeconfig))
        with (
            socket.create_connection(("127.0.0.1", api.port)) as sock,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            foreign.wrap_socket(sock, server_hostname="127.0.0.1")


def _ca(kubeconfig: Path) -> str:
    cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()
