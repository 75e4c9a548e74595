"""What differs between two versions of a subtree, as reverse names see it: addresses that come and go, new labels.

A Service of thousands of hosts usually changes by one. So host sets are compared packed: what they share is passed
over as octets, and only where they differ they are looked at host by host.
Not here: what follows from a difference (kdns.zone.state).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kdns.zone.subtree import BY_ADDRESS, HostSet, Port, Subtree

# Bounds of one part of a difference, so that it takes 0.2 ms or so, a fraction of what answering may be held up for:
# addresses of a host set that is new or gone; comparisons at some 3 us each.
PART_ADDRESSES = 256
PART_ROUNDS = 64

RUN_HOSTS = 256  # compared at once; most host sets have less than a hundred hosts

_Place = tuple[int, tuple[Port, ...], int]


class Difference(NamedTuple):
    """A part of what differs.

    gone, come: addresses that are there no longer, or newly; once for each host set that they are in.
    renamed: addresses of hosts that have stayed under another label.
    """

    gone: Sequence[bytes] = ()
    come: Sequence[bytes] = ()
    renamed: Sequence[bytes] = ()


_PAUSE = Difference()


def differences(old: Subtree | None, new: Subtree | None) -> Iterator[Difference]:
    """What differs, in small parts; an empty one only says that some time has passed.

    None is a subtree that does not exist.
    """
    if old is new:
        return
    if old and new and old.headless != new.headless:  # this decides on the order of an address's names
        yield from differences(old, None)
        yield from differences(None, new)
        return
    before, after = set(old.addresses if old else ()), set(new.addresses if new else ())
    yield Difference(tuple(before - after), tuple(after - before))
    before_hosts, after_hosts = _by_place(old), _by_place(new)
    for place in before_hosts | after_hosts:
        one, other = before_hosts.get(place), after_hosts.get(place)
        if one and other:
            yield from _between(one, other)
        elif one:
            yield from (Difference(gone=part) for part in _parts(one))
        elif other:
            yield from (Difference(come=part) for part in _parts(other))


def _by_place(subtree: Subtree | None) -> dict[_Place, HostSet]:
    """Host sets by what they have in common with their next version: family, ports, how many there are before."""
    found: dict[_Place, HostSet] = {}
    for hosts in subtree.hosts if subtree else ():
        layer = 0
        while (place := (hosts.octets, hosts.ports, layer)) in found:
            layer += 1
        found[place] = hosts
    return found


def _parts(hosts: HostSet) -> Iterator[Sequence[bytes]]:
    count = len(hosts.addresses) // hosts.octets
    return (hosts.split_addresses(at, min(at + PART_ADDRESSES, count)) for at in range(0, count, PART_ADDRESSES))


def _between(old: HostSet, new: HostSet) -> Iterator[Difference]:
    """What differs between two host sets of one family.

    Addresses are in ascending order, so that of two that differ the smaller one has no counterpart. (In another order
    more would seem to differ: nothing would be missed.)
    """
    if old.addresses == new.addresses and old.labels == new.labels:
        return
    before = _Column(old)
    yield _PAUSE
    after = _Column(new)
    yield _PAUSE
    gone: list[bytes] = []
    come: list[bytes] = []
    renamed: list[bytes] = []
    at, to, rounds = 0, 0, 0
    while at < before.count or to < after.count:
        one, other = before.address(at), after.address(to)
        if one == other:
            shared = before.shared(at, after, to)
            if not shared:
                renamed.append(one)
            at, to = at + (shared or 1), to + (shared or 1)
        elif to >= after.count or (at < before.count and one < other):
            gone.append(one)
            at += 1
        else:
            come.append(other)
            to += 1
        rounds += 1
        if rounds % PART_ROUNDS == 0:
            yield Difference(gone, come, renamed)
            gone, come, renamed = [], [], []
    yield Difference(gone, come, renamed)


class _Column:
    """The hosts of a host set, any run of which is one slice of its packed addresses and one of its labels."""

    def __init__(self, hosts: HostSet) -> None:
        self._octets = hosts.octets
        self._addresses = hosts.addresses
        self.count = len(hosts.addresses) // hosts.octets
        self._labels = hosts.labels or BY_ADDRESS * self.count
        self._bounds = _bounds(hosts.labels) if hosts.labels else range(self.count + 1)

    def address(self, at: int) -> bytes:
        """The address of a host; b"" behind the last one."""
        return self._addresses[at * self._octets : (at + 1) * self._octets]

    def shared(self, at: int, other: _Column, to: int) -> int:
        """How many hosts from `at` on are the same as those of another column from `to` on; RUN_HOSTS at most."""
        addresses = _common(self._run(at), other._run(to)) // self._octets
        bounds = self._bounds
        octets = _common(self._run_of_labels(at, addresses), other._run_of_labels(to, addresses))
        return bisect_right(bounds, bounds[at] + octets, at, at + addresses + 1) - 1 - at

    def _run(self, at: int) -> bytes:
        return self._addresses[at * self._octets : (at + RUN_HOSTS) * self._octets]

    def _run_of_labels(self, at: int, count: int) -> bytes:
        return self._labels[self._bounds[at] : self._bounds[at + count]]


def _bounds(packed: bytes) -> Sequence[int]:
    """Where each label starts and the last one ends."""
    bounds, at, size = [0], 0, len(packed)
    while at < size:
        at += packed[at] + 1
        bounds.append(at)
    return bounds


def _common(one: bytes, other: bytes) -> int:
    """How many octets two strings have in common at the start."""
    octets = min(len(one), len(other))
    if one[:octets] == other[:octets]:
        return octets
    differ = int.from_bytes(one[:octets]) ^ int.from_bytes(other[:octets])
    return octets - (differ.bit_length() + 7) // 8
