"""`acl`: the first rule that matches decides, for its zones, types and networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.acl import REPLIES, Acl, AclSpec, Verdict
from kdns.wire.iana import Rcode
from kdns.wire.name import ROOT, from_text
from kdns.wire.rules import AclAction, AclRule
from tests.support.messages import AAAA, ANY, MX, A
from tests.support.subtrees import packed

ALLOW, BLOCK, FILTER, DROP = AclAction.ALLOW, AclAction.BLOCK, AclAction.FILTER, AclAction.DROP
ORG, NET = from_text("example.org"), from_text("example.net")


def rule(action: AclAction, *networks: str, types: tuple[int, ...] = ()) -> AclRule:
    return AclRule(action, frozenset(types), tuple(map(ip_network, networks)))


def acl(*rules: AclRule, zones: tuple[bytes, ...] = (ROOT,)) -> AclSpec:
    return AclSpec(zones, rules)


def ask(*specs: AclSpec, client: str = "192.168.1.7", name: bytes = ORG, qtype: int = A) -> AclAction:
    return Acl(specs).verdict(name, qtype, packed(client)).action


def test_without_rules_everybody_is_allowed() -> None:
    assert ask() is ALLOW
    assert ask(acl()) is ALLOW


@pytest.mark.parametrize("action", AclAction)
def test_a_rule_without_networks_is_for_everybody(action: AclAction) -> None:
    assert ask(acl(rule(action))) is action
    assert ask(acl(rule(action)), client="2001:db8::1") is action


def test_the_first_rule_that_matches_decides() -> None:
    inner_first = acl(rule(ALLOW, "192.168.1.0/24"), rule(BLOCK, "192.168.0.0/16"))
    outer_first = acl(rule(BLOCK, "192.168.0.0/16"), rule(ALLOW, "192.168.1.0/24"))
    assert ask(inner_first) is ALLOW
    assert ask(inner_first, client="192.168.2.7") is BLOCK
    assert ask(outer_first) is BLOCK


def test_only_some_networks_are_allowed_where_the_rest_is_blocked() -> None:
    only = acl(rule(ALLOW, "192.168.0.0/24", "192.168.1.0/24"), rule(BLOCK))
    assert ask(only) is ALLOW
    assert ask(only, client="192.168.2.1") is BLOCK
    assert ask(only, client="2001:db8::1") is BLOCK


def test_a_rule_with_types_is_for_these_alone() -> None:
    spec = acl(rule(FILTER, "192.168.0.0/16", types=(AAAA, MX)))
    assert ask(spec, qtype=AAAA) is FILTER
    assert ask(spec, qtype=MX) is FILTER
    assert ask(spec) is ALLOW
    assert ask(spec, qtype=ANY) is ALLOW


def test_a_later_rule_for_the_same_network_counts_where_the_first_is_for_other_types() -> None:
    spec = acl(rule(BLOCK, "192.168.1.0/24", types=(MX,)), rule(DROP, "192.168.1.0/24"))
    assert ask(spec, qtype=MX) is BLOCK
    assert ask(spec) is DROP


def test_an_acl_is_for_names_at_and_below_its_zones() -> None:
    spec = acl(rule(BLOCK), zones=(ORG, from_text("deep.example.net")))
    assert ask(spec) is BLOCK
    assert ask(spec, name=from_text("a.b.example.org")) is BLOCK
    assert ask(spec, name=NET) is ALLOW
    assert ask(spec, name=from_text("notexample.org")) is ALLOW
    assert ask(spec, name=from_text("x.deep.example.net")) is BLOCK


def test_the_next_acl_is_asked_only_where_none_of_the_rules_matched() -> None:
    first, second = acl(rule(ALLOW, "192.168.1.0/24")), acl(rule(BLOCK))
    assert ask(first, second) is ALLOW
    assert ask(first, second, client="10.0.0.1") is BLOCK


def test_the_verdict_names_the_longest_zone_of_the_acl_that_decides() -> None:
    access = Acl([acl(rule(BLOCK), zones=(ROOT, ORG))])
    assert access.verdict(from_text("a.example.org"), A, packed("192.0.2.1")) == Verdict(BLOCK, ORG)
    assert access.verdict(NET, A, packed("192.0.2.1")) == Verdict(BLOCK, ROOT)


def test_an_ipv4_mapped_client_is_an_ipv4_client() -> None:
    spec = acl(rule(BLOCK, "192.168.0.0/16"))
    assert ask(spec, client="::ffff:192.168.1.7") is BLOCK
    assert ask(acl(rule(BLOCK, "::/0")), client="::ffff:192.168.1.7") is ALLOW


def test_what_a_client_hears_is_coredns_s_choice() -> None:
    assert REPLIES[BLOCK][:2] == (Rcode.REFUSED, 15)
    assert REPLIES[FILTER][:2] == (Rcode.NOERROR, 17)
    assert set(REPLIES) == {BLOCK, FILTER}


def test_ten_thousand_networks_are_one_table() -> None:
    many = [f"10.{at >> 8}.{at & 255}.0/24" for at in range(10_000)]
    access = Acl([acl(rule(BLOCK, *many), rule(DROP, "10.39.16.0/24"))])
    assert access.verdict(ORG, A, packed("10.39.15.1")).action is BLOCK
    assert access.verdict(ORG, A, packed("10.39.16.1")).action is DROP
    assert access.verdict(ORG, A, packed("10.40.0.1")).action is ALLOW


NETWORKS = st.sampled_from([
    "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "128.0.0.0/1", "::/0", "2001:db8::/32",
    "2001:db8::1/128", "8000::/1",
])
RULES = st.builds(
    lambda action, networks, types: rule(action, *networks, types=tuple(types)),
    st.sampled_from(list(AclAction)), st.lists(NETWORKS, max_size=3),
    st.lists(st.sampled_from([A, AAAA]), max_size=2),
)
CLIENTS = st.sampled_from(["10.1.2.3", "10.1.2.4", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db8::2", "::1"])
SPECS = st.lists(st.tuples(st.sampled_from([(ROOT,), (ORG,), (ORG, NET)]), st.lists(RULES, max_size=4)), max_size=3)


@given(SPECS, CLIENTS, st.sampled_from([ORG, NET, from_text("a.example.org"), ROOT]), st.sampled_from([A, AAAA, MX]))
def test_tables_say_what_reading_the_rules_in_order_says(
    specs: list[tuple[tuple[bytes, ...], list[AclRule]]], client: str, name: bytes, qtype: int
) -> None:
    def plainly() -> AclAction:
        for zones, rules in specs:
            if not any(name == zone or name.endswith(zone) for zone in zones):
                continue
            for one in rules:
                inside = [ip_address(client) in network for network in one.networks] or [True]
                if (not one.types or qtype in one.types) and any(inside):
                    return one.action
        return ALLOW

    found = Acl(AclSpec(zones, tuple(rules)) for zones, rules in specs).verdict(name, qtype, packed(client))
    assert found.action is plainly()
