"""Questions that no upstream could answer, and for how long they are not asked again (RFC 9520 section 3.2).

Not here: what is told meanwhile (kdns.forward.resolver).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from kdns.forward.reply import Answer
from kdns.wire.lifetime import MAX_FAILURE_SECONDS, failure_seconds

# Questions noted as failing: what a flood of names that fail pushes out costs one flight each.
FAILURES_MAX = 4096

Key = tuple[bytes, int]


class Failure(NamedTuple):
    """What is known of a question that failed. times: in a row. answer: the last upstream's, if one answered."""

    until: float
    times: int
    answer: Answer | None


class Failures:
    """The failures of one group. longest: seconds for which one is kept at most, 0 to keep none."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._known: OrderedDict[Key, Failure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Key, now: float) -> Failure | None:
        """The failure that still counts."""
        found = self._known.get(key)
        return found if found is not None and now < found.until else None

    def note(self, key: Key, answer: Answer | None, now: float) -> float:
        """It failed: for twice as long as before, if it failed again soon after. Returns the seconds."""
        if not self._longest:
            return 0.0
        former = self._known.pop(key, None)
        recent = former is not None and now < former.until + MAX_FAILURE_SECONDS
        times = former.times + 1 if former is not None and recent else 1
        seconds = failure_seconds(times, self._longest)
        self._known[key] = Failure(now + seconds, times, answer)
        if len(self._known) > FAILURES_MAX:
            self._known.popitem(last=False)
        return seconds

    def forget(self, key: Key) -> None:
        """It was answered."""
        if self._known:
            self._known.pop(key, None)
