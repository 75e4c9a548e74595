"""When a new control knows enough of a cluster to tell the workers: the decision, without anything else.

It depends on who answers meanwhile, and from what: nothing that they answer may be withdrawn, neither because an API
server is silent or refuses something, nor because a snapshot is older than what they have. Not here: finding out
(kdns.server.control).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_SERVICES

NO_SERIAL = -1  # of several clusters that are answered: equal to that of no snapshot

# Kinds that decide what a name answers; the others decide only what is denied, and which pods exist.
_ANSWERING = LACKS_SERVICES | LACKS_ENDPOINTS


class Birth(Enum):
    """Who answers while this control finds out what is to be answered, and so how long it may take.

    START: nobody. What cannot be read ends it, with the reasons; an API server is waited for `startup_timeout`.
    RELOAD: the fleet that is to be replaced. What cannot be read ends it, and so does an API server that in
        `startup_timeout` does not tell what that fleet knows, unless a snapshot does.
    RESTART: its own workers, from what a control that died has told them. What it does not know as well in
        `startup_timeout` they keep, source by source, until it does.
    """

    START = "start"
    RELOAD = "reload"
    RESTART = "restart"


class Verdict(Enum):
    """What follows: answer from what is known, wait for more, leave workers what they have, or give up."""

    ENOUGH = "enough"
    WAIT = "wait"
    KEEP = "keep"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Former:
    """What is answered of one cluster by those who answer meanwhile.

    lacks: kinds that they do not know wholly (LACKS_... of kdns.zone.delta). serial: of the SOA.
    namespaces: in how many that is so; 0 for the whole cluster.
    """

    lacks: int
    serial: int
    namespaces: int = 0


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one cluster, and who answers.

    lacks, namespaces: what is not known wholly, as in Former. unconfirmed: kinds that are known from a snapshot
    alone; serial: its SOA serial, None without one.
    is_settled: the API server itself has told all that it tells. is_late: `startup_timeout` is over; is_silent: and
    for so long it has told nothing.
    former: what is answered meanwhile, None if that is nothing. reading: how many of our own workers answer.
    """

    lacks: int
    unconfirmed: int
    serial: int | None
    is_settled: bool
    is_late: bool
    is_silent: bool
    former: Former | None
    reading: int
    namespaces: int = 0


def withdrawn(situation: Situation) -> int:
    """The kinds of which less would be answered than it is now, or what was true before."""
    former = situation.former
    if former is None:
        return 0
    older = 0 if situation.serial == former.serial else situation.unconfirmed
    # Where it lacks is counted and not named: those few that are lacking at both times are the same, for all we know.
    is_as_wide = not former.namespaces or 0 < situation.namespaces <= former.namespaces
    return (situation.lacks | older) & ~(former.lacks if is_as_wide or not situation.lacks else 0)


def judge(birth: Birth, situation: Situation) -> Verdict:
    """Whether what is known is to be answered from."""
    if birth is Birth.START:  # names that are not known are better refused than left unanswered
        return _enough(not situation.lacks or situation.is_late)
    if not (situation.is_settled or situation.is_late):
        return Verdict.WAIT
    return _LESS_THAN_BEFORE[birth](situation) if withdrawn(situation) else Verdict.ENOUGH


def _less_at_reload(situation: Situation) -> Verdict:
    """What the API server has refused once may be a slip, so that it has as long as one that is silent."""
    is_hopeless = situation.is_late and (situation.is_silent or situation.is_settled)
    return Verdict.GIVE_UP if is_hopeless else Verdict.WAIT


def _less_at_restart(situation: Situation) -> Verdict:
    """Workers that answer from more go on with it, but not for the sake of denials alone.

    Where the API server tells of all else, denials are withheld: to keep what does not follow the cluster any more
    would deny what is new.
    """
    if not situation.is_late:
        return Verdict.WAIT
    costs_answers = withdrawn(situation) & _ANSWERING or not situation.is_settled
    return Verdict.KEEP if situation.reading and costs_answers else Verdict.ENOUGH


def _enough(is_enough: bool) -> Verdict:
    return Verdict.ENOUGH if is_enough else Verdict.WAIT


_LESS_THAN_BEFORE: dict[Birth, Callable[[Situation], Verdict]] = {
    Birth.RELOAD: _less_at_reload,
    Birth.RESTART: _less_at_restart,
}
