"""Short forms of bench/client.py: the production balancer under load in fake time, seeded."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from bench import simulated
from kdns.client.options import BalancerOptions, Outliers, Policy
from kdns.client.testing.simulation import NETWORK, Simulation, jittered

PEAK, LEAST, ROBIN = Policy.PEAK_EWMA, Policy.LEAST_REQUEST, Policy.ROUND_ROBIN


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("kdns.client")
    former = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(former)


class TestEvenness:
    def test_equal_replicas_get_equal_load(self) -> None:
        run = simulated.even_load(PEAK, hiccups=False, seconds=30.0)
        assert run.unevenness <= 1.10
        assert run.failed == 0
        assert run.attempts == run.requests

    def test_rare_hiccups_do_not_starve_whoever_had_one(self) -> None:
        assert simulated.even_load(PEAK, hiccups=True, seconds=30.0).unevenness <= 1.3

    def test_a_new_replica_gets_its_share_at_once(self) -> None:
        assert 0.8 <= simulated.new_replica(PEAK) <= 1.4

    @pytest.mark.parametrize("policy", [LEAST, ROBIN])
    def test_other_policies_are_even_too(self, policy: Policy) -> None:
        assert simulated.even_load(policy, hiccups=False, seconds=20.0).unevenness <= 1.15


class TestASlowReplica:
    def test_is_avoided_by_peak_ewma_among_eleven(self) -> None:
        assert simulated.slow_replica(PEAK, 11, 1000.0, seconds=30.0).within >= 0.998

    def test_is_avoided_by_peak_ewma_among_three(self) -> None:
        assert simulated.slow_replica(PEAK, 3, 300.0).within >= 0.995

    def test_gets_its_turn_by_round_robin_as_measured_elsewhere(self) -> None:
        within = simulated.slow_replica(ROBIN, 11, 1000.0, seconds=30.0).within
        assert 0.945 <= within <= 0.965  # Linkerd 2016: 95 %


class TestAFailingReplica:
    def test_costs_no_more_than_the_threshold_and_its_probes(self) -> None:
        run = simulated.failing_replica(PEAK, 3, 300.0, attempts=1)
        assert run.failed <= Outliers().consecutive + simulated.probes_within(30.0)

    def test_costs_nothing_with_one_retry(self) -> None:
        run = simulated.failing_replica(PEAK, 3, 300.0, attempts=2)
        assert run.failed == 0
        assert run.per_request <= 1.005

    def test_draws_most_of_the_load_where_nothing_is_ejected_or_penalised(self) -> None:
        assert simulated.failing_replica(LEAST, 3, 300.0, attempts=1, ejects=False).failed > 3000


class TestOutages:
    @pytest.mark.parametrize("rate", [1000.0, 50.0])
    def test_of_all_replicas_multiply_the_load_by_the_budget_and_no_more(self, rate: float) -> None:
        run, _ = simulated.total_outage(rate, seconds=30.0)
        assert run.failed == run.requests
        assert run.per_request <= 1.2 + 10.0 / rate + 0.005

    def test_of_most_replicas_fail_no_idempotent_call(self) -> None:
        run = simulated.killed_at_once()
        assert run.failed == 0
        assert run.requests > 9000

    def test_a_hanging_replica_fails_nobody_with_a_per_try_timeout(self) -> None:
        assert simulated.hanging_replica(1.0).failed == 0


class TestTheSimulationItself:
    def test_is_the_same_each_time(self) -> None:
        one, other = (simulated.even_load(PEAK, hiccups=True, seconds=3.0, seed=9) for _ in range(2))
        assert one == other

    def test_queues_what_a_replica_has_no_worker_for(self) -> None:
        simulation = Simulation(simulated.replicas_of(1, lambda rng: 1.0, workers=1))
        for _ in range(3):
            simulation.at(0.0, lambda: simulation._begin(True, 100.0))
        simulation.run(10.0)
        waits = sorted(result.seconds for result in simulation.results)
        assert waits == pytest.approx([1.0 + 2 * NETWORK, 2.0 + 2 * NETWORK, 3.0 + 2 * NETWORK])

    def test_a_killed_replica_resets_what_it_works_on_and_refuses_the_next(self) -> None:
        replicas = simulated.replicas_of(2, lambda rng: 1.0)
        simulation = Simulation(replicas, BalancerOptions(policy=ROBIN))
        for _ in range(4):
            simulation.at(0.0, lambda: simulation._begin(False, 100.0))
        simulation.at(0.5, lambda: simulation.kill(replicas[0]))
        simulation.run(5.0)
        assert sorted(result.ok for result in simulation.results) == [False, False, True, True]

    def test_a_restarted_replica_is_found_again(self) -> None:
        replicas = simulated.replicas_of(2, jittered(0.002))
        simulation = Simulation(replicas)
        simulation.at(1.0, lambda: simulation.kill(replicas[0]))
        simulation.at(8.0, lambda: simulation.restart(replicas[0]))
        simulation.load(200.0, 0.0, 25.0)
        simulation.run(15.0)
        before = replicas[0].received
        simulation.run(30.0)
        assert replicas[0].received - before > 500
        assert all(result.ok for result in simulation.results)
        assert simulation.resolutions > 0
