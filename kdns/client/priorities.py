"""Failover by priority: the lowest number has all requests while enough of it is up (RFC 2782; Envoy, "Priorities").

Envoy spreads over two levels as the first one shrinks; SRV says that the next is for when the former cannot be
reached, so ours is all or nothing: a level takes part until enough endpoints are up, together with those before it.
Not here: which are up (kdns.client.outlier).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from kdns.client.cells import Cell, State


def levels_in_use(cells: Sequence[Cell], healthy_least: float) -> tuple[Cell, ...]:
    """The first level of which enough is up; else the levels up to the last, all together."""
    ranked = sorted(cells, key=_priority)
    for _, group in groupby(ranked, key=_priority):
        level = tuple(group)
        if sum(cell.state is State.UP for cell in level) >= healthy_least * len(level):
            return level
    return tuple(ranked)


def _priority(cell: Cell) -> int:
    return cell.endpoint.priority
