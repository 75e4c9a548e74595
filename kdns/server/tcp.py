"""DNS over TCP (RFC 7766): many connections, many queries in flight on each, and no client in another's way.

Limits: a connection that completes no query for a while is closed; when there are too many connections, or they
keep too many octets, the one that has gone longest without a complete query is closed, so that clients who send
slowly or nothing stand back behind those who ask; a client that does not read its replies is not read either,
and is cut off after a while. Replies that have to come from outside leave when they are there, which RFC 7766
section 6.2.1.1 allows out of order. A zone transfer is sent message by message, in turn with all else, no faster than
the client reads. Framing is kdns.wire.framing, answers are kdns.answer's.
Rule: no reference cycle outlives a connection, because workers run without the cycle collector.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, cast

from kdns.answer.outside import Pending
from kdns.answer.responder import Responder
from kdns.observe.querylog import Exchange
from kdns.observe.sampling import NamespaceSampler
from kdns.observe.tally import Meter
from kdns.server.waiting import Observer, Outcome, Outside, hand_over, observed, timed
from kdns.wire.framing import Framer, frame

Client = tuple[bytes, int]


class Respond(Protocol):
    """What answers: kdns.answer.engine.Responder."""

    def respond(self, query: bytes, client: Client, tcp: bool) -> Outcome:
        """A whole reply for a whole query, or what waits for one; None for silence."""


# The messages that a query for a whole zone is answered with, as they are asked for; None for any other query. The
# last word says whether one more transfer is borne: if not, a refusal is the only message.
Transfer = Callable[[bytes, Client, bool], Iterator[bytes] | None]


def observed_transfer(transfer: Transfer, observe: Observer) -> Transfer:
    """The same, and the first message of each is told of as its reply."""

    def begin(query: bytes, client: Client, has_room: bool) -> Iterator[bytes] | None:
        began = time.perf_counter_ns()
        stream = transfer(query, client, has_room)
        if stream is None:
            return None
        first = next(stream)
        observe(Exchange(query, first, client, True, time.perf_counter_ns() - began))
        return chain((first,), stream)

    return begin


@dataclass(frozen=True, slots=True)
class MeteredResponder:
    """The responder of a listener, its replies over this transport counted and timed, and some looked at."""

    responder: Responder
    meter: Meter
    sampler: NamespaceSampler | None = None

    def respond(self, query: bytes, client: Client, tcp: bool) -> Outcome:
        """As Respond.respond."""
        began_ns = time.perf_counter_ns()
        outcome = self.responder.respond(query, client, tcp, self.meter)
        if isinstance(outcome, Pending):
            return timed(outcome, self.meter.late)
        self.meter.took(time.perf_counter_ns() - began_ns, outcome is not None)
        if self.sampler is not None and outcome is not None:
            self.sampler.left -= 1
            if self.sampler.left < 0:
                self.sampler.take(outcome)
        return outcome

    def transfer(self, query: bytes, client: Client, has_room: bool) -> Iterator[bytes] | None:
        """As Transfer. How long one takes is up to the receiver: it is not timed."""
        return self.responder.transfer(query, client, has_room, self.meter)


@dataclass(frozen=True, slots=True)
class ObservedResponder:
    """A responder that tells of each query and its reply (kdns.observe.querylog)."""

    responder: Respond
    observe: Observer

    def respond(self, query: bytes, client: Client, tcp: bool) -> Outcome:
        """As Respond.respond."""
        began = time.perf_counter_ns()
        return observed(self.responder.respond(query, client, tcp), query, client, tcp, began, self.observe)


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """Bounds for all connections of one worker.

    idle: RFC 7766 section 6.2.3 wants "on the order of a few seconds"; NSD and CoreDNS use 10-120 s.
    write: a client that takes nothing for so long is gone, or wants to hurt.
    connections: a 20th of it is what resolvers and stub clients of a large cluster hold; costs 3 KiB each.
    per_client: node-local caches and NATs put many pods behind one address, but a quarter of all is enough.
    buffered_octets: of queries not whole yet, over all connections: 64 KiB each would be 64 MiB.
    slice_messages: answered before other clients have their turn; 16 misses take half a millisecond.
    unsent_octets: replies that a connection may keep, give or take the last one, before it is not read any more.
    waiting: queries of one connection that wait for names outside, before it is not read any more.
    sweep: how often timeouts are looked at, so also how late they may be.
    transfers: zone transfers at once; each holds a list of what it has still to send, and takes a millisecond or two
        of each turn of the loop. transfer: the longest that one may take, also to a client that reads all the time.
    """

    idle: float = 10.0
    write: float = 5.0
    connections: int = 1024
    per_client: int = 256
    buffered_octets: int = 8 << 20
    slice_messages: int = 16
    unsent_octets: int = 16 * 1024
    waiting: int = 64
    sweep: float = 0.5
    transfers: int = 4
    transfer: float = 120.0


DEFAULT_LIMITS = TcpLimits()


class Connections:
    """All connections of one worker, longest without a complete query first.

    outside: who asks for names outside; without it they get SERVFAIL.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: TcpLimits, outside: Outside | None = None
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.outside = outside
        self.is_draining = False
        self.buffered_octets = 0
        self.transfers = 0
        self._all: dict[Connection, None] = {}
        self._by_client: dict[bytes, dict[Connection, None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, connection: Connection) -> None:
        """Take a new connection in, closing another one where there are too many."""
        siblings = self._by_client.setdefault(connection.client[0], {})
        if len(siblings) >= self.limits.per_client:
            next(iter(siblings)).abort()
        elif len(self._all) >= self.limits.connections:
            next(iter(self._all)).abort()
        # Aborting the last sibling has dropped the client's table.
        self._by_client.setdefault(connection.client[0], siblings)[connection] = None
        self._all[connection] = None
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self.limits.sweep, self._sweep)

    def dismiss(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection not in self._all:
            return
        del self._all[connection]
        siblings = self._by_client[connection.client[0]]
        del siblings[connection]
        if not siblings:
            del self._by_client[connection.client[0]]

    def refresh(self, connection: Connection) -> None:
        """The connection has completed a query: it is the last to be closed now."""
        for table in (self._all, self._by_client[connection.client[0]]):
            del table[connection]
            table[connection] = None

    def account(self, octets: int) -> None:
        """Count octets kept, or with a minus let go; too many cost the laziest connection that keeps some."""
        self.buffered_octets += octets
        while octets > 0 and self.buffered_octets > self.limits.buffered_octets:
            hoarder = next((connection for connection in self._all if connection.kept_octets), None)
            if hoarder is None:
                return
            hoarder.abort()

    def drain(self) -> None:
        """From now on close each connection once it has nothing left to answer."""
        self.is_draining = True
        for connection in list(self._all):
            connection.close_if_done()

    def abort_all(self) -> None:
        """Close every connection at once."""
        for connection in list(self._all):
            connection.abort()

    def _sweep(self) -> None:
        self._sweeper = None
        now = self.loop.time()
        for connection in list(self._all):
            connection.check_deadline(now)
        if self._all:
            self._sweeper = self.loop.call_later(self.limits.sweep, self._sweep)


class Connection(asyncio.Protocol):
    """One connection: complete queries are answered as they come, those that wait for nothing in order."""

    def __init__(self, connections: Connections, responder: Respond, transfer: Transfer | None = None) -> None:
        self._begin_transfer = transfer
        self._transfer: Iterator[bytes] | None = None  # what is left to be sent of a zone
        self._transfer_until = 0.0
        self._connections = connections
        self._limits = connections.limits
        self._responder = responder
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._deadline = 0.0
        self._is_scheduled = False  # `_answer_more` is going to be called
        self._is_stuck = False  # the client does not take its replies
        self._is_ended = False  # the client will send nothing more
        self._is_closing = False  # only what is unsent holds the connection
        self._waiting = 0  # replies that are to come from outside
        self.kept_octets = 0
        self.client: Client = (b"", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        self._transport = cast(asyncio.Transport, transport)
        peer = self._transport.get_extra_info("peername")
        if not peer:  # reset before it was accepted
            self._transport.abort()
            return
        self.client = (_packed(peer[0]), peer[1])
        self._transport.set_write_buffer_limits(high=self._limits.unsent_octets)
        self._expire_in(self._limits.idle)
        self._connections.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything, so that no cycle keeps it."""
        self._transport = None
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._framer.feed(data)
        if not self._is_scheduled:
            self._answer_more()

    def eof_received(self) -> bool:
        """Half-closed by the client: answer what is complete, then close; the rest can never be completed."""
        self._is_ended = True
        self.close_if_done()
        return True

    def pause_writing(self) -> None:
        """The client reads its replies too slowly: take no more queries from it."""
        self._is_stuck = True
        self._expire_in(self._limits.write)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_stuck = False
        if not self._is_closing:
            self._expire_in(self._limits.idle)
            self._schedule()

    def abort(self) -> None:
        """Close at once, whatever is unsent. The connection counts as gone from now on."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._leave()

    def close_if_done(self) -> None:
        """Close, where the client or the worker is leaving, once nothing is left to be answered."""
        is_leaving = self._is_ended or (self._connections.is_draining and not self._framer.pending_octets)
        is_done = not self._framer.has_message and not self._waiting and self._transfer is None
        if self._transport and is_leaving and is_done and not self._is_closing:
            self._is_closing = True
            self._expire_in(self._limits.write)
            self._transport.close()

    def check_deadline(self, now: float) -> None:
        """Close if the client has been idle, or has not taken its replies, for too long."""
        if now > self._deadline:
            self.abort()

    def _expire_in(self, seconds: float) -> None:
        self._deadline = self._connections.loop.time() + seconds

    def _leave(self) -> None:
        self._end_transfer()
        self._connections.dismiss(self)
        self._connections.account(-self.kept_octets)
        self.kept_octets = 0

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._connections.loop.call_soon(self._answer_more)

    def _answer_more(self) -> None:
        """Answer some complete queries, and see to it that the rest have their turn."""
        self._is_scheduled = False
        if self._transport is None or self._is_closing:
            return
        if not self._is_stuck:
            if self._transfer is not None:
                self._send_more(self._transport, self._transfer)
            else:
                self._answer(self._transport)
        grown = self._framer.pending_octets - self.kept_octets
        self.kept_octets += grown
        self._connections.account(grown)  # which may abort this very connection
        self._regulate()

    def _answer(self, transport: asyncio.Transport) -> None:
        replies, octets = [], 0
        for _ in range(self._limits.slice_messages):
            query = self._framer.take() if octets <= self._limits.unsent_octets and self._has_room else None
            if query is None:
                break
            self._connections.refresh(self)
            self._expire_in(self._limits.idle)
            if self._takes_whole_zone(query):
                break
            reply = self._responder.respond(query, self.client, True)
            if isinstance(reply, Pending):
                reply = hand_over(self._connections.outside, reply, self._send_late)
                self._waiting += reply is None
            if reply is not None:
                replies.append(frame(reply))
                octets += len(reply)
        if replies:
            transport.write(b"".join(replies))

    def _takes_whole_zone(self, query: bytes) -> bool:
        """Begin a transfer if the query is for one. No other query of the connection is answered before its end."""
        if self._begin_transfer is None:
            return False
        has_room = self._connections.transfers < self._limits.transfers
        self._transfer = self._begin_transfer(query, self.client, has_room)
        if self._transfer is None:
            return False
        self._connections.transfers += 1
        self._transfer_until = self._connections.loop.time() + self._limits.transfer
        self._schedule()
        return True

    def _send_more(self, transport: asyncio.Transport, stream: Iterator[bytes]) -> None:
        """One message of a transfer: the next one comes at the next turn, or once the client takes it."""
        try:
            message = next(stream, None)
        except Exception:  # a bug of ours: half a zone must not look like a whole one
            self.abort()
            raise
        if message is None:
            self._end_transfer()
        elif self._connections.loop.time() > self._transfer_until:
            self.abort()
        else:
            self._expire_in(self._limits.idle)
            transport.write(frame(message))
        self._schedule()

    def _end_transfer(self) -> None:
        if self._transfer is not None:
            self._transfer = None
            self._connections.transfers -= 1

    @property
    def _has_room(self) -> bool:
        return self._waiting < self._limits.waiting

    def _send_late(self, reply: bytes) -> None:
        """Send a reply that was waited for, if the client is still there."""
        self._waiting -= 1
        if self._transport is None or self._is_closing:
            return
        if not self._is_stuck:
            self._expire_in(self._limits.idle)
        self._transport.write(frame(reply))
        self._schedule()

    def _regulate(self) -> None:
        """Read from the client only while nothing complete waits and its replies go out."""
        if self._transport is None:
            return
        if self._is_stuck or self._transfer is not None:
            self._transport.pause_reading()
        elif self._framer.has_message:
            self._transport.pause_reading()
            if self._has_room:  # else the next reply from outside makes some
                self._schedule()
        else:
            self.close_if_done()
            if not self._is_closing:
                self._transport.resume_reading()


async def listen(
    connections: Connections, sock: socket.socket, responder: Respond, backlog: int, transfer: Transfer | None = None
) -> asyncio.AbstractServer:
    """Accept connections on a bound TCP socket until the server that is returned is closed.

    transfer: what begins zone transfers, if there are any.
    """
    return await connections.loop.create_server(
        lambda: Connection(connections, responder, transfer), sock=sock, backlog=backlog
    )


def _packed(host: str) -> bytes:
    address = host.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
