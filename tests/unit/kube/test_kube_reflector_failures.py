"""Following a resource when things go wrong: what is asked next, when, from which version, and what the log says."""

from __future__ import annotations

import pytest

from kdns.kube.backoff import RESET_AFTER
from kdns.kube.reflector import BODY_OCTETS_MAX, PAGES_SECONDS
from kdns.kube.request import Failure, Fault, Severity
from kdns.kube.stages import (
    INITIAL_IDLE_SECONDS,
    OPENING_SECONDS,
    REFUSAL_SECONDS,
    WATCH_IDLE_SECONDS,
)
from tests.unit.kube.reflecting import (
    EXPIRED,
    REFUSED,
    START,
    Driven,
    added,
    bookmark,
    error,
    lines,
    modified,
    page,
    prove,
    rewatching,
    service_object,
    status,
    synced,
)

BROKEN_LINE = b'{"type":"MODIFIED","object":{"metadata":{"name":"we'


# Failures in transport


@pytest.mark.parametrize("fault", Fault)
def test_whatever_breaks_in_transport_a_watch_goes_on_from_the_last_version(fault: Fault) -> None:
    driven = synced("web")
    driven.feed(modified("web", 150))
    driven.fail(Failure(fault, "the reason"))
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "150"
    assert 0.8 <= driven.delay < 1.6
    assert driven.names == {"web"}
    assert driven.reflector.statistics.lists == 1


def test_a_line_that_was_cut_in_the_middle_is_dropped_and_the_version_stays() -> None:
    driven = synced("web")
    driven.feed(modified("web", 150))
    driven.feed_octets(lines(modified("web", 160))[:40])
    driven.fail()
    driven.open()
    assert driven.feed(modified("web", 160, "10.96.0.5")).changes != []
    assert driven.reflector.resource_version == "160"


def test_half_a_line_at_a_regular_end_is_dropped_too() -> None:
    driven = synced("web")
    driven.now += 400
    driven.feed_octets(BROKEN_LINE)
    driven.end()
    assert driven.purpose == "watch"
    assert driven.delay == 0
    assert driven.reflector.resource_version == "100"


def test_failures_are_told_once_and_their_end_with_its_length() -> None:
    driven = synced("web")
    driven.fail()
    for _ in range(5):
        driven.now = driven.reflector.request.due
        driven.fail(REFUSED)
    driven.now = driven.reflector.request.due
    driven.open()
    driven.wake()
    assert [notice.text for notice in driven.notices] == [
        "services: the connection ended in the middle of an answer; what is known stays answered",
        "services: nothing listens on 10.96.0.1:443: start the API server; what is known stays answered",
        f"services: watched again after {driven.now - START:.1f} s and 6 failures",
    ]
    assert driven.reflector.statistics.failures == {"broken": 1, "refused": 5}


def test_before_the_first_sync_a_failure_says_that_nothing_is_known_yet() -> None:
    driven = Driven()
    (notice,) = driven.fail(REFUSED).notices
    assert notice.text.endswith("; it is not known yet")


@pytest.mark.parametrize("fault", [Fault.TLS, Fault.CREDENTIALS])
def test_what_does_not_pass_by_itself_is_an_error(fault: Fault) -> None:
    assert [notice.severity for notice in Driven().fail(Failure(fault, "the CA is unknown")).notices] == [
        Severity.ERROR
    ]


def test_a_watch_that_opens_is_not_yet_the_end_of_the_trouble() -> None:
    driven = synced("web")
    driven.fail()
    assert driven.open().notices == []
    driven.feed_octets(b"")
    assert driven.fail().notices == []
    assert driven.delay >= 1.6


def test_backoff_grows_over_watches_that_break_and_is_reset_by_two_good_minutes() -> None:
    driven = synced("web")
    for _ in range(10):
        driven.now = max(driven.now, driven.reflector.request.due)
        driven.open()
        driven.fail()
    assert 30 <= driven.delay < 60
    prove(driven)
    driven.now = driven.now + RESET_AFTER + 60
    driven.feed(bookmark(200))
    driven.fail()
    assert 0.8 <= driven.delay < 1.6


def test_a_status_without_a_body_is_an_answer_that_was_cut_short() -> None:
    driven = rewatching()
    driven.end()
    assert driven.purpose == "watch"
    assert driven.delay >= 0.8
    assert "ended an answer before it began" in driven.loud()[0]


# Deadlines


def test_a_request_that_is_not_answered_is_given_up() -> None:
    driven = Driven()
    driven.wake()
    assert driven.now == START + OPENING_SECONDS
    assert driven.purpose == "watch list"
    assert driven.number == 2
    assert "has not answered within 30 s" in driven.loud()[0]


def test_the_time_to_answer_begins_when_the_request_is_due() -> None:
    driven = Driven()
    driven.fail(REFUSED)
    assert driven.reflector.wake_at == driven.reflector.request.due + OPENING_SECONDS


def test_a_silent_watch_is_asked_about_by_a_probe_and_resumed() -> None:
    driven = synced("web")
    driven.wake()
    assert driven.now == START + WATCH_IDLE_SECONDS
    assert driven.purpose == "probe"
    assert driven.delay == 0
    assert driven.query == {"limit": "1"}
    assert not driven.reflector.is_live
    assert driven.reflector.heard_at == START
    assert driven.answer(page(205, service_object("web", 10), token="next")).changes == []
    assert driven.purpose == "watch"
    assert driven.delay == 0
    assert driven.query["resourceVersion"] == "100"
    assert driven.notices == []
    assert driven.reflector.statistics.silences == 1


def test_a_resource_in_silence_for_hours_costs_two_requests_each_time_and_no_line_in_the_log() -> None:
    driven = synced("web")
    for _ in range(40):
        while driven.reflector.is_live or driven.purpose != "probe":
            driven.wake()
        driven.answer(page(205))
        driven.open()
    assert driven.number == 1 + 2 * 40
    assert driven.notices == []
    assert driven.reflector.statistics.lists == 1


def test_any_octet_of_a_watch_breaks_the_silence() -> None:
    driven = synced("web")
    driven.now += WATCH_IDLE_SECONDS - 1
    driven.feed_octets(b"{")
    assert driven.reflector.wake_at == driven.now + WATCH_IDLE_SECONDS


def test_a_probe_that_is_not_answered_is_asked_again() -> None:
    driven = synced("web")
    driven.wake()
    driven.fail(REFUSED)
    assert driven.purpose == "probe"
    assert driven.delay >= 0.8
    assert len(driven.loud()) == 1


def test_a_probe_that_stalls_is_asked_again() -> None:
    driven = synced("web")
    driven.wake()
    driven.open()
    driven.wake()
    assert driven.purpose == "probe"
    assert "stopped for 30 s" in driven.loud()[0]


def test_where_a_probe_is_refused_the_watch_is_tried() -> None:
    driven = synced("web")
    driven.wake()
    driven.refuse("list_forbidden")
    assert driven.purpose == "watch"
    assert driven.delay >= 0.8


def test_the_body_of_a_refusal_that_does_not_end_is_not_waited_for() -> None:
    driven = rewatching()
    driven.open(429, {"retry-after": "7"})
    driven.feed_octets(b"Too many")
    driven.wake()
    assert driven.now == START + 300 + REFUSAL_SECONDS
    assert driven.delay == 7
    assert "Too many" in driven.loud()[0]


def test_a_refusal_whose_body_breaks_is_a_refusal() -> None:
    driven = rewatching()
    driven.open(403)
    driven.fail()
    assert driven.reflector.refusal is not None
    assert driven.reflector.statistics.failures == {"http_403": 1}


def test_of_the_body_of_a_refusal_no_more_is_kept_than_a_bound() -> None:
    driven = rewatching()
    driven.open(500)
    for _ in range(BODY_OCTETS_MAX // (1 << 20) + 3):
        driven.feed_octets(b"x" * (1 << 20))
    driven.end()
    assert len(driven.loud()[0]) < 1000


# Refusals


@pytest.mark.parametrize(("name", "least"), [("apf_429", 1.0), ("unauthorized", 0.8), ("watch_bad_rv", 0.8)])
def test_a_watch_that_is_refused_for_a_time_keeps_its_version(name: str, least: float) -> None:
    driven = rewatching()
    driven.refuse(name)
    assert driven.purpose == "watch"
    assert driven.query["resourceVersion"] == "100"
    assert least <= driven.delay < 1.6
    assert driven.reflector.refusal is None
    assert driven.names == {"web"}


def test_retry_after_is_honoured_where_it_is_longer_than_the_backoff() -> None:
    driven = rewatching()
    driven.answer(b"", 503, {"retry-after": "20"})
    assert driven.delay == 20
    driven.answer(b"", 503, {"retry-after": "1"})
    assert 1.6 <= driven.delay < 3.2
    driven.answer(b"", 503)
    assert 3.2 <= driven.delay < 6.4


@pytest.mark.parametrize("name", ["list_forbidden", "forbidden_anonymous", "notfound"])
def test_what_is_refused_for_good_is_settled_and_asked_for_all_the_same(name: str) -> None:
    driven = Driven()
    (notice,) = driven.refuse(name).notices
    assert notice.severity is Severity.ERROR
    assert driven.reflector.refusal is not None
    assert driven.reflector.refusal.text in notice.text
    assert not driven.reflector.is_synced
    for _ in range(20):
        assert driven.refuse(name).notices == []
    assert 30 <= driven.delay < 60
    assert driven.sync(added("web", 1)).synced
    assert driven.reflector.refusal is None
    assert driven.notices[-1].text.endswith("and 21 failures")


def test_a_right_that_is_taken_away_later_keeps_the_data() -> None:
    driven = rewatching()
    driven.refuse("list_forbidden")
    assert driven.reflector.refusal is not None
    assert driven.reflector.is_synced
    assert driven.names == {"web"}
    assert driven.query["resourceVersion"] == "100"


def test_credentials_that_are_not_accepted_are_told_once_and_settle_nothing() -> None:
    driven = Driven()
    (notice,) = driven.refuse("unauthorized").notices
    assert notice.severity is Severity.ERROR
    assert driven.refuse("unauthorized").notices == []
    assert driven.reflector.refusal is None


def test_a_version_that_is_ahead_of_the_server_is_dropped_after_the_time_it_asks_for() -> None:
    driven = rewatching()
    driven.answer(
        b'{"message":"Timeout: Too large resource version: 9, current: 8","code":504}', 504, {"retry-after": "3"}
    )
    assert driven.purpose == "watch list"
    assert "resourceVersion" not in driven.query
    assert driven.delay == 3


def test_a_gateway_that_times_out_is_no_reason_to_list() -> None:
    driven = rewatching()
    driven.answer(b"upstream request timeout", 504)
    assert driven.purpose == "watch"


def test_a_version_that_the_server_calls_malformed_is_dropped() -> None:
    driven = rewatching()
    driven.refuse("list_bad_rv")
    assert driven.purpose == "watch list"


# Servers without watch lists


@pytest.mark.parametrize("name", ["watchlist_gate_off", "watchlist_no_match"])
def test_where_watch_lists_are_refused_pages_are_listed_at_once(name: str) -> None:
    driven = Driven()
    (notice,) = driven.refuse(name).notices
    assert notice.severity is Severity.INFO
    assert driven.purpose == "list"
    assert driven.query == {"limit": "100"}
    assert driven.delay == 0


def test_the_refusal_may_be_a_bad_request() -> None:
    driven = Driven()
    driven.answer(lines(status(400, "BadRequest", "unknown parameter sendInitialEvents")), 400)
    assert driven.purpose == "list"


def test_another_refusal_of_that_status_is_not_about_watch_lists() -> None:
    driven = Driven()
    driven.answer(lines(status(422, "Invalid", "unable to parse requirement: values[0]")), 422)
    assert driven.purpose == "watch list"
    assert driven.delay >= 0.8
    assert "unable to parse requirement" in driven.loud()[0]


def test_an_error_event_among_the_initial_events_leads_to_pages() -> None:
    driven = Driven()
    driven.open()
    driven.feed(added("web", 1), error(500, "InternalError", "storage feature RequestWatchProgress is disabled"))
    assert driven.purpose == "list"
    assert driven.delay == 0
    assert "RequestWatchProgress is disabled" in driven.notices[-1].text


def test_initial_events_that_never_end_lead_to_pages_after_a_time_without_new_objects() -> None:
    driven = Driven()
    driven.open()
    driven.feed(added("web", 1))
    for version in range(5):
        driven.now += INITIAL_IDLE_SECONDS - 1
        driven.feed(added(f"s{version}", 10 + version))
        assert driven.reflector.wake_at == driven.now + INITIAL_IDLE_SECONDS
    driven.wake()
    assert driven.purpose == "list"
    assert driven.delay == 0
    outcome = driven.answer(page(50, service_object("web", 1), service_object("new", 40)))
    assert outcome.synced
    assert driven.names == {"web", "new"}
    assert driven.query["resourceVersion"] == "50"


def test_changes_of_known_objects_do_not_put_off_the_fallback() -> None:
    driven = Driven()
    driven.open()
    driven.feed(added("web", 1))
    driven.now += INITIAL_IDLE_SECONDS - 1
    driven.feed(modified("web", 2), modified("web", 3))
    driven.wake()
    assert driven.now == START + INITIAL_IDLE_SECONDS
    assert driven.purpose == "list"


def test_an_old_server_with_no_objects_at_all_is_found_out_too() -> None:
    driven = Driven()
    driven.open()
    driven.wake()
    assert driven.purpose == "list"
    assert driven.answer(page(50)).synced


def test_a_plain_bookmark_before_the_end_bookmark_is_of_an_old_server() -> None:
    driven = Driven()
    driven.open()
    driven.feed(added("web", 1), bookmark(20))
    assert driven.purpose == "list"


def test_that_a_server_has_no_watch_lists_is_remembered_for_an_hour() -> None:
    driven = Driven(is_paged=True)
    driven.answer(page(50, service_object("web", 1)))
    driven.open()
    driven.now = START + PAGES_SECONDS - 100
    driven.feed(EXPIRED)
    assert driven.purpose == "list"
    driven.answer(page(60, service_object("web", 1)))
    driven.open()
    driven.now = START + PAGES_SECONDS + 1
    driven.feed(EXPIRED)
    assert driven.purpose == "watch list"
