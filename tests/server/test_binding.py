"""Where kdns listens: several addresses, every address, and replies from the address that was asked."""

from __future__ import annotations

import socket
from pathlib import Path

import dns.message
import pytest

from tests.server.conftest import Serve
from tests.server.serving import free_port, has_ipv6, zone


@pytest.fixture
def zone_file(tmp_path: Path) -> Path:
    path = tmp_path / "example.org.zone"
    path.write_text(zone(1))
    return path


@pytest.mark.parametrize("asked", ["127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_wildcard_answers_from_the_address_that_was_asked(
    serve: Serve, zone_file: Path, asked: str, tcp: bool
) -> None:
    if asked == "::1" and not has_ipv6():
        pytest.skip("this kernel has no IPv6")
    port = free_port()
    server = serve("--zones", zone_file, "--listen", f":{port}", listen=False, port=port)
    # dnspython refuses a reply that comes from another address than the one asked.
    assert server.ask("ns.example.org", to=asked, tcp=tcp).answer


def test_a_connected_socket_hears_the_wildcard(serve: Serve, zone_file: Path) -> None:
    port = free_port()
    serve("--zones", zone_file, "--listen", f":{port}", listen=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.2", port))
        for number in range(100):  # more than one batch
            client.send(dns.message.make_query("ns.example.org", "A", id=number).to_wire())
        assert {dns.message.from_wire(client.recv(4096)).id for _ in range(100)} == set(range(100))


def test_several_addresses_are_listened_on_and_no_others(serve: Serve, zone_file: Path) -> None:
    port = free_port()
    listen = ["--listen", f"127.0.0.1:{port}", "--listen", f"127.0.0.3:{port}"]
    server = serve("--zones", zone_file, *listen, listen=False, port=port)
    assert f"127.0.0.1:{port}, 127.0.0.3:{port}" in server.wait_for(r"\] ready:")
    for address in ("127.0.0.1", "127.0.0.3"):
        assert server.ask("ns.example.org", to=address).answer
        assert server.ask("ns.example.org", to=address, tcp=True).answer
    with pytest.raises(ConnectionRefusedError):
        server.ask("ns.example.org", to="127.0.0.2", tcp=True)


def test_an_interface_is_listened_on_by_its_name(serve: Serve, zone_file: Path, tmp_path: Path) -> None:
    port = free_port()
    corefile = tmp_path / "named"
    corefile.write_text(f".:{port} {{\n    bind lo\n    file {zone_file} example.org\n}}\n")
    server = serve("-conf", corefile, listen=False, port=port)
    assert server.ask("ns.example.org").answer


def test_ports_may_serve_different_zones(serve: Serve, zone_file: Path, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    other = tmp_path / "example.net.zone"
    other.write_text(zone(1))
    corefile = tmp_path / "ports"
    corefile.write_text(
        f"example.org:{ports[0]} {{\n bind 127.0.0.1\n file {zone_file}\n}}\n"
        f"example.net:{ports[1]} {{\n bind 127.0.0.1\n file {other}\n}}\n"
    )
    server = serve("-conf", corefile, listen=False, port=ports[0])
    assert server.ask("ns.example.org").answer
    assert not server.ask("ns.example.net").answer
    server.port = ports[1]
    assert server.ask("ns.example.net").answer
