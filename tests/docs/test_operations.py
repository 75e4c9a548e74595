"""docs/operations.md: its transcript happens as written, and what it names is there: metrics, limits, log lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdns.wire.iana import EDE
from tests.docs.lab import Lab, steps_of
from tests.support.dotted import look_up
from tests.support.programs import require

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "kdns").rglob("*.py")))
METRIC = re.compile(r"\b(?:coredns|kdns)_[a-z_]+")
MADE_BY_PROMETHEUS = {"pod", "job", "le"}


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading."""
    chapter = PAGE.split(f"# {heading}\n", 1)[1]
    rows = re.search(r"^\|[^\n]*\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", chapter, re.MULTILINE)
    assert rows
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[1].splitlines()]


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (group,) = yaml.safe_load(block)["groups"]
    return list(group["rules"])


def documented() -> dict[str, set[str]]:
    """The metrics of docs/metrics.md, with their labels."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", METRICS, re.MULTILINE)
    found: dict[str, set[str]] = {}
    for name, kind, labels in rows:
        suffixes = ("", "_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + suffix: set(re.findall(r"`(\w+)`", labels)) for suffix in suffixes}
    return found


@pytest.mark.peers
def test_the_transcript_happens_as_written(tmp_path: Path) -> None:
    for program in ("dig", "curl", "pgrep"):
        require(program)
    with Lab(PAGE, tmp_path) as lab:
        for step in lab.steps:
            lab.take(step)


def test_the_transcript_kills_every_process_and_spoils_the_corefile() -> None:
    commands = " ".join(step.command for step in steps_of(PAGE))
    processes = ("kdns-worker-0", "kdns-control", "kdns-forwarder")
    for part in (*processes, "kill -KILL $UPSTREAM", "cahce", "kill -TERM $KDNS"):
        assert part in commands


def test_every_metric_that_is_named_exists() -> None:
    named = set(METRIC.findall(PAGE))
    assert len(named) >= 12
    assert named <= set(documented())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_labels_that_its_metrics_have(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    metrics = [name for name in METRIC.findall(expression) if name in documented()]
    labels = {label for name in metrics for label in documented()[name]} | MADE_BY_PROMETHEUS
    grouped = [label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")]
    selected = [label for labels in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)=", labels)]
    assert {*grouped, *selected} <= labels
    assert metrics or "up{" in expression
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)
    assert set(rule) <= {"alert", "expr", "for"}


def test_every_limit_has_the_value_that_is_written() -> None:
    rows = table("Sizing")
    assert len(rows) > 8
    for path, value, _ in rows:
        assert str(look_up(path.strip("`"))) == value, path


def test_every_log_line_is_one_that_kdns_writes() -> None:
    for fragment, *_ in table("The log"):
        text = fragment.strip("`").removeprefix("] ")
        assert text.split("`")[0].rstrip(": ") in SOURCE, fragment


def test_every_extended_error_is_one_that_kdns_tells() -> None:
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \| (?:`(.+?)`)? ?\|", PAGE, re.MULTILINE)
    assert {int(code) for codes, _ in rows for code in codes.split(", ")} >= set(map(int, EDE))
    for _, text in rows:
        assert text in SOURCE


def test_every_readiness_is_one_that_kdns_tells() -> None:
    (shutting_down,) = [row[0] for row in table("Health, readiness, end") if "Shutting" in row[0]]
    assert shutting_down.strip("`") in SOURCE
