"""Sequences that the state machine of tests.properties.test_answers_follow_the_cluster met, or meets too seldom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kdns.server.outage import TOLD_AT, Outage
from tests.statemachine.expectation import ZONE
from tests.statemachine.referee import message
from tests.statemachine.world import World
from tests.support.fakeapi.faults import Cut
from tests.support.messages import Answer

WEB = f"web.shop.svc.{ZONE}"
DB = f"db.shop.svc.{ZONE}"
BOTH = {"10.0.0.1", "10.0.0.2"}


def made(seed: int = 0, **options: bool) -> World:
    """Filled, and followed."""
    world = World(seed, **options)
    world.fill()
    world.wait(2.0)
    return world


def dig(world: World, name: str, rrtype: str = "A") -> Answer:
    reply = world.chain.control.worker.served.ask(message((name, rrtype)), tcp=True)
    assert reply is not None
    return Answer(reply)


def shown(world: World, name: str = WEB) -> set[str]:
    return set(dig(world, name).rdata)


def at_each_turn(world: World, check: Callable[[], None]) -> None:
    """Check after each turn of control, too."""
    look = world.referee.look

    def look_and_check() -> None:
        look()
        check()

    world.chain.after_turn = look_and_check


# Endpoints on the move


@pytest.mark.parametrize("adds_first", [False, True], ids=["removed first", "added first"])
@pytest.mark.parametrize("seed", range(5))
def test_an_endpoint_that_moves_between_slices_is_never_missing(seed: int, adds_first: bool) -> None:
    world = made(seed)
    world.put_slice("shop", "web", 2, {"10.0.0.3": "ready"}, "http")
    world.wait(1.0)

    def check() -> None:
        assert shown(world) >= BOTH
        assert dig(world, f"10-0-0-1.{WEB}").rcode == "NOERROR"
        assert dig(world, "1.0.0.10.in-addr.arpa", "PTR").rcode == "NOERROR"

    at_each_turn(world, check)
    for is_back in (False, True, False):
        for seconds in (0.0, 0.01, 0.4):
            world.move_endpoints("shop", "web", is_back, adds_first, seconds)
    world.settle()


def test_an_endpoint_that_is_not_ready_where_it_arrives_leaves_at_once() -> None:
    """On its way it is held, and then known to be unready."""
    world = made()
    world.put_slice("shop", "web", 1, {"10.0.0.2": "ready"}, "http")
    world.wait(0.1)
    assert shown(world) == BOTH
    world.put_slice("shop", "web", 2, {"10.0.0.1": "unready"}, "http")
    world.wait(0.1)
    assert shown(world) == {"10.0.0.2"}
    world.settle()


def test_a_service_that_is_made_anew_has_nothing_of_the_former_one() -> None:
    world = made()
    world.put_slice("shop", "web", 1, {"10.0.0.1": "ready"}, "http")
    world.wait(0.1)
    assert shown(world) == BOTH
    world.put_service("shop", "web", "headless", "http")
    world.wait(0.1)
    assert shown(world) == {"10.0.0.1"}
    world.settle()


def test_what_moved_while_nobody_watched_is_not_missing_in_the_middle_of_a_list() -> None:
    """The initial events that tell where it went stop for longer than anything is held."""
    world = made()
    world.put_slice("shop", "web", 2, {"10.0.0.3": "ready"}, "http")
    world.wait(1.0)
    world.go_silent(5.0)
    world.move_endpoints("shop", "web", False, True, 0.0)
    world.restart(is_clean=False)
    lines = world.cluster.object_lines("endpointslices")
    up_to_web_1 = sum(len(line) + 40 for line in lines[:3])  # default/kubernetes, shop/db-1, shop/web-1
    world.cluster.faults.add(Cut("stall", up_to_web_1), "endpointslices", "watchlist", times=2)
    at_each_turn(world, lambda: None if shown(world) >= BOTH else pytest.fail(f"{shown(world)}"))
    world.wait(400.0)
    assert any(one.statistics.relists for one in world.chain.control.mirror.reflectors)
    world.settle()


# A store that has gone back


def test_a_backup_is_noticed_though_the_watch_that_follows_is_silent() -> None:
    world = made()
    world.go_back(1.0)
    world.wait(0.5)
    world.put_slice("shop", "web", 1, {"10.0.0.9": "ready"}, "http")
    world.wait(0.2)
    assert shown(world) == BOTH | {"10.0.0.9"}
    world.wait(200.0)
    assert shown(world) == BOTH
    world.settle()


# What is refused


@pytest.mark.parametrize(
    ("resource", "servfail", "answered"),
    [("endpointslices", (WEB, "1.0.0.10.in-addr.arpa", "absent.shop.svc." + ZONE), (DB,)),
     ("services", (WEB, DB, "absent." + ZONE), ("dns-version." + ZONE,)),
     ("namespaces", ("absent.svc." + ZONE,), (WEB, DB))],
)  # fmt: skip
def test_a_kind_that_is_forbidden_is_not_denied_and_the_rest_is_answered(
    resource: str, servfail: tuple[str, ...], answered: tuple[str, ...]
) -> None:
    world = World()
    world.fill()
    world.revoke(resource, 60.0)
    world.wait(10.0)
    assert [dig(world, name).rcode for name in servfail] == ["SERVFAIL"] * len(servfail)
    assert [dig(world, name).rcode for name in answered] == ["NOERROR"] * len(answered)
    world.wait(120.0)
    assert shown(world) == BOTH
    world.settle()


def test_a_permission_that_is_taken_and_given_back_withdraws_nothing() -> None:
    world = made()
    world.revoke("endpointslices", 600.0)
    at_each_turn(world, lambda: None if shown(world) == BOTH else pytest.fail("withdrawn"))
    world.wait(700.0)
    world.settle()


# kdns itself


def test_a_control_that_begins_anew_while_the_api_server_is_away_withdraws_nothing() -> None:
    world = made()
    world.go_down("refused", 300.0)
    world.wait(1.0)
    world.restart_control(with_snapshot=False)
    at_each_turn(world, lambda: None if shown(world) == BOTH else pytest.fail("withdrawn"))
    world.wait(400.0)
    world.settle()


def test_a_reload_while_the_api_server_is_away_is_given_up_or_goes_on_from_the_snapshot() -> None:
    for with_snapshot in (False, True):
        world = made()
        world.save()
        world.go_down("refused", 300.0)
        before = world.chain.control
        world.reload(with_snapshot)
        world.wait(20.0)
        assert (world.chain.control is before) is not with_snapshot
        assert world.chain.coming is None
        assert shown(world) == BOTH
        world.settle()


def test_a_start_from_a_snapshot_watches_on_without_a_list_and_misses_nothing() -> None:
    world = made()
    world.save()
    world.put_slice("shop", "web", 1, {"10.0.0.1": "ready"}, "http")
    world.delete_service("shop", "db")
    world.start(with_snapshot=True)
    world.wait(0.001)
    assert shown(world) == BOTH
    assert dig(world, DB).rcode == "NOERROR"
    world.wait(2.0)
    assert shown(world) == {"10.0.0.1"}
    assert dig(world, DB).rcode == "NXDOMAIN"
    assert sum(one.statistics.lists for one in world.chain.control.mirror.reflectors) == 0
    world.settle()


def test_nothing_of_another_clusters_snapshot_is_answered_once_that_is_known() -> None:
    world = made()
    world.save()
    world.move_to_another_cluster()
    world.cluster.faults.add(Cut("stall", 0), "services", "any", times=1)
    world.wait(2.0)
    assert not world.chain.control.mirror.restored
    assert any("another cluster" in notice.text for notice in world.chain.notices)
    assert dig(world, WEB).rcode == dig(world, DB).rcode == "SERVFAIL"
    world.settle()
    assert dig(world, WEB).rcode == "NXDOMAIN"


def test_a_serial_that_has_run_ahead_of_time_does_not_go_back_with_a_new_control() -> None:
    """Many changes in a second raise it by one each."""
    world = made()
    for last in range(50):
        world.put_slice("shop", "web", 1, {f"10.0.1.{last}": "ready"}, "http")
        world.wait(0.03)
    world.restart_control(with_snapshot=False)
    world.wait(0.5)
    assert int(dig(world, ZONE, "SOA").rdata[0].split()[2]) > world.now + 20 + world.cluster.epoch
    world.settle()


def test_an_outage_is_told_once_at_each_of_its_times_whatever_rounding_does() -> None:
    """`since + 60` may be now although `now - since` is less than 60."""
    for since in (51.02312183129411, 0.1, 1 / 3, 1234567.891):
        outage, told = Outage("server"), 0
        list(outage.notices(since, False, since))
        for _ in range(20):
            now = outage.wake_at
            told += len(list(outage.notices(since, False, now)))
            assert outage.wake_at > now
        assert told == 20
        assert outage.wake_at > since + TOLD_AT[-1] * 15


def test_a_kind_that_is_restored_and_then_forbidden_stays_as_it_was_restored() -> None:
    world = made()
    world.save()
    world.put_slice("shop", "db", 1, {}, "http", "")
    world.wait(1.0)
    world.start(with_snapshot=False)
    world.revoke("services", 500.0)
    world.wait(6.0)
    world.put_service("shop", "web", "ExternalName", "http")
    world.restart_control(with_snapshot=True)
    world.wait(100.0)
    assert not dig(world, WEB, "CNAME").rdata
    world.settle()
    assert dig(world, WEB, "CNAME").rdata
