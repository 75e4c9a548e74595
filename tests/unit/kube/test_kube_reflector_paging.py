"""Lists in pages: tokens, their expiry, sizes, and the version that is watched from."""

from __future__ import annotations

import json

import pytest

from kdns.kube import paging
from kdns.kube.events import Unreadable
from kdns.kube.paging import LIMIT_MAX, LIMIT_MIN, PAGE_OCTETS, Pager
from kdns.kube.reflector import SPOILED_MAX
from kdns.kube.stages import LIST_IDLE_SECONDS
from tests.unit.kube.reflecting import (
    BROKEN,
    EXPIRED,
    NAMESPACES,
    SERVICES,
    Driven,
    added,
    modified,
    page,
    recorded,
    service_keys,
    service_object,
)


def paged(*names: str) -> Driven:
    """In sync by a list, the watch open."""
    driven = Driven(is_paged=True)
    driven.answer(page(100, *(service_object(name, version) for version, name in enumerate(names, 10))))
    driven.open()
    return driven


# The pager


def test_a_list_begins_with_its_first_page_and_goes_on_with_tokens() -> None:
    pager = Pager()
    assert pager.query(SERVICES) == (("limit", "100"),)
    pager.feed(page(263, service_object("a", 1), token="next"))
    assert len(pager.items()) == 1
    assert pager.query(SERVICES) == (("limit", "500"), ("continue", "next"))
    pager.feed(page(263, service_object("b", 2)))
    assert len(pager.items()) == 1
    assert (pager.token, pager.version) == ("", "263")


def test_the_version_of_the_list_is_that_of_its_first_page() -> None:
    pager = Pager()
    for version, token in ((263, "a"), (280, "b"), (290, "")):
        pager.query(SERVICES)
        pager.feed(page(version, token=token))
        pager.items()
    assert pager.version == "263"


def test_what_was_read_of_a_page_is_void_when_it_is_asked_for_again() -> None:
    pager = Pager()
    pager.query(SERVICES)
    pager.feed(b'{"items":[')
    pager.query(SERVICES)
    pager.feed(page(7))
    assert pager.items() == []


def test_a_list_that_is_begun_anew_forgets_the_one_before() -> None:
    pager = Pager()
    pager.query(SERVICES)
    pager.feed(page(263, token="next"))
    pager.items()
    pager.begin()
    assert (pager.token, pager.version) == ("", "")


def test_pages_that_are_too_large_shrink_to_the_smallest() -> None:
    pager = Pager()
    limits = [dict(pager.query(SERVICES))["limit"]]
    while pager.shrink():
        limits.append(dict(pager.query(SERVICES))["limit"])
    assert limits == ["100", "10", str(LIMIT_MIN)]


@pytest.mark.parametrize(
    ("count", "octets", "limit"),
    [
        (100, 30_000, 139),  # slices of 100 endpoints
        (100, 1_000, LIMIT_MAX),
        (10, 2 << 20, LIMIT_MIN),
        (0, 0, 100),
    ],
)
def test_a_page_is_about_as_large_as_it_should_be_once_the_size_of_objects_is_known(
    count: int, octets: int, limit: int
) -> None:
    pager = Pager()
    pager.query(SERVICES)
    body = json.dumps({"metadata": {"resourceVersion": "7"}, "items": [{"of": "x" * octets}] * count})
    pager.feed(body.encode())
    pager.items()
    pager.begin()
    assert dict(pager.query(SERVICES)) == {"limit": str(limit)}
    assert count == 0 or limit in (LIMIT_MIN, LIMIT_MAX) or limit * octets <= PAGE_OCTETS


def test_after_two_expiries_in_a_row_a_list_is_asked_for_in_one_piece() -> None:
    pager = Pager()
    for expected in ("100", "100", None):
        pager.begin()
        assert dict(pager.query(SERVICES)).get("limit") == expected
        pager.expire()
    pager.forgive()
    pager.begin()
    assert dict(pager.query(SERVICES)) == {"limit": "100"}


def test_a_list_in_one_piece_cannot_be_made_smaller() -> None:
    pager = Pager()
    pager.expire()
    pager.expire()
    pager.begin()
    assert not pager.shrink()


@pytest.mark.parametrize("body", [b"{}", b'{"metadata":{"resourceVersion":""},"items":[]}', b'{"items":[]}'])
def test_a_list_without_a_version_is_none(body: bytes) -> None:
    pager = Pager()
    pager.feed(body)
    with pytest.raises(Unreadable):
        pager.items()


def test_a_list_that_continues_with_the_same_page_is_none() -> None:
    pager = Pager()
    pager.feed(page(7, token="next"))
    pager.items()
    pager.feed(page(7, token="next"))
    with pytest.raises(Unreadable):
        pager.items()


# Lists by a reflector


def test_pages_are_asked_for_one_after_the_other_and_then_it_is_watched() -> None:
    driven = Driven(NAMESPACES, is_paged=True)
    driven.answer(recorded("list_page1").body)
    assert not driven.reflector.is_synced
    assert driven.delay == 0
    assert driven.query["continue"].startswith("eyJ2")
    assert driven.query["limit"] == "500"
    rest = json.dumps({"metadata": {"resourceVersion": "263"}, "items": [{"metadata": {"name": "kube-system"}}]})
    assert driven.answer(rest.encode()).synced
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "263"
    assert driven.names == {"default", "demo", "kube-system"}


def test_the_list_says_when_it_was_current_and_the_watch_that_it_is() -> None:
    driven = Driven(is_paged=True)
    driven.open()
    asked = driven.now
    driven.now += 7
    driven.feed_octets(page(50, token="next"))
    driven.end()
    driven.now += 7
    driven.answer(page(50))
    assert driven.reflector.heard_at == asked
    assert driven.reflector.is_confirmed
    assert not driven.reflector.is_live
    driven.open()
    driven.wake()
    assert driven.reflector.is_live


def test_items_null_is_an_empty_list() -> None:
    driven = Driven(is_paged=True)
    assert b'"items": null' in page(50)
    assert driven.answer(page(50)).synced
    assert driven.reflector.resource_version == "50"


def test_the_version_of_no_item_is_taken() -> None:
    driven = Driven(is_paged=True)
    driven.answer(page(100, service_object("web", 99), service_object("api", 3)))
    assert driven.query["resourceVersion"] == "100"


def test_a_page_that_breaks_is_asked_for_again_and_what_came_before_it_counts() -> None:
    driven = Driven(is_paged=True)
    driven.answer(page(50, service_object("a", 1), token="next"))
    driven.open()
    driven.feed_octets(page(50, service_object("b", 2))[:30])
    driven.fail(BROKEN)
    assert driven.query["continue"] == "next"
    assert driven.delay >= 0.8
    assert driven.answer(page(50, service_object("b", 2))).synced
    assert driven.names == {"a", "b"}


def test_a_page_that_stalls_is_asked_for_again() -> None:
    driven = Driven(is_paged=True)
    driven.open()
    driven.now += LIST_IDLE_SECONDS - 1
    driven.feed_octets(b"{")
    assert driven.reflector.wake_at == driven.now + LIST_IDLE_SECONDS
    driven.wake()
    assert driven.purpose == "list"
    assert "stopped for 30 s" in driven.loud()[0]


def test_a_relist_in_pages_is_told_with_its_last_page() -> None:
    driven = paged("web", "gone")
    driven.feed(EXPIRED)
    assert driven.answer(page(200, service_object("web", 10), token="next")).changes == []
    outcome = driven.answer(page(200, service_object("api", 150)))
    assert outcome.synced
    assert [change.key for change in outcome.changes] == service_keys("gone", "api")
    assert driven.query["resourceVersion"] == "200"


def test_a_list_that_is_older_than_what_is_known_is_of_a_restored_store() -> None:
    driven = paged("web")
    driven.feed(EXPIRED)
    assert not driven.answer(page(50, service_object("web", 10))).synced
    assert driven.purpose == "list"
    outcome = driven.answer(page(51, service_object("web", 10, "10.96.0.77")))
    assert outcome.synced
    assert len(outcome.changes) == 1


@pytest.mark.parametrize("name", ["list_continue_410", "list_bad_continue"])
def test_a_token_that_has_expired_begins_the_list_anew_without_the_other_token(name: str) -> None:
    driven = Driven(is_paged=True)
    driven.answer(page(50, service_object("old", 1), token="next"))
    driven.refuse(name)
    assert driven.query == {"limit": "500"}
    assert driven.delay >= 0.8
    assert driven.answer(page(60, service_object("new", 55))).synced
    assert driven.names == {"new"}
    assert driven.query["resourceVersion"] == "60"


def test_a_list_that_expires_twice_comes_in_one_piece() -> None:
    driven = Driven(is_paged=True)
    for _ in range(2):
        driven.answer(page(50, service_object("a", 1), token="next"))
        driven.refuse("list_continue_410")
    assert driven.query == {}
    assert driven.answer(page(60, service_object("a", 1), service_object("b", 2))).synced
    driven.open()
    driven.feed(EXPIRED)
    assert driven.query == {"limit": "500"}


def test_a_first_page_that_is_refused_is_no_expired_token() -> None:
    driven = Driven(is_paged=True)
    driven.refuse("list_bad_rv")
    assert driven.query == {"limit": "100"}
    assert driven.reflector.statistics.failures == {"http_400": 1}


def test_a_version_that_is_too_large_is_waited_for() -> None:
    driven = Driven(is_paged=True)
    driven.refuse("list_too_large_rv")
    assert driven.purpose == "list"
    assert "resourceVersion" not in driven.query
    assert driven.delay >= 1


def test_a_page_that_is_refused_for_a_time_goes_on_with_its_token() -> None:
    driven = Driven(is_paged=True)
    driven.answer(page(50, service_object("a", 1), token="next"))
    driven.refuse("apf_429")
    assert driven.query["continue"] == "next"


def test_a_page_that_is_too_large_is_asked_for_in_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_OCTETS_MAX", 1000)
    driven = Driven(is_paged=True)
    driven.answer(page(50, service_object("a", 1), token="next"))
    driven.open()
    driven.feed_octets(b"x" * 1001)
    assert driven.query == {"limit": "50", "continue": "next"}
    assert driven.delay == 0
    assert driven.answer(page(50, service_object("b", 2))).synced


def test_objects_that_fit_on_no_page_are_a_trouble_and_not_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_OCTETS_MAX", 1000)
    driven = Driven(is_paged=True)
    for _ in range(3 + SPOILED_MAX):
        driven.open()
        driven.feed_octets(b"x" * 1001)
    assert driven.query == {"limit": "5"}
    assert driven.delay >= 0.8
    assert "a list that is too large" in driven.loud()[0]


def test_a_list_that_cannot_be_read_is_a_trouble() -> None:
    driven = Driven(is_paged=True)
    driven.answer(b"<html>")
    assert driven.purpose == "list"
    assert driven.delay >= 0.8
    assert "cannot be read" in driven.loud()[0]


def test_one_item_that_cannot_be_read_does_not_spoil_the_others() -> None:
    driven = Driven(is_paged=True)
    body = b'{"metadata":{"resourceVersion":"9"},"items":[7,' + json.dumps(service_object("web", 1)).encode() + b"]}"
    outcome = driven.answer(body)
    assert outcome.synced
    assert driven.names == {"web"}
    assert "an item of a list is left out" in driven.loud()[0]


def test_the_watch_after_a_list_sees_what_happened_since() -> None:
    driven = paged("web")
    driven.feed(modified("web", 101, "10.96.0.2"), added("api", 102))
    assert driven.names == {"web", "api"}
    assert driven.reflector.resource_version == "102"
