"""The fake behind sockets, in a thread: what a client sees of it, and of its faults."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from urllib.parse import urlencode

import pytest
from kubernetes import client, config

from tests.support.fakeapi import kubeconfig
from tests.support.fakeapi.builders import namespace, port, service
from tests.support.fakeapi.faults import BEFORE_ANSWER, Cut, Reply
from tests.support.fakeapi.resources import SERVICES
from tests.support.fakeapi.server import FakeApiServer
from tests.support.fakeapi.statuses import LAST_CHUNK
from tests.unit.fakeapi.asking import PATIENCE_SECONDS, opened, raw_connection, read_line

SERVICES_PATH = SERVICES.path()
# 40 MB of events: more than the sockets of both sides and the server's buffer hold.
SLOW_EVENTS_MAX = 400


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as one:
        yield one


@pytest.fixture
def plain() -> Iterator[FakeApiServer]:
    with FakeApiServer(tls=False) as one:
        yield one


def watching(**query: str) -> str:
    return f"{SERVICES_PATH}?{urlencode({'watch': '1', **query})}"


def web() -> list[dict[str, object]]:
    return [namespace("shop"), service("shop", "web", [port(80)])]


def test_a_watch_shows_what_is_written_while_it_is_open(server: FakeApiServer) -> None:
    with opened(server, watching(resourceVersion=str(server.control.rv()))) as response:
        server.control.apply(*web())
        assert read_line(response)["object"]["metadata"]["name"] == "web"
        server.control.delete("services", "shop", "web")
        assert read_line(response)["type"] == "DELETED"


def test_headers_come_before_any_event(server: FakeApiServer) -> None:
    with opened(server, watching(resourceVersion=str(server.control.rv()))) as response:
        assert response.status == 200
        assert response.getheader("Transfer-Encoding") == "chunked"


def test_a_watch_ends_with_its_timeout_and_a_terminating_chunk(server: FakeApiServer) -> None:
    with opened(server, watching(resourceVersion=str(server.control.rv()), timeoutSeconds="1")) as response:
        assert response.read() == b""


def test_a_connection_is_kept_for_the_next_request(plain: FakeApiServer) -> None:
    with raw_connection(plain) as one:
        for _ in range(3):
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
            answer = one.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("framing", "first"), [("real", b"800\r\n"), ("octets", b"1\r\n{\r\n1\r\n"), ("random", b"")]
)
def test_bodies_are_cut_as_framing_says_and_are_whole_all_the_same(
    plain: FakeApiServer, framing: str, first: bytes
) -> None:
    plain.framing = framing
    plain.control.apply(namespace("shop"), *(service("shop", f"web-{i}", [port(80)]) for i in range(9)))
    with raw_connection(plain) as one:
        one.sendall(
            f"GET {SERVICES_PATH} HTTP/1.1\r\nAuthorization: Bearer admin-token\r\nConnection: close\r\n\r\n".encode()
        )
        wire = b"".join(iter(lambda: one.recv(65536), b""))
    assert wire.partition(b"\r\n\r\n")[2].startswith(first)
    with opened(plain, SERVICES_PATH) as response:
        assert len(json.load(response)["items"]) == 10


def test_a_large_list_is_compressed_for_who_asks_for_it(server: FakeApiServer) -> None:
    server.control.apply(namespace("shop"), *(service("shop", f"web-{i}", [port(80)]) for i in range(200)))
    with opened(server, SERVICES_PATH) as response:
        assert response.getheader("Content-Encoding") is None
        whole = response.read()
    with opened(server, SERVICES_PATH, Accept_Encoding="gzip") as response:
        assert response.getheader("Content-Encoding") == "gzip"
        assert gzip.decompress(response.read()) == whole


def test_a_killed_server_ends_watches_without_a_terminating_chunk_and_starts_where_it_was(
    server: FakeApiServer,
) -> None:
    server.control.apply(*web())
    rv, before = server.control.rv(), server.port
    with opened(server, watching(resourceVersion=str(rv))) as response:
        server.kill()
        with pytest.raises(IncompleteRead):
            response.read()
    with pytest.raises(ConnectionRefusedError), opened(server, SERVICES_PATH):
        pass
    server.control.delete("services", "shop", "web")
    server.start()
    assert server.port == before
    with opened(server, watching(resourceVersion=str(rv))) as response:
        assert read_line(response)["object"]["code"] == 410


def test_a_stopped_server_ends_watches_cleanly(server: FakeApiServer) -> None:
    with opened(server, watching(resourceVersion=str(server.control.rv()))) as response:
        server.stop()
        assert response.read() == b""


def test_a_server_that_refuses_goes_on_with_what_is_open(server: FakeApiServer) -> None:
    with opened(server, watching(resourceVersion=str(server.control.rv()))) as response:
        server.refuse()
        with pytest.raises(ConnectionRefusedError), opened(server, SERVICES_PATH):
            pass
        server.control.apply(*web())
        assert read_line(response)["type"] == "ADDED"
    server.accept()
    with opened(server, SERVICES_PATH) as response:
        assert response.status == 200


@pytest.mark.parametrize("certificate", ["foreign", "wrong name"])
def test_a_certificate_that_is_not_to_be_trusted_fails_the_handshake(server: FakeApiServer, certificate: str) -> None:
    server.present(certificate)
    with pytest.raises(ssl.SSLCertVerificationError), opened(server, SERVICES_PATH):
        pass
    server.present("trusted")
    with opened(server, SERVICES_PATH) as response:
        assert response.status == 200


def test_a_stalled_server_sends_nothing_until_it_goes_on(plain: FakeApiServer) -> None:
    with raw_connection(plain) as one:
        one.settimeout(0.2)
        plain.stall()
        one.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            one.recv(1)
        one.settimeout(PATIENCE_SECONDS)
        plain.stall(False)
        assert one.recv(8) == b"HTTP/1.1"


@pytest.mark.parametrize("kind", ["reset", "eof", "half-close"])
@pytest.mark.parametrize("after", [BEFORE_ANSWER, 0, 700])
@pytest.mark.parametrize("server_name", ["server", "plain"])
def test_a_cut_list_is_no_list(server_name: str, kind: str, after: int, request: pytest.FixtureRequest) -> None:
    one: FakeApiServer = request.getfixturevalue(server_name)
    one.control.apply(*web())
    one.control.fault(Cut(kind, after), "services", on="list")
    with (
        pytest.raises((HTTPException, ConnectionError, ssl.SSLError)),
        opened(one, SERVICES_PATH) as response,
    ):
        response.read()
    with opened(one, SERVICES_PATH) as response:
        assert len(json.load(response)["items"]) == 2


def test_a_watch_is_cut_in_the_middle_of_a_line(plain: FakeApiServer) -> None:
    rv = plain.control.rv()
    plain.control.apply(*web())
    plain.control.fault(Cut("eof", 100), "services", on="watch")
    with opened(plain, watching(resourceVersion=str(rv))) as response:
        with pytest.raises(IncompleteRead) as broken:
            response.read()
        assert len(broken.value.partial) == 100
    with opened(plain, watching(resourceVersion=str(rv))) as response:
        assert read_line(response)["type"] == "ADDED"


def test_a_cut_that_stalls_keeps_the_socket_open(plain: FakeApiServer) -> None:
    plain.control.fault(Cut("stall", 10), "services", on="list")
    with opened(plain, SERVICES_PATH) as response:
        assert response.read1(10) == b'{"kind":"S'
        plain.control.create(namespace("shop"))
        assert plain.connections() == 1


def test_a_drip_is_slow_and_whole(plain: FakeApiServer) -> None:
    plain.control.fault(Cut("drip", 0, interval=0.0), "services", on="list")
    with opened(plain, SERVICES_PATH) as response:
        assert len(json.load(response)["items"]) == 1


def test_all_connections_can_be_reset(plain: FakeApiServer) -> None:
    with opened(plain, watching(resourceVersion=str(plain.control.rv()))) as response:
        plain.reset_connections()
        with pytest.raises(ConnectionResetError):
            response.read(1)


def test_a_fault_is_for_the_requests_that_it_names(server: FakeApiServer) -> None:
    server.control.fault(Reply("503"), "services", on="list", times=2, after=1)
    statuses = []
    for _ in range(4):
        with opened(server, SERVICES_PATH) as response:
            statuses.append(response.status)
    assert statuses == [200, 503, 503, 200]
    assert [seen["status"] for seen in server.control.requests("services", "list")] == statuses


def test_lines_can_be_put_into_an_open_watch(server: FakeApiServer) -> None:
    with opened(server, watching(resourceVersion=str(server.control.rv()))) as response:
        server.control.say("services", b'{"type":"HEARTBEAT","object":{}}\n')
        assert response.readline() == b'{"type":"HEARTBEAT","object":{}}\n'


def test_who_stops_reading_is_closed_without_an_error_event(plain: FakeApiServer) -> None:
    plain.control.apply(namespace("shop"))
    with raw_connection(plain) as one:
        path = watching(resourceVersion=str(plain.control.rv()))
        head = f"GET {path} HTTP/1.1\r\nAuthorization: Bearer admin-token\r\nConnection: close\r\n\r\n"
        one.sendall(head.encode())
        assert one.recv(8) == b"HTTP/1.1"
        for number in range(SLOW_EVENTS_MAX):
            plain.control.apply({**service("shop", "web", [port(80)], {"n": str(number)}), "padding": "x" * 100_000})
            if not plain.control.open_watches("services"):
                break
        assert plain.control.open_watches("services") == 0
        wire = b"".join(iter(lambda: one.recv(1 << 20), b""))
    assert wire.endswith(LAST_CHUNK)
    assert b'"ERROR"' not in wire


@pytest.mark.parametrize("kind", ["token", "tokenFile", "certificate"])
def test_the_kubernetes_package_gets_in_with_the_kubeconfig_that_is_written(
    server: FakeApiServer, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "token").write_text("admin-token")
    users = {
        "token": kubeconfig.token_user(),
        "tokenFile": kubeconfig.token_file_user(tmp_path / "token"),
        "certificate": kubeconfig.certificate_user(server.certificates),
    }
    path = server.kubeconfig(tmp_path / "config", users[kind])
    with config.new_client_from_config(str(path)) as api:
        found = client.CoreV1Api(api).list_service_for_all_namespaces()
    assert [item.metadata.name for item in found.items] == ["kubernetes"]


def test_objects_are_written_over_http_too(server: FakeApiServer) -> None:
    with opened(server, "/api/v1/namespaces", "POST", body=namespace("shop")) as response:
        assert response.status == 201
    path = SERVICES.path("shop")
    with opened(server, path, "POST", body=service("shop", "web", [port(80)])) as response:
        made = json.load(response)
    with opened(server, path, "POST", body=service("shop", "web", [port(80)])) as response:
        assert (response.status, json.load(response)["reason"]) == (409, "AlreadyExists")
    patch = {"metadata": {"labels": {"tier": "front"}}}
    merge = "application/merge-patch+json"
    with opened(server, f"{path}/web", "PATCH", body=patch, Content_Type=merge) as response:
        assert json.load(response)["metadata"]["labels"] == {"tier": "front"}
    with opened(server, f"{path}/web", "PUT", body=made) as response:
        assert (response.status, json.load(response)["reason"]) == (409, "Conflict")
    with opened(server, f"{path}/web", "DELETE") as response:
        assert json.load(response)["status"] == "Success"
    with opened(server, f"{path}/web") as response:
        assert (response.status, json.load(response)["message"]) == (404, 'services "web" not found')


def test_a_replica_that_lags_is_silent_until_it_has_caught_up(server: FakeApiServer) -> None:
    replica = server.control.add_server(lag_seconds=0.3)
    server.control.apply(*web())
    server.replica = replica
    with opened(server, watching(resourceVersion=str(server.control.rv()))) as response:
        server.control.apply(service("shop", "api", [port(80)]))
        written = time.monotonic()
        assert read_line(response)["object"]["metadata"]["name"] == "api"
    assert time.monotonic() - written > 0.25
    server.replica = 0
    with opened(server, watching(resourceVersion=str(server.control.rv() - 1))) as response:
        assert read_line(response)["object"]["metadata"]["name"] == "api"


def test_the_certificate_of_a_user_is_enough(server: FakeApiServer) -> None:
    context = server.certificates.client_context(with_certificate=True)
    with opened(server, SERVICES_PATH, token="", context=context) as response:
        assert response.status == 200
    with opened(server, SERVICES_PATH, token="") as response:
        assert response.status == 403


def test_nothing_is_left_when_it_is_over() -> None:
    before = threading.active_count()
    with FakeApiServer() as server, opened(server, watching(resourceVersion=str(server.control.rv()))):
        pass
    assert threading.active_count() == before


def test_a_port_that_is_taken_is_an_error_in_start() -> None:
    with FakeApiServer(tls=False) as first, pytest.raises(OSError, match="in use"):
        FakeApiServer(tls=False, port=first.port).start()
