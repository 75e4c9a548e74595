"""When a new control knows enough of a cluster to tell the workers: the decision, without anything else.

It depends on who answers meanwhile, and from what. Not here: finding out (kdns.server.control).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Birth(Enum):
    """Who answers while this control finds out what is to be answered, and so how long it may take.

    START: nobody. What cannot be read ends it, with the reasons; an API server is waited for `startup_timeout`.
    RELOAD: the fleet that is to be replaced. What cannot be read ends it, and so does an API server that is silent
        for `startup_timeout`, unless there is a snapshot to go on from.
    RESTART: its own workers, from what a control that died has told them. It waits until everything is in order.
    """

    START = "start"
    RELOAD = "reload"
    RESTART = "restart"


class Verdict(Enum):
    """What follows: answer from what is known, wait for more, or give up."""

    ENOUGH = "enough"
    WAIT = "wait"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one cluster, and who answers.

    lacks: kinds that are not known wholly, by us; former_lacks: by the workers that answer.
    is_settled: the API server itself has told all that it tells. is_late: `startup_timeout` is over; is_silent: and
        for so long it has said nothing. workers: how many there should be; reading: how many answer.
    """

    lacks: int
    is_settled: bool
    is_late: bool
    is_silent: bool
    former_lacks: int
    reading: int
    workers: int


def judge(birth: Birth, situation: Situation) -> Verdict:
    """Whether what is known is to be answered from."""
    return _JUDGES[birth](situation)


def _at_start(situation: Situation) -> Verdict:
    """Nobody answers: names that are not known are better refused than left unanswered."""
    return _enough(not situation.lacks or situation.is_late)


def _at_reload(situation: Situation) -> Verdict:
    """Others answer, from what may be more than we know."""
    if situation.is_settled or (situation.is_late and not situation.lacks):
        return Verdict.ENOUGH
    return Verdict.GIVE_UP if situation.is_silent else Verdict.WAIT


def _at_restart(situation: Situation) -> Verdict:
    """The workers answer from more than we know, even if we have a snapshot: it may be half a minute behind them."""
    if situation.is_settled or not situation.is_late:
        return _enough(situation.is_settled)
    if not situation.reading:
        return Verdict.ENOUGH
    if situation.former_lacks:
        return _enough(not situation.lacks & ~situation.former_lacks)
    # They know everything, except for one that is new and waits for us to know anything.
    return _enough(not situation.lacks and situation.reading < situation.workers)


def _enough(is_enough: bool) -> Verdict:
    return Verdict.ENOUGH if is_enough else Verdict.WAIT


_JUDGES: dict[Birth, Callable[[Situation], Verdict]] = {
    Birth.START: _at_start,
    Birth.RELOAD: _at_reload,
    Birth.RESTART: _at_restart,
}
