"""Flags that stand for a Corefile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kdns.corefile import (
    Bind,
    Corefile,
    CorefileError,
    PodMode,
    Position,
    from_flags,
    parse_corefile,
    print_corefile,
    with_kubeconfig,
)
from kdns.corefile.flags import KUBECONFIG_FLAG, KUBECONFIG_VARIABLE
from kdns.wire.name import ROOT, from_text


def refusal(listen: list[str], manifests: list[str], zones: list[str]) -> str:
    with pytest.raises(CorefileError) as caught:
        from_flags(listen, manifests, zones)
    return str(caught.value)


def places(corefile: Corefile) -> list[tuple[int, tuple[Bind, ...]]]:
    return [(block.port, block.bind) for block in corefile.blocks]


def test_manifests_are_served_as_a_cluster_with_its_reverse_zones() -> None:
    (block,) = from_flags([":1053"], ["a.yaml", "b.json"], []).blocks
    assert block.zones == (ROOT,)
    assert block.errors is not None
    assert block.kubernetes is not None
    assert block.kubernetes.zones == tuple(map(from_text, ("cluster.local", "in-addr.arpa", "ip6.arpa")))
    assert block.kubernetes.pods is PodMode.INSECURE
    assert block.kubernetes.manifests == ("a.yaml", "b.json")
    assert block.files == ()


@pytest.mark.parametrize(
    ("zone", "path", "origins"),
    [
        ("example.org.zone", "example.org.zone", ["example.org"]),
        ("zones/Example.org.zone", "zones/Example.org.zone", ["example.org"]),
        ("/abs/2.0.192.in-addr.arpa.zone", "/abs/2.0.192.in-addr.arpa.zone", ["2.0.192.in-addr.arpa"]),
        ("example.org=db", "db", ["example.org"]),
        ("example.org.=a=b.zone", "a=b.zone", ["example.org"]),
        (".=root.hints", "root.hints", ["."]),
        ("192.0.2.0/24=reverse", "reverse", ["2.0.192.in-addr.arpa"]),
        ("10.0.0.0/15=reverse", "reverse", ["0.10.in-addr.arpa", "1.10.in-addr.arpa"]),
    ],
)
def test_the_origin_of_a_zone_file_is_its_name_or_given(zone: str, path: str, origins: list[str]) -> None:
    (block,) = from_flags([], [], [zone]).blocks
    (file,) = block.files
    assert (file.path, file.zones) == (path, tuple(map(from_text, origins)))
    assert block.kubernetes is None


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ([], [(53, ())]),
        ([":53"], [(53, ())]),
        ([":53", ":53"], [(53, ())]),
        (["127.0.0.1:1053"], [(1053, (Bind(("127.0.0.1",)),))]),
        (["[::1]:53"], [(53, (Bind(("::1",)),))]),
        (["[0:0::1]:53", "[::1]:53"], [(53, (Bind(("::1",)),))]),
        (["0.0.0.0:0"], [(0, (Bind(("0.0.0.0",)),))]),
        (
            ["127.0.0.1:1053", "[::1]:53", "127.0.0.2:1053", ":5300"],
            [(1053, (Bind(("127.0.0.1", "127.0.0.2")),)), (53, (Bind(("::1",)),)), (5300, ())],
        ),
    ],
)
def test_each_port_listened_on_is_a_block(listen: list[str], expected: list[tuple[int, tuple[Bind, ...]]]) -> None:
    assert places(from_flags(listen, ["x"], [])) == expected


def test_the_default_port_is_for_no_listen_at_all() -> None:
    assert places(from_flags([], ["x"], [], default_port=1053)) == [(1053, ())]


@pytest.mark.parametrize(
    "listen",
    [
        "127.0.0.1",
        "1053",
        "::1",
        "::1:53",
        "[127.0.0.1]:53",
        "[::1]",
        "[::1:53",
        "localhost:53",
        "",
        "[]:53",
        "*:53",
        "a:b",
    ],
)
def test_what_is_no_place_to_listen_is_refused(listen: str) -> None:
    message = refusal([listen], ["x"], [])
    assert message == f"--listen: `{listen}` is not ADDRESS:PORT, [IPV6-ADDRESS]:PORT or :PORT"


@pytest.mark.parametrize("listen", [":dns", "127.0.0.1:65536", "[::1]:-1"])
def test_what_is_no_port_is_refused(listen: str) -> None:
    assert "is no port: it is a number up to 65535" in refusal([listen], ["x"], [])


def test_a_place_to_listen_needs_its_port() -> None:
    assert "--listen: a port must follow the `:`" in refusal(["127.0.0.1:"], ["x"], [])


def test_every_address_beside_a_certain_one_on_a_port_is_refused() -> None:
    message = refusal(["127.0.0.1:53", ":53"], ["x"], [])
    assert message == "--listen: `:53` is every address already: leave out the other addresses of this port"


@pytest.mark.parametrize(
    ("zones", "message"),
    [
        (
            ["db.example.org"],
            "--zones: the origin of `db.example.org` is not clear: name the file ORIGIN.zone",
        ),
        ([".zone"], "--zones: the origin of `.zone` is not clear"),
        (["bad..name.zone"], "--zones: `bad..name` is no zone: empty label"),
        (["127.0.0.1.zone"], "--zones: `127.0.0.1` is an address, not a zone"),
        (["=path"], "--zones: the zone is empty"),
        (["example.org="], "--zones: the path is empty"),
        (["example.org=a\\"], "--zones: the path `a\\` cannot be used"),
        (["a/x.test.zone", "x.test=b"], "--zones: the zone x.test is given twice, by a/x.test.zone and b"),
    ],
)
def test_zone_files_that_cannot_be_served_are_refused(zones: list[str], message: str) -> None:
    assert refusal([], [], zones).startswith(message)


@pytest.mark.parametrize("path", ["", "a\0b", "{$HOME}/x", 'a b\\"'])
def test_paths_that_no_corefile_can_hold_are_refused(path: str) -> None:
    assert refusal([], [path], []).startswith("--manifests: the path")


def test_nothing_to_serve_is_refused() -> None:
    assert refusal([":53"], [], []) == (
        "--listen: nothing to serve: name objects with --manifests or --kubeconfig, or zone files with --zones"
    )


def test_a_cluster_that_is_watched_is_served_as_one_of_files_is() -> None:
    (block,) = from_flags([":1053"], [], ["x.test=a"], is_watched=True).blocks
    (of_files,) = from_flags([":1053"], ["a.yaml"], ["x.test=a"]).blocks
    assert of_files.kubernetes is not None
    assert block == replace(of_files, kubernetes=replace(of_files.kubernetes, manifests=()))
    assert block.kubernetes is not None
    assert block.kubernetes.is_in_cluster


def test_a_cluster_of_files_that_is_watched_is_refused() -> None:
    with pytest.raises(CorefileError, match=r"^--manifests: with --manifests, leave out --kubeconfig: objects come"):
        from_flags([], ["a.yaml"], [], is_watched=True)


MIXED = """\
a {
    kubernetes cluster.local
}
b {
    kubernetes b.local {
        kubeconfig theirs other
    }
}
c {
    kubernetes c.local {
        endpoint https://c.test
    }
}
d {
    kubernetes d.local {
        manifests d.yaml
    }
}
e:53 e:54 {
    kubernetes e.local {
        ttl 30
    }
}
f {
    whoami
}
"""


@pytest.mark.parametrize("place", [KUBECONFIG_FLAG, KUBECONFIG_VARIABLE])
def test_a_kubeconfig_is_put_wherever_a_watched_cluster_names_none(place: Position) -> None:
    before = parse_corefile(MIXED)
    after = with_kubeconfig(before, "my config", place)
    named = [block.kubernetes.kubeconfig if block.kubernetes else None for block in after.blocks]
    assert named == ["my config", "theirs", "", "", "my config", "my config", None]
    assert [block.position for block in after.blocks] == [block.position for block in before.blocks]
    assert after.sources == before.sources
    for index in (1, 2, 3, 6):
        assert after.blocks[index] == before.blocks[index]
    assert parse_corefile(print_corefile(after)) == after
    assert print_corefile(after).count('kubeconfig "my config"\n') == 3


@pytest.mark.parametrize(
    ("path", "place", "message"),
    [
        ("a\nb{$C}", KUBECONFIG_VARIABLE, "KUBECONFIG: the path `a\nb{$C}` cannot be used: it holds a reference"),
        ("a\\ b\\", KUBECONFIG_FLAG, "--kubeconfig: the path `a\\ b\\` cannot be used"),
        ("", KUBECONFIG_FLAG, "--kubeconfig: the path is empty"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused_only_where_one_is_needed(
    path: str, place: Position, message: str
) -> None:
    with pytest.raises(CorefileError) as caught:
        with_kubeconfig(parse_corefile(MIXED), path, place)
    assert str(caught.value).startswith(message)
    needs_none = parse_corefile("a {\n kubernetes a {\n  manifests m\n }\n}\nb {\n whoami\n}")
    assert with_kubeconfig(needs_none, path, place) is needs_none


def test_flags_print_to_a_corefile_that_says_the_same() -> None:
    corefile = from_flags(["127.0.0.1:1053", ":53"], ["a b.yaml"], ["zones/example.org.zone", "x.test=#odd"])
    assert parse_corefile(print_corefile(corefile)) == corefile
    watched = with_kubeconfig(from_flags([], [], [], is_watched=True), "~/.kube/config", KUBECONFIG_FLAG)
    assert parse_corefile(print_corefile(watched)) == watched
    assert print_corefile(watched) == (
        ".:53 {\n"
        "    errors\n"
        "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        "        kubeconfig ~/.kube/config\n"
        "        pods insecure\n"
        "    }\n"
        "}\n"
    )
