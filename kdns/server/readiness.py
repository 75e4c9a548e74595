"""Whether queries should be sent here, and if not, why not. Pure.

It says what is so at this moment: of the sources by the policy that the operator chose, of the workers, and of the
end, which it announces before anything else changes. Files have no part in it: there is no worker before they are
read. Not here: who asks (kdns.server.admin), what the sources tell (kdns.server.status).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kdns.corefile import Condition, ReadyWhen
from kdns.observe.status import Word, kinds_in
from kdns.server.status import SourceStatus

SHUTTING_DOWN = "Shutting down"  # CoreDNS's words


def reasons_not_ready(
    when: ReadyWhen, sources: Iterable[SourceStatus], workers: str, is_terminating: bool, now_ns: int
) -> list[str]:
    """Why queries should not be sent here, a line for each reason; none if they should.

    workers: why those that there are do not suffice, "" if they do.
    """
    if is_terminating:
        return [SHUTTING_DOWN]
    reasons = [f"workers: {workers}"] if workers else []
    watched = [source for source in sources if source.origin.is_watched]
    judged = ((source, _JUDGES[when.condition](source, when, now_ns)) for source in watched)
    return reasons + [f"kubernetes {source.origin.label}: {reason}" for source, reason in judged if reason]


def _whole(source: SourceStatus, _: ReadyWhen, __: int) -> str:
    if not source[Word.IS_LOADED]:
        return "nothing is known yet"
    lacking = kinds_in(source[Word.LACKS])
    return f"not wholly known yet: {', '.join(lacking)}" if lacking else ""


def _synced(source: SourceStatus, when: ReadyWhen, now_ns: int) -> str:
    if source[Word.IS_SYNCED]:
        return ""
    return _whole(source, when, now_ns) or "known from a snapshot only"


def _fresh(source: SourceStatus, when: ReadyWhen, now_ns: int) -> str:
    unsynced = _synced(source, when, now_ns)
    age_ns = source.staleness_ns(now_ns)
    if unsynced or age_ns <= when.max_staleness_ns:
        return unsynced
    return f"the data is {age_ns / 1e9:.0f} s old, more than the {when.max_staleness_ns / 1e9:g} s allowed"


def _serving(_: SourceStatus, __: ReadyWhen, ___: int) -> str:
    return ""


_JUDGES: dict[Condition, Callable[[SourceStatus, ReadyWhen, int], str]] = {
    Condition.WHOLE: _whole,
    Condition.SYNCED: _synced,
    Condition.SERVING: _serving,
    Condition.FRESH: _fresh,
}


class Transitions:
    """Says when readiness is lost and when it is back, for the log; that it begins is told elsewhere."""

    def __init__(self) -> None:
        self._was_ready = False
        self._is_lost = False

    def line(self, reasons: list[str]) -> str | None:
        """What to log now that these are the reasons not to be ready."""
        was_lost, self._is_lost = self._is_lost, self._was_ready and bool(reasons)
        self._was_ready = self._was_ready or not reasons
        if self._is_lost == was_lost:
            return None
        return f"not ready: {'; '.join(reasons)}" if self._is_lost else "ready again"
