"""When something is to be looked at again: one queue, and a heap for what does not fit into it.

Nearly all that waits does so for the same delay, so that what is set last is due last, and stands in order by itself;
a heap takes the rest. A timer that is set anew leaves its old entry where it is, to be skipped when it comes up: most
flights end long before their timer, and to find their entries would cost more than to let them lie. Not here: what is
done then.
"""

from __future__ import annotations

from collections import deque
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
        self._queue: deque[tuple[float, int, S]] = deque()
        self._heap: list[tuple[float, int, S]] = []
        self._last = -inf  # what is due last in the queue
        self._taken = 0  # a number for each entry: sleepers have no order
        self._sweep_at = LYING_MAX

    @property
    def next_due(self) -> float:
        """When to look next; at times too early, never too late. Infinity if nothing waits."""
        queued = self._queue[0][0] if self._queue else inf
        heaped = self._heap[0][0] if self._heap else inf
        return queued if queued < heaped else heaped

    def set(self, sleeper: S, when: float) -> None:
        """Wake it then and not before; infinity for never."""
        sleeper.due = when
        if when == inf:
            return
        self._taken += 1
        entry = when, self._taken, sleeper
        if when >= self._last or not self._queue:
            self._last = when
            self._queue.append(entry)
        else:
            heappush(self._heap, entry)
        if len(self._queue) + len(self._heap) > self._sweep_at:
            self._sweep()

    def due(self, now: float) -> list[S]:
        """Those that are to be woken by now, in the order of their times; their timers are over."""
        found, queue, heap = [], self._queue, self._heap
        while queue and queue[0][0] <= now:
            entry = queue.popleft()
            if entry[2].due == entry[0]:
                found.append(entry)
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            if entry[2].due == entry[0]:
                found.append(entry)
        return [sleeper for when, _, sleeper in sorted(found) if _woken(sleeper, when)]

    def _sweep(self) -> None:
        self._queue = deque([entry for entry in self._queue if entry[2].due == entry[0]])
        self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
        heapify(self._heap)
        self._sweep_at = max(LYING_MAX, 2 * (len(self._queue) + len(self._heap)))


def _woken(sleeper: Sleeper, when: float) -> bool:
    """End its timer; False if another entry for the same time has done so."""
    is_due = sleeper.due == when
    sleeper.due = inf
    return is_due
