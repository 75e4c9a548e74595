"""An endpoint that vanished while it was ready stays for a moment; nothing else does."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.kube import held
from kdns.kube.objects import Change, EndpointSlice, Object, Tombstone
from kdns.kube.request import Resource
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.zone.subtree import HostSet, Port
from tests.unit.kube.builders import Published, draining, endpoint, namespace, packed, piece, service, wire

HOLD = 0.5
WEB = wire("web", "shop", "svc")
HTTP = [{"name": "http", "port": 80}]
DNS = {"dns": "yes"}


class Watched:
    """A store, and what somebody knows who was told of all its changes. Time goes on only by what is passed."""

    def __init__(self, *objects: Change, hold: float = HOLD, **options: object) -> None:
        self.store = ClusterStore(0, SchemaOptions(**options), hold=hold)
        self.store.load((service("web", clusterIP="None"), *objects), 1)
        self.published = Published.image_of(self.store)

    def at(self, now: float, *changes: Change) -> tuple[HostSet, ...]:
        """What web answers when these changes have come together."""
        self.published.take(self.store.apply(changes, 1, now))
        return self._hosts()

    def expired(self, now: float) -> tuple[HostSet, ...]:
        """What web answers when what was held long enough is gone."""
        self.published.take(self.store.expire(now, 1))
        return self._hosts()

    def _hosts(self) -> tuple[HostSet, ...]:
        assert self.published == Published.image_of(self.store), "an image shows what is held, too"
        return self.published.subtrees[WEB].hosts if WEB in self.published.subtrees else ()


def hosts(*addresses: str) -> tuple[HostSet, ...]:
    return (HostSet(4, (), packed(*addresses)),)


def gone(one: Object) -> Tombstone:
    return Tombstone(one.key)


# What is held, and for how long


def test_an_endpoint_that_vanished_while_it_was_ready_stays_until_the_hold_is_over() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"))
    assert web.store.next_expiry == inf
    assert web.at(7.0, piece("a", "10.0.0.1")) == hosts("10.0.0.1", "10.0.0.2")
    assert web.store.next_expiry == 7.0 + HOLD
    assert web.expired(7.0 + HOLD - 0.001) == hosts("10.0.0.1", "10.0.0.2")
    assert web.expired(7.0 + HOLD) == hosts("10.0.0.1")
    assert web.store.next_expiry == inf


def test_so_do_those_of_a_slice_that_was_deleted() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"))
    assert web.at(0.0, gone(piece("a"))) == hosts("10.0.0.1", "10.0.0.2")
    assert web.expired(HOLD) == ()


def test_a_vanished_endpoint_gives_no_delta_before_the_hold_is_over() -> None:
    store = Watched(piece("a", "10.0.0.1")).store
    assert store.apply([piece("a")], 2, 0.0) is None
    assert store.serial == 1
    delta = store.expire(HOLD, 5)
    assert delta is not None
    assert (delta.serial, [one.hosts for one in delta.subtrees]) == (5, [()])
    assert store.expire(2 * HOLD, 6) is None


def test_held_endpoints_keep_their_ports_and_names_as_last_seen() -> None:
    web = Watched(
        piece("a", endpoint("10.0.0.1", hostname="db-0"), endpoint("10.0.0.2", pod="web-x"), ports=HTTP),
        endpoint_pod_names=True,
    )
    before = web.at(0.0)
    addresses, names = packed("10.0.0.1", "10.0.0.2"), wire("db-0", "web-x")
    assert before == (HostSet(4, (Port(b"http", b"tcp", 80),), addresses, names),)
    assert web.at(0.0, piece("a", endpoint("10.0.0.2", pod="web-x"), ports=HTTP)) == before
    assert web.at(0.1, piece("a", ports=HTTP)) == before


def test_all_copies_that_vanish_from_a_slice_are_held() -> None:
    web = Watched(piece("a", endpoint("10.0.0.1", hostname="b"), endpoint("10.0.0.1", hostname="c")))
    assert [one.labels for one in web.at(0.0, piece("a"))] == [wire("b"), wire("c")]


def test_both_address_families_are_held() -> None:
    web = Watched(piece("a", "10.0.0.1"), piece("b", "fd00::1", family="IPv6"))
    before = web.at(0.0)
    assert web.at(1.0, gone(piece("a")), gone(piece("b"))) == before
    assert web.expired(1.0 + HOLD) == ()


def test_each_endpoint_has_its_own_time() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"), piece("b", "10.0.0.3"))
    web.at(0.0, piece("a", "10.0.0.2"))
    web.at(0.1, piece("b"))
    assert web.at(0.2, piece("a")) == hosts("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert web.expired(0.0 + HOLD) == hosts("10.0.0.2", "10.0.0.3")
    assert web.store.next_expiry == 0.1 + HOLD
    assert web.expired(0.2 + HOLD) == ()


def test_an_endpoint_that_vanishes_twice_is_held_from_the_last_time_on() -> None:
    web = Watched(piece("a", "10.0.0.1"))
    web.at(0.0, piece("a"))
    web.at(0.3, piece("a", "10.0.0.1"))
    assert web.store.next_expiry == inf
    web.at(0.4, piece("a"))
    assert web.expired(0.0 + HOLD) == hosts("10.0.0.1")
    assert web.expired(0.4 + HOLD) == ()


def test_what_was_held_long_enough_goes_with_the_next_change_too() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"), service("api", clusterIP="10.96.0.1"))
    web.at(0.0, piece("a", "10.0.0.1"))
    assert web.at(HOLD, service("api", clusterIP="10.96.0.2")) == hosts("10.0.0.1")


def test_a_store_without_hold_holds_nothing() -> None:
    web = Watched(piece("a", "10.0.0.1"), hold=0.0)
    assert web.at(0.0, piece("a")) == ()
    assert web.store.next_expiry == inf


# Moves


@pytest.mark.parametrize("first", ["from", "to"])
def test_an_endpoint_that_moves_to_another_slice_stays(first: str) -> None:
    web = Watched(piece("a", "10.0.0.1"), piece("b"))
    steps = {"from": piece("a"), "to": piece("b", "10.0.0.1")}
    assert web.at(0.0, steps.pop(first)) == hosts("10.0.0.1")
    assert web.at(0.1, *steps.values()) == hosts("10.0.0.1")
    assert web.store.next_expiry == inf
    assert web.expired(9.0) == hosts("10.0.0.1")


def test_an_endpoint_that_comes_back_elsewhere_has_the_ports_that_it_has_there() -> None:
    web = Watched(piece("a", "10.0.0.1", ports=HTTP))
    web.at(0.0, gone(piece("a")))
    assert web.at(0.1, piece("b", "10.0.0.1")) == hosts("10.0.0.1")


def test_of_endpoints_that_vanished_together_only_the_one_that_came_back_is_let_go_of() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2", "10.0.0.3"))
    web.at(0.0, gone(piece("a")))
    assert web.at(0.1, piece("b", "10.0.0.2")) == hosts("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert web.expired(HOLD) == hosts("10.0.0.2")


def test_a_slice_whose_label_moves_leaves_its_endpoints_held_where_they_were() -> None:
    web = Watched(piece("a", "10.0.0.1"), service("api", clusterIP="None"))
    assert web.at(0.0, piece("a", "10.0.0.1", of="api")) == hosts("10.0.0.1")
    assert web.published.subtrees[wire("api", "shop", "svc")].hosts == hosts("10.0.0.1")
    assert web.expired(HOLD) == ()
    assert web.published.subtrees[wire("api", "shop", "svc")].hosts == hosts("10.0.0.1")


def test_held_endpoints_of_one_service_are_not_those_of_another() -> None:
    web = Watched(piece("a", "10.0.0.1"), piece("b", "10.0.0.1", of="api"), service("api", clusterIP="None"))
    assert web.at(0.0, gone(piece("a")), gone(piece("b"))) == hosts("10.0.0.1")
    assert web.at(0.1, piece("b", endpoint("10.0.0.1", ready=False), of="api")) == hosts("10.0.0.1")
    assert web.published.subtrees[wire("api", "shop", "svc")].hosts == ()


# What is not held


@pytest.mark.parametrize("unready", [endpoint("10.0.0.1", ready=False), draining("10.0.0.1")])
def test_an_endpoint_that_became_unready_leaves_at_once(unready: dict[str, object]) -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"))
    assert web.at(0.0, piece("a", unready, "10.0.0.2")) == hosts("10.0.0.2")
    assert web.at(0.1, piece("a", "10.0.0.2")) == hosts("10.0.0.2")
    assert web.store.next_expiry == inf


def test_so_does_one_of_which_all_of_this_is_told_at_once() -> None:
    web = Watched(piece("a", "10.0.0.1"))
    assert web.at(0.0, piece("a", endpoint("10.0.0.1", ready=False)), piece("a")) == ()


def test_an_endpoint_that_turns_up_unready_elsewhere_is_let_go_of() -> None:
    web = Watched(piece("a", "10.0.0.1"))
    assert web.at(0.0, piece("a")) == hosts("10.0.0.1")
    assert web.at(0.1, piece("b", endpoint("10.0.0.1", ready=False))) == ()


def test_an_endpoint_that_is_still_in_another_slice_is_not_held() -> None:
    web = Watched(piece("a", "10.0.0.1", ports=HTTP), piece("b", "10.0.0.1"), piece("c", "10.0.0.2"))
    assert web.at(0.0, gone(piece("a"))) == hosts("10.0.0.1", "10.0.0.2")
    assert web.at(0.0, piece("c"), piece("b", endpoint("10.0.0.1", ready=False))) == hosts("10.0.0.2")


def test_an_endpoint_that_was_draining_when_it_vanished_leaves_at_once() -> None:
    web = Watched(piece("a", draining("10.0.0.1")), terminating_serving=True)
    assert web.at(0.0) == hosts("10.0.0.1")
    assert web.at(0.0, piece("a")) == ()


def test_a_held_endpoint_is_a_ready_one_where_draining_ones_would_do() -> None:
    web = Watched(piece("a", "10.0.0.1", draining("10.0.0.2")), terminating_serving=True)
    assert web.at(0.0, piece("a", draining("10.0.0.2"))) == hosts("10.0.0.1")
    assert web.expired(HOLD) == hosts("10.0.0.2")


def test_endpoints_of_a_service_that_is_deleted_leave_at_once() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"))
    web.at(0.0, piece("a", "10.0.0.1"))
    assert web.at(0.1, gone(service("web"))) == ()
    assert WEB not in web.published.subtrees
    assert web.store.next_expiry == inf
    web.at(0.2, gone(piece("a")))
    assert web.at(0.3, service("web", clusterIP="None")) == ()


@pytest.mark.parametrize("together", [False, True])
def test_a_service_that_was_deleted_and_made_again_has_none_of_its_old_endpoints(together: bool) -> None:
    web = Watched(piece("a", "10.0.0.1"))
    again = [gone(piece("a")), gone(service("web")), service("web", clusterIP="None")]
    for batch in [again] if together else [[one] for one in again]:
        web.at(0.0, *batch)
    assert web.at(0.0) == ()


def test_a_service_that_loses_the_label_is_as_good_as_deleted() -> None:
    shown = service("web", labels=DNS, clusterIP="None")
    web = Watched(shown, piece("a", "10.0.0.1", labels=DNS), labels_match=lambda labels: "dns" in labels)
    assert web.at(0.0, piece("a", labels=DNS)) == hosts("10.0.0.1")
    assert web.at(0.1, service("web", clusterIP="None")) == ()
    assert web.at(0.2, shown) == ()


def test_a_changed_service_keeps_its_held_endpoints() -> None:
    web = Watched(piece("a", "10.0.0.1"))
    web.at(0.0, piece("a"))
    assert web.at(0.1, service("web", clusterIP="10.96.0.1")) == hosts("10.0.0.1")


def test_endpoints_without_a_service_are_not_held() -> None:
    web = Watched(piece("a", "10.0.0.1", of="orphan"))
    web.at(0.0, gone(piece("a")))
    assert web.store.next_expiry == inf


def test_endpoints_that_a_load_takes_away_leave_at_once() -> None:
    """It is no news of a watch, but what somebody knows who has read everything."""
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"))
    web.store.load([piece("a", "10.0.0.1")], 2)
    assert Published.image_of(web.store).subtrees[WEB].hosts == hosts("10.0.0.1")


def test_what_a_load_brings_back_is_held_no_longer_and_what_it_does_not_know_still_is() -> None:
    web = Watched(piece("a", "10.0.0.1", "10.0.0.2"))
    web.at(0.0, gone(piece("a")))
    web.store.load([piece("b", endpoint("10.0.0.1", ready=False))], 2)
    assert Published.image_of(web.store).subtrees[WEB].hosts == hosts("10.0.0.2")
    web.store.load([gone(service("web"))], 3)
    assert web.store.next_expiry == inf


# Bounds


def many(count: int, start: int = 0) -> Iterable[str]:
    return (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(start, start + count))


def count(found: tuple[HostSet, ...]) -> int:
    return sum(len(one.addresses) // one.octets for one in found)


def test_of_a_service_with_more_endpoints_than_the_bound_all_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "HELD_ENDPOINTS_MAX", 10)
    web = Watched(piece("a", *many(6)), piece("b", *many(5, 100)), piece("c", *many(4, 200)), namespace("shop"))
    assert web.at(0.0, gone(piece("a")), gone(piece("b")), gone(piece("c"))) == (), "not those that find room"
    assert (web.store.held, web.store.next_expiry) == (0, inf)
    web.at(1.0, piece("a", *many(6)))
    assert count(web.at(2.0, gone(piece("a")))) == 6, "and there is room again"
    assert web.expired(2.0 + HOLD) == ()


def test_so_do_those_that_vanished_a_moment_before_or_vanish_a_moment_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "HELD_ENDPOINTS_MAX", 10)
    web = Watched(*(piece(name, *many(6, 100 * at)) for at, name in enumerate("abcd")))
    assert count(web.at(0.0, gone(piece("a")))) == 24
    assert count(web.at(0.1, gone(piece("b")))) == 12
    assert count(web.at(0.2, gone(piece("c")))) == 6
    assert web.store.held == 0
    assert count(web.at(0.1 + HOLD, gone(piece("d")))) == 6, "what vanishes later is another story"


def test_a_service_without_room_takes_none_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "HELD_ENDPOINTS_MAX", 10)
    api = wire("api", "shop", "svc")
    web = Watched(
        piece("a", *many(6)),
        piece("b", *many(5, 100)),
        piece("c", *many(4, 200), of="api"),
        service("api", clusterIP="None"),
    )
    assert web.at(0.0, gone(piece("a")), gone(piece("b")), gone(piece("c"))) == ()
    assert count(web.published.subtrees[api].hosts) == 4
    assert web.store.held == 4


def test_a_service_that_is_made_again_is_held_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "HELD_ENDPOINTS_MAX", 10)
    web = Watched(piece("a", *many(11)))
    assert web.at(0.0, gone(piece("a"))) == ()
    web.at(0.1, gone(service("web")), service("web", clusterIP="None"), piece("a", *many(3)))
    assert count(web.at(0.2, gone(piece("a")))) == 3


@given(
    st.lists(st.tuples(st.sampled_from(["web", "api"]), st.integers(1, 8)), min_size=1, max_size=6),
    st.integers(1, 12),
    st.booleans(),
)
def test_of_what_vanishes_of_a_service_at_once_all_is_held_or_none(
    slices: list[tuple[str, int]], bound: int, together: bool
) -> None:
    pieces = [piece(f"s{at}", *many(size, 100 * at), of=owner) for at, (owner, size) in enumerate(slices)]
    with patch.object(held, "HELD_ENDPOINTS_MAX", bound):
        web = Watched(service("api", clusterIP="None"), *pieces)
        for batch in [pieces] if together else [[one] for one in pieces]:
            web.at(0.0, *map(gone, batch))
        assert web.store.held <= bound
    for owner in ("web", "api"):
        had = sum(size for name, size in slices if name == owner)
        left = count(web.published.subtrees[wire(owner, "shop", "svc")].hosts)
        assert left in (0, had)
        assert left or not had or sum(size for _, size in slices) > bound


def test_endpoints_that_come_back_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "HELD_ENDPOINTS_MAX", 10)
    web = Watched(piece("a", *many(10)), piece("b", *many(10, 100)))
    web.at(0.0, gone(piece("a")))
    web.at(0.1, piece("a", *many(10)))
    assert count(web.at(0.2, gone(piece("b")))) == 20


def test_all_endpoints_of_a_large_service_can_be_held() -> None:
    slices = [piece(f"s{number}", *many(1000, 1000 * number)) for number in range(20)]
    web = Watched(*slices)
    assert count(web.at(0.0, *map(gone, slices))) == web.store.held == 20_000
    assert web.expired(HOLD) == ()
    assert held.HELD_ENDPOINTS_MAX > 1_000_000 // 4


def test_a_slice_that_vanished_whole_is_held_without_a_copy_of_it() -> None:
    store = Watched(piece("a", *many(100))).store
    [former] = store.objects(Resource("EndpointSlice", "", ""))
    assert isinstance(former, EndpointSlice)
    store.apply([gone(former)], 1, 0.0)
    [held_piece] = store._held.pieces(former.service)
    assert held_piece.addresses is former.addresses
