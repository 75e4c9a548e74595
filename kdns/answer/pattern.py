"""Regular expressions that strangers' names are searched with, in linear time: those of `rewrite` and `template`.

Python's `re` tries one way after the other: `(.*)-(.*)-(.*)\\.x`, harmless in Go, takes it a second for a name of 253
hyphens, and a fourth group a minute. Here an expression is compiled to a program (as in RE2), and a search goes twice
along the text. Backwards: the instructions from which each place leads to a match, a set in the bits of an integer.
Forwards, from the first place where the program's start is among them: of the ways that lead to the match, the one
that trying one after the other would find first. What a set becomes at a character, and which way it lets one take,
is kept for the next time: 40 us for the longest name with an expression such as people write, at the worst 1 ms.

Understood is Go's syntax as far as it makes sense for names: characters, `.`, `[...]` with ranges and \\d \\w \\s,
`|`, `* + ? {2,5}` greedy and not, `( )`, `(?: )`, `(?P<name> )`, `(?i)`, `^ $ \\A \\b \\B`, and escapes. The text
of a name is ASCII without line breaks, so that the flags m and s change nothing.
Not here: what is made of the groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from kdns.wire.name import MAX_NAME_OCTETS

# A name of 255 octets has no more characters, unless octets in it have to be written as \DDD: no expression holds for
# such a name.
MAX_SUBJECT_CHARS = MAX_NAME_OCTETS

# Instructions of one expression; a character or a set is one, a choice two. Their number is that of bits in a set:
# with more, a name made for the expression would take more than 1 ms.
MAX_INSTRUCTIONS = 512
# Sets, and ways through them, that one expression remembers; 100 octets each. People's names lead to some dozens.
MAX_KEPT = 1024
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
_Places = tuple[bool, ...]  # which of the program's assertions hold at a place of a text

_OTHER = 128  # stands for all characters that are not ASCII
_CODES = range(_OTHER + 1)
_ALL = frozenset(_CODES)


class Pattern:
    """An expression, compiled. Raises PatternError."""

    __slots__ = ("_assertions", "_closures", "_moves", "_program", "_reads", "_slots", "names")

    def __init__(self, text: str) -> None:
        parser = _Parser(text)
        program = [*_group(parser.whole(), 0), _Instruction(_Op.MATCH)]
        if len(program) > MAX_INSTRUCTIONS:
            raise PatternError(f"it is too long: {len(program)} characters, sets and choices, of {MAX_INSTRUCTIONS}")
        self._program = program
        self._slots = 2 * parser.groups
        self._reads = [_bits(at for at, one in enumerate(program) if code in one.characters) for code in _CODES]
        self._assertions = tuple(dict.fromkeys(one.holds for one in program if one.holds))
        self._closures: dict[_Places, _Closure] = {}
        self._moves: dict[tuple[int, int], _Move] = {}
        self.names: dict[str, int] = parser.names  # of groups, to their numbers

    def search(self, text: str) -> tuple[str, ...] | None:
        """The match and its groups, "" for one that took no part; None if the expression is nowhere in the text."""
        if len(text) > MAX_SUBJECT_CHARS:
            return None
        ways = self._ways(bytes(min(ord(character), _OTHER) for character in text))
        start = next((place for place, here in enumerate(ways) if here & 1), None)
        if start is None:
            return None
        places = self._follow(start, ways)
        pairs = zip(places[::2], places[1::2], strict=True)
        return tuple(text[begin:end] if end >= 0 else "" for begin, end in pairs)

    def _ways(self, codes: bytes) -> list[int]:
        """For each place, and the end, the instructions from which a match can be reached there."""
        size, reads, end = len(codes), self._reads, 1 << len(self._program) - 1
        here = self._closure(codes, size).of(end)
        ways = [here]
        for place in range(size - 1, -1, -1):
            here = self._closure(codes, place).of(here >> 1 & reads[codes[place]] | end)
            ways.append(here)
        ways.reverse()
        return ways

    def _closure(self, codes: bytes, place: int) -> _Closure:
        holding = tuple([holds(codes, place) for holds in self._assertions])
        closure = self._closures.get(holding)
        if closure is None:
            closure = _Closure(self._program, dict(zip(self._assertions, holding, strict=True)))
            self._closures[holding] = closure
        return closure

    def _follow(self, place: int, ways: list[int]) -> list[int]:
        """The places of all groups of the match that begins here. Each turn reads a character."""
        moves, places = self._moves, [-1] * self._slots
        at = 0
        while True:
            key = at, ways[place]
            move = moves.get(key)
            if move is None:
                if len(moves) >= MAX_KEPT:
                    moves.clear()
                move = moves[key] = _move(self._program, *key)
            for slot in move.saves:
                places[slot] = place
            if move.at < 0:
                return places
            at = move.at + 1
            place += 1


class _Closure:
    """Sets of instructions, extended by those that lead to one of them without reading a character.

    holding: whether each assertion of the program does.
    """

    __slots__ = ("_before", "_kept", "_octets", "_rows")

    def __init__(self, program: _Program, holding: dict[_Assertion, bool]) -> None:
        before: list[list[int]] = [[] for _ in program]
        for at, one in enumerate(program):
            for target in _targets(at, one, holding):
                before[target].append(at)
        self._before = [_bits(_reached(at, before)) for at in range(len(program))]
        self._octets = (len(program) + 7) // 8
        self._rows: list[list[int]] = [[] for _ in range(self._octets)]
        self._kept: dict[int, int] = {}

    def of(self, ways: int) -> int:
        """The set with all that leads to it."""
        whole = self._kept.get(ways)
        if whole is None:
            whole = 0
            for number, octet in enumerate(ways.to_bytes(self._octets, "little")):
                if octet:
                    whole |= (self._rows[number] or self._row(number))[octet]
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[ways] = whole
        return whole

    def _row(self, number: int) -> list[int]:
        """For each value of one octet of a set, what leads to the instructions in it."""
        row = self._rows[number]
        row.append(0)
        for before in self._before[8 * number : 8 * number + 8]:
            row += [others | before for others in row]
        return row


class _Move(NamedTuple):
    """From an instruction to the next one that reads a character, -1 for the end; slots to be noted on the way."""

    at: int
    saves: tuple[int, ...]


def _move(program: _Program, at: int, ways: int) -> _Move:
    """The first way, of those that lead to a match, as trying one after the other would find it.

    An instruction that was tried already has led in a circle. stack: other ways to go, and how many slots were noted.
    """
    saves: list[int] = []
    stack = [(at, 0)]
    while stack:
        at, noted = stack.pop()
        del saves[noted:]
        while ways >> at & 1:
            ways ^= 1 << at
            one = program[at]
            if one.op == _Op.CHARACTER:
                return _Move(at, tuple(saves))
            if one.op == _Op.MATCH:
                return _Move(-1, tuple(saves))
            if one.op == _Op.SAVE:
                saves.append(one.first)
            if one.op == _Op.SPLIT:
                stack.append((at + one.second, len(saves)))
                at += one.first
            else:
                at += 1
    raise AssertionError("an instruction that leads to a match has no way there")


def _targets(at: int, one: _Instruction, holding: dict[_Assertion, bool]) -> tuple[int, ...]:
    """Where an instruction leads without reading a character."""
    if one.op == _Op.SPLIT:
        return at + one.first, at + one.second
    return (at + 1,) if one.op == _Op.SAVE or (one.holds and holding[one.holds]) else ()


def _reached(at: int, following: list[list[int]]) -> set[int]:
    reached, fresh = {at}, [at]
    while fresh:
        new = set(following[fresh.pop()]) - reached
        reached |= new
        fresh += new
    return reached


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in numbers)


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


def _one_of(ways: list[_Program]) -> _Program:
    """Halved again and again, so that there are few choices on the way to each."""
    if len(ways) == 1:
        return ways[0]
    middle = len(ways) // 2
    return _either(_one_of(ways[:middle]), _one_of(ways[middle:]))


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
        return _one_of(ways)

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
