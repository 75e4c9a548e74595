"""How long until a million endpoints are answered, and what does that take in memory? Then the same data once more.

Time and memory are taken from starts of their own, since looking costs time. Memory is the sum of PSS of all of
kdns's processes, every 20 ms; VmHWM is the kernel's own figure of each process's peak, shared pages counted in each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench import peers, processes
from bench.asking import Client
from bench.stamps import Latencies, judged, told
from bench.watchdata import Plan
from bench.watching import Layout, launched
from bench.watchserver import ApiProcess
from bench.wire import encode_query

PLAN = Plan(services=10_000, endpoints=100)
SAMPLE_SECONDS = 0.02
SETTLE_SECONDS = 2.0
RELIST_SECONDS = 10.0  # what a relist takes at most
SYNC_GOAL_SECONDS = 6.0
PEAK_GOAL_MB = 250.0
RELIST_GOAL_PERCENT = 20.0
ASK_PAUSE_SECONDS = 0.0005
ASK_SECONDS = 5.0  # before a relist, and from its start on
RELIST_P99_GOAL_MS = 2.0  # more is a delay that somebody may notice
MB = 1e6


class Start(NamedTuple):
    """How long it took, in seconds: from the start of the process, and from the first octet of the list of slices."""

    seconds: float
    from_list: float
    list_seconds: float  # until the API server had sent all of it
    cpu_seconds: float  # of all processes of kdns


@dataclass(slots=True)
class Samples:
    """PSS of all processes together, in octets, at monotonic seconds."""

    found: list[tuple[float, int]] = field(default_factory=list)

    def peak(self, since: float = 0.0, until: float = float("inf")) -> int:
        """The highest between two moments; 0 if there is none."""
        return max((octets for when, octets in self.found if since <= when <= until), default=0)


def start(api: ApiProcess, layout: Layout) -> Start:
    """Start kdns and wait until it has answered for the first and the last of the endpoints."""
    with launched(api.kubeconfig, layout.server) as (server, started):
        server.wait_ready(started)
        _check(server)
        seconds = time.monotonic() - started
        listed = api.statistics()
        began, ended = listed["list_began_ns"] / 1e9, listed["list_ended_ns"] / 1e9
        cpu = sum(processes.cpu(server.pids()).by_thread.values())
        return Start(seconds, started + seconds - began, ended - began, cpu / 1e9)


def _check(server: peers.Server) -> None:
    """Raises RuntimeError if what is answered is not right."""
    for service, endpoint in ((0, 0), (PLAN.services - 1, PLAN.endpoints - 1)):
        reply = server.ask(PLAN.endpoint_name(service, endpoint), "A")
        rdata = PLAN.address(service, endpoint).packed
        if reply is None or [record[2] for record in reply.answer] != [rdata]:
            raise RuntimeError(f"{PLAN.endpoint_name(service, endpoint)} is not {rdata!r}: {reply}")


@contextmanager
def sampled(pids: Callable[[], list[int]]) -> Iterator[Samples]:
    """Look at the memory all the time."""
    samples, stop = Samples(), threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            samples.found.append((time.monotonic(), processes.pss_octets(pids())))

    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        yield samples
    finally:
        stop.set()
        watcher.join()


class Memory(NamedTuple):
    """Octets: the peak of a start, what is left of it, the peak of a list of the same once more."""

    peak: int
    steady: int
    relist_peak: int
    rss_peaks: int


def memory(api: ApiProcess, layout: Layout) -> Memory:
    """Start kdns and have it list anew, and look at its memory all the time."""
    with (
        launched(api.kubeconfig, layout.server) as (server, started),
        sampled(server.pids) as samples,
    ):
        server.wait_ready(started)
        time.sleep(SETTLE_SECONDS)
        settled = time.monotonic()
        steady = processes.pss_octets(server.pids())
        relist(api)
        time.sleep(SETTLE_SECONDS)
        hwm = processes.rss_peak_octets(server.pids())
    return Memory(samples.peak(until=settled), steady, samples.peak(since=settled), hwm)


def relist(api: ApiProcess) -> None:
    """Have kdns list anew, and wait until it has."""
    before = api.statistics()
    api.expire()
    deadline = time.monotonic() + RELIST_SECONDS
    while api.statistics()["list_ended_ns"] == before["list_ended_ns"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing was listed anew in {RELIST_SECONDS:g} s")
        time.sleep(SAMPLE_SECONDS)


def delays(api: ApiProcess, layout: Layout) -> tuple[Latencies, Latencies]:
    """How long answers take before a list of the same once more, and during it."""
    query = encode_query(PLAN.endpoint_name(1, 1), "A", 0)
    with launched(api.kubeconfig, layout.server) as (server, started):
        server.wait_ready(started)
        client = Client(server.port)
        try:
            before = client.round_trips(query, ASK_SECONDS, ASK_PAUSE_SECONDS)
            api.expire()
            during = client.round_trips(query, ASK_SECONDS, ASK_PAUSE_SECONDS)
        finally:
            client.close()
    return Latencies.of(before), Latencies.of(during)


def run(layout: Layout, directory: Path, starts: int) -> list[tuple[str, ...]]:
    """Measure; rows of a table. starts: of how many the shortest is told."""
    with ApiProcess(PLAN, directory, layout.tester) as api:
        by_watch_list = min((start(api, layout) for _ in range(starts)), key=lambda one: one.seconds)
        seen = memory(api, layout)
        before, during = delays(api, layout)
        api.behave(has_watch_lists=False)
        in_pages = min((start(api, layout) for _ in range(starts)), key=lambda one: one.seconds)
        paged = memory(api, layout)
    return rows(by_watch_list, seen, before, during, in_pages, paged)


def rows(
    by_watch_list: Start, seen: Memory, before: Latencies, during: Latencies, in_pages: Start, paged: Memory
) -> list[tuple[str, ...]]:
    """The table."""
    return [
        judged("watch list: process start to the whole", by_watch_list.seconds, SYNC_GOAL_SECONDS, "s"),
        told("  from its first octet / sent in / CPU of kdns", _times(by_watch_list)),
        judged("  peak PSS", seen.peak / MB, PEAK_GOAL_MB, "MB"),
        told("  steady PSS / sum of VmHWM", f"{seen.steady / MB:.0f} / {seen.rss_peaks / MB:.0f} MB"),
        judged("relist: PSS above steady", _rise(seen), RELIST_GOAL_PERCENT, "%"),
        told("  answers before: p50 / p99 / max", _three(before)),
        told("  answers during: p50 / p99 / max", _three(during)),
        judged("  p99 during", during.p99_ms, RELIST_P99_GOAL_MS, "ms"),
        judged("list in pages: process start to the whole", in_pages.seconds, SYNC_GOAL_SECONDS, "s"),
        told("  from its first octet / sent in / CPU of kdns", _times(in_pages)),
        judged("  peak PSS", paged.peak / MB, PEAK_GOAL_MB, "MB"),
        judged("  relist: PSS above steady", _rise(paged), RELIST_GOAL_PERCENT, "%"),
    ]


def _times(one: Start) -> str:
    return f"{one.from_list:.2f} / {one.list_seconds:.2f} / {one.cpu_seconds:.2f} s"


def _three(seen: Latencies) -> str:
    return f"{seen.p50_ms:.2f} / {seen.p99_ms:.2f} / {seen.max_ms:.2f} ms"


def _rise(seen: Memory) -> float:
    return max(0.0, 100 * (seen.relist_peak / seen.steady - 1))
