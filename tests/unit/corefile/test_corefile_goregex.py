"""Regular expressions: what Go and Python read alike is taken, all else is refused with its offset."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kdns.corefile.goregex import MAX_PATTERN, MAX_POSITIONS, RegexError, check_regex
from kdns.corefile.posix import spelled_out

AMBIGUOUS = "a repetition within a repetition can match one text in many ways"


@pytest.mark.parametrize(
    ("text", "name", "groups"),
    [
        (r"(.*)-(us-west-1)\.example\.org", "ftp-us-west-1.example.org.", ("ftp", "us-west-1")),
        (r"^(?:[^.]+\.){4,}internal\.cloudapp\.net\.$", "a.b.c.d.internal.cloudapp.net.", ()),
        (r"(^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)[.]example[.]$", "x.ip-1-2.example.", (".", "1", "2")),
        (r"([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*example", "a-b.example.", ("a-b.", "-b")),
        (r"(\d{1,3}-?){4}", "10-0-0-7.default.pod.", ("7",)),
        (r"(?i)FOO|(?i:B)ar", "foo.", ()),
        (r"\bdb\d+\.|\x61[]a][^]a]\W\S\D\w\s?\t?", "db12.", ()),
        (r"(.*)\.(.*)\.svc", "a.b.c.svc.", ("a.b", "c")),
        ("", "anything.", ()),
    ],
)
def test_what_is_accepted_finds_what_go_finds(text: str, name: str, groups: tuple[str, ...]) -> None:
    found = check_regex(text).search(name)
    assert found is not None
    assert found.groups() == groups


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("a(?=b)", 1, "behind `(?` can stand only"),
        ("(?<a>x)", 0, "behind `(?` can stand only `:`, `P<name>` and the flags i, m and s"),
        ("(?U)a", 0, "behind `(?` can stand only"),
        ("(?P=a)", 0, "behind `(?` can stand only"),
        (r"(a)\1", 3, r"`\1`: it is not the same in Go and in Python"),
        (r"x\pL", 1, r"`\p`: names are ASCII"),
        (r"\Qa.b\E", 0, r"`\Q`: put a backslash before each"),
        (r"a\z", 1, r"`\z`: write `$`"),
        (r"a\Z", 1, r"`\Z`: write `$`"),
        ("[[:^alpha:]]", 1, "there is no such class: write the characters out, as in [a-z]"),
        ("[a", 0, "this `[` is never closed"),
        ("[]", 0, "this `[` is never closed"),
        ("(a", 0, "this `(` is never closed"),
        ("a)", 1, "this `)` closes nothing"),
        ("*a", 0, "nothing stands before this `*` that it could repeat"),
        ("a|+", 2, "nothing stands before this `+`"),
        ("a**", 2, "a repetition of a repetition"),
        ("a++", 2, "a repetition of a repetition"),
        ("a{2}{3}", 4, "a repetition of a repetition"),
        ("a{,3}", 1, "Go reads `{,` as plain characters, Python does not"),
        ("a{1001}", 1, "a repetition counts from low to high, up to 1000"),
        ("a{3,2}", 1, "a repetition counts from low to high"),
        ("[z-a]", 1, "a range goes from one character to a later one"),
        (r"[a-\d]", 1, "a range goes from one character to a later one"),
        ("a(?i)b", 1, "flags stand at the very start, as in `(?i)`, or in a group"),
        ("\\", 0, "`\\`: it is not the same"),
        ("(" * 60, 50, "groups more than 50 deep"),
        ("a" * (MAX_POSITIONS + 1), MAX_POSITIONS, "it has more than 500 characters and sets"),
        ("a" * (MAX_PATTERN + 1), 0, "it is longer than 10000 characters"),
    ],
)
def test_what_only_one_of_them_reads_so_is_refused_where_it_stands(text: str, offset: int, message: str) -> None:
    with pytest.raises(RegexError) as caught:
        check_regex(text)
    assert str(caught.value).startswith(message)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "text",
    ["(a+)+$", "(a|a)*x", "(a|ab|b)*c", r"(.*\.)*x", "((a*)*)*", "(a{1,100}){1,100}x", "(?i)(a|A)*", "(x*a?x*)*y"],
)
def test_a_repetition_that_could_take_for_ever_is_refused(text: str) -> None:
    with pytest.raises(RegexError, match=AMBIGUOUS):
        check_regex(text)


def test_an_expression_that_would_take_long_to_check_is_refused() -> None:
    with pytest.raises(RegexError, match="too many repetitions to be checked"):
        check_regex("[a-z]*" * 250)


# Strung together, these make expressions of all shapes, right and wrong.
PIECES = [*"ab.()|*+?^$\\", "[ab]", "[^a]", "(?:", "{2}", "{1,}", r"\d", r"\."]
EXPRESSIONS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def outcome(text: str) -> re.Pattern[str] | RegexError:
    try:
        return check_regex(text)
    except RegexError as error:
        return error


@given(st.one_of(EXPRESSIONS, st.text(max_size=20)))
def test_any_text_is_an_expression_or_an_error_inside_it(text: str) -> None:
    found = outcome(text)
    if isinstance(found, RegexError):
        assert 0 <= found.offset <= len(text)
    else:
        assert found == re.compile(spelled_out(text), re.ASCII)


@given(EXPRESSIONS)
def test_what_is_accepted_fails_on_a_long_name_in_time(text: str) -> None:
    """With an exponential expression this would not end while the universe lasts."""
    assume(not isinstance(outcome(text), RegexError))  # `)|(` is one only between brackets
    found = outcome(f"(?:{text})!")
    assert isinstance(found, RegexError) or found.search("ab" * 12 + "a" * 12 + "b" * 12) is None


POSIX = {
    "alnum": "aZ5 _-", "alpha": "aZ5", "ascii": "a\x7f\x80", "blank": "\t \n", "cntrl": "\x01\x7fa", "digit": "59a",
    "graph": "a! ", "lower": "aZ", "print": "a \t", "punct": "!/:@[`{~a5 \\]", "space": "\t\v a", "upper": "aZ",
    "word": "a_-", "xdigit": "afFgG",
}  # fmt: skip
MATCHES = {
    "alnum": "aZ5", "alpha": "aZ", "ascii": "a\x7f", "blank": "\t ", "cntrl": "\x01\x7f", "digit": "59",
    "graph": "a!", "lower": "a", "print": "a ", "punct": "!/:@[`{~\\]", "space": "\t\v ", "upper": "Z", "word": "a_",
    "xdigit": "afF",
}  # fmt: skip


@pytest.mark.parametrize("name", POSIX)
def test_a_class_of_posix_is_what_it_is_in_go(name: str) -> None:
    pattern = check_regex(f"^[[:{name}:]]$")
    assert "".join(filter(pattern.search, POSIX[name])) == MATCHES[name]


@pytest.mark.parametrize(("text", "spelled"), [
    ("[[:digit:]a-f]+", "[0-9a-f]+"), ("[^[:upper:]]", "[^A-Z]"), ("[][:digit:]]", "[]0-9]"),
    (r"\[[:digit:]]", r"\[[:digit:]]"), ("[a[:digit:][:lower:]]b[:x]", "[a0-9a-z]b[:x]"), ("[:digit:]", "[:digit:]"),
    (r"[\]a][[:word:]]", r"[\]a][0-9A-Za-z_]"), ("[[^]:digit:]", "[[^]:digit:]"), ("a[", "a["),
])
def test_classes_are_spelled_out_in_sets_alone(text: str, spelled: str) -> None:
    assert spelled_out(text) == spelled
