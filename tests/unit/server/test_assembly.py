"""kdns.server.assembly: a Corefile's model to a plan."""

from __future__ import annotations

from ipaddress import ip_network
from socket import gethostname

import pytest

from kdns.answer.acl import AclSpec
from kdns.answer.spec import ClusterSpec, FileSpec
from kdns.corefile import CorefileError, parse_corefile
from kdns.server.assembly import ClusterPlan, FilePlan, Plan, assemble
from kdns.server.sockets import Address
from kdns.wire.name import ROOT, from_text
from kdns.wire.rules import AclAction, AclRule
from kdns.zone.cluster import PodNames

LOCAL = from_text("cluster.local")
ORG, NET = from_text("example.org"), from_text("example.net")


def resolve(name: str) -> list[str]:
    if name == "eth0":
        return ["192.0.2.1", "fe80::1%eth0"]
    raise OSError("no such interface")


def plan(text: str) -> Plan:
    return assemble(parse_corefile(text), resolve, lambda: ["192.0.2.9", "2001:db8::9"])


def test_a_block_becomes_a_site_with_its_sources() -> None:
    made = plan(
        """
        .:5300 {
            bind 127.0.0.1
            kubernetes cluster.local in-addr.arpa {
                manifests shop.yaml
                pods insecure
                ttl 7
                fallthrough in-addr.arpa
            }
            file zones/example.org example.org
            bufsize 4096
            any
            whoami
        }
        """
    )
    (site,) = made.specification.sites
    assert site.zones == (ROOT,)
    assert (site.sources, site.any_hinfo, site.whoami, site.max_udp_octets) == ((0, 1), True, True, 4096)
    cluster, file = made.specification.sources
    assert isinstance(cluster, ClusterSpec)
    assert cluster.zones == (LOCAL, from_text("in-addr.arpa"))
    assert (cluster.ttl, cluster.pods, cluster.fallthrough) == (7, PodNames.INSECURE, (from_text("in-addr.arpa"),))
    assert cluster.listeners == (b"\x7f\0\0\1",)
    assert file == FileSpec(ORG)
    assert isinstance(made.sources[0], ClusterPlan)
    assert made.sources[0].kubernetes.manifests == ("shop.yaml",)
    assert isinstance(made.sources[1], FilePlan)
    assert (made.sources[1].file.path, made.sources[1].apex) == ("zones/example.org", ORG)
    assert made.addresses == ((Address("127.0.0.1", 5300),),)
    assert made.specification.listeners == ((0,),)


def test_no_bind_is_both_wildcards_as_one_listener() -> None:
    made = plan(".:5300 {\n whoami\n}")
    assert made.addresses == ((Address("0.0.0.0", 5300), Address("::", 5300)),)
    assert made.specification.listeners == ((0,),)


def test_a_cluster_at_every_address_is_at_those_of_the_machine() -> None:
    (cluster,) = plan(".:5300 {\n kubernetes cluster.local {\n manifests a.yaml\n }\n}").specification.sources
    assert isinstance(cluster, ClusterSpec)
    assert cluster.listeners == (b"\xc0\0\2\x09", bytes.fromhex("20010db8000000000000000000000009"))


def test_blocks_on_the_same_address_share_a_listener_and_others_do_not() -> None:
    made = plan(
        "example.org:53 {\n bind 127.0.0.1\n whoami\n}\n"
        "example.net:53 {\n bind 127.0.0.1\n whoami\n}\n"
        "example.net:54 {\n bind 127.0.0.1\n whoami\n}\n"
    )
    assert made.addresses == ((Address("127.0.0.1", 53),), (Address("127.0.0.1", 54),))
    assert made.specification.listeners == ((0, 1), (2,))


def test_a_block_on_two_ports_has_its_data_once() -> None:
    made = plan(".:53 .:54 {\n kubernetes cluster.local {\n manifests shop.yaml\n }\n file a example.org\n}")
    assert len(made.sources) == 2
    assert [site.sources for site in made.specification.sites] == [(0, 1), (0, 1)]
    assert made.specification.listeners == ((0,), (1,))


def test_the_same_file_for_two_zones_is_two_sources() -> None:
    made = plan(". {\n file a example.org example.net\n}")
    assert made.specification.sources == (FileSpec(ORG), FileSpec(NET))
    assert [source.apex for source in made.sources if isinstance(source, FilePlan)] == [ORG, NET]


def test_the_same_file_in_two_blocks_is_one_source() -> None:
    made = plan("example.org:53 {\n file a example.org\n}\nexample.org:54 {\n file a example.org\n}")
    assert len(made.sources) == 1


def test_clusters_that_differ_are_different_sources() -> None:
    made = plan(
        "cluster.local:53 {\n kubernetes cluster.local {\n manifests a.yaml\n ttl 5\n }\n}\n"
        "cluster.local:54 {\n kubernetes cluster.local {\n manifests a.yaml\n ttl 6\n }\n}\n"
    )
    assert [source.ttl for source in made.specification.sources if isinstance(source, ClusterSpec)] == [5, 6]


def test_an_interface_stands_for_its_addresses() -> None:
    made = plan(".:53 {\n bind eth0\n kubernetes cluster.local {\n manifests a.yaml\n }\n}")
    assert made.all_addresses == [Address("192.0.2.1", 53), Address("fe80::1%eth0", 53)]
    (cluster,) = made.specification.sources
    assert isinstance(cluster, ClusterSpec)
    assert cluster.listeners[1][:2] == b"\xfe\x80"


def test_an_interface_that_is_not_there_is_an_error_with_its_place() -> None:
    with pytest.raises(CorefileError, match=r"Corefile:1:1: `bind wlan0`: this machine has no interface"):
        plan(".:53 {\n bind wlan0\n whoami\n}")


def test_port_0_is_refused_with_its_place() -> None:
    with pytest.raises(CorefileError, match="Corefile:1:1: port 0"):
        plan(".:0 {\n whoami\n}")


def test_acl_nsid_and_minimal_reach_the_site() -> None:
    made = plan(
        "example.org {\n acl {\n  allow type A AAAA net 10.0.0.0/8\n  drop\n }\n acl sub.example.org {\n  block\n }\n"
        " nsid rack 7\n minimal\n whoami\n}\nexample.net {\n nsid\n whoami\n}\n"
    )
    first, second = made.specification.sites
    networks = (ip_network("10.0.0.0/8"),)
    assert first.acl == (
        AclSpec((ORG,), (AclRule(AclAction.ALLOW, frozenset((1, 28)), networks), AclRule(AclAction.DROP))),
        AclSpec((from_text("sub.example.org"),), (AclRule(AclAction.BLOCK),)),
    )
    assert (first.nsid, first.minimal) == (b"rack 7", True)
    assert (second.nsid, second.minimal, second.acl) == (gethostname().encode(), False, ())
