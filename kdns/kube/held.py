"""Endpoints that vanished a moment ago, and are answered with for a little longer.

A controller that moves an endpoint from one EndpointSlice to another writes two objects, and an API server tells of
them in the order in which they were written: in between, the endpoint may stand in neither (Kubernetes' docs,
concepts/services-networking/endpoint-slices). So an endpoint that vanishes from all slices of its Service while it is
ready is held for a moment, with its ports and its hostname as last seen. Nothing else is held: an endpoint that
became unready stands in a slice and says so, and with a Service goes all that it had.

What is held is bounded. Of a Service for which there is no room nothing is held, neither what would have found room
nor what vanished from it a moment before: a part of its endpoints would be a set that never was.

Not here: which Services and slices there are (kdns.kube.store), what they answer (kdns.kube.schema).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from math import inf

from msgspec.structs import replace

from kdns.kube.columns import pack_hosts, split_addresses, unpack_hosts
from kdns.kube.objects import EndpointSlice, Key

# Endpoints held at a time, of all Services: a quarter of 1,000,000, and all that an API server could have moved in
# half a second, for in one it writes some thousands of slices with 100 endpoints at most. What vanishes beyond it
# goes at once: that is no move, but a list that lacks most of a cluster. To hold one costs 0.2 to 3 us when it
# vanishes, up to 0.7 us when it goes, and no memory that its slice did not have: less than a second of control.
HELD_ENDPOINTS_MAX = 1 << 18


class HeldEndpoints:
    """The held endpoints of one store, as slices. `seconds`: for how long; 0 to hold nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._taken = 0  # slices ever made here: their numbers
        self._count = 0  # endpoints in them
        self._due: dict[int, tuple[float, Key]] = {}  # by number, first the first to go: when, and of which Service
        self._pieces: dict[Key, dict[int, EndpointSlice]] = {}  # by key of their Service and number
        self._let_go: dict[Key, float] = {}  # Services of which nothing is held until then, first the first

    @property
    def endpoints(self) -> int:
        """How many there are."""
        return self._count

    @property
    def next_expiry(self) -> float:
        """When the next ones go; infinity if none are held."""
        return next((when for when, _ in self._due.values()), inf)

    def pieces(self, service: Key) -> Iterable[EndpointSlice]:
        """Those of one Service. They are never in a slice of it."""
        return self._pieces[service].values() if service in self._pieces else ()

    def due(self, now: float) -> list[Key]:
        """The Services of which some are to go by now."""
        return list(dict.fromkeys(service for _, service in self._due_by(now).values()))

    def expire(self, now: float) -> None:
        """Let go of what was held long enough."""
        for number, (_, service) in self._due_by(now).items():
            self._set(service, number, None)
        for service in list(takewhile(lambda one: self._let_go[one] <= now, self._let_go)):
            del self._let_go[service]

    def drop(self, service: Key) -> None:
        """Let go of all that this Service had, for it is gone."""
        self._let_go.pop(service, None)
        for number in list(self._pieces.get(service, ())):
            self._set(service, number, None)

    def release(self, piece: EndpointSlice) -> None:
        """Let go of what stands in this slice again, ready or not."""
        if piece.service not in self._pieces:
            return
        known = set(_addresses(piece))
        for number, held in list(self._pieces[piece.service].items()):
            self._set(piece.service, number, _narrowed(held, set(_addresses(held)) - known))

    def hold(self, former: EndpointSlice, slices: Sequence[EndpointSlice], now: float) -> None:
        """Hold what was ready in a slice, which changed or went, and now stands in none of the Service's slices.

        now: monotonic seconds, never less than in an earlier call.
        """
        if not self._seconds or former.service in self._let_go:
            return
        piece = _narrowed(former, _vanished(former, slices))
        if piece is None:
            return
        until = now + self._seconds
        if self._count + _count(piece) > HELD_ENDPOINTS_MAX:
            self.drop(piece.service)
            self._let_go[piece.service] = until
            return
        self._taken += 1
        self._due[self._taken] = (until, piece.service)
        self._set(piece.service, self._taken, piece)

    def _set(self, service: Key, number: int, piece: EndpointSlice | None) -> None:
        """What is left of a held slice; None for nothing."""
        pieces = self._pieces.setdefault(service, {})
        self._count -= _count(pieces.pop(number, None))
        self._count += _count(piece)
        if piece is not None:
            pieces[number] = piece
            return
        del self._due[number]
        if not pieces:
            del self._pieces[service]

    def _due_by(self, now: float) -> dict[int, tuple[float, Key]]:
        found = {}
        for number, entry in self._due.items():
            if entry[0] > now:
                break
            found[number] = entry
        return found


def _vanished(former: EndpointSlice, slices: Sequence[EndpointSlice]) -> set[bytes]:
    """The addresses that were ready in the former slice and are in none of these, ready or not."""
    gone = set(split_addresses(former.addresses, former.octets))
    for piece in reversed(slices):  # the one that took its place is at the end, and has most of them
        if not gone:
            break
        gone.difference_update(_addresses(piece))
    return gone


def _addresses(piece: EndpointSlice) -> list[bytes]:
    """All addresses in a slice, ready or not."""
    return split_addresses(piece.addresses + piece.unready, piece.octets)


def _narrowed(piece: EndpointSlice, addresses: Collection[bytes]) -> EndpointSlice | None:
    """The part of a slice with these addresses that is ready; None if nothing is."""
    if not addresses:
        return None
    if len(addresses) == _count(piece):  # as when a slice is deleted
        return replace(piece, unready=b"", draining=None)
    hosts = pack_hosts(host for host in unpack_hosts(piece) if host[0] in addresses)
    if not hosts.addresses:
        return None
    return replace(
        piece,
        addresses=hosts.addresses,
        hostnames=hosts.hostnames,
        pod_names=hosts.pod_names,
        unready=b"",
        draining=None,
    )


def _count(piece: EndpointSlice | None) -> int:
    return len(piece.addresses) // piece.octets if piece is not None else 0
