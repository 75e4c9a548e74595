"""What all servers are asked: names that follow from the zone files, times types, times ways to ask.

From each owner and each empty non-terminal: the name itself, one and two labels below it, one beside it, the asterisk
below it. Names that no file tells stand in `ODD_NAMES`. Types that servers treat alike are asked of each name that
stands in a file, and a choice of them of the names derived from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.zone

from tests.support.messages import opt, query

TYPES = (
    "A", "AAAA", "NS", "SOA", "MX", "TXT", "SRV", "CNAME", "PTR", "CAA", "DS", "DNAME", "HTTPS", "ANY", "TYPE65280",
)  # fmt: skip
DERIVED_TYPES = ("A", "NS", "SOA", "TXT", "CNAME", "DS", "ANY")
TYPES_OVER_UDP_ALONE = ("AXFR",)  # transfers over TCP are a matter of configuration, not of lookup

LONG = "a" * 63
ODD_NAMES = (
    ".",
    "example",
    "outside.test",
    "xlab.example",
    "lab.example.org",
    "www.lab.example.outside.test",
    "any.*.wild.lab.example",
    "*.*.wild.lab.example",
    "under.any.middle.lab.example",
    "one.two.twice.lab.example",
    "*.two.twice.lab.example",
    "one.*.twice.lab.example",
    "x*.wild.lab.example",
    "absent.sub.*.wild.lab.example",
    "dnstest.a.wild-ent.lab.example",
    "www.dname-wild.lab.example",
    "host1.dname-wild.lab.example",
    "www.dname-dname.lab.example",
    "alias.dname-dname.lab.example",
    "host.dname-cut.lab.example",
    "www.dname-child.lab.example",
    "alias.dname.lab.example",
    f"{LONG}.{LONG}.dname-long.lab.example",
    f"{LONG}.{'b' * 49}.dname-long.lab.example",  # its target has 255 octets
    f"{LONG}.{'b' * 50}.dname-long.lab.example",  # one too many
    f"{LONG}.{LONG}.{LONG}.{'c' * 49}.lab.example",  # 255 octets
    f"{LONG}.{LONG}.{LONG}.{'c' * 39}.wild.lab.example",
    "www.grand.child.lab.example",
    "under.*.child.lab.example",
    "apps.example.org",
    "a.b.apps.example.org",
    "x.status.apps.example.org",
    r"w\000w.lab.example",
    r"w\.w.lab.example",
    r"www\.lab.example",
)


@dataclass(frozen=True)
class Question:
    """One question and how it is asked."""

    name: dns.name.Name
    rrtype: str
    edns: bool
    tcp: bool

    @cached_property
    def message(self) -> bytes:
        """The query; with EDNS its name is in mixed case, so that both are tried with both."""
        wire = self.name.to_digestable()
        return query(_mixed(wire) if self.edns else wire, self.rrtype, edns=opt(1232) if self.edns else b"")

    @property
    def question_end(self) -> int:
        """Where in the query, and in its reply, the question ends."""
        return 12 + len(self.name.to_digestable()) + 4

    def __str__(self) -> str:
        how = ("TCP" if self.tcp else "UDP") + (" EDNS" if self.edns else "")
        return f"{self.name} {self.rrtype} ({how})"


def questions(zones: Mapping[str, Path]) -> list[Question]:
    """All questions about these zone files."""
    owners = [name for origin, path in zones.items() for name in _owners(origin, path)]
    written = dict.fromkeys([*owners, *_empty_non_terminals(owners), *map(dns.name.from_text, ODD_NAMES)])
    derived = [name for one in written if one.is_subdomain(_EXAMPLE) for name in _derived(one)]
    asked = [(name, rrtype) for name in written for rrtype in TYPES]
    asked += [(name, rrtype) for name in dict.fromkeys(derived) if name not in written for rrtype in DERIVED_TYPES]
    ways = [(edns, tcp) for tcp in (False, True) for edns in (False, True)]
    found = [Question(name, rrtype, edns, tcp) for edns, tcp in ways for name, rrtype in asked]
    return found + [Question(name, rrtype, False, False) for name in written for rrtype in TYPES_OVER_UDP_ALONE]


_EXAMPLE = dns.name.from_text("example")


def _owners(origin: str, path: Path) -> Iterator[dns.name.Name]:
    zone = dns.zone.from_file(str(path), origin, relativize=False, check_origin=False)
    return (name for name in zone.nodes if isinstance(name, dns.name.Name))


def _empty_non_terminals(owners: Iterable[dns.name.Name]) -> Iterator[dns.name.Name]:
    """Ancestors that may own nothing; those that do are in the list anyway."""
    for owner in owners:
        while len(owner) > 3:
            owner = owner.parent()
            yield owner


def _derived(name: dns.name.Name) -> Iterator[dns.name.Name]:
    above = name.parent()
    for base, labels in ((name, (b"below",)), (name, (b"*",)), (above, (b"beside-" + name.labels[0][:50],))):
        yield from _below(base, *labels)
    yield from _below(name, b"far", b"below")


def _below(name: dns.name.Name, *labels: bytes) -> Iterator[dns.name.Name]:
    try:
        yield dns.name.Name((*labels, *name.labels))
    except dns.name.NameTooLong:
        return


def _mixed(wire: bytes) -> bytes:
    """Every other letter in upper case; length octets are no letters."""
    return bytes(octet - 32 if at % 2 and 97 <= octet <= 122 else octet for at, octet in enumerate(wire))
