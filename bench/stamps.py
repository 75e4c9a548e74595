"""From moments to figures: percentiles of latencies, and what a figure is judged by. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latencies:
    """What many latencies come to, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, latencies_ns: Sequence[int]) -> Latencies:
        """Of these many nanoseconds each. Raises ValueError for none."""
        if not latencies_ns:
            raise ValueError("nothing was measured")
        ordered = sorted(latencies_ns)
        return cls(
            len(ordered),
            percentile(ordered, 50) / 1e6,
            percentile(ordered, 99) / 1e6,
            ordered[-1] / 1e6,
        )


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def judged(what: str, value: float, goal: float, unit: str) -> tuple[str, ...]:
    """A row of a table of figures that must not exceed their goals."""
    return what, f"{value:,.2f} {unit}", f"<= {goal:,.2f}", "ok" if value <= goal else "MISSED"


def told(what: str, text: str) -> tuple[str, ...]:
    """A row of a figure that has no goal."""
    return what, text, "", ""
