"""How long to wait before an API server is asked again: client-go's backoff (tools/cache/reflector.go, NewReflector;
apimachinery/pkg/util/wait/backoff.go, exponentialBackoffManagerImpl).

With it an API server that is not well gets one request in 30 to 60 s from each reflector, and the reflectors of a
whole fleet do not come back in step. Not here: why to wait, and what an API server itself asks for (Retry-After).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

FIRST_DELAY = 0.8
FACTOR = 2.0
MAX_DELAY = 30.0
JITTER = 1.0  # a delay d becomes one of [d, d + JITTER * d)
RESET_AFTER = 120.0  # so long without a backoff, the API server is taken to be well


class Backoff:
    """The delays of one client; times are monotonic seconds."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._delay = FIRST_DELAY
        self._last = -RESET_AFTER

    def next_delay(self, now: float) -> float:
        """How long to wait now."""
        if now - self._last > RESET_AFTER:
            self._delay = FIRST_DELAY
        self._last = now
        delay = self._delay
        self._delay = min(MAX_DELAY, FACTOR * delay)
        return delay * (1 + JITTER * self._rng.random())
