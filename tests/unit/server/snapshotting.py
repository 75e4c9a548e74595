"""Snapshots to write, and what a file of them holds."""

from __future__ import annotations

from kdns.kube.objects import Object
from kdns.kube.snapshot import Section, Snapshot
from kdns.server.snapshots import SnapshotFile
from tests.unit.kube.builders import namespace

HERE = "https://10.0.0.1:6443"
NOW = 1_800_000_000.0
DAY = 86400.0
PATIENCE = 20.0  # for what takes milliseconds: a test that fails fails late, no test waits that long


def snapshot(*names: str) -> Snapshot:
    """Of a cluster that has these namespaces."""
    objects: tuple[Object, ...] = tuple(map(namespace, names))
    return Snapshot(HERE, "uid", NOW, (Section("/api/v1/namespaces", "7", objects),))


OLD, NEW = [snapshot("old")], [snapshot("new")]
LARGE = [snapshot(*(f"namespace-number-{at}" for at in range(5000)))]


def held(file: SnapshotFile) -> list[Snapshot]:
    """What the next start would use."""
    return list(file.load([HERE], NOW, DAY).snapshots.values())
