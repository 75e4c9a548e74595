"""Replies made of the question (CoreDNS's `template`): expressions for the name, and records with gaps.

A template is for a class, a type and zones. Of those that are, in order, the first with an expression that is found
in the name's text (folded, with the last dot) answers; without expressions it answers every name. One of which none
is found ends in SERVFAIL, unless `fallthrough` covers the name: then the next template is asked, and after the last
one whatever follows. A question for ANY suits templates of every type, as in CoreDNS.

What gaps in records there are, kdns.zone.gaps says; `{{ .Zone }}` is the zone of the template that the name is in,
and `{{ .Meta "x" }}` is empty, as in a CoreDNS without the directive `metadata`.
A name may hold any octets, but its text has no character that ends a word of a zone file unescaped.

A record is read when it is whole: by `parse`, for which the caller has a reader of zone files. What it refuses, or
a number that is none, ends in SERVFAIL. A reply depends on the question and nothing else: those given lately are
kept, here and not among the replies to what exists, for names made up at random would push those out. Where one
depends on who has sent the query, or how it was written, it is made anew each time.
Not here: addresses of targets and where an alias leads (kdns.zone.lookup), class other than IN in records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import NamedTuple

from kdns.answer.pattern import Pattern
from kdns.wire.iana import EDE, Rcode, RRClass, RRType, type_text
from kdns.wire.name import ROOT, suffixes, to_text
from kdns.zone.addresses import address_text
from kdns.zone.gaps import Field, Gap, Number, Value, parse_gaps
from kdns.zone.model import Lookup
from kdns.zone.rrset import RRset

# Records that are kept by their text, and answers by their question, half a kilobyte each: reading a record takes
# some 50 us, and an expression may take a millisecond.
RECORDS_KEPT = 1024
ANSWERS_KEPT = 4096

ParseRecord = Callable[[str], RRset]  # the text of one record to an rrset of it; ValueError for what is none


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """One `template`.

    rrclass, rrtype: None for any. zones, fallthrough: folded names. match: expressions (kdns.answer.pattern).
    answer, authority, additional: records as text. rcode: of the reply. ede: code and text (RFC 8914).
    """

    zones: tuple[bytes, ...]
    rrclass: int | None = None
    rrtype: int | None = None
    match: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    rcode: int = Rcode.NOERROR
    ede: tuple[int, str] | None = None
    fallthrough: tuple[bytes, ...] = ()


class Templated(NamedTuple):
    """What a template answers: what was found, never to be kept, and an EDE code and text for the reply."""

    found: Lookup
    ede: tuple[int, str] | None = None


class Sender(NamedTuple):
    """Of a query, what is not its question. address: the client's, packed. qname: in the letters that were sent."""

    address: bytes
    message_id: int
    qname: bytes


_NOBODY = Sender(bytes(4), 0, ROOT)


class Templates:
    """The templates of one site, in order. Raises GapError, or PatternError for an expression that is none."""

    def __init__(self, specs: Iterable[TemplateSpec], parse: ParseRecord) -> None:
        kept = lru_cache(RECORDS_KEPT)(parse)
        self._templates = [_Template(spec, kept) for spec in specs]
        self._kept = lru_cache(ANSWERS_KEPT)(partial(self._answer, _NOBODY))

    @property
    def zones(self) -> tuple[bytes, ...]:
        """No other names are answered."""
        return tuple(dict.fromkeys(zone for template in self._templates for zone in template.zones))

    def answer(self, qname: bytes, qtype: int, qclass: int, sender: Sender) -> Templated | None:
        """The answer to a question, its name folded; None if no template has one."""
        ancestors = suffixes(qname)
        asked = [one for one in self._templates if one.zone_of(ancestors, qtype, qclass) is not None]
        if any(template.is_personal for template in asked):
            return self._answer(sender, qname, qtype, qclass)
        return self._kept(qname, qtype, qclass) if asked else None

    def _answer(self, sender: Sender, qname: bytes, qtype: int, qclass: int) -> Templated | None:
        text = to_text(qname)
        ancestors = suffixes(qname)
        for template in self._templates:
            zone = template.zone_of(ancestors, qtype, qclass)
            if zone is None:
                continue
            groups = template.search(text)
            if groups is not None:
                return template.answer(_Values(text, qtype, qclass, zone, groups, qtype, qclass, sender))
            if not template.passes_on(ancestors):
                return _failure("no expression of the template matches the name")
        return None


class _Values(NamedTuple):
    """What stands in gaps. groups: by number and by name.

    qtype, qclass: those of the template for a question of ANY; asked_qtype, asked_qclass: always the question's.
    sender: _NOBODY where the reply is not `is_personal`.
    """

    name: str
    qtype: int
    qclass: int
    zone: bytes
    groups: dict[int | str, str]
    asked_qtype: int
    asked_qclass: int
    sender: Sender


class _Template:
    """One template, compiled."""

    def __init__(self, spec: TemplateSpec, parse: ParseRecord) -> None:
        self._spec = spec
        self.zones = frozenset(spec.zones)
        self._patterns = tuple(map(Pattern, spec.match))
        self._parse = parse
        texts = (spec.answer, spec.authority, spec.additional)
        self.is_personal = any(map(_is_personal, chain.from_iterable(texts)))  # the reply is for one query alone
        self._sections = tuple(tuple(map(_compile, section)) for section in texts)

    def zone_of(self, ancestors: list[bytes], qtype: int, qclass: int) -> bytes | None:
        """The longest zone of the template that a name is in, by the name's ancestors; None if it is not for it."""
        spec = self._spec
        if not _suits(spec.rrtype, qtype, RRType.ANY) or not _suits(spec.rrclass, qclass, RRClass.ANY):
            return None
        return next((name for name in ancestors if name in self.zones), None)

    def search(self, text: str) -> dict[int | str, str] | None:
        """The groups of the first expression that is found in a name's text."""
        if not self._patterns:
            return {0: text}
        for pattern in self._patterns:
            found = pattern.search(text)
            if found is not None:
                groups: dict[int | str, str] = dict(enumerate(found))
                return groups | {name: found[number] for name, number in pattern.names.items()}
        return None

    def passes_on(self, ancestors: list[bytes]) -> bool:
        """Whether a name that no expression was found in goes on."""
        return any(name in self._spec.fallthrough for name in ancestors)

    def answer(self, values: _Values) -> Templated:
        """The reply with its gaps filled."""
        spec = self._spec
        if spec.rcode == Rcode.SERVFAIL:
            return _failure("the template says so", spec.ede)
        values = values._replace(
            qtype=values.qtype if values.qtype != RRType.ANY or spec.rrtype is None else spec.rrtype,
            qclass=values.qclass if values.qclass != RRClass.ANY or spec.rrclass is None else spec.rrclass,
        )
        try:
            answer, authority, additional = (
                _rrsets(self._parse(_fill(parts, values)) for parts in section) for section in self._sections
            )
        except ValueError as error:
            return _failure(f"a record of the template cannot be made: {error}")
        return Templated(Lookup(spec.rcode, answer, authority, additional, lasting=False), spec.ede)


def _suits(wanted: int | None, asked: int, anything: int) -> bool:
    return wanted is None or anything in (wanted, asked) or wanted == asked


def _failure(note: str, ede: tuple[int, str] | None = None) -> Templated:
    found = Lookup(Rcode.SERVFAIL, authoritative=False, lasting=False, note=note)
    return Templated(found, ede or (EDE.OTHER, note))


def _rrsets(records: Iterable[RRset]) -> tuple[RRset, ...]:
    """Records of one owner and type are one rrset, with the least of their TTLs (RFC 2181 section 5.2)."""
    together: dict[tuple[bytes, int], RRset] = {}
    for record in records:
        key = record.owner.lower(), record.rrtype
        known = together.get(key)
        if known is not None:
            rdatas = tuple(dict.fromkeys((*known.rdatas, *record.rdatas)))
            record = RRset(known.owner, known.rrtype, min(known.ttl, record.ttl), rdatas)
        together[key] = record
    return tuple(together.values())


# Texts with gaps

_Part = str | Callable[[_Values], str]

_DIGITS = re.compile(r"[0-9A-Za-z]+")  # not the signs, spaces and underscores that `int` takes too

_CLASSES: frozenset[int] = frozenset(RRClass)
_PERSONAL = frozenset(("Remote", "Message.Id", "Question.Name"))
_FIELDS: dict[str, Callable[[_Values], str]] = {
    "Name": lambda values: values.name,
    "Type": lambda values: type_text(values.qtype),
    "Class": lambda values: RRClass(values.qclass).name if values.qclass in _CLASSES else f"CLASS{values.qclass}",
    "Zone": lambda values: to_text(values.zone),
    "Question.Qtype": lambda values: str(values.asked_qtype),
    "Question.Qclass": lambda values: str(values.asked_qclass),
    "Meta": lambda values: "",
    "Remote": lambda values: address_text(values.sender.address),
    "Message.Id": lambda values: str(values.sender.message_id),
    "Question.Name": lambda values: to_text(values.sender.qname),
}


def _is_personal(text: str) -> bool:
    values = [part.value for part in parse_gaps(text) if isinstance(part, Gap)]
    fields = [value.digits if isinstance(value, Number) else value for value in values]
    return any(isinstance(field, Field) and field.name in _PERSONAL for field in fields)


def _compile(text: str) -> tuple[_Part, ...]:
    return tuple(_filler(part.value) if isinstance(part, Gap) else part for part in parse_gaps(text))


def _filler(value: Value) -> Callable[[_Values], str]:
    """What fills a gap."""
    if isinstance(value, Number):
        return partial(_decimal, value, _filler(value.digits))
    return _FIELDS[value.name] if isinstance(value, Field) else partial(_group, value.key)


def _decimal(number: Number, filler: Callable[[_Values], str], values: _Values) -> str:
    digits = filler(values)
    found = _number(digits, number.base)
    if found is None or found >> number.bits:
        raise ValueError(f"{digits!r} is no number of {number.bits} bits")
    return str(found)


def _number(digits: str, base: int) -> int | None:
    try:
        return int(digits, base) if _DIGITS.fullmatch(digits) else None
    except ValueError:
        return None


def _group(key: int | str, values: _Values) -> str:
    try:
        return values.groups[key]
    except KeyError:
        raise ValueError(f"the expression has no group {key}") from None


def _fill(parts: tuple[_Part, ...], values: _Values) -> str:
    return "".join(part if isinstance(part, str) else part(values) for part in parts)
