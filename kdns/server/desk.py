"""A resolver and its upstreams: the resolver says what to do, and it is done here.

Whatever is heard while one thing is done waits its turn, so that the resolver is never asked from within itself. Not
here: what to do (kdns.forward.resolver), how (kdns.server.upstreams), who asks (kdns.server.forwarder).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from kdns.forward.values import Action, Fault, Send, Tell, UpstreamSpec
from kdns.server.upstreams import SWEEP_SECONDS, Manners, Upstreams
from kdns.wire.outside import Ask, Told

IDLE_SWEEP_SECONDS = 1.0  # while nothing is under way: connections are closed to the second
# A resolver that wants to be woken sooner has to wait so long: under load something is always due in a moment, and
# the loop rounds what is less than a millisecond to nothing at all. A tenth of the shortest hedge delay.
WAKE_SECONDS = 0.005

TellWorker = Callable[[int, Told], None]


class Listed(Protocol):
    """An upstream as a resolver lists it."""

    @property
    def spec(self) -> UpstreamSpec:
        """Which one it is."""


class Resolving(Protocol):
    """What a desk needs of kdns.forward.resolver.Resolver."""

    @property
    def upstreams(self) -> Sequence[Listed]:
        """What the numbers in `Send.upstream` mean."""

    @property
    def wake_at(self) -> float:
        """When to call `wake`."""

    def ask(self, worker: int, ask: Ask, now: float) -> list[Action]:
        """A worker asks."""

    def replied(self, token: int, reply: bytes, now: float) -> list[Action]:
        """An upstream has answered."""

    def failed(self, token: int, fault: Fault, now: float) -> list[Action]:
        """It has not."""

    def wake(self, now: float) -> list[Action]:
        """It is time."""


R = TypeVar("R", bound=Resolving)


class Desk(Generic[R]):
    """See the module's docstring. tell: passes on what became of a question of a worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        resolver: R,
        manners: Mapping[UpstreamSpec, Manners],
        tell: TellWorker,
        on_trouble: Callable[[UpstreamSpec, str], None],
    ) -> None:
        self._loop = loop
        self.resolver = resolver
        self.upstreams = Upstreams(loop, self, manners, on_trouble)
        self._tell_worker = tell
        self._todo: deque[Action] = deque()
        self._is_doing = False
        self._is_turn_ending = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._sweeping: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._is_closed = False

    def start(self) -> None:
        """Begin to look at the clock."""
        self._set_timers(time.monotonic())

    def ask(self, worker: int, ask: Ask) -> None:
        """A worker asks."""
        now = time.monotonic()
        self._do(self.resolver.ask(worker, ask, now), now)

    def replied(self, token: int, reply: bytes) -> None:
        """An upstream has answered."""
        now = time.monotonic()
        self._do(self.resolver.replied(token, reply, now), now)

    def failed(self, token: int, fault: Fault) -> None:
        """It has not."""
        now = time.monotonic()
        self._do(self.resolver.failed(token, fault, now), now)

    def close(self) -> None:
        """Forget everything; nobody is told anything any more."""
        self._is_closed = True
        for timer in (self._alarm, self._sweeping):
            if timer is not None:
                timer.cancel()
        self.upstreams.close()

    def _do(self, actions: list[Action], now: float) -> None:
        """Carry out actions, and those that come of them."""
        if not self._is_turn_ending:
            self._is_turn_ending = True
            self._loop.call_soon(self._end_turn)
        if self._is_doing:
            self._todo.extend(actions)
            return
        self._is_doing = True
        try:
            for action in actions:
                self._carry_out(action, now)
            while self._todo:
                self._carry_out(self._todo.popleft(), now)
        finally:
            self._is_doing = False

    def _end_turn(self) -> None:
        self._is_turn_ending = False
        self._set_timers(time.monotonic())

    def _carry_out(self, action: Action, now: float) -> None:
        if isinstance(action, Tell):
            self._tell_worker(action.worker, action.told)
        elif isinstance(action, Send):
            self.upstreams.send(action, self.resolver.upstreams[action.upstream].spec, now)
        else:
            self.upstreams.cancel(action.token)

    def _set_timers(self, now: float) -> None:
        """Be woken in time. A timer that rings too early costs less than one that is set anew for each question."""
        if self._is_closed:
            return
        wake_at = self.resolver.wake_at
        if wake_at < self._alarm_at or (self._alarm is None and wake_at < float("inf")):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = wake_at
            self._alarm = self._loop.call_later(max(WAKE_SECONDS, wake_at - now), self._wake)
        sweep_at = now + (SWEEP_SECONDS if len(self.upstreams) else IDLE_SWEEP_SECONDS)
        if self._sweeping is None or sweep_at + SWEEP_SECONDS < self._sweep_at:
            if self._sweeping is not None:
                self._sweeping.cancel()
            self._sweep_at = sweep_at
            self._sweeping = self._loop.call_later(sweep_at - now, self._sweep)

    def _wake(self) -> None:
        self._alarm = None
        now = time.monotonic()
        self._do(self.resolver.wake(now) if self.resolver.wake_at <= now else [], now)

    def _sweep(self) -> None:
        self._sweeping = None
        now = time.monotonic()
        self.upstreams.sweep(now)
        self._do([], now)
