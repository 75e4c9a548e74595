"""kdns.kube.mirror: beginning with a snapshot, of which it is to be found out whether it is of this cluster."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.kube.identity import USELESS_ANSWERS_MAX
from kdns.kube.mirror import IDENTITY, Mirror, Restored, resources_for
from kdns.kube.request import Severity
from kdns.kube.schema import SchemaOptions
from kdns.kube.snapshot import Snapshot
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_SERVICES
from tests.unit.kube.mirroring import (
    CLUSTER_UID,
    DB,
    FINAL,
    PROBES,
    SHOP,
    WEB,
    Watching,
    added,
    service,
    snapshot_of,
    synced,
)
from tests.unit.kube.reflecting import REFUSED, START, end_bookmark

EVERYTHING = LACKS_SERVICES | LACKS_ENDPOINTS | LACKS_NAMESPACES


def test_a_snapshot_is_known_at_once_and_asks_which_cluster_it_is_first() -> None:
    watching = Watching(snapshot=snapshot_of(synced()))
    assert watching.mirror.lacks == 0
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL
    assert [request.path for _, request in watching.mirror.requests()] == ["/api/v1/namespaces"]
    assert watching.mirror.restored is not None
    assert watching.mirror.stale_since == START - 100.0
    assert not watching.mirror.is_settled


def test_a_snapshot_of_the_same_cluster_is_watched_on_from() -> None:
    watching = Watching(snapshot=snapshot_of(synced()))
    assert not watching.identify().is_image
    for plural in SHOP:
        assert watching.purpose(plural) == "watch"
        assert dict(watching.request(watching.owner(plural)).query)["resourceVersion"] == "100"
        watching.open(plural)
    assert watching.mirror.stale_since == START - 100.0
    watching.turn(1.5)
    assert watching.mirror.is_confirmed
    assert watching.mirror.stale_since is None
    assert not any(turn.is_image or turn.delta for turn in watching.turns)


@pytest.mark.parametrize(("version", "purpose"), [("99", "watchlist"), ("100", "watch"), ("", "watch")])
def test_a_store_that_is_behind_the_snapshot_is_listed_anew(version: str, purpose: str) -> None:
    watching = Watching(snapshot=snapshot_of(synced()))
    turn = watching.identify(version=version)
    assert {watching.purpose(plural) for plural in SHOP} == {purpose}
    told = [one for one in turn.notices if "has gone back from resource version 100 to 99" in one.text]
    assert len(told) == len(turn.notices) == (purpose == "watchlist")
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL


def test_a_snapshot_that_is_not_the_newest_is_answered_from_and_listed_anew() -> None:
    restored = Restored(snapshot_of(synced()), START, is_newest=False)
    watching = Watching()
    watching.mirror = Mirror(0, SchemaOptions(), watching.resources, Random(1), START, None, restored)
    watching.publish_image()
    assert watching.mirror.unconfirmed == EVERYTHING
    watching.identify()
    assert {watching.purpose(plural) for plural in SHOP} == {"watchlist"}
    watching.sync("services", *SHOP["services"])
    assert watching.mirror.unconfirmed == EVERYTHING & ~LACKS_SERVICES
    assert watching.mirror.lacks == 0


SERIAL = 1_900_000_000


@pytest.mark.parametrize(
    ("former", "expected"), [(None, SERIAL), (SERIAL - 1, SERIAL), (SERIAL, SERIAL), (SERIAL + 1, SERIAL + 2)]
)
def test_no_serial_goes_back_with_a_snapshot_and_the_same_data_keep_theirs(former: int | None, expected: int) -> None:
    restored = Restored(replace(snapshot_of(synced()), serial=SERIAL), START)
    options = SchemaOptions()
    mirror = Mirror(0, options, resources_for(options, ""), Random(1), START, former, restored)
    assert mirror.store.serial == expected


def test_a_snapshot_of_another_cluster_is_dropped_at_once() -> None:
    watching = Watching(snapshot=snapshot_of(synced(), "elsewhere"))
    turn = watching.identify()
    assert turn.is_image
    assert watching.mirror.lacks == EVERYTHING
    assert {watching.find(qname) for qname in (WEB, DB, "nobody.shop.svc.cluster.local")} == {"UNKNOWN"}
    assert turn.notices[0].severity is Severity.ERROR
    assert "another cluster" in turn.notices[0].text
    assert all(watching.purpose(plural) == "watchlist" for plural in SHOP)
    watching.sync("services", service("web", 1, clusterIP="10.1.1.1"))
    assert watching.find(WEB) not in ("UNKNOWN", FINAL[WEB])


@pytest.mark.parametrize(("of_snapshot", "uid", "status"), [("", CLUSTER_UID, 200), (CLUSTER_UID, "", 403)])
def test_where_a_cluster_is_not_known_what_was_known_stays_and_is_listed_anew(
    of_snapshot: str, uid: str, status: int
) -> None:
    watching = Watching(snapshot=snapshot_of(synced(), of_snapshot))
    assert not watching.identify(uid, status).is_image
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL
    for plural in SHOP:
        assert watching.purpose(plural) == "watchlist"
        watching.sync(plural, *SHOP[plural][1:])
    watching.turn(1.0)
    assert watching.find(WEB) == "ABSENT"
    assert not any(turn.is_image for turn in watching.turns)


def withheld(of_snapshot: str = CLUSTER_UID) -> Watching:
    """Begun with a snapshot, on an API server that answers all but which cluster it is."""
    watching = Watching(snapshot=snapshot_of(synced(), of_snapshot))
    for _ in range(USELESS_ANSWERS_MAX):
        assert watching.mirror.restored is not None
        watching.identify(status=500)
    return watching


def test_where_a_cluster_is_not_told_all_is_listed_anew_and_asked_on() -> None:
    watching = withheld()
    assert watching.mirror.restored is None
    assert not watching.mirror.is_identified
    assert watching.mirror.doubted is not None
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL
    assert watching.mirror.stale_since == START - 100.0
    for plural in SHOP:
        assert watching.purpose(plural) == "watchlist"
        watching.sync(plural, *SHOP[plural][1:])
    watching.turn(1.0)
    assert watching.find(WEB) == "ABSENT"
    assert watching.mirror.stale_since is None
    assert watching.request(IDENTITY).path == "/api/v1/namespaces"
    assert not watching.identify().is_image
    assert (watching.mirror.cluster, watching.mirror.doubted) == (CLUSTER_UID, None)
    assert IDENTITY not in dict(watching.mirror.requests())
    assert not any(turn.is_image for turn in watching.turns)


def test_a_cluster_that_is_told_while_all_is_listed_anew_goes_on_being_listed() -> None:
    watching = withheld()
    before = dict(watching.mirror.requests())
    watching.sync("services", *SHOP["services"])
    assert not watching.identify().is_image
    del before[IDENTITY]
    assert dict(watching.mirror.requests()) == before
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL


def test_another_cluster_that_is_told_late_is_dropped_as_long_as_anything_is_left_of_it() -> None:
    watching = withheld("elsewhere")
    watching.sync("services", *SHOP["services"])
    before = dict(watching.mirror.requests())
    turn = watching.identify()
    assert turn.is_image
    assert "another cluster" in turn.notices[0].text
    assert watching.mirror.lacks == EVERYTHING
    assert {watching.find(qname) for qname in (WEB, DB)} == {"UNKNOWN"}
    for owner, request in watching.mirror.requests():
        assert request.number > before[owner].number, "what comes of the former requests is not taken for an answer"
    for plural in SHOP:
        watching.sync(plural, *SHOP[plural])
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL


def test_another_cluster_that_is_told_when_all_has_been_listed_anew_is_no_news() -> None:
    watching = withheld("elsewhere")
    for plural in SHOP:
        watching.sync(plural, *SHOP[plural])
    turn = watching.identify()
    assert (turn.is_image, turn.notices) == (False, [])
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL
    assert watching.mirror.cluster == CLUSTER_UID


def test_an_api_server_that_is_away_is_waited_for_and_watched_on() -> None:
    watching = Watching(snapshot=snapshot_of(synced()))
    for _ in range(20):
        watching.mirror.failed(IDENTITY, watching.request(IDENTITY).number, REFUSED, watching.now)
        watching.turn()
    assert watching.mirror.restored is not None
    watching.identify()
    assert {watching.purpose(plural) for plural in SHOP} == {"watch"}


def test_a_kind_that_a_snapshot_lacks_is_lacking() -> None:
    whole = snapshot_of(synced())
    sections = tuple(one for one in whole.sections if "services" not in one.resource)
    watching = Watching(snapshot=Snapshot("the same", CLUSTER_UID, whole.taken_at, sections))
    assert watching.mirror.lacks == LACKS_SERVICES
    watching.identify()
    assert watching.purpose("services") == "watchlist"
    watching.sync("services", *SHOP["services"])
    assert watching.mirror.lacks == 0
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL


def test_a_snapshot_of_what_was_taken_from_a_snapshot_is_the_same() -> None:
    first = snapshot_of(synced())
    watching = Watching(snapshot=first)
    watching.identify()
    assert snapshot_of(watching) == first


@given(
    st.sampled_from([CLUSTER_UID, "elsewhere", ""]),
    st.sampled_from([CLUSTER_UID, ""]),
    st.permutations(sorted(SHOP)),
)
def test_from_whatever_snapshot_the_end_is_what_the_api_server_says(
    of_snapshot: str, uid: str, order: list[str]
) -> None:
    """A wrong start never outlives the sync."""
    stale = dict(SHOP, services=[service("gone", 9, clusterIP="10.96.0.8")], endpointslices=[])
    watching = Watching(snapshot=snapshot_of(synced(shop=stale), of_snapshot))
    watching.identify(uid, 200 if uid else 403)
    for plural in order:
        watching.open(plural)
        if watching.purpose(plural) == "watch":
            watching.say(plural, {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
            watching.open(plural)
        watching.say(plural, *map(added, SHOP[plural]), end_bookmark(100))
    watching.turn(1.0)
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL
    assert watching.find("gone.shop.svc.cluster.local") == "ABSENT"
