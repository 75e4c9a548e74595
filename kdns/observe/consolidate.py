"""`errors`: the line of a query that failed, and `consolidate`: many alike become one line in a while.

As in CoreDNS: the first expression that an error's text matches takes it. The first error of a kind starts the
period at whose end one line says how many there were; `show_first` also logs the first one itself, at the level of
the rule, and nothing at the end if it stayed the only one. An error that no expression matches is logged at once.
State is one count and one time for each rule: a flood of errors cannot grow it. Pure: times are seconds by one clock.
Not here: the syntax (kdns.corefile.logs), writing (kdns.observe.logs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from kdns.observe.tally import TYPES
from kdns.wire.iana import type_text
from kdns.wire.name import to_text

_PREFIX = "plugin/errors: "


@dataclass(frozen=True, slots=True)
class ConsolidateRule:
    """One `consolidate` option. level: "debug", "info", "warning" or "error"."""

    period_ns: int
    pattern: str
    level: str = "error"
    shows_first: bool = False


class ErrorLine(NamedTuple):
    """What to log, and how loud."""

    level: str
    text: str


class Consolidator:
    """The errors of one server block. `due`: when `collect` has something to say, by the clock of `take`."""

    def __init__(self, rules: Sequence[ConsolidateRule] = ()) -> None:
        self._kinds = [_Kind(rule) for rule in rules]

    @property
    def due(self) -> float:
        """When the next period ends; never while nothing is counted."""
        return min((kind.until for kind in self._kinds), default=inf)

    def wants(self, error: str) -> bool:
        """Whether a rule takes errors like this."""
        return any(kind.pattern.search(error) for kind in self._kinds)

    def take(self, error: str, line: str, now: float) -> ErrorLine | None:
        """Take note of an error; what to log of it now. error: its text alone. line: with the query that had it."""
        kind = next((kind for kind in self._kinds if kind.pattern.search(error)), None)
        if kind is None:
            return ErrorLine("error", _PREFIX + line)
        kind.count += 1
        if kind.count > 1:
            return None
        kind.until = now + kind.rule.period_ns / 1e9
        return ErrorLine(kind.rule.level, _PREFIX + line) if kind.rule.shows_first else None

    def collect(self, now: float = inf) -> list[ErrorLine]:
        """What there is to log of periods that are over; at the end of all, of those that are not, too."""
        over = [kind for kind in self._kinds if kind.count and kind.until <= now]
        lines = [line for kind in over for line in kind.lines()]
        for kind in over:
            kind.count, kind.until = 0, inf
        return lines


class _Kind:
    """Errors that one rule takes. until: when they are told of; never while there are none."""

    def __init__(self, rule: ConsolidateRule) -> None:
        self.rule = rule
        self.pattern = re.compile(rule.pattern)
        self.count = 0
        self.until = inf

    def lines(self) -> list[ErrorLine]:
        if self.count == 1 and self.rule.shows_first:
            return []
        period = go_duration(self.rule.period_ns)
        text = f"{self.count} errors like '{self.rule.pattern}' occurred in last {period}"
        return [ErrorLine(self.rule.level, _PREFIX + text)]


def error_line(rcode: int, qname: bytes, qtype: int, error: str) -> str:
    """What CoreDNS logs of a query that failed: `2 example.org. A: error`."""
    return f"{rcode} {to_text(qname)} {TYPES.get(qtype) or type_text(qtype)}: {error}"


def go_duration(period_ns: int) -> str:
    """A time as Go prints it: `30s`, `5m0s`, `1h0m0s`, `1.5s`, `250ms`."""
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if period_ns < scale * 1000 and period_ns < 10**9:
            return "0s" if period_ns == 0 else _plain(period_ns, scale) + unit
    minutes, rest_ns = divmod(period_ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{_plain(rest_ns, 10**9)}s"


def _plain(value: int, scale: int) -> str:
    """A quotient without an exponent and without zeros at the end."""
    whole, part = divmod(value, scale)
    digits = f"{part:0{len(str(scale)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
