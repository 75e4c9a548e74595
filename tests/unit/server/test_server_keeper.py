"""kdns.server.keeper: the snapshot of all clusters, given to them at the start and written as they change."""

from __future__ import annotations

import math
import os
import select
from dataclasses import replace
from pathlib import Path

import pytest

from kdns.kube.snapshot import Section, Snapshot, decode
from kdns.server.keeper import SnapshotKeeper
from kdns.server.snapshots import MIN_INTERVAL_SECONDS
from tests.unit.kube.builders import namespace

NOW, UNIX = 1000.0, 1_800_000_000.0
DAY = 86400.0


def snapshot(fingerprint: str, *names: str) -> Snapshot:
    return Snapshot(fingerprint, "uid", UNIX, (Section("/api/v1/namespaces", "7", tuple(map(namespace, names))),))


class Cluster:
    """What a keeper sees of an ApiSource."""

    def __init__(self, fingerprint: str, *names: str) -> None:
        self.fingerprint = fingerprint
        self.names = names
        self.kept: list[Snapshot | None] = []
        self.is_confirmed = bool(names)
        self.is_settled = self.is_confirmed
        self.is_identified = True
        self.serial = 7
        self.taken_at = UNIX

    @property
    def lacks(self) -> int:
        return 0 if self.names else 1

    @property
    def has_snapshot(self) -> bool:
        return bool(self.names) and self.is_identified

    def keep(self, found: Snapshot | None, now: float, unix_now: float) -> None:
        self.kept.append(found)

    def snapshot(self, now: float, unix_now: float) -> Snapshot | None:
        if not self.has_snapshot:
            return None
        return replace(snapshot(self.fingerprint, *self.names), serial=self.serial, taken_at=self.taken_at)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot"


def keeper_of(path: Path, *clusters: Cluster) -> SnapshotKeeper:
    return SnapshotKeeper(str(path), DAY, clusters)


def names(path: Path) -> list[list[str]]:
    found = decode(path.read_bytes())
    return [[key.key[2] for section in one.sections for key in section.objects] for one in found]


def turn(keeper: SnapshotKeeper, now: float) -> list[str]:
    """A turn, and once more when the write that it began has ended."""
    told = keeper.turn(now, UNIX)
    if keeper._writer._thread is not None:
        assert select.select([keeper], [], [], 20.0)[0]
        told += keeper.turn(now, UNIX)
    return [notice.text for notice in told]


def test_each_cluster_is_given_what_is_its_own(path: Path) -> None:
    first = keeper_of(path, Cluster("a", "x"), Cluster("b", "y"))
    first.finish(NOW, UNIX)
    clusters = Cluster("b"), Cluster("c"), Cluster("a")
    notices = keeper_of(path, *clusters).load(NOW, UNIX)
    assert [cluster.kept for cluster in clusters] == [
        [replace(snapshot("b", "y"), serial=7)],
        [None],
        [replace(snapshot("a", "x"), serial=7)],
    ]
    assert len(notices) == 3


def test_without_a_file_every_cluster_is_asked_to_keep_one_all_the_same(path: Path) -> None:
    cluster = Cluster("a")
    (notice,) = keeper_of(path, cluster).load(NOW, UNIX)
    assert "there is none yet" in notice.text
    assert cluster.kept == [None]


def test_nothing_is_written_before_anything_is_known(path: Path) -> None:
    cluster = Cluster("a")
    keeper = keeper_of(path, cluster)
    keeper.note_change()
    assert keeper.wake_at == math.inf
    assert turn(keeper, NOW) == []
    assert not path.exists()


def test_what_an_api_server_has_confirmed_is_written_though_nothing_changes(path: Path) -> None:
    cluster = Cluster("a")
    keeper = keeper_of(path, cluster)
    turn(keeper, NOW)
    cluster.names, cluster.is_confirmed = ("x",), True
    assert len(turn(keeper, NOW + 1)) == 1
    assert names(path) == [["x"]]


def test_changes_are_written_at_a_bounded_pace(path: Path) -> None:
    cluster = Cluster("a", "x")
    keeper = keeper_of(path, cluster)
    turn(keeper, NOW)
    cluster.names = ("x", "y")
    keeper.note_change()
    assert keeper.wake_at == NOW + MIN_INTERVAL_SECONDS
    turn(keeper, NOW + MIN_INTERVAL_SECONDS - 1)
    assert names(path) == [["x"]]
    turn(keeper, keeper.wake_at)
    assert names(path) == [["x", "y"]]
    assert keeper.wake_at > NOW + 10 * MIN_INTERVAL_SECONDS


def test_what_a_former_process_writes_at_its_end_is_written_over_soon(path: Path) -> None:
    """After a reload: it has another configuration, and its snapshot would be of no use."""
    new, former = keeper_of(path, Cluster("new", "x")), keeper_of(path, Cluster("old", "x"))
    turn(new, NOW)
    former.finish(NOW, UNIX)
    assert decode(path.read_bytes())[0].fingerprint == "old"
    assert new.wake_at == NOW + MIN_INTERVAL_SECONDS
    turn(new, new.wake_at)
    assert decode(path.read_bytes())[0].fingerprint == "new"


def test_it_is_not_due_while_a_write_is_under_way_and_is_readable_afterwards(path: Path) -> None:
    keeper = keeper_of(path, Cluster("a", "x"))
    keeper.turn(NOW, UNIX)
    assert keeper.wake_at == math.inf
    assert select.select([keeper], [], [], 20.0)[0]
    keeper.turn(NOW, UNIX)
    assert not select.select([keeper], [], [], 0)[0]


def test_clusters_that_are_told_the_same_are_written_once(path: Path) -> None:
    keeper = keeper_of(path, Cluster("a", "x"), Cluster("a", "x"), Cluster("b"))
    keeper.finish(NOW, UNIX)
    assert names(path) == [["x"]]


def test_of_clusters_that_are_told_the_same_the_one_with_the_last_serial_is_written(path: Path) -> None:
    early, late, wrapped = Cluster("a", "x"), Cluster("a", "y"), Cluster("a", "z")
    early.serial, late.serial, wrapped.serial = 2**32 - 9, 2**32 - 1, 1
    keeper_of(path, late, early).finish(NOW, UNIX)
    assert names(path) == [["y"]]
    keeper_of(path, late, wrapped, early).finish(NOW, UNIX)
    assert names(path) == [["z"]]


def test_a_cluster_that_cannot_be_kept_because_something_is_refused_is_told_once(path: Path) -> None:
    cluster = Cluster("a")
    keeper = keeper_of(path, cluster)
    assert turn(keeper, NOW) == []
    cluster.is_settled = True
    (told,) = turn(keeper, NOW + 1)
    assert told.startswith(f"snapshot {path}: nothing is written of a, whose Services are refused, ")
    assert "allow kdns to list and watch them" in told
    assert turn(keeper, NOW + 2) == []


def test_the_last_write_is_waited_for_and_whatever_the_pace(path: Path) -> None:
    cluster = Cluster("a", "x")
    keeper = keeper_of(path, cluster)
    turn(keeper, NOW)
    cluster.names, cluster.serial = ("z",), 8
    keeper.finish(NOW + 1, UNIX)
    assert names(path) == [["z"]]


@pytest.mark.parametrize("is_read", [False, True])
def test_there_is_no_last_write_of_what_the_file_says_already(path: Path, is_read: bool) -> None:
    cluster = Cluster("a", "x")
    keeper = keeper_of(path, cluster)
    turn(keeper, NOW)
    if is_read:
        keeper = keeper_of(path, cluster)
        keeper.load(NOW, UNIX)
    written = os.stat(path).st_ino
    cluster.taken_at += MIN_INTERVAL_SECONDS - 1
    assert keeper.finish(NOW + 1, UNIX) == []
    assert os.stat(path).st_ino == written
    cluster.taken_at += 1
    keeper.finish(NOW + 2, UNIX)
    assert os.stat(path).st_ino != written, "it is as old again as a write may be"


def test_a_write_that_failed_is_made_good_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "later" / "snapshot"
    keeper = keeper_of(path, Cluster("a", "x"))
    assert "cannot be written" in turn(keeper, NOW)[0]
    path.parent.mkdir()
    keeper.finish(NOW + 1, UNIX)
    assert names(path) == [["x"]]


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (0, MIN_INTERVAL_SECONDS),
        (10, MIN_INTERVAL_SECONDS - 10),
        (MIN_INTERVAL_SECONDS, 0),
        (DAY, 0),
        (-DAY, MIN_INTERVAL_SECONDS),
    ],
)
def test_who_begins_keeps_the_distance_from_whoever_wrote_the_file_last(path: Path, age: float, wait: float) -> None:
    """Or many reloads would be as many writes. A clock that was wrong holds nobody up for longer."""
    keeper_of(path, Cluster("a", "x")).finish(NOW, UNIX)
    os.utime(path, (UNIX - age, UNIX - age))
    keeper = keeper_of(path, Cluster("a", "x", "y"))
    keeper.load(NOW, UNIX)
    keeper.note_change()
    assert max(NOW, keeper.wake_at) == NOW + wait
    if wait:
        turn(keeper, NOW + wait - 1)
        assert names(path) == [["x"]]
    turn(keeper, NOW + wait)
    assert names(path) == [["x", "y"]]


def test_nothing_is_written_of_a_cluster_before_it_is_known_which_it_is(path: Path) -> None:
    cluster = Cluster("a", "x")
    cluster.is_identified = False
    keeper = keeper_of(path, cluster)
    keeper.note_change()
    assert keeper.wake_at == math.inf
    assert turn(keeper, NOW) == []
    keeper.finish(NOW, UNIX)
    assert not path.exists()


def test_a_cluster_that_becomes_known_is_written_though_nothing_changes(path: Path) -> None:
    known, other = Cluster("a", "x"), Cluster("b", "y")
    other.is_identified = False
    keeper = keeper_of(path, known, other)
    turn(keeper, NOW)
    turn(keeper, keeper.wake_at)
    assert names(path) == [["x"]]
    other.is_identified = True
    now = NOW + 2 * MIN_INTERVAL_SECONDS
    turn(keeper, now)
    assert names(path) == [["x"], ["y"]]


def test_a_file_that_somebody_else_has_written_is_left_at_the_end(path: Path) -> None:
    cluster = Cluster("a", "x")
    mine, other = keeper_of(path, cluster), keeper_of(path, Cluster("a", "y"))
    turn(mine, NOW)
    turn(other, NOW)
    cluster.serial = 8
    (notice,) = mine.finish(NOW + 1, UNIX)
    assert notice.text.endswith("left as another kdns has written it")
    assert names(path) == [["y"]]
    assert other.finish(NOW + 1, UNIX) == []


def test_a_file_that_was_removed_is_written_at_the_end(path: Path) -> None:
    keeper = keeper_of(path, Cluster("a", "x"))
    turn(keeper, NOW)
    os.unlink(path)
    keeper.finish(NOW + 1, UNIX)
    assert names(path) == [["x"]]
