"""The directives `acl`, `transfer`, `autopath`, `loop`, `reload`, `nsid`, `chaos` and `minimal`."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from kdns.corefile import CorefileError, ServerBlock, parse_corefile, print_corefile
from kdns.corefile.plugins import Acl, Autopath, Chaos, Loop, Minimal, Nsid, Reload, Transfer
from kdns.wire.name import from_text
from kdns.wire.rules import AclAction, AclRule

SECOND = 10**9
ORG = from_text("example.org")
SUB = from_text("a.example.org")


def block(text: str) -> ServerBlock:
    corefile = parse_corefile(f"example.org {{\n{text}\n}}")
    assert parse_corefile(print_corefile(corefile)) == corefile
    return corefile.blocks[0]


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(f"example.org {{\n{text}\n}}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("block", AclRule(AclAction.BLOCK)),
        ("allow type * net *", AclRule(AclAction.ALLOW)),
        ("filter type HTTPS SVCB", AclRule(AclAction.FILTER, frozenset({64, 65}))),
        ("drop net 192.0.2.1", AclRule(AclAction.DROP, networks=(ip_network("192.0.2.1/32"),))),
        (
            "block net 10.1.2.3/8 2001:db8::/32 type A aaaa",
            AclRule(AclAction.BLOCK, frozenset({1, 28}), (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))),
        ),
    ],
)
def test_a_rule_of_acl_is_read_and_printed(text: str, rule: AclRule) -> None:
    assert block(f"acl {{\n {text}\n}}").acl == (Acl((ORG,), (rule,)),)


def test_several_acls_have_zones_of_their_own_and_rules_in_order() -> None:
    found = block("acl {\n allow net 10.0.0.0/8\n block\n}\nacl a.example.org {\n drop\n}").acl
    assert [acl.zones for acl in found] == [(ORG,), (SUB,)]
    assert [rule.action.value for acl in found for rule in acl.rules] == ["allow", "block", "drop"]


def test_transfer_names_who_may_have_which_zones() -> None:
    org = "transfer {\n to * 192.0.2.1\n to 192.0.2.1:53 [2001:DB8::1]:5353 10.1.2.3/8\n}"
    found = block(f"{org}\ntransfer . {{\n to ::1\n}}")
    assert found.transfer == (
        Transfer((ORG,), ("*", "192.0.2.1", "[2001:db8::1]:5353", "10.0.0.0/8")),
        Transfer((from_text("."),), ("::1",)),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("autopath /etc/resolv.conf", Autopath((ORG,), "/etc/resolv.conf")),
        ("autopath a.example.org my.conf", Autopath((SUB,), "my.conf")),
        ("autopath @kubernetes\nkubernetes cluster.local", Autopath((ORG,), from_kubernetes=True)),
        ("autopath . @kubernetes\nkubernetes c.local", Autopath((from_text("."),), from_kubernetes=True)),
    ],
)
def test_autopath_takes_its_search_list_from_a_file_or_from_the_cluster(text: str, expected: Autopath) -> None:
    assert block(text).autopath == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reload", Reload(30 * SECOND, 15 * SECOND)),
        ("reload 10s", Reload(10 * SECOND, 5 * SECOND)),
        ("reload 10s 2s", Reload(10 * SECOND, 2 * SECOND)),
        ("reload 1m 0s", Reload(60 * SECOND, 0)),
        ("reload 2s 1s", Reload(2 * SECOND, SECOND)),
    ],
)
def test_reload_has_an_interval_and_a_jitter_of_at_most_its_half(text: str, expected: Reload) -> None:
    assert block(text).reload == expected


def test_the_directives_without_options_are_there_or_not() -> None:
    found = block("loop\nminimal\nnsid")
    assert (found.loop, found.minimal, found.nsid) == (Loop(), Minimal(), Nsid())
    assert (block("").loop, block("").minimal, block("").nsid) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "chaos"),
    [
        ("chaos", Chaos()),
        ("chaos v1", Chaos("v1")),
        ('chaos "v 1" "Ada Lovelace" ada', Chaos("v 1", ("Ada Lovelace", "ada"))),
        ('chaos "" ada', Chaos("", ("ada",))),
    ],
)
def test_chaos_takes_a_version_and_authors(text: str, chaos: Chaos) -> None:
    assert block(text).chaos == chaos


@pytest.mark.parametrize(("text", "data"), [("nsid a", "a"), ("nsid a  b c", "a b c"), ('nsid "a  b"', "a  b")])
def test_the_words_of_nsid_are_one_text(text: str, data: str) -> None:
    assert block(text).nsid == Nsid(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acl", "2:1: `acl` needs a rule in `{ }`, such as `block net 10.0.0.0/8`"),
        ("acl {\n deny\n}", "3:2: `acl` has no option `deny`"),
        ("acl {\n block 10.0.0.0/8\n}", "3:8: `type` or `net` expected, not `10.0.0.0/8`"),
        ("acl {\n block net\n}", "3:2: `net` needs at least one word behind it, or `*`"),
        ("acl {\n block net 10.0.0/8\n}", "3:12: `10.0.0/8` is no network"),
        ("acl {\n block type AAAAA\n}", "3:13: `AAAAA` is not a type of records, such as A, TXT or TYPE65: did you"),
        ("acl {\n block type A type B\n}", "3:15: `type` is not a type of records"),
        ("transfer", "2:1: `transfer` needs `to` in `{ }`"),
        ("transfer {\n to\n}", "3:2: `to` needs addresses, or `*` for everybody"),
        ("transfer {\n to a.example.org\n}", "3:5: `a.example.org` is nobody"),
        ("transfer {\n to 192.0.2.1:x\n}", "3:5: `x` is no port"),
        ("transfer {\n to 192.0.2.0/40\n}", "3:5: `192.0.2.0/40` is no network"),
        ("transfer {\n from *\n}", "3:2: `transfer` has no option `from`"),
        ("autopath", "2:1: `autopath` needs the path of a resolv.conf, or @kubernetes"),
        ("autopath @etcd", "2:10: `@etcd`: a search list comes from a file, or from @kubernetes"),
        ("autopath @kubernetes", "2:1: `autopath @kubernetes` needs a `kubernetes` in the same server block"),
        ("autopath a\nautopath b", "3:1: `autopath` is already given at Corefile:2:1"),
        ("loop x", "2:6: `loop` takes no argument"),
        ("minimal x", "2:9: `minimal` takes no argument"),
        ("reload 1s", "2:8: the interval of `reload` is 2s at least"),
        ("reload 30s 500ms", "2:12: the jitter of `reload` is 1s at least, or 0"),
        ("reload 30s 1s x", "2:15: `reload` takes [INTERVAL [JITTER]]"),
        ("reload often", "2:8: `often` is no duration"),
        (f"chaos v {'x' * 256}", "2:9: a text of `chaos` has at most 255 octets"),
        (f"nsid {'x' * 129}", "2:6: `nsid` takes at most 128 octets"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, message: str) -> None:
    assert refusal(text).startswith(f"Corefile:{message}")
