"""The resolver that threads drive: the same as the awaited one, without a thread or a loop of its own."""

from __future__ import annotations

import multiprocessing
import os
import threading
from random import Random
from threading import Thread

import pytest

from kdns.client.backend import Question
from kdns.client.blocking_resolver import BlockingResolver
from kdns.client.endpoint import EndpointSet
from kdns.client.errors import Closed, DeadlineExceeded, NoEndpoints, TargetError
from kdns.client.options import ResolverOptions
from kdns.client.testing import FakeClock
from tests.support.scripted_backend import FAILURE, NXDOMAIN, A, BlockingScriptedBackend

WEB = "dns:///web.example:80"
NAME = "web.example."


class World:
    """A resolver, its DNS and its time; who waits makes time pass."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.dns = BlockingScriptedBackend(lambda until: self.clock.advance(max(0.0, min(until, 1e9) - self.clock())))
        self.dns.say(NAME, ["10.0.0.1", "10.0.0.2"])
        self.resolver = BlockingResolver(
            ResolverOptions(), backend=lambda: self.dns, clock=self.clock, rng=Random(1)
        )


def hosts(found: EndpointSet | None) -> list[str]:
    return sorted(endpoint.host for endpoint in found or ())


def test_the_first_caller_asks_and_the_next_ones_read() -> None:
    world = World()
    first = world.resolver.resolve(WEB)
    assert hosts(first) == ["10.0.0.1", "10.0.0.2"]
    assert world.resolver.resolve(WEB) is first
    assert world.resolver.current(WEB) is first
    assert world.dns.asked[Question(NAME, A)] == 1


def test_past_its_time_one_caller_sends_and_a_later_one_collects() -> None:
    world = World()
    known = world.resolver.resolve(WEB)
    world.dns.say(NAME, ["10.0.0.3"])
    world.dns.is_held = True
    world.clock.advance(28.0)
    before = world.clock()
    assert world.resolver.resolve(WEB) is known  # sent, and not waited for
    assert world.dns.asked[Question(NAME, A)] == 2
    assert world.resolver.resolve(WEB) is known
    assert world.clock() == before
    world.dns.is_held = False
    assert hosts(world.resolver.resolve(WEB)) == ["10.0.0.3"]
    assert world.dns.asked[Question(NAME, A)] == 2


def test_in_steady_use_a_ttl_costs_at_most_thirteen_tenths_of_a_query() -> None:
    world = World()
    for _ in range(100 * 30 * 2):
        world.resolver.resolve(WEB)
        world.clock.advance(0.5)
    assert 100 <= world.dns.asked[Question(NAME, A)] <= 130


def test_half_a_day_without_dns_fails_no_request_and_delays_none() -> None:
    world = World()
    world.resolver.resolve(WEB)
    world.dns.say_all(FAILURE)
    for _ in range(12 * 3600):
        world.clock.advance(1.0)
        before = world.clock()
        assert len(world.resolver.resolve(WEB)) == 2
        assert world.clock() == before


def test_who_asks_while_a_query_is_out_does_not_wait_for_it_when_the_ttl_ends() -> None:
    world = World()
    world.resolver.resolve(WEB)
    world.dns.is_held = True
    world.clock.advance(28.0)
    world.resolver.resolve(WEB)
    world.clock.advance(3.0)
    before = world.clock()
    assert len(world.resolver.resolve(WEB)) == 2
    assert world.clock() == before


def test_a_timeout_is_the_callers_and_the_question_goes_on() -> None:
    world = World()
    world.dns.is_held = True
    with pytest.raises(DeadlineExceeded, match="no answer of DNS in time"):
        world.resolver.resolve(WEB, timeout=0.5)
    world.dns.is_held = False
    assert len(world.resolver.resolve(WEB, timeout=0.5)) == 2
    assert world.dns.asked[Question(NAME, A)] == 1


def test_what_expired_while_nobody_asked_is_waited_for_but_not_for_ever() -> None:
    world = World()
    world.resolver.resolve(WEB)
    world.clock.advance(3600.0)
    world.dns.is_held = True
    before = world.clock()
    assert len(world.resolver.resolve(WEB)) == 2
    assert world.clock() - before == pytest.approx(1.8)


def test_errors_say_why_and_since_when() -> None:
    world = World()
    world.dns.say_all(NXDOMAIN)
    with pytest.raises(NoEndpoints, match="NXDOMAIN of 10"):
        world.resolver.resolve(WEB)
    world.clock.advance(3.0)
    with pytest.raises(NoEndpoints) as raised:
        world.resolver.resolve(WEB)
    assert raised.value.since == pytest.approx(3.0)
    with pytest.raises(TargetError):
        world.resolver.current("http://web")


def test_a_failed_endpoint_asks_anew_past_every_cache_a_second_apart() -> None:
    world = World()
    world.resolver.resolve(WEB)
    for _ in range(100):
        world.resolver.failed(WEB)
        world.resolver.current(WEB)
        world.clock.advance(0.1)
    assert 9 <= world.dns.asked[Question(NAME, A)] - 1 <= 10
    assert 9 <= world.dns.flushed <= 10


def test_who_waits_for_a_change_is_told_of_it_or_of_the_end_of_its_time() -> None:
    dns = BlockingScriptedBackend()
    dns.say(NAME, ["10.0.0.1"], ttl=1.0)
    with BlockingResolver(ResolverOptions(), backend=lambda: dns) as resolver:
        known = resolver.resolve(WEB)
        assert resolver.wait_changed(WEB, known, known.resolved_at + 0.05) is None
        dns.say(NAME, ["10.0.0.2"], ttl=1.0)
        assert hosts(resolver.wait_changed(WEB, known, known.resolved_at + 10.0)) == ["10.0.0.2"]


def test_many_threads_are_one_query_and_no_thread_is_made() -> None:
    dns = BlockingScriptedBackend()
    dns.say(NAME, ["10.0.0.1"])
    found: list[EndpointSet] = []
    with BlockingResolver(ResolverOptions(), backend=lambda: dns) as resolver:
        threads = [Thread(target=lambda: found.append(resolver.resolve(WEB))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
        assert threading.active_count() == 1 or all("resolver" not in one.name for one in threading.enumerate())
    assert [hosts(one) for one in found] == [["10.0.0.1"]] * 16
    assert set(dns.asked.values()) == {1}


def test_a_closed_one_says_so() -> None:
    world = World()
    world.resolver.resolve(WEB)
    world.resolver.close()
    world.clock.advance(100.0)
    with pytest.raises(Closed):
        world.resolver.resolve(WEB)
    assert world.dns.closed == 1


def _in_child(resolver: BlockingResolver, dns: BlockingScriptedBackend, said: list[int]) -> None:
    dns.is_held = False
    os._exit(0 if len(resolver.resolve(WEB)) == 2 and len(resolver.resolve("dns:///other.example:80")) == 1 else 1)


def test_a_child_process_asks_for_itself_and_knows_what_was_known() -> None:
    world = World()
    world.dns.say("other.example.", ["10.0.0.9"])
    world.resolver.resolve(WEB)
    world.dns.is_held = True
    with pytest.raises(DeadlineExceeded):
        world.resolver.resolve("dns:///other.example:80", timeout=0.1)
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(world.resolver, world.dns, []))
    child.start()
    child.join(20.0)
    assert child.exitcode == 0
    world.dns.is_held = False
    assert len(world.resolver.resolve("dns:///other.example:80")) == 1
