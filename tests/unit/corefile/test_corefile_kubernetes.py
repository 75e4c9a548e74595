"""The `kubernetes` directive."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError, Kubernetes, PodMode, parse_corefile, parse_selector, print_corefile
from kdns.wire.name import ROOT, from_text

CLUSTER = from_text("cluster.local")


def corefile(options: str, zones: str = "cluster.local", key: str = ".") -> str:
    return f"{key} {{\n  kubernetes {zones} {{\n    manifests objects.yaml\n    {options}\n  }}\n}}\n"


def kubernetes(options: str = "", zones: str = "cluster.local", key: str = ".") -> Kubernetes:
    (block,) = parse_corefile(corefile(options, zones, key)).blocks
    assert block.kubernetes is not None
    return block.kubernetes


def refusal(options: str, zones: str = "cluster.local", key: str = ".") -> str:
    with pytest.raises(CorefileError) as caught:
        kubernetes(options, zones, key)
    return str(caught.value)


def test_the_defaults_are_those_of_coredns() -> None:
    assert kubernetes() == Kubernetes(
        zones=(CLUSTER,),
        ttl=5,
        pods=PodMode.DISABLED,
        endpoint_pod_names=False,
        namespaces=(),
        namespace_labels=None,
        labels=None,
        noendpoints=False,
        ignore_empty_service=False,
        fallthrough=None,
        manifests=("objects.yaml",),
    )


def test_the_directive_remembers_where_it_stands() -> None:
    assert str(kubernetes().position) == "Corefile:2:3"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("ttl 0", {"ttl": 0}),
        ("ttl 3600", {"ttl": 3600}),
        ("pods disabled", {"pods": PodMode.DISABLED}),
        ("pods insecure", {"pods": PodMode.INSECURE}),
        ("pods verified", {"pods": PodMode.VERIFIED}),
        ("endpoint_pod_names", {"endpoint_pod_names": True}),
        ("namespaces a b", {"namespaces": ("a", "b")}),
        ("namespaces a b\nnamespaces b c", {"namespaces": ("a", "b", "c")}),
        ("namespace_labels team=web", {"namespace_labels": parse_selector("team=web")}),
        ("labels env in (prod, qa),app=x", {"labels": parse_selector("env in (prod,qa),app=x")}),
        ('labels "a=b, !c"', {"labels": parse_selector("a=b,!c")}),
        ("noendpoints", {"noendpoints": True}),
        ("ignore empty_service", {"ignore_empty_service": True}),
        ("fallthrough", {"fallthrough": (ROOT,)}),
        ("fallthrough .", {"fallthrough": (ROOT,)}),
        ("fallthrough IN-ADDR.arpa", {"fallthrough": (from_text("in-addr.arpa"),)}),
        ("fallthrough 10.0.0.0/8 x", {"fallthrough": (from_text("10.in-addr.arpa"), from_text("x"))}),
        ('manifests "b c" d', {"manifests": ("objects.yaml", "b c", "d")}),
        ("manifests b\nmanifests c", {"manifests": ("objects.yaml", "b", "c")}),
    ],
)
def test_each_option_sets_its_field_and_is_printed_again(options: str, expected: dict[str, object]) -> None:
    found = kubernetes(options)
    assert {name: getattr(found, name) for name in expected} == expected
    whole = parse_corefile(corefile(options))
    assert parse_corefile(print_corefile(whole)) == whole


def test_without_zones_it_serves_those_of_all_keys_of_its_block() -> None:
    key = "cluster.local:53, other.local:1053, 10.0.0.0/15"
    wanted = ["cluster.local", "other.local", "0.10.in-addr.arpa", "1.10.in-addr.arpa"]
    blocks = parse_corefile(corefile("", "", key)).blocks
    assert [block.port for block in blocks] == [53, 1053]
    for block in blocks:
        assert block.kubernetes is not None
        assert block.kubernetes.zones == tuple(map(from_text, wanted))


def test_zones_are_folded_and_kept_once() -> None:
    assert kubernetes("", "Cluster.Local cluster.local. in-addr.arpa").zones == (CLUSTER, from_text("in-addr.arpa"))


@pytest.mark.parametrize(("zones", "key"), [("in-addr.arpa ip6.arpa", "."), ("", "10.0.0.0/8")])
def test_reverse_zones_alone_are_refused(zones: str, key: str) -> None:
    assert refusal("", zones, key).startswith("Corefile:2:3: `kubernetes` needs a zone for names")


def test_a_cluster_without_manifests_is_refused_for_now() -> None:
    with pytest.raises(CorefileError, match=r"^C:2:2: `kubernetes` without objects: .* add `manifests PATH...`$"):
        parse_corefile(".\n kubernetes cluster.local", "C")
    with pytest.raises(CorefileError, match="does not watch an API server yet"):
        parse_corefile(".:53 {\n errors\n kubernetes cluster.local in-addr.arpa {\n  pods insecure\n }\n}")


def test_a_second_cluster_in_a_block_is_refused_with_the_place_of_the_first() -> None:
    text = ". {\n kubernetes a {\n  manifests x\n }\n kubernetes b {\n  manifests y\n }\n}\n"
    with pytest.raises(CorefileError) as caught:
        parse_corefile(text)
    assert str(caught.value) == "Corefile:5:2: `kubernetes` is already given at Corefile:2:2"


@pytest.mark.parametrize(
    "option",
    [
        "endpoint https://api.test",
        "kubeconfig /root/.kube/config context",
        "tls cert key ca",
        "startup_timeout 5s",
        "apiserver_qps 100",
        "apiserver_burst 200",
        "apiserver_max_inflight 50",
        "multicluster clusterset.local",
        "zonal",
    ],
)
def test_options_that_need_an_api_server_are_refused_as_such(option: str) -> None:
    name = option.split()[0]
    assert refusal(option).startswith(f"Corefile:4:5: `{name}`: kdns does not watch an API server yet")


@pytest.mark.parametrize("option", ["resyncperiod 5m", "upstream", "transfer to *"])
def test_options_that_coredns_dropped_are_refused_as_such(option: str) -> None:
    assert "CoreDNS has dropped this option" in refusal(option)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("pod insecure", "4:5: `kubernetes` has no option `pod`: did you mean `pods`?"),
        ("manifest x", "4:5: `kubernetes` has no option `manifest`: did you mean `manifests`?"),
        ("zzz", "4:5: `kubernetes` has no option `zzz`"),
        ("zzz {\n}", "4:5: `kubernetes` has no option `zzz`"),
        ("ttl", "4:5: `ttl` needs seconds"),
        ("ttl 5 6", "4:11: `ttl` takes one argument, seconds"),
        ("ttl 3601", "4:9: a number from 0 to 3600 expected, not `3601`"),
        ("ttl -1", "4:9: a number from 0 to 3600"),
        ("ttl 5s", "4:9: a number from 0 to 3600"),
        ("ttl ٥", "4:9: a number from 0 to 3600"),
        ("ttl " + "9" * 5000, "4:9: a number from 0 to 3600"),
        ("ttl 5\n ttl 5", "5:2: `ttl` is already given at Corefile:4:5"),
        ("pods", "4:5: `pods` needs one of disabled, insecure, verified"),
        ("pods maybe", "4:10: one of disabled, insecure, verified expected, not `maybe`"),
        ("pods Insecure", "4:10: one of disabled, insecure, verified expected"),
        ("pods insecure {\n}", "4:5: `pods` takes no `{ }`"),
        ("endpoint_pod_names yes", "4:24: `endpoint_pod_names` takes no argument"),
        ("noendpoints yes", "4:17: `noendpoints` takes no argument"),
        ("ignore", "4:5: `ignore` needs empty_service"),
        ("ignore emptyservice", "4:12: `ignore` knows only empty_service, not `emptyservice`"),
        ("namespaces", "4:5: `namespaces` needs at least one namespace"),
        ("namespaces ok Bad", "4:19: `Bad` cannot be the name of a namespace"),
        ("namespaces a.b", "cannot be the name of a namespace"),
        ("namespaces " + "a" * 64, "cannot be the name of a namespace"),
        ("namespaces a\nnamespace_labels b", "2:3: `namespaces` and `namespace_labels` exclude each other"),
        ("labels", "4:5: `labels` needs a label selector"),
        ("labels a in (b, c d", "4:23: `labels` is no label selector: `,` or `)` expected"),
        ("labels a=b,,c", "4:16: `labels` is no label selector: a label key expected"),
        ('labels x "=,"', "4:17: `labels` is no label selector: a label key expected"),
        ("labels a in (b", "4:19: `labels` is no label selector"),
        ("labels a=b\n labels c", "5:2: `labels` is already given at Corefile:4:5"),
        ("fallthrough a:53", "4:17: `a:53` is no zone"),
        ("fallthrough\n fallthrough", "5:2: `fallthrough` is already given"),
        ("manifests", "4:5: `manifests` needs at least one path"),
        ("manifests {$UNSET}", "4:15: an argument of `manifests` is empty: is the environment variable"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(options: str, message: str) -> None:
    assert message in refusal(options)


def test_zones_of_the_directive_have_no_port() -> None:
    assert "only the key of a server block has a port" in refusal("", "cluster.local:53")
