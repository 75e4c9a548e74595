"""`minimal`: a positive reply is its answer alone; denials and referrals stay as they are."""

from __future__ import annotations

import dns.message
import pytest

from kdns.answer.outside import Pending
from tests.support.forwarding import telling
from tests.support.guarding import OUTSIDE, Guarded
from tests.support.messages import Answer, opt, query

ANSWER = f"{OUTSIDE}. 300 A 192.0.2.80"
ALIAS = f"{OUTSIDE}. 300 CNAME other.example.net."
NS = "example.net. 300 NS ns.example.net."
GLUE = "ns.example.net. 300 A 192.0.2.53"
SOA = "example.net. 300 SOA ns.example.net. h.example.net. 1 2 3 4 60"
FULL, MINIMAL = Guarded(), Guarded(minimal=True)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("edns", [b"", opt()])
@pytest.mark.parametrize(("qname", "qtype"), [
    ("mx.example.org", "MX"), ("example.org", "NS"), ("db.shop.svc.cluster.local", "SRV"), ("www.example.org", "A"),
])
def test_a_positive_reply_is_its_answer_and_its_opt_alone(qname: str, qtype: str, edns: bytes, tcp: bool) -> None:
    for _ in range(2):
        reply = MINIMAL.dig(query(qname, qtype, edns=edns), tcp=tcp)
        assert (reply.rcode, reply.counts[2:]) == ("NOERROR", (0, bool(edns)))
        assert sorted(reply.answer) == sorted(FULL.dig(query(qname, qtype, edns=edns), tcp=tcp).answer)
    full = FULL.dig(query(qname, qtype, edns=edns), tcp=tcp)
    assert bool(full.additional) is (qtype != "A")


@pytest.mark.parametrize(("qname", "qtype"), [
    ("nope.example.org", "A"), ("www.example.org", "TXT"), ("nope.shop.svc.cluster.local", "A"),
    ("a.sub.example.org", "A"),
])
def test_denials_and_referrals_stay_as_they_are(qname: str, qtype: str) -> None:
    full, minimal = (one.dig(query(qname, qtype, edns=opt())) for one in (FULL, MINIMAL))
    assert (minimal.rcode, minimal.counts) == (full.rcode, full.counts)
    assert minimal.authority == full.authority
    assert minimal.authority


def outside(*answer: str, **rest: list[str] | str) -> Answer:
    pending = MINIMAL.outcome(query(OUTSIDE))
    assert isinstance(pending, Pending)
    reply = telling(pending, *answer, **rest)
    dns.message.from_wire(reply)
    return Answer(reply)


def test_a_reply_from_outside_is_its_answer_alone() -> None:
    reply = outside(ANSWER, authority=[NS], additional=[GLUE])
    assert (reply.answer, reply.counts) == ([ANSWER], (1, 1, 0, 0))


def test_a_denial_from_outside_keeps_its_soa_also_behind_aliases() -> None:
    for answer in ([], [ALIAS]):
        reply = outside(*answer, authority=[SOA], additional=[GLUE])
        assert (reply.answer, reply.authority) == (answer, [SOA])
    reply = outside(ALIAS, authority=[SOA], rcode="NXDOMAIN")
    assert (reply.rcode, reply.authority) == ("NXDOMAIN", [SOA])


def test_a_referral_from_outside_stays_as_it_is() -> None:
    reply = outside(authority=[NS], additional=[GLUE])
    assert (reply.authority, reply.additional) == ([NS], [GLUE])


def test_what_is_kept_from_outside_is_minimal_too() -> None:
    one = Guarded(minimal=True)
    pending = one.outcome(query(OUTSIDE))
    assert isinstance(pending, Pending)
    telling(pending, ANSWER, authority=[NS], additional=[GLUE], keep=30)
    for tcp in (False, True):
        assert one.dig(query(OUTSIDE, edns=opt()), tcp=tcp).counts == (1, 1, 0, 1)
