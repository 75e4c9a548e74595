"""The directive `template`: replies made of the question.

    template CLASS TYPE [ZONES...] {
        match REGEX...
        answer|authority|additional RECORD...
        rcode CODE
        ederror CODE [REASON]
        fallthrough [ZONES...]
    }

A RECORD is a line of a zone file in which some of Go's templates may stand (kdns.zone.gaps).
In: statements. Out: plugins.Template, and back to lines. Not here: filling them in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError
from kdns.corefile.goregex import parse_regex, place
from kdns.corefile.lexer import Token
from kdns.corefile.mnemonics import (
    HIGHEST_PLAIN_RCODE,
    class_word,
    parse_class,
    parse_rcode,
    parse_type,
    rcode_word,
    type_word,
)
from kdns.corefile.options import Option, fold_body, number, one_argument, some_arguments, with_options
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import Template
from kdns.corefile.posix import spelled_out
from kdns.corefile.zones import parse_fallthrough, parse_zones, print_fallthrough, zone_words
from kdns.zone.gaps import Field, Gap, GapError, Number, Value, parse_gaps

MAX_EXTENDED_ERROR = 65535  # the code's field has 16 bits (RFC 8914 section 2)

_ANY = 255
_MIN_WORDS = 3  # owner, type and data
_SECTIONS = ("answer", "authority", "additional")


def parse_template(statement: Statement, block_zones: tuple[bytes, ...]) -> Template:
    """`template CLASS TYPE [ZONES...] { ... }`. Raises CorefileError."""
    arguments = some_arguments(statement, "CLASS TYPE [ZONES...], as in `template IN A example.org`")
    if len(arguments) < 2:
        raise CorefileError(statement.position, "`template` needs CLASS and TYPE, as in `template IN A example.org`")
    rrclass, rrtype = parse_class(arguments[0]), parse_type(arguments[1])
    start = Template(
        None if rrclass == _ANY else rrclass,
        None if rrtype == _ANY else rrtype,
        parse_zones(arguments[2:]) or block_zones,
        position=statement.position,
    )
    template = fold_body(start, statement, _OPTIONS)
    _check_records(statement.body or ())
    return template


def print_template(template: Template, block_zones: tuple[bytes, ...]) -> list[str]:
    """The lines of the directive."""
    rrclass = "ANY" if template.rrclass is None else class_word(template.rrclass)
    rrtype = "ANY" if template.rrtype is None else type_word(template.rrtype)
    head = " ".join(["template", rrclass, rrtype, *zone_words(template.zones, block_zones)])
    return with_options(head, _option_lines(template))


def _option_lines(template: Template) -> Iterator[str]:
    yield from (f"match {write(pattern)}" for pattern in template.match)
    sections = (template.answer, template.authority, template.additional)
    for name, records in zip(_SECTIONS, sections, strict=True):
        yield from (f"{name} {write(record)}" for record in records)
    if template.rcode:
        yield f"rcode {rcode_word(template.rcode)}"
    if template.extended_error is not None:
        code, reason = template.extended_error
        yield f"ederror {code} {write(reason)}" if reason else f"ederror {code}"
    yield from print_fallthrough(template.fallthrough)


def _match(value: Template, statement: Statement) -> Template:
    patterns = some_arguments(statement, "at least one regular expression")
    for pattern in patterns:
        parse_regex(pattern)
    return replace(value, match=(*value.match, *(spelled_out(pattern.text) for pattern in patterns)))


def _answer(value: Template, statement: Statement) -> Template:
    return replace(value, answer=(*value.answer, *_records(statement)))


def _authority(value: Template, statement: Statement) -> Template:
    return replace(value, authority=(*value.authority, *_records(statement)))


def _additional(value: Template, statement: Statement) -> Template:
    return replace(value, additional=(*value.additional, *_records(statement)))


def _records(statement: Statement) -> list[str]:
    return [argument.text for argument in some_arguments(statement, "a record in quotes")]


def _rcode(value: Template, statement: Statement) -> Template:
    return replace(value, rcode=parse_rcode(one_argument(statement, "an rcode"), HIGHEST_PLAIN_RCODE))


def _ederror(value: Template, statement: Statement) -> Template:
    code, *rest = some_arguments(statement, "CODE [REASON]")
    if len(rest) > 1:
        raise CorefileError(rest[1].position, "`ederror` takes CODE [REASON]: put the reason in quotes")
    reason = rest[0].text if rest else ""
    return replace(value, extended_error=(number(code, 0, MAX_EXTENDED_ERROR), reason))


def _fallthrough(value: Template, statement: Statement) -> Template:
    return replace(value, fallthrough=parse_fallthrough(statement))


_OPTIONS: dict[str, Option[Template]] = {
    "match": Option(_match, repeats=True),
    "answer": Option(_answer, repeats=True),
    "authority": Option(_authority, repeats=True),
    "additional": Option(_additional, repeats=True),
    "rcode": Option(_rcode),
    "ederror": Option(_ederror),
    "fallthrough": Option(_fallthrough),
}


@dataclass(frozen=True, slots=True)
class _Groups:
    """What every expression has, for any of them may be the one that matches."""

    count: int
    names: frozenset[str]


def _check_records(options: Sequence[Statement]) -> None:
    """Refuse what could not be filled in. It is known only when all options are read, for `match` may stand last."""
    patterns = [
        parse_regex(argument) for line in options if line.name.text == "match" for argument in line.arguments
    ]
    names = [frozenset(pattern.groupindex) for pattern in patterns]
    count = min((pattern.groups for pattern in patterns), default=0)
    groups = _Groups(count, names[0].intersection(*names) if names else frozenset())
    for line in options:
        if line.name.text in _SECTIONS:
            for argument in line.arguments:
                _check_record(argument, groups)


def _check_record(argument: Token, groups: _Groups) -> None:
    try:
        parts = parse_gaps(argument.text)
    except GapError as error:
        raise CorefileError(place(argument, error.offset), str(error)) from None
    for part in parts:
        if isinstance(part, Gap) and (problem := _problem(part.value, groups)):
            raise CorefileError(place(argument, part.offset), f"`{part.text}`: {problem}")
    filled = "".join("x" if isinstance(part, Gap) else part for part in parts)
    if len(filled.split()) < _MIN_WORDS:
        raise CorefileError(argument.position, f"`{argument.text}` is no record: put the whole of it in quotes")


def _problem(value: Value, groups: _Groups) -> str:
    """What is missing to fill a gap; empty for nothing."""
    source = value.digits if isinstance(value, Number) else value
    if isinstance(source, Field):
        return ""
    if isinstance(source.key, str):
        return "" if source.key in groups.names else f"each `match` must have a group `(?P<{source.key}>...)`"
    is_there = source.key <= groups.count
    return "" if is_there else f"each `match` must have that many groups `( )`; one has {groups.count}"
