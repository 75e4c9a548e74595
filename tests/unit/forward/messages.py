"""Questions to the resolver of kdns.forward, and what upstreams reply to them."""

from __future__ import annotations

from struct import pack

from kdns.forward.values import CacheSpec, ForwardSpec, GroupSpec, UpstreamSpec
from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import ROOT, from_text
from kdns.wire.outside import Ask, Purpose
from kdns.wire.query import RD_BIT

CLIENT = bytes((10, 0, 0, 1))
OPT = pack(">BHHIH", 0, RRType.OPT, 1232, 0, 0)
KEEPING = CacheSpec()
_REPLY_FLAGS = 0x8180  # QR, RD, RA


def question(name: str = "www.example.org", rrtype: int = RRType.A) -> bytes:
    """A folded question."""
    return from_text(name).lower() + pack(">HH", rrtype, 1)


def ask(
    name: str = "www.example.org",
    number: int = 1,
    client: bytes = CLIENT,
    flags: int = RD_BIT,
    purpose: Purpose = Purpose.CLIENT,
    dnssec_ok: bool = False,
    group: int = 0,
    rrtype: int = RRType.A,
) -> Ask:
    return Ask(number, group, question(name, rrtype), flags, dnssec_ok, client, purpose)


def record(ttl: int = 300, rdata: bytes = bytes((192, 0, 2, 1)), rrtype: int = RRType.A) -> bytes:
    """A record of the name in the question."""
    return b"\xc0\x0c" + pack(">HHIH", rrtype, 1, ttl, len(rdata)) + rdata


def soa(ttl: int = 60, minimum: int = 60) -> bytes:
    return record(ttl, ROOT + ROOT + pack(">5I", 1, 2, 3, 4, minimum), RRType.SOA)


def reply(
    asked: bytes,
    answer: tuple[bytes, ...] = (),
    authority: tuple[bytes, ...] = (),
    rcode: int = Rcode.NOERROR,
    additional: tuple[bytes, ...] = (OPT,),
    flags: int = 0,
) -> bytes:
    """A reply with these records, to the question as it was sent."""
    head = pack(">6H", 1, _REPLY_FLAGS | rcode | flags, 1, len(answer), len(authority), len(additional))
    return head + asked + b"".join((*answer, *authority, *additional))


def address(asked: bytes, ttl: int = 300, rdata: bytes = bytes((192, 0, 2, 1))) -> bytes:
    """A reply with one address."""
    return reply(asked, (record(ttl, rdata),))


def nxdomain(asked: bytes, ttl: int = 60) -> bytes:
    return reply(asked, (), (soa(ttl, ttl),), Rcode.NXDOMAIN)


def upstream(number: int, **options: object) -> UpstreamSpec:
    return UpstreamSpec(f"127.0.0.{number}", 53, **options)


def forward(*upstreams: UpstreamSpec, zone: str = ".", **options: object) -> ForwardSpec:
    return ForwardSpec(from_text(zone), upstreams or (upstream(1), upstream(2)), **options)


def group(*forwards: ForwardSpec, cache: CacheSpec | None = KEEPING) -> GroupSpec:
    return GroupSpec(forwards or (forward(),), cache)
