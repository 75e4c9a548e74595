"""Reflectors against a FakeCluster over simulated time: a day passes in seconds, and every run follows from its seed.

    known = Known()
    simulation = Simulation(cluster, Reflectors(reflectors, known.take), random.Random(seed), faults)
    simulation.run_until(24 * 3600)
    simulation.calm(300)                    # no more faults: everything settles
    assert known.objects("Service") == truth(cluster, "services", decoder)

Requests take a latency each way, bodies come in blocks that are cut anywhere, in the order in which they were sent.
What is to happen later (a write, a fault) is put on the same queue with `at`. A Mirror is followed by `Mirrored`.

Not here: sockets, and what their failures look like in Python (kdns.server.streams and its tests).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from kdns.kube.decode import ObjectDecoder
from kdns.kube.mirror import Mirror, Turn
from kdns.kube.objects import Change, Key, Object, Tombstone
from kdns.kube.problem import InvalidObject
from kdns.kube.reflector import Reflector
from kdns.kube.request import Failure, Fault, Headers, Outcome, Request
from tests.support.fakeapi.apiserver import ApiRequest
from tests.support.fakeapi.cache import End, Watch
from tests.support.fakeapi.cluster import ADMIN_HEADERS, FakeCluster
from tests.support.fakeapi.faults import Connection, Cut
from tests.support.fakeapi.lists import Wait
from tests.support.fakeapi.resources import TYPES
from tests.support.fakeapi.statuses import Response

LATENCY_SECONDS = 0.02  # each way, at most
CONNECT_TIMEOUT_SECONDS = 5.0
# More steps than this at one moment, and the reflectors go round in circles.
STEPS_AT_ONCE_MAX = 10_000
_BLOCK_OCTETS_MAX = 5000

_FAULTS = {
    "refused": Fault.REFUSED,
    "unreachable": Fault.UNREACHABLE,
    "timeout": Fault.TIMEOUT,
    "tls": Fault.TLS,
    "credentials": Fault.CREDENTIALS,
}


class Followers(Protocol):
    """Who asks the API server, as kdns.kube.mirror.Mirror does: several requests at a time, each with its owner."""

    def requests(self) -> Iterable[tuple[int, Request]]: ...

    def opened(self, owner: int, number: int, status: int, headers: Headers, now: float) -> None: ...

    def received(self, owner: int, number: int, block: bytes, now: float) -> None: ...

    def ended(self, owner: int, number: int, now: float) -> None: ...

    def failed(self, owner: int, number: int, failure: Failure, now: float) -> None: ...

    @property
    def wake_at(self) -> float: ...

    def turn(self, now: float) -> None:
        """Called after each input, and at wake_at."""


class Reflectors:
    """Reflectors as Followers; each outcome is given to `hook`."""

    def __init__(
        self, reflectors: Iterable[Reflector], hook: Callable[[Reflector, Outcome, float], None] | None = None
    ) -> None:
        self.reflectors = list(reflectors)
        self._hook = hook or (lambda reflector, outcome, now: None)

    def requests(self) -> Iterable[tuple[int, Request]]:
        return ((owner, one.request) for owner, one in enumerate(self.reflectors))

    @property
    def wake_at(self) -> float:
        return min(one.wake_at for one in self.reflectors)

    def opened(self, owner: int, number: int, status: int, headers: Headers, now: float) -> None:
        self._tell(owner, self.reflectors[owner].opened(number, status, headers, now), now)

    def received(self, owner: int, number: int, block: bytes, now: float) -> None:
        self._tell(owner, self.reflectors[owner].received(number, block, now), now)

    def ended(self, owner: int, number: int, now: float) -> None:
        self._tell(owner, self.reflectors[owner].ended(number, now), now)

    def failed(self, owner: int, number: int, failure: Failure, now: float) -> None:
        self._tell(owner, self.reflectors[owner].failed(number, failure, now), now)

    def turn(self, now: float) -> None:
        for owner, one in enumerate(self.reflectors):
            if one.wake_at <= now:
                self._tell(owner, one.wake(now), now)

    def _tell(self, owner: int, outcome: Outcome, now: float) -> None:
        self._hook(self.reflectors[owner], outcome, now)


class Mirrored:
    """A Mirror as Followers; each turn is given to `hook`. The serial is the second."""

    def __init__(self, mirror: Mirror, hook: Callable[[Turn, float], None] | None = None) -> None:
        self.mirror = mirror
        self._hook = hook or (lambda turn, now: None)
        self.requests = mirror.requests
        self.opened, self.received = mirror.opened, mirror.received
        self.ended, self.failed = mirror.ended, mirror.failed

    @property
    def wake_at(self) -> float:
        return self.mirror.wake_at

    def turn(self, now: float) -> None:
        self._hook(self.mirror.turn(now, int(now)), now)


class Known:
    """What reflectors have told, for `Reflectors(..., known.take)`."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self.notices: list[str] = []
        self.syncs = 0

    def take(self, reflector: Reflector, outcome: Outcome, now: float) -> None:
        self.syncs += outcome.synced
        self.notices += [f"{now:.3f} {notice.text}" for notice in outcome.notices]
        for change in outcome.changes:
            if isinstance(change, Tombstone):
                self._objects.pop(change.key, None)
            else:
                self._objects[change.key] = change

    def objects(self, kind: str) -> dict[Key, Object]:
        return {key: value for key, value in self._objects.items() if key[0] == kind}


def truth(cluster: FakeCluster, resource: str, decoder: ObjectDecoder) -> dict[Key, Object]:
    """What is in the cluster, as far as answers depend on it."""
    changes = (_decoded(decoder, TYPES[resource].kind, text) for text in cluster.object_lines(resource))
    return {change.key: change for change in changes if change is not None and not isinstance(change, Tombstone)}


def _decoded(decoder: ObjectDecoder, kind: str, text: bytes) -> Change | None:
    try:
        return decoder.decode_json(kind, text, [])
    except InvalidObject:
        return None


@dataclass
class Network:
    """What lies between.

    down: what new connections come to, None for nothing. is_silent: nothing gets through, and nobody is told.
    replica: which of the cluster's servers a new request reaches; None for any.
    """

    down: Connection | None = None
    is_silent: bool = False
    replica: int | None = 0


@dataclass
class _Exchange:
    """One request and its answer."""

    owner: int
    request: Request
    asked_at: float | None = None
    arrives_at: float = 0.0  # when what was sent last arrives
    watch: Watch | None = None
    cut: Cut | None = None
    sent: int = 0
    pump_at: float = math.inf  # when its watch is looked at again
    is_over: bool = False


Action = Callable[[], None]


class Simulation:
    """See the module's docstring. `now` begins at `start`; `faults` is called with the simulation, to plan them."""

    def __init__(
        self, cluster: FakeCluster, followers: Followers, rng: random.Random,
        faults: Callable[[Simulation], None] | None = None, start: float = 0.0,
    ) -> None:  # fmt: skip
        self.cluster = cluster
        self.followers = followers
        self.rng = rng
        self.now = start
        self.network = Network()
        self.is_calm = False
        self.rolled_back_at = -math.inf  # when versions went back last
        self.steps = 0
        self.on_step: Callable[[], None] = lambda: None
        self._queue: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._exchanges: dict[int, _Exchange] = {}
        self._to_mend: list[Action] = []
        if faults is not None:
            faults(self)

    # What a test does

    def at(self, when: float, action: Action) -> None:
        """Do something to the cluster or the network at a time."""
        self._put(when, lambda: (action(), self.changed())[0])

    def after(self, seconds: float, action: Action) -> None:
        self.at(self.now + seconds, action)

    def for_a_while(self, begin: Action, end: Action, seconds: float) -> None:
        """Begin something now, and end it after a time, or when it is to be calm."""
        begin()
        self._to_mend.append(end)

        def mend() -> None:
            if end in self._to_mend:
                self._to_mend.remove(end)
                end()

        self.after(seconds, mend)

    def run_until(self, when: float) -> None:
        at_once = 0
        self._open_requests()
        while (due := self._next_due()) <= when:
            at_once = at_once + 1 if due <= self.now else 0
            if at_once > STEPS_AT_ONCE_MAX:
                raise AssertionError(f"{at_once} steps at {self.now}: {list(self.followers.requests())}")
            self._step(max(due, self.now))
        self.now = max(self.now, when)

    def calm(self, seconds: float) -> None:
        """Mend everything, let nothing more happen to the network, and go on for a while."""
        self.is_calm = True
        while self._to_mend:
            self._to_mend.pop()()
        self.network = Network()
        self.cluster.faults.clear()
        self.changed()
        self.run_until(self.now + seconds)

    def changed(self) -> None:
        """Something was written to the cluster, or its watches were ended: let them see it."""
        self.cluster.advance(self.now)
        for exchange in list(self._exchanges.values()):
            self._pump(exchange)

    def sever(self) -> None:
        """Open connections are dead from now on, and nobody is told."""
        for exchange in self._exchanges.values():
            self._close(exchange)

    def reset(self) -> None:
        """Open connections are reset."""
        for exchange in self._exchanges.values():
            self._break(exchange, Failure(Fault.BROKEN, "reset by peer"))

    @property
    def open_exchanges(self) -> int:
        return sum(not one.is_over for one in self._exchanges.values())

    @property
    def queued(self) -> int:
        """What is to happen yet."""
        return len(self._queue)

    # Time

    def _put(self, when: float, action: Action) -> None:
        heapq.heappush(self._queue, (when, next(self._numbers), action))

    def _next_due(self) -> float:
        return min(self._queue[0][0] if self._queue else math.inf, self.followers.wake_at)

    def _step(self, now: float) -> None:
        self.now = now
        self.steps += 1
        if self._queue and self._queue[0][0] <= now:
            heapq.heappop(self._queue)[2]()
        self.followers.turn(now)
        self._open_requests()
        self.on_step()

    def _open_requests(self) -> None:
        for owner, request in list(self.followers.requests()):
            former = self._exchanges.get(owner)
            if former is not None and former.request.number == request.number:
                continue
            if former is not None:
                self._close(former)
            exchange = self._exchanges[owner] = _Exchange(owner, request)
            self._put(max(request.due, self.now), lambda one=exchange: self._connect(one))

    def _close(self, exchange: _Exchange) -> None:
        exchange.is_over = True
        if exchange.watch is not None:
            exchange.watch.close(End.CLEAN)

    # One request

    def _connect(self, exchange: _Exchange) -> None:
        if exchange.is_over:
            return
        down = Connection("timeout") if self.network.is_silent else self.network.down
        if down is not None:
            self._fail_connection(exchange, down)
            return
        self._put(self.now + self._latency(), lambda: self._ask(exchange))

    def _fail_connection(self, exchange: _Exchange, down: Connection) -> None:
        delay = CONNECT_TIMEOUT_SECONDS if down.kind == "timeout" else self._latency()
        owner, number = exchange.owner, exchange.request.number
        failure = Failure(_FAULTS[down.kind], f"simulated: {down.kind}")
        self._put(self.now + delay, lambda: self.followers.failed(owner, number, failure, self.now))
        self._close(exchange)

    def _ask(self, exchange: _Exchange) -> None:
        if exchange.is_over:
            return
        asked = exchange.request
        request = ApiRequest("GET", asked.path, dict(asked.query), ADMIN_HEADERS)
        response = self.cluster.handle(request, self.now, exchange.asked_at, self._replica())
        if exchange.asked_at is None:
            exchange.asked_at = self.now
        if isinstance(response, Wait):
            self._put(min(response.until, max(self.cluster.next_due, self.now + 0.001)), lambda: self._ask(exchange))
        elif response.cut is not None and response.cut.after_octets < 0:
            self._cut(exchange, response.cut)
        else:
            self._answer(exchange, response)

    def _replica(self) -> int:
        chosen = self.network.replica
        return chosen if chosen is not None else self.rng.randrange(len(self.cluster.servers))

    def _answer(self, exchange: _Exchange, response: Response) -> None:
        exchange.cut, exchange.watch = response.cut, response.watch
        owner, number = exchange.owner, exchange.request.number
        headers = {name.lower(): value for name, value in response.all_headers("")}
        status = response.status
        self._deliver(exchange, lambda: self.followers.opened(owner, number, status, headers, self.now))
        if exchange.watch is not None:
            self._pump(exchange)
            return
        self._send(exchange, response.body)
        if not exchange.is_over:
            self._end(exchange)

    def _pump(self, exchange: _Exchange) -> None:
        """Send what a watch has to say, and come back when it has more."""
        watch = exchange.watch
        if watch is None or exchange.is_over:
            return
        self.cluster.advance(self.now)
        self._send(exchange, watch.take(self.now))
        if exchange.is_over:
            return
        if watch.end is End.BROKEN:
            self._break(exchange, Failure(Fault.BROKEN, "simulated: the server is gone"))
        elif watch.is_over:
            self._end(exchange)
        else:
            self._pump_later(exchange, max(self.now, min(watch.next_due, self.cluster.next_due)))

    def _pump_later(self, exchange: _Exchange, due: float) -> None:
        """At one time only: what was planned for another is dropped."""
        if due == math.inf or self.now < due == exchange.pump_at:
            return
        exchange.pump_at = due

        def pump() -> None:
            if exchange.pump_at == due:
                exchange.pump_at = math.inf
                self._pump(exchange)

        self._put(due, pump)

    def _send(self, exchange: _Exchange, data: bytes) -> None:
        cut = exchange.cut
        if cut is not None and exchange.sent + len(data) >= cut.after_octets:
            data = data[: max(0, cut.after_octets - exchange.sent)]
        else:
            cut = None
        exchange.sent += len(data)
        owner, number = exchange.owner, exchange.request.number
        for block in self._blocks(data):
            self._deliver(exchange, lambda part=block: self.followers.received(owner, number, part, self.now))
        if cut is not None:
            self._cut(exchange, cut)

    def _cut(self, exchange: _Exchange, cut: Cut) -> None:
        if cut.kind in ("stall", "drip"):  # so slow a drip that nothing comes of it
            self._close(exchange)
        else:
            self._break(exchange, Failure(Fault.BROKEN, f"simulated: {cut.kind}"))

    def _end(self, exchange: _Exchange) -> None:
        owner, number = exchange.owner, exchange.request.number
        self._deliver(exchange, lambda: self.followers.ended(owner, number, self.now))
        self._close(exchange)

    def _break(self, exchange: _Exchange, failure: Failure) -> None:
        if exchange.is_over:
            return
        owner, number = exchange.owner, exchange.request.number
        self._deliver(exchange, lambda: self.followers.failed(owner, number, failure, self.now))
        self._close(exchange)

    def _deliver(self, exchange: _Exchange, action: Action) -> None:
        """After what was sent before. What is on its way when the connection is severed still arrives."""
        if self.network.is_silent:
            self._close(exchange)
            return
        exchange.arrives_at = max(exchange.arrives_at, self.now + self._latency())
        self._put(exchange.arrives_at, action)

    def _blocks(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            end = start + self.rng.randint(1, _BLOCK_OCTETS_MAX)
            yield data[start:end]
            start = end

    def _latency(self) -> float:
        return self.rng.uniform(0, LATENCY_SECONDS)
