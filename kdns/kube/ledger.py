"""Which objects of a resource are known, in which version: what tells news from repetition, and what has vanished.

A relist is mark and sweep. The known objects stay as they are while it comes in; what it shows unchanged is marked,
what is new is held back, and at its end the held changes are told at once, with a Tombstone for each object that was
not shown (client-go's Replace, tools/cache/delta_fifo.go). The first list of all is told as it comes, for nobody
answers from it before its end, and there is nothing to be held against it.

An object's version is a number of 64 bits: 10,000 objects cost 1 MB. Not here: the objects (kdns.kube.store).
"""

from __future__ import annotations

from collections.abc import Iterable

from kdns.kube import api
from kdns.kube.objects import Change, Key, Tombstone

Version = int
UNKNOWN: Version = 0

_DIGITS_MAX = 20  # of a uint64, which a resource version is (KEP-5504)


def version_of(meta: api.ObjectMeta) -> Version:
    """The version of an object; UNKNOWN if it does not say which it is.

    A keyed hash: that another state of the same object has the same happens once in 2^64 changes.
    """
    return hash((meta.uid, meta.resource_version)) if meta.resource_version else UNKNOWN


def is_comparable(resource_version: str) -> bool:
    """Whether it is a number, as all of the API server's own are."""
    return resource_version.isascii() and resource_version.isdecimal() and len(resource_version) <= _DIGITS_MAX


def is_behind(resource_version: str, other: str) -> bool:
    """Whether it is older than the other, as far as can be said (KEP-5504, "Comparable Resource Version")."""
    if not (is_comparable(resource_version) and is_comparable(other)):
        return False
    return int(resource_version) < int(other)


class Ledger:
    """The objects that are known, and what has changed since `take`."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.versions: dict[Key, Version] = dict.fromkeys(keys, UNKNOWN)
        self._changes: list[Change] = []

    def is_known(self, key: Key, version: Version) -> bool:
        """Whether an object is known in exactly this version."""
        return version != UNKNOWN and self.versions.get(key) == version

    def put(self, key: Key, version: Version, change: Change) -> None:
        """An object is new or has changed."""
        self.versions[key] = version
        self._changes.append(change)

    def keep(self, key: Key) -> None:
        """An object that is known is still there."""

    def stay(self, key: Key) -> bool:
        """An object is there in a state that cannot be read. Whether one is known, in a version that stays known."""
        return key in self.versions

    def drop(self, key: Key) -> None:
        """An object is gone; one that is not known was gone before."""
        if self.versions.pop(key, None) is not None:
            self._changes.append(Tombstone(key))

    def forget_versions(self) -> None:
        """All that is known may be otherwise: versions mean nothing any more."""
        self.versions = dict.fromkeys(self.versions, UNKNOWN)

    def take(self) -> list[Change]:
        """What has changed since the last call."""
        changes, self._changes = self._changes, []
        return changes


class Sweep:
    """A list while it comes in; takes the same words as the Ledger that it is to bring up to date.

    holds_back: whether nothing of it is told before its end.
    """

    def __init__(self, ledger: Ledger, holds_back: bool) -> None:
        self._ledger = ledger
        self._holds_back = holds_back
        self._marked: dict[Key, Version] = {}
        self._held: dict[Key, Change] = {}
        self.arrivals = 0  # of objects that this list had not shown before

    def is_known(self, key: Key, version: Version) -> bool:
        """Whether an object was known before in exactly this version."""
        return self._ledger.is_known(key, version)

    def put(self, key: Key, version: Version, change: Change) -> None:
        """An object is there, new or changed."""
        self._mark(key, version)
        if self._holds_back:
            self._held.pop(key, None)  # so that changes stay in order
            self._held[key] = change
        else:
            self._ledger.put(key, version, change)

    def keep(self, key: Key) -> None:
        """An object is there as it is known."""
        self._mark(key, self._ledger.versions[key])
        self._held.pop(key, None)

    def stay(self, key: Key) -> bool:
        """As Ledger.stay; what this list has shown of the object before counts first."""
        if key not in self._marked and self._ledger.stay(key):
            self._mark(key, self._ledger.versions[key])
        return key in self._marked

    def drop(self, key: Key) -> None:
        """An object is gone that was there when the list began."""
        self._marked.pop(key, None)
        self._held.pop(key, None)

    def finish(self) -> None:
        """That was all: what has not been marked is gone."""
        for key in [key for key in self._ledger.versions if key not in self._marked]:
            self._ledger.drop(key)
        for key, change in self._held.items():
            self._ledger.put(key, self._marked[key], change)

    def _mark(self, key: Key, version: Version) -> None:
        self.arrivals += key not in self._marked
        self._marked[key] = version
