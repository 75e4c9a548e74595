"""Regular expressions that strangers' names are searched with, in linear time: those of `rewrite` and `template`.

Python's `re` tries one way after the other: `(.*)-(.*)-(.*)\\.x`, harmless in Go, takes it a second for a name of 253
hyphens, and a fourth group a minute. Here an expression is compiled to a program (as in RE2), and no instruction is
tried twice at one place of the text: a search takes at most instructions times characters, and its first match is the
one that trying one way after the other would find.

Understood is Go's syntax as far as it makes sense for names: characters, `.`, `[...]` with ranges and \\d \\w \\s,
`|`, `* + ? {2,5}` greedy and not, `( )`, `(?: )`, `(?P<name> )`, `(?i)`, `^ $ \\A \\b \\B`, and escapes. The text
of a name is ASCII without line breaks, so that the flags m and s change nothing.
Not here: what is made of the groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from kdns.wire.name import MAX_NAME_OCTETS

# A name of 255 octets has no more characters, unless octets in it have to be written as \DDD: no expression holds for
# such a name.
MAX_SUBJECT_CHARS = MAX_NAME_OCTETS

# Instructions of one expression. Times the characters they are a search's steps, 0.3 us each: 80 ms at the worst, and
# with the 30 or so of an expression such as people write 3 ms, for a name made for it; 0.1 ms for others.
MAX_INSTRUCTIONS = 1000
MAX_NESTING = 50  # groups in each other; each is one of recursion here
MAX_REPEAT = 1000  # Go's limit of a counted repetition


class PatternError(ValueError):
    """An expression that is none, or one that is not understood here; the message says why, and where."""


class _Op(IntEnum):
    """What an instruction does. Jumps are relative."""

    CHARACTER = 0  # one of a set; go on
    SPLIT = 1  # go on at the one jump, and if that leads nowhere, at the other
    SAVE = 2  # note the place as a group's start or end
    ASSERT = 3  # go on if it holds here
    MATCH = 4


_Assertion = Callable[[bytes, int], bool]


class _Instruction(NamedTuple):
    op: _Op
    characters: frozenset[int] = frozenset()
    first: int = 0  # jump, or slot of SAVE
    second: int = 0
    holds: _Assertion | None = None


_Program = list[_Instruction]

_OTHER = 128  # stands for all characters that are not ASCII
_ALL = frozenset(range(_OTHER + 1))


class Pattern:
    """An expression, compiled. Raises PatternError."""

    __slots__ = ("_program", "_slots", "names")

    def __init__(self, text: str) -> None:
        parser = _Parser(text)
        program = parser.whole()
        self._program = [*_group(program, 0), _Instruction(_Op.MATCH)]
        self._slots = 2 * parser.groups
        self.names: dict[str, int] = parser.names  # of groups, to their numbers

    def search(self, text: str) -> tuple[str, ...] | None:
        """The match and its groups, "" for one that took no part; None if the expression is nowhere in the text."""
        if len(text) > MAX_SUBJECT_CHARS:
            return None
        codes = bytes(min(ord(character), _OTHER) for character in text)
        seen = bytearray(len(self._program) * (len(codes) + 1))
        for start in range(len(codes) + 1):
            places = self._match(codes, start, seen)
            if places is not None:
                pairs = zip(places[::2], places[1::2], strict=True)
                return tuple(text[begin:end] if end >= 0 else "" for begin, end in pairs)
        return None

    def _match(self, codes: bytes, start: int, seen: bytearray) -> list[int] | None:
        """The places of all groups of the first match that begins at `start`.

        seen: what was tried at which place, from earlier starts too: it led nowhere then, and would again.
        stack: other ways to go, as instruction and place; below 0, a place to be noted again as it was.
        """
        program, size, row = self._program, len(codes), len(codes) + 1
        places = [-1] * self._slots
        stack = [(0, start)]
        while stack:
            at, place = stack.pop()
            if at < 0:
                places[~at] = place
                continue
            while not seen[at * row + place]:
                seen[at * row + place] = 1
                op, characters, first, second, holds = program[at]
                if op == _Op.CHARACTER:
                    if place == size or codes[place] not in characters:
                        break
                    place += 1
                    at += 1
                elif op == _Op.SPLIT:
                    stack.append((at + second, place))
                    at += first
                elif op == _Op.SAVE:
                    stack.append((~first, places[first]))
                    places[first] = place
                    at += 1
                elif op == _Op.MATCH:
                    return places
                elif holds is None or not holds(codes, place):
                    break
                else:
                    at += 1
        return None


# Programs


def _jump(to: int) -> _Instruction:
    return _Instruction(_Op.SPLIT, first=to, second=to)


def _split(program_length: int, greedy: bool) -> _Instruction:
    """Go into the program that follows, or pass it."""
    inside, past = 1, program_length + 1
    return _Instruction(_Op.SPLIT, first=inside if greedy else past, second=past if greedy else inside)


def _group(program: _Program, number: int) -> _Program:
    start = _Instruction(_Op.SAVE, first=2 * number)
    return [start, *program, _Instruction(_Op.SAVE, first=2 * number + 1)]


def _either(one: _Program, other: _Program) -> _Program:
    return [_split(len(one) + 1, True), *one, _jump(len(other) + 1), *other]


def _repeated(program: _Program, lowest: int, highest: int | None, greedy: bool) -> _Program:
    times = lowest + 1 if highest is None else highest
    if times * (len(program) + 1) > MAX_INSTRUCTIONS:
        raise PatternError(f"it is too long: written out, it may have {MAX_INSTRUCTIONS} characters and sets")
    optional: _Program = []
    if highest is None:
        optional = [_split(len(program) + 1, greedy), *program, _jump(-len(program) - 1)]
    for _ in range(times - lowest if highest is not None else 0):
        inner = program + optional
        optional = [_split(len(inner), greedy), *inner]
    return program * lowest + optional


# Expressions

_CLASSES = {
    "d": frozenset(b"0123456789"),
    "s": frozenset(b" \t\n\f\r"),
    "w": frozenset(b"0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
}
_CLASSES |= {name.upper(): _ALL - characters for name, characters in _CLASSES.items()}
_WORD = _CLASSES["w"]
_CONTROL = {"t": 9, "n": 10, "f": 12, "r": 13, "v": 11, "a": 7}
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{2}")
_COUNT = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")
_BOUNDS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_OPENING = re.compile(r"\?(?:P<([A-Za-z_][A-Za-z0-9_]*)>|([ims]*)([:)]))")


def _at_start(codes: bytes, place: int) -> bool:
    return place == 0


def _at_end(codes: bytes, place: int) -> bool:
    return place == len(codes)


def _at_edge(codes: bytes, place: int) -> bool:
    before = place > 0 and codes[place - 1] in _WORD
    return before != (place < len(codes) and codes[place] in _WORD)


def _not_at_edge(codes: bytes, place: int) -> bool:
    return not _at_edge(codes, place)


_ASSERTIONS: dict[str, _Assertion] = {"A": _at_start, "b": _at_edge, "B": _not_at_edge}


class _Parser:
    """A cursor over an expression; one method for each rule of the grammar, which gives a program."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._ignores_case = False
        self.groups = 1
        self.names: dict[str, int] = {}

    def whole(self) -> _Program:
        program = self._alternatives()
        if self._at < len(self._text):
            raise self._error("this `)` closes nothing")
        return program

    def _error(self, message: str) -> PatternError:
        return PatternError(f"{message} (character {self._at + 1} of `{self._text}`)")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _alternatives(self) -> _Program:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._error(f"groups more than {MAX_NESTING} deep")
        ways = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            ways.append(self._sequence())
        self._depth -= 1
        program = ways.pop()
        while ways:
            program = _either(ways.pop(), program)
        return program

    def _sequence(self) -> _Program:
        program: _Program = []
        while self._peek() not in ("", "|", ")"):
            program += self._repetition(self._atom())
            if len(program) > MAX_INSTRUCTIONS:
                raise self._error(f"it has more than {MAX_INSTRUCTIONS} characters and sets")
        return program

    def _repetition(self, program: _Program) -> _Program:
        bounds = _BOUNDS.get(self._peek())
        if bounds is not None:
            self._at += 1
        elif count := _COUNT.match(self._text, self._at):
            self._at = count.end()
            lowest = int(count[1])
            bounds = lowest, int(count[3]) if count[3] else None if count[2] else lowest
            if max(bounds[0], bounds[1] or 0) > MAX_REPEAT or (bounds[1] is not None and bounds[1] < lowest):
                raise self._error(f"a repetition counts from low to high, up to {MAX_REPEAT}")
        if bounds is None:
            return program
        is_lazy = self._peek() == "?"
        self._at += is_lazy
        if self._peek() in _BOUNDS and self._peek():
            raise self._error("a repetition of a repetition")
        return _repeated(program, *bounds, not is_lazy)

    def _atom(self) -> _Program:
        character = self._next()
        if character in _BOUNDS:
            self._at -= 1
            raise self._error("nothing stands here that could be repeated")
        special = _ATOMS.get(character)
        return special(self) if special else self._set_of(frozenset((min(ord(character), _OTHER),)))

    def _set_of(self, characters: frozenset[int]) -> _Program:
        if self._ignores_case:
            characters |= {ord(chr(code).swapcase()) for code in characters if code < _OTHER}
        return [_Instruction(_Op.CHARACTER, characters)]

    def _any(self) -> _Program:
        return [_Instruction(_Op.CHARACTER, _ALL)]

    def _start(self) -> _Program:
        return [_Instruction(_Op.ASSERT, holds=_at_start)]

    def _end(self) -> _Program:
        return [_Instruction(_Op.ASSERT, holds=_at_end)]

    def _grouped(self) -> _Program:
        ignored_case, number, is_over = self._ignores_case, 0, False
        if self._peek() == "?":
            is_over, number = self._opening()
        else:
            number = self._new_group()
        if is_over:  # `(?i)` holds up to the end of the group that it stands in; at the top level, of everything
            return []
        program = self._alternatives()
        if self._next() != ")":
            raise self._error("a `(` is never closed")
        self._ignores_case = ignored_case
        return _group(program, number) if number else program

    def _opening(self) -> tuple[bool, int]:
        """What stands behind `(?`: whether that was all, and the number of the group, 0 for none."""
        found = _OPENING.match(self._text, self._at)
        if found is None:
            raise self._error("behind `(?` can stand only `:`, `P<name>` and the flags i, m and s")
        self._at = found.end()
        if found[1]:
            if found[1] in self.names:
                raise self._error(f"two groups are named {found[1]}")
            self.names[found[1]] = number = self._new_group()
            return False, number
        self._ignores_case |= "i" in (found[2] or "")
        return found[3] == ")", 0

    def _new_group(self) -> int:
        self.groups += 1
        return self.groups - 1

    def _escape(self) -> _Program:
        assertion = _ASSERTIONS.get(self._peek())
        if assertion is None:
            return self._set_of(self._escaped())
        self._at += 1
        return [_Instruction(_Op.ASSERT, holds=assertion)]

    def _escaped(self) -> frozenset[int]:
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROL:
            return frozenset((_CONTROL[character],))
        if character == "x" and (digits := _HEXADECIMAL.match(self._text, self._at)):
            self._at = digits.end()
            return frozenset((min(int(digits.group(), 16), _OTHER),))
        if not character or character.isalnum() or not character.isascii():
            raise self._error(f"`\\{character}` is not known here")
        return frozenset((ord(character),))

    def _set(self) -> _Program:
        is_negated = self._peek() == "^"
        self._at += is_negated
        characters: frozenset[int] = frozenset()
        is_first = True
        while is_first or self._peek() != "]":
            if not self._peek():
                raise self._error("a `[` is never closed")
            characters |= self._range()
            is_first = False
        self._at += 1
        if not is_negated:
            return self._set_of(characters)
        [kept] = self._set_of(characters)
        return [_Instruction(_Op.CHARACTER, _ALL - kept.characters)]

    def _range(self) -> frozenset[int]:
        low = self._member()
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return low
        self._at += 1
        high = self._member()
        if len(low) != 1 or len(high) != 1 or min(low) > min(high):
            raise self._error("a range goes from one character to a later one")
        return frozenset(range(min(low), min(high) + 1))

    def _member(self) -> frozenset[int]:
        character = self._next()
        if character == "[" and self._peek() in (":", ".", "=") and self._peek():
            raise self._error("write the characters out, as in [a-z]")
        if character == "\\":
            return self._escaped()
        if not character:
            raise self._error("a `[` is never closed")
        return frozenset((min(ord(character), _OTHER),))


_ATOMS: dict[str, Callable[[_Parser], _Program]] = {
    "(": _Parser._grouped,
    "[": _Parser._set,
    "\\": _Parser._escape,
    ".": _Parser._any,
    "^": _Parser._start,
    "$": _Parser._end,
}
