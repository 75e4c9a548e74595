"""Retry budgets: the bound of each, what is saved and forgotten, and gRPC's throttle."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.client.budget import SharedBudget, ThrottledBudget, Unlimited, make_budget
from kdns.client.options import Budget, Throttle


def spent(budget: SharedBudget | ThrottledBudget, now: float, most: int = 10_000) -> int:
    """How many can be spent at once."""
    return next((n for n in range(most) if not budget.spend(now)), most)


def test_the_options_say_which_budget_it_is() -> None:
    assert isinstance(make_budget(Budget(), 0.0), SharedBudget)
    assert isinstance(make_budget(Throttle(), 0.0), ThrottledBudget)
    assert isinstance(make_budget(None, 0.0), Unlimited)


def test_an_app_with_little_traffic_may_retry_from_the_beginning() -> None:
    assert spent(SharedBudget(Budget(), 0.0), 0.0) == 100


def test_each_five_requests_earn_one_retry() -> None:
    budget = SharedBudget(Budget(per_second=0), 0.0)
    for _ in range(5):
        assert not budget.spend(0.0)
        budget.started(0.0)
    assert budget.spend(0.0)
    assert not budget.spend(0.0)


def test_requests_of_long_ago_earn_nothing_any_more() -> None:
    budget = SharedBudget(Budget(per_second=0), 0.0)
    for _ in range(100):
        budget.started(0.5)
    assert budget.balance(9.9) == pytest.approx(20)
    assert budget.balance(10.0) == 0
    assert spent(budget, 10.0) == 0


def test_retries_are_remembered_for_at_least_a_window() -> None:
    budget = SharedBudget(Budget(share=0), 0.0)
    assert spent(budget, 0.99) == 100
    assert spent(budget, 10.98) == 0
    assert spent(budget, 11.0) == 100


def test_a_long_sleep_forgets_everything() -> None:
    budget = SharedBudget(Budget(), 0.0)
    budget.started(0.0)
    spent(budget, 0.0)
    assert budget.balance(1e9) == 100


def test_what_failed_or_succeeded_does_not_change_a_share_of_requests() -> None:
    budget = SharedBudget(Budget(), 0.0)
    before = budget.balance(0.0)
    budget.failed(0.0)
    budget.succeeded(0.0)
    assert budget.balance(0.0) == before


def test_a_share_of_nothing_allows_no_retry() -> None:
    budget = SharedBudget(Budget(share=0, per_second=0), 0.0)
    budget.started(0.0)
    assert not budget.spend(0.0)


def test_the_throttle_stops_when_half_of_the_tokens_are_gone() -> None:
    budget = ThrottledBudget(Throttle(tokens=10, ratio=0.1))
    for _ in range(4):
        budget.failed(0.0)
        assert budget.spend(0.0)
    budget.failed(0.0)
    assert not budget.spend(0.0)


def test_successes_give_tokens_back_up_to_the_most() -> None:
    budget = ThrottledBudget(Throttle(tokens=10, ratio=0.5))
    for _ in range(20):
        budget.failed(0.0)
    assert budget.balance(0.0) == -5  # never below no tokens
    for _ in range(10):
        budget.succeeded(0.0)
    assert not budget.spend(0.0)
    budget.succeeded(0.0)
    assert budget.spend(0.0)
    for _ in range(100):
        budget.succeeded(0.0)
    assert budget.balance(0.0) == 5


def test_a_throttled_retry_costs_no_token_itself() -> None:
    budget = ThrottledBudget(Throttle())
    budget.started(0.0)
    assert spent(budget, 0.0, most=50) == 50


def test_without_a_budget_everything_may_be_sent_again() -> None:
    budget = Unlimited()
    budget.started(0.0)
    budget.failed(0.0)
    budget.succeeded(0.0)
    assert budget.spend(0.0)
    assert budget.balance(0.0) == inf


steps = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 40), st.integers(0, 40)), max_size=60)


@given(steps, st.floats(0, 1), st.floats(0, 5), st.floats(0.5, 20))
def test_in_any_window_retries_are_within_the_share_and_the_reserve(
    steps: list[tuple[float, int, int]], share: float, per_second: float, window: float
) -> None:
    """Whatever window ends with a retry: those of it <= share * requests of it + per_second * window."""
    budget = SharedBudget(Budget(share=share, per_second=per_second, window=window), 0.0)
    now, requests, retries = 0.0, [], []
    for gap, wanted_requests, wanted_retries in steps:
        now += gap
        for _ in range(wanted_requests):
            budget.started(now)
            requests.append(now)
        sent = sum(budget.spend(now) for _ in range(wanted_retries))
        retries += [now] * sent
        since = now - window * (1 - 1e-9)
        asked = sum(at >= since for at in requests)
        assert not sent or sum(at >= since for at in retries) <= share * asked + per_second * window + 1e-6


@pytest.mark.parametrize("rate", [5, 50, 1000])
def test_an_outage_of_a_minute_is_amplified_by_no_more_than_the_share_and_ten_each_second(rate: int) -> None:
    """Every request fails and wants two retries at once."""
    budget, sent, seconds = SharedBudget(Budget(), 0.0), 0, 60
    for n in range(rate * seconds):
        now = n / rate
        budget.started(now)
        sent += 1
        sent += sum(budget.spend(now) for _ in range(2))
    assert sent / (rate * seconds) <= 1.2 + 10 / rate
