"""Keeps the snapshot of all clusters that are watched: gives it to them at the start, writes it as they change.

While kdns runs, the file is written at most once in MIN_INTERVAL_SECONDS, reloads included: who comes after a reload
counts from the time of the file. Only the last write, at the end of a control, waits for nothing; there is none if
what is on the disk says the same. Not here: the file (kdns.server.snapshots), what is in it (kdns.kube.snapshot).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from kdns.kube.request import Notice, Severity
from kdns.kube.snapshot import Snapshot
from kdns.server.api import ApiSource
from kdns.server.snapshots import MIN_INTERVAL_SECONDS, SnapshotFile, SnapshotWriter
from kdns.zone.delta import is_ahead, kinds_text

PATIENCE_SECONDS = 2.0  # for the last write, of the five that the end may take

# What there is of each cluster, by fingerprint: its UID, the serial that it was answered with, when it was known.
_Heads = dict[str, tuple[str, int | None, float]]


class SnapshotKeeper:
    """`sources` are all clusters that share the file. Times are monotonic seconds, `unix_now` is unix time."""

    def __init__(self, path: str, max_age: float, sources: Sequence[ApiSource]) -> None:
        self._file = SnapshotFile(path)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._writer = SnapshotWriter(self._file, max_age, lambda: os.eventfd_write(self._wake, 1))
        self._max_age = max_age
        self._sources = sources
        self._confirmed = 0  # how many of them were at the last look
        self._writes = 0  # that have been collected
        self._writing: _Heads = {}
        self._written: _Heads = {}  # what the file says, as far as we have read or written it
        self._told: set[str] = set()  # the clusters of which it is known that none is written

    def load(self, now: float, unix_now: float) -> list[Notice]:
        """Give every cluster what the file has for it, before anything is asked of its API server."""
        self._file.remove_leftovers()
        age = self._file.age(unix_now)
        if age is not None:
            self._writer.spare(age, now)
        chosen = self._file.load([source.fingerprint for source in self._sources], unix_now, self._max_age)
        self._written = _heads(chosen.snapshots.values())
        for source in self._sources:
            source.keep(chosen.snapshots.get(source.fingerprint), now, unix_now)
        return chosen.notices

    def fileno(self) -> int:
        """Readable when a write has ended."""
        return self._wake

    @property
    def wake_at(self) -> float:
        """When a turn is due."""
        return self._writer.wake_at if any(source.has_snapshot for source in self._sources) else math.inf

    def note_change(self) -> None:
        """Something has changed that a snapshot holds."""
        self._writer.note_change()

    def turn(self, now: float, unix_now: float) -> list[Notice]:
        """Begin to write if it is time; tell what came of the last write."""
        confirmed = sum(source.is_confirmed and source.is_identified for source in self._sources)
        if confirmed > self._confirmed:  # what an API server itself has said is news, even if it changes no answer
            self._writer.note_change()
        self._confirmed = confirmed
        if self.wake_at <= now:
            taken = self._taken(now, unix_now)
            self._writing = _heads(taken)
            self._writer.write(taken, now)
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        notices = self._writer.collect()
        if self._writer.writes > self._writes:
            self._written = self._writing
            if not self._writes:
                # After a reload, who went before us may write for the last time at this very moment, and as it was
                # configured: so once more, when it is gone.
                self._writer.note_change()
        self._writes = self._writer.writes
        return [*self._missing(), *notices]

    def finish(self, now: float, unix_now: float) -> list[Notice]:
        """Write for the last time, unless that would tell a start nothing that the file does not."""
        taken = self._taken(now, unix_now)
        if self._file.age(unix_now) is not None and _is_same(_heads(taken), self._written):
            return []
        return self._writer.finish(taken, PATIENCE_SECONDS)

    def _missing(self) -> Iterator[Notice]:
        """What is told, once, of clusters that cannot be kept, as their API servers refuse to tell something."""
        for source in self._sources:
            if source.is_settled and source.lacks and source.fingerprint not in self._told:
                self._told.add(source.fingerprint)
                kinds = kinds_text(source.lacks)
                what = f"snapshot {self._file.path}: nothing is written of {source.fingerprint}"
                why = f"{kinds} are refused, and a start needs all of it: allow kdns to list and watch them"
                yield Notice(Severity.WARNING, f"{what}, whose {why}")

    def _taken(self, now: float, unix_now: float) -> list[Snapshot]:
        """One of each cluster that is wholly known; two that are told the same are one."""
        taken: dict[str, Snapshot] = {}
        for source in self._sources:
            one = source.snapshot(now, unix_now)
            if one is not None and _is_ahead(one, taken.get(one.fingerprint)):
                taken[one.fingerprint] = one
        return list(taken.values())


def _heads(snapshots: Iterable[Snapshot]) -> _Heads:
    return {one.fingerprint: (one.cluster, one.serial, one.taken_at) for one in snapshots}


def _is_same(one: _Heads, other: _Heads) -> bool:
    """Whether the answers are the same, and as good as equally old."""
    return one.keys() == other.keys() and all(
        mine[:2] == theirs[:2] and abs(mine[2] - theirs[2]) < MIN_INTERVAL_SECONDS
        for mine, theirs in ((head, other[fingerprint]) for fingerprint, head in one.items())
    )


def _is_ahead(one: Snapshot, other: Snapshot | None) -> bool:
    """Whether a start had better go on from it than from the other: no serial goes back then."""
    if other is None or other.serial is None:
        return True
    return one.serial is not None and is_ahead(one.serial, other.serial)
