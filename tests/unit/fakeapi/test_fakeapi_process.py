"""The fake in a process of its own: it is killed, stopped, started again, and ends with who started it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest

from tests.support.fakeapi.apiserver import Behaviour
from tests.support.fakeapi.builders import namespace, port, service
from tests.support.fakeapi.faults import Reply
from tests.support.fakeapi.process import FakeApiProcess
from tests.support.fakeapi.resources import SERVICES
from tests.support.fakeapi.statuses import StatusError
from tests.unit.fakeapi.asking import PATIENCE_SECONDS, opened, raw_connection, read_line

REPOSITORY = Path(__file__).parents[3]
SERVICES_PATH = SERVICES.path()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeApiProcess]:
    with FakeApiProcess(tmp_path) as one:
        yield one


def test_it_is_controlled_as_the_thread_is(server: FakeApiProcess) -> None:
    rv = server.control.rv()
    with opened(server, f"{SERVICES_PATH}?watch=1&resourceVersion={rv}") as response:
        server.control.apply(namespace("shop"), service("shop", "web", [port(80)]))
        assert read_line(response)["object"]["metadata"]["name"] == "web"
        assert server.control.open_watches() == 1
    server.control.fault(Reply("503"), "services")
    with opened(server, SERVICES_PATH) as response:
        assert response.status == 503
    assert [seen["status"] for seen in server.control.requests("services")] == [200, 503]


def test_what_goes_wrong_within_is_raised_here(server: FakeApiProcess) -> None:
    operation = "nonsense"
    with pytest.raises(StatusError) as refused:
        server.control.create(service("nowhere", "web", [port(80)]))
    assert refused.value.code == 404
    with pytest.raises(AttributeError):
        getattr(server.control, operation)()


def test_it_is_killed_and_starts_where_it_was(server: FakeApiProcess) -> None:
    server.control.apply(namespace("shop"), service("shop", "web", [port(80)]))
    server.control.set_token("bobs", "bob")
    server.control.allow("bob", "services")
    rv, before, objects = server.control.rv(), server.port, server.control.objects("services")
    server.control.tick()
    with opened(server, f"{SERVICES_PATH}?watch=1&resourceVersion={rv}", token="bobs") as response:
        server.kill()
        with pytest.raises(IncompleteRead):
            response.read()
    with pytest.raises(ConnectionRefusedError), opened(server, SERVICES_PATH):
        pass
    server.start()
    assert server.port == before
    assert server.control.objects("services") == objects
    with opened(server, f"{SERVICES_PATH}?watch=1&resourceVersion={rv}", token="bobs") as response:
        assert read_line(response)["object"]["code"] == 410
    server.control.apply(service("shop", "api", [port(80)]))
    assert int(server.control.objects("services")[1]["metadata"]["resourceVersion"]) > rv


def test_a_rollback_survives_being_killed(server: FakeApiProcess) -> None:
    server.control.apply(namespace("shop"))
    rv = server.control.rv()
    server.control.apply(service("shop", "web", [port(80)]))
    server.control.rollback(rv)
    server.restart()
    assert [each["metadata"]["name"] for each in server.control.objects("services")] == ["kubernetes"]


def test_a_stopped_process_is_silent_on_open_sockets(tmp_path: Path) -> None:
    with FakeApiProcess(tmp_path, tls=False) as server, raw_connection(server) as one:
        server.stop()
        one.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        assert select.select([one], [], [], 0.2)[0] == []
        server.go_on()
        one.settimeout(PATIENCE_SECONDS)
        assert one.recv(8) == b"HTTP/1.1"


def test_the_servers_own_operations_are_within_reach(server: FakeApiProcess) -> None:
    server.server("refuse")
    with pytest.raises(ConnectionRefusedError), opened(server, SERVICES_PATH):
        pass
    server.server("accept")
    server.server("set", "framing", "octets")
    with opened(server, SERVICES_PATH) as response:
        assert len(json.load(response)["items"]) == 1


def test_it_behaves_as_it_was_told_to_from_the_start(tmp_path: Path) -> None:
    with FakeApiProcess(tmp_path, behaviour=Behaviour(watch_list="refused")) as server:
        server.control.behave(null_lists=True)
        server.restart()
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        with opened(server, f"{SERVICES_PATH}?{query}") as response:
            assert response.status == 422
        assert server.control.behaviour().null_lists


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = f"""
        import os, pathlib
        from tests.support.fakeapi.process import FakeApiProcess
        server = FakeApiProcess(pathlib.Path({str(tmp_path)!r})).start()
        print(server.pid, flush=True)
        os._exit(0)
    """
    parent = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=REPOSITORY, capture_output=True, text=True, check=True,
        timeout=30,
    )  # fmt: skip
    child = int(parent.stdout)
    try:
        descriptor = os.pidfd_open(child)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0]
    finally:
        os.close(descriptor)
