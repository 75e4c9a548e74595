"""Regular expressions: they find what `re` finds, and take no longer for a hostile name."""

from __future__ import annotations

import re
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.pattern import MAX_INSTRUCTIONS, MAX_SUBJECT_CHARS, Pattern, PatternError
from tests.support.linework import lines_run


def plainly(text: str, subject: str) -> tuple[str, ...] | None:
    """What Python's `re` finds."""
    found = re.compile(text, re.ASCII).search(subject)
    return (found.group(), *found.groups("")) if found else None


@pytest.mark.parametrize("text", [
    r"(.*)-(us-west-1)\.coredns\.rocks", r"^ip-(?P<a>[0-9]*)\.example\.com\.$", r"a|ab|abc", r"(a|ab)(c|bcd)(d*)",
    r"(a+?)(a*)", r"(a??)b", r"x{2,3}y", r"x{2,}?", r"x{3}", r"(?:ab){1,2}?c?", r"[^.]+\.", r"[a-c-]+", r"[]a]+",
    r"[^]a]+", r"\bb\w", r"\Ba", r"\Aab$", r"(?i)AB[C-D]", r"(?i:a)b", r"\x61\.", r"\d+\D*\s?", r"", r"()",
    r"(a)|(b)", r"(?:(a)|b)+", r"(a|b)*c", r"^$", r"[\w.]+", r"[\d-]+", r"\.$", r"(?P<x>a)(?P<y>b)", r"{", r"a{x",
    r"\-\_", r"(?:[a-z0-9-]{1,9}\.){1,7}[a-z]+\.$",
])
@pytest.mark.parametrize("subject", [
    "ftp-us-west-1.coredns.rocks.", "ip-10.example.com.", "abcd", "aaab", "xxxyxx", "ababc", "a.b.c.", "", "AbD",
    "b-a]", "\\255.", "a 1", "{", "a{,2}", "-_",
])
def test_what_is_found_is_what_trying_one_way_after_the_other_finds(text: str, subject: str) -> None:
    assert Pattern(text).search(subject) == plainly(text, subject)


@pytest.mark.parametrize("text", [
    r"(.*)-(.*)-(.*)-(.*)\.x", r"(.*)\.(.*)\.(.*)\.(.*)\.(.*)\.x", r"(a+)+b", r"(a|a)*b", r"(.*)*x", r"(-?-?-?)*x",
    r"([a-]*)*([a-]*)*x",
])
@pytest.mark.parametrize("subject", ["-" * 254 + ".", "a." * 127, "a" * 254 + "."])
def test_no_place_is_tried_twice_for_a_hostile_name(text: str, subject: str) -> None:
    assert Pattern(text).search(subject) is None  # a fourth group takes `re` a minute, and (a+)+b for ever


def test_a_count_without_its_lowest_is_plain_characters_as_in_go() -> None:
    assert Pattern("a{,2}").search("xa{,2}") == ("a{,2}",)
    assert Pattern("a{,2}").search("aa") is None


def test_groups_are_known_by_name() -> None:
    found = Pattern(r"(x)?(?P<one>a)(?P<two>b)")
    assert found.names == {"one": 2, "two": 3}
    assert found.search("ab") == ("ab", "", "a", "b")


def test_a_name_with_more_characters_than_a_plain_one_has_is_not_searched() -> None:
    assert Pattern("a").search("a" * MAX_SUBJECT_CHARS) is not None
    assert Pattern("a").search("a" * (MAX_SUBJECT_CHARS + 1)) is None


def test_what_is_not_ascii_is_any_character() -> None:
    assert Pattern("^.[^a]$").search("\u00fc\u00fc") == ("\u00fc\u00fc",)
    assert Pattern("\u00fc").search("a") is None


@pytest.mark.parametrize(("text", "message"), [
    ("(", "never closed"), (")", "closes nothing"), ("a)b", "closes nothing"), ("[a", "never closed"),
    ("[", "never closed"), ("[a-", "never closed"), ("[a\\", "is not known here"),
    ("*", "could be repeated"), ("a**", "repetition of a repetition"), ("a+*", "repetition of a repetition"),
    (r"\p{L}", "is not known here"), (r"\Q", "is not known here"), ("\\", "is not known here"),
    ("a{3,2}", "low to high"), ("a{1001}", "low to high"), ("(?=a)", "behind `(?`"),
    ("(?P<a>x)(?P<a>y)", "two groups"), ("[z-a]", "a range goes"),
    ("[[:alpha:]]", "write the characters out"), ("(" * 60 + ")" * 60, "deep"), (r"[\d-z]", "a range goes"),
    ("(?:a{100}){100}", "too long"), ("a" * (MAX_INSTRUCTIONS + 1), "more than"),
    ("a|" * (MAX_INSTRUCTIONS // 2), "too long"),
])
def test_an_expression_that_is_none_is_refused_with_why(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=re.escape(message)):
        Pattern(text)


def test_an_error_says_where() -> None:
    with pytest.raises(PatternError, match=re.escape("(character 3 of `ab)`)")):
        Pattern("ab)")


ATOMS = st.sampled_from(["a", "b", "-", r"\.", ".", "[ab]", "[^a]", r"\w", r"\d"])
SUBJECTS = st.text("ab-.1", max_size=12)


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        inner.map(lambda text: f"({text})"),
        st.tuples(ATOMS, st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}", "{1,}"])).map("".join),
        # Repeated is only what is not empty: what a group holds after an empty turn differs between engines.
        st.tuples(ATOMS, inner, st.sampled_from(["*", "+", "?", "{0,2}"])).map(lambda of: f"({of[0]}{of[1]}){of[2]}"),
    )


EXPRESSIONS = st.recursive(ATOMS, _combined, max_leaves=6)


@given(EXPRESSIONS, SUBJECTS, st.sampled_from(["", "^"]), st.sampled_from(["", "$"]))
def test_random_expressions_find_what_re_finds(text: str, subject: str, start: str, end: str) -> None:
    whole = f"{start}(?:{text}){end}"
    assert Pattern(whole).search(subject) == plainly(whole, subject)


@given(st.text("ab*+?(){}[]|\\^$.,-1:P<>!=iw", max_size=12))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        found = Pattern(text)
    except PatternError:
        return
    found.search("ab-1.")
    assert len(found._program) <= MAX_INSTRUCTIONS


# Each is searched for in names that are as bad for it as names can be, all of them new to it.
COSTLY = [
    r"(.*)-(.*)-(.*)-(.*)\.x", r"(.*)\.(.*)\.(.*)\.(.*)\.(.*)\.x", "(a+)+b", "(?:.*)*x", r"(\w+)-(\w+)(\.\w+)*\bx?",
    "(.*)" * 20 + "$", r"[a-z-]{1,63}\.[a-z-]{1,63}\.[a-z]{1,63}\.$",
    "(?:" + "".join(f"{c}?" for c in "dcba-.") * 20 + ")*",
    "(?:" + "|".join(f"{x}{y}[a-z]" for x in "abcdefgh" for y in "abcdefg") + "|.)*", "(?:a{1,60}-{1,60}){1,2}x",
]
LONG = [
    "".join(random.choice(letters) for _ in range(MAX_SUBJECT_CHARS))
    for random in [Random(0)] for letters in ["ab-.", "abcdefgh-.", "a-", "a."] * 5
]


@pytest.mark.parametrize("text", COSTLY)
def test_a_long_name_takes_work_in_proportion_to_its_length_whatever_the_expression(text: str) -> None:
    found = Pattern(text)
    lines = [lines_run(partial(found.search, subject)) for subject in LONG]
    assert sum(lines) < 100 * len(lines) * MAX_SUBJECT_CHARS
    assert max(lines) < 1000 * MAX_SUBJECT_CHARS  # the first one, with which tables are made


@pytest.mark.parametrize("text", COSTLY)
@pytest.mark.parametrize("subject", ["a-" * 8, "ab.cd-", "aax.bcd.", "dcba-.dcba", "x"])
def test_costly_expressions_find_what_re_finds(text: str, subject: str) -> None:
    assert Pattern(text).search(subject) == plainly(text, subject)
