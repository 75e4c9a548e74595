"""The resolver that apps await: sets of endpoints by target, kept fresh in the background of whoever reads them.

Reading what is known is one dict read. Past `refresh_at` a reader starts a resolution on its own event loop, with
callbacks and no task, and goes on with what is known. Each loop has a backend of its own; what they learn is shared,
and so is a question that is on its way, whichever loop asked it. Not here: what is asked (kdns.client.resolution) and
remembered (kdns.client.memory).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from math import inf
from random import Random
from typing import Self
from weakref import WeakKeyDictionary

from kdns.client.backend import Backend, Pending, Question, Reply
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import NoEndpoints
from kdns.client.forking import tell_when_forked
from kdns.client.hooks import Hooks
from kdns.client.memory import Memory
from kdns.client.options import ResolverOptions
from kdns.client.refreshing import REAL_CLOCK, Refreshing
from kdns.client.resolution import Resolution
from kdns.client.servers import find_servers

# How long after its timeout a question of another loop is given up: that loop may be closed, or blocked.
_GRACE = 1.0

Told = Callable[[Reply], None]


class _Refresh:
    """One resolution of one target, on the loop that began it. waiters: of any loop."""

    __slots__ = ("began_at", "is_over", "loop", "memory", "patience_until", "resolution", "waiters")

    def __init__(self, memory: Memory, resolution: Resolution, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self.memory = memory
        self.resolution = resolution
        self.loop = loop
        self.began_at = now
        self.patience_until = inf
        self.is_over = False
        self.waiters: list[asyncio.Future[None]] = []

    def is_alive(self, now: float) -> bool:
        """Whether it may be expected to end."""
        return not self.is_over and not self.loop.is_closed() and now < self.patience_until


class _Flight:
    """One question on its way, and who is to be told."""

    __slots__ = ("loop", "pending", "told", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        self.loop = loop
        self.until = until
        self.told: list[tuple[asyncio.AbstractEventLoop, Told]] = []
        self.pending: Pending | None = None


class Resolver(Refreshing):
    """Resolves targets; one for a whole process is enough, for any number of event loops.

    backend: makes one for the running loop; default: our own stub, for the servers of the options. hooks: who wants to
    see. clock, rng: for tests.
    """

    def __init__(
        self,
        options: ResolverOptions | None = None,
        *,
        backend: Callable[[], Backend] | None = None,
        hooks: Iterable[Hooks] = (),
        clock: Callable[[], float] = REAL_CLOCK,
        rng: Random | None = None,
    ) -> None:
        super().__init__(options, hooks, clock, rng)
        self._make_backend = backend or self._stub
        self._backends: WeakKeyDictionary[asyncio.AbstractEventLoop, Backend]
        self._refreshes: dict[str, _Refresh]
        self._flights: dict[Question, _Flight]
        self._flush_for: set[str]
        self._news: list[asyncio.Future[None]]
        self._begin_anew()
        tell_when_forked(self)

    def current(self, target: str) -> EndpointSet | None:
        """What is known just now, without waiting; it may be empty, and says why.

        None if nothing is, or if what was known expired while nobody asked: then `resolve` is worth its wait. Called
        from a running loop, it has a set that is past its time asked anew. Raises TargetError.
        """
        known = self._sets.get(target)
        if known is not None and self._clock() < known.refresh_at:
            return known
        return self._past(target, known)

    async def resolve(self, target: str) -> EndpointSet:
        """What is known, once something is. Raises NoEndpoints with the reason, TargetError, Closed."""
        known = self._sets.get(target)
        if known is not None and self._clock() < known.refresh_at and known.endpoints:
            return known
        return await self._resolve(target)

    async def changed(self, target: str, after: EndpointSet | None = None) -> EndpointSet:
        """The first set with other endpoints than `after` has; it may be empty."""
        while True:
            known = self.current(target)
            if known is None:
                with suppress(NoEndpoints):
                    await self._resolve(target)
                known = self._sets.get(target)
            if known is not None and (after is None or known.endpoints != after.endpoints):
                return known
            await self._await_news(target, known)

    async def watch(self, target: str) -> AsyncIterator[EndpointSet]:
        """The present set, then each that has other endpoints."""
        known: EndpointSet | None = None
        while True:
            known = await self.changed(target, known)
            yield known

    def failed(self, target: str) -> None:
        """An endpoint of it failed: DNS is asked anew, past every cache, but not twice within `early_gap`."""
        with self._store.lock:
            memory = self._store.memory(target)
            hurried = memory.hurry(self._clock())
            if hurried is not None:
                self._store.put(memory, hurried)
                self._flush_for.add(target)
        if asyncio._get_running_loop() is not None:  # else whoever reads next will ask
            self.current(target)

    async def close(self) -> None:
        """Close all backends; whoever waits is told that it is closed."""
        self._is_closed = True
        with self._store.lock:
            backends, self._backends = dict(self._backends), WeakKeyDictionary()
            refreshes, self._refreshes = list(self._refreshes.values()), {}
            self._flights = {}
        for loop, backend in backends.items():
            if loop.is_closed():
                backend.close()
            else:
                _on(loop, backend.close)
        for refresh in refreshes:
            _wake(refresh)
        self._tell_news()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def forked(self) -> None:
        """See kdns.client.forking: what was on its way belongs to the parent; what is known stays true."""
        backends = list(self._backends.values())
        sets = dict(self._sets)
        self._rng.seed()
        self._make_store()
        for target, known in sets.items():
            self._store.memory(target).known = known
            self._sets[target] = known
        self._begin_anew()
        for backend in backends:
            backend.close()

    def _begin_anew(self) -> None:
        self._backends = WeakKeyDictionary()
        self._refreshes, self._flights = {}, {}
        self._flush_for, self._news = set(), []

    def _stub(self) -> Backend:
        from kdns.client.stub import StubBackend

        return StubBackend(find_servers(self._options))

    def _past(self, target: str, known: EndpointSet | None) -> EndpointSet | None:
        """What `current` says of a set that is past its time, or that there is not."""
        self._check_open()
        if known is None:
            self.read(target)  # a target that is none is said at once
            return None
        if asyncio._get_running_loop() is None:
            return known
        now = self._clock()
        refresh = self._refreshes.get(target)
        was_alive = refresh is not None and refresh.is_alive(now)
        if not was_alive:
            self._begin(target)
        return None if not was_alive and known.endpoints and self._is_idle(known, now) else self._sets.get(target)

    async def _resolve(self, target: str) -> EndpointSet:
        """What takes a wait, or raises."""
        self._check_open()
        now = self._clock()
        known = self._sets.get(target)
        if known is not None and now < known.refresh_at:
            return self._checked(target, known)
        refresh = self._begin(target)
        if known is not None and (not self._is_idle(known, now) or refresh.began_at < known.expires_at):
            return self._checked(target, self._sets.get(target, known))
        wait = self._options.stale_wait if known is not None and known.endpoints else inf
        await self._await(refresh, wait)
        self._check_open()
        found = refresh.memory.known if refresh.memory.known is not None else known
        if found is None:  # its loop ended before it did: this one asks itself
            return await self._resolve(target)
        return self._checked(target, found)

    async def _await(self, refresh: _Refresh, most: float) -> None:
        """Until it is over, for so many seconds."""
        future = asyncio.get_running_loop().create_future()
        refresh.waiters.append(future)
        if refresh.is_over:  # looked at after that, for another loop may end it at any moment
            return
        most = min(most, max(0.0, refresh.patience_until - self._clock()))
        try:
            async with asyncio.timeout(most):
                await future
        except TimeoutError:
            return
        finally:
            with suppress(ValueError):
                refresh.waiters.remove(future)

    async def _await_news(self, target: str, known: EndpointSet | None) -> None:
        """Until some set changes, or this one's time comes."""
        self._check_open()
        future = asyncio.get_running_loop().create_future()
        self._news.append(future)
        due = known.refresh_at if known is not None else 0.0
        refresh = self._refreshes.get(target)
        now = self._clock()
        if refresh is not None and refresh.is_alive(now):
            due = max(due, refresh.patience_until)
        try:
            async with asyncio.timeout(None if due == inf else max(due - now, 0.0)):
                await future
        except TimeoutError:
            return
        finally:
            with suppress(ValueError):
                self._news.remove(future)

    def _begin(self, target: str) -> _Refresh:
        """The resolution that is on its way, or a new one on this loop."""
        loop, now = asyncio.get_running_loop(), self._clock()
        with self._store.lock:
            memory = self._store.memory(target)
            refresh = self._refreshes.get(target)
            if refresh is not None and refresh.is_alive(now):
                return refresh
            resolution = Resolution(memory.target, self._options, self._rng)
            refresh = self._refreshes[target] = _Refresh(memory, resolution, loop, now)
            # Two rounds of questions: SRV, then addresses.
            refresh.patience_until = now + 2 * (self._options.query_timeout + _GRACE)
            memory.asked(now)
            is_hurried = target in self._flush_for
            self._flush_for.discard(target)
            questions = resolution.start()
        if questions and is_hurried:
            self._backend(loop).flush()
        self._go_on(refresh, questions)
        return refresh

    def _go_on(self, refresh: _Refresh, questions: list[Question]) -> None:
        """Ask, or end it."""
        for question in questions:
            self._ask(question, refresh.loop, partial(self._told, refresh, question))
        if refresh.resolution.found is not None:
            self._end(refresh)

    def _told(self, refresh: _Refresh, question: Question, reply: Reply) -> None:
        if not refresh.is_over and not self._is_closed:
            self._go_on(refresh, refresh.resolution.told(question, reply))

    def _end(self, refresh: _Refresh) -> None:
        found = refresh.resolution.found
        if refresh.is_over or found is None:
            return
        text = refresh.memory.target.text
        with self._store.lock:
            if self._refreshes.get(text) is refresh:
                del self._refreshes[text]
        self._learn(refresh.memory, found, self._clock() - refresh.began_at)
        _wake(refresh)
        self._tell_news()

    def _tell_news(self) -> None:
        news, self._news = self._news, []
        for future in news:
            _on(future.get_loop(), partial(_set, future))

    def _ask(self, question: Question, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        """Ask, unless somebody of this process has just asked the same: then wait for his answer."""
        now = self._clock()
        with self._store.lock:
            flight = self._flights.get(question)
            if flight is not None and not flight.loop.is_closed() and now < flight.until:
                flight.told.append((loop, told))
                return
            flight = self._flights[question] = _Flight(loop, now + self._options.query_timeout + _GRACE)
            flight.told.append((loop, told))
        timeout = self._options.query_timeout
        flight.pending = self._backend(loop).ask(question, timeout, partial(self._landed, question, flight))

    def _landed(self, question: Question, flight: _Flight, reply: Reply) -> None:
        with self._store.lock:
            if self._flights.get(question) is flight:
                del self._flights[question]
            told, flight.told = flight.told, []
        for loop, tell in told:
            if loop is flight.loop:
                tell(reply)
            else:
                _on(loop, partial(tell, reply))

    def _backend(self, loop: asyncio.AbstractEventLoop) -> Backend:
        """The loop's own; those of loops that are closed are let go of."""
        backend = self._backends.get(loop)
        if backend is None:
            with self._store.lock:
                gone = [(old, one) for old, one in self._backends.items() if old.is_closed()]
                for old, one in gone:
                    del self._backends[old]
                    one.close()
                backend = self._backends[loop] = self._make_backend()
        return backend


def _wake(refresh: _Refresh) -> None:
    """It is over, or nobody is to wait for it any more."""
    refresh.is_over = True
    for future in list(refresh.waiters):
        _on(future.get_loop(), partial(_set, future))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _on(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Do it on that loop: at once if it is the one that runs here; one that is closed has nobody to tell."""
    if loop is asyncio._get_running_loop():
        act()
        return
    with suppress(RuntimeError):  # closed
        loop.call_soon_threadsafe(act)
