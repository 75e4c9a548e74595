"""Whatever happens in whatever order: bounds of who is out, and that everybody can come back."""

from __future__ import annotations

from math import inf
from random import Random

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kdns.client.cells import Cell, Cells, State
from kdns.client.endpoint import Endpoint
from kdns.client.options import Outliers
from kdns.client.outcome import FAILED, NEUTRAL, OK, UNREACHABLE, Outcome
from kdns.client.outlier import Change, Event, OutlierDetection

OUTCOMES = st.sampled_from([OK, FAILED, FAILED, FAILED, UNREACHABLE, NEUTRAL])


class Detection(RuleBasedStateMachine):
    """Attempts begin and end as a balancer's would; the set is the same all the time."""

    @initialize(
        count=st.integers(1, 7),
        share=st.sampled_from([0.1, 0.34, 0.5, 1.0]),
        consecutive=st.integers(1, 3),
        seed=st.integers(0, 99),
    )
    def begin(self, count: int, share: float, consecutive: int, seed: int) -> None:
        self.share, self.now = share, 0.0
        self.options = Outliers(consecutive=consecutive, ejected_most=share, rate_hosts_least=3, rate_requests_least=3)
        self.cells = Cells().of((Endpoint("10.0.0.1", 1 + n) for n in range(count)), 0.0)
        self.detection = OutlierDetection(self.options, Random(seed))
        self.out: list[tuple[Cell, float]] = []
        self.probes: dict[Cell, float] = {}

    def send(self, cell: Cell) -> None:
        cell.outstanding += 1
        self.out.append((cell, self.now))

    def look_at(self, event: Event | None) -> None:
        if event is None:
            return
        returned = event.change is Change.RETURNED
        assert (event.cell.state is State.UP) == returned
        assert event.until >= self.now
        most = self.options.ejection_most if event.change is Change.EJECTED else self.options.reconnect_most
        assert event.until <= self.now + most * (1 + self.options.jitter)
        assert event.cause

    @rule(index=st.integers(0, 100), idempotent=st.booleans())
    def attempt(self, index: int, idempotent: bool) -> None:
        due = self.detection.probe_at if idempotent else self.detection.trial_at
        probed = self.detection.probe(self.cells, self.now, idempotent) if self.now >= due else None
        if probed is not None:
            assert probed.state is State.PROBING
            assert probed.until <= self.now
            self.probes[probed] = self.now
            self.send(probed)
            return
        up = [cell for cell in self.cells if cell.state is State.UP]
        resorts = up or [cell for cell in self.cells if cell.state is not State.PROBING]
        if resorts:
            self.send(resorts[index % len(resorts)])

    @rule(index=st.integers(0, 100), outcome=OUTCOMES)
    def end(self, index: int, outcome: Outcome) -> None:
        if not self.out:
            return
        cell, started = self.out.pop(index % len(self.out))
        cell.outstanding -= 1
        before = cell.state
        event = self.detection.ended(cell, outcome, self.cells, started, self.now)
        self.look_at(event)
        if before is State.PROBING and started < self.probes[cell]:
            assert event is None
            assert cell.state is State.PROBING

    @rule(index=st.integers(0, 100))
    def connect(self, index: int) -> None:
        if self.out:
            cell, started = self.out[index % len(self.out)]
            self.look_at(self.detection.reached(cell, started, self.now))

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.5, 1.0, 5.0, 20.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        for event in self.detection.swept(self.cells, self.now):
            self.look_at(event)

    def ejected(self) -> int:
        return sum(cell.state is State.EJECTED for cell in self.cells)

    @invariant()
    def no_more_than_the_share_is_ejected(self) -> None:
        if hasattr(self, "cells"):
            assert self.ejected() <= max(1, int(self.share * len(self.cells) + 1e-9))

    @invariant()
    def a_set_of_one_is_up(self) -> None:
        if hasattr(self, "cells") and len(self.cells) == 1:
            assert self.cells[0].state is State.UP

    @invariant()
    def not_all_are_ejected(self) -> None:
        if hasattr(self, "cells"):
            assert self.ejected() < len(self.cells)

    @invariant()
    def who_is_not_suspected_is_up_without_failures(self) -> None:
        for cell in getattr(self, "cells", ()):
            if not cell.suspected:
                assert cell.state is State.UP
                assert cell.failures == 0

    @invariant()
    def the_times_are_those_of_the_cells(self) -> None:
        if not hasattr(self, "cells"):
            return
        waiting = [cell for cell in self.cells if cell.state in (State.EJECTED, State.UNREACHABLE)]
        assert self.detection.probe_at == min((cell.until for cell in waiting), default=inf)
        unreachable = [cell.until for cell in waiting if cell.state is State.UNREACHABLE]
        ejected = [cell.until for cell in waiting if cell.state is State.EJECTED]
        assert self.detection.trial_at <= min(unreachable, default=inf)
        assert self.detection.trial_at > min([*unreachable, *ejected], default=-inf) or unreachable

    @invariant()
    def who_is_probed_has_a_probe_out(self) -> None:
        for cell in getattr(self, "cells", ()):
            if cell.state is State.PROBING:
                assert sum(other is cell and started >= self.probes[cell] for other, started in self.out) >= 1

    def teardown(self) -> None:
        """When all answer well again, all are back."""
        if not hasattr(self, "cells"):
            return
        for cell, started in self.out:
            self.detection.ended(cell, OK, self.cells, started, self.now)
        for _ in range(len(self.cells)):
            self.now += 100.0
            cell = self.detection.probe(self.cells, self.now, idempotent=True)
            if cell is not None:
                self.detection.ended(cell, OK, self.cells, self.now, self.now + 0.01)
        assert all(cell.state is State.UP for cell in self.cells)


Detection.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestDetection = Detection.TestCase
