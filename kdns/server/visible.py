"""Which changes every worker answers from, and since when: what the log says of it.

A change counts as visible when all workers have acknowledged its generation. Not here: the acknowledging
(kdns.server.publisher).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

MAX_UNSEEN = 1000  # changes that some worker has not acknowledged; the log loses the oldest, no answer does


@dataclass(frozen=True, slots=True)
class _Unseen:
    generation: int
    since: float
    text: str


class Visibility:
    """Changes on their way to the workers. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._unseen: deque[_Unseen] = deque(maxlen=MAX_UNSEEN)

    def published(self, generation: int, since: float, text: str) -> None:
        """A change is on its way. since: when it was found. text: what it is, "" for what is not to be logged."""
        if text:
            self._unseen.append(_Unseen(generation, since, text))

    def visible(self, generation: int, now: float) -> Iterator[str]:
        """A line for each change that has become visible with this generation."""
        while self._unseen and self._unseen[0].generation <= generation:
            change = self._unseen.popleft()
            took_ms = (now - change.since) * 1000
            yield f"visible: {change.text} (generation {change.generation}, {took_ms:.0f} ms)"
