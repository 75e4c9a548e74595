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

# Kinds of objects that a source may lack; bits of ZoneDelta.lacks.
LACKS_SERVICES = 1
LACKS_ENDPOINTS = 2
LACKS_NAMESPACES = 4
LACKS_PODS = 8
LACKS_EVERYTHING = LACKS_SERVICES | LACKS_ENDPOINTS | LACKS_NAMESPACES | LACKS_PODS

_KINDS = {
    LACKS_SERVICES: "Services", LACKS_ENDPOINTS: "EndpointSlices", LACKS_NAMESPACES: "Namespaces", LACKS_PODS: "Pods",
}

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
    lacks: kinds of objects that the source does not know wholly (LACKS_...), with this delta: what depends on them
        is neither answered nor denied. It changes only with a `reset`; every delta says it.
    lacking: labels of the namespaces that `lacks` is said of; () for all of the cluster. As `lacks`, in every delta.
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
    lacks: int = 0
    lacking: tuple[bytes, ...] = ()

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


def kinds_text(lacks: int) -> str:
    """The kinds of objects that these bits stand for, as people write them: `Services, EndpointSlices and Pods`."""
    kinds = [kind for bit, kind in _KINDS.items() if lacks & bit]
    return " and ".join(filter(None, (", ".join(kinds[:-1]), *kinds[-1:])))


def is_ahead(serial: int, of: int) -> bool:
    """Whether `serial` is later than `of` by RFC 1982 section 3.2."""
    return 0 < ((serial - of) & SERIAL_MASK) < SERIAL_HALF


def next_serial(previous: int | None, wanted: int) -> int:
    """The serial to publish: `wanted` (mod 2^32) if that is ahead of `previous`, else previous + 1."""
    wanted &= SERIAL_MASK
    if previous is None or is_ahead(wanted, previous):
        return wanted
    return (previous + 1) & SERIAL_MASK
