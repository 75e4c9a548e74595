"""Go's durations."""

from __future__ import annotations

import pytest

from kdns.corefile.duration import MAX_NANOSECONDS, format_duration, parse_duration

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30 * SECOND),
        ("1m30s", 90 * SECOND),
        ("2h", 7200 * SECOND),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("100ms", SECOND // 10),
        ("7us", 7000),
        ("7µs", 7000),
        ("7μs", 7000),
        ("9ns", 9),
        ("1s1s", 2 * SECOND),
        ("1h1m1s1ms1us1ns", 3661 * SECOND + 1_001_001),
        ("0.0000000019s", 1),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", ".s", "1", "-1s", "+1s", "1 s", "1d", "1S", "1s ", "٣s", "1s2", "1" * 70 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write it as in 30s"):
        parse_duration(text)


def test_a_duration_beyond_gos_range_is_refused() -> None:
    assert parse_duration(f"{MAX_NANOSECONDS}ns") == MAX_NANOSECONDS
    with pytest.raises(ValueError, match="longer than 292 years"):
        parse_duration(f"{MAX_NANOSECONDS + 1}ns")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h"),
        (SECOND // 10, "100ms"),
        (1500, "1us500ns"),
        (1, "1ns"),
    ],
)
def test_durations_are_written_with_whole_numbers(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text
    assert parse_duration(text) == nanoseconds
