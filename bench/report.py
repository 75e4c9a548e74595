"""Turns measurements into the tables that the benchmark prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from statistics import median

from bench.driver import Measurement

COLUMNS = ("queries/s", "core%", "p50 us", "p99 us", "lost", "wrong", "octets", "other%")
REFERENCES = ("nsd", "knot")


@dataclass(slots=True)
class Series:
    """The measurements of one server in one scenario and variant, one for each round."""

    scenario: str
    variant: str
    server: str
    rounds: list[Measurement] = field(default_factory=list)

    def median(self, column: str) -> float:
        """The median over the rounds."""
        values: list[float] = [attrgetter(column)(one) for one in self.rounds]
        return median(values)

    def total(self, column: str) -> int:
        """The sum over the rounds."""
        return sum(attrgetter(column)(one) for one in self.rounds)

    def ratio(self, other: Series) -> float:
        """CPU per query over the other's: the median of the ratios within each round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return median(mine.cpu_us / theirs.cpu_us for mine, theirs in pairs)


def find(series: Iterable[Series], scenario: str, variant: str, server: str) -> Series | None:
    """The one series of these three, if it was measured."""
    wanted = (scenario, variant, server)
    return next((one for one in series if (one.scenario, one.variant, one.server) == wanted), None)


def comparison(group: Sequence[Series], names: Sequence[str] = REFERENCES) -> str:
    """The table of one scenario and variant: a row for each server, and its ratios to those with these names."""
    references = [next((one for one in group if one.server == name), None) for name in names]
    head = ("server", "us/query", *(f"/{name}" for name in names), *COLUMNS)
    rows = [head, *(_row(one, references) for one in group)]
    return f"\n{group[0].scenario}, {group[0].variant}, median of {len(group[0].rounds)}\n{table(rows)}"


def _row(one: Series, references: Sequence[Series | None]) -> tuple[str, ...]:
    ratios = (f"{one.ratio(reference):.2f}" if reference else "-" for reference in references)
    return (
        one.server,
        f"{one.median('cpu_us'):.2f}",
        *ratios,
        f"{one.median('qps'):,.0f}",
        f"{one.median('core_percent'):.0f}",
        f"{one.median('p50_us'):.0f}",
        f"{one.median('p99_us'):.0f}",
        str(one.total("lost")),
        str(one.total("wrong")),
        f"{one.median('reply_octets'):.0f}",
        f"{one.median('others_percent'):.0f}",
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )
