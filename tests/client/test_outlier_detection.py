"""What takes an endpoint out, for how long, and what brings it back."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from kdns.client.cells import Cell, Cells, State
from kdns.client.classify import cut_off
from kdns.client.endpoint import Endpoint
from kdns.client.options import Outliers
from kdns.client.outcome import FAILED, NEUTRAL, OK, UNREACHABLE, Outcome, Safety
from kdns.client.outlier import Change, Event, OutlierDetection

OPTIONS = Outliers(jitter=0.0)


def make_cells(count: int) -> tuple[Cell, ...]:
    return Cells().of((Endpoint(f"10.0.0.{n + 1}", 80) for n in range(count)), 0.0)


class World:
    """Some cells and their detection."""

    def __init__(self, count: int, options: Outliers | None = OPTIONS) -> None:
        self.cells = make_cells(count)
        self.detection = OutlierDetection(options, Random(1))

    def end(
        self, cell: Cell, outcome: Outcome, now: float, started: float | None = None, times: int = 1
    ) -> Event | None:
        """So many attempts end like this; what the last one brought about."""
        event = None
        for _ in range(times):
            event = self.detection.ended(cell, outcome, self.cells, now - 0.01 if started is None else started, now)
        return event

    def eject(self, cell: Cell, now: float) -> Event:
        event = self.end(cell, FAILED, now, times=5)
        assert event is not None
        assert event.change is Change.EJECTED
        return event

    def states(self) -> list[State]:
        return [cell.state for cell in self.cells]


def test_five_failures_in_a_row_eject_for_a_second() -> None:
    world = World(3)
    first = world.cells[0]
    assert world.end(first, FAILED, 1.0, times=4) is None
    event = world.end(first, FAILED, 1.0)
    assert event == Event(Change.EJECTED, first, "5 failures in a row, the last: failed", 2.0)
    assert first.state is State.EJECTED
    assert (first.bad, first.until, first.times) == (5, 2.0, 1)


def test_one_success_between_failures_begins_the_count_anew() -> None:
    world = World(3)
    first = world.cells[0]
    world.end(first, FAILED, 1.0, times=4)
    assert first.suspected
    world.end(first, OK, 1.0)
    assert (first.failures, first.suspected, first.good) == (0, False, 1)
    assert world.end(first, FAILED, 1.0, times=4) is None


def test_the_number_of_failures_can_be_set_and_turned_off() -> None:
    world = World(3, Outliers(consecutive=1))
    assert world.end(world.cells[0], FAILED, 1.0) is not None
    world = World(3, Outliers(consecutive=0))
    assert world.end(world.cells[0], FAILED, 1.0, times=1000) is None


def test_without_options_nothing_is_ever_taken_out() -> None:
    world = World(3, None)
    assert world.end(world.cells[0], FAILED, 1.0, times=100) is None
    assert world.end(world.cells[0], UNREACHABLE, 1.0) is None
    assert world.detection.swept(world.cells, 100.0) == []
    assert (world.detection.probe_at, world.detection.trial_at) == (inf, inf)
    assert world.cells[0].bad == 101


@pytest.mark.parametrize("outcome", [FAILED, UNREACHABLE])
def test_a_set_of_one_is_never_taken_out(outcome: Outcome) -> None:
    world = World(1)
    assert world.end(world.cells[0], outcome, 1.0, times=100) is None
    assert world.cells[0].state is State.UP


@pytest.mark.parametrize(
    ("count", "share", "out"),
    [(2, 0.5, 1), (3, 0.5, 1), (3, 0.1, 1), (4, 0.5, 2), (10, 0.5, 5), (3, 1.0, 2), (3, 0, 0), (100, 0.29, 29)],
)
def test_no_more_than_the_share_is_ejected_but_one_may_always_go_and_one_stays(
    count: int, share: float, out: int
) -> None:
    world = World(count, Outliers(ejected_most=share))
    for cell in world.cells:
        world.end(cell, FAILED, 1.0, times=20)
    assert world.states().count(State.EJECTED) == out


def test_the_last_that_is_up_stays_when_the_others_cannot_be_reached() -> None:
    world = World(3)
    for cell in world.cells[:2]:
        world.end(cell, UNREACHABLE, 1.0)
    assert world.end(world.cells[2], FAILED, 1.0, times=20) is None


def test_what_cannot_be_connected_to_is_out_at_once_beyond_any_share() -> None:
    world = World(4)
    events = [world.end(cell, UNREACHABLE, 1.0) for cell in world.cells]
    assert [event and event.change for event in events] == [Change.UNREACHABLE] * 4
    assert world.states() == [State.UNREACHABLE] * 4
    assert world.cells[0].until == 1.5


def test_many_who_find_it_unreachable_at_once_make_one_wait() -> None:
    world = World(3)
    first = world.cells[0]
    assert world.end(first, UNREACHABLE, 1.0, started=0.9) is not None
    assert world.end(first, UNREACHABLE, 1.1, started=0.95, times=50) is None
    assert world.end(first, UNREACHABLE, 1.3, started=1.2, times=50) is None  # a last resort, before its time
    assert (first.times, first.until) == (1, 1.5)


def test_waits_for_a_connection_double_up_to_the_most() -> None:
    world = World(3)
    first, now, waits = world.cells[0], 1.0, []
    world.end(first, UNREACHABLE, now)
    for _ in range(9):
        waits.append(first.until - now)
        now = first.until
        assert world.detection.probe(world.cells, now, idempotent=False) is first
        assert world.end(first, UNREACHABLE, now, started=now) is not None
    assert waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_waits_of_ejections_double_up_to_the_most() -> None:
    world = World(3)
    first, now, waits = world.cells[0], 1.0, []
    world.eject(first, now)
    for _ in range(8):
        waits.append(first.until - now)
        now = first.until
        assert world.detection.probe(world.cells, now, idempotent=True) is first
        event = world.end(first, FAILED, now, started=now)
        assert event is not None
        assert event.cause == "probe failed: failed"
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


def test_waits_are_lengthened_by_chance_so_that_endpoints_do_not_come_back_together() -> None:
    world = World(20, Outliers(jitter=0.5, ejected_most=1.0))
    waits = {world.eject(cell, 1.0).until - 1.0 for cell in world.cells[:19]}
    assert len(waits) == 19
    assert all(1.0 <= wait <= 1.5 for wait in waits)


def test_a_probe_is_due_after_the_wait_and_for_idempotent_calls_alone() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    assert (world.detection.probe_at, world.detection.trial_at) == (2.0, 5.0)
    assert world.detection.probe(world.cells, 1.9, idempotent=True) is None
    assert world.detection.probe(world.cells, 2.0, idempotent=False) is None
    assert world.detection.probe(world.cells, 2.0, idempotent=True) is first
    assert first.state is State.PROBING
    assert world.detection.probe(world.cells, 2.0, idempotent=True) is None  # one decides
    assert world.detection.probe_at == inf


def test_any_call_may_try_what_could_not_be_connected_to() -> None:
    world = World(3)
    first = world.cells[0]
    world.end(first, UNREACHABLE, 1.0)
    assert (world.detection.probe_at, world.detection.trial_at) == (1.5, 1.5)
    assert world.detection.probe(world.cells, 1.5, idempotent=False) is first


def test_who_waited_longest_is_probed_first() -> None:
    world = World(4)
    world.eject(world.cells[1], 1.0)
    world.eject(world.cells[0], 1.5)
    assert world.detection.probe(world.cells, 9.0, idempotent=True) is world.cells[1]
    assert world.detection.probe(world.cells, 9.0, idempotent=True) is world.cells[0]


def test_a_good_probe_brings_the_endpoint_back() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    event = world.end(first, OK, 2.1, started=2.0)
    assert event == Event(Change.RETURNED, first, "answers again", 2.1)
    assert (first.state, first.suspected, first.failures) == (State.UP, False, 0)


def test_an_endpoint_that_fails_again_soon_is_out_for_longer() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    world.end(first, OK, 2.1, started=2.0)
    event = world.end(first, FAILED, 3.0, started=2.5, times=5)
    assert event is not None
    assert event.until == 5.0


def test_each_good_interval_takes_a_doubling_back() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    world.end(first, OK, 2.1, started=2.0)
    world.detection.swept(world.cells, 3.0)
    assert first.times == 1
    world.detection.swept(world.cells, 13.0)
    assert first.times == 0


@pytest.mark.parametrize("outcome", [OK, FAILED])
def test_what_began_before_the_ejection_does_not_decide_the_probe(outcome: Outcome) -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    assert world.end(first, outcome, 1.5, started=0.5) is None
    world.detection.probe(world.cells, 2.0, idempotent=True)
    assert world.end(first, outcome, 2.1, started=0.5) is None
    assert first.state is State.PROBING


def test_failures_of_before_the_return_do_not_count_after_it() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    world.end(first, OK, 2.1, started=2.0)
    assert world.end(first, FAILED, 2.5, started=0.9, times=50) is None
    assert first.failures == 0


def test_a_cancelled_probe_leaves_the_next_call_to_decide() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    assert world.end(first, NEUTRAL, 2.1, started=2.0) is None
    assert first.state is State.EJECTED
    assert world.detection.probe(world.cells, 2.1, idempotent=True) is first


def test_a_cancelled_attempt_of_before_does_not_end_the_probe() -> None:
    world = World(3)
    first = world.cells[0]
    world.end(first, UNREACHABLE, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    world.end(first, NEUTRAL, 2.1, started=0.1)
    assert first.state is State.PROBING
    world.end(first, NEUTRAL, 2.2, started=2.0)
    assert first.state is State.UNREACHABLE


def test_a_neutral_outcome_says_nothing_but_that_an_answer_takes_at_least_so_long() -> None:
    world = World(3)
    first = world.cells[0]
    first.ewma = 0.1
    world.end(first, NEUTRAL, 2.0, started=1.95)
    assert (first.ewma, first.good, first.bad, first.failures) == (0.1, 0, 0, 0)
    world.end(first, NEUTRAL, 2.0, started=1.0)
    assert (first.ewma, first.measured_at) == (1.0, 2.0)


def test_a_connection_brings_an_unreachable_endpoint_back_and_forgets_the_waits() -> None:
    world = World(3)
    first = world.cells[0]
    world.end(first, UNREACHABLE, 1.0)
    assert world.detection.reached(first, 0.5, 1.1) is None  # it was connected to before
    world.detection.probe(world.cells, 1.5, idempotent=False)
    event = world.detection.reached(first, 1.5, 1.6)
    assert event is not None
    assert event.change is Change.RETURNED
    assert (first.state, first.times) == (State.UP, 0)


def test_a_connection_does_not_bring_back_what_answers_wrongly() -> None:
    world = World(3)
    first = world.cells[0]
    assert world.detection.reached(first, 0.5, 0.6) is None
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    assert world.detection.reached(first, 2.0, 2.1) is None
    assert first.state is State.PROBING


def test_a_last_resort_or_panic_that_answers_well_brings_back() -> None:
    world = World(4)
    world.end(world.cells[0], UNREACHABLE, 1.0)
    world.eject(world.cells[1], 1.0)
    for cell in world.cells[:2]:
        event = world.end(cell, OK, 1.3, started=1.2)
        assert event is not None
        assert cell.state is State.UP


def test_panic_that_fails_does_not_lengthen_the_wait() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    assert world.end(first, FAILED, 1.3, started=1.2, times=50) is None
    assert first.until == 2.0


def test_a_trial_that_fails_otherwise_is_a_failed_trial() -> None:
    world = World(3)
    first = world.cells[0]
    world.end(first, UNREACHABLE, 1.0)
    world.detection.probe(world.cells, 1.5, idempotent=True)
    event = world.end(first, FAILED, 2.5, started=1.5)
    assert event is not None
    assert event.change is Change.UNREACHABLE
    assert event.until == 3.5


def test_an_ejected_endpoint_that_cannot_be_connected_to_waits_for_a_connection() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    event = world.end(first, UNREACHABLE, 1.2, started=1.1)
    assert event is not None
    assert (first.state, first.until, first.times) == (State.UNREACHABLE, 1.7, 1)


def test_without_idempotent_calls_one_other_call_probes_an_endpoint_after_four_waits() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)  # for a second, until 2.0
    assert world.detection.trial_at == pytest.approx(5.0)
    assert world.detection.probe(world.cells, 4.9, idempotent=False) is None
    assert world.detection.probe(world.cells, 5.0, idempotent=False) is first
    assert world.detection.probe(world.cells, 5.0, idempotent=False) is None  # one, and no more
    again = world.end(first, FAILED, 5.2, started=5.0)
    assert again is not None
    assert again.until == pytest.approx(7.2)
    assert world.detection.trial_at == pytest.approx(5.2 + 4 * 2.0)


def test_an_idempotent_call_may_probe_long_before_another_one() -> None:
    world = World(3)
    world.eject(world.cells[0], 1.0)
    assert world.detection.probe(world.cells, 2.0, idempotent=False) is None
    assert world.detection.probe(world.cells, 2.0, idempotent=True) is world.cells[0]


SILENT = cut_off(1.0, sent=True)


def test_who_leaves_three_attempts_in_a_row_without_an_answer_is_ejected() -> None:
    world = World(4)
    first = world.cells[0]
    assert world.end(first, SILENT, 2.0, started=1.0, times=2) is None
    event = world.end(first, SILENT, 2.1, started=1.1)
    assert event is not None
    assert event.cause == "3 failures in a row, the last: no answer in 1 s"


@pytest.mark.parametrize("between", [OK, FAILED])
def test_silences_with_an_answer_in_between_are_not_in_a_row(between: Outcome) -> None:
    world = World(4)
    first = world.cells[0]
    world.end(first, SILENT, 2.0, started=1.0, times=2)
    world.end(first, between, 2.1, started=2.0)
    assert world.end(first, SILENT, 3.2, started=2.2) is None


def test_silence_can_be_left_to_count_as_any_failure() -> None:
    world = World(4, Outliers(silent=0))
    assert world.end(world.cells[0], SILENT, 2.0, started=1.0, times=4) is None
    assert world.end(world.cells[0], SILENT, 2.0, started=1.0) is not None


def test_who_is_left_alone_is_up() -> None:
    world = World(2)
    world.eject(world.cells[0], 1.0)
    world.cells = world.cells[:1]
    (event,) = world.detection.swept(world.cells, 1.1)
    assert event.cause == "it is the only one"
    assert world.cells[0].state is State.UP


def with_rates(world: World, rates: list[tuple[int, int]], now: float = 10.0) -> list[Event]:
    """What a sweep says after an interval with so many good and bad ones each."""
    world.detection.swept(world.cells, 0.0)
    for cell, (good, bad) in zip(world.cells, rates, strict=True):
        cell.good += good
        cell.bad += bad
    return world.detection.swept(world.cells, now)


def test_a_success_rate_far_below_the_peers_ejects() -> None:
    world = World(6)
    (event,) = with_rates(world, [(50, 50)] + [(100, 0)] * 5)
    assert event.cell is world.cells[0]
    assert event.cause == "success rate 50.0% beside 91.7% of its peers"


@pytest.mark.parametrize(
    "rates",
    [
        [(50, 50)] + [(100, 0)] * 3,  # too few endpoints
        [(49, 50)] + [(100, 0)] * 5,  # too few requests there
        [(50, 50)] + [(10, 0)] * 5,  # too few to compare with
        [(90, 10)] * 6,  # all alike: it is not the endpoint
        [(99, 1)] + [(100, 0)] * 30,  # one failure in a hundred
        [(50, 50), (50, 50), (50, 50)] + [(100, 0)] * 3,  # no outliers, but halves
    ],
)
def test_a_success_rate_is_judged_only_beside_enough_peers_and_requests(rates: list[tuple[int, int]]) -> None:
    assert with_rates(World(len(rates)), rates) == []


def test_each_interval_is_judged_alone() -> None:
    world = World(6)
    with_rates(world, [(100, 0)] * 6)
    for cell in world.cells[1:]:
        cell.good += 100
    world.cells[0].bad += 100
    assert world.detection.swept(world.cells, 19.9) == []
    assert len(world.detection.swept(world.cells, 20.0)) == 1
    world.detection.probe(world.cells, 21.0, idempotent=True)
    world.end(world.cells[0], OK, 21.1, started=21.0)
    for cell in world.cells:
        cell.good += 100
    assert world.detection.swept(world.cells, 30.0) == []


def test_what_left_is_forgotten_and_what_is_leaving_is_not_judged() -> None:
    cells = Cells()
    endpoints = [Endpoint(f"10.0.0.{n}", 80) for n in range(3)]
    present = cells.of(endpoints, 0.0)
    detection = OutlierDetection(OPTIONS, Random(1))
    gone = present[0]
    gone.outstanding = 1
    for _ in range(5):
        detection.ended(gone, FAILED, present, 0.5, 1.0)
    present = cells.of(endpoints[1:], 1.5)
    detection.swept(present, 1.6)
    assert detection.probe_at == inf
    assert detection.ended(gone, FAILED, present, 1.2, 1.7) is None
    present = cells.of(endpoints, 1.8)  # it is back, and still out
    detection.swept(present, 1.9)
    assert detection.probe(present, 2.0, idempotent=True) is gone
    present = cells.of(endpoints[1:], 2.1)
    assert detection.ended(gone, OK, present, 2.0, 2.2) is not None  # a probe decides even so
    assert gone.state is State.UP


def test_a_vanished_endpoint_leaves_no_time_behind() -> None:
    world = World(3)
    world.eject(world.cells[0], 1.0)
    world.cells = world.cells[1:]
    assert world.detection.probe(world.cells, 2.0, idempotent=True) is None
    assert world.detection.probe_at == inf


def test_a_refusal_that_was_never_begun_counts_as_a_failure_of_the_endpoint() -> None:
    world = World(3)
    assert world.end(world.cells[0], Outcome(False, Safety.REFUSED, text="GOAWAY"), 1.0, times=5) is not None


def returned(world: World) -> Cell:
    """The first one, which went out at 1.0 and came back at 2.1."""
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    world.end(first, OK, 2.1, started=2.0)
    return first


@pytest.mark.parametrize("outcome", [FAILED, UNREACHABLE])
def test_what_began_before_the_return_never_takes_out_again(outcome: Outcome) -> None:
    world = World(3)
    first = returned(world)
    world.end(first, outcome, 2.5, started=0.9, times=50)
    assert (first.state, first.failures) == (State.UP, 0)


def test_a_connection_that_was_refused_before_the_probe_does_not_decide_it() -> None:
    world = World(3)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    assert world.end(first, UNREACHABLE, 2.1, started=1.9) is None
    assert first.state is State.PROBING


def test_the_success_rate_of_before_the_return_is_forgotten() -> None:
    world = World(6)
    world.detection.swept(world.cells, 0.0)
    first = world.cells[0]
    world.eject(first, 1.0)
    world.end(first, FAILED, 1.5, started=0.9, times=200)
    world.detection.probe(world.cells, 2.0, idempotent=True)
    world.end(first, OK, 2.1, started=2.0)
    for cell in world.cells:
        cell.good += 200
    assert world.detection.swept(world.cells, 10.0) == []


def test_who_is_left_alone_while_it_is_probed_is_up_whatever_the_probe_says() -> None:
    world = World(2)
    first = world.cells[0]
    world.eject(first, 1.0)
    assert world.detection.probe(world.cells, 2.0, idempotent=True) is first
    world.cells = world.cells[:1]
    (event,) = world.detection.swept(world.cells, 2.1)
    assert event.cause == "it is the only one"
    assert world.end(first, FAILED, 2.2, started=2.0) is None
    assert first.state is State.UP
