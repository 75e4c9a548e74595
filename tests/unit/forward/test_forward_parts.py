"""The small parts: how an upstream fares, which one is chosen, timers, and what a reply is worth."""

from __future__ import annotations

from math import inf
from random import Random
from struct import pack

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.forward import timers as timers_module
from kdns.forward.health import HEDGE_MAX, HEDGE_MIN, Care, Rank, Upstream
from kdns.forward.policy import Choice
from kdns.forward.reply import read_reply
from kdns.forward.timers import Timers
from kdns.forward.values import Policy, Transport
from kdns.wire.lifetime import Kind, Lifetime, Limits
from kdns.wire.query import AD_BIT
from tests.unit.forward.messages import OPT, address, nxdomain, question, record, reply, upstream

NO_LIMITS = Limits()
UDP = Transport.UDP


def made(index: int = 0, max_fails: int = 2) -> Upstream:
    return Upstream(index, upstream(index + 1), Care(UDP, max_fails, 0.5, b"\0\0\2\0\1", 0))


def test_round_trip_times_are_smoothed_as_rfc_6298_says() -> None:
    one = made()
    one.answered(0.0, UDP, 0.1)
    assert (one.srtt, one.rttvar) == (0.1, 0.05)
    one.answered(1.0, UDP, 1.02)
    assert one.rttvar == pytest.approx(0.75 * 0.05 + 0.25 * 0.08)
    assert one.srtt == pytest.approx(0.875 * 0.1 + 0.125 * 0.02)


@pytest.mark.parametrize(("rtt", "delay"), [(0.001, HEDGE_MIN), (0.03, 0.09), (0.15, HEDGE_MAX)])
def test_a_hedge_delay_is_three_round_trips_within_bounds(rtt: float, delay: float) -> None:
    one = made()
    assert one.hedge_delay(UDP) == HEDGE_MAX
    one.answered(0.0, UDP, rtt)
    assert one.hedge_delay(UDP) == pytest.approx(delay)
    assert one.hedge_delay(Transport.TCP) == HEDGE_MAX


def test_connections_do_not_count_as_round_trips() -> None:
    one = made()
    one.answered(0.0, Transport.TLS, 0.19)
    assert (one.srtt, one.rtt_count, one.rtt_sum) == (0.0, 1, 0.19)


def test_failures_in_a_row_take_an_upstream_down_and_an_answer_brings_it_back() -> None:
    one = made()
    one.failed(1.0)
    assert one.rank is Rank.DOUBTED
    one.failed(2.0)
    assert one.rank is Rank.DOWN
    one.answered(3.0, UDP, 3.01)
    assert (one.rank, one.fails, one.failures) == (Rank.GOOD, 0, 2)


def test_max_fails_zero_is_never_down() -> None:
    one = made(max_fails=0)
    for when in range(10):
        one.failed(float(when))
    assert one.rank is Rank.DOUBTED


def test_a_message_lost_before_one_that_was_answered_is_held_against_nobody() -> None:
    one = made()
    one.answered(1.0, UDP, 1.01)
    one.failed(0.5)
    one.overdue(0.9)
    assert (one.rank, one.fails) == (Rank.GOOD, 0)
    one.overdue(1.5)
    assert one.rank is Rank.DOUBTED


def test_an_answer_that_comes_late_leaves_a_doubt() -> None:
    one = made()
    one.overdue(0.0)
    one.answered(0.0, UDP, 0.5)
    assert one.rank is Rank.DOUBTED
    one.answered(1.0, UDP, 1.1)
    assert one.rank is Rank.GOOD
    one.failed(2.0)
    one.failed(2.0)
    one.answered(2.0, UDP, 2.9)
    assert one.rank is Rank.DOUBTED


def chosen(choice: Choice, count: int) -> list[int]:
    found = [choice.next(()) for _ in range(count)]
    return [one.index for one in found if one is not None]


def test_round_robin_takes_turns_over_those_that_are_good() -> None:
    three = tuple(made(index) for index in range(3))
    choice = Choice(Policy.ROUND_ROBIN, three, False, Random(1))
    assert chosen(choice, 4) == [0, 1, 2, 0]
    three[1].rank = Rank.DOWN
    assert chosen(choice, 4) == [2, 0, 2, 0]


def test_sequential_takes_the_first_that_is_good() -> None:
    three = tuple(made(index) for index in range(3))
    choice = Choice(Policy.SEQUENTIAL, three, False, Random(1))
    three[0].rank = Rank.DOUBTED
    assert chosen(choice, 2) == [1, 1]
    three[1].rank = three[2].rank = Rank.DOWN
    assert chosen(choice, 2) == [0, 0]
    assert choice.next((0,)) is None


def test_random_takes_all_that_are_good_about_equally_often() -> None:
    three = tuple(made(index) for index in range(3))
    choice = Choice(Policy.RANDOM, three, False, Random(1))
    assert all(250 < chosen(choice, 1000).count(index) < 420 for index in range(3))


@pytest.mark.parametrize("policy", Policy)
def test_while_all_are_down_chance_decides_unless_failing_fast(policy: Policy) -> None:
    three = tuple(made(index) for index in range(3))
    for one in three:
        one.rank = Rank.DOWN
    assert set(chosen(Choice(policy, three, False, Random(1)), 100)) == {0, 1, 2}
    assert chosen(Choice(policy, three, True, Random(1)), 3) == []
    assert Choice(policy, three, False, Random(1)).next((0, 1, 2)) is None


class Sleeping:
    due = inf


def test_a_timer_that_is_set_anew_wakes_once() -> None:
    timers: Timers[Sleeping] = Timers()
    one, two = Sleeping(), Sleeping()
    timers.set(one, 1.0)
    timers.set(two, 2.0)
    timers.set(one, 3.0)
    assert timers.due(2.5) == [two]
    assert timers.next_due == 3.0
    assert timers.due(3.0) == [one]
    assert timers.next_due == inf
    assert timers.due(9.0) == []


def test_entries_that_mean_nothing_are_thrown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers_module, "LYING_MAX", 10)
    timers: Timers[Sleeping] = Timers()
    one = Sleeping()
    for when in range(1000):
        timers.set(one, float(when))
        assert len(timers._queue) <= 32768
    timers._sweep()
    assert len(timers._queue) == 1
    assert timers.due(999.0) == [one]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20), st.booleans()), max_size=60))
def test_all_are_woken_in_time_in_order_and_once(steps: list[tuple[int, int, bool]]) -> None:
    timers: Timers[Sleeping] = Timers()
    sleepers = [Sleeping() for _ in range(6)]
    due: dict[Sleeping, float] = {}
    now = 0.0
    for index, delay, looks in steps:
        when = now + delay
        timers.set(sleepers[index], when)
        due[sleepers[index]] = when
        assert timers.next_due <= min(due.values())
        if looks:
            now += 3.0
            woken = timers.due(now)
            assert [due[one] for one in woken] == sorted(when for when in due.values() if when <= now)
            due = {one: when for one, when in due.items() if when > now}
    assert len(timers.due(inf)) == len(due)


def test_a_reply_is_cut_behind_its_question_and_before_its_opt() -> None:
    asked = question()
    found = read_reply(address(asked, 60), asked, NO_LIMITS)
    assert found is not None
    assert found.body == record(60)
    assert (found.counts, found.ttl_at, found.ttls) == ((1, 0, 0), (6,), (60,))
    assert found.lifetime == Lifetime(Kind.SUCCESS, 60)


def test_only_ra_and_ad_of_a_header_are_passed_on() -> None:
    asked = question()
    found = read_reply(reply(asked, (record(),), flags=AD_BIT | 0x0400), asked, NO_LIMITS)
    assert found is not None
    assert found.flags == 0x80 | AD_BIT


def test_an_opt_in_the_middle_is_taken_out() -> None:
    asked = question("Www.Example.org".lower())
    glue = b"\x02ns" + b"\xc0\x10" + pack(">HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 9))
    found = read_reply(reply(asked, (record(),), additional=(OPT, glue)), asked, NO_LIMITS)
    assert found is not None
    assert found.counts == (1, 0, 1)
    whole = dns.message.from_wire(pack(">6H", 1, 0x8180, 1, *found.counts) + asked + found.body)
    assert whole.edns == -1
    assert [rrset.to_text() for rrset in whole.additional] == ["ns.example.org. 60 IN A 192.0.2.9"]


def test_a_type_that_looks_like_a_letter_is_not_folded() -> None:
    asked = question("www.example.org", 65)
    assert read_reply(reply(asked.replace(b"www", b"wWw"), (record(rrtype=65),)), asked, NO_LIMITS) is not None
    assert read_reply(reply(question("www.example.org", 97)), asked, NO_LIMITS) is None


@pytest.mark.parametrize("other", ["example.org", "xwww.example.org", "wwx.example.org"])
def test_a_reply_to_another_question_is_worth_nothing(other: str) -> None:
    assert read_reply(address(question(other)), question(), NO_LIMITS) is None
    assert read_reply(nxdomain(question("www.example.org", 28)), question(), NO_LIMITS) is None


def test_no_octets_make_it_raise() -> None:
    asked, rng = question(), Random(1)
    whole = bytearray(address(asked))
    for _ in range(3000):
        broken = bytearray(whole)
        broken[rng.randrange(len(broken))] = rng.randrange(256)
        found = read_reply(bytes(broken[: rng.randrange(len(broken) + 1)]), asked, NO_LIMITS)
        assert found is None or found.counts[0] <= 1 or found.body
