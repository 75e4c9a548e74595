"""The HTTP endpoints of the process: /health, /ready and /metrics, served by the supervisor between its other duties.

No thread, no wait: everything is non-blocking and bounded, so that the worst a client can do is to lose its own
connection. A probe that sends its request with its connection is answered in the turn in which it is accepted,
however many others hold theirs open. Not here: HTTP (kdns.server.http1), what the pages say (kdns.server.pages).
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from kdns.corefile import Corefile, HttpAddress, ReadyWhen, ServerBlock, Settings
from kdns.corefile.directives import print_directives
from kdns.observe.families import HEALTH_DURATION, HEALTH_FAILURES, SUM, Sample, time_bucket
from kdns.observe.logs import Log
from kdns.server.http1 import HEAD_OCTETS_MAX, Pages, is_whole, reply
from kdns.server.sockets import BindError
from kdns.wire.name import to_text

HEALTH, READY, METRICS = "/health", "/ready", "/metrics"

CONNECTIONS_MAX = 64  # some 10 KiB each; one more closes the oldest, so that nobody can keep the others out
# Directives through which no query passes, so that CoreDNS does not count them as enabled either.
_NOT_ANSWERING = frozenset(("bind", "debug", "health", "ready", "reload"))
EXCHANGE_SECONDS = 5.0  # for a whole exchange; kubelet and Prometheus send at once and have given up by then
# Together 200 connections a second, which cost a few percent of a CPU; the rest of a flood waits in the backlog.
ACCEPTS_MAX = 50
ACCEPTS_SECONDS = 0.25
BACKLOG = 128  # waits 0.6 s at that pace: less than the second that a kubelet waits
BLOCK_OCTETS = 16384
LEFTOVERS_MAX = 65536  # read and thrown away after the reply, so that a reset does not overtake it

OnEvent = Callable[[int], None]  # what the selector's keys carry as data: called with the events
Doors = Mapping[HttpAddress, frozenset[str]]  # which paths are served where


@dataclass(frozen=True, slots=True)
class AdminPlan:
    """What is served besides DNS, and how the end is announced. Addresses may be the same.

    lameduck: seconds from the order to end until queries are no longer read. enabled: which directives answer where,
    as server, zone and name in CoreDNS's words.
    """

    health: tuple[HttpAddress, ...] = ()
    ready: tuple[HttpAddress, ...] = ()
    metrics: tuple[HttpAddress, ...] = ()
    lameduck: float = 0.0
    ready_when: ReadyWhen = field(default_factory=ReadyWhen)
    enabled: tuple[tuple[str, str, str], ...] = ()

    @property
    def doors(self) -> Doors:
        """Where which paths are served."""
        doors: dict[HttpAddress, frozenset[str]] = {}
        for path, addresses in ((HEALTH, self.health), (READY, self.ready), (METRICS, self.metrics)):
            for address in addresses:
                doors[address] = doors.get(address, frozenset()) | {path}
        return doors


def admin_plan(corefile: Corefile, settings: Settings) -> AdminPlan:
    """What a configuration says of it. What several server blocks say is said of the one process that they are in."""
    blocks = corefile.blocks
    return AdminPlan(
        health=tuple(block.health.address for block in blocks if block.health),
        ready=tuple(block.ready.address for block in blocks if block.ready),
        metrics=tuple(block.prometheus.address for block in blocks if block.prometheus),
        lameduck=corefile.lameduck_ns / 1e9 if settings.lameduck is None else settings.lameduck,
        ready_when=settings.ready_when,
        enabled=tuple(dict.fromkeys(one for block in blocks for one in _enabled(block))),
    )


def _enabled(block: ServerBlock) -> Iterator[tuple[str, str, str]]:
    """The directives of a block, by what they are printed as: a line of their own at the left margin."""
    hosts = [address for bind in block.bind for address in bind.addresses if address not in bind.excluded]
    words = [line.split()[0] for line in print_directives(block) if line[0].isalpha()]
    for host in hosts or [""]:
        for zone in block.zones:
            for word in dict.fromkeys(words):
                if word not in _NOT_ANSWERING:
                    yield server_label(host, block.port), to_text(zone), word


def server_label(host: str, port: int) -> str:
    """A listener as CoreDNS's metrics name it. host: an address, "" for all of them."""
    return f"dns://{HttpAddress(host, port)}"


@dataclass(slots=True)
class _Door:
    """One listening socket."""

    address: HttpAddress
    sock: socket.socket
    paths: frozenset[str]


@dataclass(slots=True)
class _Connection:
    """One exchange: first `received` grows, then `unsent` shrinks, then leftovers are read to the client's end."""

    sock: socket.socket
    door: _Door
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    unsent: memoryview | None = None
    leftovers: int = 0


class AdminServer:
    """See the module's docstring. `selector`: its keys' data is an OnEvent, and whoever owns it calls them."""

    def __init__(self, selector: selectors.BaseSelector, pages: Pages, log: Log) -> None:
        self._selector = selector
        self._pages = pages
        self._log = log
        self._doors: dict[HttpAddress, _Door] = {}
        self._connections: dict[int, _Connection] = {}  # by descriptor, the oldest first
        self._accepts_left = ACCEPTS_MAX
        self._accepts_until = 0.0
        self._is_paused = False
        self.samples: Counter[Sample] = Counter()  # how long answers to /health took

    def listen(self, doors: Doors) -> None:
        """Serve these too, besides what is served. Raises BindError, and then nothing has changed."""
        bound: list[_Door] = []
        try:
            for address, paths in doors.items():
                if address not in self._doors:
                    ports = {held.address.port for held in (*self._doors.values(), *bound)} - {0}
                    bound.append(_Door(address, _bind(address, paths, address.port in ports), paths))
        except BindError:
            for door in bound:
                door.sock.close()
            raise
        for address in doors.keys() & self._doors.keys():
            self._doors[address].paths |= doors[address]
        for door in bound:
            self._open(door)

    def keep_only(self, doors: Doors) -> None:
        """Serve nothing but these, which are served already."""
        for address, door in list(self._doors.items()):
            if address in doors:
                door.paths = doors[address]
                continue
            del self._doors[address]
            self._drop([connection for connection in self._connections.values() if connection.door is door])
            if not self._is_paused:
                self._selector.unregister(door.sock)
            door.sock.close()

    def tick(self, now: float) -> None:
        """End what takes too long, and accept again after a pause. To be called after every wait."""
        if now >= self._accepts_until:
            self._accepts_left, self._accepts_until = ACCEPTS_MAX, now + ACCEPTS_SECONDS
            if self._is_paused:
                self._is_paused = False
                for door in self._doors.values():
                    self._watch(door)
        self._drop([connection for connection in self._connections.values() if connection.deadline <= now])

    def close(self) -> None:
        """Close everything."""
        self.keep_only({})

    def _open(self, door: _Door) -> None:
        self._doors[door.address] = door
        if not self._is_paused:
            self._watch(door)
        where = HttpAddress(*door.sock.getsockname()[:2])
        self._log.info(f"{_all(door.paths)} served on {where} (HTTP)")

    def _watch(self, door: _Door) -> None:
        self._selector.register(door.sock, selectors.EVENT_READ, partial(self._on_acceptable, door))

    def _pause(self) -> None:
        self._is_paused = True
        for door in self._doors.values():
            self._selector.unregister(door.sock)

    def _on_acceptable(self, door: _Door, _: int) -> None:
        while self._accepts_left and not self._is_paused:
            try:
                sock, _client = door.sock.accept()
            except BlockingIOError:
                return
            except OSError:  # out of descriptors, or the client has gone: the next turn sees what there is
                break
            self._accepts_left -= 1
            self._begin(sock, door)
        if not self._is_paused:
            self._pause()

    def _begin(self, sock: socket.socket, door: _Door) -> None:
        sock.setblocking(False)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._drop([next(iter(self._connections.values()))])
        connection = _Connection(sock, door, time.monotonic() + EXCHANGE_SECONDS)
        self._connections[sock.fileno()] = connection
        self._selector.register(sock, selectors.EVENT_READ, partial(self._on_event, connection))
        self._on_event(connection, selectors.EVENT_READ)

    def _on_event(self, connection: _Connection, _: int) -> None:
        if self._connections.get(connection.sock.fileno()) is not connection:
            return  # closed earlier in this turn
        try:
            is_over = self._go_on(connection)
        except BlockingIOError:
            return
        except OSError:  # the client has gone
            is_over = True
        if is_over:
            self._drop([connection])

    def _go_on(self, connection: _Connection) -> bool:
        """One read or write. True if the connection is over."""
        if connection.unsent:
            return self._send(connection)
        block = connection.sock.recv(BLOCK_OCTETS)
        if connection.unsent is not None:
            connection.leftovers += len(block)
            return not block or connection.leftovers > LEFTOVERS_MAX
        connection.received += block
        # Only a line's end, or too much, can complete a request: a client that sends octet by octet costs no more.
        if not block or not (b"\n" in block or len(connection.received) > HEAD_OCTETS_MAX):
            return not block
        received = bytes(connection.received)
        if not is_whole(received):
            return False
        connection.unsent = memoryview(self._reply(received, connection.door))
        if _is_for_health(received, connection.door):
            self._time_health(time.monotonic() - (connection.deadline - EXCHANGE_SECONDS))
        return self._send(connection)

    def _time_health(self, took: float) -> None:
        took_ns = int(took * 1e9)
        self.samples[Sample(HEALTH_DURATION, (), time_bucket(took_ns))] += 1
        self.samples[Sample(HEALTH_DURATION, (), SUM)] += took_ns
        self.samples[Sample(HEALTH_FAILURES)] += 0  # known from now on, and 0 until one fails

    def _send(self, connection: _Connection) -> bool:
        assert connection.unsent is not None
        with suppress(BlockingIOError):
            connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        wanted = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        if not connection.unsent:
            connection.sock.shutdown(socket.SHUT_WR)
        self._selector.modify(connection.sock, wanted, partial(self._on_event, connection))
        return False

    def _reply(self, received: bytes, door: _Door) -> bytes:
        pages = {path: self._pages[path] for path in door.paths}
        try:
            return reply(received, pages, time.time())
        except Exception:  # a bug of ours must not end what answers queries
            self._log.error(f"kdns bug: an HTTP request could not be answered: {traceback.format_exc()}")
            self.samples[Sample(HEALTH_FAILURES)] += _is_for_health(received, door)
            return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def _drop(self, connections: Iterable[_Connection]) -> None:
        for connection in connections:
            del self._connections[connection.sock.fileno()]
            self._selector.unregister(connection.sock)
            connection.sock.close()


def _is_for_health(received: bytes, door: _Door) -> bool:
    return HEALTH in door.paths and received.split(None, 2)[1:2] == [HEALTH.encode()]


def _bind(address: HttpAddress, paths: frozenset[str], is_port_ours: bool) -> socket.socket:
    """Listen. A port that we hold already, at another address, has to be shared until that one is given up."""
    sock: socket.socket | None = None
    try:
        family, sockaddr = _socket_address(address)
        sock = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(address.host))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, is_port_ours)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _bind_error(address, paths, error) from None
    return sock


def _socket_address(address: HttpAddress) -> tuple[int, tuple[object, ...]]:
    """A name's first address, IPv4 before IPv6 as in CoreDNS; for no host, all addresses of both families."""
    if not address.host and socket.has_dualstack_ipv6():
        return socket.AF_INET6, ("::", address.port)
    found = socket.getaddrinfo(
        address.host or "0.0.0.0", address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    first = min(found, key=lambda one: one[0] != socket.AF_INET)
    return first[0], first[4]


def _bind_error(address: HttpAddress, paths: frozenset[str], error: OSError) -> BindError:
    detail = (error.strerror or str(error)).lower()
    taken = ": another process (or another kdns) listens there" if error.errno == errno.EADDRINUSE else ""
    return BindError(f"cannot serve {_all(paths)} on TCP {address}: {detail}{taken}; the Corefile names the address")


def _all(paths: Iterable[str]) -> str:
    return ", ".join(sorted(paths))
