"""What do clients notice of a cluster in which slices change all the time? Latencies with and without, in turn.

The load driver asks at half of what it has found the worker to bear, once while nothing changes and once while the
API server sends slice events, several times over; the ratio of the two p99 is taken within each round, so that a slow
minute of the machine tilts neither.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.driver import Measurement, Options, build_driver, measure
from bench.stamps import judged, told
from bench.watchdata import Plan
from bench.watching import Layout, launched
from bench.watchserver import ApiProcess

PLAN = Plan(services=1500, endpoints=100)  # 150,000 endpoints
RATE = 100.0
LOAD = 0.5
RATIO_GOAL = 2.0
QUESTIONS = 20_000
WARM_UP_SECONDS = 3.0
LEAD_SECONDS = 0.5  # of events before and after the driver asks
# Clients are many: half of them with EDNS. Truncated answers of a hundred addresses are part of it.
DRIVER: Options = {"edns": 50, "miss": 10}


class Round(NamedTuple):
    """One pair of measurements."""

    idle: Measurement
    churning: Measurement
    events: int

    @property
    def ratio(self) -> float:
        """How much longer p99 is with churn."""
        return self.churning.p99_us / self.idle.p99_us


def questions(plan: Plan, count: int, seed: int) -> Iterator[str]:
    """Lines of "name TYPE" for the driver: Services, their endpoints, and names of addresses."""
    rng = random.Random(seed)
    for _ in range(count):
        service, endpoint = rng.randrange(plan.services), rng.randrange(plan.endpoints)
        yield rng.choices(
            (
                f"{plan.fqdn(service)} A",
                f"{plan.fqdn(service)} AAAA",
                f"{plan.endpoint_name(service, endpoint)} A",
                f"{plan.address(service, endpoint).reverse_pointer} PTR",
            ),
            (60, 20, 10, 10),
        )[0]


def run(layout: Layout, directory: Path, seconds: float, rounds: int, workers: int = 1) -> list[tuple[str, ...]]:
    """Measure; rows of a table."""
    build_driver()
    queries = directory / "queries"
    queries.write_text("".join(f"{line}\n" for line in questions(PLAN, QUESTIONS, seed=1)))
    with (
        ApiProcess(PLAN, directory, layout.tester) as api,
        launched(api.kubeconfig, layout.server, workers) as (server, started),
    ):
        server.wait_ready(started)

        def ask(seconds: float, rate: int = 0, seed: int = 1) -> Measurement:
            limits: Options = {"seconds": seconds, "rate": rate, "seed": seed}
            return measure(server, queries, layout.tester, DRIVER | limits)

        ask(WARM_UP_SECONDS)
        rate = int(ask(seconds).qps * LOAD)
        found = []
        for number in range(rounds):
            idle = ask(seconds, rate, number)
            api.churn(RATE, seconds + 2 * LEAD_SECONDS, seed=number)
            churning = ask(seconds, rate, number)
            found.append(Round(idle, churning, api.statistics()["events"]))
    return rows(found, rate)


def rows(found: list[Round], rate: int) -> list[tuple[str, ...]]:
    """The table of some rounds."""
    lost = sum(one.idle.lost + one.churning.lost for one in found)
    wrong = sum(one.idle.wrong + one.churning.wrong for one in found)
    spread = ", ".join(f"{one.ratio:.2f}" for one in found)
    return [
        told("queries/s (half of saturation)", f"{rate:,}"),
        told("events/s of slices of 100 endpoints", f"{RATE:.0f}"),
        told("p50 idle / with churn", _pair([(one.idle.p50_us, one.churning.p50_us) for one in found])),
        told("p99 idle / with churn", _pair([(one.idle.p99_us, one.churning.p99_us) for one in found])),
        judged("p99 with churn over idle, median of rounds", median(one.ratio for one in found), RATIO_GOAL, "x"),
        told("the rounds", spread),
        judged("queries lost", lost, 0, ""),
        judged("answers wrong", wrong, 0, ""),
    ]


def _pair(values: list[tuple[float, float]]) -> str:
    idle, churning = (median(column) for column in zip(*values, strict=True))
    return f"{idle:.0f} / {churning:.0f} us"
