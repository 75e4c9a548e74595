"""/health, /ready and /metrics of a running kdns: what they say, and that nobody can do harm there."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.server.conftest import Serve
from tests.server.probing import get, http_port, scrape, wait_for_metric, wait_until
from tests.server.serving import PATIENCE, Server, free_port, service

WEB = "web.shop.svc.cluster.local"


@pytest.fixture
def corefile(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(service("web", "10.0.0.1"))
    path = tmp_path / "Corefile.test"
    _write(path, "health 127.0.0.1:0", "ready 127.0.0.2:0", "prometheus 127.0.0.3:0")
    return path


def _write(path: Path, *directives: str) -> None:
    lines = "\n    ".join(("bind 127.0.0.1", *directives, "kubernetes cluster.local {\n manifests shop.yaml\n }"))
    path.write_text(f". {{\n    {lines}\n}}\n")


def _serve(serve: Serve, corefile: Path, **options: bool) -> Server:
    port = free_port()
    return serve("-conf", corefile, "-dns.port", port, listen=False, port=port, **options)


def test_each_page_is_served_at_its_address(serve: Serve, corefile: Path) -> None:
    server = _serve(serve, corefile)
    assert get(http_port(server, "/health"), "/health", "127.0.0.1") == (200, "OK")
    assert get(http_port(server, "/ready"), "/ready", "127.0.0.2") == (200, "OK")
    status, metrics = get(http_port(server, "/metrics"), "/metrics", "127.0.0.3")
    assert status == 200
    assert 'kdns_workers{state="ready"} 2.0' in metrics
    assert get(http_port(server, "/health"), "/ready", "127.0.0.1")[0] == 404


def test_ready_is_said_when_queries_are_read_and_not_before(serve: Serve, corefile: Path, tmp_path: Path) -> None:
    _write(corefile, "health 127.0.0.1:0", "ready 127.0.0.1:0")
    changes = count(time.time_ns() + 10**12, 10**9)

    def change() -> None:
        """It is not read while it changes."""
        os.utime(tmp_path / "shop.yaml", ns=(0, next(changes)))

    change()
    server = _serve(serve, corefile, is_ready=False)
    port = http_port(server, "/ready")
    for _ in range(20):
        change()
        assert get(port, "/ready") == (503, "workers: 0 of 2 read queries")
        assert get(port, "/health") == (200, "OK")
    assert wait_until(port, "/ready", 200) == "OK"
    assert server.addresses(WEB) == ["10.0.0.1"]


def test_an_address_that_is_taken_ends_the_start_with_its_name(serve: Serve, corefile: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        _write(corefile, "ready 127.0.0.1:0", f"health 127.0.0.1:{taken}")
        server = _serve(serve, corefile, is_ready=False)
        assert server.wait() == 1
    assert f"[ERROR] cannot serve /health on TCP 127.0.0.1:{taken}: address already in use" in server.log


def test_queries_are_counted_over_all_workers_and_their_deaths(serve: Serve, corefile: Path) -> None:
    _write(corefile, "prometheus 127.0.0.1:0")
    server = _serve(serve, corefile)
    port = http_port(server, "/metrics")
    assert "kdns_dns_responses_total" not in scrape(port)
    server.addresses_everywhere(WEB, clients=20)
    server.ask(f"no.{WEB}", "AAAA", tcp=True)
    wait_for_metric(port, "kdns_dns_responses_total", 21)
    assert 'kdns_dns_responses_total{proto="tcp",rcode="NXDOMAIN",type="AAAA"} 1.0' in get(port, "/metrics")[1]
    for name, pid in server.children().items():
        if name != "kdns-control":
            os.kill(pid, signal.SIGKILL)
            server.wait_for_child(name, other_than=pid)
    server.ask(WEB)
    wait_for_metric(port, "kdns_dns_responses_total", 22)


def test_no_counter_goes_back_at_a_reload(serve: Serve, corefile: Path) -> None:
    _write(corefile, "prometheus 127.0.0.1:0")
    server = _serve(serve, corefile)
    port = http_port(server, "/metrics")
    server.addresses_everywhere(WEB, clients=10)
    wait_for_metric(port, "kdns_dns_responses_total", 10)
    for _ in range(2):
        mark = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reloaded", after=mark)
        assert scrape(port)["kdns_dns_responses_total"] == 10
    server.ask(WEB)
    assert wait_for_metric(port, "kdns_dns_responses_total", 11)["kdns_workers"] == 2


def test_a_worker_that_is_replaced_does_not_end_readiness(serve: Serve, corefile: Path) -> None:
    _write(corefile, "ready 127.0.0.1:0")
    server = _serve(serve, corefile)
    port = http_port(server, "/ready")
    worker = server.children()["kdns-worker-0"]
    os.kill(worker, signal.SIGKILL)
    while server.children().get("kdns-worker-0", worker) == worker:
        assert get(port, "/ready") == (200, "OK")
    assert get(port, "/ready") == (200, "OK")


def test_garbage_and_clients_that_hold_connections_harm_neither_probes_nor_supervision(
    serve: Serve, corefile: Path
) -> None:
    _write(corefile, "ready 127.0.0.1:0", "health 127.0.0.1:0")
    server = _serve(serve, corefile)
    port = http_port(server, "/ready")
    with ExitStack() as held:
        for number in range(150):
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            client.sendall((b"", b"GET /ready HT", os.urandom(200), b"\n" * 9000, b"\x16\x03\x01")[number % 5])
        assert get(port, "/ready") == (200, "OK")
        worker = server.children()["kdns-worker-1"]
        os.kill(worker, signal.SIGKILL)
        server.wait_for_child("kdns-worker-1", other_than=worker)
        assert get(port, "/health") == (200, "OK")
        assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    assert server.stop() == 0
    assert "bug" not in server.log


def test_a_scraper_that_hangs_is_no_reason_to_stay(serve: Serve, corefile: Path) -> None:
    _write(corefile, "prometheus 127.0.0.1:0")
    server = _serve(serve, corefile)
    with socket.create_connection(("127.0.0.1", http_port(server, "/metrics")), PATIENCE) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert server.stop() == 0
