"""What has been true of a cluster, state after state: what exists since when, and which state a version stands for.

Every write is a state of its own. Restored from a backup, a cluster goes on with a new state, and what resource
versions of the time that was undone mean is remembered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeVar

from tests.statemachine.expectation import Expected, Oracle, Question
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.resources import TYPES
from tests.support.fakeapi.store import Revision

UNKNOWN = -1  # before the first state

_T = TypeVar("_T")
_Log = list[tuple[int, int]]  # resource version and state, in order


class History:
    """States are counted from 0. now: what is true. since: of each question and reason, when it came to have it.

    names_since: of each name that exists. gone_since: of each name that once existed and does not now.
    last_ready: of each owner and address of headless Services, when it was ready last; unready_since: of those that
    stand in a slice and are not ready, since when.
    """

    def __init__(self, cluster: FakeCluster, verified_pods: bool, terminating_serving: bool) -> None:
        self.state = 0
        self.names: set[str] = set()
        self.questions: list[Question] = []  # all that ever had an answer
        self._known: set[Question] = set()
        self.since: dict[tuple[Question, str], int] = {}
        self.gone_since: dict[str, int] = {}
        self.last_ready: dict[tuple[str, str], int] = {}
        self.ready_since: dict[tuple[str, str], int] = {}
        self.unready_since: dict[tuple[str, str], int] = {}
        self._cluster = cluster
        self._verified_pods = verified_pods
        self._oracle = Oracle(terminating_serving)
        self._log: _Log = [(cluster.rv, 0)]
        self._undone: _Log = []
        self._changed: dict[str, list[int]] = {plural: [] for plural in TYPES}
        self.now = self._look()
        self._note(Expected())
        cluster.store.listeners.append(self._on_revision)

    def state_of(self, resource: str, resource_version: str) -> int:
        """The last state that who has this version of a resource knows all objects of; UNKNOWN for none."""
        if not resource_version:
            return UNKNOWN
        version = int(resource_version)
        log = self._log if version <= self._cluster.rv else self._undone
        at = bisect_right(log, (version, self.state + 1))
        if not at:
            return UNKNOWN
        changed = self._changed[resource]
        next_change = bisect_right(changed, log[at - 1][1])
        return changed[next_change] - 1 if next_change < len(changed) else self.state

    def restored(self, version: int) -> None:
        """The cluster has been restored as it was at a version."""
        self._undone = self._log
        self._log = [entry for entry in self._log if entry[0] <= version]
        self._follow(version, TYPES)

    @property
    def uid(self) -> str:
        """Which cluster it is."""
        item = self._cluster.store.get("namespaces", "kube-system")
        assert item is not None
        return str(item.value["metadata"]["uid"])

    def is_undone(self, resource_version: str) -> bool:
        """Whether this is a version of a time that was undone by a backup."""
        return bool(resource_version) and int(resource_version) > self._cluster.rv

    def stands_since(self, question: Question, state: int) -> bool:
        """Whether it has had an answer for one and the same reason since a state."""
        reasons = self.now.reasons.get(question, ())
        return any(self.since[question, reason] <= state for reason in reasons)

    def _on_revision(self, revision: Revision) -> None:
        self._follow(revision.rv, [revision.resource])

    def _follow(self, version: int, resources: Iterable[str]) -> None:
        self.state += 1
        self._log.append((version, self.state))
        for resource in resources:
            self._changed[resource].append(self.state)
        former, self.now = self.now, self._look()
        self._note(former)

    def _note(self, former: Expected) -> None:
        state, now = self.state, self.now
        came, went = now.names - former.names, former.names - now.names
        self.names |= came
        self.gone_since |= dict.fromkeys(went, state)
        for name in came:
            self.gone_since.pop(name, None)
        self.questions += sorted(now.records.keys() - former.records.keys() - self._known)
        self._known |= now.records.keys()
        self.since = self._kept(self.since, ((each, one) for each, reasons in now.reasons.items() for one in reasons))
        self.ready_since = self._kept(self.ready_since, now.ready)
        self.unready_since = self._kept(self.unready_since, now.unready - now.ready)
        self.last_ready |= dict.fromkeys(former.ready, state - 1) | dict.fromkeys(now.ready, state)

    def _kept(self, since: dict[_T, int], now: Iterable[_T]) -> dict[_T, int]:
        """Since when each of these is so; what is new, since this state."""
        return {each: since.get(each, self.state) for each in now}

    def _look(self) -> Expected:
        namespaces, services, slices, pods = (
            [item.value for item in self._cluster.store.objects(plural).values()]
            for plural in ("namespaces", "services", "endpointslices", "pods")
        )
        return self._oracle.expected(namespaces, services, slices, pods if self._verified_pods else ())
