"""Which namespaces the names asked for are in: estimated from samples, in bounded memory.

    sampler.left -= queries            for each batch, and for each time that it becomes negative:
    sampler.take(reply)                the reply to one query

Up to some queries a second each one is looked at; beyond that one of so many, by chance, stands for as many. Only
names that exist count, so that nobody can invent namespaces. The table is Space-Saving's (Metwally, Agrawal and
El Abbadi, ICDT 2005): a newcomer takes the place of the one with the least, and goes on from its count, so that a
count is never too low, never goes back, and is too high by no more than the least one in the table.
Not here: who looks at which reply (kdns.server.udp), the memory (kdns.server.slots).
"""

from __future__ import annotations

from collections.abc import Collection, MutableSequence, Sequence
from typing import TYPE_CHECKING

from kdns.wire.name import suffixes
from kdns.wire.query import HEADER_OCTETS, name_end

if TYPE_CHECKING:
    from random import Random

NAMESPACES = 64  # of each worker: more than a person looks at; a row takes 72 octets
TOLD_MAX = 50  # of all workers: a label value each
# Looked at before only half as many are, within a second: at some 3 us each, so that it never shows.
SAMPLES = 32

_NAME_WORDS = 8  # 63 octets is the longest label
_ROW_WORDS = 1 + _NAME_WORDS
NAMESPACE_WORDS = NAMESPACES * _ROW_WORDS
_KINDS = frozenset((b"\x03svc", b"\x03pod"))


class NamespaceSampler:
    """See the module's docstring. left: queries until the next one that is looked at.

    apexes: of the cluster zones, folded. words: those of the worker's slot, as a former worker left them.
    """

    def __init__(self, apexes: Collection[bytes], words: MutableSequence[int] | memoryview, rng: Random) -> None:
        self.left = 0
        self._apexes = frozenset(apexes)
        self._words = words
        self._rng = rng
        self._stands_for = 1  # queries, of one that is looked at
        self._taken = 0  # samples since `fold`
        self._counts = counts_of(words)
        self._rows = {name: at for at, name in enumerate(self._counts)}

    def take(self, reply: bytes) -> None:
        """Look at the reply to the query whose turn it is."""
        name = namespace_of(reply, self._apexes)
        if name is not None:
            self._count(name, self._stands_for)
        self._taken += 1
        if self._taken % SAMPLES == 0:
            self._stands_for *= 2
        self.left += 1 if self._stands_for == 1 else self._rng.randrange(1, 2 * self._stands_for)

    def fold(self) -> None:
        """Once a second: write the counts into the words, and look at more again if there is time for it."""
        if self._taken < SAMPLES:
            self._stands_for = max(1, self._stands_for // 2)
            self.left = min(self.left, self._stands_for)
        self._taken = 0
        for name, at in self._rows.items():
            start = at * _ROW_WORDS
            if self._words[start] != self._counts[name]:
                packed = name.ljust(8 * _NAME_WORDS, b"\0")
                if _name_at(self._words, start) != name:
                    self._words[start] = 0  # nobody takes the one for the other meanwhile
                for word in range(_NAME_WORDS):
                    self._words[start + 1 + word] = int.from_bytes(packed[8 * word : 8 * word + 8])
                self._words[start] = self._counts[name]

    def _count(self, name: bytes, queries: int) -> None:
        counts = self._counts
        if name not in counts:
            if len(counts) < NAMESPACES:
                self._rows[name], counts[name] = len(counts), 0
            else:
                least = min(counts, key=lambda one: counts[one])
                self._rows[name], counts[name] = self._rows.pop(least), counts.pop(least)
        counts[name] += queries


def counts_of(words: Sequence[int] | memoryview) -> dict[bytes, int]:
    """What the words of a worker say, in the order of its rows."""
    starts = range(0, NAMESPACE_WORDS, _ROW_WORDS)
    return {_name_at(words, start): words[start] for start in starts if words[start]}


def namespace_of(reply: bytes, apexes: Collection[bytes]) -> bytes | None:
    """The namespace that the name of a reply is in; None if it is in none, or does not exist."""
    end = name_end(reply, HEADER_OCTETS) if len(reply) > HEADER_OCTETS and not reply[3] & 15 else None
    if end is None:
        return None
    ancestors = suffixes(reply[HEADER_OCTETS:end].lower())
    depth = next((at for at, name in enumerate(ancestors) if name in apexes), 0)
    if depth < 2 or _label(ancestors[depth - 1]) not in _KINDS:
        return None
    return _label(ancestors[depth - 2])[1:]


def _label(name: bytes) -> bytes:
    return name[: name[0] + 1]


def _name_at(words: Sequence[int] | memoryview, start: int) -> bytes:
    return b"".join(int(word).to_bytes(8) for word in words[start + 1 : start + _ROW_WORDS]).rstrip(b"\0")
