"""The query log's lines, classes and rules."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from kdns.observe.querylog import Exchange, LoggedBlock, LogRule, QueryLog
from kdns.wire.name import ROOT, from_text

COMMON = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" '
    "{rcode} {>rflags} {rsize} {duration}"
)
EVERYTHING = LogRule((ROOT,), COMMON, frozenset({"all"}))


def exchange(
    qname: str = "Web.Shop.example.",
    rcode: str = "NOERROR",
    answer: str = "",
    authority: str = "",
    flags: int = dns.flags.QR | dns.flags.AA | dns.flags.RD,
    client: bytes = b"\x7f\0\0\1",
    **edns: Any,
) -> Exchange:
    query = dns.message.make_query(qname, "A", id=1234, **edns)
    reply = dns.message.make_response(query)
    reply.flags = flags
    reply.set_rcode(dns.rcode.from_text(rcode))
    if answer:
        reply.answer.append(dns.rrset.from_text(qname, 5, "IN", *answer.split(" ", 1)))
    if authority:
        reply.authority.append(dns.rrset.from_text("example.", 5, "IN", *authority.split(" ", 1)))
    return Exchange(query.to_wire(), reply.to_wire(), (client, 40212), False, 123_000)


def log(*rules: LogRule, zone: str = ".") -> QueryLog:
    return QueryLog([LoggedBlock((from_text(zone),), rules)])


def test_the_common_format_is_that_of_coredns() -> None:
    assert log(EVERYTHING).line(exchange(answer="A 192.0.2.1")) == (
        '127.0.0.1:40212 - 1234 "A IN web.shop.example. udp 34 false 512" NOERROR qr,aa,rd 50 0.000123s'
    )


def test_an_ipv6_client_stands_in_brackets_and_edns_is_told() -> None:
    line = log(EVERYTHING).line(exchange(client=bytes(15) + b"\1", use_edns=0, payload=1232, want_dnssec=True))
    assert line is not None
    assert line.startswith("[::1]:40212 - 1234 ")
    assert " true 1232" in line


def test_a_placeholder_without_a_value_is_a_dash_and_other_braces_stay() -> None:
    rule = LogRule((ROOT,), '{"name": "{name}", "pod": "{/kubernetes}", "op": {>opcode}}', frozenset({"all"}))
    assert log(rule).line(exchange()) == '{"name": "web.shop.example.", "pod": "-", "op": 0}'


SOA = "SOA ns. host. 1 2 3 4 5"
REFERRAL_FLAGS = dns.flags.QR | dns.flags.RD


@pytest.mark.parametrize(
    ("expected", "reply"),
    [
        ("success", exchange(answer="A 192.0.2.1")),
        ("success", exchange(authority="NS ns.example.", flags=REFERRAL_FLAGS)),
        ("denial", exchange(authority=SOA)),
        ("denial", exchange(rcode="NXDOMAIN", authority=SOA)),
        ("error", exchange(rcode="SERVFAIL")),
        ("error", exchange(rcode="REFUSED")),
        ("error", exchange(rcode="NOTIMP")),
    ],
)
def test_each_reply_is_in_one_class(expected: str, reply: Exchange) -> None:
    logged = {
        name
        for name in ("success", "denial", "error")
        if log(LogRule((ROOT,), "{name}", frozenset({name}))).line(reply) is not None
    }
    assert logged == {expected}


def test_the_first_rule_that_covers_the_name_decides() -> None:
    rules = (
        LogRule((from_text("shop.example"),), "first {name}", frozenset({"error"})),
        LogRule((ROOT,), "second {name}", frozenset({"all"})),
    )
    assert log(*rules).line(exchange()) is None
    assert log(*rules).line(exchange("other.example.")) == "second other.example."


def test_a_block_logs_only_the_queries_of_its_own_zones() -> None:
    blocks = [
        LoggedBlock((from_text("example"),), (EVERYTHING,)),
        LoggedBlock((from_text("quiet.example"),), ()),
    ]
    assert QueryLog(blocks).line(exchange("a.example.")) is not None
    assert QueryLog(blocks).line(exchange("a.quiet.example.")) is None
    assert QueryLog(blocks).line(exchange("a.test.")) is None


def test_a_fast_reply_is_not_logged_where_a_least_duration_is_set() -> None:
    rule = LogRule((ROOT,), "{duration}", frozenset({"all"}), min_duration_ns=123_001)
    assert log(rule).line(exchange()) is None
    assert log(rule).line(exchange()._replace(duration_ns=2_000_000_000)) == "2s"


def test_a_message_without_a_question_is_not_logged() -> None:
    header_only = b"\0\1" + bytes(10)
    assert log(EVERYTHING).line(exchange()._replace(query=header_only)) is None
    assert log(EVERYTHING).line(exchange()._replace(query=b"")) is None


def test_a_log_without_rules_is_silent() -> None:
    assert log().is_silent
    assert not log(EVERYTHING).is_silent
