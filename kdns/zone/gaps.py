"""The text of a record with gaps that a question fills: as much of Go's templates as kdns takes.

    {{ .Name }} {{ .Type }} {{ .Class }} {{ .Zone }}    the question, and the zone that it is in
    {{ .Question.Name }}                                its name, in the letters in which it was sent
    {{ .Question.Qtype }} {{ .Question.Qclass }}        its numbers
    {{ .Remote }} {{ .Message.Id }}                     the client's address, and the number of its query
    {{ index .Match 1 }} {{ .Group.x }}                 groups of an expression, by number (0: all of it) and by name
    {{ .Meta "x" }}                                     nothing: it is for a directive that kdns has not
    {{ parseInt .Group.x 16 8 }}                        digits of a base, of a number of bits at most, in decimal

`parseInt` takes any of those that are no numbers, `index` in brackets. White space at the ends of the braces does not
count. These are the data that CoreDNS documents; its templates are programs of Go besides, and those are refused.
Not here: what fills a gap (kdns.answer.template), which groups there are, records (kdns.zone.recordtext).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_GAP = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_FIELD = re.compile(
    r"\.(Name|Type|Class|Zone|Remote|Question\.Name|Question\.Qtype|Question\.Qclass|Message\.Id)"
)
_META = re.compile(r"\.(Meta)\s+(?:\"[^\"\\\n]*\"|`[^`]*`)")
_INDEX = re.compile(r"index\s+\.Match\s+([0-9]{1,4})")
_GROUP = re.compile(r"\.Group\.([A-Za-z_][A-Za-z0-9_]*)")
_FIRST = re.compile(r"-|\.?[A-Za-z]+")
_PARSE_INT = re.compile(
    r"parseInt\s+(?:\((?P<inside>.*)\)|(?P<word>\S+))\s+(?P<base>[0-9]{1,2})\s+(?P<bits>[0-9]{1,2})"
)
_NUMBERS = frozenset(("Question.Qtype", "Question.Qclass", "Message.Id"))
_KNOWN = (
    "kdns knows .Name, .Type, .Class, .Zone, .Remote, .Question.Name, .Question.Qtype, .Question.Qclass, "
    ".Message.Id, index .Match N, .Group.NAME, .Meta \"NAME\" and parseInt of one of them"
)
_PROGRAM = "kdns fills in data and runs no programs: write a `template` with a `match` of its own for each case"
_PRINTED = "write the text as it is, with each value in braces of its own"
_PROGRAMS = ("if", "else", "end", "range", "with", "define", "template", "and", "or", "not", "eq", "ne", "len")
# By the first word of what kdns does not know.
_INSTEAD = {
    **dict.fromkeys(_PROGRAMS, _PROGRAM),
    **dict.fromkeys(("print", "printf", "println"), _PRINTED),
    "-": "write the braces without `-`: white space at their ends does not count",
    ".Group": "write the group's name, as in `{{ .Group.a }}`",
    ".Match": "write the group's number, as in `{{ index .Match 1 }}`",
    ".Meta": "write the name in quotes, as in `{{ .Meta \"x\" }}`; it is always empty",
    ".Message": "of the message kdns has `{{ .Message.Id }}` alone",
    ".Question": "write one of .Question.Name, .Question.Qtype, .Question.Qclass",
}
_LONE = {
    "{{": "this `{{` is never closed: put the whole record in quotes",
    "}}": "this `}}` closes nothing",
}


class GapError(ValueError):
    """What is wrong with a text, and the offset of the character where."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(offset, message)
        self.offset = offset
        self.message = message

    def __str__(self) -> str:
        return self.message


class Field(NamedTuple):
    """What the gap is called, without the first dot: Name, Question.Qtype, ...; Meta, whatever its argument."""

    name: str


class Group(NamedTuple):
    """A group of the expression, by its number or its name."""

    key: int | str


class Number(NamedTuple):
    """`parseInt`: what fills another gap, read as a number."""

    digits: Field | Group
    base: int
    bits: int


Value = Field | Group | Number


class Gap(NamedTuple):
    """offset, text: where it is in the record's text, and how it is written there."""

    offset: int
    text: str
    value: Value


def parse_gaps(text: str) -> tuple[str | Gap, ...]:
    """The gaps of a text, and what is between them. Raises GapError."""
    parts: list[str | Gap] = []
    at = 0
    for found in _GAP.finditer(text):
        parts += [_plain(text, at, found.start()), _gap(found)]
        at = found.end()
    return (*parts, _plain(text, at, len(text)))


def _plain(text: str, start: int, end: int) -> str:
    for braces, message in _LONE.items():
        at = text.find(braces, start, end)
        if at >= 0:
            raise GapError(at, message)
    return text[start:end]


def _gap(found: re.Match[str]) -> Gap:
    try:
        return Gap(found.start(), found.group(), _value(found[1].strip()))
    except ValueError as error:
        raise GapError(found.start(), f"`{found.group()}`: {error}") from None


def _value(text: str) -> Value:
    found = _PARSE_INT.fullmatch(text)
    if found is None:
        return _word(text)
    base, bits = int(found["base"]), int(found["bits"])
    if not (2 <= base <= 36 and 1 <= bits <= 64):
        raise ValueError("`parseInt` takes a base of 2 to 36 and 1 to 64 bits")
    digits = _word((found["inside"] or found["word"] or "").strip())
    if isinstance(digits, Field) and digits.name in _NUMBERS:
        raise ValueError(f"`.{digits.name}` is a number: write it without `parseInt`")
    return Number(digits, base, bits)


def _word(text: str) -> Field | Group:
    if field := _FIELD.fullmatch(text) or _META.fullmatch(text):
        return Field(field[1])
    if index := _INDEX.fullmatch(text):
        return Group(int(index[1]))
    if group := _GROUP.fullmatch(text):
        return Group(group[1])
    first = _FIRST.match(text)
    raise ValueError(_INSTEAD.get(first[0] if first else "", _KNOWN))
