"""The directive `hosts`: entries, options, zones; and what is refused with its place."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kdns.corefile import CorefileError, parse_corefile, print_corefile
from kdns.corefile.plugins import Hosts, HostsEntry
from kdns.wire.name import ROOT, from_text

SECOND = 10**9
ORG = from_text("example.org")


def entry(address: str, *names: str) -> HostsEntry:
    return HostsEntry(ip_address(address).packed, tuple(map(from_text, names)))


def hosts(text: str) -> Hosts:
    corefile = parse_corefile(f"example.org {{\n{text}\n}}")
    assert parse_corefile(print_corefile(corefile)) == corefile
    found = corefile.blocks[0].hosts
    assert found is not None
    return found


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(f"example.org {{\n{text}\n}}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hosts", Hosts((ORG,), "/etc/hosts", ttl=3600, reload_ns=5 * SECOND)),
        ("hosts my.hosts", Hosts((ORG,), "my.hosts")),
        ('hosts "my hosts" a.test b.test', Hosts((from_text("a.test"), from_text("b.test")), "my hosts")),
        ("hosts /etc/hosts a.test", Hosts((from_text("a.test"),))),
        ("hosts {\n fallthrough\n}", Hosts((ORG,), fallthrough=(ROOT,))),
        ("hosts {\n fallthrough a.example.org\n}", Hosts((ORG,), fallthrough=(from_text("a.example.org"),))),
        ("hosts {\n 192.0.2.1 db.test DB\n}", Hosts((ORG,), inline=(entry("192.0.2.1", "db.test", "db"),))),
        (
            "hosts h {\n 192.0.2.1 *.a.test\n ttl 60\n no_reverse\n reload 0\n fallthrough\n"
            " fallthrough_unsupported\n 2001:DB8::1 b.test # behind the options\n}",
            Hosts(
                (ORG,),
                "h",
                (entry("192.0.2.1", "*.a.test"), entry("2001:db8::1", "b.test")),
                ttl=60,
                reload_ns=0,
                no_reverse=True,
                fallthrough=(ROOT,),
                fallthrough_unsupported=True,
            ),
        ),
    ],
)
def test_what_is_said_is_read_and_printed(text: str, expected: Hosts) -> None:
    assert hosts(text) == expected


def test_one_address_may_stand_on_several_lines_and_a_name_at_several_addresses() -> None:
    found = hosts("hosts {\n 192.0.2.1 a.test\n 192.0.2.2 a.test\n 192.0.2.1 b.test\n}")
    assert found.inline == (entry("192.0.2.1", "a.test"), entry("192.0.2.2", "a.test"), entry("192.0.2.1", "b.test"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hosts\nhosts", "3:1: `hosts` is already given at Corefile:2:1"),
        ('hosts ""', "2:7: an argument of `hosts` is empty"),
        ("hosts {\n 192.0.2.1\n}", "3:2: `192.0.2.1` needs at least one name"),
        ("hosts {\n 192.0.2.1 a..b\n}", "3:12: `a..b` is no name: empty label"),
        ("hosts {\n 192.0.2 a.test\n}", "3:2: `hosts` has no option `192.0.2`: a line begins with an address"),
        ("hosts {\n falthrough\n}", "3:2: `hosts` has no option `falthrough`: did you mean `fallthrough`?"),
        ("hosts {\n fe80::1%eth0 a.test\n}", "3:2: `fe80::1%eth0`: an address in DNS has no zone index"),
        ("hosts {\n 192.0.2.1 a {\n}\n}", "3:2: an address takes names, and no `{ }`"),
        ("hosts {\n ttl 0\n}", "3:6: a number from 1 to 65535 expected, not `0`"),
        ("hosts {\n ttl 65536\n}", "3:6: a number from 1 to 65535 expected, not `65536`"),
        ("hosts {\n reload soon\n}", "3:9: `soon` is no duration"),
        ("hosts {\n no_reverse 1\n}", "3:13: `no_reverse` takes no argument"),
        ("hosts {\n fallthrough_unsupported\n}", "3:2: `fallthrough_unsupported` widens `fallthrough`: add that"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, message: str) -> None:
    assert refusal(text).startswith(f"Corefile:{message}")
