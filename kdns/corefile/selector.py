"""Kubernetes label selectors: `a=b,c!=d,e in (x,y),f notin (z),!g,h` (k8s.io/apimachinery labels.Parse).

All requirements must hold. `!=` and `notin` hold for objects without the label, as in Kubernetes. The operators `>`
and `<` are not part of a selector on objects and are refused, as CoreDNS does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^\s=!(),<>]+")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_MAX_PREFIX = 253  # a DNS subdomain, as Kubernetes has it
_MAX_NAME = 63  # keys behind their prefix, and values
_SYMBOLS = frozenset("=!(),<>") | {"==", "!="}


class SelectorError(ValueError):
    """An expression that is no label selector; `offset` is the character, from 0, where it goes wrong."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


class Operator(Enum):
    """What a requirement asks of the label; the value is how it is written."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "!"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition. `values` are sorted and unique, and empty for EXISTS and ABSENT; `=` is IN with one value."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets the condition."""
        return _MATCH[self.operator](self, labels)

    def __str__(self) -> str:
        return _WRITE[self.operator](self)


_MATCH: dict[Operator, Callable[[Requirement, Mapping[str, str]], bool]] = {
    Operator.IN: lambda r, labels: r.key in labels and labels[r.key] in r.values,
    Operator.NOT_IN: lambda r, labels: r.key not in labels or labels[r.key] not in r.values,
    Operator.EXISTS: lambda r, labels: r.key in labels,
    Operator.ABSENT: lambda r, labels: r.key not in labels,
}
_WRITE: dict[Operator, Callable[[Requirement], str]] = {
    Operator.IN: lambda r: _write_values(r, "=", "in"),
    Operator.NOT_IN: lambda r: _write_values(r, "!=", "notin"),
    Operator.EXISTS: lambda r: r.key,
    Operator.ABSENT: lambda r: f"!{r.key}",
}


def _write_values(requirement: Requirement, sign: str, word: str) -> str:
    if len(requirement.values) == 1:
        return f"{requirement.key}{sign}{requirement.values[0]}"
    return f"{requirement.key} {word} ({','.join(requirement.values)})"


@dataclass(frozen=True, slots=True)
class Selector:
    """All of these requirements; none of them selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def parse_selector(expression: str) -> Selector:
    """The selector that the expression spells. Raises SelectorError."""
    if not expression.strip():
        return Selector()
    parser = _Parser(expression)
    requirements = [parser.requirement()]
    while parser.accept(","):
        requirements.append(parser.requirement())
    parser.expect_end()
    return Selector(tuple(requirements))


class _Parser:
    """A cursor over the expression; one method per rule."""

    def __init__(self, expression: str) -> None:
        found = _TOKEN.finditer(expression)
        # The end of the expression is a token too, an empty one.
        self._tokens = [(token.group(), token.start()) for token in found] + [("", len(expression))]
        self._at = 0

    def _peek(self) -> tuple[str, int]:
        """The next token and its offset."""
        return self._tokens[self._at]

    def accept(self, wanted: str) -> bool:
        text, _ = self._peek()
        self._at += text == wanted
        return text == wanted

    def _word(self) -> tuple[str, int]:
        """The next word and its offset; an empty one where a symbol or the end stands."""
        text, start = self._peek()
        if text in _SYMBOLS or not text:
            return "", start
        self._at += 1
        return text, start

    def expect_end(self) -> None:
        text, start = self._peek()
        if text:
            raise SelectorError(start, f"`,` or the end expected, not `{text}`")

    def requirement(self) -> Requirement:
        if self.accept("!"):
            return Requirement(self._key(), Operator.ABSENT)
        key = self._key()
        text, start = self._peek()
        if text in ("", ","):
            return Requirement(key, Operator.EXISTS)
        rule = _OPERATORS.get(text)
        if rule is None:
            raise SelectorError(start, f"an operator expected (=, ==, !=, in, notin), not `{text}`")
        self.accept(text)
        operator, is_set = rule
        return Requirement(key, operator, self._set() if is_set else (self._value(),))

    def _key(self) -> str:
        text, start = self._word()
        prefix, slash, name = text.rpartition("/")
        good_prefix = not slash or (len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix))
        if text in ("in", "notin") or not good_prefix or len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            raise SelectorError(start, f"a label key expected, not `{text}`" if text else "a label key expected")
        return text

    def _value(self) -> str:
        text, start = self._word()
        if text and (len(text) > _MAX_NAME or not _NAME.fullmatch(text)):
            raise SelectorError(start, f"`{text}` is no label value")
        return text

    def _set(self) -> tuple[str, ...]:
        _, start = self._peek()
        if not self.accept("("):
            raise SelectorError(start, "`(` expected")
        values = {self._value()}
        while self.accept(","):
            values.add(self._value())
        _, start = self._peek()
        if not self.accept(")"):
            raise SelectorError(start, "`,` or `)` expected")
        return tuple(sorted(values))


_OPERATORS = {
    "=": (Operator.IN, False),
    "==": (Operator.IN, False),
    "!=": (Operator.NOT_IN, False),
    "in": (Operator.IN, True),
    "notin": (Operator.NOT_IN, True),
}
