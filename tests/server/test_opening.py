"""A kdns that cannot answer yet has its ports, and refuses who asks: at a start, and on new addresses at a reload.

A client that is refused asks the next server at once; one that hears nothing waits for seconds. The API server is
stalled until what is to be seen before the first answer has been seen.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import dns.message
import pytest

from tests.server.conftest import Serve
from tests.server.serving import Server, free_port, has_ipv6, zone
from tests.server.watched import NOBODY, WEB, WEB_ADDRESS, Shop, outcome

PATIENCE = 10.0
QUERY = dns.message.make_query(WEB, "A")
# What `bind` says, and which addresses are asked.
PLACES = [("127.0.0.1", ["127.0.0.1"]), ("0.0.0.0 ::", ["127.0.0.1", "127.0.0.9", "::1"]), ("::1", ["::1"])]


def heard(host: str, port: int, *, tcp: bool = False) -> str:
    """What a client hears that asks once: "refused", or what the reply says."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect((host, port))
            client.sendall(QUERY.to_wire(prepend_length=tcp))
            reply = dns.message.from_wire(client.recv(4096)[2 * tcp :])
        except ConnectionRefusedError:
            return "refused"
    return " ".join(rdata.to_text() for rrset in reply.answer for rdata in rrset)


def heard_everywhere(hosts: list[str], port: int) -> set[str]:
    """What clients hear over UDP and TCP, from several ports, so that all workers are asked."""
    return {heard(host, port, tcp=tcp) for host in hosts for tcp in (False, True) for _ in range(8)}


def move(shop: Shop, where: str, port: int = 0) -> None:
    """Have the Corefile listen elsewhere."""
    text = shop.corefile.read_text()
    shop.corefile.write_text(
        text.replace("    bind 127.0.0.1\n", f"    bind {where}\n").replace(". {", f".:{port} {{" if port else ". {")
    )


def start(shop: Shop, where: str = "127.0.0.1", workers: int = 1) -> Server:
    """A kdns that waits for its API server."""
    shop.api.stall()
    shop.write()
    move(shop, where)
    server = shop.run(is_ready=False, workers=workers)
    server.wait_for_child("kdns-control")  # the last to be forked
    return server


def reload(server: Server) -> Callable[[], str]:
    """Begin a reload; wait for its processes. Returns what waits for the end of it."""
    control, mark = server.children()["kdns-control"], server.mark()
    server.send(signal.SIGHUP)
    server.wait_for_child("kdns-control", other_than=control)
    return lambda: server.wait_for("reloaded", after=mark)


@pytest.mark.parametrize(("where", "hosts"), PLACES)
def test_who_asks_before_there_is_an_answer_is_refused_at_once(shop: Shop, where: str, hosts: list[str]) -> None:
    if not has_ipv6():
        if where == "::1":
            pytest.skip("this kernel has no IPv6")
        hosts = [host for host in hosts if ":" not in host]
    server = start(shop, where, workers=2)
    assert heard_everywhere(hosts, server.port) == {"refused"}
    second = shop.run("-dns.port", server.port, is_ready=False)
    assert second.wait() == 1
    assert f":{server.port}: address already in use: another process (or another kdns) listens there" in second.log
    shop.api.stall(False)
    server.wait_for(r"\] ready:")
    assert heard_everywhere(hosts, server.port) == {WEB_ADDRESS}
    assert server.stop() == 0


def test_a_worker_that_follows_one_that_never_answered_opens_its_sockets(shop: Shop) -> None:
    server = start(shop)
    worker = server.wait_for_child("kdns-worker-0")
    os.kill(worker, signal.SIGKILL)
    server.wait_for_child("kdns-worker-0", other_than=worker)
    assert heard_everywhere([server.address], server.port) == {"refused"}
    shop.api.stall(False)
    server.wait_for(r"\] ready:")
    assert heard_everywhere([server.address], server.port) == {WEB_ADDRESS}


def test_whoever_takes_a_part_of_the_port_before_it_is_opened_is_told_of(shop: Shop) -> None:
    """A wildcard is reserved at loopback alone."""
    server = start(shop, "0.0.0.0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", server.port))
        shop.api.stall(False)
        assert server.wait() == 1
    assert f"[ERROR] cannot listen on UDP 0.0.0.0:{server.port}: address already in use" in server.log
    assert "Traceback" not in server.log


def test_an_end_before_the_first_answer_leaves_nothing_open(shop: Shop) -> None:
    server = start(shop)
    assert server.stop() == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind((server.address, server.port))
        tcp.bind((server.address, server.port))


def test_a_port_that_is_new_at_a_reload_refuses_until_the_new_processes_can_answer(shop: Shop) -> None:
    server, port = shop.serve(workers=2), free_port()
    shop.api.stall()
    move(shop, "127.0.0.1", port)
    finish = reload(server)
    assert heard_everywhere([server.address], port) == {"refused"}
    assert heard_everywhere([server.address], server.port) == {WEB_ADDRESS}
    shop.api.stall(False)
    finish()
    assert heard_everywhere([server.address], port) == {WEB_ADDRESS}
    assert heard_everywhere([server.address], server.port) == {"refused"}


def test_an_address_of_a_wildcard_is_answered_by_it_until_its_own_processes_can(shop: Shop) -> None:
    shop.write()
    wide = shop.corefile.read_text()
    move(shop, "0.0.0.0")
    server = shop.run(workers=2)
    shop.api.stall()
    shop.corefile.write_text(wide)
    finish = reload(server)
    assert heard_everywhere(["127.0.0.1", "127.0.0.2"], server.port) == {WEB_ADDRESS}
    shop.api.stall(False)
    finish()
    server.wait_for(r"no longer listening on 0\.0\.0\.0:")
    assert heard_everywhere(["127.0.0.1"], server.port) == {WEB_ADDRESS}
    assert heard_everywhere(["127.0.0.2"], server.port) == {"refused"}


def test_what_a_reload_that_failed_would_have_opened_is_free_again(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "example.org.zone").write_text(zone(1))
    first, second = free_port(), free_port()
    corefile = tmp_path / "Corefile.test"
    corefile.write_text(f".:{first} {{\n bind 127.0.0.1\n file example.org.zone example.org\n}}\n")
    server = serve("-conf", corefile, listen=False, port=first)
    corefile.write_text(f".:{second} {{\n bind 127.0.0.1\n file missing.zone example.org\n}}\n")
    server.send(signal.SIGHUP)
    server.wait_for(f"no longer listening on 127.0.0.1:{second}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind(("127.0.0.1", second))
        tcp.bind(("127.0.0.1", second))
    assert outcome(server, NOBODY) == "REFUSED"
    assert server.addresses("ns.example.org") == ["192.0.2.53"]
