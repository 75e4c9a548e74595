"""Scenarios of a service under load in fake time, each with figures: common ground of bench/client.py and the tests.

kdns.client.testing.simulation runs the production balancer; here is what happens to the service meanwhile, and what is
counted. Seeded: the same figures each time. Published setups: Linkerd's comparison of 2016 (11 backends, 1,000/s, one
of them at 2 s for half of a minute), Finagle's balancersim. Not here: goals (bench.client), real processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from kdns.client.options import BalancerOptions, Policy, Retries
from kdns.client.testing.simulation import Replica, ServiceTime, Simulation, jittered, with_hiccups

SETTLE = 10.0  # what is out at the end of a load may end within it


@dataclass(frozen=True)
class Figures:
    """What a run came to. within: share of the requests that did well in less than a second."""

    requests: int
    failed: int
    attempts: int
    within: float
    received: tuple[int, ...]

    @property
    def per_request(self) -> float:
        """Attempts for each request."""
        return self.attempts / self.requests

    @property
    def unevenness(self) -> float:
        """The most that a replica got, beside the mean."""
        return max(self.received) * len(self.received) / sum(self.received)


def figures(simulation: Simulation) -> Figures:
    """Of a simulation that has run."""
    results = simulation.results
    good = sum(one.ok and one.seconds < 1.0 for one in results)
    return Figures(
        len(results),
        sum(not one.ok for one in results),
        simulation.attempts,
        good / len(results),
        tuple(replica.received for replica in simulation.replicas),
    )


def replicas_of(count: int, service_time: ServiceTime, workers: int = 64) -> list[Replica]:
    """Equal ones."""
    return [Replica(number, service_time, workers) for number in range(count)]


def even_load(policy: Policy, hiccups: bool, seconds: float = 60.0, seed: int = 1) -> Figures:
    """10 equal replicas of 2 ms with jitter, 500/s; hiccups: 100 ms in one of 1,000 requests."""
    service_time = jittered(0.002)
    if hiccups:
        service_time = with_hiccups(service_time, 0.001, 0.1)
    simulation = Simulation(replicas_of(10, service_time), BalancerOptions(policy=policy), seed)
    simulation.load(500.0, 0.0, seconds)
    simulation.run(seconds + SETTLE)
    return figures(simulation)


def new_replica(policy: Policy, seed: int = 1) -> float:
    """The share of its fair share that a tenth replica gets over the 10 s after it appears."""
    replicas = replicas_of(10, jittered(0.002))
    simulation = Simulation(replicas, BalancerOptions(policy=policy), seed)
    simulation.publish(replicas[:9])
    simulation.load(500.0, 0.0, 40.0)
    simulation.run(20.0)
    before = [replica.received for replica in replicas]
    simulation.publish(replicas)
    simulation.run(30.0)
    got = [replica.received - former for replica, former in zip(replicas, before, strict=True)]
    return got[-1] * len(got) / sum(got)


def slow_replica(policy: Policy, count: int, rate: float, seconds: float = 60.0, seed: int = 1) -> Figures:
    """One replica at 2 s for the middle half of the time, the others at 167 ± 5 ms; no retries, no ejection."""

    def usual(rng: Random) -> float:
        return rng.gauss(0.167, 0.005)

    replicas = replicas_of(count, usual, workers=512)
    options = BalancerOptions(policy=policy, retries=Retries(attempts=1))
    simulation = Simulation(replicas, options, seed)
    slow = replicas[0]

    def become(service_time: ServiceTime) -> None:
        slow.service_time = service_time

    simulation.at(seconds / 4, lambda: become(lambda rng: 2.0))
    simulation.at(seconds * 3 / 4, lambda: become(usual))
    simulation.load(rate, 0.0, seconds)
    simulation.run(seconds + SETTLE)
    return figures(simulation)


def failing_replica(
    policy: Policy, count: int, rate: float, attempts: int, seconds: float = 60.0, seed: int = 1, ejects: bool = True
) -> Figures:
    """One replica answers with an error after 1 ms for the middle half of the time, the others do well in 50 ms."""
    replicas = replicas_of(count, jittered(0.05), workers=512)
    options = BalancerOptions(policy=policy, retries=Retries(attempts=attempts))
    if not ejects:
        options = BalancerOptions(policy=policy, retries=Retries(attempts=attempts), outliers=None)
    simulation = Simulation(replicas, options, seed)
    broken = replicas[0]

    def become(fails_in: float | None) -> None:
        broken.fails_in = fails_in

    simulation.at(seconds / 4, lambda: become(0.001))
    simulation.at(seconds * 3 / 4, lambda: become(None))
    simulation.load(rate, 0.0, seconds)
    simulation.run(seconds + SETTLE)
    return figures(simulation)


def probes_within(seconds: float) -> int:
    """How many probes an endpoint that goes on failing gets in that time, at most: jitter only makes waits longer."""
    probes = 0
    wait = 1.0
    total = 0.0
    while total + wait <= seconds:
        total += wait
        probes += 1
        wait = min(wait * 2, 60.0)
    return probes


def total_outage(rate: float, seconds: float = 60.0, seed: int = 1) -> tuple[Figures, float]:
    """All replicas answer with errors from the start. Figures, and the largest share of the attempts of any 10 ms."""
    replicas = replicas_of(5, jittered(0.01))
    for replica in replicas:
        replica.fails_in = 0.001
    simulation = Simulation(replicas, BalancerOptions(), seed)
    peaks: dict[int, int] = {}
    simulation.on_attempt = lambda: _count(peaks, int(simulation.now * 100))
    simulation.load(rate, 0.0, seconds)
    simulation.run(seconds + SETTLE)
    mean = simulation.attempts / (seconds * 100)
    return figures(simulation), max(peaks.values()) / mean


def killed_at_once(killed: int = 7, count: int = 10, rate: float = 500.0, seed: int = 1) -> Figures:
    """So many replicas are killed at the same moment; DNS drops them 5 s later."""
    replicas = replicas_of(count, jittered(0.01), workers=256)
    simulation = Simulation(replicas, BalancerOptions(), seed)
    for replica in replicas[:killed]:
        simulation.at(10.0, lambda replica=replica: simulation.kill(replica))  # type: ignore[misc]
    simulation.at(15.0, lambda: simulation.publish(replicas[killed:]))
    simulation.load(rate, 0.0, 20.0)
    simulation.run(20.0 + SETTLE)
    return figures(simulation)


def hanging_replica(per_try: float | None, count: int = 4, rate: float = 500.0, seed: int = 1) -> Figures:
    """One replica takes requests and never answers, from 10 s on; calls have 5 s in all."""
    replicas = replicas_of(count, jittered(0.01), workers=256)
    simulation = Simulation(replicas, BalancerOptions(retries=Retries(per_try_timeout=per_try)), seed)

    def hang() -> None:
        replicas[0].hangs = True

    simulation.at(10.0, hang)
    simulation.load(rate, 0.0, 20.0, timeout=5.0)
    simulation.run(20.0 + SETTLE)
    return figures(simulation)


def _count(peaks: dict[int, int], slot: int) -> None:
    peaks[slot] = peaks.get(slot, 0) + 1
