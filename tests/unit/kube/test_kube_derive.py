"""The EndpointSlice controller's rules, as far as an answer shows them."""

from __future__ import annotations

import pytest

from kdns.kube.derive import PodIndex, derive_slices
from kdns.kube.objects import EndpointSlice, Hosts, Pod, Service, labels_mapping
from kdns.zone.subtree import Port
from tests.unit.kube.builders import SERVICE_NAME, packed, pod, service, wire

WEB = {"app": "web"}


def derived(found: Service, *pods: Pod) -> tuple[EndpointSlice, ...]:
    return derive_slices(found, PodIndex(pods))


def only(found: Service, *pods: Pod) -> EndpointSlice:
    (piece,) = derived(found, *pods)
    return piece


def web(**spec: object) -> Service:
    return service(**{"clusterIP": "10.96.0.1", "selector": WEB, **spec})


def test_a_slice_belongs_to_its_service_and_carries_its_labels() -> None:
    found = only(
        service("web", labels={"tier": "front"}, clusterIP="10.96.0.1", selector=WEB),
        pod("p", "10.0.0.1", labels=WEB),
    )
    assert found.service == ("Service", "shop", "web")
    assert found.key[:2] == ("EndpointSlice", "shop")
    assert labels_mapping(found.labels) == {"tier": "front", SERVICE_NAME: "web"}
    assert (found.octets, found.addresses, found.pod_names, found.hostnames) == (
        4,
        packed("10.0.0.1"),
        wire("p"),
        b"",
    )


def test_the_selector_needs_every_label_of_it_and_no_other() -> None:
    found = only(
        web(selector={"app": "web", "tier": "front"}),
        pod("both", "10.0.0.1", labels={"app": "web", "tier": "front", "version": "2"}),
        pod("one", "10.0.0.2", labels={"app": "web"}),
        pod("other-value", "10.0.0.3", labels={"app": "web", "tier": "back"}),
        pod("none", "10.0.0.4"),
        *(pod(f"tier-only-{n}", f"10.0.1.{n}", labels={"tier": "front"}) for n in range(2)),
    )
    assert found.addresses == packed("10.0.0.1")


def test_a_service_without_selector_selects_nothing() -> None:
    assert derived(web(selector={}), pod("p", "10.0.0.1", labels=WEB), pod("q", "10.0.0.2")) == ()
    assert derived(web(selector=None), pod("p", "10.0.0.1", labels=WEB)) == ()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_ended_are_left_out(phase: str) -> None:
    assert derived(web(), pod("p", "10.0.0.1", labels=WEB, phase=phase)) == ()


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown", ""])
def test_pods_in_any_other_phase_count(phase: str) -> None:
    assert only(web(), pod("p", "10.0.0.1", labels=WEB, phase=phase)).addresses == packed("10.0.0.1")


def test_pods_without_address_are_left_out() -> None:
    assert derived(web(), pod("p", labels=WEB)) == ()


@pytest.mark.parametrize(("ready", "deleted"), [(False, False), (False, True), (True, True)])
def test_pods_that_are_not_ready_or_terminating_are_unready(ready: bool, deleted: bool) -> None:
    found = only(web(), pod("p", "10.0.0.1", labels=WEB, ready=ready, deleted=deleted))
    assert (found.addresses, found.unready) == (b"", packed("10.0.0.1"))


def test_a_pod_that_is_terminating_and_still_ready_drains() -> None:
    web_pod = {"labels": WEB, "hostname": "a", "subdomain": "web"}
    drains = pod("p", "10.0.0.1", deleted=True, **web_pod)
    found = only(web(), drains, pod("q", "10.0.0.2", ready=False, deleted=True, **web_pod))
    assert found.unready == packed("10.0.0.1", "10.0.0.2")
    assert found.draining == Hosts(packed("10.0.0.1"), wire("a"), wire("p"))
    assert only(web(publishNotReadyAddresses=True), drains).draining is None


def test_publish_not_ready_addresses_makes_every_pod_ready() -> None:
    found = only(
        web(publishNotReadyAddresses=True),
        pod("p", "10.0.0.1", labels=WEB, ready=False),
        pod("q", "10.0.0.2", labels=WEB, deleted=True),
    )
    assert (found.addresses, found.unready) == (packed("10.0.0.1", "10.0.0.2"), b"")


@pytest.mark.parametrize(("families", "octets"), [(["IPv4"], [4]), (["IPv6"], [16]), (["IPv6", "IPv4"], [4, 16])])
def test_addresses_are_those_of_the_families_of_the_service(families: list[str], octets: list[int]) -> None:
    found = derived(web(ipFamilies=families), pod("p", "10.0.0.1", "fd00::1", labels=WEB))
    assert [piece.octets for piece in found] == octets
    assert len({piece.key for piece in found}) == len(octets)


def test_without_families_those_of_the_cluster_ip_count() -> None:
    assert only(web(clusterIP="fd00::9"), pod("p", "10.0.0.1", "fd00::1", labels=WEB)).addresses == packed("fd00::1")
    assert len(derived(web(clusterIP="None"), pod("p", "10.0.0.1", "fd00::1", labels=WEB))) == 2


def test_a_target_port_is_a_number_or_the_service_port() -> None:
    found = only(
        web(ports=[{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81}]),
        pod("p", "10.0.0.1", labels=WEB),
    )
    assert found.ports == (Port(b"admin", b"tcp", 81), Port(b"http", b"tcp", 8080))


def test_a_named_target_port_is_looked_up_in_each_pod() -> None:
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}
    found = derived(
        web(**spec),
        pod("p", "10.0.0.1", labels=WEB, containers=[{"ports": [{"name": "web", "containerPort": 8080}]}]),
        pod("q", "10.0.0.2", labels=WEB, containers=[{}, {"ports": [{"name": "web", "containerPort": 9090}]}]),
        pod("r", "10.0.0.3", labels=WEB, containers=[{"ports": [{"name": "web", "containerPort": 8080}]}]),
    )
    assert [(piece.ports, piece.addresses) for piece in found] == [
        ((Port(b"http", b"tcp", 8080),), packed("10.0.0.1", "10.0.0.3")),
        ((Port(b"http", b"tcp", 9090),), packed("10.0.0.2")),
    ]


def test_a_named_target_port_must_have_the_protocol_too() -> None:
    containers = [
        {"ports": [{"name": "dns", "containerPort": 5353}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}
    ]
    found = only(
        web(ports=[{"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}]),
        pod("p", "10.0.0.1", labels=WEB, containers=containers),
    )
    assert found.ports == (Port(b"dns", b"udp", 53),)


def test_a_target_port_that_the_pod_lacks_is_left_out_and_the_pod_is_not() -> None:
    found = only(
        web(ports=[{"name": "a", "port": 80, "targetPort": "nope"}, {"name": "b", "port": 81}]),
        pod("p", "10.0.0.1", labels=WEB),
    )
    assert (found.ports, found.addresses) == ((Port(b"b", b"tcp", 81),), packed("10.0.0.1"))


def test_a_number_in_quotes_is_a_name() -> None:
    assert only(web(ports=[{"port": 80, "targetPort": "8080"}]), pod("p", "10.0.0.1", labels=WEB)).ports == ()


def test_a_headless_service_without_ports_has_endpoints_without_ports() -> None:
    found = only(web(clusterIP="None", ipFamilies=["IPv4"]), pod("p", "10.0.0.1", labels=WEB))
    assert (found.ports, found.addresses) == ((), packed("10.0.0.1"))


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ({"hostname": "web-0", "subdomain": "web"}, wire("web-0")),
        ({"hostname": "web-0", "subdomain": "other"}, b""),
        ({"hostname": "web-0"}, b""),
        ({"subdomain": "web"}, b""),
    ],
)
def test_a_hostname_counts_only_under_the_governing_service(spec: dict[str, str], label: bytes) -> None:
    assert only(web(), pod("p", "10.0.0.1", labels=WEB, **spec)).hostnames == label


def test_the_order_of_pods_makes_no_difference() -> None:
    pods = [
        pod("p", "10.0.0.1", labels=WEB, containers=[{"ports": [{"name": "web", "containerPort": 1}]}]),
        pod("q", "10.0.0.2", labels=WEB, containers=[{"ports": [{"name": "web", "containerPort": 2}]}]),
        pod("r", "10.0.0.3", labels=WEB),
    ]
    found = web(ports=[{"port": 80, "targetPort": "web"}])
    assert derived(found, *pods) == derived(found, *reversed(pods))
