"""The Corefiles that distributions and clouds install, served unchanged, one after the other by one kdns.

On a host of its own (a network namespace) it has port 53, the addresses that node-local caches listen on, and an /etc
with a resolv.conf and k3s' NodeHosts; on another one are an API server, and whoever the files name as upstreams.
"""

from __future__ import annotations

import json
import selectors
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset
import pytest

from kdns.corefile import Corefile, ServerBlock, parse_corefile
from kdns.wire.name import ROOT, to_text
from tests.server.serving import PATIENCE, Server
from tests.server.serving import replace as write
from tests.support.fakeapi import builders
from tests.support.fakeapi.kubeconfig import kubeconfig
from tests.support.fakeapi.process import FakeApiProcess
from tests.support.namespaces import HERE, THERE, Namespace, connect, require_namespaces, with_file

DATA = Path(__file__).parents[1] / "data" / "corefiles"
# Not a default of anybody: it asks for a zone file, and for upstreams over TLS that have a certificate.
OTHERS = {"home-lab"}
ENVIRONMENT = {"POD_IP": HERE}
LOCAL_CACHES = ("169.254.20.10", "10.96.0.10", "169.254.10.10", "169.254.10.11")
UPSTREAMS = (
    THERE, "8.8.8.8", "8.8.4.4", "1.2.3.4", "172.16.0.1", "172.16.0.2", "10.150.0.1", "168.63.129.16",
    "10.0.0.10", "10.0.0.1", "10.0.0.2", "10.96.0.11",
)  # fmt: skip
OUTSIDE, OUTSIDE_ADDRESS = "www.example.net", "192.0.2.80"
WEB, WEB_ADDRESS = "web.shop.svc.cluster.local", "10.96.0.20"
NODE_HOSTS = "192.0.2.101 node1\n192.0.2.102 node2\n"


def read(name: str) -> Corefile:
    path = DATA / f"{name}.corefile"
    return parse_corefile(path.read_text(), str(path), environment=ENVIRONMENT)


def alike() -> list[list[str]]:
    """The files, together those that differ in no more than logs, pages, and how long something is kept."""
    same: dict[tuple[ServerBlock, ...], list[str]] = {}
    plain = {"log": (), "errors": None, "health": None, "prometheus": None, "cache": None, "loadbalance": False}
    for name in sorted(path.stem for path in DATA.glob("*.corefile") if path.stem not in OTHERS):
        same.setdefault(tuple(replace(block, **plain) for block in read(name).blocks), []).append(name)
    return list(same.values())


class Upstream:
    """All upstreams: each name has one address, but HINFO does not exist; over UDP and TCP, in a namespace."""

    def __init__(self, host: Namespace) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._sockets = [self._bound(host.udp(), address) for address in UPSTREAMS]
        listener = self._bound(host.tcp(), "0.0.0.0")
        listener.listen(16)
        self._sockets.append(listener)
        for one in self._sockets:
            self._selector.register(one, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.send(b".")
        self._thread.join(PATIENCE)
        for one in (*self._sockets, self._stop, self._stopped):
            one.close()
        self._selector.close()

    @staticmethod
    def _bound(sock: socket.socket, address: str) -> socket.socket:
        sock.bind((address, 53))
        return sock

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._stopped:
                    return
                if sock.type == socket.SOCK_DGRAM:
                    wire, client = sock.recvfrom(65535)
                    sock.sendto(_answer(wire), client)
                elif sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    self._sockets.append(sock.accept()[0])
                    self._selector.register(self._sockets[-1], selectors.EVENT_READ)
                else:
                    self._converse(sock)

    def _converse(self, sock: socket.socket) -> None:
        head = sock.recv(2, socket.MSG_WAITALL)
        if len(head) < 2:
            self._selector.unregister(sock)
            return
        reply = _answer(sock.recv(int.from_bytes(head), socket.MSG_WAITALL))
        sock.sendall(len(reply).to_bytes(2) + reply)


def _answer(wire: bytes) -> bytes:
    query = dns.message.from_wire(wire)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.RA
    question = query.question[0]
    if question.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", OUTSIDE_ADDRESS))
    else:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply.to_wire()


class Host:
    """The host of kdns, and kdns, which gets one Corefile after the other."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._here = stack.enter_context(Namespace())
        there = stack.enter_context(Namespace(beside=self._here))
        connect(self._here, there)
        own = [f"address add {address}/32 dev lo\n" for address in LOCAL_CACHES]
        self._here.run("ip", "-batch", "-", text="".join([*own, f"route add default via {THERE}\n"]))
        theirs = [f"address add {address}/32 dev lo\n" for address in UPSTREAMS if address != THERE]
        there.run("ip", "-batch", "-", text="".join(theirs))
        stack.callback(Upstream(there).close)
        api = stack.enter_context(FakeApiProcess(directory, host=THERE, port=6443, prefix=there.prefix))
        web = builders.service("shop", "web", [builders.port(80, "http")], clusterIP=WEB_ADDRESS)
        api.control.apply(builders.namespace("shop"), web)
        document = kubeconfig(api.url, api.ca)
        document["clusters"][0]["cluster"]["tls-server-name"] = "localhost"
        (directory / "kubeconfig").write_text(json.dumps(document))
        self.etc = self._make_etc(directory / "etc")
        self.server = self._start()
        stack.callback(self.server.kill)

    def load(self, name: str) -> Corefile:
        """Serve this file from now on."""
        corefile = read(name)
        mark = self.server.mark()
        shutil.copy(DATA / f"{name}.corefile", self._directory / "Corefile")
        self.server.send(signal.SIGHUP)
        line = self.server.wait_for("reloaded: |reload failed", after=mark)
        assert "reloaded" in line, line
        return corefile

    def ask(
        self, corefile: Corefile, qname: str, qtype: str = "A", *, zone: bytes = ROOT, rdclass: str = "IN"
    ) -> dns.message.Message:
        """Ask the server block of a zone."""
        block = next(block for block in corefile.blocks if zone in block.zones)
        address = block.bind[0].addresses[0] if block.bind else "127.0.0.1"
        query = dns.message.make_query(qname, qtype, rdclass)
        with self._here.udp() as sock:
            sock.setblocking(False)
            return dns.query.udp(query, address, port=block.port, timeout=PATIENCE, sock=sock)

    def _make_etc(self, etc: Path) -> Path:
        (etc / "coredns").mkdir(parents=True)
        (etc / "resolv.conf").write_text(f"search example.net\nnameserver {THERE}\noptions ndots:5\n")
        (etc / "coredns" / "NodeHosts").write_text(NODE_HOSTS)
        for name in ("ld.so.cache", "localtime"):
            if (found := Path("/etc", name)).is_file():
                shutil.copy(found, etc)
        return etc

    def _start(self) -> Server:
        (self._directory / "Corefile").write_text(".:53 {\n    whoami\n}\n")
        words = ("serve", "-conf", "Corefile", "--workers", "1", "--kubeconfig", "kubeconfig")
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        prefix = (*self._here.prefix, "env", *variables, *with_file(self.etc, "/etc"))
        server = Server(words, self._directory, 53, prefix=prefix)
        server.wait_for(r"\] ready: ")
        return server


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    require_namespaces()
    with ExitStack() as stack:
        yield Host(tmp_path_factory.mktemp("defaults"), stack)


def addresses(reply: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.A]


@pytest.mark.parametrize("names", alike(), ids="+".join)
def test_a_default_corefile_is_served_unchanged(host: Host, names: list[str]) -> None:
    corefile = host.load(names[-1])
    assert addresses(host.ask(corefile, OUTSIDE)) == [OUTSIDE_ADDRESS]
    assert host.ask(corefile, OUTSIDE, "HINFO").rcode() == dns.rcode.NXDOMAIN
    if any(block.kubernetes for block in corefile.blocks):
        assert addresses(host.ask(corefile, WEB)) == [WEB_ADDRESS]
        searched = f"{OUTSIDE}.shop.svc.cluster.local"
        assert host.ask(corefile, searched, "HINFO").rcode() == dns.rcode.NXDOMAIN
        if not any(block.autopath for block in corefile.blocks):
            assert host.ask(corefile, searched).rcode() == dns.rcode.NXDOMAIN
        pointer = host.ask(corefile, dns.reversename.from_address(WEB_ADDRESS).to_text(), "PTR")
        assert [rdata.to_text() for rdata in pointer.answer[0]] == [f"{WEB}."]
    for block in corefile.blocks:
        if block.forward and not block.kubernetes:
            below = f"www.{to_text(block.zones[0])}".replace("..", ".")
            assert addresses(host.ask(corefile, below, zone=block.zones[0])) == [OUTSIDE_ADDRESS]
    if names[-1] in MORE:
        MORE[names[-1]](host, corefile)


def nodes_are_answered_from_the_hosts_file(host: Host, corefile: Corefile) -> None:
    """And changes of it are seen at once, in what was kept of the cluster and of names outside too."""
    assert addresses(host.ask(corefile, "node1")) == ["192.0.2.101"]
    assert host.ask(corefile, "node1", "AAAA").rcode() == dns.rcode.NOERROR
    assert addresses(host.ask(corefile, OUTSIDE)) == [OUTSIDE_ADDRESS]
    assert addresses(host.ask(corefile, WEB)) == [WEB_ADDRESS]
    file = host.etc / "coredns" / "NodeHosts"
    mark = host.server.mark()
    write(file, NODE_HOSTS + f"192.0.2.103 node3 {WEB} {OUTSIDE}\n")
    host.server.wait_for("visible: .*hosts .*5 names", after=mark)
    for qname in ("node3", WEB, OUTSIDE):
        assert addresses(host.ask(corefile, qname)) == ["192.0.2.103"]
    mark = host.server.mark()
    file.unlink()
    host.server.wait_for("NodeHosts: vanished: what it said last stays served", after=mark)
    assert addresses(host.ask(corefile, "node3")) == ["192.0.2.103"]
    mark = host.server.mark()
    write(file, NODE_HOSTS)
    host.server.wait_for("visible: .*hosts .*2 names", after=mark)
    assert addresses(host.ask(corefile, WEB)) == [WEB_ADDRESS]
    assert addresses(host.ask(corefile, OUTSIDE)) == [OUTSIDE_ADDRESS]


def the_pod_says_who_it_is(host: Host, corefile: Corefile) -> None:
    reply = host.ask(corefile, "hostname.bind", "TXT", rdclass="CH")
    assert reply.answer[0][0].strings == (socket.gethostname().encode(),)
    assert host.ask(corefile, "version.bind", "TXT", rdclass="CH").rcode() == dns.rcode.REFUSED


def a_search_list_is_walked_in_one_go(host: Host, corefile: Corefile) -> None:
    """All names outside exist, and so does the first of those: in the search domain of the node's resolv.conf."""
    searched = f"{OUTSIDE}.shop.svc.cluster.local"
    reply = host.ask(corefile, searched)
    assert reply.answer[0].to_text() == f"{searched}. 5 IN CNAME {OUTSIDE}.example.net."
    assert addresses(reply) == [OUTSIDE_ADDRESS]
    assert addresses(host.ask(corefile, "web.shop.shop.svc.cluster.local")) == [WEB_ADDRESS]


MORE: dict[str, Callable[[Host, Corefile], None]] = {
    "autopath": a_search_list_is_walked_in_one_go,
    "k3s": nodes_are_answered_from_the_hosts_file,
    "openshift": the_pod_says_who_it_is,
}
