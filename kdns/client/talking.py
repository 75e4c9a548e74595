"""The sockets of one exchange: opens, reads and closes what kdns.wire.exchange says, for a loop or for callers.

Each message has a socket of its own, connected, so that the kernel draws the port and passes on nothing from others
(RFC 5452 section 9.2), and tells of ICMP errors. Nothing here waits. Not here: when a socket may be read
(kdns.client.stub, kdns.client.blocking_stub), what is sent (kdns.wire.exchange).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from kdns.wire.exchange import Action, Close, Done, Exchange, Send

# Datagrams that are read at a time: the exchange ends the wait on one socket before so many strangers.
DATAGRAMS_MAX = 16
# We say that we take 1232 octets; what is longer is cut, and malformed.
DATAGRAM_OCTETS = 4096
STREAM_OCTETS = 65536

_WHY = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EAFNOSUPPORT: "an address that this machine cannot reach",
    errno.ECONNRESET: "connection broken",
    errno.EPIPE: "connection broken",
    errno.EMFILE: "this process has no descriptor left",
    errno.ENFILE: "this machine has no descriptor left",
}


class Place(NamedTuple):
    """Where a server listens. text: for people. address: as connect wants it, None if it is none of this machine."""

    text: str
    family: int
    address: tuple[str, int] | tuple[str, int, int, int] | None


def place_of(host: str, port: int) -> Place:
    """Of an address, maybe with a zone index; nothing is looked up, and nothing raises."""
    text = host if port == 53 else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)[0]
    except OSError:
        return Place(text, socket.AF_INET, None)
    return Place(text, family, address)  # type: ignore[arg-type]  # of a machine without IPv6 alone it is another


class Line:
    """One socket. wants_write: it is connecting, or has not taken all octets."""

    __slots__ = ("_unsent", "sock", "tcp", "token", "wants_write")

    def __init__(self, place: Place, send: Send) -> None:
        """Raises OSError."""
        if place.address is None:
            raise OSError(errno.EAFNOSUPPORT, "")
        kind = socket.SOCK_STREAM if send.tcp else socket.SOCK_DGRAM
        self.sock = socket.socket(place.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.token, self.tcp, self.wants_write, self._unsent = send.token, send.tcp, send.tcp, send.octets
        try:
            result = self.sock.connect_ex(place.address)
            if result not in (0, errno.EINPROGRESS):
                raise OSError(result, "")
            if not send.tcp:
                self.sock.send(send.octets)
        except OSError:
            self.sock.close()
            raise

    def go(self) -> list[bytes]:
        """Send and read what can be. Raises OSError; b"" of a stream: it is closed."""
        if self.wants_write:
            self._flush()
        try:
            if self.tcp:
                return [self.sock.recv(STREAM_OCTETS)] if not self.wants_write else []
            return self._datagrams()
        except BlockingIOError:
            return []

    def _flush(self) -> None:
        result = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result:
            raise OSError(result, "")
        try:
            self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            return
        self.wants_write = bool(self._unsent)

    def _datagrams(self) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < DATAGRAMS_MAX:
            try:
                found.append(self.sock.recv(DATAGRAM_OCTETS))
            except OSError:
                if found:
                    break  # an error would come again with the next read
                raise
        return found


class Watch(Protocol):
    """Who knows when a socket is ready."""

    def watch(self, line: Line) -> None:
        """Say when it can be read, or written if it wants that; anew when that changes."""

    def unwatch(self, line: Line) -> None:
        """Not any more; it is closed next."""


class Talk:
    """One exchange and its sockets. Methods return Done, once, when it is over; no socket is open then."""

    __slots__ = ("_lines", "_places", "_watch", "exchange")

    def __init__(self, exchange: Exchange, places: Sequence[Place], watch: Watch) -> None:
        self.exchange = exchange
        self._places = places
        self._watch = watch
        self._lines: dict[int, Line] = {}

    def start(self, now: float) -> Done | None:
        """Ask the first server."""
        return self._run(self.exchange.start(now), now)

    def woken(self, now: float) -> Done | None:
        """Do what is due."""
        return self._run(self.exchange.woken(now), now)

    def ready(self, token: int, now: float) -> Done | None:
        """A socket can be read or written."""
        line = self._lines.get(token)
        if line is None:
            return None
        wanted = line.wants_write
        try:
            pieces = line.go()
        except OSError as error:
            return self._run(self.exchange.failed(token, why(error), now), now)
        if line.wants_write != wanted:
            self._watch.watch(line)
        actions: list[Action] = []
        for piece in pieces:
            actions += self.exchange.received(token, piece, now)
        return self._run(actions, now)

    def close(self) -> None:
        """Close all sockets."""
        while self._lines:
            self._close(self._lines.popitem()[1])

    def _run(self, actions: list[Action], now: float) -> Done | None:
        """Carry out actions, and those that follow from sockets that cannot be had: at most SENDS_MAX of them."""
        done = None
        while actions:
            action = actions.pop(0)
            if isinstance(action, Send):
                actions += self._open(action, now)
            elif isinstance(action, Close):
                line = self._lines.pop(action.token, None)
                if line is not None:
                    self._close(line)
            else:
                done = action
        return done

    def _open(self, send: Send, now: float) -> list[Action]:
        try:
            line = self._lines[send.token] = Line(self._places[send.server], send)
        except OSError as error:
            return self.exchange.failed(send.token, why(error), now)
        self._watch.watch(line)
        return []

    def _close(self, line: Line) -> None:
        self._watch.unwatch(line)
        line.sock.close()


def why(error: OSError) -> str:
    """What an error of a socket means, for people."""
    number = error.errno or 0
    return _WHY.get(number) or os.strerror(number).lower()


class Preference:
    """Which server is asked first: the one that answered last, if the first one did not, for a while.

    A dead first server of resolv.conf would cost each question its patience; but the first is often the node's own
    cache, so it is tried again.
    """

    SECONDS = 30.0  # one question in so many seconds pays for the try

    __slots__ = ("_server", "_until")

    def __init__(self) -> None:
        self._server, self._until = 0, 0.0

    def first(self, now: float) -> int:
        """The index of the server to begin with."""
        return self._server if now < self._until else 0

    def answered(self, server: int, now: float) -> None:
        """This one has answered."""
        if server and (server != self._server or now >= self._until):
            self._server, self._until = server, now + self.SECONDS
        elif not server:
            self._until = 0.0
