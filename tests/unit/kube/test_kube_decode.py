"""Objects out of JSON and YAML values: tolerant of what the API sends, strict about what no API server would hold."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kdns.kube import api
from kdns.kube.decode import (
    SHARED_VALUES_MAX,
    Keep,
    ObjectDecoder,
    api_type,
    is_answered_from,
    kinds_answered_from,
)
from kdns.kube.objects import EndpointSlice, Hosts, Pod, Service, Tombstone, describe, labels_mapping
from kdns.kube.problem import InvalidObject
from kdns.zone.subtree import Port
from tests.unit.kube.builders import (
    SERVICE_NAME,
    decode,
    draining,
    endpoint,
    meta,
    namespace,
    packed,
    piece,
    pod,
    service,
    wire,
)


def slice_object(**more: object) -> dict[str, Any]:
    return {"metadata": meta("web-1", labels={SERVICE_NAME: "web"}), "addressType": "IPv4", **more}


# Services


def test_a_service_keeps_only_what_dns_needs() -> None:
    found = service(
        "web",
        labels={"tier": "front", "app": "web"},
        type="LoadBalancer",
        clusterIP="10.96.0.1",
        clusterIPs=["10.96.0.1", "fd00::1"],
        ipFamilies=["IPv4", "IPv6"],
        selector={"app": "web"},
        sessionAffinity="ClientIP",
        externalIPs=["192.0.2.1"],
        ports=[{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "appProtocol": "http"}],
    )
    assert found == Service(
        key=("Service", "shop", "web"),
        labels="app=web,tier=front",
        headless=False,
        addresses=(packed("10.96.0.1"), packed("fd00::1")),
        ports=(Port(b"http", b"tcp", 80),),
        external_name="",
        selector="app=web",
        targets=("web",),
        families=(4, 16),
        publish_not_ready=False,
    )


def test_cluster_ip_alone_is_the_cluster_ips_of_old_objects() -> None:
    assert service(clusterIP="10.96.0.1").addresses == (packed("10.96.0.1"),)
    assert service(clusterIP="10.96.0.1", clusterIPs=None).addresses == (packed("10.96.0.1"),)
    assert service(clusterIP="10.96.0.1", clusterIPs=[]).addresses == (packed("10.96.0.1"),)


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIPs": ["None"]},
        {"clusterIP": "None", "clusterIPs": ["10.96.0.1"]},
        {"clusterIP": "None", "clusterIPs": ["None"]},
    ],
)
def test_none_anywhere_makes_a_service_headless(spec: dict[str, Any]) -> None:
    assert service(**spec).headless
    assert service(**spec).addresses == ()


@pytest.mark.parametrize(
    "spec", [{}, {"clusterIP": ""}, {"clusterIP": None, "clusterIPs": None}, {"clusterIPs": [""]}]
)
def test_a_service_without_cluster_ip_is_kept_with_a_remark(spec: dict[str, Any]) -> None:
    remarks: list[str] = []
    found = decode("Service", {"metadata": meta("web"), "spec": spec}, remarks)
    assert isinstance(found, Service)
    assert (found.headless, found.addresses) == (False, ())
    assert len(remarks) == 1
    assert remarks[0].startswith("Service shop/web: no clusterIP")


def test_a_service_without_spec_is_one_without_cluster_ip() -> None:
    assert (
        service()
        == decode("Service", {"metadata": meta("web"), "spec": None})
        == decode("Service", {"metadata": meta("web")})
    )


def test_ports_default_to_tcp_and_to_their_own_target() -> None:
    found = service(ports=[{"port": 80}, {"port": 53, "name": "DNS", "protocol": "UDP", "targetPort": 5353}])
    assert found.ports == (Port(b"", b"tcp", 80), Port(b"dns", b"udp", 53))
    assert found.targets == (80, 5353)


def test_the_order_of_ports_makes_no_difference() -> None:
    ports = [{"name": "b", "port": 2, "targetPort": "x"}, {"name": "a", "port": 1, "targetPort": 7}]
    assert service(ports=ports) == service(ports=ports[::-1])


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_service_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(InvalidObject, match=rf"Service shop/web: port {port} is not in 1\.\.65535"):
        service(ports=[{"port": port}])


def test_a_port_name_that_is_no_label_leaves_the_port_unnamed_with_a_remark() -> None:
    remarks: list[str] = []
    found = decode(
        "Service",
        {"metadata": meta("web"), "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "a.b", "port": 80}]}},
        remarks,
    )
    assert isinstance(found, Service)
    assert found.ports == (Port(b"", b"tcp", 80),)
    assert remarks == ["Service shop/web: port 80 is served without name: 'a.b' is no DNS label"]


def test_a_protocol_that_is_no_label_leaves_the_port_out_with_a_remark() -> None:
    remarks: list[str] = []
    found = decode(
        "Service",
        {"metadata": meta("web"), "spec": {"clusterIP": "10.0.0.1", "ports": [{"protocol": "T.P", "port": 80}]}},
        remarks,
    )
    assert isinstance(found, Service)
    assert found.ports == found.targets == ()
    assert remarks == ["Service shop/web: port 80 is left out: protocol 'T.P' is no DNS label"]


def test_addresses_that_old_api_servers_took_are_read_as_they_did_with_a_remark() -> None:
    remarks: list[str] = []
    value = {"metadata": meta("web"), "spec": {"clusterIPs": ["::ffff:10.96.0.9"], "clusterIP": "::ffff:10.96.0.9"}}
    found = decode("Service", value, remarks)
    assert isinstance(found, Service)
    assert (found.addresses, found.families) == ((packed("10.96.0.9"),), (4,))
    ends = [endpoint("10.0.0.1"), endpoint("::ffff:10.0.0.9"), endpoint("010.0.0.3", hostname="db-0")]
    rows = decode("EndpointSlice", slice_object(endpoints=ends), remarks)
    assert isinstance(rows, EndpointSlice)
    assert rows.addresses == packed("10.0.0.1", "10.0.0.3", "10.0.0.9")
    assert remarks == [
        "Service shop/web: address '::ffff:10.96.0.9' is read as 10.96.0.9",
        "EndpointSlice shop/web-1: address '::ffff:10.0.0.9' is read as 10.0.0.9",
        "EndpointSlice shop/web-1: address '010.0.0.3' is read as 10.0.0.3",
    ]


def test_a_cluster_ip_that_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidObject, match=r"Service shop/web: '10\.96\.0' is no IP address"):
        service(clusterIP="10.96.0")


def test_external_name_is_kept_as_written_and_excludes_the_rest() -> None:
    found = service(type="ExternalName", externalName="DB.example.com", clusterIP="10.0.0.1", selector={"app": "db"})
    assert (found.external_name, found.addresses, found.headless, found.selector) == ("DB.example.com", (), False, "")


def test_external_name_counts_only_with_its_type() -> None:
    assert service(externalName="db.example.com", clusterIP="10.0.0.1").external_name == ""


@pytest.mark.parametrize("spec", [{}, {"externalName": ""}, {"externalName": None}])
def test_the_type_external_name_without_a_name_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject, match=r"Service shop/web: type ExternalName without spec\.externalName"):
        service(type="ExternalName", **spec)


@pytest.mark.parametrize("name", ["192.0.2.1", "2001:db8::1", "a..b"])
def test_an_external_name_that_cannot_be_a_target_is_a_remark(name: str) -> None:
    remarks: list[str] = []
    found = decode(
        "Service", {"metadata": meta("web"), "spec": {"type": "ExternalName", "externalName": name}}, remarks
    )
    assert isinstance(found, Service)
    assert len(remarks) == 1
    assert name in remarks[0]


@pytest.mark.parametrize(
    ("spec", "families"),
    [
        ({"ipFamilies": ["IPv6"]}, (16,)),
        ({"ipFamilies": ["IPv6", "IPv4"]}, (4, 16)),
        ({"clusterIP": "fd00::1"}, (16,)),
        ({"clusterIP": "10.0.0.1"}, (4,)),
        ({"clusterIP": "None"}, (4, 16)),
        ({}, (4, 16)),
    ],
)
def test_families_are_those_named_else_those_of_the_cluster_ips_else_both(
    spec: dict[str, Any], families: tuple[int, ...]
) -> None:
    assert service(**spec).families == families


@pytest.mark.parametrize("name", ["Web", "web.v2", "we_b", "a" * 64])
def test_a_service_whose_name_is_no_label_is_left_out_with_a_remark(name: str) -> None:
    remarks: list[str] = []
    found = decode("Service", {"metadata": meta(name), "spec": {"clusterIP": "10.0.0.1"}}, remarks)
    assert found == Tombstone(("Service", "shop", name))
    assert remarks == [f"Service shop/{name}: ignored: name {name!r} is no DNS label in lower case"]


def test_a_service_in_a_namespace_that_is_no_label_is_left_out_with_a_remark() -> None:
    remarks: list[str] = []
    assert decode("Service", {"metadata": meta("web", "Shop")}, remarks) == Tombstone(("Service", "Shop", "web"))
    assert "namespace 'Shop'" in remarks[0]


# EndpointSlices


def test_a_slice_packs_its_ready_endpoints_sorted() -> None:
    found = piece(
        "web-1",
        endpoint("10.0.0.10", hostname="web-1"),
        endpoint("10.0.0.9", pod="web-x7"),
        endpoint("10.0.0.2"),
        ports=[{"name": "http", "port": 8080, "protocol": "TCP"}],
        labels={"app": "web"},
    )
    assert found == EndpointSlice(
        key=("EndpointSlice", "shop", "web-1"),
        labels="app=web,kubernetes.io/service-name=web",
        service=("Service", "shop", "web"),
        octets=4,
        ports=(Port(b"http", b"tcp", 8080),),
        addresses=packed("10.0.0.2", "10.0.0.9", "10.0.0.10"),
        hostnames=b"\0\0" + wire("web-1"),
        pod_names=b"\0" + wire("web-x7") + b"\0",
        unready=b"",
        draining=None,
    )


def test_the_order_of_endpoints_makes_no_difference() -> None:
    endpoints = [endpoint("10.0.0.1", hostname="b"), endpoint("10.0.0.1", hostname="a"), endpoint("10.0.0.2")]
    assert piece("web-1", *endpoints) == piece("web-1", *reversed(endpoints))


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        (None, True),
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True}, True),
        ({"ready": True, "serving": False, "terminating": True}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
)
def test_only_ready_is_read_and_nil_is_ready(conditions: dict[str, Any] | None, ready: bool) -> None:
    found = piece("web-1", {"addresses": ["10.0.0.1"], "conditions": conditions})
    host = packed("10.0.0.1")
    assert (found.addresses, found.unready) == ((host, b"") if ready else (b"", host))


@pytest.mark.parametrize(
    ("conditions", "drains"),
    [
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": None, "terminating": True}, True),
        ({"ready": False, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": None}, False),
        ({"ready": False}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
        ({"terminating": True}, False),
    ],
)
def test_an_endpoint_drains_if_it_is_not_ready_but_terminating_and_serving(
    conditions: dict[str, Any], drains: bool
) -> None:
    found = piece("web-1", endpoint("10.0.0.1", hostname="a", pod="web-a") | {"conditions": conditions})
    assert found.draining == (Hosts(packed("10.0.0.1"), wire("a"), wire("web-a")) if drains else None)


def test_draining_endpoints_are_among_the_unready_ones() -> None:
    found = piece("web-1", draining("10.0.0.3", "10.0.0.2"), endpoint("10.0.0.1", ready=False), "10.0.0.4")
    assert found.addresses == packed("10.0.0.4")
    assert found.unready == packed("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert found.draining == Hosts(packed("10.0.0.2", "10.0.0.3"), b"", b"")


def test_draining_endpoints_are_kept_only_where_they_are_wanted() -> None:
    value = json.dumps(slice_object(endpoints=[draining("10.0.0.1")])).encode()
    found = ObjectDecoder(Keep(draining=False)).decode_json("EndpointSlice", value, [])
    assert isinstance(found, EndpointSlice)
    assert (found.unready, found.draining) == (packed("10.0.0.1"), None)


def test_an_address_is_ready_if_any_of_its_copies_is() -> None:
    copies = [endpoint("10.0.0.1", ready=False), draining("10.0.0.1"), endpoint("10.0.0.1")]
    assert piece("web-1", *copies) == piece("web-1", *reversed(copies)) == piece("web-1", "10.0.0.1")


def test_unready_addresses_are_sorted_and_distinct() -> None:
    found = piece("web-1", *(endpoint(one, ready=False) for one in ("10.0.0.9", "10.0.0.1", "10.0.0.9")))
    assert found.unready == packed("10.0.0.1", "10.0.0.9")


def test_slices_without_unready_endpoints_share_that_they_have_none() -> None:
    one, other = piece("web-1", "10.0.0.1"), piece("web-2", "10.0.0.2")
    assert one.unready is other.unready
    assert one.hostnames is other.hostnames
    assert one.draining is None


def test_an_endpoint_with_several_addresses_gives_each_of_them_its_hostname() -> None:
    found = piece("web-1", endpoint("10.0.0.2", "10.0.0.1", hostname="DB"))
    assert found.addresses == packed("10.0.0.1", "10.0.0.2")
    assert found.hostnames == wire("db", "db")


def test_endpoints_counts_ready_and_unready_ones() -> None:
    assert piece("web-1", "10.0.0.1", "10.0.0.2", endpoint("10.0.0.3", ready=False)).endpoints == 3


@pytest.mark.parametrize("name", ["endpoints", "ports"])
def test_null_lists_are_empty_lists(name: str) -> None:
    found = decode("EndpointSlice", slice_object(**{name: None}))
    assert isinstance(found, EndpointSlice)
    assert (found.addresses, found.ports) == (b"", ())


def test_an_endpoint_whose_addresses_are_null_is_no_host() -> None:
    assert piece("web-1", {"addresses": None}).addresses == b""


def test_a_port_without_number_stands_for_all_and_gives_no_srv() -> None:
    assert piece("web-1", ports=[{"name": "http", "port": None}, {"name": None, "port": 80}]).ports == (
        Port(b"", b"tcp", 80),
    )


@pytest.mark.parametrize("port", [0, 65536])
def test_a_slice_port_out_of_range_is_left_out_with_a_remark(port: int) -> None:
    remarks: list[str] = []
    found = decode("EndpointSlice", slice_object(ports=[{"port": port}], endpoints=[endpoint("10.0.0.1")]), remarks)
    assert isinstance(found, EndpointSlice)
    assert (found.ports, found.addresses) == ((), packed("10.0.0.1"))
    assert remarks == [f"EndpointSlice shop/web-1: port {port} is left out: not in 1..65535"]


def test_a_slice_without_service_label_is_left_out_with_a_remark() -> None:
    remarks: list[str] = []
    found = decode("EndpointSlice", {"metadata": meta("lonely"), "addressType": "IPv4"}, remarks)
    assert found == Tombstone(("EndpointSlice", "shop", "lonely"))
    assert remarks == ["EndpointSlice shop/lonely: no label kubernetes.io/service-name, so it belongs to no Service"]


def test_a_slice_of_fqdns_is_left_out_with_a_remark() -> None:
    remarks: list[str] = []
    assert isinstance(decode("EndpointSlice", slice_object(addressType="FQDN"), remarks), Tombstone)
    assert "FQDN is ignored" in remarks[0]


@pytest.mark.parametrize("family", ["", None, "ipv4"])
def test_a_slice_of_unknown_address_type_is_refused(family: str | None) -> None:
    with pytest.raises(InvalidObject, match=r"addressType .* is neither IPv4 nor IPv6"):
        decode("EndpointSlice", slice_object(addressType=family))


@pytest.mark.parametrize("ready", [True, False])
def test_an_endpoint_address_of_the_wrong_family_is_refused_even_when_not_ready(ready: bool) -> None:
    with pytest.raises(InvalidObject, match="EndpointSlice shop/web-1: 'fd00::1' is no IPv4 address"):
        piece("web-1", endpoint("fd00::1", ready=ready))


def test_a_hostname_that_is_no_label_is_not_used_with_a_remark() -> None:
    remarks: list[str] = []
    found = decode("EndpointSlice", slice_object(endpoints=[endpoint("10.0.0.1", hostname="a.b")]), remarks)
    assert isinstance(found, EndpointSlice)
    assert found.hostnames == b""
    assert remarks == [
        "EndpointSlice shop/web-1: hostname 'a.b' is no DNS label: the endpoint is named by its address"
    ]


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "Node", "name": "n1"},
        {"kind": "Pod", "name": "a.b"},
        {"kind": "Pod", "name": "a" * 64},
        {"kind": "Pod"},
        None,
    ],
)
def test_only_pods_with_a_name_that_is_a_label_name_endpoints(target: dict[str, str] | None) -> None:
    assert piece("web-1", {"addresses": ["10.0.0.1"], "targetRef": target}).pod_names == b""


# Namespaces and Pods


def test_a_namespace_keeps_its_labels() -> None:
    found = namespace("shop", team="storefront", empty="")
    assert found.key == ("Namespace", "", "shop")
    assert labels_mapping(found.labels) == {"team": "storefront", "empty": ""}


def test_a_namespace_whose_name_is_no_label_is_left_out() -> None:
    assert decode("Namespace", {"metadata": {"name": "Shop"}}) == Tombstone(("Namespace", "", "Shop"))


def test_a_pod_keeps_addresses_named_ports_and_conditions() -> None:
    found = pod(
        "web-0",
        "10.0.0.1",
        "fd00::1",
        labels={"app": "web"},
        hostname="web-0",
        subdomain="web",
        containers=[{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}],
        initContainers=[
            {"ports": [{"name": "setup", "containerPort": 1}]},
            {"restartPolicy": "Always", "ports": [{"name": "proxy", "containerPort": 2, "protocol": "UDP"}]},
        ],
    )
    assert found.addresses == (packed("10.0.0.1"), packed("fd00::1"))
    assert [(port.name, port.protocol, port.number) for port in found.ports] == [
        ("http", b"tcp", 8080),
        ("proxy", b"udp", 2),
    ]
    assert (found.labels, found.hostname, found.subdomain, found.phase) == ("app=web", "web-0", "web", "Running")
    assert (found.ready, found.terminating) == (True, False)
    assert pod("web-0", ready=False, deleted=True).terminating
    assert not pod("web-0", ready=False).ready


def test_pod_ip_alone_is_the_pod_ips_of_old_objects() -> None:
    found = decode("Pod", {"metadata": meta("p"), "status": {"podIP": "10.0.0.1", "podIPs": None}})
    assert isinstance(found, Pod)
    assert found.addresses == (packed("10.0.0.1"),)


def test_a_pod_without_status_has_no_address() -> None:
    assert pod("p").addresses == ()
    found = decode("Pod", {"metadata": meta("p"), "status": None})
    assert isinstance(found, Pod)
    assert found.addresses == ()


def test_a_pod_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidObject, match=r"Pod shop/p: '10\.0' is no IP address"):
        pod("p", "10.0")


# All kinds


@pytest.mark.parametrize("metadata", [None, {}, {"name": ""}, {"name": None}])
def test_an_object_without_name_is_refused(metadata: dict[str, Any] | None) -> None:
    with pytest.raises(InvalidObject, match=r"Service without metadata\.name"):
        decode("Service", {"metadata": metadata})


@pytest.mark.parametrize(
    "metadata", [{"name": "web"}, {"name": "web", "namespace": ""}, {"name": "web", "namespace": None}]
)
def test_an_object_without_namespace_is_in_default(metadata: dict[str, Any]) -> None:
    assert decode("Service", {"metadata": metadata}).key == ("Service", "default", "web")
    assert decode("Namespace", {"metadata": metadata}).key == ("Namespace", "", "web")


def test_a_wrong_type_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidObject) as error:
        decode("Service", {"metadata": meta("web"), "spec": {"ports": [{"port": 80}, {"port": "http"}]}})
    assert str(error.value) == "Service spec.ports[1].port: Expected int, got str"


def test_an_object_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidObject, match="Pod: Expected object, got array"):
        ObjectDecoder().decode_json("Pod", b"[]", [])


def test_broken_json_is_the_error_of_whoever_cut_it_off() -> None:
    with pytest.raises(msgspec.DecodeError):
        ObjectDecoder().decode_json("Pod", b'{"metadata": {"na', [])


@pytest.mark.parametrize("label", [{"a": "x,y"}, {"a": "b=c"}, {"a=b": "c"}])
def test_labels_with_separators_in_them_are_refused(label: dict[str, str]) -> None:
    with pytest.raises(InvalidObject, match="neither '=' nor ',' may stand in a label"):
        service(labels=label)


def test_plain_values_decode_as_json_does() -> None:
    value = slice_object(endpoints=[endpoint("10.0.0.1", hostname="a", pod="p")], ports=[{"port": 1, "name": "x"}])
    assert ObjectDecoder().decode_plain("EndpointSlice", value, []) == decode("EndpointSlice", value)
    with pytest.raises(InvalidObject, match="EndpointSlice endpoints: Expected array, got int"):
        ObjectDecoder().decode_plain("EndpointSlice", slice_object(endpoints=3), [])


def test_what_is_not_to_be_kept_is_not_kept() -> None:
    value = json.dumps(slice_object(endpoints=[endpoint("10.0.0.1", pod="web-0", hostname="h")])).encode()
    lean = ObjectDecoder(Keep(labels=False, pod_names=False)).decode_json("EndpointSlice", value, [])
    assert isinstance(lean, EndpointSlice)
    assert (lean.labels, lean.pod_names) == ("", b"")
    assert (lean.service, lean.hostnames) == (("Service", "shop", "web"), wire("h"))


@pytest.mark.parametrize("kind", sorted(kinds_answered_from()))
def test_an_object_that_was_read_already_packs_as_its_json_does(kind: str) -> None:
    value = {"metadata": meta("web-1", labels={SERVICE_NAME: "web"}), "addressType": "IPv4"}
    octets = json.dumps(value).encode()
    read = msgspec.json.decode(octets, type=api_type(kind))
    assert ObjectDecoder().pack(kind, read, []) == decode(kind, value)
    assert ObjectDecoder().key_of(kind, read.metadata) == decode(kind, value).key


def test_a_read_object_that_no_api_server_would_hold_is_refused_as_its_json_is() -> None:
    remarks: list[str] = []
    slice_of_names = api.EndpointSlice(api.ObjectMeta("web-1", "shop"), "Hostname")
    with pytest.raises(InvalidObject, match="EndpointSlice shop/web-1: addressType 'Hostname' is neither"):
        ObjectDecoder().pack("EndpointSlice", slice_of_names, remarks)
    assert remarks == []
    for nameless in (None, api.ObjectMeta(), api.ObjectMeta("")):
        with pytest.raises(InvalidObject, match=r"Service without metadata\.name"):
            ObjectDecoder().key_of("Service", nameless)


def test_a_key_has_a_namespace_only_where_objects_of_its_kind_have_one() -> None:
    decoder = ObjectDecoder()
    assert decoder.key_of("Service", api.ObjectMeta("web")) == ("Service", "default", "web")
    assert decoder.key_of("Namespace", api.ObjectMeta("shop", "other")) == ("Namespace", "", "shop")


def test_metadata_say_which_version_of_which_object_it_is() -> None:
    metadata = meta("web", uid="f1b9", resourceVersion="77", annotations={"a": "b", "c": None})
    read = msgspec.json.decode(json.dumps({"metadata": metadata}), type=api_type("Service")).metadata
    assert read is not None
    assert (read.uid, read.resource_version, read.annotations) == ("f1b9", "77", {"a": "b", "c": None})


def test_objects_of_one_decoder_share_what_they_have_in_common() -> None:
    decoder = ObjectDecoder()
    texts = [
        json.dumps({"metadata": meta(name), "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}) for name in "ab"
    ]
    one, other = (decoder.decode_json("Service", text.encode(), []) for text in texts)
    assert isinstance(one, Service)
    assert isinstance(other, Service)
    assert one.ports is other.ports
    assert one.key[1] is other.key[1]


def test_the_table_of_shared_values_is_bounded() -> None:
    decoder = ObjectDecoder()
    for number in range(SHARED_VALUES_MAX + 2):
        decoder.share(number)
    assert len(decoder._shared) == 1


@pytest.mark.parametrize(
    ("kind", "api_version", "answered"),
    [
        ("Service", "v1", True),
        ("Service", "serving.knative.dev/v1", False),
        ("EndpointSlice", "discovery.k8s.io/v1", True),
        ("EndpointSlice", "v1", False),
        ("Endpoints", "v1", False),
        ("Pod", "v1", True),
        ("Namespace", "v1", True),
    ],
)
def test_kinds_of_other_api_groups_are_other_kinds(kind: str, api_version: str, answered: bool) -> None:
    assert is_answered_from(kind, api_version) is answered


def test_objects_are_described_as_people_name_them() -> None:
    assert describe(("Service", "shop", "web")) == "Service shop/web"
    assert describe(("Namespace", "", "shop")) == "Namespace shop"
