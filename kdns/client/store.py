"""Where a resolver keeps its sets: a dict that readers need no lock for, and behind it a bounded LRU cache.

`sets` is read by any thread as it is: one dict read gives an immutable set. The LRU cache orders targets by their last
miss or refresh, which every target in use has at least once in a TTL, and drops the longest unused from the dict too.
Not here: what is remembered of a target (kdns.client.memory).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import RLock

from cachetools import LRUCache

from kdns.client.endpoint import EndpointSet
from kdns.client.memory import Memory
from kdns.client.options import ResolverOptions
from kdns.client.target import Target


class _Memories(LRUCache[str, Memory]):
    """Drops what is evicted from the dict of sets as well."""

    def __init__(self, most: int, sets: dict[str, EndpointSet]) -> None:
        super().__init__(most)
        self._sets = sets

    def popitem(self) -> tuple[str, Memory]:
        text, memory = super().popitem()
        self._sets.pop(text, None)
        return text, memory


class Store:
    """All targets of one resolver. lock: held for whatever changes something, briefly."""

    def __init__(self, options: ResolverOptions, read: Callable[[str], Target], rng: Random) -> None:
        self.sets: dict[str, EndpointSet] = {}
        self.lock = RLock()
        self._options = options
        self._read = read
        self._rng = rng
        self._memories = _Memories(options.targets_most, self.sets)

    def memory(self, target: str) -> Memory:
        """What is remembered of it; made, if it is new. With the lock held. Raises TargetError."""
        memory = self._memories.get(target)
        if memory is None:
            memory = self._memories[target] = Memory(self._read(target), self._options, self._rng)
        return memory

    def put(self, memory: Memory, known: EndpointSet) -> None:
        """Readers see this from now on; not if the target was dropped meanwhile. With the lock held."""
        if self._memories.get(memory.target.text) is memory:
            self.sets[memory.target.text] = known

    def drop(self, target: str) -> None:
        """Forget it. With the lock held."""
        self._memories.pop(target, None)
        self.sets.pop(target, None)
