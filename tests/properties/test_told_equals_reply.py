"""What an upstream answers reaches the client as it is: dnspython makes the message, and reads our reply to it."""

from __future__ import annotations

import dns.message
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.engine import Engine
from kdns.answer.spec import SiteSpec, Specification
from kdns.wire.name import ROOT, to_text
from tests.support.engines import Served
from tests.support.forwarding import EVERYTHING, forwarding, told, upstream_reply
from tests.support.messages import RD, Answer, mixed_case, opt, query, records
from tests.support.subtrees import alias

QNAME = "www.example.net"
OUT = "out.shop.svc.cluster.local"
NAMES = (".", "net.", "example.net.", f"{QNAME}.", f"a.{QNAME}.", "b.a.Example.NET.", "x.test.", "\\000\\.y.test.")
TTLS = st.sampled_from((0, 1, 300, 2**31 - 1))
RDATA = {
    "A": st.integers(0, 255).map(lambda last: f"192.0.2.{last}"),
    "AAAA": st.integers(0, 65535).map(lambda last: f"2001:db8::{last:x}"),
    "CNAME": st.sampled_from(NAMES),
    "NS": st.sampled_from(NAMES),
    "PTR": st.sampled_from(NAMES),
    "DNAME": st.sampled_from(NAMES),
    "MX": st.sampled_from(NAMES).map(lambda name: f"10 {name}"),
    "SRV": st.sampled_from(NAMES).map(lambda name: f"1 2 53 {name}"),
    "SOA": st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).map(lambda two: f"{two[0]} {two[1]} 1 2 3 4 5"),
    "TXT": st.integers(0, 250).map(lambda size: f'"{"t" * size}" "u"'),
    "TYPE65280": st.binary(max_size=20).map(lambda data: f"\\# {len(data)} {data.hex()}".rstrip()),
    "HTTPS": st.just("1 . alpn=h2 ipv4hint=192.0.2.7"),
}
RECORDS = st.sampled_from(sorted(RDATA)).flatmap(
    lambda rrtype: st.builds(
        lambda owner, ttl, rdata: f"{owner} {ttl} {rrtype} {rdata}", st.sampled_from(NAMES), TTLS, RDATA[rrtype]
    )
)
SECTIONS = st.lists(RECORDS, max_size=12)
RCODES = st.sampled_from(("NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"))
FLAGS = st.sampled_from(("QR RD RA", "QR AA RD RA AD", "QR TC RA CD"))

forwarder = forwarding(alias("out.shop", QNAME))


def as_text(message: dns.message.Message) -> list[list[str]]:
    """The records of each section in their order, with names in lower case."""
    sections = message.answer, message.authority, message.additional
    return [[line.lower() for line in records(section)] for section in sections]


@given(SECTIONS, SECTIONS, SECTIONS, RCODES, FLAGS, st.booleans())
def test_a_reply_over_tcp_is_the_upstreams(
    answer: list[str], authority: list[str], additional: list[str], rcode: str, flags: str, with_edns: bool
) -> None:
    octets = query(mixed_case(QNAME), ident=77, edns=opt() if with_edns else b"")
    pending = forwarder.pend(octets, True)
    upstream = upstream_reply(pending.ask, answer, authority, additional, rcode, flags)
    reply = Answer(pending.finish(told(upstream)))
    assert as_text(reply.message) == as_text(upstream)
    assert (reply.rcode, reply.ident, reply.flags) == (rcode, 77, {"QR", "RD", "RA"})
    assert reply.has_edns is with_edns
    assert reply.wire[12:].startswith(octets[12 : 12 + len(QNAME) + 6])


@given(SECTIONS, SECTIONS, SECTIONS, st.sampled_from(("NOERROR", "NXDOMAIN")))
def test_the_answer_to_an_alias_is_ours_and_the_upstreams(
    answer: list[str], authority: list[str], additional: list[str], rcode: str
) -> None:
    pending = forwarder.pend(query(OUT), True)
    upstream = upstream_reply(pending.ask, answer, authority, additional, rcode)
    reply = Answer(pending.finish(told(upstream)))
    first, *sections = as_text(upstream)
    assert as_text(reply.message) == [[f"{OUT}. 5 cname {QNAME}.", *first], *sections]
    assert reply.rcode == rcode


@given(st.lists(RECORDS, max_size=40), SECTIONS, SECTIONS, st.sampled_from((0, 512, 1232)))
def test_a_reply_over_udp_is_a_beginning_of_it(
    answer: list[str], authority: list[str], additional: list[str], payload: int
) -> None:
    for qname in (QNAME, OUT):
        pending = forwarder.pend(query(qname, edns=opt(payload) if payload else b""))
        upstream = told(upstream_reply(pending.ask, answer, authority, additional))
        whole = Answer(forwarder.pend(query(qname), True).finish(upstream))
        reply = Answer(pending.finish(upstream))
        assert len(reply.wire) <= max(payload, 512)
        assert reply.answer == whole.answer[: len(reply.answer)]
        assert reply.authority in ([], whole.authority)
        assert reply.additional in ([], whole.additional)
        is_cut = (reply.answer, reply.authority) != (whole.answer, whole.authority)
        assert ("TC" in reply.flags) is is_cut


@given(SECTIONS, st.integers(1, 400), st.integers(0, 500))
def test_a_kept_reply_is_the_first_one_aged(answer: list[str], keep: int, later: int) -> None:
    served = Served(Specification((), (SiteSpec((ROOT,), group=0, outside=EVERYTHING),), ((0,),)))
    pending = served.pend(query(QNAME), True)
    first = Answer(pending.finish(told(upstream_reply(pending.ask, answer), keep=keep)))
    _tick(served.engine, later)
    if later >= keep:
        assert served.pend(query(QNAME), True).ask == pending.ask
        assert served.kept == 0
        return
    aged = Answer(served.ask(query(QNAME), True) or b"")
    wanted = sorted((max(0, _ttl(line) - later), _without_ttl(line)) for line in first.answer)
    assert sorted((_ttl(line), _without_ttl(line)) for line in aged.answer) == wanted


@given(st.binary(max_size=80), st.integers(0, 4095), st.sampled_from((QNAME, OUT)))
def test_no_octets_in_an_answer_leave_a_client_without_a_reply(body: bytes, rcode: int, qname: str) -> None:
    """The forwarder tells what it has measured; an alias' answer is read once more, and may be anything."""
    pending = forwarder.pend(query(qname))
    wanted = told(upstream_reply(pending.ask, ()))
    broken = type(wanted)(0, rcode, 0, body, (0, 0, 0))
    reply = pending.finish(broken)
    assert reply[:4] == query(qname)[:2] + reply[2:4]
    assert reply[12:].startswith(query(qname)[12:])
    assert to_text(query(qname)[12:-4]) == f"{qname}."
    assert int.from_bytes(reply[2:4]) & RD


def _tick(engine: Engine, now: int) -> None:
    engine.tick(now)
    while engine.is_behind:
        engine.tick(now)


def _ttl(line: str) -> int:
    return int(line.split()[1])


def _without_ttl(line: str) -> list[str]:
    owner, _, *rest = line.split()
    return [owner, *rest]
