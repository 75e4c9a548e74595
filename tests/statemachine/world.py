"""A cluster that is worked on, kdns that follows it, and all that may happen to either: each a method.

The tests are sequences of these (a state machine draws them, regression tests spell them out). After each of them the
referee asks everything. `settle` ends a run: nothing goes wrong any more, and all must be as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from kdns.kube.schema import SchemaOptions
from tests.statemachine.chain import Chain
from tests.statemachine.history import History
from tests.statemachine.referee import Referee
from tests.support.fakeapi.access import ADMIN, READ, Grant
from tests.support.fakeapi.apiserver import Behaviour
from tests.support.fakeapi.builders import (
    SERVICE_NAME,
    endpoint,
    endpoint_slice,
    external,
    headless,
    namespace,
    pod,
    pod_status,
    port,
    service,
)
from tests.support.fakeapi.cache import BUFFERED_EVENTS_MAX, End
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.faults import Connection, Cut, Reply, Twist
from tests.support.fakeapi.resources import TYPES, Json

# The longest backoff twice, the silence after which a reflector asks, and what is held.
CALM_SECONDS = 300.0
REOPENING_SECONDS = 70  # the longest backoff, and until a watch is taken for good
LAG_SECONDS = 0.7
# A backup makes resource versions go back by more than are written before it is noticed.
BACKUP_REVISIONS = 100_000
# What one thing that goes wrong may cost in requests, for each resource: a new backoff from its start, and a relist.
REQUESTS_PER_TROUBLE = 10
# Without one: a watch each five minutes, and while nothing can be had one request in 30 s.
SECONDS_PER_REQUEST = 25.0

PORTS = {"none": (), "http": (port(80, "http"),), "plain": (port(8080),),
         "sip": (port(5060, "sip", "UDP"), port(5060, "sip", "TCP"))}  # fmt: skip
SERVICES: dict[str, Callable[[str, str, Iterable[Json]], Json]] = {
    "ClusterIP": lambda where, name, ports: service(where, name, ports or [port(1)]),
    "dual": lambda where, name, ports: service(where, name, ports or [port(1)], ipFamilyPolicy="RequireDualStack"),
    "NodePort": lambda where, name, ports: service(where, name, ports or [port(1)], type="NodePort"),
    "headless": lambda where, name, ports: headless(where, name, ports),
    "ExternalName": lambda where, name, ports: external(where, name, f"{name}.example.com"),
}
CONDITIONS: dict[str, dict[str, bool | None]] = {
    "ready": {"ready": True},
    "untold": {"ready": None},
    "unready": {"ready": False},
    "draining": {"ready": False, "serving": True, "terminating": True},
    "ended": {"ready": False, "serving": False, "terminating": True},
}


class World:
    """See the module's docstring. seed: of latencies, cuts of blocks and backoffs."""

    def __init__(self, seed: int = 0, verified_pods: bool = False, terminating_serving: bool = False) -> None:
        self.rng = Random(seed)
        self.options = SchemaOptions(verified_pods=verified_pods, terminating_serving=terminating_serving)
        self.cluster = FakeCluster(self.rng)
        self.cluster.add_server(Behaviour(lag_seconds=LAG_SECONDS))
        self.chain = Chain(self.cluster, self.options, self.rng)
        self.history = self._new_history()
        self.referee = Referee(self.chain, self.history)
        self.troubles = 1
        self._backup: int | None = None
        self._backups = 0
        for name in ("shop", "data"):
            self.put_namespace(name)

    @property
    def now(self) -> float:
        return self.chain.simulation.now

    def _new_history(self) -> History:
        return History(self.cluster, self.options.verified_pods, self.options.terminating_serving)

    # The cluster

    def fill(self) -> None:
        """A headless Service and one with a ClusterIP, of two endpoints each."""
        for name, kind in (("web", "headless"), ("db", "ClusterIP")):
            self.put_service("shop", name, kind, "http")
            self.put_slice("shop", name, 1, {"10.0.0.1": "ready", "10.0.0.2": "ready"}, "http")

    def put_namespace(self, name: str) -> None:
        if not self._has("namespaces", name):
            self.cluster.create(namespace(name), self.now)
        self.chain.simulation.changed()

    def delete_namespace(self, name: str) -> None:
        self._delete("namespaces", "", name)

    def put_service(self, where: str, name: str, kind: str, ports: str = "none") -> None:
        """Another kind of Service is another Service: what it is stays."""
        self.put_namespace(where)
        made = SERVICES[kind](where, name, PORTS[ports])
        self._delete("services", where, name)
        self.cluster.create(made, self.now)
        self.chain.simulation.changed()

    def delete_service(self, where: str, name: str) -> None:
        self._delete("services", where, name)

    def put_slice(
        self, where: str, owner: str, number: int, hosts: dict[str, str], ports: str = "none", hostname: str = ""
    ) -> None:
        """hosts: the conditions of each address; all of one family."""
        self.put_namespace(where)
        told = {"hostname": hostname} if hostname else {}
        made = [endpoint(address, **CONDITIONS[how], **told) for address, how in hosts.items()]
        self.cluster.apply(endpoint_slice(where, f"{owner}-{number}", owner, made, PORTS[ports]), self.now)
        self.chain.simulation.changed()

    def turn_endpoints(self, where: str, name: str, how: str) -> None:
        """All endpoints of a slice are so now."""
        found = self._slice(where, name)
        if found is not None:
            told = {name: value for name, value in CONDITIONS[how].items() if value is not None}
            self._put(found, [{**each, "conditions": told} for each in found["endpoints"] or ()])

    def move_endpoints(self, where: str, owner: str, is_back: bool, adds_first: bool, seconds: float) -> None:
        """From one slice of a Service to the other, in two writes with some time in between."""
        source, target = (f"{owner}-{number}" for number in ((2, 1) if is_back else (1, 2)))
        first, second = self._slice(where, source), self._slice(where, target)
        if not first or not second or first["addressType"] != second["addressType"]:
            return
        if first["metadata"]["labels"] != second["metadata"]["labels"]:
            return
        moved = first["endpoints"] or []
        addresses = {each["addresses"][0] for each in moved}
        stays = [each for each in second["endpoints"] or [] if each["addresses"][0] not in addresses]
        writes = [lambda: self._put(first, []), lambda: self._put(second, [*stays, *moved])]
        for write in reversed(writes) if adds_first else writes:
            write()
            self.chain.simulation.run_until(self.now + seconds)
            self.referee.check_all()

    def relabel_slice(self, where: str, name: str, owner: str) -> None:
        """It belongs to another Service from now on."""
        found = self._slice(where, name)
        if found is not None:
            meta = {**found["metadata"], "labels": {SERVICE_NAME: owner}}
            self._put({**found, "metadata": meta}, found["endpoints"])

    def delete_slice(self, where: str, name: str) -> None:
        self._delete("endpointslices", where, name)

    def put_pod(self, where: str, name: str, address: str, phase: str) -> None:
        self.put_namespace(where)
        if not self._has("pods", f"{where}/{name}"):
            self.cluster.create(pod(where, name), self.now)
        self.cluster.patch_status("pods", where, name, pod_status(address, phase=phase), self.now)
        self.chain.simulation.changed()

    def delete_pod(self, where: str, name: str) -> None:
        self._delete("pods", where, name)

    def burst(self, where: str, name: str, writes: int = 5) -> None:
        """More than a watch of a slow reader is given: it is closed."""
        self.troubles += 1
        for server in self.cluster.servers:
            server.cache("services").buffered_max = 2
        for number in range(writes if self._has("services", f"{where}/{name}") else 0):
            patch = {"metadata": {"annotations": {"touched": f"{self.now} {number}"}}}
            self.cluster.patch("services", where, name, patch, self.now)
        self.chain.simulation.changed()
        for server in self.cluster.servers:
            server.cache("services").buffered_max = BUFFERED_EVENTS_MAX

    # The API server and the way to it

    def refuse(self, name: str, resource: str, on: str, times: int) -> None:
        """Requests are answered with an error. Watches end, so that there are requests."""
        self.troubles += times
        self.cluster.faults.add(Reply(name), resource, on, times)
        self._end_watches(resource, End.CLEAN)

    def cut(self, kind: str, resource: str, after_octets: int, times: int) -> None:
        self.troubles += times
        self.cluster.faults.add(Cut(kind, after_octets), resource, "any", times)
        self._end_watches(resource, End.BROKEN)

    def send_odd_lines(self, name: str, resource: str, times: int) -> None:
        self.troubles += 3 * times  # it may go on with each line
        self.cluster.faults.add(Twist(name), resource, "watch", times)
        self._end_watches(resource, End.BROKEN)

    def end_watches(self, resource: str, is_broken: bool) -> None:
        self.troubles += 1
        self._end_watches(resource, End.BROKEN if is_broken else End.CLEAN)

    def reset(self) -> None:
        self.troubles += 1
        self.chain.simulation.reset()

    def sever(self) -> None:
        self.troubles += 1
        self.chain.simulation.sever()

    def go_down(self, kind: str, seconds: float) -> None:
        """New connections come to nothing for a while, and those that are open are reset."""
        self.troubles += 1
        network = self.chain.simulation.network
        self.chain.simulation.reset()
        self.chain.simulation.for_a_while(
            lambda: setattr(network, "down", Connection(kind)), lambda: setattr(network, "down", None), seconds
        )

    def go_silent(self, seconds: float) -> None:
        """Nothing gets through for a while, and nobody is told."""
        self.troubles += 1
        network = self.chain.simulation.network
        self.chain.simulation.sever()
        self.chain.simulation.for_a_while(
            lambda: setattr(network, "is_silent", True), lambda: setattr(network, "is_silent", False), seconds
        )

    def restart(self, is_clean: bool) -> None:
        """Whatever resource version is older than now has expired."""
        self.troubles += 2
        self.cluster.restart(end=End.CLEAN if is_clean else End.BROKEN)
        self.chain.simulation.changed()

    def expire(self, resource: str) -> None:
        self.troubles += 2
        self.cluster.expire(resource)
        self.cluster.compact()
        self.chain.simulation.reset()

    def revoke(self, resource: str, seconds: float) -> None:
        """We may not read a resource for a while."""
        self.troubles += 1
        access = self.cluster.access

        def grant(resources: frozenset[str]) -> None:
            access.grants[ADMIN] = [Grant(resources, frozenset(READ))]
            self._end_watches("", End.CLEAN)

        self.chain.simulation.for_a_while(
            lambda: grant(frozenset(TYPES) - {resource}), lambda: grant(frozenset(TYPES)), seconds
        )

    def change_watch_lists(self, mode: str, seconds: float) -> None:
        """The server has no watch lists for a while, or not as they should be; everything is listed anew."""
        self.troubles += 3
        behaviours = [server.behaviour for server in self.cluster.servers]

        def set_mode(name: str) -> None:
            for behaviour in behaviours:
                behaviour.watch_list = name
            self.cluster.expire()
            self._end_watches("", End.CLEAN)

        self.chain.simulation.for_a_while(lambda: set_mode(mode), lambda: set_mode("served"), seconds)

    def stop_bookmarks(self, seconds: float) -> None:
        """Neither of them nor of the end of initial events."""
        self.troubles += 3
        behaviours = [server.behaviour for server in self.cluster.servers]

        def set_bookmarks(are_sent: bool) -> None:
            for behaviour in behaviours:
                behaviour.has_bookmarks = are_sent
            self._end_watches("", End.CLEAN)

        self.chain.simulation.for_a_while(lambda: set_bookmarks(False), lambda: set_bookmarks(True), seconds)

    def balance(self, replica: int | None) -> None:
        """Requests go to one of the servers, of which the second lags; None for any."""
        self.chain.simulation.network.replica = replica
        self.end_watches("", is_broken=True)

    def go_back(self, seconds: float) -> None:
        """A backup of etcd is made now, and restored after a while: what is written in between has never been.

        Much is written; see BACKUP_REVISIONS. Not while somebody still follows a time that was undone, and nothing
        comes of it if the backup is too old for the fake etcd by then.
        """
        versions = [one.resource_version for each in self.chain.controls for one in each.mirror.reflectors]
        if self._backup is not None or any(map(self.history.is_undone, [*versions, *self.chain.snapshot_versions])):
            return
        self.troubles += 3
        self._backups += 1
        backup = self._backup = self.cluster.rv
        self.cluster.store.tick(BACKUP_REVISIONS * self._backups)
        self.chain.simulation.after(seconds, lambda: self._restore(backup))

    def _restore(self, backup: int) -> None:
        if self._backup == backup >= self.cluster.store.compacted:
            self.cluster.rollback(backup)
            self.history.restored(backup)
        self._backup = None

    # kdns

    def save(self) -> None:
        self.chain.save()

    def start(self, with_snapshot: bool) -> None:
        self.troubles += 2
        self.referee.forget()
        self.chain.start(with_snapshot)

    def restart_control(self, with_snapshot: bool) -> None:
        self.troubles += 2
        self.chain.restart_control(with_snapshot)

    def reload(self, with_snapshot: bool) -> None:
        self.troubles += 2
        self.chain.reload(with_snapshot)

    def move_to_another_cluster(self) -> None:
        """kdns starts anew, with the snapshot of one cluster, at another."""
        if not self.chain.snapshot:
            return
        self.cluster = self.chain.simulation.cluster = FakeCluster(self.rng)
        self.cluster.add_server(Behaviour(lag_seconds=LAG_SECONDS))
        self._backup = None
        self.history = self.referee.history = self._new_history()
        self.chain.simulation.reset()
        self.start(with_snapshot=True)

    # Time

    def wait(self, seconds: float) -> None:
        self.chain.simulation.run_until(self.now + seconds)
        self.referee.check_all()

    def check_requests(self) -> None:
        """No more requests than what went wrong accounts for, and the time."""
        each = REQUESTS_PER_TROUBLE * self.troubles + self.now / SECONDS_PER_REQUEST
        allowed = (len(self.chain.resources) + 1) * each
        assert self.chain.requests_made <= allowed, f"{self.chain.requests_made} requests, not {allowed:.0f}"

    def settle(self) -> None:
        self._backup = None
        self.chain.simulation.calm(CALM_SECONDS)
        self.wait_until_current()
        self.check_requests()
        self.referee.check_settled()

    def wait_until_current(self) -> None:
        """A watch may have ended just now, in time or by a fault that lay in wait for it, and be opened anew."""
        for _ in range(REOPENING_SECONDS):
            if self.chain.control.mirror.stale_since is not None:
                self.wait(1.0)

    # Inside

    def _has(self, resource: str, key: str) -> bool:
        return self.cluster.store.get(resource, key) is not None

    def _slice(self, where: str, name: str) -> Json | None:
        item = self.cluster.store.get("endpointslices", f"{where}/{name}")
        return item.value if item is not None else None

    def _put(self, found: Json, endpoints: list[Json] | None) -> None:
        """A slice of the cluster, changed."""
        meta = {name: part for name, part in found["metadata"].items() if name != "resourceVersion"}
        kind = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1"}
        self.cluster.apply({**found, **kind, "metadata": meta, "endpoints": endpoints}, self.now)
        self.chain.simulation.changed()

    def _delete(self, resource: str, where: str, name: str) -> None:
        if self._has(resource, f"{where}/{name}" if where else name):
            self.cluster.delete(resource, where, name, self.now)
            self.chain.simulation.changed()

    def _end_watches(self, resource: str, end: End) -> None:
        self.cluster.end_watches(resource, end)
        self.chain.simulation.changed()
