"""Kubernetes label selectors."""

from __future__ import annotations

import pytest

from kdns.corefile.selector import Operator, Requirement, Selector, SelectorError, parse_selector

WEB = {"app": "web", "env": "prod", "example.org/team": "shop", "empty": ""}


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "  ",
        "app",
        "app=web",
        "app==web",
        "app = web",
        "app!=db",
        "other!=web",
        "app in (web)",
        "app in (api, web)",
        "app in(api,web)",
        "app notin (api,db)",
        "other notin (web)",
        "!other",
        "! other",
        "example.org/team=shop",
        "empty=",
        "empty in ()",
        "empty in (,x)",
        "app=web,env=prod",
        "app=web , env in (prod,qa),!legacy,example.org/team",
        "app in (in,notin,web)",
    ],
)
def test_selectors_that_match(expression: str) -> None:
    assert parse_selector(expression).matches(WEB)


@pytest.mark.parametrize(
    "expression",
    [
        "other",
        "app=db",
        "app==db",
        "app!=web",
        "app in (api,db)",
        "other in (web)",
        "app notin (web,db)",
        "!app",
        "app=",
        "app=web,env=qa",
        "App=web",
        "app=Web",
    ],
)
def test_selectors_that_do_not_match(expression: str) -> None:
    assert not parse_selector(expression).matches(WEB)


@pytest.mark.parametrize(
    ("expression", "offset", "message"),
    [
        ("=x", 0, "a label key expected"),
        (",a", 0, "a label key expected"),
        ("a,", 2, "a label key expected"),
        ("a,,b", 2, "a label key expected"),
        ("!", 1, "a label key expected"),
        ("in (a)", 0, "a label key expected, not `in`"),
        ("-a=b", 0, "a label key expected, not `-a`"),
        ("a-=b", 0, "a label key expected, not `a-`"),
        ("Org/a=b", 0, "a label key expected, not `Org/a`"),
        ("/a=b", 0, "a label key expected, not `/a`"),
        ("x/=b", 0, "a label key expected, not `x/`"),
        ("a" * 64, 0, "a label key expected"),
        ("p." * 127 + "/a", 0, "a label key expected"),
        ("a b", 2, "an operator expected"),
        ("a > 1", 2, "an operator expected (=, ==, !=, in, notin), not `>`"),
        ("a<1", 1, "an operator expected"),
        ("a in b", 5, "`(` expected"),
        ("a in", 4, "`(` expected"),
        ("a in (b", 7, "`,` or `)` expected"),
        ("a in (b c)", 8, "`,` or `)` expected"),
        ("a=b c", 4, "`,` or the end expected, not `c`"),
        ("a=b=c", 3, "`,` or the end expected, not `=`"),
        ("a=-b", 2, "`-b` is no label value"),
        ("a=b!", 3, "`,` or the end expected"),
        ("a=" + "v" * 64, 2, "is no label value"),
        ("app=größe", 4, "is no label value"),
    ],
)
def test_what_is_no_selector_is_refused_with_its_offset(expression: str, offset: int, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector(expression)
    assert caught.value.offset == offset
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "canonical"),
    [
        ("", ""),
        ("app == web", "app=web"),
        ("app in (web)", "app=web"),
        ("app in (b,a,b)", "app in (a,b)"),
        ("app notin (x)", "app!=x"),
        ("app notin (y,x)", "app notin (x,y)"),
        ("a in ()", "a="),
        (" a , ! b ", "a,!b"),
    ],
)
def test_selectors_are_written_in_one_way(expression: str, canonical: str) -> None:
    selector = parse_selector(expression)
    assert str(selector) == canonical
    assert parse_selector(canonical) == selector


def test_equality_is_membership_in_a_set_of_one() -> None:
    assert parse_selector("a=b") == Selector((Requirement("a", Operator.IN, ("b",)),))
    assert parse_selector("!a,b") == Selector((Requirement("a", Operator.ABSENT), Requirement("b", Operator.EXISTS)))
