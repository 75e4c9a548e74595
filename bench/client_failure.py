"""What failure handling costs a call that goes well: `python -m bench.client_failure`.

Nanoseconds, the best of several rounds, beside those of an empty loop, which are taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random
from time import perf_counter_ns

from kdns.client.budget import make_budget
from kdns.client.calling import Call
from kdns.client.cells import Cell, Cells
from kdns.client.endpoint import Endpoint
from kdns.client.options import Budget, Outliers, Retries
from kdns.client.outcome import OK, Outcome
from kdns.client.outlier import OutlierDetection

ROUNDS, TIMES = 7, 100_000


class Bare:
    """A Source that always picks the same one: what is left is the call's own cost."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def pick(self, now: float, key: bytes | None, tried: Collection[Cell], idempotent: bool) -> Cell:
        """Always the same."""
        return self.cell

    def release(self, cell: Cell, outcome: Outcome, started: float, now: float) -> None:
        """Counted."""
        cell.good += 1


def best(step: Callable[[], object]) -> float:
    """Nanoseconds of one."""

    def once(what: Callable[[], object]) -> int:
        began = perf_counter_ns()
        for _ in range(TIMES):
            what()
        return perf_counter_ns() - began

    return (min(once(step) for _ in range(ROUNDS)) - min(once(lambda: None) for _ in range(ROUNDS))) / TIMES


def main() -> None:
    rng, retries, budget = Random(1), Retries(), make_budget(Budget(), 0.0)
    for count in (10, 1000):
        cells = Cells().of((Endpoint("10.0.0.1", 1 + n) for n in range(count)), 0.0)
        detection = OutlierDetection(Outliers(), Random(1))
        source = Bare(cells[0])

        def good(detection: OutlierDetection = detection, cells: tuple[Cell, ...] = cells) -> None:
            detection.ended(cells[0], OK, cells, 1.0, 1.1)

        def call(source: Bare = source) -> None:
            one = Call(source, retries, budget, rng, target="svc:80", idempotent=True)
            one.start(1.0)
            one.ended(1, OK, 1.1)

        ended, whole = best(good), best(call)
        print(f"{count:5} endpoints: OutlierDetection.ended of a success {ended:.0f} ns, a whole Call {whole:.0f} ns")


if __name__ == "__main__":
    main()
