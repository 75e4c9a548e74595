"""A `hosts` directive among the sources of an engine: its zones, filled part by part and replaced as a whole.

Not here: what stands in the zones (kdns.zone.hosts), how their parts arrive (kdns.server.feed).
"""

from __future__ import annotations

from collections.abc import Iterator

from kdns.zone.delta import ZoneDelta
from kdns.zone.hosts import HostsBuilder, HostsSpec, HostsZones, apexes_of, entries_of
from kdns.zone.model import Zone
from kdns.zone.unknown import UnknownZone


class HostsSource:
    """See the module's docstring. Its zones are unknown without any part; an empty file has an empty part."""

    def __init__(self, index: int, spec: HostsSpec) -> None:
        self._spec = spec
        self._builder = HostsBuilder(index, spec)
        self._serial = 1
        self._built: HostsZones | None = None
        self.is_whole = False

    def load(self, delta: ZoneDelta) -> None:
        """Add lines."""
        self.is_whole = True
        self._serial = delta.serial or self._serial
        for entry in entries_of(delta.rrsets):
            self._builder.add(entry)

    def is_better_than(self, former: object) -> bool:
        """Whether this knows what its file says, and that does not."""
        return self.is_whole and not (isinstance(former, HostsSource) and former.is_whole)

    @property
    def zones(self) -> dict[bytes, Zone]:
        """The zones, built when first asked for."""
        if not self.is_whole:
            return {apex: UnknownZone(apex) for apex in apexes_of(self._spec)}
        if self._built is None:
            self._built = self._builder.build(self._serial)
        return self._built.zones

    def dismantle(self) -> Iterator[None]:
        """Take apart what nothing is answered from any more: all at once would hold up queries for milliseconds."""
        return self._builder.dismantle()
