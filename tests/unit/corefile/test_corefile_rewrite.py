"""The directive `rewrite`: every field, in a line and in braces; and what is refused with its place."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError, parse_corefile, print_corefile
from kdns.corefile.plugins import Rewrite
from kdns.wire.rules import (
    AnswerField,
    AnswerRewrite,
    ClassRewrite,
    CnameRewrite,
    EdnsRemoval,
    MatchKind,
    NameMatch,
    NameRewrite,
    RcodeRewrite,
    RewriteRule,
    TtlRewrite,
    TypeRewrite,
)

EXACT, REGEX, SUFFIX = MatchKind.EXACT, MatchKind.REGEX, MatchKind.SUFFIX


def rewrites(text: str) -> tuple[Rewrite, ...]:
    corefile = parse_corefile(f". {{\n{text}\n}}")
    assert parse_corefile(print_corefile(corefile)) == corefile
    return corefile.blocks[0].rewrite


def rules(text: str) -> list[RewriteRule]:
    return [rewrite.rule for rewrite in rewrites(text)]


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(f". {{\n{text}\n}}")
    return str(caught.value)


def answer(field: str, pattern: str, to: str) -> AnswerRewrite:
    return AnswerRewrite(AnswerField(field), pattern, to)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("name A.test b.TEST", NameRewrite(NameMatch(EXACT, "a.test."), "b.test.", is_auto=True)),
        ("name exact a.test. b.test.", NameRewrite(NameMatch(EXACT, "a.test."), "b.test.", is_auto=True)),
        ("name prefix a. b.", NameRewrite(NameMatch(MatchKind.PREFIX, "a."), "b.")),
        ("name suffix .a.test .b.test", NameRewrite(NameMatch(SUFFIX, ".a.test."), ".b.test.")),
        ("name suffix .a.test .b.test answer auto", NameRewrite(NameMatch(SUFFIX, ".a.test."), ".b.test.", True)),
        ("name substring one two", NameRewrite(NameMatch(MatchKind.SUBSTRING, "one."), "two.")),
        ("name regex (.*)A {0}.{1}.b", NameRewrite(NameMatch(REGEX, "(.*)A"), "{0}.{1}.b.")),
        (
            "name regex (.*)-(x)\\.a {1}.s.{2}.b answer name (.*)\\.s\\.(x)\\.b {1}-{2}.a"
            " answer value (.*)\\.b {1}.a",
            NameRewrite(
                NameMatch(REGEX, "(.*)-(x)\\.a"),
                "{1}.s.{2}.b.",
                answers=(answer("name", "(.*)\\.s\\.(x)\\.b", "{1}-{2}.a."), answer("value", "(.*)\\.b", "{1}.a.")),
            ),
        ),
        (
            "name regex (.*) {1}.b answer auto value (.*)\\.b {1}.a",
            NameRewrite(NameMatch(REGEX, "(.*)"), "{1}.b.", True, (answer("value", "(.*)\\.b", "{1}.a."),)),
        ),
        ("type ANY hinfo", TypeRewrite(255, 13)),
        ("type TYPE65280 A", TypeRewrite(65280, 1)),
        ("class CH in", ClassRewrite(3, 1)),
        ("ttl a.test 30", TtlRewrite(NameMatch(EXACT, "a.test."), 30, 30)),
        ("ttl suffix .a.test 30-300", TtlRewrite(NameMatch(SUFFIX, ".a.test."), 30, 300)),
        ("ttl regex (.*)\\.a -300", TtlRewrite(NameMatch(REGEX, "(.*)\\.a"), 0, 300)),
        ("ttl a.test 30-", TtlRewrite(NameMatch(EXACT, "a.test."), 30, 2**31 - 1)),
        ("rcode a.test NXDOMAIN NOERROR", RcodeRewrite(NameMatch(EXACT, "a.test."), 3, 0)),
        ("rcode suffix .a.test 2 3", RcodeRewrite(NameMatch(SUFFIX, ".a.test."), 2, 3)),
        ("cname a.test b.test", CnameRewrite(NameMatch(EXACT, "a.test."), "b.test.")),
        ("cname regex (.*)\\.a {1}.b", CnameRewrite(NameMatch(REGEX, "(.*)\\.a"), "{1}.b.")),
        ("edns0 nsid unset", EdnsRemoval(3)),
        ("edns0 subnet unset", EdnsRemoval(8)),
        ("edns0 local unset 0xFFEE", EdnsRemoval(0xFFEE)),
        ("edns0 local unset 65001", EdnsRemoval(65001)),
    ],
)
def test_a_rule_is_read_and_printed(text: str, rule: RewriteRule) -> None:
    assert rules(f"rewrite {text}") == [rule]


def test_a_rule_in_braces_says_the_same_as_in_a_line() -> None:
    line = "rewrite continue name regex (.*)\\.a {1}.b answer name (.*)\\.b {1}.a answer value (.*)\\.b {1}.a"
    braces = (
        "rewrite continue {\n name regex (.*)\\.a {1}.b\n answer name (.*)\\.b {1}.a\n answer value (.*)\\.b {1}.a\n}"
    )
    assert rules(line) == rules(braces)
    assert rules("rewrite {\n ttl a.test 5\n}") == rules("rewrite stop ttl a.test 5")


def test_rules_keep_their_order_and_whether_they_are_the_last() -> None:
    found = rewrites(
        "rewrite continue type A AAAA\nrewrite stop type AAAA A\nrewrite type MX A\nrewrite CONTINUE class CH IN"
    )
    assert [one.rule.stop for one in found] == [False, True, True, False]
    assert [one.position.line for one in found] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rewrite", "2:1: `rewrite` needs what to rewrite"),
        ("rewrite stop", "2:1: `rewrite` needs what to rewrite"),
        ("rewrite nane a b", "2:9: `rewrite` knows no `nane`: did you mean `name`?"),
        ("rewrite answer auto", "2:9: `answer` stands behind a `name` rule"),
        ("rewrite name a", "2:9: `rewrite name` takes [exact|prefix|suffix|substring|regex] FROM TO"),
        ("rewrite type A", "2:9: `rewrite type` takes two types"),
        ("rewrite type A B C", "2:18: `rewrite type` takes two types, FROM TO"),
        ("rewrite type A BB", "2:16: `BB` is not a type of records"),
        ("rewrite class IN TYPE1", "2:18: `TYPE1` is not a class: IN, CH or HS"),
        ("rewrite name a..b c", "2:14: `a..b.` is no name: empty label"),
        ("rewrite name a b..c", "2:16: `b..c.` is no name: empty label"),
        ("rewrite name suffix ü b", "2:21: `ü` is not ASCII: write names in their xn-- form"),
        ("rewrite name regex (a b", "2:20: `(a` cannot be used as a regular expression: this `(` is never closed"),
        ("rewrite name regex (a) {2}", "2:24: `{2}`: `(a)` has 1 groups"),
        ("rewrite name regex a(?=b) c", "2:21: `a(?=b)` cannot be used as a regular expression: behind `(?`"),
        ("rewrite name regex (a+)+ c", "2:20: `(a+)+` cannot be used as a regular expression: a repetition within"),
        ("rewrite name suffix a b auto", "2:25: nothing but `answer` can stand here, not `auto`"),
        ("rewrite name suffix a b answer", "2:25: `answer` takes auto, or name FROM TO, or value FROM TO"),
        ("rewrite name suffix a b answer name x", "2:25: `answer` takes auto, or name FROM TO"),
        ("rewrite name suffix a b answer name auto b", "2:37: `answer name` takes FROM TO; what you mean"),
        ("rewrite name suffix a b answer auto answer name c d", "2:25: `answer auto` and `answer name` exclude"),
        ("rewrite ttl a.test -", "2:20: `-` is no range of seconds"),
        ("rewrite ttl a.test 300-30", "2:20: `300-30` is no range of seconds"),
        ("rewrite ttl a.test 2147483648", "2:20: a number from 0 to 2147483647 expected"),
        ("rewrite ttl a.test", "2:9: `rewrite ttl` takes [exact|prefix|suffix|substring|regex] NAME SECONDS"),
        ("rewrite rcode a.test NXDOMAIN BADCOOKIE", "2:31: `BADCOOKIE` is no rcode that can stand here"),
        ("rewrite edns0 local set 0xffee abcd", "2:21: `edns0 local set`: kdns adds no options to queries"),
        ("rewrite edns0 subnet set 24 56", "2:22: `edns0 subnet set`: kdns adds no options to queries"),
        ("rewrite edns0 nsid unset revert", "2:26: there is nothing to revert"),
        ("rewrite edns0 cookie unset", "2:9: `rewrite edns0` takes local unset CODE, nsid unset, or subnet unset"),
        ("rewrite edns0 local unset 0x10000", "2:27: a number from 0 to 65535 expected, not `0x10000`"),
        ("rewrite edns0 nsid unset 3", "2:26: `rewrite edns0` takes no more than nsid unset"),
        ('rewrite name "" b', "2:14: an argument of `rewrite` is empty"),
        ("rewrite {\n name a b {\n }\n}", "3:2: `name` takes no `{ }`"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, message: str) -> None:
    assert refusal(text).startswith(f"Corefile:{message}")
