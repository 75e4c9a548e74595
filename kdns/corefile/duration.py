"""Durations as Go writes them (`time.ParseDuration`): `30s`, `1m30s`, `1.5h`, `100ms`, `0`.

In and out: whole nanoseconds, so that no value is rounded on its way through a configuration.
"""

from __future__ import annotations

import re

NANOSECONDS = {
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,  # U+00B5, the micro sign
    "μs": 10**3,  # U+03BC, the Greek letter
    "ns": 1,
}
MAX_NANOSECONDS = 2**63 - 1  # what Go's time.Duration holds: 292 years

_PART = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>h|ms|m|s|us|µs|μs|ns)")
_SUFFIXES = ("h", "m", "s", "ms", "us", "ns")
# More digits than this cannot be in range, and int() on endless digits is slow.
_MAX_TEXT = 64


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises ValueError for what is no duration, is negative, or is out of range."""
    if text == "0":
        return 0
    parts = list(_PART.finditer(text)) if len(text) <= _MAX_TEXT else []
    if not text or "".join(part.group() for part in parts) != text or not all(map(_has_digits, parts)):
        raise ValueError(f"`{text}` is no duration: write it as in 30s, 5m or 100ms")
    total = sum(map(_nanoseconds, parts))
    if total > MAX_NANOSECONDS:
        raise ValueError(f"the duration `{text}` is longer than 292 years")
    return total


def format_duration(nanoseconds: int) -> str:
    """The shortest text with whole numbers that parse_duration reads back: `1m30s`."""
    text = ""
    for unit in _SUFFIXES:
        count, nanoseconds = divmod(nanoseconds, NANOSECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0"


def _has_digits(part: re.Match[str]) -> bool:
    return bool(part["whole"] or part["fraction"])


def _nanoseconds(part: re.Match[str]) -> int:
    fraction = part["fraction"] or ""
    scale: int = 10 ** len(fraction)
    return int((part["whole"] or "0") + fraction) * NANOSECONDS[part["unit"]] // scale
