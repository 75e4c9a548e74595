"""The other directives, unknown ones, and the fixed order."""

from __future__ import annotations

import pytest

from kdns.corefile import Bind, CorefileError, ServerBlock, ZoneFile, parse_corefile, print_corefile
from kdns.corefile.directives import COREDNS_ORDER, DIRECTIVES
from kdns.corefile.refused import REFUSED
from kdns.wire.name import ROOT, from_text

ORG, NET = from_text("example.org"), from_text("example.net")


def block(lines: str) -> ServerBlock:
    (found,) = parse_corefile(f"example.org {{\n{lines}\n}}\n").blocks
    return found


def refusal(lines: str) -> str:
    with pytest.raises(CorefileError) as caught:
        block(lines)
    return str(caught.value)


def test_the_table_is_in_the_order_of_coredns() -> None:
    assert [name for name in COREDNS_ORDER if name in DIRECTIVES] == list(DIRECTIVES)
    assert len(set(COREDNS_ORDER)) == len(COREDNS_ORDER)


def test_a_block_without_directives_has_the_defaults() -> None:
    assert block("") == ServerBlock((ORG,), port=53, bufsize=1232)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bufsize", {"bufsize": 1232}),
        ("bufsize 512", {"bufsize": 512}),
        ("bufsize 4096", {"bufsize": 4096}),
        ("debug", {"debug": True}),
        ("any", {"any": True}),
        ("whoami", {"whoami": True}),
        ("loadbalance", {"loadbalance": True}),
        ("loadbalance round_robin", {"loadbalance": True}),
        ("bind 127.0.0.1", {"bind": (Bind(("127.0.0.1",)),)}),
        ("bind 127.0.0.1 ::1 127.0.0.1", {"bind": (Bind(("127.0.0.1", "::1")),)}),
        ("bind 0:0:0:0:0:0:0:1", {"bind": (Bind(("::1",)),)}),
        ("bind fe80::1%eth0", {"bind": (Bind(("fe80::1%eth0",)),)}),
        ("bind 0.0.0.0", {"bind": (Bind(("0.0.0.0",)),)}),
        ("bind lo eth0", {"bind": (Bind(("lo", "eth0")),)}),
        ("bind eth0:1 cafe", {"bind": (Bind(("eth0:1", "cafe")),)}),
        ("bind lo\nbind 127.0.0.1", {"bind": (Bind(("lo",)), Bind(("127.0.0.1",)))}),
        ("bind lo {\n except ::1 127.0.0.2\n}", {"bind": (Bind(("lo",), ("::1", "127.0.0.2")),)}),
        ("file db", {"files": (ZoneFile("db", (ORG,)),)}),
        ("file db example.net", {"files": (ZoneFile("db", (NET,)),)}),
        ("file db example.net Example.org", {"files": (ZoneFile("db", (NET, ORG)),)}),
        ('file "d b"\nfile c example.net', {"files": (ZoneFile("d b", (ORG,)), ZoneFile("c", (NET,)))}),
        ("file db {\n reload 30s\n}", {"files": (ZoneFile("db", (ORG,), 30 * 10**9),)}),
        ("file db {\n reload 0\n fallthrough\n}", {"files": (ZoneFile("db", (ORG,), 0, (ROOT,)),)}),
        ("file db {\n fallthrough example.net\n}", {"files": (ZoneFile("db", (ORG,), None, (NET,)),)}),
        ("file db {\n reload_by_mtime\n upstream 192.0.2.1\n}", {"files": (ZoneFile("db", (ORG,)),)}),
    ],
)
def test_each_directive_sets_its_field_and_is_printed_again(line: str, expected: dict[str, object]) -> None:
    found = block(line)
    assert {name: getattr(found, name) for name in expected} == expected
    whole = parse_corefile(f"example.org\n{line}")
    assert parse_corefile(print_corefile(whole)) == whole


def test_a_zone_file_is_watched_unless_its_reload_is_zero() -> None:
    watched = [block(f"file db {{\n reload {text}\n}}").files[0].is_watched for text in ("0", "0s", "1m")]
    assert watched == [False, False, True]
    assert block("file db").files[0].is_watched


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bufsize 511", "2:9: a number from 512 to 4096 expected, not `511`"),
        ("bufsize 4097", "2:9: a number from 512 to 4096 expected"),
        ("bufsize big", "2:9: a number from 512 to 4096 expected"),
        ("bufsize 512 512", "2:13: `bufsize` takes one argument"),
        ("bufsize\nbufsize 512", "3:1: `bufsize` is already given at Corefile:2:1"),
        ("bufsize {\n}", "2:1: `bufsize` takes no `{ }`"),
        ("debug on", "2:7: `debug` takes no argument"),
        ("any HINFO", "2:5: `any` takes no argument"),
        ("whoami x", "2:8: `whoami` takes no argument"),
        ("whoami {\n}", "2:1: `whoami` takes no `{ }`"),
        ("whoami\nwhoami", "3:1: `whoami` is already given at Corefile:2:1"),
        ("loadbalance weighted weights.txt", "2:13: kdns has no weighted load balancing"),
        ("loadbalance weighted w {\n reload 5s\n}", "`loadbalance` has no option `reload`"),
        ("loadbalance random", "2:13: `loadbalance` takes nothing or round_robin"),
        ("loadbalance round_robin x", "2:25: `loadbalance` takes nothing or round_robin"),
        ("loadbalance {\n prefer 10.0.0.0/8\n}", "3:2: `prefer`: kdns does not prefer subnets"),
        ("bind", "2:1: `bind` needs at least one address or interface"),
        ('bind ""', "2:6: an argument of `bind` is empty"),
        ("bind 127.0.0.1:53", "2:6: `127.0.0.1:53` is no address: `bind` takes it alone"),
        ("bind 127.0.0.256", "2:6: `127.0.0.256` is no address"),
        ("bind 10.0.0.0/8", "2:6: `10.0.0.0/8` is no address"),
        ("bind [::1]", "2:6: `[::1]` is no address"),
        ("bind ::1::", "2:6: `::1::` is no address"),
        ("bind localhost.localdomain", "2:6: `localhost.localdomain` is neither an address nor"),
        ("bind a/b", "2:6: `a/b` is neither an address nor"),
        ('bind "a b"', "2:6: `a b` is neither an address nor"),
        ("bind lo {\n except\n}", "3:2: `except` needs at least one address or interface"),
        ("bind lo {\n except a\n except b\n}", "4:2: `except` is already given at Corefile:3:2"),
        ("bind lo {\n exclude ::1\n}", "3:2: `bind` has no option `exclude`"),
        ("file", "2:1: `file` needs the path of a zone file"),
        ('file ""', "2:6: an argument of `file` is empty"),
        ("file db bad..zone", "2:9: `bad..zone` is no zone"),
        ("file db {\n reload\n}", "3:2: `reload` needs a duration"),
        ("file db {\n reload 5\n}", "3:9: `5` is no duration"),
        ("file db {\n relaod 5s\n}", "3:2: `file` has no option `relaod`: did you mean `reload`?"),
        ("file a\nfile b", "3:1: the zone example.org is already read from a at Corefile:2:1"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(line: str, message: str) -> None:
    assert message in refusal(line)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kubernets", "unknown directive `kubernets`: did you mean `kubernetes`?"),
        ("erors", "unknown directive `erors`: did you mean `errors`?"),
        ("foward", "unknown directive `foward`: did you mean `forward`?"),
        ("Errors", "unknown directive `Errors`: did you mean `errors`?"),
        ("qqq", "unknown directive `qqq`"),
    ],
)
def test_an_unknown_directive_names_the_nearest_one(name: str, message: str) -> None:
    assert refusal(f"  {name} x") == f"Corefile:2:3: {message}"


@pytest.mark.parametrize("name", REFUSED)
def test_directives_that_only_coredns_has_are_refused_with_what_to_do_instead(name: str) -> None:
    message = f"Corefile:2:1: `{name}` is a directive of CoreDNS that kdns does not have: {REFUSED[name]}"
    assert refusal(f"{name} x {{\n y\n}}") == message


def test_each_directive_of_coredns_is_either_read_or_refused() -> None:
    assert sorted([*DIRECTIVES, *REFUSED]) == sorted(COREDNS_ORDER)
    assert list(DIRECTIVES) == [name for name in COREDNS_ORDER if name in DIRECTIVES]


def test_autopath_from_the_cluster_needs_the_cluster_in_its_block() -> None:
    message = "Corefile:2:1: `autopath @kubernetes` needs a `kubernetes` in the same server block"
    assert refusal("autopath @kubernetes") == message
    assert block("autopath @kubernetes\nkubernetes cluster.local").autopath is not None


def test_a_second_block_behind_one_without_braces_is_explained() -> None:
    with pytest.raises(CorefileError, match="for a second server block, every block needs its"):
        parse_corefile("example.org\nwhoami\nexample.net {\n any\n}")


def test_the_order_in_the_file_does_not_matter() -> None:
    lines = ["whoami", "file db", "any", "log", "errors", "debug", "bind ::1", "bufsize 600", "loadbalance"]
    assert block("\n".join(lines)) == block("\n".join(reversed(lines)))
