"""Our own stub resolver on an event loop: kdns.wire.exchange over sockets, without threads.

Nothing is kept between questions but which server answered, so `flush` has nothing to do. Not here: what is sent and
when (kdns.wire.exchange), the sockets (kdns.client.talking), the twin without a loop (kdns.client.blocking_stub).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from random import SystemRandom

from kdns.client.backend import Capabilities, Kind, Question, Reply
from kdns.client.reading import question_octets, read_done
from kdns.client.talking import Line, Place, Preference, Talk, place_of
from kdns.wire.exchange import Done, Exchange
from kdns.wire.name import InvalidName
from kdns.wire.upstream import RandomBits

# Questions on their way at a time, of one socket each as a rule: far below the usual 1,024 descriptors of a process.
IN_FLIGHT_MAX = 128
# Questions that wait for room: both address families of a headless service with 1,000 pods, twice.
WAITING_MAX = 4096


class _Asked:
    """One question. It is watched by the loop itself."""

    __slots__ = ("_backend", "_question", "_talk", "_timer", "_told", "due")

    def __init__(
        self, backend: StubBackend, question: Question, exchange: Exchange, told: Callable[[Reply], None]
    ) -> None:
        self._backend = backend
        self._question = question
        self._told: Callable[[Reply], None] | None = told
        self._talk = Talk(exchange, backend.places, self)
        self._timer: asyncio.TimerHandle | None = None
        self.due = 0.0
        self._sleep()

    @property
    def is_over(self) -> bool:
        return self._told is None

    def start(self, now: float) -> None:
        self._after(self._talk.start(now), now)

    def cancel(self) -> None:
        """Nobody waits for it; `told` is not called any more."""
        if self._told is not None:
            self.close()
            self._backend.over(self)

    def close(self) -> None:
        self._told = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._talk.close()

    def watch(self, line: Line) -> None:
        loop, descriptor = self._backend.loop, line.sock.fileno()
        if line.wants_write:
            loop.add_writer(descriptor, self._ready, line.token)
            return
        if line.tcp:
            loop.remove_writer(descriptor)
        loop.add_reader(descriptor, self._ready, line.token)

    def unwatch(self, line: Line) -> None:
        if not self._backend.is_loop_ours:
            return
        loop, descriptor = self._backend.loop, line.sock.fileno()
        loop.remove_reader(descriptor)
        if line.tcp:  # whatever it wants by now: it may have broken before `watch` was told
            loop.remove_writer(descriptor)

    def _ready(self, token: int) -> None:
        now = self._backend.loop.time()
        self._after(self._talk.ready(token, now), now)

    def _woken(self) -> None:
        self._timer = None
        now = self._backend.loop.time()
        # A loop may call us a little early, by its clock's resolution.
        self._after(self._talk.woken(max(now, self.due)), now)

    def _after(self, done: Done | None, now: float) -> None:
        if done is None:
            self._sleep()
            return
        told = self._told
        self.close()
        self._backend.over(self)
        if done.server is not None and not done.reason:
            self._backend.preference.answered(done.server, now)
        if told is not None:
            told(read_done(self._question, done, self._backend.names))

    def _sleep(self) -> None:
        """Set the timer, if the one that runs is too late."""
        wake_at = self._talk.exchange.wake_at
        if self._timer is not None:
            if self.due <= wake_at:
                return  # it finds nothing due, and is set anew
            self._timer.cancel()
        self.due = wake_at
        self._timer = self._backend.loop.call_at(wake_at, self._woken)


class _Never:
    """A question that could not be asked."""

    def __init__(self, handle: asyncio.Handle) -> None:
        self.cancel = handle.cancel


class StubBackend:
    """See the module's docstring, and kdns.client.backend.Backend. Made inside a running loop.

    servers: address and port of each, in the order in which they are asked. rng: for ids and letter case; not
    predictable.
    """

    capabilities = Capabilities()

    def __init__(self, servers: Sequence[tuple[str, int]], rng: RandomBits | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.places: tuple[Place, ...] = tuple(place_of(host, port) for host, port in servers)
        self.names = tuple(place.text for place in self.places)
        self.preference = Preference()
        self._rng = rng or SystemRandom()
        self._pid = os.getpid()
        self._asked: dict[_Asked, None] = {}
        self._waiting: deque[_Asked] = deque()
        self._is_closed = False

    def __len__(self) -> int:
        """Questions on their way."""
        return len(self._asked)

    @property
    def is_loop_ours(self) -> bool:
        """Whether sockets are to be taken from the loop: not from a closed one, nor, forked, from the parent's."""
        return not self.loop.is_closed() and os.getpid() == self._pid

    def ask(self, question: Question, timeout: float, told: Callable[[Reply], None]) -> _Asked | _Never:
        """Ask; see kdns.client.backend.Backend."""
        now = self.loop.time()
        problem = self._problem(question)
        if problem:
            return _Never(self.loop.call_soon(told, Reply(Kind.FAILURE, text=problem)))
        first = self.preference.first(now)
        exchange = Exchange(question_octets(question), self.names, timeout, now, self._rng, first)
        asked = _Asked(self, question, exchange, told)
        if len(self._asked) < IN_FLIGHT_MAX:
            self._asked[asked] = None
            # Later, for `told` is not to be called from within.
            self.loop.call_soon(self._start, asked)
        else:
            self._waiting.append(asked)
        return asked

    def flush(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Close sockets and timers; what is pending is never told."""
        self._is_closed = True
        for asked in [*self._asked, *self._waiting]:
            asked.close()
        self._asked.clear()
        self._waiting.clear()

    def over(self, asked: _Asked) -> None:
        """For a question: it is over; the next one may be asked."""
        self._asked.pop(asked, None)
        if not self.is_loop_ours:
            return
        while self._waiting and len(self._asked) < IN_FLIGHT_MAX:
            following = self._waiting.popleft()
            if not following.is_over:
                self._asked[following] = None
                self.loop.call_soon(self._start, following)

    def _start(self, asked: _Asked) -> None:
        if not asked.is_over:
            asked.start(self.loop.time())

    def _problem(self, question: Question) -> str:
        return problem_of(question, self.places, self._is_closed, len(self._waiting) >= WAITING_MAX)


def problem_of(question: Question, places: Sequence[Place], is_closed: bool, is_full: bool) -> str:
    """Why a question cannot be asked, "" if it can."""
    if is_closed:
        return "the backend is closed"
    if not places:
        return "no DNS server is configured"
    if is_full:
        return "too many DNS questions of this process are on their way"
    try:
        question_octets(question)
    except InvalidName as error:
        return f"{question.name!r} is no domain name: {error}"
    return ""
