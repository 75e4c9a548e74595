"""kdns.server.programming: from the moment that something changed until every worker answers from it."""

from __future__ import annotations

import pytest

from kdns.observe.families import PROGRAMMING, SUM, Sample
from kdns.server.programming import UNSEEN_MAX, Programming, programming_samples
from kdns.server.status import Origin, Statuses

KIND = ("headless_with_selector",)


@pytest.fixture
def statuses() -> Statuses:
    return Statuses([Origin("cluster.local.", True), Origin("other.local.", True)])


def test_nothing_is_told_before_anything_was_visible(statuses: Statuses) -> None:
    programming = Programming()
    programming.published(2, statuses[0], [99.0])
    programming.visible(1, 100.0)
    assert programming_samples(statuses) == {}


def test_each_trigger_is_timed_once_it_is_visible(statuses: Statuses) -> None:
    programming = Programming()
    programming.published(2, statuses[0], [99.0, 99.9995])
    programming.published(3, statuses[1], [98.0])
    programming.published(4, statuses[1], [])
    programming.visible(2, 100.0)
    programming.visible(2, 200.0)
    told = programming_samples(statuses)
    assert told[Sample(PROGRAMMING, KIND, 0)] == 1
    assert told[Sample(PROGRAMMING, KIND, 10)] == 1  # up to 1.024 s
    assert told[Sample(PROGRAMMING, KIND, SUM)] == pytest.approx(1_000_500_000, abs=10)
    programming.visible(4, 100.0)
    assert programming_samples(statuses)[Sample(PROGRAMMING, KIND, 11)] == 1


def test_a_clock_that_is_ahead_is_no_negative_time_and_a_long_time_has_a_bucket(statuses: Statuses) -> None:
    programming = Programming()
    programming.published(2, statuses[0], [500.0, -1e6])
    programming.visible(2, 100.0)
    told = programming_samples(statuses)
    assert told[Sample(PROGRAMMING, KIND, 0)] == told[Sample(PROGRAMMING, KIND, 20)] == 1


def test_a_worker_that_never_answers_costs_bounded_memory(statuses: Statuses) -> None:
    programming = Programming()
    for generation in range(2, 2 * UNSEEN_MAX):
        programming.published(generation, statuses[0], [0.0])
    programming.visible(2 * UNSEEN_MAX, 1.0)
    told = programming_samples(statuses)
    assert sum(count for sample, count in told.items() if sample.bucket != SUM) == UNSEEN_MAX


def test_the_control_that_follows_goes_on_counting(statuses: Statuses) -> None:
    for _ in range(2):
        programming = Programming()
        for status in statuses:
            status.begin()
        programming.published(2, statuses[0], [0.0])
        programming.visible(2, 1.0)
    assert programming_samples(statuses)[Sample(PROGRAMMING, KIND, 10)] == 2
