"""When a child that died is started again, and when a silent worker counts as stuck. Pure."""

from __future__ import annotations

FIRST_DELAY = 0.1  # for the second death in a row; the first is followed at once, its queries are waiting
MAX_DELAY = 5.0  # a cause that stays (out of memory, a bug in the data) costs one fork every five seconds
STABLE_SECONDS = 10.0  # a child that lived so long did not die of what killed the one before
SILENCE_SECONDS = 1.0  # a worker comes round its loop every 0.2 s, whatever it does


class Backoff:
    """Delays between the restarts of one child: none at first, then doubling up to MAX_DELAY."""

    def __init__(self) -> None:
        self._delay = 0.0

    def next_delay(self, lived: float) -> float:
        """How long to wait now that the child has died after `lived` seconds."""
        if lived >= STABLE_SECONDS:
            self._delay = 0.0
        delay = self._delay
        self._delay = min(MAX_DELAY, max(FIRST_DELAY, 2 * delay))
        return delay


class Watchdog:
    """Judges silence fairly: where the judge itself was late (a machine that was stopped), nobody is to blame.

    Times are monotonic seconds.
    """

    def __init__(self, now: float, interval: float) -> None:
        self._interval = interval
        self._last = now
        self._fair_from = now

    def tick(self, now: float) -> None:
        """To be called every `interval` seconds."""
        if now - self._last > 2 * self._interval:
            self._fair_from = now
        self._last = now

    def is_silent(self, heartbeat: float, now: float) -> bool:
        """Whether a worker with this last heartbeat is stuck."""
        return now - max(heartbeat, self._fair_from) > SILENCE_SECONDS
