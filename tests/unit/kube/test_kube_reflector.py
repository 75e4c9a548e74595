"""Following a resource when all goes well: watch lists, watches, what is resumed from where, relists."""

from __future__ import annotations

import math

import pytest

from kdns.kube.objects import Service, Tombstone
from kdns.kube.reflector import Resume
from kdns.kube.request import Resource, Severity
from kdns.kube.stages import (
    OPENING_SECONDS,
    PROVING_SECONDS,
    WATCH_IDLE_SECONDS,
    WATCH_SECONDS_MAX,
    WATCH_SECONDS_MIN,
)
from tests.unit.kube.reflecting import (
    BROKEN,
    EXPIRED,
    START,
    Driven,
    added,
    bookmark,
    deleted,
    end_bookmark,
    modified,
    service_keys,
    synced,
)


def relisting(*names: str) -> Driven:
    """In sync once, and then told that the version has expired: the second watch list is open."""
    driven = synced(*names)
    driven.feed(EXPIRED)
    driven.open()
    return driven


# The first sync


def test_the_first_request_is_a_watch_list_of_now() -> None:
    driven = Driven(Resource("Pod", "v1", "pods", "shop", "app=web", "status.phase!=Failed"))
    request = driven.reflector.request
    assert request.path == "/api/v1/namespaces/shop/pods"
    assert request.due == START
    seconds = int(driven.query.pop("timeoutSeconds"))
    assert WATCH_SECONDS_MIN <= seconds <= WATCH_SECONDS_MAX
    assert {key: value for key, value in request.query if key != "timeoutSeconds"} == {
        "watch": "1",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "labelSelector": "app=web",
        "fieldSelector": "status.phase!=Failed",
    }


def test_many_clients_do_not_ask_for_watches_of_the_same_length() -> None:
    assert len({Driven(seed=seed).query["timeoutSeconds"] for seed in range(20)}) > 10


def test_before_the_end_bookmark_objects_are_told_but_nothing_is_in_sync() -> None:
    driven = Driven()
    driven.open()
    outcome = driven.feed(added("web", 20), added("api", 10))
    assert [change.key for change in outcome.changes] == service_keys("web", "api")
    assert not outcome.synced
    assert not driven.reflector.is_synced
    assert not driven.reflector.is_live
    assert not driven.reflector.is_confirmed


def test_the_end_bookmark_is_the_point_of_sync_and_the_stream_goes_on() -> None:
    driven = Driven()
    driven.open()
    number = driven.number
    assert driven.feed(added("web", 20), end_bookmark(42)).synced
    assert driven.number == number
    assert driven.reflector.is_synced
    assert driven.reflector.is_live
    assert driven.reflector.is_confirmed
    assert driven.reflector.resource_version == "42"
    assert not driven.feed(added("api", 43)).synced
    assert driven.names == {"web", "api"}


def test_an_empty_resource_is_in_sync_too() -> None:
    driven = Driven()
    assert driven.sync().synced
    assert driven.reflector.is_live


def test_changes_and_deletions_among_the_initial_events_count() -> None:
    driven = Driven()
    driven.sync(added("web", 20), added("api", 10), modified("web", 21, "10.96.0.2"), deleted("api", 22))
    assert driven.names == {"web"}
    (web,) = driven.objects.values()
    assert isinstance(web, Service)
    assert web.addresses == (bytes([10, 96, 0, 2]),)


def test_no_version_is_taken_from_initial_events() -> None:
    driven = Driven()
    driven.open()
    driven.feed(added("a", 208), added("b", 251), added("c", 245))
    assert driven.reflector.resource_version == ""
    driven.feed(end_bookmark(260))
    assert driven.reflector.resource_version == "260"


def test_what_follows_the_end_bookmark_in_one_block_is_told_with_it() -> None:
    driven = Driven()
    driven.open()
    outcome = driven.feed(added("web", 20), end_bookmark(42), deleted("web", 43), added("api", 44))
    assert outcome.synced
    assert driven.names == {"api"}
    assert driven.reflector.resource_version == "44"


def test_a_first_sync_that_breaks_begins_anew_and_forgets_what_has_gone_meanwhile() -> None:
    driven = Driven()
    driven.open()
    driven.feed(added("web", 20), added("old", 11))
    driven.fail(BROKEN)
    assert driven.purpose == "watch list"
    driven.open()
    again = driven.feed(added("web", 20), added("new", 30), end_bookmark(42))
    assert again.synced
    assert driven.names == {"web", "new"}
    assert [change.key for change in again.changes] == service_keys("web", "new", "old")


# The watch


def test_every_event_moves_the_version_to_resume_from() -> None:
    driven = synced("web")
    versions = []
    for event in (added("api", 101), modified("web", 105), bookmark(120), deleted("api", 121)):
        driven.feed(event)
        versions.append(driven.reflector.resource_version)
    assert versions == ["101", "105", "120", "121"]


def test_the_regular_end_of_a_watch_leads_to_the_next_one_at_once_and_not_to_a_list() -> None:
    driven = synced("web")
    driven.feed(bookmark(140))
    driven.now += 420
    outcome = driven.end()
    assert outcome.notices == []
    assert driven.purpose == "watch"
    assert driven.delay == 0
    assert driven.query["resourceVersion"] == "140"
    assert driven.query["allowWatchBookmarks"] == "true"
    assert driven.reflector.statistics.lists == 1
    assert driven.names == {"web"}


def test_after_a_watch_was_resumed_it_is_live_with_its_first_event() -> None:
    driven = synced("web")
    driven.now += 300
    driven.end()
    assert not driven.reflector.is_live
    driven.open()
    assert not driven.reflector.is_live
    driven.feed(modified("web", 200))
    assert driven.reflector.is_live


def test_a_watch_that_stands_for_a_second_is_live_without_any_event() -> None:
    driven = synced("web")
    driven.now += 300
    driven.end()
    driven.open()
    assert driven.reflector.wake_at == driven.now + PROVING_SECONDS
    driven.wake()
    assert driven.reflector.is_live
    assert driven.reflector.heard_at == driven.now


def test_a_watch_that_expires_with_its_first_event_was_never_live() -> None:
    driven = synced("web")
    driven.now += 300
    driven.end()
    heard = driven.reflector.heard_at
    driven.now += 1
    driven.open()
    driven.feed(EXPIRED)
    assert not driven.reflector.is_live
    assert driven.reflector.heard_at == heard


def test_when_we_were_last_current_is_told_by_events_and_orderly_ends() -> None:
    driven = synced("web")
    seen = []
    for step in (lambda: driven.feed(bookmark(120)), lambda: driven.feed(modified("web", 130)), driven.end):
        driven.now += 10
        step()
        seen.append(driven.reflector.heard_at)
    assert seen == [START + 10, START + 20, START + 30]


def test_a_connection_that_breaks_says_nothing_about_the_time_before() -> None:
    driven = synced("web")
    driven.feed(bookmark(120))
    driven.now += 50
    driven.fail(BROKEN)
    assert driven.reflector.heard_at == START


def test_half_a_line_is_not_news() -> None:
    driven = synced("web")
    driven.now += 50
    driven.feed_octets(b'{"type":"ADDED","object":{"metadata":')
    assert driven.reflector.heard_at == START


# Stale inputs


def test_what_is_told_of_an_earlier_request_is_ignored() -> None:
    driven = synced("web")
    old = driven.number
    driven.now += 300
    driven.end()
    reflector, request = driven.reflector, driven.reflector.request
    for outcome in (
        reflector.opened(old, 500, {}, driven.now),
        reflector.received(old, b"rubbish\n", driven.now),
        reflector.ended(old, driven.now),
        reflector.failed(old, BROKEN, driven.now),
    ):
        assert (outcome.changes, outcome.synced, outcome.notices) == ([], False, [])
    assert reflector.request is request


def test_octets_before_a_status_are_no_answer() -> None:
    driven = Driven()
    assert driven.feed(added("web", 1), end_bookmark(2)).changes == []
    assert not driven.reflector.is_synced


def test_a_second_status_changes_nothing() -> None:
    driven = synced("web")
    driven.open(500)
    assert driven.reflector.is_live


def test_waking_too_early_changes_nothing() -> None:
    for driven in (Driven(), synced("web")):
        request = driven.reflector.request
        outcome = driven.reflector.wake(START)
        assert (outcome.changes, outcome.notices) == ([], [])
        assert driven.reflector.request is request


# Relists


def test_an_expired_version_leads_to_a_new_list_after_a_backoff() -> None:
    driven = synced("web")
    outcome = driven.feed(EXPIRED)
    assert driven.purpose == "watch list"
    assert 0.8 <= driven.delay < 1.6
    assert "resourceVersion" not in driven.query
    assert outcome.changes == []
    assert [notice.severity for notice in outcome.notices] == [Severity.INFO]
    assert (
        "cannot go on from resource version 100 (410: too old resource version: 1 (280))" in outcome.notices[0].text
    )


def test_a_status_410_is_an_expired_version_too() -> None:
    driven = synced("web")
    driven.now += 300
    driven.end()
    driven.refuse("list_continue_410")
    assert driven.purpose == "watch list"
    assert driven.delay >= 0.8
    assert driven.reflector.statistics.relists == 1


def test_what_comes_behind_an_expired_version_is_not_read() -> None:
    driven = synced("web")
    outcome = driven.feed(EXPIRED, deleted("web", 300), b"rubbish")
    assert outcome.changes == []
    assert driven.reflector.statistics.failures == {"version_lost": 1}


def test_a_relist_is_told_all_at_once_with_its_end() -> None:
    driven = relisting("web", "api", "gone")
    assert driven.feed(added("web", 10), added("api", 120, "10.96.0.9")).changes == []
    assert driven.feed(added("new", 130)).changes == []
    assert driven.names == {"web", "api", "gone"}
    outcome = driven.feed(end_bookmark(140))
    assert outcome.synced
    assert [change.key for change in outcome.changes] == service_keys("gone", "api", "new")
    assert isinstance(outcome.changes[0], Tombstone)
    assert driven.names == {"web", "api", "new"}
    assert driven.reflector.resource_version == "140"


def test_a_relist_that_shows_what_is_known_changes_nothing() -> None:
    driven = relisting("web", "api")
    outcome = driven.feed(added("web", 10), added("api", 11), end_bookmark(140))
    assert outcome.synced
    assert outcome.changes == []


def test_the_same_version_of_another_object_of_that_name_is_read() -> None:
    driven = relisting("web")
    outcome = driven.feed(added("web", 10, "10.96.0.7", uid="another"), end_bookmark(140))
    assert [change.key for change in outcome.changes] == service_keys("web")


def test_what_is_known_in_a_relist_is_not_read_whole() -> None:
    driven = relisting("web")
    unfit = {"type": "ADDED", "object": {"metadata": {**added("web", 10)["object"]["metadata"]}, "spec": "unread"}}
    outcome = driven.feed(unfit, end_bookmark(140))
    assert outcome.changes == []
    assert outcome.notices[-1].text.startswith("services: watched again")


def test_a_relist_keeps_the_old_version_and_data_until_it_is_whole() -> None:
    driven = relisting("web", "api")
    driven.feed(added("new", 130))
    driven.fail(BROKEN)
    assert driven.reflector.resource_version == "100"
    assert driven.reflector.is_synced
    assert driven.names == {"web", "api"}
    driven.open()
    outcome = driven.feed(added("web", 10), end_bookmark(150))
    assert [change.key for change in outcome.changes] == service_keys("api")
    assert driven.names == {"web"}


def test_what_was_deleted_while_a_relist_came_is_gone_at_its_end() -> None:
    driven = relisting("web", "api")
    assert driven.feed(added("web", 10), added("api", 11), added("new", 130), deleted("web", 131)).changes == []
    driven.feed(deleted("new", 132), end_bookmark(140))
    assert driven.names == {"api"}


def test_the_end_of_a_relist_is_told_to_the_log_with_what_it_took() -> None:
    driven = synced("web")
    driven.feed(EXPIRED)
    driven.now = driven.reflector.request.due + 2
    driven.open()
    outcome = driven.feed(added("web", 10), end_bookmark(140))
    assert outcome.notices[-1].text == f"services: watched again after {driven.now - START:.1f} s and 1 failure"


# Resuming from a snapshot


def test_with_a_version_from_elsewhere_it_is_watched_from_there() -> None:
    driven = Driven(resume=Resume("77", service_keys("web"), 900.0))
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "77"
    assert driven.reflector.is_synced
    assert not driven.reflector.is_live
    assert not driven.reflector.is_confirmed
    assert driven.reflector.heard_at == 900.0
    assert driven.reflector.resource_version == "77"


def test_what_was_restored_is_confirmed_when_the_watch_stands() -> None:
    driven = Driven(resume=Resume("77", service_keys("web")))
    assert driven.reflector.heard_at == -math.inf
    driven.open()
    assert not driven.reflector.is_confirmed
    driven.wake()
    assert driven.reflector.is_confirmed
    assert driven.reflector.is_live


def test_events_after_a_restored_version_change_what_was_restored() -> None:
    driven = Driven(resume=Resume("77", service_keys("web", "api")))
    driven.open()
    outcome = driven.feed(deleted("web", 80), modified("api", 81), deleted("never-seen", 82))
    assert [change.key for change in outcome.changes] == service_keys("web", "api")
    assert isinstance(outcome.changes[0], Tombstone)


def test_a_relist_after_a_restore_tells_what_vanished_meanwhile() -> None:
    driven = Driven(resume=Resume("77", service_keys("web", "gone")))
    driven.open()
    driven.feed(EXPIRED)
    driven.open()
    assert driven.feed(added("web", 10)).changes == []
    outcome = driven.feed(end_bookmark(99))
    assert outcome.synced
    assert [change.key for change in outcome.changes] == service_keys("gone", "web")
    assert isinstance(outcome.changes[0], Tombstone)


@pytest.mark.parametrize("version", ["", "abc", "1.5", "-1"])
def test_without_a_version_that_means_anything_what_was_restored_is_listed_and_swept(version: str) -> None:
    driven = Driven(resume=Resume(version, service_keys("gone")))
    assert driven.purpose == "watch list"
    assert driven.reflector.is_synced
    assert driven.reflector.resource_version == ""
    driven.open()
    assert driven.feed(added("web", 10)).changes == []
    outcome = driven.feed(end_bookmark(50))
    assert [change.key for change in outcome.changes] == service_keys("gone", "web")


# Waking


def test_it_always_says_when_it_is_to_be_woken() -> None:
    driven = Driven()
    assert driven.reflector.wake_at == START + OPENING_SECONDS
    driven.sync(added("web", 1))
    assert driven.reflector.wake_at == START + WATCH_IDLE_SECONDS
    driven.now += 60
    driven.feed(bookmark(120))
    assert driven.reflector.wake_at == START + 60 + WATCH_IDLE_SECONDS


def test_statistics_count_what_was_asked_and_heard() -> None:
    driven = synced("web", "api")
    driven.feed(bookmark(120))
    driven.now += 300
    driven.end()
    driven.open()
    driven.feed(EXPIRED)
    found = driven.reflector.statistics
    assert (found.lists, found.relists, found.watches, found.events) == (2, 1, 1, 5)
    assert found.failures == {"version_lost": 1}
