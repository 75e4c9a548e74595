"""Queries as octets, built by hand so that they may be odd, and replies as text, read by dnspython."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import pack, unpack

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from kdns.wire.name import from_text

RD, CD, AD, TC, AA, QR = 0x0100, 0x0010, 0x0020, 0x0200, 0x0400, 0x8000
DO = 0x8000
# Decoded replies: most are compared with one of the same octets, and no test changes one. A large one has a megabyte.
REPLIES_KEPT = 64
COOKIE = 10
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DS, HTTPS, AXFR, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 65, 252, 255


def rrtype(text: str) -> int:
    return int(dns.rdatatype.from_text(text))


def question(qname: str | bytes, qtype: str | int = "A", qclass: int = 1) -> bytes:
    """A question section; `qname` is text, or octets that need not be a name."""
    name = qname if isinstance(qname, bytes) else from_text(qname)
    return name + pack(">2H", rrtype(qtype) if isinstance(qtype, str) else qtype, qclass)


def option(code: int, body: bytes) -> bytes:
    return pack(">2H", code, len(body)) + body


def opt(payload: int = 1232, options: bytes = b"", version: int = 0, flags: int = 0, rcode: int = 0) -> bytes:
    """An OPT record; `rcode` is its upper octet."""
    return b"\0" + pack(">2H2BHH", 41, payload, rcode, version, flags, len(options)) + options


def message(
    body: bytes,
    counts: Sequence[int] = (1, 0, 0, 0),
    flags: int = RD,
    ident: int = 0x1234,
) -> bytes:
    """A header with these counts before any octets."""
    return pack(">6H", ident, flags, *counts) + body


def query(
    qname: str | bytes,
    qtype: str | int = "A",
    *,
    edns: bytes = b"",
    flags: int = RD,
    ident: int = 0x1234,
    qclass: int = 1,
) -> bytes:
    """A query with one question and perhaps one OPT record."""
    return message(question(qname, qtype, qclass) + edns, (1, 0, 0, bool(edns)), flags, ident)


class _Decoded:
    """What dnspython reads of some octets, and the text of it once it is asked for."""

    def __init__(self, wire: bytes) -> None:
        self.message = dns.message.from_wire(wire, one_rr_per_rrset=True)

    @cached_property
    def answer(self) -> list[str]:
        return records(self.message.answer)

    @cached_property
    def authority(self) -> list[str]:
        return records(self.message.authority)

    @cached_property
    def additional(self) -> list[str]:
        return records(self.message.additional)

    @cached_property
    def sections(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        sets = []
        for lines in (self.answer, self.authority, self.additional):
            assert len(lines) == len(set(lines)), f"a record twice: {lines}"
            sets.append(frozenset(lines))
        return sets[0], sets[1], sets[2]


_decoded = lru_cache(REPLIES_KEPT)(_Decoded)


@dataclass(frozen=True)
class Answer:
    """A reply as tests look at it; records are `owner ttl type rdata` in the order of the wire."""

    wire: bytes

    @property
    def message(self) -> dns.message.Message:
        return _decoded(self.wire).message

    @property
    def ident(self) -> int:
        return self.message.id

    @property
    def rcode(self) -> str:
        return dns.rcode.to_text(self.message.rcode())

    @property
    def flags(self) -> set[str]:
        return set(dns.flags.to_text(self.message.flags).split())

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(unpack(">4H", self.wire[4:12]))

    @property
    def question(self) -> str:
        return " ".join(str(rrset) for rrset in self.message.question)

    @property
    def answer(self) -> list[str]:
        return list(_decoded(self.wire).answer)

    @property
    def authority(self) -> list[str]:
        return list(_decoded(self.wire).authority)

    @property
    def additional(self) -> list[str]:
        """Without OPT, which dnspython keeps apart."""
        return list(_decoded(self.wire).additional)

    @property
    def rdata(self) -> list[str]:
        """The RDATA of the answer section."""
        return [line.split(" ", 3)[3] for line in self.answer]

    @property
    def has_edns(self) -> bool:
        return self.message.edns >= 0

    @property
    def payload(self) -> int:
        return self.message.payload

    @property
    def dnssec_ok(self) -> bool:
        return bool(self.message.ednsflags & DO)

    @property
    def ede(self) -> list[tuple[int, str]]:
        """Extended DNS errors: code and text."""
        return [(int(o.code), o.text or "") for o in self.message.options if isinstance(o, dns.edns.EDEOption)]

    @property
    def options(self) -> list[int]:
        return [int(one.otype) for one in self.message.options]

    @property
    def soa(self) -> str:
        """`owner ttl serial minimum` of the SOA record in the authority section, "" for none."""
        for line in self.authority:
            owner, ttl, kind, _, _, serial, *_, minimum = line.split()
            if kind == "SOA":
                return f"{owner} {ttl} {serial} {minimum}"
        return ""

    def sections(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """The records of each section as sets; a record that stands there twice is an error."""
        return _decoded(self.wire).sections


def records(rrsets: Iterable[dns.rrset.RRset]) -> list[str]:
    return [
        f"{rrset.name} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
        for rrset in rrsets
        for rdata in rrset
    ]


def mixed_case(text: str) -> str:
    """The same name with every other letter in upper case."""
    return "".join(char.upper() if at % 2 else char for at, char in enumerate(text))
