"""The supervisor: PID 1, one thread around `select`. It binds, forks, watches, reloads, drains, says how it all is.

    start    addresses are reserved, the fleet is forked; a mistake in configuration or data ends all with status 1.
             Workers open their sockets when they can answer
    reload   SIGHUP, SIGUSR1, or a changed configuration where `reload` asks to look: a second fleet on the same
             sockets; the first goes when the second one is ready
    end      SIGTERM, SIGINT: lame duck (not ready, and otherwise as ever), if a time is set for it; then the fleet
             is drained, status 0. Each further signal goes on to the next step, the last of which is to end at once

It imports what its children need, so that they share that memory. Nobody else forks.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kdns.corefile import CorefileError
from kdns.observe.families import Sample
from kdns.observe.logs import Log
from kdns.server.admin import AdminPlan, AdminServer, OnEvent
from kdns.server.assembly import Plan
from kdns.server.birth import Birth
from kdns.server.fleet import Fleet
from kdns.server.pages import View, pages_of
from kdns.server.process import EXIT_ERROR, EXIT_OK
from kdns.server.readiness import Transitions
from kdns.server.reloading import ConfigurationWatch, Verdict, no_watch
from kdns.server.restarts import Watchdog
from kdns.server.sizing import MIB, Bound
from kdns.server.slots import Serials
from kdns.server.sockets import Address, BindError, Binding, bind_all

TICK_SECONDS = 0.25  # a death, or a worker that is ready, is heard of by signal; this is for silence and restarts
DRAIN_TICK_SECONDS = 0.02  # while a fleet leaves: connections that come when it accepts none any more wait so long
DRAIN_SECONDS = 5.0  # a worker takes at most 4; Kubernetes gives a pod 30
RELOAD_SECONDS = 120.0  # for the new fleet to read its data: the largest dumps take seconds
_TERMINATE = (signal.SIGTERM, signal.SIGINT)
_RELOAD = (signal.SIGHUP, signal.SIGUSR1)

Load = Callable[[], Plan]


class Supervisor:
    """`load` reads the configuration, now and at each reload; it raises CorefileError or OSError.

    watch: what `load` reads by; says when the configuration has changed by itself.
    """

    def __init__(self, load: Load, workers: Bound, log: Log, watch: ConfigurationWatch | None = None) -> None:
        self._load = load
        self._workers = workers
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._admin = AdminServer(self._selector, pages_of(self._view), log)
        self._admin_plan = AdminPlan()  # of the fleet that answers
        self._transitions = Transitions()
        self._counted: Counter[Sample] = Counter()  # by fleets that are gone
        self._serials = Serials()
        self._bindings: dict[Address, Binding] = {}
        self._current: Fleet | None = None
        self._incoming: Fleet | None = None
        self._incoming_since = 0.0
        self._replaced: Fleet | None = None  # one of `_leaving`, until it reads no queries any more
        self._leaving: list[Fleet] = []
        self._is_reload_wanted = False
        self._configuration = watch or no_watch()
        self._failed_reloads = 0
        self._lameduck_until: float | None = None
        self._drain_deadline: float | None = None
        self._status: int | None = None

    def run(self) -> int:
        """Serve until told to end. Returns the exit status."""
        try:
            plan = self._load()
            self._bind(plan)
        except (CorefileError, BindError, OSError) as error:
            self._log.error(str(error))
            self._status = EXIT_ERROR
        else:
            self._serve(plan)
        self._admin.close()
        self._selector.close()
        self._log.flush(patience_ms=1000)
        return EXIT_OK if self._status is None else self._status

    def _serve(self, plan: Plan) -> None:
        self._tell_sizes()
        gc.collect()
        gc.freeze()  # what the children share is then not written to by their collections
        with _signals(self._selector, self._on_signal):
            self._current = self._new_fleet(plan, Birth.START)
            self._admin_plan = plan.admin
            self._configuration.adopt(time.monotonic())
            self._watch()

    def _watch(self) -> None:
        watchdog = Watchdog(time.monotonic(), TICK_SECONDS)
        while self._fleets_alive():
            now = time.monotonic()
            watchdog.tick(now)
            for fleet in self._fleets_alive():
                fleet.tick(now, watchdog)
            self._advance(now)
            self._admin.tick(now)
            self._tell_readiness(now)
            self._log.flush()
            is_draining = self._drain_deadline is not None or self._replaced is not None
            for key, events in self._selector.select(DRAIN_TICK_SECONDS if is_draining else TICK_SECONDS):
                on_event: OnEvent = key.data
                on_event(events)
            self._reap()

    def _fleets_alive(self) -> list[Fleet]:
        return [fleet for fleet in (self._current, self._incoming, *self._leaving) if fleet is not None]

    def _on_signal(self, number: signal.Signals) -> None:
        if number in _TERMINATE:
            self._terminate()
        elif number in _RELOAD and self._is_terminating:
            self._log.warning("reload ignored: kdns is stopping")
        elif number in _RELOAD:
            self._is_reload_wanted = True

    @property
    def _is_terminating(self) -> bool:
        return self._lameduck_until is not None or self._drain_deadline is not None

    def _terminate(self) -> None:
        """Take the next step towards the end."""
        lameduck = self._admin_plan.lameduck
        is_of_use = lameduck > 0 and self._current is not None and self._current.was_ready
        if self._drain_deadline is not None:
            self._drain_deadline = 0.0
        elif self._lameduck_until is None and is_of_use:
            self._lameduck_until = time.monotonic() + lameduck
            self._log.info(f"stopping in {lameduck:g} s: not ready any more, and answering until then")
        else:
            self._drain()

    def _drain(self) -> None:
        self._log.info("stopping: finishing what has arrived")
        self._end(None)

    def _end(self, status: int | None) -> None:
        """Let all fleets go."""
        self._status = status
        self._drain_deadline = time.monotonic() + DRAIN_SECONDS
        self._leaving = self._fleets_alive()
        self._current = self._incoming = None
        for binding in self._bindings.values():  # first, so that the workers' last look finds the last query
            binding.refuse_queries()
        for fleet in self._leaving:
            fleet.drain()

    def _reap(self) -> None:
        """Take leave of every process that ended; as PID 1 also of those that are not ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._on_exit(pid, status)

    def _on_exit(self, pid: int, status: int) -> None:
        now = time.monotonic()
        for fleet in self._fleets_alive():
            if fleet.on_exit(pid, status, now):
                self._give_up(fleet)

    def _give_up(self, fleet: Fleet) -> None:
        """What a fleet has cannot be served, and it has said why."""
        if fleet is self._current:
            self._end(EXIT_ERROR)
        else:
            self._abandon("the data cannot be served")

    def _advance(self, now: float) -> None:
        """Take the next step of a reload or of the end, if it is time."""
        for binding in self._bindings.values():
            binding.end_reservation()
        incoming = self._incoming
        if incoming is not None and incoming.slots.are_ready:
            self._switch(incoming, now)
        elif incoming is not None and now - self._incoming_since > RELOAD_SECONDS:
            self._abandon(f"the new processes were not ready in {RELOAD_SECONDS:g} s")
        if self._replaced is not None and self._replaced.has_stopped_reading:
            self._replaced = None
            for binding in self._given_up():
                binding.refuse_connections()
            self._log.info("reloaded: only the new processes read queries")
            if self._current is not None:
                self._current.look_for_loops()
        self._bury()
        if self._incoming is None and not self._is_terminating:
            self._look(now)
            # What was given up refuses queries for ever. It cannot be had anew before it is closed, in a few seconds.
            if self._is_reload_wanted and not self._given_up():
                self._is_reload_wanted = False
                self._reload(now)
        self._advance_end(now)

    def _advance_end(self, now: float) -> None:
        if self._drain_deadline is None:
            if self._lameduck_until is not None and now > self._lameduck_until:
                self._drain()
            return
        if all(fleet.has_stopped_reading for fleet in self._leaving):
            for binding in self._bindings.values():
                binding.refuse_connections()
        if now > self._drain_deadline:
            for fleet in self._leaving:
                fleet.kill()

    def _reload(self, now: float) -> None:
        """Read the configuration anew and start a fleet for it; keep the old one if that cannot be."""
        try:
            plan = self._load()
            self._bind(plan)
        except (CorefileError, BindError, OSError) as error:
            self._fail_to_reload(str(error))
            return
        self._incoming = self._new_fleet(plan, Birth.RELOAD)
        self._incoming_since = now

    def _look(self, now: float) -> None:
        """Reload if the configuration has changed and `reload` asks for it; say so if it has become a bad one."""
        verdict = self._configuration.look(now)
        if verdict is Verdict.RELOAD:
            self._log.info("the configuration has changed: reloading")
            self._is_reload_wanted = True
        elif verdict is Verdict.REFUSE:
            self._count_failed_reload(self._configuration.complaint)

    def _fail_to_reload(self, why: str) -> None:
        """What was loaded cannot be used."""
        self._configuration.refuse()
        self._count_failed_reload(why)

    def _count_failed_reload(self, why: str) -> None:
        self._failed_reloads += 1
        self._log.error(f"reload failed, the old configuration stays: {why}")

    def _switch(self, incoming: Fleet, now: float) -> None:
        old, self._current, self._incoming = self._current, incoming, None
        self._configuration.adopt(now)
        self._admin_plan = incoming.plan.admin
        self._admin.keep_only(self._admin_plan.doors)
        if old is not None:
            # First, as at the end. And an address below a wildcard that is new takes its queries until it does so.
            for binding in self._given_up():
                binding.refuse_queries()
            old.drain(is_replaced=True)
            self._leaving.append(old)
            self._replaced = old

    def _abandon(self, why: str) -> None:
        if self._incoming is not None:
            self._incoming.kill()
            self._leaving.append(self._incoming)
            self._incoming = None
            self._admin.keep_only(self._admin_plan.doors)
        self._fail_to_reload(why)

    def _bury(self) -> None:
        """Let go of fleets whose processes have all ended, and of the sockets that nobody listens on any more."""
        gone = [fleet for fleet in self._leaving if fleet.is_gone]
        for fleet in gone:
            self._counted.update(fleet.counters())
            fleet.close()
            self._leaving.remove(fleet)
        if gone:
            self._release()

    def _given_up(self) -> list[Binding]:
        """What only fleets that leave have listened on."""
        kept = set(self._current.plan.all_addresses) if self._current is not None else set()
        return [binding for address, binding in self._bindings.items() if address not in kept]

    def _release(self) -> None:
        """Close the sockets of addresses that no fleet listens on any more."""
        used = {address for fleet in self._fleets_alive() for address in fleet.plan.all_addresses}
        for address in self._bindings.keys() - used:
            self._bindings.pop(address).close()
            if used:
                self._log.info(f"no longer listening on {address}")

    def _bind(self, plan: Plan) -> None:
        """Hold all that a plan listens on, besides what is held. Raises BindError, and then holds nothing new."""
        self._admin.listen(plan.admin.doors)
        try:
            self._bindings |= bind_all(plan.all_addresses, self._workers.workers, self._bindings)
        except BindError:
            self._admin.keep_only(self._admin_plan.doors)
            raise

    def _view(self) -> View:
        fleets = self._fleets_alive()
        return View(
            self._current,
            fleets,
            self._counted,
            self._is_terminating,
            self._admin_plan.ready_when,
            self._configuration.version,
            self._failed_reloads,
            self._admin.samples,
        )

    def _tell_readiness(self, now: float) -> None:
        """Say in the log what /ready says when that changes; the end has been told already."""
        if self._admin_plan.ready and not self._is_terminating:
            reasons = self._view().reasons_not_ready(now)
            line = self._transitions.line(reasons)
            if line is not None:
                (self._log.warning if reasons else self._log.info)(line)

    def _new_fleet(self, plan: Plan, birth: Birth) -> Fleet:
        for remark in plan.remarks:
            self._log.warning(remark)
        bindings = {address: self._bindings[address] for address in plan.all_addresses if address in self._bindings}
        former = self._current.statuses if self._current is not None else None
        return Fleet(plan, bindings, self._workers.workers, self._serials, birth, self._log, former)

    def _tell_sizes(self) -> None:
        octets = min((binding.receive_buffer_octets for binding in self._bindings.values()), default=0)
        plural = "" if self._workers.workers == 1 else "s"
        self._log.info(
            f"{self._workers.workers} worker{plural} (bounded by {self._workers.reason}),"
            f" receive buffers of {octets / MIB:.3g} MiB"
        )


@contextmanager
def _signals(selector: selectors.BaseSelector, on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Every signal that concerns us interrupts the selector and is handled between its other events."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def on_readable(_: int) -> None:
        for number in reader.recv(64):
            on_signal(signal.Signals(number))

    numbers = (*_TERMINATE, *_RELOAD, signal.SIGCHLD)
    former_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    former = [signal.signal(number, lambda *_: None) for number in numbers]
    selector.register(reader, selectors.EVENT_READ, on_readable)
    try:
        yield
    finally:
        selector.unregister(reader)
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_fd)
        reader.close()
        writer.close()
