"""The balancer for threads: the same core and the same calls, driven by their callers, without thread or loop.

One lock guards the core; it is held for a pick or a release, never while something waits. Attempts cannot be cut off
from outside: `lease.timeout` is for the socket. So hedging is refused. Not here: DNS (kdns.client.blocking_resolver).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from math import inf
from random import Random
from threading import Lock
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

from kdns.client.budget import make_budget
from kdns.client.calling import Call, Step, Try
from kdns.client.cells import Cell
from kdns.client.core import Core
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import Closed, DeadlineExceeded, NoEndpoints, OptionError
from kdns.client.forking import tell_when_forked
from kdns.client.hooks import Hooks, Listeners
from kdns.client.lease import IMPATIENT, Lease, Patience
from kdns.client.options import BalancerOptions
from kdns.client.outcome import OK
from kdns.client.results import Results, is_over
from kdns.client.snapshot import Snapshot
from kdns.client.target import Target

T = TypeVar("T")


class BlockingResolving(Protocol):
    """The part of kdns.client.BlockingResolver that a balancer needs; kdns.client.testing has a scripted one."""

    def read(self, target: str) -> Target:
        """How a target is understood; raises TargetError."""

    def current(self, target: str) -> EndpointSet | None:
        """What is known just now; past its time, its callers ask anew without waiting."""

    def resolve(self, target: str, timeout: float | None = None) -> EndpointSet:
        """What is known, once something is. Raises NoEndpoints, DeadlineExceeded."""

    def wait_changed(self, target: str, after: EndpointSet | None, until: float) -> EndpointSet | None:
        """The next set that is another one than `after`; None if `until` (time.monotonic) comes first."""

    def failed(self, target: str) -> None:
        """An endpoint could not be reached or was ejected: ask DNS soon."""

    def close(self) -> None:
        """Let go of sockets."""


class BlockingBalancer:
    """The endpoints of a target, one of which is lent for each attempt; for any number of threads.

    See kdns.client.Balancer. sleep: for tests. Raises TargetError, and OptionError for hedging.
    """

    def __init__(
        self,
        target: str,
        options: BalancerOptions | None = None,
        *,
        resolver: BlockingResolving | None = None,
        hooks: Iterable[Hooks] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: Random | None = None,
    ) -> None:
        self._options = options or BalancerOptions()
        if self._options.hedge is not None:
            raise OptionError("a blocking balancer cannot hedge, as it cannot cancel: use kdns.client.Balancer")
        hooks = tuple(hooks)
        self._owns_resolver = resolver is None
        self._resolver = resolver if resolver is not None else _own_resolver(hooks)
        self._target = target
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or Random()
        self._listeners = Listeners(hooks)
        self._read = self._resolver.read(target)
        self._core = self._new_core()
        self._budget = make_budget(self._options.retries.budget, clock())
        self._lock = Lock()
        self._is_closed = False
        self._asks_anew = False
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
    ) -> BlockingAcquiring:
        """`with balancer.acquire() as lease`: one attempt; see kdns.client.Balancer.acquire."""
        patience = (wait_for_ready, timeout) if wait_for_ready or timeout is not None else None
        return BlockingAcquiring(self, key, idempotent, patience)

    def call(
        self,
        fn: Callable[..., T],
        *args: object,
        idempotent: bool = False,
        timeout: float | None = None,
        key: bytes | None = None,
        wait_for_ready: bool = False,
    ) -> T:
        """`fn(lease, *args)` until it does well; see kdns.client.Balancer.call. It should heed `lease.timeout`."""
        self._check_open()
        seconds = self._options.retries.timeout if timeout is None else timeout
        deadline = inf if seconds is None else self._clock() + seconds
        if self._known() is None:
            self._first(deadline)
        call = Call(
            self._core,
            self._options.retries,
            self._budget,
            self._rng,
            target=self._target,
            idempotent=idempotent,
            deadline=deadline,
            key=key,
            wait_for_ready=wait_for_ready,
        )
        return _Running(self, call, lambda lease: fn(lease, *args)).result()

    def snapshot(self) -> Snapshot:
        """How it stands."""
        with self._lock:
            return self._core.snapshot(self._clock())

    def close(self) -> None:
        """Nothing is lent any more; what is out may end. Closes its own resolver."""
        self._is_closed = True
        if self._owns_resolver:
            self._resolver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # For leases and running calls.

    def reached(self, cell: Cell, started: float) -> None:
        """See Lender."""
        with self._lock:
            self._core.reached(cell, started, self._clock())

    def left(self, until: float) -> float:
        """See Lender."""
        return until - self._clock()

    def forked(self) -> None:
        """See kdns.client.forking: what is out belongs to the parent, and the lock may be held by nobody."""
        self._lock = Lock()
        self._rng.seed()
        self._core = self._new_core()
        self._budget = make_budget(self._options.retries.budget, self._clock())

    def _new_core(self) -> Core:
        return Core(self._read, self._options, self._rng, self._listeners, self._note_failure)

    def _note_failure(self) -> None:
        """The resolver has a lock of its own, and is told when ours is free."""
        self._asks_anew = True

    def _tell_failure(self) -> None:
        self._asks_anew = False
        self._resolver.failed(self._target)

    def _step(self, act: Callable[[float], Step]) -> Step:
        """One step of a call, which picks and releases."""
        self._known()
        with self._lock:
            step = act(self._clock())
        if self._asks_anew:
            self._tell_failure()
        return step

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed(f"the balancer of {self._target} is closed")

    def _known(self) -> EndpointSet | None:
        """The present set, which the core knows from now on."""
        known = self._resolver.current(self._target)
        if known is not None and known is not self._core.set:
            with self._lock:
                self._core.update(known, self._clock())
        return known

    def _first(self, deadline: float, wait_for_ready: bool = False) -> None:
        """Wait for the first resolution, and for endpoints if so asked."""
        try:
            self._resolver.resolve(self._target, None if deadline == inf else max(0.0, deadline - self._clock()))
        except NoEndpoints:
            while wait_for_ready and not self._has_endpoints():
                if self._resolver.wait_changed(self._target, self._core.set, deadline) is None:
                    raise DeadlineExceeded(f"{self._target}: no endpoints in time") from None
        self._known()

    def _has_endpoints(self) -> bool:
        known = self._known()
        return known is not None and len(known) > 0


class BlockingAcquiring(Lease):
    """A lease to come, and then the lease itself: one object, for it is on the way of every request."""

    __slots__ = ("_balancer", "_core", "_idempotent", "_key", "_patience")

    def __init__(
        self, balancer: BlockingBalancer, key: bytes | None, idempotent: bool, patience: Patience | None
    ) -> None:
        self._balancer = balancer
        self._key = key
        self._idempotent = idempotent
        self._patience = patience

    def __enter__(self) -> Lease:
        balancer = self._balancer
        known = balancer._resolver.current(balancer._target)
        if known is None or known is not balancer._core.set or balancer._is_closed or not known.endpoints:
            self._slowly()
        self._core = core = balancer._core  # in a child process the balancer has another one
        with balancer._lock:
            self.started = now = balancer._clock()
            self.cell = cell = core.pick(now, self._key, (), self._idempotent)
        self._lender = balancer
        self._outcome = self.was_sent = None
        self.endpoint = cell.endpoint
        self.number = 1
        self.until = inf
        return self

    def _slowly(self) -> None:
        balancer = self._balancer
        balancer._check_open()
        known = balancer._known()
        wait_for_ready, timeout = self._patience or IMPATIENT
        if known is None or (wait_for_ready and not known.endpoints):
            deadline = inf if timeout is None else balancer._clock() + timeout
            balancer._first(deadline, wait_for_ready)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        balancer = self._balancer
        outcome = OK if error is None and self._outcome is None else self.outcome(error)
        with balancer._lock:
            self._core.release(self.cell, outcome, self.started, balancer._clock())
        if balancer._asks_anew:
            balancer._tell_failure()


class _Running(Generic[T]):
    """One call that runs in its caller's thread."""

    __slots__ = ("_balancer", "_call", "_fn", "_results")

    def __init__(self, balancer: BlockingBalancer, call: Call, fn: Callable[[Lease], T]) -> None:
        self._balancer = balancer
        self._call = call
        self._fn = fn
        self._results: Results[T] = Results(balancer.target, balancer._listeners)

    def result(self) -> T:
        """Run it to its end."""
        balancer = self._balancer
        step = balancer._step(self._call.start)
        try:
            while True:
                self._results.tell(step)
                if is_over(step):
                    break
                step = self._next(step)
        except BaseException:
            with balancer._lock:
                self._call.abandoned(balancer._clock())
            raise
        if step.give_up is not None:
            return self._results.without(step.give_up)
        return self._results.of(cast(int, step.result))

    def _next(self, step: Step) -> Step:
        balancer = self._balancer
        if step.try_ is not None:
            return self._attempt(step.try_)
        if step.watch:
            balancer._resolver.wait_changed(balancer.target, balancer._core.set, step.wake_at)
        else:
            balancer._sleep(max(0.0, step.wake_at - balancer._clock()))
        return balancer._step(self._call.woken)

    def _attempt(self, attempt: Try) -> Step:
        balancer, results = self._balancer, self._results
        lease = Lease(balancer, attempt.cell, balancer._clock(), attempt.number, attempt.until)
        try:
            outcome = results.returned(lease, self._fn(lease))
        except Exception as error:
            outcome = results.raised(lease, error)
        return balancer._step(lambda now: self._call.ended(attempt.number, outcome, now))


def _own_resolver(hooks: Sequence[Hooks]) -> BlockingResolving:
    """The default one; imported here, as who brings a resolver of his own needs none of it."""
    from kdns.client.blocking_resolver import BlockingResolver

    return BlockingResolver(hooks=hooks)
