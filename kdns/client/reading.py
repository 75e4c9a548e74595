"""What a reply says, from its records: aliases, TTLs, addresses beside SRV records (RFC 1034, 2308, 2782).

`read` takes a message of ours; `understand` takes records in plain form, and serves aiodns as well. The TTL is the
least of all that is used: aliases, records, addresses of the additional section. Such addresses count only if a SRV
record names their owner, for servers add those of their name servers too. Not here: which reply counts
(kdns.wire.exchange), what becomes of it (kdns.client.resolution).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct
from typing import NamedTuple

from kdns.client.backend import Address, Kind, Question, Reply, Service
from kdns.wire.exchange import Done
from kdns.wire.iana import Rcode, RRClass, RRType, rcode_text, type_text
from kdns.wire.message import Message, Record
from kdns.wire.name import from_text, labels, to_text
from kdns.wire.rdata import SRV_TARGET_AT

# Aliases that are followed for one name; CoreDNS stops at 10, BIND at 16.
ALIASES_MAX = 16

_FAMILIES = {int(RRType.A): AF_INET, int(RRType.AAAA): AF_INET6}
_numbers = Struct(">3H").unpack_from
_is_plain = re.compile(rb"[a-z0-9_-]+").fullmatch


class Fact(NamedTuple):
    """One record. owner: as in Question.name. value: a Service, an address, or the name that an alias leads to."""

    owner: str
    rrtype: int
    ttl: int
    value: Service | str


def question_octets(question: Question) -> bytes:
    """Name, type and class as they stand in a message. Raises kdns.wire.name.InvalidName."""
    return from_text(question.name).lower() + question.rrtype.to_bytes(2, "big") + int(RRClass.IN).to_bytes(2, "big")


def read_done(question: Question, done: Done, servers: tuple[str, ...]) -> Reply:
    """What an exchange has come to."""
    if done.reason or done.message is None or done.server is None:
        return Reply(Kind.FAILURE, text=done.reason or "no answer")
    return read(question, done.message, servers[done.server])


def read(question: Question, message: Message, server: str) -> Reply:
    """What a message says of the question. server: for texts."""
    if message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return Reply(Kind.FAILURE, text=f"{rcode_text(message.rcode)} of {server}")
    return understand(
        question, _facts(message.answer), _facts(message.additional), message.rcode == Rcode.NXDOMAIN,
        _denial_ttl(message), server,
    )  # fmt: skip


def understand(
    question: Question, answer: Iterable[Fact], additional: Iterable[Fact], is_nxdomain: bool,
    denial_ttl: int | None, server: str,
) -> Reply:  # fmt: skip
    """What records say. denial_ttl: of the SOA record; None if there is none, or none can be seen."""
    by_owner: dict[tuple[str, int], list[Fact]] = {}
    for fact in answer:
        by_owner.setdefault((fact.owner, fact.rrtype), []).append(fact)
    name, ttls = _follow(question.name, by_owner)
    if name is None:
        return Reply(Kind.FAILURE, text=f"aliases of {question.name} without an end, of {server}")
    found = by_owner.get((name, question.rrtype), [])
    if not found or is_nxdomain:
        return _denial(question, name, is_nxdomain, ttls, denial_ttl, server)
    ttls += [fact.ttl for fact in found]
    if question.rrtype != RRType.SRV:
        return Reply(Kind.ANSWER, (), tuple(_addresses(found)), float(min(ttls)), f"answer of {server}")
    services = tuple(dict.fromkeys(fact.value for fact in found if isinstance(fact.value, Service)))
    targets = {service.target for service in services}
    beside = [fact for fact in additional if fact.rrtype in _FAMILIES and fact.owner in targets]
    ttls += [fact.ttl for fact in beside]
    return Reply(Kind.ANSWER, services, tuple(_addresses(beside)), float(min(ttls)), f"answer of {server}")


def _denial(
    question: Question, name: str, is_nxdomain: bool, ttls: list[int], denial_ttl: int | None, server: str
) -> Reply:
    kind = Kind.NXDOMAIN if is_nxdomain else Kind.NODATA
    what = "NXDOMAIN" if is_nxdomain else f"no {type_text(question.rrtype)} record"
    alias = f" for {name}, its alias," if name != question.name else ""
    ttl = float(min([*ttls, denial_ttl])) if denial_ttl is not None else None
    return Reply(kind, ttl=ttl, text=f"{what}{alias} of {server}")


def _follow(name: str, by_owner: dict[tuple[str, int], list[Fact]]) -> tuple[str | None, list[int]]:
    """Where aliases end, None if nowhere; and the TTLs of the aliases."""
    ttls: list[int] = []
    for _ in range(ALIASES_MAX):
        aliases = by_owner.get((name, RRType.CNAME))
        if not aliases:
            return name, ttls
        ttls.append(aliases[0].ttl)
        name = str(aliases[0].value)
    return None, ttls


def _addresses(facts: Iterable[Fact]) -> Iterable[Address]:
    """Each once: an address twice in a set is one endpoint."""
    return dict.fromkeys(Address(fact.owner, str(fact.value)) for fact in facts)


def _denial_ttl(message: Message) -> int | None:
    """RFC 2308 section 5: the lesser of the SOA record's TTL and its MINIMUM, which is the last of its numbers."""
    for record in message.authority:
        if record.rrtype == RRType.SOA:
            return min(record.ttl, int.from_bytes(record.rdata[-4:], "big"))
    return None


def _facts(records: Iterable[Record]) -> Iterable[Fact]:
    for record in records:
        value = _value(record)
        if value is not None:
            yield Fact(_text(record.owner), record.rrtype, record.ttl, value)


def _value(record: Record) -> Service | str | None:
    rdata = record.rdata
    family = _FAMILIES.get(record.rrtype)
    if family is not None:
        return inet_ntop(family, rdata)
    if record.rrtype == RRType.CNAME:
        return _text(rdata)
    if record.rrtype != RRType.SRV:
        return None
    priority, weight, port = _numbers(rdata)
    return Service(priority, weight, port, _text(rdata[SRV_TARGET_AT:]))


def _text(name: bytes) -> str:
    """A name in lower case; nearly all are of plain letters, which takes a fifth of the time."""
    folded = name.lower()
    found = labels(folded)
    if found and all(map(_is_plain, found)):
        return b".".join(found).decode("ascii") + "."
    return to_text(folded)
