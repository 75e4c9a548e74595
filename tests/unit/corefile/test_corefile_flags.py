"""Flags that stand for a Corefile."""

from __future__ import annotations

import pytest

from kdns.corefile import Bind, Corefile, CorefileError, PodMode, from_flags, parse_corefile, print_corefile
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
        "--manifests: nothing to serve: name objects with --manifests or zone files with --zones"
    )


def test_flags_print_to_a_corefile_that_says_the_same() -> None:
    corefile = from_flags(["127.0.0.1:1053", ":53"], ["a b.yaml"], ["zones/example.org.zone", "x.test=#odd"])
    assert parse_corefile(print_corefile(corefile)) == corefile
