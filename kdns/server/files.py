"""When a watched file is read: the decision, without looking at a file.

In: what `stat` said of each path, and the time. Out: which files to read now, and which ones are gone, emptied
or renamed. A half-written YAML is usually valid YAML, so a file is read once it has stood still; a file that
is emptied or vanishes keeps its last data, because both are steps of saving it. Not here: stat, reading
(kdns.server.watch), what is in a file (kdns.server.sources).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

STILL_SECONDS = 0.1  # writers pause less than this between two writes, and nobody waits long for it


class Stamp(NamedTuple):
    """What tells one content of a file from another."""

    size: int
    mtime_ns: int
    inode: int
    device: int = 0

    @property
    def content(self) -> tuple[int, int]:
        """The part that is the same however the file is reached; some file systems tell several inode numbers."""
        return self.size, self.mtime_ns


@dataclass(slots=True)
class Events:
    """What is to be done. `renamed` maps a path that vanished to the one that has its file now."""

    read: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)


class _Watched:
    """One path: `seen` since `since`; `taken` was handed out for reading last, `told` was told of last."""

    __slots__ = ("seen", "since", "taken", "told")

    def __init__(self, seen: Stamp | None, since: float) -> None:
        self.seen = seen
        self.since = since
        self.taken: Stamp | None = None
        self.told: Stamp | None = None


class FileWatch:
    """The files of a set of paths as they change. `now` is unix time, as modification times are."""

    def __init__(self) -> None:
        self._files: dict[str, _Watched] = {}

    def observe(self, stamps: Mapping[str, Stamp | None], now: float) -> Events:
        """Take what `stat` said (None: no such file). A path known before and not mentioned is taken as vanished."""
        for path in self._files.keys() - stamps.keys():
            self._note(path, None, now)
        for path, stamp in stamps.items():
            self._note(path, stamp, now)
        events = Events()
        for path, file in self._files.items():
            if file.seen != file.told and now - file.since >= STILL_SECONDS:
                self._tell(path, file, events)
        return self._with_renames(events)

    def is_settled(self) -> bool:
        """Whether nothing is waited for: every file seen was handed out, or is gone or empty."""
        return all(file.seen == file.told for file in self._files.values())

    def _note(self, path: str, stamp: Stamp | None, now: float) -> None:
        file = self._files.get(path)
        if file is None:
            # A file met for the first time has stood still since it was last written.
            since = now if stamp is None else min(now, stamp.mtime_ns / 1e9)
            self._files[path] = _Watched(stamp, since)
        elif file.seen != stamp:
            file.seen, file.since = stamp, now
        elif file.since > now:  # the clock was set back
            file.since = now

    def _tell(self, path: str, file: _Watched, events: Events) -> None:
        file.told = file.seen
        if file.seen is None:
            events.vanished.append(path)
        elif file.seen.size == 0:
            events.emptied.append(path)
        elif file.seen != file.taken:
            file.taken = file.seen
            events.read.append(path)

    def _with_renames(self, events: Events) -> Events:
        """A path that is gone while its very file came up under a new name was renamed, and is forgotten."""
        gone = {file.taken: path for path, file in self._files.items() if file.seen is None and file.taken}
        for path in events.read:
            taken = self._files[path].taken
            old = gone.pop(taken, None) if taken else None
            if old is not None:
                events.renamed[old] = path
                del self._files[old]
        events.vanished = [path for path in events.vanished if path not in events.renamed]
        return events
