"""The forwarder: asks outside for all workers. One process, one thread, one loop.

    workers -> Asks -> Desk: resolver (cache, flights, fairness) -> upstreams -> resolver -> Tolds -> workers

It never waits: a worker that does not read what it is told loses that, and it is counted. Upstreams that a
resolv.conf names change with it: the cache stays, and what is under way then is finished by those who began it. Not
here: what is asked of whom, and kept (kdns.forward), the worker's end (kdns.server.asking).
"""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

import msgspec
import uvloop

from kdns.forward.groups import inherit
from kdns.forward.resolver import Resolver
from kdns.forward.values import GroupSpec, Limits, UpstreamSpec
from kdns.observe.logs import Log
from kdns.server.asking import BATCH_MAX, MESSAGE_OCTETS_MAX, Tolds, decode_asks, encode
from kdns.server.desk import Desk
from kdns.server.draws import Draws
from kdns.server.forwarding import GroupPlan, files_of, group_specs, settings_of
from kdns.server.nameservers import POLL_SECONDS, NameserverFiles
from kdns.server.probes import PROBER, Probes
from kdns.server.process import EXIT_ERROR, EXIT_OK
from kdns.server.report import Board, Report, combined, report_of, with_connections
from kdns.server.slots import Slot, SlotState
from kdns.server.upstream_stream import SILENCE_SECONDS
from kdns.server.upstreams import Manners
from kdns.wire.outside import Ask, Told

HEARTBEAT_SECONDS = 0.2  # a fifth of what the supervisor bears
COUNTERS_SECONDS = 1.0
READS_MAX = 2  # messages of one worker at one event, of up to 64 questions each: the loop goes round in milliseconds
BATCH_OCTETS = 32 * 1024  # told in one message, if it is more than one reply: a seventh of the socket's buffer
DRAIN_SECONDS = 1.0  # for what is under way when the end comes: most upstreams answer in less
DRAIN_POLL_SECONDS = 0.02
FORMER_SECONDS = 5.0  # for what was under way when upstreams changed: the resolver's patience, and a little more
TROUBLE_SECONDS = 60.0  # between two lines about the same trouble with an upstream
_MALFORMED = "malformed"
TROUBLES_MAX = 256  # kept apart; texts come from certificates, and so from others
# Nothing in kdns.forward makes reference cycles; connections and their tasks do, seldom. With the default of 700,
# collections would look at the whole cache all the time.
_GC_THRESHOLDS = (20_000, 20, 100)
_WORKER_BITS = 16  # a worker to the resolver: the incarnation, then so many bits for the slot


class Count(IntEnum):
    """The counters of a forwarder's slot."""

    ASKED = 0  # questions that workers have handed over
    TOLD = 1
    DROPPED = 2  # told to nobody: the worker did not read
    STRANGERS = 3  # replies that answer nothing, over UDP
    NO_ROOM = 4  # messages that were not sent, because too many are under way


COUNTS = len(Count)
LIMITS = Limits()
PROBE_AGAIN = signal.SIGUSR2  # from the supervisor: other processes read the queries now
_SIGNALS = frozenset((signal.SIGTERM, PROBE_AGAIN))


@dataclass(frozen=True, slots=True)
class ForwarderPlan:
    """What a forwarder is given at its birth.

    groups: one for each site. feeds: its end of each worker slot's socket pair. board: for its report.
    """

    groups: Sequence[GroupPlan]
    feeds: Sequence[socket.socket]
    slot: Slot
    board: Board
    log: Log
    limits: Limits = LIMITS


def run_forwarder(plan: ForwarderPlan) -> int:
    """Forward until SIGTERM. Returns the exit status."""
    gc.set_threshold(*_GC_THRESHOLDS)
    # The loop hears of signals only while it runs: one that comes before that has to wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, _SIGNALS)
    forwarder = Forwarder(plan, loop)
    loop.add_signal_handler(signal.SIGTERM, forwarder.drain)
    loop.add_signal_handler(PROBE_AGAIN, forwarder.look_for_loops)
    loop.set_exception_handler(forwarder.report_exception)
    forwarder.start()
    loop.run_forever()
    return forwarder.status


def make_resolver(groups: Mapping[int, GroupSpec], limits: Limits) -> Resolver:
    """A resolver whose chance is the operating system's: what it draws must not be guessed."""
    return Resolver(groups, limits, Draws(), time.monotonic())


class Forwarder:
    """The state of a forwarder process. resolving: makes the resolver of some groups."""

    def __init__(
        self,
        plan: ForwarderPlan,
        loop: asyncio.AbstractEventLoop,
        resolving: Callable[[Mapping[int, GroupSpec], Limits], Resolver] = make_resolver,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._log = plan.log
        self._slot = plan.slot
        self._resolving = resolving
        self._counts = list(plan.slot.counters)  # where the former forwarder left them
        self._reported = plan.board.read()  # what resolvers that are gone have counted
        self._files = NameserverFiles(files_of(plan.groups), self._log.warning)
        self._buffer = memoryview(bytearray(MESSAGE_OCTETS_MAX))
        self._told: dict[int, list[Told]] = {}  # by worker, until the end of this turn of the loop
        self._troubles: dict[tuple[UpstreamSpec, str], float] = {}
        self._former: list[Desk[Resolver]] = []
        self._probes = Probes(
            [(number, group.loop) for number, group in enumerate(plan.groups) if group.loop], Draws()
        )
        self._probing: asyncio.TimerHandle | None = None
        self.status = EXIT_OK
        self._strangers = 0
        self._files.look()
        self._desk = self._new_desk()

    def start(self) -> None:
        """Hear the workers."""
        self._beat()
        self._save_counters()
        self._desk.start()
        for index, feed in enumerate(self._plan.feeds):
            self._loop.add_reader(feed.fileno(), self._on_feed, index, feed)
        if self._files.servers:
            self._loop.call_later(POLL_SECONDS, self._look_at_files)
        self._slot.state = SlotState.READY
        self.look_for_loops()

    def drain(self) -> None:
        """Finish what is under way, for a moment, and go. The workers ask nothing more by then."""
        if self._slot.state is not SlotState.DRAINING:
            self._slot.state = SlotState.DRAINING
            self._await_replies(time.monotonic() + DRAIN_SECONDS)

    def close(self) -> None:
        """Let go of everything but the feeds."""
        for feed in self._plan.feeds:
            self._loop.remove_reader(feed.fileno())
        for desk in (self._desk, *self._former):
            desk.close()
        if self._probing is not None:
            self._probing.cancel()

    def report_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that a callback let through: a bug of ours; the loop goes on."""
        error = context.get("exception")
        trace = "".join(traceback.format_exception(error)) if error else str(context.get("message"))
        self._log.error(f"forwarder: kdns bug: {trace}")

    # Workers

    def _on_feed(self, index: int, feed: socket.socket) -> None:
        for _ in range(READS_MAX):
            try:
                size = feed.recv_into(self._buffer)
            except BlockingIOError:
                return
            if not size:  # nobody holds the other end: the supervisor is gone, and so are we in a moment
                self._loop.remove_reader(feed.fileno())
                return
            try:
                message = decode_asks(self._buffer[:size])
            except msgspec.MsgspecError as error:
                self._log.error(f"kdns bug: a message of worker {index} does not decode: {error}")
                continue
            worker = message.incarnation << _WORKER_BITS | index
            self._counts[Count.ASKED] += len(message.asks)
            for shed in message.shed:
                self._desk.resolver.shed_before(shed.client, shed.reason, shed.count)
            for ask in message.asks:
                if self._probes.expects(ask) and self._is_loop(ask):
                    return
                self._desk.ask(worker, ask)
            if len(message.asks) < BATCH_MAX:
                return  # most likely it was the last one; the loop tells if not

    def _tell(self, worker: int, told: Told) -> None:
        if worker == PROBER:
            self._probes.told(told, time.monotonic())
            self._set_probing()
            return
        if not self._told:
            self._loop.call_soon(self._flush)
        self._told.setdefault(worker, []).append(told)

    def _flush(self) -> None:
        """Send what this turn of the loop has brought."""
        told, self._told = self._told, {}
        for worker, tolds in told.items():
            batch: list[Told] = []
            octets = 0
            for one in tolds:
                octets += len(one.body)
                if batch and octets > BATCH_OCTETS:
                    self._send(worker, batch)
                    batch, octets = [], len(one.body)
                batch.append(one)
            self._send(worker, batch)

    def _send(self, worker: int, tolds: list[Told]) -> None:
        message = encode(Tolds(worker >> _WORKER_BITS, tuple(tolds)))
        try:
            self._plan.feeds[worker & (1 << _WORKER_BITS) - 1].send(message)
        except OSError:  # it is full: the worker will have given up on them by the time it reads
            self._counts[Count.DROPPED] += len(tolds)
        else:
            self._counts[Count.TOLD] += len(tolds)

    # Loops

    def look_for_loops(self) -> None:
        """Find out whether what is forwarded comes back, where `loop` asks for it."""
        self._probes.begin(time.monotonic())
        self._set_probing()

    def _set_probing(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        wake_at = self._probes.wake_at
        self._probing = None
        if wake_at < math.inf:
            self._probing = self._loop.call_later(max(0.0, wake_at - time.monotonic()), self._probe)

    def _probe(self) -> None:
        self._probing = None
        for ask in self._probes.wake(time.monotonic()):
            self._desk.ask(PROBER, ask)
        self._set_probing()

    def _is_loop(self, ask: Ask) -> bool:
        """A probe has come back. If that is a loop, it is the end."""
        complaint = self._probes.saw(ask, time.monotonic())
        if complaint:
            self._give_up(complaint)
        self._set_probing()
        return bool(complaint)

    def _give_up(self, complaint: str) -> None:
        """End, and all of kdns with us: each query for outside would go round until its time is over."""
        self._log.error(complaint)
        self._log.flush(patience_ms=1000)
        self._copy_counters()
        self.status = EXIT_ERROR
        self._loop.stop()

    # Upstreams

    def _new_desk(self) -> Desk[Resolver]:
        plans, servers = self._plan.groups, self._files.servers
        specs = group_specs(plans, servers)
        groups = {number: group for number, group in enumerate(specs) if group.forwards}
        manners = {
            upstream: Manners(
                line.spec.expire, line.idle_max, line.trust, line.max_age,
                silence=max(SILENCE_SECONDS, line.spec.read_timeout),
            )
            for upstream, line in settings_of(plans, servers).items()
        }
        resolver = self._resolving(groups, self._plan.limits)
        return Desk(self._loop, resolver, manners, self._tell, self._on_trouble)

    def _look_at_files(self) -> None:
        self._loop.call_later(POLL_SECONDS, self._look_at_files)
        if self._files.look():
            former, self._desk = self._desk, self._new_desk()
            inherit(self._desk.resolver.groups, former.resolver.groups)
            self._desk.start()
            self._former.append(former)
            self._loop.call_later(FORMER_SECONDS, partial(self._forget, former))
            self._log.info(f"forwarder: {', '.join(self._files.servers)}: other servers are asked from now on")
            self.look_for_loops()

    def _forget(self, former: Desk[Resolver]) -> None:
        self._note_tallies(former)
        self._reported = combined(self._reported, _report([former], 0))
        self._former.remove(former)
        former.close()

    def _on_trouble(self, upstream: UpstreamSpec, text: str) -> None:
        if self._is_news(upstream, text):
            self._log.error(
                f"tls://{upstream.host}:{upstream.port} ({upstream.server_name}): no TLS connection: {text}"
            )

    def _tell_of_malformed(self, desk: Desk[Resolver]) -> None:
        for one in desk.resolver.upstreams:
            if one.malformed and self._is_news(one.spec, _MALFORMED):
                where = f"{one.spec.host}:{one.spec.port}"
                self._log.error(f"{where}: {one.malformed} replies were {_MALFORMED}, and are not passed on")
                one.malformed = 0

    def _is_news(self, upstream: UpstreamSpec, trouble: str) -> bool:
        """Whether it was not told for a while."""
        now, key = time.monotonic(), (upstream, trouble)
        if now - self._troubles.get(key, -TROUBLE_SECONDS) < TROUBLE_SECONDS:
            return False
        if len(self._troubles) >= TROUBLES_MAX:
            self._troubles.clear()
        self._troubles[key] = now
        return True

    # Time

    def _beat(self) -> None:
        self._slot.heartbeat_ns = time.monotonic_ns()
        self._log.flush()
        self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _save_counters(self) -> None:
        self._copy_counters()
        self._loop.call_later(COUNTERS_SECONDS, self._save_counters)

    def _copy_counters(self) -> None:
        for desk in (self._desk, *self._former):
            self._note_tallies(desk)
            self._tell_of_malformed(desk)
        for index, count in enumerate(self._counts):
            self._slot.counters[index] = count
        desks = (*self._former, self._desk)
        report = _report(desks, sum(len(desk.upstreams) for desk in desks))
        report = msgspec.structs.replace(report, strangers=self._strangers)
        self._plan.board.write(combined(self._reported, report))

    def _note_tallies(self, desk: Desk[Resolver]) -> None:
        tallies = desk.upstreams.tallies
        self._counts[Count.STRANGERS] += tallies.strangers
        self._strangers += tallies.strangers
        self._counts[Count.NO_ROOM] += tallies.no_room
        tallies.strangers = tallies.no_room = 0

    def _await_replies(self, deadline: float) -> None:
        is_busy = self._told or any(len(desk.upstreams) for desk in (self._desk, *self._former))
        if is_busy and time.monotonic() < deadline:
            self._loop.call_later(DRAIN_POLL_SECONDS, self._await_replies, deadline)
            return
        self._copy_counters()
        self._log.flush()
        self._loop.stop()


def _report(desks: Sequence[Desk[Resolver]], in_flight: int) -> Report:
    """What some desks have counted together."""
    report = report_of([desk.resolver for desk in desks], in_flight)
    for desk in desks:
        report = with_connections(report, desk.upstreams.connections())
    return report
