"""Which endpoints may be picked at all: our subset, the priority in use, our zone, and of those who is up.

In this order, each of what the former left. Whoever is out is not picked, but for two cases. Panic (Envoy): if fewer
than a share is up, those ejected are used as well, for then the fault is more likely ours, or of what they share. And
who cannot be reached is a last resort, when nobody else is left. A probe's endpoint has its one request and no other.
Not here: which of them (kdns.client.pickers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kdns.client.cells import Cell, State
from kdns.client.options import BalancerOptions
from kdns.client.priorities import levels_in_use
from kdns.client.slow_start import ramps
from kdns.client.subset import subset
from kdns.client.zones import prefer, zone_teller


class Choice(NamedTuple):
    """picked: from whom a picker picks. weights: shares of those in slow start; None where all have theirs."""

    picked: tuple[Cell, ...]
    is_panic: bool
    last_resorts: tuple[Cell, ...]
    weights: Mapping[Cell, float] | None


class Chooser:
    """Chooses as the options say. Raises OptionError for zones that are none."""

    def __init__(self, options: BalancerOptions) -> None:
        self._options = options
        self._zone_of = zone_teller(options.zones) if options.zones is not None else None

    def choose(self, cells: Sequence[Cell], now: float) -> Choice:
        """For this set, as its states are just now."""
        options = self._options
        ours = subset(cells, options.subset) if options.subset is not None else tuple(cells)
        level = levels_in_use(ours, options.priority_healthy_least) if ours else ours
        if options.zones is not None and self._zone_of is not None:
            level = prefer(level, options.zones, self._zone_of)
        picked = tuple(cell for cell in level if cell.state is State.UP)
        answering = tuple(cell for cell in level if cell.state in _ANSWERING)
        is_few = options.outliers is not None and len(picked) < options.outliers.panic * len(level)
        is_panic = is_few and len(answering) > len(picked)
        if is_panic:
            picked = answering
        if not picked:  # whoever is up beyond them, or was ejected
            picked = _first_of(cells, State.UP) or _first_of(cells, State.EJECTED)
        last_resorts = tuple(cell for cell in cells if cell.state is State.UNREACHABLE)
        weights = ramps(picked, options.slow_start, now) if options.slow_start is not None and picked else None
        return Choice(picked, is_panic, last_resorts, weights)


def _first_of(cells: Sequence[Cell], state: State) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.state is state)


_ANSWERING = frozenset((State.UP, State.EJECTED))
