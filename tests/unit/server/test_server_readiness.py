"""kdns.server.readiness: each policy, the workers, the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.corefile import Condition, ReadyWhen
from kdns.observe.status import Word
from kdns.server.readiness import SHUTTING_DOWN, Transitions, reasons_not_ready
from kdns.server.status import Origin, SourceStatus, Statuses
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_SERVICES

WHOLE, SYNCED, SERVING = map(ReadyWhen, (Condition.WHOLE, Condition.SYNCED, Condition.SERVING))
FRESH = ReadyWhen(Condition.FRESH, 60 * 10**9)
NOW_NS = 1000 * 10**9


def _row(*, loaded: bool = True, lacks: int = 0, synced: bool = True, stale_s: float = 0) -> SourceStatus:
    row = Statuses([Origin("cluster.local.", is_watched=True)])[0]
    row[Word.IS_LOADED], row[Word.LACKS], row[Word.IS_SYNCED] = loaded, lacks, synced
    row.stale_since_ns = NOW_NS - int(stale_s * 1e9) if stale_s else None
    return row


def _reasons(when: ReadyWhen, *rows: SourceStatus, workers: str = "", is_terminating: bool = False) -> list[str]:
    return reasons_not_ready(when, rows, workers, is_terminating, NOW_NS)


NOTHING = "kubernetes cluster.local.: nothing is known yet"
LACKING = "kubernetes cluster.local.: not wholly known yet: services, endpointslices"
RESTORED = "kubernetes cluster.local.: known from a snapshot only"
STALE = "kubernetes cluster.local.: the data is 61 s old, more than the 60 s allowed"


@pytest.mark.parametrize(
    ("row", "whole", "synced", "fresh"),
    [
        (_row(), "", "", ""),
        (_row(stale_s=60), "", "", ""),
        (_row(stale_s=61), "", "", STALE),
        (_row(synced=False, stale_s=61), "", RESTORED, RESTORED),
        (_row(synced=False, lacks=LACKS_SERVICES | LACKS_ENDPOINTS), LACKING, LACKING, LACKING),
        (_row(synced=False, loaded=False), NOTHING, NOTHING, NOTHING),
    ],
)
def test_what_each_policy_says_of_a_cluster(row: SourceStatus, whole: str, synced: str, fresh: str) -> None:
    for when, reason in ((WHOLE, whole), (SYNCED, synced), (FRESH, fresh), (SERVING, "")):
        assert _reasons(when, row) == ([reason] if reason else [])


@pytest.mark.parametrize("when", [WHOLE, SYNCED, SERVING, FRESH])
def test_workers_and_the_end_count_whatever_the_policy(when: ReadyWhen) -> None:
    assert _reasons(when, _row(), workers="0 of 2 read queries") == ["workers: 0 of 2 read queries"]
    assert _reasons(when, _row(), workers="0 of 2 read queries", is_terminating=True) == [SHUTTING_DOWN]
    assert _reasons(when, _row(), is_terminating=True) == [SHUTTING_DOWN]


@pytest.mark.parametrize("when", [WHOLE, SYNCED, FRESH])
def test_files_have_been_read_when_there_are_workers(when: ReadyWhen) -> None:
    files = Statuses(
        [
            Origin("cluster.local.", is_watched=False),
            Origin("example.org.", is_watched=False),
        ]
    )
    assert _reasons(when, *files) == []


def test_every_reason_is_told_workers_first() -> None:
    other = Statuses([Origin("cluster.test.", is_watched=True)])[0]
    assert _reasons(WHOLE, _row(loaded=False), _row(), other, workers="1 of 2 read queries") == [
        "workers: 1 of 2 read queries",
        NOTHING,
        "kubernetes cluster.test.: nothing is known yet",
    ]


@given(
    loaded=st.booleans(), lacks=st.integers(0, 15), synced=st.booleans(), stale_s=st.sampled_from([0, 1, 59, 61, 999])
)
def test_the_policies_are_ordered_by_strictness(loaded: bool, lacks: int, synced: bool, stale_s: float) -> None:
    row = _row(loaded=loaded, lacks=lacks, synced=synced, stale_s=stale_s)
    is_ready = [not _reasons(when, row) for when in (SERVING, SYNCED, FRESH)]
    assert is_ready == sorted(is_ready, reverse=True)


def test_readiness_that_is_lost_and_comes_back_is_told_once_each() -> None:
    transitions = Transitions()
    lines = [transitions.line(reasons) for reasons in (["a"], ["a"], [], [], ["b", "c"], ["b"], [], [])]
    assert lines == [None, None, None, None, "not ready: b; c", None, "ready again", None]
