"""kdns.server.loopguard: the probe is recognised when it comes back, and only then."""

from __future__ import annotations

from math import inf
from random import Random

import dns.name
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server.loopguard import (
    PATIENCE_SECONDS,
    RETRY_SECONDS,
    SECONDS_MAX,
    SETTLE_SECONDS,
    LoopGuard,
    probe_name,
)
from kdns.wire.name import ROOT, from_text

ZONE = from_text("cluster.local")


def _guard(apex: bytes = ROOT) -> LoopGuard:
    return LoopGuard(apex, Random(7), 100.0)


def test_the_probe_asks_for_hinfo_of_two_numbers_below_the_zone() -> None:
    question = _guard(ZONE).question
    name, _ = dns.name.from_wire(question, 0)
    first, second, *rest = name.labels
    assert (first.isdigit(), second.isdigit()) == (True, True)
    assert rest == [b"cluster", b"local", b""]
    assert int.from_bytes(question[-4:-2]) == dns.rdatatype.HINFO
    assert question[-2:] == b"\0\1"


def test_no_two_servers_send_the_same_probe() -> None:
    assert len({probe_name(ROOT, Random(seed)) for seed in range(100)}) == 100


def test_a_zone_too_long_for_the_probe_is_probed_at_the_root() -> None:
    apex = b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x2c" + b"d" * 44 + b"\0"
    name = probe_name(apex, Random(1))
    assert not name.endswith(apex)
    dns.name.from_wire(name, 0)


def test_it_is_sent_at_once_and_again_until_somebody_answers() -> None:
    guard = _guard()
    assert guard.wake(99.0) is None
    assert guard.wake(100.0) == guard.question
    assert guard.wake(100.5) is None
    assert guard.wake_at == 100.0 + RETRY_SECONDS
    assert guard.wake(102.0) == guard.question
    guard.answered(102.25)
    assert guard.wake_at == 102.25 + SETTLE_SECONDS
    assert guard.wake(104.25) is None
    assert (guard.is_over, guard.wake_at) == (True, inf)


def test_without_an_answer_it_is_given_up() -> None:
    guard = _guard()
    now, sent = 100.0, 0
    while not guard.is_over:
        sent += guard.wake(now) is not None
        now = guard.wake_at
    assert sent == PATIENCE_SECONDS / RETRY_SECONDS
    assert not guard.saw(guard.question, now)


def test_a_probe_that_comes_back_is_a_loop_if_another_one_does_as_well_in_any_case_of_letters() -> None:
    guard = _guard(ZONE)
    first = guard.wake(100.0)
    assert first is not None
    assert not guard.saw(first.upper(), 100.01)
    second = guard.wake(100.01)
    assert second is not None
    assert second != first
    assert guard.saw(second.upper(), 100.02)


def test_copies_of_one_probe_are_no_loop() -> None:
    guard = _guard()
    first = guard.wake(100.0)
    assert first is not None
    assert not any(guard.saw(first, 100.1) for _ in range(10))
    assert guard.wake(100.1) not in (None, first)
    assert not any(guard.saw(first, 100.2) for _ in range(10))


def test_one_that_came_back_after_an_answer_is_looked_into_as_well() -> None:
    guard = _guard()
    first = guard.wake(100.0)
    assert first is not None
    guard.answered(100.1)
    assert not guard.saw(first, 100.2)
    second = guard.wake(100.2)
    assert second is not None
    assert guard.saw(second, 100.3)


def test_after_one_came_back_each_answer_makes_it_ask_for_another_a_few_times() -> None:
    guard, now, asked = _guard(), 100.0, set()
    first = guard.wake(now)
    assert first is not None
    guard.saw(first, now)
    while (question := guard.wake(now)) is not None:
        asked.add(question)
        guard.answered(now)
        now += 0.01
    assert len(asked) == SECONDS_MAX
    guard.wake(now + SETTLE_SECONDS)
    assert guard.is_over


@pytest.mark.parametrize("other", [b"\x011\x011\0\0\x0d\0\1", ROOT + b"\0\x0d\0\1", b""])
def test_other_queries_for_hinfo_are_no_loop(other: bytes) -> None:
    guard = _guard()
    assert not any(guard.saw(other, 100.0) for _ in range(10))


def test_what_comes_when_it_is_over_does_not_count() -> None:
    guard = _guard()
    guard.wake(100.0)
    guard.answered(100.1)
    guard.wake(102.1)
    assert not any(guard.saw(guard.question, 102.2) for _ in range(10))
    guard.answered(200.0)
    assert guard.is_over


def test_a_second_answer_does_not_make_it_last_longer() -> None:
    guard = _guard()
    guard.wake(100.0)
    guard.answered(100.1)
    guard.answered(101.9)
    assert guard.wake_at == pytest.approx(100.1 + SETTLE_SECONDS)


@given(st.lists(st.sampled_from(["wake", "answered", "saw"]), max_size=60), st.data())
def test_it_ends_in_bounded_time_and_asks_a_bounded_number_whatever_happens(
    events: list[str], data: st.DataObject
) -> None:
    guard, now, sent, seen = _guard(), 100.0, 0, 0
    for event in events:
        now += data.draw(st.floats(0, 5))
        if event == "wake":
            sent += guard.wake(now) is not None
        elif event == "answered":
            guard.answered(now)
        else:
            seen += not guard.is_over
            assert guard.saw(guard.question, now) is (not guard.is_over and seen > 1)
    while not guard.is_over:
        now = max(now, guard.wake_at)
        sent += guard.wake(now) is not None
    assert sent <= PATIENCE_SECONDS / RETRY_SECONDS + 2 * SECONDS_MAX + 2
