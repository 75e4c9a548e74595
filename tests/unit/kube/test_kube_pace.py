"""How soon an API server that comes back is followed again, and how seldom it is asked all the same."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from kdns.kube.backoff import FIRST_DELAY, MAX_DELAY, STEADY_SECONDS, Pace
from kdns.kube.identity import Identity
from kdns.kube.request import Failure, Fault
from kdns.kube.stages import PROVING_SECONDS
from tests.unit.kube.reflecting import (
    BROKEN,
    EXPIRED,
    REFUSED,
    START,
    Driven,
    added,
    end_bookmark,
    error,
    modified,
    prove,
    rewatching,
    synced,
)

HOUR = 3600.0
BACKOFFS_MAX = 6 + HOUR / MAX_DELAY  # of one kind: those that grow, then one for each of the longest
OTHER_FAULTS = [fault for fault in Fault if fault is not Fault.REFUSED]


def grown(pace: Pace) -> None:
    for backoff in (pace.list, pace.watch, pace.absence):
        for _ in range(10):
            backoff.next_delay(0.0)


def begun_anew(pace: Pace) -> list[bool]:
    """Which of list, watch and absence have."""
    found = [backoff.next_delay(1.0) for backoff in (pace.list, pace.watch, pace.absence)]
    assert all(delay < 2 * FIRST_DELAY or delay >= MAX_DELAY for delay in found)
    return [delay < 2 * FIRST_DELAY for delay in found]


@pytest.mark.parametrize(
    ("seconds", "forgotten"),
    [
        (0.0, (False, False, False)),
        (STEADY_SECONDS - 0.1, (False, False, False)),
        (STEADY_SECONDS, (False, True, True)),
        (MAX_DELAY - 0.1, (False, True, True)),
        (MAX_DELAY, (True, True, True)),
    ],
)
def test_a_watch_that_stood_has_failures_forgotten_and_those_of_lists_later(
    seconds: float, forgotten: tuple[bool, bool, bool]
) -> None:
    pace = Pace(Random(1))
    grown(pace)
    pace.stood(seconds)
    assert begun_anew(pace) == list(forgotten)


def test_an_api_server_that_restarts_each_minute_is_asked_again_as_soon_each_time() -> None:
    driven = synced("web")
    for _ in range(60):
        driven.now += 55.0
        driven.fail(BROKEN)
        assert driven.delay < 2 * FIRST_DELAY
        driven.now = driven.reflector.request.due
        driven.fail(REFUSED)
        assert driven.delay < 2 * FIRST_DELAY
        prove(driven)


def test_its_versions_may_be_gone_each_time_and_the_list_is_as_soon() -> None:
    driven = synced("web")
    for turn in range(30):
        driven.now += 55.0
        driven.end()
        assert driven.delay == 0
        driven.fail(REFUSED)
        driven.open()
        driven.feed(EXPIRED)
        assert driven.purpose == "watch list"
        assert driven.delay < 2 * FIRST_DELAY
        driven.sync(added("web", 1), version=1000 + turn)


def test_refused_connections_make_no_later_wait_longer() -> None:
    driven = rewatching()
    for _ in range(20):
        driven.now = driven.reflector.request.due
        driven.fail(REFUSED)
    assert driven.delay >= MAX_DELAY
    driven.answer(b"", 503)
    assert driven.delay < 2 * FIRST_DELAY
    driven.open()
    driven.feed(EXPIRED)
    assert driven.delay < 2 * FIRST_DELAY


def test_a_silence_after_a_watch_that_stood_is_the_end_of_it() -> None:
    driven = synced("web")
    for _ in range(10):
        driven.fail(BROKEN)
    assert driven.delay >= MAX_DELAY
    prove(driven)
    while driven.purpose != "probe":
        driven.wake()
    driven.fail(BROKEN)
    assert driven.delay < 2 * FIRST_DELAY


# What may be sent early


@pytest.mark.parametrize("start", [Driven, rewatching])
def test_after_a_refused_connection_the_request_may_be_sent_as_soon_as_somebody_listens(
    start: Callable[[], Driven],
) -> None:
    driven = start()
    assert not driven.reflector.request.when_heard_of
    for _ in range(10):
        driven.fail(REFUSED)
        assert driven.reflector.request.when_heard_of
    assert driven.delay >= MAX_DELAY
    driven.reflector.opened(driven.number, 200, {}, driven.now)
    assert driven.reflector.wake_at > driven.now
    driven.fail(BROKEN)
    assert not driven.reflector.request.when_heard_of


def test_a_watch_that_is_answered_early_is_followed_as_any_other() -> None:
    driven = rewatching()
    for _ in range(10):
        driven.fail(REFUSED)
    before = driven.now
    driven.reflector.opened(driven.number, 200, {}, before)
    driven.feed(modified("web", 150))
    assert driven.reflector.is_live
    assert driven.reflector.resource_version == "150"
    assert driven.now == before


@pytest.mark.parametrize("fault", OTHER_FAULTS)
def test_after_any_other_failure_it_is_not_sent_early(fault: Fault) -> None:
    driven = rewatching()
    driven.fail(REFUSED)
    driven.fail(Failure(fault, "the reason"))
    assert not driven.reflector.request.when_heard_of


def test_a_request_that_was_not_answered_in_time_is_not_sent_early_again() -> None:
    driven = rewatching()
    driven.fail(REFUSED)
    driven.wake()
    assert not driven.reflector.request.when_heard_of


def test_which_cluster_it_is_may_be_asked_early_too() -> None:
    identity = Identity(Random(1), START)
    for failure, is_early in ((REFUSED, True), (BROKEN, False), (REFUSED, True)):
        assert identity.request is not None
        identity.failed(identity.request.number, failure, START)
        assert identity.request is not None
        assert identity.request.when_heard_of is is_early


# Whoever answers, and is not well, is asked as seldom as before


def told_and_broken(driven: Driven) -> None:
    driven.feed(modified("web", 1000 + driven.number))
    driven.fail(BROKEN)


def told_and_ended(driven: Driven) -> None:
    driven.feed(modified("web", 1000 + driven.number))
    driven.end()


def told_and_an_error(driven: Driven) -> None:
    driven.feed(modified("web", 1000 + driven.number), error(500, "InternalError"))


def refused_in_between(driven: Driven) -> None:
    driven.fail(BROKEN)
    driven.now = driven.reflector.request.due
    driven.fail(REFUSED)


ENDS = [told_and_broken, told_and_ended, told_and_an_error, refused_in_between]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("stood", [0.0, PROVING_SECONDS - 0.1])
def test_who_ends_every_watch_at_once_is_asked_no_more_than_the_backoff_allows(
    end: Callable[[Driven], None], stood: float
) -> None:
    driven = synced("web")
    first = driven.number
    while driven.now < START + HOUR and driven.number < HOUR:
        if driven.purpose == "watch list":
            driven.sync(added("web", 1), version=1000 + driven.number)
        else:
            driven.open()
        driven.now += stood
        end(driven)
    assert 60 < driven.number - first <= 2 * BACKOFFS_MAX


@pytest.mark.parametrize("stood", [0.0, STEADY_SECONDS, MAX_DELAY - 1.0, MAX_DELAY])
def test_whose_versions_are_gone_whenever_it_is_asked_has_no_more_lists_than_the_backoff_allows(
    stood: float,
) -> None:
    driven = synced("web")
    while driven.now < START + HOUR:
        driven.now += stood
        driven.feed(EXPIRED)
        driven.sync(added("web", 1), version=1000 + driven.number)
    assert driven.reflector.statistics.lists <= BACKOFFS_MAX


def test_who_breaks_every_watch_after_some_seconds_is_asked_again_at_once() -> None:
    """Blind for a seventh of the time, rather than for nearly all of it."""
    driven = synced("web")
    first = driven.number
    while driven.now < START + HOUR:
        if not driven.reflector.is_live:
            driven.wake()
        driven.now += STEADY_SECONDS + 0.1
        driven.fail(BROKEN)
        assert driven.delay < 2 * FIRST_DELAY
        driven.open()
    assert driven.number - first <= HOUR / (STEADY_SECONDS + FIRST_DELAY)
    assert driven.reflector.statistics.lists == 1


def test_an_end_bookmark_alone_is_no_standing() -> None:
    driven = Driven()
    for _ in range(10):
        driven.open()
        driven.feed(added("web", 1), end_bookmark(100))
        driven.feed(EXPIRED)
    assert driven.delay >= MAX_DELAY
