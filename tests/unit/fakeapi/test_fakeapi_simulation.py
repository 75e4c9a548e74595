"""The simulation itself: time, order, what becomes of a request; and that reflectors converge after random faults."""

from __future__ import annotations

import math
import random

import pytest

from kdns.kube.decode import ObjectDecoder
from kdns.kube.mirror import Mirror, resources_for
from kdns.kube.reflector import Reflector
from kdns.kube.request import Resource
from kdns.kube.schema import SchemaOptions
from tests.support.fakeapi.apiserver import Behaviour
from tests.support.fakeapi.builders import endpoint_slice, namespace, port, service
from tests.support.fakeapi.cache import End
from tests.support.fakeapi.churn import Churn
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.faults import Connection, Cut, Reply
from tests.support.fakeapi.resources import TYPES
from tests.support.fakeapi.simulation import Known, Mirrored, Reflectors, Simulation, truth
from tests.support.fakeapi.troubles import TROUBLES, Troubles

RESOURCES = [Resource(kind.kind, kind.group_version, kind.plural) for kind in TYPES.values()]
# Twice the longest backoff, and the silence after which a reflector asks.
CALM_SECONDS = 300.0


class Run:
    """Four reflectors and a cluster, from one seed."""

    def __init__(self, seed: int = 1, troubles: Troubles | None = None, behaviour: Behaviour | None = None) -> None:
        self.cluster = FakeCluster(random.Random(seed), behaviour=behaviour)
        self.known, self.decoder = Known(), ObjectDecoder()
        rng = random.Random(seed)
        self.reflectors = [Reflector(one, self.decoder, rng, 0.0) for one in RESOURCES]
        followers = Reflectors(self.reflectors, self.known.take)
        self.simulation = Simulation(self.cluster, followers, rng, troubles)

    def assert_converged(self) -> None:
        for resource in RESOURCES:
            expected = truth(self.cluster, resource.plural, self.decoder)
            assert self.known.objects(resource.kind) == expected, self.known.notices[-20:]
        assert all(one.is_live for one in self.reflectors)


def test_what_is_there_and_what_is_written_is_known() -> None:
    run = Run()
    run.simulation.at(10.0, lambda: run.cluster.apply(namespace("shop"), 10.0))
    run.simulation.at(11.0, lambda: run.cluster.apply(service("shop", "web", [port(80)]), 11.0))
    run.simulation.run_until(12.0)
    run.assert_converged()
    assert ("Service", "shop", "web") in run.known.objects("Service")


def test_a_run_follows_from_its_seed() -> None:
    def notices(seed: int) -> list[str]:
        run = Run(seed, Troubles(60.0, 5.0))
        run.simulation.run_until(1800.0)
        return run.known.notices

    assert notices(3) == notices(3) != notices(4)


def test_a_quiet_day_costs_a_request_each_few_minutes_and_nothing_piles_up() -> None:
    run = Run()
    run.simulation.run_until(86_400.0)
    requests = run.cluster.server.seen
    assert len(requests) < 4 * 86_400 / 300 + 4
    assert run.simulation.queued < 30
    assert len(run.cluster.watches()) == run.simulation.open_exchanges == 4
    assert [one.statistics.lists for one in run.reflectors] == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["refused", "unreachable", "timeout", "tls", "credentials"])
def test_without_a_connection_a_request_fails_as_it_would(kind: str) -> None:
    run = Run()
    run.simulation.network.down = Connection(kind)
    run.simulation.run_until(6.0)
    assert not run.cluster.server.seen
    assert run.reflectors[0].statistics.failures.keys() == {kind}
    run.simulation.calm(60.0)
    run.assert_converged()


def test_a_watch_that_is_cut_goes_on_without_a_list() -> None:
    run = Run()
    run.cluster.apply(namespace("shop"), 0.0)
    run.cluster.faults.add(Cut("eof", 3000), "services", on="watch", times=1)
    for second in range(1, 30):
        made = service("shop", f"web-{second}", [port(80)])
        run.simulation.at(float(second), lambda value=made: run.cluster.apply(value, run.simulation.now))
    run.simulation.run_until(60.0)
    run.assert_converged()
    assert run.reflectors[1].statistics.relists == 0


def test_a_restart_of_the_servers_makes_everybody_list_anew() -> None:
    run = Run()
    run.simulation.run_until(10.0)
    run.cluster.store.tick(10)
    run.simulation.at(20.0, lambda: run.cluster.restart(end=End.BROKEN))
    run.simulation.run_until(40.0)
    run.assert_converged()
    assert [one.statistics.relists for one in run.reflectors] == [1, 1, 1, 1]


def test_nothing_gets_through_a_silent_network_and_nobody_is_told() -> None:
    run = Run()
    run.simulation.run_until(10.0)
    run.simulation.network.is_silent = True
    run.simulation.sever()
    run.simulation.at(20.0, lambda: run.cluster.apply(namespace("shop"), 20.0))
    run.simulation.run_until(60.0)
    assert ("Namespace", "", "shop") not in run.known.objects("Namespace")
    assert all(one.is_live for one in run.reflectors)
    run.simulation.run_until(120.0)
    assert not any(one.is_live for one in run.reflectors)
    run.simulation.calm(120.0)
    run.assert_converged()


def test_permanent_refusal_is_asked_for_as_seldom_as_the_backoff_says() -> None:
    run = Run()
    run.cluster.faults.add(Reply("500"), times=None)
    run.simulation.run_until(3600.0)
    assert len(run.cluster.server.seen) < 4 * (3600 / 30 + 10)
    assert run.simulation.queued < 30


def test_a_replica_that_lags_is_caught_up_with() -> None:
    run = Run()
    run.cluster.add_server(Behaviour(lag_seconds=2.5))
    run.simulation.network.replica = None
    churn = Churn(run.cluster, random.Random(1))
    churn.fill(20, 0.0)
    for second in range(1, 300):
        run.simulation.at(float(second), lambda now=second: churn.write(float(now)))
        if second % 7 == 0:
            run.simulation.at(float(second), run.simulation.reset)
    run.simulation.run_until(400.0)
    run.assert_converged()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_is_got_over(trouble: str) -> None:
    run = Run(11, Troubles(100.0, 3.0, {trouble: TROUBLES[trouble]}))
    run.simulation.run_until(3600.0)
    run.simulation.calm(CALM_SECONDS)
    run.assert_converged()
    assert len(run.cluster.watches()) == 4


@pytest.mark.parametrize("seed", range(5))
def test_reflectors_converge_after_hours_of_random_troubles(seed: int) -> None:
    troubles = Troubles(60.0, 5.0)
    run = Run(seed, troubles)
    run.simulation.run_until(2 * 3600.0)
    run.simulation.calm(CALM_SECONDS)
    assert len(troubles.happened) > 60
    run.assert_converged()
    assert run.simulation.queued < 30


def test_a_mirror_is_followed_as_well() -> None:
    cluster = FakeCluster()
    options = SchemaOptions()
    mirror = Mirror(0, options, resources_for(options, ""), random.Random(1), 0.0)
    images: list[float] = []

    def take(turn: object, now: float) -> None:
        if getattr(turn, "is_image", False):
            images.append(now)

    simulation = Simulation(cluster, Mirrored(mirror, take), random.Random(1))
    cluster.apply(namespace("shop"), 0.0)
    cluster.apply(service("shop", "web", [port(80)]), 0.0)
    cluster.apply(endpoint_slice("shop", "web-1", "web", ["10.0.0.1"]), 0.0)
    simulation.run_until(5.0)
    assert not mirror.lacks
    assert images
    assert max(images) < 1.0
    assert math.isfinite(mirror.wake_at)
