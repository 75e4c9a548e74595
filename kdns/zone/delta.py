"""ZoneDelta: the one form in which everything that changes an answer travels.

A source (manifests, zone file, API watch) emits deltas, a worker applies them between two queries, and an
image of a source is nothing but deltas that start from nothing (`reset`). Values are immutable and encode to
MessagePack.
Serials are RFC 1982 arithmetic. Not here: how deltas travel (kdns.server.feed) and what they do to
compiled answers (kdns.answer.table).
"""

from __future__ import annotations

import msgspec

from kdns.zone.rrset import RRset
from kdns.zone.subtree import Subtree

SERIAL_HALF = 1 << 31
SERIAL_MASK = (1 << 32) - 1


class ZoneDelta(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """One atomic change of one source.

    source: index of the source in the configuration.
    serial: SOA serial from this delta on; None for a zone file, whose serial stands in its SOA.
    reset: forget all that this source said before; what follows is the whole.
    rrsets: the whole of a zone file (only with reset).
    subtrees: subtrees that are new or changed.
    removed: owners (relative, folded) of subtrees that are gone.
    namespaces, namespaces_removed: labels of namespaces that exist from now on, or no longer.
    pods, pods_removed: (namespace label, packed address) of pods, for zones that verify pod names.
    """

    source: int
    serial: int | None = None
    reset: bool = False
    rrsets: tuple[RRset, ...] = ()
    subtrees: tuple[Subtree, ...] = ()
    removed: tuple[bytes, ...] = ()
    namespaces: tuple[bytes, ...] = ()
    namespaces_removed: tuple[bytes, ...] = ()
    pods: tuple[tuple[bytes, bytes], ...] = ()
    pods_removed: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def changes_nothing(self) -> bool:
        """Whether applying this delta could not change an answer."""
        return not (
            self.reset
            or self.subtrees
            or self.removed
            or self.namespaces
            or self.namespaces_removed
            or self.pods
            or self.pods_removed
        )


def is_ahead(serial: int, of: int) -> bool:
    """Whether `serial` is later than `of` by RFC 1982 section 3.2."""
    return 0 < ((serial - of) & SERIAL_MASK) < SERIAL_HALF


def next_serial(previous: int | None, wanted: int) -> int:
    """The serial to publish: `wanted` (mod 2^32) if that is ahead of `previous`, else previous + 1."""
    wanted &= SERIAL_MASK
    if previous is None or is_ahead(wanted, previous):
        return wanted
    return (previous + 1) & SERIAL_MASK
