"""All that a worker answers with: the sources, the sites that serve them, the kept replies.

    image = engine.new_image(); image.apply(delta) ...; engine.publish(image)      the whole, loaded aside
    source = engine.new_source(i); ...; engine.publish_source(i, source)           one zone file or `hosts`, aside
    for _ in engine.apply_in_steps(delta): ...                                     one change of a cluster

Used by one thread. A change is prepared between queries, shows as a whole after its last step, and drops exactly the
replies it makes wrong. Not here: how deltas arrive (kdns.server.feed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kdns.answer.acl import Acl
from kdns.answer.guard import UNPROTECTED, Guard, Protection
from kdns.answer.guarded import GuardedResponder
from kdns.answer.hosts import HostsSource
from kdns.answer.outside import Pending
from kdns.answer.responder import Responder
from kdns.answer.rewrite import Rewriter
from kdns.answer.site import Backend, Site
from kdns.answer.spec import NEGATIVE_TTL, ClusterSpec, FileSpec, SiteSpec, SourceSpec, Specification
from kdns.answer.template import Templates
from kdns.observe.tally import Tally
from kdns.zone.cluster import ForwardZone, ReverseZone, is_reverse
from kdns.zone.delta import ZoneDelta
from kdns.zone.hosts import HostsSpec, fallthrough_of, types_of
from kdns.zone.masterzone import MasterZone, MasterZoneBuilder
from kdns.zone.model import Dependency, Zone
from kdns.zone.recordtext import parse_record
from kdns.zone.state import ClusterState
from kdns.zone.unknown import UnknownZone

if TYPE_CHECKING:
    from random import Random


class ClusterSource:
    """A source of subtrees and the zones that show it. former: the source whose place it will take."""

    def __init__(self, index: int, spec: ClusterSpec, negative_ttl: int, former: ClusterSource | None) -> None:
        self._index = index
        self._spec = spec
        self._negative_ttl = negative_ttl
        self._state: ClusterState = ClusterState(index, former._state if former else None)
        self.zones = self._make_zones()

    def load(self, delta: ZoneDelta) -> None:
        """Make a change of a source that nothing is answered from yet."""
        self._state.load(delta)

    def change(self, delta: ZoneDelta) -> Iterator[set[Dependency]]:
        """See ClusterState.change. A `reset` is for a new source only."""
        return self._state.change(delta)

    def succeed(self, former: ClusterSource) -> None:
        """Take the place of a former source of this index."""
        self._state.succeed(former._state)

    def dismantle(self) -> Iterator[None]:
        """Take apart a source that nothing is answered from any more, in steps."""
        return self._state.dismantle()

    @property
    def is_whole(self) -> bool:
        """Whether everything is known."""
        return not self._state.lacks

    def is_better_than(self, former: Source) -> bool:
        """Whether this knows all that is known there, and more."""
        if not isinstance(former, ClusterSource):
            return True
        return not self._state.lacks & ~former._state.lacks and self._state.lacks != former._state.lacks

    def _make_zones(self) -> dict[bytes, Zone]:
        spec, state = self._spec, self._state
        forward = [apex for apex in spec.zones if not is_reverse(apex)]
        zones: dict[bytes, Zone] = {
            apex: ForwardZone(state, apex, spec.ttl, self._negative_ttl, spec.pods, spec.listeners)
            for apex in forward
        }
        for apex in spec.zones:
            if is_reverse(apex):
                primary = forward[0] if forward else apex
                zones[apex] = ReverseZone(state, apex, primary, spec.ttl, self._negative_ttl, spec.listeners)
        return zones


class FileSource:
    """A source that is one zone file; its zone exists once all parts have been applied, and is unknown without any.

    dependency: what every reply made of the zone depends on.
    """

    def __init__(self, index: int, spec: FileSpec) -> None:
        self.dependency: Dependency = (index, b"")
        self._builder = MasterZoneBuilder(index)
        self._apex = spec.apex
        self._is_empty = True
        self._zone: MasterZone | UnknownZone | None = None

    def load(self, delta: ZoneDelta) -> None:
        """Add records."""
        for rrset in delta.rrsets:
            self._is_empty = False
            self._builder.add(rrset)

    @property
    def is_whole(self) -> bool:
        """Whether the zone is known."""
        return not self._is_empty

    def is_better_than(self, former: Source) -> bool:
        """Whether this knows its zone, and that does not."""
        return self.is_whole and not former.is_whole

    @property
    def zones(self) -> dict[bytes, Zone]:
        """The zone, built when first asked for."""
        if self._zone is None:
            self._zone = UnknownZone(self._apex) if self._is_empty else self._builder.build()
        return {self._apex: self._zone}


Source = ClusterSource | FileSource | HostsSource


class Image:
    """The sources as they will be: filled part by part, not visible until published.

    former: what stays of the sources that are answered from, by index, unless the new one knows more.
    """

    def __init__(self, sources: list[Source], former: Mapping[int, Source]) -> None:
        self.sources = sources
        self._former = former

    def apply(self, delta: ZoneDelta) -> None:
        """Apply one part."""
        former = self._former.get(delta.source)
        if former is None or not former.is_whole:
            self.sources[delta.source].load(delta)

    def best(self) -> list[Source]:
        """The sources to answer from."""
        best = list(self.sources)
        for at, former in self._former.items():
            if not best[at].is_better_than(former):
                best[at] = former
        return best


class Engine:
    """See the module's docstring.

    tally: what counts the replies; its layout numbers zones as the specification does.
    rng: draws where rotations start.
    protection: what guards all listeners alike.
    """

    def __init__(
        self,
        specification: Specification,
        tally: Tally,
        rng: Random,
        on_failure: Callable[[Exception, bytes], None],
        negative_ttl: int = NEGATIVE_TTL,
        protection: Protection = UNPROTECTED,
    ) -> None:
        self._specs = specification.sources
        self._negative_ttl = negative_ttl
        self._protection = protection
        self._sources: list[Source] = []
        self._zone_maps: list[dict[bytes, Zone]] = [{} for _ in self._specs]
        self._serials: dict[Zone, list[bytes]] = {}
        sites = [self._site(site) for site in specification.sites]
        # Listeners with the same sites share one responder, and so its kept replies.
        self._responders = {
            indexes: self._responder(
                tuple(sites[i] for i in indexes), tally, rng, on_failure, specification.zone_numbers(indexes)
            )
            for indexes in specification.listeners
        }  # fmt: skip
        self._listeners = specification.listeners

    def responder(self, listener: int) -> Responder:
        """The responder of a listener (index into Specification.listeners)."""
        return self._responders[self._listeners[listener]]

    def new_image(self, kept: Iterable[int] = ()) -> Image:
        """Empty sources, to be filled and published. kept: those that may stay as they are, see Image."""
        former = {index: self._sources[index] for index in kept} if self._sources else {}
        return Image([self.new_source(index) for index in range(len(self._specs))], former)

    def new_source(self, index: int) -> Source:
        """One empty source, to be filled and published."""
        spec = self._specs[index]
        if isinstance(spec, ClusterSpec):
            former = self._sources[index] if self._sources else None
            return ClusterSource(
                index, spec, self._negative_ttl, former if isinstance(former, ClusterSource) else None
            )
        return FileSource(index, spec) if isinstance(spec, FileSpec) else HostsSource(index, spec)

    def publish(self, image: Image) -> Iterator[None]:
        """Answer from these sources from now on: at once, whatever becomes of the steps that are returned.

        The steps take apart what was served before; each is well under a millisecond.
        """
        former, self._sources = self._sources, image.best()
        for old, new in zip(former, self._sources, strict=False):
            if old is not new and isinstance(old, ClusterSource) and isinstance(new, ClusterSource):
                new.succeed(old)
        gone = [source for source in (*former, *image.sources) if source not in self._sources]
        self._zone_maps[:] = [source.zones for source in self._sources]
        self._serials.clear()
        for responder in self._responders.values():
            responder.publish()
        return _dismantled(gone)

    def publish_source(self, index: int, source: FileSource | HostsSource) -> Iterator[None]:
        """Answer from this zone file or `hosts` from now on, and from the other sources as before; see `publish`."""
        for zone in self._zone_maps[index].values():
            self._serials.pop(zone, None)
        former, self._sources[index] = self._sources[index], source
        self._zone_maps[index] = source.zones
        for responder in self._responders.values():
            if isinstance(source, HostsSource) or self._specs[index].fallthrough:
                responder.publish()  # every reply may be one that the former zones have let pass
            else:
                responder.replace(source.dependency)
        return _dismantled([former])

    def tick(self, now: int) -> list[Pending]:
        """To be called each second, and again soon while `is_behind`; gives what is to be asked outside again.

        now: whole seconds of a clock that never goes back.
        """
        return [pending for responder in self._responders.values() for pending in responder.tick(now)]

    @property
    def is_behind(self) -> bool:
        """Whether the last tick has left something to do."""
        return any(responder.is_behind for responder in self._responders.values())

    def apply(self, delta: ZoneDelta) -> None:
        """Apply one change of a cluster's source, at once."""
        for _ in self.apply_in_steps(delta):
            pass

    def apply_in_steps(self, delta: ZoneDelta) -> Iterator[None]:
        """Apply one change of a cluster's source: it is seen as a whole after the last step, and not before.

        Each step is well under a millisecond. No other change may come in between, and no image.
        """
        source = self._sources[delta.source]
        if not isinstance(source, ClusterSource):
            raise TypeError("a zone file changes as a whole, by publish_source")
        for changing in source.change(delta):
            for responder in self._responders.values():
                yield from responder.drop(changing)
            yield
        for zone, cell in self._serials.items():
            cell[0] = zone.serial.to_bytes(4)

    def _responder(
        self,
        sites: tuple[Site, ...],
        tally: Tally,
        rng: Random,
        on_failure: Callable[[Exception, bytes], None],
        numbers: Mapping[bytes, int],
    ) -> Responder:
        guard = Guard(sites, self._protection)
        if guard.is_needed:
            return GuardedResponder(guard, sites, tally, rng, self._serial_cell, on_failure, numbers)
        return Responder(sites, tally, rng, self._serial_cell, on_failure, numbers)

    def _site(self, spec: SiteSpec) -> Site:
        """Hosts and clusters stand each for themselves; the zone files of a site are one: the longest zone wins."""
        hosts = [i for i in spec.sources if isinstance(self._specs[i], HostsSpec)]
        clusters = [i for i in spec.sources if isinstance(self._specs[i], ClusterSpec)]
        files = [i for i in spec.sources if isinstance(self._specs[i], FileSpec)]
        backends = [self._backend((i,), "hosts") for i in hosts]
        backends += [self._backend((i,), "kubernetes") for i in clusters]
        if files:
            backends.append(self._backend(tuple(files), "file"))
        return Site(
            spec.zones, tuple(backends), spec.any_hinfo, spec.whoami, spec.max_udp_octets, spec.group, spec.outside,
            spec.chaos,
            acl=Acl(spec.acl) if spec.acl else None,
            nsid=spec.nsid,
            minimal=spec.minimal,
            room=self._protection.room(spec),
            rewriter=Rewriter(spec.rewrite) if spec.rewrite else None,
            templates=Templates(spec.templates, parse_record) if spec.templates else None,
            autopath=spec.autopath,
            transfers=spec.transfers,
        )  # fmt: skip

    def _backend(self, sources: tuple[int, ...], directive: str) -> Backend:
        maps = self._zone_maps
        specs = [self._specs[i] for i in sources]
        fallthrough = {apex: zones for spec in specs for apex, zones in _fallthrough(spec).items()}
        is_whole = not isinstance(specs[0], ClusterSpec)
        types = types_of(specs[0]) if isinstance(specs[0], HostsSpec) else None
        if len(sources) == 1:
            only = sources[0]
            return Backend(lambda: maps[only], fallthrough, is_whole, types, directive)
        return Backend(
            lambda: {apex: zone for i in sources for apex, zone in maps[i].items()}, fallthrough, is_whole,
            directive=directive,
        )  # fmt: skip

    def _serial_cell(self, zone: Zone) -> list[bytes]:
        return self._serials.setdefault(zone, [zone.serial.to_bytes(4)])


def _fallthrough(spec: SourceSpec) -> dict[bytes, tuple[bytes, ...]]:
    return fallthrough_of(spec) if isinstance(spec, HostsSpec) else dict.fromkeys(spec.zones, spec.fallthrough)


def _dismantled(gone: Iterable[Source]) -> Iterator[None]:
    """The steps that take apart sources that nothing is answered from any more."""
    return (step for source in gone if not isinstance(source, FileSource) for step in source.dismantle())
