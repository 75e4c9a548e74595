"""Looking at files for control: which paths a pattern names, what `stat` says of them, and reading them whole.

Polled, because that works for renames, for ConfigMap volumes (`..data` is a symbolic link that is swapped) and on
every file system. When a file is due is decided in kdns.server.files.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from stat import S_ISREG

from kdns.server.files import Stamp

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")


class FileMoved(Exception):
    """The file is not the one that was to be read; it is going to be noticed again."""


def expand(pattern: str) -> list[str]:
    """The files that a path stands for: the manifests in a directory, what matches a glob, or else itself."""
    if os.path.isdir(pattern):
        return _manifests_in(pattern)
    found = glob.glob(pattern) if glob.has_magic(pattern) else []
    return sorted(path for path in found if not os.path.isdir(path)) or [pattern]


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name in a directory is read: hidden ones are editors' and ConfigMaps' own."""
    return name.endswith(MANIFEST_SUFFIXES) and not name.startswith(".")


def stamp(path: str) -> Stamp | None:
    """What `stat` says of the file behind any symbolic links; None if there is no regular file, or none in reach."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return _stamp(found) if S_ISREG(found.st_mode) else None


def stamps(paths: Iterable[str]) -> dict[str, Stamp | None]:
    """The stamps of many files."""
    return {path: stamp(path) for path in paths}


@contextmanager
def contents(path: str, wanted: Stamp | None = None) -> Iterator[bytes]:
    """A file's octets. Raises OSError.

    Raises FileMoved if it is not the `wanted` file, or, at the end, if it was written to in between. Read, not
    mapped: what writes the file anew truncates it first, and a mapping without a file behind it is SIGBUS.
    """
    with open(path, "rb") as file:
        before = os.fstat(file.fileno())
        if wanted is not None and _stamp(before).content != wanted.content:
            raise FileMoved(path)
        yield file.read()
        if _stamp(os.fstat(file.fileno())).content != _stamp(before).content:
            raise FileMoved(path)


def _manifests_in(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:  # it is gone since, or not ours to read
        return [directory]
    return [os.path.join(directory, name) for name in sorted(names) if is_manifest_name(name)]


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
