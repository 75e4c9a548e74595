"""Following a resource when answers end too early, cannot be read, or come from a store that has gone back."""

from __future__ import annotations

import pytest

from kdns.kube.lines import MAX_LINE_OCTETS
from kdns.kube.reflector import SPOILED_MAX, Resume
from kdns.kube.stages import (
    PROVING_SECONDS,
)
from tests.unit.kube.reflecting import (
    EXPIRED,
    REFUSED,
    Driven,
    added,
    bookmark,
    deleted,
    end_bookmark,
    error,
    modified,
    page,
    prove,
    rewatching,
    service_keys,
    synced,
)

BROKEN_LINE = b'{"type":"MODIFIED","object":{"metadata":{"name":"we'


# What ends too early, and what cannot be read


def test_a_watch_that_ends_at_once_without_news_is_a_failure() -> None:
    driven = rewatching()
    driven.open()
    driven.now += PROVING_SECONDS / 2
    driven.end()
    assert driven.purpose == "watch"
    assert driven.delay >= 0.8
    assert "ends watches at once" in driven.loud()[0]


def test_a_watch_that_ends_at_once_with_news_is_none() -> None:
    driven = rewatching()
    driven.open()
    driven.feed(modified("web", 200))
    driven.end()
    assert driven.delay == 0
    assert driven.loud() == []


def test_a_watch_that_ends_at_once_with_nothing_but_repetitions_is_a_failure() -> None:
    driven = rewatching()
    driven.open()
    driven.feed(bookmark(100))
    driven.end()
    assert driven.delay >= 0.8


def test_a_silent_end_after_a_while_is_regular() -> None:
    driven = rewatching()
    driven.open()
    driven.now += 70
    driven.end()
    assert driven.delay == 0
    assert driven.reflector.heard_at == driven.now


def test_initial_events_that_end_in_the_middle_begin_anew_and_in_pages_after_some_tries() -> None:
    driven = Driven()
    for _ in range(SPOILED_MAX - 1):
        driven.open()
        driven.feed(added("web", 1))
        driven.end()
        assert driven.purpose == "watch list"
        assert driven.delay >= 0.8
    driven.open()
    driven.end()
    assert driven.purpose == "list"


@pytest.mark.parametrize(
    "bad", [BROKEN_LINE, b"<html>", b'{"type":"ADDED","object":{"metadata":{"name":"\xff"}}}', b"7"]
)
def test_a_line_that_cannot_be_read_breaks_the_watch_but_is_no_reason_to_list(bad: bytes) -> None:
    driven = synced("web")
    outcome = driven.feed(modified("web", 150, "10.96.0.3"), bad, deleted("web", 151))
    assert [change.key for change in outcome.changes] == service_keys("web")
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "150"
    assert driven.delay >= 0.8
    assert "cannot be read" in driven.loud()[0]


@pytest.mark.parametrize("bad", [BROKEN_LINE, error(500, "InternalError", "cannot decode object"), error(0, "", "")])
def test_a_bad_event_in_the_way_is_gone_round_by_a_list(bad: bytes | dict[str, object]) -> None:
    driven = synced("web")
    for _ in range(SPOILED_MAX - 1):
        driven.feed(bad)
        assert driven.purpose == "watch"
        driven.open()
    driven.feed(bad)
    assert driven.purpose == "watch list"
    assert driven.delay >= 0.8


def test_bad_events_with_progress_between_them_do_not_add_up() -> None:
    driven = synced("web")
    for version in range(200, 210):
        driven.feed(modified("web", version), BROKEN_LINE)
        assert driven.purpose == "watch"
        driven.open()


def test_a_bad_event_that_comes_late_adds_up_all_the_same() -> None:
    driven = synced("web")
    for _ in range(SPOILED_MAX):
        driven.now += 5
        driven.reflector.wake(driven.now)
        driven.feed(BROKEN_LINE)
        driven.open()
    assert driven.purpose == "watch list"


def test_an_internal_error_in_a_watch_is_no_reason_to_list() -> None:
    driven = synced("web")
    driven.feed(error(500, "InternalError", "etcdserver: leader changed"))
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "100"
    assert "broke off a watch: 500: etcdserver: leader changed" in driven.loud()[0]


def test_an_error_event_of_a_version_ahead_of_the_server_leads_to_a_list() -> None:
    driven = synced("web")
    driven.feed(error(504, "Timeout", "Timeout: Too large resource version: 100, current: 90"))
    assert driven.purpose == "watch list"


def test_a_line_without_end_is_given_up() -> None:
    driven = synced("web")
    block = b"x" * (1 << 20)
    for _ in range(MAX_LINE_OCTETS // len(block) + 1):
        driven.feed_octets(block)
    assert driven.number == 2
    assert f"more than {MAX_LINE_OCTETS} octets" in driven.loud()[0]


def test_a_page_of_a_captive_portal_is_not_taken_for_a_watch() -> None:
    driven = Driven()
    driven.answer(b"<!doctype html>\n<title>Please log in</title>\n")
    assert driven.purpose == "watch list"
    assert driven.objects == {}


# A store that has gone back


@pytest.mark.parametrize("event", [modified("web", 90), bookmark(90), deleted("web", 90), added("new", 90)])
def test_a_version_that_goes_back_is_a_store_that_was_restored(event: dict[str, object]) -> None:
    driven = synced("web")
    outcome = driven.feed(event)
    assert outcome.changes == []
    assert driven.purpose == "watch list"
    assert driven.delay >= 0.8
    assert driven.reflector.resource_version == ""
    assert driven.reflector.is_synced
    assert driven.names == {"web"}
    assert "gone back from resource version 100 to 90" in driven.loud()[0]
    assert driven.reflector.statistics.rollbacks == 1


def test_after_a_restore_the_same_version_proves_nothing() -> None:
    driven = synced("web")
    driven.feed(bookmark(90))
    driven.open()
    outcome = driven.feed(added("web", 10, "10.96.0.77"), end_bookmark(91))
    assert [change.key for change in outcome.changes] == service_keys("web")
    assert driven.reflector.resource_version == "91"


def test_the_silence_of_a_restored_store_is_found_out_by_the_probe() -> None:
    driven = synced("web", "gone")
    driven.wake()
    driven.answer(page(40, token="next"))
    assert driven.purpose == "watch list"
    assert "gone back from resource version 100 to 40" in driven.loud()[0]
    driven.open()
    driven.feed(added("web", 10), end_bookmark(41))
    assert driven.names == {"web"}
    assert driven.reflector.resource_version == "41"


@pytest.mark.parametrize("version", [100, 101])
def test_a_probe_that_is_level_or_ahead_is_no_restore(version: int) -> None:
    driven = synced("web")
    driven.wake()
    driven.answer(page(version))
    assert driven.purpose == "watch"


def test_a_relist_that_ends_with_an_older_version_is_read_once_more_in_full() -> None:
    driven = synced("web")
    driven.feed(EXPIRED)
    driven.open()
    outcome = driven.feed(added("web", 10), end_bookmark(50))
    assert not outcome.synced
    assert driven.purpose == "watch list"
    driven.open()
    outcome = driven.feed(added("web", 10, "10.96.0.77"), end_bookmark(51))
    assert outcome.synced
    assert len(outcome.changes) == 1


def test_versions_that_cannot_be_compared_are_followed() -> None:
    driven = synced("web")
    event = modified("web", 0)
    event["object"]["metadata"]["resourceVersion"] = "opaque-7"
    assert len(driven.feed(event).changes) == 1
    assert driven.reflector.resource_version == "opaque-7"


def test_a_probe_that_cannot_be_read_is_repeated_and_then_all_is_listed() -> None:
    driven = synced("web")
    driven.wake()
    for _ in range(SPOILED_MAX - 1):
        driven.answer(b"<html>")
        assert driven.purpose == "probe"
    driven.answer(b"<html>")
    assert driven.purpose == "watch list"


# Resuming, when the server does not agree


def test_a_restored_version_that_has_expired_leads_to_a_list() -> None:
    driven = Driven(resume=Resume("77", service_keys("web")))
    driven.open()
    driven.feed(EXPIRED)
    assert driven.purpose == "watch list"
    assert not driven.reflector.is_confirmed
    assert driven.reflector.is_synced


def test_a_restored_version_from_before_a_restore_of_etcd_is_found_out_by_the_probe() -> None:
    driven = Driven(resume=Resume("7000", service_keys("web")))
    prove(driven)
    driven.wake()
    assert driven.purpose == "probe"
    driven.answer(page(50))
    assert driven.purpose == "watch list"


def test_without_an_api_server_what_was_restored_stays() -> None:
    driven = Driven(resume=Resume("77", service_keys("web"), 400.0))
    for _ in range(50):
        driven.now = driven.reflector.request.due
        assert driven.fail(REFUSED).changes == []
    assert driven.reflector.is_synced
    assert driven.reflector.heard_at == 400.0
    assert driven.query["resourceVersion"] == "77"
