"""Our own stub resolver without a loop or thread: its callers drive it, whoever waits or looks.

The same exchange and sockets as on a loop. Between two looks nothing happens: a reply waits in its socket, and a
server that is late is given up when somebody looks. Not here: kdns.wire.exchange, kdns.client.talking.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from random import SystemRandom

from kdns.client.backend import Capabilities, Kind, Question, Reply
from kdns.client.reading import question_octets, read_done
from kdns.client.stub import problem_of
from kdns.client.talking import Line, Preference, Talk, place_of
from kdns.wire.exchange import Done, Exchange
from kdns.wire.upstream import RandomBits

# Questions on their way at a time, of one socket each as a rule; others fail at once, for nobody would drive them.
IN_FLIGHT_MAX = 256


class _Asked:
    """One question; used by one thread at a time, but closed by any."""

    def __init__(self, backend: BlockingStubBackend, question: Question, exchange: Exchange, now: float) -> None:
        self._backend = backend
        self._question = question
        self._poll = select.poll()
        self._tokens: dict[int, int] = {}
        self._reply: Reply | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._talk = Talk(exchange, backend.places, self)
        self._after(self._talk.start(now), now)

    def poll(self, now: float) -> Reply | None:
        """What has come; see kdns.client.backend.BlockingPending."""
        return self._look(0, now)

    def wait(self, until: float) -> Reply | None:
        """Wait for it."""
        while True:
            now = time.monotonic()
            rest = min(until, self._talk.exchange.wake_at) - now
            reply = self._look(max(rest, 0), None)
            if reply is not None or self._is_closed or time.monotonic() >= until:
                return reply

    def cancel(self) -> None:
        """Close its sockets."""
        with self._lock:
            self._is_closed = True
            self._talk.close()
        self._backend.over(self)

    def watch(self, line: Line) -> None:
        descriptor = line.sock.fileno()
        self._tokens[descriptor] = line.token
        self._poll.register(descriptor, select.POLLOUT if line.wants_write else select.POLLIN)

    def unwatch(self, line: Line) -> None:
        descriptor = line.sock.fileno()
        self._tokens.pop(descriptor, None)
        with suppress(KeyError):
            self._poll.unregister(descriptor)

    def _look(self, seconds: float, now: float | None) -> Reply | None:
        if self._reply is not None or self._is_closed:
            return self._reply
        ready = self._poll.poll(ceil(seconds * 1000))
        with self._lock:
            now = time.monotonic() if now is None else now
            for descriptor, _ in ready:
                token = self._tokens.get(descriptor)
                if token is not None and self._reply is None and not self._is_closed:
                    self._after(self._talk.ready(token, now), now)
            if self._reply is None and not self._is_closed:
                self._after(self._talk.woken(now), now)
        return self._reply

    def _after(self, done: Done | None, now: float) -> None:
        if done is None:
            return
        if done.server is not None and not done.reason:
            self._backend.preference.answered(done.server, now)
        self._reply = read_done(self._question, done, self._backend.names)
        self._backend.over(self)


class _Never:
    """A question that could not be asked."""

    def __init__(self, problem: str) -> None:
        self._reply = Reply(Kind.FAILURE, text=problem)

    def poll(self, now: float) -> Reply:
        return self._reply

    def wait(self, until: float) -> Reply:
        return self._reply

    def cancel(self) -> None:
        pass


class BlockingStubBackend:
    """See the module's docstring, and kdns.client.backend.BlockingBackend. servers, rng: as of StubBackend."""

    capabilities = Capabilities(blocking=True)

    def __init__(self, servers: Sequence[tuple[str, int]], rng: RandomBits | None = None) -> None:
        self.places = tuple(place_of(host, port) for host, port in servers)
        self.names = tuple(place.text for place in self.places)
        self.preference = Preference()
        self._rng = rng or SystemRandom()
        self._asked: dict[_Asked, None] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """Questions on their way."""
        return len(self._asked)

    def start(self, question: Question, timeout: float) -> _Asked | _Never:
        """Send the question; see kdns.client.backend.BlockingBackend."""
        problem = problem_of(question, self.places, self._is_closed, len(self._asked) >= IN_FLIGHT_MAX)
        if problem:
            return _Never(problem)
        now = time.monotonic()
        first = self.preference.first(now)
        exchange = Exchange(question_octets(question), self.names, timeout, now, self._rng, first)
        asked = _Asked(self, question, exchange, now)
        if not exchange.is_over:
            self._asked[asked] = None
        if self._is_closed:  # by another thread, just now
            asked.cancel()
        return asked

    def flush(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Close all sockets."""
        self._is_closed = True
        for asked in list(self._asked):
            asked.cancel()

    def over(self, asked: _Asked) -> None:
        """For a question: it is over."""
        self._asked.pop(asked, None)
