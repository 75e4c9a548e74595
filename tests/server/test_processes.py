"""Processes that die, hang or are told to go: answers go on, data is current afterwards, nobody is left behind."""

from __future__ import annotations

import os
import select
import signal
import socket
from pathlib import Path

import dns.message
import pytest

from tests.server.conftest import Serve
from tests.server.probing import get, http_port
from tests.server.serving import Server, free_port, is_alive, replace, service
from tests.server.watched import wait_until
from tests.support.stopping import stop

WEB = "web.shop.svc.cluster.local"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(service("web", "10.0.0.1"))
    return path


def test_ready_names_workers_services_and_addresses(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    line = server.wait_for(r"\] ready: ")
    assert "2 workers" in line
    assert "1 services" in line
    assert f"127.0.0.1:{server.port}" in line
    assert set(server.children()) == {"kdns-control", "kdns-worker-0", "kdns-worker-1"}


def test_udp_and_tcp_are_answered(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    assert server.addresses(WEB) == ["10.0.0.1"]
    assert server.addresses(WEB, tcp=True) == ["10.0.0.1"]


def test_sigterm_ends_all_processes_with_status_0(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    children = server.children().values()
    assert server.stop(signal.SIGTERM) == 0
    assert not any(map(is_alive, children))


def test_sigint_ends_with_status_0(serve: Serve, manifest: Path) -> None:
    assert serve("--manifests", manifest).stop(signal.SIGINT) == 0


def test_a_second_sigterm_ends_at_once_whatever_a_client_holds_open(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    with server.connect() as client:
        client.sendall(b"\x00\x20half a query")
        assert server.ask(WEB, tcp=True).answer  # so that the worker has had time to read the other one
        server.send(signal.SIGTERM)
        server.wait_for("stopping")
        assert server.stop(signal.SIGTERM) == 0


def test_sigterm_lets_a_connection_complete_its_query(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=1)
    query = dns.message.make_query(WEB, "A").to_wire(prepend_length=True)
    with server.connect() as client:
        client.sendall(query[:5])
        server.ask(WEB, tcp=True)
        server.send(signal.SIGTERM)
        server.wait_for("stopping")
        client.sendall(query[5:])
        reply = dns.message.from_wire(_read_frame(client))
        assert reply.answer[0][0].to_text() == "10.0.0.1"
        assert client.recv(1) == b""
    assert server.wait() == 0


def test_queries_that_wait_in_the_queue_are_answered_before_the_end(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=1)
    worker = server.children()["kdns-worker-0"]
    with _client(server) as client:
        stop(worker)
        _send(client, 50)
        server.send(signal.SIGTERM)
        server.wait_for("stopping")
        os.kill(worker, signal.SIGCONT)
        assert _receive(client, 50) == set(range(50))
    assert server.wait() == 0


def test_queries_queued_for_a_killed_worker_are_answered_by_the_next_one(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=1)
    worker = server.children()["kdns-worker-0"]
    with _client(server) as client:
        stop(worker)  # so that all are in the queue when it dies
        _send(client, 200)
        os.kill(worker, signal.SIGKILL)
        assert _receive(client, 200) == set(range(200))
    server.wait_for(rf"worker 0 \(pid {worker}\) was killed by SIGKILL")
    assert server.children()["kdns-worker-0"] != worker


def test_a_worker_forked_late_answers_from_what_changed_since_the_start(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    replace(manifest, service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    worker = server.children()["kdns-worker-0"]
    os.kill(worker, signal.SIGKILL)
    server.wait_for_child("kdns-worker-0", other_than=worker)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}


def test_a_change_while_a_worker_is_being_replaced_is_visible_only_when_the_new_one_has_it(
    serve: Serve, manifest: Path
) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    os.kill(server.children()["kdns-worker-1"], signal.SIGKILL)
    replace(manifest, service("web", "10.0.0.2"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}


def test_a_hanging_worker_is_killed_and_replaced(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=1)
    worker = server.children()["kdns-worker-0"]
    with _client(server) as client:
        stop(worker)
        _send(client, 10)
        server.wait_for(rf"worker 0 \(pid {worker}\) is stuck")
        assert _receive(client, 10) == set(range(10))
    assert not is_alive(worker)


def test_without_control_answers_go_on_and_data_is_current_when_there_is_one_again(
    serve: Serve, manifest: Path
) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    control = server.children()["kdns-control"]
    stop(control)
    replace(manifest, service("web", "10.0.0.2") + service("new", "10.0.0.3"))
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    os.kill(control, signal.SIGKILL)
    server.wait_for("current again", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}
    mark = server.mark()
    replace(manifest, service("web", "10.0.0.4"))
    server.wait_for("visible:", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.4",)}


def test_a_stopped_control_is_replaced_and_the_data_is_current_afterwards(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    stop(server.children()["kdns-control"])
    replace(manifest, service("web", "10.0.0.2"))
    server.wait_for(r"control \(pid \d+\) is stopped: it is killed and replaced", after=mark)
    server.wait_for("current again", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}


def test_a_new_control_withdraws_nothing_while_a_file_is_broken_and_goes_on_when_it_is_repaired(
    serve: Serve, manifest: Path
) -> None:
    server = serve("--manifests", manifest)
    mark = server.mark()
    manifest.write_text("kind: [")
    server.wait_for(r"\[ERROR\] .*shop.yaml:2:1: not YAML", after=mark)
    mark = server.mark()
    os.kill(server.children()["kdns-control"], signal.SIGKILL)
    server.wait_for(r"\[ERROR\] .*shop.yaml:2:1: not YAML", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    replace(manifest, service("web", "10.0.0.2"))
    server.wait_for("current again", after=mark)
    assert server.addresses_everywhere(WEB) == {("10.0.0.2",)}


def test_a_killed_supervisor_leaves_nobody_behind(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    handles = [os.pidfd_open(pid) for pid in server.children().values()]
    server.process.kill()
    for handle in handles:
        _await_end(handle)
        os.close(handle)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind((server.address, server.port))


def test_a_worker_that_dies_again_and_again_is_restarted_with_growing_delays(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest)
    for delay in ("restarted$", r"restarted in 0\.1 s", r"restarted in 0\.2 s"):
        mark = server.mark()
        worker = server.wait_for_child("kdns-worker-0")
        os.kill(worker, signal.SIGKILL)
        server.wait_for(rf"worker 0 \(pid {worker}\) .*{delay}", after=mark)
        server.wait_for_child("kdns-worker-0", other_than=worker)
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}


def test_children_hold_no_descriptors_of_each_other(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, workers=2)
    children = server.children()
    sockets = {name: _sockets(pid) for name, pid in children.items()}
    assert not sockets["kdns-worker-0"] & sockets["kdns-worker-1"]
    assert not sockets["kdns-control"] & sockets["kdns-worker-0"]
    assert len(sockets["kdns-control"] & _sockets(server.process.pid)) == 2  # a feed for each worker


def test_children_hold_no_sockets_of_the_http_endpoints(serve: Serve, manifest: Path, tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile.test"
    corefile.write_text(". {\n bind 127.0.0.1\n whoami\n health 127.0.0.1:0\n}\n")
    port = free_port()
    server = serve("-conf", corefile, "-dns.port", port, listen=False, port=port, workers=1)
    http = http_port(server, "/health")
    with socket.create_connection(("127.0.0.1", http)):
        worker = server.children()["kdns-worker-0"]
        os.kill(worker, signal.SIGKILL)  # the next one is forked while there is a connection
        server.wait_for_child("kdns-worker-0", other_than=worker)
        assert get(http, "/health") == (200, "OK")
        server.ask("example.org")  # the new worker is beyond its first steps

        def left() -> int:
            """Sockets of the supervisor alone."""
            return len(_sockets(server.process.pid) - set().union(*map(_sockets, server.children().values())))

        # The listening socket, the connection, and the pair that signals come by; soon not that of `get` any more.
        wait_until(left, 4)


def test_quiet_logs_nothing_that_is_as_it_should_be(serve: Serve, manifest: Path) -> None:
    server = serve("--manifests", manifest, "-quiet", is_ready=False)
    server.wait_until_open()
    assert server.addresses(WEB) == ["10.0.0.1"]
    assert server.stop() == 0
    assert server.log == ""


def _client(server: Server) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    client.connect((server.address, server.port))
    client.settimeout(10)
    return client


def _send(client: socket.socket, count: int) -> None:
    for number in range(count):
        client.send(dns.message.make_query(WEB, "A", id=number).to_wire())


def _receive(client: socket.socket, count: int) -> set[int]:
    replies = [dns.message.from_wire(client.recv(4096)) for _ in range(count)]
    assert all(reply.answer for reply in replies)
    return {reply.id for reply in replies}


def _read_frame(client: socket.socket) -> bytes:
    with client.makefile("rb") as stream:
        return stream.read(int.from_bytes(stream.read(2), "big"))


def _await_end(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(10_000), "a child outlived its supervisor"


def _sockets(pid: int) -> set[str]:
    directory = f"/proc/{pid}/fd"
    links = (os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory) if int(fd) > 2)
    return {link for link in links if link.startswith("socket:")}
