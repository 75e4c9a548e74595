"""Connections to an API server: TCP with keepalive, through an HTTP proxy if there is one, and TLS.

The thread that uses a connection waits in `poll` for it and for a `cancel` eventfd, so that another thread can end it
at once, whatever it is waiting for but a name's resolution; the socket itself belongs to one thread alone.

Not here: what is sent and what it means (kdns.server.streams), why it is trusted (kdns.server.credentials).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from kdns.server.response import HEAD_OCTETS_MAX, MalformedResponse, parse_head

MAX_ADDRESSES = 4  # of one host that are tried: both families, and an alternative of each

# A dead connection that is silent is noticed by the kernel in 15 + 3 x 5 = 30 s. (A path's state in middleboxes
# lives for minutes.)
KEEPALIVE_IDLE_SECONDS = 15
KEEPALIVE_INTERVAL_SECONDS = 5
KEEPALIVE_COUNT = 3

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds.

    connect: for each address, then for a proxy's answer, then for the TLS handshake.
    send: for a request to be taken, all of it.
    read: between any two octets; more than the reflector's own limit, which knows when a bookmark is due.
    load: for credentials, with an exec plugin; a cloud's takes 1 to 3, and several times that where CPU is scarce. It
        ends before the reflector gives up on the whole request, so that the log blames the plugin.
    """

    connect: float = 5.0
    send: float = 5.0
    read: float = 100.0
    load: float = 20.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, asked to CONNECT. authorization: the header's value, "" for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"the proxy http://{authority(self.host, self.port)}"


class Cancelled(Exception):
    """Nobody wants it any more."""


class ProxyRefused(Exception):
    """The proxy does not connect us; the text says what it answered."""


class Connection:
    """A TCP connection of one thread. Methods raise OSError (TimeoutError among it) and Cancelled.

    cancel: an eventfd; once it is written to, whatever waits here raises Cancelled.
    """

    def __init__(self, sock: socket.socket, cancel: int) -> None:
        self._sock = sock
        self._cancel = cancel
        self._late: OSError | None = None  # came after octets that had to be returned first
        self.is_ending = False  # the end, or an error, comes next
        sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(cancel, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._sock.close()

    def connect(self, address: tuple[Any, ...], limit: float) -> None:
        """Connect to an address, as `getaddrinfo` gives it for the socket's family."""
        for option in _KEEPALIVE:
            self._sock.setsockopt(*option)
        problem = self._sock.connect_ex(address)
        if problem == errno.EINPROGRESS:
            self._wait(select.POLLOUT, limit, f"no connection in {limit:g} s")
            problem = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, os.strerror(problem))

    def start_tls(self, context: ssl.SSLContext, name: str, limit: float) -> None:
        """Make it a TLS connection with a server of this name, or address."""
        tls = context.wrap_socket(
            self._sock, server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._sock = tls
        self._patiently(tls.do_handshake, select.POLLIN, limit, "no TLS handshake")

    def send(self, data: bytes, limit: float) -> None:
        """Send all of it."""
        while data:
            sent = self._patiently(partial(self._sock.send, data), select.POLLOUT, limit, "nothing can be sent")
            data = data[sent:]

    def fileno(self) -> int:
        """To have a selector watch it for octets that come."""
        return self._sock.fileno()

    def is_quiet(self, seconds: float) -> bool:
        """Whether there is nothing to receive, and nothing comes for so long."""
        if self.is_ending or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return False
        try:
            self._wait(select.POLLIN, seconds, "quiet")
        except TimeoutError:
            return True
        return False

    def receive_into(self, buffer: memoryview, limit: float) -> int:
        """Wait until something comes, then take all that has come, as far as there is room.

        Returns the number of octets, 0 for the end.
        """
        if self._late is not None:
            raise self._late
        return self._fill(
            buffer, self._patiently(partial(self._sock.recv_into, buffer), select.POLLIN, limit, "nothing heard")
        )

    def receive_now(self, buffer: memoryview) -> int | None:
        """As receive_into, but None instead of waiting."""
        try:
            return self._fill(buffer, self._sock.recv_into(buffer))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def _fill(self, buffer: memoryview, filled: int) -> int:
        """Take what has come besides, after the first octets."""
        while 0 < filled < len(buffer) and self._has_more():
            try:
                more = self._sock.recv_into(buffer[filled:])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self._late, self.is_ending = error, True
                break
            if not more:
                self.is_ending = True  # the next call is told so again
                break
            filled += more
        return filled

    def _has_more(self) -> bool:
        """Whether something more seems to have come: asking TLS for what is not there costs an exception."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        self._poll.register(self._sock, select.POLLIN)
        return any(fd != self._cancel for fd, _ in self._poll.poll(0))

    def _patiently(self, attempt: Callable[[], _T], events: int, limit: float, complaint: str) -> _T:
        """Attempt until it works, waiting in between for `limit` seconds in all."""
        deadline = 0.0
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            except BlockingIOError:
                wanted = events
            deadline = deadline or time.monotonic() + limit
            self._wait(wanted, deadline - time.monotonic(), f"{complaint} for {limit:g} s")

    def _wait(self, events: int, seconds: float, complaint: str) -> None:
        self._poll.register(self._sock, events)
        ready = {fd for fd, _ in self._poll.poll(max(0.0, seconds) * 1000)}
        if self._cancel in ready:
            raise Cancelled
        if not ready:
            raise TimeoutError(complaint)


def dial(host: str, port: int, cancel: int, limits: Limits) -> Connection:
    """Connect to a host. Raises OSError, that of the last of its addresses, and Cancelled."""
    problem = OSError(errno.EADDRNOTAVAIL, "no address")
    for family, kind, protocol, _, address in _resolve(host, port):
        connection = Connection(socket.socket(family, kind, protocol), cancel)
        try:
            connection.connect(address, limits.connect)
        except OSError as error:
            connection.close()
            problem = error
        except Cancelled:
            connection.close()
            raise
        else:
            return connection
    raise problem


def tunnel(connection: Connection, proxy: Proxy, host: str, port: int, limits: Limits) -> None:
    """Have a proxy connect us through (RFC 9110 section 9.3.6). Raises ProxyRefused, MalformedResponse, OSError."""
    place = authority(host, port)
    credentials = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    connection.send(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{credentials}\r\n".encode(), limits.send)
    answer = b""
    buffer = memoryview(bytearray(4096))
    while not (end := answer.find(b"\r\n\r\n") + 1):
        received = connection.receive_into(buffer, limits.connect)
        if not received or len(answer) > HEAD_OCTETS_MAX:
            raise MalformedResponse("no HTTP answer to CONNECT")
        answer += buffer[:received]
    head = parse_head(answer[: end - 1])
    if not 200 <= head.status < 300:
        raise ProxyRefused(f"it answers {head.status} {head.reason}".rstrip())
    if len(answer) > end + 3:
        raise MalformedResponse("more than an answer to CONNECT")


def authority(host: str, port: int) -> str:
    """HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolve(host: str, port: int) -> list[Any]:
    """What to try, each address once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(found))[:MAX_ADDRESSES]
