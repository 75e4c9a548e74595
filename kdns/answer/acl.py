"""Who may ask what (CoreDNS's `acl`): by the client's network and the type, for names at and below some zones.

    allow    the query is answered, and no further `acl` looked at
    block    REFUSED, with EDE 15 (Blocked), as in CoreDNS
    filter   NOERROR with nothing, with EDE 17 (Filtered), as in CoreDNS; nothing says that it may be cached
    drop     silence

Each `acl` is looked at in order, if the name is in one of its zones; the first of its rules that matches decides. One
without such a rule says nothing, and what no `acl` decides is allowed. An IPv4 client that comes as an IPv4-mapped
IPv6 address is an IPv4 client. Lists may have thousands of networks: a look costs one dictionary lookup for each
prefix length that occurs, not one for each network.
Not here: replies (kdns.answer.replying), that no reply may be kept or found before this was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kdns.wire.iana import EDE, Rcode
from kdns.wire.name import ROOT, suffixes
from kdns.wire.rules import AclAction, AclRule

_V4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2
_BITS = {4: 32, 16: 128}


@dataclass(frozen=True, slots=True)
class AclSpec:
    """One `acl`. zones: folded apexes."""

    zones: tuple[bytes, ...]
    rules: tuple[AclRule, ...]


class Verdict(NamedTuple):
    """What becomes of a query, and the zone of the `acl` that says so; the root's name where none does."""

    action: AclAction
    zone: bytes = ROOT


# The rcode, EDE code and text with which a query is answered that is not allowed and not dropped.
REPLIES: dict[AclAction, tuple[int, int, str]] = {
    AclAction.BLOCK: (Rcode.REFUSED, EDE.BLOCKED, "this server does not answer this client for this name and type"),
    AclAction.FILTER: (Rcode.NOERROR, EDE.FILTERED, "this server tells this client nothing of this name and type"),
}

_ALLOWED = Verdict(AclAction.ALLOW)


class Acl:
    """The `acl` lines of one site, in order. zones: those of all of them."""

    def __init__(self, specs: Iterable[AclSpec]) -> None:
        specs = tuple(specs)
        self.zones = tuple(zone for spec in specs for zone in spec.zones)
        self._lists = [(frozenset(spec.zones), _Rules(spec.rules)) for spec in specs]

    def covers(self, qname: bytes) -> bool:
        """Whether it may depend on the client what becomes of a folded name."""
        return any(name in zones for name in suffixes(qname) for zones, _ in self._lists)

    def verdict(self, qname: bytes, qtype: int, client: bytes) -> Verdict:
        """What becomes of a query; its name folded, and the client's packed address."""
        if len(client) == 16 and client.startswith(_V4_MAPPED):
            client = client[12:]
        ancestors = suffixes(qname)
        for zones, rules in self._lists:
            zone = next((name for name in ancestors if name in zones), None)
            action = rules.find(qtype, client) if zone is not None else None
            if zone is not None and action is not None:
                return Verdict(action, zone)
        return _ALLOWED


class _Rules:
    """The rules of one `acl`: for each length of a prefix the rules of each prefix, by their order."""

    def __init__(self, rules: tuple[AclRule, ...]) -> None:
        self._rules = rules
        self._tables: dict[int, dict[int, dict[int, list[int]]]] = {4: {}, 16: {}}
        for number, rule in enumerate(rules):
            for octets, length, prefix in _prefixes(rule):
                table = self._tables[octets].setdefault(length, {})
                table.setdefault(prefix, []).append(number)

    def find(self, qtype: int, client: bytes) -> AclAction | None:
        octets, address = len(client), int.from_bytes(client)
        best = len(self._rules)
        for length, table in self._tables[octets].items():
            for number in table.get(address >> (_BITS[octets] - length), ()):
                if number >= best:
                    break
                types = self._rules[number].types
                if not types or qtype in types:
                    best = number
        return self._rules[best].action if best < len(self._rules) else None


def _prefixes(rule: AclRule) -> set[tuple[int, int, int]]:
    """Each network's octets of an address, length and leading bits; all networks if the rule names none."""
    if not rule.networks:
        return {(4, 0, 0), (16, 0, 0)}
    return {
        (network.max_prefixlen // 8, network.prefixlen,
         int(network.network_address) >> (network.max_prefixlen - network.prefixlen))
        for network in rule.networks
    }
