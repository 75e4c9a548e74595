"""`transfer`: whole zones over TCP, to dnspython, dig and NSD, and to nobody else; while all else is answered."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest

from tests.server.conftest import Serve
from tests.server.serving import PATIENCE, Server, free_port, service
from tests.server.serving import zone as zone_text
from tests.support.peers import ADDRESS, Peer, Zones, started
from tests.support.programs import require

FRIEND, STRANGER = "127.0.0.1", "127.0.0.9"
SERVICES = 400  # more than one message
ORG, CLUSTER, REVERSE = "example.org", "cluster.local", "in-addr.arpa"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: none of them changes anything."""
    directory = tmp_path_factory.mktemp("transfer")
    records = [f"h{at} A 192.0.2.{at & 255}" for at in range(2000)]
    records += ["www A 192.0.2.80", "sub NS ns.sub", "ns.sub A 192.0.2.3"]
    (directory / "org.zone").write_text(zone_text(7, *records))
    services = [service(f"s{at}", f"10.0.{at >> 8}.{at & 255}") for at in range(SERVICES)]
    (directory / "shop.yaml").write_text("".join(services))
    port = free_port()
    (directory / "Corefile").write_text(
        f".:{port} {{\n bind 127.0.0.1\n errors\n log\n file org.zone {ORG}\n"
        f" kubernetes {CLUSTER} {REVERSE} {{\n  manifests shop.yaml\n }}\n"
        f" transfer {ORG} {CLUSTER} {REVERSE} {{\n  to {FRIEND}:5353\n }}\n}}\n"
    )
    one = Server(("serve", "-conf", "Corefile", "--workers", 1), directory, port)
    one.wait_for(r"\] ready: ")
    yield one
    one.kill()


def fetched(server: Server, origin: str) -> dns.zone.Zone:
    """A zone as dnspython takes it in."""
    zone = dns.zone.Zone(dns.name.from_text(origin))
    dns.query.inbound_xfr(FRIEND, zone, port=server.port, timeout=20, lifetime=60)
    return zone


def rcode(server: Server, qname: str, qtype: str = "AXFR", source: str = FRIEND, tcp: bool = True) -> dns.rcode.Rcode:
    query = dns.message.make_query(qname, qtype)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, FRIEND, port=server.port, source=source, timeout=20).rcode()


def test_a_zone_file_comes_whole(server: Server) -> None:
    zone = fetched(server, ORG)
    assert zone.get_soa().serial == 7
    assert len(zone.nodes) == 2000 + 5
    assert zone.find_rdataset("h1999", "A")[0].to_text() == f"192.0.2.{1999 & 255}"
    assert zone.find_rdataset("ns.sub", "A")[0].to_text() == "192.0.2.3"


def test_a_cluster_comes_whole_and_each_record_is_what_a_query_is_answered_with(server: Server) -> None:
    zone = fetched(server, CLUSTER)
    services = [name for name in zone.nodes if name.to_text().endswith(".shop.svc") and name.to_text()[0] == "s"]
    assert len(services) == SERVICES
    for name, rdataset in list(zone.iterate_rdatasets())[:: SERVICES // 8]:
        qname = name.derelativize(zone.origin).to_text()
        answer = server.ask(qname, dns.rdatatype.to_text(rdataset.rdtype)).answer[0]
        wanted = {one.to_text(origin=zone.origin, relativize=False) for one in rdataset}
        assert {one.to_text() for one in answer} == wanted


def test_changes_are_the_whole_zone_or_the_serial_alone(server: Server) -> None:
    origin = dns.name.from_text(ORG)
    current = server.ask(ORG, "SOA").answer
    query = dns.message.make_query(ORG, "IXFR")
    query.authority = current
    for send in (dns.query.tcp, dns.query.udp):
        reply = send(query, FRIEND, port=server.port, timeout=20)
        assert [rrset.rdtype for rrset in reply.answer] == [dns.rdatatype.SOA]
    older = dns.rrset.from_text(origin, 60, "IN", "SOA", "ns.example.org. x. 6 1 1 1 1")
    query.authority = [older]
    whole = dns.query.tcp(query, FRIEND, port=server.port, timeout=20)
    assert len(whole.answer) > 100
    assert len(dns.query.udp(query, FRIEND, port=server.port, timeout=20).answer) == 1


@pytest.mark.parametrize(
    ("qname", "source", "tcp"),
    [
        (ORG, STRANGER, True),
        (CLUSTER, STRANGER, True),
        (f"www.{ORG}", FRIEND, True),
        ("svc.cluster.local", FRIEND, True),
        (REVERSE, FRIEND, True),
        (".", FRIEND, True),
        (ORG, FRIEND, False),
    ],
)
def test_all_else_is_refused(server: Server, qname: str, source: str, tcp: bool) -> None:
    assert rcode(server, qname, "AXFR", source, tcp) == dns.rcode.REFUSED
    if tcp:
        assert rcode(server, qname, "IXFR", source, tcp) == dns.rcode.REFUSED
    assert rcode(server, ORG, "IXFR", STRANGER, False) == dns.rcode.REFUSED


def test_queries_on_the_same_connection_are_answered_after_it(server: Server) -> None:
    transfer, query = dns.message.make_query(ORG, "AXFR"), dns.message.make_query(f"www.{ORG}", "A")
    with server.connect() as sock:
        dns.query.send_tcp(sock, transfer.to_wire())
        dns.query.send_tcp(sock, query.to_wire())
        seen = 0
        while seen < 2:
            reply, _ = dns.query.receive_tcp(sock, one_rr_per_rrset=True)
            assert reply.id == transfer.id
            seen += sum(rrset.rdtype == dns.rdatatype.SOA for rrset in reply.answer)
        reply, _ = dns.query.receive_tcp(sock)
        assert (reply.id, reply.answer[0][0].to_text()) == (query.id, "192.0.2.80")


def test_it_is_logged_once(server: Server) -> None:
    mark = server.mark()
    fetched(server, CLUSTER)
    server.wait_for(rf'"AXFR IN {CLUSTER}\. tcp ', after=mark)
    server.ask(f"www.{ORG}")
    server.wait_for(rf'"A IN www\.{ORG}\. udp ', after=mark)
    assert sum("AXFR IN" in line for line in server.lines[mark:]) == 1


def test_dig_takes_it(server: Server) -> None:
    require("dig")
    words = ["dig", f"@{FRIEND}", "-p", str(server.port), "+nocmd", "+nostats", CLUSTER, "AXFR"]
    lines = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert "SOA" in lines[0]
    assert lines[0] == lines[-1]
    assert sum(line.split()[3] == "A" for line in lines) >= SERVICES


@pytest.mark.peers
def test_nsd_is_a_secondary(server: Server, tmp_path: Path) -> None:
    require("nsd")

    def configure(directory: Path, port: int, zones: Zones) -> list[str]:
        config = directory / "nsd.conf"
        listed = "".join(
            f"zone:\n  name: {origin}\n  zonefile: {directory}/{origin}\n"
            f"  request-xfr: {kind} {FRIEND}@{server.port} NOKEY\n"
            for origin, kind in zip(zones, ("AXFR", ""), strict=True)
        )
        config.write_text(
            f'server:\n  ip-address: {ADDRESS}@{port}\n  username: ""\n  chroot: ""\n  database: ""\n'
            f"  server-count: 1\n  zonesdir: {directory}\n  pidfile: {directory}/pid\n  xfrdfile: {directory}/xfrd\n"
            f"  xfrdir: {directory}\n  zonelistfile: {directory}/zonelist\n"
            f"remote-control:\n  control-enable: no\n{listed}"
        )
        return ["-d", "-c", str(config)]

    with started(Peer("nsd", "nsd", configure), tmp_path / "nsd", {ORG: tmp_path, CLUSTER: tmp_path}) as port:
        for qname in (f"h77.{ORG}", "s300.shop.svc.cluster.local"):
            query = dns.message.make_query(qname, "A")
            assert dns.query.udp(query, ADDRESS, port=port, timeout=20).answer == server.ask(qname).answer


def test_a_transfer_under_way_at_the_end_is_finished(serve: Serve, tmp_path: Path) -> None:
    count = 5_000
    (tmp_path / "org.zone").write_text(zone_text(7, *(f"h{at} TXT {'x' * 200}" for at in range(count))))
    port = free_port()
    (tmp_path / "Corefile").write_text(
        f"{ORG}:{port} {{\n bind 127.0.0.1\n file org.zone\n transfer {{\n  to *\n }}\n}}\n"
    )
    server = serve("-conf", "Corefile", listen=False, port=port, workers=1)
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or all of it would be under way at once
        sock.connect((FRIEND, port))
        dns.query.send_tcp(sock, dns.message.make_query(ORG, "AXFR").to_wire())
        length = int.from_bytes(sock.recv(2))
        assert length > 10_000
        mark = server.mark()
        server.send(signal.SIGTERM)
        server.wait_for("stopping: ", after=mark)
        octets = 0
        while block := sock.recv(1 << 20):
            octets += len(block)
    assert octets > count * 200
    assert server.wait() == 0
