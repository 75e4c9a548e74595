"""The `kubernetes` directive."""

from __future__ import annotations

import pytest

from kdns.corefile import (
    CorefileError,
    Kubernetes,
    PodMode,
    Position,
    TlsFiles,
    parse_corefile,
    parse_selector,
    print_corefile,
)
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


def watching(options: str = "") -> str:
    return f". {{\n  kubernetes cluster.local {{\n    {options}\n  }}\n}}\n"


def watched(options: str = "") -> Kubernetes:
    (block,) = parse_corefile(watching(options)).blocks
    assert block.kubernetes is not None
    return block.kubernetes


def watched_refusal(options: str) -> str:
    with pytest.raises(CorefileError) as caught:
        watched(options)
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
        kubeconfig="",
        context="",
        endpoint="",
        tls=None,
        startup_timeout_ns=5 * 10**9,
        terminating_serving=False,
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
        ("terminating serving", {"terminating_serving": True}),
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


def test_a_context_that_is_named_is_known_with_its_place() -> None:
    assert watched("kubeconfig config").context_position == Position()
    named = watched("kubeconfig config lab").context_position
    assert (named.line, named.column) == (3, 23)


def test_without_manifests_the_api_server_of_the_cluster_around_us_is_watched() -> None:
    whole = parse_corefile(".\nkubernetes cluster.local")
    (block,) = whole.blocks
    assert block.kubernetes == Kubernetes((CLUSTER,))
    assert block.kubernetes.is_watched
    assert block.kubernetes.is_in_cluster
    assert (kubernetes().is_watched, kubernetes().is_in_cluster) == (False, False)
    assert print_corefile(whole) == ".:53 {\n    kubernetes cluster.local\n}\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("kubeconfig /root/.kube/config", {"kubeconfig": "/root/.kube/config", "context": ""}),
        ('kubeconfig "my config" "kind kind"', {"kubeconfig": "my config", "context": "kind kind"}),
        ("endpoint https://api.test:6443", {"endpoint": "https://api.test:6443", "tls": None}),
        ("endpoint http://[::1]:8080/clusters/a", {"endpoint": "http://[::1]:8080/clusters/a"}),
        (
            "endpoint https://api.test\ntls cert.pem key.pem ca.pem",
            {"endpoint": "https://api.test", "tls": TlsFiles("cert.pem", "key.pem", "ca.pem")},
        ),
        ('tls "" "" "c a"\nendpoint HTTPS://api.test', {"tls": TlsFiles("", "", "c a")}),
        ('endpoint https://api.test\ntls cert key ""', {"tls": TlsFiles("cert", "key", "")}),
        ("startup_timeout 1m30s", {"startup_timeout_ns": 90 * 10**9}),
        ("startup_timeout 0", {"startup_timeout_ns": 0}),
        ("terminating serving", {"terminating_serving": True}),
        ("kubeconfig a\nstartup_timeout 1s\npods verified", {"kubeconfig": "a", "pods": PodMode.VERIFIED}),
    ],
)
def test_each_option_of_a_watch_sets_its_field_and_is_printed(options: str, expected: dict[str, object]) -> None:
    found = watched(options)
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.is_watched
    assert found.is_in_cluster == (not found.kubeconfig and not found.endpoint)
    whole = parse_corefile(watching(options))
    assert parse_corefile(print_corefile(whole)) == whole


def test_what_is_watched_is_printed_before_what_is_answered() -> None:
    text = watching("terminating serving\nttl 30\nstartup_timeout 10s\ntls c k a\nendpoint https://api.test")
    assert print_corefile(parse_corefile(text)) == (
        ".:53 {\n"
        "    kubernetes cluster.local {\n"
        "        endpoint https://api.test\n"
        "        tls c k a\n"
        "        startup_timeout 10s\n"
        "        ttl 30\n"
        "        terminating serving\n"
        "    }\n"
        "}\n"
    )


@pytest.mark.parametrize("option", ["apiserver_qps 0.5", "apiserver_burst 200", "apiserver_max_inflight 50"])
def test_limits_of_requests_are_taken_without_effect(option: str) -> None:
    assert watched(option) == watched()
    assert watched_refusal(option.split()[0]).endswith(f"`{option.split()[0]}` needs a number")
    assert "3:5" in watched_refusal(option.split()[0])
    assert "a number expected, not `fast`" in watched_refusal(option.split()[0] + " fast")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("manifests a\nkubeconfig b", "4:1: `manifests` and `kubeconfig` exclude each other: objects come"),
        ("kubeconfig b\nmanifests a", "4:1: `manifests` and `kubeconfig` exclude each other: objects come"),
        ("manifests a\nendpoint https://b", "4:1: `manifests` and `endpoint` exclude each other: objects come from"),
        ("tls a b c\nmanifests a", "4:1: `manifests` and `tls` exclude each other: with files there is no"),
        ("manifests a\nstartup_timeout 5s", "4:1: `manifests` and `startup_timeout` exclude each other: with files"),
        ("manifests a\napiserver_qps 5", "4:1: `manifests` and `apiserver_qps` exclude each other: with files"),
        ("endpoint https://b\nkubeconfig a", "4:1: `kubeconfig` and `endpoint` exclude each other: each names"),
        ("kubeconfig a\ntls a b c", "4:1: `kubeconfig` and `tls` exclude each other: a kubeconfig names its own"),
        ("ttl 5\ntls a b c", "4:1: `tls` is for an `endpoint`: add `endpoint URL`, or leave `tls` out"),
        ("endpoint http://b\ntls a b c", "4:1: `tls` has no use for http://b: write https://, or leave `tls` out"),
    ],
)
def test_options_that_contradict_each_other_are_refused_at_the_later_one(options: str, message: str) -> None:
    assert watched_refusal(options).startswith(f"Corefile:{message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("kubeconfig", "3:5: `kubeconfig` needs the path of a kubeconfig"),
        ('kubeconfig ""', "3:16: an argument of `kubeconfig` is empty: is the environment variable in it set?"),
        ("kubeconfig a {$CONTEXT}", "3:18: an argument of `kubeconfig` is empty"),
        ("kubeconfig a b c", "3:20: `kubeconfig` takes PATH [CONTEXT]"),
        ("kubeconfig a\nkubeconfig b", "4:1: `kubeconfig` is already given at Corefile:3:5"),
        ("endpoint", "3:5: `endpoint` needs the URL of an API server"),
        ("tls a b", "3:5: `tls` takes three files: CERT KEY CACERT"),
        ("tls a b c d", "3:5: `tls` takes three files: CERT KEY CACERT"),
        ('tls a "" c', "3:5: an argument of `tls` is empty: give CERT and KEY together"),
        ('tls "" "" ""', "3:5: an argument of `tls` is empty"),
        ("startup_timeout", "3:5: `startup_timeout` needs a duration"),
        ("startup_timeout 5", "3:21: `5` is no duration: write it as in 30s"),
        ("startup_timeout -5s", "3:21: `-5s` is no duration"),
        ("terminating", "3:5: `terminating` needs serving"),
        ("terminating ready", "3:17: `terminating` knows only serving, not `ready`"),
        ("kubeconf a", "3:5: `kubernetes` has no option `kubeconf`: did you mean `kubeconfig`?"),
    ],
)
def test_what_is_wrong_with_a_watch_is_refused_where_it_stands(options: str, message: str) -> None:
    assert watched_refusal(options).startswith(f"Corefile:{message}")


@pytest.mark.parametrize(
    "url",
    [
        "192.0.2.1:6443",
        "api.test",
        "//api.test",
        "https://",
        "https://:6443",
        "ftp://api.test",
        "unix:///run/api.sock",
        "https://api.test:0",
        "https://api.test:66666",
        "https://api.test:port",
        "https://[::1",
        "https://user:secret@api.test",
        "https://api.test?watch=1",
        "https://api.test/#top",
        "https://api. test",
    ],
)
def test_an_endpoint_that_is_no_http_url_is_refused(url: str) -> None:
    message = f"Corefile:3:14: `{url}` is no URL of an API server: write it as in https://192.0.2.1:6443"
    assert watched_refusal(f'endpoint "{url}"') == message


def test_a_second_cluster_in_a_block_is_refused_with_the_place_of_the_first() -> None:
    text = ". {\n kubernetes a {\n  manifests x\n }\n kubernetes b {\n  manifests y\n }\n}\n"
    with pytest.raises(CorefileError) as caught:
        parse_corefile(text)
    assert str(caught.value) == "Corefile:5:2: `kubernetes` is already given at Corefile:2:2"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("multicluster clusterset.local", "kdns does not serve the services of other clusters (ServiceImport)"),
        ("zonal", "kdns has no names for zones (`_zone`)"),
    ],
)
def test_options_that_kdns_does_not_have_are_refused_as_such(option: str, message: str) -> None:
    assert watched_refusal(option) == f"Corefile:3:5: `{option.split()[0]}`: {message}: remove the line"


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
        ("namespaces a\nnamespace_labels b", "5:1: `namespaces` and `namespace_labels` exclude each other"),
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
