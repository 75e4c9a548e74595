"""What holds of a balancer's core whatever happens to its endpoints, in whatever order."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kdns.client.cells import Cell, State
from kdns.client.core import Core
from kdns.client.endpoint import Endpoint, EndpointSet
from kdns.client.errors import NoEndpoints, Saturated
from kdns.client.hooks import Ejected, Ended, Hooks, Listeners, Picked, Returned
from kdns.client.options import BalancerOptions, Outliers, Policy
from kdns.client.outcome import FAILED, NEUTRAL, OK, UNREACHABLE, Outcome
from kdns.client.place import Place
from kdns.client.target import parse_target

TARGET = parse_target("static://10.0.0.1:80", lambda: Place(None, None))
OUTCOMES = st.sampled_from([OK, OK, OK, FAILED, UNREACHABLE, NEUTRAL])


class Counting(Hooks):
    """How many of each event there were."""

    def __init__(self) -> None:
        self.picks = self.ends = self.out = self.back = 0

    def picked(self, event: Picked) -> None:
        self.picks += 1

    def ended(self, event: Ended) -> None:
        self.ends += 1

    def ejected(self, event: Ejected) -> None:
        self.out += 1
        assert event.seconds > 0
        assert event.reason

    def returned(self, event: Returned) -> None:
        self.back += 1


class Machine(RuleBasedStateMachine):
    """Endpoints come and go, attempts begin and end, time passes."""

    @initialize(policy=st.sampled_from(Policy), seed=st.integers(0, 99), most=st.sampled_from([2.0, float("inf")]))
    def begin(self, policy: Policy, seed: int, most: float) -> None:
        self.now = 100.0
        self.counting = Counting()
        self.asked_anew = 0
        self.most = most
        options = BalancerOptions(policy=policy, outliers=Outliers(consecutive=2), max_outstanding=most)
        self.core = Core(TARGET, options, Random(seed), Listeners((self.counting,)), self.failed)
        self.out: list[tuple[Cell, float]] = []
        self.names: set[int] = set()

    def failed(self) -> None:
        self.asked_anew += 1

    @rule(names=st.sets(st.integers(1, 6), max_size=6))
    def resolve(self, names: set[int]) -> None:
        self.names = names
        endpoints = tuple(Endpoint(f"10.0.0.{name}", 80) for name in sorted(names))
        problem = None if names else "NXDOMAIN"
        self.core.update(EndpointSet("t", endpoints, self.now, problem=problem, since=self.now), self.now)

    @rule(idempotent=st.booleans(), key=st.none() | st.binary(min_size=1, max_size=2), again=st.booleans())
    def attempt(self, idempotent: bool, key: bytes | None, again: bool) -> None:
        tried = [cell for cell, _ in self.out[:1]] if again else []
        try:
            cell = self.core.pick(self.now, key, tried, idempotent)
        except NoEndpoints:
            assert not self.names
            return
        except Saturated:
            assert self.most == 2.0
            return
        assert cell.key in {(f"10.0.0.{name}", 80) for name in self.names}
        assert cell.outstanding <= self.most or cell.state is State.PROBING
        self.out.append((cell, self.now))

    @rule(index=st.integers(0, 50), outcome=OUTCOMES)
    def end(self, index: int, outcome: Outcome) -> None:
        if self.out:
            cell, started = self.out.pop(index % len(self.out))
            before = self.asked_anew
            self.core.release(cell, outcome, started, self.now)
            assert self.asked_anew > before if outcome.unreachable else self.asked_anew - before <= 1

    @rule(index=st.integers(0, 50))
    def connect(self, index: int) -> None:
        if self.out:
            cell, started = self.out[index % len(self.out)]
            self.core.reached(cell, started, self.now)

    @rule(seconds=st.sampled_from([0.001, 0.2, 1.0, 7.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def what_is_out_adds_up(self) -> None:
        assert self.core.outstanding == len(self.out)
        snapshot = self.core.snapshot(self.now)
        assert sum(one.outstanding for one in snapshot.endpoints) == len(self.out)
        assert all(one.outstanding >= 0 for one in snapshot.endpoints)

    @invariant()
    def there_are_cells_of_the_set_and_of_what_is_still_out(self) -> None:
        snapshot = self.core.snapshot(self.now)
        leaving = [one for one in snapshot.endpoints if one.is_leaving]
        assert all(one.outstanding for one in leaving)
        present = {one.endpoint.host for one in snapshot.endpoints if not one.is_leaving}
        assert present == {f"10.0.0.{name}" for name in self.names}

    @invariant()
    def a_set_of_one_is_never_out(self) -> None:
        if len(self.names) == 1:
            (one,) = [one for one in self.core.snapshot(self.now).endpoints if not one.is_leaving]
            assert one.state is State.UP

    @invariant()
    def nobody_comes_back_more_often_than_he_went(self) -> None:
        assert self.counting.back <= self.counting.out
        assert self.counting.ends <= self.counting.picks


TestCore = Machine.TestCase
TestCore.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
