"""Own namespace, cluster domain and DNS servers: from the options, resolv.conf or the service account."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.client.errors import OptionError
from kdns.client.options import ResolverOptions
from kdns.client.place import Place, find_place, place_from
from kdns.client.servers import Server, canonical, find_servers, is_address, parse_server, servers_from

POD = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"


@pytest.mark.parametrize(
    ("resolv_conf", "namespace_file", "place"),
    [
        (POD, "", Place("shop", "cluster.local")),
        (POD, "other", Place("shop", "cluster.local")),
        ("search corp.example shop.svc.a.b.\n", "", Place("shop", "a.b")),
        ("search A.SVC.Local\n", "", Place("a", "local")),
        ("search shop.svc.one\nsearch shop.svc.two\n", "", Place("shop", "two")),
        ("domain shop.svc.one\n", "", Place("shop", "one")),
        ("search svc.cluster.local cluster.local\n", "shop\n", Place("shop", None)),
        ("search shop.svc\n", "", Place(None, None)),
        ("search ..svc.x\n", "", Place(None, None)),
        ("", " shop \n", Place("shop", None)),
        ("\0\xff search\nsearch\n", "", Place(None, None)),
    ],
)
def test_the_first_search_entry_of_a_pod_tells_both(resolv_conf: str, namespace_file: str, place: Place) -> None:
    assert place_from(resolv_conf, namespace_file) == place


def options_in(directory: Path, domain: str | None = None, namespace: str | None = None) -> ResolverOptions:
    files = {"resolv_conf": str(directory / "resolv.conf"), "namespace_file": str(directory / "namespace")}
    return ResolverOptions(domain=domain, namespace=namespace, **files)


def test_what_the_app_says_holds(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(POD)
    assert find_place(options_in(tmp_path)) == Place("shop", "cluster.local")
    assert find_place(options_in(tmp_path, domain="Other.Example.")) == Place("shop", "other.example")
    assert find_place(options_in(tmp_path, namespace="Bazaar")) == Place("bazaar", "cluster.local")
    assert find_place(options_in(tmp_path, "a.b", "c")) == Place("c", "a.b")


def test_files_that_are_absent_say_nothing(tmp_path: Path) -> None:
    assert find_place(options_in(tmp_path)) == Place(None, None)
    (tmp_path / "namespace").write_text("shop")
    assert find_place(options_in(tmp_path)) == Place("shop", None)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.96.0.10", Server("10.96.0.10", 53)),
        ("10.96.0.10:1053", Server("10.96.0.10", 1053)),
        ("fd00::10", Server("fd00::10", 53)),
        ("[fd00::10]", Server("fd00::10", 53)),
        ("[fd00::10]:1053", Server("fd00::10", 1053)),
        ("fe80::1%eth0", Server("fe80::1%eth0", 53)),
    ],
)
def test_a_server_is_an_address_maybe_with_a_port(text: str, server: Server) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example",
        "10.96.0.10:",
        "10.96.0.10:0",
        "10.96.0.10:65536",
        "[fd00::10",
        "[fd00::10]x",
        "10.0.1",
        "1:" * 9,
        "10.96.0.10:" + "9" * 5000,
        "10.96.0.10:x",
    ],
)
def test_what_is_no_server_is_the_operators_fault(text: str) -> None:
    with pytest.raises(OptionError, match="is no DNS server"):
        parse_server(text)


def test_as_many_nameserver_lines_count_as_glibc_would_ask() -> None:
    lines = "".join(f"nameserver 10.0.0.{number}\n" for number in range(1, 6))
    assert servers_from("nameserver junk\nnameserver\n#nameserver 1.2.3.4\n" + lines) == (
        Server("10.0.0.1"),
        Server("10.0.0.2"),
        Server("10.0.0.3"),
    )
    assert servers_from("") == (Server("127.0.0.1"),)


def test_servers_of_the_options_hold_over_resolv_conf(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(POD)
    path = str(tmp_path / "resolv.conf")
    assert find_servers(ResolverOptions(resolv_conf=path)) == (Server("10.96.0.10"),)
    assert find_servers(ResolverOptions(resolv_conf=path, servers=("127.0.0.1:1053",))) == (Server("127.0.0.1", 1053),)


@pytest.mark.parametrize("text", ["1.2.3.4", "::1", "fe80::1%eth0"])
def test_addresses_are_told_from_names(text: str) -> None:
    assert is_address(text)
    assert canonical(text) == text


@pytest.mark.parametrize("text", ["", "1.2.3", "01.2.3.4", "a.b", "1.2.3.4%eth0", "::1::", "\0"])
def test_names_are_no_addresses(text: str) -> None:
    assert not is_address(text)


def test_one_address_has_one_text() -> None:
    assert canonical("FD00:0::1") == "fd00::1"
    assert canonical("FE80:0::1%eth0") == "fe80::1%eth0"
