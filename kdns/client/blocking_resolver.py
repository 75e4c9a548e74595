"""The resolver for threads, driven by its callers: it has neither thread nor loop.

Past a set's time whoever reads it sends the questions, without waiting, and goes on with what is known; later readers
look whether the answer has come. Only who has nothing to go on with waits. One lock is held for what is brief; one
thread at a time looks after each question. Not here: what is asked (kdns.client.resolution) and remembered
(kdns.client.memory).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import inf
from random import Random
from threading import Lock
from typing import Self

from kdns.client.backend import BlockingBackend, BlockingPending, Question, Reply
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import DeadlineExceeded
from kdns.client.forking import tell_when_forked
from kdns.client.hooks import Hooks
from kdns.client.memory import Memory
from kdns.client.options import ResolverOptions
from kdns.client.refreshing import REAL_CLOCK, Refreshing
from kdns.client.resolution import Resolution
from kdns.client.servers import find_servers

# Whoever waits looks again so often whether another thread has got what he waits for.
_LOOK_SECONDS = 0.05


class _Flight:
    """One question on its way, which any thread may look after, one at a time."""

    __slots__ = ("lock", "pending", "reply")

    def __init__(self, pending: BlockingPending) -> None:
        self.pending = pending
        self.lock = Lock()
        self.reply: Reply | None = None

    def look(self, until: float, now: float) -> Reply | None:
        """The reply if it is there, or comes by `until`, and no other thread looks after it meanwhile."""
        if self.reply is None and self.lock.acquire(blocking=False):
            try:
                self.reply = self.pending.wait(until) if until > now else self.pending.poll(now)
            finally:
                self.lock.release()
        elif self.reply is None and until > now:
            time.sleep(min(_LOOK_SECONDS, until - now))
        return self.reply


class _Refresh:
    """One resolution of one target. open: its questions on their way."""

    __slots__ = ("began_at", "is_over", "memory", "open", "resolution")

    def __init__(self, memory: Memory, resolution: Resolution, now: float) -> None:
        self.memory = memory
        self.resolution = resolution
        self.began_at = now
        self.is_over = False
        self.open: dict[Question, _Flight] = {}


class BlockingResolver(Refreshing):
    """Resolves targets; one for a whole process is enough, for any number of threads.

    backend: makes the one that is used; default: our own stub, for the servers of the options. clock, rng: for tests.
    """

    def __init__(
        self,
        options: ResolverOptions | None = None,
        *,
        backend: Callable[[], BlockingBackend] | None = None,
        hooks: Iterable[Hooks] = (),
        clock: Callable[[], float] = REAL_CLOCK,
        rng: Random | None = None,
    ) -> None:
        super().__init__(options, hooks, clock, rng)
        self._make_backend = backend or self._stub
        self._backend: BlockingBackend | None
        self._inherited: BlockingBackend | None
        self._refreshes: dict[str, _Refresh]
        self._flights: dict[Question, _Flight]
        self._flush_for: set[str]
        self._begin_anew()
        tell_when_forked(self)

    def current(self, target: str) -> EndpointSet | None:
        """What is known just now, without waiting; it may be empty, and says why.

        None if nothing is, or if what was known expired while nobody asked: then `resolve` is worth its wait. A set
        that is past its time is asked anew, or the answer collected. Raises TargetError.
        """
        known = self._sets.get(target)
        if known is not None and self._clock() < known.refresh_at:
            return known
        return self._past(target, known)

    def resolve(self, target: str, timeout: float | None = None) -> EndpointSet:
        """What is known, once something is. Raises NoEndpoints, DeadlineExceeded, TargetError, Closed."""
        known = self._sets.get(target)
        if known is not None and self._clock() < known.refresh_at and known.endpoints:
            return known
        return self._resolve(target, inf if timeout is None else self._clock() + timeout)

    def wait_changed(self, target: str, after: EndpointSet | None, until: float) -> EndpointSet | None:
        """The first set with other endpoints than `after` has; it may be empty. None if `until` comes first."""
        while True:
            known = self.current(target)
            if known is None:
                refresh = self._begin(target)
                self._drive(refresh, until)
                known = self._sets.get(target)
            if known is not None and (after is None or known.endpoints != after.endpoints):
                return known
            now = self._clock()
            if now >= until:
                return None
            flying = self._refreshes.get(target)
            if flying is not None:
                self._drive(flying, until)
            else:
                due = known.refresh_at if known is not None else now
                time.sleep(max(0.0, min(until, due, now + _LOOK_SECONDS) - now))

    def failed(self, target: str) -> None:
        """An endpoint of it failed: DNS is asked anew, past every cache, but not twice within `early_gap`."""
        with self._store.lock:
            memory = self._store.memory(target)
            hurried = memory.hurry(self._clock())
            if hurried is not None:
                self._store.put(memory, hurried)
                self._flush_for.add(target)
        self.current(target)

    def close(self) -> None:
        """Close the backend; whoever waits is told that it is closed."""
        self._is_closed = True
        with self._store.lock:
            backend, self._backend = self._backend, None
            self._refreshes, self._flights = {}, {}
        if backend is not None:
            backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forked(self) -> None:
        """See kdns.client.forking: what was on its way belongs to the parent; what is known stays true."""
        backend = self._backend
        sets = dict(self._sets)
        self._rng.seed()
        self._make_store()
        for target, known in sets.items():
            self._store.memory(target).known = known
            self._sets[target] = known
        self._begin_anew()
        # Not closed: a lock of one of its questions may be held by a thread that is not here.
        self._inherited = backend

    def _begin_anew(self) -> None:
        self._backend = None
        self._refreshes, self._flights, self._flush_for = {}, {}, set()

    def _stub(self) -> BlockingBackend:
        from kdns.client.blocking_stub import BlockingStubBackend

        return BlockingStubBackend(find_servers(self._options))

    def _past(self, target: str, known: EndpointSet | None) -> EndpointSet | None:
        self._check_open()
        if known is None:
            self.read(target)  # a target that is none is said at once
            return None
        now = self._clock()
        was_on_its_way = target in self._refreshes
        self._look(self._begin(target), 0.0)
        if not was_on_its_way and known.endpoints and self._is_idle(known, now):
            fresh = self._sets.get(target)
            return fresh if fresh is not known else None
        return self._sets.get(target)

    def _resolve(self, target: str, deadline: float) -> EndpointSet:
        self._check_open()
        now = self._clock()
        known = self._sets.get(target)
        if known is not None and now < known.refresh_at:
            return self._checked(target, known)
        refresh = self._begin(target)
        if known is not None and (not self._is_idle(known, now) or refresh.began_at < known.expires_at):
            self._look(refresh, 0.0)
            return self._checked(target, self._sets.get(target, known))
        wait = now + self._options.stale_wait if known is not None and known.endpoints else inf
        self._drive(refresh, min(wait, deadline))
        self._check_open()
        found = refresh.memory.known if refresh.memory.known is not None else known
        if found is None:
            raise DeadlineExceeded(f"{target}: no answer of DNS in time")
        return self._checked(target, found)

    def _drive(self, refresh: _Refresh, until: float) -> None:
        """Look after a resolution until it is over, or until then."""
        while not refresh.is_over and not self._is_closed and self._clock() < until:
            self._look(refresh, until)

    def _look(self, refresh: _Refresh, until: float) -> None:
        """Collect what has come; wait for the first open question until then."""
        for question, flight in list(refresh.open.items()):
            reply = flight.look(until, self._clock())
            until = 0.0
            if reply is not None:
                self._landed(question, flight)
                with self._store.lock:
                    is_news = refresh.open.pop(question, None) is not None
                    more = refresh.resolution.told(question, reply) if is_news else []
                self._go_on(refresh, more)

    def _begin(self, target: str) -> _Refresh:
        """The resolution that is on its way, or a new one."""
        now = self._clock()
        with self._store.lock:
            memory = self._store.memory(target)
            refresh = self._refreshes.get(target)
            if refresh is not None:
                return refresh
            resolution = Resolution(memory.target, self._options, self._rng)
            refresh = self._refreshes[target] = _Refresh(memory, resolution, now)
            memory.asked(now)
            questions = resolution.start()
            if self._backend is None and questions:
                self._backend = self._make_backend()
            if target in self._flush_for and self._backend is not None:
                self._backend.flush()
            self._flush_for.discard(target)
            self._send(refresh, questions)
        self._go_on(refresh, [])
        return refresh

    def _send(self, refresh: _Refresh, questions: list[Question]) -> None:
        """With the lock held."""
        for question in questions:
            flight = self._flights.get(question)
            if flight is None and self._backend is not None:
                pending = self._backend.start(question, self._options.query_timeout)
                flight = self._flights[question] = _Flight(pending)
            if flight is not None:
                refresh.open[question] = flight

    def _go_on(self, refresh: _Refresh, questions: list[Question]) -> None:
        """Ask, or end it."""
        with self._store.lock:
            self._send(refresh, questions)
            found = refresh.resolution.found
            if found is None or refresh.is_over:
                return
            refresh.is_over = True
            text = refresh.memory.target.text
            if self._refreshes.get(text) is refresh:
                del self._refreshes[text]
        self._learn(refresh.memory, found, self._clock() - refresh.began_at)

    def _landed(self, question: Question, flight: _Flight) -> None:
        with self._store.lock:
            if self._flights.get(question) is flight:
                del self._flights[question]
