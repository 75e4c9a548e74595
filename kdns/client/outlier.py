"""When an endpoint is taken out, for how long, and what brings it back.

Two ways out. EJECTED, as it answers wrongly or not: so many failures in a row (Envoy's and Finagle's first line), fewer
if it left all of them without any answer, or a success rate far below that of its peers (gRPC A50, Envoy). UNREACHABLE,
as no connection could be had: at once, as nothing can be clearer, and outside the largest share that may be ejected.
Waits double with each time in a row, and are lengthened by chance (linkerd2-proxy). A set of one is never taken out,
neither way: there is nobody else.

Two ways back. After its wait an endpoint is PROBING: the first attempt of one call goes there, nobody else, and
decides. For an EJECTED one that is an idempotent call, so that what a sick server does to it can be undone elsewhere;
for an UNREACHABLE one any call will do, as without a connection nothing is sent. An app whose calls are never
idempotent has nothing to probe with: after four times the wait one such call goes to an EJECTED endpoint all the same,
as it would be lost for ever otherwise. A good outcome of an attempt that began after the endpoint was taken out (in
panic, or as a last resort) brings it back too. What began before says nothing of how it is now and never counts.

Each ejection in a row doubles the wait; each interval without one takes a doubling back (A50). A connection that was
had forgets all failed ones, as it is another process now.

Not here: who is picked among those that are up, panic (kdns.client.choice); latency (kdns.client.ewma).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from math import floor, fsum, inf, sqrt
from random import Random
from typing import NamedTuple

from kdns.client.backoff import doubled, lengthened
from kdns.client.cells import Cell, State
from kdns.client.options import Outliers
from kdns.client.outcome import Outcome

# A success rate must be at least so much below the mean as well. Ours, not A50's: among a hundred endpoints without
# any failure the deviation is next to nothing, and one failure in a hundred requests would eject.
_RATE_GAP_LEAST = 0.05
# How many waits an ejected endpoint is left to calls that are idempotent, before one that is not must do: what it asks
# of a sick server cannot be undone.
_UNSAFE_WAITS = 4
_ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996

# Reading a member of an enumeration costs more than comparing it.
_UP, _PROBING, _EJECTED, _UNREACHABLE = State.UP, State.PROBING, State.EJECTED, State.UNREACHABLE


class Change(Enum):
    """What became of an endpoint."""

    EJECTED = "ejected"
    UNREACHABLE = "unreachable"
    RETURNED = "returned"


class Event(NamedTuple):
    """Something for hooks, the log, and whoever makes pickers. cause: for people. until: when it is tried again."""

    change: Change
    cell: Cell
    cause: str
    until: float


class _Record:
    """What is kept of a cell that is out, or was not long ago. There are no more of them than cells.

    since: when it last went out or came back. wait: how long it is out. probed_at: when its probe began.
    """

    __slots__ = ("is_unreachable", "probed_at", "since", "wait")

    def __init__(self) -> None:
        self.since = -inf
        self.wait = 0.0
        self.probed_at = inf
        self.is_unreachable = False


class OutlierDetection:
    """Decides for the cells of one balancer; changes their state. options: None for no detection at all.

    probe_at, trial_at: from then on the first attempt of a call that is idempotent (probe_at) or is not (trial_at)
    should ask `probe` where to go; inf while nobody is to be probed.
    """

    def __init__(self, options: Outliers | None, rng: Random) -> None:
        self.probe_at = inf
        self.trial_at = inf
        self._options = options
        self._rng = rng
        self._records: dict[Cell, _Record] = {}
        self._rates_at = -inf

    # What happened.

    def ended(self, cell: Cell, outcome: Outcome, cells: Sequence[Cell], started: float, now: float) -> Event | None:
        """An attempt that began at `started` ended; `outstanding` is without it already.

        cells: all present ones. For a good outcome of a cell that is not suspected, `cell.good += 1` does the same.
        """
        if outcome.is_neutral:
            self._learned_nothing(cell, started, now)
            return None
        if outcome.ok:
            cell.good += 1
            if not cell.suspected:
                return None
        else:
            cell.bad += 1
        if self._options is None or (cell.is_leaving and cell.state is not _PROBING):
            return None  # but a probe always decides, or an endpoint that comes back would wait for it for ever
        if outcome.unreachable:
            return self._not_connected(cell, outcome, cells, started, now)
        if cell.state is _UP:
            return self._ended_while_up(cell, outcome, cells, started, now)
        return self._ended_while_out(cell, outcome, started, now)

    def reached(self, cell: Cell, started: float, now: float) -> Event | None:
        """An attempt that began at `started` has its connection: the endpoint is not unreachable any more."""
        record = self._records.get(cell)
        if record is None or cell.state is _UP or not record.is_unreachable or _is_late(cell, record, started):
            return None
        return self._return(cell, record, now, "connected")

    def probe(self, cells: Collection[Cell], now: float, idempotent: bool) -> Cell | None:
        """The endpoint that this call's first attempt must go to, which is PROBING from now on; None if none is due.

        Whoever asks must send an attempt there and tell how it ended.
        """
        due = [
            cell
            for cell, record in self._records.items()
            if _waits(cell) and (cell.until if idempotent else _trial_at(cell, record)) <= now and cell in cells
        ]
        if not due:
            self._forget_gone(cells)
            self._set_times()
            return None
        cell = min(due, key=_until)
        cell.state = _PROBING
        self._records[cell].probed_at = now
        self._set_times()
        return cell

    def swept(self, cells: Sequence[Cell], now: float) -> list[Event]:
        """What time alone brings about; to be called each second or so, and after each change of the set."""
        options = self._options
        if options is None:
            return []
        events = self._by_time(cells, now)
        if now >= self._rates_at:
            self._rates_at = now + options.interval
            for cell in cells:
                record = self._records.get(cell)
                if record is not None and cell.state is _UP and cell.times and record.since <= now - options.interval:
                    cell.times -= 1
            events += self._by_rates(cells, options, now)
        self._forget_gone(cells)
        self._set_times()
        return events

    # How it is judged.

    def _learned_nothing(self, cell: Cell, started: float, now: float) -> None:
        """But that an answer takes at least so long. A probe that was cancelled is free for the next call."""
        if now - started > cell.ewma:
            cell.ewma, cell.measured_at = now - started, now
        record = self._records.get(cell)
        if cell.state is _PROBING and record is not None and started >= record.probed_at:
            cell.state = _UNREACHABLE if record.is_unreachable else _EJECTED
            self._set_times()

    def _ended_while_up(
        self, cell: Cell, outcome: Outcome, cells: Sequence[Cell], started: float, now: float
    ) -> Event | None:
        if outcome.ok:
            cell.failures, cell.silences, cell.suspected = 0, 0, False
            return None
        record = self._records.get(cell)
        if record is not None and started < record.since:
            return None  # it began before the endpoint came back
        cell.failures += 1
        cell.silences = cell.silences + 1 if outcome.is_silence else 0
        cell.suspected = True
        options = self._options
        if options is None or not _has_failed_enough(cell, options) or not self._may_eject(cells, options):
            return None
        return self._eject(cell, options, now, f"{cell.failures} failures in a row, the last: {outcome.text}")

    def _ended_while_out(self, cell: Cell, outcome: Outcome, started: float, now: float) -> Event | None:
        record, options = self._records.get(cell), self._options
        if options is None or record is None or _is_late(cell, record, started):
            return None
        if outcome.ok:
            return self._return(cell, record, now, "answers again")
        if cell.state is not _PROBING:
            return None  # panic, or a last resort: one wait is made longer once, not by each failure within it
        if record.is_unreachable:
            return self._lose(cell, options, now, f"trial failed: {outcome.text}")
        return self._eject(cell, options, now, f"probe failed: {outcome.text}")

    def _not_connected(
        self, cell: Cell, outcome: Outcome, cells: Sequence[Cell], started: float, now: float
    ) -> Event | None:
        options, record = self._options, self._records.get(cell)
        if options is None or len(cells) < 2:
            return None
        if record is not None and (
            (cell.state is _UP and started < record.since)  # it was refused before the endpoint came back
            or (cell.state is _UNREACHABLE and now < cell.until)  # known
            or (cell.state is _PROBING and started < record.probed_at)
        ):
            return None
        return self._lose(cell, options, now, f"no connection: {outcome.text}")

    def _may_eject(self, cells: Sequence[Cell], options: Outliers) -> bool:
        """Whether one more may go: the share, but at least one, and somebody must stay."""
        ejected = up = 0
        for cell in cells:
            if cell.state is _UP:
                up += 1
            elif cell.state is not _UNREACHABLE:
                record = self._records.get(cell)
                ejected += record is None or not record.is_unreachable
        most = floor(options.ejected_most * len(cells) + _ROUNDING)
        return up >= 2 and options.ejected_most > 0 and ejected < max(1, most)

    # Out and back.

    def _eject(self, cell: Cell, options: Outliers, now: float, cause: str) -> Event:
        cell.times += 1
        wait = doubled(options.ejection_first, options.ejection_most, cell.times - 1)
        return self._take_out(cell, _EJECTED, lengthened(wait, options.jitter, self._rng), now, cause)

    def _lose(self, cell: Cell, options: Outliers, now: float, cause: str) -> Event:
        record = self._records.get(cell)
        is_again = cell.state is not _UP and record is not None and record.is_unreachable
        cell.times = cell.times + 1 if is_again else 1
        wait = doubled(options.reconnect_first, options.reconnect_most, cell.times - 1)
        return self._take_out(cell, _UNREACHABLE, lengthened(wait, options.jitter, self._rng), now, cause)

    def _take_out(self, cell: Cell, state: State, wait: float, now: float, cause: str) -> Event:
        record = self._records.setdefault(cell, _Record())
        record.since, record.wait, record.probed_at = now, wait, inf
        record.is_unreachable = state is _UNREACHABLE
        cell.state, cell.until, cell.suspected = state, now + wait, True
        cell.failures = cell.silences = 0
        self._set_times()
        return Event(Change.UNREACHABLE if record.is_unreachable else Change.EJECTED, cell, cause, cell.until)

    def _return(self, cell: Cell, record: _Record, now: float, cause: str) -> Event:
        if record.is_unreachable:
            cell.times = 0
        record.since, record.probed_at = now, inf
        cell.state, cell.failures, cell.silences, cell.suspected = _UP, 0, 0, False
        cell.window = (cell.good, cell.bad)  # what it did before says nothing of its rate from now on
        self._set_times()
        return Event(Change.RETURNED, cell, cause, now)

    # What time does.

    def _by_time(self, cells: Sequence[Cell], now: float) -> list[Event]:
        """Whoever is left alone is up, whether it waits or is being probed: there is nobody else."""
        if len(cells) != 1:
            return []
        record = self._records.get(cells[0])
        if record is None or cells[0].state is _UP:
            return []
        return [self._return(cells[0], record, now, "it is the only one")]

    def _by_rates(self, cells: Sequence[Cell], options: Outliers, now: float) -> list[Event]:
        """Eject whose success rate of this interval is far below the others' (A50), the worst first."""
        rates = {}
        for cell in cells:
            good, bad = cell.good - cell.window[0], cell.bad - cell.window[1]
            cell.window = (cell.good, cell.bad)
            if cell.state is _UP and good + bad >= max(1, options.rate_requests_least):
                rates[cell] = good / (good + bad)
        if len(rates) < max(2, options.rate_hosts_least):
            return []
        mean = fsum(rates.values()) / len(rates)
        deviation = sqrt(fsum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        bound = mean - max(options.stdev_factor * deviation, _RATE_GAP_LEAST)
        events = []
        for cell, rate in sorted(rates.items(), key=_rate):
            if rate < bound - _ROUNDING and self._may_eject(cells, options):
                cause = f"success rate {rate:.1%} beside {mean:.1%} of its peers"
                events.append(self._eject(cell, options, now, cause))
        return events

    def _forget_gone(self, cells: Collection[Cell]) -> None:
        """Drop records of cells that are in no set any more, and of those that have been good for long."""
        present = frozenset(cells)
        self._records = {
            cell: record
            for cell, record in self._records.items()
            if (cell in present and (cell.state is not _UP or cell.times or cell.outstanding))
            or (cell not in present and cell.outstanding)
        }

    def _set_times(self) -> None:
        probe_at = trial_at = inf
        for cell, record in self._records.items():
            if _waits(cell) and not cell.is_leaving:
                probe_at = min(probe_at, cell.until)
                trial_at = min(trial_at, _trial_at(cell, record))
        self.probe_at, self.trial_at = probe_at, trial_at


def _waits(cell: Cell) -> bool:
    return cell.state is _EJECTED or cell.state is _UNREACHABLE


def _trial_at(cell: Cell, record: _Record) -> float:
    """From when on any call may probe it."""
    return cell.until if record.is_unreachable else cell.until + (_UNSAFE_WAITS - 1) * record.wait


def _has_failed_enough(cell: Cell, options: Outliers) -> bool:
    return 0 < options.consecutive <= cell.failures or 0 < options.silent <= cell.silences


def _is_late(cell: Cell, record: _Record, started: float) -> bool:
    """Whether an attempt of a cell that is out began too early to say how it is now."""
    return started < record.probed_at if cell.state is _PROBING else started <= record.since


def _until(cell: Cell) -> float:
    return cell.until


def _rate(item: tuple[Cell, float]) -> float:
    return item[1]
