"""How long to wait before an API server is asked again: client-go's backoff (tools/cache/reflector.go, NewReflector;
apimachinery/pkg/util/wait/backoff.go, exponentialBackoffManagerImpl).

With it an API server that is not well gets one request in 30 to 60 s from each reflector, and the reflectors of a
whole fleet do not come back in step. client-go counts all failures together, and forgets them after two minutes
without one: an API server that restarts each minute is followed ever later, up to a minute. Here it depends on what
the next request would cost the API server:

    list      much: all objects. Its failures are forgotten once a watch has stood for as long as the longest delay,
              so that in a circle of lists and watches that break there are no more lists than the backoff allows.
    watch     little, for it goes on from where the last one ended. Its failures are forgotten sooner. A server that
              answers, and ends every watch at once, is asked as seldom as one that does not answer.
    absence   nothing, since nobody is there who answers. It makes no other wait longer (see Request.when_heard_of).

Not here: why to wait, and what an API server itself asks for (Retry-After).
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
# A watch that has stood for so long has shown that the API server is well. Where each one breaks just then, as behind
# an impatient balancer, that is a request in 6 s, and a reflector that is blind for a seventh of the time.
STEADY_SECONDS = 5.0


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

    def reset(self) -> None:
        """Begin anew: the API server is well."""
        self._delay = FIRST_DELAY


class Pace:
    """The backoffs of one reflector; see the module's docstring."""

    def __init__(self, rng: Random) -> None:
        self.list = Backoff(rng)
        self.watch = Backoff(rng)
        self.absence = Backoff(rng)

    def stood(self, seconds: float) -> None:
        """A watch has stood for so long."""
        if seconds >= STEADY_SECONDS:
            self.watch.reset()
            self.absence.reset()
        if seconds >= MAX_DELAY:
            self.list.reset()
