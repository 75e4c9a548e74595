"""The grammar of a Corefile: tokens to server blocks of directives, whatever the directives mean.

    corefile  := block*                     with one block only, its braces may be left out
    block     := key [","] key ... "{" statement* "}"
    statement := word word* ["{" statement* "}"]

Rules, those of CoreDNS: a comma behind a key lets the next one stand on the next line; the `{` of a block may stand
on the next line, that of a directive may not; a `}` opens its line unless it directly follows its `{`.
Not here: snippets and imports, which are gone by now (imports.py); what keys and directives mean (build.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Kind, Token

# Directives nest two deep in every known plugin; each level costs recursion here.
MAX_NESTING = 16


@dataclass(frozen=True, slots=True)
class Statement:
    """A directive or an option: its name, its arguments, and the statements in its braces (None: no braces)."""

    name: Token
    arguments: tuple[Token, ...] = ()
    body: tuple[Statement, ...] | None = None

    @property
    def position(self) -> Position:
        """Where its name stands."""
        return self.name.position


@dataclass(frozen=True, slots=True)
class Block:
    """A server block: its keys, one token each and without commas, and its directives."""

    keys: tuple[Token, ...]
    statements: tuple[Statement, ...]


def parse_blocks(tokens: list[Token]) -> tuple[Block, ...]:
    """The server blocks that the tokens spell. Raises CorefileError."""
    parser = _Parser(tokens)
    blocks = []
    while parser.peek():
        blocks.append(parser.block())
    return tuple(blocks)


class _Parser:
    """A cursor over the tokens; one method per rule of the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _accept(self, kind: Kind) -> Token | None:
        token = self.peek()
        if token is None or token.kind is not kind:
            return None
        self._at += 1
        return token

    def block(self) -> Block:
        keys = self._keys()
        opening = self._accept(Kind.OPEN)
        return Block(keys, self._statements(opening, 1))

    def _keys(self) -> tuple[Token, ...]:
        first = self._tokens[self._at]
        keys: list[Token] = []
        wants_more = True
        while (token := self.peek()) and token.is_word and (wants_more or not token.starts_line):
            self._at += 1
            _refuse_glued_brace(token)
            keys += _split_key(token)
            wants_more = token.text.endswith(",")
        if first.kind is Kind.CLOSE:
            raise CorefileError(first.position, "unexpected `}`: no `{` is open here")
        if keys and wants_more:
            raise CorefileError(self._tokens[self._at - 1].position, "a zone must follow the comma")
        if not keys:
            raise CorefileError(first.position, "a server block starts with its zones, as in `example.org {`")
        return tuple(keys)

    def _statements(self, opening: Token | None, depth: int) -> tuple[Statement, ...]:
        """The statements up to the `}` that matches `opening`; without `opening`, up to the end of the file."""
        found: list[Statement] = []
        while token := self.peek():
            if token.kind is Kind.CLOSE:
                self._close(token, opening)
                return tuple(found)
            if token.kind is Kind.OPEN:
                raise CorefileError(token.position, "`{` belongs on the line of the directive that it opens")
            found.append(self._statement(depth))
        if opening:
            raise CorefileError(opening.position, "this `{` is never closed: add a `}` on a line of its own")
        return tuple(found)

    def _close(self, token: Token, opening: Token | None) -> None:
        if opening is None:
            raise CorefileError(token.position, "unexpected `}`: no `{` is open here")
        self._at += 1

    def _statement(self, depth: int) -> Statement:
        if depth > MAX_NESTING:
            raise CorefileError(self._tokens[self._at].position, f"braces more than {MAX_NESTING} deep")
        start = self._at
        self._at += 1
        while (token := self.peek()) and token.is_word and not token.starts_line:
            self._at += 1
        name, *arguments = self._tokens[start : self._at]
        _refuse_glued_brace(self._tokens[self._at - 1])
        return Statement(name, tuple(arguments), self._body(depth))

    def _body(self, depth: int) -> tuple[Statement, ...] | None:
        token = self.peek()
        if token is None or token.starts_line:
            return None
        if token.kind is Kind.CLOSE:
            raise CorefileError(token.position, "`}` must stand at the start of a line")
        self._at += 1
        body = self._statements(token, depth + 1)
        if (after := self.peek()) and not after.starts_line:
            raise CorefileError(after.position, "nothing may follow the `}` of a directive on its line")
        return body


def _refuse_glued_brace(last: Token) -> None:
    """Refuse `example.org{` as the last word of a line, which CoreDNS would read as one odd word."""
    if last.kind is Kind.WORD and last.text.endswith("{"):
        raise CorefileError(last.position, f"put a space before the `{{` in `{last.text}`")


def _split_key(token: Token) -> list[Token]:
    """The keys in one word, which commas may part; columns stay true. An empty word is none."""
    keys, column = [], token.position.column + (token.kind is Kind.QUOTED)
    for text in token.text.split(","):
        if text:
            keys.append(replace(token, text=text, position=replace(token.position, column=column)))
        column += len(text) + 1
    return keys
