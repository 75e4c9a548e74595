"""kdns.server.loading: a change becomes visible at its last step, and not before; a broken one never does."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import dns.message
import pytest

from kdns.answer.engine import Engine
from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.server.feed import Change, MalformedMessage, Scope
from kdns.server.loading import load
from kdns.server.parcel import MalformedParcel
from kdns.wire.iana import RRType
from kdns.wire.name import ROOT, from_text
from kdns.zone.delta import ZoneDelta
from kdns.zone.masterfile import read
from kdns.zone.subtree import Subtree
from tests.server.serving import zone
from tests.support.counting import Counting

LOCAL, ORG = from_text("cluster.local"), from_text("example.org")


@pytest.fixture
def engine() -> Engine:
    specification = Specification(
        sources=(ClusterSpec((LOCAL,)), FileSpec(ORG)), sites=(SiteSpec((ROOT,), (0, 1)),), listeners=((0,),)
    )
    return Engine(specification, Counting(specification).tally, Random(1), _refuse_failure)


def _refuse_failure(error: Exception, query: bytes) -> None:
    raise AssertionError(query.hex()) from error


def cluster(address: int, *, reset: bool = False) -> ZoneDelta:
    owner = from_text("web.shop.svc")[:-1]
    subtree = Subtree(owner, addresses=(bytes((10, 0, 0, address)),))
    return ZoneDelta(0, serial=address, reset=reset, subtrees=(subtree,), namespaces=(b"\x04shop",))


def zone_parts(serial: int, address: str) -> list[ZoneDelta]:
    rrsets = read(zone(serial, f"www A {address}"), ORG, "example.org.zone", None).rrsets
    return [ZoneDelta(1, reset=at == 0, rrsets=(rrset,)) for at, rrset in enumerate(rrsets)]


def change(scope: Scope, source: int = -1) -> Change:
    return Change(1, 1, scope, source, b"")


def answer(engine: Engine, qname: str) -> list[str]:
    query = dns.message.make_query(qname, RRType.A).to_wire()
    reply = engine.responder(0).respond(query, (b"\x7f\0\0\1", 53), False)
    assert reply is not None
    return [rdata.to_text() for rrset in dns.message.from_wire(reply).answer for rdata in rrset]


def test_an_image_is_visible_at_its_end_and_not_before(engine: Engine) -> None:
    parts = [cluster(1, reset=True), *zone_parts(1, "192.0.2.1")]
    steps = 0
    for _ in load(engine, change(Scope.IMAGE), iter(parts)):
        assert answer(engine, "web.shop.svc.cluster.local") == []
        steps += 1
    assert steps == len(parts)
    assert answer(engine, "web.shop.svc.cluster.local") == ["10.0.0.1"]
    assert answer(engine, "www.example.org") == ["192.0.2.1"]


@pytest.fixture
def loaded(engine: Engine) -> Engine:
    parts = [cluster(1, reset=True), *zone_parts(1, "192.0.2.1")]
    assert list(load(engine, change(Scope.IMAGE), iter(parts)))
    return engine


def test_a_zone_file_is_replaced_at_the_end_and_the_cluster_stays(loaded: Engine) -> None:
    for _ in load(loaded, change(Scope.SOURCE, 1), iter(zone_parts(2, "192.0.2.2"))):
        assert answer(loaded, "www.example.org") == ["192.0.2.1"]
    assert answer(loaded, "www.example.org") == ["192.0.2.2"]
    assert answer(loaded, "web.shop.svc.cluster.local") == ["10.0.0.1"]


def test_a_delta_changes_the_cluster_and_the_zone_file_stays(loaded: Engine) -> None:
    assert answer(loaded, "web.shop.svc.cluster.local") == ["10.0.0.1"]
    for _ in load(loaded, change(Scope.DELTA, 0), iter([cluster(2)])):
        assert answer(loaded, "web.shop.svc.cluster.local") == ["10.0.0.1"]
    assert answer(loaded, "web.shop.svc.cluster.local") == ["10.0.0.2"]
    assert answer(loaded, "www.example.org") == ["192.0.2.1"]


def test_an_image_replaces_all_that_was(loaded: Engine) -> None:
    parts = [ZoneDelta(0, serial=9, reset=True), *zone_parts(2, "192.0.2.2")]
    assert list(load(loaded, change(Scope.IMAGE), iter(parts)))
    assert answer(loaded, "web.shop.svc.cluster.local") == []
    assert answer(loaded, "www.example.org") == ["192.0.2.2"]


@pytest.mark.parametrize("scope", [Scope.IMAGE, Scope.SOURCE, Scope.DELTA])
def test_a_change_that_breaks_off_is_never_visible(loaded: Engine, scope: Scope) -> None:
    def broken() -> Iterator[ZoneDelta]:
        yield cluster(7) if scope is Scope.DELTA else zone_parts(2, "192.0.2.7")[0]
        raise MalformedParcel("cut off")

    with pytest.raises(MalformedParcel):
        list(load(loaded, change(scope, 1), broken()))
    assert answer(loaded, "web.shop.svc.cluster.local") == ["10.0.0.1"]
    assert answer(loaded, "www.example.org") == ["192.0.2.1"]


def test_a_cluster_is_not_replaced_alone(loaded: Engine) -> None:
    with pytest.raises(MalformedMessage):
        list(load(loaded, change(Scope.SOURCE, 0), iter([cluster(2, reset=True)])))
