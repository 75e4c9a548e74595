"""What etcd is to an API server: the objects, one revision counter over all of them, and the history behind a point
that moves on by compaction.

A write is told to `listeners` (watch caches) as a Revision. Nothing here knows HTTP, clients or clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tests.support.fakeapi.resources import TYPES, Json

# A history longer than this is compacted, whatever its age: the bound of a store that is never told the time.
HISTORY_REVISIONS_MAX = 200_000


def go_json(value: object) -> bytes:
    """JSON as Go writes it: characters that HTML minds are escaped."""
    text = msgspec.json.encode(value)
    for plain, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        text = text.replace(plain, escaped)
    return text


class Item:
    """One state of an object. `value` has neither kind nor apiVersion, and is never changed."""

    __slots__ = ("_json", "key", "rv", "value")

    def __init__(self, key: str, value: Json) -> None:
        self.key = key
        self.value = value
        self.rv = int(value["metadata"]["resourceVersion"])
        self._json = b""

    @property
    def json(self) -> bytes:
        if not self._json:
            self._json = go_json(self.value)
        return self._json

    @property
    def namespace(self) -> str:
        return str(self.value["metadata"].get("namespace", ""))

    def at(self, rv: int) -> Item:
        """The same state under another resourceVersion, as a deletion shows it."""
        return Item(self.key, stamped(self.value, rv))


def stamped(value: Json, rv: int) -> Json:
    """The object with a resourceVersion, which stands behind uid."""
    meta = value["metadata"]
    if "resourceVersion" in meta:
        return {**value, "metadata": {**meta, "resourceVersion": str(rv)}}
    made: Json = {}
    for name, part in meta.items():
        made[name] = part
        if name == "uid":
            made["resourceVersion"] = str(rv)
    return {**value, "metadata": made}


@dataclass(frozen=True, slots=True)
class Revision:
    """One write. old: what was there before. new: what is there now; None if it is gone. at: when."""

    rv: int
    resource: str
    key: str
    old: Item | None
    new: Item | None
    at: float


Objects = dict[str, Item]
# Told of all that changes: resource, key, the object or None if it is gone, and the store's version then. Without a
# key, it is only the version.
Recorder = Callable[[str, str, Json | None, int], None]


class Store:
    """Objects by resource and key. `recorder`, if there is one, writes a journal."""

    def __init__(self, rv: int = 1) -> None:
        self.rv = rv
        self.compacted = rv
        self.recorder: Recorder | None = None
        self.listeners: list[Callable[[Revision], None]] = []
        self._objects: dict[str, Objects] = {plural: {} for plural in TYPES}
        self._history: deque[Revision] = deque()

    def get(self, resource: str, key: str) -> Item | None:
        return self._objects[resource].get(key)

    def objects(self, resource: str) -> Objects:
        """What is there now; not to be changed."""
        return self._objects[resource]

    def put(self, resource: str, key: str, value: Json, at: float, rv: int | None = None) -> Item:
        """Write an object under the next resourceVersion, or under one that lies ahead."""
        self._advance(rv)
        item = Item(key, stamped(value, self.rv))
        old = self._objects[resource].get(key)
        self._objects[resource][key] = item
        self._tell(Revision(self.rv, resource, key, old, item, at))
        return item

    def place(self, resource: str, key: str, value: Json) -> None:
        """Put an object as it stands, its resourceVersion included, as if it had always been there."""
        self._objects[resource][key] = Item(key, value)
        self._record(resource, key, value)

    def remove(self, resource: str, key: str, at: float, rv: int | None = None) -> Item:
        """Delete an object. Returns its last state, under the deletion's resourceVersion. Raises KeyError."""
        old = self._objects[resource].pop(key)
        self._advance(rv)
        self._tell(Revision(self.rv, resource, key, old, None, at))
        return old.at(self.rv)

    def tick(self, revisions: int = 1) -> None:
        """Writes to what is not watched here (leases, events): they only raise the counter."""
        self.rv += revisions
        self._record("", "", None)

    def at(self, resource: str, rv: int) -> Objects:
        """What was there at a revision that is not compacted. Raises LookupError for one that is, or is not yet."""
        if not self.compacted <= rv <= self.rv:
            raise LookupError(f"revision {rv} is not in {self.compacted}..{self.rv}")
        found = dict(self._objects[resource])
        for revision in reversed(self._history):
            if revision.rv <= rv:
                break
            if revision.resource != resource:
                continue
            if revision.old is None:
                del found[revision.key]
            else:
                found[revision.key] = revision.old
        return found

    def compact(self, rv: int) -> None:
        """Forget how it was before a revision."""
        self.compacted = max(self.compacted, min(rv, self.rv))
        while self._history and self._history[0].rv <= self.compacted:
            self._history.popleft()

    def revision_at(self, now: float) -> int:
        """The last revision that was written at `now` or before."""
        for revision in reversed(self._history):
            if revision.at <= now:
                return revision.rv
        return self.compacted

    def rollback(self, rv: int) -> None:
        """Restore a backup: what came after a revision has never been. Raises LookupError as `at`."""
        restored = {plural: self.at(plural, rv) for plural in self._objects}
        self._objects = restored
        while self._history and self._history[-1].rv > rv:
            self._history.pop()
        self.rv = rv

    def _advance(self, rv: int | None) -> None:
        if rv is not None and rv <= self.rv:
            raise ValueError(f"resourceVersion {rv} does not lie ahead of {self.rv}")
        self.rv = self.rv + 1 if rv is None else rv

    def _record(self, resource: str, key: str, value: Json | None) -> None:
        if self.recorder is not None:
            self.recorder(resource, key, value, self.rv)

    def _tell(self, revision: Revision) -> None:
        self._record(revision.resource, revision.key, revision.new.value if revision.new else None)
        self._history.append(revision)
        if len(self._history) > HISTORY_REVISIONS_MAX:
            self.compact(self._history[0].rv)
        for listener in tuple(self.listeners):
            listener(revision)
