"""kdns.observe.consolidate: many errors alike are one line, and none is lost."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.observe.consolidate import ConsolidateRule, Consolidator, ErrorLine, error_line, go_duration
from kdns.wire.name import from_text

SECOND = 10**9
TIMEOUT = "read udp 10.0.0.1:5->192.0.2.1:53: i/o timeout"
LINE = error_line(2, from_text("example.org"), 1, TIMEOUT)
WHOLE = f"plugin/errors: {LINE}"


def _consolidator(*rules: ConsolidateRule) -> Consolidator:
    return Consolidator(rules)


def test_an_error_is_told_in_the_words_of_coredns() -> None:
    assert error_line(2, from_text("example.org"), 1, TIMEOUT) == f"2 example.org. A: {TIMEOUT}"
    assert error_line(2, from_text("."), 48, "x") == "2 . DNSKEY: x"
    assert error_line(2, from_text("."), 65280, "x") == "2 . TYPE65280: x"


def test_an_error_that_no_rule_is_for_is_logged_at_once() -> None:
    assert _consolidator().take(TIMEOUT, LINE, 0.0) == ErrorLine("error", WHOLE)
    other = _consolidator(ConsolidateRule(30 * SECOND, "^refused$"))
    assert other.take(TIMEOUT, LINE, 0.0) == ErrorLine("error", WHOLE)
    assert other.due == inf
    assert other.collect() == []


def test_errors_alike_are_one_line_at_the_end_of_the_period_that_the_first_began() -> None:
    errors = _consolidator(ConsolidateRule(30 * SECOND, "^read udp .* i/o timeout$", "warning"))
    assert [errors.take(TIMEOUT, LINE, now) for now in (10.0, 20.0, 39.0)] == [None, None, None]
    assert errors.due == 40.0
    assert errors.collect(39.9) == []
    text = "plugin/errors: 3 errors like '^read udp .* i/o timeout$' occurred in last 30s"
    assert errors.collect(40.0) == [ErrorLine("warning", text)]
    assert (errors.due, errors.collect(99.0)) == (inf, [])
    errors.take(TIMEOUT, LINE, 50.0)
    assert errors.due == 80.0


def test_the_expression_may_match_anywhere_in_the_error_and_not_in_the_query() -> None:
    errors = _consolidator(ConsolidateRule(SECOND, "timeout"), ConsolidateRule(SECOND, r"example\.org"))
    assert errors.take(TIMEOUT, LINE, 0.0) is None
    assert errors.take("refused", "2 example.org. A: refused", 0.0) is not None


def test_the_first_rule_that_matches_takes_an_error() -> None:
    errors = _consolidator(ConsolidateRule(2 * SECOND, "timeout$"), ConsolidateRule(SECOND, "."))
    errors.take(TIMEOUT, LINE, 0.0)
    errors.take("refused", "2 . A: refused", 0.5)
    assert errors.due == 1.5
    assert [line.text for line in errors.collect(1.5)] == ["plugin/errors: 1 errors like '.' occurred in last 1s"]
    assert [line.text for line in errors.collect(2.0)] == [
        "plugin/errors: 1 errors like 'timeout$' occurred in last 2s"
    ]


def test_the_first_error_itself_can_be_shown() -> None:
    errors = _consolidator(ConsolidateRule(SECOND, "timeout$", "info", shows_first=True))
    assert errors.take(TIMEOUT, LINE, 0.0) == ErrorLine("info", WHOLE)
    assert errors.take(TIMEOUT, LINE, 0.1) is None
    assert [line.level for line in errors.collect(1.0)] == ["info"]
    assert errors.take(TIMEOUT, LINE, 2.0) == ErrorLine("info", WHOLE)
    assert errors.collect(3.0) == []  # it was the only one, and has been shown
    assert errors.due == inf


def test_at_the_end_of_all_nothing_is_kept_back() -> None:
    errors = _consolidator(ConsolidateRule(3600 * SECOND, "timeout$"))
    errors.take(TIMEOUT, LINE, 0.0)
    assert [line.text for line in errors.collect()] == [
        "plugin/errors: 1 errors like 'timeout$' occurred in last 1h0m0s"
    ]


_RULES = st.lists(
    st.builds(
        ConsolidateRule,
        st.integers(1, 10 * SECOND),
        st.sampled_from(["a", "b$", "^c", "."]),
        st.sampled_from(["debug", "info", "warning", "error"]),
        st.booleans(),
    ),
    max_size=4,
)


@given(_RULES, st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 5)), max_size=60))
def test_every_error_is_told_of_exactly_once_or_shown_and_counted(
    rules: list[ConsolidateRule], errors: list[tuple[str, float]]
) -> None:
    consolidator = Consolidator(rules)
    now, shown, counted = 0.0, 0, 0
    for text, pause in errors:
        now += pause
        counted += _count(consolidator.collect(now), rules)
        shown += consolidator.take(text, text, now) is not None
    counted += _count(consolidator.collect(), rules)
    if not any(rule.shows_first for rule in rules):
        assert shown + counted == len(errors)
    assert max(shown, counted) <= len(errors) <= shown + counted
    assert consolidator.due == inf


def _count(lines: list[ErrorLine], rules: list[ConsolidateRule]) -> int:
    assert len(lines) <= len(rules)
    return sum(int(line.text.removeprefix("plugin/errors: ").split()[0]) for line in lines)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (250_000_000, "250ms"), (1_050_000_000, "1.05s"),
        (30 * SECOND, "30s"), (300 * SECOND, "5m0s"), (3_690 * SECOND, "1h1m30s"),
        (90 * SECOND + 1, "1m30.000000001s"),
    ],
)  # fmt: skip
def test_times_are_printed_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text
