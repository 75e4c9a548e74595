"""SIGHUP and SIGUSR1: the configuration is read anew, no query is lost, and a bad one changes nothing."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.server.asker import Asker
from tests.server.conftest import Serve
from tests.server.probing import get, http_port
from tests.server.serving import Server, free_port, is_alive, service, zone

WEB = "web.shop.svc.cluster.local"


class Site:
    """A Corefile with a manifest and two zone files beside it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.corefile = directory / "Corefile.test"
        (directory / "shop.yaml").write_text(service("web", "10.0.0.1"))
        (directory / "a.zone").write_text(zone(1, "www A 192.0.2.1"))
        (directory / "b.zone").write_text(zone(1, "www A 192.0.2.2"))
        self.write("file a.zone example.org")

    def write(self, *directives: str, port: int = 0) -> None:
        lines = "\n    ".join(("bind 127.0.0.1", *directives))
        self.corefile.write_text(f".:{port or self.port} {{\n    {lines}\n}}\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _serve(serve: Serve, site: Site) -> Server:
    return serve("-conf", site.corefile, listen=False, port=site.port)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_reload_serves_the_new_configuration_by_new_processes(
    serve: Serve, site: Site, number: signal.Signals
) -> None:
    server = _serve(serve, site)
    old = server.children()
    mark = server.mark()
    site.write("file b.zone example.org", "kubernetes cluster.local {\n manifests shop.yaml\n }")
    server.send(number)
    server.wait_for("reloaded", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.2",)}
    assert server.addresses_everywhere(WEB) == {("10.0.0.1",)}
    for name, pid in old.items():
        server.wait_for_child(name, other_than=pid)
    assert server.stop() == 0
    assert not any(map(is_alive, old.values()))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("example.org {\n    nonsense\n}\n", "Corefile.test:2:5"),
        ("example.org:0 {\n}\n", "Corefile.test:1"),
        (". {\n    bind 192.0.2.77\n    whoami\n}\n", "cannot listen on UDP 192.0.2.77:53"),
        (". {\n    bind nosuchif0\n    whoami\n}\n", "no interface of that name"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_logged_and_changes_nothing(
    serve: Serve, site: Site, text: str, complaint: str
) -> None:
    server = _serve(serve, site)
    children = server.children()
    mark = server.mark()
    site.corefile.write_text(text)
    server.send(signal.SIGHUP)
    line = server.wait_for("reload failed, the old configuration stays", after=mark)
    assert complaint in line
    assert server.children() == children
    assert server.addresses("www.example.org") == ["192.0.2.1"]


def test_data_that_cannot_be_read_is_logged_and_changes_nothing(serve: Serve, site: Site) -> None:
    server = _serve(serve, site)
    children = server.children()
    mark = server.mark()
    site.write("file missing.zone example.org")
    server.send(signal.SIGHUP)
    server.wait_for(r"\[ERROR\] missing.zone: no such file", after=mark)
    server.wait_for("reload failed, the old configuration stays", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.1",)}
    assert all(map(is_alive, children.values()))
    mark = server.mark()
    site.write("file b.zone example.org")
    server.send(signal.SIGHUP)
    server.wait_for("reloaded", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.2",)}


def test_a_deleted_corefile_is_logged_and_changes_nothing(serve: Serve, site: Site) -> None:
    server = _serve(serve, site)
    site.corefile.unlink()
    server.send(signal.SIGHUP)
    assert "no such file" in server.wait_for("reload failed")
    assert server.addresses("www.example.org") == ["192.0.2.1"]


def test_no_query_is_lost_while_reloading(serve: Serve, site: Site) -> None:
    server = _serve(serve, site)
    client = Asker(server, "www.example.org")
    client.start()
    for _ in range(3):
        mark = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reloaded", after=mark)
    client.is_enough.set()
    client.join(20)
    assert client.asked > 20
    assert client.answered == client.asked


def test_a_reload_moves_to_another_port_and_gives_up_the_old_one(serve: Serve, site: Site) -> None:
    server = _serve(serve, site)
    port = free_port()
    mark = server.mark()
    site.write("file b.zone example.org", port=port)
    server.send(signal.SIGHUP)
    server.wait_for("reloaded", after=mark)
    server.wait_for(f"no longer listening on 127.0.0.1:{site.port}", after=mark)
    server.port = port
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.2",)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as old:
        old.bind(("127.0.0.1", site.port))


def test_an_address_that_was_just_given_up_can_be_had_back(serve: Serve, site: Site) -> None:
    """While its old workers still have something to finish its sockets are there, but refuse queries."""
    server = _serve(serve, site)
    first = site.corefile.read_text()
    with server.connect() as client:
        client.sendall(b"\0")
        assert server.ask("www.example.org", tcp=True).answer  # the connection before it was accepted too
        mark = server.mark()
        site.write("file b.zone example.org", port=free_port())
        server.send(signal.SIGHUP)
        server.wait_for("reloaded", after=mark)
        mark = server.mark()
        site.corefile.write_text(first)
        server.send(signal.SIGHUP)
    server.wait_for(f"no longer listening on 127.0.0.1:{site.port}", after=mark)
    server.wait_for("reloaded", after=mark)
    for tcp in (False, True):
        assert server.ask("www.example.org", tcp=tcp).answer


def test_a_wildcard_can_be_narrowed_to_one_address_of_its_port(serve: Serve, site: Site) -> None:
    site.corefile.write_text(f".:{site.port} {{\n    file a.zone example.org\n}}\n")
    server = _serve(serve, site)
    mark = server.mark()
    site.write("file b.zone example.org")
    server.send(signal.SIGHUP)
    server.wait_for(r"no longer listening on 0\.0\.0\.0:", after=mark)
    assert server.addresses_everywhere("www.example.org") == {("192.0.2.2",)}
    with pytest.raises(OSError, match="refused"):
        server.ask("www.example.org", to="127.0.0.2", tcp=True)


def test_no_query_is_lost_while_an_address_becomes_part_of_a_wildcard_and_back(serve: Serve, site: Site) -> None:
    """The kernel prefers the socket of the address, which nobody reads any more, to that of the wildcard."""
    server = _serve(serve, site)
    client = Asker(server, "www.example.org")
    client.start()
    narrow, wide = site.corefile.read_text(), f".:{site.port} {{\n    file a.zone example.org\n}}\n"
    for text in (wide, narrow):
        mark = server.mark()
        site.corefile.write_text(text)
        server.send(signal.SIGHUP)
        server.wait_for("no longer listening on", after=mark)
    client.is_enough.set()
    client.join(20)
    assert client.asked > 20
    assert client.answered == client.asked


def test_no_query_is_lost_while_other_addresses_come_and_go(serve: Serve, site: Site) -> None:
    server = _serve(serve, site)
    client = Asker(server, "www.example.org")
    client.start()
    one, other = site.corefile.read_text(), free_port()
    for text in (f"{one}.:{other} {{\n    bind 127.0.0.1\n    whoami\n}}\n", one):
        mark = server.mark()
        site.corefile.write_text(text)
        server.send(signal.SIGHUP)
        server.wait_for("reloaded", after=mark)
        if text is one:
            server.wait_for(f"no longer listening on 127.0.0.1:{other}", after=mark)
        else:
            query = dns.message.make_query("www.example.net", "A")
            assert dns.query.udp(query, "127.0.0.1", port=other, timeout=5).additional
    client.is_enough.set()
    client.join(20)
    assert client.answered == client.asked > 20


def test_a_connection_is_answered_to_its_end_across_a_reload(serve: Serve, site: Site) -> None:
    server = _serve(serve, site)
    query = dns.message.make_query("www.example.org", "A").to_wire(prepend_length=True)
    with server.connect() as client, client.makefile("rb") as stream:
        client.sendall(query[:9])
        assert server.ask("www.example.org", tcp=True).answer
        mark = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reloaded", after=mark)
        client.sendall(query[9:])
        reply = dns.message.from_wire(stream.read(int.from_bytes(stream.read(2), "big")))
        assert reply.answer[0][0].to_text() == "192.0.2.1"
        assert stream.read() == b""


def test_http_endpoints_move_with_the_configuration(serve: Serve, site: Site) -> None:
    site.write("whoami", "health 127.0.0.1:0", "ready 127.0.0.1:0")
    server = _serve(serve, site)
    old = http_port(server, "/health")
    assert get(old, "/ready") == (200, "OK")
    mark = server.mark()
    site.write("whoami", "health 127.0.0.1:0", "ready 127.0.0.2:0")
    server.send(signal.SIGHUP)
    new = http_port(server, "/ready", after=mark)
    server.wait_for("reloaded", after=mark)
    assert get(old, "/health") == (200, "OK")
    assert get(old, "/ready")[0] == 404
    assert get(new, "/ready", "127.0.0.2") == (200, "OK")
    mark = server.mark()
    site.write("whoami")
    server.send(signal.SIGHUP)
    server.wait_for("reloaded", after=mark)
    for port, host in ((old, "127.0.0.1"), (new, "127.0.0.2")):
        with pytest.raises(ConnectionRefusedError):
            get(port, "/ready", host)


def test_http_endpoints_can_be_narrowed_to_one_address_of_their_port(serve: Serve, site: Site) -> None:
    port = free_port()
    site.write("whoami", f"health :{port}")
    server = _serve(serve, site)
    assert get(port, "/health", "127.0.0.2") == (200, "OK")
    mark = server.mark()
    site.write("whoami", f"health 127.0.0.1:{port}")
    server.send(signal.SIGHUP)
    server.wait_for("reloaded", after=mark)
    assert get(port, "/health") == (200, "OK")
    with pytest.raises(ConnectionRefusedError):
        get(port, "/health", "127.0.0.2")


@pytest.mark.parametrize("spoilt", ["another http address", "a dns address", "the data"])
def test_a_reload_that_fails_leaves_the_http_endpoints_as_they_were(serve: Serve, site: Site, spoilt: str) -> None:
    site.write("file a.zone example.org", "ready 127.0.0.1:0")
    server = _serve(serve, site)
    port = http_port(server, "/ready")
    mark = server.mark()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        wanted = {
            "another http address": ("file a.zone example.org", f"health 127.0.0.1:{taken}"),
            "a dns address": ("file a.zone example.org", "bind 192.0.2.77"),
            "the data": ("file missing.zone example.org",),
        }[spoilt]
        site.write("ready 127.0.0.2:0", *wanted)
        server.send(signal.SIGHUP)
        server.wait_for("reload failed, the old configuration stays", after=mark)
    assert get(port, "/ready") == (200, "OK")
    if spoilt != "another http address":  # was bound for a moment, and is given up
        with pytest.raises(ConnectionRefusedError):
            get(http_port(server, "/ready", after=mark), "/ready", "127.0.0.2")
    mark = server.mark()
    site.write("file b.zone example.org", "ready 127.0.0.1:0")
    server.send(signal.SIGHUP)
    server.wait_for("reloaded", after=mark)
    assert get(port, "/ready") == (200, "OK")


def test_readiness_stays_while_reloading(serve: Serve, site: Site) -> None:
    site.write("file a.zone example.org", "ready 127.0.0.1:0")
    server = _serve(serve, site)
    port = http_port(server, "/ready")
    mark = server.mark()
    server.send(signal.SIGHUP)
    while not any("reloaded" in line for line in server.lines[mark:]):
        assert get(port, "/ready") == (200, "OK")
