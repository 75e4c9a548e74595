"""How long does kdns need until it answers, and how much memory does it hold then and on the way?

Starts kdns on the dump of a large cluster, once for each number of workers and each question: time and
steady memory are taken from a start that nobody disturbs, the peak from another one that is watched every
50 ms.

    python -m bench.memory [--workers 3] [--servers nsd knot]
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import peers, processes
from bench.inputs import Inputs, add_size_options, prepare, size_from
from bench.report import table

SAMPLE_EVERY = 0.05
SETTLE = 2.0  # seconds after ready until memory counts as steady: what the start left behind has been given back
READY_GOAL = 3.0
PSS_GOAL_MB = 150.0
WORKER_GOAL_MB = 40.0
MB = 1e6


@dataclass(frozen=True, slots=True)
class Start:
    """What one start of a server showed."""

    ready_seconds: float
    pss_octets: int
    rss_peak_octets: int
    processes: int


def start(peer: peers.Peer, inputs: Inputs, cores: list[int]) -> Start:
    """Start a server, wait until it answers and has settled, and look at it."""
    with peers.running(peer, inputs, cores) as server:
        pids = _settled(server)
        return Start(server.ready_seconds, processes.pss_octets(pids), processes.rss_peak_octets(pids), len(pids))


def _settled(server: peers.Server) -> list[int]:
    end = time.monotonic() + SETTLE
    while time.monotonic() < end:
        server.ask("cluster.local", "SOA")
        time.sleep(SAMPLE_EVERY)
    return server.pids()


def peak_pss_octets(peer: peers.Peer, inputs: Inputs, cores: list[int]) -> int:
    """The highest sum of PSS seen while the server starts and settles."""
    highest = 0

    def sample(done: Callable[[float], bool]) -> None:
        nonlocal highest
        while not done(SAMPLE_EVERY):
            # This process's other children are none: what it has started is the server.
            highest = max(highest, processes.pss_octets(processes.tree(os.getpid())[1:]))

    stop = threading.Event()
    watcher = threading.Thread(target=sample, args=(stop.wait,))
    watcher.start()
    try:
        with peers.running(peer, inputs, cores) as server:
            _settled(server)
    finally:
        stop.set()
        watcher.join()
    return highest


def main() -> int:
    options = _options()
    cores = sorted(os.sched_getaffinity(0))
    print(processes.machine_line())
    inputs = prepare(size_from(options))
    dump_octets = inputs.dump.stat().st_size
    print(f"{options.services} services, {options.endpoints} endpoints, dump of {dump_octets / MB:.0f} MB")
    if "kdns" in options.servers:
        print(table(_kdns_rows(inputs, cores, options.workers, dump_octets)))
    for peer in peers.available():
        if peer.name != "kdns" and peer.name in options.servers:
            seen = start(peer, inputs, cores)
            figures = f"ready in {seen.ready_seconds:.2f} s, PSS {seen.pss_octets / MB:.0f} MB"
            print(f"{peer.name}: {figures}, from zone files")
    return 0


def _kdns_rows(inputs: Inputs, cores: list[int], workers_most: int, dump_octets: int) -> list[tuple[str, ...]]:
    one = start(peers.kdns(1), inputs, cores)
    peak = peak_pss_octets(peers.kdns(1), inputs, cores)
    rows = [
        ("one worker", "measured", "goal", ""),
        _judged("ready, s", one.ready_seconds, READY_GOAL),
        _judged(f"PSS of {one.processes} processes, MB", one.pss_octets / MB, PSS_GOAL_MB),
        _judged("peak PSS (sampled), MB", peak / MB, (one.pss_octets + dump_octets) / MB),
        ("sum of peak RSS (an upper bound), MB", f"{one.rss_peak_octets / MB:.1f}", "", ""),
    ]
    before = one
    for workers in range(2, workers_most + 1):
        more = start(peers.kdns(workers), inputs, cores)
        rows.append(_judged(f"worker {workers} adds, MB", (more.pss_octets - before.pss_octets) / MB, WORKER_GOAL_MB))
        before = more
    return rows


def _judged(what: str, value: float, goal: float) -> tuple[str, ...]:
    return what, f"{value:.1f}", f"<= {goal:.1f}", "ok" if value <= goal else "MISSED"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start time and memory of kdns on a large cluster.")
    parser.add_argument("--workers", type=int, default=3, help="the most workers to start with (default 3)")
    parser.add_argument("--servers", nargs="+", default=["kdns"], metavar="SERVER", help="kdns nsd knot coredns")
    add_size_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
