"""What dashboards, alerts and agents made for CoreDNS ask for: kdns tells it, or docs/metrics.md says why not."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from kdns.observe.families import ALL, Family, Kind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
CHAPTER = PAGE.split("## What dashboards and alerts ask for\n", 1)[1].split("\n## ")[0]
WANTED = yaml.safe_load((ROOT / "tests" / "data" / "dashboards.yaml").read_text())
ASKS = [(repository, name, set(labels)) for repository, one in WANTED.items() for name, labels in one["asks"].items()]
# Dashboards group misses by a label that CoreDNS does not give them either: that makes one series.
WITHOUT_LABEL = {("coredns_cache_misses_total", "type")}


def family_of(metric: str) -> Family | None:
    """The family that a sample of this name is of."""
    name = re.sub("_(bucket|sum|count)$", "", metric)
    family = ALL.get(metric) or ALL.get(name)
    return family if family is None or metric in ALL or family.kind is Kind.HISTOGRAM else None


def not_told() -> list[str]:
    """The names, or patterns of names, in the last column of the table."""
    rows = [line.split("|") for line in CHAPTER.splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`((?:coredns|go|process)_[a-z0-9_]*\*?)`", row[3])]


@pytest.mark.parametrize(("repository", "metric", "labels"), ASKS)
def test_what_they_ask_for_is_told_or_it_is_said_why_not(repository: str, metric: str, labels: set[str]) -> None:
    family = family_of(metric)
    if family is None:
        assert any(fnmatch(metric, one) for one in not_told()), f"{repository} asks for {metric}"
        return
    missing = {label for label in labels - {"le"} if (metric, label) not in WITHOUT_LABEL} - set(family.labels)
    assert not missing, f"{repository} asks for {metric} by {missing}"


def test_most_of_it_is_told() -> None:
    assert sum(family_of(metric) is not None for _, metric, _ in ASKS) > 0.7 * len(ASKS)


def test_nothing_is_said_not_to_be_told_that_is() -> None:
    told = set(ALL)
    for pattern in not_told():
        assert not any(fnmatch(name, pattern) for name in told), pattern


def test_where_the_names_are_from_is_said() -> None:
    for repository, one in WANTED.items():
        assert repository.partition("/")[2]
        assert one["files"]
        assert repository in CHAPTER
