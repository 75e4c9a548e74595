"""The resolvers that pods bring find names outside of the cluster, through kdns, Unbound and a root of our own.

A name outside has too few dots for ndots:5, so that each resolver with a search list asks for it four times in vain:
three times inside, and once outside, for a node's domain is in the list. Not here: upstreams that fail
(test_upstream_death.py).
"""

from __future__ import annotations

import itertools
import time

import dns.rcode
import pytest

from tests.clients.test_real_resolvers import WEB_4, WEB_6
from tests.support.outsideworld import CROWD, FRESH, INTRANET, MULTITUDE, NOVEL, WWW_4, WWW_6
from tests.support.podhost import WAYS, PodHost
from tests.support.podresolvers import FAILED, HOST, NO_DATA, NO_NAME, RESOLVERS, Question

NAMES = (*RESOLVERS, "musl")
TCP_NAMES = tuple(name for name, resolver in RESOLVERS.items() if "tcp" in resolver.transports)
EVERY_WAY = [(name, way) for name in NAMES for way in WAYS if way[:3] == "udp" or name in TCP_NAMES]
SEARCHING = tuple(name for name in NAMES if name == "musl" or RESOLVERS[name].searches)
SEARCHING_EVERY_WAY = [(name, way) for name, way in EVERY_WAY if name in SEARCHING]
# glibc with use-vc makes "no such name" of a SERVFAIL, which it tells over UDP.
GLIBC = ("glibc", "getaddrinfo", "node-lookup")
TELLING = [(name, way) for name, way in EVERY_WAY if name != "musl" and (way[:3] == "udp" or name not in GLIBC)]
ABLE_OF_TCP = [(name, way) for name, way in EVERY_WAY if name != "musl"]
# What a resolver waits for an answer before it asks again (RES_TIMEOUT of glibc and musl, and others alike): who was
# faster has lost nothing on the way.
RESOLVERS_PATIENCE = 5.0

WHOLE_NAMES = {
    Question("A", "www.example.org"): [WWW_4],
    Question("AAAA", "www.example.org"): [WWW_6],
    Question("A", "www.example.org."): [WWW_4],
    Question("A", "alias.example.org"): [WWW_4],  # over another zone, and back
    Question("AAAA", "alias.example.org"): [WWW_6],
    Question("AAAA", "four.example.org"): [NO_DATA],
    Question(HOST, "www.example.org"): [WWW_6, WWW_4],
    Question(HOST, "four.example.org"): [WWW_4],
    Question(HOST, "nowhere.example.org"): [NO_NAME],
    Question("A", "nowhere.example.org"): [NO_NAME],
    Question("A", "astray.example.org"): [NO_NAME],
    Question("MX", "example.org"): ["10 mx1.example.org", "20 mx2.example.org"],
    Question("TXT", "text.example.org"): ["v=spf1 -all"],
    Question("SRV", "_sip._tcp.example.org"): ["10 5 5060 sip.example.org"],
    Question("PTR", WWW_4): ["www.example.org"],
    Question("PTR", WWW_6): ["www.example.org"],
    Question("PTR", INTRANET): [NO_NAME],
    # Services of type ExternalName.
    Question("A", "outside.shop.svc.cluster.local"): [WWW_4],
    Question("AAAA", "outside.shop.svc.cluster.local"): [WWW_6],
    Question("A", "outside-alias.shop.svc.cluster.local"): [WWW_4],
    Question(HOST, "outside-alias.shop.svc.cluster.local"): [WWW_6, WWW_4],
    Question("A", "outside-nowhere.shop.svc.cluster.local"): [NO_NAME],
    Question("AAAA", "inside.shop.svc.cluster.local"): [WEB_6],
    Question("A", "inside-nowhere.shop.svc.cluster.local"): [NO_NAME],
}
PARTIAL_NAMES = {
    Question("A", "outside"): [WWW_4],
    Question("AAAA", "outside.shop"): [WWW_6],
    Question("A", "outside-alias.shop.svc"): [WWW_4],
    Question("A", "inside"): [WEB_4],
    Question(HOST, "inside"): sorted([WEB_4, WEB_6]),
    Question(HOST, "intranet"): [INTRANET],
    Question("A", "intranet"): [INTRANET],
    Question("AAAA", "intranet"): [NO_DATA],
}
LARGE = {
    Question("A", "crowd.example.org"): CROWD,
    Question("A", "multitude.example.org"): MULTITUDE,
    Question("TXT", "novel.example.org"): ["".join(NOVEL)],
}
FAILING = {
    Question("A", "www.example.net."): [FAILED],
    Question("A", "lost.example.org."): [FAILED],
    Question(HOST, "lost.example.org."): [FAILED],
    Question("A", "outside-failing.shop.svc.cluster.local."): [FAILED],
    Question("A", "nowhere.example.org."): [NO_NAME],
    Question("A", "outside-nowhere.shop.svc.cluster.local."): [NO_NAME],
}
_numbers = itertools.count()


def fresh(count: int, last: str = "") -> dict[Question, list[str]]:
    """Names that nobody has asked for."""
    return {Question("A", f"n{next(_numbers)}.fresh.example.org{last}"): [FRESH] for _ in range(count)}


@pytest.mark.parametrize(("resolver", "way"), EVERY_WAY, indirect=["resolver"])
def test_names_outside_are_found(pod: PodHost, resolver: str, way: str) -> None:
    pod.packets()
    began = time.monotonic()
    expected = WHOLE_NAMES | fresh(1)
    found = pod.ask(resolver, way, tuple(expected))
    assert found == pod.right(resolver, expected)
    assert {name for name, count in pod.packets().items() if count} == {way}
    assert time.monotonic() - began < RESOLVERS_PATIENCE


@pytest.mark.parametrize(("resolver", "way"), SEARCHING_EVERY_WAY, indirect=["resolver"])
def test_names_that_the_search_list_leads_outside_are_found(pod: PodHost, resolver: str, way: str) -> None:
    pod.packets()
    began = time.monotonic()
    found = pod.ask(resolver, way, tuple(PARTIAL_NAMES))
    assert found == pod.right(resolver, PARTIAL_NAMES)
    assert {name for name, count in pod.packets().items() if count} == {way}
    assert time.monotonic() - began < RESOLVERS_PATIENCE


@pytest.mark.parametrize(("resolver", "way"), ABLE_OF_TCP, indirect=["resolver"])
def test_large_answers_of_others_are_whole(pod: PodHost, resolver: str, way: str) -> None:
    pod.packets()
    found = pod.ask(resolver, way, tuple(LARGE))
    assert found == pod.right(resolver, LARGE)
    packets = pod.packets()
    assert packets[way] >= (len(found) if way[:3] == "udp" else 1)
    assert packets[way.replace("udp", "tcp")] >= 1


@pytest.mark.parametrize("resolver", ["musl"], indirect=True)
def test_a_resolver_that_knows_no_tcp_gets_some_of_a_large_answer(pod: PodHost, resolver: str) -> None:
    (found,) = pod.ask(resolver, "udp4", [Question("A", "crowd.example.org")]).values()
    assert set(found) < set(CROWD)
    assert len(found) > 20


@pytest.mark.parametrize(("resolver", "way"), TELLING, indirect=["resolver"])
def test_what_nobody_could_find_out_is_not_taken_for_missing(pod: PodHost, resolver: str, way: str) -> None:
    """musl takes SERVFAIL for no answer, and asks on for as long as it may: test_upstream_death.py has that."""
    assert pod.ask(resolver, way, tuple(FAILING)) == pod.right(resolver, FAILING)


@pytest.mark.parametrize("tcp", [False, True])
def test_what_is_missing_outside_is_denied_with_its_soa(pod: PodHost, tcp: bool) -> None:
    missing = pod.query("nowhere.example.org", tcp=tcp)
    assert (missing.rcode(), missing.answer) == (dns.rcode.NXDOMAIN, [])
    assert [(rrset.name.to_text(), rrset.rdtype.name) for rrset in missing.authority] == [("example.org.", "SOA")]
    alias = pod.query("outside-nowhere.shop.svc.cluster.local", tcp=tcp)
    assert (alias.rcode(), [rrset.rdtype.name for rrset in alias.answer]) == (dns.rcode.NXDOMAIN, ["CNAME"])
    assert [(rrset.name.to_text(), rrset.rdtype.name) for rrset in alias.authority] == [("example.org.", "SOA")]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_failure_outside_is_servfail_also_behind_an_alias(pod: PodHost, tcp: bool) -> None:
    for name in ("www.example.net", "lost.example.org", "outside-failing.shop.svc.cluster.local"):
        assert pod.query(name, tcp=tcp).rcode() == dns.rcode.SERVFAIL


def test_a_chain_of_aliases_comes_in_its_order(pod: PodHost) -> None:
    chain = [rrset.name.to_text() for rrset in pod.query("outside-alias.shop.svc.cluster.local").answer]
    names = ["outside-alias.shop.svc.cluster.local.", "alias.example.org.", "alias-2.example.org."]
    assert chain == [*names, "alias-3.other.org.", "www.example.org."]
