"""What the log is told of a cluster whose answers are not current: when that begins, now and then for how long it has
been so, and when it is over.

Not here: why it is so, which whoever asks the API server tells (kdns.kube.troubles); what is answered meanwhile, for
that depends on who answers (kdns.server.control).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kdns.kube.request import Notice, Severity

# Soon after it is noticed, and then seldom enough not to be all that the log shows.
TOLD_AT = (5.0, 60.0, 600.0, 3600.0)
TOLD_EVERY = 3600.0  # from then on

_STALE = "{server} has not been heard for {span}: answers stay as they were then until it is back"
_LACKING = "{server} has not told everything for {span}: it is asked again and again"


class Outage:
    """Times are monotonic seconds. wake_at: when there is something to say next, if nothing happens before."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._is_told = False
        self.wake_at = math.inf

    def notices(self, since: float | None, is_lacking: bool, now: float) -> Iterator[Notice]:
        """What there is to say now.

        since: when the data began to be stale, None if it is current. is_lacking: whether it was never whole.
        """
        if since is None:
            if self._is_told:
                yield Notice(Severity.INFO, f"{self._server} is heard again: the answers are current")
            self._is_told, self.wake_at = False, math.inf
            return
        if self.wake_at == math.inf:  # noticed now, and maybe over in a moment
            self.wake_at = now + TOLD_AT[0]
        if now >= self.wake_at:
            self._is_told = True
            self.wake_at = now + TOLD_AT[0] if now - since < TOLD_AT[0] else _next(since, now)
            text = _LACKING if is_lacking else _STALE
            yield Notice(Severity.WARNING, text.format(server=self._server, span=_span(now - since)))


def _next(since: float, now: float) -> float:
    """When it is told of next. By times and not by ages: `since + age` may be now although `now - since` is less."""
    hours = (now - since) // TOLD_EVERY
    ages = (*TOLD_AT, TOLD_EVERY * (hours + 1), TOLD_EVERY * (hours + 2))
    return next(since + age for age in ages if since + age > now)


def _span(seconds: float) -> str:
    """A time for people: 12 s, 5 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
