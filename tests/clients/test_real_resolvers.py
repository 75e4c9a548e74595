"""The resolvers that pods bring find names of a cluster by a pod's resolv.conf: search list, ndots:5, port 53.

All of it is in a network namespace, where the Service address of the DNS, 10.96.0.10, is the machine's own. What is
asked is of tests/data, recorded from a real cluster; what is right is read from there. That a resolver went the way
it was to go is seen by counting packets. Not here: names outside of the cluster.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server.serving import PATIENCE, ROOT, Server
from tests.support.namespaces import Namespace, require_namespaces, with_file
from tests.support.podresolvers import RESOLVERS, Question, Resolver, build_musl, musl
from tests.support.programs import require

DATA = ROOT / "tests" / "data" / "kubernetes" / "shop-cluster.json.gz"
SERVERS = {"4": "10.96.0.10", "6": "fd00:10:96::a"}
SEARCH = "shop.svc.cluster.local svc.cluster.local cluster.local"
COREFILE = """\
.:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests dump.json
    }
}
"""
NAMES = (*RESOLVERS, "musl")
WAYS = ("udp4", "udp6", "tcp4", "tcp6")
# Those that can be made to use TCP alone.
TCP_NAMES = tuple(name for name, resolver in RESOLVERS.items() if "tcp" in resolver.transports)
EVERY_WAY = [(name, way) for name in NAMES for way in WAYS if way[:3] == "udp" or name in TCP_NAMES]
SEARCHING = tuple(name for name in NAMES if name == "musl" or RESOLVERS[name].searches)


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
    Question("A", f"nowhere.shop.{WHOLE}."): [],
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
}
WORKERS = Question("A", f"workers.batch.{WHOLE}.")  # 120 addresses, more than fit a datagram


@dataclass
class Pod:
    """The namespace in which all is, and a directory."""

    host: Namespace
    directory: Path
    resolvers: dict[str, Resolver]

    def ask(self, name: str, way: str, questions: Sequence[Question]) -> dict[Question, list[str]]:
        """Ask by a resolver, over a transport and to an address of a family."""
        transport, family = way[:3], way[3:]
        resolver = self.resolvers[name]
        able = [question for question in questions if question.kind in resolver.kinds]
        resolv_conf = self._resolv_conf(transport, family)
        return dict(zip(able, resolver.ask(self._runner(resolv_conf), transport, able), strict=True))

    def packets(self) -> dict[str, int]:
        """How many questions came each way since this was asked last: datagrams, or SYNs."""
        listed = json.loads(self.host.run("nft", "-j", "reset", "counters"))["nftables"]
        return {one["counter"]["name"]: one["counter"]["packets"] for one in listed if "counter" in one}

    def _resolv_conf(self, transport: str, family: str) -> Path:
        path = self.directory / f"resolv.conf.{transport}{family}"
        options = "ndots:5 use-vc" if transport == "tcp" else "ndots:5"
        path.write_text(f"search {SEARCH}\nnameserver {SERVERS[family]}\noptions {options}\n")
        return path

    def _runner(self, resolv_conf: Path) -> Any:
        def run(command: Sequence[str]) -> str:
            inside = [*self.host.prefix, *with_file(resolv_conf, "/etc/resolv.conf"), *command]
            done = subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
            return done.stdout

        return run


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    require_namespaces("nft")
    directory = tmp_path_factory.mktemp("resolvers")
    (directory / "dump.json").write_bytes(gzip.decompress(DATA.read_bytes()))
    (directory / "Corefile").write_text(COREFILE)
    with ExitStack() as stack:
        host = stack.enter_context(Namespace())
        host.run("ip", "address", "add", f"{SERVERS['4']}/32", "dev", "lo")
        host.run("ip", "address", "add", f"{SERVERS['6']}/128", "dev", "lo")
        ways = [(f"{protocol}{family}", protocol, family) for protocol in ("udp", "tcp") for family in "46"]
        rules = "".join(
            f"counter {way} {{}}\nchain c{way} {{ type filter hook output priority 0;"
            f" {'ip' if family == '4' else 'ip6'} daddr {SERVERS[family]}"
            f" {'tcp flags syn tcp' if protocol == 'tcp' else 'udp'} dport 53 counter name {way}; }}\n"
            for way, protocol, family in ways
        )
        host.nft(f"table inet counting {{\n{rules}}}\n")
        server = Server(("serve", "-conf", "Corefile", "--workers", 2), directory, 53, prefix=host.prefix)
        stack.callback(server.kill)
        server.wait_for(r"\] ready: ")
        yield Pod(host, directory, dict(RESOLVERS))


@pytest.fixture
def resolver(pod: Pod, request: pytest.FixtureRequest) -> str:
    """The name of a resolver that is installed."""
    name = str(request.param)
    if name == "musl":
        require("musl-gcc")
        if name not in pod.resolvers:
            pod.resolvers[name] = musl(build_musl(pod.directory, _compile))
    elif RESOLVERS[name].program != "python3":
        require(RESOLVERS[name].program)
    return name


def _compile(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout


@pytest.mark.parametrize(("resolver", "way"), EVERY_WAY, indirect=["resolver"])
def test_whole_names_are_found(pod: Pod, resolver: str, way: str) -> None:
    pod.packets()
    found = pod.ask(resolver, way, tuple(WHOLE_NAMES))
    assert found == {question: WHOLE_NAMES[question] for question in found}
    assert len(found) >= 9
    assert {name for name, count in pod.packets().items() if count} == {way}


@pytest.mark.parametrize("resolver", SEARCHING, indirect=True)
@pytest.mark.parametrize("way", ["udp4", "udp6"])
def test_names_are_found_as_programs_in_a_pod_write_them(pod: Pod, resolver: str, way: str) -> None:
    found = pod.ask(resolver, way, tuple(PARTIAL_NAMES))
    assert found == PARTIAL_NAMES


@pytest.mark.parametrize("resolver", [name for name in NAMES if name != "musl"], indirect=True)
def test_what_is_too_large_for_a_datagram_is_asked_for_again_over_tcp(pod: Pod, resolver: str) -> None:
    pod.packets()
    found = pod.ask(resolver, "udp4", [WORKERS])
    assert found == {WORKERS: sorted(CLUSTER.ready("batch", "workers"))}
    packets = pod.packets()
    assert packets["udp4"] >= 1
    assert packets["tcp4"] >= 1


@pytest.mark.parametrize("resolver", ["musl"], indirect=True)
def test_a_resolver_that_knows_no_tcp_gets_as_many_addresses_as_fit(pod: Pod, resolver: str) -> None:
    """musl before 1.2.4: what is cut off must be addresses, not all of them."""
    found = pod.ask(resolver, "udp4", [WORKERS])[WORKERS]
    assert set(found) <= set(CLUSTER.ready("batch", "workers"))
    assert len(found) > 20
