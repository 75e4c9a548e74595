"""The start of a kdns that watches an API server: one that is there, one that is not, and one that tells half."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.serving import Server, zone
from tests.server.watched import (
    DB,
    DB_0,
    DB_ADDRESSES,
    DOCS,
    HTTP,
    NOBODY,
    NOBODYS_ADDRESS,
    WEB,
    WEB_ADDRESS,
    Shop,
    is_ready,
    outcome,
    samples,
    wait_until_answered,
)
from tests.support.fakeapi.builders import namespace, service
from tests.support.fakeapi.faults import Cut, Reply

SHORT = "300ms"

# What a name answers when everything is known.
ANSWERS = [
    (WEB, "A", WEB_ADDRESS),
    (WEB, "AAAA", "NODATA"),
    (f"_http._tcp.{WEB}", "SRV", f"0 100 80 {WEB}."),
    ("20.0.96.10.in-addr.arpa", "PTR", f"{WEB}."),
    (DB, "A", " ".join(DB_ADDRESSES)),
    (DB_0, "A", "10.0.0.1"),
    (f"_sql._tcp.{DB}", "SRV", f"0 50 5432 {DB_0}. 0 50 5432 db-1.{DB}."),
    ("1.0.0.10.in-addr.arpa", "PTR", f"{DB_0}."),
    (DOCS, "CNAME", "docs.example.com."),
    ("10-0-9-9.shop.pod.cluster.local", "A", "10.0.9.9"),
    ("10-0-9-9.elsewhere.pod.cluster.local", "A", "NXDOMAIN"),
    ("shop.svc.cluster.local", "A", "NODATA"),
    (NOBODY, "A", "NXDOMAIN"),
    (NOBODYS_ADDRESS, "PTR", "NXDOMAIN"),
]


def test_everything_is_asked_for_once_and_answered_when_the_api_server_has_told_it(shop: Shop) -> None:
    server = shop.serve(options=("pods insecure",))
    for qname, qtype, wanted in ANSWERS:
        assert outcome(server, qname, qtype) == wanted, qname
        assert server.ask(qname, qtype, tcp=True).rcode() == server.ask(qname, qtype).rcode()
    assert is_ready(server)
    assert sorted(shop.asked()) == [
        "watchlist /api/v1/namespaces",
        "watchlist /api/v1/services",
        "watchlist /apis/discovery.k8s.io/v1/endpointslices",
    ]


def test_pods_are_asked_for_only_to_be_verified(shop: Shop) -> None:
    server = shop.serve(options=("pods verified",))
    assert outcome(server, "10-0-1-1.shop.pod.cluster.local") == "10.0.1.1"
    assert outcome(server, "10-0-9-9.shop.pod.cluster.local") == "NXDOMAIN"
    assert "watchlist /api/v1/pods" in shop.asked()


def test_without_an_api_server_its_zones_are_servfail_and_others_are_answered(shop: Shop, tmp_path: Path) -> None:
    shop.api.kill()
    (tmp_path / "example.org.zone").write_text(zone(1, "www A 192.0.2.1"))
    server = shop.serve(
        options=("fallthrough",), timeout=SHORT, blocks="file example.org.zone example.org", workers=2
    )
    for qname, qtype in ((WEB, "A"), (NOBODY, "A"), (NOBODYS_ADDRESS, "PTR"), ("cluster.local", "SOA")):
        assert outcome(server, qname, qtype) == "UNKNOWN", qname
    assert server.addresses("www.example.org") == ["192.0.2.1"]
    server.wait_for("Services, EndpointSlices and Namespaces not yet: names that depend .* are SERVFAIL until")
    assert not is_ready(server)
    shop.api.start()
    wait_until_answered(server, WEB, WEB_ADDRESS)
    wait_until_answered(server, NOBODY, "NXDOMAIN")
    for qname, qtype, wanted in ANSWERS[:9]:
        assert outcome(server, qname, qtype) == wanted, qname
    assert is_ready(server)


@pytest.mark.parametrize("fault", [Reply("503"), Cut("stall")], ids=["503", "silence"])
def test_without_endpoint_slices_cluster_ips_are_answered_and_nothing_is_denied(shop: Shop, fault: object) -> None:
    shop.api.control.fault(fault, "endpointslices", times=None)
    server = shop.serve(timeout=SHORT)
    assert_lacks_endpoints(server)
    assert samples(server, "kdns_cluster_synced")['kind="endpointslices",source="cluster.local."'] == 0


def assert_lacks_endpoints(server: Server) -> None:
    for qname, qtype, wanted in (
        (WEB, "A", WEB_ADDRESS),
        (WEB, "AAAA", "NODATA"),
        (f"_http._tcp.{WEB}", "SRV", f"0 100 80 {WEB}."),
        (DOCS, "CNAME", "docs.example.com."),
        ("shop.svc.cluster.local", "A", "NODATA"),
        (DB, "A", "UNKNOWN"),
        (DB_0, "A", "UNKNOWN"),
        ("1.0.0.10.in-addr.arpa", "PTR", "UNKNOWN"),
        (NOBODY, "A", "UNKNOWN"),
        (NOBODYS_ADDRESS, "PTR", "UNKNOWN"),
    ):
        assert outcome(server, qname, qtype) == wanted, qname


def test_a_permission_that_is_missing_is_named_and_mends_itself_once_it_is_given(shop: Shop) -> None:
    shop.api.control.set_token("restricted", "system:serviceaccount:kube-system:kdns")
    shop.api.control.allow("system:serviceaccount:kube-system:kdns", "services", "namespaces")
    kubeconfig = shop.api.kubeconfig(shop.directory / "config", {"token": "restricted"})
    shop.write(timeout=SHORT, access=f"kubeconfig {kubeconfig}")
    server = shop.run()
    line = server.wait_for(r"403.*add to a ClusterRole")
    assert line.startswith("[ERROR] cluster.local. in-addr.arpa.: endpointslices: ")
    assert 'user "system:serviceaccount:kube-system:kdns" may not list and watch endpointslices' in line
    assert '{apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"]}' in line
    assert_lacks_endpoints(server)
    shop.api.control.allow("system:serviceaccount:kube-system:kdns", "endpointslices")
    wait_until_answered(server, DB, " ".join(DB_ADDRESSES))
    assert outcome(server, NOBODY) == "NXDOMAIN"
    assert len([one for one in server.log.splitlines() if "(403)" in one]) == 1


def test_a_namespace_without_a_role_is_servfail_and_the_others_are_answered_wholly(shop: Shop) -> None:
    control, user = shop.api.control, "system:serviceaccount:kube-system:kdns"
    control.apply(namespace("billing"), service("billing", "pay", HTTP, clusterIP="10.96.0.40"))
    control.set_token("restricted", user)
    for resource in ("services", "endpointslices"):
        control.allow(user, resource, namespace="shop")
    kubeconfig = shop.api.kubeconfig(shop.directory / "config", {"token": "restricted"})
    shop.write("namespaces shop billing", timeout=SHORT, access=f"kubeconfig {kubeconfig}")
    server = shop.run()
    server.wait_for(r"403.*add to a Role in billing.*resources: \[\"services\"\]")
    server.wait_for("Services and EndpointSlices not yet in billing: names that depend .* are SERVFAIL until")
    pay, unpaid = "pay.billing.svc.cluster.local", "unpaid.billing.svc.cluster.local"
    for qname, qtype, wanted in (
        *((qname, qtype, wanted) for qname, qtype, wanted in ANSWERS if qtype != "PTR" and ".pod." not in qname),
        (f"www.example.org.{NOBODY}", "A", "NXDOMAIN"),
        ("www.example.org.svc.cluster.local", "A", "NXDOMAIN"),
        ("www.example.org.cluster.local", "A", "NXDOMAIN"),
        (pay, "A", "UNKNOWN"),
        (unpaid, "A", "UNKNOWN"),
        (NOBODYS_ADDRESS, "PTR", "UNKNOWN"),
    ):
        assert outcome(server, qname, qtype) == wanted, qname
    control.apply(service("shop", "till", HTTP, clusterIP="10.96.0.30"))
    wait_until_answered(server, "till.shop.svc.cluster.local", "10.96.0.30")
    for resource in ("services", "endpointslices"):
        control.allow(user, resource, namespace="billing")
    wait_until_answered(server, unpaid, "NXDOMAIN")
    assert outcome(server, pay) == "10.96.0.40"
    assert outcome(server, NOBODYS_ADDRESS, "PTR") == "NXDOMAIN"
    assert is_ready(server)


def test_the_kinds_that_come_late_are_answered_from_as_they_come(shop: Shop) -> None:
    shop.api.control.fault(Reply("503"), "namespaces", times=1)
    server = shop.serve(timeout=SHORT)
    assert outcome(server, DB) == " ".join(DB_ADDRESSES)
    wait_until_answered(server, NOBODY, "NXDOMAIN")
