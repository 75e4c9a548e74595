"""The log: each trouble once, its end with its length, and remarks that do not flood it; refusals in plain words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kdns.kube.events import Status, StatusDetails
from kdns.kube.failures import Trouble, in_transport
from kdns.kube.refusals import (
    MESSAGE_CHARACTERS_MAX,
    RETRY_AFTER_MAX,
    Refusal,
    refusal_of_answer,
    refusal_of_event,
    trouble_of,
)
from kdns.kube.request import Failure, Fault, Notice, Resource, Severity
from kdns.kube.troubles import (
    REMARKS_PER_WINDOW,
    REMEMBERED_MAX,
    REPEAT_SECONDS,
    WINDOW_SECONDS,
    Remarks,
    Troubles,
)
from tests.unit.kube.reflecting import NAMESPACES, SERVICES, SLICES, recorded


def trouble(cause: str) -> Trouble:
    return Trouble(cause, Severity.WARNING, f"{cause} happened")


def texts(notices: list[Notice]) -> list[str]:
    return [notice.text for notice in notices]


def refusal(name: str) -> Refusal:
    found = recorded(name)
    return refusal_of_answer(found.status, found.headers, found.body)


# Times of trouble


def test_a_trouble_is_told_when_it_begins_and_not_again() -> None:
    troubles = Troubles("services")
    assert texts(troubles.begin(trouble("refused"), "nothing changes", 1.0)) == [
        "services: refused happened; nothing changes"
    ]
    assert troubles.begin(trouble("refused"), "nothing changes", 2.0) == []


def test_each_cause_is_told_once_however_they_alternate() -> None:
    troubles = Troubles("services")
    told = [troubles.begin(trouble(cause), "", 1.0) for cause in ("refused", "http_500") * 5]
    assert [bool(one) for one in told] == [True, True] + [False] * 8


def test_the_end_says_how_long_it_took() -> None:
    troubles = Troubles("services")
    for now in (10.0, 11.0, 14.0):
        troubles.begin(trouble("refused"), "", now)
    assert troubles.end(75.5) == [Notice(Severity.INFO, "services: watched again after 65.5 s and 3 failures")]


def test_a_single_failure_is_in_the_singular() -> None:
    troubles = Troubles("services")
    troubles.begin(trouble("refused"), "", 10.0)
    assert texts(troubles.end(11.0)) == ["services: watched again after 1.0 s and 1 failure"]


def test_where_nothing_was_wrong_nothing_ends() -> None:
    troubles = Troubles("services")
    assert troubles.end(1.0) == []
    troubles.begin(trouble("refused"), "", 2.0)
    troubles.end(3.0)
    assert troubles.end(4.0) == []


def test_a_trouble_that_comes_back_soon_is_no_news_and_neither_is_its_end() -> None:
    troubles = Troubles("services")
    troubles.begin(trouble("broken"), "", 0.0)
    troubles.end(1.0)
    for now in range(60, int(REPEAT_SECONDS), 60):
        assert troubles.begin(trouble("broken"), "", now) == []
        assert troubles.end(now + 1) == []
    assert troubles.begin(trouble("broken"), "", REPEAT_SECONDS)
    assert troubles.end(REPEAT_SECONDS + 1)


def test_another_trouble_is_news_whenever_it_comes() -> None:
    troubles = Troubles("services")
    troubles.begin(trouble("broken"), "", 0.0)
    troubles.end(1.0)
    assert troubles.begin(trouble("refused"), "", 2.0)


def test_a_trouble_that_comes_back_to_stay_is_told_after_a_time() -> None:
    troubles = Troubles("services")
    troubles.begin(trouble("refused"), "", 0.0)
    troubles.end(1.0)
    told = [now for now in range(30, 7200, 30) if troubles.begin(trouble("refused"), "", now)]
    assert told == [REPEAT_SECONDS]


@pytest.mark.parametrize("fault", Fault)
def test_what_the_operator_has_to_mend_is_an_error(fault: Fault) -> None:
    found = in_transport(Failure(fault, "text"))
    to_mend = fault in (Fault.TLS, Fault.CREDENTIALS)
    assert found == Trouble(fault.name.lower(), Severity.ERROR if to_mend else Severity.WARNING, "text")


# Remarks


def remark(number: int) -> Notice:
    return Notice(Severity.INFO, f"Service shop/s{number}: has no clusterIP")


def test_a_remark_is_told_once() -> None:
    remarks = Remarks()
    assert remarks.admit([remark(1), remark(2), remark(1)], 0.0) == [remark(1), remark(2)]
    assert remarks.admit([remark(1), remark(3)], 1.0) == [remark(3)]
    assert remarks.admit([remark(1)], 1000.0) == []


def test_no_more_remarks_than_a_few_are_told_in_a_minute() -> None:
    remarks = Remarks()
    assert len(remarks.admit([remark(number) for number in range(500)], 0.0)) == REMARKS_PER_WINDOW
    assert remarks.admit([remark(1000)], WINDOW_SECONDS - 1) == []


def test_how_many_were_left_out_is_told_later() -> None:
    remarks = Remarks()
    remarks.admit([remark(number) for number in range(REMARKS_PER_WINDOW + 7)], 0.0)
    assert remarks.admit([remark(1000)], WINDOW_SECONDS) == [
        Notice(Severity.INFO, "7 more remarks on objects were left out"),
        remark(1000),
    ]


def test_what_was_left_out_is_told_when_it_comes_again() -> None:
    remarks = Remarks()
    remarks.admit([remark(number) for number in range(REMARKS_PER_WINDOW + 1)], 0.0)
    assert remark(REMARKS_PER_WINDOW) in remarks.admit([remark(REMARKS_PER_WINDOW)], WINDOW_SECONDS)


def test_what_is_remembered_is_bounded() -> None:
    remarks, now = Remarks(), 0.0
    for number in range(REMEMBERED_MAX):
        now += WINDOW_SECONDS if number % REMARKS_PER_WINDOW == 0 else 0
        remarks.admit([remark(number)], now)
    assert remarks.admit([remark(0)], now + WINDOW_SECONDS) == []
    assert remarks.admit([remark(-1)], now + WINDOW_SECONDS) == [remark(-1)]
    assert remarks.admit([remark(0)], now + WINDOW_SECONDS) == [remark(0)]


# Refusals


def test_a_forbidden_list_names_the_user_the_resource_and_the_rule_to_add() -> None:
    found = trouble_of(refusal("list_forbidden"), SERVICES)
    assert found.severity is Severity.ERROR
    assert found.text == (
        'user "system:serviceaccount:default:nobody" may not list and watch services (403):'
        " add to a ClusterRole bound to it the rule"
        ' {apiGroups: [""], resources: ["services"], verbs: ["list", "watch"]}'
    )


def test_in_one_namespace_a_role_is_enough() -> None:
    found = trouble_of(refusal("forbidden_anonymous"), replace(SLICES, namespace="shop"))
    assert 'user "system:anonymous" may not list and watch endpointslices in shop' in found.text
    assert "add to a Role in shop bound to it" in found.text
    assert 'apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"]' in found.text


def test_a_forbidden_answer_of_a_proxy_names_no_user() -> None:
    found = trouble_of(refusal_of_answer(403, {}, b"<html>no</html>"), SERVICES)
    assert found.text.startswith("our user may not list and watch services")


@pytest.mark.parametrize(
    ("name", "resource", "severity", "part"),
    [
        ("unauthorized", SERVICES, Severity.ERROR, "does not accept our credentials (401)"),
        ("notfound", SLICES, Severity.ERROR, "has no /apis/discovery.k8s.io/v1/endpointslices (404)"),
        ("apf_429", SERVICES, Severity.WARNING, "(429: Too many requests, please try again later.)"),
        ("watch_bad_rv", SERVICES, Severity.WARNING, 'has failed (500: resourceVersion: Invalid value: "abc"'),
        ("list_too_large_rv", SERVICES, Severity.WARNING, "has failed (504: Timeout: Too large resource version"),
        ("list_bad_rv", NAMESPACES, Severity.WARNING, "refuses to list and watch namespaces (400: invalid resource"),
    ],
)
def test_a_refusal_is_told_in_words(name: str, resource: Resource, severity: Severity, part: str) -> None:
    found = trouble_of(refusal(name), resource)
    assert part in found.text
    assert found.severity is severity
    assert found.cause == f"http_{recorded(name).status}"


def test_a_redirect_is_no_api_server() -> None:
    assert "the URL is not that of an API server" in trouble_of(refusal_of_answer(302, {}, b""), SERVICES).text


def test_a_long_message_over_many_lines_becomes_a_short_one_on_one() -> None:
    found = refusal_of_answer(502, {}, b"<html>\n\n  <body>" + b"bad gateway\n" * 1000)
    assert found.message.startswith("<html> <body>bad gateway bad gateway")
    assert len(found.message) == MESSAGE_CHARACTERS_MAX


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("59", 59.0),
        ("3600", RETRY_AFTER_MAX),
        ("9" * 400, RETRY_AFTER_MAX),
        ("", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("²", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_bounded_and_anything_else_counts_as_none(text: str, seconds: float) -> None:
    assert refusal_of_answer(429, {"retry-after": text}, b"").retry_after == seconds


def test_a_missing_retry_after_is_none() -> None:
    assert refusal_of_answer(429, {}, b"").retry_after == 0.0
    assert refusal("apf_429").retry_after == 1.0


def test_which_refusals_are_of_watch_lists() -> None:
    found = {
        name
        for name in ("watchlist_gate_off", "watchlist_no_match", "list_bad_rv")
        if refusal(name).is_of_watch_lists
    }
    assert found == {"watchlist_gate_off", "watchlist_no_match"}


def test_which_refusals_are_of_a_version() -> None:
    names = ("list_continue_410", "list_bad_continue", "list_too_large_rv", "list_bad_rv", "unauthorized", "apf_429")
    assert [refusal(name).is_of_version for name in names] == [True, True, True, True, False, False]
    assert not refusal_of_answer(504, {}, b"upstream request timeout").is_of_version


def test_which_refusals_stay_until_somebody_does_something() -> None:
    names = ("list_forbidden", "forbidden_anonymous", "notfound", "unauthorized", "apf_429")
    assert [refusal(name).is_for_good for name in names] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status("m", "Expired", 410), 410),
        (Status("m", "Expired", None), 410),
        (Status("m", "Gone", None), 410),
        (Status("m", "Gone", 500), 410),
        (Status("m", "InternalError", 500), 500),
        (Status(), 0),
    ],
)
def test_an_error_event_has_a_code_by_its_reason_or_its_own(status: Status, code: int) -> None:
    assert refusal_of_event(status).code == code


def test_an_error_event_says_when_to_come_again() -> None:
    assert refusal_of_event(Status("m", "Timeout", 504, StatusDetails(7))).retry_after == 7
    assert refusal_of_event(Status("m", "Timeout", 504, StatusDetails(7000))).retry_after == RETRY_AFTER_MAX
    assert refusal_of_event(Status("m", "Timeout", 504, StatusDetails(-7))).retry_after == 0
    assert refusal_of_event(Status("m", "Timeout", 504, StatusDetails())).retry_after == 0
    assert refusal_of_event(Status(reason="Timeout")).message == "Timeout"
