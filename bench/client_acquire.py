"""What does a lease cost? `async with balancer.acquire()` and its blocking twin, with 10 and with 1,000 endpoints.

    python -m bench.client_acquire [--seconds 0.5] [--json]

The resolvers are the real ones with a warm cache, the policy is the default, peak EWMA; the body of the block is empty.
Baselines in the same run: `async with` and `with` over an object whose methods do nothing. `call` runs a function that
does nothing, with all that retries need. Not here: bare picks (bench.client_picks).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

from bench.processes import machine_line
from kdns.client.balancer import Balancer
from kdns.client.blocking_balancer import BlockingBalancer

ROUNDS = 9
BATCH = 1000
SIZES = (10, 1000)
GOAL_NS = 2000.0
GOAL_RATIO = 1.2
LIMITED = ("acquire", "blocking acquire")


class Nothing:
    """A context manager of both kinds that does nothing."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def target(size: int) -> str:
    """So many endpoints."""
    return "static://" + ",".join(f"10.0.{number // 250}.{number % 250}:80" for number in range(size))


async def asynchronous(make: Callable[[], object]) -> None:
    """A batch of `async with`."""
    for _ in range(BATCH):
        async with make():  # type: ignore[attr-defined]
            pass


async def blocking(make: Callable[[], object]) -> None:
    """A batch of `with`."""
    for _ in range(BATCH):
        with make():  # type: ignore[attr-defined]
            pass


async def calls(balancer: Balancer) -> None:
    """A batch of calls."""

    async def nothing(lease: object) -> None:
        return None

    for _ in range(BATCH):
        await balancer.call(nothing, idempotent=True)


async def measure(seconds: float) -> dict[str, float]:
    """Nanoseconds of each, by name."""
    runs: dict[str, Callable[[], Awaitable[None]]] = {
        "async with nothing": lambda: asynchronous(Nothing),
        "with nothing": lambda: blocking(Nothing),
    }
    balancers = {size: Balancer(target(size)) for size in SIZES}
    twins = {size: BlockingBalancer(target(size)) for size in SIZES}
    for size in SIZES:
        runs[f"acquire {size}"] = lambda size=size: asynchronous(balancers[size].acquire)  # type: ignore[misc]
        runs[f"blocking acquire {size}"] = lambda size=size: blocking(twins[size].acquire)  # type: ignore[misc]
        runs[f"call {size}"] = lambda size=size: calls(balancers[size])  # type: ignore[misc]
        async with balancers[size].acquire():
            pass
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            until = time.perf_counter() + seconds / ROUNDS
            best = float("inf")
            while time.perf_counter() < until:
                start = time.perf_counter()
                await run()
                best = min(best, time.perf_counter() - start)
            found[name].append(best / BATCH * 1e9)
    for size in SIZES:
        await balancers[size].close()
        twins[size].close()
    return {name: median(times) for name, times in found.items()}


def main() -> int:
    """Print a line for each; the exit status says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.seconds))
    if options.json:
        print(json.dumps(found))
    else:
        print(machine_line())
        for name, nanoseconds in found.items():
            print(f"{name:22} {nanoseconds:6.0f} ns{'  (goal 2000)' if name.startswith(LIMITED) else ''}")
    small, large = ({name: found[f"{name} {size}"] for name in LIMITED} for size in SIZES)
    for name in LIMITED:
        print(f"{name}: 1,000 endpoints {large[name] / small[name]:.2f} x 10 endpoints (goal 1.2)", file=sys.stderr)
    return int(max(small.values()) > GOAL_NS or any(large[name] > GOAL_RATIO * small[name] for name in LIMITED))


if __name__ == "__main__":
    sys.exit(main())
