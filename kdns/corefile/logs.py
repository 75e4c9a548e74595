"""The directives `errors` and `log`: what is logged, how loud, in which form.

In: statements. Out: model.Errors and model.Log, and back to lines. Not here: writing the log.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import Token
from kdns.corefile.logformat import COMMON_LOG_FORMAT, expand_format, shorten_format
from kdns.corefile.model import Consolidate, Errors, Log, LogLevel, ResponseClass
from kdns.corefile.options import (
    Option,
    choice,
    duration,
    flag,
    fold_body,
    one_argument,
    some_arguments,
    with_options,
)
from kdns.corefile.parser import Statement
from kdns.corefile.posix import spelled_out
from kdns.corefile.zones import parse_zones, zone_text
from kdns.wire.name import ROOT

MAX_PATTERN = 10_000  # characters, CoreDNS's own limit


def parse_errors(statement: Statement) -> Errors:
    """`errors [stdout] { ... }`. Raises CorefileError."""
    if statement.arguments and one_argument(statement, "stdout").text != "stdout":
        message = f"errors go to stdout, not to `{statement.arguments[0].text}`"
        raise CorefileError(statement.arguments[0].position, message)
    return fold_body(Errors(position=statement.position), statement, _ERRORS_OPTIONS)


def print_errors(errors: Errors) -> list[str]:
    """The lines of the directive."""
    options = ["    stacktrace"] if errors.stacktrace else []
    options += [f"    {_print_consolidate(one)}" for one in errors.consolidate]
    return ["errors {", *options, "}"] if options else ["errors"]


def parse_log(statement: Statement) -> Log:
    """`log [NAMES...] [FORMAT] { ... }`; as in CoreDNS, a last argument with a `{` in it is the format."""
    names, form = statement.arguments, COMMON_LOG_FORMAT
    if names and "{" in names[-1].text:
        names, form = names[:-1], _format(names[-1])
    for name in names:
        if "{" in name.text:
            raise CorefileError(name.position, "the format is one word: put it in quotes, behind the names")
    start = Log(parse_zones(names) or (ROOT,), form, frozenset(), position=statement.position)
    log = fold_body(start, statement, _LOG_OPTIONS)
    is_all = not log.classes or ResponseClass.ALL in log.classes
    return replace(log, classes=frozenset({ResponseClass.ALL})) if is_all else log


def print_log(log: Log) -> list[str]:
    """The lines of the directive."""
    form = shorten_format(log.format)
    words = [zone_text(name) for name in log.names] + ([] if form == "{common}" else [write(form)])
    head = " ".join(["log"] if words == ["."] else ["log", *words])
    options = [] if ResponseClass.ALL in log.classes else [f"class {_class_words(log)}"]
    if log.min_duration_ns is not None:
        options.append(f"minDuration {format_duration(log.min_duration_ns)}")
    return with_options(head, options)


def _consolidate(errors: Errors, statement: Statement) -> Errors:
    arguments = some_arguments(statement, "a duration and a regular expression")
    if not 2 <= len(arguments) <= 4:
        raise CorefileError(statement.position, "`consolidate` takes DURATION REGEXP [LEVEL] [show_first]")
    period, pattern, *rest = arguments
    if not duration(period):
        raise CorefileError(period.position, "errors cannot be consolidated over no time at all")
    _check_pattern(pattern)
    shows_first = bool(rest) and rest[-1].text == "show_first"
    levels = rest[: len(rest) - shows_first]
    if len(levels) > 1:
        raise CorefileError(levels[1].position, f"show_first expected, not `{levels[1].text}`")
    level = choice(levels[0], LogLevel) if levels else LogLevel.ERROR
    entry = Consolidate(duration(period), spelled_out(pattern.text), level, shows_first)
    return replace(errors, consolidate=(*errors.consolidate, entry))


def _check_pattern(pattern: Token) -> None:
    if len(pattern.text) > MAX_PATTERN:
        raise CorefileError(pattern.position, f"a regular expression longer than {MAX_PATTERN} characters")
    try:
        # Python warns of patterns that it may read differently one day, such as Go's [[:^alpha:]]: better refused.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(spelled_out(pattern.text))
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise CorefileError(pattern.position, f"`{pattern.text}` is no regular expression: {error}") from None


def _print_consolidate(entry: Consolidate) -> str:
    level = [] if entry.level is LogLevel.ERROR else [entry.level.value]
    first = ["show_first"] if entry.show_first else []
    return " ".join(["consolidate", format_duration(entry.period_ns), write(entry.pattern), *level, *first])


def _format(argument: Token) -> str:
    try:
        return expand_format(argument.text)
    except ValueError as error:
        raise CorefileError(argument.position, str(error)) from None


def _class(log: Log, statement: Statement) -> Log:
    arguments = some_arguments(statement, "at least one of all, denial, error, success")
    return replace(log, classes=log.classes.union(choice(word, ResponseClass) for word in arguments))


def _class_words(log: Log) -> str:
    return " ".join(sorted(kind.value for kind in log.classes))


def _min_duration(log: Log, statement: Statement) -> Log:
    return replace(log, min_duration_ns=duration(one_argument(statement, "a duration")))


_ERRORS_OPTIONS: dict[str, Option[Errors]] = {
    "stacktrace": flag(lambda errors: replace(errors, stacktrace=True)),
    "consolidate": Option(_consolidate, repeats=True),
}
_LOG_OPTIONS: dict[str, Option[Log]] = {
    "class": Option(_class, repeats=True),
    "minDuration": Option(_min_duration),
}
