"""How long changes of the cluster take until every worker answers from them, from the moment that they happened.

CoreDNS's `kubernetes_dns_programming_duration_seconds`: of what the endpoint slice controller says when it was
triggered, for headless services. Not here: the acknowledging (kdns.server.publisher), what the log says of it
(kdns.server.visible).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kdns.observe.families import PROGRAMMING, PROGRAMMING_BOUNDS, SUM, Sample
from kdns.server.status import SourceStatus

UNSEEN_MAX = 1000  # changes that some worker has not acknowledged; beyond that the oldest are not timed
_KIND = "headless_with_selector"


class _Unseen(NamedTuple):
    generation: int
    status: SourceStatus
    triggered: Sequence[float]


class Programming:
    """Changes on their way to the workers. Times are by the unix clock."""

    def __init__(self) -> None:
        self._unseen: deque[_Unseen] = deque(maxlen=UNSEEN_MAX)

    def published(self, generation: int, status: SourceStatus, triggered: Sequence[float]) -> None:
        """A change of a source is on its way. triggered: when happened what it shows."""
        if triggered:
            self._unseen.append(_Unseen(generation, status, triggered))

    def visible(self, generation: int, now: float) -> None:
        """Every worker answers from this generation."""
        while self._unseen and self._unseen[0].generation <= generation:
            _, status, triggered = self._unseen.popleft()
            for at in triggered:
                took = max(0.0, now - at)
                status.programming[bisect_left(PROGRAMMING_BOUNDS, took)] += 1
                status.programming[-1] += int(took * 1e9)


def programming_samples(statuses: Iterable[SourceStatus]) -> dict[Sample, int]:
    """What was observed of all sources; nothing before there is something."""
    found: dict[Sample, int] = {}
    for status in statuses:
        *buckets, sum_ns = status.programming.tolist()
        for bucket, count in ((SUM, sum_ns), *enumerate(buckets)):
            if count:
                sample = Sample(PROGRAMMING, (_KIND,), bucket)
                found[sample] = found.get(sample, 0) + count
    return found
