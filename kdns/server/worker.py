"""A worker: one thread, one loop, queries in and replies out; everything else happens in between, in short slices.

It follows control (kdns.server.feed), reads queries once its first image is whole, goes on answering while
there is no control, and tells its slot that it is alive. Not here: what is answered (kdns.answer), reading
datagrams (kdns.server.udp) and streams (kdns.server.tcp).
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import uvloop

from kdns.answer.cookies import Cookies
from kdns.answer.engine import Engine
from kdns.answer.guard import Protection
from kdns.answer.ratelimit import RateLimiter, share
from kdns.answer.spec import ClusterSpec, Specification
from kdns.observe.logs import Log
from kdns.observe.querylog import Exchange
from kdns.observe.sampling import NAMESPACE_WORDS, NamespaceSampler
from kdns.observe.tally import Tally
from kdns.server.asking import Asker
from kdns.server.assembly import Plan
from kdns.server.errorlog import Errors
from kdns.server.feed import (
    MAX_MESSAGE_OCTETS,
    Acknowledge,
    Change,
    Follower,
    Hello,
    MalformedMessage,
    Verdict,
    decode_from_control,
    encode,
)
from kdns.server.guarding import GuardTally
from kdns.server.labels import labels_of
from kdns.server.loading import Steps, load
from kdns.server.parcel import unpack, unpack_file
from kdns.server.process import EXIT_BUG, EXIT_ERROR, EXIT_OK
from kdns.server.slots import Slot, SlotState
from kdns.server.sockets import TCP_BACKLOG, BindError, SlotSockets
from kdns.server.tcp import (
    DEFAULT_LIMITS,
    Connections,
    MeteredResponder,
    ObservedResponder,
    TcpLimits,
    Transfer,
    listen,
    observed_transfer,
)
from kdns.server.udp import UdpServer
from kdns.server.waiting import Observer, hand_over

HEARTBEAT_SECONDS = 0.2  # a fifth of what the supervisor bears
COUNTERS_SECONDS = 1.0
TICK_SECONDS = 1.0  # TTLs of replies from outside count down in whole seconds
SLICE_SECONDS = 0.0005  # loading between two looks at the sockets: with one part on top it stays under 1 ms
FIRST_SLICE_SECONDS = 0.05  # before the sockets are read, only the heartbeat is waiting
ASK_AGAIN_SECONDS = 1.0  # after a change that could not be loaded, so that a bug does not become a busy loop
DRAIN_SECONDS = 3.0  # for connections that are in the middle of a query, and replies that are not taken yet
DRAIN_UDP_SECONDS = 1.0  # a queue of 4 MiB is empty after 0.05 s; more arrives while it is read
DRAIN_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ForwarderLink:
    """How a worker reaches the forwarder: the worker's end of a socket pair, and the forwarder's slot."""

    feed: socket.socket
    slot: Slot


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker is given at its birth.

    feed: the worker's end of its slot's socket pair with control. forwarder: None where nothing is forwarded.
    workers: how many there are.
    """

    plan: Plan
    sockets: Sequence[SlotSockets]
    feed: socket.socket
    slot: Slot
    log: Log
    limits: TcpLimits = DEFAULT_LIMITS
    forwarder: ForwarderLink | None = None
    workers: int = 1


def run_worker(plan: WorkerPlan) -> int:
    """Answer until SIGTERM. Returns the exit status."""
    gc.disable()  # a collection would stop answering for milliseconds; nothing here makes cycles that matter
    # The loop hears of signals only while it runs: one that comes before that has to wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    loop = uvloop.new_event_loop()
    loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
    worker = Worker(plan, loop)
    loop.add_signal_handler(signal.SIGTERM, worker.drain)
    loop.set_exception_handler(worker.report_exception)
    worker.start()
    loop.run_forever()
    return worker.status


class Worker:
    """The state of a worker process."""

    def __init__(self, plan: WorkerPlan, loop: asyncio.AbstractEventLoop) -> None:
        self._plan = plan
        self._loop = loop
        self._log = plan.log
        self._slot = plan.slot
        labels = labels_of(plan.plan)
        layout = labels.layout
        self._tally = Tally(layout, plan.slot.counters[: layout.words])
        self._sampler = _sampler(plan.plan.specification, plan.slot.counters[layout.words :])
        negative_ttl = plan.plan.settings.negative_ttl
        self._engine = Engine(
            plan.plan.specification, self._tally, Random(), self._report_failure, negative_ttl,
            protection=_protection(plan),
        )  # fmt: skip
        after_namespaces = plan.slot.counters[layout.words + NAMESPACE_WORDS :]
        self._guard_tally = GuardTally(labels.guards, self._engine, after_namespaces)
        self._incarnation = plan.slot.incarnation
        link = plan.forwarder
        client_max = share(plan.plan.settings.client_queries, plan.workers)
        self._asker = Asker(loop, link.feed, link.slot, self._incarnation, client_max=client_max) if link else None
        self._errors = Errors(plan.plan.errors, plan.log, plan.plan.is_debugging)
        self._outside = self._errors.around(self._asker) if self._asker is not None else None
        self._connections = Connections(loop, plan.limits, self._outside)
        self._follower = Follower()
        self._unsent: dict[type, bytes] = {}  # the latest Hello and Acknowledge that control's socket did not take
        self._steps: Steps | None = None
        self._loading: Change | None = None
        self._is_listening = False  # to control
        self._udp: list[tuple[socket.socket, UdpServer]] = []
        self._tcp: list[asyncio.AbstractServer] = []
        self._opening: asyncio.Task[None] | None = None
        self._is_draining = False
        self.status = EXIT_OK

    def start(self) -> None:
        """Ask control for the image; the rest follows from what it sends."""
        self._forget_leftovers()
        self._beat()
        self._save_counters()
        self._listen(True)
        self._ask()
        if self._asker is not None:
            self._asker.start()
            self._tick()

    def report_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that a callback let through: a bug of ours; the loop goes on."""
        error = context.get("exception")
        trace = "".join(traceback.format_exception(error)) if error else str(context.get("message"))
        self._log.error(f"worker {self._slot.index}: kdns bug: {trace}")

    def drain(self) -> None:
        """Answer what has arrived and stop."""
        if self._is_draining:
            return
        self._is_draining = True
        deadline = time.monotonic() + DRAIN_UDP_SECONDS
        for sock, udp in self._udp:
            _empty(sock, udp, deadline)
            self._loop.remove_reader(sock.fileno())
        self._slot.state = SlotState.DRAINING
        # Connections that wait to be accepted, and what has arrived on those that are, come first.
        self._loop.call_later(DRAIN_POLL_SECONDS, self._drain_connections)

    def _drain_connections(self) -> None:
        for server in self._tcp:
            server.close()
        self._connections.drain()
        self._await_clients(time.monotonic() + DRAIN_SECONDS)

    def _await_clients(self, deadline: float) -> None:
        is_done = not len(self._connections) and not any(udp.waiting for _, udp in self._udp)
        if not is_done and time.monotonic() < deadline:
            self._loop.call_later(DRAIN_POLL_SECONDS, self._await_clients, deadline)
            return
        if self._asker is not None:
            self._asker.stop()  # who still waits hears SERVFAIL, rather than nothing
        self._connections.abort_all()
        self._fold_counters()
        self._errors.finish()
        self._log.flush()
        self._loop.stop()

    def _beat(self) -> None:
        self._slot.heartbeat_ns = time.monotonic_ns()
        self._errors.tick()
        self._log.flush()
        for kind in list(self._unsent):
            self._send(kind, self._unsent.pop(kind))
        self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _save_counters(self) -> None:
        self._fold_counters()
        self._loop.call_later(COUNTERS_SECONDS, self._save_counters)

    def _tick(self) -> None:
        """Let what is kept from outside age, and ask again for what is asked often."""
        for pending in self._engine.tick(int(time.monotonic())):
            hand_over(self._asker, pending, _forget)
        if self._engine.is_behind:
            self._loop.call_soon(self._tick)
        else:
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _fold_counters(self) -> None:
        self._tally.fold()
        self._guard_tally.fold()
        if self._sampler is not None:
            self._sampler.fold()
        if self._asker is not None:
            self._tally.unasked(self._asker.take_refused())

    def _forget_leftovers(self) -> None:
        """What was sent to the worker that had this slot before would only be loaded twice."""
        while True:
            try:
                _, fds, _, _ = socket.recv_fds(self._plan.feed, MAX_MESSAGE_OCTETS, 1)
            except BlockingIOError:
                return
            _close_fds(fds)

    def _ask(self) -> None:
        self._send(Hello, encode(Hello(self._incarnation)))

    def _send(self, kind: type, message: bytes) -> None:
        """Send to control, or at a later heartbeat; never wait."""
        try:
            self._plan.feed.send(message)
        except BlockingIOError:
            self._unsent[kind] = message

    def _listen(self, is_wanted: bool) -> None:
        """Hear what control sends, or leave it in the socket."""
        if is_wanted and not self._is_listening:
            self._loop.add_reader(self._plan.feed.fileno(), self._on_feed)
        elif self._is_listening and not is_wanted:
            self._loop.remove_reader(self._plan.feed.fileno())
        self._is_listening = is_wanted

    def _on_feed(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._plan.feed, MAX_MESSAGE_OCTETS, 1)
        except BlockingIOError:
            return
        try:
            change = decode_from_control(data)
        except MalformedMessage as error:
            _close_fds(fds)
            self._lose_place(error)
            return
        verdict = self._follower.judge(change)
        if verdict is Verdict.LOAD:
            self._begin_loading(change, fds)
            return
        _close_fds(fds)
        if verdict is Verdict.ASK:
            self._follower.lost()
            self._ask()

    def _begin_loading(self, change: Change, fds: list[int]) -> None:
        """Load a change."""
        self._loading = change
        try:
            parts = unpack(change.parcel) if change.parcel is not None else unpack_file(fds[0])
        except Exception as error:
            self._lose_place(error)
            return
        self._steps = load(self._engine, change, parts)
        self._load_more()

    def _load_more(self) -> None:
        """Take steps for one slice of time. Most changes are loaded then; else the next one stays in the socket."""
        steps, change = self._steps, self._loading
        if steps is None or change is None:
            return
        end = time.perf_counter() + (SLICE_SECONDS if self._udp else FIRST_SLICE_SECONDS)
        try:
            for _ in steps:
                if time.perf_counter() > end:
                    self._listen(False)
                    self._loop.call_soon(self._load_more)
                    return
        except Exception as error:  # whatever it is, it is ours, and an image makes up for it
            self._lose_place(error)
            return
        self._finish_loading(change)

    def _finish_loading(self, change: Change) -> None:
        self._steps = self._loading = None
        self._follower.loaded(change)
        self._listen(True)
        if self._udp or self._is_draining:
            self._acknowledge(change)
        else:
            self._opening = self._loop.create_task(self._open(change))
            self._opening.add_done_callback(self._check_opened)

    async def _open(self, change: Change) -> None:
        """Begin to read queries."""
        for sockets in self._plan.sockets:
            sockets.open()
            responder = self._engine.responder(sockets.listener)
            observe = self._observer(sockets)
            family = 6 if sockets.udp.family == socket.AF_INET6 else 4
            meters = [self._tally.meter(sockets.listener, tcp, family) for tcp in (False, True)]
            metered = MeteredResponder(responder, meters[True], self._sampler)
            over_tcp = metered if observe is None else ObservedResponder(metered, observe)
            transfer: Transfer | None = metered.transfer if responder.transfers else None
            if transfer is not None and observe is not None:
                transfer = observed_transfer(transfer, observe)
            self._tcp.append(await listen(self._connections, sockets.tcp, over_tcp, TCP_BACKLOG, transfer))
            udp = UdpServer(
                sockets.udp,
                responder,
                sockets.address.is_wildcard,
                observe,
                self._outside,
                meters[False],
                self._sampler,
            )
            self._udp.append((sockets.udp, udp))
            self._loop.add_reader(sockets.udp.fileno(), udp.on_readable)
        self._slot.state = SlotState.READY
        os.kill(os.getppid(), signal.SIGCHLD)  # there is news of a child: the supervisor need not wait for its tick
        self._acknowledge(change)

    def _observer(self, sockets: SlotSockets) -> Observer | None:
        """What writes the query log of a listener, None where nothing is to be logged."""
        query_log = self._plan.plan.query_logs[sockets.listener]

        def observe(exchange: Exchange) -> None:
            entry = query_log.entry(exchange._replace(local=sockets.address.host))
            if entry is not None:
                self._log.info(entry.text, entry.fields)

        return None if query_log.is_silent else observe

    def _check_opened(self, opening: asyncio.Task[None]) -> None:
        error = opening.exception()
        if isinstance(error, BindError):  # somebody has taken the port, or a part of it, since it was reserved
            self._log.error(str(error))
            self.status = EXIT_ERROR
            self._loop.stop()
        elif error is not None:  # no memory, no descriptors: let the supervisor try again
            self._log.error(f"worker {self._slot.index} cannot read queries: {error!r}")
            self.status = EXIT_BUG
            self._loop.stop()

    def _acknowledge(self, change: Change) -> None:
        message = Acknowledge(self._incarnation, change.epoch, change.generation)
        self._send(Acknowledge, encode(message))

    def _lose_place(self, error: Exception) -> None:
        """A change cannot be loaded: a bug of ours. What is answered stays; the whole is asked for again."""
        self._log.error(f"worker {self._slot.index}: kdns bug: a change from control cannot be loaded: {error!r}")
        self._steps = self._loading = None
        self._follower.lost()
        self._listen(True)
        self._loop.call_later(ASK_AGAIN_SECONDS, self._ask)

    def _report_failure(self, error: Exception, query: bytes) -> None:
        self._tally.panicked()
        where = "".join(traceback.format_exception(error)) if self._plan.plan.with_traces else repr(error)
        self._log.error(f"kdns bug: a query could not be answered: {where}; query: {query.hex()}")


def _protection(plan: WorkerPlan) -> Protection:
    """What guards all listeners: the cookies of the configuration, and this worker's share of the rate limit."""
    secrets, rate = plan.plan.secrets, plan.plan.settings.rrl
    return Protection(
        Cookies(secrets) if secrets else None,
        RateLimiter(share(rate, plan.workers)) if rate else None,
        time.time,
    )


def _sampler(specification: Specification, words: memoryview) -> NamespaceSampler | None:
    """Who looks for namespaces, where there is a cluster."""
    clusters = [spec for spec in specification.sources if isinstance(spec, ClusterSpec)]
    apexes = [apex for spec in clusters for apex in spec.zones]
    return NamespaceSampler(apexes, words, Random()) if apexes else None


def _forget(_: bytes) -> None:
    """A reply that nobody waits for."""


def _empty(sock: socket.socket, udp: UdpServer, deadline: float) -> None:
    """Answer what waits in a socket."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while poll.poll(0) and time.monotonic() < deadline:
        udp.on_readable()


def _close_fds(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
