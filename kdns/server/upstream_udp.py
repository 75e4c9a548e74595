"""Asking an upstream over UDP: connected sockets, a few questions each, then replaced.

How hard it is to forge a reply (RFC 5452 section 9): the guess must hit the ID (16 bits), the source port that the
kernel drew for the socket (of 28,232 by default, nearly 15 bits), and the letter case of the name (0x20, a bit for
each letter; kdns.forward draws it); and it must come from the upstream's own address and port, for the sockets are
connected. ID, socket and letter case are drawn of the operating system's random bits (kdns.server.draws). Whoever
finds out a port has won those 15 bits only for one of up to SOCKETS_MAX sockets, as chance decides for each question,
and for USES_MAX questions or AGE_SECONDS at most. A socket at which too many foreign replies arrive is given up at
once, and its questions are asked over TCP.

What is asked in one turn of the loop is sent at its end, all at once: a server that has been woken for the first
question is still awake for the others, and to wake it costs more than to send.

Connected sockets also hear what ICMP has to say: a closed port or a missing route is a fault at once. Not here: what
a reply must be to count (kdns.wire.upstream), time-outs (kdns.server.upstreams).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from kdns.forward.values import Fault
from kdns.server.exchange import FAULTS, ID_BITS, Draw, Endpoint, Exchange, Outcome, fault_of
from kdns.wire.upstream import Judged, judge

_PLACE_BITS = 4
SOCKETS_MAX = 1 << _PLACE_BITS  # open for new questions: each costs a descriptor and 1 kB of kernel memory
_ID_MASK = (1 << ID_BITS) - 1
USES_MAX = 64  # questions of one socket: opening and closing one costs 10 us, which they share
AGE_SECONDS = 5.0  # in which a socket takes questions
# Sockets that take no more and still wait for replies. Beyond that (an upstream that is silent under load) old ones
# are used on instead of opening more: descriptors are for all upstreams.
RETIRED_MAX = 64
WAITING_MAX = 4096  # of one socket: a sixteenth of all IDs, so that one that is free is soon drawn
# Replies of one socket that answer nothing it asks. Late ones, and those sent twice, are as many as its questions.
STRANGERS_MAX = 2 * USES_MAX
READS_MAX = 32  # at one event; the rest is read at the next turn, so that the loop goes round
_REPLY_OCTETS = 65535

class _Socket:
    """One socket: its questions by their IDs, and how much it has been used. is_retired: it takes no more of them."""

    __slots__ = ("_pool", "born", "fd", "is_closed", "is_retired", "sock", "strangers", "uses", "waiting")

    def __init__(self, pool: UdpPool, sock: socket.socket, born: float) -> None:
        self._pool = pool
        self.sock = sock
        self.fd = sock.fileno()
        self.born = born
        self.uses = self.strangers = 0
        self.waiting: dict[int, Exchange] = {}
        self.is_closed = self.is_retired = False

    def is_used_up(self, now: float) -> bool:
        """Whether it is to be replaced."""
        return self.uses >= USES_MAX or now - self.born >= AGE_SECONDS

    def leave(self, exchange: Exchange) -> None:
        """Nobody waits for it any more."""
        self.waiting.pop(exchange.sent.id, None)
        if self.is_retired and not self.waiting:
            self._pool.dismiss(self)


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
        self._unsent: list[tuple[_Socket, Exchange, bytes]] = []  # until the end of this turn of the loop

    def send(self, exchange: Exchange, now: float) -> None:
        """Send a question; what becomes of it is told, maybe at once."""
        drawn = self._draw(ID_BITS + _PLACE_BITS)
        try:
            one = self._socket(drawn >> ID_BITS, now)
        except OSError as error:
            self._outcome.failed(exchange.token, fault_of(error))
            return
        waiting = one.waiting
        if len(waiting) >= WAITING_MAX:
            self._outcome.failed(exchange.token, Fault.NO_ROOM)
            return
        message_id = drawn & _ID_MASK
        while message_id in waiting:
            message_id = self._draw(ID_BITS)
        one.uses += 1
        waiting[message_id] = exchange
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append((one, exchange, exchange.message(message_id, one)))

    def _flush(self) -> None:
        """Send what this turn of the loop has brought."""
        unsent, self._unsent = self._unsent, []
        for one, exchange, message in unsent:
            if exchange.is_over or one.is_closed:
                continue
            try:
                one.sock.send(message)
            except BlockingIOError:
                one.leave(exchange)
                self._outcome.failed(exchange.token, Fault.NO_ROOM)
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
                one.waiting = {}
                self._close(one)
        self._open = [None] * SOCKETS_MAX
        self._retired.clear()
        self._unsent.clear()

    @property
    def sockets(self) -> int:
        """How many are open."""
        return len(self._retired) + sum(one is not None for one in self._open)

    def dismiss(self, one: _Socket) -> None:
        """It was kept for its replies, and has them."""
        self._retired.discard(one)
        self._close(one)

    def _socket(self, place: int, now: float) -> _Socket:
        """The one at a place, for the next question. Raises OSError."""
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
        one = _Socket(self, sock, now)
        self._loop.add_reader(one.fd, self._on_readable, one)
        return one

    def _retire(self, one: _Socket) -> None:
        if one.waiting:
            one.is_retired = True
            self._retired.add(one)
        else:
            self._close(one)

    def _close(self, one: _Socket) -> None:
        if not one.is_closed:
            one.is_closed = True
            self._loop.remove_reader(one.fd)
            one.sock.close()

    def _on_readable(self, one: _Socket) -> None:
        receive, waiting = one.sock.recv, one.waiting
        for _ in range(READS_MAX):
            try:
                reply = receive(_REPLY_OCTETS)
            except BlockingIOError:
                return
            except OSError as error:
                self._give_up(one, fault_of(error))
                return
            exchange = waiting.get(int.from_bytes(reply[:2]))
            judged = judge(exchange.sent, reply, False) if exchange is not None else Judged.MISMATCH
            if exchange is None or judged is Judged.MISMATCH:
                self._pass_over(one)
            else:
                del waiting[exchange.sent.id]
                if one.is_retired and not waiting:
                    self.dismiss(one)
                if judged is Judged.ANSWER:
                    self._outcome.replied(exchange.token, reply)
                else:
                    self._outcome.failed(exchange.token, FAULTS[judged])
            if one.is_closed or not waiting:
                return

    def _pass_over(self, one: _Socket) -> None:
        """A reply that answers nothing."""
        self._on_stranger()
        one.strangers += 1
        if one.strangers > STRANGERS_MAX + one.uses:  # somebody is guessing
            self._give_up(one, Fault.NO_CASE)

    def _give_up(self, one: _Socket, fault: Fault) -> None:
        """Close a socket and tell of all its questions."""
        if one in self._open:
            self._open[self._open.index(one)] = None
        self._retired.discard(one)
        self._close(one)
        lost, one.waiting = one.waiting, {}
        for exchange in lost.values():
            self._outcome.failed(exchange.token, fault)
