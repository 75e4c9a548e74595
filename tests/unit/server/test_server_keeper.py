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
        self.serial = 7

    @property
    def lacks(self) -> int:
        return 0 if self.names else 1

    def keep(self, found: Snapshot | None, now: float, unix_now: float) -> None:
        self.kept.append(found)

    def snapshot(self, now: float, unix_now: float) -> Snapshot | None:
        return replace(snapshot(self.fingerprint, *self.names), serial=self.serial) if self.names else None


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
    cluster.names = ("z",)
    keeper.finish(NOW + 1, UNIX)
    assert names(path) == [["z"]]


def test_a_file_that_somebody_else_has_written_is_left_at_the_end(path: Path) -> None:
    mine, other = keeper_of(path, Cluster("a", "x")), keeper_of(path, Cluster("a", "y"))
    turn(mine, NOW)
    turn(other, NOW)
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
