"""What came of looking at a source once: a change to publish, and lines for the log.

A change of a cluster travels as a delta in parts, each of which a worker applies between two queries; every part is
whole for the services that it names. With more changed services than a worker can take in one after the other sooner
than it loads everything aside, it travels as an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec.structs import replace

from kdns.server.feed import Scope
from kdns.zone.delta import ZoneDelta

# Some 50 us each in a worker; the image of a cluster in which so many change at once takes no longer.
DELTA_SUBTREES_MAX = 1000
# Of one part: applied in a fraction of a millisecond, as long as the services are of usual size.
PART_SUBTREES_MAX = 4
PART_NAMES_MAX = 64

_T = TypeVar("_T")


@dataclass(slots=True)
class Reading:
    """What came of reading some files of a source, or of listening to its API server.

    scope, parts: the change to publish, an image without its parts; None if no answer changes.
    what: the change in a few words. unchanged: files that were read and change no answer.
    errors, remarks, news: lines for the log, by how loud they are.
    triggered: when happened what the change shows, by the unix clock, as far as it is told.
    is_large: it took much memory, most of which is free again.
    """

    scope: Scope | None = None
    parts: Iterator[ZoneDelta] = field(default_factory=lambda: iter(()))
    what: str = ""
    unchanged: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    triggered: list[float] = field(default_factory=list)
    is_large: bool = False

    def change(self, delta: ZoneDelta) -> None:
        """Publish a change of a cluster."""
        self.what = ", ".join(_told(delta))
        if len(delta.subtrees) + len(delta.removed) > DELTA_SUBTREES_MAX:
            self.scope = Scope.IMAGE
        else:
            self.scope, self.parts = Scope.DELTA, parts_of(delta)


def parts_of(delta: ZoneDelta) -> Iterator[ZoneDelta]:
    """A delta as several that do the same one after the other; namespaces come before what is in them and go last."""
    bare = ZoneDelta(delta.source, delta.serial, lacks=delta.lacks, lacking=delta.lacking)
    found = [
        *(replace(bare, namespaces=part) for part in _chunks(delta.namespaces, PART_NAMES_MAX)),
        *(replace(bare, subtrees=part) for part in _chunks(delta.subtrees, PART_SUBTREES_MAX)),
        *(replace(bare, removed=part) for part in _chunks(delta.removed, PART_SUBTREES_MAX)),
        *(replace(bare, pods=part) for part in _chunks(delta.pods, PART_NAMES_MAX)),
        *(replace(bare, pods_removed=part) for part in _chunks(delta.pods_removed, PART_NAMES_MAX)),
        *(replace(bare, namespaces_removed=part) for part in _chunks(delta.namespaces_removed, PART_NAMES_MAX)),
    ]
    return iter(found)


def _told(delta: ZoneDelta) -> Iterator[str]:
    yield f"{len(delta.subtrees)} services changed, {len(delta.removed)} removed"
    for new, gone, what in (
        (delta.namespaces, delta.namespaces_removed, "namespaces"),
        (delta.pods, delta.pods_removed, "pod addresses"),
    ):
        if new or gone:
            yield f"{len(new)} {what} added, {len(gone)} removed"


def _chunks(values: tuple[_T, ...], size: int) -> Iterator[tuple[_T, ...]]:
    return (values[at : at + size] for at in range(0, len(values), size))
