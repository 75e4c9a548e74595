"""The reader that compares servers, against messages that dnspython wrote with compression."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from bench.agree import essence
from bench.wire import TYPES, encode_query, parse_reply

SOA = "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 5"


def reply_to(qname: str, rtype: str, answer: list[str], authority: list[str], rcode: int = 0) -> bytes:
    query = dns.message.make_query(qname, rtype)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.from_text(str(rcode)))
    for section, lines in ((reply.answer, answer), (reply.authority, authority)):
        for line in lines:
            owner, ttl, rdclass, rdtype, rdata = line.split(maxsplit=4)
            section.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    return reply.to_wire()


def test_a_query_is_read_back_by_dnspython() -> None:
    query = dns.message.from_wire(encode_query("web.shop.svc.cluster.local", "SRV", 77))
    (question,) = query.question
    assert (query.id, question.to_text()) == (77, "web.shop.svc.cluster.local. IN SRV")
    assert query.flags & dns.flags.RD


def test_compressed_names_in_rdata_come_out_whole_and_folded() -> None:
    reply = parse_reply(
        reply_to(
            "_h._tcp.a.x.org", "SRV", ["_h._tcp.a.x.org. 5 IN SRV 0 100 80 A.x.org."], ["x.org. 5 IN NS ns.x.org."]
        )
    )
    ((owner, rtype, rdata),) = reply.answer
    assert (owner, rtype) == (b"\x02_h\x04_tcp\x01a\x01x\x03org\0", TYPES["SRV"])
    assert rdata == b"\0\0\0\x64\0\x50" + b"\x01a\x01x\x03org\0"
    assert reply.authority == ((b"\x01x\x03org\0", TYPES["NS"], b"\x02ns\x01x\x03org\0"),)
    assert reply.authoritative


def test_replies_that_differ_in_order_ttl_serial_and_added_ns_have_the_same_essence() -> None:
    one = reply_to("a.x.", "A", ["a.x. 5 IN A 10.0.0.1", "a.x. 5 IN A 10.0.0.2"], ["x. 5 IN NS ns.x."])
    other = reply_to("a.x.", "A", ["a.x. 30 IN A 10.0.0.2", "a.x. 30 IN A 10.0.0.1"], [])
    assert essence(parse_reply(one)) == essence(parse_reply(other))
    older = reply_to("b.x.", "A", [], [SOA.format(serial=1)], rcode=3)
    newer = reply_to("b.x.", "A", [], [SOA.format(serial=2)], rcode=3)
    assert parse_reply(older) == parse_reply(newer)


def test_a_negative_reply_without_soa_has_another_essence() -> None:
    with_soa, without = (reply_to("b.x.", "A", [], soa, rcode=3) for soa in ([SOA.format(serial=1)], []))
    assert essence(parse_reply(with_soa)) != essence(parse_reply(without))


@pytest.mark.parametrize("tail", [b"\xc0\x0c", b"\x01a"])
def test_a_name_that_does_not_end_is_an_error_and_no_endless_loop(tail: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_reply(b"\0\1\x84\0\0\1\0\0\0\0\0\0" + tail)
