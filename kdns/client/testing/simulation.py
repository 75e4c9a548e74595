"""A service under load in fake time: replicas with finite capacity and queues, and the production balancer.

Nothing waits and nothing is random beyond the seed, so a minute of 1,000 requests a second takes seconds and is the
same each time. The core and the calls are those that apps run (kdns.client.core, kdns.client.calling); only what lies
beyond them is made up: replicas, the network (a fixed time), and DNS (a set that is published). Method: Finagle's
balancersim and Linkerd's 2016 comparison. Not here: the resolver, sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import NamedTuple

from kdns.client.budget import make_budget
from kdns.client.calling import Call, Step, Try
from kdns.client.core import Core
from kdns.client.endpoint import Endpoint, EndpointSet
from kdns.client.hooks import Hooks, Listeners
from kdns.client.options import BalancerOptions
from kdns.client.outcome import OK, UNREACHABLE, Outcome
from kdns.client.place import Place
from kdns.client.target import parse_target

ServiceTime = Callable[[Random], float]

# One way; a pod network on one node or in one rack.
NETWORK = 0.0001
_RESET = Outcome(False, text="connection reset")
_ERROR = Outcome(False, text="error of the server")


def jittered(mean: float, share: float = 0.25) -> ServiceTime:
    """A service time around a mean: a normal one with a long tail to the right only as far as `share` says."""
    return lambda rng: max(mean * 0.2, rng.gauss(mean, mean * share))


def with_hiccups(usual: ServiceTime, share: float, seconds: float) -> ServiceTime:
    """Now and then it takes so much longer: garbage collection, a page fault."""
    return lambda rng: usual(rng) + (seconds if rng.random() < share else 0.0)


class Replica:
    """A server that works on so many requests at once and queues the rest.

    fails_in: it answers everything with an error after so many seconds, None if it works. hangs: takes requests and
    never answers. is_dead: nobody listens. received: attempts that came; answered: those that got an answer.
    """

    def __init__(self, number: int, service_time: ServiceTime, workers: int = 32) -> None:
        self.endpoint = Endpoint(f"10.0.{number >> 8}.{number & 255}", 80)
        self.service_time = service_time
        self.workers = workers
        self.fails_in: float | None = None
        self.hangs = self.is_dead = False
        self.received = self.answered = 0
        self.life = 0  # what a former life was working on is lost
        self.busy = 0
        self.queue: deque[Callable[[], None]] = deque()
        self.open: dict[int, Callable[[Outcome], None]] = {}


def _nothing() -> None:
    pass


class Result(NamedTuple):
    """One request. seconds: until its result. attempts: that reached a replica."""

    started: float
    seconds: float
    ok: bool
    attempts: int


@dataclass
class _Request:
    call: Call
    started: float
    attempts: int = 0
    wakes: int = 0  # only the newest wake-up counts
    is_over: bool = False
    reached: dict[int, float] = field(default_factory=dict)


class Simulation:
    """One client of one service.

    results: of all requests that are over. attempts: that reached a replica or found none listening.
    """

    def __init__(
        self,
        replicas: Iterable[Replica],
        options: BalancerOptions | None = None,
        seed: int = 1,
        hooks: tuple[Hooks, ...] = (),
    ) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self.replicas = list(replicas)
        self._by_key = {replica.endpoint.key: replica for replica in self.replicas}
        self.results: list[Result] = []
        self.attempts = 0
        self.resolutions = 0
        self.on_attempt: Callable[[], object] = _nothing  # called for each attempt, for what else is to be counted
        self._options = options or BalancerOptions()
        self._listeners = Listeners(hooks)
        target = parse_target("static://127.0.0.1:80", lambda: Place(None, None))
        self.core = Core(target, self._options, Random(seed + 1), self._listeners, self._asked_anew)
        self._budget = make_budget(self._options.retries.budget, 0.0)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.publish(self.replicas)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something then."""
        self._sequence += 1
        heappush(self._events, (max(when, self.now), self._sequence, what))

    def publish(self, replicas: Iterable[Replica]) -> None:
        """What DNS says from now on."""
        endpoints = tuple(replica.endpoint for replica in replicas)
        problem = None if endpoints else "scaled to nothing"
        self.core.update(EndpointSet("sim", endpoints, self.now, problem=problem, since=self.now), self.now)

    def load(self, rate: float, start: float, end: float, *, idempotent: bool = True, timeout: float = inf) -> None:
        """Requests as they come from many users, so many a second on average."""

        def arrive() -> None:
            self._begin(idempotent, timeout)
            following = self.now + self.rng.expovariate(rate)
            if following < end:
                self.at(following, arrive)

        self.at(start + self.rng.expovariate(rate), arrive)

    def run(self, until: float) -> None:
        """Let time pass until then."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, what = heappop(events)
            what()
        self.now = until

    def kill(self, replica: Replica) -> None:
        """SIGKILL: what it works on is reset, and nobody listens."""
        replica.is_dead = True
        replica.life += 1
        replica.busy = 0
        replica.queue.clear()
        broken, replica.open = replica.open, {}
        for reply in broken.values():
            reply(_RESET)

    def restart(self, replica: Replica) -> None:
        """It listens again."""
        replica.is_dead = False

    # Requests.

    def _asked_anew(self) -> None:
        self.resolutions += 1

    def _begin(self, idempotent: bool, timeout: float) -> None:
        call = Call(
            self.core,
            self._options.retries,
            self._budget,
            self.rng,
            target="sim",
            idempotent=idempotent,
            deadline=self.now + timeout,
            hedge=self._options.hedge,
        )
        request = _Request(call, self.now)
        self._do(request, call.start(self.now))

    def _do(self, request: _Request, step: Step) -> None:
        if request.is_over:
            return
        if step.result is not None or step.give_up is not None:
            request.is_over = True
            self.results.append(
                Result(request.started, self.now - request.started, step.result is not None, request.attempts)
            )
            return
        request.wakes += 1
        if step.try_ is not None:
            self._send(request, step.try_)
        if step.wake_at < inf:
            number = request.wakes
            self.at(step.wake_at, lambda: self._wake(request, number))

    def _wake(self, request: _Request, number: int) -> None:
        if number == request.wakes:
            self._do(request, request.call.woken(self.now))

    def _send(self, request: _Request, attempt: Try) -> None:
        self.attempts += 1
        self.on_attempt()
        request.attempts += 1
        replica = self._by_key[attempt.cell.key]
        done = False

        def reply(outcome: Outcome) -> None:
            nonlocal done
            if not done:
                done = True
                self.at(self.now + NETWORK, lambda: self._do(request, self._ended(request, attempt, outcome)))

        def cut() -> None:
            nonlocal done
            if not done:
                done = True
                self._do(request, request.call.cut(attempt.number, True, self.now))

        if attempt.until < inf:
            self.at(attempt.until, cut)
        self.at(self.now + NETWORK, lambda: self._arrive(replica, reply))

    def _ended(self, request: _Request, attempt: Try, outcome: Outcome) -> Step:
        return request.call.ended(attempt.number, outcome, self.now)

    # Replicas.

    def _arrive(self, replica: Replica, reply: Callable[[Outcome], None]) -> None:
        if replica.is_dead:
            reply(UNREACHABLE)
            return
        replica.received += 1
        number = replica.received
        replica.open[number] = reply
        if replica.hangs:
            return
        if replica.busy < replica.workers:
            self._work(replica, number)
        else:
            replica.queue.append(lambda: self._work(replica, number))

    def _work(self, replica: Replica, number: int) -> None:
        replica.busy += 1
        life = replica.life
        fails_in = replica.fails_in
        seconds = replica.service_time(self.rng) if fails_in is None else fails_in
        outcome = OK if fails_in is None else _ERROR
        self.at(self.now + seconds, lambda: self._finish(replica, number, life, outcome))

    def _finish(self, replica: Replica, number: int, life: int, outcome: Outcome) -> None:
        if life != replica.life:
            return
        replica.busy -= 1
        replica.answered += 1
        replica.open.pop(number)(outcome)
        if replica.queue:
            replica.queue.popleft()()
