"""kdns.kube.mirror: from what an API server says of its resources to what is published, and what is lacking."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.corefile import parse_selector
from kdns.kube.mirror import HOLD_SECONDS, resources_for
from kdns.kube.request import Severity
from kdns.kube.schema import SchemaOptions
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_PODS, LACKS_SERVICES
from tests.unit.kube.builders import Published
from tests.unit.kube.mirroring import (
    DB,
    FINAL,
    PROBES,
    SHOP,
    WEB,
    Watching,
    added,
    deleted,
    modified,
    rows,
    service,
    synced,
)
from tests.unit.kube.reflecting import START, bookmark, end_bookmark, lines

EVERYTHING = LACKS_SERVICES | LACKS_ENDPOINTS | LACKS_NAMESPACES


# Which resources


def test_namespaces_services_and_slices_are_watched_everywhere() -> None:
    assert [one.path for one in resources_for(SchemaOptions(), "")] == [
        "/api/v1/namespaces",
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
    ]


def test_namespaces_that_are_listed_are_watched_one_by_one_and_not_themselves() -> None:
    options = SchemaOptions(namespaces=frozenset({"shop", "bank"}), namespaces_exist=True)
    assert [str(one) for one in resources_for(options, "")] == [
        "services in bank",
        "services in shop",
        "endpointslices in bank",
        "endpointslices in shop",
    ]


def test_what_no_answer_depends_on_is_not_watched() -> None:
    assert [one.plural for one in resources_for(SchemaOptions(noendpoints=True), "")] == ["namespaces", "services"]


def test_verified_pods_are_watched_without_those_that_have_ended() -> None:
    pods = resources_for(SchemaOptions(verified_pods=True), "team=red")[-1]
    assert (pods.plural, pods.label_selector) == ("pods", "team=red")
    assert pods.field_selector == "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"


def test_a_label_selector_is_for_all_but_namespaces() -> None:
    found = {one.plural: one.label_selector for one in resources_for(SchemaOptions(), "team=red")}
    assert found == {"namespaces": "", "services": "team=red", "endpointslices": "team=red"}


# What is lacking


def test_at_first_everything_is_lacking_that_is_watched() -> None:
    assert Watching().mirror.lacks == EVERYTHING
    assert Watching(SchemaOptions(verified_pods=True)).mirror.lacks == EVERYTHING | LACKS_PODS
    assert Watching(SchemaOptions(noendpoints=True)).mirror.lacks == LACKS_SERVICES | LACKS_NAMESPACES


def test_each_kind_that_becomes_known_is_an_image() -> None:
    watching = Watching()
    for plural, lacks in (
        ("services", LACKS_ENDPOINTS | LACKS_NAMESPACES),
        ("endpointslices", LACKS_NAMESPACES),
        ("namespaces", 0),
    ):
        turn = watching.sync(plural, *SHOP[plural])
        assert turn.is_image
        assert turn.delta is None
        assert watching.mirror.lacks == lacks
    assert Published.image_of(watching.mirror.store).subtrees == watching.state.subtrees


def test_a_kind_is_known_once_all_namespaces_are() -> None:
    options = SchemaOptions(namespaces=frozenset({"shop", "bank"}), namespaces_exist=True)
    watching = Watching(options)
    assert not watching.sync("services in shop", *SHOP["services"][:2]).is_image
    assert watching.find(WEB) == "UNKNOWN"
    assert watching.sync("services in bank").is_image
    assert watching.find(WEB) != "UNKNOWN"
    assert watching.find(DB) == "UNKNOWN"


def listed(*names: str) -> SchemaOptions:
    return SchemaOptions(namespaces=frozenset(names), namespaces_exist=True)


VAULT = "vault.bank.svc.cluster.local"


def test_a_namespace_that_is_refused_is_lacking_alone() -> None:
    watching = Watching(listed("shop", "bank"))
    for plural in ("services in bank", "endpointslices in bank"):
        watching.refuse(plural, 403)
    watching.sync("services in shop", *SHOP["services"][:2])
    assert watching.sync("endpointslices in shop", *SHOP["endpointslices"]).is_image
    assert watching.mirror.lacks == LACKS_SERVICES | LACKS_ENDPOINTS
    assert watching.mirror.progress() == "Services and EndpointSlices not yet in bank"
    assert watching.mirror.is_settled
    full = Watching(listed("shop"))
    for plural, values in (("services", SHOP["services"][:2]), ("endpointslices", SHOP["endpointslices"])):
        full.sync(f"{plural} in shop", *values)
    for qname in PROBES:
        is_everywhere = qname == "cluster.local" or qname.endswith("arpa") or ".bank." in qname
        assert watching.find(qname) == ("UNKNOWN" if is_everywhere else full.find(qname)), qname
    watching.sync("services in bank", SHOP["services"][3])
    assert watching.find(VAULT) != "UNKNOWN"
    assert watching.find("none.bank.svc.cluster.local") == "UNKNOWN"
    watching.sync("endpointslices in bank")
    assert watching.find("none.bank.svc.cluster.local") == "ABSENT"
    assert watching.find("1.0.96.10.in-addr.arpa") == FINAL["1.0.96.10.in-addr.arpa"]
    assert watching.mirror.progress() == "Services and EndpointSlices known"


def test_a_change_where_everything_is_known_is_published_although_others_lack() -> None:
    watching = Watching(listed("shop", "bank"))
    watching.sync("services in shop", SHOP["services"][0])
    watching.sync("endpointslices in shop")
    watching.open("services in bank")
    turn = watching.say("services in bank", added(SHOP["services"][3]))
    assert (turn.delta, turn.is_image) == (None, False)
    headless = service("db", 104, clusterIP="None")
    turn = watching.say("services in shop", added(headless), deleted(service("web", 105)))
    assert turn.delta is not None
    assert (turn.delta.lacks, turn.delta.lacking) == (LACKS_SERVICES | LACKS_ENDPOINTS, (b"\x04bank",))
    assert watching.find(WEB) == "ABSENT"
    assert watching.find(DB) == "ABSENT"
    watching.say("endpointslices in shop", added(rows("db-1", 106, "db", "10.0.0.1", "10.0.0.2")))
    assert watching.find(DB) == FINAL[DB]
    assert watching.find(VAULT) == "UNKNOWN"


@given(st.permutations([f"{plural} in {name}" for plural in ("services", "endpointslices") for name in "abc"]))
def test_namespaces_may_become_known_in_any_order(order: list[str]) -> None:
    watching = Watching(listed("a", "b", "c"))
    known: set[str] = set()
    for resource in order:
        name = resource[-1]
        watching.open(resource)
        one = service("web", 3, name, clusterIP="10.96.0.1")
        value = one if resource.startswith("services") else rows("web-1", 5, "web", "10.0.0.3", namespace=name)
        watching.say(resource, added(value))
        watching.say(resource, end_bookmark(10))
        known.add(resource)
        for other in "abc":
            wholly = {f"services in {other}", f"endpointslices in {other}"} <= known
            assert watching.find(f"none.{other}.svc.cluster.local") == ("ABSENT" if wholly else "UNKNOWN")
            host = watching.find(f"h-3.web.{other}.svc.cluster.local")
            assert (r"\n\x00\x00\x03" in host) if wholly else host == "UNKNOWN"
    assert Published.image_of(watching.mirror.store).subtrees == watching.state.subtrees


def test_many_namespaces_that_lack_are_told_as_a_few_and_a_number() -> None:
    watching = Watching(listed(*(f"n{at}" for at in range(8))))
    expected = "Services and EndpointSlices not yet in n0, n1, n2, n3, n4 and 3 more namespaces"
    assert watching.mirror.progress() == expected


def test_a_kind_that_is_lacking_comes_in_silence() -> None:
    watching = Watching()
    watching.sync("services", *SHOP["services"])
    watching.open("endpointslices")
    turn = watching.say("endpointslices", *map(added, SHOP["endpointslices"]))
    assert (turn.delta, turn.is_image) == (None, False)
    assert watching.find(DB) == "UNKNOWN"


def test_progress_is_told_by_kinds() -> None:
    watching = Watching()
    assert watching.mirror.progress() == "Services, EndpointSlices and Namespaces not yet"
    watching.sync("services")
    assert watching.mirror.progress() == "Services known, EndpointSlices and Namespaces not yet"
    watching.sync("endpointslices")
    watching.sync("namespaces")
    assert watching.mirror.progress() == "Services, EndpointSlices and Namespaces known"


def test_what_is_refused_stays_lacking_and_the_rest_is_settled() -> None:
    watching = Watching()
    for plural in ("namespaces", "services"):
        watching.sync(plural, *SHOP[plural])
    watching.refuse("endpointslices", 403)
    assert watching.mirror.lacks == LACKS_ENDPOINTS
    assert watching.mirror.is_settled
    assert not watching.mirror.is_confirmed
    watching.sync("endpointslices", *SHOP["endpointslices"])
    assert watching.mirror.is_confirmed


def test_the_probes_are_of_all_sorts() -> None:
    assert set(FINAL.values()) > {"ABSENT", "EMPTY"}
    assert "UNKNOWN" not in FINAL.values()


@given(st.permutations(sorted(SHOP)), st.integers(0, 4), st.booleans(), st.randoms(use_true_random=False))
def test_what_is_answered_before_everything_is_known_is_what_is_answered_then(
    order: list[str], cut: int, restarts: bool, rng: Any
) -> None:
    """Kinds may come in any order, in any parts, and begin anew in the middle."""
    watching = Watching()

    def check() -> None:
        found = {qname: watching.find(qname) for qname in PROBES}
        assert all(one in ("UNKNOWN", FINAL[qname]) for qname, one in found.items()), found

    for plural in order:
        watching.open(plural)
        if restarts:
            watching.say(plural, *map(added, SHOP[plural][:cut]))
            watching.break_off(plural)
            watching.open(plural)
        values = rng.sample(SHOP[plural], len(SHOP[plural]))
        watching.say(plural, *map(added, values[:cut]))
        check()
        watching.say(plural, *map(added, values[cut:]), end_bookmark(100))
        check()
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL


@pytest.mark.parametrize(
    "order", [("services", "endpointslices", "namespaces"), ("namespaces", "services", "endpointslices")]
)
@pytest.mark.parametrize("text", ["open=yes", "open!=yes", "!open"])
def test_a_namespace_whose_labels_are_not_known_shows_nothing(text: str, order: tuple[str, ...]) -> None:
    options = SchemaOptions(namespace_matches=parse_selector(text).matches)
    final = synced(Watching(options))
    watching = Watching(options)
    for plural in order:
        watching.sync(plural, *SHOP[plural])
        for qname in PROBES:
            assert watching.find(qname) in ("UNKNOWN", final.find(qname)), (qname, plural)


# From then on


def test_a_change_is_one_delta() -> None:
    watching = synced()
    turn = watching.say("services", modified(service("web", 101, clusterIP="10.96.0.9")))
    assert not turn.is_image
    assert turn.delta is not None
    assert [one.owner for one in turn.delta.subtrees] == [b"\x03web\x04shop\x03svc"]
    assert watching.say("services", deleted(service("web", 102))).delta is not None
    assert watching.find(WEB) == "ABSENT"


def test_all_that_has_come_since_the_last_turn_is_one_delta() -> None:
    watching = synced()
    for plural, value in (
        ("services", service("web", 101, clusterIP="10.96.0.9")),
        ("endpointslices", rows("db-1", 102, "db", "10.0.0.1", "10.0.0.2", "10.0.0.4")),
    ):
        owner = watching.owner(plural)
        number = watching.request(owner).number
        watching.mirror.received(owner, number, lines(modified(value)), watching.now)
    delta = watching.turn().delta
    assert delta is not None
    assert len(delta.subtrees) == 2


def test_an_endpoint_that_vanished_while_ready_goes_when_its_time_is_over() -> None:
    watching = synced()
    before = watching.find(DB)
    watching.say("endpointslices", deleted(rows("db-1", 101, "db")))
    assert watching.find(DB) == before
    assert watching.mirror.wake_at == watching.now + HOLD_SECONDS
    assert watching.wake().delta is not None
    assert watching.find(DB) == "ABSENT"


def test_a_relist_tells_all_at_once_and_what_vanished_is_gone_then() -> None:
    watching = synced()
    watching.say("services", {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
    assert watching.purpose("services") == "watchlist"
    watching.open("services")
    new = service("till", 201, clusterIP="10.96.0.7")
    assert watching.say("services", added(new), *map(added, SHOP["services"][1:])).delta is None
    assert watching.find(WEB) == FINAL[WEB]
    delta = watching.say("services", end_bookmark(201)).delta
    assert delta is not None
    assert (len(delta.subtrees), len(delta.removed)) == (1, 1)
    assert watching.mirror.lacks == 0


def test_answers_stay_through_an_outage_and_are_stale_since_they_were_last_known() -> None:
    watching = synced()
    watching.turn(10.0)
    assert watching.mirror.stale_since is None
    heard_at = watching.now
    watching.say("services", bookmark(120))
    for plural in SHOP:
        watching.break_off(plural)
    assert watching.mirror.stale_since is not None
    assert START <= watching.mirror.stale_since <= heard_at
    for _ in range(20):
        for plural in SHOP:
            watching.break_off(plural)
    assert watching.mirror.lacks == 0
    assert {qname: watching.find(qname) for qname in PROBES} == FINAL
    assert watching.mirror.is_confirmed
    assert watching.mirror.is_settled
    for plural in SHOP:
        assert watching.purpose(plural) == "watch"
        watching.open(plural)
    watching.turn(1.5)
    assert watching.mirror.stale_since is None


def test_an_outage_is_one_line_for_all_that_is_watched_and_one_when_it_is_over() -> None:
    options = SchemaOptions(namespaces=frozenset(f"n{at}" for at in range(20)), namespaces_exist=True)
    watching = Watching(options)
    for one in watching.resources:
        watching.sync(str(one))
    watching.turns.clear()
    for _ in range(3):
        for one in watching.resources:
            watching.break_off(str(one))
    for one in watching.resources:
        watching.open(str(one))
    watching.turn(1.5)
    assert len(watching.texts) <= 4, watching.texts


def test_what_each_resource_needs_is_told_for_each() -> None:
    watching = Watching()
    for plural in ("services", "endpointslices"):
        watching.refuse(plural, 403)
    errors = [notice for turn in watching.turns for notice in turn.notices if notice.severity is Severity.ERROR]
    assert len(errors) == 2


def test_an_ordinary_end_of_a_watch_unsettles_nothing_and_is_not_told() -> None:
    watching = synced()
    watching.turn(5.0)
    watching.turns.clear()
    owner = watching.owner("services")
    watching.mirror.ended(owner, watching.request(owner).number, watching.now)
    watching.turn()
    assert watching.mirror.is_settled
    assert watching.texts == []
    since = watching.mirror.stale_since
    assert since is None or since == watching.now
