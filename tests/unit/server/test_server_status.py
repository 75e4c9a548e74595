"""kdns.server.status: what control knows of each source, across processes and beyond its life."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.corefile import Kubernetes, ZoneFile
from kdns.observe.status import COUNTERS, Word
from kdns.server.assembly import ClusterPlan, FilePlan
from kdns.server.birth import Former
from kdns.server.status import Origin, SourceStatus, Statuses, origins_of
from kdns.wire.name import from_text
from kdns.zone.delta import LACKS_PODS, LACKS_SERVICES

ZONE = from_text("cluster.local.")
WATCHED = Origin("cluster.local.", is_watched=True)
FILE = Origin("example.org.", is_watched=False)


def _row() -> SourceStatus:
    return Statuses([WATCHED])[0]


def test_a_child_writes_and_its_parent_reads() -> None:
    statuses = Statuses([FILE, WATCHED])
    pid = os.fork()
    if pid == 0:
        statuses[1][Word.LACKS] = LACKS_SERVICES | LACKS_PODS
        statuses[1].stale_since_ns = -(10**9)
        statuses[1][Word.DELTAS] = 2**62
        os._exit(0)
    os.waitpid(pid, 0)
    assert statuses[1][Word.LACKS] == LACKS_SERVICES | LACKS_PODS
    assert statuses[1].stale_since_ns == -(10**9)
    assert statuses[1][Word.DELTAS] == 2**62
    assert not any(statuses[0][word] for word in Word)


def test_what_is_published_is_none_until_something_is() -> None:
    statuses = Statuses([FILE, WATCHED])
    row = statuses[1]
    assert row.published is None
    for one in (Former(LACKS_PODS, 0), Former(0, 2**32 - 1), Former(LACKS_SERVICES, 7, 3)):
        row.published = one
        assert row.published == one
    assert statuses[0].published is None


def test_rows_do_not_overlap() -> None:
    statuses = Statuses([WATCHED] * 3)
    for place, row in enumerate(statuses, start=1):
        for word in Word:
            row[word] = 100 * place + word
    for place, row in enumerate(statuses, start=1):
        assert [row[word] for word in Word] == [100 * place + word for word in Word]
    assert len(statuses) == 3


def test_a_plan_without_sources_has_no_rows() -> None:
    assert len(Statuses([])) == 0


def test_no_counter_goes_back_when_a_new_control_counts_from_nothing() -> None:
    row = _row()
    row.begin()
    row[Word.LISTS], row[Word.SERVICES] = 5, 70
    row.begin()
    assert row[Word.LISTS] == 5
    row[Word.LISTS], row[Word.SERVICES] = 2, 60
    assert row[Word.LISTS] == 7
    row[Word.LISTS] = 3
    assert row[Word.LISTS] == 8
    assert row[Word.SERVICES] == 60  # a figure that is no counter is what it is


@given(st.lists(st.lists(st.integers(0, 1000)).map(sorted), max_size=5))
def test_counters_over_the_lives_of_controls_are_monotonic(lives: list[list[int]]) -> None:
    row, last, before = _row(), 0, 0
    for life in lives:
        row.begin()
        for total in life:
            row[Word.RELISTS] = total
            assert row[Word.RELISTS] == before + total >= last
            last = row[Word.RELISTS]
        before = last


def test_counters_are_the_words_that_only_grow() -> None:
    assert Word.DELTAS in COUNTERS
    assert Word.FAILED_TLS in COUNTERS
    assert not COUNTERS & {Word.LACKS, Word.STALE_SINCE_NS, Word.PODS, Word.VISIBLE_GENERATION}


def test_staleness_is_the_time_since_the_row_was_current() -> None:
    row = _row()
    assert row.staleness_ns(10) == 0
    row.stale_since_ns = 4
    assert row.staleness_ns(10) == 6
    assert row.staleness_ns(3) == 0  # clocks of two processes: never negative
    row.stale_since_ns = -5
    assert row.staleness_ns(10) == 15
    row.stale_since_ns = None
    assert (row.stale_since_ns, row.staleness_ns(10)) == (None, 0)


def test_what_is_stale_since_earlier_stays_it_until_it_is_current() -> None:
    row = _row()
    for told, kept in ((50, 50), (70, 50), (40, 40), (-3, -3), (60, -3)):
        row.stale_since_ns = told
        assert row.stale_since_ns == kept
    row.stale_since_ns = None
    row.stale_since_ns = 60
    assert row.stale_since_ns == 60


def test_stale_since_the_clocks_zero_is_not_mistaken_for_current() -> None:
    row = _row()
    row.stale_since_ns = 0
    assert row.stale_since_ns is not None


def test_without_control_what_was_current_becomes_stale_and_what_was_stale_stays_it() -> None:
    statuses = Statuses([WATCHED, WATCHED, FILE])
    statuses[1].stale_since_ns = 50
    statuses.lose_control(100)
    assert [row.stale_since_ns for row in statuses] == [100, 50, None]
    statuses.lose_control(200)
    assert [row.stale_since_ns for row in statuses] == [100, 50, None]


def test_sources_are_told_apart_by_their_first_zone_and_a_number() -> None:
    cluster = from_text("cluster.local.")
    reverse = from_text("in-addr.arpa.")
    origins = origins_of(
        [
            ClusterPlan(Kubernetes((cluster, reverse))),
            ClusterPlan(Kubernetes((cluster,), manifests=("shop.yaml",))),
            FilePlan(ZoneFile("a.zone", (from_text("example.org."),)), from_text("example.org.")),
        ]
    )
    assert origins == (
        Origin("cluster.local.", True, frozenset((cluster, reverse)), "in-cluster"),
        Origin("cluster.local. (2)", False, frozenset((cluster,))),
        Origin("example.org.", False, frozenset((from_text("example.org."),))),
    )


@pytest.mark.parametrize(
    ("kubernetes", "access"),
    [
        (Kubernetes((ZONE,), kubeconfig="/k"), "/k"),
        (Kubernetes((ZONE,), kubeconfig="/k", context="blue"), "/k blue"),
        (Kubernetes((ZONE,), endpoint="https://10.0.0.1"), "https://10.0.0.1"),
    ],
)
def test_an_api_server_is_known_by_how_it_is_reached(kubernetes: Kubernetes, access: str) -> None:
    [origin] = origins_of([ClusterPlan(kubernetes)])
    assert origin.access == access


def test_what_is_answered_of_a_zone_is_found_whatever_stands_first_in_its_block() -> None:
    other = from_text("in-addr.arpa.")
    ours = Origin("a", True, frozenset((ZONE, other)), "blue")
    theirs = Origin("b", True, frozenset((ZONE,)), "green")
    files = Origin("c", False, frozenset((ZONE,)))
    statuses = Statuses([ours, theirs, files])

    def found(*zones: bytes, access: str) -> list[str]:
        rows = statuses.answering(Origin("new", True, frozenset(zones), access))
        return [row.origin.label for row in rows]

    assert found(ZONE, access="blue") == []  # nothing is published
    for row in statuses:
        row.published = Former(0, 7)
    assert found(other, ZONE, access="blue") == ["a"]
    assert found(ZONE, access="green") == ["b"]
    assert found(ZONE, access="red") == ["a", "b", "c"]  # it takes the place of one of them
    assert found(other, access="red") == ["a"]
    assert found(from_text("elsewhere."), access="blue") == []
