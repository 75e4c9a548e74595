"""The client's balancing and failure handling in figures, beside baselines in the same run: python -m bench.client

Simulated (bench.simulated): fake time, the production code, seeded. Each line has its goal, and says whether it holds.
Not here: what a pick costs (bench.client_picks, bench.client_acquire), resolving (bench.client_resolve), real processes
(bench.client_real).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from bench import simulated
from kdns.client.options import Outliers, Policy

PEAK, LEAST, ROBIN, RANDOM = Policy.PEAK_EWMA, Policy.LEAST_REQUEST, Policy.ROUND_ROBIN, Policy.RANDOM
SEEDS = range(1, 6)


class Line(NamedTuple):
    """One figure. goal: as the docs state it; holds: None for a baseline."""

    what: str
    policy: str
    figure: str
    goal: str = ""
    holds: bool | None = None


def even(seeds: range) -> Iterator[Line]:
    """10 equal replicas: the most loaded one beside the mean."""
    for hiccups, goal in ((False, 1.10), (True, 1.30)):
        what = "even load, max/mean, median (worst)" + (", 0.1 % hiccups of 100 ms" if hiccups else "")
        for policy in (PEAK, LEAST, ROBIN, RANDOM):
            found = [simulated.even_load(policy, hiccups, seed=seed).unevenness for seed in seeds]
            middle, is_ours = median(found), policy is PEAK
            figure = f"{middle:.3f} ({max(found):.3f})"
            yield Line(what, policy.value, figure, f"<= {goal:.2f}" if is_ours else "", _held(is_ours, middle <= goal))


def newcomer(seeds: range) -> Iterator[Line]:
    """What a new replica gets."""
    for policy in (PEAK, LEAST, ROBIN):
        least = min(simulated.new_replica(policy, seed=seed) for seed in seeds)
        is_ours = policy is PEAK
        yield Line(
            "new replica, share of its fair share in 10 s", policy.value, f"{least:.2f}",
            ">= 0.80" if is_ours else "", _held(is_ours, least >= 0.8),
        )  # fmt: skip


def slow(seeds: range) -> Iterator[Line]:
    """Linkerd's comparison of 2016."""
    for count, rate, goal in ((11, 1000.0, 0.999), (3, 300.0, 0.995)):
        for policy in (PEAK, LEAST, ROBIN):
            least = min(simulated.slow_replica(policy, count, rate, seed=seed).within for seed in seeds)
            is_ours = policy is PEAK
            yield Line(
                f"one of {count} at 2 s, under 1 s", policy.value, f"{least:.3%}",
                f">= {goal:.1%}" if is_ours else "", _held(is_ours, least >= goal),
            )  # fmt: skip


def failing(seeds: range) -> Iterator[Line]:
    """A replica that fails fast."""
    most = Outliers().consecutive + simulated.probes_within(30.0)
    for count, rate in ((11, 1000.0), (3, 300.0)):
        what = f"one of {count} fails in 1 ms for 30 s"
        bare = max(simulated.failing_replica(LEAST, count, rate, 1, seed=seed, ejects=False).failed for seed in seeds)
        yield Line(f"{what}, failed requests, no ejection", LEAST.value, str(bare))
        worst = max(simulated.failing_replica(PEAK, count, rate, 1, seed=seed).failed for seed in seeds)
        yield Line(f"{what}, failed requests, no retry", PEAK.value, str(worst), f"<= {most}", worst <= most)
        runs = [simulated.failing_replica(PEAK, count, rate, 2, seed=seed) for seed in seeds]
        failed, ratio = max(run.failed for run in runs), max(run.per_request for run in runs)
        yield Line(
            f"{what}, one retry: failed, attempts", PEAK.value, f"{failed}, {ratio:.4f}",
            "0, <= 1.005", failed == 0 and ratio <= 1.005,
        )  # fmt: skip


def outages(seeds: range) -> Iterator[Line]:
    """All or most of them are gone."""
    for rate in (1000.0, 50.0):
        runs = [simulated.total_outage(rate, seed=seed) for seed in seeds]
        ratio, peak = max(run.per_request for run, _ in runs), max(peak for _, peak in runs)
        goal = 1.2 + 10.0 / rate
        what = f"total outage at {rate:.0f}/s"
        yield Line(f"{what}, attempts", PEAK.value, f"{ratio:.3f}", f"<= {goal:.2f}", ratio <= goal + 0.005)
        yield Line(f"{what}, busiest 10 ms beside the mean", PEAK.value, f"{peak:.1f}")
    failed = sum(simulated.killed_at_once(seed=seed).failed for seed in seeds)
    yield Line("7 of 10 killed at once, failed idempotent calls", PEAK.value, str(failed), "0", failed == 0)
    hung = sum(simulated.hanging_replica(1.0, seed=seed).failed for seed in seeds)
    yield Line("one of 4 hangs, per-try timeout 1 s, failed", PEAK.value, str(hung), "0", hung == 0)
    lost = max(simulated.hanging_replica(None, seed=seed).failed for seed in seeds)
    yield Line("one of 4 hangs, only a deadline of 5 s, failed", PEAK.value, str(lost))


def _held(is_ours: bool, holds: bool) -> bool | None:
    return holds if is_ours else None


PARTS = {"even": even, "new": newcomer, "slow": slow, "failing": failing, "outages": outages}


def main() -> None:
    """Print all lines; the exit status says whether all goals hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts alone")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="runs of each; the worst one counts")
    options = parser.parse_args()
    logging.getLogger("kdns.client").setLevel(logging.CRITICAL)
    missed = False
    print(f"{'what':64} {'policy':14} {'figure':>16}  goal")
    for name, part in PARTS.items():
        if options.only and name not in options.only:
            continue
        for line in part(range(1, options.seeds + 1)):
            verdict = {None: "", True: "met", False: "MISSED"}[line.holds]
            missed |= line.holds is False
            print(f"{line.what:64} {line.policy:14} {line.figure:>16}  {line.goal} {verdict}", flush=True)
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
