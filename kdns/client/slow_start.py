"""Slow start: the share of an endpoint that is new grows over a window (Envoy, "Slow start mode").

Where all endpoints are new there is nobody to send more to, and all have their whole share. Not here: how a share
becomes picks (kdns.client.pickers).
"""

from __future__ import annotations

from collections.abc import Sequence

from kdns.client.cells import Cell
from kdns.client.options import SlowStart


def ramp(age: float, options: SlowStart) -> float:
    """The share of an endpoint that appeared so many seconds ago: from `least` to 1."""
    if age >= options.window:
        return 1.0
    share = max(age, 0.0) / options.window
    return float(max(options.least, share ** (1.0 / options.aggression)))


def ramps(cells: Sequence[Cell], options: SlowStart, now: float) -> dict[Cell, float] | None:
    """The shares of all; None if they are alike."""
    shares = {cell: ramp(now - cell.since, options) for cell in cells}
    return shares if len(set(shares.values())) > 1 and max(shares.values()) >= 1.0 else None
