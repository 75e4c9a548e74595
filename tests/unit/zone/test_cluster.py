"""The names of a cluster, forward and reverse, and how changes show (Kubernetes DNS specification 1.1.0)."""

from __future__ import annotations

import pytest

from kdns.wire.iana import RRType
from kdns.wire.name import from_text, to_text
from kdns.zone.cluster import ForwardZone, PodNames, ReverseZone, is_reverse, ptr_targets
from kdns.zone.delta import ZoneDelta
from kdns.zone.model import Found, Kind, Zone
from kdns.zone.state import ClusterState
from kdns.zone.subtree import Subtree
from tests.support.engines import CLUSTER, IN_ADDR, IP6
from tests.support.messages import rrtype
from tests.support.subtrees import alias, headless, host_sets, owner, packed, relative, service
from tests.support.zonetext import rdata_text

PTR_TTL = TTL = 30
SOURCE = 4


def state(*subtrees: Subtree, namespaces: tuple[str, ...] = ("shop", "kube-system"),
          pods: tuple[tuple[str, str], ...] = ()) -> ClusterState:
    found = ClusterState(SOURCE)
    found.load(ZoneDelta(
        SOURCE, 77, True, (), subtrees, (), tuple(map(relative, namespaces)), (),
        tuple((relative(namespace), packed(address)) for namespace, address in pods),
    ))
    return found


def forward(of: ClusterState, pods: PodNames = PodNames.DISABLED, listeners: tuple[str, ...] = ("192.0.2.53",),
            ttl: int = TTL, apex: bytes = CLUSTER) -> ForwardZone:
    return ForwardZone(of, apex, ttl, 5, pods, tuple(map(packed, listeners)))


def reverse(of: ClusterState, apex: bytes = IN_ADDR, listeners: tuple[str, ...] = ("192.0.2.53",)) -> ReverseZone:
    return ReverseZone(of, apex, CLUSTER, TTL, 5, tuple(map(packed, listeners)))


def find(zone: Zone, name: str) -> Found:
    return zone.find(from_text(name).lower())


def kind(zone: Zone, name: str) -> Kind:
    return find(zone, name).kind


def rdata(zone: Zone, name: str, qtype: str) -> list[str]:
    rrset = find(zone, name).rrsets.get(rrtype(qtype))
    if rrset is None:
        return []
    return [rdata_text(rrset.rrtype, one) for one in rrset.rdatas]


WEB = service("web.shop", "10.0.0.1", "2001:db8::1")
DB = headless("db.shop", "10.1.0.1=db-0 10.1.0.2=db-1 2001:db8:1::1=db-0")
EXAMPLE = forward(state(WEB, DB, alias("out.shop", "www.example.org")))


# 1.1: the grammar of names


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("", Kind.NODE),
        ("svc.", Kind.EMPTY),
        ("pod.", Kind.EMPTY),
        ("dns.", Kind.EMPTY),
        ("ns.dns.", Kind.NODE),
        ("dns-version.", Kind.NODE),
        ("shop.svc.", Kind.EMPTY),
        ("shop.pod.", Kind.EMPTY),
        ("web.shop.svc.", Kind.NODE),
        ("_tcp.web.shop.svc.", Kind.EMPTY),
        ("_http._tcp.web.shop.svc.", Kind.NODE),
        ("db-0.db.shop.svc.", Kind.NODE),
        ("out.shop.svc.", Kind.NODE),
        ("other.", Kind.ABSENT),
        ("web.shop.", Kind.ABSENT),
        ("none.svc.", Kind.ABSENT),
        ("none.pod.", Kind.ABSENT),
        ("none.shop.svc.", Kind.ABSENT),
        ("web.none.svc.", Kind.ABSENT),
        ("a.b.c.web.shop.svc.", Kind.ABSENT),
        ("x.ns.dns.", Kind.ABSENT),
        ("other.dns.", Kind.ABSENT),
        ("x.dns-version.", Kind.ABSENT),
        ("x.out.shop.svc.", Kind.ABSENT),
        ("*.shop.svc.", Kind.ABSENT),
        ("any.any.svc.", Kind.ABSENT),
        ("svc.svc.", Kind.ABSENT),
    ],
)
def test_each_shape_of_name_exists_or_not(left: str, expected: Kind) -> None:
    assert kind(EXAMPLE, f"{left}cluster.local") is expected


@pytest.mark.parametrize("left", ["web.shop.svc.", "_tcp.web.shop.svc.", "db-0.db.shop.svc.", "ns.dns.", ""])
def test_above_a_name_that_exists_all_names_exist(left: str) -> None:
    """RFC 8020: an NXDOMAIN denies all names below it too."""
    labels = f"{left}cluster.local".split(".")
    for cut in range(len(labels) - 1):
        assert kind(EXAMPLE, ".".join(labels[cut:])) is not Kind.ABSENT


@pytest.mark.parametrize(
    ("left", "lasting", "key"),
    [
        ("", False, b""),
        ("svc.", True, b""),
        ("shop.svc.", True, relative("shop.svc")),
        ("shop.pod.", True, relative("shop.pod")),
        ("web.shop.svc.", True, owner("web.shop")),
        ("_tcp.web.shop.svc.", True, owner("web.shop")),
        ("ns.dns.", True, b""),
        ("nope.", False, b""),
        ("nope.shop.svc.", False, b""),
    ],
)
def test_what_stands_at_a_name_depends_on_one_key(left: str, lasting: bool, key: bytes) -> None:
    found = find(EXAMPLE, f"{left}cluster.local")
    assert (found.lasting, found.depends) == (lasting, (SOURCE, key))


def test_apexes_of_any_length_work_and_may_be_the_root() -> None:
    for apex in (b"\0", from_text("k8s.corp.example.org")):
        zone = forward(state(WEB), apex=apex)
        assert rdata(zone, f"web.shop.svc.{to_text(apex).lstrip('.')}", "A") == ["10.0.0.1"]
        assert zone.find(apex).kind is Kind.NODE


# 2.2 and 1.4: version, SOA, NS


def test_the_version_of_the_schema_is_a_text_that_lasts_eight_hours() -> None:
    rrset = find(EXAMPLE, "dns-version.cluster.local").rrsets[RRType.TXT]
    assert (rrset.ttl, rrset.rdatas) == (28800, (b"\x051.1.0",))
    assert rdata(EXAMPLE, "dns-version.cluster.local", "A") == []


@pytest.mark.parametrize(
    ("ttl", "soa_ttl", "minimum"), [(0, 0, 0), (3, 3, 3), (5, 5, 5), (30, 30, 5), (3600, 300, 5)]
)
def test_the_soa_record_is_coredns_s_with_a_negative_ttl_of_five_seconds_at_most(
    ttl: int, soa_ttl: int, minimum: int
) -> None:
    zone = forward(state(), ttl=ttl)
    soa = zone.soa
    assert (soa.ttl, zone.negative_ttl, zone.serial) == (soa_ttl, minimum, 77)
    names = "ns.dns.cluster.local. hostmaster.cluster.local."
    assert rdata_text(6, soa.rdatas[0]) == f"{names} 77 7200 1800 86400 {minimum}"
    assert find(zone, "cluster.local").rrsets[RRType.SOA] == soa


def test_without_a_service_that_covers_it_the_name_server_is_ns_dns() -> None:
    zone = forward(state(WEB), listeners=("192.0.2.53", "2001:db8::53"))
    assert rdata(zone, "cluster.local", "NS") == ["ns.dns.cluster.local."]
    assert rdata(zone, "ns.dns.cluster.local", "A") == ["192.0.2.53"]
    assert rdata(zone, "ns.dns.cluster.local", "AAAA") == ["2001:db8::53"]


def test_a_server_without_known_addresses_still_has_its_name() -> None:
    zone = forward(state(), listeners=())
    assert kind(zone, "ns.dns.cluster.local") is not Kind.ABSENT
    assert zone.addresses(from_text("ns.dns.cluster.local")) == ()


def test_the_name_servers_are_the_services_in_front_of_this_server() -> None:
    served = state(
        service("kube-dns.kube-system", "10.0.0.10", hosts=host_sets("192.0.2.53 192.0.2.54")),
        headless("dns-pods.kube-system", "192.0.2.53=first 192.0.2.54=second"),
        WEB,
    )
    names = ["first.dns-pods.kube-system.svc.cluster.local.", "kube-dns.kube-system.svc.cluster.local."]
    assert sorted(rdata(forward(served), "cluster.local", "NS")) == names
    assert sorted(rdata(reverse(served), "in-addr.arpa", "NS")) == names


def test_name_servers_of_a_reverse_zone_stand_in_the_forward_zone() -> None:
    zone = reverse(state())
    assert rdata(zone, "in-addr.arpa", "NS") == ["ns.dns.cluster.local."]
    assert to_text(zone.soa.owner) == "in-addr.arpa."


# 1.3: pod names


PODS = state(namespaces=("shop",), pods=(("shop", "10.1.0.9"), ("shop", "2001:db8:1::9"), ("gone", "10.1.0.8")))


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        (PodNames.DISABLED, "10-1-0-9.shop", None),
        (PodNames.INSECURE, "10-1-0-9.shop", ["10.1.0.9"]),
        (PodNames.INSECURE, "1-2-3-4.shop", ["1.2.3.4"]),
        (PodNames.INSECURE, "2001-db8--7.shop", ["2001:db8::7"]),
        (PodNames.INSECURE, "1-2-3-4.gone", None),
        (PodNames.INSECURE, "1-2-3-256.shop", None),
        (PodNames.INSECURE, "web.shop", None),
        (PodNames.INSECURE, "x.1-2-3-4.shop", None),
        (PodNames.VERIFIED, "10-1-0-9.shop", ["10.1.0.9"]),
        (PodNames.VERIFIED, "2001-db8-1--9.shop", ["2001:db8:1::9"]),
        (PodNames.VERIFIED, "10-1-0-8.shop", None),
        (PodNames.VERIFIED, "1-2-3-4.shop", None),
    ],
)
def test_pod_names_exist_as_the_mode_says(mode: PodNames, name: str, expected: list[str] | None) -> None:
    zone = forward(PODS, mode)
    full = f"{name}.pod.cluster.local"
    if expected is None:
        assert kind(zone, full) is Kind.ABSENT
        return
    family, other = ("AAAA", "A") if ":" in expected[0] else ("A", "AAAA")
    assert (rdata(zone, full, family), rdata(zone, full, other)) == (expected, [])
    assert not find(zone, full).lasting


@pytest.mark.parametrize("mode", PodNames)
def test_a_namespace_is_an_empty_name_below_pod_in_every_mode(mode: PodNames) -> None:
    assert kind(forward(PODS, mode), "shop.pod.cluster.local") is Kind.EMPTY


# 1.4: reverse names


def test_a_cluster_ip_leads_to_its_service() -> None:
    served = state(WEB)
    assert rdata(reverse(served), "1.0.0.10.in-addr.arpa", "PTR") == ["web.shop.svc.cluster.local."]
    name = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    assert rdata(reverse(served, IP6), name, "PTR") == ["web.shop.svc.cluster.local."]
    assert find(reverse(served), "1.0.0.10.in-addr.arpa").rrsets[RRType.PTR].ttl == PTR_TTL


def test_a_cluster_ip_wins_over_endpoints_and_the_first_service_over_others() -> None:
    served = state(
        headless("aaa.shop", "10.0.0.1=a-0"), WEB, service("two.shop", "10.0.0.1"), service("zoo.shop", "10.0.0.1")
    )
    assert rdata(reverse(served), "1.0.0.10.in-addr.arpa", "PTR") == ["two.shop.svc.cluster.local."]


def test_the_governing_headless_services_name_comes_first() -> None:
    everywhere = "10.1.0.1"
    served = state(
        service("aaa.shop", "10.0.0.2", hosts=host_sets(f"{everywhere}=pod-a")),
        service("front.shop", "10.0.0.3", hosts=host_sets(everywhere)),
        headless("bbb.shop", everywhere),
        headless("db.shop", f"{everywhere}=db-0 10.1.0.2=db-1"),
        headless("zdb.shop", f"{everywhere}=z-0"),
    )
    assert rdata(reverse(served), "1.0.1.10.in-addr.arpa", "PTR") == [
        "db-0.db.shop.svc.cluster.local.",
        "z-0.zdb.shop.svc.cluster.local.",
        "10-1-0-1.bbb.shop.svc.cluster.local.",
        "pod-a.aaa.shop.svc.cluster.local.",
        "10-1-0-1.front.shop.svc.cluster.local.",
    ]


def test_the_order_of_ptr_records_does_not_follow_the_order_of_changes() -> None:
    subtrees = [headless(f"{name}.shop", "10.1.0.1=x") for name in "bdac"]
    one, other = state(*subtrees), state(*reversed(subtrees))
    assert ptr_targets(one, packed("10.1.0.1")) == ptr_targets(other, packed("10.1.0.1"))


def test_an_address_with_two_names_in_one_service_has_two_records() -> None:
    twice = Subtree(owner("db.shop"), hosts=(*host_sets("10.1.0.1=a"), *host_sets("10.1.0.1=b", "x/tcp/1")),
                    headless=True)
    assert rdata(reverse(state(twice)), "1.0.1.10.in-addr.arpa", "PTR") == [
        "a.db.shop.svc.cluster.local.", "b.db.shop.svc.cluster.local.",
    ]


def test_every_ptr_record_leads_to_a_name_with_the_address() -> None:
    served = state(DB, service("front.shop", "10.0.0.2", hosts=host_sets("10.1.0.1 10.1.0.2=x")))
    zone = forward(served)
    for address in ("10.1.0.1", "10.1.0.2", "10.0.0.2"):
        for target in ptr_targets(served, packed(address)):
            assert packed(address) in zone.find(target + CLUSTER).rrsets[RRType.A].rdatas


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("in-addr.arpa", Kind.NODE),
        ("10.in-addr.arpa", Kind.EMPTY),
        ("0.10.in-addr.arpa", Kind.EMPTY),
        ("0.0.10.in-addr.arpa", Kind.EMPTY),
        ("1.0.0.10.in-addr.arpa", Kind.NODE),
        ("2.0.0.10.in-addr.arpa", Kind.ABSENT),
        ("1.0.10.in-addr.arpa", Kind.ABSENT),
        ("11.in-addr.arpa", Kind.ABSENT),
        ("1.1.0.0.10.in-addr.arpa", Kind.ABSENT),
        ("01.0.0.10.in-addr.arpa", Kind.ABSENT),
        ("256.in-addr.arpa", Kind.ABSENT),
        ("x.10.in-addr.arpa", Kind.ABSENT),
        ("0/25.0.0.10.in-addr.arpa", Kind.ABSENT),
    ],
)
def test_reverse_names_above_an_address_are_empty_but_exist(name: str, expected: Kind) -> None:
    assert kind(reverse(state(WEB)), name) is expected


def test_reverse_names_of_ipv6_exist_at_each_nibble() -> None:
    zone = reverse(state(WEB), IP6)
    nibbles = packed("2001:db8::1").hex()[::-1]
    name = ".".join(nibbles) + ".ip6.arpa"
    assert kind(zone, name) is Kind.NODE
    for cut in range(1, 32):
        assert kind(zone, name[2 * cut :]) is Kind.EMPTY
        assert kind(zone, f"e.{name[2 * cut :]}") is Kind.ABSENT
    assert kind(zone, f"0.{name}") is Kind.ABSENT
    assert kind(zone, "10.0.1.2.ip6.arpa") is Kind.ABSENT


def test_a_reverse_zone_may_be_a_part_of_the_tree() -> None:
    served = state(WEB, service("far.shop", "10.1.0.1"))
    zone = reverse(served, from_text("0.10.in-addr.arpa"))
    assert kind(zone, "0.10.in-addr.arpa") is Kind.NODE
    assert kind(zone, "0.0.10.in-addr.arpa") is Kind.EMPTY
    assert rdata(zone, "1.0.0.10.in-addr.arpa", "PTR") == ["web.shop.svc.cluster.local."]
    assert to_text(zone.soa.rdatas[0]) == "ns.dns.cluster.local."  # a name that exists


def test_a_reverse_name_has_no_other_types_and_no_addresses() -> None:
    zone = reverse(state(WEB))
    assert rdata(zone, "1.0.0.10.in-addr.arpa", "A") == []
    assert zone.addresses(from_text("1.0.0.10.in-addr.arpa")) == ()


@pytest.mark.parametrize(
    ("apex", "expected"),
    [("in-addr.arpa", True), ("10.in-addr.arpa", True), ("ip6.arpa", True), ("8.b.d.0.ip6.arpa", True),
     ("cluster.local", False), ("arpa", False), ("xin-addr.arpa", False), (".", False)],
)
def test_reverse_zones_are_known_by_their_names(apex: str, expected: bool) -> None:
    assert is_reverse(from_text(apex)) is expected


# Changes


def apply(to: ClusterState, *subtrees: Subtree, removed: tuple[bytes, ...] = (), namespaces: tuple[bytes, ...] = (),
          namespaces_removed: tuple[bytes, ...] = ()) -> set[bytes]:
    """Make a change; gives the keys of what it makes wrong."""
    delta = ZoneDelta(SOURCE, None, False, (), subtrees, removed, namespaces, namespaces_removed)
    touched = {dependency for step in to.change(delta) for dependency in step}
    assert {source for source, _ in touched} <= {SOURCE}
    return {key for _, key in touched}


def test_a_removed_service_is_gone_with_its_reverse_names() -> None:
    served = state(WEB, DB)
    apply(served, removed=(owner("web.shop"),))
    assert kind(forward(served), "web.shop.svc.cluster.local") is Kind.ABSENT
    assert kind(reverse(served), "1.0.0.10.in-addr.arpa") is Kind.ABSENT
    assert kind(reverse(served), "0.0.10.in-addr.arpa") is Kind.ABSENT
    assert kind(reverse(served), "10.in-addr.arpa") is Kind.EMPTY
    assert kind(reverse(served, IP6), "8.b.d.0.1.0.0.2.ip6.arpa") is Kind.EMPTY
    apply(served, removed=(owner("db.shop"),))
    assert kind(reverse(served), "10.in-addr.arpa") is Kind.ABSENT
    assert kind(reverse(served, IP6), "2.ip6.arpa") is Kind.ABSENT


def test_a_changed_service_moves_its_reverse_names() -> None:
    served = state(WEB)
    touched = apply(served, service("web.shop", "10.0.0.7"))
    assert kind(reverse(served), "1.0.0.10.in-addr.arpa") is Kind.ABSENT
    assert rdata(reverse(served), "7.0.0.10.in-addr.arpa", "PTR") == ["web.shop.svc.cluster.local."]
    moved = ("10.0.0.1", "2001:db8::1", "10.0.0.7")
    assert touched == {owner("web.shop"), *(b"\0" + packed(address) for address in moved)}


def test_when_a_cluster_ip_goes_the_endpoint_is_found_again() -> None:
    served = state(service("web.shop", "10.1.0.1"), DB)
    assert rdata(reverse(served), "1.0.1.10.in-addr.arpa", "PTR") == ["web.shop.svc.cluster.local."]
    apply(served, removed=(owner("web.shop"),))
    assert rdata(reverse(served), "1.0.1.10.in-addr.arpa", "PTR") == ["db-0.db.shop.svc.cluster.local."]


def test_what_is_removed_and_new_in_one_change_is_there() -> None:
    served = state(WEB)
    apply(served, service("web.shop", "10.0.0.2"), removed=(owner("web.shop"),))
    assert rdata(forward(served), "web.shop.svc.cluster.local", "A") == ["10.0.0.2"]


def test_removing_what_is_not_there_does_nothing() -> None:
    served = state(WEB)
    assert apply(served, removed=(owner("none.shop"),)) == {owner("none.shop")}
    assert rdata(forward(served), "web.shop.svc.cluster.local", "A") == ["10.0.0.1"]


def test_namespaces_come_and_go_below_svc_and_pod() -> None:
    served = state()
    both = {relative("new.svc"), relative("new.pod")}
    assert apply(served, namespaces=(relative("new"),)) == both
    for branch in ("svc", "pod"):
        assert kind(forward(served), f"new.{branch}.cluster.local") is Kind.EMPTY
    assert apply(served, namespaces_removed=(relative("new"),)) == both
    assert kind(forward(served), "new.svc.cluster.local") is Kind.ABSENT


def test_a_namespace_removed_and_made_again_in_one_change_is_there() -> None:
    served = state()
    apply(served, namespaces=(relative("shop"),), namespaces_removed=(relative("shop"),))
    assert kind(forward(served), "shop.svc.cluster.local") is Kind.EMPTY


def test_the_serial_is_that_of_the_last_change_with_one() -> None:
    served = state()
    served.load(ZoneDelta(SOURCE, serial=78))
    assert forward(served).serial == 78
    served.load(ZoneDelta(SOURCE, namespaces=(relative("x"),)))
    assert forward(served).serial == 78


# What is told faster than by `find`


@pytest.mark.parametrize(
    "left",
    ["nope", "nope.shop.svc", "a.b.c.nope.shop.svc", "x.none.svc", "example.com", "www.example.com.shop.svc",
     "com.svc.other", "a.b.c.d.e.f.g.h", "nope.web.shop.svc", "db-9.db.shop.svc", "_x._tcp.web.shop.svc"],
)
def test_names_of_no_branch_and_of_no_service_and_not_in_theirs_are_denied_at_once(left: str) -> None:
    name = f"{left}.cluster.local"
    assert EXAMPLE.denies(from_text(name)) == EXAMPLE.negative_ttl
    assert kind(EXAMPLE, name) is Kind.ABSENT


@pytest.mark.parametrize(
    "left",
    ["", "svc.", "shop.svc.", "none.svc.", "web.shop.svc.", "_tcp.web.shop.svc.", "db-0.db.shop.svc.", "pod.",
     "1-2-3-4.shop.pod.", "dns.", "x.dns.", "dns-version."],
)
def test_other_names_are_left_to_find(left: str) -> None:
    assert EXAMPLE.denies(from_text(f"{left}cluster.local")) is None


@pytest.mark.parametrize("left", ["", "db-0.", "_http._tcp."])
def test_a_headless_service_without_ready_hosts_is_denied_with_a_ttl_of_its_own(left: str) -> None:
    zone = forward(state(headless("db.shop"), service("empty.shop", "10.0.0.1", hidden=True)))
    assert zone.denies(from_text(f"{left}db.shop.svc.cluster.local")) == 1
    assert zone.denies(from_text(f"{left}empty.shop.svc.cluster.local")) == zone.negative_ttl


@pytest.mark.parametrize(
    "qname",
    [
        b"\x03abc\x0fx\x07cluster\x05local\x00",
        b"x\x07cluster\x05local\x00",
        b"\x02\x07cluster\x05local\x00",
        b"\x40" + b"a" * 64 + CLUSTER,
        b"\x7b" + b"a" * 123 + CLUSTER,
        b"\xc0" + b"a" * 192 + CLUSTER,
        b"\xff" * 300 + CLUSTER,
        (b"\x3f" + b"a" * 63) * 4 + CLUSTER,
        b"\x01a" * 121 + CLUSTER,
    ],
    ids=["label-into-the-apex", "no-length", "apex-as-label", "label-of-64", "folded-length", "pointer", "junk",
         "too-long", "one-octet-too-long"],
)
def test_octets_that_are_no_name_are_not_denied(qname: bytes) -> None:
    assert EXAMPLE.denies(qname) is None


def test_a_name_of_255_octets_is_denied() -> None:
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x2f" + b"a" * 47 + CLUSTER
    assert len(name) == 255
    assert EXAMPLE.denies(name) == 5
    assert EXAMPLE.denies(b"\x01a" * 119 + b"\x01b" + CLUSTER) == 5


def test_a_denial_follows_the_services() -> None:
    served = state()
    zone, name = forward(served), from_text("web.shop.svc.cluster.local")
    assert zone.denies(name) == 5
    apply(served, WEB)
    assert zone.denies(name) is None
    apply(served, removed=(owner("web.shop"),))
    assert zone.denies(name) == 5


@pytest.mark.parametrize("name", ["2.0.0.10", "1.1.0.0.10", "x", "256", "01.0.0.10", "a.1.0.0.10"])
def test_reverse_names_of_no_address_are_denied_at_once(name: str) -> None:
    zone = reverse(state(WEB))
    assert zone.denies(from_text(f"{name}.in-addr.arpa")) == zone.negative_ttl
    assert kind(zone, f"{name}.in-addr.arpa") is Kind.ABSENT


@pytest.mark.parametrize("name", ["", "10.", "0.10.", "9.10.", "1.0.0.10."])
def test_reverse_names_of_addresses_and_prefixes_are_left_to_find(name: str) -> None:
    assert reverse(state(WEB)).denies(from_text(f"{name}in-addr.arpa")) is None


@pytest.mark.parametrize("apex", [IN_ADDR, IP6, from_text("0.10.in-addr.arpa")])
@pytest.mark.parametrize(
    "left", [b"", b"x", b"\x01", b"\x02x", b"\x40" + b"a" * 64, b"\xc0\x0c", b"\x011" * 130, b"\xff" * 9]
)
def test_octets_that_are_no_reverse_name_are_not_denied(apex: bytes, left: bytes) -> None:
    assert reverse(state(WEB), apex).denies(left + apex) is None


@pytest.mark.parametrize("apex", [IN_ADDR, IP6, from_text("0.10.in-addr.arpa")])
@pytest.mark.parametrize("left", [b"", b"x", b"\x011"])
def test_a_name_with_the_apex_inside_a_label_is_not_denied(apex: bytes, left: bytes) -> None:
    inside = left + apex[:-1]
    assert reverse(state(WEB), apex).denies(bytes([len(inside)]) + inside + b"\0") is None
    assert forward(state(WEB), apex=apex).denies(bytes([len(inside)]) + inside + b"\0") is None
