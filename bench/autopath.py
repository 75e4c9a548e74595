"""What does a name outside cost a pod, with `autopath` and without it?

    python -m bench.autopath

A pod's resolv.conf has `ndots:5` and three search domains of the cluster (and one of the node, in some rows): glibc
asks for www.example.org below each of them before it asks for www.example.org. Counted are the queries that kdns gets
and those that it sends to its upstream, for one getaddrinfo(), which asks for A and AAAA at the same time; so a round
trip is two queries. The wire to kdns and that to the upstream have a delay that a table can show.

glibc reads /etc/resolv.conf and asks at port 53, so the whole runs in namespaces of its own (unshare, of util-linux).
Where those are not allowed, dnspython's resolver walks the list instead, and the first line says so.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset

from bench.peers import free_port
from bench.processes import machine_line
from bench.report import table

WIRE_SECONDS = 0.001  # pod to kdns and back, half of it each way
UPSTREAM_SECONDS = 0.020  # to a resolver outside and back
CLUSTER_DOMAINS = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
NODE_DOMAIN = "corp.example"
DNS_PORT = 53
END_SECONDS = 30.0
INSIDE = "--inside"
# What is looked up, whether it exists, and by which names; of several the median time is told.
LOOKUPS = (
    ("a name outside, first time", True, [f"www{at}.example.org" for at in range(1, 6)]),
    ("the same names again", True, [f"www{at}.example.org" for at in range(1, 6)]),
    ("a name that does not exist, first time", False, [f"no{at}.example.org" for at in range(1, 6)]),
    ("the same names again", False, [f"no{at}.example.org" for at in range(1, 6)]),
)

COREFILE = """.:{port} {{
    bind 127.0.0.1
    errors
    {autopath}
    kubernetes cluster.local in-addr.arpa {{
        manifests {manifests}
    }}
    forward . 127.0.0.1:{upstream}
    cache 30
}}
"""
MANIFESTS = """apiVersion: v1
kind: Namespace
metadata: {name: shop}
"""
# A program that looks up the names that it reads, as any program does.
ASKER = """import socket, sys
for line in sys.stdin:
    try:
        found = bool(socket.getaddrinfo(line.strip(), 80, type=socket.SOCK_STREAM))
    except OSError:
        found = False
    print(int(found), flush=True)
"""

Resolve = Callable[[str], bool]  # whether the name has an address


class Upstream(threading.Thread):
    """A resolver outside: names below `www` have addresses, nothing else exists. asked: its queries, in order."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])
        self.asked: list[str] = []

    def run(self) -> None:
        """Answer, each after the same delay, until the process ends."""
        while True:
            data, client = self._sock.recvfrom(4096)
            query = dns.message.from_wire(data)
            self.asked.append(query.question[0].to_text())
            threading.Timer(UPSTREAM_SECONDS, self._sock.sendto, (_answer(query), client)).start()


def _answer(query: dns.message.Message) -> bytes:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.RA
    asked = query.question[0]
    name = asked.name.to_text().lower()
    if not name.startswith("www") or not name.endswith(".example.org."):
        reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", "a. b. 1 2 3 4 60"))
    elif asked.rdtype.name in ("A", "AAAA"):
        address = "192.0.2.80" if asked.rdtype.name == "A" else "2001:db8::80"
        reply.answer.append(dns.rrset.from_text(asked.name, 300, "IN", asked.rdtype, address))
    return reply.to_wire()


class Wire(threading.Thread):
    """Passes datagrams on to kdns and its replies back, and counts: the wire between a pod and its DNS server."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", port))
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._clients: dict[bytes, tuple[str, int]] = {}
        self.port = int(self._near.getsockname()[1])
        self.queries = 0

    def lead_to(self, port: int) -> None:
        """To another kdns from now on."""
        self._far.connect(("127.0.0.1", port))

    def run(self) -> None:
        """Pass on until the process ends."""
        while True:
            ready, _, _ = select.select([self._near, self._far], [], [])
            if self._near in ready:
                data, client = self._near.recvfrom(4096)
                self.queries += 1
                self._clients[data[:2]] = client
                threading.Timer(WIRE_SECONDS / 2, self._far.send, (data,)).start()
            if self._far in ready:
                data = self._far.recv(4096)
                client = self._clients.pop(data[:2])
                threading.Timer(WIRE_SECONDS / 2, self._near.sendto, (data, client)).start()


class Cost(NamedTuple):
    """Of one lookup. ms: from the call to the answer."""

    queries: int
    upstream: int
    ms: float


class Bench:
    """What all rows share. is_inside: this runs in namespaces of its own."""

    def __init__(self, is_inside: bool) -> None:
        self.is_inside = is_inside
        self.upstream = Upstream()
        self.wire = Wire(DNS_PORT if is_inside else 0)
        self.upstream.start()
        self.wire.start()

    def cost(self, resolve: Resolve, name: str, exists: bool) -> Cost:
        """Look a name up."""
        queries, upstream, began = self.wire.queries, len(self.upstream.asked), time.perf_counter()
        if resolve(name) is not exists:
            raise RuntimeError(f"{name} must {'' if exists else 'not '}have an address: nothing measured here counts")
        ms = 1000 * (time.perf_counter() - began)
        return Cost(self.wire.queries - queries, len(self.upstream.asked) - upstream, ms)

    def rows(self, has_autopath: bool, node_domains: Sequence[str]) -> Iterator[list[str]]:
        """One for each kind of lookup."""
        title = "with" if has_autopath else "without"
        with tempfile.TemporaryDirectory(prefix="kdns-bench-") as text:
            directory = Path(text)
            with self._kdns(directory, has_autopath, node_domains):
                resolve = self._resolver(directory, (*CLUSTER_DOMAINS, *node_domains))
                resolve("www0.example.org")  # what happens once: connections, imports, and the resolv.conf is read
                for kind, exists, names in LOOKUPS:
                    costs = [self.cost(resolve, name, exists) for name in names]
                    yield [f"{kind}, {title} autopath", *_told(costs)]

    @contextmanager
    def _kdns(self, directory: Path, has_autopath: bool, node_domains: Sequence[str]) -> Iterator[None]:
        """kdns with a cluster that has a namespace and nothing else."""
        port = free_port()
        node = directory / "resolv.conf.node"
        node.write_text(f"search {' '.join(node_domains)}\n" if node_domains else "")
        (directory / "shop.yaml").write_text(MANIFESTS)
        line = f"autopath {'@kubernetes' if self.is_inside else node}" if has_autopath else ""
        (directory / "Corefile").write_text(COREFILE.format(
            port=port, autopath=line, manifests=directory / "shop.yaml", upstream=self.upstream.port))
        command = [sys.executable, "-m", "kdns", "serve", "-conf", directory / "Corefile", "--workers", "1"]
        process = subprocess.Popen(self._finding(node, command), stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            if not any("] ready: " in line for line in process.stderr):
                raise RuntimeError(f"kdns ended with status {process.wait()}")
            self.wire.lead_to(port)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=END_SECONDS)

    def _resolver(self, directory: Path, domains: Sequence[str]) -> Resolve:
        conf = directory / "resolv.conf.pod"
        conf.write_text(f"search {' '.join(domains)}\nnameserver 127.0.0.1\noptions ndots:5\n")
        return self._glibc(conf) if self.is_inside else _stub(self.wire.port, domains)

    def _glibc(self, conf: Path) -> Resolve:
        """getaddrinfo() of a program that finds this resolv.conf: one for all lookups."""
        asker = subprocess.Popen(
            self._finding(conf, [sys.executable, "-c", ASKER]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

        def resolve(name: str) -> bool:
            assert asker.stdin is not None
            assert asker.stdout is not None
            print(name, file=asker.stdin, flush=True)
            return asker.stdout.readline() == "1\n"

        return resolve

    def _finding(self, resolv_conf: Path, command: Sequence[object]) -> list[str]:
        """A command that finds this file as its /etc/resolv.conf, where that can be."""
        words = list(map(str, command))
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, str(resolv_conf), *words] if self.is_inside else words


def _stub(port: int, domains: Sequence[str]) -> Resolve:
    """dnspython, which walks the list for one type after the other."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.ndots = ["127.0.0.1"], port, 5
    resolver.search = list(map(dns.name.from_text, domains))

    def resolve(name: str) -> bool:
        found = False
        for rrtype in ("A", "AAAA"):
            with suppress(dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                found = bool(resolver.resolve(name, rrtype, search=True)) or found
        return found

    return resolve


def _told(costs: Sequence[Cost]) -> list[str]:
    """The most queries of any, and the middle time."""
    most = [str(max(cost.queries for cost in costs)), str(max(cost.upstream for cost in costs))]
    return [*most, f"{statistics.median(cost.ms for cost in costs):.1f}"]


def _measure(is_inside: bool) -> None:
    print(machine_line())
    resolver = "glibc" if is_inside else "dnspython, as namespaces are not allowed here, and autopath with a file"
    print(f"resolver: {resolver}; {1000 * WIRE_SECONDS:.0f} ms to kdns and back, "
          f"{1000 * UPSTREAM_SECONDS:.0f} ms to the upstream and back; A and AAAA, ndots:5")
    bench = Bench(is_inside)
    for node_domains in ((), (NODE_DOMAIN,)):
        rows = [["lookup", "queries", "upstream", "ms"]]
        for has_autopath in (False, True):
            rows += bench.rows(has_autopath, node_domains)
        print(f"\nsearch {' '.join((*CLUSTER_DOMAINS, *node_domains))}\n")
        print(table(rows))


def main() -> int:
    """Run in namespaces if they can be had. Returns the exit status."""
    if INSIDE in sys.argv:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        _measure(True)
        os._exit(0)  # the threads wait for ever
    enter = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    if shutil.which("unshare") and subprocess.run([*enter, "true"], check=False, capture_output=True).returncode == 0:
        return subprocess.run([*enter, sys.executable, "-m", "bench.autopath", INSIDE], check=False).returncode
    _measure(False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
