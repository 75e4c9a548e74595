"""The table of kept replies: a folded question, and what else of the query matters, to what completes its reply.

Two generations of plain dictionaries instead of an LRU: a hit is one `dict.get`. When the current generation is full
it becomes the previous one, and what is asked for again moves back. Each reply is noted under all that it was made
of, so that a change drops exactly the replies it makes wrong. Not here: making replies (kdns.answer.compiler).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kdns.answer.compiler import Body
from kdns.zone.model import Dependency

# Replies in one generation. A reply takes about 600 octets and serves UDP and TCP, with and without EDNS, so that
# 10,000 services asked for A, AAAA and SRV take 18 MB and stay. A second generation fills only while clients ask for
# more than 65,536 questions; then a worker spends 80 MB at the most, which a limit of 170 MiB bears.
GENERATION = 65536

# A kept reply: heads (kdns.answer.compiler.Reply), body, OPT record, where it is counted (kdns.observe.tally), the
# splice of a denial's SOA serial (its offset in the body, and the cell that holds the serial of now), and what the
# reply was made of.
SerialSplice = tuple[int, list[bytes]]
Entry = tuple[tuple[bytes, bytes], Body, bytes, int, SerialSplice | None, tuple[Dependency, ...]]

# For each reply kept, this many of those that are over are freed: more than one, so that they are gone in time.
FREED_AT_ONCE = 4

# So many replies that a change makes wrong are dropped between two looks at the sockets, at some 0.5 us each.
DROPPED_AT_ONCE = 256

# Denials of names that do not exist differ only in the question: one entry serves all names of a length that one zone
# of one site decides. Lengths, types and zones in real use make a few hundred; more is somebody trying.
DENIALS = 4096
DenialKey = tuple[bytes, int, bytes, int]  # type, class and what else matters; length of the question; apex; TTL


class ReplyTable:
    """Kept replies. `current` is what the hot path reads; it is replaced when a generation ends."""

    def __init__(self, generation: int = GENERATION) -> None:
        self.size = generation
        self._new, self._old = _Generation(), _Generation()
        self._retired: list[dict[Any, Any]] = []
        self.current = self._new.entries
        self.denials: dict[DenialKey, Entry] = {}

    def clear(self) -> None:
        """Forget all replies."""
        self._retire(self._new)
        self._retire(self._old)
        self._new, self._old = _Generation(), _Generation()
        self.current = self._new.entries
        self.denials.clear()

    def __len__(self) -> int:
        return len(self._new.entries) + len(self._old.entries)

    def find(self, key: bytes) -> Entry | None:
        """The kept reply, moved to the current generation if it was in the previous one."""
        entry = self.current.get(key)
        if entry is None:
            entry = self._old.entries.pop(key, None)
            if entry is not None:
                self.keep(key, entry)
        return entry

    def keep(self, key: bytes, entry: Entry) -> None:
        """Keep a reply until something it depends on changes, or newer replies push it out."""
        if len(self.current) >= self.size:
            self._retire(self._old)
            self._old, self._new = self._new, _Generation()
            self.current = self._new.entries
        self._new.keep(key, entry)
        if self._retired:
            self._free_some(self._retired[-1])

    def holds(self, key: bytes, entry: Entry) -> bool:
        """Whether this very reply is still kept."""
        return self.current.get(key) is entry or self._old.entries.get(key) is entry

    def discard(self, key: bytes, entry: Entry) -> None:
        """Forget this very reply; another one under the same key stays."""
        for generation in (self._new, self._old):
            if generation.entries.get(key) is entry:
                generation.discard(key)

    def keep_denial(self, key: DenialKey, entry: Entry) -> None:
        """Keep a denial for all names of its length; only `clear` and too many of them end it."""
        if len(self.denials) >= DENIALS:
            self.denials.clear()
        self.denials[key] = entry

    def _retire(self, generation: _Generation) -> None:
        self._retired += [generation.entries, generation.keys]

    def _free_some(self, retired: dict[Any, Any]) -> None:
        """Free a few entries of a generation that is over: all at once would hold up queries for milliseconds."""
        for _ in range(min(FREED_AT_ONCE, len(retired))):
            retired.popitem()
        if not retired:
            self._retired.pop()

    def drop(self, changed: Iterable[Dependency]) -> Iterator[None]:
        """Forget the replies made of what changed, in steps.

        Replies may be kept and found in between, but none that is made of what changed.
        """
        for dependency in changed:
            # Both are looked through without a step in between: until then a reply may move from one to the other.
            while self._new.drop_some(dependency) or self._old.drop_some(dependency):
                yield


class _Generation:
    """Replies, and for each dependency the keys of the replies made of it."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.keys: dict[Dependency, list[bytes]] = {}

    def keep(self, key: bytes, entry: Entry) -> None:
        self.entries[key] = entry
        for dependency in entry[5]:
            self.keys.setdefault(dependency, []).append(key)

    def discard(self, key: bytes) -> None:
        for dependency in self.entries.pop(key)[5]:
            keys = self.keys[dependency]
            keys.remove(key)
            if not keys:
                del self.keys[dependency]

    def drop_some(self, dependency: Dependency) -> bool:
        """Forget some of the replies made of this; False if there are none."""
        keys = self.keys.get(dependency)
        if keys is None:
            return False
        for key in keys[-DROPPED_AT_ONCE:]:
            entry = self.entries.pop(key, None)
            for other in entry[5] if entry else ():
                if other != dependency:
                    self.keys[other].remove(key)
        del keys[-DROPPED_AT_ONCE:]
        if not keys:
            del self.keys[dependency]
        return True
