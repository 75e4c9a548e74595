"""kdns on one host, a fake API server on another one, and a cable between them.

    with Site(tmp_path, namespaces) as site:
        site.there.nft(...)                                  # cut
        site.api.control.apply(site.web("new", "10.96.0.7"))
        site.wait_until(lambda: site.addresses("new") == ["10.96.0.7"])

All the time something asks for a name that never changes (`unanswered` says when it was not answered rightly).
What is waited for is a line of the log, a reply or a metric.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import dns.message
import dns.query
import dns.rdatatype
from prometheus_client.parser import text_string_to_metric_families

from tests.server.serving import PATIENCE, Server, zone
from tests.support.fakeapi import builders
from tests.support.fakeapi.kubeconfig import kubeconfig
from tests.support.fakeapi.process import FakeApiProcess
from tests.support.namespaces import THERE, Namespace, connect

API_PORT = 6443
LOCAL = "127.0.0.1"
PORTS = {"/ready": 8181, "/metrics": 9153}
STEADY, STEADY_ADDRESS = "steady", "10.96.0.1"
ASK_EVERY = 0.02  # seconds, for the name that never changes
BETWEEN_LOOKS = 0.05
WATCHES = 3  # of namespaces, services and slices
STALENESS = "kdns_cluster_staleness_seconds"


class Site:
    """See the module's docstring. here: kdns' host. there: the API server's. mtu: of the cable."""

    def __init__(self, directory: Path, mtu: int = 1500, startup_timeout: str = "5s") -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._startup_timeout = startup_timeout
        self._stack = ExitStack()
        self.here = self._stack.enter_context(Namespace())
        self.there = self._stack.enter_context(Namespace(beside=self.here))
        connect(self.here, self.there, mtu)
        self.api = FakeApiProcess(directory, host=THERE, port=API_PORT, prefix=self.there.prefix)
        self._stack.enter_context(self.api)
        self.api.control.apply(builders.namespace("shop"), self.web(STEADY, STEADY_ADDRESS))
        self._steady: _Steady | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()

    def serve(self, *flags: str) -> Self:
        """Start kdns, and wait until it reads queries."""
        (self._directory / "org.zone").write_text(zone(1, "www A 192.0.2.99"))
        document = kubeconfig(self.api.url, self.api.ca)
        document["clusters"][0]["cluster"]["tls-server-name"] = "localhost"
        (self._directory / "kubeconfig").write_text(json.dumps(document))
        (self._directory / "Corefile").write_text(
            f".:53 {{\n    bind {LOCAL}\n    ready {LOCAL}:{PORTS['/ready']}\n"
            f"    prometheus {LOCAL}:{PORTS['/metrics']}\n    file org.zone example.org\n"
            f"    kubernetes cluster.local {{\n        kubeconfig kubeconfig\n"
            f"        startup_timeout {self._startup_timeout}\n    }}\n}}\n"
        )
        arguments = ("serve", "-conf", "Corefile", "--workers", "1", *flags)
        self.server = Server(arguments, self._directory, 53, prefix=self.here.prefix)
        self._stack.callback(self.server.kill)
        self.server.wait_for(r"\] ready: ")
        return self

    def ask_steadily(self) -> None:
        """Begin to ask for the name that never changes."""
        self._steady = self._stack.enter_context(_Steady(self.here.udp()))

    @property
    def unanswered(self) -> list[str]:
        """What was wrong with the answers to that."""
        assert self._steady is not None
        assert self._steady.asked
        return self._steady.problems

    @staticmethod
    def web(name: str, address: str) -> dict[str, Any]:
        """A Service."""
        return builders.service("shop", name, [builders.port(80)], clusterIP=address)

    def ask(self, qname: str) -> dns.message.Message:
        """Ask kdns, from its own host."""
        query = dns.message.make_query(qname, "A", use_edns=0)
        with self.here.udp() as sock:
            sock.setblocking(False)
            return dns.query.udp(query, LOCAL, timeout=PATIENCE, sock=sock)

    def addresses(self, name: str) -> list[str]:
        """The addresses of a Service."""
        answer = self.ask(f"{name}.shop.svc.cluster.local").answer
        return sorted(rdata.to_text() for rrset in answer if rrset.rdtype == dns.rdatatype.A for rdata in rrset)

    def get(self, path: str) -> tuple[int, str]:
        """What kdns' HTTP endpoints say: status and body."""
        connection = http.client.HTTPConnection(LOCAL)
        connection.sock = self.here.tcp()
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect((LOCAL, PORTS[path]))
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def staleness(self) -> float:
        """How old the answers may be, by the metric."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return next(sample.value for family in families for sample in family.samples if sample.name == STALENESS)

    def wait_until(self, is_so: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Look until it is so."""
        deadline = time.monotonic() + patience
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not come about in {patience:g} s; the log:\n{self.server.log}")
            threading.Event().wait(BETWEEN_LOOKS)

    def wait_for_address(self, name: str, address: str) -> None:
        """Ask for a Service until it has this address."""
        self.wait_until(lambda: self.addresses(name) == [address])

    def wait_until_current(self, patience: float = PATIENCE) -> None:
        """Until kdns says that its answers are: it believes a watch only after it has stood for a moment."""
        self.wait_until(lambda: self.staleness() == 0, patience)


class _Steady:
    """Asks for one name again and again."""

    def __init__(self, sock: socket.socket) -> None:
        self.problems: list[str] = []
        self.asked = 0
        self._sock = sock
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def __enter__(self) -> Self:
        self._sock.connect((LOCAL, 53))
        self._sock.settimeout(PATIENCE / 4)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._enough.set()
        self._thread.join(PATIENCE)
        self._sock.close()

    def _ask_on(self) -> None:
        query = dns.message.make_query(f"{STEADY}.shop.svc.cluster.local", "A")
        while not self._enough.wait(ASK_EVERY):
            self.asked += 1
            try:
                self._sock.send(query.to_wire())
                found = dns.message.from_wire(self._sock.recv(4096)).answer[0][0].to_text()
            except (OSError, IndexError) as error:
                found = repr(error)
            if found != STEADY_ADDRESS:
                self.problems.append(f"{time.monotonic():.3f}: {found}")
