"""Corefiles that people run: all are read as a language; what kdns lacks is named, the rest is served."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError, PodMode, parse_corefile
from kdns.corefile.imports import flatten, no_files
from kdns.corefile.lexer import lex
from kdns.corefile.parser import parse_blocks

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
        ("kubeadm", "3:5: `health`"),
        ("node-local", "3:5: `cache`"),
        ("k3s", "3:5: `health`"),
        ("template", "2:5: `template`"),
    ],
)
def test_the_first_directive_that_kdns_lacks_is_named(name: str, refused: str) -> None:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(WILD[name], name, read=lambda pattern: [])
    assert str(caught.value) == f"{name}:{refused} is a directive of CoreDNS that kdns does not have (yet)"


def test_kubeadms_corefile_without_what_is_lacking_is_served() -> None:
    lacking = ("health", "ready", "prometheus", "forward", "cache", "loop", "reload")
    (block,) = parse_blocks(lex(KUBEADM, "C"))
    kept = [statement.name.text for statement in block.statements if statement.name.text not in lacking]
    assert kept == ["errors", "kubernetes", "loadbalance"]
    (served,) = parse_corefile(
        """.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       manifests dump.json
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    loadbalance
}
"""
    ).blocks
    assert served.kubernetes is not None
    assert (served.kubernetes.ttl, served.kubernetes.pods) == (30, PodMode.INSECURE)
    assert served.kubernetes.fallthrough == served.kubernetes.zones[1:]
    assert served.loadbalance
    assert served.errors is not None


def test_indented_closing_braces_and_odd_spacing_are_fine() -> None:
    corefile = parse_corefile("a:1   {\n\tbind\t127.0.0.1\n    whoami\n    }\nb:1 {\n  bind 127.0.0.1\n\n  }\n\n")
    assert [block.whoami for block in corefile.blocks] == [True, False]
