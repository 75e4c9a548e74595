"""A site: one server block, and which of its zones decides a name.

CoreDNS's order holds whatever the order in the Corefile: clusters first, then zone files; among the zones of one
kind the longest wins. A cluster zone may pass a name on (`fallthrough`): only what owns records there stays, and what
is not known yet, for that may turn out to own some.
Not here: the choice among sites, which the responder makes by the longest zone of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kdns.answer.spec import OutsideSpec
from kdns.wire.name import suffixes
from kdns.zone.model import Found, Kind, Zone
from kdns.zone.rrset import RRset

_PASSED_ON = frozenset((Kind.ABSENT, Kind.EMPTY))


@dataclass(frozen=True, slots=True)
class Backend:
    """Zones of one kind, by apex; `fallthrough`: for each apex, names below which a denial passes the question on.

    directive: the one that they are of, for who counts.
    """

    zones: Callable[[], dict[bytes, Zone]]
    fallthrough: Mapping[bytes, tuple[bytes, ...]]
    directive: str = ""


class Passage(NamedTuple):
    """What becomes of a name in the zones of a site.

    zone: the one that decides it, None for none: because no zone covers it, or because each passed it on.
    passed: a zone covers the name, and has passed it on.
    exists: one of those knows it as an empty non-terminal; whoever it is passed on to must not deny it.
    is_outside: no zone decides it, and `forward` takes it.
    directive: of the zone.
    """

    zone: Zone | None
    passed: bool
    exists: bool
    is_outside: bool = False
    directive: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One server block; the fields are those of kdns.answer.spec.SiteSpec."""

    zones: tuple[bytes, ...]
    backends: tuple[Backend, ...]
    any_hinfo: bool
    whoami: bool
    max_udp_octets: int
    group: int | None = None
    outside: tuple[OutsideSpec, ...] = ()

    def zone_of(self, qname: bytes) -> Zone | None:
        """The zone that decides a folded name, None if the name is in no zone of the site; see `passage`."""
        return self.passage(qname).zone

    def passage(self, qname: bytes) -> Passage:
        """How a folded name fares in the zones of the site.

        No zone decides it where `forward` or `whoami` is to answer what every zone has passed on. Without them the
        last zone that covers a name keeps it even where it may pass it on: there is nowhere to pass it to.
        """
        ancestors = suffixes(qname)
        decides: Zone | None = None
        exists, directive = False, ""
        for backend in self.backends:
            zones = backend.zones()
            zone = next((zones[apex] for apex in ancestors if apex in zones), None)
            if zone is None:
                continue
            decides = zone if decides is None else _Passed(zone, qname if exists else None)
            directive = backend.directive
            if not any(apex in ancestors for apex in backend.fallthrough.get(zone.apex, ())):
                return Passage(decides, False, exists, directive=directive)
            kind = decides.find(qname).kind
            if kind not in _PASSED_ON:
                return Passage(decides, False, exists, directive=directive)
            exists = exists or kind is Kind.EMPTY
        is_outside = self._is_forwarded(ancestors)
        if decides is None or self.whoami or is_outside:
            return Passage(None, decides is not None, exists, is_outside)
        return Passage(decides, False, exists, directive=directive)

    def _is_forwarded(self, ancestors: list[bytes]) -> bool:
        """Whether a `forward` line takes the name with these ancestors, itself the first."""
        return self.group is not None and any(
            line.zone in ancestors
            and (ancestors[0] == line.zone or not any(excluded in ancestors for excluded in line.excluded))
            for line in self.outside
        )

    def deciders(self) -> dict[bytes, Zone | None]:
        """For each apex of the site the zone that decides all names of which it is the longest ancestor here.

        None where that differs from name to name because a zone may pass names on.
        """
        apexes = {*self.zones, *(apex for backend in self.backends for apex in backend.zones())}
        return {apex: self._decider(apex) for apex in apexes}

    def _decider(self, apex: bytes) -> Zone | None:
        ancestors = suffixes(apex)
        for backend in self.backends:
            zones = backend.zones()
            zone = next((zones[name] for name in ancestors if name in zones), None)
            if zone is not None:
                return None if backend.fallthrough.get(zone.apex) else zone
        return None


class _Passed:
    """A zone that is asked because another one passed the question on.

    What it answers is never kept: a name that turns up in the other zone would have to drop it.

    existing: a name that the other zone knows as an empty non-terminal; it is not denied here.
    """

    def __init__(self, zone: Zone, existing: bytes | None) -> None:
        self._zone = zone
        self._existing = existing

    @property
    def apex(self) -> bytes:
        return self._zone.apex

    @property
    def serial(self) -> int:
        return self._zone.serial

    @property
    def soa(self) -> RRset:
        return self._zone.soa

    @property
    def negative_ttl(self) -> int:
        return self._zone.negative_ttl

    def find(self, qname: bytes) -> Found:
        found = self._zone.find(qname)._replace(lasting=False)
        if found.kind is Kind.ABSENT and qname == self._existing:
            return found._replace(kind=Kind.EMPTY)
        return found

    def denies(self, qname: bytes) -> int | None:
        return self._zone.denies(qname)

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        return self._zone.addresses(name)
