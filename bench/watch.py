"""How soon do answers follow a cluster, and what do they cost while it changes, is listed, or is not to be reached?

Real processes on loopback, over TLS: an API server that serves a made-up cluster, kdns that watches it, clients that
ask. README.md says what the rows mean.

    python -m bench.watch [--quick] [--only freshness churn sync outage]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import churn, freshness, outage, sync
from bench.processes import machine_line
from bench.report import table
from bench.watching import Layout

Rows = list[tuple[str, ...]]
AUTOGROUP = Path("/proc/self/autogroup")  # where sessions share the CPUs, a process's own nice value is nothing
HEAD = ("", "measured", "goal", "")
MISSED = "MISSED"


def _freshness(layout: Layout, directory: Path, is_quick: bool) -> Rows:
    changes, runs = (100, 1) if is_quick else (500, 3)
    return freshness.rows(freshness.best(layout, directory, changes, runs))


def _churn(layout: Layout, directory: Path, is_quick: bool) -> Rows:
    seconds, rounds = (2.0, 1) if is_quick else (5.0, 5)
    return churn.run(layout, directory, seconds, rounds)


def _sync(layout: Layout, directory: Path, is_quick: bool) -> Rows:
    return sync.run(layout, directory, starts=1 if is_quick else 3)


def _outage(layout: Layout, directory: Path, is_quick: bool) -> Rows:
    return outage.run(layout, directory, seconds=5.0 if is_quick else 20.0)


SECTIONS: dict[str, Callable[[Layout, Path, bool], Rows]] = {
    "freshness": _freshness,
    "churn": _churn,
    "sync": _sync,
    "outage": _outage,
}


def main() -> int:
    options = _options()
    cores = tuple(sorted(os.sched_getaffinity(0))[:2])
    if len(cores) < 2:
        print("two cores are needed: one for kdns, one for the API server and the clients", file=sys.stderr)
        return 2
    layout = Layout(cores[:1], cores[1:])
    if options.priority:
        AUTOGROUP.write_text(str(-options.priority))
    print(machine_line())
    print(f"{layout}; load average {os.getloadavg()[0]:.2f}")
    is_met = True
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix=f"kdns-bench-{name}-") as directory:
            rows = SECTIONS[name](layout, Path(directory), options.quick)
        print(f"\n{name}\n{table([HEAD, *rows])}", flush=True)
        is_met = is_met and all(row[3] != MISSED for row in rows)
    return 0 if is_met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Freshness, churn, sync and failure of a watched cluster.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    names = list(SECTIONS)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SECTION", help=" ".join(names))
    parser.add_argument(
        "--priority", type=int, default=0, metavar="N",
        help="have the whole session run at nice -N (1 to 20; needs root), where others use the machine too",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
