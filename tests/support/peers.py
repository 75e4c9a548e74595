"""NSD and Knot in processes of their own, serving the same zone files as kdns; and a client that asks all alike.

    with started(NSD, tmp_path, {"example.org": path}) as port: ...

Both run as Debian ships them but for rate limits, on a free port of 127.0.0.1, and are ready when the SOA of every
zone is answered. Not here: kdns (tests/server/serving.py), measuring (bench).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.server.serving import free_port
from tests.support.messages import query

ADDRESS = "127.0.0.1"
PATIENCE = 20.0
WINDOW = 64  # queries in flight over UDP: what every server's socket buffer holds without loss
TCP_WINDOW = 512  # over TCP more, because NSD and Knot wait for an ACK at the end of each window
REPLY_PATIENCE = 5.0

Zones = Mapping[str, Path]


@dataclass(frozen=True)
class Peer:
    """A server that kdns is compared with. `configure` writes its files and returns its arguments."""

    name: str
    program: str
    configure: Callable[[Path, int, Zones], list[str]]

    @property
    def path(self) -> str | None:
        """Where the program is; Debian puts servers into /usr/sbin, which a user's PATH often lacks."""
        return shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin:/usr/local/sbin")


def configure_nsd(directory: Path, port: int, zones: Zones, address: str = ADDRESS) -> list[str]:
    """Write the files of NSD, and return its arguments."""
    listed = "".join(f"zone:\n  name: {origin}\n  zonefile: {path}\n" for origin, path in zones.items())
    config = directory / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: {address}@{port}\n  username: ""\n  chroot: ""\n  database: ""\n'
        f"  server-count: 1\n  zonesdir: {directory}\n  pidfile: {directory}/pid\n  xfrdfile: {directory}/xfrd\n"
        f"  zonelistfile: {directory}/zonelist\n  cookie-secret-file: {directory}/cookies\n"
        f"  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no\n{listed}"
    )
    return ["-d", "-c", str(config)]


def _configure_knot(directory: Path, port: int, zones: Zones) -> list[str]:
    listed = "".join(f"  - domain: {origin}\n    file: {path}\n" for origin, path in zones.items())
    config = directory / "knot.conf"
    config.write_text(
        f"server:\n  rundir: {directory}\n  listen: {ADDRESS}@{port}\n"
        "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"database:\n  storage: {directory}\nlog:\n  - target: stderr\n    any: warning\n"
        f"template:\n  - id: default\n    zonefile-sync: -1\n    journal-content: none\nzone:\n{listed}"
    )
    return ["-c", str(config)]


NSD = Peer("nsd", "nsd", configure_nsd)
KNOT = Peer("knot", "knotd", _configure_knot)
PEERS = (NSD, KNOT)


@contextmanager
def started(peer: Peer, directory: Path, zones: Zones) -> Iterator[int]:
    """Start a peer, wait until it answers for every zone, give its port, and stop it at the end."""
    assert peer.path is not None
    directory.mkdir()
    port, log = free_port(), directory / "log"
    with log.open("wb") as out:
        arguments = peer.configure(directory, port, zones)
        process = subprocess.Popen([peer.path, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        _wait_until_ready(process, port, zones, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, zones: Zones, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    waiting = list(zones)
    while waiting:
        reply = _ask_once(query(waiting[0], "SOA"), port)
        if reply[3:4] == b"\0" and reply[6:8] == b"\0\x01":
            waiting.pop(0)
            continue
        try:
            process.wait(0.02)  # until it has ended, or the next try
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        raise AssertionError(f"no answer for {waiting[0]}:\n{log.read_text(errors='replace')}")


def _ask_once(message: bytes, port: int) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((ADDRESS, port))
        try:
            sock.send(message)
            return sock.recv(65535)
        except OSError:
            return b""


def ask_all_udp(port: int, messages: Sequence[bytes]) -> list[bytes]:
    """The reply to each message, whose IDs are given anew; all of them must be answered."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(REPLY_PATIENCE)
        sock.connect((ADDRESS, port))
        replies: list[bytes] = []
        for start in range(0, len(messages), WINDOW):
            window = messages[start : start + WINDOW]
            for ident, message in enumerate(window):
                sock.send(ident.to_bytes(2, "big") + message[2:])
            found = dict(_by_ident(sock.recv(65535)) for _ in window)
            replies += [found[ident] for ident in range(len(window))]
        return replies


def ask_all_tcp(port: int, messages: Sequence[bytes]) -> list[bytes]:
    """As ask_all_udp, over one connection, many in flight."""
    replies: list[bytes] = []
    with (
        socket.create_connection((ADDRESS, port), timeout=REPLY_PATIENCE) as sock,
        sock.makefile("rb") as stream,
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(messages), TCP_WINDOW):
            window = messages[start : start + TCP_WINDOW]
            sock.sendall(
                b"".join(
                    len(message).to_bytes(2, "big") + ident.to_bytes(2, "big") + message[2:]
                    for ident, message in enumerate(window)
                )
            )
            found = dict(_by_ident(stream.read(int.from_bytes(stream.read(2), "big"))) for _ in window)
            replies += [found[ident] for ident in range(len(window))]
    return replies


def _by_ident(reply: bytes) -> tuple[int, bytes]:
    return int.from_bytes(reply[:2], "big"), reply
