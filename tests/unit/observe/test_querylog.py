"""The query log's lines, classes and rules."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from kdns.corefile.logformat import expand_format
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


# Lines that CoreDNS 1.11.4 wrote, and the one of its documentation (its size of 41 corrected: that query has 40).
RECORDED = """
127.0.0.1:51508 - 46027 "A IN www.example.com. udp 44 false 4096" NOERROR qr,aa,rd 276 0.000500625s
127.0.0.1:60282 - 1668 "A IN www.example.com. udp 44 false 4096" NOERROR qr,aa,rd 276 0.000183875s
127.0.0.1:59613 - 18579 "A IN calendar.example.org. udp 49 false 4096" NOERROR qr,aa,rd 252 0.000529333s
127.0.0.1:60743 - 3433 "NS IN example.com. udp 40 false 4096" NOERROR qr,aa,rd 313 0.000224542s
[::1]:50759 - 29008 "A IN example.org. udp 40 false 4096" NOERROR qr,rd,ra,ad 68 0.037990251s
"""
_RECORDED_LINE = re.compile(
    r'\[?([^]]+?)\]?:(\d+) - (\d+) "(\S+) IN (\S+) (udp|tcp) \d+ (true|false) (\d+)" (\S+) (\S+) (\d+) ([\d.]+)s'
)
_FLAG_BITS = {"qr": 0x8000, "aa": 0x400, "tc": 0x200, "rd": 0x100, "ra": 0x80, "z": 0x40, "ad": 0x20, "cd": 0x10}


def _replayed(line: str) -> Exchange:
    """The exchange that a recorded line tells of."""
    found = _RECORDED_LINE.fullmatch(line)
    assert found
    remote, port, number, qtype, qname, proto, dnssec_ok, bufsize, rcode, flags, rsize, seconds = found.groups()
    query = dns.message.make_query(
        qname, qtype, id=int(number), payload=int(bufsize), want_dnssec=dnssec_ok == "true", use_edns=0
    )
    reply = dns.message.make_response(query)
    reply.flags = sum(_FLAG_BITS[flag] for flag in flags.split(","))
    reply.set_rcode(dns.rcode.from_text(rcode))
    octets = reply.to_wire().ljust(int(rsize), b"\0")
    client = (ipaddress.ip_address(remote).packed, int(port))
    return Exchange(query.to_wire(), octets, client, proto == "tcp", round(float(seconds) * 1e9))


@pytest.mark.parametrize("line", RECORDED.strip().splitlines())
def test_the_common_format_renders_what_coredns_wrote(line: str) -> None:
    assert log(EVERYTHING).line(_replayed(line)) == line


def test_the_combined_format_adds_the_opcode() -> None:
    (line, *_) = RECORDED.strip().splitlines()
    combined = LogRule((ROOT,), expand_format("{combined}"), frozenset({"all"}))
    assert log(combined).line(_replayed(line)) == f'{line} "0"'


def test_all_flags_are_told_in_the_order_of_coredns() -> None:
    line = log(LogRule((ROOT,), "{>rflags}", frozenset({"all"}))).line(exchange(flags=0x87F0))
    assert line == "qr,aa,tc,rd,ra,z,ad,cd"


@pytest.mark.parametrize(
    ("rcode", "text"), [("BADVERS", "BADVERS"), ("YXRRSET", "YXRRSET"), ("NOTAUTH", "NOTAUTH"), ("DSOTYPENI", "11")]
)
def test_codes_are_told_as_coredns_tells_them_with_their_upper_bits(rcode: str, text: str) -> None:
    told = exchange(rcode=rcode, use_edns=0)
    assert log(LogRule((ROOT,), "{rcode}", frozenset({"error"}))).line(told) == text


def test_a_type_of_dnssec_has_its_name() -> None:
    query = dns.message.make_query("example.", "DNSKEY", id=1)
    told = exchange()._replace(query=query.to_wire())
    assert log(LogRule((ROOT,), "{type}", frozenset({"all"}))).line(told) == "DNSKEY"


def test_a_slow_reply_is_logged_beside_those_of_its_classes() -> None:
    rule = LogRule((ROOT,), "{rcode}", frozenset({"error"}), min_duration_ns=10**9)
    assert log(rule).line(exchange(rcode="SERVFAIL")) == "SERVFAIL"
    assert log(rule).line(exchange()) is None
    assert log(rule).line(exchange()._replace(duration_ns=10**9)) == "NOERROR"
    without = LogRule((ROOT,), "{rcode}", frozenset({"error"}))
    assert log(without).line(exchange()._replace(duration_ns=10**9)) is None


def test_single_values_are_told_for_machines() -> None:
    entry = log(EVERYTHING).entry(exchange(client=bytes(15) + b"\1", answer="A 192.0.2.1", use_edns=0, payload=1232))
    assert entry is not None
    assert entry.fields() == {
        "name": "web.shop.example.", "type": "A", "class": "IN", "proto": "udp", "rcode": "NOERROR",
        "remote": "::1", "port": 40212, "id": 1234, "opcode": 0, "size": 45, "do": False, "bufsize": 1232,
        "rflags": ["qr", "aa", "rd"], "rsize": 61, "duration_seconds": 0.000123,
    }  # fmt: skip


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


@pytest.mark.parametrize(
    ("local", "text"), [("10.96.0.10", "10.96.0.10"), ("::", "[::]"), ("fd00::a", "[fd00::a]"), ("", "-")]
)
def test_the_address_that_was_asked_is_told_as_coredns_tells_it(local: str, text: str) -> None:
    rule = LogRule((ROOT,), "{local} {port}", frozenset({"all"}))
    assert log(rule).line(exchange()._replace(local=local)) == f"{text} 40212"


def test_a_log_without_rules_is_silent() -> None:
    assert log().is_silent
    assert not log(EVERYTHING).is_silent
