"""Who stays in the cache and who leaves it."""

from __future__ import annotations

from random import Random

import pytest

from kdns.forward.cache import BODY_MAX_OCTETS, AnswerCache
from kdns.forward.failures import FAILURES_MAX, Failures
from kdns.forward.reply import Answer, read_reply
from kdns.forward.values import CacheSpec
from kdns.wire.lifetime import Limits
from tests.unit.forward.messages import address, nxdomain, question, record, reply

NO_LIMITS = Limits()


def answer(octets: bytes, asked: bytes) -> Answer:
    found = read_reply(octets, asked, NO_LIMITS)
    assert found is not None
    return found


def success(asked: bytes, ttl: int = 300) -> Answer:
    return answer(address(asked, ttl), asked)


def store(cache: AnswerCache, number: int, now: float = 0.0) -> None:
    asked = question(f"n{number}.example")
    cache.store((asked, 0), success(asked), now)


def kept(cache: AnswerCache, number: int, now: float = 0.0) -> bool:
    return cache.find((question(f"n{number}.example"), 0), now) is not None


@pytest.mark.parametrize("capacity", [0, 1, 2, 10, 100])
def test_there_are_never_more_than_there_is_room_for(capacity: int) -> None:
    cache = AnswerCache(CacheSpec(success_capacity=capacity))
    rng = Random(1)
    for _ in range(2000):
        number = rng.randrange(300)
        store(cache, number)
        if (entry := cache.find((question(f"n{rng.randrange(300)}.example"), 0), 0.0)) is not None:
            cache.hit(entry, 0.0)
        assert cache.success.entries <= capacity
        assert len(cache._known) == cache.success.entries
    shelf = cache.success
    assert len(shelf._ghosts) <= capacity
    assert len(shelf._newcomers) + len(shelf._main) <= capacity
    assert shelf.evictions > 0


def test_a_flood_of_names_that_are_asked_for_once_pushes_out_nothing_that_is_asked_for_twice() -> None:
    cache = AnswerCache(CacheSpec(success_capacity=100))
    for number in range(50):
        store(cache, number)
        entry = cache.find((question(f"n{number}.example"), 0), 0.0)
        assert entry is not None
        cache.hit(entry, 0.0)
    for number in range(1000, 5000):
        store(cache, number)
    assert all(kept(cache, number) for number in range(50))


def test_a_flood_of_denials_pushes_out_no_answer() -> None:
    cache = AnswerCache(CacheSpec(success_capacity=10, denial_capacity=10))
    for number in range(10):
        store(cache, number)
    for number in range(100, 200):
        asked = question(f"n{number}.example")
        cache.store((asked, 0), answer(nxdomain(asked), asked), 0.0)
    assert all(kept(cache, number) for number in range(10))
    assert cache.denial.entries == 10


def test_one_that_comes_back_soon_after_it_left_stays() -> None:
    cache = AnswerCache(CacheSpec(success_capacity=20))
    for number in range(25):
        store(cache, number)
    assert not kept(cache, 0)
    store(cache, 0)
    for number in range(100, 130):
        store(cache, number)
    assert kept(cache, 0)


def test_one_that_is_not_asked_for_any_more_leaves_in_the_end() -> None:
    cache = AnswerCache(CacheSpec(success_capacity=10))

    def use(number: int) -> None:
        store(cache, number)
        for _ in range(2):
            entry = cache.find((question(f"n{number}.example"), 0), 0.0)
            assert entry is not None
            cache.hit(entry, 0.0)

    for number in range(11):
        use(number)
    use(1)  # by now in the main queue
    for number in range(100, 104):
        use(number)
    assert kept(cache, 1)
    assert not kept(cache, 2)
    for number in range(200, 300):
        use(number)
    assert not kept(cache, 1)


def test_a_reply_that_is_very_long_is_not_kept() -> None:
    asked = question("long.example")
    records = tuple(record(300, number.to_bytes(4, "big")) for number in range(BODY_MAX_OCTETS // 16 + 1))
    cache = AnswerCache(CacheSpec())
    cache.store((asked, 0), answer(reply(asked, records), asked), 0.0)
    assert cache.success.entries == 0


def test_what_is_stored_again_is_one_entry_with_its_new_time() -> None:
    cache = AnswerCache(CacheSpec())
    store(cache, 1, 0.0)
    store(cache, 1, 200.0)
    entry = cache.find((question("n1.example"), 0), 400.0)
    assert entry is not None
    assert entry.at(400.0).ttls == (100,)
    assert cache.success.entries == 1


def test_a_name_that_expires_again_and_again_takes_one_place() -> None:
    cache = AnswerCache(CacheSpec(success_capacity=10))
    for number in range(5):
        store(cache, number)
    for now in range(0, 100_000, 301):
        assert not kept(cache, 99, float(now))
        store(cache, 99, float(now))
    assert all(kept(cache, number) for number in range(5))
    assert (cache.success.entries, cache.success.evictions) == (6, 0)


def test_an_aged_answer_is_made_once_a_second() -> None:
    cache = AnswerCache(CacheSpec())
    store(cache, 1)
    entry = cache.find((question("n1.example"), 0), 5.0)
    assert entry is not None
    assert entry.at(5.1) is entry.at(5.9)
    assert entry.at(6.0).ttls == (294,)
    assert entry.at(1e9).ttls == (0,)


def test_failures_are_bounded_and_the_oldest_goes_first() -> None:
    failures = Failures(5.0)
    for number in range(FAILURES_MAX + 10):
        failures.note((b"%d" % number, 0), None, 0.0)
    assert len(failures) == FAILURES_MAX
    assert failures.find((b"0", 0), 0.5) is None
    assert failures.find((b"10", 0), 0.5) is not None


def test_a_failure_doubles_to_its_bound_and_begins_anew_after_a_while() -> None:
    failures = Failures(5.0)
    key, now, spans = (b"x", 0), 0.0, []
    for _ in range(5):
        spans.append(failures.note(key, None, now))
        assert failures.find(key, now + spans[-1] - 0.01) is not None
        now += spans[-1]
        assert failures.find(key, now) is None
    assert spans == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert failures.note(key, None, now + 100.0) == 1.0
