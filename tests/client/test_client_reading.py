"""What a DNS message says to the resolver: aliases, TTLs, addresses beside SRV records."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.client.backend import Address, Kind, Question, Reply, Service
from kdns.client.reading import ALIASES_MAX, question_octets, read
from kdns.wire.iana import RRType
from kdns.wire.message import parse_message
from kdns.wire.name import InvalidName

SOA = "cluster.local. {} IN SOA ns. hostmaster. 1 2 3 4 {}"


def said(
    name: str, rrtype: str, answer: str = "", authority: str = "", additional: str = "", rcode: int = 0
) -> Reply:
    message = dns.message.make_response(dns.message.make_query(name, rrtype))
    message.set_rcode(rcode)
    for section, text in ((message.answer, answer), (message.authority, authority), (message.additional, additional)):
        for line in filter(None, map(str.strip, text.split(";"))):
            owner, ttl, rrclass, kind, rdata = line.split(None, 4)
            section.append(dns.rrset.from_text(owner, int(ttl), rrclass, kind, rdata))
    parsed = parse_message(message.to_wire())
    assert parsed is not None
    return read(Question(name, RRType[rrtype]), parsed, "10.96.0.10")


def test_addresses_are_told_with_the_least_ttl() -> None:
    reply = said("web.", "A", "Web. 30 IN A 10.0.0.1; web. 20 IN A 10.0.0.2")
    assert reply.kind is Kind.ANSWER
    assert reply.addresses == (Address("web.", "10.0.0.1"), Address("web.", "10.0.0.2"))
    assert reply.ttl == 20


def test_aaaa_is_written_as_inet_ntop_does() -> None:
    assert said("web.", "AAAA", "web. 30 IN AAAA fd00:0:0::1").addresses == (Address("web.", "fd00::1"),)


def test_an_address_that_comes_twice_is_one() -> None:
    reply = said("web.", "A", "web. 30 IN A 10.0.0.1; other. 1 IN A 10.0.0.9; WEB. 20 IN A 10.0.0.1")
    assert reply.addresses == (Address("web.", "10.0.0.1"),)


def test_aliases_are_followed_and_their_ttl_counts() -> None:
    reply = said("a.", "A", "b. 50 IN CNAME c.; a. 7 IN CNAME b.; c. 60 IN A 10.0.0.1")
    assert (reply.addresses, reply.ttl) == ((Address("c.", "10.0.0.1"),), 7)


def test_aliases_in_a_circle_are_a_failure() -> None:
    assert said("a.", "A", "a. 5 IN CNAME b.; b. 5 IN CNAME a.").kind is Kind.FAILURE


def test_more_aliases_than_are_followed_are_a_failure() -> None:
    chain = "; ".join(f"n{n}. 5 IN CNAME n{n + 1}." for n in range(ALIASES_MAX))
    assert said("n0.", "A", chain).kind is Kind.FAILURE
    assert said("n1.", "A", f"{chain}; n{ALIASES_MAX}. 5 IN A 10.0.0.1").kind is Kind.ANSWER


def test_an_alias_that_leads_nowhere_says_that_there_is_none() -> None:
    reply = said("a.", "A", "a. 5 IN CNAME elsewhere.")
    assert (reply.kind, reply.ttl) == (Kind.NODATA, None)
    assert "elsewhere." in reply.text


@pytest.mark.parametrize(("ttl", "minimum", "held"), [(30, 5, 5), (5, 30, 5), (0, 9, 0)])
@pytest.mark.parametrize(("rcode", "kind"), [(0, Kind.NODATA), (3, Kind.NXDOMAIN)])
def test_a_denial_holds_for_the_lesser_of_soa_ttl_and_minimum(
    ttl: int, minimum: int, held: int, rcode: int, kind: Kind
) -> None:
    reply = said("web.", "A", authority=SOA.format(ttl, minimum), rcode=rcode)
    assert (reply.kind, reply.ttl) == (kind, held)


def test_a_denial_behind_an_alias_holds_no_longer_than_the_alias() -> None:
    reply = said("a.", "A", "a. 2 IN CNAME b.", authority=SOA.format(30, 30), rcode=3)
    assert (reply.kind, reply.ttl) == (Kind.NXDOMAIN, 2)


def test_a_denial_without_soa_has_no_known_ttl() -> None:
    assert said("web.", "A", rcode=3).ttl is None


def test_other_rcodes_are_failures_that_name_the_server() -> None:
    reply = said("web.", "A", rcode=2)
    assert (reply.kind, reply.text) == (Kind.FAILURE, "SERVFAIL of 10.96.0.10")


def test_srv_takes_the_addresses_of_its_targets_and_no_glue() -> None:
    reply = said(
        "_h._tcp.web.", "SRV", "_h._tcp.web. 30 IN SRV 1 2 80 Pod-1.web.; _h._tcp.web. 30 IN SRV 0 0 81 pod-2.web.",
        authority="web. 30 IN NS ns.web.",
        additional="pod-1.web. 9 IN A 10.0.0.1; pod-1.web. 20 IN AAAA fd00::1; ns.web. 1 IN A 10.9.9.9",
    )  # fmt: skip
    assert reply.services == (Service(1, 2, 80, "pod-1.web."), Service(0, 0, 81, "pod-2.web."))
    assert reply.addresses == (Address("pod-1.web.", "10.0.0.1"), Address("pod-1.web.", "fd00::1"))
    assert reply.ttl == 9


def test_a_srv_target_of_the_root_is_told_as_it_is() -> None:
    assert said("_h._tcp.web.", "SRV", "_h._tcp.web. 30 IN SRV 0 0 0 .").services == (Service(0, 0, 0, "."),)


def test_odd_octets_in_names_are_escaped() -> None:
    assert said("a.", "SRV", r"a. 1 IN SRV 0 0 1 x\.y\032.z.").services[0].target == r"x\.y\032.z."


def test_the_question_is_folded_and_of_class_in() -> None:
    assert question_octets(Question("Web.", 33)) == b"\3web\0\0\x21\0\1"
    with pytest.raises(InvalidName):
        question_octets(Question("a..b.", 1))


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 250)), min_size=1, max_size=20))
def test_the_ttl_is_never_above_that_of_any_record_used(records: list[tuple[int, int]]) -> None:
    text = "; ".join(f"web. {ttl} IN A 10.0.0.{host}" for ttl, host in records)
    reply = said("web.", "A", text)
    assert reply.ttl == min(ttl for ttl, _ in records)
    assert {one.address for one in reply.addresses} == {f"10.0.0.{host}" for _, host in records}
