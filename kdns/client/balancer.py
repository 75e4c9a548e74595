"""The balancer that apps await: leases and calls over the endpoints of one target.

It has no task and no loop of its own: whoever acquires finds out whether DNS says something new, and the resolver asks
it in the background. One event loop at a time may use it; another one, one after the other, is fine. Not here: who is
picked (kdns.client.core), what is retried (kdns.client.calling), DNS (kdns.client.resolver).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from math import inf
from random import Random
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

from kdns.client.budget import make_budget
from kdns.client.calling import Call, Step, Try
from kdns.client.cells import Cell
from kdns.client.classify import cut_off
from kdns.client.core import Core
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import Closed, DeadlineExceeded, NoEndpoints, TryTimeout
from kdns.client.forking import tell_when_forked
from kdns.client.hooks import Hooks, Listeners
from kdns.client.lease import IMPATIENT, Lease, Patience
from kdns.client.options import BalancerOptions, Hedge
from kdns.client.outcome import OK
from kdns.client.results import Results, is_over
from kdns.client.snapshot import Snapshot
from kdns.client.target import Target

T = TypeVar("T")


class Resolving(Protocol):
    """The part of kdns.client.Resolver that a balancer needs; kdns.client.testing has a scripted one."""

    def read(self, target: str) -> Target:
        """How a target is understood; raises TargetError."""

    def current(self, target: str) -> EndpointSet | None:
        """What is known just now; None before the first resolution. Past its time it is asked anew meanwhile."""

    async def resolve(self, target: str) -> EndpointSet:
        """What is known, once something is. Raises NoEndpoints."""

    async def changed(self, target: str, after: EndpointSet | None) -> EndpointSet:
        """The next set that is another one than `after`."""

    def failed(self, target: str) -> None:
        """An endpoint could not be reached or was ejected: ask DNS soon."""

    async def close(self) -> None:
        """Let go of sockets."""


class Balancer:
    """The endpoints of a target, one of which is lent for each attempt.

    target: see docs/client.md. resolver: one to share; else it has its own, which is closed with it. hooks: who wants
    to see (kdns.client.hooks). clock, rng: for tests. Raises TargetError.
    """

    def __init__(
        self,
        target: str,
        options: BalancerOptions | None = None,
        *,
        resolver: Resolving | None = None,
        hooks: Iterable[Hooks] = (),
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self._options = options or BalancerOptions()
        hooks = tuple(hooks)
        self._owns_resolver = resolver is None
        self._resolver = resolver if resolver is not None else _own_resolver(hooks)
        self._target = target
        self._clock = clock
        self._rng = rng or Random()
        self._listeners = Listeners(hooks)
        self._read = self._resolver.read(target)
        self._core = self._new_core()
        self._budget = make_budget(self._options.retries.budget, clock())
        self._out: dict[Cell, set[asyncio.Timeout]] = {}
        self._drain: asyncio.TimerHandle | None = None
        self._is_closed = False
        tell_when_forked(self)

    @property
    def target(self) -> str:
        """As it was given."""
        return self._target

    def acquire(
        self,
        *,
        key: bytes | None = None,
        idempotent: bool = False,
        wait_for_ready: bool = False,
        timeout: float | None = None,
    ) -> Acquiring:
        """`async with balancer.acquire() as lease`: one attempt; its exception or absence says how it went.

        key: what equal requests have in common, for hashing policies. idempotent: then it may be what probes an
        ejected endpoint. wait_for_ready: wait for endpoints while there are none. timeout: of that wait, and of the
        first resolution. Raises NoEndpoints, Saturated, DeadlineExceeded.
        """
        patience = (wait_for_ready, timeout) if wait_for_ready or timeout is not None else None
        return Acquiring(self, key, idempotent, patience)

    async def call(
        self,
        fn: Callable[..., Awaitable[T]],
        *args: object,
        idempotent: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - it spans attempts and the waits between them
        key: bytes | None = None,
        wait_for_ready: bool = False,
        hedge: Hedge | None = None,
    ) -> T:
        """`fn(lease, *args)` until it does well, on another endpoint each time; what it returned or last raised.

        idempotent: it may be processed twice. timeout: seconds for all attempts together; default
        `Retries.timeout`. hedge: default `BalancerOptions.hedge`. Raises what the last attempt raised, NoEndpoints,
        Saturated, DeadlineExceeded.
        """
        self._check_open()
        seconds = self._options.retries.timeout if timeout is None else timeout
        deadline = inf if seconds is None else self._clock() + seconds
        if self._known() is None:
            await self._first(deadline)
        call = Call(
            self._core,
            self._options.retries,
            self._budget,
            self._rng,
            target=self._target,
            idempotent=idempotent,
            deadline=deadline,
            key=key,
            hedge=hedge or self._options.hedge,
            wait_for_ready=wait_for_ready,
        )
        return await _Running(self, call, lambda lease: fn(lease, *args), self._is_hedged(idempotent, hedge)).result()

    def _is_hedged(self, idempotent: bool, hedge: Hedge | None) -> bool:
        return idempotent and (hedge or self._options.hedge) is not None

    def _loop_time(self, until: float) -> float | None:
        """A moment of our clock as the running loop counts."""
        return None if until == inf else asyncio.get_running_loop().time() + until - self._clock()

    async def watch(self) -> AsyncIterator[EndpointSet]:
        """The present set, then each other one."""
        known: EndpointSet | None = None
        while True:
            known = await self._resolver.changed(self._target, known)
            self._update(known)
            yield known

    def snapshot(self) -> Snapshot:
        """How it stands."""
        return self._core.snapshot(self._clock())

    async def close(self) -> None:
        """Nothing is lent any more; what is out may end. Closes its own resolver."""
        self._is_closed = True
        if self._drain is not None:
            self._drain.cancel()
            self._drain = None
        if self._owns_resolver:
            await self._resolver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # For leases and running calls.

    def reached(self, cell: Cell, started: float) -> None:
        """See Lender."""
        self._core.reached(cell, started, self._clock())

    def left(self, until: float) -> float:
        """See Lender."""
        return until - self._clock()

    def forked(self) -> None:
        """See kdns.client.forking: what is out belongs to the parent."""
        self._rng.seed()
        self._core = self._new_core()
        self._budget = make_budget(self._options.retries.budget, self._clock())
        self._out, self._drain = {}, None

    def _new_core(self) -> Core:
        return Core(self._read, self._options, self._rng, self._listeners, self._note_failure)

    def _note_failure(self) -> None:
        self._resolver.failed(self._target)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed(f"the balancer of {self._target} is closed")

    def _known(self) -> EndpointSet | None:
        """The present set, which the core knows from now on."""
        known = self._resolver.current(self._target)
        if known is not None and known is not self._core.set:
            self._update(known)
        return known

    def _update(self, known: EndpointSet) -> None:
        self._core.update(known, self._clock())
        if self._drain is None and self._core.leaving():
            loop = asyncio.get_running_loop()
            self._drain = loop.call_later(self._options.drain, self._end_leaving)

    def _end_leaving(self) -> None:
        """What is still out to endpoints that have left, after so long, has no answer to expect."""
        self._drain = None
        now = asyncio.get_running_loop().time()
        for cell in self._core.leaving():
            for scope in self._out.get(cell, ()):
                scope.reschedule(now)

    async def _first(self, deadline: float, wait_for_ready: bool = False) -> None:
        """Wait for the first resolution, and for endpoints if so asked."""
        try:
            async with asyncio.timeout(None if deadline == inf else max(0.0, deadline - self._clock())):
                try:
                    await self._resolver.resolve(self._target)
                except NoEndpoints:
                    while wait_for_ready and not self._has_endpoints():
                        await self._resolver.changed(self._target, self._core.set)
        except TimeoutError:
            raise DeadlineExceeded(f"{self._target}: no endpoints in time") from None
        self._known()

    def _has_endpoints(self) -> bool:
        known = self._known()
        return known is not None and len(known) > 0


class Acquiring(Lease):
    """A lease to come, and then the lease itself: one object, for it is on the way of every request."""

    __slots__ = ("_balancer", "_core", "_idempotent", "_key", "_patience")

    def __init__(self, balancer: Balancer, key: bytes | None, idempotent: bool, patience: Patience | None) -> None:
        self._balancer = balancer
        self._key = key
        self._idempotent = idempotent
        self._patience = patience

    async def __aenter__(self) -> Lease:
        balancer = self._balancer
        core = balancer._core
        known = balancer._resolver.current(balancer._target)
        if known is None or known is not core.set or balancer._is_closed or not known.endpoints:
            await self._slowly()
            core = balancer._core
        self._core = core  # in a child process the balancer has another one
        self.started = now = balancer._clock()
        self.cell = cell = core.pick(now, self._key, (), self._idempotent)
        self._lender = balancer
        self._outcome = self.was_sent = None
        self.endpoint = cell.endpoint
        self.number = 1
        self.until = inf
        return self

    async def _slowly(self) -> None:
        balancer = self._balancer
        balancer._check_open()
        known = balancer._known()
        wait_for_ready, timeout = self._patience or IMPATIENT
        if known is None or (wait_for_ready and not known.endpoints):
            deadline = inf if timeout is None else balancer._clock() + timeout
            await balancer._first(deadline, wait_for_ready)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = OK if error is None and self._outcome is None else self.outcome(error)
        self._core.release(self.cell, outcome, self.started, self._balancer._clock())


class _Running(Generic[T]):
    """One call that runs: does what the steps of its Call say.

    One attempt at a time runs in the caller's own task; only hedged calls have tasks, which end with the call.
    """

    __slots__ = ("_balancer", "_call", "_fn", "_is_hedged", "_results", "_steps", "_tasks")

    def __init__(self, balancer: Balancer, call: Call, fn: Callable[[Lease], Awaitable[T]], is_hedged: bool) -> None:
        self._balancer = balancer
        self._call = call
        self._fn = fn
        self._is_hedged = is_hedged
        self._results: Results[T] = Results(balancer.target, balancer._listeners)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._steps: deque[Step] = deque()

    async def result(self) -> T:
        """Run it to its end; if that is cancelled, nothing is left over."""
        step = self._call.start(self._balancer._clock())
        try:
            while True:
                self._results.tell(step)
                for number in step.cancel:
                    self._cancel(number)
                if is_over(step):
                    break
                step = await self._next(step)
        except BaseException:
            for number in self._call.abandoned(self._balancer._clock()):
                self._cancel(number)
            raise
        if step.give_up is not None:
            return self._results.without(step.give_up)
        return self._results.of(cast(int, step.result))

    async def _next(self, step: Step) -> Step:
        """Do what a step says, and wait for what happens next."""
        if step.try_ is not None:
            if not self._is_hedged:
                return await self._attempt(step.try_)
            task = asyncio.get_running_loop().create_task(self._attempt_beside(step.try_))
            self._tasks[step.try_.number] = task
        elif step.watch:
            return await self._await_change(step.wake_at)
        if self._tasks:
            return await self._await_tasks(step.wake_at)
        await asyncio.sleep(max(0.0, step.wake_at - self._balancer._clock()))
        return self._wake()

    def _wake(self) -> Step:
        self._balancer._known()
        return self._call.woken(self._balancer._clock())

    async def _await_change(self, until: float) -> Step:
        balancer = self._balancer
        try:
            async with asyncio.timeout_at(balancer._loop_time(until)):
                await balancer._resolver.changed(balancer.target, balancer._core.set)
        except TimeoutError:
            pass
        return self._wake()

    async def _await_tasks(self, until: float) -> Step:
        if not self._steps:
            left = None if until == inf else max(0.0, until - self._balancer._clock())
            await asyncio.wait(self._tasks.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for number in [number for number, task in self._tasks.items() if task.done()]:
                self._tasks.pop(number).result()
        return self._steps.popleft() if self._steps else self._wake()

    async def _attempt_beside(self, attempt: Try) -> None:
        self._steps.append(await self._attempt(attempt))

    async def _attempt(self, attempt: Try) -> Step:
        """Run `fn` once. A cancellation goes through: its attempt is released by whoever cancelled."""
        balancer, results = self._balancer, self._results
        lease = Lease(balancer, attempt.cell, balancer._clock(), attempt.number, attempt.until)
        scope = asyncio.timeout_at(balancer._loop_time(attempt.until))
        out = balancer._out.setdefault(attempt.cell, set())
        out.add(scope)
        try:
            async with scope:
                value = await self._fn(lease)
            outcome = results.returned(lease, value)
        except Exception as error:
            if scope.expired() and isinstance(error, TimeoutError):
                return self._cut(attempt, lease, error)
            outcome = results.raised(lease, error)
        finally:
            out.discard(scope)
            if not out:
                balancer._out.pop(attempt.cell, None)
        balancer._known()
        return self._call.ended(attempt.number, outcome, balancer._clock())

    def _cut(self, attempt: Try, lease: Lease, error: TimeoutError) -> Step:
        """It had no end in its time, or its endpoint has left for too long."""
        balancer = self._balancer
        now = balancer._clock()
        seconds = now - lease.started
        cut = TryTimeout(f"{balancer.target}: no answer of {lease.endpoint} in {seconds:.3g} s")
        cut.__cause__ = error
        self._results.raised(lease, cut)
        balancer._known()
        if attempt.cell.is_leaving and now + _EARLY < attempt.until:
            return self._call.ended(attempt.number, cut_off(seconds, lease.was_sent), now)
        return self._call.cut(attempt.number, lease.was_sent, max(now, attempt.until))

    def _cancel(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()


# An event loop's timers may fire so much before their time, by the resolution of its clock.
_EARLY = 0.01


def _own_resolver(hooks: Sequence[Hooks]) -> Resolving:
    """The default one; imported here, as who brings a resolver of his own needs none of it."""
    from kdns.client.resolver import Resolver

    return Resolver(hooks=hooks)
