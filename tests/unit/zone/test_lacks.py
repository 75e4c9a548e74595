"""What a zone says of names while its source does not know all kinds of objects wholly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from kdns.wire.iana import RRType
from kdns.wire.name import from_text
from kdns.zone.cluster import ForwardZone, PodNames, ReverseZone
from kdns.zone.delta import (
    LACKS_ENDPOINTS,
    LACKS_EVERYTHING,
    LACKS_NAMESPACES,
    LACKS_PODS,
    LACKS_SERVICES,
    ZoneDelta,
)
from kdns.zone.model import Found, Kind
from kdns.zone.state import ClusterState
from tests.support.engines import CLUSTER, IN_ADDR, IP6
from tests.support.subtrees import alias, headless, host_sets, packed, relative, service

NOTHING = 0
HOSTS = LACKS_SERVICES | LACKS_ENDPOINTS
KINDS = (LACKS_SERVICES, LACKS_ENDPOINTS, LACKS_NAMESPACES, LACKS_PODS)
SUBTREES = (
    service("web.shop", "10.0.0.1", "2001:db8::1", hosts=host_sets("10.1.0.9=pod-9 10.1.0.8")),
    service("empty.shop", "10.0.0.2", hidden=True),
    service("pending.shop", note="no clusterIP yet"),
    headless("db.shop", "10.1.0.1=db-0 10.1.0.2"),
    headless("nobody.shop"),
    alias("out.shop", "www.example.org"),
)


def all_sets(of: tuple[int, ...] = KINDS) -> Iterator[int]:
    """All sets of kinds."""
    for size in range(len(of) + 1):
        for chosen in combinations(of, size):
            yield sum(chosen)


def state(lacks: int, lacking: tuple[bytes, ...] = ()) -> ClusterState:
    found = ClusterState(0)
    found.load(ZoneDelta(
        0, 7, True, (), SUBTREES, (), (relative("shop"),), (), ((relative("shop"), packed("10.1.0.9")),),
        lacks=lacks, lacking=lacking,
    ))
    return found


def forward(lacks: int, pods: PodNames = PodNames.DISABLED) -> ForwardZone:
    return ForwardZone(state(lacks), CLUSTER, 30, 5, pods, (packed("192.0.2.53"),))


def reverse(lacks: int, apex: bytes = IN_ADDR) -> ReverseZone:
    return ReverseZone(state(lacks), apex, CLUSTER, 30, 5, (packed("192.0.2.53"),))


def find(lacks: int, left: str, pods: PodNames = PodNames.DISABLED) -> Found:
    return forward(lacks, pods).find(from_text(f"{left}cluster.local"))


def same(one: Found, other: Found) -> bool:
    return one._replace(rrsets=dict(one.rrsets)) == other._replace(rrsets=dict(other.rrsets))


@pytest.mark.parametrize(
    ("left", "needs"),
    [
        ("", HOSTS),
        # static
        ("svc.", NOTHING),
        ("pod.", NOTHING),
        ("dns.", NOTHING),
        ("ns.dns.", NOTHING),
        ("dns-version.", NOTHING),
        # a namespace that is known exists
        ("shop.svc.", NOTHING),
        ("shop.pod.", NOTHING),
        # Services alone
        ("web.shop.svc.", LACKS_SERVICES),
        ("_tcp.web.shop.svc.", LACKS_SERVICES),
        ("_http._tcp.web.shop.svc.", LACKS_SERVICES),
        ("http.tcp.web.shop.svc.", LACKS_SERVICES),
        ("pending.shop.svc.", LACKS_SERVICES),
        ("out.shop.svc.", LACKS_SERVICES),
        # hosts, and what could be one
        ("pod-9.web.shop.svc.", HOSTS),
        ("10-1-0-8.web.shop.svc.", HOSTS),
        ("tcp.web.shop.svc.", HOSTS),
        ("db.shop.svc.", HOSTS),
        ("_tcp.db.shop.svc.", HOSTS),
        ("_http._tcp.db.shop.svc.", HOSTS),
        ("db-0.db.shop.svc.", HOSTS),
        ("10-1-0-2.db.shop.svc.", HOSTS),
        # denials
        ("nope.", LACKS_EVERYTHING),
        ("x.dns.", LACKS_EVERYTHING),
        ("x.dns-version.", LACKS_EVERYTHING),
        ("nope.svc.", LACKS_EVERYTHING),
        ("nope.pod.", LACKS_EVERYTHING),
        ("nope.shop.svc.", LACKS_EVERYTHING),
        ("web.nope.svc.", LACKS_EVERYTHING),
        ("nope.web.shop.svc.", LACKS_EVERYTHING),
        ("_nope._tcp.web.shop.svc.", LACKS_EVERYTHING),
        ("_udp.web.shop.svc.", LACKS_EVERYTHING),
        ("x.out.shop.svc.", LACKS_EVERYTHING),
        ("a.b.c.web.shop.svc.", LACKS_EVERYTHING),
        ("empty.shop.svc.", LACKS_EVERYTHING),
        ("_http._tcp.empty.shop.svc.", LACKS_EVERYTHING),
        ("nobody.shop.svc.", LACKS_EVERYTHING),
        ("db-0.nobody.shop.svc.", LACKS_EVERYTHING),
        ("db-9.db.shop.svc.", LACKS_EVERYTHING),
        ("10-1-0-9.shop.pod.", LACKS_EVERYTHING),
    ],
)
def test_a_name_is_said_as_soon_as_what_it_needs_is_known_and_not_before(left: str, needs: int) -> None:
    whole = find(NOTHING, left)
    assert whole.kind is not Kind.UNKNOWN
    for lacks in all_sets():
        found = find(lacks, left)
        if lacks & needs:
            assert (found.kind, found.rrsets, found.lasting) == (Kind.UNKNOWN, {}, False)
        else:
            assert same(found, whole)


@pytest.mark.parametrize(
    ("mode", "left", "needs"),
    [
        (PodNames.INSECURE, "10-1-0-9.shop.pod.", NOTHING),
        (PodNames.INSECURE, "10-1-0-9.nope.pod.", LACKS_EVERYTHING),
        (PodNames.INSECURE, "x.shop.pod.", LACKS_EVERYTHING),
        (PodNames.VERIFIED, "10-1-0-9.shop.pod.", LACKS_PODS),
        (PodNames.VERIFIED, "10-1-0-7.shop.pod.", LACKS_EVERYTHING),
        (PodNames.VERIFIED, "shop.pod.", NOTHING),
    ],
)
def test_a_pod_is_known_by_its_namespace_or_by_itself(mode: PodNames, left: str, needs: int) -> None:
    for lacks in all_sets():
        found = find(lacks, left, mode)
        assert same(found, find(NOTHING, left, mode)) is not bool(lacks & needs)
        assert (found.kind is Kind.UNKNOWN) is bool(lacks & needs)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("in-addr.arpa", HOSTS),
        ("10.in-addr.arpa", HOSTS),
        ("0.0.10.in-addr.arpa", HOSTS),
        ("1.0.0.10.in-addr.arpa", HOSTS),
        ("9.0.1.10.in-addr.arpa", HOSTS),
        ("9.9.9.10.in-addr.arpa", LACKS_EVERYTHING),
        ("9.in-addr.arpa", LACKS_EVERYTHING),
        ("x.in-addr.arpa", LACKS_EVERYTHING),
        ("1.1.0.0.10.in-addr.arpa", LACKS_EVERYTHING),
        ("ip6.arpa", HOSTS),
        ("8.b.d.0.1.0.0.2.ip6.arpa", HOSTS),
        ("9.b.d.0.1.0.0.2.ip6.arpa", LACKS_EVERYTHING),
    ],
)
def test_reverse_names_need_services_and_their_hosts(name: str, needs: int) -> None:
    apex = IP6 if name.endswith("ip6.arpa") else IN_ADDR
    whole = reverse(NOTHING, apex).find(from_text(name))
    for lacks in all_sets():
        found = reverse(lacks, apex).find(from_text(name))
        assert (found.kind is Kind.UNKNOWN) is bool(lacks & needs)
        assert lacks & needs or same(found, whole)


@pytest.mark.parametrize("left", ["nope", "nope.shop.svc", "nobody.shop.svc", "nope.web.shop.svc", "x.none.svc"])
def test_nothing_is_denied_unasked_while_anything_lacks(left: str) -> None:
    name = from_text(f"{left}.cluster.local")
    assert forward(NOTHING).denies(name) is not None
    assert reverse(NOTHING).denies(from_text("9.9.9.10.in-addr.arpa")) is not None
    for lacks in set(all_sets()) - {NOTHING}:
        assert forward(lacks).denies(name) is None
        assert reverse(lacks).denies(from_text("9.9.9.10.in-addr.arpa")) is None


@pytest.mark.parametrize(
    ("left", "lacks", "note"),
    [
        ("web.shop.svc.", LACKS_SERVICES | LACKS_NAMESPACES, "Services are not synced yet"),
        ("db.shop.svc.", LACKS_ENDPOINTS | LACKS_PODS, "EndpointSlices are not synced yet"),
        ("db.shop.svc.", HOSTS, "Services and EndpointSlices are not synced yet"),
        ("nope.", LACKS_NAMESPACES, "Namespaces are not synced yet"),
        ("nope.", LACKS_EVERYTHING, "Services, EndpointSlices, Namespaces and Pods are not synced yet"),
    ],
)
def test_a_name_that_is_not_known_says_what_it_waits_for(left: str, lacks: int, note: str) -> None:
    assert find(lacks, left).note == note


def test_names_that_are_not_known_have_no_addresses() -> None:
    assert forward(NOTHING).addresses(from_text("db.shop.svc.cluster.local")) != ()
    assert forward(LACKS_ENDPOINTS).addresses(from_text("db.shop.svc.cluster.local")) == ()
    assert forward(LACKS_ENDPOINTS).addresses(from_text("web.shop.svc.cluster.local")) != ()


def test_the_name_servers_are_not_told_before_their_hosts_are_known() -> None:
    """The Service in front of this server may be the one that is missing."""
    zone = ForwardZone(state(LACKS_ENDPOINTS), CLUSTER, 30, 5, PodNames.DISABLED, (packed("10.1.0.1"),))
    assert RRType.NS not in zone.find(CLUSTER).rrsets


# In some namespaces alone

BILLING = (relative("billing"),)
SHOP = (relative("shop"),)


def find_lacking(lacking: tuple[bytes, ...], left: str, pods: PodNames = PodNames.DISABLED) -> Found:
    zone = ForwardZone(state(LACKS_EVERYTHING, lacking), CLUSTER, 30, 5, pods, (packed("192.0.2.53"),))
    return zone.find(from_text(f"{left}cluster.local"))


IN_SHOP = [
    "web.shop.svc.", "pod-9.web.shop.svc.", "db.shop.svc.", "nope.shop.svc.", "a.b.nope.shop.svc.", "out.shop.svc.",
    "nope.web.shop.svc.", "nobody.shop.svc.", "10-1-0-9.shop.pod.", "10-1-0-8.shop.pod.", "x.shop.pod.",
    "a.10-1-0-9.shop.pod.",
]  # fmt: skip


@pytest.mark.parametrize("left", IN_SHOP)
def test_a_name_needs_what_is_in_its_namespace_only(left: str) -> None:
    whole = find(NOTHING, left, PodNames.VERIFIED)
    assert same(find_lacking(BILLING, left, PodNames.VERIFIED), whole)
    assert find_lacking(SHOP, left, PodNames.VERIFIED).kind is Kind.UNKNOWN
    assert find_lacking(BILLING + SHOP, left, PodNames.VERIFIED).kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    "left", ["nope.", "x.dns.", "x.dns-version.", "none.svc.", "none.pod.", "web.none.svc.", "10-1-0-9.none.pod."]
)
def test_names_in_no_namespace_or_one_that_is_not_watched_are_denied(left: str) -> None:
    found = find_lacking(BILLING, left)
    assert found.kind is Kind.ABSENT
    assert same(found, find(NOTHING, left))


def test_a_namespace_that_lacks_is_not_denied_itself() -> None:
    for left in ("billing.svc.", "billing.pod.", "web.billing.svc.", "10-1-0-9.billing.pod."):
        assert find_lacking(BILLING, left).kind is Kind.UNKNOWN
    assert find_lacking(SHOP, "shop.svc.").kind is Kind.EMPTY


def test_the_apex_and_reverse_names_need_all_namespaces() -> None:
    assert find_lacking(BILLING, "").kind is Kind.UNKNOWN
    zone = ReverseZone(state(HOSTS, BILLING), IN_ADDR, CLUSTER, 30, 5)
    for name in ("in-addr.arpa", "10.in-addr.arpa", "1.0.0.10.in-addr.arpa", "9.9.9.10.in-addr.arpa"):
        assert zone.find(from_text(name)).kind is Kind.UNKNOWN
        assert zone.denies(from_text(name)) is None


def test_denials_of_what_is_known_are_as_fast_as_ever() -> None:
    partly = ForwardZone(state(HOSTS, BILLING), CLUSTER, 30, 5, PodNames.DISABLED)
    for left in ("nope", "nope.shop.svc", "a.b.nope.shop.svc", "nobody.shop.svc", "nope.web.shop.svc", "x.none.svc"):
        name = from_text(f"{left}.cluster.local")
        assert partly.denies(name) == forward(NOTHING).denies(name) is not None
    for left in ("nope.billing.svc", "a.b.c.billing.svc", "billing.svc", "billing.pod", "1-2-3-4.billing.pod"):
        assert partly.denies(from_text(f"{left}.cluster.local")) is None


def test_where_it_lacks_is_what_the_last_delta_said() -> None:
    served = state(HOSTS, BILLING)
    assert served.lacks_in(BILLING[0]) == HOSTS
    assert served.lacks_in(SHOP[0]) == NOTHING
    served.load(ZoneDelta(0, lacks=HOSTS))
    assert served.lacks_in(SHOP[0]) == HOSTS
    served.load(ZoneDelta(0))
    assert served.lacks_in(BILLING[0]) == NOTHING
