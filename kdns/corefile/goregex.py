"""Regular expressions of a Corefile: Go's syntax (RE2), as far as Python's `re` means the same by it.

What is accepted can be given to `re` as it is, with `re.ASCII`, and finds in a name's text what Go would find. The
text of a name holds no line break, so that `$` is its end for both. What one of the two reads differently, or not at
all, is refused with its place; so is a repetition within a repetition that could match the same text in many ways:
Go's time is linear, but `re` would try them all, and the name comes from a stranger.

The second check builds the automaton of positions (Glushkov's): each character set of the expression is one, and
`follow` says which may come next. It is ambiguous if two walks from a position back to it read the same text.
Not here: matching.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Kind, Token
from kdns.corefile.posix import CLASS, CLASSES, spelled_out

MAX_PATTERN = 10_000  # characters, CoreDNS's own limit
MAX_REPEAT = 1000  # Go's own limit
MAX_NESTING = 50  # each level is one of recursion here; Go's limit is 1000
# A repetition of so few turns is counted as none: what it multiplies stays small.
_FEW = 10
# Character sets of one expression, and steps of the check, which takes the square of the sets that can repeat: far
# beyond any expression for names, and done in a fraction of a second.
MAX_POSITIONS = 500
MAX_STEPS = 200_000

_ALL = (1 << 129) - 1  # a bit for each ASCII character, and the highest for all others
_CLASSES = {
    "d": sum(1 << ord(c) for c in "0123456789"),
    "s": sum(1 << ord(c) for c in " \t\n\f\r"),
    "w": sum(1 << c for c in range(128) if chr(c).isalnum() or chr(c) == "_"),
}
_CLASSES |= {name.upper(): _ALL & ~mask for name, mask in _CLASSES.items()}
_NAMED_CLASSES = {
    name: sum(1 << c for c in range(128) if re.fullmatch(f"[{members}]", chr(c))) for name, members in CLASSES.items()
}
_CONTROL = {"t": "\t", "n": "\n", "f": "\f", "r": "\r", "v": "\v", "a": "\a"}
_UPPER = sum(1 << c for c in range(ord("A"), ord("Z") + 1))
_LOWER = _UPPER << 32
_EMPTY_ESCAPES = frozenset("bBA")
_WHY_NOT = {
    "z": "write `$`",
    "Z": "write `$`",
    "Q": "put a backslash before each special character instead",
    "p": "names are ASCII: write the characters out, as in [a-z]",
    "P": "names are ASCII: write the characters out, as in [^a-z]",
    "C": "write `.`",
}
_AMBIGUOUS = "a repetition within a repetition can match one text in many ways, and trying them takes for ever"
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{2}")
_COUNT = re.compile(r"\{([0-9]{1,9})(,?)([0-9]{0,9})\}")
_NAMED = re.compile(r"\?P<([A-Za-z_][A-Za-z0-9_]*)>")
_FLAGS = re.compile(r"\?([ims]*)(?:-([ims]+))?([:)])")


class RegexError(ValueError):
    """What is wrong with an expression, and the offset of the character where."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(offset, message)
        self.offset = offset
        self.message = message

    def __str__(self) -> str:
        return self.message


def parse_regex(argument: Token) -> re.Pattern[str]:
    """The compiled expression that a word spells. Raises CorefileError."""
    try:
        return check_regex(argument.text)
    except RegexError as error:
        at = place(argument, error.offset)
        raise CorefileError(at, f"`{argument.text}` cannot be used as a regular expression: {error}") from None


def place(argument: Token, offset: int) -> Position:
    """Where the character at `offset` of a word stands, which is exact unless a `\\"` is before it."""
    position = argument.position
    return Position(position.file, position.line, position.column + offset + (argument.kind is Kind.QUOTED))


def check_regex(text: str) -> re.Pattern[str]:
    """The compiled expression, to be used with `search`. Raises RegexError."""
    if len(text) > MAX_PATTERN:
        raise RegexError(0, f"it is longer than {MAX_PATTERN} characters")
    parser = _Parser(text)
    parser.whole()
    if parser.automaton.is_ambiguous():
        raise RegexError(0, _AMBIGUOUS)
    try:
        # Python warns of patterns that it may read differently one day: better refused.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(spelled_out(text), re.ASCII)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise RegexError(getattr(error, "pos", None) or 0, str(error)) from None


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an expression: the positions it may begin and end with, and whether it may be empty."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    is_nullable: bool = True


@dataclass(slots=True)
class _Automaton:
    """sets: the characters of each position. follow: what may come next; twice, if in two ways."""

    sets: list[int] = field(default_factory=list)
    follow: list[list[int]] = field(default_factory=list)
    steps: int = 0

    def position(self, characters: int, offset: int) -> _Part:
        if len(self.sets) >= MAX_POSITIONS:
            raise RegexError(offset, f"it has more than {MAX_POSITIONS} characters and sets")
        self.sets.append(characters)
        self.follow.append([])
        only = (len(self.sets) - 1,)
        return _Part(only, only, is_nullable=False)

    def joined(self, left: _Part, right: _Part) -> _Part:
        self._link(left, right)
        return _Part(
            left.first + right.first if left.is_nullable else left.first,
            left.last + right.last if right.is_nullable else right.last,
            left.is_nullable and right.is_nullable,
        )

    def repeated(self, part: _Part) -> None:
        self._link(part, part)

    def _link(self, left: _Part, right: _Part) -> None:
        for end in left.last:
            self.follow[end] += right.first

    def is_ambiguous(self) -> bool:
        """Whether two walks of one text lead from a position to itself."""
        return any(self._has_two_ways(start) for start in range(len(self.sets)))

    def _has_two_ways(self, start: int) -> bool:
        """A state is two walks that read one text: where they stand, and whether they have parted in between."""
        seen: set[tuple[int, int, bool]] = set()
        stack = [(start, start, False)]
        while stack:
            for state in self._steps(*stack.pop()):
                if state == (start, start, True):
                    return True
                if state not in seen:
                    seen.add(state)
                    stack.append(state)
        return False

    def _steps(self, left: int, right: int, has_parted: bool) -> Iterator[tuple[int, int, bool]]:
        ways = product(enumerate(self.follow[left]), enumerate(self.follow[right]))
        for (one, after), (other, beside) in ways:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise RegexError(0, "it has too many repetitions to be checked: make it simpler")
            if self.sets[after] & self.sets[beside]:
                yield after, beside, has_parted or after != beside or (left == right and one != other)


class _Parser:
    """A cursor over the expression; one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._ignores_case = False
        self.automaton = _Automaton()

    def whole(self) -> None:
        self._alternatives()
        if self._at < len(self._text):
            raise RegexError(self._at, "this `)` closes nothing")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _alternatives(self) -> _Part:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise RegexError(self._at, f"groups more than {MAX_NESTING} deep")
        part = self._sequence()
        while self._peek() == "|":
            self._at += 1
            other = self._sequence()
            is_nullable = part.is_nullable or other.is_nullable
            part = _Part(part.first + other.first, part.last + other.last, is_nullable)
        self._depth -= 1
        return part

    def _sequence(self) -> _Part:
        whole = _Part()
        while self._peek() not in ("", "|", ")"):
            whole = self.automaton.joined(whole, self._repetition(self._atom()))
        return whole

    def _repetition(self, part: _Part) -> _Part:
        bounds = self._bounds()
        if bounds is None:
            return part
        lowest, highest = bounds
        if self._peek() == "?":
            self._at += 1
        if self._peek() in ("*", "+", "?") or (self._peek() == "{" and _COUNT.match(self._text, self._at)):
            raise RegexError(self._at, "a repetition of a repetition: put the inner one in `(?: )`")
        if highest is None or highest > _FEW:
            self.automaton.repeated(part)
        return _Part(part.first, part.last, part.is_nullable or lowest == 0)

    def _bounds(self) -> tuple[int, int | None] | None:
        """The bounds of a repetition that stands here; None for none, and no upper bound."""
        simple: tuple[int, int | None] | None = _BOUNDS.get(self._peek())
        if simple is not None:
            self._at += 1
            return simple
        if self._text.startswith("{,", self._at):
            raise RegexError(self._at, "Go reads `{,` as plain characters, Python does not: write `{0,` or `\\{,`")
        count = _COUNT.match(self._text, self._at)
        if count is None:
            return None
        lowest = int(count[1])
        highest = int(count[3]) if count[3] else None if count[2] else lowest
        if max(lowest, highest or 0) > MAX_REPEAT or (highest is not None and lowest > highest):
            raise RegexError(self._at, f"a repetition counts from low to high, up to {MAX_REPEAT}")
        self._at = count.end()
        return lowest, highest

    def _atom(self) -> _Part:
        start, character = self._at, self._next()
        special = _ATOMS.get(character)
        if special is not None:
            return special(self, start)
        if character in ("*", "+", "?"):
            raise RegexError(start, f"nothing stands before this `{character}` that it could repeat")
        return self._position(_bit(character), start)

    def _position(self, characters: int, start: int) -> _Part:
        if self._ignores_case:
            characters |= (characters & _UPPER) << 32 | (characters & _LOWER) >> 32
        return self.automaton.position(characters, start)

    def _group(self, start: int) -> _Part:
        if self._peek() == "?" and self._opens_with_flags(start):
            return _Part()
        inner = self._alternatives()
        if self._next() != ")":
            raise RegexError(start, "this `(` is never closed")
        return inner

    def _opens_with_flags(self, start: int) -> bool:
        """Take what stands behind `(?`; whether that was all, as in `(?i)`."""
        found = _NAMED.match(self._text, self._at) or _FLAGS.match(self._text, self._at)
        if found is None:
            raise RegexError(start, "behind `(?` can stand only `:`, `P<name>` and the flags i, m and s")
        self._at = found.end()
        self._ignores_case |= found.re is _FLAGS and "i" in found[1]
        if not found.group().endswith(")"):
            return False
        if start != 0 or found[2]:
            raise RegexError(start, "flags stand at the very start, as in `(?i)`, or in a group, as in `(?i:...)`")
        return True

    def _any(self, start: int) -> _Part:
        return self._position(_ALL, start)

    def _anchor(self, _start: int) -> _Part:
        return _Part()

    def _escape(self, start: int) -> _Part:
        if self._peek() in _EMPTY_ESCAPES and self._peek():
            self._at += 1
            return _Part()
        return self._position(self._escaped(start), start)

    def _escaped(self, start: int) -> int:
        """The characters that the escape whose backslash is at `start` stands for."""
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROL:
            return _bit(_CONTROL[character])
        if character == "x" and (digits := _HEXADECIMAL.match(self._text, self._at)):
            self._at = digits.end()
            return _bit(chr(int(digits.group(), 16)))
        if not character or character.isalnum() or not character.isascii():
            why = _WHY_NOT.get(character, "it is not the same in Go and in Python, or not known to one of them")
            raise RegexError(start, f"`\\{character}`: {why}")
        return _bit(character)

    def _set(self, start: int) -> _Part:
        is_negated = self._peek() == "^"
        self._at += is_negated
        characters, is_first = 0, True
        while is_first or self._peek() != "]":
            if not self._peek():
                raise RegexError(start, "this `[` is never closed")
            characters |= self._range()
            is_first = False
        self._at += 1
        return self._position(_ALL & ~characters if is_negated else characters, start)

    def _range(self) -> int:
        start = self._at
        low = self._member()
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return low
        self._at += 1
        high = self._member()
        if low.bit_count() != 1 or high.bit_count() != 1 or low > high:
            raise RegexError(start, "a range goes from one character to a later one")
        return (high << 1) - low

    def _member(self) -> int:
        start = self._at
        named = CLASS.match(self._text, start)
        if named is not None:
            self._at = named.end()
            return _NAMED_CLASSES[named[1]]
        character = self._next()
        if character == "[" and self._peek() in (":", ".", "="):
            raise RegexError(start, "there is no such class: write the characters out, as in [a-z]")
        return self._escaped(start) if character == "\\" else _bit(character)


def _bit(character: str) -> int:
    return 1 << min(ord(character), 128)


_BOUNDS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_ATOMS: dict[str, Callable[[_Parser, int], _Part]] = {
    "(": _Parser._group,
    "[": _Parser._set,
    "\\": _Parser._escape,
    ".": _Parser._any,
    "^": _Parser._anchor,
    "$": _Parser._anchor,
}
