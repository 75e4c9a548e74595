"""Corefiles that people run, the defaults of distributions and clouds among them: all are understood."""

from __future__ import annotations

from glob import glob
from pathlib import Path

import pytest

from kdns.corefile import (
    Corefile,
    Errors,
    Health,
    HttpAddress,
    Kubernetes,
    PodMode,
    Prometheus,
    Ready,
    ServerBlock,
    TlsFiles,
    parse_corefile,
    print_corefile,
)
from kdns.corefile.flags import CLUSTER_ZONES
from kdns.corefile.plugins import Cache, Forward, Hosts, Loop, Reload, Upstream
from kdns.wire.name import ROOT, from_text
from kdns.wire.rules import NameRewrite

SECOND = 10**9

DATA = Path(__file__).parents[2] / "data" / "corefiles"
FILES = sorted(DATA.glob("*.corefile"))


def read_all(pattern: str) -> list[tuple[str, str]]:
    return [(path, Path(path).read_text(encoding="utf-8")) for path in sorted(glob(pattern))]


def read(name: str) -> Corefile:
    path = DATA / f"{name}.corefile"
    return parse_corefile(path.read_text(encoding="utf-8"), str(path), read=read_all)


def test_there_are_the_defaults_of_all_that_the_documentation_promises() -> None:
    names = {file.stem for file in FILES}
    assert names >= {"kubeadm", "kind", "k3s", "helm-chart", "eks", "aks", "digitalocean", "node-local", "talos"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_parses_and_prints_to_the_same_model(file: Path) -> None:
    corefile = parse_corefile(
        file.read_text(encoding="utf-8"), str(file), read=read_all, environment={"POD_IP": "10.244.0.2"}
    )
    printed = print_corefile(corefile)
    assert parse_corefile(printed) == corefile
    assert print_corefile(parse_corefile(printed)) == printed
    assert corefile.sources == (str(file),)


@pytest.mark.parametrize("name", ["kubeadm", "kind"])
def test_kubeadms_corefile_says_all_of_this(name: str) -> None:
    (served,) = read(name).blocks
    assert served == ServerBlock(
        (ROOT,),
        reload=Reload(30 * SECOND, 15 * SECOND),
        errors=Errors(),
        health=Health(lameduck_ns=5 * SECOND),
        ready=Ready(),
        kubernetes=Kubernetes(CLUSTER_ZONES, ttl=30, pods=PodMode.INSECURE, fallthrough=CLUSTER_ZONES[1:]),
        prometheus=Prometheus(HttpAddress("", 9153)),
        loadbalance=True,
        cache=Cache(
            (ROOT,),
            success_ttl=30,
            denial_ttl=30,
            disabled_success=CLUSTER_ZONES[:1],
            disabled_denial=CLUSTER_ZONES[:1],
        ),
        loop=Loop(),
        forward=(Forward(ROOT, ("/etc/resolv.conf",), max_concurrent=1000),),
    )
    assert served.kubernetes is not None
    assert served.kubernetes.is_in_cluster


def test_kubeadms_corefile_is_printed_in_the_order_in_which_it_acts() -> None:
    assert print_corefile(read("kubeadm")) == (
        ".:53 {\n"
        "    reload\n"
        "    ready\n"
        "    health {\n"
        "        lameduck 5s\n"
        "    }\n"
        "    prometheus :9153\n"
        "    errors\n"
        "    loadbalance\n"
        "    cache 30 {\n"
        "        disable success cluster.local\n"
        "        disable denial cluster.local\n"
        "    }\n"
        "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        "        ttl 30\n"
        "        pods insecure\n"
        "        fallthrough in-addr.arpa ip6.arpa\n"
        "    }\n"
        "    loop\n"
        "    forward . /etc/resolv.conf {\n"
        "        max_concurrent 1000\n"
        "    }\n"
        "}\n"
    )


def test_k3ss_corefile_has_the_hosts_of_its_nodes_and_imports_that_match_nothing() -> None:
    asked: list[str] = []

    def nothing(pattern: str) -> list[tuple[str, str]]:
        asked.append(pattern)
        return []

    (served,) = parse_corefile((DATA / "k3s.corefile").read_text(), "/etc/coredns/Corefile", read=nothing).blocks
    assert asked == ["/etc/coredns/custom/*.override", "/etc/coredns/custom/*.server"]
    assert served.hosts == Hosts(
        (ROOT,), "/etc/coredns/NodeHosts", ttl=60, reload_ns=15 * SECOND, fallthrough=(ROOT,)
    )
    assert [forward.files for forward in served.forward] == [("/etc/resolv.conf",)]


def test_what_customers_of_aks_add_is_imported_into_the_block_and_beside_it() -> None:
    text = (DATA / "aks.corefile").read_text().replace("custom/", "aks-custom/")
    corefile = parse_corefile(text, str(DATA / "Corefile"), read=read_all)
    everything, stub = corefile.blocks
    (rewrite,) = everything.rewrite
    rule = rewrite.rule
    assert isinstance(rule, NameRewrite)
    assert (rule.to, rule.stop) == ("{1}.default.svc.cluster.local.", True)
    assert rewrite.position.file.endswith("aks-custom/rewrite.override")
    assert [len(entry.names) for entry in everything.hosts.inline] == [2, 1] if everything.hosts else False
    assert [template.rcode for template in everything.templates] == [3, 3]
    assert stub.zones == (from_text("puglife.local"),)
    assert stub.forward == (Forward(ROOT, (Upstream("dns", "192.11.0.1", 53),)),)
    assert [Path(source).name for source in corefile.sources] == ["Corefile", "rewrite.override", "puglife.server"]


def test_the_node_cache_asks_the_cluster_over_tcp_and_the_world_as_its_node_does() -> None:
    blocks = read("node-local").blocks
    assert blocks[0].health == Health(HttpAddress("169.254.20.10", 8080))
    assert [block.health for block in blocks[1:]] == [None] * 3
    assert [block.forward[0].force_tcp for block in blocks] == [True, True, True, False]
    assert blocks[0].cache == Cache(CLUSTER_ZONES[:1], success_ttl=30, denial_ttl=5)


def test_stub_domains_are_blocks_of_their_own() -> None:
    blocks = read("stub-domains").blocks
    assert [block.forward[0].upstreams for block in blocks] == [
        (Upstream("dns", "172.16.0.1", 53), Upstream("dns", "172.16.0.2", 53)),
        (Upstream("dns", "10.150.0.1", 53),),
        (Upstream("dns", "1.2.3.4", 53), Upstream("dns", "2001:db8::53", 5353)),
    ]


def test_a_cluster_watched_from_outside_as_coredns_documents_it() -> None:
    (served,) = parse_corefile(
        """. {
    kubernetes cluster.local {
        endpoint https://k8s-endpoint:8443
        tls cert key cacert
    }
}
"""
    ).blocks
    assert served.kubernetes == Kubernetes(
        CLUSTER_ZONES[:1], endpoint="https://k8s-endpoint:8443", tls=TlsFiles("cert", "key", "cacert")
    )


def test_indented_closing_braces_and_odd_spacing_are_fine() -> None:
    corefile = parse_corefile("a:1   {\n\tbind\t127.0.0.1\n    whoami\n    }\nb:1 {\n  bind 127.0.0.1\n\n  }\n\n")
    assert [block.whoami for block in corefile.blocks] == [True, False]
