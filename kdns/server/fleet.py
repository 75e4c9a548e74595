"""One control, its workers and their forwarder: forked, watched, restarted, drained. Runs inside the supervisor.

A fleet serves one plan. A reload is a second fleet on the same sockets; when that one is ready, this one is
drained. There is a forwarder only where something is forwarded; it goes last, for workers that finish still wait for
it. The sockets, the socket pairs of the feed and the shared memory live as long as the fleet, so that nothing
queued or counted in them is lost with a process. `now` is CLOCK_MONOTONIC's, in seconds.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from kdns.forward.values import Limits
from kdns.observe.families import NAMESPACE_REQUESTS, Sample
from kdns.observe.logs import Log
from kdns.observe.sampling import NAMESPACE_WORDS, counts_of
from kdns.server import outside_metrics
from kdns.server.assembly import Plan
from kdns.server.birth import Birth
from kdns.server.control import ControlPlan, run_control
from kdns.server.forwarder import COUNTS, PROBE_AGAIN, ForwarderPlan, run_forwarder
from kdns.server.labels import groups_of, labels_of
from kdns.server.process import EXIT_ERROR, describe_status, enter, fork, is_stopped
from kdns.server.programming import programming_samples
from kdns.server.report import Board, Report
from kdns.server.restarts import SILENCE_SECONDS, Backoff, Watchdog
from kdns.server.slots import Serials, Slots, SlotState
from kdns.server.sockets import Address, Binding, SlotSockets
from kdns.server.status import Statuses, failed_reads, origins_of
from kdns.server.worker import ForwarderLink, WorkerPlan, run_worker

FEED_BUFFER_OCTETS = 256 * 1024  # a few messages of full size; a worker further behind is better off with an image
# A worker that died is replaced, and has loaded the largest image, in less. Half a server that leaves the rotation
# for a moment costs more than the queries that wait in the queue meanwhile.
SHORTFALL_SECONDS = 5.0


@dataclass(slots=True)
class Child:
    """One process and its restarts. `pid` is 0 while there is none, and then it is due at `due`."""

    name: str
    start: Callable[[], int]
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)


class Fleet:
    """See the module's docstring. `bindings` holds what the plan listens on. `birth`: START, or RELOAD.

    former: the state of all sources in the fleet that is to be replaced, at a reload.
    """

    def __init__(
        self,
        plan: Plan,
        bindings: Mapping[Address, Binding],
        workers: int,
        serials: Serials,
        birth: Birth,
        log: Log,
        former: Statuses | None = None,
    ) -> None:
        self.plan = plan
        self.bindings = bindings
        labels = labels_of(plan)
        self._layout, self._guards = labels.layout, labels.guards
        self._groups = groups_of(plan)
        self.slots = Slots(workers, self._layout.words + NAMESPACE_WORDS + self._guards.words)
        self.forwarder_slot = Slots(1, COUNTS)[0]
        self._board: Board | None = None  # from the first forwarder on
        self.statuses = Statuses(origins_of(plan.sources))
        self.is_leaving = False
        self._is_forwarder_dismissed = False
        self._was_ready = False
        self._birth = birth
        self._former = former
        self._short_since: float | None = None
        self._log = log
        self._feeds = [_feed_pair() for _ in range(workers)]
        self._outside = [_feed_pair() for _ in range(workers)] if plan.is_forwarding else []
        self._serials = serials
        self._epoch = 0
        self._stopped_since: float | None = None
        # Workers first: their Hello then waits when control is whole, and nobody is sent the image twice.
        self._control = Child("control", self._fork_control)
        self._forwarder = Child("forwarder", self._fork_forwarder)
        self._children = [
            *([self._forwarder] if plan.is_forwarding else []),
            *(Child(f"worker {index}", partial(self._fork_worker, index)) for index in range(workers)),
            self._control,
        ]

    @property
    def is_gone(self) -> bool:
        """Whether none of its processes is left."""
        return not any(child.pid for child in self._children)

    @property
    def was_ready(self) -> bool:
        """Whether all of its workers have read queries at some time."""
        return self._was_ready or self.slots.are_ready

    @property
    def has_stopped_reading(self) -> bool:
        """Whether none of its workers reads queries, but for connections that they have."""
        return all(not slot.pid or slot.state is SlotState.DRAINING for slot in self.slots)

    def counters(self) -> Counter[Sample]:
        """What its workers and forwarders have counted."""
        size = self._layout.words
        words = [sum(column) for column in zip(*(slot.counters[:size] for slot in self.slots), strict=True)]
        found = self._layout.samples(words)
        for slot in self.slots:
            for name, count in counts_of(slot.counters[size:]).items():
                found[Sample(NAMESPACE_REQUESTS, (name.decode("ascii", "replace"),))] += count
            found.update(self._guards.samples(slot.counters[size + NAMESPACE_WORDS :]))
        found.update(outside_metrics.counters(self.forwarder_report(), self._groups))
        found.update(programming_samples(self.statuses))
        found.update(failed_reads(self.statuses))
        return found

    def gauges(self) -> dict[Sample, float]:
        """How its forwarder is at this moment."""
        return outside_metrics.gauges(self.forwarder_report(), self._groups)

    def forwarder_report(self) -> Report:
        """What its forwarders have counted, and how their upstreams and caches are; of none, nothing."""
        return self._board.read() if self._board else Report()

    def shortfall(self, now: float) -> str:
        """Why its workers do not suffice, "" if they do. A loss counts after SHORTFALL_SECONDS."""
        reading = sum(slot.is_reading for slot in self.slots)
        is_short = reading < len(self.slots)
        is_borne = self.was_ready and now - (self._short_since or now) <= SHORTFALL_SECONDS
        return f"{reading} of {len(self.slots)} read queries" if is_short and not is_borne else ""

    def tick(self, now: float, watchdog: Watchdog) -> None:
        """Fork what is due and kill what is stuck."""
        self._short_since = None if self.slots.are_ready else self._short_since or now
        self._was_ready = self.was_ready
        for child in self._children:
            if not self.is_leaving and not child.pid and child.due <= now:
                child.pid, child.started = child.start(), now
        for slot in self.slots:
            if slot.pid and watchdog.is_silent(slot.heartbeat_ns / 1e9, now):
                self._log.error(f"worker {slot.index} (pid {slot.pid}) is stuck: it is killed and replaced")
                os.kill(slot.pid, signal.SIGKILL)
                slot.heartbeat_ns = time.monotonic_ns()  # one kill is enough; its end is awaited
        self._look_after_control(now)
        self._look_after_forwarder(now, watchdog)

    def _look_after_control(self, now: float) -> None:
        """Kill a control that somebody has stopped. It may be busy for long, so that silence alone proves nothing."""
        if not self._control.pid or not is_stopped(self._control.pid):
            self._stopped_since = None
            return
        since = self._stopped_since = self._stopped_since or now
        if now - since > SILENCE_SECONDS:
            self._log.error(f"control (pid {self._control.pid}) is stopped: it is killed and replaced")
            os.kill(self._control.pid, signal.SIGKILL)

    def _look_after_forwarder(self, now: float, watchdog: Watchdog) -> None:
        """Kill a forwarder that is stuck; let it go once no worker can wait for it any more."""
        slot = self.forwarder_slot
        if not slot.pid:
            return
        if watchdog.is_silent(slot.heartbeat_ns / 1e9, now):
            self._log.error(f"forwarder (pid {slot.pid}) is stuck: it is killed and replaced")
            os.kill(slot.pid, signal.SIGKILL)
            slot.heartbeat_ns = time.monotonic_ns()
        elif self.is_leaving and not self._is_forwarder_dismissed and not any(one.pid for one in self.slots):
            self._is_forwarder_dismissed = True
            os.kill(slot.pid, signal.SIGTERM)

    def on_exit(self, pid: int, status: int, now: float) -> bool:
        """Take note of a process that ended, if it is one of ours.

        True if it means that the configuration cannot be served, and there is no sense in another try: before all
        was answered control or a worker has said why, or at any time the forwarder, that what it forwards comes back.
        """
        child = next((child for child in self._children if child.pid == pid), None)
        if child is None:
            return False
        self._was_ready = self.was_ready  # as long as it can be seen
        child.pid = 0
        for slot in (*self.slots, self.forwarder_slot):
            if slot.pid == pid:
                slot.pid = 0
        if self.is_leaving:
            return False
        if child is self._control:
            self.statuses.lose_control(int(now * 1e9))
        if (child is self._forwarder or not self.was_ready) and os.waitstatus_to_exitcode(status) == EXIT_ERROR:
            return True
        delay = child.backoff.next_delay(now - child.started)
        child.due = now + delay
        self._report(child, pid, status, delay)
        return False

    def drain(self, is_replaced: bool = False) -> None:
        """Have the workers finish what they have and go; control writes its snapshot for the last time, and goes.

        is_replaced: another fleet has taken over. Its control keeps the snapshot from now on, and nobody is to write
        over it with what the old configuration asked for. The forwarder stays until the workers have gone.
        """
        self._signal_all(signal.SIGTERM, signal.SIGKILL if is_replaced else signal.SIGTERM)

    def look_for_loops(self) -> None:
        """Have the forwarder send its probes again: it is this fleet's workers now that they would come back to."""
        if self.forwarder_slot.pid and self.forwarder_slot.state is SlotState.READY:
            os.kill(self.forwarder_slot.pid, PROBE_AGAIN)

    def kill(self) -> None:
        """End all processes at once."""
        self._signal_all(signal.SIGKILL, signal.SIGKILL)
        if self._forwarder.pid:
            os.kill(self._forwarder.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the socket pairs. The bindings are the supervisor's to close: another fleet may use them."""
        for pair in (*self._feeds, *self._outside):
            for end in pair:
                end.close()

    def _signal_all(self, to_workers: signal.Signals, to_control: signal.Signals) -> None:
        self.is_leaving = True
        for child in self._children:
            if child.pid and child is not self._forwarder:
                os.kill(child.pid, to_control if child is self._control else to_workers)

    def _report(self, child: Child, pid: int, status: int, delay: float) -> None:
        then = f"restarted in {delay:g} s" if delay else "restarted"
        self._log.error(f"{child.name} (pid {pid}) {describe_status(status)}: {then}")

    def _fork_worker(self, index: int) -> int:
        slot = self.slots[index]
        slot.begin(time.monotonic_ns())
        own = self._slot_sockets(index)
        feed = self._feeds[index][1]
        link = ForwarderLink(self._outside[index][1], self.forwarder_slot) if self._outside else None
        plan = WorkerPlan(self.plan, own, feed, slot, self._log, forwarder=link, workers=len(self.slots))
        keep = {feed.fileno(), *(sock.fileno() for pair in own for sock in (pair.udp, pair.tcp))}
        keep |= {link.feed.fileno()} if link else set()

        def body() -> int:
            enter(f"kdns-worker-{index}", keep, self._log)
            return run_worker(plan)

        slot.pid = fork(body)
        return slot.pid

    def _fork_control(self) -> int:
        self._epoch += 1
        feeds = [pair[0] for pair in self._feeds]
        addresses = [address for address in self.plan.all_addresses if address in self.bindings]
        birth = Birth.RESTART if self.was_ready else self._birth
        plan = ControlPlan(
            plan=self.plan,
            addresses=addresses,
            feeds=feeds,
            slots=self.slots,
            serials=self._serials,
            statuses=self.statuses,
            epoch=self._epoch,
            birth=birth,
            former=self.statuses if birth is Birth.RESTART else self._former,
            log=self._log,
        )
        keep = {feed.fileno() for feed in feeds}

        def body() -> int:
            enter("kdns-control", keep, self._log)
            return run_control(plan)

        return fork(body)

    def _fork_forwarder(self) -> int:
        slot = self.forwarder_slot
        slot.begin(time.monotonic_ns())
        feeds = [pair[0] for pair in self._outside]
        self._board = board = self._board or Board()
        limits = Limits(client_in_flight=self.plan.settings.client_queries)
        plan = ForwarderPlan(self.plan.groups, feeds, slot, board, self._log, limits)
        keep = {feed.fileno() for feed in feeds}

        def body() -> int:
            enter("kdns-forwarder", keep, self._log)
            return run_forwarder(plan)

        slot.pid = fork(body)
        return slot.pid

    def _slot_sockets(self, slot: int) -> list[SlotSockets]:
        return [
            self.bindings[address].for_slot(slot, listener)
            for listener, group in enumerate(self.plan.addresses)
            for address in group
            if address in self.bindings  # the IPv6 wildcard is missing where there is no IPv6
        ]


def _feed_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEED_BUFFER_OCTETS)
    return pair
