"""What does a pick cost? Each policy's pick and release, with 10 and with 1,000 endpoints.

    python -m bench.client_picks [--seconds 0.2] [--json]

`picker` is `picker.pick` and what a release does at least (one attempt less); `core` is the balancer's whole pick and
release: outcome, latency, outlier detection. Baseline in the same run: `random.choice` of a list. Medians of rounds
that take turns, so that a machine whose speed drifts is fair to all. Not here: leases (bench.client_acquire).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from random import Random
from statistics import median

from bench.processes import machine_line
from kdns.client.core import Core
from kdns.client.endpoint import Endpoint, EndpointSet
from kdns.client.hooks import Listeners
from kdns.client.options import BalancerOptions, Policy
from kdns.client.outcome import OK
from kdns.client.place import Place
from kdns.client.target import parse_target

SIZES = (10, 1000)
ROUNDS = 7
BATCH = 2000
GOAL_NS = 1000.0
GOAL_RATIO = 1.2
KEYS = tuple(f"user-{number}".encode() for number in range(256))
HASHING = (Policy.RENDEZVOUS, Policy.RING_HASH)


def make_core(policy: Policy, size: int) -> Core:
    """A core that has measured each endpoint."""
    target = parse_target("static://10.0.0.1:80", lambda: Place(None, None))
    core = Core(target, BalancerOptions(policy=policy), Random(1), Listeners(()), lambda: None)
    endpoints = tuple(Endpoint(f"10.0.{number // 250}.{number % 250}", 80) for number in range(size))
    now = time.monotonic()
    core.update(EndpointSet("bench", endpoints, now), now)
    for _ in range(20 * size):
        cell = core.pick(now, KEYS[0])
        core.release(cell, OK, now - 0.005, now)
    return core


def picks(core: Core, policy: Policy) -> Callable[[], None]:
    """A batch of bare picks."""
    picker, rng = core._picker, Random(2)
    assert picker is not None
    keys: tuple[bytes | None, ...] = KEYS if policy in HASHING else (None,) * len(KEYS)

    def run() -> None:
        now = time.monotonic()
        for key in keys * (BATCH // len(keys)):
            cell = picker.pick(now, rng, key)
            cell.outstanding += 1  # type: ignore[union-attr]
            cell.outstanding -= 1  # type: ignore[union-attr]

    return run


def picks_of_core(core: Core, policy: Policy) -> Callable[[], None]:
    """A batch of whole picks and releases."""
    keys: tuple[bytes | None, ...] = KEYS if policy in HASHING else (None,) * len(KEYS)

    def run() -> None:
        now = time.monotonic()
        for key in keys * (BATCH // len(keys)):
            core.release(core.pick(now, key), OK, now - 0.005, now)

    return run


def choices() -> Callable[[], None]:
    """The baseline."""
    rng, cells = Random(3), list(range(10))

    def run() -> None:
        for _ in range(BATCH // len(KEYS) * len(KEYS)):
            rng.choice(cells)

    return run


def measure(runs: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Nanoseconds of each, by name."""
    count = BATCH // len(KEYS) * len(KEYS)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            until = time.perf_counter() + seconds / ROUNDS
            best = float("inf")
            while time.perf_counter() < until:
                start = time.perf_counter()
                run()
                best = min(best, time.perf_counter() - start)
            found[name].append(best / count * 1e9)
    return {name: median(times) for name, times in found.items()}


def main() -> int:
    """Print a line for each policy; the exit status says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.35, help="for each figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs: dict[str, Callable[[], None]] = {"random.choice": choices()}
    for policy in Policy:
        for size in SIZES:
            core = make_core(policy, size)
            runs[f"picker {policy.value} {size}"] = picks(core, policy)
            runs[f"core {policy.value} {size}"] = picks_of_core(core, policy)
    found = measure(runs, options.seconds)
    if options.json:
        print(json.dumps(found))
    else:
        print(machine_line())
        print(f"random.choice of 10: {found['random.choice']:.0f} ns")
        print("policy           picker, 10   1,000  ratio    core, 10   1,000  ratio   (ns; goals: 1000, ratio 1.2)")
    is_bad = False
    for policy in Policy:
        row = [found[f"{what} {policy.value} {size}"] for what in ("picker", "core") for size in SIZES]
        is_bad |= max(row[:2]) > GOAL_NS or row[1] > GOAL_RATIO * row[0]
        if not options.json:
            print(
                f"{policy.value:15} {row[0]:11.0f} {row[1]:7.0f} {row[1] / row[0]:6.2f} {row[2]:11.0f} {row[3]:7.0f} "
                f"{row[3] / row[2]:6.2f}"
            )
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
