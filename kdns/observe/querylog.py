"""The query log (`log` in the Corefile): one line for a query and its reply, in CoreDNS's format and classes.

Pure: bytes of query and reply in, a line or None out. Not here: the Corefile's syntax (kdns.corefile.logs), writing
lines (kdns.observe.logs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

from kdns.observe.tally import TYPES
from kdns.wire.iana import Rcode, RRClass, rcode_text, type_text
from kdns.wire.name import suffixes, to_text
from kdns.wire.query import MIN_PAYLOAD_OCTETS, Query, parse_query

_PLACEHOLDER = re.compile(r"\{[>/]?[A-Za-z0-9_]+\}")
_FLAGS = (
    (0x8000, "qr"), (0x400, "aa"), (0x200, "tc"), (0x100, "rd"),
    (0x80, "ra"), (0x40, "z"), (0x20, "ad"), (0x10, "cd"),
)  # fmt: skip
_UNKNOWN = "-"
# An OPT record's root name, type and payload size stand before the upper bits of the rcode.
_OPT_RCODE_AT = 5
_NO_RECORDS_BUT_OPT = bytes((0, 0, 0, 0, 0, 1))  # ANCOUNT, NSCOUNT, ARCOUNT
# What CoreDNS calls the codes that kdns sends only on behalf of others; the rest are numbers.
_RCODES = {7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 23: "BADCOOKIE"}


@dataclass(frozen=True, slots=True)
class LogRule:
    """One `log` directive. names: folded; classes: "all", or some of "success", "denial" and "error".

    min_duration_ns: what took so long is logged too, whatever its class; of "all", nothing else is.
    """

    names: tuple[bytes, ...]
    format: str
    classes: frozenset[str]
    min_duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class LoggedBlock:
    """A server block: its zones (folded), and its rules, of which the first that covers a name decides."""

    zones: tuple[bytes, ...]
    rules: tuple[LogRule, ...]


class Exchange(NamedTuple):
    """A query, its reply, and what the wire does not say.

    client: packed address and port. local: the address that it was received at, as configured.
    """

    query: bytes
    reply: bytes
    client: tuple[bytes, int]
    tcp: bool
    duration_ns: int
    local: str = ""


class Entry(NamedTuple):
    """What is logged of an exchange. fields: the same in single values, for logs that machines read."""

    text: str
    fields: Callable[[], dict[str, object]]


class QueryLog:
    """The rules of one listener's server blocks."""

    def __init__(self, blocks: Sequence[LoggedBlock]) -> None:
        self._rules = {zone: block.rules for block in blocks for zone in block.zones}

    @property
    def is_silent(self) -> bool:
        """Whether there is no rule at all, so that nobody need ask."""
        return not any(self._rules.values())

    def line(self, exchange: Exchange) -> str | None:
        """The line to log, None for none."""
        entry = self.entry(exchange)
        return None if entry is None else entry.text

    def entry(self, exchange: Exchange) -> Entry | None:
        """What to log, None for nothing. Messages without a question are not logged, as in CoreDNS."""
        query = parse_query(exchange.query)
        if query is None or not query.qclass:
            return None
        rule = self._rule(query.qname)
        if rule is None or not _is_wanted(rule, exchange, query):
            return None
        text = _PLACEHOLDER.sub(lambda found: _value(found.group(), exchange, query), rule.format)
        return Entry(text, partial(_fields, exchange, query))

    def _rule(self, qname: bytes) -> LogRule | None:
        ancestors = suffixes(qname)
        rules = next((self._rules[zone] for zone in ancestors if zone in self._rules), ())
        return next((rule for rule in rules if any(name in ancestors for name in rule.names)), None)


def _is_wanted(rule: LogRule, exchange: Exchange, query: Query) -> bool:
    is_slow = exchange.duration_ns >= rule.min_duration_ns
    if "all" in rule.classes:
        return is_slow
    return _class_of(exchange.reply, query) in rule.classes or (is_slow and rule.min_duration_ns > 0)


def _class_of(reply: bytes, query: Query) -> str:
    """CoreDNS's response classes: a NODATA is a denial, a referral a success."""
    rcode = _rcode(reply, query)
    if rcode == Rcode.NXDOMAIN:
        return "denial"
    if rcode != Rcode.NOERROR:
        return "error"
    answers, authorities = reply[6:8], reply[8:10]
    is_referral = not reply[2] & 0x04  # AA clear
    return "denial" if answers == b"\0\0" and authorities != b"\0\0" and not is_referral else "success"


def _rcode(reply: bytes, query: Query) -> int:
    """With the upper bits in the OPT record (RFC 6891 section 6.1.3): replies without records have some."""
    rcode = reply[3] & 15
    upper_at = query.end + _OPT_RCODE_AT
    if reply[6:12] == _NO_RECORDS_BUT_OPT and len(reply) > upper_at:
        rcode |= reply[upper_at] << 4
    return rcode


def _value(placeholder: str, exchange: Exchange, query: Query) -> str:
    render = _RENDER.get(placeholder)
    return render(exchange, query) if render else _UNKNOWN


def _remote(exchange: Exchange, _: Query) -> str:
    address = ip_address(exchange.client[0])
    return f"[{address}]" if address.version == 6 else str(address)


def _local(exchange: Exchange, _: Query) -> str:
    return f"[{exchange.local}]" if ":" in exchange.local else exchange.local or _UNKNOWN


def _flags(exchange: Exchange, _: Query) -> str:
    flags = int.from_bytes(exchange.reply[2:4])
    return ",".join(name for bit, name in _FLAGS if flags & bit)


def _class_text(_: Exchange, query: Query) -> str:
    return RRClass(query.qclass).name if query.qclass in frozenset(RRClass) else f"CLASS{query.qclass}"


def _rcode_text(exchange: Exchange, query: Query) -> str:
    rcode = _rcode(exchange.reply, query)
    return rcode_text(rcode) if rcode in frozenset(Rcode) else _RCODES.get(rcode, str(rcode))


def _fields(exchange: Exchange, query: Query) -> dict[str, object]:
    """The values of CoreDNS's combined format, by the names of its placeholders."""
    texts = {name: _RENDER[placeholder](exchange, query) for name, placeholder in _TEXT_FIELDS.items()}
    return {
        **texts,
        "remote": str(ip_address(exchange.client[0])),
        "port": exchange.client[1],
        "id": int.from_bytes(exchange.query[:2]),
        "opcode": query.flags >> 11 & 15,
        "size": len(exchange.query),
        "do": bool(query.edns and query.edns.dnssec_ok),
        "bufsize": query.edns.payload_octets if query.edns else MIN_PAYLOAD_OCTETS,
        "rflags": _flags(exchange, query).split(","),
        "rsize": len(exchange.reply),
        "duration_seconds": exchange.duration_ns / 1e9,
    }


_TEXT_FIELDS = {name: f"{{{name}}}" for name in ("name", "type", "class", "proto", "rcode")}
_RENDER: dict[str, Callable[[Exchange, Query], str]] = {
    "{type}": lambda _, query: TYPES.get(query.qtype) or type_text(query.qtype),
    "{name}": lambda _, query: to_text(query.qname),
    "{class}": _class_text,
    "{proto}": lambda exchange, _: "tcp" if exchange.tcp else "udp",
    "{size}": lambda exchange, _: str(len(exchange.query)),
    "{remote}": _remote,
    "{local}": _local,
    "{port}": lambda exchange, _: str(exchange.client[1]),
    "{rcode}": _rcode_text,
    "{rsize}": lambda exchange, _: str(len(exchange.reply)),
    "{duration}": lambda exchange, _: f"{exchange.duration_ns / 1e9:.9f}".rstrip("0").rstrip(".") + "s",
    "{>rflags}": _flags,
    "{>id}": lambda exchange, _: str(int.from_bytes(exchange.query[:2])),
    "{>opcode}": lambda _, query: str(query.flags >> 11 & 15),
    "{>do}": lambda _, query: "true" if query.edns and query.edns.dnssec_ok else "false",
    "{>bufsize}": lambda _, query: str(query.edns.payload_octets if query.edns else MIN_PAYLOAD_OCTETS),
}
