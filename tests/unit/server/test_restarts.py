"""kdns.server.restarts: when to start again, and who is stuck."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdns.server.restarts import MAX_DELAY, SILENCE_SECONDS, STABLE_SECONDS, Backoff, Watchdog


def test_the_first_restart_is_immediate_and_the_next_ones_wait_longer_and_longer() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay(lived=0.0) for _ in range(10)]
    assert delays[:4] == [0.0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert delays[-1] == MAX_DELAY


def test_a_child_that_lived_long_is_restarted_at_once() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_delay(lived=0.0)
    assert backoff.next_delay(lived=STABLE_SECONDS) == 0.0
    assert backoff.next_delay(lived=0.0) == 0.1


@given(st.lists(st.floats(0, 2 * STABLE_SECONDS), max_size=50))
def test_delays_are_bounded_and_never_two_at_once_for_short_lives(lives: list[float]) -> None:
    backoff, before = Backoff(), None
    for lived in lives:
        delay = backoff.next_delay(lived)
        assert 0.0 <= delay <= MAX_DELAY
        assert not (delay == 0.0 and before is not None and lived < STABLE_SECONDS)
        before = delay


def test_a_worker_is_silent_only_after_more_than_the_bound() -> None:
    watchdog = Watchdog(now=0.0, interval=0.1)
    for tick in range(1, 30):
        watchdog.tick(tick * 0.1)
    assert not watchdog.is_silent(heartbeat=2.9 - SILENCE_SECONDS, now=2.9)
    assert watchdog.is_silent(heartbeat=2.8 - SILENCE_SECONDS, now=2.9)


def test_nobody_is_silent_because_the_supervisor_was_late() -> None:
    watchdog = Watchdog(now=0.0, interval=0.1)
    watchdog.tick(60.0)  # the machine was stopped for a minute
    assert not watchdog.is_silent(heartbeat=0.0, now=60.0)
    watchdog.tick(60.1)
    assert not watchdog.is_silent(heartbeat=0.0, now=60.9)
    assert watchdog.is_silent(heartbeat=0.0, now=60.0 + SILENCE_SECONDS + 0.1)
