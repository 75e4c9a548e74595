"""An API server that fails for an hour, in whatever way: few requests, few lines in the log, nothing that grows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kdns.kube.backoff import MAX_DELAY
from kdns.kube.request import Failure, Fault, Severity
from tests.unit.kube.reflecting import (
    BROKEN,
    EXPIRED,
    REFUSED,
    START,
    Driven,
    added,
    bookmark,
    end_bookmark,
    error,
    page,
    recorded,
    service_object,
)

HOUR = 3600.0
# The first few, and then one for each backoff of at least MAX_DELAY. Each may be for two requests, list and watch.
BACKOFFS_MAX = 6 + HOUR / MAX_DELAY

Failing = Callable[[Driven], object]


def answers(name: str) -> Failing:
    return lambda driven: driven.refuse(name)


def statuses(code: int) -> Failing:
    return lambda driven: driven.answer(b"", code)


def fails(fault: Fault) -> Failing:
    return lambda driven: driven.fail(Failure(fault, f"{fault.value}: do something"))


def opens_and_breaks(driven: Driven) -> None:
    driven.open()
    driven.fail(BROKEN)


def opens_and_ends(driven: Driven) -> None:
    driven.open()
    driven.end()


def never_answers(driven: Driven) -> None:
    driven.wake()


def opens_and_says_nothing(driven: Driven) -> None:
    driven.open()
    number = driven.number
    while driven.number == number:
        driven.wake()


def says_rubbish(driven: Driven) -> None:
    driven.answer(b"<html>\n<body>\n")


def breaks_off(driven: Driven) -> None:
    """Lists well, and ends every watch with an error."""
    if driven.purpose == "list":
        driven.answer(page(50, service_object("web", 1)))
    else:
        driven.open()
        driven.feed(error(500, "InternalError", "broken"))


def has_always_expired(driven: Driven) -> None:
    """Lists well, and remembers nothing."""
    driven.open()
    if driven.purpose == "watch list":
        driven.feed(added("web", 1), end_bookmark(50))
    driven.feed(EXPIRED)


def loses_tokens(driven: Driven) -> None:
    """Never lists to the end."""
    if driven.purpose == "watch list":
        driven.refuse("watchlist_gate_off")
    elif "limit" not in driven.query:
        driven.refuse("apf_429")
    elif "continue" in driven.query:
        driven.refuse("list_continue_410")
    else:
        driven.answer(page(50, service_object("web", 1), token="next"))


def goes_back(driven: Driven) -> None:
    """Is an older store with every answer."""
    driven.open()
    if driven.purpose == "watch list":
        driven.feed(added("web", 1), end_bookmark(500))
    driven.feed(bookmark(500), bookmark(400))


WAYS: dict[str, Failing] = {
    **{f"fault {fault.name}": fails(fault) for fault in Fault},
    **{f"status {code}": statuses(code) for code in (302, 400, 401, 403, 404, 410, 422, 429, 500, 502, 503, 504)},
    **{
        name: answers(name) for name in ("list_forbidden", "unauthorized", "notfound", "apf_429", "list_too_large_rv")
    },
    "opens and breaks": opens_and_breaks,
    "opens and ends": opens_and_ends,
    "never answers": never_answers,
    "opens and says nothing": opens_and_says_nothing,
    "says rubbish": says_rubbish,
    "breaks off": breaks_off,
    "has always expired": has_always_expired,
    "loses tokens": loses_tokens,
    "goes back": goes_back,
}


def run(driven: Driven, way: Failing) -> None:
    while max(driven.now, driven.reflector.request.due) < START + HOUR:
        driven.now = max(driven.now, driven.reflector.request.due)
        number = driven.number
        way(driven)
        assert driven.number > number, "time would stand still"


def synced() -> Driven:
    driven = Driven()
    driven.sync(added("web", 1))
    driven.fail(REFUSED)
    return driven


@pytest.mark.parametrize("start", [Driven, synced])
@pytest.mark.parametrize("name", WAYS)
def test_an_hour_of_failures_is_a_bounded_number_of_requests(name: str, start: Callable[[], Driven]) -> None:
    driven = start()
    run(driven, WAYS[name])
    assert 50 <= driven.number <= 2 * BACKOFFS_MAX


@pytest.mark.parametrize("start", [Driven, synced])
@pytest.mark.parametrize("name", WAYS)
def test_an_hour_of_failures_is_a_few_lines_in_the_log(name: str, start: Callable[[], Driven]) -> None:
    driven = start()
    run(driven, WAYS[name])
    assert 1 <= len(driven.notices) <= 20
    assert all(len(notice.text) < 600 for notice in driven.notices)


@pytest.mark.parametrize("name", WAYS)
def test_what_is_known_is_kept_through_an_hour_of_failures(name: str) -> None:
    driven = synced()
    run(driven, WAYS[name])
    assert driven.names == {"web"}
    assert driven.reflector.is_synced


@pytest.mark.parametrize("name", WAYS)
def test_after_an_hour_of_failures_all_is_well_within_a_minute_of_the_server(name: str) -> None:
    driven = synced()
    run(driven, WAYS[name])
    for _ in range(8):
        if driven.purpose == "watch list":
            driven.sync(added("web", 1), version=1000)
        elif driven.purpose == "watch":
            driven.open()
            driven.feed(bookmark(1000))
        else:
            driven.answer(page(1000, service_object("web", 1)))
        if driven.reflector.is_live:
            break
    assert driven.reflector.is_live
    assert driven.now <= START + HOUR + 2 * MAX_DELAY + 1
    assert driven.reflector.refusal is None
    assert driven.names == {"web"}


def test_a_fleet_does_not_come_back_in_step() -> None:
    due = set()
    for seed in range(100):
        driven = Driven(seed=seed)
        run(driven, fails(Fault.REFUSED))
        due.add(round(driven.reflector.request.due))
    assert len(due) > 25


def test_a_missing_right_is_an_error_and_an_overload_is_none() -> None:
    for name, severity in (("list_forbidden", Severity.ERROR), ("apf_429", Severity.WARNING)):
        driven = Driven()
        run(driven, answers(name))
        assert {notice.severity for notice in driven.notices} == {severity}
        assert recorded(name).status in (403, 429)
