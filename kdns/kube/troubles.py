"""What of troubles and remarks is worth a line in the log, so that neither an outage nor bad objects flood it.

A time of trouble begins with the first failure and ends when everything is well again; each cause is told once in it,
and its end with how long it took. A cause that comes and goes is not told each time: a load balancer may cut every
quiet watch each minute. Remarks on objects are told once each, and not too many in a minute.
Not here: what goes wrong (kdns.kube.failures, kdns.kube.refusals).
"""

from __future__ import annotations

import math

from kdns.kube.failures import Trouble
from kdns.kube.request import Notice, Severity

REPEAT_SECONDS = 600.0  # for so long a cause that comes back is not told again; how stale data are is told elsewhere

REMARKS_PER_WINDOW = 20  # an operator who sees these knows what to look for
WINDOW_SECONDS = 60.0
REMEMBERED_MAX = 4096  # remarks that are not repeated, 32 octets each; past this many all are told anew


class Troubles:
    """The times of trouble of one resource; `subject` begins each line. Times are monotonic seconds."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._told_at: dict[str, float] = {}  # by cause: HTTP statuses, faults and a few more, so it is bounded
        self._told: set[str] = set()  # causes of this time of trouble
        self._failures = 0
        self._since = 0.0

    def begin(self, trouble: Trouble, consequence: str, now: float) -> list[Notice]:
        """Something went wrong."""
        if not self._failures:
            self._since = now
        self._failures += 1
        if trouble.cause in self._told or now - self._told_at.get(trouble.cause, -math.inf) < REPEAT_SECONDS:
            return []
        self._told.add(trouble.cause)
        self._told_at[trouble.cause] = now
        return [Notice(trouble.severity, f"{self._subject}: {trouble.text}; {consequence}")]

    def end(self, now: float) -> list[Notice]:
        """All is well, again or still."""
        failures, self._failures = self._failures, 0
        told, self._told = self._told, set()
        if not told:
            return []
        many = "1 failure" if failures == 1 else f"{failures} failures"
        return [Notice(Severity.INFO, f"{self._subject}: watched again after {now - self._since:.1f} s and {many}")]


class Remarks:
    """Chooses the remarks that are told."""

    def __init__(self) -> None:
        self._remembered: set[int] = set()
        self._window_ends = 0.0
        self._told = 0
        self._untold = 0

    def admit(self, remarks: list[Notice], now: float) -> list[Notice]:
        """Those of these remarks that are told now."""
        return [told for remark in remarks for told in self._admit(remark, now)]

    def _admit(self, remark: Notice, now: float) -> list[Notice]:
        mark = hash(remark.text)
        if mark in self._remembered:
            return []
        summary = self._open_window(now) if now >= self._window_ends else []
        if self._told >= REMARKS_PER_WINDOW:
            self._untold += 1
            return summary
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered.add(mark)
        self._told += 1
        return [*summary, remark]

    def _open_window(self, now: float) -> list[Notice]:
        untold, self._untold, self._told = self._untold, 0, 0
        self._window_ends = now + WINDOW_SECONDS
        return [Notice(Severity.INFO, f"{untold} more remarks on objects were left out")] if untold else []
