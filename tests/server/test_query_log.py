"""The `log` directive, over real sockets: every query of the block is told, over UDP and TCP, kept replies too."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.query

from tests.server.serving import Server, free_port, service

Serve = Callable[..., Server]


def test_queries_are_logged_in_coredns_format_over_udp_and_tcp(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(service("web", "10.96.0.7"))
    port = free_port()
    (tmp_path / "Corefile").write_text(
        f"cluster.local:{port} {{\n bind 127.0.0.1\n log\n kubernetes {{\n manifests shop.yaml\n }}\n}}\n"
        f"example.org:{port} {{\n bind 127.0.0.1\n whoami\n}}\n"
    )
    server = serve("-conf", "Corefile", listen=False, port=port, workers=1)
    query = dns.message.make_query("web.shop.svc.cluster.local.", "A", id=4711)
    for ask in (dns.query.udp, dns.query.udp, dns.query.tcp):
        ask(query, "127.0.0.1", port=port, timeout=5)
    line = (
        r'\[INFO\] 127\.0\.0\.1:\d+ - 4711 "A IN web\.shop\.svc\.cluster\.local\. {} 44 false 512" '
        "NOERROR qr,aa,rd 60"
    )
    server.wait_for(line.format("tcp"))
    udp = [found for found in server.lines if "4711" in found and " udp " in found]
    assert len(udp) == 2
    server.wait_for(line.format("udp"))

    silent = dns.message.make_query("a.example.org.", "A", id=4712)
    dns.query.udp(silent, "127.0.0.1", port=port, timeout=5)
    mark = server.mark()
    dns.query.udp(query, "127.0.0.1", port=port, timeout=5)
    server.wait_for("4711", after=mark)
    assert "4712" not in server.log


def test_what_is_no_query_is_not_logged_and_does_no_harm(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(service("web", "10.96.0.7"))
    port = free_port()
    (tmp_path / "Corefile").write_text(
        f".:{port} {{\n bind 127.0.0.1\n log . {{\n class denial error\n }}\n"
        f" kubernetes cluster.local {{\n manifests shop.yaml\n }}\n}}\n"
    )
    server = serve("-conf", "Corefile", listen=False, port=port, workers=1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for junk in (b"", b"\0", bytes(12), b"\x80" * 40, bytes(2) + b"\1\0\0\1" + bytes(6) + b"\x3f"):
            sock.sendto(junk, ("127.0.0.1", port))
    dns.query.udp(dns.message.make_query("web.shop.svc.cluster.local.", "A"), "127.0.0.1", port=port, timeout=5)
    dns.query.udp(dns.message.make_query("no.shop.svc.cluster.local.", "A"), "127.0.0.1", port=port, timeout=5)
    server.wait_for(r'"A IN no\.shop\.svc\.cluster\.local\. udp 43 false 512" NXDOMAIN')
    assert "web.shop" not in server.log
    assert "bug" not in server.log
