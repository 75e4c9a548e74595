"""Changes of what a source has said: in steps, seen as a whole with the last one."""

from __future__ import annotations

import pytest

from kdns.wire.name import from_text
from kdns.zone.cluster import ForwardZone, PodNames, ReverseZone
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_EVERYTHING, ZoneDelta
from kdns.zone.model import Kind
from kdns.zone.state import ClusterState, address_key
from kdns.zone.subtree import Subtree
from tests.support.engines import CLUSTER, IN_ADDR
from tests.support.subtrees import headless, owner, packed, relative, service

WEB = service("web.shop", "10.0.0.1")
DB = headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1")
CROWD = headless("crowd.shop", " ".join(f"10.2.{at >> 8}.{at & 255}" for at in range(1000)))


def state(*subtrees: Subtree, former: ClusterState | None = None) -> ClusterState:
    found = ClusterState(0, former)
    found.load(ZoneDelta(0, 7, True, (), subtrees, (), (relative("shop"),)))
    return found


def shown(of: ClusterState, *names: str) -> list[object]:
    """What the zones show of a state at these names and at some reverse ones."""
    forward = ForwardZone(of, CLUSTER, 5, 5, PodNames.VERIFIED)
    reverse = ReverseZone(of, IN_ADDR, CLUSTER, 5, 5)
    qnames = [from_text(f"{name}.cluster.local") for name in names]
    found: list[object] = [(one.kind, dict(one.rrsets)) for one in map(forward.find, qnames)]
    for name in ("1.0.0.10", "9.0.0.10", "1.0.1.10", "5.0.2.10", "0.2.10", "2.10"):
        at = reverse.find(from_text(f"{name}.in-addr.arpa"))
        found.append((at.kind, dict(at.rrsets)))
    return [*found, forward.serial]


NAMES = ("web.shop.svc", "db.shop.svc", "crowd.shop.svc", "new.svc", "10-9-9-9.shop.pod")
EVERYTHING_CHANGES = ZoneDelta(
    0, 9, False, (), (service("web.shop", "10.0.0.9"), CROWD), (owner("db.shop"),), (relative("new"),),
    (), ((relative("shop"), packed("10.9.9.9")),),
)


def test_nothing_of_a_change_shows_before_its_last_step() -> None:
    served, done = state(WEB, DB), state(service("web.shop", "10.0.0.9"), CROWD)
    done.load(ZoneDelta(0, 9, False, (), (), (), (relative("new"),), (), EVERYTHING_CHANGES.pods))
    before, steps = shown(served, *NAMES), 0
    for _ in served.change(EVERYTHING_CHANGES):
        assert shown(served, *NAMES) == before
        steps += 1
    assert steps > 3
    assert shown(served, *NAMES) == shown(done, *NAMES) != before


def test_a_change_that_is_given_up_leaves_no_trace() -> None:
    served = state(WEB, DB)
    before = shown(served, *NAMES)
    for taken in range(4):
        change = served.change(EVERYTHING_CHANGES)
        for _ in range(taken):
            next(change)
        del change
        assert (shown(served, *NAMES), served.changing) == (before, set())
    list(served.change(EVERYTHING_CHANGES))
    assert shown(served, *NAMES) != before


def test_while_a_change_is_prepared_no_reply_made_of_what_changes_lasts() -> None:
    served = state(WEB, DB)
    forward = ForwardZone(served, CLUSTER, 5, 5, PodNames.DISABLED)
    reverse = ReverseZone(served, IN_ADDR, CLUSTER, 5, 5)
    changed = [forward.find(from_text(f"{name}.cluster.local")) for name in ("db.shop.svc", "db-1.db.shop.svc")]
    told: set[bytes] = set()
    for step in served.change(ZoneDelta(0, subtrees=(headless("db.shop", "10.1.0.1=db-0"),))):
        told |= {key for _, key in step}
        for found in changed:
            assert not forward.find(found.owner).lasting
        assert forward.find(from_text("web.shop.svc.cluster.local")).lasting
        assert reverse.find(from_text("1.0.1.10.in-addr.arpa")).lasting
        gone = reverse.find(from_text("2.0.1.10.in-addr.arpa"))
        assert gone.lasting is (address_key(packed("10.1.0.2")) not in told)
    assert told == {owner("db.shop"), address_key(packed("10.1.0.2"))}
    assert forward.find(from_text("db.shop.svc.cluster.local")).lasting


def test_one_host_of_many_touches_its_own_address_alone() -> None:
    served = state(CROWD)
    fewer = headless("crowd.shop", " ".join(f"10.2.{at >> 8}.{at & 255}" for at in range(1000) if at != 500))
    told = {key for step in served.change(ZoneDelta(0, subtrees=(fewer,))) for _, key in step}
    assert told == {owner("crowd.shop"), address_key(packed("10.2.1.244"))}


def test_steps_name_a_bounded_number_of_addresses() -> None:
    assert max(map(len, state().change(ZoneDelta(0, subtrees=(CROWD,))))) <= 256


def test_an_equal_subtree_of_the_former_state_is_taken_over() -> None:
    """Until it is published an image stands beside what it replaces."""
    former = state(WEB, DB)
    found = state(service("web.shop", "10.0.0.1"), headless("db.shop", "10.1.0.1=db-0"), former=former)
    assert found.subtrees[owner("web.shop")] is former.subtrees[owner("web.shop")]
    assert found.subtrees[owner("db.shop")] is not former.subtrees[owner("db.shop")]
    assert shown(found, *NAMES) == shown(state(WEB, headless("db.shop", "10.1.0.1=db-0")), *NAMES)
    found.succeed(former)
    assert found._former is None
    list(former.dismantle())
    assert shown(found, "web.shop.svc") == shown(state(WEB, headless("db.shop", "10.1.0.1=db-0")), "web.shop.svc")


def test_a_state_that_nobody_has_told_anything_knows_nothing() -> None:
    served = ClusterState(0)
    assert served.lacks == LACKS_EVERYTHING
    zone = ForwardZone(served, CLUSTER, 5, 5, PodNames.DISABLED)
    assert zone.find(from_text("x.cluster.local")).kind is Kind.UNKNOWN


@pytest.mark.parametrize("lacks", [0, LACKS_ENDPOINTS])
def test_every_delta_says_what_lacks(lacks: int) -> None:
    served = state()
    assert served.lacks == 0
    served.load(ZoneDelta(0, lacks=lacks))
    assert served.lacks == lacks
    list(served.change(ZoneDelta(0, lacks=lacks ^ LACKS_ENDPOINTS)))
    assert served.lacks == lacks ^ LACKS_ENDPOINTS
