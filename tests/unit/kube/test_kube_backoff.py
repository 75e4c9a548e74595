"""The delays of client-go's backoff, with their jitter."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from kdns.kube.backoff import FACTOR, FIRST_DELAY, MAX_DELAY, RESET_AFTER, Backoff


class Fixed(Random):
    """Chance that always says the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    def random(self) -> float:
        return self._value


def delays(count: int, rng: Random, every: float = 0.0) -> list[float]:
    backoff = Backoff(rng)
    return [backoff.next_delay(every * index) for index in range(count)]


def test_the_constants_are_those_of_client_go() -> None:
    assert (FIRST_DELAY, FACTOR, MAX_DELAY, RESET_AFTER) == (0.8, 2.0, 30.0, 120.0)


def test_delays_double_up_to_their_bound() -> None:
    assert delays(8, Fixed(0.0)) == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_jitter_makes_a_delay_up_to_twice_as_long() -> None:
    assert delays(8, Fixed(0.5)) == pytest.approx([1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 45.0, 45.0])
    for seed in range(50):
        for found, least in zip(delays(8, Random(seed)), delays(8, Fixed(0.0)), strict=True):
            assert least <= found < 2 * least


def test_two_clients_do_not_stay_in_step() -> None:
    assert delays(8, Random(1)) != delays(8, Random(2))


def test_two_minutes_without_a_backoff_start_it_anew() -> None:
    backoff = Backoff(Fixed(0.0))
    assert [backoff.next_delay(now) for now in (0.0, 1.0, 2.0)] == pytest.approx([0.8, 1.6, 3.2])
    assert backoff.next_delay(2.0 + RESET_AFTER) == pytest.approx(6.4)
    assert backoff.next_delay(2.0 + 2 * RESET_AFTER + 0.1) == pytest.approx(0.8)


def test_the_first_delay_is_the_shortest_whatever_the_clock_says() -> None:
    for now in (0.0, 1.0, 1e9):
        assert Backoff(Fixed(0.0)).next_delay(now) == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(5))
def test_an_hour_of_instant_failures_makes_no_more_requests_than_two_a_minute_and_the_first_few(seed: int) -> None:
    backoff, now, due = Backoff(Random(seed)), 0.0, []
    while now < 3600:
        now += backoff.next_delay(now)
        due.append(now)
    assert 60 <= len(due) <= 6 + 3600 / MAX_DELAY
    assert all(later - earlier >= MAX_DELAY for earlier, later in pairwise(due[6:]))
