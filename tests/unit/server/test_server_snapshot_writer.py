"""kdns.server.snapshots: when the snapshot's file is written, and what the log is told of it."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from kdns.kube.request import Severity
from kdns.kube.snapshot import Snapshot
from kdns.server.snapshots import MIN_INTERVAL_SECONDS, REFRESHES_PER_MAX_AGE, SnapshotFile, SnapshotWriter
from tests.unit.server.snapshotting import DAY, LARGE, NEW, OLD, PATIENCE, held

# The writer's pace


class Gated(SnapshotFile):
    """A file that is written when the test lets it be, or fails as the test says."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.written: list[Sequence[Snapshot]] = []

    def write(self, snapshots: Sequence[Snapshot]) -> int:
        assert self.gate.wait(PATIENCE)
        if self.errors:
            raise self.errors.pop(0)
        self.written.append(snapshots)
        return 1000


class Driven:
    """A writer with a clock of its own and what it wrote."""

    def __init__(self, max_age: float = DAY) -> None:
        self.file = Gated("/nowhere/s")
        self.ended = threading.Event()
        self.writer = SnapshotWriter(self.file, max_age, self.ended.set)

    def begin(self, now: float, snapshots: Sequence[Snapshot] = OLD) -> None:
        self.ended.clear()
        self.writer.write(snapshots, now)

    def end(self) -> list[str]:
        """Lines for the log, once the write has ended."""
        self.file.gate.set()
        assert self.ended.wait(PATIENCE)
        return [notice.text.removeprefix("snapshot /nowhere/s: ") for notice in self.writer.collect()]

    def write(self, now: float, snapshots: Sequence[Snapshot] = OLD) -> list[str]:
        self.begin(now, snapshots)
        return self.end()


@pytest.fixture
def driven() -> Driven:
    return Driven()


def test_nothing_is_due_before_something_has_changed(driven: Driven) -> None:
    assert driven.writer.wake_at == math.inf
    driven.writer.note_change()
    assert driven.writer.wake_at < 0  # at once


def test_the_next_write_is_due_after_the_interval_if_something_has_changed(driven: Driven) -> None:
    driven.write(100.0)
    assert driven.writer.wake_at > 100 + MIN_INTERVAL_SECONDS
    driven.writer.note_change()
    driven.writer.note_change()
    assert driven.writer.wake_at == 100 + MIN_INTERVAL_SECONDS
    driven.write(131.0)
    driven.writer.note_change()
    assert driven.writer.wake_at == 131 + MIN_INTERVAL_SECONDS


def test_a_quiet_cluster_is_written_before_its_snapshot_is_too_old(driven: Driven) -> None:
    driven.write(100.0)
    assert driven.writer.wake_at == 100 + DAY / REFRESHES_PER_MAX_AGE


def test_a_short_age_limit_does_not_make_writes_more_frequent_than_they_may_be() -> None:
    hasty = Driven(max_age=60.0)
    hasty.write(100.0)
    assert hasty.writer.wake_at == 100 + MIN_INTERVAL_SECONDS


def test_two_writes_never_overlap_and_what_changes_meanwhile_is_due_afterwards(driven: Driven) -> None:
    driven.file.gate.clear()
    driven.begin(100.0, OLD)
    driven.writer.note_change()
    assert driven.writer.wake_at == math.inf
    assert driven.writer.collect() == []
    driven.writer.write(NEW, 200.0)  # not now
    driven.end()
    assert driven.file.written == [OLD]
    assert driven.writer.wake_at == 100 + MIN_INTERVAL_SECONDS
    driven.write(130.0, NEW)
    assert driven.file.written == [OLD, NEW]


def test_who_begins_a_write_does_not_wait_for_it(driven: Driven) -> None:
    driven.file.gate.clear()
    driven.begin(100.0)
    assert not driven.file.written
    assert not driven.ended.is_set()
    driven.end()
    assert driven.file.written == [OLD]


def test_of_no_cluster_nothing_is_written_and_it_is_not_tried_at_once_again(driven: Driven) -> None:
    driven.writer.note_change()
    driven.writer.write([], 100.0)
    assert not driven.file.written
    assert driven.writer.wake_at > 100.0
    assert driven.writer.finish([], PATIENCE) == []
    assert not driven.file.written


def test_the_first_success_is_told_and_no_other(driven: Driven) -> None:
    (line,) = driven.write(100.0)
    assert line.startswith("written: 1000 octets in 0.")
    assert driven.write(130.0) == []
    assert (driven.writer.writes, driven.writer.failures, driven.writer.octets) == (2, 0, 1000)


def test_a_failure_is_told_once_and_its_end_too(driven: Driven) -> None:
    driven.write(100.0)
    driven.file.errors += [OSError(28, "No space left on device")] * 3
    (line,) = driven.write(130.0)
    assert line == (
        "it cannot be written: No space left on device (free some space there):"
        " what stood there before stays, and it is tried again and again"
    )
    assert driven.writer.wake_at == 130 + MIN_INTERVAL_SECONDS  # without any other change
    assert driven.write(160.0) == []
    assert driven.write(190.0) == []
    (line,) = driven.write(220.0)
    assert line.startswith("written again: ")
    assert driven.write(250.0) == []
    assert (driven.writer.writes, driven.writer.failures) == (3, 3)


def test_another_failure_is_told_too(driven: Driven) -> None:
    driven.file.errors += [OSError(28, "No space left on device"), OSError(30, "Read-only file system")]
    assert "No space" in driven.write(100.0)[0]
    assert "Read-only file system (give a path in a directory that is writable)" in driven.write(130.0)[0]


def test_an_error_without_text_is_told_nevertheless(driven: Driven) -> None:
    driven.file.errors.append(OSError("out of sorts"))
    assert "it cannot be written: out of sorts:" in driven.write(100.0)[0]


def test_a_bug_of_ours_is_told_as_one_and_tried_again(driven: Driven) -> None:
    driven.file.errors.append(KeyError("octets"))
    assert "it cannot be written: kdns bug: KeyError('octets'):" in driven.write(100.0)[0]
    assert "written again" in driven.write(130.0)[0]


def test_where_no_thread_can_be_had_it_is_told_and_tried_again(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    driven.writer.write(OLD, 100.0)
    (notice,) = driven.writer.collect()
    assert "it cannot be written: can't start new thread" in notice.text
    assert driven.writer.finish(OLD, PATIENCE) == []  # told already
    monkeypatch.undo()
    assert "written again" in driven.write(130.0)[0]


# The end


def test_the_last_write_waits_for_no_interval(driven: Driven) -> None:
    driven.write(100.0, OLD)
    assert driven.writer.finish(NEW, PATIENCE) == []
    assert driven.file.written == [OLD, NEW]


def test_the_last_write_comes_after_the_one_that_is_under_way(driven: Driven) -> None:
    driven.file.gate.clear()
    driven.begin(100.0, OLD)
    threading.Timer(0.01, driven.file.gate.set).start()
    (notice,) = driven.writer.finish(NEW, PATIENCE)
    assert "written: " in notice.text
    assert driven.file.written == [OLD, NEW]


@pytest.mark.parametrize("is_under_way", [False, True])
def test_a_disk_that_hangs_is_not_waited_for(driven: Driven, is_under_way: bool) -> None:
    driven.file.gate.clear()
    if is_under_way:
        driven.begin(100.0)
    (notice,) = driven.writer.finish(NEW, 0.01)
    assert notice.severity is Severity.ERROR
    assert notice.text.endswith("not written within 0.01 s: the disk is slow, or hangs; the file stays as it is")
    assert not driven.file.written
    driven.end()


def test_what_the_writer_wrote_is_what_the_next_start_loads(tmp_path: Path) -> None:
    file = SnapshotFile(str(tmp_path / "clusters.kdns"))
    ended = threading.Event()
    writer = SnapshotWriter(file, DAY, ended.set)
    writer.note_change()
    writer.write(LARGE, 0.0)
    assert ended.wait(PATIENCE)
    (notice,) = writer.collect()
    assert notice.severity is Severity.INFO
    assert f"written: {os.path.getsize(file.path)} octets" in notice.text
    assert held(file) == LARGE
    writer.finish(NEW, PATIENCE)
    assert held(file) == NEW
