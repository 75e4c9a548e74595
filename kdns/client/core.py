"""The balancer without IO: the present set of endpoints, what is known of each, and who is picked next.

It is the `Source` of calls (kdns.client.calling). Whoever owns it calls `update` when the resolver has another set,
`pick` and `release` for each attempt, all from one thread at a time: an event loop, or the holder of a lock. What costs
more than a pick (medians, sweeps, ramps) is done once a second, by the pick that finds it due: an idle balancer needs
no timer. Not here: retries (kdns.client.calling), waiting and cancelling (kdns.client.balancer and its blocking twin).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import inf
from random import Random

from kdns.client import logs
from kdns.client.cells import UNMEASURED, Cell, Cells, State
from kdns.client.choice import Choice, Chooser
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import NoEndpoints, Saturated
from kdns.client.ewma import Floor, observe
from kdns.client.hooks import Ejected, Ended, Listeners, Picked, Returned
from kdns.client.options import BalancerOptions
from kdns.client.outcome import NEUTRAL, OK, Outcome
from kdns.client.outlier import Change, Event, OutlierDetection
from kdns.client.picker import Picker
from kdns.client.pickers import make_picker
from kdns.client.snapshot import Snapshot, status
from kdns.client.target import Target

# Between two looks at all endpoints: the floor of peak EWMA is defined by it, and sweeps and ramps need no more.
TICK = 1.0

_NOTHING = Choice((), False, (), None)


class Core:
    """One target's endpoints, picked from and judged.

    failed: called when an endpoint's failure is a reason to ask DNS anew; it must be quick.
    """

    def __init__(
        self, target: Target, options: BalancerOptions, rng: Random, listeners: Listeners, failed: Callable[[], object]
    ) -> None:
        self.set: EndpointSet | None = None
        self.outstanding = 0
        self._target = target
        self._options = options
        self._rng = rng
        self._listeners = listeners
        self._failed = failed
        self._cells = Cells()
        self._present: tuple[Cell, ...] = ()
        self._outliers = OutlierDetection(options.outliers, rng)
        self._chooser = Chooser(options)
        self._choice = _NOTHING
        self._picker: Picker | None = None
        self._floor = Floor(options.ewma)
        self._decay = options.ewma.decay
        self._most = options.max_outstanding_total
        self._due = -inf
        self._was_noticed = False
        self._penalties: dict[Cell, tuple[float, float]] = {}  # latency before, and until when; of cells that failed

    def update(self, endpoints: EndpointSet, now: float) -> None:
        """Another set holds from now on; cells of endpoints that stay are kept, others drain."""
        former, self.set = self.set, endpoints
        if former is not None and former.endpoints == endpoints.endpoints:
            return
        self._present = self._cells.of(endpoints, now)
        present = frozenset(self._present)
        self._penalties = {cell: one for cell, one in self._penalties.items() if cell in present}
        self._settle(self._outliers.swept(self._present, now), now)
        self._rebuild(now)
        if not self._was_noticed:
            self._was_noticed = logs.virtual_address(self._target, endpoints)

    def pick(
        self, now: float, key: bytes | None = None, tried: Collection[Cell] = (), idempotent: bool = False
    ) -> Cell:
        """The cell of the next attempt, counted as outstanding; `release` must follow.

        tried: cells that are taken only if there is no other. Raises NoEndpoints, and Saturated where
        `max_outstanding` attempts are on their way to each, or `max_outstanding_total` in all.
        """
        if now >= self._due:
            self._tick(now)
        if self.outstanding >= self._most:
            raise Saturated(f"{self._target.text}: {self.outstanding} attempts are out, max_outstanding_total")
        outliers = self._outliers
        cell = None
        if tried:
            cell = self._pick_other(now, key, tried)
        elif now >= (outliers.probe_at if idempotent else outliers.trial_at):
            cell = outliers.probe(self._present, now, idempotent)
        if cell is None:
            picker = self._picker
            cell = picker.pick(now, self._rng, key) if picker is not None else None
            if cell is None:
                cell = self._last_resort(())
                if cell is None:
                    raise self._nobody(now)
        cell.outstanding += 1
        self.outstanding += 1
        if self._listeners.picked:
            self._tell_picked(cell, len(tried) + 1)
        return cell

    def release(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        """An attempt that began at `started` has ended."""
        cell.outstanding -= 1
        self.outstanding -= 1
        if outcome is OK or (outcome.ok and not outcome.is_neutral):
            observe(cell, now - started, now, self._decay)
            if cell.state is _UP and not cell.suspected:
                cell.good += 1
                if self._listeners.ended or cell.is_leaving:
                    self._tell_ended(cell, outcome, started, now)
                return
        elif not outcome.is_neutral and not outcome.unreachable:
            self._penalise(cell, self._penalty(outcome, now - started), now)
        self._judge(cell, outcome, started, now)

    def reached(self, cell: Cell, started: float, now: float) -> None:
        """An attempt has a connection and hands its request to it: the endpoint can be reached."""
        if cell.times or cell.suspected:
            event = self._outliers.reached(cell, started, now)
            if event is not None:
                self._settle([event], now)
                self._rebuild(now)

    def leaving(self) -> list[Cell]:
        """Cells of endpoints that DNS does not name any more, with attempts still out."""
        return self._cells.leaving()

    def snapshot(self, now: float) -> Snapshot:
        """How it stands."""
        picked = frozenset(self._choice.picked)
        cells = (*self._present, *self._cells.leaving())
        known = self.set
        return Snapshot(
            self._target.text,
            tuple(status(cell, cell in picked, now) for cell in cells),
            self.outstanding,
            now - known.resolved_at if known is not None else inf,
            known is None or known.is_stale(now),
            known.problem if known is not None else "not resolved yet",
            self._choice.is_panic,
            self._floor.value,
        )

    def _tick(self, now: float) -> None:
        """What is due once a second."""
        self._due = now + TICK
        self._end_penalties(now)
        self._floor.update(self._present, now)
        events = self._outliers.swept(self._present, now)
        self._settle(events, now)
        if events or self._options.slow_start is not None:
            self._rebuild(now)

    def _rebuild(self, now: float) -> None:
        """Choose anew who may be picked; readers go on with the former picker until the one assignment."""
        former, self._choice = self._choice, self._chooser.choose(self._present, now)
        choice = self._choice
        if choice.is_panic and not former.is_panic:
            up = sum(cell.state is _UP for cell in self._present)
            logs.panic(self._target.text, up, len(self._present))
        self._floor.update(self._present, now)
        self._picker = (
            make_picker(self._options.policy, choice.picked, self._options, choice.weights, self._floor, now)
            if choice.picked
            else None
        )

    def _pick_other(self, now: float, key: bytes | None, tried: Collection[Cell]) -> Cell | None:
        """One that was not tried: of those that are up, else of those that could not be reached."""
        picker = self._picker
        cell = picker.pick_other(now, self._rng, key, tried) if picker is not None else None
        return cell if cell is not None else self._last_resort(tried)

    def _last_resort(self, tried: Collection[Cell]) -> Cell | None:
        """Of those that could not be reached, the one that is to be tried again soonest."""
        room = self._options.max_outstanding
        left = [cell for cell in self._choice.last_resorts if cell not in tried and cell.outstanding < room]
        return min(left, key=lambda cell: cell.until) if left else None

    def _penalty(self, outcome: Outcome, elapsed: float) -> float:
        """What a failure counts as, in seconds: never less than it took."""
        ewma = self._options.ewma
        asked = outcome.again_after or 0.0
        return max(elapsed, ewma.penalty, min(asked, ewma.penalty_most))

    def _penalise(self, cell: Cell, penalty: float, now: float) -> None:
        """A failure counts as a latency, for as long as it says.

        By its decay alone, 5 s would keep a fast endpoint from all load for more than a minute after one failure.
        """
        former, _ = self._penalties.get(cell, (cell.ewma, now))
        self._penalties[cell] = former, now + penalty
        observe(cell, penalty, now, self._decay)

    def _end_penalties(self, now: float) -> None:
        """Those whose time is over have the latency that they had before."""
        for cell, (former, until) in list(self._penalties.items()):
            if now >= until:
                del self._penalties[cell]
                cell.ewma, cell.measured_at = former, now

    def _judge(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        """Whatever is not simply good."""
        event = self._outliers.ended(cell, outcome, self._present, started, now)
        if event is not None:
            self._settle([event], now)
            self._rebuild(now)
        if outcome.unreachable or (event is not None and event.change is not Change.RETURNED):
            self._failed()
        if outcome is NEUTRAL and now == started:  # a pick that a call took back is no attempt
            self._forget_if_gone(cell)
        else:
            self._tell_ended(cell, outcome, started, now)

    def _settle(self, events: list[Event], now: float) -> None:
        for event in events:
            _SETTLE[event.change](self, event, now)

    def _is_out(self, event: Event, now: float) -> None:
        seconds = event.until - now
        logs.ejected(self._target.text, event.cell.endpoint, event.cause, seconds)
        told = Ejected(
            self._target.text, event.cell.endpoint, seconds, event.cause, event.change is not Change.UNREACHABLE
        )
        for hook in self._listeners.ejected:
            hook(told)

    def _is_back(self, event: Event, now: float) -> None:
        """It starts like a new one: what it was measured at belongs to the time when it failed."""
        self._penalties.pop(event.cell, None)
        event.cell.ewma = UNMEASURED
        event.cell.measured_at = now
        logs.returned(self._target.text, event.cell.endpoint)
        for hook in self._listeners.returned:
            hook(Returned(self._target.text, event.cell.endpoint))

    def _nobody(self, now: float) -> Exception:
        """Why nobody can be picked."""
        known = self.set
        if known is None:
            return NoEndpoints(self._target.text, "not resolved yet")
        if not known.endpoints:
            return NoEndpoints(self._target.text, known.problem or "none in DNS", max(0.0, now - known.since))
        if self._choice.picked or self._choice.last_resorts:
            return Saturated(f"{self._target.text}: all {len(known)} endpoints have max_outstanding attempts out")
        return NoEndpoints(self._target.text, f"all {len(known)} are out", 0.0)

    def _tell_picked(self, cell: Cell, attempt: int) -> None:
        event = Picked(self._target.text, cell.endpoint, cell.outstanding, attempt)
        for hook in self._listeners.picked:
            hook(event)

    def _forget_if_gone(self, cell: Cell) -> None:
        if cell.is_leaving and not cell.outstanding:
            self._cells.forget(cell)

    def _tell_ended(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        self._forget_if_gone(cell)
        if self._listeners.ended:
            event = Ended(self._target.text, cell.endpoint, outcome, now - started)
            for hook in self._listeners.ended:
                hook(event)


_UP = State.UP  # reading a member of an enumeration costs more than comparing it
_SETTLE: dict[Change, Callable[[Core, Event, float], None]] = {
    Change.EJECTED: Core._is_out,
    Change.UNREACHABLE: Core._is_out,
    Change.RETURNED: Core._is_back,
}
