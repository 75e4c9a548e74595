"""Asking an upstream over UDP: connected sockets, a few questions each, then replaced.

How hard it is to forge a reply (RFC 5452 section 9): the guess must hit the ID (16 bits), the source port that the
kernel drew for the socket (of 28,232 by default, nearly 15 bits), and the letter case of the name (0x20, a bit for
each letter; kdns.forward draws it); and it must come from the upstream's own address and port, for the sockets are
connected. Whoever finds out a port has won those 15 bits only for one of up to SOCKETS_MAX sockets, as chance decides
for each question, and for USES_MAX questions or AGE_SECONDS at most. A socket at which too many foreign replies
arrive is given up at once, and its questions are asked over TCP.

Connected sockets also hear what ICMP has to say: a closed port or a missing route is a fault at once. Not here: what
a reply must be to count (kdns.wire.upstream), time-outs (kdns.server.upstreams).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from kdns.forward.values import Fault
from kdns.server.exchange import FAULTS, ID_BITS, Draw, Endpoint, Exchange, Outcome, fault_of
from kdns.wire.upstream import Judged, Sent, judge

SOCKETS_MAX = 16  # open for new questions: each costs a descriptor and 1 kB of kernel memory
USES_MAX = 64  # questions of one socket: opening and closing one costs 10 us, which they share
AGE_SECONDS = 5.0  # in which a socket takes questions
# Sockets that take no more and still wait for replies. Beyond that (an upstream that is silent under load) old ones
# are used on instead of opening more: descriptors are for all upstreams.
RETIRED_MAX = 64
WAITING_MAX = 4096  # of one socket: a sixteenth of all IDs, so that one that is free is soon drawn
# Replies of one socket that answer nothing it asks. Late ones, and those sent twice, are as many as its questions.
STRANGERS_MAX = 2 * USES_MAX
READS_MAX = 32  # at one event; the rest is read at the next turn, so that the loop goes round
_BUFFER_OCTETS = 65535

_Waiting = dict[int, tuple[Exchange, Sent]]


class _Socket:
    """One socket: its questions by their IDs, and how much it has been used."""

    __slots__ = ("born", "fd", "is_closed", "sock", "strangers", "uses", "waiting")

    def __init__(self, sock: socket.socket, born: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.born = born
        self.uses = self.strangers = 0
        self.waiting: _Waiting = {}
        self.is_closed = False

    def is_used_up(self, now: float) -> bool:
        """Whether it is to be replaced."""
        return self.uses >= USES_MAX or now - self.born >= AGE_SECONDS


class UdpPool:
    """The sockets of one upstream.

    on_stranger: told of each reply that answers nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: Endpoint,
        outcome: Outcome,
        draw: Draw,
        on_stranger: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._outcome = outcome
        self._draw = draw
        self._on_stranger = on_stranger
        self._open: list[_Socket | None] = [None] * SOCKETS_MAX
        self._retired: set[_Socket] = set()
        self._buffer = bytearray(_BUFFER_OCTETS)

    def send(self, exchange: Exchange, now: float) -> None:
        """Send a question; what becomes of it is told, maybe at once."""
        try:
            one = self._socket(now)
        except OSError as error:
            self._outcome.failed(exchange.send.token, fault_of(error))
            return
        if len(one.waiting) >= WAITING_MAX:
            self._outcome.failed(exchange.send.token, Fault.NO_ROOM)
            return
        message_id = self._draw(ID_BITS)
        while message_id in one.waiting:
            message_id = self._draw(ID_BITS)
        sent, message = exchange.message(message_id)
        one.uses += 1
        one.waiting[message_id] = exchange, sent
        exchange.leave = partial(self._leave, one, message_id)
        try:
            one.sock.send(message)
        except BlockingIOError:
            self._end(one, message_id, Fault.NO_ROOM)
        except OSError as error:  # of this message, or what ICMP said of an earlier one: the socket is spent
            self._give_up(one, fault_of(error))

    def sweep(self, now: float) -> None:
        """Close what has been idle for long."""
        for place, one in enumerate(self._open):
            if one is not None and now - one.born >= AGE_SECONDS and not one.waiting:
                self._open[place] = None
                self._close(one)

    def close(self) -> None:
        """Close everything; nobody is told anything any more."""
        for one in (*self._open, *self._retired):
            if one is not None:
                one.waiting.clear()
                self._close(one)
        self._open = [None] * SOCKETS_MAX
        self._retired.clear()

    @property
    def sockets(self) -> int:
        """How many are open."""
        return len(self._retired) + sum(one is not None for one in self._open)

    def _socket(self, now: float) -> _Socket:
        """One for the next question. Raises OSError."""
        place = self._draw(ID_BITS) % SOCKETS_MAX
        one = self._open[place]
        if one is not None and (not one.is_used_up(now) or len(self._retired) >= RETIRED_MAX):
            return one
        fresh = self._connect(now)
        self._open[place] = fresh
        if one is not None:
            self._retire(one)
        return fresh

    def _connect(self, now: float) -> _Socket:
        sock = socket.socket(self._endpoint.family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(self._endpoint.sockaddr)  # the kernel draws a port
        except OSError:
            sock.close()
            raise
        one = _Socket(sock, now)
        self._loop.add_reader(one.fd, self._on_readable, one)
        return one

    def _retire(self, one: _Socket) -> None:
        if one.waiting:
            self._retired.add(one)
        else:
            self._close(one)

    def _close(self, one: _Socket) -> None:
        if not one.is_closed:
            one.is_closed = True
            self._loop.remove_reader(one.fd)
            one.sock.close()

    def _on_readable(self, one: _Socket) -> None:
        for _ in range(READS_MAX):
            try:
                size = one.sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._give_up(one, fault_of(error))
                return
            self._take(one, bytes(self._buffer[:size]))
            if one.is_closed or not one.waiting:
                return

    def _take(self, one: _Socket, reply: bytes) -> None:
        message_id = int.from_bytes(reply[:2], "big")
        waiting = one.waiting.get(message_id)
        judged = judge(waiting[1], reply, False) if waiting is not None else Judged.MISMATCH
        if judged is Judged.MISMATCH:
            self._on_stranger()
            one.strangers += 1
            if one.strangers > STRANGERS_MAX + one.uses:  # somebody is guessing
                self._give_up(one, Fault.NO_CASE)
        elif judged is Judged.ANSWER:
            self._end(one, message_id, None, reply)
        else:
            self._end(one, message_id, FAULTS[judged])

    def _end(self, one: _Socket, message_id: int, fault: Fault | None, reply: bytes = b"") -> None:
        """Tell of one question."""
        token = one.waiting[message_id][0].send.token
        self._leave(one, message_id)
        if fault is None:
            self._outcome.replied(token, reply)
        else:
            self._outcome.failed(token, fault)

    def _leave(self, one: _Socket, message_id: int) -> None:
        one.waiting.pop(message_id, None)
        if one in self._retired and not one.waiting:
            self._retired.discard(one)
            self._close(one)

    def _give_up(self, one: _Socket, fault: Fault) -> None:
        """Close a socket and tell of all its questions."""
        if one in self._open:
            self._open[self._open.index(one)] = None
        self._retired.discard(one)
        self._close(one)
        lost, one.waiting = one.waiting, {}
        for exchange, _ in lost.values():
            self._outcome.failed(exchange.send.token, fault)
