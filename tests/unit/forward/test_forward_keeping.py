"""What is told from what is kept: TTLs that count down, prefetch, what has expired, and failures."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kdns.forward.values import CacheSpec, Fault, Limits
from kdns.wire.iana import EDE, Rcode
from kdns.wire.outside import NO_EDE, Purpose, Source, Told
from kdns.wire.query import CD_BIT, RD_BIT
from tests.unit.forward.messages import ask, forward, group, nxdomain, record, reply, soa, upstream
from tests.unit.forward.world import Behaviour, World, dead, denying, faulty, good, saying, servfail

HOST = "127.0.0.1"


def world(behaviour: Behaviour, limits: Limits | None = None, **options: object) -> World:
    return World({HOST: behaviour}, group(forward(upstream(1)), cache=CacheSpec(**options)), limits=limits)


def asked(one: World, when: float, name: str = "www.example.org", **options: object) -> Told:
    """Ask at a time, and be told within patience."""
    one.ask(ask(name, len(one.told), **options), when)
    one.run(when + 4.5)
    return one.told[-1][2]


def test_a_kept_answer_is_told_at_once_with_its_ttl_counted_down() -> None:
    one = world(good(0.0, 300))
    first = asked(one, 0.0)
    later = asked(one, 100.0)
    assert one.told[-1][0] == 100.0
    assert (later.source, later.ttls, later.keep) == (Source.CACHE_SUCCESS, (200,), 200)
    assert later.body == first.body.replace((300).to_bytes(4, "big"), (200).to_bytes(4, "big"))
    assert len(one.sent) == 1


def test_each_record_counts_down_by_itself_and_the_least_ttl_ends_the_reply() -> None:
    one = world(lambda send, _: (0.0, reply(send.question, (record(300), record(20)))))
    asked(one, 0.0)
    assert asked(one, 10.5).ttls == (290, 10)
    assert asked(one, 20.0).source is Source.UPSTREAM


def test_what_has_expired_is_asked_for_again() -> None:
    one = world(good(0.0, 30))
    asked(one, 0.0)
    assert asked(one, 29.9).keep == 0
    assert asked(one, 30.0).source is Source.UPSTREAM
    assert len(one.sent) == 2


def test_a_denial_is_kept_no_longer_than_its_soa_says() -> None:
    one = world(lambda send, _: (0.0, reply(send.question, (), (soa(600, 20),), Rcode.NXDOMAIN)))
    first = asked(one, 0.0)
    assert (first.rcode, first.ttls, first.keep) == (Rcode.NXDOMAIN, (20,), 20)
    second = asked(one, 5.0)
    assert (second.source, second.rcode, second.ttls) == (Source.CACHE_DENIAL, Rcode.NXDOMAIN, (15,))
    assert asked(one, 20.0).source is Source.UPSTREAM


def test_ttl_zero_is_never_kept() -> None:
    one = world(good(0.0, 0), success_min_ttl=60, prefetch_hits=1)
    first = asked(one, 0.0)
    assert (first.keep, first.prefetch_hits) == (0, 0)
    assert asked(one, 1.0).source is Source.UPSTREAM


def test_ttls_are_bounded_as_the_cache_line_says() -> None:
    one = world(good(0.0, 3000), success_ttl=30)
    assert (asked(one, 0.0).ttls, asked(one, 10.0).ttls) == ((30,), (20,))
    two = world(good(0.0, 5), success_min_ttl=60)
    assert (asked(two, 0.0).ttls, asked(two, 10.0).ttls) == ((60,), (50,))


def test_ttls_stay_as_they_came_where_the_line_says_so() -> None:
    one = world(good(0.0, 30), keeps_ttls=True)
    assert asked(one, 0.0).keeps_ttls
    later = asked(one, 20.0)
    assert (later.source, later.ttls, later.keep, later.keeps_ttls) == (Source.CACHE_SUCCESS, (30,), 10, True)
    assert asked(one, 30.0).source is Source.UPSTREAM


def test_without_a_cache_line_nothing_is_kept() -> None:
    one = World({HOST: good()}, group(forward(upstream(1)), cache=None))
    assert asked(one, 0.0).keep == 0
    assert asked(one, 1.0).source is Source.UPSTREAM
    one.behaviours[HOST] = servfail
    asked(one, 10.0)
    asked(one, 10.1)
    assert len(one.sent) == 4


def test_disabled_zones_and_zones_that_are_not_named_are_not_kept() -> None:
    one = world(good(), zones=(b"\x03org\0",), disabled_success=(b"\x07private\x03org\0",))
    names = ["a.org", "a.private.org", "a.com"]
    assert [asked(one, one.now, name).keep > 0 for name in names] == [True, False, False]
    assert [asked(one, one.now, name).keep > 0 for name in names] == [True, False, False]
    assert len(one.sent) == 5
    two = world(denying(), disabled_denial=(b"\x03org\0",))
    assert [asked(two, two.now, name).keep > 0 for name in ["a.org", "a.com"]] == [False, True]


def test_do_and_cd_have_entries_of_their_own() -> None:
    one = world(good())
    for number, (flags, dnssec_ok) in enumerate([(RD_BIT, False), (RD_BIT, True), (RD_BIT | CD_BIT, False)]):
        assert asked(one, number * 10.0, flags=flags, dnssec_ok=dnssec_ok).source is Source.UPSTREAM
        assert asked(one, number * 10.0 + 5, flags=flags, dnssec_ok=dnssec_ok).source is Source.CACHE_SUCCESS


def test_what_was_asked_without_rd_is_not_kept_but_answered_from_what_is() -> None:
    one = world(good())
    assert asked(one, 0.0, flags=0).keep == 0
    assert asked(one, 10.0).source is Source.UPSTREAM
    assert asked(one, 20.0, flags=0).source is Source.CACHE_SUCCESS


def test_what_is_asked_for_often_is_fetched_before_it_expires() -> None:
    one = world(good(0.01, 100), prefetch_hits=2, prefetch_percent=10)
    assert asked(one, 0.0).prefetch_hits == 2
    asked(one, 80.0)
    assert len(one.sent) == 1
    assert asked(one, 95.0).source is Source.CACHE_SUCCESS
    assert len(one.sent) == 2
    assert asked(one, 105.0).source is Source.CACHE_SUCCESS
    assert one.resolver.groups[0].cache.counts.prefetches == 1


def test_a_gap_between_hits_starts_their_count_anew() -> None:
    one = world(good(0.01, 100), prefetch_hits=2, prefetch_gap=10.0)
    asked(one, 0.0)
    asked(one, 80.0)
    asked(one, 95.0)
    assert len(one.sent) == 1


def test_a_worker_can_ask_for_a_prefetch() -> None:
    one = world(good(0.01, 100), prefetch_hits=1, prefetch_percent=10)
    asked(one, 0.0)
    early = asked(one, 49.0, purpose=Purpose.PREFETCH)
    assert (early.source, len(one.sent)) == (Source.CACHE_SUCCESS, 1)
    fresh = asked(one, 95.0, purpose=Purpose.PREFETCH)
    assert (fresh.source, fresh.ttls, len(one.sent)) == (Source.UPSTREAM, (100,), 2)
    assert asked(one, 100.0, purpose=Purpose.PREFETCH).source is Source.CACHE_SUCCESS


def test_a_prefetch_that_fails_takes_nothing_away() -> None:
    one = world(good(0.01, 100), prefetch_hits=1)
    asked(one, 0.0)
    one.behaviours[HOST] = servfail
    said = asked(one, 95.0, purpose=Purpose.PREFETCH)
    assert (said.source, said.ttls) == (Source.CACHE_SUCCESS, (5,))


def test_a_prefetch_that_failed_is_not_tried_again_at_each_hit() -> None:
    one = world(good(0.01, 100), prefetch_hits=1)
    asked(one, 0.0)
    one.behaviours[HOST] = servfail
    for number in range(5):
        one.ask(ask(number=number), 95.0 + number / 10)
    one.run(96.0)
    assert len(one.asked_of(HOST)) == 2
    assert {said.source for said in one.tells()[1:]} == {Source.CACHE_SUCCESS}


def test_what_has_expired_is_told_at_once_while_it_is_fetched_anew() -> None:
    one = world(good(0.01, 10), stale=3600.0)
    asked(one, 0.0)
    stale = asked(one, 100.0)
    assert (stale.source, stale.ede, stale.ttls, stale.keep) == (Source.STALE, EDE.STALE_ANSWER, (10,), 0)
    assert asked(one, 105.0).source is Source.CACHE_SUCCESS
    assert len(one.sent) == 2


def test_the_ttl_of_what_has_expired_is_30_at_most() -> None:
    one = world(good(0.01, 300), stale=3600.0)
    asked(one, 0.0)
    stale = asked(one, 400.0)
    assert stale.ttls == (30,)
    assert int.from_bytes(stale.body[6:10], "big") == 30


def test_an_expired_denial_says_that_it_is_one() -> None:
    one = world(denying(), stale=3600.0)
    asked(one, 0.0)
    assert asked(one, 100.0).ede == EDE.STALE_NXDOMAIN


def test_nothing_stands_in_for_longer_than_allowed() -> None:
    one = world(good(0.01, 10), stale=60.0)
    asked(one, 0.0)
    one.behaviours[HOST] = servfail
    assert asked(one, 69.0).source is Source.STALE
    assert asked(one, 90.0).rcode == Rcode.SERVFAIL


def test_verifying_asks_an_upstream_first_and_tells_what_has_expired_if_it_is_slow() -> None:
    one = world(good(0.01, 10), stale=3600.0, is_verifying=True)
    asked(one, 0.0)
    assert asked(one, 100.0).source is Source.UPSTREAM
    one.behaviours[HOST] = good(0.15, 10)
    assert asked(one, 200.0).source is Source.STALE
    assert one.told[-1][0] == pytest.approx(200.1)
    assert asked(one, 205.0).source is Source.CACHE_SUCCESS


def test_while_a_slow_upstream_is_verified_further_clients_do_not_wait() -> None:
    one = world(good(0.01, 10), stale=3600.0, is_verifying=True)
    asked(one, 0.0)
    one.behaviours[HOST] = dead
    one.ask(ask(number=10), 100.0)
    one.ask(ask(number=11), 101.0)
    one.run(101.5)
    assert one.resolver.waiting == one.resolver.in_flight == 1
    one.run(110.0)
    assert [(when, said.number, said.source) for when, _, said in one.told[1:]] == [
        (pytest.approx(100.1), 10, Source.STALE),
        (101.0, 11, Source.STALE),
    ]
    assert one.resolver.waiting == 0


def test_verifying_tells_what_has_expired_as_soon_as_no_upstream_can_answer() -> None:
    one = world(good(0.01, 10), stale=3600.0, is_verifying=True)
    asked(one, 0.0)
    one.behaviours[HOST] = servfail
    assert asked(one, 100.0).source is Source.STALE
    assert one.told[-1][0] == pytest.approx(100.01)


def test_an_upstream_that_failed_is_not_asked_again_for_each_who_is_told_what_has_expired() -> None:
    one = world(good(0.01, 10), stale=3600.0)
    asked(one, 0.0)
    one.behaviours[HOST] = servfail
    for number in range(10):
        one.ask(ask(number=number), 100.0 + number / 20)
    one.run(101.0)
    assert {said.source for said in one.tells()[1:]} == {Source.STALE}
    assert len(one.asked_of(HOST)) == 2


def test_a_failure_is_kept_for_a_second_and_then_for_twice_as_long() -> None:
    one = world(servfail)
    for when in range(100):
        one.ask(ask(number=when), when / 10)
    one.run(20.0)
    times = one.asked_of(HOST)
    assert [round(later - sooner, 1) for sooner, later in pairwise(times)][:3] == [1.1, 2.1, 4.1]
    assert {said.rcode for said in one.tells()} == {Rcode.SERVFAIL}
    assert [said.ede for said in one.tells()][:2] == [NO_EDE, EDE.CACHED_ERROR]
    assert [said.keep for said in one.tells()][:2] == [1, 0]


def test_a_failure_is_forgotten_with_the_first_answer() -> None:
    one = world(servfail)
    asked(one, 0.0)
    one.behaviours[HOST] = good(0.01, 1)
    assert asked(one, 5.0).rcode == Rcode.NOERROR
    one.behaviours[HOST] = servfail
    assert asked(one, 10.0).keep == 1


def test_servfail_zero_keeps_no_failure() -> None:
    one = world(servfail, failure=0.0)
    for number in range(3):
        one.ask(ask(number=number), number / 10)
    one.run(5.0)
    assert len(one.sent) == 3


def test_silence_is_told_with_why_and_kept_as_a_failure() -> None:
    one = world(faulty(Fault.REFUSED))
    assert asked(one, 0.0).ede == EDE.NO_REACHABLE_AUTHORITY
    one.ask(ask(number=2), one.now)
    one.run(one.now)
    one = world(dead)
    one.ask(ask(number=1))
    one.ask(ask(number=2), 4.5)
    one.run(4.6)
    assert [(when, said.ede) for when, _, said in one.told] == [
        (4.0, EDE.NO_REACHABLE_AUTHORITY),
        (4.5, EDE.CACHED_ERROR),
    ]


def test_an_answer_with_another_rcode_is_passed_on_and_not_kept() -> None:
    one = world(saying(Rcode.YXDOMAIN))
    said = asked(one, 0.0)
    assert (said.rcode, said.keep, said.source) == (Rcode.YXDOMAIN, 0, Source.UPSTREAM)


def test_answers_replace_denials_and_the_other_way_round() -> None:
    one = world(lambda send, _: (0.0, nxdomain(send.question, 10)))
    assert asked(one, 0.0).rcode == Rcode.NXDOMAIN
    one.behaviours[HOST] = good(0.0, 10)
    assert asked(one, 10.0).rcode == Rcode.NOERROR
    cache = one.resolver.groups[0].cache
    assert (cache.success.entries, cache.denial.entries) == (1, 0)
    assert asked(one, 15.0).source is Source.CACHE_SUCCESS


def test_what_is_counted() -> None:
    one = world(good(0.01, 100), stale=1000.0)
    for when in (0.0, 10.0, 20.0, 500.0):
        asked(one, when)
    cache = one.resolver.groups[0].cache
    assert (cache.success.hits, cache.denial.hits, cache.success.entries) == (2, 0, 1)
    assert (cache.counts.misses, cache.counts.stale, cache.counts.prefetches) == (2, 1, 1)
    assert (one.resolver.counts.asked, one.resolver.counts.flights) == (4, 2)
    assert one.resolver.upstreams[0].requests == 2
    assert one.resolver.upstreams[0].rtt_sum == pytest.approx(0.02)
