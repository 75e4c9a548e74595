"""The query log (`log` in the Corefile): one line for a query and its reply, in CoreDNS's format and classes.

Pure: bytes of query and reply in, a line or None out. Not here: the Corefile's syntax (kdns.corefile.logs), writing
lines (kdns.observe.logs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from kdns.wire.iana import Rcode, RRClass, rcode_text, type_text
from kdns.wire.name import suffixes, to_text
from kdns.wire.query import MIN_PAYLOAD_OCTETS, Query, parse_query

_PLACEHOLDER = re.compile(r"\{[>/]?[A-Za-z0-9_]+\}")
_FLAGS = ((0x8000, "qr"), (0x400, "aa"), (0x200, "tc"), (0x100, "rd"), (0x80, "ra"), (0x20, "ad"), (0x10, "cd"))
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class LogRule:
    """One `log` directive. names: folded; classes: "all", or some of "success", "denial" and "error"."""

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
    """A query, its reply, and what the wire does not say. client: packed address and port."""

    query: bytes
    reply: bytes
    client: tuple[bytes, int]
    tcp: bool
    duration_ns: int


class QueryLog:
    """The rules of one listener's server blocks."""

    def __init__(self, blocks: Sequence[LoggedBlock]) -> None:
        self._rules = {zone: block.rules for block in blocks for zone in block.zones}

    @property
    def is_silent(self) -> bool:
        """Whether there is no rule at all, so that nobody need ask."""
        return not any(self._rules.values())

    def line(self, exchange: Exchange) -> str | None:
        """The line to log, None for none. Messages without a question are not logged, as in CoreDNS."""
        query = parse_query(exchange.query)
        if query is None or not query.qclass:
            return None
        rule = self._rule(query.qname)
        if rule is None or exchange.duration_ns < rule.min_duration_ns:
            return None
        if "all" not in rule.classes and _class_of(exchange.reply) not in rule.classes:
            return None
        return _PLACEHOLDER.sub(lambda found: _value(found.group(), exchange, query), rule.format)

    def _rule(self, qname: bytes) -> LogRule | None:
        ancestors = suffixes(qname)
        rules = next((self._rules[zone] for zone in ancestors if zone in self._rules), ())
        return next((rule for rule in rules if any(name in ancestors for name in rule.names)), None)


def _class_of(reply: bytes) -> str:
    """CoreDNS's response classes: a NODATA is a denial, a referral a success."""
    rcode = reply[3] & 15
    if rcode == Rcode.NXDOMAIN:
        return "denial"
    if rcode != Rcode.NOERROR:
        return "error"
    answers, authorities = reply[6:8], reply[8:10]
    is_referral = not reply[2] & 0x04  # AA clear
    return "denial" if answers == b"\0\0" and authorities != b"\0\0" and not is_referral else "success"


def _value(placeholder: str, exchange: Exchange, query: Query) -> str:
    render = _RENDER.get(placeholder)
    return render(exchange, query) if render else _UNKNOWN


def _remote(exchange: Exchange, _: Query) -> str:
    address = ip_address(exchange.client[0])
    return f"[{address}]" if address.version == 6 else str(address)


def _flags(exchange: Exchange, _: Query) -> str:
    flags = int.from_bytes(exchange.reply[2:4])
    return ",".join(name for bit, name in _FLAGS if flags & bit)


def _class_text(_: Exchange, query: Query) -> str:
    return RRClass(query.qclass).name if query.qclass in frozenset(RRClass) else f"CLASS{query.qclass}"


_RENDER: dict[str, Callable[[Exchange, Query], str]] = {
    "{type}": lambda _, query: type_text(query.qtype),
    "{name}": lambda _, query: to_text(query.qname),
    "{class}": _class_text,
    "{proto}": lambda exchange, _: "tcp" if exchange.tcp else "udp",
    "{size}": lambda exchange, _: str(len(exchange.query)),
    "{remote}": _remote,
    "{port}": lambda exchange, _: str(exchange.client[1]),
    "{rcode}": lambda exchange, _: rcode_text(exchange.reply[3] & 15),
    "{rsize}": lambda exchange, _: str(len(exchange.reply)),
    "{duration}": lambda exchange, _: f"{exchange.duration_ns / 1e9:.9f}".rstrip("0").rstrip(".") + "s",
    "{>rflags}": _flags,
    "{>id}": lambda exchange, _: str(int.from_bytes(exchange.query[:2])),
    "{>opcode}": lambda _, query: str(query.flags >> 11 & 15),
    "{>do}": lambda _, query: "true" if query.edns and query.edns.dnssec_ok else "false",
    "{>bufsize}": lambda _, query: str(query.edns.payload_octets if query.edns else MIN_PAYLOAD_OCTETS),
}
