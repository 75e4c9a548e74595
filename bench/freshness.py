"""How long after an event was sent is the answer another? From the API server's side and a client's at once.

One thread plays the API server and asks: it sends the event, and asks for the name that changes until the answer is
another. So both moments are of one clock and nobody else's scheduling is in between. Latency runs from when the last
octet of the event was in kdns's socket until the changed answer was read; it contains up to two round trips of a
question, for which `round_trips` are a measure. `with_sending` runs from before the event was encrypted.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench import peers, processes
from bench.asking import Client, Lost
from bench.stamps import Latencies, judged, told
from bench.watchdata import HEADLESS_EVERY, LIST_VERSION, Plan, Toggler
from bench.watching import Layout, launched
from bench.watchserver import KINDS, SLICES, ApiServer, Catalogue, Churn, event
from bench.wire import encode_query

READY_SECONDS = 60.0
# Before the first question: whoever asks without a pause takes half of the core that kdns has for all of its work. No
# latency below this can be seen.
HEAD_START_NS = 300_000
GIVE_UP_SECONDS = 2.0  # for one answer to change
SERVE_SECONDS = 0.001
PAUSE_SECONDS = (0.005, 0.03)  # between a changed answer and the next event: anywhere in kdns's own rhythms
ROUND_TRIPS_SECONDS = 1.0
ASKED_BEFORE = 5  # times, so that the name is one that is asked for, as names that matter are
RATES = (0.0, 100.0)  # events/s in the background
WARM_UP_CHANGES = 20
P50_GOAL_MS, P99_GOAL_MS = 0.5, 3.0


class Fresh(NamedTuple):
    """What was measured: see the module's docstring."""

    changes: Latencies
    with_sending: Latencies
    round_trips: Latencies
    background: int  # events that came in between
    control_us: float  # CPU of kdns without its workers, for each event


@dataclass(slots=True)
class _Run:
    """One measurement. background: what else happens meanwhile."""

    server: ApiServer
    client: Client
    plan: Plan
    rng: random.Random
    background: Churn | None = None
    latencies: list[int] = field(default_factory=list)
    with_sending: list[int] = field(default_factory=list)

    def change(self, toggler: Toggler) -> None:
        """Send one event and ask until it shows."""
        service = self.rng.randrange(self.plan.services // HEADLESS_EVERY) * HEADLESS_EVERY
        if self.background is not None:
            self.background.spared = service
        toggled = toggler.toggle(service, self.rng.randrange(self.plan.endpoints))
        query = encode_query(self.plan.fqdn(service), "A", 0)
        rdata = b"\0\4" + self.plan.address(service, toggled.endpoint).packed
        line = event("MODIFIED", toggled.piece)
        for _ in range(ASKED_BEFORE):
            self.client.ask(query)
        sent = self.server.tell(SLICES, line)
        while time.monotonic_ns() < sent.arrived_ns + HEAD_START_NS:
            pass
        while True:
            is_shown = rdata in self.client.ask(query)
            answered = time.monotonic_ns()
            if is_shown == toggled.is_ready:
                break
            if answered - sent.arrived_ns > GIVE_UP_SECONDS * 1e9:
                raise Lost(f"{self.plan.fqdn(service)} has not changed in {GIVE_UP_SECONDS:g} s")
            self.server.step(0.0)  # so that nothing else that kdns may ask for has to wait
            self._disturb(toggler)
        self.latencies.append(answered - sent.arrived_ns)
        self.with_sending.append(answered - sent.before_ns)

    def pause(self, toggler: Toggler) -> None:
        """Let some time pass."""
        end = time.monotonic() + self.rng.uniform(*PAUSE_SECONDS)
        while (now := time.monotonic()) < end:
            due = self.background.due if self.background is not None else end
            self.server.step(max(0.0, min(SERVE_SECONDS, min(due, end) - now)))
            self._disturb(toggler)

    def _disturb(self, toggler: Toggler) -> None:
        if self.background is not None and time.monotonic() >= self.background.due:
            self.server.tell(SLICES, self.background.next_event(toggler))


class Bench:
    """kdns on a cluster that does not change until it is told to."""

    def __init__(self, plan: Plan, server: ApiServer, kdns: peers.Server) -> None:
        self._plan = plan
        self._server = server
        self._kdns = kdns
        self._toggler = Toggler(plan, LIST_VERSION)

    def measure(self, changes: int, rate: float, seed: int) -> Fresh:
        """So many changed answers, with `rate` other events a second."""
        rng = random.Random(seed)
        background = Churn(rate, 3600.0, seed) if rate else None
        if background is not None:
            background.start(time.monotonic())
        client = Client(self._kdns.port)
        try:
            run = _Run(self._server, client, self._plan, rng, background)
            before = processes.cpu(self._besides_workers())
            for _ in range(changes):
                run.pause(self._toggler)
                run.change(self._toggler)
            used = processes.cpu(self._besides_workers()).since(before)
            query = encode_query(self._plan.fqdn(0), "A", 0)
            round_trips = Latencies.of(client.round_trips(query, ROUND_TRIPS_SECONDS, pause=0.0))
        finally:
            client.close()
        others = background.sent if background is not None else 0
        changed, with_sending = Latencies.of(run.latencies), Latencies.of(run.with_sending)
        return Fresh(changed, with_sending, round_trips, others, used / 1e3 / (changes + others))

    def _besides_workers(self) -> list[int]:
        return [pid for pid in self._kdns.pids() if "worker" not in Path(f"/proc/{pid}/comm").read_text()]


def wait_whole(server: ApiServer, kdns: peers.Server, started: float) -> None:
    """Serve until kdns knows everything and says so."""
    # Asking blocks until there is an answer, so there is no asking while there is something to serve.
    while server.watchers < len(KINDS) or not _is_ready(kdns):
        server.step(SERVE_SECONDS)
        kdns.check_alive()
        if time.monotonic() - started > READY_SECONDS:
            raise RuntimeError(f"kdns does not answer after {READY_SECONDS:g} s")


def _is_ready(kdns: peers.Server) -> bool:
    reply = kdns.ask("cluster.local", "SOA")
    return reply is not None and reply.rcode == 0


def run(plan: Plan, layout: Layout, directory: Path, changes: int, workers: int = 1) -> list[Fresh]:
    """Measure idle, and with events in the background."""
    os.sched_setaffinity(0, layout.tester)
    with ApiServer(Catalogue(plan)) as server:
        kubeconfig = server.write_kubeconfig(directory / "kubeconfig")
        with launched(kubeconfig, layout.server, workers) as (kdns, started):
            wait_whole(server, kdns, started)
            bench = Bench(plan, server, kdns)
            try:
                bench.measure(WARM_UP_CHANGES, 0.0, 0)
                return [bench.measure(changes, rate, 1) for rate in RATES]
            except Lost as lost:
                raise RuntimeError(f"{lost}; {server.statistics}\n{kdns.tail()}") from lost


def best(layout: Layout, directory: Path, changes: int, runs: int) -> dict[int, list[Fresh]]:
    """By how many workers there are, of several runs for each rate that with the lowest median.

    Two workers on one core would only be in each other's way: they share both with whoever asks.
    """
    affinity = os.sched_getaffinity(0)
    both = Layout(layout.server + layout.tester, layout.tester)
    found = {}
    try:
        for workers, where in ((1, layout), (2, both)):
            measured = [run(Plan(), where, directory, changes, workers) for _ in range(runs)]
            by_rate = zip(*measured, strict=True)
            found[workers] = [min(column, key=lambda one: one.changes.p50_ms) for column in by_rate]
    finally:
        os.sched_setaffinity(0, affinity)
    return found


def rows(found: dict[int, list[Fresh]]) -> list[tuple[str, ...]]:
    """The table."""
    table: list[tuple[str, ...]] = []
    for workers, by_rate in found.items():
        for rate, one in zip(RATES, by_rate, strict=True):
            what = f"{workers} worker{'s' * (workers > 1)}, {f'{rate:.0f} events/s' if rate else 'idle'}"
            round_trip = f"{1000 * one.round_trips.p50_ms:.0f} / {1000 * one.round_trips.p99_ms:.0f} us"
            table += [
                judged(f"{what}: p50", one.changes.p50_ms, P50_GOAL_MS, "ms"),
                judged("  p99", one.changes.p99_ms, P99_GOAL_MS, "ms"),
                told("  p50 / p99 from before it is sent", _ms(one.with_sending)),
                told("  max, of so many", f"{one.changes.max_ms:.2f} ms, {one.changes.count}"),
                told("  CPU of kdns without workers, an event", f"{one.control_us:.0f} us"),
                told("  round trip of an answer: p50 / p99", round_trip),
            ]
    return table


def _ms(latencies: Latencies) -> str:
    return f"{latencies.p50_ms:.2f} / {latencies.p99_ms:.2f} ms"
