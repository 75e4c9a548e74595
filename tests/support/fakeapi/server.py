"""A FakeCluster behind HTTP(S) on loopback, in a thread of its own.

    with FakeApiServer() as server:
        path = server.kubeconfig(tmp_path / "config")
        server.control.apply(namespace("shop"), service("shop", "web", [port(80)]))
        server.kill()                         # as SIGKILL: connections end in the middle of a line
        server.start()                        # on the same port; what is in the cluster has stayed
        server.control.fault(Reply("503"), "services", times=3)

All that touches the cluster runs in the thread's event loop; `control` sees to that. While the server is down, it
works all the same. Not here: what is answered (apiserver), a process that can be killed (process).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from email.utils import formatdate
from typing import Any, Self, cast

from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.cache import End, Watch
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.control import Control, Proxy
from tests.support.fakeapi.endpoint import Endpoint
from tests.support.fakeapi.faults import Cut
from tests.support.fakeapi.http import CUTTERS, HEAD_OCTETS_MAX, Cutter, framed, read_request
from tests.support.fakeapi.lists import Wait
from tests.support.fakeapi.statuses import LAST_CHUNK, Response
from tests.support.fakeapi.tls import Certificates, certificates

HOST = "127.0.0.1"
# What a watch takes at once: what a socket's buffer holds, so that a slow reader is noticed by the cluster.
TAKEN_OCTETS = 64 << 10
_NO_LINGER = struct.pack("ii", 1, 0)  # close() sends RST
_OPERATION_SECONDS = 20.0


class _Broken(Exception):
    """The connection is to end as `cut` says."""

    def __init__(self, cut: Cut) -> None:
        super().__init__(cut.kind)
        self.cut = cut


class FakeApiServer(Endpoint):
    """Starts with `with` or start(); `replica` is which of the cluster's servers it is, None for any at each request.

    tls: False for plain HTTP. framing: one of CUTTERS, may change at any time. port: 0 for any that is free.
    host: the address that it listens on; certificates are for loopback and `localhost`.
    """

    def __init__(
        self, cluster: FakeCluster | None = None, *, tls: bool = True, framing: str = "real", port: int = 0,
        pairs: Certificates | None = None, host: str = HOST,
    ) -> None:  # fmt: skip
        super().__init__(host, port, tls, pairs or certificates())
        self._cluster = cluster or FakeCluster(epoch=time.time() - time.monotonic(), now=time.monotonic())
        self._control = Control(self._cluster, time.monotonic)
        self.control = cast(Control, Proxy(self._call))
        self.framing = framing
        self.replica: int | None = 0
        self._presented = "trusted"
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._is_stalled = False

    def start(self) -> Self:
        """Listen, on the same port as before."""
        if self._thread is not None:
            return self
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fake API server", daemon=True)
        self._thread.start()
        ready.result(_OPERATION_SECONDS)
        return self

    def kill(self) -> None:
        """As SIGKILL: all connections end where they are. The caches start anew with the next start()."""
        self._stop(End.BROKEN)

    def stop(self) -> None:
        """As the end of a SIGTERM: watches end cleanly first."""
        if self._thread is not None:
            self._in_loop(lambda: self._cluster.end_watches(end=End.CLEAN))
            self._in_loop(lambda: None)
        self._stop(End.CLEAN)

    def refuse(self) -> None:
        """Close the listener: new connections are refused, those that are open go on."""
        self._in_loop(self._close_listener)

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._await(self._listen())

    def present(self, certificate: str) -> None:
        """Which certificate new connections get: "trusted", "foreign" or "wrong name"."""
        self._presented = certificate
        self.refuse()
        self.accept()

    def stall(self, is_stalled: bool = True) -> None:
        """Send nothing any more, on sockets that stay open; until stall(False)."""
        self._is_stalled = is_stalled
        self._in_loop(self._wake)

    def reset_connections(self) -> None:
        """Send RST on all open connections."""

        def reset() -> None:
            for writer in self._writers:
                _reset(writer)

        self._in_loop(reset)

    def connections(self) -> int:
        return int(self._in_loop(lambda: len(self._writers)))

    # What follows runs in the loop, or hands over to it.

    def _call(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return self._in_loop(lambda: getattr(self._control, name)(*args, **named))

    def _in_loop(self, function: Callable[[], Any]) -> Any:
        """Run where nothing else touches the cluster, and let watches see what has changed."""
        if self._loop is None:
            return function()
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)
            self._wake()

        self._loop.call_soon_threadsafe(run)
        return done.result(_OPERATION_SECONDS)

    def _await(self, coroutine: Any) -> None:
        if self._loop is None:
            raise RuntimeError("the server is not running")
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_OPERATION_SECONDS)

    def _run(self, ready: Future[None]) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._main(ready))

    async def _main(self, ready: Future[None]) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._cluster.restart()
        try:
            await self._listen()
        except OSError as error:
            self._loop = None
            ready.set_exception(error)
            return
        ready.set_result(None)
        await self._stopped.wait()
        self._close_listener()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)  # transports end one round after they are told to
        self._loop = None

    def _stop(self, end: End) -> None:
        if self._thread is None:
            return
        self._in_loop(self._stopped.set)
        self._thread.join(_OPERATION_SECONDS)
        self._thread = None
        self._is_stalled = False
        self._cluster.restart(end=end)

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        context = self.certificates.server_context(self._presented) if self.has_tls else None
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(self._listener, context))

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._accepting.cancel()
            asyncio.get_running_loop().remove_reader(self._listener)  # one due would read a closed socket
            self._listener.close()
            self._listener = None

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """asyncio's own server loses sight of connections whose handshake is not over, and cannot end them."""
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            self._connections.add(loop.create_task(self._welcome(sock, context)))

    async def _welcome(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=HEAD_OCTETS_MAX)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
        except (OSError, asyncio.CancelledError):  # no handshake; ssl's errors are among them
            sock.close()
            self._connections.discard(_this_task())
            return
        await self._accepted(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.transport.set_write_buffer_limits(high=1)  # 0 stops asyncio's TLS for good
        try:
            await self._serve(reader, writer)
        except _Broken as broken:
            await _break(reader, writer, broken.cut)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server stops
        finally:
            self._connections.discard(_this_task())
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = _certificate_name(writer)
        while (request := await read_request(reader, name)) is not None:
            response = await self._handle(request)
            connection = _Connection(reader, writer, response.cut)
            if response.cut and response.cut.after_octets < 0:
                raise _Broken(response.cut)
            head = response.head(formatdate(usegmt=True))
            if response.watch is not None:
                await connection.send_head(head)
                await self._stream(connection, response.watch)
            else:
                await self._send_body(connection, head, response)
            if "close" in request.headers.get("connection", "").lower():
                await _finish(writer)
                return

    async def _handle(self, request: ApiRequest) -> Response:
        since: float | None = None
        replica = self._cluster.rng.randrange(len(self._cluster.servers)) if self.replica is None else self.replica
        while True:
            while self._is_stalled:
                await self._changed(math.inf, None)
            now = time.monotonic()
            answered = self._cluster.handle(request, now, since, replica)
            since = now if since is None else since
            if request.method != "GET":
                self._wake()
            if not isinstance(answered, Wait):
                return answered
            await self._changed(min(answered.until, self._cluster.next_due), None)

    async def _send_body(self, connection: _Connection, head: bytes, response: Response) -> None:
        cutter = CUTTERS[self.framing] if response.is_chunked else None
        if response.cut is None:
            body = framed(cutter(response.body)) + LAST_CHUNK if cutter else response.body
            await connection.send_head(head + body)
            return
        await connection.send_head(head)
        await connection.send(response.body, cutter)
        if response.is_chunked:
            await connection.finish()

    async def _stream(self, connection: _Connection, watch: Watch) -> None:
        gone = asyncio.ensure_future(connection.reader.read(1))
        try:
            while not gone.done():
                now = time.monotonic()
                self._cluster.advance(now)
                data = b"" if self._is_stalled else watch.take(now, TAKEN_OCTETS)
                if watch.end is End.BROKEN:
                    raise _Broken(Cut("eof"))
                if data:
                    await connection.send(data, CUTTERS[self.framing])
                elif watch.is_over and not self._is_stalled:
                    break
                else:
                    due = math.inf if self._is_stalled else min(watch.next_due, self._cluster.next_due)
                    await self._changed(due, gone)
            if not gone.done():
                await connection.finish()
        finally:
            watch.close(End.CLEAN)
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _changed(self, until: float, gone: asyncio.Future[bytes] | None) -> None:
        """Wait for a change of the cluster, for a time, or for the client to be gone."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        timeout = None if until == math.inf else max(0.0, until - time.monotonic())
        awaited: set[asyncio.Future[Any]] = {waiter, *([gone] if gone else [])}
        try:
            await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiters.discard(waiter)
            waiter.cancel()


class _Connection:
    """One answer's way out: counts the octets of its body, and breaks where the fault says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut | None) -> None:
        self.reader = reader
        self._writer = writer
        self._cut = cut
        self._sent = 0

    async def send_head(self, head: bytes) -> None:
        self._writer.write(head)
        await self._writer.drain()

    async def send(self, data: bytes, cutter: Cutter | None) -> None:
        """A part of the body. Raises _Broken."""
        if self._cut is None:
            await self._write(data, cutter)
            return
        room = max(0, self._cut.after_octets - self._sent)
        await self._write(data[:room], cutter)
        self._sent += len(data[:room])
        if self._sent < self._cut.after_octets:
            return
        if self._cut.kind != "drip":
            raise _Broken(self._cut)
        for octet in data[room:]:
            await asyncio.sleep(self._cut.interval)
            await self._write(bytes([octet]), cutter)

    async def finish(self) -> None:
        """The terminating chunk."""
        self._writer.write(LAST_CHUNK)
        await self._writer.drain()

    async def _write(self, data: bytes, cutter: Cutter | None) -> None:
        if data:
            self._writer.write(framed(cutter(data)) if cutter else data)
            await self._writer.drain()


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _break(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut) -> None:
    if cut.kind == "reset":
        _reset(writer)
    elif cut.kind in ("stall", "half-close"):
        if cut.kind == "half-close":
            _shutdown(writer)
        while await reader.read(1 << 16):
            pass


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:  # else it is closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


def _shutdown(writer: asyncio.StreamWriter) -> None:
    """FIN, without TLS's close_notify, and go on reading."""
    with socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno())) as same:
        same.shutdown(socket.SHUT_WR)


async def _finish(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def _certificate_name(writer: asyncio.StreamWriter) -> str:
    """The CN of the client's certificate; it was verified in the handshake."""
    subject = (writer.get_extra_info("peercert") or {}).get("subject", ())
    return next((value for part in subject for name, value in part if name == "commonName"), "")
