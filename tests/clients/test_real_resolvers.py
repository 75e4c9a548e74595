"""The resolvers that pods bring find names of a cluster by a pod's resolv.conf: search list, ndots:5, port 53.

All of it is in a network namespace, where the Service address of the DNS, 10.96.0.10, is the machine's own. What is
asked is of tests/data, recorded from a real cluster; what is right is read from there. That a resolver went the way
it was to go is seen by counting packets. Not here: names outside of the cluster (test_outside_names.py).
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.clients.conftest import DATA
from tests.support.podhost import WAYS, PodHost
from tests.support.podresolvers import NO_DATA, NO_NAME, RESOLVERS, Question

NAMES = (*RESOLVERS, "musl")
# Those that can be made to use TCP alone.
TCP_NAMES = tuple(name for name in NAMES if name != "musl" and "tcp" in RESOLVERS[name].transports)
EVERY_WAY = [(name, way) for name in NAMES for way in WAYS if way[:3] == "udp" or name in TCP_NAMES]
SEARCHING_EVERY_WAY = [(name, way) for name, way in EVERY_WAY if name == "musl" or RESOLVERS[name].searches]


class Cluster:
    """What is true of the recorded cluster."""

    def __init__(self) -> None:
        with gzip.open(DATA) as file:
            self.items: list[dict[str, Any]] = json.load(file)["items"]

    def service(self, namespace: str, name: str) -> list[str]:
        """The addresses of a Service."""
        (found,) = [
            item["spec"]["clusterIPs"]
            for item in self.items
            if item["kind"] == "Service" and item["metadata"]["namespace"] == namespace
            and item["metadata"]["name"] == name
        ]  # fmt: skip
        return list(found)

    def ready(self, namespace: str, name: str) -> dict[str, str]:
        """Addresses of the ready endpoints of a headless Service, with their hostnames."""
        return {
            address: endpoint.get("hostname", "")
            for item in self.items
            if item["kind"] == "EndpointSlice" and item["metadata"]["namespace"] == namespace
            and item["metadata"]["labels"].get("kubernetes.io/service-name") == name
            for endpoint in item["endpoints"] if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        }  # fmt: skip


CLUSTER = Cluster()
WEB_4, WEB_6 = CLUSTER.service("shop", "web")
POSTGRES = CLUSTER.ready("data", "postgres")
POSTGRES_0 = next(address for address, hostname in POSTGRES.items() if hostname == "postgres-0")
WHOLE = "svc.cluster.local"
# Whole names, with and without the last dot. A whole name has four dots, one too few for ndots:5: it is searched for.
WHOLE_NAMES = {
    Question("A", f"web.shop.{WHOLE}"): [WEB_4],
    Question("A", f"web.shop.{WHOLE}."): [WEB_4],
    Question("AAAA", f"web.shop.{WHOLE}"): [WEB_6],
    Question("A", f"postgres.data.{WHOLE}"): sorted(POSTGRES),
    Question("A", f"postgres-0.postgres.data.{WHOLE}"): [POSTGRES_0],
    Question("AAAA", f"search.shop.{WHOLE}"): CLUSTER.service("data", "opensearch"),
    Question("A", f"nowhere.shop.{WHOLE}."): [NO_NAME],
    Question("A", f"nowhere.shop.{WHOLE}"): [NO_NAME],
    Question("AAAA", f"postgres.data.{WHOLE}."): [NO_DATA],
    Question("SRV", f"nowhere.shop.{WHOLE}"): [NO_NAME],
    Question("PTR", "10.96.255.254"): [NO_NAME],
    Question("SRV", f"_postgresql._tcp.postgres.data.{WHOLE}"): sorted(
        f"0 33 5432 {hostname}.postgres.data.{WHOLE}" for hostname in POSTGRES.values()
    ),
    Question("PTR", WEB_4): [f"web.shop.{WHOLE}"],
    Question("PTR", WEB_6): [f"web.shop.{WHOLE}"],
    Question("PTR", POSTGRES_0): [f"postgres-0.postgres.data.{WHOLE}"],
}
# As a program in a pod of the namespace shop writes them.
PARTIAL_NAMES = {
    Question("A", "web"): [WEB_4],
    Question("AAAA", "web"): [WEB_6],
    Question("A", "web.shop"): [WEB_4],
    Question("A", "web.shop.svc"): [WEB_4],
    Question("A", "postgres.data"): sorted(POSTGRES),
    Question("A", "postgres-0.postgres.data"): [POSTGRES_0],
    Question("AAAA", "search"): CLUSTER.service("data", "opensearch"),
    Question("A", "nowhere.shop"): [NO_NAME],
}
WORKERS = Question("A", f"workers.batch.{WHOLE}.")  # 120 addresses, more than fit a datagram


@pytest.mark.parametrize(("resolver", "way"), EVERY_WAY, indirect=["resolver"])
def test_whole_names_are_found(pod: PodHost, resolver: str, way: str) -> None:
    pod.packets()
    found = pod.ask(resolver, way, tuple(WHOLE_NAMES))
    assert found == pod.right(resolver, WHOLE_NAMES)
    assert {name for name, count in pod.packets().items() if count} == {way}


@pytest.mark.parametrize(("resolver", "way"), SEARCHING_EVERY_WAY, indirect=["resolver"])
def test_names_are_found_as_programs_in_a_pod_write_them(pod: PodHost, resolver: str, way: str) -> None:
    pod.packets()
    found = pod.ask(resolver, way, tuple(PARTIAL_NAMES))
    assert found == pod.right(resolver, PARTIAL_NAMES)
    assert {name for name, count in pod.packets().items() if count} == {way}


@pytest.mark.parametrize(("resolver", "way"), [one for one in EVERY_WAY if one[0] != "musl"], indirect=["resolver"])
def test_what_is_too_large_for_a_datagram_comes_whole_over_tcp(pod: PodHost, resolver: str, way: str) -> None:
    pod.packets()
    found = pod.ask(resolver, way, [WORKERS])
    assert found == {WORKERS: sorted(CLUSTER.ready("batch", "workers"))}
    assert {name for name, count in pod.packets().items() if count} == {way, f"tcp{way[3:]}"}


@pytest.mark.parametrize("resolver", ["musl"], indirect=True)
@pytest.mark.parametrize("way", ["udp4", "udp6"])
def test_a_resolver_that_knows_no_tcp_gets_as_many_addresses_as_fit(pod: PodHost, resolver: str, way: str) -> None:
    """musl before 1.2.4: what is cut off must be addresses, not all of them."""
    found = pod.ask(resolver, way, [WORKERS])[WORKERS]
    assert set(found) <= set(CLUSTER.ready("batch", "workers"))
    assert len(found) > 20
