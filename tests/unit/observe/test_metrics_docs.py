"""docs/metrics.md: every metric, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from kdns.observe.families import ALL
from kdns.observe.status import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
ROWS = {
    name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text)
    for name, kind, labels, text in re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| (.*) \|$", PAGE, re.MULTILINE)
}
# What exposition.py tells without a table.
PLAIN = {
    "kdns_build_info", "kdns_ready", "kdns_workers",
    "kdns_cluster_staleness_seconds", "kdns_cluster_synced", "kdns_cluster_objects",
}  # fmt: skip


def test_every_family_is_documented_as_it_is() -> None:
    for name, family in ALL.items():
        assert ROWS[name] == (family.kind.value, family.labels, family.help)


def test_every_figure_of_a_cluster_is_documented() -> None:
    for metric in METRICS:
        name = f"kdns_cluster_{metric.name}" + "_total" * metric.is_counter
        assert ROWS[name][2] == metric.help


def test_nothing_else_is_promised() -> None:
    clusters = {f"kdns_cluster_{metric.name}" + "_total" * metric.is_counter for metric in METRICS}
    assert ROWS.keys() == ALL.keys() | clusters | PLAIN
