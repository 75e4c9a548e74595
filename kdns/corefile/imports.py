"""Snippets `(name) { ... }` and `import`: several texts become one flat list of tokens.

Rules, those of CoreDNS: a snippet is defined before it is imported; `import` takes one snippet name, file or pattern
with at most one wildcard, relative to the file that the line stands in; a pattern may match nothing, a plain path may
not. Files are read by a callable handed in, so this module does no IO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from kdns.corefile.environment import expand
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Kind, Token, lex

Read = Callable[[str], Sequence[tuple[str, str]]]
"""Reads the files that a path or pattern names: (path, text) each, in the order to be taken; none is an empty result.

May raise OSError, and CorefileError from `decode`.
"""

# How deep imports may stand in each other. Real configurations use two levels; a chain of ten is a mistake, and each
# level is a level of recursion here.
MAX_IMPORT_DEPTH = 10
# How many imports one configuration may expand in all, CoreDNS's own limit: ten levels of a few imports each would
# otherwise grow without end.
MAX_IMPORTS = 1000


def no_files(_pattern: str) -> Sequence[tuple[str, str]]:
    """The reader of a configuration that has no files to import."""
    return ()


def flatten(text: str, file: str, read: Read, environment: Mapping[str, str]) -> tuple[list[Token], tuple[str, ...]]:
    """All tokens with imports and snippets put in, and the files they came from. Raises CorefileError."""
    flattener = _Flattener(read, environment)
    flattener.file(file, text, (file,))
    return flattener.tokens, tuple(dict.fromkeys(flattener.files))


class _Flattener:
    """Walks texts in the order of reading; dies when the list is whole."""

    def __init__(self, read: Read, environment: Mapping[str, str]) -> None:
        self.tokens: list[Token] = []
        self.files: list[str] = []
        self._read = read
        self._environment = environment
        self._snippets: dict[str, tuple[Position, list[Token]]] = {}
        self._depth = 0
        self._imports = 0

    def file(self, path: str, text: str, chain: tuple[str, ...]) -> None:
        """Take all of a file; `chain`: the files and snippets that led here, this one last."""
        self.files.append(path)
        self._walk(expand(lex(text, path), self._environment), chain)

    def _walk(self, tokens: list[Token], chain: tuple[str, ...]) -> None:
        at = 0
        while at < len(tokens):
            if self._is_import(tokens[at]):
                self._import(tokens[at : at + 3], chain)
                at += 2
            elif self._depth == 0 and _is_snippet(tokens[at : at + 2]):
                at = self._define(tokens, at)
            else:
                self._take(tokens[at])
                at += 1

    def _is_import(self, token: Token) -> bool:
        opens_statement = token.starts_line or (self.tokens and self.tokens[-1].kind is Kind.OPEN)
        return token.kind is Kind.WORD and token.text == "import" and bool(opens_statement)

    def _take(self, token: Token) -> None:
        self._depth = max(0, self._depth + {Kind.OPEN: 1, Kind.CLOSE: -1}.get(token.kind, 0))
        self.tokens.append(token)

    def _define(self, tokens: list[Token], at: int) -> int:
        """Keep the snippet whose name stands at `at`; returns the index behind its closing brace."""
        name, end = tokens[at], _matching_brace(tokens, at + 1)
        if name.text in self._snippets:
            first, _ = self._snippets[name.text]
            raise CorefileError(name.position, f"the snippet {name.text} is already defined at {first}")
        body = tokens[at + 2 : end]
        self._snippets[name.text] = (name.position, [replace(t, starts_line=True) for t in body[:1]] + body[1:])
        return end + 1

    def _import(self, statement: list[Token], chain: tuple[str, ...]) -> None:
        target = _target(statement)
        self._imports += 1
        if self._imports > MAX_IMPORTS:
            raise CorefileError(target.position, f"more than {MAX_IMPORTS} imports in one configuration")
        snippet = f"({target.text})"
        if snippet in self._snippets:
            self._walk(self._snippets[snippet][1], _extend(chain, snippet, target))
            return
        for path, text in self._files(target):
            self.file(path, text, _extend(chain, path, target))

    def _files(self, target: Token) -> Sequence[tuple[str, str]]:
        is_pattern = _is_pattern(target)
        pattern = str(PurePosixPath(target.position.file).parent / target.text)
        try:
            found = self._read(pattern)
        except OSError as error:
            raise CorefileError(target.position, f"cannot read {pattern}: {error.strerror or error}") from None
        if not found and not is_pattern:
            hint = f"no file {pattern}, and no snippet ({target.text}) is defined above this line"
            raise CorefileError(target.position, f"nothing to import: {hint}")
        return found


def _is_snippet(head: list[Token]) -> bool:
    """Whether these two tokens are `(name)` at the start of a line and `{`."""
    if len(head) < 2 or head[0].kind is not Kind.WORD or head[1].kind is not Kind.OPEN:
        return False
    name = head[0].text
    return head[0].starts_line and len(name) > 2 and name.startswith("(") and name.endswith(")")


def _matching_brace(tokens: list[Token], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        depth += {Kind.OPEN: 1, Kind.CLOSE: -1}.get(tokens[at].kind, 0)
        if depth == 0:
            return at
    raise CorefileError(tokens[opening].position, "this `{` is never closed: add a `}` on a line of its own")


def _target(statement: list[Token]) -> Token:
    """The argument of the `import` that starts `statement`, which reaches one token further than it should."""
    name, *rest = statement
    if not rest or rest[0].starts_line or not rest[0].is_word or not rest[0].text:
        raise CorefileError(name.position, "`import` takes a snippet name, a file or a pattern")
    if len(rest) > 1 and not rest[1].starts_line:
        message = "`import` takes one argument, and nothing may follow it on its line"
        raise CorefileError(rest[1].position, message)
    return rest[0]


def _is_pattern(target: Token) -> bool:
    text = target.text
    if text.count("*") > 1 or text.count("?") > 1 or ("[" in text and "]" in text):
        raise CorefileError(target.position, f"the pattern {text} may hold only one wildcard, `*` or `?`")
    return "*" in text or "?" in text


def _extend(chain: tuple[str, ...], link: str, target: Token) -> tuple[str, ...]:
    if link in chain:
        raise CorefileError(target.position, f"import cycle: {' -> '.join((*chain, link))}")
    if len(chain) > MAX_IMPORT_DEPTH:
        raise CorefileError(target.position, f"imports more than {MAX_IMPORT_DEPTH} deep: {' -> '.join(chain)}")
    return (*chain, link)
