"""kdns.server.birth: when a new control knows enough to tell the workers."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.server.birth import Birth, Situation, Verdict, judge
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_EVERYTHING

# Nothing is known; the former control knew everything, and both workers answer from that.
NOTHING = Situation(
    lacks=LACKS_EVERYTHING, is_settled=False, is_late=False, is_silent=False, former_lacks=0, reading=2, workers=2
)
SITUATIONS = st.builds(
    Situation,
    lacks=st.integers(0, 15),
    is_settled=st.booleans(),
    is_late=st.booleans(),
    is_silent=st.booleans(),
    former_lacks=st.integers(0, 15),
    reading=st.integers(0, 2),
    workers=st.just(2),
)


def verdict(birth: Birth, **changes: int) -> Verdict:
    return judge(birth, dataclasses.replace(NOTHING, **changes))


@pytest.mark.parametrize("birth", Birth)
def test_nothing_is_not_enough_at_first(birth: Birth) -> None:
    assert verdict(birth) is Verdict.WAIT


@pytest.mark.parametrize("birth", Birth)
def test_what_an_api_server_has_told_wholly_is_enough(birth: Birth) -> None:
    assert verdict(birth, lacks=0, is_settled=True) is Verdict.ENOUGH


def test_a_start_takes_a_snapshot_at_once_and_waits_for_nothing_longer_than_it_may() -> None:
    assert verdict(Birth.START, lacks=0) is Verdict.ENOUGH
    assert verdict(Birth.START, is_late=True, is_silent=True) is Verdict.ENOUGH
    assert verdict(Birth.START, lacks=LACKS_ENDPOINTS, is_settled=True) is Verdict.WAIT


def test_a_reload_takes_a_snapshot_when_the_api_server_is_late() -> None:
    assert verdict(Birth.RELOAD, lacks=0) is Verdict.WAIT
    assert verdict(Birth.RELOAD, lacks=0, is_late=True, is_silent=True) is Verdict.ENOUGH


def test_a_reload_is_given_up_when_nothing_is_heard_and_not_while_something_is() -> None:
    assert verdict(Birth.RELOAD, is_late=True, is_silent=True) is Verdict.GIVE_UP
    assert verdict(Birth.RELOAD, is_late=True) is Verdict.WAIT
    assert verdict(Birth.RELOAD, lacks=LACKS_ENDPOINTS, is_settled=True) is Verdict.ENOUGH


@given(SITUATIONS)
def test_nothing_but_a_reload_is_given_up(situation: Situation) -> None:
    assert judge(Birth.START, situation) is not Verdict.GIVE_UP
    assert judge(Birth.RESTART, situation) is not Verdict.GIVE_UP


def test_a_restart_waits_for_the_api_server_however_long_it_takes() -> None:
    assert verdict(Birth.RESTART, is_late=True, is_silent=True) is Verdict.WAIT
    assert verdict(Birth.RESTART, lacks=0, is_late=True, is_silent=True) is Verdict.WAIT


def test_a_restart_helps_workers_that_have_nothing() -> None:
    """What is known is better than no reply; a snapshot is better than half of the workers without one."""
    assert verdict(Birth.RESTART, is_late=True, reading=0) is Verdict.ENOUGH
    assert verdict(Birth.RESTART, is_late=True, reading=1) is Verdict.WAIT
    assert verdict(Birth.RESTART, is_late=True, reading=1, lacks=0) is Verdict.ENOUGH


def test_a_restart_goes_on_where_nothing_more_was_known() -> None:
    """As with a cluster that has been down all the time: others have not to wait for it."""
    lacking = {"former_lacks": LACKS_EVERYTHING, "is_late": True}
    assert verdict(Birth.RESTART, **lacking) is Verdict.ENOUGH
    assert verdict(Birth.RESTART, former_lacks=LACKS_ENDPOINTS, is_late=True) is Verdict.WAIT
    assert verdict(Birth.RESTART, former_lacks=LACKS_ENDPOINTS, lacks=LACKS_ENDPOINTS, is_late=True) is Verdict.ENOUGH


@given(SITUATIONS)
def test_while_others_answer_nothing_that_they_know_is_withdrawn_for_want_of_an_answer(situation: Situation) -> None:
    """Only what an API server refuses to tell is."""
    if situation.reading and not situation.is_settled and judge(Birth.RESTART, situation) is Verdict.ENOUGH:
        assert not situation.lacks & ~situation.former_lacks
    if not situation.is_settled and judge(Birth.RELOAD, situation) is Verdict.ENOUGH:
        assert not situation.lacks
