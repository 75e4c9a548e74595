"""Whose question is shed while there is no room, and what is told then."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.fairness import Room, Shed, TopClients
from kdns.forward.values import CacheSpec, Limits
from kdns.wire.iana import EDE, Rcode
from kdns.wire.outside import Purpose, Source
from tests.unit.forward.messages import ask, forward, group, upstream
from tests.unit.forward.world import World, dead, good

HOST = "127.0.0.1"
LIMITS = Limits(in_flight=6, client_in_flight=4)


def world(limits: Limits = LIMITS, **options: object) -> World:
    return World({HOST: dead}, group(forward(upstream(1), **options)), limits=limits)


def flood(one: World, client: bytes, count: int, first: int) -> None:
    for number in range(first, first + count):
        one.ask(ask(f"n{number}.example", number, client))


def test_no_client_has_more_than_its_share() -> None:
    one = world()
    flood(one, b"a", 10, 0)
    one.run(0.1)
    assert [said.number for said in one.tells()] == [4, 5, 6, 7, 8, 9]
    assert {(said.rcode, said.ede, said.text) for said in one.tells()} == {
        (Rcode.SERVFAIL, EDE.NETWORK_ERROR, "too many queries of this client")
    }
    assert one.resolver.counts.shed[Shed.CLIENT] == 6
    assert one.resolver.clients.top(1)[0][1].shed == 6


def test_the_client_with_most_loses_its_oldest_when_all_is_full() -> None:
    one = world()
    flood(one, b"a", 4, 0)
    flood(one, b"b", 2, 10)
    flood(one, b"c", 1, 20)
    one.run(0.1)
    assert [(said.number, said.text) for said in one.tells()] == [(0, "too many queries")]
    assert one.resolver.waiting == one.resolver.in_flight == 6


def test_a_newcomer_that_has_as_many_as_anybody_loses_itself() -> None:
    one = world()
    flood(one, b"a", 3, 0)
    flood(one, b"b", 3, 10)
    flood(one, b"b", 1, 20)
    one.run(0.1)
    assert [said.number for said in one.tells()] == [20]


def test_a_flight_that_lost_its_only_waiter_is_given_up_and_can_be_begun_anew() -> None:
    one = world()
    flood(one, b"a", 4, 0)
    flood(one, b"b", 2, 10)
    one.ask(ask("n0.example", 30, b"b"))
    one.run(0.01)
    assert one.resolver.in_flight == 6
    assert len(one.resolver._exchange) == 6
    assert [said.number for said in one.tells()] == [0]
    one.run(10.0)
    assert sorted(said.number for said in one.tells()) == [0, 1, 2, 3, 10, 11, 30]


def test_prefetches_have_half_of_the_room_and_go_first() -> None:
    one = world()
    for number in range(4):
        one.ask(ask(f"p{number}.example", number, b"p", purpose=Purpose.PREFETCH))
    one.run(0.01)
    assert [said.number for said in one.tells()] == [3]
    flood(one, b"a", 4, 10)
    one.run(0.02)
    assert [said.number for said in one.tells()] == [3, 0]
    assert one.resolver.counts.shed[Shed.PREFETCH] == 2


def test_max_concurrent_is_servfail_and_counts_flights() -> None:
    one = world(Limits(), max_concurrent=2)
    flood(one, b"a", 3, 0)
    one.ask(ask("n0.example", 9, b"a"))
    one.run(0.1)
    assert [(said.number, said.rcode, said.ede) for said in one.tells()] == [(2, Rcode.SERVFAIL, EDE.NETWORK_ERROR)]
    assert one.resolver.groups[0].routes[0].rejected == 1
    one.behaviours[HOST] = good()
    one.run(10.0)
    one.ask(ask("later.example", 99))
    one.run(11.0)
    assert one.tells()[-1].rcode == Rcode.NOERROR


def test_what_has_expired_stands_in_for_what_is_shed() -> None:
    one = World(
        {HOST: good(0.01, 10)},
        group(forward(upstream(1)), cache=CacheSpec(stale=3600.0, is_verifying=True)),
        limits=LIMITS,
    )
    one.ask(ask("old.example", 0, b"a"))
    one.run(100.0)
    one.behaviours[HOST] = dead
    flood(one, b"a", 4, 1)
    one.ask(ask("old.example", 99, b"a"))
    one.run(100.01)
    assert [(said.number, said.source) for said in one.tells()][-1] == (99, Source.STALE)


def test_room_is_empty_again_when_all_have_left() -> None:
    room: Room[int] = Room(8, 8)
    for waiter in range(8):
        room.enter(b"ab"[waiter % 2 : waiter % 2 + 1], waiter)
    assert room.loser() == 0 or room.loser() == 1
    for waiter in range(8):
        room.leave(b"ab"[waiter % 2 : waiter % 2 + 1], waiter)
    assert len(room) == 0
    assert room.loser() is None
    assert not room._levels
    assert not room._waiting


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=80))
def test_the_loser_is_the_oldest_of_whoever_has_most_however_full_it_was(steps: list[tuple[bool, int]]) -> None:
    """The order of clients is kept only while it is tight: it must be right whenever it is needed."""
    room: Room[int] = Room(8, 8)
    waiting: dict[bytes, list[int]] = {b"%d" % client: [] for client in range(4)}
    for number, (enters, who) in enumerate(steps):
        client = b"%d" % who
        own = waiting[client]
        if enters and room.refusal(client) is None:
            loser = room.loser()
            if loser is not None:
                most = max(map(len, waiting.values()))
                (loses,) = [other for other, theirs in waiting.items() if theirs[:1] == [loser]]
                assert len(waiting[loses]) == most
                room.leave(loses, waiting[loses].pop(0))
            room.enter(client, number)
            own.append(number)
        elif not enters and own:
            room.leave(client, own.pop(0))
        assert len(room) == sum(map(len, waiting.values())) <= 8


def test_the_top_clients_are_right_within_their_slack() -> None:
    clients = TopClients(size=4)
    for number in range(1000):
        clients.asked(b"noisy" if number % 2 else b"%d" % number)
    ((client, count), *_) = clients.top(1)
    assert client == b"noisy"
    assert 500 - clients.slack <= count.asked <= 500
    assert clients.slack <= 1000 / 5
    assert len(clients.top(100)) <= 4
    clients.shed(b"unknown")
    clients.shed(b"noisy")
    assert count.shed == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=60), st.integers(1, 6))
def test_the_top_clients_are_right_within_their_slack_however_many_are_told_at_once(
    told: list[tuple[int, int]], size: int
) -> None:
    clients, true = TopClients(size), Counter[bytes]()
    for who, count in told:
        clients.asked(b"%d" % who, count)
        true[b"%d" % who] += count
    kept = dict(clients.top(100))
    assert len(kept) <= size
    for client, count in true.items():
        asked = kept[client].asked if client in kept else 0
        assert count - clients.slack <= asked <= count
    assert clients.slack <= true.total() / (size + 1)


def test_what_workers_shed_before_counts_as_asked_and_as_shed_for_its_reason() -> None:
    one = world(Limits()).resolver
    one.shed_before(b"noisy", Shed.CLIENT, 40)
    one.shed_before(b"noisy", Shed.FULL, 2)
    one.shed_before(b"other", Shed.PREFETCH, 3)
    one.shed_before(b"", Shed.FULL, 5)
    assert one.counts.asked == 50
    assert one.counts.shed == {Shed.CLIENT: 40, Shed.FULL: 7, Shed.PREFETCH: 3, Shed.MAX_CONCURRENT: 0}
    assert [(client, count.asked, count.shed) for client, count in one.clients.top(3)] == [
        (b"noisy", 42, 42), (b"", 5, 5), (b"other", 3, 3)
    ]  # fmt: skip


def test_a_full_line_makes_room_for_whoever_has_less_on_it() -> None:
    one = world(Limits(), max_concurrent=6)
    flood(one, b"a", 4, 0)
    flood(one, b"b", 2, 10)
    flood(one, b"c", 1, 20)
    one.run(0.1)
    assert [(said.number, said.ede, said.text) for said in one.tells()] == [
        (0, EDE.NETWORK_ERROR, "max_concurrent queries are on their way")
    ]
    route = one.resolver.groups[0].routes[0]
    assert (route.flights, route.rejected, one.resolver.counts.shed[Shed.MAX_CONCURRENT]) == (6, 1, 1)


def test_a_flight_that_others_wait_for_goes_on_when_its_first_client_has_to_make_room() -> None:
    one = world(Limits(), max_concurrent=4)
    flood(one, b"a", 4, 0)
    one.ask(ask("n0.example", 10, b"b"))
    flood(one, b"c", 1, 20)
    one.run(0.1)
    assert [said.number for said in one.tells()] == [0, 1]
    assert one.resolver.groups[0].routes[0].flights == 4
    one.behaviours[HOST] = good()
    one.run(10.0)
    assert {said.number for said in one.tells()} == {0, 1, 2, 3, 10, 20}


def test_refreshing_what_is_kept_makes_room_on_a_line_first() -> None:
    one = world(Limits(), max_concurrent=2)
    one.ask(ask("p.example", 0, b"p", purpose=Purpose.PREFETCH))
    flood(one, b"a", 2, 10)
    one.run(0.1)
    assert [said.number for said in one.tells()] == [0]
    assert one.resolver.groups[0].routes[0].flights == 2
