"""What both resolvers do alike: targets, the set that holds now, and what a resolution that has ended leaves.

Not here: how questions travel and who waits: kdns.client.resolver, kdns.client.blocking_resolver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from random import Random

from kdns.client.endpoint import EndpointSet
from kdns.client.errors import Closed, NoEndpoints
from kdns.client.hooks import Hooks, Listeners, Resolved
from kdns.client.memory import Memory
from kdns.client.options import ResolverOptions
from kdns.client.place import Place, find_place
from kdns.client.resolution import Found
from kdns.client.store import Store
from kdns.client.target import Target, parse_target


class Refreshing:
    """The part of a resolver that knows no backend."""

    def __init__(
        self,
        options: ResolverOptions | None,
        hooks: Iterable[Hooks],
        clock: Callable[[], float],
        rng: Random | None,
    ) -> None:
        self._options = options or ResolverOptions()
        self._clock = clock
        self._rng = rng or Random()
        self.listeners = Listeners(tuple(hooks))
        self._place: Place | None = None
        self._make_store()
        self._is_closed = False

    def read(self, target: str) -> Target:
        """How a target is understood. Raises TargetError."""
        return parse_target(target, self._where)

    def _make_store(self) -> None:
        self._store = Store(self._options, self.read, self._rng)
        self._sets = self._store.sets

    def _where(self) -> Place:
        """Our place in the cluster: files are read once, as a pod does not move."""
        if self._place is None:
            self._place = find_place(self._options)
        return self._place

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the resolver is closed")

    def _checked(self, target: str, known: EndpointSet) -> EndpointSet:
        if not known.endpoints:
            raise NoEndpoints(target, known.problem or "none in DNS", max(0.0, self._clock() - known.since))
        return known

    def _is_idle(self, known: EndpointSet, now: float) -> bool:
        """Whether it expired while nobody asked, or was denied and may not be any more: then it is worth a wait."""
        return now >= known.expires_at and (known.problem is None or not known.endpoints)

    def _learn(self, memory: Memory, found: Found, seconds: float) -> EndpointSet:
        """A resolution has ended: readers see what it leaves."""
        with self._store.lock:
            former = memory.known
            known = memory.learned(found, self._clock())
            self._store.put(memory, known)
        if self.listeners.resolved:
            event = Resolved(memory.target.text, known, former, seconds)
            for hook in self.listeners.resolved:
                hook(event)
        return known


REAL_CLOCK = time.monotonic
