"""Starts and stops the servers that are compared: kdns, NSD, Knot, and CoreDNS if KDNS_BENCH_COREDNS names
its binary.

Each runs in the foreground in a directory of its own, on a port of its own on 127.0.0.1, with one process
or thread that answers, and counts as ready once it answers the SOA of every zone. Rate limiting is off
everywhere; the rest is as the distribution ships it. CoreDNS serves the zone files with `file`, since its
`kubernetes` plugin needs an API server.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.inputs import Inputs
from bench.wire import Reply, encode_query, parse_reply
from bench.zonefiles import ZONES

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT = 120.0
STOP_TIMEOUT = 15.0
ASK_TIMEOUT = 0.5
ASK_AGAIN = 0.005  # between two tries while a server is starting
LOG_TAIL_LINES = 15
ADDRESS = "127.0.0.1"
PORTS = range(12_000, 32_000)  # below those that Linux draws for connections


@dataclass(frozen=True, slots=True)
class Peer:
    """A kind of server: how it is started in a directory of its own, and what says its version."""

    name: str
    command: Callable[[Path, int, Inputs], list[str]]
    version: tuple[str, ...]

    def version_line(self) -> str:
        """The first line that the server prints about its version."""
        run = subprocess.run(self.version, capture_output=True, text=True, check=False, cwd=ROOT)
        return next((line.strip() for line in (run.stdout + run.stderr).splitlines() if line.strip()), "unknown")


class Server:
    """A server that runs: where it listens and what its processes use."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], port: int, log: Path, address: str = ADDRESS
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.ready_seconds = 0.0
        self._process = process
        self._log = log

    def pids(self) -> list[int]:
        """The process that was started and all its descendants."""
        return processes.tree(self._process.pid)

    def ask(self, name: str, rtype: str, tcp: bool = False) -> Reply | None:
        """Ask one question; None if nothing came back."""
        query = encode_query(name, rtype, 4711)
        try:
            where = self.address, self.port
            reply = _exchange_tcp(query, where) if tcp else _exchange_udp(query, where)
        except OSError:
            return None
        return parse_reply(reply)

    def wait_ready(self, started: float, zones: Iterable[str] = ZONES) -> None:
        """Ask until every zone answers; the seconds since `started` are kept."""
        waiting = list(zones)
        while waiting:
            reply = self.ask(waiting[0], "SOA")
            if reply is not None and reply.rcode == 0 and reply.answer:
                waiting.pop(0)
            elif time.monotonic() - started > READY_TIMEOUT:
                raise RuntimeError(
                    f"{self.name} did not answer for {waiting[0]} in {READY_TIMEOUT:.0f} s\n{self.tail()}"
                )
            else:
                self.check_alive(ASK_AGAIN)
        self.ready_seconds = time.monotonic() - started

    def check_alive(self, seconds: float = 0.0) -> None:
        """Raises RuntimeError, with the end of its log, if it ends within so many seconds."""
        if _ended_within(self._process, seconds):
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}\n{self.tail()}")

    def stop(self) -> None:
        """End it politely, then by force."""
        family = self.pids()
        self._process.terminate()
        if not _ended_within(self._process, STOP_TIMEOUT):
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def kill(self) -> None:
        """SIGKILL for the process that was started and all its descendants."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def kill_first(self) -> None:
        """SIGKILL for the process that was started: what becomes of its children is its own affair."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


@contextmanager
def running(peer: Peer, data: Inputs, cores: Sequence[int]) -> Iterator[Server]:
    """Start a server pinned to the cores, wait until it answers, and stop it at the end."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"kdns-bench-{peer.name}-")))
        started = time.monotonic()
        server = launch(peer, directory, free_port(), data, cores)
        stack.callback(server.stop)
        server.wait_ready(started, data.zone_files)
        processes.pin(server.pids(), set(cores))
        yield server


def launch(
    peer: Peer, directory: Path, port: int, data: Inputs, cores: Sequence[int], address: str = ADDRESS
) -> Server:
    """Start a server, which does not answer yet. Its log is added to. address: where its `command` has it listen."""
    log = directory / "log"
    command = ["taskset", "-c", ",".join(map(str, cores)), *peer.command(directory, port, data)]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=ROOT)
    return Server(peer.name, process, port, log, address)


def free_port() -> int:
    """A port that is free now for both UDP and TCP, and none that the kernel gives to somebody by itself."""
    while True:
        port = random.choice(PORTS)
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp, suppress(OSError):
            udp.bind((ADDRESS, port))
            tcp.bind((ADDRESS, port))
            return port


def kdns(workers: int = 1) -> Peer:
    """kdns from this tree, in the Python that runs the benchmark."""

    def command(_directory: Path, port: int, data: Inputs) -> list[str]:
        arguments = [
            "--listen",
            f"{ADDRESS}:{port}",
            "--manifests",
            str(data.dump),
            "--workers",
            str(workers),
        ]
        return [sys.executable, "-m", "kdns", "serve", *arguments]

    name = "kdns" if workers == 1 else f"kdns-{workers}"
    return Peer(name, command, (sys.executable, "-m", "kdns", "serve", "-version"))


def nsd(servers: int = 1, is_minimal: bool = False) -> Peer:
    """NSD with so many server processes; each has a socket of its own where there are several.

    is_minimal: answers have no NS records beside them.
    """

    def command(directory: Path, port: int, data: Inputs) -> list[str]:
        zones = "".join(
            f"zone:\n  name: {zone}\n  zonefile: {path.resolve()}\n" for zone, path in data.zone_files.items()
        )
        config = directory / "nsd.conf"
        config.write_text(
            f'server:\n  ip-address: {ADDRESS}@{port}\n  username: ""\n  chroot: ""\n  database: ""\n'
            f"  server-count: {servers}\n  reuseport: {'yes' if servers > 1 else 'no'}\n"
            f"  zonesdir: {directory}\n  pidfile: {directory}/pid\n  xfrdfile: {directory}/xfrd\n"
            f"  zonelistfile: {directory}/zonelist\n  cookie-secret-file: {directory}/cookies\n"
            f"  minimal-responses: {'yes' if is_minimal else 'no'}\n"
            f"  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no\n{zones}"
        )
        return [found("nsd"), "-d", "-c", str(config)]

    return Peer("nsd" if servers == 1 else f"nsd-{servers}", command, (which("nsd") or "nsd", "-v"))


def _knot(directory: Path, port: int, data: Inputs) -> list[str]:
    zones = "".join(f"  - domain: {zone}\n    file: {path.resolve()}\n" for zone, path in data.zone_files.items())
    config = directory / "knot.conf"
    config.write_text(
        f"server:\n  rundir: {directory}\n  listen: {ADDRESS}@{port}\n"
        f"  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"database:\n  storage: {directory}\nlog:\n  - target: stderr\n    any: warning\n"
        f"template:\n  - id: default\n    zonefile-sync: -1\n    journal-content: none\nzone:\n{zones}"
    )
    return [found("knotd"), "-c", str(config)]


def _coredns(directory: Path, port: int, data: Inputs) -> list[str]:
    blocks = (
        f"{zone}:{port} {{\n    bind {ADDRESS}\n    file {path.resolve()}\n    loadbalance\n    errors\n}}\n"
        for zone, path in data.zone_files.items()
    )
    corefile = directory / "Corefile"
    corefile.write_text("".join(blocks))
    return ["env", "GOMAXPROCS=1", os.environ["KDNS_BENCH_COREDNS"], "-conf", str(corefile)]


def available() -> list[Peer]:
    """The servers that this machine can run, kdns first, NSD second."""
    found = []
    if (ROOT / "kdns" / "__main__.py").exists():
        found.append(kdns())
    if which("nsd"):
        found.append(nsd())
    if path := which("knotd"):
        found.append(Peer("knot", _knot, (path, "--version")))
    if path := os.environ.get("KDNS_BENCH_COREDNS"):
        found.append(Peer("coredns", _coredns, (path, "-version")))
    return found


def which(program: str) -> str | None:
    """Debian puts servers into /usr/sbin, which a user's PATH often lacks."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def found(program: str) -> str:
    """Where a program is. Raises FileNotFoundError."""
    path = which(program)
    if path is None:
        raise FileNotFoundError(f"{program} is not installed")
    return path


def _exchange_udp(query: bytes, where: tuple[str, int]) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(ASK_TIMEOUT)
        sock.connect(where)
        sock.send(query)
        return sock.recv(65535)


def _exchange_tcp(query: bytes, where: tuple[str, int]) -> bytes:
    with (
        socket.create_connection(where, timeout=ASK_TIMEOUT) as sock,
        sock.makefile("rb") as stream,
    ):
        sock.sendall(len(query).to_bytes(2, "big") + query)
        return stream.read(int.from_bytes(stream.read(2), "big"))


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
