"""Real sockets on loopback addresses, read and written without waiting longer than a second."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from kdns.answer.responder import Responder
from kdns.server.udp import UdpServer
from kdns.server.waiting import Observer, Outside

# Nothing on loopback takes this long; it is how long a test waits for what will not come.
PATIENCE_SECONDS = 1.0

_IP_PKTINFO = 8  # <linux/in.h>; not named by Python 3.11


class Server:
    """A UdpServer and the socket that it reads; it reads when told to."""

    def __init__(self, responder: Responder, host: str = "127.0.0.1", wildcard: bool = False,
                 observer: Observer | None = None, outside: Outside | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if wildcard and family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif wildcard:
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])
        self.udp = UdpServer(self.socket, responder, wildcard, observer, outside)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def run(self) -> int:
        """Answer all that has arrived; returns how many batches that took."""
        batches = 0
        while select.select([self.socket], [], [], 0)[0]:
            self.udp.on_readable()
            batches += 1
        return batches


@contextmanager
def client(server: Server, host: str = "127.0.0.1", source: str | None = None) -> Iterator[socket.socket]:
    """A socket that takes replies only from the address it asks."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if source:
            one.bind((source, 0))
        one.settimeout(PATIENCE_SECONDS)
        one.connect((host, server.port))
        yield one


def receive_all(one: socket.socket) -> list[bytes]:
    """The replies that are there."""
    found = []
    while select.select([one], [], [], 0)[0]:
        found.append(one.recv(65535))
    return found


def ask(server: Server, one: socket.socket, *queries: bytes) -> list[bytes]:
    """Send queries, let the server run, and take what came back."""
    for octets in queries:
        one.send(octets)
    server.run()
    return receive_all(one)


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
