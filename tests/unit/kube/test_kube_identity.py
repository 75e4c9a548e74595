"""kdns.kube.identity: which cluster it is, asked until there is an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.kube.identity import MAX_BODY_OCTETS, PATIENCE_SECONDS, UNKNOWN, USELESS_ANSWERS_MAX, Identity
from kdns.kube.request import Failure, Fault, Notice
from tests.unit.kube.reflecting import REFUSED, START

UID = "11111111-2222-3333-4444-555555555555"
ANSWER = json.dumps({"items": [{"metadata": {"name": "kube-system", "uid": UID}}]}).encode()


def new() -> Identity:
    return Identity(Random(3), START)


def number(identity: Identity) -> int:
    assert identity.request is not None
    return identity.request.number


def answer(identity: Identity, body: bytes, status: int = 200) -> list[Notice]:
    one = number(identity)
    identity.opened(one, status, {}, START)
    identity.received(one, body, START)
    return identity.ended(one, START).notices


def test_it_asks_for_the_namespace_kube_system_alone() -> None:
    request = new().request
    assert request is not None
    assert (request.path, request.due) == ("/api/v1/namespaces", START)
    assert request.query == (("fieldSelector", "metadata.name=kube-system"),)


def test_the_answer_settles_it() -> None:
    identity = new()
    assert answer(identity, ANSWER) == []
    assert (identity.uid, identity.request, identity.wake_at) == (UID, None, math.inf)


@pytest.mark.parametrize("meta", [{}, {"metadata": {}}, {"metadata": {"resourceVersion": "4711"}}])
def test_it_says_how_far_the_store_is_if_the_answer_does(meta: dict[str, Any]) -> None:
    identity = new()
    assert identity.resource_version == ""
    answer(identity, json.dumps(json.loads(ANSWER) | meta).encode())
    assert (identity.uid, identity.resource_version) == (UID, "4711" if meta.get("metadata") else "")


@pytest.mark.parametrize(
    ("status", "body"), [(403, b"{}"), (404, b"no"), (200, b'{"items": []}'), (200, b'{"items": null}')]
)
def test_what_is_not_to_be_had_is_unknown_for_good(status: int, body: bytes) -> None:
    identity = new()
    answer(identity, body, status)
    assert (identity.uid, identity.request) == (UNKNOWN, None)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>", "sends what cannot be read"),
        (401, b"{}", "does not accept our credentials"),
        (503, b"{}", "has failed (503)"),
        (429, b"{}", "too much to do"),
    ],
)
def test_what_may_pass_is_asked_for_again_later(status: int, body: bytes, told: str) -> None:
    identity = new()
    before = number(identity)
    (notice,) = answer(identity, body, status)
    assert told in notice.text
    assert sum(identity.failures.values()) == 1
    assert identity.uid is None
    assert identity.request is not None
    assert number(identity) == before + 1
    assert START + 0.8 <= identity.request.due < START + 1.6
    answer(identity, ANSWER)
    assert identity.uid == UID


def test_it_complains_once() -> None:
    identity = new()
    told = [identity.failed(number(identity), REFUSED, START + at).notices for at in range(10)]
    assert [len(one) for one in told] == [1] + [0] * 9
    assert told[0][0].text == f"which cluster it is cannot be told yet: {REFUSED.text}"


def test_a_few_answers_that_are_none_are_as_good_as_a_refusal_for_who_waits() -> None:
    identity = new()
    told: list[Notice] = []
    for at in range(USELESS_ANSWERS_MAX):
        assert not identity.is_withheld, at
        told += answer(identity, b"{}", 500)
    assert identity.is_withheld
    assert len(told) == 2
    assert told[1].text.startswith("the API server has not told 3 times which cluster it is: ")
    told = [one for _ in range(9) for one in answer(identity, b"{}", 500)]
    assert told == []
    answer(identity, ANSWER)
    assert (identity.uid, identity.is_withheld) == (UID, False)


def garbled(identity: Identity) -> None:
    answer(identity, b"<html>")


def malformed(identity: Identity) -> None:
    identity.failed(number(identity), Failure(Fault.MALFORMED, "no HTTP"), START)


def cut(identity: Identity) -> None:
    identity.opened(number(identity), 200, {}, START)
    identity.failed(number(identity), Failure(Fault.BROKEN, "reset"), START)


def silent(identity: Identity) -> None:
    identity.wake(identity.wake_at)


@pytest.mark.parametrize("fail", [garbled, malformed, cut, silent])
def test_whatever_comes_of_an_api_server_that_is_reached_counts(fail: Callable[[Identity], None]) -> None:
    identity = new()
    for _ in range(USELESS_ANSWERS_MAX):
        fail(identity)
    assert identity.is_withheld


@pytest.mark.parametrize("fault", [one for one in Fault if one is not Fault.MALFORMED])
def test_an_api_server_that_cannot_be_reached_withholds_nothing(fault: Fault) -> None:
    """Whoever waits goes on from where it was, once it is back."""
    identity = new()
    for _ in range(3 * USELESS_ANSWERS_MAX):
        identity.failed(number(identity), Failure(fault, "away"), START)
    assert not identity.is_withheld


def test_an_answer_that_does_not_come_is_waited_for_no_longer() -> None:
    identity = new()
    assert identity.wake_at == START + PATIENCE_SECONDS
    before = number(identity)
    identity.wake(identity.wake_at)
    assert number(identity) == before + 1


def test_what_is_told_of_an_earlier_request_is_stale() -> None:
    identity = new()
    before = number(identity)
    identity.failed(before, REFUSED, START)
    identity.opened(number(identity), 503, {}, START)
    for tell in (
        lambda: identity.opened(before, 200, {}, START),
        lambda: identity.received(before, ANSWER, START),
        lambda: identity.ended(before, START),
        lambda: identity.failed(before, REFUSED, START),
    ):
        tell()
    assert identity.uid is None
    assert number(identity) == before + 1


def test_it_keeps_no_more_of_an_answer_than_it_could_use() -> None:
    identity = new()
    one = number(identity)
    identity.opened(one, 200, {}, START)
    for _ in range(4):
        identity.received(one, b" " * MAX_BODY_OCTETS, START)
    assert len(identity._body) == MAX_BODY_OCTETS
    assert identity.ended(one, START).notices


@given(st.binary(max_size=200))
def test_whatever_the_answer_is_nothing_raises(body: bytes) -> None:
    identity = new()
    answer(identity, body)
    assert identity.uid is None or isinstance(identity.uid, str)
