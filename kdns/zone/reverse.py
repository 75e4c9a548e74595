"""ReverseIndex: which subtrees an address belongs to, packed, for PTR answers and reverse empty non-terminals.

One dictionary entry for each block of 256 neighbouring addresses instead of one for each address: pods of a node are
neighbours, so an address costs five octets and not a hundred. Used by its one owner: a `Draft` puts a change together
aside, in as many steps as one likes, and nothing of it is seen before its `commit`.
Not here: the order and the names of PTR targets (kdns.zone.cluster).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import Any

DISMANTLE_STEP = 256  # entries freed between two looks at the sockets, some 0.1 us each

# So many blocks that come or go with one change are sorted in one by one, at 2 us or so each; for more the list
# is made anew when it is asked for, which takes 2 ms for 4,000 blocks.
RESORT_BLOCKS = 256

# An entry: last octet of the address, number of the owner.
_NUMBER = Struct("<I")
_ENTRY_OCTETS = 1 + _NUMBER.size
_BLOCK_DIGITS = {4: 6, 16: 30}  # hex digits of an address without its last octet
_block_of = itemgetter(slice(None, -1))


class ReverseIndex:
    """Packed addresses to owners. An owner may have an address several times."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._owners: list[bytes] = []
        self._free: list[int] = []
        self._sorted: dict[int, list[bytes]] = {}  # by address length; made when first asked for

    def draft(self) -> Draft:
        """A change of this index, to be filled and committed before there is another one."""
        return Draft(self)

    def owners(self, address: bytes) -> list[bytes]:
        """The owners of an address, in no order, each once."""
        entries = self._blocks.get(address[:-1], b"")
        octets, last = entries[::_ENTRY_OCTETS], address[-1]
        found: dict[bytes, None] = {}
        at = octets.find(last)
        while at >= 0:
            [number] = _NUMBER.unpack_from(entries, at * _ENTRY_OCTETS + 1)
            found[self._owners[number]] = None
            at = octets.find(last, at + 1)
        return list(found)

    def has_prefix(self, digits: str, octets: int) -> bool:
        """Whether an address of `octets` octets starts with these hex digits (fewer than an address has)."""
        in_block = digits[_BLOCK_DIGITS[octets] :]
        blocks = self._sorted_blocks(octets)
        low = bytes.fromhex(digits.ljust(2 * octets, "0"))[:-1]
        high = bytes.fromhex(digits.ljust(2 * octets, "f"))[:-1]
        at = bisect_left(blocks, low)
        if at == len(blocks) or blocks[at] > high:
            return False
        if not in_block:
            return True
        return any(octet >> 4 == int(in_block, 16) for octet in self._blocks[low][::_ENTRY_OCTETS])

    def dismantle(self) -> Iterator[None]:
        """Take apart an index that nobody reads any more, in steps."""
        yield from empty(self._blocks)
        yield from empty(self._numbers)

    def entries_of(self, block: bytes) -> bytes:
        """All entries of the addresses that start with these octets."""
        return self._blocks.get(block, b"")

    def number_of(self, owner: bytes) -> int:
        """The number of an owner in entries, a new one if it has none."""
        number = self._numbers.get(owner)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._owners[number] = owner
            else:
                number = len(self._owners)
                self._owners.append(owner)
            self._numbers[owner] = number
        return number

    def replace(self, blocks: dict[bytes, bytes], gone: Iterable[bytes]) -> None:
        """Replace the entries of blocks, and forget owners that have no entry any more."""
        come = [block for block in blocks if block not in self._blocks]
        left = [block for block, entries in blocks.items() if not entries]
        self._blocks.update(blocks)
        for block in left:
            del self._blocks[block]
        self._resort(come, left)
        self._free += [self._numbers.pop(owner) for owner in gone if owner in self._numbers]

    def _resort(self, come: list[bytes], left: list[bytes]) -> None:
        if len(come) + len(left) > RESORT_BLOCKS:
            self._sorted.clear()
        if not self._sorted:
            return
        for block in come:
            insort(self._sorted.get(len(block) + 1, []), block)
        for block in left:
            blocks = self._sorted.get(len(block) + 1)
            if blocks:
                del blocks[bisect_left(blocks, block)]

    def _sorted_blocks(self, octets: int) -> list[bytes]:
        if octets not in self._sorted:
            self._sorted[octets] = sorted(block for block in self._blocks if len(block) == octets - 1)
        return self._sorted[octets]


class Draft:
    """A change of a ReverseIndex in the making."""

    def __init__(self, index: ReverseIndex) -> None:
        self._index = index
        self._blocks: dict[bytes, bytes] = {}
        self._gone: list[bytes] = []

    def add(self, owner: bytes, addresses: Iterable[bytes]) -> None:
        """Give addresses to an owner; it is fastest with neighbours one after the other."""
        number = _NUMBER.pack(self._index.number_of(owner))
        for block, run in groupby(addresses, _block_of):
            self._blocks[block] = self._entries(block) + b"".join([address[-1:] + number for address in run])

    def remove(self, owner: bytes, addresses: Iterable[bytes]) -> None:
        """Take addresses from an owner. Raises ValueError for one that it has not."""
        number = _NUMBER.pack(self._index.number_of(owner))
        for address in addresses:
            block = address[:-1]
            self._blocks[block] = _without(self._entries(block), address[-1:] + number)

    def forget(self, owner: bytes) -> None:
        """The owner has no addresses any more and is gone."""
        self._gone.append(owner)

    def commit(self) -> None:
        """Make the change, at once."""
        self._index.replace(self._blocks, self._gone)

    def _entries(self, block: bytes) -> bytes:
        entries = self._blocks.get(block)
        return self._index.entries_of(block) if entries is None else entries


def empty(entries: dict[Any, Any]) -> Iterator[None]:
    """Empty a dictionary in steps of well under a millisecond."""
    while entries:
        for _ in range(min(DISMANTLE_STEP, len(entries))):
            entries.popitem()
        yield


def _without(entries: bytes, entry: bytes) -> bytes:
    at = entries.index(entry)
    while at % _ENTRY_OCTETS:  # the end of one entry and the start of the next
        at = entries.index(entry, at + 1)
    return entries[:at] + entries[at + _ENTRY_OCTETS :]
