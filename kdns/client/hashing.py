"""The same endpoint for the same key, with bounded load: rendezvous and ring hash.

Rendezvous hashing (Thaler and Ravishankar 1996) of a fixed number of slots: each slot belongs to the endpoint that
scores highest for it, found once per set, so that a pick is one table read, and an endpoint that goes changes only its
own slots. The ring (gRPC A42) has each endpoint at many points; a pick is a binary search. Load is bounded as in
Mirrokni, Thorup and Zadimoghaddam (2016): who has more than `load_bound` times the mean outstanding is passed over, for
the next. Without a key a pick is random. Not here: what a key is made of, which is the app's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from math import ceil
from random import Random
from zlib import crc32

from kdns.client.cells import Cell
from kdns.client.options import HashOptions

# Slots for each endpoint, at least; shares are even to within some 1 / sqrt of that.
_SLOTS_EACH = 64
# Bounds of the slots of a set: enough for 64 endpoints, and what 1,000 endpoints cost at each change (0.3 s at most).
_SLOTS_LEAST, _SLOTS_MOST = 4096, 65536
_HASH_OCTETS = 8
# All are counted once in so many asks for the mean, a share of them: of a small set each time, of a large one so that
# it costs a pick no more. The mean is off by a sixteenth of an attempt at most.
_CELLS_COUNTED = 16


def hash_of(data: bytes) -> int:
    """64 bits, the same in every process."""
    return int.from_bytes(blake2b(data, digest_size=_HASH_OCTETS).digest())


def spread(key: bytes) -> int:
    """64 bits of a key, the same in every process: quick, as each pick needs it, and even, not secret.

    CRC-32, which tells keys apart, times the golden ratio (Knuth, volume 3, section 6.4), whose high bits are even.
    """
    return crc32(key) * _ODD & _BITS


class _Hashed:
    """What both have in common: bounds, and where a key leads next."""

    def __init__(self, cells: Sequence[Cell], options: HashOptions, max_outstanding: float) -> None:
        self.cells = tuple(cells)
        self._bound = options.load_bound
        self._most = max_outstanding
        self._count_for = len(self.cells) // _CELLS_COUNTED
        self._asks_left = 0
        self._total = 0

    def pick(self, now: float, rng: Random, key: bytes | None) -> Cell | None:
        """See Picker. The first with room on the key's way; with a bound, that is a step or two."""
        number = rng.getrandbits(64) if key is None else spread(key)
        cell = self._at(number)
        if not cell.outstanding:  # has room, and is within any bound
            return cell
        return self._first(number, ())

    def pick_other(self, now: float, rng: Random, key: bytes | None, tried: Collection[Cell]) -> Cell | None:
        """See Picker."""
        return self._first(rng.getrandbits(64) if key is None else spread(key), tried)

    def _first(self, number: int, tried: Collection[Cell]) -> Cell | None:
        room = self._most
        fallback = None
        for cell in self._way(number):
            if cell.outstanding >= room or cell in tried:
                continue
            if not self._bound or self._is_below_bound(cell):
                return cell
            fallback = fallback or cell
        return fallback

    def _is_below_bound(self, cell: Cell) -> bool:
        """Whether one more is within the bound; an idle endpoint always is, so that the mean is not asked for."""
        if not cell.outstanding:
            return True
        if self._asks_left:
            self._asks_left -= 1
        else:
            self._asks_left = self._count_for
            self._total = sum(one.outstanding for one in self.cells)
        return cell.outstanding + 1 <= ceil(self._bound * (self._total + 1) / len(self.cells))

    def _at(self, number: int) -> Cell:
        """The endpoint that the key wants most."""
        raise NotImplementedError

    def _way(self, number: int) -> Iterator[Cell]:
        """The endpoints in the order in which the key wants them, each once."""
        raise NotImplementedError


class Rendezvous(_Hashed):
    """One table read for a pick."""

    def __init__(self, cells: Sequence[Cell], options: HashOptions, max_outstanding: float) -> None:
        super().__init__(cells, options, max_outstanding)
        count = _power_of_two(min(max(len(cells) * _SLOTS_EACH, _SLOTS_LEAST), _SLOTS_MOST))
        self._shift = 64 - (count.bit_length() - 1)
        self._seeds = [hash_of(repr(cell.key).encode()) for cell in cells]
        self._slots: list[Cell | None] = [None] * count

    def _at(self, number: int) -> Cell:
        slot = number >> self._shift
        first = self._slots[slot]
        if first is None:
            first = self._slots[slot] = self._ranked(slot)[0]
        return first

    def _way(self, number: int) -> Iterator[Cell]:
        first = self._at(number)
        yield first
        for cell in self._ranked(number >> self._shift):
            if cell is not first:
                yield cell

    def _ranked(self, slot: int) -> list[Cell]:
        """All, highest score first; made when a slot is met for the first time, or when its first one has no room."""
        scored = [(_mixed(seed ^ (slot * _ODD & _BITS)), index) for index, seed in enumerate(self._seeds)]
        scored.sort(reverse=True)
        return [self.cells[index] for _, index in scored]


class Ring(_Hashed):
    """A binary search for a pick."""

    def __init__(self, cells: Sequence[Cell], options: HashOptions, max_outstanding: float) -> None:
        super().__init__(cells, options, max_outstanding)
        # A power of two, so that it seldom changes: others' keys stay where they are when an endpoint comes or goes.
        each = _power_of_two(ceil(options.ring_least / len(cells)))
        each = min(each, max(1, options.ring_most // len(cells)))
        points = sorted(
            (hash_of(f"{cell.endpoint}/{index}".encode()), at)
            for at, cell in enumerate(self.cells)
            for index in range(each)
        )
        self._points = [point for point, _ in points]
        self._owners = [self.cells[at] for _, at in points]

    def _at(self, number: int) -> Cell:
        return self._owners[bisect_left(self._points, number) % len(self._owners)]

    def _way(self, number: int) -> Iterator[Cell]:
        start = bisect_left(self._points, number)
        seen: set[Cell] = set()
        count = len(self._owners)
        for step in range(count):
            cell = self._owners[(start + step) % count]
            if cell not in seen:
                seen.add(cell)
                yield cell
                if len(seen) == len(self.cells):
                    return


_BITS = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15


def _mixed(value: int) -> int:
    """A finalizer that spreads 64 bits (splitmix64, Steele et al. 2014)."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _BITS
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _BITS
    return value ^ value >> 31


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
