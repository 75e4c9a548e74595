"""The rate limit: a second's worth for each network, every second reply over it a short one, bounded state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.ratelimit import Judgement, RateLimiter, network_of, share
from tests.support.subtrees import packed

PASS, SLIP, DROP = Judgement.PASS, Judgement.SLIP, Judgement.DROP
CLIENT = packed("192.0.2.99")
START = 1_800_000_000.0


def judged(limiter: RateLimiter, count: int, now: float = START, client: bytes = CLIENT) -> list[Judgement]:
    return [limiter.judge(client, now) for _ in range(count)]


@pytest.mark.parametrize("rate", [1, 2, 3, 7, 10, 99, 1000])
def test_a_burst_gets_one_seconds_worth_and_then_every_second_reply_is_short(rate: int) -> None:
    limiter = RateLimiter(rate)
    assert judged(limiter, rate + 4) == [PASS] * rate + [SLIP, DROP, SLIP, DROP]


@pytest.mark.parametrize("rate", [1, 2, 3, 7, 10, 99])
def test_a_network_that_waits_a_second_has_all_again_and_no_more(rate: int) -> None:
    limiter = RateLimiter(rate)
    for second in range(3):
        assert judged(limiter, 2 * rate, START + second).count(PASS) == rate
    assert judged(limiter, 2 * rate, START + 100).count(PASS) == rate


def test_whoever_keeps_to_the_rate_is_never_refused() -> None:
    limiter = RateLimiter(10)
    assert {limiter.judge(CLIENT, START + at / 10) for at in range(1000)} == {PASS}


@given(st.integers(1, 50), st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_in_any_time_no_more_passes_than_the_rate_and_one_seconds_worth(rate: int, gaps: list[float]) -> None:
    limiter, now, passed = RateLimiter(rate), START, 0
    for gap in gaps:
        now += gap
        passed += limiter.judge(CLIENT, now) is PASS
    assert passed <= rate * (now - START) + rate + 1


def test_a_clock_that_goes_back_shuts_nobody_out() -> None:
    limiter = RateLimiter(5)
    judged(limiter, 20)
    assert judged(limiter, 6, START - 3600) == [PASS] * 5 + [DROP]


@pytest.mark.parametrize(("one", "other", "is_same"), [
    ("192.0.2.1", "192.0.2.255", True), ("192.0.2.1", "192.0.3.1", False),
    ("2001:db8::1", "2001:db8:0:ff::1", True), ("2001:db8::1", "2001:db8:0:100::1", False),
    ("192.0.2.1", "::ffff:192.0.2.9", True), ("::ffff:192.0.2.1", "::ffff:192.0.3.1", False),
])
def test_a_network_is_a_24_or_a_56(one: str, other: str, is_same: bool) -> None:
    assert (network_of(packed(one)) == network_of(packed(other))) is is_same


def test_networks_have_a_limit_each() -> None:
    limiter = RateLimiter(2)
    assert judged(limiter, 3) == [PASS, PASS, SLIP]
    assert judged(limiter, 3, client=packed("198.51.100.1")) == [PASS, PASS, SLIP]


def test_state_is_bounded_and_a_network_that_is_flooded_stays_known() -> None:
    limiter = RateLimiter(1, networks=100)
    for at in range(2000):
        limiter.judge((at + 1).to_bytes(3) + b"\1", START)
        assert limiter.judge(CLIENT, START) is not PASS or at == 0
        assert len(limiter) <= 201


@pytest.mark.parametrize(("rate", "workers", "each"), [(100, 1, 100), (100, 4, 25), (5, 4, 2), (1, 4, 1)])
def test_workers_share_the_rate(rate: int, workers: int, each: int) -> None:
    assert share(rate, workers) == each
