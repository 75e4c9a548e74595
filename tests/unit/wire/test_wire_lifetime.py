"""For how long replies hold (RFC 2308, RFC 2181 section 8, RFC 8767 section 4, RFC 9520 section 3.2)."""

from __future__ import annotations

import dns.message
import dns.rcode
import dns.rrset
import pytest

from kdns.wire.iana import Rcode
from kdns.wire.lifetime import (
    MAX_DENIAL_SECONDS,
    MAX_FAILURE_SECONDS,
    MAX_SUCCESS_SECONDS,
    STALE_TTL,
    Kind,
    Lifetime,
    Limits,
    failure_seconds,
    lifetime,
)
from kdns.wire.message import layout

DEFAULTS = Limits()
WIDE = Limits(10**9, 0, 10**9, 0)
UNCACHEABLE = Lifetime(Kind.UNCACHEABLE, 0)
SOA = "example.org. {ttl} SOA ns.example.org. root.example.org. 1 7200 900 86400 {minimum}"


def soa(ttl: int = 600, minimum: int = 600) -> str:
    return SOA.format(ttl=ttl, minimum=minimum)


def reply(
    answer: str = "",
    authority: str = "",
    additional: str = "",
    *,
    rcode: int = 0,
    qtype: str = "A",
    edns: bool = True,
) -> bytes:
    """A reply as dnspython writes it; sections are lines of `owner ttl type rdata`."""
    query = dns.message.make_query("www.example.org", qtype, use_edns=edns)
    built = dns.message.make_response(query, recursion_available=True)
    built.set_rcode(dns.rcode.Rcode(rcode))
    for section, lines in ((built.answer, answer), (built.authority, authority), (built.additional, additional)):
        for line in lines.splitlines():
            owner, ttl, rrtype, rdata = line.split(maxsplit=3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", rrtype, rdata))
    return built.to_wire()


def held(octets: bytes, limits: Limits = DEFAULTS) -> Lifetime:
    measured = layout(octets)
    assert measured is not None
    return lifetime(measured, limits)


def success(seconds: int) -> Lifetime:
    return Lifetime(Kind.SUCCESS, seconds)


def denial(seconds: int) -> Lifetime:
    return Lifetime(Kind.DENIAL, seconds)


# Success


def test_an_answer_holds_for_the_least_ttl_of_its_records() -> None:
    answer = "www.example.org. 300 CNAME a.example.net.\na.example.net. 60 A 192.0.2.1\na.example.net. 60 A 192.0.2.2"
    assert held(reply(answer)) == success(60)


@pytest.mark.parametrize("section", ["authority", "additional"])
def test_what_is_sent_along_expires_with_the_rest(section: str) -> None:
    """An address that expired must not be sent beside a SRV record that has not."""
    along = {section: "b.example.org. 5 A 192.0.2.1"}
    assert held(reply("www.example.org. 3000 SRV 0 0 1 b.example.org.", **along, qtype="SRV")) == success(5)


def test_the_opt_record_has_no_ttl() -> None:
    assert held(reply("www.example.org. 300 A 192.0.2.1", edns=True)) == success(300)
    assert held(reply("www.example.org. 300 A 192.0.2.1", edns=False)) == success(300)


def test_an_answer_is_kept_no_longer_and_no_shorter_than_configured() -> None:
    answer = reply("www.example.org. 300 A 192.0.2.1")
    assert held(answer, Limits(success_most=30)) == success(30)
    assert held(answer, Limits(success_least=900)) == success(900)
    assert held(answer, Limits(success_most=30, success_least=900)) == success(30)
    assert held(answer, Limits(denial_most=1, denial_least=5)) == success(300)


def test_ttl_zero_is_not_kept_even_if_a_minimum_is_configured() -> None:
    answer = "www.example.org. 0 CNAME a.example.net.\na.example.net. 60 A 192.0.2.1"
    assert held(reply(answer)) == UNCACHEABLE
    assert held(reply(answer), Limits(success_least=5)) == UNCACHEABLE


def test_nothing_is_kept_if_the_most_is_zero() -> None:
    assert held(reply("www.example.org. 300 A 192.0.2.1"), Limits(success_most=0)) == UNCACHEABLE
    assert held(reply("", soa()), Limits(denial_most=0)) == UNCACHEABLE


def test_a_ttl_with_the_top_bit_set_is_not_kept() -> None:
    octets = bytearray(reply("www.example.org. 300 A 192.0.2.1", edns=False))
    octets[-10] |= 0x80
    assert held(bytes(octets), WIDE) == UNCACHEABLE


def test_nobody_means_a_ttl_of_years() -> None:
    assert held(reply("www.example.org. 99999999 A 192.0.2.1"), WIDE) == success(MAX_SUCCESS_SECONDS)
    assert held(reply("", soa(99999999, 99999999)), WIDE) == denial(MAX_DENIAL_SECONDS)


def test_any_record_answers_any() -> None:
    assert held(reply("www.example.org. 300 HINFO RFC8482 \"\"", qtype="ANY")) == success(300)


def test_an_alias_that_was_asked_for_is_an_answer() -> None:
    assert held(reply("www.example.org. 300 CNAME a.example.net.", qtype="CNAME")) == success(300)


def test_an_answer_with_an_soa_beside_it_is_a_success() -> None:
    assert held(reply("www.example.org. 300 A 192.0.2.1", soa(200, 5))) == success(200)


# Denial


@pytest.mark.parametrize("rcode", [Rcode.NOERROR, Rcode.NXDOMAIN])
@pytest.mark.parametrize(("ttl", "minimum", "seconds"), [(600, 60, 60), (60, 600, 60), (5, 5, 5), (9999, 9999, 1800)])
def test_a_denial_holds_for_the_lesser_of_ttl_and_minimum(rcode: int, ttl: int, minimum: int, seconds: int) -> None:
    assert held(reply("", soa(ttl, minimum), rcode=rcode)) == denial(seconds)


@pytest.mark.parametrize("rcode", [Rcode.NOERROR, Rcode.NXDOMAIN])
def test_a_denial_at_the_end_of_an_alias_holds_no_longer_than_the_alias(rcode: int) -> None:
    answer = "www.example.org. 30 CNAME a.example.net."
    assert held(reply(answer, soa(), rcode=rcode)) == denial(30)


@pytest.mark.parametrize("rcode", [Rcode.NOERROR, Rcode.NXDOMAIN])
def test_a_denial_without_soa_is_not_kept(rcode: int) -> None:
    assert held(reply(rcode=rcode)) == UNCACHEABLE
    assert held(reply("www.example.org. 30 CNAME a.example.net.", rcode=rcode)) == UNCACHEABLE


def test_nxdomain_is_a_denial_even_beside_a_record_of_the_type() -> None:
    assert held(reply("www.example.org. 30 A 192.0.2.1", soa(), rcode=Rcode.NXDOMAIN)) == denial(30)


@pytest.mark.parametrize(("ttl", "minimum"), [(0, 600), (600, 0)])
def test_a_denial_of_no_time_is_not_kept(ttl: int, minimum: int) -> None:
    assert held(reply("", soa(ttl, minimum), rcode=Rcode.NXDOMAIN)) == UNCACHEABLE
    assert held(reply("", soa(ttl, minimum), rcode=Rcode.NXDOMAIN), Limits(denial_least=5)) == UNCACHEABLE


def test_a_denial_is_kept_no_longer_and_no_shorter_than_configured() -> None:
    octets = reply("", soa(300, 300), rcode=Rcode.NXDOMAIN)
    assert held(octets, Limits(denial_most=30)) == denial(30)
    assert held(octets, Limits(denial_least=900)) == denial(900)
    assert held(octets, Limits(success_most=1, success_least=1)) == denial(300)


def test_no_soa_in_another_section_makes_a_denial() -> None:
    assert held(reply("", "", soa())) == UNCACHEABLE
    assert held(reply(soa(), "", "")) == UNCACHEABLE


# Neither


def test_a_referral_is_not_kept() -> None:
    """Nor one upwards, as lame servers give it."""
    glue = "ns.example.org. 300 A 192.0.2.1"
    assert held(reply("", "example.org. 300 NS ns.example.org.", glue)) == UNCACHEABLE
    assert held(reply("", ". 300 NS a.root-servers.net.")) == UNCACHEABLE


@pytest.mark.parametrize("rcode", [*sorted(set(Rcode) - {Rcode.NOERROR, Rcode.NXDOMAIN}), 9, 15])
def test_any_other_rcode_is_a_failure_whatever_records_come_with_it(rcode: int) -> None:
    octets = reply("www.example.org. 300 A 192.0.2.1", soa(), rcode=rcode)
    assert held(octets) == Lifetime(Kind.FAILURE, 0)


def test_an_extended_rcode_with_low_bits_of_zero_is_no_success() -> None:
    assert held(reply("www.example.org. 300 A 192.0.2.1", rcode=Rcode.BADVERS)).kind is Kind.FAILURE


# Failures


def test_the_time_a_failure_is_kept_doubles_up_to_a_bound() -> None:
    assert [failure_seconds(count, 300) for count in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert failure_seconds(10**9, 300) == MAX_FAILURE_SECONDS


def test_a_failure_is_kept_no_longer_than_configured() -> None:
    assert [failure_seconds(count, 5) for count in range(1, 6)] == [1, 2, 4, 5, 5]
    assert failure_seconds(1, 0) == 0
    assert failure_seconds(1, 0.5) == 0.5


def test_no_failure_yet_counts_as_the_first() -> None:
    assert failure_seconds(0, 5) == failure_seconds(-1, 5) == 1


def test_the_defaults_are_those_of_corednss_cache_but_for_the_minimum() -> None:
    assert Limits() == (3600, 0, 1800, 0)
    assert held(reply("www.example.org. 1 A 192.0.2.1")) == success(1)
    assert held(reply("", soa(1, 1))) == denial(1)


def test_the_bounds_are_a_week_and_a_day() -> None:
    assert (MAX_SUCCESS_SECONDS, MAX_DENIAL_SECONDS) == (604800, 86400)


def test_stale_records_are_sent_with_the_ttl_that_is_recommended() -> None:
    assert STALE_TTL == 30
