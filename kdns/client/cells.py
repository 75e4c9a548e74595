"""What is known of each endpoint's load and health: mutable, and kept while sets of endpoints and pickers come and go.

A cell is found by host and port. It is changed by whoever owns the balancer's core alone: one event loop, or the
holder of the blocking twin's lock. Not here: what the numbers mean (kdns.client.ewma, kdns.client.outlier), who picks.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from math import inf

from kdns.client.endpoint import Endpoint, Key

UNMEASURED = -1.0


class State(IntEnum):
    """Whether requests go there."""

    UP = 0
    PROBING = 1  # half open: one idempotent request is on its way and decides; nobody else is sent
    EJECTED = 2  # answers wrongly or slowly: out until `until`
    UNREACHABLE = 3  # cannot be connected to: out until `until`, and a last resort


class Cell:
    """One endpoint's load and health.

    outstanding: attempts on their way. ewma: seconds, UNMEASURED before the first answer; measured_at: when it was
    updated. since: when the endpoint appeared. good, bad: attempts that ended well or badly since the start. failures:
    in a row. silences: attempts in a row that were cut off without an answer. suspected: something must look at each
    outcome, as failures are counted in a row or a probe is out. until: when it may be tried again. times: ejections or
    failed connections in a row, which the waits grow by. is_leaving: DNS does not name it any more; what is outstanding
    may end. window: the outlier detection's own.
    """

    __slots__ = (
        "bad",
        "endpoint",
        "ewma",
        "failures",
        "good",
        "is_leaving",
        "key",
        "measured_at",
        "outstanding",
        "silences",
        "since",
        "state",
        "suspected",
        "times",
        "until",
        "window",
    )

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.endpoint = endpoint
        self.key: Key = endpoint.key
        self.since = now
        self.outstanding = 0
        self.ewma = UNMEASURED
        self.measured_at = now
        self.state = State.UP
        self.until = -inf
        self.times = 0
        self.failures = 0
        self.silences = 0
        self.suspected = False
        self.good = 0
        self.bad = 0
        self.is_leaving = False
        self.window: tuple[int, int] = (0, 0)

    def __repr__(self) -> str:
        return f"<Cell {self.endpoint} {self.state.name} outstanding={self.outstanding}>"


class Cells:
    """All cells of one balancer: those of the present set, and those that are leaving and still have something out."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[Key, Cell] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, endpoints: Iterable[Endpoint], now: float) -> tuple[Cell, ...]:
        """The cells of a set, in its order, each once; those of endpoints that it does not name are leaving now.

        An endpoint that comes back while it is leaving keeps its cell. Weight and priority are those of the set.
        """
        kept: dict[Key, Cell] = {}
        for endpoint in endpoints:
            if endpoint.key in kept:
                continue
            cell = self._by_key.get(endpoint.key)
            if cell is None:
                cell = Cell(endpoint, now)
            cell.endpoint, cell.is_leaving = endpoint, False
            kept[endpoint.key] = cell
        present = tuple(kept.values())
        for key, cell in self._by_key.items():
            if key not in kept and cell.outstanding:
                cell.is_leaving = True
                kept[key] = cell
        self._by_key = kept
        return present

    def leaving(self) -> list[Cell]:
        """Cells of endpoints that are gone from DNS and still have something outstanding."""
        return [cell for cell in self._by_key.values() if cell.is_leaving]

    def forget(self, cell: Cell) -> None:
        """A leaving cell has nothing outstanding any more."""
        if cell.is_leaving and self._by_key.get(cell.key) is cell:
            del self._by_key[cell.key]
