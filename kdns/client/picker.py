"""What picks one of the cells: immutable but for the cells it looks at, made anew for each change of the set.

Not here: the policies (kdns.client.pickers), which cells may be picked at all (kdns.client.choice).
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Protocol

from kdns.client.cells import Cell


class Picker(Protocol):
    """One policy over one tuple of cells, none of which is out; never empty."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Those it picks from."""

    def pick(self, now: float, rng: Random, key: bytes | None) -> Cell | None:
        """One cell with room, in O(1); None if all have `max_outstanding` attempts on their way.

        key: what equal requests have in common, for hashing policies; others ignore it.
        """

    def pick_other(self, now: float, rng: Random, key: bytes | None, tried: Collection[Cell]) -> Cell | None:
        """One with room that is not among those tried; None if there is none. May look at all of them."""
