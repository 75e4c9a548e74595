"""Reading statements by a table: the same rules for the directives of a block and for the options of a directive.

A table maps a name to an Option; applying one takes the value built so far and returns the next. Unknown names,
options given twice and superfluous arguments are errors here and nowhere else. Here, too: how a directive with its
options is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from kdns.corefile.duration import parse_duration
from kdns.corefile.errors import CorefileError, Position, nearest
from kdns.corefile.lexer import Token
from kdns.corefile.parser import Statement

T = TypeVar("T")
E = TypeVar("E", bound=Enum)


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """How a statement changes the value it belongs to; whether it may be given again, and may have braces."""

    apply: Callable[[T, Statement], T]
    repeats: bool = False
    has_body: bool = False


def fold(
    start: T,
    statements: Iterable[Statement],
    options: Mapping[str, Option[T]],
    unknown: Callable[[Statement], CorefileError],
) -> T:
    """`start` changed by each statement in turn; `unknown` makes the error for one that the table lacks."""
    value = start
    seen: dict[str, Position] = {}
    for statement in statements:
        name = statement.name.text
        option = options.get(name)
        if option is None:
            raise unknown(statement)
        if name in seen and not option.repeats:
            raise CorefileError(statement.position, f"`{name}` is already given at {seen[name]}")
        if statement.body is not None and not option.has_body:
            raise CorefileError(statement.position, f"`{name}` takes no `{{ }}`")
        seen.setdefault(name, statement.position)
        value = option.apply(value, statement)
    return value


def fold_body(
    start: T,
    statement: Statement,
    options: Mapping[str, Option[T]],
    refused: Mapping[str, str] | None = None,
) -> T:
    """`start` changed by the options in the braces of `statement`; `refused`: why known ones are not taken."""

    def unknown(option: Statement) -> CorefileError:
        name = option.name.text
        if refused and name in refused:
            return CorefileError(option.position, f"`{name}`: {refused[name]}")
        message = f"`{statement.name.text}` has no option `{name}`{nearest(name, options)}"
        return CorefileError(option.position, message)

    return fold(start, statement.body or (), options, unknown)


def flag(raised: Callable[[T], T]) -> Option[T]:
    """An option that says all by being there; `raised` makes the value that has it."""

    def apply(value: T, statement: Statement) -> T:
        no_arguments(statement)
        return raised(value)

    return Option(apply)


def with_options(head: str, options: Iterable[str]) -> list[str]:
    """The lines of a directive with these options, which stand in braces, indented; without any there are none."""
    lines = [f"    {option}" for option in options]
    return [f"{head} {{", *lines, "}"] if lines else [head]


def no_arguments(statement: Statement) -> None:
    """Refuse any argument."""
    if statement.arguments:
        message = f"`{statement.name.text}` takes no argument"
        raise CorefileError(statement.arguments[0].position, message)


def one_argument(statement: Statement, what: str) -> Token:
    """The only argument, which is `what`."""
    if len(statement.arguments) > 1:
        message = f"`{statement.name.text}` takes one argument, {what}"
        raise CorefileError(statement.arguments[1].position, message)
    return some_arguments(statement, what)[0]


def some_arguments(statement: Statement, what: str) -> tuple[Token, ...]:
    """The arguments, at least one and none of them empty, which are `what`."""
    if not statement.arguments:
        raise CorefileError(statement.position, f"`{statement.name.text}` needs {what}")
    for argument in statement.arguments:
        if not argument.text:
            message = f"an argument of `{statement.name.text}` is empty: is the environment variable in it set?"
            raise CorefileError(argument.position, message)
    return statement.arguments


def choice(argument: Token, choices: type[E]) -> E:
    """The member of the enumeration whose value the argument spells."""
    try:
        return choices(argument.text)
    except ValueError:
        values = ", ".join(member.value for member in choices)
        raise CorefileError(argument.position, f"one of {values} expected, not `{argument.text}`") from None


def number(argument: Token, lowest: int, highest: int) -> int:
    """The whole number that the argument spells, in this range."""
    text = argument.text
    # No range in a Corefile has more than ten digits, and int() is slow, or refuses, on endless ones.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and lowest <= int(text) <= highest):
        message = f"a number from {lowest} to {highest} expected, not `{text}`"
        raise CorefileError(argument.position, message)
    return int(text)


def duration(argument: Token) -> int:
    """The nanoseconds that the argument spells. Raises CorefileError."""
    try:
        return parse_duration(argument.text)
    except ValueError as error:
        raise CorefileError(argument.position, str(error)) from None
