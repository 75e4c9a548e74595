"""The made-up cluster: always the same, of the size asked for, and the same in both ways of writing it down."""

from __future__ import annotations

import io
import json
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.rdatatype
import dns.zone
import pytest

from bench.cluster import SLICE_ENDPOINTS_MAX, Cluster, Size, build
from bench.dump import write_dump
from bench.zonefiles import ZONES, service_records, write_zone_files

SMALL = Size(
    namespaces=4,
    services=80,
    endpoints=1500,
    headless=0.4,
    external_name=0.1,
    dual_stack=0.3,
    without_endpoints=0.1,
    not_ready_endpoints=0.2,
)
Object = dict[str, Any]
Record = tuple[str, str, str]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return build(SMALL)


@pytest.fixture(scope="module")
def dump(cluster: Cluster) -> str:
    out = io.StringIO()
    write_dump(cluster, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def items(dump: str) -> dict[str, list[Object]]:
    by_kind: dict[str, list[Object]] = {}
    for item in json.loads(dump)["items"]:
        by_kind.setdefault(item["kind"], []).append(item)
    return by_kind


def test_the_same_size_gives_the_same_cluster_and_another_seed_another_one(cluster: Cluster) -> None:
    assert build(SMALL) == cluster
    assert build(Size(namespaces=4, services=80, endpoints=1500, seed=2)).services != cluster.services


def test_the_pods_of_a_service_are_the_same_each_time_they_are_asked_for(cluster: Cluster) -> None:
    largest = max(cluster.services, key=lambda service: service.pod_count)
    assert list(cluster.pods(largest)) == list(cluster.pods(largest))
    assert len(list(cluster.pods(largest))) == largest.pod_count


def test_no_two_pods_share_a_uid_or_an_address(cluster: Cluster) -> None:
    pods = [pod for service in cluster.services for pod in cluster.pods(service)]
    for values in ([pod.uid for pod in pods], *([pod.addresses[f] for pod in pods] for f in ("IPv4", "IPv6"))):
        assert len(set(values)) == len(pods)


def test_the_dump_holds_as_many_services_and_endpoints_as_asked_for(items: dict[str, list[Object]]) -> None:
    assert len(items["Namespace"]) == SMALL.namespaces
    assert len(items["Service"]) == SMALL.services
    assert sum(len(item["endpoints"] or []) for item in items["EndpointSlice"]) == SMALL.endpoints


def test_the_default_size_is_that_of_the_goal() -> None:
    cluster = build(Size())
    endpoints = sum(service.pod_count * len(service.families) for service in cluster.services)
    kinds = Counter(service.kind for service in cluster.services)
    assert (len(cluster.services), endpoints) == (10_000, 150_000)
    assert 0.02 <= kinds["ExternalName"] / 10_000 <= 0.03
    assert 0.13 <= kinds["Headless"] / 10_000 <= 0.17
    assert max(service.pod_count for service in cluster.services) > 2 * SLICE_ENDPOINTS_MAX


@pytest.mark.parametrize(("services", "endpoints"), [(10, 10_000), (100, 1)])
def test_a_number_of_endpoints_that_the_services_cannot_have_is_refused(services: int, endpoints: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        build(Size(namespaces=1, services=services, endpoints=endpoints))


def test_more_namespaces_than_services_are_refused() -> None:
    with pytest.raises(ValueError, match="namespaces"):
        Size(namespaces=5, services=4)


def test_the_dump_is_text_as_kubectl_prints_it(dump: str) -> None:
    assert json.dumps(json.loads(dump), indent=4, sort_keys=True) + "\n" == dump
    assert "managedFields" not in dump


def test_slices_are_no_longer_than_the_controllers_limit_and_belong_to_their_service(
    items: dict[str, list[Object]],
) -> None:
    uids = {(s["metadata"]["namespace"], s["metadata"]["name"]): s["metadata"]["uid"] for s in items["Service"]}
    for item in items["EndpointSlice"]:
        meta = item["metadata"]
        (owner,) = meta["ownerReferences"]
        assert len(item["endpoints"] or []) <= SLICE_ENDPOINTS_MAX
        assert owner["uid"] == uids[meta["namespace"], meta["labels"]["kubernetes.io/service-name"]]
        assert meta["resourceVersion"].isdigit()
    assert any(len(item["endpoints"] or []) == SLICE_ENDPOINTS_MAX for item in items["EndpointSlice"])
    assert any(item["endpoints"] is None for item in items["EndpointSlice"])


def test_services_of_every_kind_but_external_name_have_a_slice_even_without_endpoints(
    items: dict[str, list[Object]],
) -> None:
    with_slice = {_fqdn(i["metadata"]["labels"]["kubernetes.io/service-name"], i) for i in items["EndpointSlice"]}
    selecting = {_fqdn(i["metadata"]["name"], i) for i in items["Service"] if "selector" in i["spec"]}
    assert with_slice == selecting


def test_every_kind_of_service_occurs(items: dict[str, list[Object]]) -> None:
    specs = [item["spec"] for item in items["Service"]]
    assert any(spec.get("clusterIP") == "None" for spec in specs)
    assert any(spec["type"] == "ExternalName" and "clusterIP" not in spec for spec in specs)
    assert any(len(spec.get("clusterIPs", [])) == 2 for spec in specs)
    assert any("name" not in port for spec in specs for port in spec.get("ports", []))
    assert any("hostname" in e for item in items["EndpointSlice"] for e in item["endpoints"] or [])


def test_the_zone_files_hold_exactly_the_addresses_pointers_and_aliases_that_the_dump_gives(
    cluster: Cluster, items: dict[str, list[Object]], tmp_path: Path
) -> None:
    from_zones = _records_of_zone_files(write_zone_files(cluster, tmp_path))
    expected = _records_of_dump(items)
    assert {record for record in from_zones if record[1] != "SRV"} == expected


def test_every_srv_target_has_an_address_and_weights_share_one_hundred(cluster: Cluster) -> None:
    records = [record for service in cluster.services for record in service_records(cluster, service)]
    addressed = {owner for owner, rtype, _ in records if rtype in ("A", "AAAA")}
    weights: dict[str, list[int]] = {}
    for owner, rtype, rdata in records:
        if rtype == "SRV":
            priority, weight, _, target = rdata.split()
            assert (priority, target.removesuffix(".") in addressed) == ("0", True)
            weights.setdefault(owner, []).append(int(weight))
    assert {1, 50, 100} <= {weight for shared in weights.values() for weight in shared}
    assert all(sum(shared) <= 100 or set(shared) == {1} for shared in weights.values())


def test_a_headless_service_without_ready_endpoints_has_no_records() -> None:
    nobody_ready = build(Size(namespaces=1, services=30, endpoints=300, headless=0.9, not_ready_endpoints=1.0))
    headless = [service for service in nobody_ready.services if service.kind == "Headless"]
    assert headless
    assert [list(service_records(nobody_ready, service)) for service in headless] == [[]] * len(headless)


def _records_of_zone_files(paths: dict[str, Path]) -> set[Record]:
    found = set()
    for zone_name in ZONES:
        zone = dns.zone.from_file(str(paths[zone_name]), origin=f"{zone_name}.", relativize=False)
        for owner, _, rdata in zone.iterate_rdatas():
            text = owner.to_text(omit_final_dot=True)
            if text not in (zone_name, "ns.dns.cluster.local", "dns-version.cluster.local"):
                found.add((text, dns.rdatatype.to_text(rdata.rdtype), rdata.to_text()))
    return found


def _records_of_dump(items: dict[str, list[Object]]) -> set[Record]:
    """Addresses, pointers and aliases by the specification, from nothing but the dump."""
    found: set[Record] = set()
    headless = set()
    for item in items["Service"]:
        spec, fqdn = item["spec"], _fqdn(item["metadata"]["name"], item)
        if spec["type"] == "ExternalName":
            found.add((fqdn, "CNAME", spec["externalName"] + "."))
        elif spec["clusterIP"] == "None":
            headless.add(fqdn)
        else:
            for address in spec["clusterIPs"]:
                found |= _forward_and_back(fqdn, address)
    for item in items["EndpointSlice"]:
        fqdn = _fqdn(item["metadata"]["labels"]["kubernetes.io/service-name"], item)
        for endpoint in item["endpoints"] or []:
            if endpoint["conditions"]["ready"]:
                (address,) = endpoint["addresses"]
                label = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
                found |= _forward_and_back(f"{label}.{fqdn}", address)
                if fqdn in headless:
                    found.add((fqdn, _type(address), address))
    return found


def _forward_and_back(name: str, address: str) -> set[Record]:
    return {(name, _type(address), address), (ip_address(address).reverse_pointer, "PTR", f"{name}.")}


def _fqdn(name: str, item: Object) -> str:
    return f"{name}.{item['metadata']['namespace']}.svc.cluster.local"


def _type(address: str) -> str:
    return "A" if ip_address(address).version == 4 else "AAAA"
