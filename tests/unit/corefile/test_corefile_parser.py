"""The grammar: keys, braces, nesting, and the errors in them."""

from __future__ import annotations

import pytest

from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import lex
from kdns.corefile.parser import MAX_NESTING, Block, Statement, parse_blocks


def tree(text: str) -> list[tuple[list[str], list[object]]]:
    """The blocks as plain lists: keys, then [name, arguments..., body or nothing]."""
    return [([key.text for key in block.keys], _statements(block.statements)) for block in parse(text)]


def parse(text: str) -> tuple[Block, ...]:
    return parse_blocks(lex(text, "Corefile"))


def _statements(statements: tuple[Statement, ...]) -> list[object]:
    found: list[object] = []
    for statement in statements:
        words: list[object] = [statement.name.text, *(argument.text for argument in statement.arguments)]
        found.append(words if statement.body is None else [*words, _statements(statement.body)])
    return found


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# nothing", []),
        ("a", [(["a"], [])]),
        ("a b:53", [(["a", "b:53"], [])]),
        ("a, b", [(["a", "b"], [])]),
        ("a,b", [(["a", "b"], [])]),
        ("a , b {\n}", [(["a", "b"], [])]),
        ("a,\nb,\n  c {\n}", [(["a", "b", "c"], [])]),
        ('"a" "" b {\n}', [(["a", "b"], [])]),
        ("a {\n}", [(["a"], [])]),
        ("a { }", [(["a"], [])]),
        ("a\n{\n any\n}", [(["a"], [["any"]])]),
        ("a\nany\nlog b c", [(["a"], [["any"], ["log", "b", "c"]])]),
        ("a,\nb\nany", [(["a", "b"], [["any"]])]),
        ("a {\n any\n}\nb {\n debug\n}", [(["a"], [["any"]]), (["b"], [["debug"]])]),
        ("a {\n any\n} b {\n}", [(["a"], [["any"]]), (["b"], [])]),
        ("a { any\n}", [(["a"], [["any"]])]),
        ("a {\n k x {\n  o 1\n  p\n }\n any\n}", [(["a"], [["k", "x", [["o", "1"], ["p"]]], ["any"]])]),
        ("a {\n k {\n }\n}", [(["a"], [["k", []]])]),
        ("a {\n k { }\n}", [(["a"], [["k", []]])]),
        ("a {\n k { o 1\n }\n}", [(["a"], [["k", [["o", "1"]]]])]),
        ("a {\n k {\n  n {\n   o\n  }\n }\n}", [(["a"], [["k", [["n", [["o"]]]]]])]),
        ("a {\n log \\\n  b\n}", [(["a"], [["log", "b"]])]),
        ('a {\n log "x\ny" z\n}', [(["a"], [["log", "x\ny", "z"]])]),
        ('a {\n log "{" "}"\n}', [(["a"], [["log", "{", "}"]])]),
    ],
)
def test_texts_become_blocks_of_statements(text: str, expected: list[object]) -> None:
    assert tree(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n}", "Corefile:1:1: a server block starts with its zones"),
        ('"" {\n}', "Corefile:1:1: a server block starts with its zones"),
        ("}", "Corefile:1:1: unexpected `}`: no `{` is open here"),
        ("a {\n}\n}", "Corefile:3:1: unexpected `}`: no `{` is open here"),
        ("a\nany\n}", "Corefile:3:1: unexpected `}`: no `{` is open here"),
        ("a,", "Corefile:1:1: a zone must follow the comma"),
        ("a, {\n}", "Corefile:1:1: a zone must follow the comma"),
        ("a, b,\n{\n}", "Corefile:1:4: a zone must follow the comma"),
        ("a {\n any", "Corefile:1:3: this `{` is never closed"),
        ("a {\n k {\n }\n", "Corefile:1:3: this `{` is never closed"),
        ("a {\n k {\n o\n", "Corefile:2:4: this `{` is never closed"),
        ("a {\n k\n {\n }\n}", "Corefile:3:2: `{` belongs on the line of the directive that it opens"),
        ("a { {\n}\n}", "Corefile:1:5: `{` belongs on the line"),
        ("a { any }", "Corefile:1:9: `}` must stand at the start of a line"),
        ("a {\n k { o }\n}", "Corefile:2:8: `}` must stand at the start of a line"),
        ("a {\n k {\n } any\n}", "Corefile:3:4: nothing may follow the `}` of a directive"),
        ("a {\n k {\n } }", "Corefile:3:4: nothing may follow the `}` of a directive"),
        ("a{\n}", "Corefile:1:1: put a space before the `{` in `a{`"),
        ("a {\n k{\n }\n}", "Corefile:2:2: put a space before the `{` in `k{`"),
        ("a {\n k x{\n }\n}", "Corefile:2:4: put a space before the `{` in `x{`"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_keys_in_one_word_have_columns_of_their_own() -> None:
    (block,) = parse('  a.test,b.test "c.test,d.test" {\n}')
    assert [(key.text, key.position.column) for key in block.keys] == [
        ("a.test", 3),
        ("b.test", 10),
        ("c.test", 18),
        ("d.test", 25),
    ]


def test_a_statement_stands_where_its_name_stands() -> None:
    (block,) = parse("a {\n  any\n}")
    assert str(block.statements[0].position) == "Corefile:2:3"


def test_nesting_is_bounded() -> None:
    def nested(depth: int) -> str:
        return "a {\n" + "k {\n" * depth + "}\n" * depth + "}\n"

    assert len(parse(nested(MAX_NESTING - 1))) == 1
    assert f"braces more than {MAX_NESTING} deep" in refusal(nested(MAX_NESTING + 1))
    assert f"braces more than {MAX_NESTING} deep" in refusal(nested(100_000))
