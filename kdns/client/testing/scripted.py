"""Resolvers that say what a test tells them, in both kinds; `resolver=` of a balancer takes them.

They know nothing of DNS, TTLs or time: a target has the endpoints that were set, until others are. Not here: targets,
which are read as ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from threading import Condition
from time import monotonic

from kdns.client.endpoint import Endpoint, EndpointSet
from kdns.client.errors import NoEndpoints
from kdns.client.hooks import Listeners
from kdns.client.place import Place
from kdns.client.target import Target, parse_target

_PLACE = Place("default", "cluster.local")


class _Script:
    """What both kinds have in common.

    failures: how often a balancer asked for each target to be resolved anew, as an endpoint failed.
    """

    def __init__(self, endpoints: Mapping[str, Iterable[str | Endpoint]] | None = None) -> None:
        self.failures: Counter[str] = Counter()
        self.listeners = Listeners(())
        self._sets: dict[str, EndpointSet] = {}
        for target, those in (endpoints or {}).items():
            self._sets[target] = _set_of(target, those)

    def set(self, target: str, endpoints: Iterable[str | Endpoint]) -> None:
        """From now on these: `10.0.0.1:80`, `[fd00::1]:80*2`, or endpoints."""
        self._put(_set_of(target, endpoints))

    def deny(self, target: str, reason: str = "NXDOMAIN") -> None:
        """From now on there are none."""
        now = monotonic()
        self._put(EndpointSet(target, (), now, problem=reason, since=now))

    def read(self, target: str) -> Target:
        """As the real ones do it, in namespace `default` of `cluster.local`."""
        return parse_target(target, lambda: _PLACE)

    def current(self, target: str) -> EndpointSet | None:
        """What was set; None if nothing was."""
        return self._sets.get(target)

    def failed(self, target: str) -> None:
        """Counted, and nothing else."""
        self.failures[target] += 1

    def _put(self, endpoints: EndpointSet) -> None:
        self._sets[endpoints.target] = endpoints

    def _found(self, target: str) -> EndpointSet:
        known = self._sets.get(target)
        if known is None:
            raise NoEndpoints(target, "the test has not set it")
        if not known.endpoints:
            raise NoEndpoints(target, known.problem or "none", monotonic() - known.since)
        return known


class ScriptedResolver(_Script):
    """For a Balancer."""

    def __init__(self, endpoints: Mapping[str, Iterable[str | Endpoint]] | None = None) -> None:
        super().__init__(endpoints)
        self._waiting: list[asyncio.Future[None]] = []

    async def resolve(self, target: str) -> EndpointSet:
        """What was set. Raises NoEndpoints."""
        return self._found(target)

    async def changed(self, target: str, after: EndpointSet | None) -> EndpointSet:
        """The next set that is another one than `after`."""
        while (known := self._sets.get(target)) is None or known is after:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return known

    async def close(self) -> None:
        """Nothing to let go of."""

    def _put(self, endpoints: EndpointSet) -> None:
        super()._put(endpoints)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class BlockingScriptedResolver(_Script):
    """For a BlockingBalancer; any thread may change it."""

    def __init__(self, endpoints: Mapping[str, Iterable[str | Endpoint]] | None = None) -> None:
        super().__init__(endpoints)
        self._changed = Condition()

    def resolve(self, target: str, timeout: float | None = None) -> EndpointSet:
        """What was set. Raises NoEndpoints."""
        return self._found(target)

    def wait_changed(self, target: str, after: EndpointSet | None, until: float) -> EndpointSet | None:
        """The next set that is another one than `after`; None if `until` comes first."""
        with self._changed:
            while (known := self._sets.get(target)) is None or known is after:
                if not self._changed.wait(min(until - monotonic(), _WAIT_MOST)) and monotonic() >= until:
                    return None
        return known

    def close(self) -> None:
        """Nothing to let go of."""

    def _put(self, endpoints: EndpointSet) -> None:
        with self._changed:
            super()._put(endpoints)
            self._changed.notify_all()


# A condition takes no infinite timeout.
_WAIT_MOST = 3600.0


def _set_of(target: str, endpoints: Iterable[str | Endpoint]) -> EndpointSet:
    those: list[Endpoint] = []
    for one in endpoints:
        those.extend([one] if isinstance(one, Endpoint) else parse_target(f"static://{one}", lambda: _PLACE).endpoints)
    now = monotonic()
    problem = None if those else "the test has set none"
    return EndpointSet(target, tuple(those), now, problem=problem, since=now)
