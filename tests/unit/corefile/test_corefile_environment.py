"""`{$NAME}` and `{%NAME%}` in words."""

from __future__ import annotations

import pytest

from kdns.corefile.environment import expand, write
from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import Kind, lex

ENVIRONMENT = {
    "PORT": "1053",
    "ZONE": "example.org",
    "WORDS": "a b",
    "BRACE": "{",
    "LOOP": "{$LOOP}",
    "TAIL": "x\\",
    "BELL": "\x07",
    "odd name": "odd",
}


def expanded(text: str) -> list[str]:
    return [token.text for token in expand(lex(text, "Corefile"), ENVIRONMENT)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{$ZONE}", ["example.org"]),
        ("{$ZONE}:{$PORT}", ["example.org:1053"]),
        ("{%ZONE%}:{$PORT}", ["example.org:1053"]),
        ("{$ZONE}:{%PORT%}", ["example.org:1053"]),
        ("www.{$ZONE}.", ["www.example.org."]),
        ('"in {$ZONE} quotes"', ["in example.org quotes"]),
        ('"{$odd name}"', ["odd"]),
        ('"{{ .Name }} {$ZONE}"', ["{{ .Name }} example.org"]),
    ],
)
def test_references_are_replaced_anywhere_in_a_word(text: str, words: list[str]) -> None:
    assert expanded(text) == words


def test_a_variable_that_is_not_set_is_empty() -> None:
    assert expanded("{$UNSET} x{%UNSET%}y") == ["", "xy"]


def test_a_value_is_never_split_into_words() -> None:
    assert expanded("{$WORDS} c") == ["a b", "c"]


def test_a_value_is_never_a_brace() -> None:
    (token,) = expand(lex("{$BRACE}", "Corefile"), ENVIRONMENT)
    assert (token.kind, token.text) == (Kind.WORD, "{")


@pytest.mark.parametrize("text", ["{$}", "{%%}", "{%ZONE}", "{$ZONE", "$ZONE", "%ZONE%", "{ZONE}", "{common}"])
def test_what_is_no_whole_reference_stays(text: str) -> None:
    assert expanded(text) == [text]


@pytest.mark.parametrize("name", ["LOOP", "TAIL", "BELL"])
def test_a_value_that_no_corefile_can_hold_is_refused_where_it_is_used(name: str) -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:2:1: .* look at the values of its variables$"):
        expanded("a\n{$" + name + "}")


def test_a_word_that_cannot_be_written_again_is_refused() -> None:
    with pytest.raises(CorefileError, match=r"^Corefile:1:3: this word cannot be used: it needs quotes"):
        expanded("a b\\ c")


def test_writing_refuses_a_text_that_would_be_read_as_a_reference() -> None:
    assert write("a b") == '"a b"'
    with pytest.raises(ValueError, match="reference to an environment variable"):
        write("{$HOME}/x")
