"""What memory does a reload take? It is a second set of processes beside the first, for a moment.

Starts kdns on an API server with a cluster of each size, has it reload, and looks at the sum of the PSS of all its
processes meanwhile. One column is the limit of kubeadm for CoreDNS, which kdns inherits where the image is swapped.

    python -m bench.reload [--sizes 1000x5 10000x15] [--workers 1]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench import processes
from bench.report import table
from bench.sync import sampled
from bench.watchdata import Plan
from bench.watching import launched
from bench.watchserver import ApiProcess

SIZES = ("100x3", "1000x5", "5000x10", "10000x15", "20000x15")  # Services, and endpoints of each
LIMIT_MIB = 170
SETTLE_SECONDS = 3.0
RELOAD_SECONDS = 60.0  # what one takes at most
LOOK_SECONDS = 0.05
RELOADED = "reloaded: only the new processes read queries"
MIB = 1 << 20
COREFILE = """\
.:{port} {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    forward . 127.0.0.1:9
    cache 30
}}
"""


class Reload(NamedTuple):
    """Octets: before, the highest during a reload, and after."""

    before: int
    peak: int
    after: int


def reload(api: ApiProcess, cores: tuple[int, ...], workers: int) -> Reload:
    """Start kdns, have it reload, and look at its memory all the time."""
    with launched(api.kubeconfig, cores, workers, COREFILE) as (server, started):
        server.wait_ready(started, ["cluster.local"])
        time.sleep(SETTLE_SECONDS)
        before = processes.pss_octets(server.pids())
        with sampled(server.pids) as samples:
            server.signal(signal.SIGHUP)
            _wait(lambda: RELOADED in server.tail())
            time.sleep(SETTLE_SECONDS)  # until the old processes have gone
        return Reload(before, samples.peak(), processes.pss_octets(server.pids()))


def _wait(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RELOAD_SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"no reload has ended within {RELOAD_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _row(size: str, workers: int, cores: tuple[int, ...]) -> tuple[str, ...]:
    services, endpoints = map(int, size.split("x"))
    plan = Plan(services=services, endpoints=endpoints)
    with (
        tempfile.TemporaryDirectory(prefix="kdns-bench-reload-") as directory,
        ApiProcess(plan, Path(directory), cores) as api,
    ):
        seen = reload(api, cores, workers)
    name = f"{services:,} Services, {services * endpoints:,} endpoints"
    verdict = "fits" if seen.peak <= LIMIT_MIB * MIB else "more"
    return (name, *(f"{octets / MIB:.0f}" for octets in seen), verdict)


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory of kdns at a reload, for clusters of several sizes.")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="SERVICESxENDPOINTS")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    print(processes.machine_line())
    head = (f"PSS in MiB, workers: {options.workers}", "before", "peak", "after", f"of {LIMIT_MIB} MiB")
    print(table([head, *(_row(size, options.workers, cores) for size in options.sizes)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
