"""The words of a Corefile: text to tokens, and a word back to text.

Rules, those of CoreDNS's Caddyfile lexer: words are parted by white space; `#` starts a comment, also inside a word;
`"..."` is one word that may span lines, in which only `\\"` is an escape; a quote inside a word is a plain character;
`{` and `}` are braces when they stand alone, unquoted. Two things are ours: a backslash right before the end of a
line joins it with the next (CoreDNS does not know that), and what CoreDNS would guess at is an error here: a quote
that is never closed, a control character.

Not here: environment variables (environment.py), imports (imports.py), the meaning of words (parser.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from kdns.corefile.errors import CorefileError, Position

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_PIECE = re.compile(
    r"""(?P<newline>\n)
      | (?P<continuation>\\\r?\n)
      | (?P<space>[^\S\n]+)
      | (?P<comment>\#[^\n]*)
      | "(?P<quoted>(?:[^"\\]|\\.)*)"
      | (?P<unclosed>")
      | (?P<word>(?:(?!\\\r?\n)[^\s\#])+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Inside quotes a backslash pairs with the character behind it and stays itself unless that is a quote. So an odd
# number of backslashes can stand neither before a quote nor at the end.
_UNQUOTABLE = re.compile(r'(?<!\\)(?:\\\\)*\\(?:"|\Z)')
_PLAIN = re.compile(r'(?!")[^\s#]*[^\s#\\{]')


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted word"
    OPEN = "{"
    CLOSE = "}"


@dataclass(frozen=True, slots=True)
class Token:
    """One word or brace. `starts_line`: nothing but white space stands before it on its (joined) line."""

    kind: Kind
    text: str
    position: Position
    starts_line: bool

    @property
    def is_word(self) -> bool:
        """Whether this is a word, quoted or not, and no brace."""
        return self.kind in (Kind.WORD, Kind.QUOTED)


def decode(data: bytes, file: str) -> str:
    """The text of a configuration file, without its byte order mark; CorefileError where it is not UTF-8."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        line_start = before.rfind("\n") + 1
        at = Position(file, before.count("\n") + 1, len(before) - line_start + 1)
        raise CorefileError(at, f"octet 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8") from None


def lex(text: str, file: str) -> list[Token]:
    """All tokens of one text. `file` names it in positions. Raises CorefileError."""
    text = text.removeprefix("\ufeff")
    _refuse_control_characters(text, file)
    return list(_tokens(text, file))


def _tokens(text: str, file: str) -> Iterator[Token]:
    line, line_start, starts_line = 1, 0, True
    for piece in _PIECE.finditer(text):
        kind = piece.lastgroup or ""
        if kind in _MAKE:
            at = Position(file, line, piece.start() - line_start + 1)
            yield _MAKE[kind](piece, at, starts_line)
        if newlines := piece.group().count("\n"):
            line, line_start = line + newlines, piece.start() + piece.group().rfind("\n") + 1
        starts_line = kind == "newline" or (starts_line and kind not in _MAKE)


def _word(piece: re.Match[str], at: Position, starts_line: bool) -> Token:
    text = piece.group()
    kind = Kind(text) if text in ("{", "}") else Kind.WORD
    return Token(kind, text, at, starts_line)


def _quoted(piece: re.Match[str], at: Position, starts_line: bool) -> Token:
    text = _ESCAPED.sub(lambda pair: '"' if pair[1] == '"' else pair[0], piece["quoted"])
    return Token(Kind.QUOTED, text, at, starts_line)


def _unclosed(_piece: re.Match[str], at: Position, _starts_line: bool) -> Token:
    raise CorefileError(at, 'this quote is never closed: end the word with `"`, and write a `"` inside it as `\\"`')


_MAKE = {"word": _word, "quoted": _quoted, "unclosed": _unclosed}


def _refuse_control_characters(text: str, file: str) -> None:
    if found := _CONTROL.search(text):
        line_start = text.rfind("\n", 0, found.start()) + 1
        at = Position(file, text.count("\n", 0, found.start()) + 1, found.start() - line_start + 1)
        raise CorefileError(at, f"control character U+{ord(found.group()):04X}: a Corefile is plain text")


def quote(word: str) -> str:
    """`word` as a Corefile writes it, in quotes only where needed.

    Raises ValueError for the few texts that no Corefile can hold.
    """
    if _CONTROL.search(word):
        raise ValueError("it holds a control character")
    if _PLAIN.fullmatch(word) and word not in ("{", "}"):
        return word
    if _UNQUOTABLE.search(word):
        raise ValueError('it needs quotes, and a backslash before a `"` or at the end cannot be written in quotes')
    return '"' + word.replace('"', '\\"') + '"'
