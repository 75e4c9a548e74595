"""Asking an upstream over TCP or TLS: few connections, many questions on each, replies in any order (RFC 7766).

A connection is opened when there is a question for it, kept while it is used, and closed after a while of silence. A
question that was on a connection that had answered before, and that breaks, is sent once more over another one: it is
how servers end idle connections. A server that closes with questions unanswered does not know pipelining, and is
given one question at a time from then on.

TLS (RFC 7858): the server's certificate is verified for the name that is configured, or for its address (RFC 8310
strict). Not here: which certificates count (kdns.server.trust), time-outs of questions (kdns.server.upstreams).
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from kdns.forward.values import Fault
from kdns.server.exchange import FAULTS, ID_BITS, Draw, Endpoint, Exchange, Outcome, fault_of
from kdns.wire.framing import Framer, frame
from kdns.wire.upstream import Judged, judge

CONNECTIONS_MAX = 8  # to one upstream: servers bound what one client may have, NSD and Unbound at some tens
PIPELINE_MAX = 200  # questions on one connection; Unbound, as a server, answers so many before it lets a client wait
SPREAD_FROM = 32  # with so many on each connection, another one is opened: a lost segment holds up all behind it
TRIES_MAX = 2  # connections for one question: the first may have been closed while it was on its way
CONNECT_SECONDS = 2.0  # TLS included; as long as one attempt is waited for (kdns.forward)
SILENCE_SECONDS = 2.0  # after a question, without an octet: the other side is gone, and has not said so

Trust = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection becomes a private one. server_name: whose certificate it must be. trust: raises OSError."""

    server_name: str
    trust: Trust


class StreamPool:
    """The connections to one upstream, all of them over TLS or none.

    idle: seconds without a question after which a connection is closed. idle_max: connections without a question that
    are left open, 0 for all of them: those that were used last. max_age: seconds after which a connection takes no
    more questions, and is closed once it has none; 0 for no limit. silence: see SILENCE_SECONDS. on_trouble: told why
    TLS does not work.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: Endpoint,
        outcome: Outcome,
        draw: Draw,
        idle: float,
        idle_max: int = 0,
        tls: Tls | None = None,
        on_trouble: Callable[[str], None] = lambda _: None,
        max_age: float = 0.0,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._tls = tls
        self._idle = idle
        self._idle_max = idle_max or CONNECTIONS_MAX
        self._draw = draw
        self._on_trouble = on_trouble
        self._pipeline = PIPELINE_MAX
        self._max_age = max_age or math.inf
        self._silence = silence
        self._connections: list[_Connection] = []
        self._retired: list[_Connection] = []  # those that are too old, and still have questions
        self.reused = self.opened = 0  # questions for which there was a connection, and for which one was made
        self.outcome = outcome

    def send(self, exchange: Exchange, now: float) -> None:
        """Send a question; what becomes of it is told, maybe at once."""
        connection = self._connection()
        if connection is None:
            self.outcome.failed(exchange.token, Fault.NO_ROOM)
            return
        exchange.tries += 1
        connection.ask(exchange, self._draw, now)

    def sweep(self, now: float) -> None:
        """Close what has been idle for long, what is too old, and what has become silent."""
        for connection in [*self._connections, *self._retired]:
            if connection.is_silent(now, self._silence):
                connection.close()
                self.lost(connection, TimeoutError())
        self._retire(now)
        unused = sorted([one for one in self._connections if not one.waiting], key=lambda one: -one.used_at)
        for place, connection in enumerate(unused):
            if place >= self._idle_max or now - connection.used_at >= self._idle:
                self._connections.remove(connection)
                connection.close()

    def _retire(self, now: float) -> None:
        """Close those that are too old between two questions."""
        self._retired += [one for one in self._connections if now - one.opened_at >= self._max_age]
        for connection in list(self._retired):
            if connection in self._connections:
                self._connections.remove(connection)
            if not connection.waiting:
                self._retired.remove(connection)
                connection.close()

    def close(self) -> None:
        """Close everything; nobody is told anything any more."""
        for connection in [*self._connections, *self._retired]:
            connection.waiting.clear()
            connection.close()
        self._connections.clear()
        self._retired.clear()

    @property
    def connections(self) -> int:
        """How many there are, those that are being opened included."""
        return len(self._connections) + len(self._retired)

    def _connection(self) -> _Connection | None:
        """The one for the next question, None if there is no room."""
        before = len(self._connections)
        found = self._least_busy()
        self.reused += found is not None and len(self._connections) == before
        self.opened += len(self._connections) > before
        return found

    def _least_busy(self) -> _Connection | None:
        least = min(self._connections, key=lambda one: len(one.waiting), default=None)
        if least is not None and len(least.waiting) < min(SPREAD_FROM, self._pipeline):
            return least
        if len(self._connections) < CONNECTIONS_MAX:
            return self._open()
        return least if least is not None and len(least.waiting) < self._pipeline else None

    def _open(self) -> _Connection:
        connection = _Connection(self)
        self._connections.append(connection)
        connection.opening = self._loop.create_task(self._connect(connection))
        return connection

    async def _connect(self, connection: _Connection) -> None:
        sock: socket.socket | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                sock = socket.socket(self._endpoint.family, socket.SOCK_STREAM)
                sock.setblocking(False)
                await self._loop.sock_connect(sock, self._endpoint.sockaddr)
                await self._start(connection, sock)
                sock = None  # it is the transport's now
        except OSError as error:
            self._tell_trouble(error)
            self.lost(connection, error)
        finally:
            if sock is not None:
                sock.close()

    async def _start(self, connection: _Connection, sock: socket.socket) -> None:
        tls = self._tls
        await self._loop.create_connection(
            lambda: connection,
            sock=sock,
            ssl=tls.trust() if tls else None,
            server_hostname=tls.server_name if tls else None,
        )

    def _tell_trouble(self, error: OSError) -> None:
        if fault_of(error) is Fault.TLS:
            reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            self._on_trouble(str(reason))

    def lost(self, connection: _Connection, error: BaseException | None) -> None:
        """A connection has ended, or never was: its questions go over another one, or fail."""
        for connections in (self._connections, self._retired):
            if connection in connections:
                connections.remove(connection)
        waiting, connection.waiting = connection.waiting, {}
        if waiting and connection.answered and error is None:
            self._pipeline = 1
        for exchange in waiting.values():
            if exchange.is_over:  # since another one of them was told of
                continue
            if connection.answered and exchange.tries < TRIES_MAX:
                self.send(exchange, time.monotonic())
            else:
                self.outcome.failed(exchange.token, fault_of(error))


class _Connection(asyncio.Protocol):
    """One connection: its questions by their IDs. answered: replies so far. used_at: when it was last asked.
    opened_at: since when it is open, infinite until then.

    A question that nobody waits for any more leaves; that the server is silent about it still counts.
    """

    def __init__(self, pool: StreamPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._framer = Framer()
        self._unsent: list[bytes] = []  # until it is open; as bounded as `waiting`
        self.waiting: dict[int, Exchange] = {}
        self.answered = 0
        self.used_at = 0.0
        self.opened_at = math.inf
        self._unheard_since = math.inf  # the first question since something was heard
        self.opening: asyncio.Task[None] | None = None

    def ask(self, exchange: Exchange, draw: Draw, now: float) -> None:
        """Send a question, or keep it until the connection is open."""
        message_id = draw(ID_BITS)
        while message_id in self.waiting:
            message_id = draw(ID_BITS)
        message = exchange.message(message_id, self)
        self.waiting[message_id] = exchange
        self.used_at = now
        self._unheard_since = min(self._unheard_since, now)
        if self._transport is None:
            self._unsent.append(frame(message))
        else:
            self._transport.write(frame(message))

    def is_silent(self, now: float, seconds: float) -> bool:
        """Whether the other side seems to be gone. Opening a connection has a limit of its own."""
        return self._transport is not None and now - self._unheard_since >= seconds

    def close(self) -> None:
        """End it at once, or what would become it."""
        if self._transport is not None:
            self._transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def leave(self, exchange: Exchange) -> None:
        """Nobody waits for it any more."""
        self.waiting.pop(exchange.sent.id, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open: send what waits."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.opened_at = time.monotonic()
        self._unheard_since = self.opened_at if self.waiting else math.inf
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        """Replies, however they are cut."""
        self._unheard_since = math.inf
        self._framer.feed(data)
        while (reply := self._framer.take()) is not None:
            if not self._take(reply):
                return

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        self._pool.lost(self, error)

    def _take(self, reply: bytes) -> bool:
        """One reply. False if the connection is of no use any more."""
        message_id = int.from_bytes(reply[:2], "big")
        exchange = self.waiting.get(message_id)
        if exchange is None:
            return True  # nobody waits for it any more
        judged = judge(exchange.sent, reply, True)
        if judged is Judged.MISMATCH and self._transport is not None:
            self._transport.abort()  # nobody but the server can write here: it is out of step
            self._pool.lost(self, ConnectionError())
            return False
        del self.waiting[message_id]
        self.answered += 1
        if judged is Judged.ANSWER:
            self._pool.outcome.replied(exchange.token, reply)
        else:
            self._pool.outcome.failed(exchange.token, FAULTS[judged])
        return True
