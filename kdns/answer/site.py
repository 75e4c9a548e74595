"""A site: one server block, and which of its zones decides a name.

CoreDNS's order holds whatever the order in the Corefile: hosts first, then clusters, then zone files; among the zones
of one kind the longest wins. A zone may pass a name on (`fallthrough`): only what owns records there stays, and what
is not known yet, for that may turn out to own some. Hosts may pass on even that, for types that they cannot have.
What is answered after a cluster has passed a name on is not kept: the name may turn up there at any time. Hosts and
zone files that pass names on change as a whole, rarely, and every reply is forgotten then.
A hosts file that passes names on lies over a zone, and is none: its denials carry that zone's SOA where there is one.
Not here: the choice among sites, which the responder makes by the longest zone of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from kdns.answer.acl import Acl
from kdns.answer.autopath import AutopathSpec
from kdns.answer.chaos import ChaosSpec
from kdns.answer.rewrite import Rewriter
from kdns.answer.spec import OutsideSpec
from kdns.answer.template import Templates
from kdns.answer.transfer import Transferable, TransferSpec, is_allowed
from kdns.wire.name import ROOT, is_subdomain, suffixes
from kdns.zone.model import Denial, Found, Kind, Lookup, Zone
from kdns.zone.rrset import RRset

# Fields of a site that say nothing of plain questions for names in none of its zones.
_WITHOUT_SAY = frozenset(
    ("zones", "backends", "any_hinfo", "whoami", "max_udp_octets", "group", "outside", "chaos", "transfers")
)
_PASSED_ON = frozenset((Kind.ABSENT, Kind.EMPTY))


@dataclass(frozen=True, slots=True)
class Backend:
    """Zones of one kind, by apex.

    fallthrough: for each apex, names below which a denial passes the question on.
    is_whole: all replies are forgotten when such a zone changes. types: questions for any other are passed on there
    too, whoever has the name; None to pass on denials alone.
    directive: the one that they are of, for who counts.
    """

    zones: Callable[[], dict[bytes, Zone]]
    fallthrough: Mapping[bytes, tuple[bytes, ...]]
    is_whole: bool = False
    types: frozenset[int] | None = None
    directive: str = ""

    def keeps(self, kind: Kind, qtype: int) -> bool:
        """Whether a question is answered here though `fallthrough` covers its name, of which this was found."""
        return kind not in _PASSED_ON and (self.types is None or qtype in self.types)


class Decider(NamedTuple):
    """The zone that decides all names of which `apex` is the longest ancestor in a site.

    zone: None where it differs from name to name. passing: asked before, and none of them may know the name.
    """

    apex: bytes
    zone: Zone | None = None
    passing: tuple[Zone, ...] = ()


class Passage(NamedTuple):
    """What becomes of a name in the zones of a site.

    zone: the one that decides it, None for none: because no zone covers it, or because each passed it on.
    passed: a zone covers the name, and has passed it on.
    exists: one of those knows it, as an empty non-terminal or with other types; whoever it is passed on to must not
    deny it.
    is_outside: no zone decides it, and `forward` takes it.
    lasting: what it is answered from elsewhere may be kept.
    directive: of the zone.
    """

    zone: Zone | None
    passed: bool
    exists: bool
    is_outside: bool = False
    lasting: bool = True
    directive: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One server block; the fields are those of kdns.answer.spec.SiteSpec.

    room: octets that its replies to queries with EDNS leave for options of the client that asks: those are added to
    replies that are kept for all.
    """

    zones: tuple[bytes, ...]
    backends: tuple[Backend, ...]
    any_hinfo: bool
    whoami: bool
    max_udp_octets: int
    group: int | None = None
    outside: tuple[OutsideSpec, ...] = ()
    chaos: ChaosSpec | None = None
    acl: Acl | None = None
    nsid: bytes = b""
    minimal: bool = False
    room: int = 0
    rewriter: Rewriter | None = None
    templates: Templates | None = None
    autopath: AutopathSpec | None = None
    transfers: tuple[TransferSpec, ...] = ()

    def transferable(self, apex: bytes, client: bytes) -> Transferable | None:
        """The zone with this apex, if a client (packed address) may have it whole."""
        if not self.transfers or not is_allowed(self.transfers, apex, client):
            return None
        zones = (backend.zones().get(apex) for backend in self.backends)
        return next((zone for zone in zones if isinstance(zone, Transferable)), None)

    def zone_of(self, qname: bytes, qtype: int) -> Zone | None:
        """The zone that decides a folded name, None if the name is in no zone of the site; see `passage`."""
        return self.passage(qname, qtype).zone

    def passage(self, qname: bytes, qtype: int) -> Passage:
        """How a question for a folded name fares in the zones of the site.

        No zone decides it where `forward` or `whoami` is to answer what every zone has passed on. Without them the
        last zone that covers a name keeps it even where it may pass it on: there is nowhere to pass it to.
        """
        ancestors = suffixes(qname)
        decides: Zone | None = None
        exists, lasting, directive = False, True, ""
        for backend in self.backends:
            zones = backend.zones()
            zone = next((zones[apex] for apex in ancestors if apex in zones), None)
            if zone is None:
                continue
            decides = zone if lasting and not exists else _Passed(zone, qname if exists else None)
            directive = backend.directive
            if not any(apex in ancestors for apex in backend.fallthrough.get(zone.apex, ())):
                return Passage(decides, False, exists, directive=directive)
            kind = decides.find(qname).kind
            if backend.keeps(kind, qtype):
                return Passage(decides, False, exists, directive=directive)
            exists = exists or kind is not Kind.ABSENT
            lasting = lasting and backend.is_whole
        is_outside = self._is_forwarded(ancestors)
        if decides is None or self.whoami or is_outside:
            return Passage(None, decides is not None, exists, is_outside, lasting)
        return Passage(decides, False, exists, directive=directive)

    def overlaid(self, found: Lookup, qname: bytes) -> Lookup:
        """What a hosts file has denied of a folded name, with the SOA of the zone behind it, which is no made-up one.

        Only where it passes names on: else it is the zone, and what is behind it is never seen. TTLs stay as short as
        the hosts file's are, for it changes at any time.
        """
        ancestors = suffixes(qname)
        denied, (over, *behind) = found.denial, self.backends
        if denied is None or not any(apex in ancestors for apex in over.fallthrough.get(denied.zone.apex, ())):
            return found
        around = (backend.zones() for backend in behind)
        zone = next((zones[apex] for zones in around for apex in ancestors if apex in zones), None)
        if zone is None:
            return found
        there = zone.find(qname)
        if there.kind is Kind.UNKNOWN:
            return found._replace(lasting=False)
        denial = Denial(zone, min(denied.ttl, zone.negative_ttl))
        return found._replace(denial=denial, depends=(*found.depends, there.depends))

    @property
    def passes_on(self) -> bool:
        """Whether `forward` alone has a say in names that are in no zone of the site.

        So it is if it takes all of them, and if no other field is set than those of _WITHOUT_SAY.
        """
        has_say = any(getattr(self, one.name) != one.default for one in fields(self) if one.name not in _WITHOUT_SAY)
        return self.group is not None and OutsideSpec(ROOT) in self.outside and not has_say

    def _is_forwarded(self, ancestors: list[bytes]) -> bool:
        """Whether a `forward` line takes the name with these ancestors, itself the first."""
        return self.group is not None and any(
            line.zone in ancestors
            and (ancestors[0] == line.zone or not any(excluded in ancestors for excluded in line.excluded))
            for line in self.outside
        )

    def deciders(self) -> list[Decider]:
        """Who decides below each apex of the site, see Decider."""
        apexes = {*self.zones, *(apex for backend in self.backends for apex in backend.zones())}
        return [Decider(apex) if self._is_taken_before(apex) else self._decider(apex) for apex in apexes]

    def _is_taken_before(self, apex: bytes) -> bool:
        """Whether a name at or below an apex may be answered otherwise than its zone would."""
        if self.rewriter is not None and self.rewriter.may_hold_below(apex):
            return True
        taken = (*(self.templates.zones if self.templates else ()), *(self.autopath.zones if self.autopath else ()))
        return any(is_subdomain(name, apex) or is_subdomain(apex, name) for name in taken)

    def _decider(self, apex: bytes) -> Decider:
        ancestors = suffixes(apex)
        passing: list[Zone] = []
        for backend in self.backends:
            zones = backend.zones()
            zone = next((zones[name] for name in ancestors if name in zones), None)
            if zone is None:
                continue
            fallthrough = backend.fallthrough.get(zone.apex, ())
            is_passing = any(name in ancestors for name in fallthrough)
            if not is_passing and not any(is_subdomain(name, apex) for name in fallthrough):
                return Decider(apex, zone, tuple(passing))
            if not is_passing or not backend.is_whole:
                break
            passing.append(zone)
        return Decider(apex)


class _Passed:
    """A zone that is asked because another one passed the question on.

    What it answers is never kept: a name that turns up in the other zone would have to drop it.

    existing: a name that the other zone knows; it is not denied here.
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
