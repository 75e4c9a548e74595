"""Watch caches, one per resource and server, and the watches that they feed (k8s.io/apiserver, cacher).

A cache holds the objects as of its own resourceVersion, which trails the store's, and a window of past events: a
watch from before the window's floor has expired. After a restart the floor is where the store stands then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain

from tests.support.fakeapi.faults import TWISTS, line
from tests.support.fakeapi.resources import ResourceType
from tests.support.fakeapi.selectors import Predicate
from tests.support.fakeapi.statuses import StatusError, expired_watch
from tests.support.fakeapi.store import Item, Objects, Revision, Store

BOOKMARK_SECONDS = 60.0
BOOKMARK_BEFORE_END_SECONDS = 2.0
# How many events a watch may lag behind before it is closed; the real bound is between 10 and 1,000.
BUFFERED_EVENTS_MAX = 100
# Events that a cache remembers; the real window grows and shrinks between 100 and 102,400.
WINDOW_EVENTS = 1000
INITIAL_END = b'"annotations":{"k8s.io/initial-events-end":"true"}'


def object_json(kind: ResourceType, item: Item) -> bytes:
    """An object that stands alone: with kind and apiVersion, which the items of a list lack."""
    return b'{"kind":"%b","apiVersion":"%b",%b' % (kind.kind.encode(), kind.group_version.encode(), item.json[1:])


def bookmark(kind: ResourceType, rv: int, note: bytes = b"") -> bytes:
    """A bookmark's line."""
    meta = b'{"resourceVersion":"%d"%b}' % (rv, b"," + note if note else b"")
    text = b'{"kind":"%b","apiVersion":"%b","metadata":%b,%b}' % (
        kind.kind.encode(), kind.group_version.encode(), meta, kind.blank
    )  # fmt: skip
    return line(b"BOOKMARK", text)


class End(Enum):
    """How a watch is."""

    OPEN = "open"
    CLEAN = "its body has ended"
    BROKEN = "its connection is cut"


class Watch:
    """One open watch: asked by `take` for the lines that are due."""

    def __init__(self, cache: WatchCache, selected: Predicate, since: int, now: float, timeout: float) -> None:
        self.end = End.OPEN
        self.twist = ""
        self._cache = cache
        self._selected = selected
        self._since = since
        self._deadline = now + timeout
        self._next_bookmark = math.inf
        self._initial: Iterator[bytes] = iter(())
        self._has_initial = False
        self._lines: deque[bytes] = deque()

    def with_bookmarks(self, now: float) -> Watch:
        self._next_bookmark = self._bookmark_after(now)
        return self

    def with_initial(self, items: Iterable[Item], end: bytes) -> Watch:
        """ADDED for each item, in their order, then `end` (a bookmark, or nothing)."""
        self._initial = self._initial_lines(items, end)
        self._has_initial = True
        return self

    def with_past(self, revisions: list[Revision]) -> Watch:
        """Events that came before the watch: they are not held against who takes them slowly."""
        self._initial = self._past_lines(revisions)
        self._has_initial = bool(revisions)
        return self

    @property
    def resource(self) -> str:
        return self._cache.kind.plural

    @property
    def next_due(self) -> float:
        """When there is something to take; the present is -inf."""
        if self._lines or self._has_initial or self.end is not End.OPEN:
            return -math.inf
        return min(self._deadline, self._next_bookmark)

    def take(self, now: float, octets_max: float = math.inf) -> bytes:
        """Lines that are due, at least one if there is any, about `octets_max` at most."""
        self._run_timers(now)
        found: list[bytes] = []
        octets = 0.0
        for each in chain(self._initial, self._later_lines()):
            found.append(each)
            octets += len(each)
            if octets >= octets_max:
                break
        return b"".join(found)

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return self.end is End.BROKEN or (self.end is End.CLEAN and not self._lines and not self._has_initial)

    def offer(self, revision: Revision) -> None:
        """An event of the cache. A watch that takes too little is closed, without an ERROR."""
        if revision.rv <= self._since or self.end is not End.OPEN:
            return
        told = self._told(revision)
        if told is None:
            return
        if len(self._lines) >= self._cache.buffered_max:
            self.close(End.CLEAN)
            return
        self._lines += self._twisted(*told)

    def say(self, text: bytes) -> None:
        """Send a line as it is."""
        self._lines.append(text)

    def fail(self, error: StatusError) -> None:
        """Send an ERROR event and end."""
        self._lines.append(error.event)
        self.close(End.CLEAN)

    def close(self, end: End) -> None:
        if self.end is End.OPEN or end is End.BROKEN:
            self.end = end
        self._cache.forget(self)

    def _told(self, revision: Revision) -> tuple[bytes, bytes] | None:
        """The verb and object for whoever selects: who leaves a selection is DELETED, in the state it was in."""
        kind = self._cache.kind
        was = revision.old is not None and self._selected(revision.old)
        if revision.new is not None and self._selected(revision.new):
            return (b"MODIFIED" if was else b"ADDED"), object_json(kind, revision.new)
        if not was or revision.old is None:
            return None
        return b"DELETED", object_json(kind, revision.old.at(revision.rv))

    def _twisted(self, verb: bytes, json: bytes) -> list[bytes]:
        return TWISTS[self.twist](verb, json) if self.twist else [line(verb, json)]

    def _initial_lines(self, items: Iterable[Item], end: bytes) -> Iterator[bytes]:
        for item in items:
            yield from self._twisted(b"ADDED", object_json(self._cache.kind, item))
        if end:
            yield end

    def _past_lines(self, revisions: list[Revision]) -> Iterator[bytes]:
        for revision in revisions:
            told = self._told(revision)
            if told is not None:
                yield from self._twisted(*told)

    def _later_lines(self) -> Iterator[bytes]:
        self._has_initial = False
        while self._lines:
            yield self._lines.popleft()

    def _run_timers(self, now: float) -> None:
        if self.end is not End.OPEN:
            return
        if now >= self._next_bookmark:
            if self._cache.rv > self._since:
                self._lines.append(bookmark(self._cache.kind, self._cache.rv))
            self._next_bookmark = self._bookmark_after(now)
        if now >= self._deadline:
            self.close(End.CLEAN)

    def _bookmark_after(self, now: float) -> float:
        before_end = self._deadline - BOOKMARK_BEFORE_END_SECONDS
        regular = now + BOOKMARK_SECONDS
        if now < before_end:
            return min(regular, before_end)
        return regular


class WatchCache:
    """What one server knows of one resource."""

    def __init__(self, kind: ResourceType, store: Store, window: int, buffered_max: int) -> None:
        self.kind = kind
        self.buffered_max = buffered_max
        self._store = store
        self._window_max = window
        self._watches: list[Watch] = []
        self.start()

    def start(self) -> None:
        """Begin anew from what the store holds: what was before cannot be watched from any more."""
        self.objects: Objects = dict(self._store.objects(self.kind.plural))
        self.rv = self.floor = self._store.rv
        self._window: deque[Revision] = deque()

    @property
    def watches(self) -> tuple[Watch, ...]:
        return tuple(self._watches)

    def apply(self, revision: Revision) -> None:
        """One more event of the store."""
        if revision.rv <= self.rv:
            return
        self.rv = revision.rv
        if revision.new is None:
            self.objects.pop(revision.key, None)
        else:
            self.objects[revision.key] = revision.new
        self._window.append(revision)
        if len(self._window) > self._window_max:
            self._window.popleft()
            self.floor = self._window[0].rv - 1
        for watch in tuple(self._watches):
            watch.offer(revision)

    def progress(self, rv: int) -> None:
        """Nothing of this resource has changed up to a revision: etcd says so now and then."""
        self.rv = max(self.rv, rv)

    def expire(self) -> None:
        """Forget the window, as if many events had passed."""
        self._window.clear()
        self.floor = self.rv

    def listed(self, selected: Predicate) -> list[Item]:
        """The objects in the order of their keys."""
        return [item for _, item in sorted(self.objects.items()) if selected(item)]

    def watch(self, selected: Predicate, since: int, now: float, timeout: float) -> Watch:
        """Watch events after a revision; one beyond what the cache knows is silent until that has come.

        Raises StatusError if it has expired.
        """
        if since < self.floor:
            raise expired_watch(since, self.floor)
        made = Watch(self, selected, since, now, timeout)
        made.with_past([revision for revision in self._window if revision.rv > since])
        self._watches.append(made)
        return made

    def forget(self, watch: Watch) -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    def end_watches(self, end: End) -> None:
        for watch in self.watches:
            watch.close(end)
