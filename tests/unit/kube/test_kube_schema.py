"""Kubernetes DNS-based service discovery 1.1.0, as far as it says which records follow from which objects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from kdns.kube.objects import EndpointSlice, Service
from kdns.kube.schema import NOT_ALLOCATED, SchemaOptions, namespace_label, owner_of, subtree
from kdns.zone.subtree import HostSet, Port, Subtree
from tests.unit.kube.builders import draining, endpoint, packed, piece, service, wire

HTTP = {"name": "http", "port": 8080}
HTTP_PORT = Port(b"http", b"tcp", 8080)
METRICS = {"name": "metrics", "port": 9090}
METRICS_PORT = Port(b"metrics", b"tcp", 9090)
DEFAULT = SchemaOptions()
DRAINING = SchemaOptions(terminating_serving=True)


def made(found: Service, *slices: EndpointSlice, options: SchemaOptions = DEFAULT) -> Subtree:
    one = subtree(found, slices, options)
    assert one is not None
    return one


def hosts(*slices: EndpointSlice, options: SchemaOptions = DEFAULT) -> tuple[HostSet, ...]:
    return made(service(clusterIP="None"), *slices, options=options).hosts


def test_the_owner_is_the_service_in_its_namespace_below_svc() -> None:
    assert owner_of(("Service", "shop", "web")) == b"\x03web\x04shop\x03svc"
    assert namespace_label("shop") == b"\x04shop"


# Section 2.3: services with a ClusterIP


def test_a_cluster_ip_service_owns_its_address_and_its_own_ports() -> None:
    found = made(service(clusterIP="10.96.0.1", ports=[{"name": "http", "port": 80, "targetPort": 8080}]))
    assert found == Subtree(wire("web", "shop", "svc"), (packed("10.96.0.1"),), (Port(b"http", b"tcp", 80),))


def test_a_dual_stack_service_owns_both_addresses_in_their_order() -> None:
    assert made(service(clusterIPs=["fd00::1", "10.96.0.1"])).addresses == (packed("fd00::1"), packed("10.96.0.1"))


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_node_port_and_load_balancer_services_answer_as_cluster_ip_does(kind: str) -> None:
    spec = {"clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.1"], "ports": [{"port": 80, "nodePort": 30080}]}
    assert made(service(type=kind, **spec)) == made(service(clusterIP="10.96.0.1", ports=[{"port": 80}]))


def test_a_cluster_ip_service_without_endpoints_is_still_answered() -> None:
    found = made(service(clusterIP="10.96.0.1"))
    assert (found.addresses, found.hosts, found.hidden) == ((packed("10.96.0.1"),), (), False)


def test_endpoints_of_a_cluster_ip_service_stand_below_it_with_their_own_ports() -> None:
    found = made(
        service(clusterIP="10.96.0.1", ports=[{"name": "http", "port": 80}]), piece("a", "10.0.0.1", ports=[HTTP])
    )
    assert found.addresses == (packed("10.96.0.1"),)
    assert found.ports == (Port(b"http", b"tcp", 80),)
    assert found.hosts == (HostSet(4, (HTTP_PORT,), packed("10.0.0.1")),)


def test_a_service_without_cluster_ip_exists_and_owns_nothing_with_a_note() -> None:
    found = made(service(ports=[{"name": "http", "port": 80}]), piece("a", "10.0.0.1"))
    assert (found.addresses, found.ports, found.target, found.headless) == ((), (), b"", False)
    assert found.note == NOT_ALLOCATED
    assert found.hosts == (HostSet(4, (), packed("10.0.0.1")),)


# Section 2.4: headless services


def test_a_headless_service_is_its_ready_endpoints() -> None:
    found = made(service(clusterIP="None", ports=[HTTP]), piece("a", "10.0.0.2", "10.0.0.1", ports=[HTTP]))
    assert found.headless
    assert (found.addresses, found.ports, found.note) == ((), (), "")
    assert found.hosts == (HostSet(4, (HTTP_PORT,), packed("10.0.0.1", "10.0.0.2")),)


def test_a_headless_service_without_ready_endpoints_has_no_hosts() -> None:
    found = made(service(clusterIP="None"), piece("a", endpoint("10.0.0.1", ready=False)))
    assert (found.headless, found.hosts) == (True, ())


def test_a_headless_service_without_ports_has_hosts_without_ports() -> None:
    assert hosts(piece("a", "10.0.0.1", ports=None)) == (HostSet(4, (), packed("10.0.0.1")),)


def test_the_union_of_all_slices_counts_each_endpoint_once() -> None:
    slices = piece("a", "10.0.0.1", "10.0.0.3", ports=[HTTP]), piece("b", "10.0.0.2", "10.0.0.3", ports=[HTTP])
    assert hosts(*slices) == (HostSet(4, (HTTP_PORT,), packed("10.0.0.1", "10.0.0.2", "10.0.0.3")),)


def test_an_endpoint_that_is_ready_in_one_of_two_slices_is_ready() -> None:
    slices = piece("a", endpoint("10.0.0.1", ready=False)), piece("b", endpoint("10.0.0.1", ready=True))
    assert hosts(*slices) == (HostSet(4, (), packed("10.0.0.1")),)


def test_slices_with_the_same_ports_in_other_order_are_one_set_of_hosts() -> None:
    slices = piece("a", "10.0.0.1", ports=[HTTP, METRICS]), piece("b", "10.0.0.2", ports=[METRICS, HTTP])
    assert hosts(*slices) == (HostSet(4, (HTTP_PORT, METRICS_PORT), packed("10.0.0.1", "10.0.0.2")),)


def test_endpoints_with_other_ports_are_sets_of_their_own() -> None:
    slices = piece("a", "10.0.0.1", ports=[METRICS]), piece("b", "10.0.0.1", "10.0.0.2", ports=[HTTP])
    assert hosts(*slices) == (
        HostSet(4, (HTTP_PORT,), packed("10.0.0.1", "10.0.0.2")),
        HostSet(4, (METRICS_PORT,), packed("10.0.0.1")),
    )


def test_families_are_sets_of_their_own_ipv4_first() -> None:
    slices = piece("b", "fd00::1", family="IPv6", ports=[HTTP]), piece("a", "10.0.0.1", ports=[HTTP])
    assert hosts(*slices) == (
        HostSet(4, (HTTP_PORT,), packed("10.0.0.1")),
        HostSet(16, (HTTP_PORT,), packed("fd00::1")),
    )


def test_addresses_are_in_numeric_order() -> None:
    assert hosts(piece("a", "10.0.0.10", "10.0.0.9", "9.9.9.9"))[0].addresses == packed(
        "9.9.9.9", "10.0.0.9", "10.0.0.10"
    )


# Endpoint names: hostname, else (if wanted) the Pod's name, else the address


def test_a_hostname_names_its_endpoint_and_the_address_names_the_others() -> None:
    found = hosts(piece("a", endpoint("10.0.0.2", hostname="Postgres-0"), "10.0.0.1"))
    assert found == (HostSet(4, (), packed("10.0.0.1", "10.0.0.2"), b"\0" + wire("postgres-0")),)


def test_several_endpoints_may_share_a_hostname() -> None:
    found = hosts(piece("a", endpoint("10.0.0.2", hostname="db"), endpoint("10.0.0.1", hostname="db")))
    assert found == (HostSet(4, (), packed("10.0.0.1", "10.0.0.2"), wire("db", "db")),)


def test_an_endpoint_with_several_addresses_has_its_hostname_at_each() -> None:
    found = hosts(piece("a", endpoint("10.0.0.2", "10.0.0.1", hostname="db")))
    assert found == (HostSet(4, (), packed("10.0.0.1", "10.0.0.2"), wire("db", "db")),)


def test_an_address_with_two_hostnames_stands_in_two_sets_since_a_set_has_distinct_addresses() -> None:
    """As Pods on one node's network have it."""
    found = hosts(
        piece(
            "a",
            endpoint("10.0.0.1", hostname="b"),
            endpoint("10.0.0.1", hostname="a"),
            endpoint("10.0.0.2", hostname="a"),
        )
    )
    assert found == (
        HostSet(4, (), packed("10.0.0.1", "10.0.0.2"), wire("a", "a")),
        HostSet(4, (), packed("10.0.0.1"), wire("b")),
    )


def test_a_copy_without_hostname_is_named_by_its_address_as_well() -> None:
    found = hosts(piece("a", endpoint("10.0.0.1", hostname="a")), piece("b", "10.0.0.1"))
    assert found == (HostSet(4, (), packed("10.0.0.1")), HostSet(4, (), packed("10.0.0.1"), wire("a")))


def test_pod_names_are_used_only_when_wanted() -> None:
    slices = piece(
        "a", endpoint("10.0.0.1", pod="web-x7f2"), endpoint("10.0.0.2", pod="web-y", hostname="db"), "10.0.0.3"
    )
    addresses = packed("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert hosts(slices) == (HostSet(4, (), addresses, b"\0" + wire("db") + b"\0"),)
    wanted = hosts(slices, options=SchemaOptions(endpoint_pod_names=True))
    assert wanted == (HostSet(4, (), addresses, wire("web-x7f2", "db") + b"\0"),)


def test_an_address_of_two_pods_counts_once_where_pod_names_are_not_wanted() -> None:
    found = piece("a", endpoint("10.0.0.1", pod="x"), endpoint("10.0.0.1", pod="y"))
    assert hosts(found) == (HostSet(4, (), packed("10.0.0.1")),)
    assert [one.labels for one in hosts(found, options=SchemaOptions(endpoint_pod_names=True))] == [
        wire("x"),
        wire("y"),
    ]


@pytest.mark.parametrize("name", ["a" * 64, "web.v2"])
def test_a_pod_name_that_is_no_label_is_not_used(name: str) -> None:
    found = hosts(piece("a", endpoint("10.0.0.1", pod=name)), options=SchemaOptions(endpoint_pod_names=True))
    assert found == (HostSet(4, (), packed("10.0.0.1")),)


@pytest.mark.parametrize("wanted", [False, True])
def test_the_order_of_slices_makes_no_difference(wanted: bool) -> None:
    slices: Sequence[EndpointSlice] = (
        piece("a", endpoint("10.0.0.1", pod="p1"), "10.0.0.2", ports=[HTTP]),
        piece("b", endpoint("10.0.0.1", hostname="h"), ports=[HTTP]),
        piece("c", "10.0.0.9", ports=[METRICS]),
        piece("d", "fd00::1", family="IPv6", ports=[HTTP]),
    )
    options = SchemaOptions(endpoint_pod_names=wanted)
    assert len({hosts(*order, options=options) for order in permutations(slices)}) == 1


# Section 2.5: external names


def test_an_external_name_is_an_alias_and_nothing_else() -> None:
    found = made(
        service(type="ExternalName", externalName="DB.example.com", ports=[{"name": "pg", "port": 5432}]),
        piece("a", "10.0.0.1"),
    )
    assert found == Subtree(wire("web", "shop", "svc"), target=wire("db", "example", "com") + b"\0")


@pytest.mark.parametrize(("name", "reason"), [("192.0.2.1", "IP address"), ("a..b", "no domain name")])
def test_an_external_name_without_target_exists_with_a_note(name: str, reason: str) -> None:
    found = made(service(type="ExternalName", externalName=name))
    assert (found.target, found.addresses, found.hidden) == (b"", (), False)
    assert reason in found.note
    assert name in found.note


# Options


def test_noendpoints_leaves_cluster_ips_and_aliases_alone_and_has_no_headless_services() -> None:
    options = SchemaOptions(noendpoints=True)
    slices = (piece("a", "10.0.0.1"),)
    assert made(service(clusterIP="10.96.0.1"), *slices, options=options).hosts == ()
    assert subtree(service(clusterIP="None"), slices, options) is None
    assert (
        made(service(type="ExternalName", externalName="a.test"), options=options).target == wire("a", "test") + b"\0"
    )


def test_ignore_empty_service_hides_cluster_ip_services_without_ready_endpoints() -> None:
    options = SchemaOptions(ignore_empty_service=True)
    web = service(clusterIP="10.96.0.1")
    assert made(web, options=options).hidden
    assert made(web, piece("a", endpoint("10.0.0.1", ready=False)), options=options).hidden
    assert not made(web, piece("a", "10.0.0.1"), options=options).hidden
    assert made(web, options=options).addresses == (packed("10.96.0.1"),)


def test_ignore_empty_service_leaves_headless_services_and_aliases_alone() -> None:
    options = SchemaOptions(ignore_empty_service=True)
    assert not made(service(clusterIP="None"), options=options).hidden
    assert not made(service(type="ExternalName", externalName="a.test"), options=options).hidden


def test_ready_endpoints_are_preferred_to_draining_ones() -> None:
    slices = piece("a", draining("10.0.0.1"), "10.0.0.2"), piece("b", draining("10.0.0.3"))
    assert hosts(*slices, options=DRAINING) == (HostSet(4, (), packed("10.0.0.2")),)


def test_draining_endpoints_of_all_slices_answer_where_none_is_ready() -> None:
    slices = (
        piece("a", draining("10.0.0.1", hostname="a"), endpoint("10.0.0.9", ready=False), ports=[HTTP]),
        piece("b", draining("10.0.0.3"), ports=[HTTP]),
    )
    assert hosts(*slices, options=DRAINING) == (
        HostSet(4, (HTTP_PORT,), packed("10.0.0.1", "10.0.0.3"), wire("a") + b"\0"),
    )
    assert hosts(*slices) == ()


def test_each_address_family_falls_back_to_its_draining_endpoints_for_itself() -> None:
    """As kube-proxy does; slices of the two families are written one after the other."""
    slices = piece("a", draining("10.0.0.1"), "10.0.0.2"), piece("b", draining("fd00::1"), family="IPv6")
    assert hosts(*slices, options=DRAINING) == (
        HostSet(4, (), packed("10.0.0.2")),
        HostSet(16, (), packed("fd00::1")),
    )


def test_draining_endpoints_have_the_names_of_their_pods_if_these_are_wanted() -> None:
    found = piece("a", draining("10.0.0.1", pod="web-x"))
    options = SchemaOptions(terminating_serving=True, endpoint_pod_names=True)
    assert hosts(found, options=options) == (HostSet(4, (), packed("10.0.0.1"), wire("web-x")),)


def test_draining_endpoints_of_a_cluster_ip_service_are_no_hosts_of_it() -> None:
    """Its clients are sent there by kube-proxy, and need no names for that."""
    assert made(service(clusterIP="10.96.0.1"), piece("a", draining("10.0.0.1")), options=DRAINING).hosts == ()


def test_services_are_not_hidden_where_endpoints_are_not_known() -> None:
    options = SchemaOptions(ignore_empty_service=True, noendpoints=True)
    assert not made(service(clusterIP="10.96.0.1"), options=options).hidden


def test_options_say_what_decoded_objects_must_keep() -> None:
    assert DEFAULT.keep == (False, False, False)
    assert SchemaOptions(terminating_serving=True).keep.draining
    assert SchemaOptions(endpoint_pod_names=True).keep.pod_names
    assert SchemaOptions(labels_match=lambda labels: True).keep.labels
