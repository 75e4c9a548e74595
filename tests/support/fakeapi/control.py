"""What a test may do to a running fake: the cluster's operations with the server's own clock, and plain values only,
so that they work across threads and processes alike.

A Proxy has the methods of Control and sends each call to where the cluster lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.fakeapi.access import READ
from tests.support.fakeapi.apiserver import Behaviour
from tests.support.fakeapi.cache import End
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.faults import Fault
from tests.support.fakeapi.resources import Json

Call = Callable[[str, tuple[Any, ...], dict[str, Any]], Any]


class Control:
    """The operations; all are to be called where the cluster lives."""

    def __init__(self, cluster: FakeCluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock

    def create(self, value: Json) -> Json:
        return self._cluster.create(value, self._clock())

    def replace(self, value: Json) -> Json:
        return self._cluster.replace(value, self._clock())

    def apply(self, *values: Json) -> Json:
        """Create or replace each; returns what became of the last one."""
        made: Json = {}
        for value in values:
            made = self._cluster.apply(value, self._clock())
        return made

    def patch(self, plural: str, namespace: str, name: str, patch: Json, subresource: str = "") -> Json:
        return self._cluster.patch(plural, namespace, name, patch, self._clock(), subresource)

    def patch_status(self, plural: str, namespace: str, name: str, status: Json) -> Json:
        return self._cluster.patch_status(plural, namespace, name, status, self._clock())

    def delete(self, plural: str, namespace: str, name: str) -> None:
        self._cluster.delete(plural, namespace, name, self._clock())

    def load(self, document: bytes) -> None:
        """Fill the cluster with a recorded list."""
        self._cluster.load(document, self._clock())

    def rv(self) -> int:
        return self._cluster.rv

    def tick(self, revisions: int = 1) -> None:
        """Writes to something that is not watched here."""
        self._cluster.store.tick(revisions)

    def objects(self, resource: str) -> list[Json]:
        return self._cluster.objects(resource)

    def restart_caches(self, replica: int | None = None, end: str = "BROKEN") -> None:
        """What a restart does to watches and windows, without closing the listener. end: BROKEN or CLEAN."""
        self._cluster.restart(replica, End[end])

    def rollback(self, rv: int) -> None:
        self._cluster.rollback(rv)

    def expire(self, resource: str = "") -> None:
        self._cluster.expire(resource)

    def compact(self) -> None:
        self._cluster.compact()

    def end_watches(self, resource: str = "", end: str = "CLEAN") -> None:
        self._cluster.end_watches(resource, End[end])

    def say(self, resource: str, line: bytes) -> None:
        """Send bytes into every open watch of a resource, as they are."""
        for watch in self._cluster.watches(resource):
            watch.say(line)

    def twist(self, name: str, resource: str = "") -> None:
        """Make the lines of open watches odd from now on; "" ends that."""
        for watch in self._cluster.watches(resource):
            watch.twist = name

    def fault(
        self, fault: Fault, resource: str = "", on: str = "any", times: int | None = 1, after: int = 0
    ) -> None:
        """As FaultBook.add."""
        self._cluster.faults.add(fault, resource, on, times, after)

    def clear_faults(self) -> None:
        self._cluster.faults.clear()

    def set_token(self, token: str, user: str = "") -> None:
        """Let a token stand for a user; without one it is not known any more."""
        self._cluster.access.tokens.pop(token, None)
        if user:
            self._cluster.access.tokens[token] = user

    def allow(self, user: str, *resources: str, verbs: tuple[str, ...] = READ, namespace: str = "") -> None:
        self._cluster.access.allow(user, *resources, verbs=verbs, namespace=namespace)

    def revoke(self, user: str) -> None:
        self._cluster.access.revoke(user)

    def add_server(self, lag_seconds: float = 0.0) -> int:
        """One more API server over the same store. Returns its number, for `replica`."""
        self._cluster.add_server(Behaviour(lag_seconds=lag_seconds))
        return len(self._cluster.servers) - 1

    def behave(self, replica: int = 0, **changes: Any) -> None:
        """Change fields of a server's Behaviour."""
        server = self._cluster.servers[replica]
        server.behaviour = replace(server.behaviour, **changes)

    def behaviour(self, replica: int = 0) -> Behaviour:
        return self._cluster.servers[replica].behaviour

    def requests(self, resource: str = "", purpose: str = "") -> list[dict[str, Any]]:
        """What was asked of the first server: at, user, method, path, query, purpose, status."""
        return [
            {"at": seen.at, "user": seen.user, "method": seen.request.method, "path": seen.request.path,
             "query": dict(seen.request.query), "purpose": seen.request.purpose, "status": seen.status}
            for seen in self._cluster.server.seen
            if purpose in ("", seen.request.purpose) and seen.request.path.endswith(resource)
        ]  # fmt: skip

    def forget_requests(self) -> None:
        self._cluster.server.seen.clear()

    def open_watches(self, resource: str = "") -> int:
        return len(self._cluster.watches(resource))


# Operations whose effect is not in the store: a process that is started again is told them anew.
REMEMBERED = frozenset({"set_token", "allow", "revoke", "add_server", "behave"})


class Proxy:
    """Has the methods of Control; `call` takes a method's name and its arguments."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or not hasattr(Control, name):
            raise AttributeError(name)
        return lambda *args, **named: self._call(name, args, named)
