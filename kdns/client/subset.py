"""Which endpoints one of many clients talks to, so that each pod has few connections.

With a client's index: the Google SRE book's deterministic subsetting (chapter 20), in which each round of clients
takes each endpoint equally often. Without: the `size` endpoints of the highest hash with the client's seed (gRPC A68),
which a change of one endpoint changes by at most one. Not here: who is picked of them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from hashlib import blake2b
from random import Random

from kdns.client.cells import Cell
from kdns.client.options import Subset


def subset(cells: Sequence[Cell], options: Subset) -> tuple[Cell, ...]:
    """This client's part of them, in their order; all, if there are no more than `size`."""
    if len(cells) <= options.size:
        return tuple(cells)
    chosen = frozenset(_by_index(cells, options) if options.index is not None else _by_seed(cells, options))
    return tuple(cell for cell in cells if cell in chosen)


def _by_index(cells: Sequence[Cell], options: Subset) -> list[Cell]:
    """Clients in rounds, each of which shuffles all endpoints alike and deals out as many whole hands as there are."""
    hands = max(1, len(cells) // options.size)
    round_, hand = divmod(options.index or 0, hands)
    shuffled = sorted(cells, key=_key)  # the same for all clients, whatever order DNS gave
    Random(round_).shuffle(shuffled)
    # What does not fill a hand is left to rounds that are shuffled otherwise.
    return shuffled[hand * options.size : (hand + 1) * options.size]


def _by_seed(cells: Sequence[Cell], options: Subset) -> list[Cell]:
    seed = (options.seed or f"{socket.gethostname()}/{os.getpid()}").encode()
    return sorted(cells, key=lambda cell: (blake2b(repr(cell.key).encode(), key=seed[:64]).digest(), cell.key))[
        : options.size
    ]


def _key(cell: Cell) -> tuple[str, int]:
    return cell.key
