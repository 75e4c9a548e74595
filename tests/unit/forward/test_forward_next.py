"""The options of a `forward` line that say when the next line is asked, and when nobody is any more."""

from __future__ import annotations

import pytest

from kdns.forward.groups import inherit
from kdns.forward.resolver import Resolver
from kdns.forward.values import CacheSpec, ForwardSpec, Limits, Policy, Send
from kdns.wire.iana import EDE, Rcode
from kdns.wire.outside import Source, Told
from tests.unit.forward.messages import ask, forward, group, reply, upstream
from tests.unit.forward.world import Behaviour, Deed, World, dead, denying, good, saying, servfail

FIRST, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def line(number: int, zone: str = ".", **options: object) -> ForwardSpec:
    return forward(upstream(number), zone=zone, **options)


def empty(send: Send, _: World) -> Deed:
    return 0.01, reply(send.question)


def world(*lines: ForwardSpec, **behaviours: Behaviour) -> World:
    hosts = {f"127.0.0.{number}": behaviour for number, behaviour in enumerate(behaviours.values(), 1)}
    return World(hosts, group(*lines))


def told(one: World, until: float = 10.0) -> Told:
    one.ask(ask())
    one.run(until)
    return one.told[-1][2]


def hosts(one: World) -> list[str]:
    return [host for _, host, _ in one.sent]


def test_an_rcode_of_next_has_the_next_line_asked() -> None:
    one = world(line(1, next_rcodes=(Rcode.NXDOMAIN,)), line(2), first=denying(), second=good())
    said = told(one)
    assert (said.rcode, said.counts, said.source) == (Rcode.NOERROR, (1, 0, 0), Source.UPSTREAM)
    assert hosts(one) == [FIRST, SECOND]


def test_other_rcodes_stand() -> None:
    one = world(line(1, next_rcodes=(Rcode.REFUSED,)), line(2), first=denying(), second=good())
    assert told(one).rcode == Rcode.NXDOMAIN
    assert hosts(one) == [FIRST]


def test_the_answer_stands_where_there_is_no_further_line() -> None:
    one = world(line(1, next_rcodes=(Rcode.NXDOMAIN,)), first=denying())
    assert told(one).rcode == Rcode.NXDOMAIN


def test_a_line_for_other_names_is_passed_over() -> None:
    lines = (line(1, next_rcodes=(Rcode.NXDOMAIN,)), line(2, excluded=(b"\x07example\x03org\0",)), line(3))
    one = world(*lines, first=denying(), second=good(), third=good())
    assert told(one).rcode == Rcode.NOERROR
    assert hosts(one) == [FIRST, THIRD]


def test_a_shorter_zone_comes_after_a_longer_one() -> None:
    lines = (line(1), line(2, "example.org", next_rcodes=(Rcode.NXDOMAIN,)))
    one = world(*lines, first=good(), second=denying())
    assert told(one).rcode == Rcode.NOERROR
    assert hosts(one) == [SECOND, FIRST]


def test_each_line_may_pass_on_in_its_turn_and_the_last_word_counts() -> None:
    passing = {"next_rcodes": (Rcode.NXDOMAIN,)}
    one = world(line(1, **passing), line(2, **passing), line(3, **passing), a=denying(), b=denying(), c=denying())
    assert told(one).rcode == Rcode.NXDOMAIN
    assert hosts(one) == [FIRST, SECOND, THIRD]


def test_an_empty_answer_passes_on_where_the_line_says_so() -> None:
    one = world(line(1, next_on_nodata=True), line(2), first=empty, second=good())
    assert told(one).counts == (1, 0, 0)
    two = world(line(1), line(2), first=empty, second=good())
    assert told(two).counts == (0, 0, 0)


def test_an_rcode_that_fails_passes_on_once_all_upstreams_of_the_line_gave_it() -> None:
    both = forward(upstream(1), upstream(2), policy=Policy.SEQUENTIAL, next_rcodes=(Rcode.SERVFAIL,))
    one = World({FIRST: servfail, SECOND: servfail, THIRD: good()}, group(both, line(3)))
    assert told(one).rcode == Rcode.NOERROR
    assert hosts(one) == [FIRST, SECOND, THIRD]


def test_what_comes_late_from_the_line_before_is_no_answer_any_more() -> None:
    both = forward(upstream(1), upstream(2), policy=Policy.SEQUENTIAL, next_rcodes=(Rcode.NXDOMAIN,))
    one = World({FIRST: denying(0.3), SECOND: denying(0.01), THIRD: good(0.15)}, group(both, line(3)))
    assert told(one).rcode == Rcode.NOERROR
    assert len(one.told) == 1


def test_max_concurrent_counts_flights_where_they_are() -> None:
    lines = (line(1, next_rcodes=(Rcode.NXDOMAIN,), max_concurrent=1), line(2, max_concurrent=1))
    one = world(*lines, first=denying(), second=good(0.5))
    for number in range(3):
        one.ask(ask(f"n{number}.example.org", number), when=0.1 * number)
    one.run(2.0)
    # The second finds the next line full, and its answer stands.
    assert {said.number: said.rcode for said in one.tells()} == {
        0: Rcode.NOERROR, 1: Rcode.NXDOMAIN, 2: Rcode.NXDOMAIN,
    }  # fmt: skip
    assert [route.flights for route in one.resolver.groups[0].routes] == [0, 0]


def test_no_more_upstreams_are_asked_than_the_line_allows() -> None:
    three = forward(upstream(1), upstream(2), upstream(3), policy=Policy.SEQUENTIAL, tries=2)
    one = World({FIRST: dead, SECOND: dead, THIRD: good()}, group(three))
    said = told(one)
    assert (said.rcode, said.ede) == (Rcode.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY)
    assert [host for host in hosts(one) if host == THIRD] == []


def test_an_upstream_that_answers_is_no_try() -> None:
    two = forward(upstream(1), upstream(2), policy=Policy.SEQUENTIAL, tries=1)
    one = World({FIRST: saying(Rcode.REFUSED), SECOND: good()}, group(two))
    assert told(one).rcode == Rcode.NOERROR


@pytest.mark.parametrize(("ttl", "is_kept"), [(3600, True), (60, False)])
def test_a_resolver_goes_on_with_the_cache_of_the_one_before(ttl: int, is_kept: bool) -> None:
    one = world(line(1), first=good())
    told(one)
    former = one.resolver
    heir = Resolver({0: group(line(2), cache=CacheSpec(success_ttl=ttl))}, Limits(), one.rng, one.now)
    inherit(heir.groups, former.groups)
    one.resolver, one.behaviours = heir, {SECOND: good()}
    said = told(one, one.now + 1.0)
    assert (said.source is Source.CACHE_SUCCESS) is is_kept
    assert (former.groups[0].cache is None) is is_kept


def test_a_flight_under_way_when_the_cache_moves_is_told_all_the_same() -> None:
    one = world(line(1), first=good(0.5))
    one.ask(ask())
    one.run(0.1)
    inherit(Resolver({0: group(line(2))}, Limits(), one.rng, one.now).groups, one.resolver.groups)
    one.run(1.0)
    (said,) = one.tells()
    assert (said.rcode, said.keep) == (Rcode.NOERROR, 0)
