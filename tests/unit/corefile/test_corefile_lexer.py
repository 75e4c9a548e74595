"""Words, quotes, comments, continuation and positions of the lexer."""

from __future__ import annotations

import pickle

import pytest

from kdns.corefile.errors import CorefileError, Position, nearest
from kdns.corefile.lexer import Kind, Token, decode, lex, quote


def texts(text: str) -> list[str]:
    return [token.text for token in lex(text, "Corefile")]


def places(text: str) -> list[tuple[int, int]]:
    return [(token.position.line, token.position.column) for token in lex(text, "Corefile")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("\n\n", []),
        (" \t\n", []),
        ("a b c\nd e", ["a", "b", "c", "d", "e"]),
        ("a\tb\u00a0c\u2003d", ["a", "b", "c", "d"]),
        ("a\x0bb\x0cc", ["a", "b", "c"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("\ufeffa b", ["a", "b"]),
        ("zone größe.test", ["zone", "größe.test"]),
        ("{", ["{"]),
        ("{}", ["{}"]),
        ("a{ {b }c", ["a{", "{b", "}c"]),
    ],
)
def test_words_are_parted_by_white_space(text: str, words: list[str]) -> None:
    assert texts(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# all of it", []),
        ("a # b c\nd", ["a", "d"]),
        ("a#b c\nd", ["a", "d"]),
        ('# "not open\na', ["a"]),
        ("# not joined \\\na", ["a"]),
        ('"a # b" c', ["a # b", "c"]),
    ],
)
def test_a_hash_starts_a_comment_even_inside_a_word_but_not_inside_quotes(text: str, words: list[str]) -> None:
    assert texts(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"a b"', ["a b"]),
        ('""', [""]),
        ('"a\nb"', ["a\nb"]),
        ('"a\r\nb"', ["a\r\nb"]),
        (r'"say \"hi\""', ['say "hi"']),
        (r'"C:\dir\file"', [r"C:\dir\file"]),
        (r'"two \\ stay two"', [r"two \\ stay two"]),
        (r'"end\\"', [r"end\\"]),
        ('"a"b', ["a", "b"]),
        ('a"b c"', ['a"b', 'c"']),
        ('"{" "}"', ["{", "}"]),
    ],
)
def test_quotes_hold_anything_and_only_a_quote_is_escaped(text: str, words: list[str]) -> None:
    assert texts(text) == words


def test_only_braces_that_stand_alone_and_unquoted_are_braces() -> None:
    kinds = [token.kind for token in lex('{ "{" } "}" {} a', "Corefile")]
    assert kinds == [Kind.OPEN, Kind.QUOTED, Kind.CLOSE, Kind.QUOTED, Kind.WORD, Kind.WORD]
    assert [kind in (Kind.WORD, Kind.QUOTED) for kind in kinds] == [t.is_word for t in lex('{ "{" } "}" {} a', "")]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_backslash_before_the_end_of_a_line_joins_it_with_the_next(line_end: str) -> None:
    tokens = lex(f"file a \\{line_end}  b\\{line_end}c{line_end}d", "Corefile")
    assert [token.text for token in tokens] == ["file", "a", "b", "c", "d"]
    assert [token.starts_line for token in tokens] == [True, False, False, False, True]
    assert [token.position.line for token in tokens] == [1, 1, 2, 3, 4]


def test_a_backslash_elsewhere_is_part_of_its_word() -> None:
    assert texts("a\\ b \\ \\c") == ["a\\", "b", "\\", "\\c"]


def test_lines_and_columns_count_characters_from_one() -> None:
    assert places("a  bc\n\td # x\n  e") == [(1, 1), (1, 4), (2, 2), (3, 3)]
    assert places("ü é\r\nx") == [(1, 1), (1, 3), (2, 1)]
    assert places("\ufeffa") == [(1, 1)]


def test_positions_stay_true_behind_a_quoted_word_that_spans_lines() -> None:
    tokens = lex('a "b\nc" d\ne', "Corefile")
    assert [(t.position.line, t.position.column) for t in tokens] == [(1, 1), (1, 3), (2, 4), (3, 1)]
    assert [t.starts_line for t in tokens] == [True, False, False, True]


def test_a_quote_that_is_never_closed_is_an_error_where_it_opens() -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:2:3: this quote is never closed") as caught:
        lex('a\nb "c\nd\n', "Corefile")
    assert (caught.value.file, caught.value.line, caught.value.column) == ("Corefile", 2, 3)


@pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\x1c", "\x7f"])
def test_control_characters_are_refused_with_their_place(character: str) -> None:
    with pytest.raises(CorefileError, match=rf"^C:2:3: control character U\+{ord(character):04X}"):
        lex(f"a\nb {character}", "C")


def test_octets_that_are_not_utf8_are_refused_with_their_place() -> None:
    assert decode("\ufeffä b".encode(), "C") == "ä b"
    with pytest.raises(CorefileError, match=r"^C:2:3: octet 0xff is not UTF-8"):
        decode("a\nü b".encode()[:-1] + b"\xff", "C")
    with pytest.raises(CorefileError, match=r"^C:1:1: octet 0x80"):
        decode(b"\xef\xbb\xbf\x80", "C")


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("{common}", "{common}"),
        ("", '""'),
        ("{", '"{"'),
        ("}", '"}"'),
        ("a{", '"a{"'),
        ("a b", '"a b"'),
        ("a#b", '"a#b"'),
        ('"a', '"\\"a"'),
        ('a"b', 'a"b'),
        ('a "b"', '"a \\"b\\""'),
        ("a\nb", '"a\nb"'),
        (r"a\b", r"a\b"),
        (r"a\b c", r'"a\b c"'),
        ("end\\\\", '"end\\\\"'),
        (r"a\"b", r"a\"b"),
    ],
)
def test_quoting_writes_what_the_lexer_reads_back(word: str, written: str) -> None:
    assert quote(word) == written
    assert texts(f"x {written}\n") == ["x", word]


@pytest.mark.parametrize("word", ["end\\", "a b\\", 'a \\"b', 'a \\\\\\"b', "nul\0"])
def test_what_no_corefile_can_hold_is_not_quoted(word: str) -> None:
    with pytest.raises(ValueError, match="it "):
        quote(word)


def test_positions_of_flags_have_no_line() -> None:
    assert str(Position("--listen")) == "--listen"
    assert str(Position("Corefile", 3, 5)) == "Corefile:3:5"


def test_the_error_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(CorefileError(Position("Corefile", 3, 5), "no")))
    assert str(error) == "Corefile:3:5: no"
    assert error.message == "no"


def test_the_nearest_name_is_found_or_nothing_is_said() -> None:
    assert nearest("kubernets", ["kubernetes", "file"]) == ": did you mean `kubernetes`?"
    assert nearest("zzz", ["kubernetes", "file"]) == ""
    assert nearest("x" * 1_000_000, ["kubernetes"]) == ""


def test_tokens_know_their_kind() -> None:
    assert Token(Kind.QUOTED, "a", Position(), False).is_word
    assert not Token(Kind.OPEN, "{", Position(), False).is_word
