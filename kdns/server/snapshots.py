"""The snapshot's file: read once at the start, replaced whole from a thread in the background.

A write goes into a temporary file beside the old one and is renamed when it is safely on the disk: whoever reads
finds the old snapshot or the new one, whatever happens. Several kdns may share the file: the last one wins.
Not here: what is in it (kdns.kube.snapshot).
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from tempfile import mkstemp

from kdns.kube.request import Notice, Severity
from kdns.kube.snapshot import Chosen, Snapshot, SnapshotError, choose, decode, encode

# Changes come many a second in a large cluster, whose snapshot has some 10 MB: this often wears out no disk, and
# what a start lacks of it is told by the API server as soon as it is back.
MIN_INTERVAL_SECONDS = 30.0
# A cluster in which nothing changes is written as well, or its snapshot would be too old one day though it is true:
# this often while a snapshot may be used.
REFRESHES_PER_MAX_AGE = 24
# No cluster comes near: 1,000,000 endpoints named by their Pods have 32 MB. A larger file is a mistake, and is not to
# be read into memory.
MAX_OCTETS = 512 << 20
# After each chunk of some 64 kB and 0.1 ms: a thread that never rests may be given control's CPU for milliseconds by
# the scheduler, while one that rests this often delays control by no more than an idle machine does. Costs 0.1 s for
# 1,000,000 endpoints.
PAUSE_SECONDS = 0.0002

_SUFFIX = ".kdns-tmp"
_WITHOUT = "starting without it"
_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EROFS: "give a path in a directory that is writable",
    errno.EACCES: "let the user that kdns runs as write to its directory",
    errno.EPERM: "let the user that kdns runs as write to its directory",
    errno.ENOENT: "create its directory",
    errno.EISDIR: "give the path of a file",
}


class SnapshotFile:
    """One file of snapshots."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory, name = os.path.split(os.path.abspath(path))
        self._prefix = f".{name}."
        self._known: tuple[int, int] | None = None  # which file we have read or written last

    @property
    def is_replaced(self) -> bool:
        """Whether somebody else has written the file since we did, or read it."""
        with suppress(OSError):
            return self._known is not None and _identity(os.stat(self.path)) != self._known
        return False

    def age(self, now: float) -> float | None:
        """Seconds since it was written, by whoever, as far as clocks can be trusted; None if it is not there."""
        with suppress(OSError):
            return now - os.stat(self.path).st_mtime
        return None

    def load(self, wanted: Iterable[str], now: float, max_age: float) -> Chosen:
        """What it has for these fingerprints, as kdns.kube.snapshot.choose; nothing, and why, if it is of no use."""
        try:
            chosen = choose(decode(self._read()), wanted, now, max_age)
        except FileNotFoundError:
            return Chosen({}, [Notice(Severity.INFO, f"snapshot {self.path}: there is none yet: {_WITHOUT}")])
        except OSError as error:
            return self._refused(f"it cannot be read: {error.strerror or error}")
        except SnapshotError as error:
            return self._refused(str(error))
        notices = [Notice(one.severity, f"snapshot {self.path}: {one.text}") for one in chosen.notices]
        return Chosen(chosen.snapshots, notices)

    def write(self, snapshots: Sequence[Snapshot]) -> int:
        """Replace it; returns the octets written. Raises OSError, and then the old file is as it was."""
        fd, temporary = mkstemp(_SUFFIX, self._prefix, self._directory)  # mode 0600, and never anybody else's
        try:
            with open(fd, "wb") as file:
                _lock(fd)
                octets = 0
                for chunk in encode(snapshots):
                    file.write(chunk)
                    octets += len(chunk)
                    time.sleep(PAUSE_SECONDS)
                if octets > MAX_OCTETS:
                    raise OSError(errno.EFBIG, f"it would have {octets} octets, and may have {MAX_OCTETS}")
                file.flush()
                os.fsync(fd)
                self._known = _identity(os.fstat(fd))
                os.rename(temporary, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(self._directory)
        return octets

    def remove_leftovers(self) -> None:
        """Remove temporary files of processes that were killed while writing."""
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.startswith(self._prefix) and entry.name.endswith(_SUFFIX):
                    _remove_leftover(entry.path)

    def _read(self) -> bytes:
        # Without O_NONBLOCK, to open a FIFO would wait for somebody who writes to it.
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            self._known = _identity(status)
            if not stat.S_ISREG(status.st_mode):
                raise SnapshotError("it is no regular file")
            if status.st_size > MAX_OCTETS:
                raise SnapshotError(f"it has {status.st_size} octets, and no snapshot has more than {MAX_OCTETS}")
            with open(fd, "rb", buffering=0, closefd=False) as file:
                return file.readall()
        finally:
            os.close(fd)

    def _refused(self, why: str) -> Chosen:
        return Chosen({}, [Notice(Severity.ERROR, f"snapshot {self.path}: {why}: {_WITHOUT}")])


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of a write: octets, or else why it failed."""

    octets: int
    seconds: float
    failure: str = ""


class SnapshotWriter:
    """Writes snapshots one after the other, each in a thread of its own; to be used by one thread.

    Nothing is written before the first `note_change`. Times are monotonic seconds. max_age: how old a snapshot may be
    to be used. wake: called from the writing thread when `collect` has something to tell.
    Figures for metrics: `writes`, `failures`, `octets` of the last one.
    """

    def __init__(self, file: SnapshotFile, max_age: float, wake: Callable[[], None] = lambda: None) -> None:
        self._file = file
        self._refresh_seconds = max(MIN_INTERVAL_SECONDS, max_age / REFRESHES_PER_MAX_AGE)
        self._wake = wake
        self._has_changed = False
        self._began = -math.inf
        self._earliest = -math.inf  # when the first one may be
        self._thread: threading.Thread | None = None  # until its result is collected
        self._result: _Result | None = None  # set by the thread, its last deed but for `wake`
        self._failure = ""  # what the log was told last; "" if all is well
        self.writes = 0
        self.failures = 0
        self.octets = 0

    def note_change(self) -> None:
        """Something has changed that a snapshot holds."""
        self._has_changed = True

    def spare(self, age: float, now: float) -> None:
        """The file was written `age` seconds ago: our first write keeps its distance from that one, too.

        An age below 0, as a clock that was wrong makes it, counts as 0: no write waits for longer than the interval.
        """
        self._earliest = now + MIN_INTERVAL_SECONDS - min(max(0.0, age), MIN_INTERVAL_SECONDS)

    @property
    def wake_at(self) -> float:
        """When `write` is due; maybe long ago, never (math.inf) while one is under way."""
        if self._thread is not None:
            return math.inf
        if self._has_changed:
            return max(self._began + MIN_INTERVAL_SECONDS, self._earliest)
        return self._began + self._refresh_seconds if self._began > -math.inf else math.inf

    def write(self, snapshots: Sequence[Snapshot], now: float) -> None:
        """Begin to write, unless a write is under way. Nothing given may change any more.

        Who knows of no cluster writes nothing: the old file may be of use to somebody.
        """
        if self._thread is not None:
            return
        self._has_changed, self._began = False, now
        if snapshots:
            # A daemon, so that a disk that hangs keeps no process from ending.
            self._thread = threading.Thread(target=self._run, args=(snapshots,), name="snapshot", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # a limit on threads or memory
                self._result = _Result(0, 0.0, str(error))

    def collect(self) -> list[Notice]:
        """What the log is to be told of a write that has ended; a failure that goes on is told once."""
        result = self._result
        if result is None:
            return []
        self._thread = self._result = None
        return self._failed(result) if result.failure else self._succeeded(result)

    def finish(self, snapshots: Sequence[Snapshot], patience: float) -> list[Notice]:
        """Write for the last time, whenever the last write was; wait for it, at most `patience` seconds.

        A file that somebody else has written stays: after a reload, that is who goes on.
        """
        deadline = time.monotonic() + patience
        notices = self._await(deadline)
        if self._file.is_replaced:
            return [*notices, self._notice(Severity.INFO, "left as another kdns has written it")]
        self.write(snapshots, time.monotonic())
        notices += self._await(deadline)
        if self._thread is not None:
            text = f"not written within {patience:g} s: the disk is slow, or hangs; the file stays as it is"
            notices.append(self._notice(Severity.ERROR, text))
        return notices

    def _await(self, deadline: float) -> list[Notice]:
        if self._thread is not None and self._result is None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return self.collect()

    def _run(self, snapshots: Sequence[Snapshot]) -> None:
        """The thread."""
        since = time.monotonic()
        try:
            result = _Result(self._file.write(snapshots), time.monotonic() - since)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0)
            result = _Result(0, 0.0, f"{error.strerror or error}{f' ({remedy})' if remedy else ''}")
        except Exception as error:
            # The end of the line: nobody else would hear of it.
            result = _Result(0, 0.0, f"kdns bug: {error!r}")
        self._result = result
        self._wake()

    def _succeeded(self, result: _Result) -> list[Notice]:
        is_news = not self.writes or bool(self._failure)
        again = " again" if self._failure else ""
        self.writes += 1
        self.octets = result.octets
        self._failure = ""
        text = f"written{again}: {result.octets} octets in {result.seconds:.3f} s"
        return [self._notice(Severity.INFO, text)] if is_news else []

    def _failed(self, result: _Result) -> list[Notice]:
        self.failures += 1
        self._has_changed = True  # what was to be written still is
        if result.failure == self._failure:
            return []
        self._failure = result.failure
        consequence = "what stood there before stays, and it is tried again and again"
        text = f"it cannot be written: {result.failure}: {consequence}"
        return [self._notice(Severity.ERROR, text)]

    def _notice(self, severity: Severity, text: str) -> Notice:
        return Notice(severity, f"snapshot {self._file.path}: {text}")


def _lock(fd: int) -> None:
    """Show that somebody lives who writes this file. Where that cannot be, nobody will take it for a leftover."""
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX)


def _remove_leftover(path: str) -> None:
    """Remove it if nobody writes it any more. An empty one may be of somebody who is about to lock it."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_size and status.st_uid == os.geteuid():
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        finally:
            os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


def _sync_directory(path: str) -> None:
    """Have the new name survive a power failure too. Some file systems cannot; then the old snapshot may."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
