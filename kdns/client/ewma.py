"""Peak EWMA: how slow an endpoint is, judged by its latest peak and slowly forgotten (Finagle, Linkerd, Envoy).

A sample above the average takes its place at once; one below moves it by `1 - exp(-age / decay)`. The floor is ours:
below some low medians of the set, differences are noise of fast endpoints, and whoever was unlucky, or is new, would
starve for it. Not here: the pick (kdns.client.pickers).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

from kdns.client.cells import UNMEASURED, Cell
from kdns.client.options import EwmaOptions

# Below this share of the decay an age is not worth an exponential: exp(-x) is 1 - x then, to within 0.00005.
_SHORT = 0.01


def observe(cell: Cell, seconds: float, now: float, decay: float) -> None:
    """An attempt took so long."""
    ewma = cell.ewma
    if seconds >= ewma:
        cell.ewma = seconds
    else:
        age = (now - cell.measured_at) / decay
        # Between two samples at the same moment the average stays as it is.
        weight = age if age < _SHORT else 1.0 - exp(-age)
        cell.ewma = ewma + (seconds - ewma) * weight
    cell.measured_at = now


def decayed(cell: Cell, now: float, decay: float) -> float:
    """The average as it is by now, without a sample; 0 before the first one."""
    if cell.ewma == UNMEASURED:
        return 0.0
    return cell.ewma * exp(-max(0.0, now - cell.measured_at) / decay)


class Floor:
    """The least latency that an endpoint is judged by: seconds, 0 before anything was measured."""

    __slots__ = ("_options", "value")

    def __init__(self, options: EwmaOptions) -> None:
        self._options = options
        self.value = 0.0

    def update(self, cells: Iterable[Cell], now: float) -> None:
        """Find it anew from those that were measured."""
        decay = self._options.decay
        measured = [decayed(cell, now, decay) for cell in cells if cell.ewma != UNMEASURED]
        if measured:
            measured.sort()
            self.value = self._options.floor_share * measured[(len(measured) - 1) // 2]  # the low median
