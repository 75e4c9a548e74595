"""The snapshot's file survives whatever happens to who writes it; the writer keeps to its pace and never blocks."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kdns.kube.request import Notice, Severity
from kdns.kube.snapshot import Snapshot, encode
from kdns.server import snapshots as module
from kdns.server.snapshots import MAX_OCTETS, PAUSE_SECONDS, SnapshotFile, SnapshotWriter
from tests.unit.server.snapshotting import DAY, HERE, LARGE, NEW, NOW, OLD, PATIENCE, held, snapshot

TREE = str(Path(__file__).parents[3])


@pytest.fixture
def file(tmp_path: Path) -> SnapshotFile:
    return SnapshotFile(str(tmp_path / "clusters.kdns"))


def told(file: SnapshotFile) -> tuple[Severity, str]:
    """The one line that the log is told when nothing can be used."""
    chosen = file.load([HERE], NOW, DAY)
    assert not chosen.snapshots
    (notice,) = chosen.notices
    assert notice.text.startswith(f"snapshot {file.path}: ")
    return notice.severity, notice.text.removeprefix(f"snapshot {file.path}: ")


def leftovers(file: SnapshotFile) -> list[Path]:
    directory = Path(file.path).parent
    return [directory / name for name in os.listdir(directory) if name.endswith(".kdns-tmp")]


# Reading


def test_what_was_written_is_loaded_and_said_to_be(file: SnapshotFile) -> None:
    octets = file.write(OLD)
    assert octets == os.path.getsize(file.path)
    chosen = file.load([HERE], NOW + 60, DAY)
    assert chosen.snapshots == {HERE: OLD[0]}
    assert chosen.notices == [Notice(Severity.INFO, f"snapshot {file.path}: used for {HERE}: 1 objects, 1m0s old")]


def test_a_file_that_is_not_there_is_no_error(file: SnapshotFile) -> None:
    assert told(file) == (Severity.INFO, "there is none yet: starting without it")


def test_a_file_that_is_too_old_is_refused_by_its_age(file: SnapshotFile) -> None:
    file.write(OLD)
    chosen = file.load([HERE], NOW + 2 * DAY, DAY)
    assert not chosen.snapshots
    why = f"not used for {HERE}, which starts without it: it is 48h0m old, and the limit is 24h0m"
    assert chosen.notices == [Notice(Severity.WARNING, f"snapshot {file.path}: {why}")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"#!/bin/sh\n", "it is no snapshot of kdns"),
        (b"".join(encode(OLD))[:-1], "it is cut short"),
        (b"".join(encode(OLD)).replace(b"old", b"odd"), "it is damaged: its content does not match its checksum"),
    ],
)
def test_a_file_that_is_no_whole_snapshot_is_refused(file: SnapshotFile, content: bytes, why: str) -> None:
    Path(file.path).write_bytes(content)
    severity, text = told(file)
    assert severity is Severity.ERROR
    assert text.startswith(why)
    assert text.endswith(": starting without it")


def test_a_directory_is_no_snapshot(tmp_path: Path) -> None:
    assert told(SnapshotFile(str(tmp_path))) == (Severity.ERROR, "it is no regular file: starting without it")


def test_a_fifo_is_no_snapshot_and_is_not_waited_for(file: SnapshotFile) -> None:
    os.mkfifo(file.path)
    assert told(file) == (Severity.ERROR, "it is no regular file: starting without it")


def test_a_device_without_end_is_no_snapshot() -> None:
    assert told(SnapshotFile("/dev/zero"))[1] == "it is no regular file: starting without it"


def test_no_descriptor_is_left_open_whatever_is_read_or_written(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    file = SnapshotFile(str(tmp_path / "s"))
    file.write(OLD)
    (tmp_path / ".s.a.kdns-tmp").mkdir()
    (tmp_path / ".s.b.kdns-tmp").write_text("octets")
    file.remove_leftovers()
    with pytest.raises(IsADirectoryError):
        SnapshotFile(str(tmp_path)).write(OLD)
    for path in ("s", "missing", "", ".s.a.kdns-tmp"):
        SnapshotFile(str(tmp_path / path)).load([HERE], NOW, DAY)
    assert os.listdir("/proc/self/fd") == before


def test_a_path_that_cannot_be_followed_is_an_error_with_its_reason(file: SnapshotFile) -> None:
    os.symlink(file.path, file.path)
    severity, text = told(file)
    assert severity is Severity.ERROR
    assert text == "it cannot be read: Too many levels of symbolic links: starting without it"


def test_a_file_larger_than_any_snapshot_is_not_read(file: SnapshotFile) -> None:
    Path(file.path).touch()
    os.truncate(file.path, MAX_OCTETS + 1)
    assert told(file)[1].startswith(f"it has {MAX_OCTETS + 1} octets, and no snapshot has more")


# Writing


def test_a_snapshot_is_for_its_owners_eyes_whatever_the_umask(file: SnapshotFile) -> None:
    former = os.umask(0)
    try:
        file.write(OLD)
    finally:
        os.umask(former)
    assert os.stat(file.path).st_mode & 0o777 == 0o600


def test_who_reads_the_old_file_reads_it_to_its_end(file: SnapshotFile) -> None:
    file.write(OLD)
    with open(file.path, "rb") as before:
        file.write(NEW)
        assert before.read() == b"".join(encode(OLD))
    assert held(file) == NEW
    assert not leftovers(file)


def test_it_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noting(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def step(*args: Any) -> None:
            steps.append(name)
            real(*args)

        return step

    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(os, "rename", noting("rename", os.rename))
    file.write(OLD)
    assert steps == ["fsync", "rename", "fsync"]


def test_the_writer_rests_after_each_chunk(file: SnapshotFile, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(module.time, "sleep", rests.append)
    many = [snapshot(*(f"ns-{at}" for at in range(1000)))]
    file.write(many)
    assert rests == [PAUSE_SECONDS] * len(list(encode(many)))


def test_a_relative_path_is_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SnapshotFile("here.kdns").write(OLD)
    assert os.listdir(tmp_path) == ["here.kdns"]


def test_a_snapshot_that_would_not_be_read_is_not_written(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(OLD)
    monkeypatch.setattr(module, "MAX_OCTETS", 100)
    with pytest.raises(OSError, match="and may have 100"):
        file.write(NEW)
    monkeypatch.undo()
    assert held(file) == OLD
    assert not leftovers(file)


def test_a_write_that_fails_in_the_middle_leaves_the_old_file_and_nothing_else(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(OLD)

    def broken(snapshots: Sequence[Snapshot]) -> Iterator[bytes]:
        yield b"the first octets"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "encode", broken)
    with pytest.raises(OSError, match="No space left"):
        file.write(NEW)
    assert held(file) == OLD
    assert not leftovers(file)


def run(code: str, *args: str, under: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[bytes]:
    """Python code in a process of its own that knows all that is imported or defined here."""
    start = "from tests.unit.server.test_server_snapshots import *\n"
    return subprocess.Popen(
        [*under, sys.executable, "-c", start + code, *args],
        cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, **options,
    )


def said(process: subprocess.Popen[bytes]) -> str:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err.decode()
    return out.decode()


FAILING = """
file = SnapshotFile(sys.argv[1])
writer = SnapshotWriter(file, DAY)
print(writer.finish(NEW, PATIENCE)[0].text, end="")
"""


def test_a_full_disk_is_told_and_leaves_the_old_file(file: SnapshotFile) -> None:
    file.write(OLD)

    def no_more_than_100_octets() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    process = run(FAILING, file.path, preexec_fn=no_more_than_100_octets, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert said(process) == (
        f"snapshot {file.path}: it cannot be written: File too large:"
        " what stood there before stays, and it is tried again and again"
    )
    assert held(file) == OLD
    assert not leftovers(file)


FULL_DISK = """
directory = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", directory], check=True)
file = SnapshotFile(directory + "/s")
file.write(OLD)
writer = SnapshotWriter(file, DAY)
print(writer.finish(LARGE, PATIENCE)[0].text)
print(held(file) == OLD, os.listdir(directory) == ["s"])
print(writer.finish(NEW, PATIENCE)[0].text)
print(held(file) == NEW)
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_disk_that_was_full_is_written_again_once_there_is_space(tmp_path: Path) -> None:
    process = run(FULL_DISK, str(tmp_path), under=("unshare", "--mount", "--propagation", "private"))
    failed, is_old, again, is_new = said(process).splitlines()
    assert "No space left on device (free some space there)" in failed
    assert (is_old, is_new) == ("True True", "True")
    assert "written again" in again


def test_a_directory_that_may_not_be_written_to_is_told_with_what_to_do(tmp_path: Path) -> None:
    file = SnapshotFile(str(tmp_path / "s"))
    file.write(OLD)
    tmp_path.chmod(0o500)
    code = "os.setgroups([]), os.setuid(65534)\n" if os.geteuid() == 0 else ""
    try:
        text = said(run(code + FAILING, file.path))
    finally:
        tmp_path.chmod(0o700)
    assert "Permission denied (let the user that kdns runs as write to its directory)" in text
    assert held(file) == OLD


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing/s", "No such file or directory (create its directory)"),
        ("file/s", "Not a directory"),
        ("directory", "Is a directory (give the path of a file)"),
    ],
)
def test_a_path_that_cannot_be_written_is_told_with_its_reason(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (notice,) = SnapshotWriter(SnapshotFile(str(tmp_path / path)), DAY).finish(NEW, PATIENCE)
    assert notice.severity is Severity.ERROR
    assert f"it cannot be written: {why}: what stood there before stays" in notice.text
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


# Killed while writing

STALLING = """
whole = module.encode

def stalling(snapshots):
    for number, chunk in enumerate(whole(snapshots)):
        yield chunk
        if number == 10:
            os.write(1, b"half")
            os.read(0, 1)

module.encode = stalling
SnapshotFile(sys.argv[1]).write(LARGE)
"""


@pytest.fixture
def stalled(file: SnapshotFile) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of a write, that goes on when it is told."""
    file.write(OLD)
    process = run(STALLING, file.path)
    try:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"half"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_a_process_killed_while_writing_leaves_the_old_snapshot(
    file: SnapshotFile, stalled: subprocess.Popen[bytes]
) -> None:
    assert held(file) == OLD
    stalled.send_signal(signal.SIGKILL)
    stalled.wait(PATIENCE)
    assert held(file) == OLD
    (left,) = leftovers(file)
    assert left.stat().st_size > 0
    file.remove_leftovers()
    assert not leftovers(file)
    assert held(file) == OLD


def test_what_another_process_is_writing_is_no_leftover(
    file: SnapshotFile, stalled: subprocess.Popen[bytes]
) -> None:
    file.remove_leftovers()
    assert len(leftovers(file)) == 1
    assert said(stalled) == ""  # the end of its input lets it go on
    assert held(file) == LARGE


def test_of_two_processes_that_write_at_once_the_last_one_wins(
    file: SnapshotFile, stalled: subprocess.Popen[bytes]
) -> None:
    file.write(NEW)
    assert held(file) == NEW
    assert said(stalled) == ""
    assert held(file) == LARGE
    assert not leftovers(file)


def test_only_our_own_leftovers_are_removed(file: SnapshotFile, tmp_path: Path) -> None:
    name = os.path.basename(file.path)
    removed = [f".{name}.abcd1234.kdns-tmp", f".{name}..kdns-tmp"]
    kept = [name, f".{name}.abcd1234.swp", f"{name}.abcd1234.kdns-tmp", ".other.abcd1234.kdns-tmp"]
    empty, locked, directory, link = (f".{name}.{what}.kdns-tmp" for what in ("empty", "locked", "directory", "link"))
    for one in (*removed, *kept, locked):
        (tmp_path / one).write_text("octets")
    (tmp_path / empty).touch()
    (tmp_path / directory).mkdir()
    (tmp_path / link).symlink_to(tmp_path / kept[1])
    with open(tmp_path / locked, "rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        file.remove_leftovers()
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, empty, locked, directory, link])


def test_where_there_is_no_directory_there_are_no_leftovers(tmp_path: Path) -> None:
    SnapshotFile(str(tmp_path / "missing" / "s")).remove_leftovers()
    assert not os.listdir(tmp_path)


def test_a_hanging_write_keeps_no_process_from_ending(file: SnapshotFile) -> None:
    code = """
import threading

class Hanging(SnapshotFile):
    def write(self, snapshots):
        threading.Event().wait()

writer = SnapshotWriter(Hanging(sys.argv[1]), DAY)
print(writer.finish(NEW, 0.01)[0].text)
"""
    assert "not written within 0.01 s" in said(run(code, file.path))
