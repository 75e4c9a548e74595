"""In a world of lossy, slow, dead and lying upstreams the resolver keeps what it promises."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.exchange import ORPHANS_MAX, SENDS_MAX
from kdns.forward.health import HEDGE_MAX
from kdns.forward.values import CacheSpec, Fault, ForwardSpec, Limits, Policy, Send
from kdns.wire.iana import Rcode, RRType
from kdns.wire.outside import Ask, Purpose, Source, Told
from kdns.wire.query import CD_BIT, RD_BIT
from tests.unit.forward.messages import ask, forward, group, upstream
from tests.unit.forward.world import (
    Behaviour,
    Deed,
    World,
    dead,
    denying,
    faulty,
    garbled,
    good,
    lossy,
    lying,
    only_over_tcp,
    saying,
    without_edns,
)

EPSILON = 1e-6
LIMITS = Limits(in_flight=12, client_in_flight=5)
HOSTS = [f"127.0.0.{number}" for number in (1, 2, 3)]
BEHAVIOURS: list[Behaviour] = [
    good(0.01, 2),
    good(0.06, 30),
    good(0.5),
    good(1.9),
    good(0.01, 0),
    dead,
    denying(0.02, 3),
    lossy(0.3, 0.02, 3),
    lossy(0.9),
    lying,
    garbled,
    without_edns,
    *(saying(rcode) for rcode in (Rcode.SERVFAIL, Rcode.REFUSED, Rcode.FORMERR, Rcode.NOTIMP, Rcode.YXDOMAIN)),
    *(faulty(fault) for fault in (Fault.REFUSED, Fault.UNREACHABLE, Fault.BROKEN, Fault.MALFORMED, Fault.NO_ROOM)),
    *(only_over_tcp(fault) for fault in (Fault.TRUNCATED, Fault.NO_CASE)),
]


def fickle(phases: list[Behaviour]) -> Behaviour:
    """Another behaviour every second."""

    def behave(send: Send, world: World) -> Deed:
        return phases[int(world.now) % len(phases)](send, world)

    return behave


UPSTREAMS = st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=4).map(fickle)
CACHES = st.one_of(
    st.none(),
    st.builds(
        CacheSpec,
        success_capacity=st.sampled_from([0, 1, 3, 9984]),
        denial_capacity=st.sampled_from([0, 2, 9984]),
        success_ttl=st.sampled_from([1, 30, 3600]),
        prefetch_hits=st.sampled_from([0, 1, 2]),
        prefetch_percent=st.sampled_from([10, 50, 90]),
        stale=st.sampled_from([0.0, 1.0, 3600.0]),
        is_verifying=st.booleans(),
        failure=st.sampled_from([0.0, 1.0, 5.0]),
    ),
)
FORWARDS = st.builds(
    forward,
    *(st.just(upstream(number)) for number in (1, 2, 3)),
    policy=st.sampled_from(Policy),
    max_fails=st.sampled_from([0, 1, 2]),
    max_concurrent=st.sampled_from([0, 0, 3]),
    force_tcp=st.booleans(),
    is_failing_fast=st.booleans(),
    failover=st.sampled_from([(), (Rcode.NXDOMAIN,)]),
)
# A type that looks like a letter.
TYPES = {"https.example": RRType.HTTPS}
ASKS = st.lists(
    st.tuples(
        st.floats(0, 8),
        st.sampled_from(["a.example", "b.example", "c.example", "d.example", "e.example", "https.example"]),
        st.integers(1, 4),
        st.sampled_from([RD_BIT, RD_BIT, RD_BIT | CD_BIT, 0]),
        st.booleans(),
        st.sampled_from([Purpose.CLIENT, Purpose.CLIENT, Purpose.CLIENT, Purpose.PREFETCH]),
    ),
    min_size=1,
    max_size=60,
)


class Watched:
    """A world in which each ask is noted, and what must always hold is looked at after each event."""

    def __init__(self, world: World, asks: list[tuple[float, Ask]]) -> None:
        self.world = world
        self.asks = {one.number: (when, one) for when, one in asks}
        world.after = self._check_bounds
        for when, one in asks:
            world.ask(one, when)
        world.run(60.0)

    def _check_bounds(self) -> None:
        resolver, limits = self.world.resolver, self.world.limits
        assert resolver.waiting <= limits.in_flight
        assert resolver.in_flight <= limits.in_flight
        messages = len(resolver._exchange)
        assert messages <= limits.in_flight * SENDS_MAX + ORPHANS_MAX + len(resolver.upstreams)

    def check_each_is_told_once_in_time(self) -> None:
        assert Counter(told.number for told in self.world.tells()) == Counter(list(self.asks))
        for when, _, told in self.world.told:
            assert when - self.asks[told.number][0] <= self.world.limits.patience + EPSILON
        assert self.world.resolver.waiting == self.world.resolver.in_flight == 0
        assert not self.world.resolver._exchange._orphans
        assert not any(route.flights for group in self.world.resolver.groups.values() for route in group.routes)

    def check_each_has_its_own_answer(self) -> None:
        for told in self.world.tells():
            if told.counts[0]:
                assert self.world.answers[told.body[-4:]][0] == self.asks[told.number][1].question

    def check_no_ttl_rises(self) -> None:
        """Each answer, whoever is told of it and when, is over when its upstream said, to the second."""
        first: dict[bytes, float] = {}
        for when, _, told in self.world.told:
            if told.counts[0] and told.source is not Source.STALE:
                rdata = told.body[-4:]
                ends = first.setdefault(rdata, when) + self.world.answers[rdata][1]
                assert told.ttls[0] == read_ttl(told)
                assert when + told.ttls[0] <= ends + 1
                assert when + told.keep <= ends + EPSILON


def read_ttl(told: Told) -> int:
    return int.from_bytes(told.body[told.ttl_at[0] : told.ttl_at[0] + 4], "big")


@given(st.lists(UPSTREAMS, min_size=3, max_size=3), FORWARDS, CACHES, ASKS, st.integers(0, 1 << 30))
def test_every_question_is_told_once_in_time_and_of_its_own_answer(
    upstreams: list[Behaviour],
    line: ForwardSpec,
    cache: CacheSpec | None,
    asks: list[tuple[float, str, int, int, bool, Purpose]],
    seed: int,
) -> None:
    world = World(dict(zip(HOSTS, upstreams, strict=True)), group(line, cache=cache), limits=LIMITS, seed=seed)
    questions = [
        (
            when,
            ask(name, number, bytes((10, 0, 0, client)), flags, purpose, dnssec_ok, rrtype=TYPES.get(name, RRType.A)),
        )
        for number, (when, name, client, flags, dnssec_ok, purpose) in enumerate(asks)
    ]
    watched = Watched(world, questions)
    watched.check_each_is_told_once_in_time()
    watched.check_each_has_its_own_answer()
    watched.check_no_ttl_rises()


@given(st.floats(0.001, 0.19), st.sampled_from(Policy), st.integers(0, 1 << 30))
def test_a_dead_upstream_costs_250_ms_once_and_nothing_after(rtt: float, policy: Policy, seed: int) -> None:
    behaviours = {HOSTS[0]: good(rtt), HOSTS[1]: good(rtt)}
    world = World(behaviours, group(forward(policy=policy)), seed=seed)
    for number in range(200):
        world.ask(ask(f"n{number}.example", number), number * 0.05)
    world.run(3.01)
    behaviours[HOSTS[0]] = dead
    world.run(30.0)
    spent = delays(world, 0.05)
    late = [when for when, delay in spent if delay > rtt + EPSILON]
    assert len(spent) == 200
    assert all(delay <= rtt + 0.25 for _, delay in spent)
    # Those that were asked of it before it was doubted, and none that came later.
    assert not late or max(late) - min(late) <= HEDGE_MAX + EPSILON


def delays(world: World, interval: float) -> list[tuple[float, float]]:
    """When each question was asked, and how long it took."""
    return [(told.number * interval, when - told.number * interval) for when, _, told in world.told]


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 1 << 30))
def test_a_noisy_client_never_takes_the_room_of_a_quiet_one(noise: int, quiet: int, seed: int) -> None:
    """While all upstreams are silent, those who ask little lose nothing to the one who asks much."""
    world = World(dict.fromkeys(HOSTS, dead), group(forward(upstream(1)), cache=None), limits=LIMITS, seed=seed)
    noisy = [ask(f"noise{number}.example", number, b"noisy") for number in range(noise)]
    polite = [ask(f"quiet{number}.example", 1000 + number, b"quiet%d" % number) for number in range(quiet)]
    for one in noisy + polite:
        world.ask(one)
    world.run(1.0)
    assert not [told for told in world.tells() if told.number >= 1000]
    world.run(10.0)
    assert len(world.tells()) == len(noisy) + len(polite)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=20, max_size=60),
    st.integers(0, 1 << 30),
)
def test_noisy_clients_never_take_a_line_from_a_quiet_one(noise: list[tuple[int, bool]], seed: int) -> None:
    """`max_concurrent` bounds the line, far below what clients may have waiting: the quiet one gets in."""
    world = World(dict.fromkeys(HOSTS, dead), group(forward(upstream(1), max_concurrent=6)), seed=seed)
    for number, (client, is_shared) in enumerate(noise):
        name = f"shared{number % 5}.example" if is_shared else f"noise{number}.example"
        world.ask(ask(name, number, b"noisy%d" % client))
        if number % 20 == 15:
            world.ask(ask("quiet.example", 1000 + number, b"quiet"))
    world.run(1.0)
    assert not [told for told in world.tells() if told.number >= 1000]
    assert world.resolver.groups[0].routes[0].flights <= 6
    world.run(10.0)
    assert world.resolver.groups[0].routes[0].flights == world.resolver.waiting == 0
