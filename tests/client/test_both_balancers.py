"""One table of what happens to a call or a lease, for the balancer that apps await and the one that threads drive.

A scenario is written once, for blocking code; `Awaited` runs it in an event loop whose time is fake.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import yaml

from kdns.client import (
    Balancer,
    BalancerOptions,
    BlockingBalancer,
    Budget,
    Closed,
    DeadlineExceeded,
    Hedge,
    Lease,
    NoEndpoints,
    OptionError,
    Outliers,
    Retries,
    Saturated,
    TargetError,
)
from kdns.client.cells import State
from kdns.client.hooks import Ejected, Ended, GaveUp, Hooks, Picked, Retried, Returned
from kdns.client.testing import BlockingScriptedResolver, FakeClock, ScriptedResolver

TARGET = "web.shop:http"
THREE = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)")
RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
Act = Callable[[Lease], Any]


class Seen(Hooks):
    """Every event, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def picked(self, event: Picked) -> None:
        self.events.append(event)

    def ended(self, event: Ended) -> None:
        self.events.append(event)

    def retried(self, event: Retried) -> None:
        self.events.append(event)

    def gave_up(self, event: GaveUp) -> None:
        self.events.append(event)

    def ejected(self, event: Ejected) -> None:
        self.events.append(event)

    def returned(self, event: Returned) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


class Threaded:
    """A blocking balancer over a scripted resolver."""

    def __init__(self, endpoints: list[str] | None = None, options: BalancerOptions | None = None) -> None:
        self.clock = FakeClock()
        self.seen = Seen()
        self.asked: Counter[str] = Counter()
        self.resolver: Any = self._resolver({TARGET: THREE if endpoints is None else endpoints})
        self.balancer: Any = self._balancer(options or BalancerOptions())

    def _resolver(self, endpoints: dict[str, list[str]]) -> Any:
        return BlockingScriptedResolver(endpoints)

    def _balancer(self, options: BalancerOptions) -> Any:
        clock = self.clock
        return BlockingBalancer(
            TARGET, options, resolver=self.resolver, hooks=[self.seen], clock=clock, sleep=clock.sleep, rng=Random(1)
        )

    def _counted(self, act: Act) -> Act:
        def counted(lease: Lease) -> Any:
            self.asked[str(lease.endpoint)] += 1
            return act(lease)

        return counted

    def call(self, act: Act, **options: Any) -> Any:
        return self.balancer.call(self._counted(act), **options)

    def acquire(self, act: Act, **options: Any) -> Any:
        with self.balancer.acquire(**options) as lease:
            return self._counted(act)(lease)

    def close(self) -> None:
        self.balancer.close()


class Awaited(Threaded):
    """The balancer that is awaited, in fake time."""

    def _resolver(self, endpoints: dict[str, list[str]]) -> Any:
        return ScriptedResolver(endpoints)

    def _balancer(self, options: BalancerOptions) -> Any:
        return Balancer(
            TARGET, options, resolver=self.resolver, hooks=[self.seen], clock=self.clock, rng=Random(1)
        )

    def call(self, act: Act, **options: Any) -> Any:
        counted = self._counted(act)

        async def fn(lease: Lease) -> Any:
            return counted(lease)

        return self.clock.run(self.balancer.call(fn, **options))

    def acquire(self, act: Act, **options: Any) -> Any:
        async def main() -> Any:
            async with self.balancer.acquire(**options) as lease:
                return self._counted(act)(lease)

        return self.clock.run(main())

    def close(self) -> None:
        self.clock.run(self.balancer.close())


BOTH = pytest.mark.parametrize("kind", [Threaded, Awaited])


def fails(error: Exception, *where: str) -> Act:
    """Raises it at those endpoints; everywhere, if none is named."""

    def act(lease: Lease) -> str:
        if not where or str(lease.endpoint) in where:
            raise error
        return str(lease.endpoint)

    return act


def outstanding(world: Threaded) -> int:
    return int(world.balancer.snapshot().outstanding)


@BOTH
def test_a_call_returns_what_the_function_does_and_leaves_nothing_out(kind: type[Threaded]) -> None:
    world = kind()
    assert world.call(lambda lease: (lease.port, lease.number)) == (80, 1)
    assert outstanding(world) == 0
    assert [type(event) for event in world.seen.events] == [Picked, Ended]


@BOTH
def test_a_refused_connection_moves_on_and_is_no_attempt(kind: type[Threaded]) -> None:
    world = kind(options=BalancerOptions(retries=Retries(attempts=1, budget=Budget(share=0.0, per_second=0.0))))
    for _ in range(20):
        assert world.call(fails(REFUSED, "10.0.0.1:80", "10.0.0.2:80")) == "10.0.0.3:80"
    assert world.asked["10.0.0.1:80"] == world.asked["10.0.0.2:80"] == 1  # each is out at once
    assert world.resolver.failures[TARGET] >= 2  # and DNS is asked
    assert [event.is_reachable for event in world.seen.of(Ejected)] == [False, False]


@BOTH
def test_if_nobody_can_be_reached_all_are_tried_and_the_last_error_is_the_callers(kind: type[Threaded]) -> None:
    world = kind()
    with pytest.raises(ConnectionRefusedError):
        world.call(fails(REFUSED))
    assert world.asked == dict.fromkeys(THREE, 1)


@BOTH
def test_an_idempotent_call_goes_to_another_endpoint(kind: type[Threaded]) -> None:
    world = kind()
    for _ in range(10):
        assert world.call(fails(RESET, "10.0.0.1:80"), idempotent=True) != "10.0.0.1:80"
    assert all(event.attempt == 2 and event.seconds <= 0.025 for event in world.seen.of(Retried))


@BOTH
def test_what_may_have_been_processed_is_not_sent_again(kind: type[Threaded]) -> None:
    world = kind()
    with pytest.raises(ConnectionResetError):
        world.call(fails(RESET))
    assert world.asked.total() == 1
    assert world.seen.of(GaveUp) == [GaveUp(TARGET, "not safe")]


@BOTH
def test_what_is_said_to_be_sent_is_not_sent_again_whatever_the_error(kind: type[Threaded]) -> None:
    world = kind()

    def act(lease: Lease) -> None:
        lease.sent()
        raise REFUSED

    with pytest.raises(ConnectionRefusedError):
        world.call(act)
    assert world.asked.total() == 1


@BOTH
def test_what_the_server_refused_before_it_began_may_go_elsewhere(kind: type[Threaded]) -> None:
    world = kind()

    def act(lease: Lease) -> str:
        if lease.number == 1:
            lease.sent()
            lease.fail("GOAWAY", safe=True)
            raise RESET
        return "second"

    assert world.call(act) == "second"


@BOTH
def test_attempts_end_at_their_number_with_the_last_error(kind: type[Threaded]) -> None:
    world = kind()
    with pytest.raises(ConnectionResetError):
        world.call(fails(RESET), idempotent=True)
    assert world.asked == dict.fromkeys(THREE, 1)  # three, and none twice
    assert world.seen.of(GaveUp) == [GaveUp(TARGET, "attempts")]


@BOTH
def test_without_budget_nothing_is_sent_again(kind: type[Threaded]) -> None:
    world = kind(options=BalancerOptions(retries=Retries(budget=Budget(share=0.0, per_second=0.0))))
    with pytest.raises(ConnectionResetError):
        world.call(fails(RESET), idempotent=True)
    assert world.seen.of(GaveUp) == [GaveUp(TARGET, "budget")]


@BOTH
def test_an_error_of_the_app_is_nobodys_failure(kind: type[Threaded]) -> None:
    world = kind()
    for _ in range(20):
        with pytest.raises(KeyError):
            world.call(fails(KeyError("app")), idempotent=True)
    assert world.asked.total() == 20
    assert not world.seen.of(Ejected)


@BOTH
def test_a_value_that_was_called_a_failure_is_the_callers_after_all(kind: type[Threaded]) -> None:
    world = kind()

    def act(lease: Lease) -> str:
        lease.fail("503")
        return f"503 of attempt {lease.number}"

    assert world.call(act, idempotent=True) == "503 of attempt 3"
    assert world.call(act) == "503 of attempt 1"


@BOTH
def test_retry_after_is_waited_for(kind: type[Threaded]) -> None:
    world = kind()
    started = world.clock()

    def act(lease: Lease) -> str:
        if lease.number == 1:
            lease.retry_after(3.0)
            return "not now"
        return "now"

    assert world.call(act, idempotent=True) == "now"
    assert world.clock() - started == pytest.approx(3.0, abs=1.0)


@BOTH
@pytest.mark.parametrize("seconds", [-1.0, 31.0])
def test_a_server_that_wants_no_other_attempt_gets_none(kind: type[Threaded], seconds: float) -> None:
    world = kind()

    def act(lease: Lease) -> str:
        lease.retry_after(seconds)
        return "no"

    assert world.call(act, idempotent=True) == "no"
    assert world.asked.total() == 1
    assert world.seen.of(GaveUp) == [GaveUp(TARGET, "pushback")]


@BOTH
def test_the_time_of_a_call_ends_its_retries(kind: type[Threaded]) -> None:
    world = kind()

    def act(lease: Lease) -> None:
        world.clock.advance(2.0)
        raise RESET

    with pytest.raises((DeadlineExceeded, ConnectionResetError)):
        world.call(act, idempotent=True, timeout=3.0)
    assert world.asked.total() <= 2


@BOTH
def test_five_failures_in_a_row_take_an_endpoint_out_and_an_answer_brings_it_back(kind: type[Threaded]) -> None:
    world = kind(options=BalancerOptions(outliers=Outliers(jitter=0.0)))
    ill = True

    def act(lease: Lease) -> str:
        world.clock.advance(0.001)
        if ill and str(lease.endpoint) == "10.0.0.1:80":
            lease.fail("500")
        return str(lease.endpoint)

    for _ in range(2000):
        world.call(act, idempotent=True)
        world.clock.advance(0.05)
    assert any("5 failures in a row, the last: 500" in event.reason for event in world.seen.of(Ejected))
    assert world.asked["10.0.0.1:80"] < 40  # a few, and a probe for each wait
    ill = False
    for _ in range(3000):
        world.call(act, idempotent=True)
        world.clock.advance(0.05)
    assert world.seen.of(Returned)
    assert world.asked["10.0.0.1:80"] > 200


@BOTH
def test_the_only_endpoint_is_never_taken_out(kind: type[Threaded]) -> None:
    world = kind(["10.0.0.1:80"])
    for error in [REFUSED, RESET] * 20:
        with pytest.raises(ConnectionError):
            world.call(fails(error), idempotent=True)
    assert not world.seen.of(Ejected)
    assert world.call(lambda lease: "well again") == "well again"
    assert world.resolver.failures[TARGET] >= 20  # but DNS is asked whether it has moved


@BOTH
def test_without_endpoints_a_call_fails_at_once_and_says_why(kind: type[Threaded]) -> None:
    world = kind()
    world.resolver.deny(TARGET, "NXDOMAIN of 10.96.0.10")
    started = world.clock()
    for attempt in (world.call, world.acquire):
        with pytest.raises(NoEndpoints, match="NXDOMAIN of 10"):
            attempt(lambda lease: None)
    assert world.clock() == started


@BOTH
def test_endpoints_that_come_and_go_are_used_at_once(kind: type[Threaded]) -> None:
    world = kind()
    world.call(lambda lease: None)
    world.resolver.set(TARGET, ["10.0.0.9:80"])
    assert world.call(lambda lease: lease.host) == "10.0.0.9"
    assert world.acquire(lambda lease: lease.host) == "10.0.0.9"


@BOTH
def test_more_than_the_limit_fails_fast(kind: type[Threaded]) -> None:
    world = kind(options=BalancerOptions(max_outstanding_total=1))
    if kind is Threaded:
        with world.balancer.acquire(), pytest.raises(Saturated):
            world.call(lambda lease: None)
    else:

        async def main() -> None:
            async with world.balancer.acquire():
                with pytest.raises(Saturated):
                    async with world.balancer.acquire():
                        pass

        world.clock.run(main())
    assert outstanding(world) == 0


@BOTH
def test_a_lease_that_ends_with_an_error_counts_against_its_endpoint(kind: type[Threaded]) -> None:
    world = kind(["10.0.0.1:80", "10.0.0.2:80"])
    with pytest.raises(ConnectionRefusedError):
        world.acquire(fails(REFUSED))
    (event,) = world.seen.of(Ejected)
    for _ in range(10):
        assert world.acquire(lambda lease: lease.endpoint) != event.endpoint
    assert outstanding(world) == 0


@BOTH
def test_an_acquired_lease_says_how_it_went_by_its_methods(kind: type[Threaded]) -> None:
    world = kind()

    def act(lease: Lease) -> None:
        lease.fail("503")

    world.acquire(act)
    (event,) = world.seen.of(Ended)
    assert (event.outcome.ok, event.outcome.text) == (False, "503")
    assert re.fullmatch(r"<Lease 10\.0\.0\.\d:80 attempt 1>", world.acquire(repr))


@BOTH
def test_a_closed_one_says_so(kind: type[Threaded]) -> None:
    world = kind()
    world.close()
    for attempt in (world.call, world.acquire):
        with pytest.raises(Closed, match="is closed"):
            attempt(lambda lease: None)


@BOTH
def test_what_is_no_target_is_said_when_it_is_made(kind: type[Threaded]) -> None:
    of = BlockingBalancer if kind is Threaded else Balancer
    with pytest.raises(TargetError):
        of("http://web")


@BOTH
def test_a_hook_that_raises_is_logged_once_and_harms_nobody(
    kind: type[Threaded], caplog: pytest.LogCaptureFixture
) -> None:
    world = kind()

    def picked(event: Picked) -> None:
        raise KeyError("hook")

    broken = type("Broken", (Hooks,), {"picked": lambda self, event: picked(event)})()
    of = BlockingBalancer if kind is Threaded else Balancer
    world.balancer = of(TARGET, resolver=world.resolver, hooks=[broken], clock=world.clock)
    for _ in range(3):
        world.call(lambda lease: None)
    assert caplog.text.count("a hook raised, which is its fault") == 1


@BOTH
def test_one_virtual_address_is_said_once_with_the_manifest_to_add(
    kind: type[Threaded], caplog: pytest.LogCaptureFixture
) -> None:
    from kdns.client.endpoint import Endpoint

    world = kind()
    address = Endpoint("10.96.0.7", 80, name="web.shop.svc.cluster.local")
    world.resolver.set(TARGET, [address])
    for _ in range(5):
        world.call(lambda lease: None)
    (record,) = [record for record in caplog.records if "has one address" in record.message]
    assert record.levelname == "WARNING"
    manifest = yaml.safe_load(record.message[record.message.index("apiVersion") :])
    assert manifest["kind"] == "Service"
    assert manifest["metadata"] == {"name": "web-pods", "namespace": "shop"}
    assert manifest["spec"]["clusterIP"] == "None"
    assert manifest["spec"]["ports"][0]["name"] == "http"


@BOTH
def test_the_log_says_why_an_endpoint_is_out_and_for_how_long(
    kind: type[Threaded], caplog: pytest.LogCaptureFixture
) -> None:
    world = kind(options=BalancerOptions(outliers=Outliers(jitter=0.0)))
    with pytest.raises(ConnectionRefusedError):
        world.acquire(fails(REFUSED))
    assert re.search(
        r"web\.shop:http: 10\.0\.0\.\d:80 is out for 0\.5 s: no connection: ConnectionRefusedError: ", caplog.text
    )


def test_a_snapshot_is_how_it_stands() -> None:
    world = Threaded()
    with world.balancer.acquire() as lease:
        snapshot = world.balancer.snapshot()
        (busy,) = [one for one in snapshot.endpoints if one.outstanding]
        assert busy.endpoint == lease.endpoint
        assert (snapshot.target, snapshot.outstanding, snapshot.is_panic) == (TARGET, 1, False)
    with pytest.raises(ConnectionRefusedError):
        world.acquire(fails(REFUSED))
    (out,) = [one for one in world.balancer.snapshot().endpoints if one.state is State.UNREACHABLE]
    assert 0.5 <= out.out_for <= 0.75
    assert not out.is_picked


def test_a_blocking_balancer_cannot_hedge() -> None:
    with pytest.raises(OptionError, match="cannot hedge"):
        BlockingBalancer(TARGET, BalancerOptions(hedge=Hedge(delay=0.1)), resolver=BlockingScriptedResolver())


# What only the awaited one does: cut off, wait, hedge, be cancelled.


def awaited(world: Awaited, fn: Callable[[Lease], Any], **options: Any) -> Any:
    return world.clock.run(world.balancer.call(fn, **options))


def test_an_attempt_without_an_answer_is_cut_off_and_goes_elsewhere() -> None:
    world = Awaited(options=BalancerOptions(retries=Retries(per_try_timeout=1.0)))

    async def fn(lease: Lease) -> int:
        if lease.number == 1:
            await asyncio.sleep(100.0)
        return lease.number

    started = world.clock()
    assert awaited(world, fn, idempotent=True) == 2
    assert 1.0 <= world.clock() - started < 1.1


def test_the_deadline_cuts_off_what_is_out() -> None:
    world = Awaited()

    async def fn(lease: Lease) -> None:
        await asyncio.sleep(100.0)

    started = world.clock()
    with pytest.raises(DeadlineExceeded):
        awaited(world, fn, timeout=2.0)
    assert world.clock() - started == pytest.approx(2.0)
    assert outstanding(world) == 0


@pytest.mark.parametrize("comes_after", [1.0, None])
def test_a_call_may_wait_for_endpoints_within_its_time(comes_after: float | None) -> None:
    world = Awaited([])

    async def fn(lease: Lease) -> str:
        return lease.host

    async def main() -> str:
        loop = asyncio.get_running_loop()
        if comes_after is not None:
            loop.call_later(comes_after, world.resolver.set, TARGET, ["10.0.0.7:80"])
        return await world.balancer.call(fn, wait_for_ready=True, timeout=5.0)

    started = world.clock()
    if comes_after is None:
        with pytest.raises((DeadlineExceeded, NoEndpoints)):
            world.clock.run(main())
        assert world.clock() - started == pytest.approx(5.0)
    else:
        assert world.clock.run(main()) == "10.0.0.7"
        assert world.clock() - started == pytest.approx(1.0)


def test_a_hedge_answers_for_one_that_is_slow_and_the_loser_is_nobodys_failure() -> None:
    world = Awaited(options=BalancerOptions(hedge=Hedge(delay=0.1)))
    cancelled: list[str] = []

    async def fn(lease: Lease) -> int:
        try:
            await asyncio.sleep(10.0 if lease.number == 1 else 0.01)
        except asyncio.CancelledError:
            cancelled.append(str(lease.endpoint))
            raise
        return lease.number

    started = world.clock()
    assert awaited(world, fn, idempotent=True) == 2
    assert world.clock() - started == pytest.approx(0.11)
    assert len(cancelled) == 1
    assert [event.is_hedge for event in world.seen.of(Retried)] == [True]
    assert sum(one.bad for one in world.balancer.snapshot().endpoints) == 0
    assert outstanding(world) == 0


def test_what_is_not_idempotent_is_never_hedged() -> None:
    world = Awaited(options=BalancerOptions(hedge=Hedge(delay=0.1)))

    async def fn(lease: Lease) -> int:
        await asyncio.sleep(1.0)
        return lease.number

    assert awaited(world, fn) == 1
    assert not world.seen.of(Retried)


@pytest.mark.parametrize("at", [0.0, 0.05, 0.5, 1.0, 1.01, 1.5, 2.5])
@pytest.mark.parametrize("hedge", [None, Hedge(delay=0.1)])
def test_a_call_that_is_cancelled_anywhere_leaves_nothing_out(at: float, hedge: Hedge | None) -> None:
    world = Awaited(options=BalancerOptions(retries=Retries(per_try_timeout=1.0), hedge=hedge))

    async def fn(lease: Lease) -> None:
        await asyncio.sleep(0.9)
        raise RESET

    async def main() -> int:
        task = asyncio.create_task(world.balancer.call(fn, idempotent=True))
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ConnectionResetError)):
            await task
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert world.clock.run(main()) == 1
    assert outstanding(world) == 0


def test_removed_endpoints_drain_and_are_cut_off_in_the_end() -> None:
    world = Awaited(["10.0.0.1:80"], BalancerOptions(drain=5.0))
    leases: list[Lease] = []

    async def fn(lease: Lease) -> str:
        leases.append(lease)
        await asyncio.sleep(100.0 if lease.host == "10.0.0.1" else 0.1)
        return lease.host

    async def main() -> str:
        task = asyncio.create_task(world.balancer.call(fn, idempotent=True))
        await asyncio.sleep(1.0)
        world.resolver.set(TARGET, ["10.0.0.2:80"])
        assert await world.balancer.call(fn) == "10.0.0.2"
        assert leases[0].is_leaving
        return str(await task)

    started = world.clock()
    assert world.clock.run(main()) == "10.0.0.2"
    assert 6.0 <= world.clock() - started < 6.5
    assert [one.endpoint.host for one in world.balancer.snapshot().endpoints] == ["10.0.0.2"]


def test_loops_one_after_another_use_one_balancer() -> None:
    world = Awaited()
    assert world.call(lambda lease: 1) == world.call(lambda lease: 1) == 1


def test_watchers_see_each_set() -> None:
    world = Awaited()

    async def main() -> list[int]:
        sizes: list[int] = []
        asyncio.get_running_loop().call_later(1.0, world.resolver.set, TARGET, ["10.0.0.9:80"])
        async for endpoints in world.balancer.watch():
            sizes.append(len(endpoints))
            if len(sizes) == 2:
                return sizes
        return sizes

    assert world.clock.run(main()) == [3, 1]
