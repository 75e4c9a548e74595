"""Kubernetes DNS-based service discovery, version 1.1.0, section by section.

https://github.com/kubernetes/dns/blob/master/docs/specification.md. Objects are written as people write them, records
as in a zone file. What the specification leaves open is CoreDNS's choice: TTL 5 and 28800, priority 0, weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.kube.manifests import parse_manifest
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.zone.cluster import PodNames
from tests.support.engines import CLUSTER, IN_ADDR, IP6, Served
from tests.support.messages import mixed_case, opt

OBJECTS = """\
kind: Namespace
apiVersion: v1
metadata: {name: default}
---
kind: Service
apiVersion: v1
metadata: {name: kubernetes, namespace: default}
spec:
  clusterIP: 10.3.0.1
  ports: [{name: https, port: 443, targetPort: 6443}]
---
kind: Service
apiVersion: v1
metadata: {name: dual, namespace: default}
spec:
  clusterIPs: [10.3.0.2, "2001:db8::2"]
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]
---
kind: Service
apiVersion: v1
metadata: {name: unnamed, namespace: default}
spec: {clusterIP: 10.3.0.3, ports: [{port: 80}]}
---
kind: Service
apiVersion: v1
metadata: {name: headless, namespace: default}
spec:
  clusterIP: None
  ports: [{name: https, port: 443}, {name: peers, port: 7000, protocol: UDP}]
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: headless-a, namespace: default, labels: {kubernetes.io/service-name: headless}}
addressType: IPv4
ports: [{name: https, port: 443}, {name: peers, port: 7000, protocol: UDP}]
endpoints:
- {addresses: [10.3.0.100], hostname: my-pet, conditions: {ready: true}}
- {addresses: [10.3.0.101], hostname: my-pet-2}
- {addresses: [10.3.0.102], hostname: sick, conditions: {ready: false}}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: headless-b, namespace: default, labels: {kubernetes.io/service-name: headless}}
addressType: IPv4
ports: [{name: https, port: 443}, {name: peers, port: 7000, protocol: UDP}]
endpoints:
- {addresses: [10.3.0.103], hostname: my-pet-2}
- {addresses: [10.3.0.104]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: headless-6, namespace: default, labels: {kubernetes.io/service-name: headless}}
addressType: IPv6
ports: [{name: https, port: 443}, {name: peers, port: 7000, protocol: UDP}]
endpoints:
- {addresses: ["2001:db8::100"], hostname: my-pet}
---
kind: Service
apiVersion: v1
metadata: {name: asleep, namespace: default}
spec: {clusterIP: None, ports: [{name: https, port: 443}]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: asleep-a, namespace: default, labels: {kubernetes.io/service-name: asleep}}
addressType: IPv4
ports: [{name: https, port: 443}]
endpoints: [{addresses: [10.3.0.110], hostname: zzz, conditions: {ready: false}}]
---
kind: Service
apiVersion: v1
metadata: {name: foo, namespace: default}
spec: {type: ExternalName, externalName: www.example.com}
---
kind: Service
apiVersion: v1
metadata: {name: alias, namespace: default}
spec: {type: ExternalName, externalName: kubernetes.default.svc.cluster.local}
"""


@dataclass(frozen=True)
class Case:
    """A question and its records, written as in a zone file; the order does not matter.

    denied: the TTL of the denial, None if there is none.
    """

    qname: str
    qtype: str
    answer: str = ""
    additional: str = ""
    rcode: str = "NOERROR"
    denied: int | None = None

    def __str__(self) -> str:
        return f"{self.qname} {self.qtype}"


def records(text: str) -> list[str]:
    """`owner ttl IN type rdata` a line, without the class as replies are shown."""
    return sorted(" ".join(line.replace(" IN ", " ").split()) for line in text.strip().splitlines())


def serve() -> Served:
    store = ClusterStore(0, SchemaOptions())
    store.load(parse_manifest("objects.yaml", OBJECTS.encode()).objects.values(), serial=7)
    zones = (CLUSTER, IN_ADDR, IP6)
    specification = Specification((ClusterSpec(zones, pods=PodNames.INSECURE),), (SiteSpec(zones, (0,)),), ((0,),))
    return Served(specification, store.image())


@pytest.fixture(scope="module")
def served() -> Served:
    return serve()


def check(served: Served, case: Case) -> None:
    for edns in (opt(), opt(), b""):
        reply = served.dig(case.qname, case.qtype, edns=edns)
        assert (reply.rcode, sorted(reply.answer)) == (case.rcode, records(case.answer))
        assert sorted(reply.additional) == records(case.additional)
        assert {"QR", "AA"} <= reply.flags
        assert reply.soa == ("" if case.denied is None else f"{_zone(case.qname)} {case.denied} 7 5")


def _zone(qname: str) -> str:
    return next(f"{zone}." for zone in ("cluster.local", "in-addr.arpa", "ip6.arpa") if qname.endswith(zone))


def cases(*table: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", table, ids=str)


# 2.1 - Definitions


@cases(
    Case("my-pet.headless.default.svc.cluster.local", "A", """
        my-pet.headless.default.svc.cluster.local. 5 IN A 10.3.0.100
    """),
    Case("10-3-0-104.headless.default.svc.cluster.local", "A", """
        10-3-0-104.headless.default.svc.cluster.local. 5 IN A 10.3.0.104
    """),
    Case("10-3-0-100.headless.default.svc.cluster.local", "A", rcode="NXDOMAIN", denied=5),
    Case("sick.headless.default.svc.cluster.local", "A", rcode="NXDOMAIN", denied=5),
)
def test_2_1_the_hostname_is_the_endpoints_own_or_else_one_assigned_and_unready_ones_have_none(
    served: Served, case: Case
) -> None:
    check(served, case)


@pytest.mark.parametrize(
    "qname",
    ["kubernetes.default.svc.cluster.local", "my-pet.headless.default.svc.cluster.local", "dns-version.cluster.local",
     "_https._tcp.kubernetes.default.svc.cluster.local", "nope.default.svc.cluster.local"],
)
def test_2_1_all_comparisons_are_case_insensitive(served: Served, qname: str) -> None:
    for qtype in ("A", "SRV", "TXT"):
        plain, mixed = served.dig(qname, qtype), served.dig(mixed_case(qname), qtype)
        lowered = [[line.lower() for line in one.answer + one.authority + one.additional] for one in (plain, mixed)]
        assert lowered[0] == lowered[1]
        assert plain.rcode == mixed.rcode


# 2.2 - Record for Schema Version


@cases(
    Case("dns-version.cluster.local", "TXT", 'dns-version.cluster.local. 28800 IN TXT "1.1.0"'),
    Case("dns-version.cluster.local", "A", denied=5),
)
def test_2_2_the_schema_version_is_a_text_record(served: Served, case: Case) -> None:
    check(served, case)


# 2.3 - Records for a Service with ClusterIP


@cases(
    Case("kubernetes.default.svc.cluster.local", "A", "kubernetes.default.svc.cluster.local. 5 IN A 10.3.0.1"),
    Case("kubernetes.default.svc.cluster.local", "AAAA", denied=5),
    Case("dual.default.svc.cluster.local", "A", "dual.default.svc.cluster.local. 5 IN A 10.3.0.2"),
    Case("dual.default.svc.cluster.local", "AAAA", "dual.default.svc.cluster.local. 5 IN AAAA 2001:db8::2"),
    Case("unnamed.default.svc.cluster.local", "A", "unnamed.default.svc.cluster.local. 5 IN A 10.3.0.3"),
    Case("nope.default.svc.cluster.local", "A", rcode="NXDOMAIN", denied=5),
    Case("kubernetes.nope.svc.cluster.local", "A", rcode="NXDOMAIN", denied=5),
)
def test_2_3_1_a_service_has_an_address_record_for_each_cluster_ip(served: Served, case: Case) -> None:
    check(served, case)


@cases(
    Case(
        "_https._tcp.kubernetes.default.svc.cluster.local", "SRV",
        "_https._tcp.kubernetes.default.svc.cluster.local. 5 IN SRV 0 100 443 kubernetes.default.svc.cluster.local.",
        "kubernetes.default.svc.cluster.local. 5 IN A 10.3.0.1",
    ),
    Case(
        "_dns._udp.dual.default.svc.cluster.local", "SRV",
        "_dns._udp.dual.default.svc.cluster.local. 5 IN SRV 0 50 53 dual.default.svc.cluster.local.",
        """
        dual.default.svc.cluster.local. 5 IN A 10.3.0.2
        dual.default.svc.cluster.local. 5 IN AAAA 2001:db8::2
        """,
    ),
    Case(
        "_dns-tcp._tcp.dual.default.svc.cluster.local", "SRV",
        "_dns-tcp._tcp.dual.default.svc.cluster.local. 5 IN SRV 0 50 53 dual.default.svc.cluster.local.",
        """
        dual.default.svc.cluster.local. 5 IN A 10.3.0.2
        dual.default.svc.cluster.local. 5 IN AAAA 2001:db8::2
        """,
    ),
    Case("_dns._tcp.dual.default.svc.cluster.local", "SRV", rcode="NXDOMAIN", denied=5),
    Case("_tcp.kubernetes.default.svc.cluster.local", "SRV", denied=5),
    Case("_tcp.unnamed.default.svc.cluster.local", "SRV", rcode="NXDOMAIN", denied=5),
    # An extension that clients rely on: the bare name has SRV records of all ports, unnamed ones too.
    Case(
        "unnamed.default.svc.cluster.local", "SRV",
        "unnamed.default.svc.cluster.local. 5 IN SRV 0 100 80 unnamed.default.svc.cluster.local.",
        "unnamed.default.svc.cluster.local. 5 IN A 10.3.0.3",
    ),
)
def test_2_3_2_a_named_port_of_a_service_has_a_srv_record(served: Served, case: Case) -> None:
    check(served, case)


@cases(
    Case("1.0.3.10.in-addr.arpa", "PTR", "1.0.3.10.in-addr.arpa. 5 IN PTR kubernetes.default.svc.cluster.local."),
    Case(
        "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR",
        "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 5 IN PTR "
        "dual.default.svc.cluster.local.",
    ),
    Case("9.0.3.10.in-addr.arpa", "PTR", rcode="NXDOMAIN", denied=5),
    Case("0.3.10.in-addr.arpa", "PTR", denied=5),
)
def test_2_3_3_a_cluster_ip_leads_back_to_its_service(served: Served, case: Case) -> None:
    check(served, case)


# 2.4 - Records for a Headless Service


@cases(
    Case("headless.default.svc.cluster.local", "A", """
        headless.default.svc.cluster.local. 5 IN A 10.3.0.100
        headless.default.svc.cluster.local. 5 IN A 10.3.0.101
        headless.default.svc.cluster.local. 5 IN A 10.3.0.103
        headless.default.svc.cluster.local. 5 IN A 10.3.0.104
    """),
    Case("headless.default.svc.cluster.local", "AAAA", "headless.default.svc.cluster.local. 5 IN AAAA 2001:db8::100"),
    Case("my-pet.headless.default.svc.cluster.local", "AAAA", """
        my-pet.headless.default.svc.cluster.local. 5 IN AAAA 2001:db8::100
    """),
    Case("my-pet-2.headless.default.svc.cluster.local", "A", """
        my-pet-2.headless.default.svc.cluster.local. 5 IN A 10.3.0.101
        my-pet-2.headless.default.svc.cluster.local. 5 IN A 10.3.0.103
    """),
    Case("my-pet-2.headless.default.svc.cluster.local", "AAAA", denied=5),
    # "If there are no ready endpoints for the headless Service, the answer should be NXDOMAIN."
    Case("asleep.default.svc.cluster.local", "A", rcode="NXDOMAIN", denied=1),
    Case("zzz.asleep.default.svc.cluster.local", "A", rcode="NXDOMAIN", denied=1),
)
def test_2_4_1_a_headless_service_has_the_addresses_of_its_ready_endpoints(served: Served, case: Case) -> None:
    check(served, case)


HOSTS_ADDITIONAL = """
    my-pet.headless.default.svc.cluster.local. 5 IN A 10.3.0.100
    my-pet.headless.default.svc.cluster.local. 5 IN AAAA 2001:db8::100
    my-pet-2.headless.default.svc.cluster.local. 5 IN A 10.3.0.101
    my-pet-2.headless.default.svc.cluster.local. 5 IN A 10.3.0.103
    10-3-0-104.headless.default.svc.cluster.local. 5 IN A 10.3.0.104
"""


@pytest.mark.parametrize(("port", "number"), [("_https._tcp", 443), ("_peers._udp", 7000)])
def test_2_4_2_each_named_port_of_each_ready_endpoint_has_a_srv_record(
    served: Served, port: str, number: int
) -> None:
    qname = f"{port}.headless.default.svc.cluster.local"
    answer = "\n".join(
        f"{qname}. 5 IN SRV 0 20 {number} {host}.headless.default.svc.cluster.local."
        for host in ("my-pet", "my-pet-2", "10-3-0-104")
    )
    reply = served.dig(qname, "SRV", tcp=True)
    assert sorted(reply.answer) == records(answer)
    assert sorted(reply.additional) == records(HOSTS_ADDITIONAL)


@cases(
    Case("_nope._tcp.headless.default.svc.cluster.local", "SRV", rcode="NXDOMAIN", denied=5),
    Case("_https._tcp.asleep.default.svc.cluster.local", "SRV", rcode="NXDOMAIN", denied=1),
)
def test_2_4_2_other_ports_have_none(served: Served, case: Case) -> None:
    check(served, case)


@cases(
    Case("100.0.3.10.in-addr.arpa", "PTR", """
        100.0.3.10.in-addr.arpa. 5 IN PTR my-pet.headless.default.svc.cluster.local.
    """),
    Case("104.0.3.10.in-addr.arpa", "PTR", """
        104.0.3.10.in-addr.arpa. 5 IN PTR 10-3-0-104.headless.default.svc.cluster.local.
    """),
    Case(
        "0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR",
        "0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 5 IN PTR "
        "my-pet.headless.default.svc.cluster.local.",
    ),
    Case("102.0.3.10.in-addr.arpa", "PTR", rcode="NXDOMAIN", denied=5),
)
def test_2_4_3_a_ready_endpoints_address_leads_back_to_its_name(served: Served, case: Case) -> None:
    check(served, case)


# 2.5 - Records for External Name Services


@cases(
    Case("foo.default.svc.cluster.local", "A", "foo.default.svc.cluster.local. 5 IN CNAME www.example.com."),
    Case("foo.default.svc.cluster.local", "CNAME", "foo.default.svc.cluster.local. 5 IN CNAME www.example.com."),
    Case("foo.default.svc.cluster.local", "SRV", "foo.default.svc.cluster.local. 5 IN CNAME www.example.com."),
    Case("alias.default.svc.cluster.local", "A", """
        alias.default.svc.cluster.local. 5 IN CNAME kubernetes.default.svc.cluster.local.
        kubernetes.default.svc.cluster.local. 5 IN A 10.3.0.1
    """),
    Case("x.foo.default.svc.cluster.local", "A", rcode="NXDOMAIN", denied=5),
)
def test_2_5_an_external_name_is_an_alias(served: Served, case: Case) -> None:
    check(served, case)


# 2.6 - Deprecated Records


@cases(
    Case("10-3-0-100.default.pod.cluster.local", "A", "10-3-0-100.default.pod.cluster.local. 5 IN A 10.3.0.100"),
    Case("10-3-0-100.default.pod.cluster.local", "AAAA", denied=5),
    Case("10-3-0-100.nope.pod.cluster.local", "A", rcode="NXDOMAIN", denied=5),
)
def test_2_6_names_of_pods_are_computed_where_they_are_switched_on(served: Served, case: Case) -> None:
    check(served, case)


# 3 - Schema Extensions: "the RRs in this document must be a subset of the RRs produced by the implementation"


@pytest.mark.parametrize("left", ["svc.", "default.svc.", "pod.", "_tcp.headless.default.svc.", ""])
def test_3_names_above_records_exist_without_records_of_their_own(served: Served, left: str) -> None:
    check(served, Case(f"{left}cluster.local", "A", denied=5))
