"""What does it cost to read what is known? Both resolvers with a warm cache, beside a dict read and a clock read.

    python -m bench.client_resolve [--seconds 0.4] [--json]

Baseline in the same run: `sets.get(target)` and `time.monotonic()`, the least of any cache by time. `awaited`
is what a coroutine call costs on top. Medians of rounds that take turns. Not here: what a query costs
(bench.client_backends).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from statistics import median

from bench.processes import machine_line
from kdns.client.blocking_resolver import BlockingResolver
from kdns.client.resolver import Resolver

ROUNDS = 9
BATCH = 2000
TARGET = "static://10.0.0.1:80,10.0.0.2:80"
GOALS = {"current": 250.0, "awaited resolve": 400.0, "blocking current": 250.0}
GOAL_RATIO = 2.5  # of `current` to the baseline


def baseline(sets: dict[str, object]) -> None:
    """The least that a cache by time does."""
    monotonic, get = time.monotonic, sets.get
    for _ in range(BATCH):
        get(TARGET)
        monotonic()


def current(resolver: Resolver | BlockingResolver) -> None:
    """One dict read of a set that carries its own time."""
    read = resolver.current
    for _ in range(BATCH):
        read(TARGET)


def resolve(resolver: BlockingResolver) -> None:
    """The same, with an error where there is nobody."""
    read = resolver.resolve
    for _ in range(BATCH):
        read(TARGET)


async def awaited(resolver: Resolver) -> float:
    """Seconds of a batch."""
    read = resolver.resolve
    start = time.perf_counter()
    for _ in range(BATCH):
        await read(TARGET)
    return time.perf_counter() - start


async def awaited_nothing() -> float:
    """Seconds of a batch of coroutine calls that do nothing."""

    async def nothing(target: str) -> str:
        return target

    start = time.perf_counter()
    for _ in range(BATCH):
        await nothing(TARGET)
    return time.perf_counter() - start


def timed(run: Callable[[], None]) -> float:
    """Seconds of a batch."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


async def measure(seconds: float) -> dict[str, float]:
    """Nanoseconds of each, by name."""
    resolver, blocking = Resolver(), BlockingResolver()
    await resolver.resolve(TARGET)
    blocking.resolve(TARGET)
    sets: dict[str, object] = {TARGET: object()}
    runs: dict[str, Callable[[], None]] = {
        "dict and clock": lambda: baseline(sets),
        "current": lambda: current(resolver),
        "blocking current": lambda: current(blocking),
        "blocking resolve": lambda: resolve(blocking),
    }
    found: dict[str, list[float]] = {name: [] for name in (*runs, "awaited nothing", "awaited resolve")}
    for _ in range(ROUNDS):
        for name, times in found.items():
            until = time.perf_counter() + seconds / ROUNDS
            best = float("inf")
            while time.perf_counter() < until:
                if name in runs:
                    best = min(best, timed(runs[name]))
                else:
                    best = min(best, await (awaited(resolver) if name == "awaited resolve" else awaited_nothing()))
            times.append(best / BATCH * 1e9)
    await resolver.close()
    blocking.close()
    return {name: median(times) for name, times in found.items()}


def main() -> int:
    """Print a line for each; the exit status says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.4, help="for each figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.seconds))
    if options.json:
        print(json.dumps(found))
    else:
        print(machine_line())
        for name, nanoseconds in found.items():
            ratio = nanoseconds / found["dict and clock"]
            goal = f"goal {GOALS[name]:.0f}" if name in GOALS else ""
            print(f"{name:18} {nanoseconds:6.0f} ns  {ratio:5.2f} x  {goal}")
    is_bad = any(found[name] > goal for name, goal in GOALS.items())
    return int(is_bad or found["current"] > GOAL_RATIO * found["dict and clock"])


if __name__ == "__main__":
    sys.exit(main())
