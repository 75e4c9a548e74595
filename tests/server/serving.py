"""A kdns in processes of its own, for tests: started, waited for, asked, signalled, stopped.

    def test_something(serve, tmp_path):
        manifest = tmp_path / "shop.yaml"
        manifest.write_text(...)
        server = serve("--manifests", manifest)             # returns when kdns says "ready"
        assert server.addresses("web.shop.svc.cluster.local") == ["10.0.0.1"]
        mark = server.mark()
        manifest.write_text(...)
        server.wait_for("visible:", after=mark)             # every worker answers from the change now
        assert server.stop() == 0

Nothing here sleeps: what is waited for is a line of the log, the end of a process, or a reply.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # a loaded machine is slow; nothing waits that long on a good day
_PORTS = range(12_000, 32_000)  # below those that Linux draws for connections
_CHANCE = random.SystemRandom()  # tests run in several processes, of which each must draw its own
_BETWEEN_LOOKS = 0.005  # seconds in which what is looked for may use the processor that looking would


class Server:
    """One running kdns. `address` and `port` are where it listens if it was started with flags.

    prefix: a command that it is started by, and that becomes it.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        directory: Path,
        port: int,
        address: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.address = address
        self.port = port
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "kdns", *map(str, arguments)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    # The log

    def mark(self) -> int:
        """Where the log is now, for `wait_for(..., after=mark)`."""
        with self._news:
            return len(self.lines)

    def wait_for(self, pattern: str, after: int = 0, patience: float = PATIENCE) -> str:
        """Wait for a line that matches a regular expression, and return it."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + patience
        with self._news:
            while True:
                for line in self.lines[after:]:
                    if wanted.search(line):
                        return line
                rest = deadline - time.monotonic()
                if rest <= 0 or (not self._reader.is_alive() and self.process.poll() is not None):
                    raise AssertionError(f"no line matches {pattern!r} in:\n" + "\n".join(self.lines[after:]))
                self._news.wait(min(rest, 0.2))

    @property
    def log(self) -> str:
        """All of the log so far."""
        with self._news:
            return "\n".join(self.lines)

    # Questions

    def ask(
        self, qname: str, qtype: str = "A", *, tcp: bool = False, to: str = "", timeout: float = 5.0
    ) -> dns.message.Message:
        """Ask one question, once, and decode the reply with dnspython."""
        query = dns.message.make_query(qname, qtype)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, to or self.address, port=self.port, timeout=timeout)

    def addresses(self, qname: str, qtype: str = "A", *, tcp: bool = False) -> list[str]:
        """The addresses in the answer, sorted."""
        answer = self.ask(qname, qtype, tcp=tcp).answer
        wanted = dns.rdatatype.from_text(qtype)
        return sorted(rdata.to_text() for rrset in answer if rrset.rdtype == wanted for rdata in rrset)

    def addresses_everywhere(self, qname: str, clients: int = 16) -> set[tuple[str, ...]]:
        """What clients at several ports are told, so that every worker is asked (SO_REUSEPORT spreads by port)."""
        return {tuple(self.addresses(qname)) for _ in range(clients)}

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A TCP connection."""
        return socket.create_connection((self.address, self.port), timeout)

    def wait_until_open(self) -> None:
        """Wait until connections are not refused any more, nor queries: for one that logs nothing."""
        while True:
            try:
                self.connect().close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.log
                rest_between_looks()

    # Processes

    def children(self) -> dict[str, int]:
        """Pids of the processes by name: `kdns-control`, `kdns-worker-0`, ..."""
        pid = self.process.pid
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {name: int(child) for child in pids if (name := _name(child)) and name != "python"}

    def wait_for_child(self, name: str, other_than: int = 0) -> int:
        """Wait until there is such a process (a new one), and return its pid."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pid = self.children().get(name, 0)
            if pid not in (0, other_than):
                return pid
            rest_between_looks()
        raise AssertionError(f"no process {name} other than {other_than}: {self.children()}\n{self.log}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End kdns and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        """Make sure that nothing is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _collect(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()


def rest_between_looks() -> None:
    """For whoever asks again and again until something is so: leave the processor to those who bring it about."""
    threading.Event().wait(_BETWEEN_LOOKS)


def free_port() -> int:
    """A port that is free for UDP and TCP on every address just now, and none that the kernel gives to somebody."""
    while True:
        port = _CHANCE.choice(_PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp, suppress(OSError):
            udp.bind(("0.0.0.0", port))
            tcp.bind(("0.0.0.0", port))
            return port


def has_ipv6() -> bool:
    """Whether this kernel has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to notice its end does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def replace(path: Path, text: str) -> None:
    """Write a file as careful programs do: aside, then renamed into place."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.rename(path)


def service(name: str, address: str, namespace: str = "shop") -> str:
    """A Service with a ClusterIP, as YAML."""
    return (
        "---\napiVersion: v1\nkind: Service\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{clusterIP: {address}, clusterIPs: [{address}], ports: [{{name: http, port: 80}}]}}\n"
    )


def zone(serial: int, *records: str) -> str:
    """A zone file."""
    head = f"$TTL 60\n@ SOA ns hostmaster {serial} 7200 900 86400 5\n@ NS ns\nns A 192.0.2.53\n"
    return head + "".join(f"{record}\n" for record in records)


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
