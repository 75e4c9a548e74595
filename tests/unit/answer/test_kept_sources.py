"""Images of a control that does not know everything again: which of its sources stay as they were."""

from __future__ import annotations

import pytest

from kdns.answer.spec import ClusterSpec, FileSpec, SiteSpec, Specification
from kdns.wire.name import from_text
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_EVERYTHING, LACKS_SERVICES, ZoneDelta
from tests.support.engines import CLUSTER, Served, image, zone_file
from tests.support.subtrees import service

EXAMPLE = from_text("example.org")
WEB, WWW = "web.shop.svc.cluster.local", "www.example.org"
OLD, NEW = service("web.shop", "10.0.0.1"), service("web.shop", "10.0.0.2")
CLUSTER_AT, FILE_AT = 0, 1
SPECIFICATION = Specification(
    (ClusterSpec((CLUSTER,)), FileSpec(EXAMPLE)), (SiteSpec((CLUSTER, EXAMPLE), (0, 1)),), ((0,),)
)


def example(address: str) -> ZoneDelta:
    return zone_file(f"www A {address}\n", source=FILE_AT)


def served(*parts: ZoneDelta) -> Served:
    return Served(SPECIFICATION, parts)


def publish(one: Served, *parts: ZoneDelta, kept: tuple[int, ...]) -> None:
    new = one.engine.new_image(kept)
    for part in parts:
        new.apply(part)
    for _ in one.engine.publish(new):
        pass


def test_what_is_kept_stays_and_the_rest_is_replaced() -> None:
    one = served(image(OLD), example("192.0.2.1"))
    publish(one, image(NEW), example("192.0.2.2"), kept=(CLUSTER_AT,))
    assert one.dig(WEB).rdata == ["10.0.0.1"]
    assert one.dig(WWW).rdata == ["192.0.2.2"]
    publish(one, image(NEW), kept=(FILE_AT,))
    assert one.dig(WEB).rdata == ["10.0.0.2"]
    assert one.dig(WWW).rdata == ["192.0.2.2"]


def test_what_is_kept_goes_on_changing() -> None:
    one = served(image(OLD), example("192.0.2.1"))
    publish(one, example("192.0.2.2"), kept=(CLUSTER_AT,))
    one.apply(NEW, serial=5)
    assert one.dig(WEB).rdata == ["10.0.0.2"]


def test_who_has_nothing_takes_what_there_is() -> None:
    one = Served(SPECIFICATION, ready=False)
    publish(one, image(OLD), example("192.0.2.1"), kept=(CLUSTER_AT, FILE_AT))
    assert one.dig(WEB).rdata == ["10.0.0.1"]
    assert one.dig(WWW).rdata == ["192.0.2.1"]


def test_what_nobody_has_told_of_is_neither_answered_nor_denied_until_it_is() -> None:
    one = Served(SPECIFICATION, ready=False)
    publish(one, kept=(CLUSTER_AT, FILE_AT))
    for qname in (WEB, WWW, "example.org", "nobody.example.org", "cluster.local"):
        for qtype in ("A", "SOA", "NS", "DS"):
            reply = one.dig(qname, qtype)
            assert (reply.rcode, reply.answer) == ("SERVFAIL", [])
    publish(one, image(OLD), example("192.0.2.1"), kept=(CLUSTER_AT, FILE_AT))
    assert one.dig(WEB).rdata == ["10.0.0.1"]
    assert one.dig(WWW).rdata == ["192.0.2.1"]
    assert one.dig("nobody.example.org").rcode == "NXDOMAIN"


@pytest.mark.parametrize(
    ("before", "now", "is_better"),
    [
        (LACKS_EVERYTHING, LACKS_ENDPOINTS, True),
        (LACKS_ENDPOINTS, 0, True),
        (LACKS_ENDPOINTS, LACKS_ENDPOINTS, False),
        (LACKS_ENDPOINTS, LACKS_SERVICES, False),
        (0, LACKS_ENDPOINTS, False),
        (0, 0, False),
    ],
)
def test_a_cluster_that_is_kept_gives_way_to_one_of_which_more_is_known(
    before: int, now: int, is_better: bool
) -> None:
    one = served(image(OLD, lacks=before), example("192.0.2.1"))
    publish(one, image(NEW, lacks=now), kept=(CLUSTER_AT, FILE_AT))
    one.apply(lacks=0)
    assert one.dig(WEB).rdata == ["10.0.0.2" if is_better else "10.0.0.1"]
    assert one.dig(WWW).rdata == ["192.0.2.1"]


def test_an_image_for_who_has_everything_is_not_even_loaded() -> None:
    one = served(image(OLD), example("192.0.2.1"))
    new = one.engine.new_image((CLUSTER_AT, FILE_AT))
    new.apply(image(NEW))
    steps = list(one.engine.publish(new))
    assert len(steps) <= 1  # nothing to take apart
    assert one.dig(WEB).rdata == ["10.0.0.1"]
