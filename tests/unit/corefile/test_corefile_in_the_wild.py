"""Corefiles that people run: all are read as a language; what kdns lacks is named, the rest is served."""

from __future__ import annotations

import re

import pytest

from kdns.corefile import (
    CorefileError,
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
from kdns.corefile.imports import flatten, no_files
from kdns.corefile.parser import parse_blocks
from kdns.wire.name import ROOT

SECOND = 10**9

KUBEADM = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
NODE_LOCAL = """\
cluster.local:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
    }
in-addr.arpa:53 {
    errors
    cache 30
    bind 169.254.20.10 10.96.0.10
    }
.:53 {
    errors
    cache 30
    bind 169.254.20.10 10.96.0.10
    }
"""
K3S = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
"""
TEMPLATE = """\
. {
    template IN A example.org {
      match "^ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)[.]example[.]org[.]$"
      answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.0.1"
      fallthrough
    }
    rewrite stop {
        name regex (.*)\\.my-cluster\\.test {1}.svc.cluster.local
        answer name (.*)\\.svc\\.cluster\\.local {1}.my-cluster.test
    }
    log . "{remote}:{port} - {>id} \\"{type} {class} {name}\\" {rcode}"
}
"""
WILD = {"kubeadm": KUBEADM, "node-local": NODE_LOCAL, "k3s": K3S, "template": TEMPLATE}


@pytest.mark.parametrize(
    ("name", "directives"), [("kubeadm", [10]), ("node-local", [8, 3, 3]), ("k3s", [11]), ("template", [3])]
)
def test_the_language_of_each_is_understood(name: str, directives: list[int]) -> None:
    tokens, _ = flatten(WILD[name], name, no_files, {})
    assert [len(block.statements) for block in parse_blocks(tokens)] == directives


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("kubeadm", "13:5: `forward`"),
        ("node-local", "3:5: `cache`"),
        ("k3s", "9:5: `hosts`"),
        ("template", "2:5: `template`"),
    ],
)
def test_the_first_directive_that_kdns_lacks_is_named(name: str, refused: str) -> None:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(WILD[name], name, read=lambda pattern: [])
    assert str(caught.value) == f"{name}:{refused} is a directive of CoreDNS that kdns does not have (yet)"


LACKING = ("forward", "cache", "loop", "reload", "hosts")


def without(lacking: tuple[str, ...], text: str) -> str:
    """The text without these directives and what stands in their braces."""
    return re.sub(rf"^ +(?:{'|'.join(lacking)})\b[^\n]*?(?:\{{\n[^}}]*\}})?\n", "", text, flags=re.MULTILINE)


def test_kubeadms_corefile_without_what_is_lacking_is_served() -> None:
    corefile = parse_corefile(without(LACKING, KUBEADM))
    (served,) = corefile.blocks
    assert served == ServerBlock(
        (ROOT,),
        errors=Errors(),
        health=Health(lameduck_ns=5 * SECOND),
        ready=Ready(),
        kubernetes=Kubernetes(CLUSTER_ZONES, ttl=30, pods=PodMode.INSECURE, fallthrough=CLUSTER_ZONES[1:]),
        prometheus=Prometheus(HttpAddress("", 9153)),
        loadbalance=True,
    )
    assert served.kubernetes is not None
    assert served.kubernetes.is_in_cluster
    assert corefile.lameduck_ns == 5 * SECOND
    assert print_corefile(corefile) == (
        ".:53 {\n"
        "    ready\n"
        "    health {\n"
        "        lameduck 5s\n"
        "    }\n"
        "    prometheus :9153\n"
        "    errors\n"
        "    loadbalance\n"
        "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        "        ttl 30\n"
        "        pods insecure\n"
        "        fallthrough in-addr.arpa ip6.arpa\n"
        "    }\n"
        "}\n"
    )


def test_k3ss_corefile_without_what_is_lacking_is_served() -> None:
    corefile = parse_corefile(without(LACKING, K3S), read=lambda pattern: [])
    (served,) = corefile.blocks
    assert (served.health, served.ready) == (Health(), Ready())
    assert served.kubernetes is not None
    assert (served.kubernetes.ttl, served.kubernetes.is_in_cluster) == (5, True)
    assert corefile.lameduck_ns == 0


def test_the_node_caches_corefile_without_what_is_lacking_has_its_probes() -> None:
    blocks = parse_corefile(without(LACKING, NODE_LOCAL)).blocks
    assert blocks[0].health == Health(HttpAddress("169.254.20.10", 8080))
    assert blocks[0].prometheus == Prometheus(HttpAddress("", 9253))
    assert [block.health for block in blocks[1:]] == [None, None]


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
