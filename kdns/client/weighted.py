"""Weighted random picks in constant time: the alias method (Walker 1977, Vose 1991).

A table of as many columns as there are endpoints; each column belongs to at most two. A pick draws a column and one of
its two. Not here: what the weights are.
"""

from __future__ import annotations

from collections.abc import Sequence


class Alias:
    """columns: for each, the share below which it is its own, and whose it is else."""

    __slots__ = ("columns",)

    def __init__(self, weights: Sequence[float]) -> None:
        """weights: not negative; if all are 0, all are alike."""
        total = sum(weights)
        count = len(weights)
        scaled = [weight * count / total if total > 0 else 1.0 for weight in weights]
        small = [index for index, share in enumerate(scaled) if share < 1.0]
        large = [index for index, share in enumerate(scaled) if share >= 1.0]
        columns = [(1.0, index) for index in range(count)]
        while small and large:
            poor, rich = small.pop(), large.pop()
            columns[poor] = (scaled[poor], rich)
            scaled[rich] -= 1.0 - scaled[poor]
            (small if scaled[rich] < 1.0 else large).append(rich)
        self.columns = tuple(columns)

    def index(self, drawn: float) -> int:
        """The index for a number drawn evenly from [0, 1)."""
        at = drawn * len(self.columns)
        column = int(at)
        share, other = self.columns[column]
        return column if at - column < share else other


def shares(alias: Alias) -> list[float]:
    """With what probability each index is drawn: what the table says, for tests and for the curious."""
    count = len(alias.columns)
    found = [0.0] * count
    for column, (share, other) in enumerate(alias.columns):
        found[column] += share / count
        found[other] += (1.0 - share) / count
    return found


