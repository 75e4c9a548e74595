"""Waits: how they grow, how chance spreads them, and that none is beyond its bounds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.client.backoff import doubled, full_jitter, lengthened

seconds = st.floats(0.001, 100)


class Fixed(Random):
    """A generator whose every draw is the same."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(("n", "expected"), [(0, 0.025), (1, 0.05), (2, 0.1), (3, 0.2), (4, 0.25), (50, 0.25)])
def test_a_wait_doubles_up_to_its_cap(n: int, expected: float) -> None:
    assert doubled(0.025, 0.25, n) == pytest.approx(expected)


def test_very_many_doublings_do_not_overflow() -> None:
    assert doubled(1.0, 60.0, 10**6) == 60.0


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 0.0), (0.5, 0.05), (0.999, 0.0999)])
def test_full_jitter_draws_from_nothing_to_the_whole_wait(draw: float, expected: float) -> None:
    assert full_jitter(0.025, 0.25, 2, Fixed(draw)) == pytest.approx(expected)


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 10.0), (0.5, 12.5), (1.0, 15.0)])
def test_a_wait_for_an_endpoint_is_only_ever_lengthened(draw: float, expected: float) -> None:
    assert lengthened(10.0, 0.5, Fixed(draw)) == pytest.approx(expected)


@given(seconds, seconds, st.integers(0, 10**4), st.randoms(use_true_random=False))
def test_full_jitter_is_between_zero_and_the_cap(first: float, most: float, n: int, rng: Random) -> None:
    assert 0 <= full_jitter(first, most, n, rng) <= most


@given(seconds, st.floats(0, 1), st.randoms(use_true_random=False))
def test_lengthened_is_within_its_share(base: float, jitter: float, rng: Random) -> None:
    assert base <= lengthened(base, jitter, rng) <= base * (1 + jitter) * (1 + 1e-12)


def test_many_callers_with_full_jitter_do_not_come_back_together() -> None:
    rng = Random(7)
    waits = sorted(full_jitter(0.025, 0.25, 4, rng) for _ in range(1000))
    assert max(sum(start <= wait < start + 0.025 for wait in waits) for start in waits) < 200
