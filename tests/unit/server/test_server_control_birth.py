"""kdns.server.birth: when a new control knows enough to tell the workers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server.birth import NO_SERIAL, Birth, Former, Situation, Verdict, judge, withdrawn
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_EVERYTHING, LACKS_NAMESPACES, LACKS_PODS, LACKS_SERVICES

SERIAL = 1_700_000_000
EVERYTHING_KNOWN = Former(0, SERIAL)
# Nothing is known; the former control knew everything, and both workers answer from that.
NOTHING = Situation(
    lacks=LACKS_EVERYTHING,
    unconfirmed=0,
    serial=None,
    is_settled=False,
    is_late=False,
    is_silent=False,
    former=EVERYTHING_KNOWN,
    reading=2,
)
FORMERS = st.builds(Former, st.integers(0, 15), st.sampled_from([SERIAL, SERIAL + 1]), st.integers(0, 2))
SITUATIONS = st.builds(
    Situation,
    lacks=st.integers(0, 15),
    unconfirmed=st.integers(0, 15),
    serial=st.sampled_from([None, SERIAL]),
    is_settled=st.booleans(),
    is_late=st.booleans(),
    is_silent=st.booleans(),
    former=st.none() | FORMERS,
    reading=st.integers(0, 2),
    namespaces=st.integers(0, 2),
)
RESTORED = {"lacks": 0, "unconfirmed": LACKS_EVERYTHING, "serial": SERIAL}
OLDER = RESTORED | {"serial": SERIAL - 1}
SILENT = {"is_late": True, "is_silent": True}
REFUSED = {"is_settled": True, "lacks": LACKS_ENDPOINTS}
OTHERS_ANSWER = [Birth.RELOAD, Birth.RESTART]


def verdict(birth: Birth, **changes: Any) -> Verdict:
    return judge(birth, dataclasses.replace(NOTHING, **changes))


@pytest.mark.parametrize("birth", Birth)
def test_nothing_is_not_enough_at_first(birth: Birth) -> None:
    assert verdict(birth) is Verdict.WAIT


@pytest.mark.parametrize("birth", Birth)
def test_what_an_api_server_has_told_wholly_is_enough(birth: Birth) -> None:
    assert verdict(birth, lacks=0, is_settled=True) is Verdict.ENOUGH


def test_a_start_takes_a_snapshot_at_once_and_waits_for_nothing_longer_than_it_may() -> None:
    assert verdict(Birth.START, **RESTORED) is Verdict.ENOUGH
    assert verdict(Birth.START, **SILENT) is Verdict.ENOUGH
    assert verdict(Birth.START, **REFUSED) is Verdict.WAIT


@pytest.mark.parametrize("birth", OTHERS_ANSWER)
def test_a_snapshot_that_is_as_new_as_what_is_answered_is_taken_when_the_api_server_is_late(birth: Birth) -> None:
    assert verdict(birth, **RESTORED) is Verdict.WAIT
    assert verdict(birth, **RESTORED, **SILENT) is Verdict.ENOUGH
    assert verdict(birth, **RESTORED, is_settled=True) is Verdict.ENOUGH


def test_a_reload_does_not_go_back_to_an_older_snapshot() -> None:
    assert verdict(Birth.RELOAD, **OLDER, **SILENT) is Verdict.GIVE_UP
    assert verdict(Birth.RELOAD, **OLDER, is_late=True, is_settled=True) is Verdict.GIVE_UP
    assert verdict(Birth.RELOAD, **OLDER) is Verdict.WAIT


def test_a_restart_does_not_go_back_to_an_older_snapshot() -> None:
    assert verdict(Birth.RESTART, **OLDER, **SILENT) is Verdict.KEEP
    assert verdict(Birth.RESTART, **OLDER, is_late=True, is_settled=True) is Verdict.KEEP


def test_a_reload_is_given_up_when_nothing_is_heard_and_not_while_something_is() -> None:
    assert verdict(Birth.RELOAD, **SILENT) is Verdict.GIVE_UP
    assert verdict(Birth.RELOAD, is_late=True) is Verdict.WAIT


def test_a_refusal_takes_nothing_away_and_has_as_long_to_pass_as_silence() -> None:
    assert verdict(Birth.RELOAD, **REFUSED) is Verdict.WAIT
    assert verdict(Birth.RELOAD, **REFUSED, is_late=True) is Verdict.GIVE_UP
    assert verdict(Birth.RESTART, **REFUSED) is Verdict.WAIT
    assert verdict(Birth.RESTART, **REFUSED, is_late=True) is Verdict.KEEP


@pytest.mark.parametrize("lacks", [LACKS_NAMESPACES, LACKS_PODS, LACKS_NAMESPACES | LACKS_PODS])
def test_after_a_restart_what_is_told_is_followed_though_denials_have_to_be_withheld(lacks: int) -> None:
    refused = {"is_late": True, "lacks": lacks}
    assert verdict(Birth.RESTART, **refused, is_settled=True) is Verdict.ENOUGH
    assert verdict(Birth.RESTART, **refused) is Verdict.KEEP
    assert verdict(Birth.RESTART, **refused | {"lacks": lacks | LACKS_SERVICES}, is_settled=True) is Verdict.KEEP
    assert verdict(Birth.RESTART, **refused | {"is_late": False}, is_settled=True) is Verdict.WAIT


@pytest.mark.parametrize("birth", OTHERS_ANSWER)
def test_what_was_refused_before_may_be_refused_still(birth: Birth) -> None:
    assert verdict(birth, **REFUSED, former=Former(LACKS_ENDPOINTS, SERIAL)) is Verdict.ENOUGH
    assert verdict(birth, **REFUSED, former=Former(LACKS_SERVICES, SERIAL)) is Verdict.WAIT
    assert verdict(birth, **REFUSED, former=Former(LACKS_ENDPOINTS, NO_SERIAL)) is Verdict.ENOUGH


@pytest.mark.parametrize("birth", OTHERS_ANSWER)
def test_what_lacks_in_more_namespaces_than_before_is_less(birth: Birth) -> None:
    former = Former(LACKS_ENDPOINTS, SERIAL, namespaces=1)
    assert verdict(birth, **REFUSED, former=former, namespaces=1) is Verdict.ENOUGH
    assert verdict(birth, **REFUSED, former=former, namespaces=2) is Verdict.WAIT
    assert verdict(birth, **REFUSED, former=former, namespaces=0) is Verdict.WAIT


@pytest.mark.parametrize("birth", OTHERS_ANSWER)
def test_a_cluster_that_nobody_answers_for_is_waited_for_as_at_a_start(birth: Birth) -> None:
    assert verdict(birth, former=None) is Verdict.WAIT
    assert verdict(birth, former=None, **SILENT) is Verdict.ENOUGH
    assert verdict(birth, former=None, **REFUSED) is Verdict.ENOUGH


@given(SITUATIONS)
def test_nothing_but_a_reload_is_given_up(situation: Situation) -> None:
    assert judge(Birth.START, situation) is not Verdict.GIVE_UP
    assert judge(Birth.RESTART, situation) is not Verdict.GIVE_UP


def test_a_restart_leaves_workers_what_they_have_however_long_the_api_server_takes() -> None:
    assert verdict(Birth.RESTART, **SILENT) is Verdict.KEEP


def test_where_no_worker_answers_whatever_is_known_is_better_than_no_reply() -> None:
    assert verdict(Birth.RESTART, is_late=True, reading=0) is Verdict.ENOUGH
    assert verdict(Birth.RESTART, is_late=True, reading=1) is Verdict.KEEP
    assert verdict(Birth.RESTART, **OLDER, reading=0) is Verdict.WAIT


def test_a_restart_goes_on_where_nothing_more_was_known() -> None:
    """As with a cluster that has been down all the time: others have not to wait for it."""
    lacking = Former(LACKS_ENDPOINTS, SERIAL)
    assert verdict(Birth.RESTART, former=Former(LACKS_EVERYTHING, SERIAL), is_late=True) is Verdict.ENOUGH
    assert verdict(Birth.RESTART, former=lacking, is_late=True) is Verdict.KEEP
    assert verdict(Birth.RESTART, former=lacking, lacks=LACKS_ENDPOINTS, is_late=True) is Verdict.ENOUGH


@given(SITUATIONS)
def test_a_fleet_that_answers_is_never_replaced_by_one_that_knows_less(situation: Situation) -> None:
    if judge(Birth.RELOAD, situation) is Verdict.ENOUGH:
        assert not withdrawn(situation)


@given(SITUATIONS)
def test_workers_that_answer_lose_nothing_but_denials_by_a_restart(situation: Situation) -> None:
    if situation.reading and judge(Birth.RESTART, situation) is Verdict.ENOUGH:
        assert not withdrawn(situation) & (LACKS_SERVICES | LACKS_ENDPOINTS)
        assert situation.is_settled or not withdrawn(situation)


@given(SITUATIONS)
def test_only_a_restart_keeps_and_only_when_it_has_waited(situation: Situation) -> None:
    assert judge(Birth.START, situation) is not Verdict.KEEP
    assert judge(Birth.RELOAD, situation) is not Verdict.KEEP
    if situation.is_late:
        assert judge(Birth.RESTART, situation) is not Verdict.WAIT


@given(SITUATIONS)
def test_what_is_withdrawn_is_what_is_answered_and_not_known_or_older(situation: Situation) -> None:
    lost = withdrawn(situation)
    if situation.former is None:
        assert not lost
        return
    if not situation.former.namespaces:
        assert not lost & situation.former.lacks
    assert not situation.lacks & ~situation.former.lacks & ~lost
    if situation.serial == situation.former.serial:
        assert not lost & ~situation.lacks
