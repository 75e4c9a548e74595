"""A worker's end of its socket pair with the forwarder: questions out, what became of them in.

    worker    -> forwarder   Asks    those of one turn of its loop, and which worker of the slot asks
    forwarder -> worker      Tolds   to that worker; a later one of the same slot passes over them

What a forwarder that has died was asked is told as failed as soon as that is noticed, within TICK_SECONDS; so is what
is not told of within PATIENCE_SECONDS. No client has more than its share pending: what is more is shed before it
costs anything, and the forwarder hears how many those were, and why.

Not here: what is asked and what is made of it (kdns.answer), the forwarder (kdns.server.forwarder).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import msgspec

from kdns.forward.fairness import Room, Shed
from kdns.forward.values import Limits
from kdns.server.slots import Slot
from kdns.wire.outside import Ask, Purpose, Told, Unasked, unasked

# Of one worker. A query that waits for it is kept, some 500 octets in all: 4 MB. Four workers with so many are twice
# what the forwarder takes (kdns.forward.values.Limits.in_flight), which says who is not served if there are more.
PENDING_MAX = 4096
PATIENCE_SECONDS = 5.0  # the forwarder tells within 4 s; the time-outs of stub resolvers begin at 5 s
TICK_SECONDS = 0.1
RETRY_SECONDS = 0.005  # for a forwarder that is behind: it reads some hundred questions in that time
SHED_CLIENTS_MAX = 256  # counted apart until the next message, that is for 0.1 s; more count together
BATCH_MAX = 64  # questions of one message: what one recvmmsg brings
READS_MAX = 8  # messages read at one event; the rest at the next turn, so that the loop goes round
# The largest message: one reply of 64 KiB with a record for each 12 of its octets, whose TTLs and offsets take 5
# octets each.
MESSAGE_OCTETS_MAX = 128 * 1024

OnTold = Callable[[Told], None]

_GONE = unasked(Unasked.GONE)
# What is told of what is shed; nobody waits for a prefetch.
_REFUSALS = {
    Shed.CLIENT: unasked(Unasked.CLIENT),
    Shed.FULL: unasked(Unasked.FULL),
    Shed.PREFETCH: unasked(Unasked.FULL),
}


class Shedding(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So many questions of this client a worker has shed. client: b"" for all those that are not kept apart."""

    client: bytes
    reason: Shed
    count: int


class Asks(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Questions of the worker with this number among those of its slot.

    shed: those that it has not passed on, or that had to make room for others.
    """

    incarnation: int
    asks: tuple[Ask, ...]
    shed: tuple[Shedding, ...] = ()


class Tolds(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became of questions of the worker with this number among those of its slot."""

    incarnation: int
    tolds: tuple[Told, ...]


_encoder = msgspec.msgpack.Encoder()
_asks = msgspec.msgpack.Decoder(Asks)
_tolds = msgspec.msgpack.Decoder(Tolds)


def encode(message: Asks | Tolds) -> bytes:
    """A message as it is sent."""
    return _encoder.encode(message)


def decode_asks(data: bytes | memoryview) -> Asks:
    """Raises msgspec.MsgspecError for what no kdns of this version sends."""
    return _asks.decode(data)


def decode_tolds(data: bytes | memoryview) -> Tolds:
    """Raises msgspec.MsgspecError for what no kdns of this version sends."""
    return _tolds.decode(data)


class Asker:
    """Asks the forwarder for one worker.

    feed: the worker's end. forwarder: the forwarder's slot, where it shows that it lives. incarnation: the worker's.
    client_max: questions of one client that may be pending.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        feed: socket.socket,
        forwarder: Slot,
        incarnation: int,
        clock: Callable[[], float] = time.monotonic,
        client_max: int = Limits().client_in_flight,
    ) -> None:
        self._loop = loop
        self._feed = feed
        self._forwarder = forwarder
        self._forwarder_incarnation = forwarder.incarnation
        self._incarnation = incarnation
        self._clock = clock
        self._number = 0
        self._pending: dict[int, tuple[float, OnTold, bytes]] = {}  # by number; of which client
        self._room: Room[int] = Room(PENDING_MAX, client_max)
        self._shed: dict[tuple[bytes, Shed], int] = {}
        self._is_blocked = False  # the forwarder is behind, and its socket is full
        self._unsent: list[Ask] = []
        self._buffer = memoryview(bytearray(MESSAGE_OCTETS_MAX))
        self._is_ticking = False
        self._when_told: list[Callable[[], None]] = []
        self.refused = 0  # questions that no forwarder was there for, or that it has not answered

    def __len__(self) -> int:
        """Questions that nothing has been told of yet."""
        return len(self._pending)

    def take_refused(self) -> int:
        """How many questions no forwarder was there for, or has not answered, since the last call."""
        refused, self.refused = self.refused, 0
        return refused

    def start(self) -> None:
        """Hear the forwarder."""
        self._loop.add_reader(self._feed.fileno(), self._on_readable)

    def stop(self) -> None:
        """Hear it no more; what is pending is told as failed."""
        self._loop.remove_reader(self._feed.fileno())
        self._fail(list(self._pending), Unasked.LATE)

    def refusal(self, ask: Ask) -> Told | None:
        """What is told of a question that is not to be asked; None if it is to be.

        So it is if there is no forwarder just now, or too much is waiting for it: of this client, or of all, and of
        no other more.
        """
        if self._forwarder.incarnation != self._forwarder_incarnation:
            self._lose_forwarder()
        if not self._forwarder.pid:
            self.refused += 1
            return _GONE
        if ask.purpose == Purpose.PREFETCH:
            reason = Shed.PREFETCH if self._room.refuses_prefetch() else None
        else:
            reason = self._room.refusal(ask.client)
        if reason is None:
            return None
        self._note_shed(ask.client, reason)
        return _REFUSALS[reason]

    def ask(self, ask: Ask, on_told: OnTold, patience: float = PATIENCE_SECONDS) -> None:
        """Pass on a question that has no `refusal`; its number is given here. `on_told` is called once, later.

        patience: seconds after which it is told as failed at the latest.
        """
        client = ask.client
        loser = self._room.loser()
        if loser is not None:
            self._shed_pending(loser)
        self._number += 1
        self._pending[self._number] = self._clock() + min(patience, PATIENCE_SECONDS), on_told, client
        if ask.purpose == Purpose.PREFETCH:
            self._room.enter_prefetch(self._number)
        else:
            self._room.enter(client, self._number)
        if not self._unsent and not self._is_blocked:
            self._loop.call_soon(self._flush)
        self._unsent.append(
            Ask(self._number, ask.group, ask.question, ask.flags, ask.dnssec_ok, ask.client, ask.purpose)
        )
        if len(self._unsent) >= BATCH_MAX and not self._is_blocked:
            self._flush()
        self._begin_ticking()

    def when_told(self, callback: Callable[[], None]) -> None:
        """For an `on_told`: have this called once the others have been told that are to be told now."""
        self._when_told.append(callback)

    def _flush(self) -> None:
        """Send what this turn of the loop has brought, and what could not be sent before and is still waited for."""
        self._is_blocked = False
        waiting = [ask for ask in self._unsent if ask.number in self._pending]
        self._unsent = []
        for start in range(0, len(waiting), BATCH_MAX):
            if not self._send(tuple(waiting[start : start + BATCH_MAX])):
                self._unsent = waiting[start:]  # no more than are pending, of which whoever has most loses
                self._is_blocked = True
                self._loop.call_later(RETRY_SECONDS, self._flush)
                return

    def _send(self, asks: tuple[Ask, ...]) -> bool:
        """Whether the socket took it: if not, the forwarder is behind."""
        try:
            shed = tuple(Shedding(*who, count) for who, count in self._shed.items())
            self._feed.send(encode(Asks(self._incarnation, asks, shed)))
        except OSError:
            return False
        self._shed = {}
        return True

    def _note_shed(self, client: bytes, reason: Shed) -> None:
        who = client, reason
        if who not in self._shed and len(self._shed) >= SHED_CLIENTS_MAX:
            who = b"", reason
        self._shed[who] = self._shed.get(who, 0) + 1
        self._begin_ticking()

    def _shed_pending(self, number: int) -> None:
        """Tell one that waits that it has to make room. The forwarder may know it already, and counts it again."""
        reason = Shed.PREFETCH if self._room.is_prefetch(number) else Shed.FULL
        self._note_shed(self._pending[number][2], reason)
        self._tell(msgspec.structs.replace(_REFUSALS[reason], number=number))
        self._end_telling()

    def _on_readable(self) -> None:
        for _ in range(READS_MAX):
            try:
                size = self._feed.recv_into(self._buffer)
            except BlockingIOError:
                return
            if not size:  # nobody holds the other end: the supervisor is gone, and so are we in a moment
                self._loop.remove_reader(self._feed.fileno())
                return
            message = decode_tolds(self._buffer[:size])
            if message.incarnation == self._incarnation:
                for told in message.tolds:
                    self._tell(told)
                self._end_telling()
            if len(message.tolds) < BATCH_MAX:
                return  # most likely it was the last one; the loop tells if not

    def _begin_ticking(self) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        """Tell of what nobody is going to tell of."""
        self._is_ticking = False
        if not self._forwarder.pid or self._forwarder.incarnation != self._forwarder_incarnation:
            self._lose_forwarder()
        now = self._clock()
        self._fail([number for number, (deadline, _, _) in self._pending.items() if deadline <= now], Unasked.LATE)
        if self._shed and not self._unsent:
            self._send(())
        if self._pending or self._shed:
            self._begin_ticking()

    def _lose_forwarder(self) -> None:
        """The forwarder that knew of what is pending is gone. What is not sent yet is for its successor."""
        self._forwarder_incarnation = self._forwarder.incarnation
        unsent = {ask.number for ask in self._unsent}
        self._fail([number for number in self._pending if number not in unsent], Unasked.DIED)

    def _fail(self, numbers: list[int], why: Unasked) -> None:
        for number in numbers:
            self.refused += 1
            self._tell(unasked(why, number))
        self._end_telling()

    def _tell(self, told: Told) -> None:
        pending = self._pending.pop(told.number, None)
        if pending is None:
            return
        _, on_told, client = pending
        self._room.leave(client, told.number)
        try:
            on_told(told)
        except Exception as error:  # a bug of ours; the others wait for their replies all the same
            self._loop.call_exception_handler({"message": "a reply from outside was lost", "exception": error})

    def _end_telling(self) -> None:
        callbacks, self._when_told = self._when_told, []
        for callback in callbacks:
            callback()
