"""The rules of promlint (prometheus/client_golang, testutil/promlint/validations), over a page of the text format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

# Units that are not base units, with their prefixes; and abbreviations of units.
_NOT_BASE = re.compile(
    r"(milli|micro|nano|kilo|mega|giga|tera|kibi|mebi|gibi)[a-z]+"
    r"|(minutes?|hours?|days?|weeks?|bits?|fahrenheit|percents?|miles|inches|feet|ounces|pounds)"
)
_ABBREVIATIONS = frozenset(["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"])
_KINDS = frozenset(["gauge", "counter", "summary", "histogram", "metric"])
_PARTS = ("_count", "_sum", "_bucket")
_SAMPLE = re.compile(r'^([A-Za-z_:][\w:]*)(?:\{((?:[A-Za-z_]\w*="(?:[^"\\]|\\.)*",?)*)\})? \S+$')
_LABEL = re.compile(r'([A-Za-z_]\w*)="')
_SNAKE = re.compile(r"[a-z_][a-z0-9_]*")


def promlint(page: str) -> list[str]:
    """What is wrong with a page, a line for each complaint; none if nothing is."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", page, re.MULTILINE))
    found = [f"{name}: {what}" for name, kind in kinds.items() for what in _of_family(name, kind, helps)]
    samples = [match for line in page.splitlines() if line[0] != "#" for match in [_SAMPLE.match(line)] if match]
    found += [f"{match[1]}: {what}" for match in samples for what in _of_sample(match[1], match[2] or "", kinds)]
    seen = Counter((match[1], match[2]) for match in samples)
    found += [f"{name}: twice" for (name, _), times in seen.items() if times > 1]
    found += [f"no sample: {line}" for line in page.splitlines() if line[0] != "#" and not _SAMPLE.match(line)]
    return found


def _of_family(name: str, kind: str, helps: dict[str, str]) -> Iterator[str]:
    if not helps.get(name, "").strip():
        yield "no help"
    if kind == "counter" and not name.endswith("_total"):
        yield "a counter whose name does not end in _total"
    if kind != "counter" and name.endswith("_total"):
        yield "named like a counter"
    if kind not in ("histogram", "summary") and name.endswith(_PARTS):
        yield "named like a part of a histogram"
    if not _SNAKE.fullmatch(name):
        yield "not in snake_case"
    words = name.split("_")
    yield from (f"abbreviated unit {word}" for word in words if word in _ABBREVIATIONS)
    if any(_NOT_BASE.fullmatch(word) for word in words):
        yield "no base unit"
    if words[-1] in _KINDS:
        yield "its kind in its name"


def _of_sample(name: str, labels: str, kinds: dict[str, str]) -> Iterator[str]:
    family = next((name.removesuffix(part) for part in ("", *_PARTS) if name.removesuffix(part) in kinds), "")
    if not family:
        yield "of no family"
    for label in _LABEL.findall(labels):
        if not _SNAKE.fullmatch(label):
            yield f"the label {label} is not in snake_case"
        if label == "le" and kinds.get(family) != "histogram":
            yield "a label le, and no histogram"
        if label == "quantile" and kinds.get(family) != "summary":
            yield "a label quantile, and no summary"
