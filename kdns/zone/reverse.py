"""ReverseIndex: which subtrees an address belongs to, packed, for PTR answers and reverse empty non-terminals.

One dictionary entry for each block of 256 neighbouring addresses instead of one for each address: pods of a node are
neighbours, so an address costs five octets and not a hundred. Changed in place by its one owner, between queries.
Not here: the order and the names of PTR targets (kdns.zone.cluster).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any

DISMANTLE_STEP = 256  # entries freed between two looks at the sockets, some 0.1 us each

_ENTRY = Struct("<BI")  # last octet of the address, number of the owner
_BLOCK_DIGITS = {4: 6, 16: 30}  # hex digits of an address without its last octet


class ReverseIndex:
    """Packed addresses to owners. An owner may be added once for each of its addresses."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._owners: list[bytes] = []
        self._free: list[int] = []
        self._sorted: dict[int, list[bytes]] = {}  # by address length; made when first asked for

    def change(self, owner: bytes, gone: Iterable[bytes], come: Iterable[bytes]) -> None:
        """Take addresses from an owner and give it others; all are distinct, `gone` are its own."""
        number = self._numbers.get(owner)
        if number is None:
            number = self._number(owner)
        for block, octets in _by_block(gone).items():
            self._remove(block, octets, number)
        for block, octets in _by_block(come).items():
            self._add(block, b"".join(_ENTRY.pack(octet, number) for octet in octets))

    def remove(self, owner: bytes, addresses: Iterable[bytes]) -> None:
        """Forget an owner; `addresses` are all that it has."""
        self.change(owner, addresses, ())
        self._free.append(self._numbers.pop(owner))

    def owners(self, address: bytes) -> list[bytes]:
        """The owners of an address, in no order."""
        last = address[-1]
        entries = _ENTRY.iter_unpack(self._blocks.get(address[:-1], b""))
        return [self._owners[number] for octet, number in entries if octet == last]

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
        return any(octet >> 4 == int(in_block, 16) for octet, _ in _ENTRY.iter_unpack(self._blocks[low]))

    def dismantle(self) -> Iterator[None]:
        """Take apart an index that nobody reads any more, in steps."""
        yield from empty(self._blocks)
        yield from empty(self._numbers)

    def _number(self, owner: bytes) -> int:
        if self._free:
            number = self._free.pop()
            self._owners[number] = owner
        else:
            number = len(self._owners)
            self._owners.append(owner)
        self._numbers[owner] = number
        return number

    def _add(self, block: bytes, entries: bytes) -> None:
        before = self._blocks.get(block)
        if before is None and len(block) + 1 in self._sorted:
            insort(self._sorted[len(block) + 1], block)
        self._blocks[block] = (before or b"") + entries

    def _remove(self, block: bytes, octets: bytes, number: int) -> None:
        left = b"".join(
            _ENTRY.pack(octet, other)
            for octet, other in _ENTRY.iter_unpack(self._blocks[block])
            if other != number or octet not in octets
        )
        if left:
            self._blocks[block] = left
            return
        del self._blocks[block]
        blocks = self._sorted.get(len(block) + 1)
        if blocks is not None:
            del blocks[bisect_left(blocks, block)]

    def _sorted_blocks(self, octets: int) -> list[bytes]:
        if octets not in self._sorted:
            self._sorted[octets] = sorted(block for block in self._blocks if len(block) == octets - 1)
        return self._sorted[octets]


def empty(entries: dict[Any, Any]) -> Iterator[None]:
    """Empty a dictionary in steps of well under a millisecond."""
    while entries:
        for _ in range(min(DISMANTLE_STEP, len(entries))):
            entries.popitem()
        yield


def _by_block(addresses: Iterable[bytes]) -> dict[bytes, bytes]:
    """The last octets of addresses, by what stands before them."""
    blocks: dict[bytes, bytes] = {}
    for address in addresses:
        block = address[:-1]
        blocks[block] = blocks.get(block, b"") + address[-1:]
    return blocks
