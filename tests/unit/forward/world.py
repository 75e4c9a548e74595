"""A world for the resolver of kdns.forward: upstreams that do as they are told, on a clock that is a number."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random

import msgspec

from kdns.forward.resolver import Resolver
from kdns.forward.values import Action, Cancel, Fault, GroupSpec, Limits, Send, Tell, Transport
from kdns.wire.iana import Rcode
from kdns.wire.outside import Ask, Told
from tests.unit.forward.messages import address, nxdomain, reply

# What an upstream does with a message: seconds, and then a reply, a fault, or nothing at all.
Deed = tuple[float, bytes | Fault | None]
Behaviour = Callable[[Send, "World"], Deed]


class World:
    """Runs one resolver. behaviours: of the upstreams by host, which tests may change as time goes on."""

    def __init__(
        self,
        behaviours: dict[str, Behaviour],
        *groups: GroupSpec,
        limits: Limits | None = None,
        seed: int = 1,
    ) -> None:
        self.rng = Random(seed)
        self.limits = limits or Limits()
        self.resolver = Resolver(dict(enumerate(groups)), self.limits, Random(seed), 0.0)
        self.behaviours = behaviours
        self.now = 0.0
        self.sent: list[tuple[float, str, Send]] = []
        self.told: list[tuple[float, int, Told]] = []
        self.serial = 0
        self.answers: dict[bytes, tuple[bytes, int]] = {}  # by RDATA: folded question and TTL
        self.after: Callable[[], None] = lambda: None
        self._open: dict[int, Send] = {}
        self._events: list[tuple[float, int, Callable[[], list[Action]]]] = []
        self._taken = 0

    def at(self, when: float, event: Callable[[], list[Action]]) -> None:
        """Something happens then."""
        self._taken += 1
        heappush(self._events, (when, self._taken, event))

    def ask(self, ask: Ask, when: float | None = None, worker: int = 0) -> None:
        """A worker asks, now unless it is said when."""
        self.at(self.now if when is None else when, lambda: self.resolver.ask(worker, ask, self.now))

    def run(self, until: float) -> None:
        """Let time go on."""
        while (due := self._next_due()) <= until:
            self.now = max(self.now, due)
            if self._events and self._events[0][0] <= self.now:
                self._do(heappop(self._events)[2]())
            else:
                self._do(self.resolver.wake(self.now))
            self.after()
        self.now = until

    def answer_to(self, send: Send, ttl: int = 300) -> bytes:
        """An address that was never told before."""
        self.serial += 1
        rdata = self.serial.to_bytes(4, "big")
        self.answers[rdata] = (send.question[:-4].lower() + send.question[-4:], ttl)
        return address(send.question, ttl, rdata)

    def tells(self) -> list[Told]:
        return [told for _, _, told in self.told]

    def asked_of(self, host: str) -> list[float]:
        """When an upstream was asked something other than a probe."""
        probes = {one.care.question for one in self.resolver.upstreams}
        return [when for when, to, send in self.sent if to == host and send.question not in probes]

    def _next_due(self) -> float:
        return min(self._events[0][0] if self._events else float("inf"), self.resolver.wake_at)

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Tell):
                self.told.append((self.now, action.worker, action.told))
            elif isinstance(action, Cancel):
                del self._open[action.token]
            else:
                self._send(action)

    def _send(self, send: Send) -> None:
        host = self.resolver.upstreams[send.upstream].spec.host
        self.sent.append((self.now, host, send))
        assert send.token not in self._open
        self._open[send.token] = send
        after, what = self.behaviours[host](send, self)
        if what is None or after >= send.timeout:
            after, what = send.timeout, Fault.TIMEOUT
        self.at(self.now + after, lambda: self._arrived(send.token, what))

    def _arrived(self, token: int, what: bytes | Fault) -> list[Action]:
        if self._open.pop(token, None) is None:
            return []
        if isinstance(what, Fault):
            return self.resolver.failed(token, what, self.now)
        return self.resolver.replied(token, what, self.now)


def good(rtt: float = 0.01, ttl: int = 300) -> Behaviour:
    return lambda send, world: (rtt, world.answer_to(send, ttl))


def dead(send: Send, world: World) -> Deed:
    return 0.0, None


def faulty(fault: Fault, after: float = 0.0) -> Behaviour:
    return lambda send, world: (after, fault)


def lossy(share: float, rtt: float = 0.01, ttl: int = 300) -> Behaviour:
    return lambda send, world: (rtt, world.answer_to(send, ttl) if world.rng.random() >= share else None)


def saying(rcode: int, rtt: float = 0.01) -> Behaviour:
    return lambda send, world: (rtt, reply(send.question, rcode=rcode))


def denying(rtt: float = 0.01, ttl: int = 60) -> Behaviour:
    return lambda send, world: (rtt, nxdomain(send.question, ttl))


def only_over_tcp(fault: Fault, rtt: float = 0.01) -> Behaviour:
    def behave(send: Send, world: World) -> Deed:
        return rtt, fault if send.transport is Transport.UDP else world.answer_to(send)

    return behave


def without_edns(send: Send, world: World) -> Deed:
    return 0.01, Fault.NO_EDNS if send.with_edns else world.answer_to(send)


def lying(send: Send, world: World) -> Deed:
    """The answer to another question, as a broken or hostile upstream gives it."""
    return 0.01, world.answer_to(msgspec.structs.replace(send, question=b"\x04evil" + send.question))


def garbled(send: Send, world: World) -> Deed:
    return 0.01, world.answer_to(send)[: world.rng.randrange(80)]


def servfail(send: Send, world: World) -> Deed:
    return 0.01, reply(send.question, rcode=Rcode.SERVFAIL)


@contextmanager
def no_garbage() -> Iterator[None]:
    """Fails if what is done in it leaves reference cycles of kdns.forward's objects behind."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found = {type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("kdns.forward")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found
