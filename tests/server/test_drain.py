"""The end of a kdns under load: each query is answered or refused, and none is left to wait for nothing.

A resolver that is refused asks another server at once; one that hears nothing waits for seconds.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import dns.message
import pytest

from tests.server.conftest import Serve
from tests.server.serving import PATIENCE, Server, free_port, service
from tests.support.stopping import stop

WEB = "web.shop.svc.cluster.local"
QUERY = dns.message.make_query(WEB, "A", id=0).to_wire()
EVERYWHERE = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.7", "[::1]": "::1", "[::]": "::1"}
CLIENTS = 8
SILENCE_SECONDS = 5.0  # without a reply, a query is lost

everywhere = pytest.mark.parametrize("listen", EVERYWHERE)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(service("web", "10.0.0.1"))
    return path


def _start(serve: Serve, manifest: Path, listen: str) -> Server:
    port = free_port()
    server = serve("--manifests", manifest, "--listen", f"{listen}:{port}", listen=False, port=port)
    server.address = EVERYWHERE[listen]
    return server


def _client(server: Server) -> socket.socket:
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.settimeout(SILENCE_SECONDS)
    client.connect((server.address, server.port))
    return client


class _Asker(threading.Thread):
    """Asks again as soon as it is answered, until it is refused. lost: whether it heard nothing."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.answered = 0
        self.is_refused = self.is_lost = False
        self._client = _client(server)

    def run(self) -> None:
        with self._client as client:
            while not (self.is_refused or self.is_lost):
                try:
                    client.send(QUERY)
                    self.answered += dns.message.from_wire(client.recv(4096)).answer[0][0].to_text() == "10.0.0.1"
                except ConnectionRefusedError:
                    self.is_refused = True
                except TimeoutError:
                    self.is_lost = True


@everywhere
def test_under_load_each_query_is_answered_or_refused(serve: Serve, manifest: Path, listen: str) -> None:
    server = _start(serve, manifest, listen)
    askers = [_Asker(server) for _ in range(CLIENTS)]
    with server.connect() as slow:
        slow.sendall(b"\x00\x20half a query")  # for this the workers stay a while, and read nothing else
        assert server.ask(WEB, tcp=True).answer
        for asker in askers:
            asker.start()
        server.send(signal.SIGTERM)
        for asker in askers:
            asker.join(PATIENCE)
        assert server.process.poll() is None  # they were refused while it was still there
    assert [asker.is_lost for asker in askers] == [False] * CLIENTS
    assert all(asker.is_refused for asker in askers)
    assert server.wait() == 0


@everywhere
def test_what_waits_in_the_queue_is_answered_after_new_queries_are_refused(
    serve: Serve, manifest: Path, listen: str
) -> None:
    server = _start(serve, manifest, listen)
    workers = [pid for name, pid in server.children().items() if name.startswith("kdns-worker")]
    clients = [_client(server) for _ in range(CLIENTS)]
    for pid in workers:
        stop(pid)
    for client in clients:
        client.send(QUERY)
    server.send(signal.SIGTERM)
    with _client(server) as late:
        _ask_until_refused(late)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    replies = [dns.message.from_wire(client.recv(4096)) for client in clients]
    assert {reply.answer[0][0].to_text() for reply in replies} == {"10.0.0.1"}
    assert server.wait() == 0
    for client in clients:
        client.close()


def test_connections_are_refused_while_others_complete_their_queries(serve: Serve, manifest: Path) -> None:
    server = _start(serve, manifest, "127.0.0.1")
    query = len(QUERY).to_bytes(2, "big") + QUERY
    with server.connect() as slow, slow.makefile("rb") as stream:
        slow.sendall(query[:9])
        assert server.ask(WEB, tcp=True).answer
        server.send(signal.SIGTERM)
        server.wait_for("stopping")
        _connect_until_refused(server)
        slow.sendall(query[9:])
        reply = dns.message.from_wire(stream.read(int.from_bytes(stream.read(2), "big")))
        assert reply.answer[0][0].to_text() == "10.0.0.1"
    assert server.wait() == 0


def _ask_until_refused(client: socket.socket) -> None:
    client.settimeout(0.05)
    while True:
        try:
            client.send(QUERY)
            client.recv(4096)
        except TimeoutError:
            continue
        except ConnectionRefusedError:
            return


def _connect_until_refused(server: Server) -> None:
    """Until then a connection is accepted, or reset as soon as nobody accepts any more; none is left hanging."""
    while True:
        try:
            with server.connect(SILENCE_SECONDS) as client:
                assert client.recv(1) == b""
        except ConnectionResetError:
            continue
        except ConnectionRefusedError:
            return
