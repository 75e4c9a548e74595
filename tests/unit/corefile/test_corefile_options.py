"""The rules that directives and options share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import pytest

from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import lex
from kdns.corefile.options import (
    Option,
    choice,
    fold,
    fold_body,
    no_arguments,
    number,
    one_argument,
    some_arguments,
)
from kdns.corefile.parser import Statement, parse_blocks


class Fruit(Enum):
    APPLE = "apple"
    PEAR = "pear"


@dataclass(frozen=True)
class Basket:
    words: tuple[str, ...] = ()


def put(basket: Basket, statement: Statement) -> Basket:
    return replace(basket, words=(*basket.words, *(argument.text for argument in statement.arguments)))


OPTIONS = {"once": Option(put), "often": Option(put, repeats=True), "deep": Option(put, has_body=True)}


def statements(text: str) -> tuple[Statement, ...]:
    (block,) = parse_blocks(lex(f"x\n{text}", "C"))
    return block.statements


def statement(text: str) -> Statement:
    (found,) = statements(text)
    return found


def unknown(found: Statement) -> CorefileError:
    return CorefileError(found.position, f"what is {found.name.text}?")


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        fold(Basket(), statements(text), OPTIONS, unknown)
    return str(caught.value)


def test_statements_are_applied_in_their_order() -> None:
    assert fold(Basket(), statements("often a\nonce b\noften c d"), OPTIONS, unknown) == Basket(("a", "b", "c", "d"))


def test_nothing_to_apply_leaves_the_start() -> None:
    assert fold(Basket(("a",)), (), OPTIONS, unknown) == Basket(("a",))


def test_an_option_given_twice_names_its_first_place() -> None:
    assert refusal("once a\noften b\nonce c") == "C:4:1: `once` is already given at C:2:1"


def test_braces_are_taken_only_where_an_option_has_them() -> None:
    assert fold(Basket(), statements("deep a {\n}"), OPTIONS, unknown) == Basket(("a",))
    assert refusal("often a {\n}") == "C:2:1: `often` takes no `{ }`"


def test_the_caller_words_the_error_for_an_unknown_name() -> None:
    assert refusal("once\nnever {\n}") == "C:3:1: what is never?"


def test_the_body_of_a_statement_is_read_by_its_own_table() -> None:
    assert fold_body(Basket(), statement("outer {\n once a\n often b\n}"), OPTIONS) == Basket(("a", "b"))
    assert fold_body(Basket(), statement("outer"), OPTIONS) == Basket()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onse", "C:3:2: `outer` has no option `onse`: did you mean `once`?"),
        ("zzz", "C:3:2: `outer` has no option `zzz`"),
        ("later", "C:3:2: `later`: not before next year"),
    ],
)
def test_an_unknown_option_names_its_directive_and_the_nearest_option(name: str, message: str) -> None:
    with pytest.raises(CorefileError) as caught:
        fold_body(Basket(), statement(f"outer {{\n {name}\n}}"), OPTIONS, {"later": "not before next year"})
    assert str(caught.value) == message


def test_arguments_are_counted() -> None:
    assert one_argument(statement("o a"), "a word").text == "a"
    assert [argument.text for argument in some_arguments(statement("o a b"), "words")] == ["a", "b"]
    no_arguments(statement("o"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("o", "C:2:1: `o` needs a word"),
        ("o a b", "C:2:5: `o` takes one argument, a word"),
        ('o ""', "C:2:3: an argument"),
    ],
)
def test_one_argument_is_exactly_one_and_not_empty(text: str, message: str) -> None:
    with pytest.raises(CorefileError) as caught:
        one_argument(statement(text), "a word")
    assert str(caught.value).startswith(message)


def test_no_arguments_means_none_not_even_an_empty_one() -> None:
    with pytest.raises(CorefileError, match=r"^C:2:3: `o` takes no argument$"):
        no_arguments(statement('o ""'))


def test_a_choice_is_one_of_the_values_of_its_enumeration() -> None:
    (argument,) = statement("o pear").arguments
    assert choice(argument, Fruit) is Fruit.PEAR
    (argument,) = statement("o plum").arguments
    with pytest.raises(CorefileError, match=r"^C:2:3: one of apple, pear expected, not `plum`$"):
        choice(argument, Fruit)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("007", 7), ("4294967295", 4294967295)])
def test_numbers_are_whole_and_in_range(text: str, value: int) -> None:
    (argument,) = statement(f"o {text}").arguments
    assert number(argument, 0, 2**32 - 1) == value


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "1e3", "0x10", "1_000", "²", "4294967296", "1" * 11, '" 1"'])
def test_what_is_no_number_in_range_is_refused(text: str) -> None:
    (argument,) = statement(f"o {text}").arguments
    with pytest.raises(CorefileError, match=r"^C:2:3: a number from 0 to 4294967295 expected"):
        number(argument, 0, 2**32 - 1)
