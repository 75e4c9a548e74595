"""When something is to be looked at again: one heap for all that waits.

A timer that is set anew leaves its old entry in the heap, to be skipped when it comes up: most flights end long
before their timer, and to find their entries would cost more than to let them lie. Not here: what is done then.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, Protocol, TypeVar

# Entries beyond which those that mean nothing any more are thrown out. They go by themselves after a hedge delay, so
# that this is reached only at tens of thousands of flights a second, and then costs 0.1 us for each flight.
LYING_MAX = 16384


class Sleeper(Protocol):
    """What can be woken. due: when, infinity for never; set by `Timers` alone."""

    due: float


S = TypeVar("S", bound=Sleeper)


class Timers(Generic[S]):
    """The timers of sleepers, at most one of each."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, S]] = []
        self._taken = 0  # a number for each entry: sleepers have no order
        self._sweep_at = LYING_MAX

    @property
    def next_due(self) -> float:
        """When to look next; at times too early, never too late. Infinity if nothing waits."""
        return self._heap[0][0] if self._heap else inf

    def set(self, sleeper: S, when: float) -> None:
        """Wake it then and not before; infinity for never."""
        sleeper.due = when
        if when == inf:
            return
        self._taken += 1
        heappush(self._heap, (when, self._taken, sleeper))
        if len(self._heap) > self._sweep_at:
            self._sweep()

    def due(self, now: float) -> list[S]:
        """Those that are to be woken by now; their timers are over."""
        found, heap = [], self._heap
        while heap and heap[0][0] <= now:
            when, _, sleeper = heappop(heap)
            if sleeper.due == when:
                sleeper.due = inf
                found.append(sleeper)
        return found

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
        heapify(self._heap)
        self._sweep_at = max(LYING_MAX, 2 * len(self._heap))
