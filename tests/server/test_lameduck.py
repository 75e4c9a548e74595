"""SIGTERM with a lame duck time: not ready any more, and otherwise as ever until the time is over."""

from __future__ import annotations

import os
import signal
import time
from itertools import count
from pathlib import Path

import pytest

from tests.server.conftest import Serve
from tests.server.probing import get, http_port, scrape, wait_until
from tests.server.serving import Server, free_port, replace, service

WEB = "web.shop.svc.cluster.local"
LONG = 60  # seconds; no test waits for it


class Site:
    """A Corefile with a lame duck time, and a manifest beside it."""

    def __init__(self, directory: Path) -> None:
        self.manifest = directory / "shop.yaml"
        self.manifest.write_text(service("web", "10.0.0.1"))
        self.corefile = directory / "Corefile.test"

    def serve(self, serve: Serve, lameduck: float, *flags: object, is_ready: bool = True) -> Server:
        self.corefile.write_text(
            ". {\n    bind 127.0.0.1\n    ready 127.0.0.1:0\n    prometheus 127.0.0.1:0\n"
            f"    health 127.0.0.1:0 {{\n        lameduck {lameduck}s\n    }}\n"
            "    kubernetes cluster.local {\n        manifests shop.yaml\n    }\n}\n"
        )
        port = free_port()
        arguments = ("-conf", self.corefile, "-dns.port", port, *flags)
        return serve(*arguments, listen=False, port=port, is_ready=is_ready)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_readiness_ends_with_the_signal_and_answers_do_not(serve: Serve, site: Site) -> None:
    server = site.serve(serve, LONG)
    ready, health = http_port(server, "/ready"), http_port(server, "/health")
    assert get(ready, "/ready") == (200, "OK")
    children = server.children()
    server.send(signal.SIGTERM)
    server.wait_for(f"stopping in {LONG} s: not ready any more, and answering until then")
    assert get(ready, "/ready") == (503, "Shutting down")
    assert get(health, "/health") == (200, "OK")  # a restart would help nobody
    assert scrape(http_port(server, "/metrics"))["kdns_ready"] == 0
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    assert server.addresses(WEB, tcp=True) == ["10.0.0.1"]
    assert server.children() == children


def test_readiness_has_ended_when_the_signal_has_been_taken_in(serve: Serve, site: Site) -> None:
    server = site.serve(serve, LONG)
    ready = http_port(server, "/ready")
    server.send(signal.SIGTERM)
    assert wait_until(ready, "/ready", 503) == "Shutting down"
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}


def test_changes_are_followed_to_the_end(serve: Serve, site: Site) -> None:
    server = site.serve(serve, LONG)
    server.send(signal.SIGTERM)
    server.wait_for("stopping in")
    mark = server.mark()
    replace(site.manifest, service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}


@pytest.mark.parametrize("name", ["kdns-worker-0", "kdns-control"])
def test_a_process_that_dies_meanwhile_is_replaced(serve: Serve, site: Site, name: str) -> None:
    server = site.serve(serve, LONG)
    server.send(signal.SIGTERM)
    server.wait_for("stopping in")
    pid = server.children()[name]
    os.kill(pid, signal.SIGKILL)
    server.wait_for_child(name, other_than=pid)
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}


def test_it_ends_by_itself_with_status_0(serve: Serve, site: Site) -> None:
    server = site.serve(serve, 0.5)
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    log = server.log
    assert log.index("stopping in 0.5 s") < log.index("stopping: finishing what has arrived")


def test_a_second_signal_drains_and_a_third_one_ends_at_once(serve: Serve, site: Site) -> None:
    server = site.serve(serve, LONG)
    with server.connect() as client:
        client.sendall(b"\x00\x20half a query")
        assert server.ask(WEB, tcp=True).answer  # so that the worker has had time to read the other one
        for announced in ("stopping in", "stopping: finishing"):
            server.send(signal.SIGTERM)
            server.wait_for(announced)
        assert server.stop() == 0


def test_a_second_signal_ends_it_when_nobody_is_connected(serve: Serve, site: Site) -> None:
    server = site.serve(serve, LONG)
    server.send(signal.SIGINT)
    server.wait_for("stopping in")
    assert server.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(("lameduck", "flag"), [(0, ()), (LONG, ("--lameduck", "0s"))])
def test_without_a_lame_duck_time_nothing_is_slower(
    serve: Serve, site: Site, lameduck: int, flag: tuple[str, ...]
) -> None:
    server = site.serve(serve, lameduck, *flag)
    assert server.stop() == 0
    assert "stopping in" not in server.log


def test_the_flag_sets_a_time_that_the_corefile_does_not(serve: Serve, site: Site) -> None:
    server = site.serve(serve, 0, "--lameduck", "1m")
    server.send(signal.SIGTERM)
    server.wait_for("stopping in 60 s")
    assert server.addresses(WEB) == ["10.0.0.1"]


def test_what_was_never_ready_ends_at_once(serve: Serve, site: Site) -> None:
    changes = count(time.time_ns() + 10**12, 10**9)

    def change() -> None:
        """It is not read while it changes."""
        os.utime(site.manifest, ns=(0, next(changes)))

    change()
    server = site.serve(serve, LONG, is_ready=False)
    while "kdns-worker-1" not in server.children():
        change()
    server.send(signal.SIGTERM)
    while server.process.poll() is None:
        change()
    assert server.wait() == 0
    assert "stopping in" not in server.log


def test_a_reload_is_not_begun_any_more(serve: Serve, site: Site) -> None:
    server = site.serve(serve, LONG)
    server.send(signal.SIGTERM)
    server.wait_for("stopping in")
    children = server.children()
    server.send(signal.SIGHUP)
    server.wait_for("reload ignored: kdns is stopping")
    assert server.children() == children
    assert server.addresses(WEB) == ["10.0.0.1"]
