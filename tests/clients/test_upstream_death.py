"""Upstreams that are killed, cut off, or silent, as the resolvers that pods bring live through it.

Two Unbounds stand before the world outside. What one of them does not answer the other one does, and a client hardly
notices; while both are away, what is kept is answered, and the rest is a failure before a client's patience ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import dns.message
import dns.rcode
import pytest
from dns.edns import EDECode, EDEOption

from tests.clients.test_outside_names import NAMES, RESOLVERS_PATIENCE, TCP_NAMES, fresh
from tests.clients.test_real_resolvers import WEB_4
from tests.server.serving import rest_between_looks
from tests.support.outsideworld import FRESH, STALE, WWW_4, OutsideWorld, Recursive
from tests.support.podhost import PodHost
from tests.support.podresolvers import FAILED, NO_NAME, RESOLVERS, Question
from tests.support.programs import require

BEFORE, AFTER = 20, 60  # questions around the moment of a death
FAILOVER_MAX = 0.25  # what a dead upstream may cost a client
BUSY = 0.5  # what a busy machine may add to one of them
BACK_WITHIN = 5.0  # probes go every half second, and wait for one
KEPT = {
    Question("A", "www.example.org"): [WWW_4],
    Question("A", "outside.shop.svc.cluster.local"): [WWW_4],
    Question("A", "web.shop.svc.cluster.local"): [WEB_4],
    Question("A", "nowhere.example.org"): [NO_NAME],
}


class Death(NamedTuple):
    """How an upstream is lost, and comes back."""

    die: Callable[[Recursive], None]
    come_back: Callable[[Recursive], None]


DEATHS = {
    "killed": Death(Recursive.kill, Recursive.start),
    "unplugged": Death(Recursive.unplug, Recursive.plug),
    "silent": Death(Recursive.silence, Recursive.hear),
}


@contextmanager
def dead(death: str, *resolvers: Recursive) -> Iterator[None]:
    """They are, for as long as this lasts."""
    for resolver in resolvers:
        DEATHS[death].die(resolver)
    try:
        yield
    finally:
        for resolver in resolvers:
            DEATHS[death].come_back(resolver)


class Found(NamedTuple):
    """What a resolver found, in how many seconds."""

    answers: dict[Question, list[str]]
    seconds: float


def ask_all(pod: PodHost, questions: Callable[[], list[Question]], way: str = "udp4") -> dict[str, Found]:
    """Have all resolvers ask at the same time, each what is made for it; who cannot do without UDP uses that."""

    def ask(name: str) -> Found:
        # musl takes SERVFAIL for no answer, and would ask on for 5 seconds.
        options = "timeout:1 attempts:1" if name == "musl" else ""
        began = time.monotonic()
        is_able = way[:3] == "udp" or name in TCP_NAMES
        answers = pod.ask(name, way if is_able else way.replace("tcp", "udp"), questions(), options)
        return Found(answers, time.monotonic() - began)

    with ThreadPoolExecutor(len(NAMES)) as pool:
        return dict(zip(NAMES, pool.map(ask, NAMES), strict=True))


def ask_fresh(pod: PodHost) -> dns.message.Message:
    (question,) = fresh(1)
    return pod.query(question.name)


def wait_until(is_so: Callable[[], object]) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + BACK_WITHIN
    while not is_so():
        assert time.monotonic() < deadline, "it does not come about"
        rest_between_looks()


def wait_until_asked(pod: PodHost, *resolvers: Recursive) -> None:
    """Until each of them is asked again, as one among equals."""

    def answers(resolver: Recursive, before: int) -> bool:
        for _ in range(8):  # which chance does not send all to another one
            ask_fresh(pod)
        return resolver.replies() > before

    for resolver in resolvers:
        wait_until(partial(answers, resolver, resolver.replies()))


def explained(reply: dns.message.Message) -> tuple[list[str], list[int]]:
    """The addresses in a reply, and its extended errors."""
    addresses = [rdata.to_text() for rrset in reply.answer for rdata in rrset]
    return addresses, [int(option.code) for option in reply.options if isinstance(option, EDEOption)]


@pytest.fixture(autouse=True)
def everything_is_there(pod: PodHost, world: OutsideWorld) -> None:
    """All resolvers, and both upstreams, whatever befell them before."""
    require("musl-gcc", *(one.program for one in RESOLVERS.values() if one.program != "python3"))
    pod.add_musl()
    wait_until_asked(pod, *world.resolvers)


@pytest.mark.parametrize(
    ("death", "which", "way"), [("killed", 0, "tcp4"), ("unplugged", 1, "udp6"), ("silent", 0, "tcp6")]
)
def test_the_death_of_an_upstream_costs_one_question_a_moment_and_no_resolver_its_answer(
    pod: PodHost, world: OutsideWorld, death: str, which: int, way: str
) -> None:
    seconds = []

    def ask(count: int) -> None:
        for _ in range(count):
            began = time.monotonic()
            reply = ask_fresh(pod)
            seconds.append(time.monotonic() - began)
            assert explained(reply) == ([FRESH], [])

    ask(BEFORE)
    with dead(death, world.resolvers[which]):
        ask(AFTER)
        found = [*ask_all(pod, lambda: list(fresh(2))).items(), *ask_all(pod, lambda: list(fresh(2)), way).items()]
    slowest = sorted(seconds)[-2:]
    assert slowest[0] < FAILOVER_MAX
    assert slowest[1] < FAILOVER_MAX + BUSY
    for name, (answers, took) in found:
        assert list(answers.values()) == [[FRESH], [FRESH]], name
        assert took < RESOLVERS_PATIENCE, name


@pytest.mark.parametrize("death", ["killed", "silent"])
def test_without_upstreams_what_is_kept_is_answered_and_the_rest_fails_in_time(
    pod: PodHost, world: OutsideWorld, death: str
) -> None:
    for name, (answers, _) in ask_all(pod, lambda: list(KEPT)).items():
        assert answers == pod.right(name, KEPT), name
    stale = Question("A", f"{death}.stale.example.org.")
    assert explained(pod.query(stale.name)) == ([STALE], [])
    with dead(death, *world.resolvers), ThreadPoolExecutor(2) as pool:
        everybody = pool.submit(ask_all, pod, lambda: [*KEPT, *fresh(1, last=".")])
        failure = pool.submit(ask_fresh, pod)
        wait_until_stale(pod, stale.name)
        reply = failure.result()
        assert (reply.rcode(), explained(reply)) == (dns.rcode.SERVFAIL, ([], [EDECode.NO_REACHABLE_AUTHORITY]))
        found = everybody.result()
        for name, (answers, _) in ask_all(pod, lambda: [stale]).items():
            assert answers == {stale: [STALE]}, name
    for name, (answers, took) in found.items():
        *kept, last = answers.values()
        assert kept == list(pod.right(name, KEPT).values()), name
        assert last == ([] if name == "glibc" else [FAILED]), name
        assert took < RESOLVERS_PATIENCE * 1.5, name  # less than twice, which is to say that it had not to ask again
    wait_until_asked(pod, *world.resolvers)
    assert explained(pod.query(stale.name))[0] == [STALE]
    wait_until(lambda: explained(pod.query(stale.name)) == ([STALE], []))


def wait_until_stale(pod: PodHost, name: str) -> None:
    """Its answer lives for a second, and stands in from then on."""
    replies = []
    wait_until(lambda: replies.append(explained(pod.query(name))) or replies[-1][1])
    assert {tuple(addresses) for addresses, _ in replies} == {(STALE,)}
    assert replies[-1][1] == [EDECode.STALE_ANSWER]
