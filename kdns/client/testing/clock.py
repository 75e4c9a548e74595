"""Time that passes when a test says so.

`FakeClock.run` runs a coroutine in an event loop whose time is the clock's: whenever nothing is left to do but wait,
the clock goes on to the next timer, so that a test of a day of outages takes milliseconds and is the same each time.
For code that waits for real sockets it is of no use: there is no time in which an answer could come. Not here: blocking
code, which takes `clock` and `clock.sleep` instead of `time.monotonic` and `time.sleep`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class FakeClock:
    """A stand-in for time.monotonic: `clock()` gives seconds."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Now."""
        return self._now

    def advance(self, seconds: float) -> None:
        """So much later. Raises ValueError for going back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += seconds

    sleep = advance

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, in a loop of its own in which nobody waits."""
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            return runner.run(main)

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop(self)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that takes its time from a clock, and makes it pass instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock()


class _Selector(selectors.BaseSelector):
    """What is ready now; if nothing is, the clock goes on."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without a timer only another thread can go on: that is waited for.
        ready = self._real.select(None if timeout is None else 0)
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
