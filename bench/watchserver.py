"""An API server for measurements: it lists and watches a made-up cluster, over HTTPS on loopback, and costs little.

It is true to a real one in what costs a client time: chunks of 2,048 octets, TLS records of what Go's net/http writes
at once, watch lists with their end bookmark, pages with tokens, 422 where watch lists are off, 410 as an event. It
knows the three collections that kdns watches, and nothing of selectors or permissions. One thread, which somebody
drives by `step`: the measurement itself, so that it knows to the microsecond when an event was sent, or a process of
its own (`ApiProcess`), which ends when its standard input does.

Not here: what the objects look like (bench.watchdata), a server that is true in all things (tests/support/fakeapi).
"""

from __future__ import annotations

import base64
import json
import math
import random
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import trustme

from bench.watchdata import LIST_VERSION, Plan, Toggler

ADDRESS = "127.0.0.1"
CHUNK_OCTETS = 2048  # of a watch's body, as an API server cuts it
WRITE_OCTETS = 4096  # net/http's buffer: what becomes one TLS record
BLOCK_OCTETS = 64 << 10  # of a list, made at once
PAGE_BLOCK = 16  # objects of a page, made at once
TURN_OCTETS = 256 << 10  # written to one connection before the others have their turn
HEAD_OCTETS_MAX = 16 << 10
STOP_SECONDS = 10.0
IDLE_SECONDS = 1.0
HERE = Path(__file__).resolve().parent

NAMESPACES = "/api/v1/namespaces"
SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
KINDS = {
    NAMESPACES: ("v1", "Namespace"),
    SERVICES: ("v1", "Service"),
    SLICES: ("discovery.k8s.io/v1", "EndpointSlice"),
}
_GATE_OFF = (
    'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch '
    "unless the WatchList feature gate is enabled"
)
_EXPIRED = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
    b'"message":"too old resource version: 1 (2)","reason":"Expired","code":410}}\n'
)
_REASONS = {403: "Forbidden", 404: "Not Found", 422: "Unprocessable Entity", 500: "Internal Server Error"}
_LAST_CHUNK = b"0\r\n\r\n"


class Catalogue:
    """All objects, by the path of their collection, as JSON."""

    def __init__(self, plan: Plan) -> None:
        self.objects: dict[str, list[bytes]] = {
            NAMESPACES: list(plan.namespaces()),
            SERVICES: list(plan.all_services()),
            SLICES: list(plan.slices()),
        }

    def watch_list(self, path: str) -> Iterator[bytes]:
        """The initial events of a watch list and their end, in blocks of lines."""
        block: list[bytes] = []
        octets = 0
        for one in self.objects[path]:
            block += (b'{"type":"ADDED","object":', one, b"}\n")
            octets += len(one)
            if octets > BLOCK_OCTETS:
                yield b"".join(block)
                block, octets = [], 0
        yield b"".join(block) + end_bookmark(path)

    def page(self, path: str, limit: int, start: int) -> Iterator[bytes]:
        """The objects from `start` on, `limit` of them at most (0 for all), as a list, in blocks."""
        version, kind = KINDS[path]
        objects = self.objects[path]
        end = min(len(objects), start + limit) if limit else len(objects)
        more = f',"continue":"{end}","remainingItemCount":{len(objects) - end}' if end < len(objects) else ""
        meta = f'{{"resourceVersion":"{LIST_VERSION}"{more}}}'
        yield f'{{"kind":"{kind}List","apiVersion":"{version}","metadata":{meta},"items":['.encode()
        for at in range(start, end, PAGE_BLOCK):
            yield b"," * (at > start) + b",".join(objects[at : min(end, at + PAGE_BLOCK)])
        yield b"]}\n"


def end_bookmark(path: str) -> bytes:
    """The bookmark that ends the initial events of a collection."""
    version, kind = KINDS[path]
    meta = f'{{"resourceVersion":"{LIST_VERSION}","annotations":{{"k8s.io/initial-events-end":"true"}}}}'
    return event("BOOKMARK", f'{{"kind":"{kind}","apiVersion":"{version}","metadata":{meta}}}'.encode())


def event(kind: str, value: bytes) -> bytes:
    """A line of a watch."""
    return b'{"type":"' + kind.encode() + b'","object":' + value + b"}\n"


def chunked(data: bytes) -> bytes:
    """Octets as chunks (RFC 9112 section 7.1)."""
    parts: list[bytes] = []
    for at in range(0, len(data), CHUNK_OCTETS):
        chunk = data[at : at + CHUNK_OCTETS]
        parts += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
    return b"".join(parts)


@dataclass(slots=True)
class Statistics:
    """What was asked for, and when (monotonic ns) the last list of slices began and ended to be sent."""

    connections: int = 0
    requests: int = 0
    watch_lists: int = 0
    pages: int = 0
    watches: int = 0
    list_began_ns: int = 0
    list_ended_ns: int = 0


@dataclass(slots=True)
class Mood:
    """How it behaves. status: what every request is answered with; 200 for what it asks for."""

    has_watch_lists: bool = True
    status: int = 200


class Sent(NamedTuple):
    """When (monotonic ns) the first octet of something was about to go, and when its last one was in the socket.

    On loopback it is in the receiver's socket then.
    """

    before_ns: int
    arrived_ns: int


@dataclass(eq=False, slots=True)
class _Connection:
    """One client. out, body: what is to be sent, and how to make more. watches: whose events it is to be told."""

    sock: ssl.SSLSocket
    has_shaken_hands: bool = False
    head: bytes = b""
    out: deque[memoryview] = field(default_factory=deque)
    body: Iterator[bytes] | None = None
    closes: bool = False
    watches: str = ""
    lists_slices: bool = False


class ApiServer:
    """Listens as soon as it is made; `step` does all the rest."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.mood = Mood()
        self.statistics = Statistics()
        self._catalogue = catalogue
        ca = trustme.CA()
        self._ca = ca.cert_pem.bytes()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(ADDRESS).configure_cert(self._context)
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._listener = socket.create_server((ADDRESS, 0), backlog=64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._connections):
            self._drop(connection)
        self._listener.close()
        self._selector.close()

    def write_kubeconfig(self, path: Path, ca: bytes = b"") -> Path:
        """Write how to reach it. ca: the one to trust, if it is not to be the right one."""
        trusted = base64.b64encode(ca or self._ca).decode()
        server = {"server": f"https://{ADDRESS}:{self.port}", "certificate-authority-data": trusted}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": server}],
            "users": [{"name": "bench", "user": {"token": "bench"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "current-context": "bench",
        }
        path.write_text(json.dumps(config))
        return path

    @property
    def watchers(self) -> int:
        """How many watches have been told everything there is."""
        return sum(bool(one.watches) and one.body is None and not one.out for one in self._connections)

    def register(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Have `step` look after another descriptor."""
        self._selector.register(fd, selectors.EVENT_READ, on_readable)

    def step(self, timeout: float) -> None:
        """Wait so long for something to do, and do it."""
        for key, ready in self._selector.select(timeout):
            if key.data is None:
                self._accept()
            elif isinstance(key.data, _Connection):
                self._serve(key.data, ready)
            else:
                key.data()

    def tell(self, path: str, line: bytes) -> Sent:
        """Send a line to all who watch a collection."""
        framed = memoryview(chunked(line))
        listeners = [one for one in self._connections if one.watches == path]
        since = time.monotonic_ns()
        for one in listeners:
            one.out.append(framed)
            self._write(one)
        return Sent(since, time.monotonic_ns())

    def expire(self, path: str) -> None:
        """Tell all who watch a collection that their resource version is too old, and end their watches."""
        for one in [one for one in self._connections if one.watches == path]:
            one.watches, one.closes = "", True
            one.out += (memoryview(chunked(_EXPIRED)), memoryview(_LAST_CHUNK))
            self._write(one)

    # Inside

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go does
        sock.setblocking(False)
        self.statistics.connections += 1
        tls = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        connection = _Connection(tls)
        self._connections.add(connection)
        self._selector.register(tls, selectors.EVENT_READ, connection)

    def _serve(self, connection: _Connection, ready: int) -> None:
        try:
            if not connection.has_shaken_hands:
                connection.sock.do_handshake()
                connection.has_shaken_hands = True
            if ready & selectors.EVENT_READ:
                self._read(connection)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._drop(connection)
            return
        if ready & selectors.EVENT_WRITE:
            self._write(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.sock.recv(HEAD_OCTETS_MAX)
        connection.head += data
        if not data or len(connection.head) > HEAD_OCTETS_MAX:
            self._drop(connection)
        elif b"\r\n\r\n" in connection.head:
            target, connection.head = connection.head.split(b" ", 2)[1].decode(), b""
            self._answer(connection, target)
            self._write(connection)

    def _answer(self, connection: _Connection, target: str) -> None:
        self.statistics.requests += 1
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if self.mood.status != 200 or url.path not in KINDS:
            _refuse(connection, self.mood.status if self.mood.status != 200 else 404, "that is how it is")
        elif "watch" not in query:
            self._list(connection, url.path, query)
        else:
            self._watch(connection, url.path, "sendInitialEvents" in query)

    def _list(self, connection: _Connection, path: str, query: dict[str, str]) -> None:
        self.statistics.pages += 1
        page = self._catalogue.page(path, int(query.get("limit", "0")), int(query.get("continue", "0")))
        _begin(connection, page, closes=True)
        connection.lists_slices = path == SLICES and "continue" not in query

    def _watch(self, connection: _Connection, path: str, wants_list: bool) -> None:
        if wants_list and not self.mood.has_watch_lists:
            _refuse(connection, 422, _GATE_OFF)
            return
        self.statistics.watch_lists += wants_list
        self.statistics.watches += not wants_list
        _begin(connection, self._catalogue.watch_list(path) if wants_list else None, closes=False)
        connection.watches, connection.lists_slices = path, wants_list and path == SLICES

    def _write(self, connection: _Connection) -> None:
        """Write what there is, as far as the client takes it and it is this one's turn."""
        try:
            is_done = self._write_some(connection)
        except ssl.SSLWantWriteError:
            is_done = False
        except OSError:
            self._drop(connection)
            return
        if is_done and connection.closes:
            self._drop(connection)
            return
        wanted = selectors.EVENT_READ | (0 if is_done else selectors.EVENT_WRITE)
        if self._selector.get_key(connection.sock).events != wanted:
            self._selector.modify(connection.sock, wanted, connection)

    def _write_some(self, connection: _Connection) -> bool:
        left = TURN_OCTETS
        while left > 0:
            if not connection.out and not self._refill(connection):
                return True
            data = connection.out[0]
            sent = connection.sock.send(data[:WRITE_OCTETS])
            left -= sent
            if sent == len(data):
                connection.out.popleft()
            else:
                connection.out[0] = data[sent:]
        return False

    def _refill(self, connection: _Connection) -> bool:
        """Make the next block of a body; False if there is none."""
        if connection.body is None:
            return False
        if connection.lists_slices:
            connection.lists_slices = False
            self.statistics.list_began_ns = time.monotonic_ns()
        block = next(connection.body, None)
        if block is not None:
            connection.out.append(memoryview(chunked(block)))
            return True
        connection.body = None
        self.statistics.list_ended_ns = time.monotonic_ns()
        if connection.closes:
            connection.out.append(memoryview(_LAST_CHUNK))
        return connection.closes

    def _drop(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.sock)
            connection.sock.close()


def _begin(connection: _Connection, body: Iterator[bytes] | None, closes: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.out.append(memoryview(head))
    connection.body, connection.closes = body, closes


def _refuse(connection: _Connection, status: int, message: str) -> None:
    reason = _REASONS[status]
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    body = json.dumps(said | {"code": status, "reason": reason.replace(" ", "")}).encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.out.append(memoryview(head.encode() + body))
    connection.closes = True


@dataclass(slots=True)
class Churn:
    """Slice events at random moments: `rate` a second for `seconds`. spared: a Service that has none."""

    rate: float
    seconds: float
    seed: int = 1
    sent: int = 0
    spared: int = -1
    _ends: float = 0.0
    _next: float = 0.0
    _rng: random.Random = field(default_factory=random.Random)

    def start(self, now: float) -> None:
        """Begin now."""
        self._rng = random.Random(self.seed)
        self._ends = now + self.seconds
        self._next = now + self._rng.expovariate(self.rate)

    @property
    def due(self) -> float:
        """When the next event is; infinity if there is none any more."""
        return self._next if self._next < self._ends else math.inf

    def next_event(self, toggler: Toggler) -> bytes:
        """The event that is due."""
        self._next += self._rng.expovariate(self.rate)
        self.sent += 1
        plan = toggler.plan
        service = self._rng.randrange(plan.services)
        if service == self.spared:
            service = (service + 1) % plan.services
        return event("MODIFIED", toggler.toggle(service, self._rng.randrange(plan.endpoints)).piece)


# A process of its own


class _Attendant:
    """Serves, and does what lines on standard input say (see `ApiProcess`)."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._server = ApiServer(Catalogue(plan))
        self._toggler = Toggler(plan)
        self._churn = Churn(1.0, 0.0)
        self._is_over = False
        kubeconfig = self._server.write_kubeconfig(directory / "kubeconfig")
        foreign = self._server.write_kubeconfig(directory / "foreign", trustme.CA().cert_pem.bytes())
        self._server.register(sys.stdin.fileno(), self._on_line)
        _say({"port": self._server.port, "kubeconfig": str(kubeconfig), "foreign": str(foreign)})

    def run(self) -> None:
        while not self._is_over:
            self._server.step(max(0.0, min(IDLE_SECONDS, self._churn.due - time.monotonic())))
            if time.monotonic() >= self._churn.due:
                self._server.tell(SLICES, self._churn.next_event(self._toggler))

    def _on_line(self) -> None:
        line = sys.stdin.readline()
        if not line:
            self._is_over = True
            return
        name, *arguments = json.loads(line)
        _say(_COMMANDS[name](self, *arguments) or {})

    def _statistics(self) -> dict[str, int]:
        return {**asdict(self._server.statistics), "watchers": self._server.watchers, "events": self._churn.sent}

    def _begin_churn(self, rate: float, seconds: float, seed: int) -> None:
        self._churn = Churn(rate, seconds, seed)
        self._churn.start(time.monotonic())

    def _expire(self) -> None:
        self._server.expire(SLICES)

    def _behave(self, has_watch_lists: bool, status: int) -> None:
        self._server.mood = Mood(has_watch_lists, status)


_COMMANDS: dict[str, Callable[..., dict[str, int] | None]] = {
    "statistics": _Attendant._statistics,
    "churn": _Attendant._begin_churn,
    "expire": _Attendant._expire,
    "behave": _Attendant._behave,
}


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


class ApiProcess:
    """An ApiServer in a process of its own, for as long as this block lasts. cores: which it may use."""

    def __init__(self, plan: Plan, directory: Path, cores: Iterable[int]) -> None:
        taskset = ["taskset", "-c", ",".join(map(str, cores))]
        arguments = [str(plan.services), str(plan.endpoints), str(directory)]
        self._process = subprocess.Popen(
            [*taskset, sys.executable, "-m", "bench.watchserver", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
        )
        started = self._hear()
        self.port: int = started["port"]
        self.kubeconfig = Path(started["kubeconfig"])
        self.foreign_kubeconfig = Path(started["foreign"])  # with a CA that did not sign its certificate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=STOP_SECONDS)

    def statistics(self) -> dict[str, int]:
        """See Statistics; and `watchers`, and `events` that the last churn has sent."""
        return self._do("statistics")

    def churn(self, rate: float, seconds: float, seed: int = 1) -> None:
        """Begin to send slice events."""
        self._do("churn", rate, seconds, seed)

    def expire(self) -> None:
        """Have all who watch slices list anew."""
        self._do("expire")

    def behave(self, has_watch_lists: bool = True, status: int = 200) -> None:
        """See Mood."""
        self._do("behave", has_watch_lists, status)

    def _do(self, name: str, *arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the API server ended with {self._process.wait(STOP_SECONDS)}")
        said: dict[str, Any] = json.loads(line)
        return said


def main() -> None:
    services, endpoints, directory = sys.argv[1:]
    _Attendant(Plan(int(services), int(endpoints)), Path(directory)).run()


if __name__ == "__main__":
    main()
