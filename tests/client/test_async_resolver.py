"""The resolver that apps await, in fake time and over a scripted DNS: who asks how often, and what readers have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from threading import Thread
from typing import TypeVar

import pytest

from kdns.client.backend import Kind, Question, Reply
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import Closed, NoEndpoints, TargetError
from kdns.client.hooks import Hooks, Resolved
from kdns.client.options import ResolverOptions
from kdns.client.resolver import Resolver
from kdns.client.testing import FakeClock
from tests.support.scripted_backend import (
    AAAA,
    FAILURE,
    NXDOMAIN,
    SRV,
    A,
    ScriptedBackend,
    services,
)

T = TypeVar("T")
WEB = "dns:///web.example:80"
NAME = "web.example."
HOUR = 3600.0


class World:
    """A resolver, its DNS and its time."""

    def __init__(self, **options: object) -> None:
        self.clock = FakeClock()
        self.dns = ScriptedBackend()
        self.dns.say(NAME, ["10.0.0.1", "10.0.0.2"])
        self.events: list[Resolved] = []
        world = self

        class Seen(Hooks):
            def resolved(self, event: Resolved) -> None:
                world.events.append(event)

        self.resolver = Resolver(
            ResolverOptions(domain="cluster.local", namespace="shop", **options),  # type: ignore[arg-type]
            backend=lambda: self.dns,
            hooks=[Seen()],
            clock=self.clock,
            rng=Random(1),
        )

    def run(self, act: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            async with self.resolver:
                return await act()

        return self.clock.run(main())


def hosts(found: EndpointSet | None) -> list[str]:
    return sorted(endpoint.host for endpoint in found or ())


def test_a_thousand_callers_are_one_query_for_each_name_and_type() -> None:
    world = World()

    async def act() -> None:
        found = await asyncio.gather(*(world.resolver.resolve(WEB) for _ in range(1000)))
        assert all(one is found[0] for one in found)
        assert hosts(found[0]) == ["10.0.0.1", "10.0.0.2"]

    world.run(act)
    assert world.dns.asked == {Question(NAME, A): 1, Question(NAME, AAAA): 1}


def test_targets_of_one_name_share_its_queries() -> None:
    world = World()

    async def act() -> None:
        one, other = await asyncio.gather(
            world.resolver.resolve(WEB), world.resolver.resolve("dns:///web.example:443")
        )
        assert {one[0].port, other[0].port} == {80, 443}

    world.run(act)
    assert set(world.dns.asked.values()) == {1}


def test_in_steady_use_a_ttl_costs_at_most_thirteen_tenths_of_a_query() -> None:
    world = World()

    async def act() -> None:
        for _ in range(100 * 30 * 2):
            await world.resolver.resolve(WEB)
            await asyncio.sleep(0.5)

    world.run(act)
    assert 100 <= world.dns.asked[Question(NAME, A)] <= 130


def test_in_steady_use_nobody_ever_waits() -> None:
    world = World()

    async def act() -> None:
        await world.resolver.resolve(WEB)
        for _ in range(1000):
            await asyncio.sleep(1.0)
            before = world.clock()
            await world.resolver.resolve(WEB)
            assert world.clock() == before

    world.run(act)


def test_half_a_day_without_dns_fails_no_request_and_delays_none() -> None:
    world = World()

    async def act() -> None:
        await world.resolver.resolve(WEB)
        world.dns.say_all(FAILURE)
        world.dns.after = 5.0  # whoever waited would wait so long
        for _ in range(int(12 * HOUR)):
            await asyncio.sleep(1.0)
            before = world.clock()
            found = await world.resolver.resolve(WEB)
            assert hosts(found) == ["10.0.0.1", "10.0.0.2"]
            assert world.clock() == before
        assert found.is_stale(world.clock())
        assert found.problem == "no answer in 5 s"
        assert world.dns.asked[Question(NAME, A)] < 12 * HOUR / 25  # waits double up to half a minute
        world.dns.say(NAME, ["10.0.0.3"])
        world.dns.after = 0.01
        await asyncio.sleep(60.0)
        await world.resolver.resolve(WEB)
        await asyncio.sleep(1.0)
        assert hosts(await world.resolver.resolve(WEB)) == ["10.0.0.3"]

    world.run(act)


def test_after_a_whole_day_what_is_stale_is_given_up() -> None:
    world = World(stale_most=600.0)

    async def act() -> None:
        await world.resolver.resolve(WEB)
        world.dns.say_all(FAILURE)
        for _ in range(100):
            await asyncio.sleep(10.0)
            world.resolver.current(WEB)
        with pytest.raises(NoEndpoints, match="no answer in 5 s"):
            await world.resolver.resolve(WEB)

    world.run(act)


@pytest.mark.parametrize("denial", [NXDOMAIN, Reply(Kind.NODATA, ttl=5.0, text="NODATA of 10.96.0.10")])
def test_a_denial_clears_when_it_is_seen_twice_a_second_apart(denial: Reply) -> None:
    world = World()

    async def act() -> None:
        known = await world.resolver.resolve(WEB)
        world.dns.say_all(denial)
        seen: list[float] = []
        while len(seen) < 2:
            await asyncio.sleep(0.05)
            current = world.resolver.current(WEB)
            assert current is not None
            if current.problem is not None and not seen:
                seen.append(world.clock())
                assert hosts(current) == hosts(known)
                assert current.problem.endswith("seen once")
            if not current.endpoints:
                seen.append(world.clock())
        assert seen[1] - seen[0] >= 0.95
        with pytest.raises(NoEndpoints, match=r"was read as A and AAAA of web\.example\., port 80 as"):
            await world.resolver.resolve(WEB)

    world.run(act)


def test_a_denial_that_is_not_confirmed_is_forgotten() -> None:
    world = World()

    async def act() -> None:
        await world.resolver.resolve(WEB)
        world.dns.say_all(NXDOMAIN)
        await asyncio.sleep(29.0)
        world.resolver.current(WEB)
        await asyncio.sleep(0.1)
        known = world.resolver.current(WEB)
        assert known is not None
        assert known.problem is not None
        world.dns.say(NAME, ["10.0.0.1", "10.0.0.2"])
        await asyncio.sleep(1.5)
        world.resolver.current(WEB)
        await asyncio.sleep(0.1)
        known = world.resolver.current(WEB)
        assert known is not None
        assert known.problem is None
        assert len(known) == 2

    world.run(act)


def test_the_reason_and_its_age_come_with_the_error() -> None:
    world = World()
    world.dns.say_all(NXDOMAIN)

    async def act() -> None:
        for _ in range(3):
            with pytest.raises(NoEndpoints) as raised:
                await world.resolver.resolve(WEB)
            await asyncio.sleep(2.0)
        assert raised.value.since == pytest.approx(4.0, abs=0.1)
        assert raised.value.reason.startswith("NXDOMAIN of 10.96.0.10")

    world.run(act)
    assert world.dns.asked[Question(NAME, A)] == 1  # its negative TTL holds


def test_what_expired_while_nobody_asked_is_waited_for_but_not_for_ever() -> None:
    world = World()

    async def act() -> None:
        await world.resolver.resolve(WEB)
        await asyncio.sleep(HOUR)
        world.dns.say(NAME, ["10.0.0.9"])
        assert world.resolver.current(WEB) is None
        assert hosts(await world.resolver.resolve(WEB)) == ["10.0.0.9"]
        await asyncio.sleep(HOUR)
        world.dns.is_held = True
        before = world.clock()
        assert hosts(await world.resolver.resolve(WEB)) == ["10.0.0.9"]
        assert world.clock() - before == pytest.approx(1.8)

    world.run(act)


def test_a_failed_endpoint_asks_dns_anew_past_every_cache_a_second_apart() -> None:
    world = World()

    async def act() -> None:
        await world.resolver.resolve(WEB)
        for _ in range(100):
            world.resolver.failed(WEB)
            world.resolver.current(WEB)
            await asyncio.sleep(0.1)

    world.run(act)
    assert 9 <= world.dns.asked[Question(NAME, A)] - 1 <= 10
    assert 9 <= world.dns.flushed <= 10


def test_who_is_cancelled_takes_nobody_along() -> None:
    world = World()
    world.dns.is_held = True

    async def act() -> None:
        waiting = [asyncio.create_task(world.resolver.resolve(WEB)) for _ in range(3)]
        await asyncio.sleep(0.1)
        waiting[0].cancel()
        await asyncio.sleep(0.1)
        world.dns.let_go()
        assert len(await waiting[1]) == len(await waiting[2]) == 2
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]

    world.run(act)
    assert set(world.dns.asked.values()) == {1}


def test_watchers_are_told_of_other_endpoints_and_of_nothing_else() -> None:
    world = World(ttl_least=1.0)
    world.dns.say(NAME, ["10.0.0.1"], ttl=1.0)

    async def act() -> list[list[str]]:
        seen = []

        async def watch() -> None:
            async for known in world.resolver.watch(WEB):
                seen.append(hosts(known))  # noqa: PERF401 - each as it comes: the iterator never ends

        task = asyncio.create_task(watch())
        await asyncio.sleep(10.0)
        world.dns.say(NAME, ["10.0.0.1", "10.0.0.2"], ttl=1.0)
        await asyncio.sleep(2.0)
        world.dns.say_all(NXDOMAIN)
        await asyncio.sleep(5.0)
        task.cancel()
        return seen

    assert world.run(act) == [["10.0.0.1"], ["10.0.0.1", "10.0.0.2"], []]


def test_srv_answers_bring_port_and_addresses_in_one_query() -> None:
    world = World()
    name = "_http._tcp.web.shop.svc.cluster.local."
    world.dns.replies[Question(name, SRV)] = services({"a.web.shop.svc.cluster.local.": "10.0.0.1"})

    async def act() -> None:
        (endpoint,) = await world.resolver.resolve("web:http")
        assert (endpoint.host, endpoint.port, endpoint.name) == ("10.0.0.1", 8080, "a.web.shop.svc.cluster.local")

    world.run(act)
    assert world.dns.asked == {Question(name, SRV): 1}


def test_srv_hosts_without_addresses_are_asked_for() -> None:
    world = World()
    name, host = "_http._tcp.web.shop.svc.cluster.local.", "a.web.shop.svc.cluster.local."
    world.dns.replies[Question(name, SRV)] = services({host: "10.0.0.1"})._replace(addresses=())
    world.dns.say(host, ["10.0.0.1"], ["fd00::1"])

    async def act() -> None:
        assert hosts(await world.resolver.resolve("web:http")) == ["10.0.0.1", "fd00::1"]

    world.run(act)
    assert set(world.dns.asked.values()) == {1}


def test_one_family_that_fails_does_not_hide_the_other() -> None:
    world = World()
    world.dns.replies[Question(NAME, AAAA)] = FAILURE

    async def act() -> None:
        found = await world.resolver.resolve(WEB)
        assert len(found) == 2
        assert found.expires_at - found.resolved_at == pytest.approx(1.0)  # and is asked for soon again

    world.run(act)


def test_static_targets_ask_nobody() -> None:
    world = World()

    async def act() -> None:
        assert len(await world.resolver.resolve("static://10.0.0.1:80,[fd00::1]:80")) == 2

    world.run(act)
    assert not world.dns.asked


def test_hooks_see_each_resolution_and_what_was_before() -> None:
    world = World()

    async def act() -> None:
        await world.resolver.resolve(WEB)
        world.dns.say(NAME, ["10.0.0.3"])
        world.resolver.failed(WEB)
        await asyncio.sleep(2.0)
        await world.resolver.resolve(WEB)
        await asyncio.sleep(1.0)

    world.run(act)
    first, second = world.events
    assert (first.target, first.former, hosts(first.endpoints)) == (WEB, None, ["10.0.0.1", "10.0.0.2"])
    assert second.former is first.endpoints or hosts(second.former) == hosts(first.endpoints)
    assert hosts(second.endpoints) == ["10.0.0.3"]
    assert first.seconds == pytest.approx(0.01)


def test_only_so_many_targets_are_kept() -> None:
    world = World(targets_most=10)

    async def act() -> None:
        for number in range(30):
            await world.resolver.resolve(f"static://10.0.0.1:{80 + number}")
        assert len(world.resolver._sets) == 10

    world.run(act)


def test_what_is_no_target_is_said_at_once() -> None:
    world = World()

    async def act() -> None:
        with pytest.raises(TargetError):
            world.resolver.current("web")
        with pytest.raises(TargetError):
            await world.resolver.resolve("http://web")

    world.run(act)


def test_close_wakes_whoever_waits_and_closes_the_backend() -> None:
    world = World()
    world.dns.is_held = True

    async def act() -> None:
        waiting = asyncio.create_task(world.resolver.resolve(WEB))
        await asyncio.sleep(0.1)
        await world.resolver.close()
        with pytest.raises(Closed):
            await waiting
        with pytest.raises(Closed):
            await world.resolver.resolve(WEB)

    world.run(act)
    assert world.dns.closed == 1


def test_loops_one_after_another_share_what_is_known() -> None:
    world = World()
    first = world.clock.run(world.resolver.resolve(WEB))
    second = world.clock.run(world.resolver.resolve(WEB))
    assert first is second
    assert set(world.dns.asked.values()) == {1}


def test_a_loop_that_was_closed_with_a_query_out_holds_nobody_up() -> None:
    world = World()
    world.dns.is_held = True

    async def leave() -> None:
        world.resolver.current(WEB)
        task = asyncio.create_task(world.resolver.resolve(WEB))
        await asyncio.sleep(0)
        task.cancel()

    world.clock.run(leave())
    world.dns.is_held = False
    assert len(world.clock.run(world.resolver.resolve(WEB))) == 2


def test_loops_at_once_share_one_query_and_each_is_woken() -> None:
    dns = ScriptedBackend()
    dns.say(NAME, ["10.0.0.1"])
    dns.after = 0.05
    resolver = Resolver(ResolverOptions(), backend=lambda: dns)
    found: list[EndpointSet] = []

    def work() -> None:
        found.append(asyncio.run(resolver.resolve(WEB)))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    asyncio.run(resolver.close())
    assert len(found) == 8
    assert {tuple(hosts(one)) for one in found} == {("10.0.0.1",)}
