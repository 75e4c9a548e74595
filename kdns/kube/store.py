"""The objects of one source, and the deltas that follow when they change.

The store keeps objects, and for a moment the endpoints that vanished from them while they were ready
(kdns.kube.held). What was published is what follows from these, so it is computed again for the few Services that a
change touches, before and after. An update that changes no answer gives no delta.

Objects may come and go in any order: a slice before its Service, a Service after its Namespace is gone.
Not here: where changes come from (kdns.kube.manifest_set, an API watch), what a Service answers (kdns.kube.schema).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar

from msgspec.structs import replace

from kdns.kube.decode import kinds_answered_from
from kdns.kube.held import HeldEndpoints
from kdns.kube.names import is_object_label
from kdns.kube.objects import (
    NAMESPACE_NAME_LABEL,
    Change,
    EndpointSlice,
    Key,
    Namespace,
    Object,
    Pod,
    Service,
    Tombstone,
    labels_mapping,
)
from kdns.kube.request import Resource
from kdns.kube.schema import SchemaOptions, namespace_label, subtree
from kdns.zone.delta import LACKS_NAMESPACES, ZoneDelta, is_ahead, next_serial
from kdns.zone.subtree import Subtree

# Bounds of one part of an image, so that who reads one between queries is never busy with it for long.
PART_SUBTREES_MAX = 8
PART_OCTETS = 1 << 11  # a part ends with the subtree that crosses this; a single one may be larger
PART_NAMES_MAX = 256
_SUBTREE_OVERHEAD_OCTETS = 64  # a Subtree's encoding beside its packed arrays, about

# Subtrees of the Services that changed last, which are often those that change next: one of 5,000 endpoints in 50
# slices takes a millisecond to make and up to a hundred kilobytes to keep. More than roll out at a time.
RECENT_SUBTREES_MAX = 64

# Phases in which a Pod has no address of its own any more, or nobody knows (as CoreDNS).
_PHASES_WITHOUT_ADDRESS = frozenset({"Succeeded", "Failed", "Unknown"})

_PodAddress = tuple[str, bytes]  # namespace, packed address
_Step = tuple[Object | None, Object | None]  # what was there of an object, and what will be


@dataclass(slots=True)
class _Touched:
    """What a change may have changed: keys of Services, namespaces, pod addresses. Ordered, so that deltas are."""

    services: dict[Key, None] = field(default_factory=dict)
    namespaces: dict[str, None] = field(default_factory=dict)
    pods: dict[_PodAddress, None] = field(default_factory=dict)


@dataclass(slots=True)
class _View:
    """What is published of what is touched."""

    subtrees: dict[Key, Subtree]
    namespaces: set[str]
    pods: set[_PodAddress]


class ClusterStore:
    """Objects of one source, to be fed by one caller.

    source: its index in the configuration. former_serial: what was published last of it before there was this store.
    hold: for how many seconds an endpoint that vanished while it was ready is answered with, if its Service exists.
    lacks: the kinds of objects that are not known wholly (LACKS_... of kdns.zone.delta), to be set by the caller,
        who publishes an `image` then; all that is published says it. lacking: labels of the namespaces in which they
        are not; () for all of the cluster.
    """

    def __init__(
        self, source: int, options: SchemaOptions, former_serial: int | None = None, hold: float = 0.0
    ) -> None:
        self.lacks = 0
        self.lacking: tuple[bytes, ...] = ()
        self._source = source
        self._options = options
        self._serial = former_serial
        self._has_loaded = False
        self._objects: dict[str, dict[Key, Object]] = {kind: {} for kind in sorted(kinds_answered_from())}
        self._slices: dict[Key, tuple[EndpointSlice, ...]] = {}  # by key of their Service
        self._held = HeldEndpoints(hold)
        self._recent: dict[Key, Subtree] = {}  # what is published of them, the last changed last
        self._services_in: Counter[str] = Counter()
        self._pods_at: Counter[_PodAddress] = Counter()  # several Pods share a node's address
        listed = options.namespaces if options.namespaces_exist else None
        self._namespaces_taken_on_trust = frozenset(filter(is_object_label, listed or ()))

    @property
    def serial(self) -> int | None:
        """Serial of what was published last; None before the first load or change."""
        return self._serial

    @property
    def next_expiry(self) -> float:
        """When `expire` has something to do, in the seconds of `apply`; infinity for never."""
        return self._held.next_expiry

    @property
    def held(self) -> int:
        """How many endpoints are held at this moment."""
        return self._held.endpoints

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        return len(self._objects[kind])

    def is_headless(self, service: Key) -> bool:
        """Whether there is such a service, without ClusterIP and with endpoints that a selector finds."""
        found = self._service(service)
        return found is not None and found.headless and bool(found.selector)

    def objects(self, resource: Resource) -> list[Object]:
        """The objects of a resource."""
        found = self._objects[resource.kind]
        if not resource.namespace:
            return list(found.values())
        return [one for one in found.values() if one.key[1] == resource.namespace]

    def load(self, changes: Iterable[Change], serial: int) -> None:
        """Take in many changes at once without a delta; `image` is how to publish them. What vanishes so is not held.

        A store that begins with what its predecessor ended with, at the same serial, has nothing new to say.
        """
        for old, new in self._steps(changes):
            self._put(old, new)
        self._recent.clear()
        may_stay = self._has_loaded and self._serial is not None and not is_ahead(serial, self._serial)
        if serial != self._serial and not may_stay:
            self._serial = next_serial(self._serial, serial)
        self._has_loaded = True

    def apply(self, changes: Iterable[Change], serial: int, now: float = 0.0) -> ZoneDelta | None:
        """Take in changes that belong together. Gives the one delta of all of them; None if no answer changes.

        serial: what the delta's serial should be; it is one more than the last instead if it would not be ahead.
        now: monotonic seconds, for endpoints that are held; those that were held long enough go with these changes.
        """
        steps = self._steps(changes)
        touched = self._touched(steps)
        touched.services.update(dict.fromkeys(self._held.due(now)))
        before = self._view(touched)
        self._forget(touched)
        self._held.expire(now)
        for old, new in steps:
            self._put(old, new)
            self._hold(old, now)
        after = self._view(touched)
        self._remember(after)
        delta = self._difference(before, after)
        if delta.changes_nothing:
            if self._serial is None:
                self._serial = next_serial(None, serial)
            return None
        self._serial = next_serial(self._serial, serial)
        return replace(delta, serial=self._serial)

    def expire(self, now: float, serial: int) -> ZoneDelta | None:
        """Let go of the endpoints that were held long enough; see `apply`."""
        return self.apply((), serial, now)

    def image(self) -> Iterator[ZoneDelta]:
        """The whole in parts, the first one with `reset`. No change may be made until the last part is taken."""
        parts = chain(self._namespace_parts(), self._pod_parts(), self._subtree_parts())
        first = next(parts, self._delta())
        yield replace(first, reset=True)
        yield from parts

    # What there is

    def _steps(self, changes: Iterable[Change]) -> list[_Step]:
        """The changes that are any, in order."""
        steps: list[_Step] = []
        latest: dict[Key, Object | None] = {}
        for change in changes:
            key, new = change.key, self._wanted(change)
            old = latest[key] if key in latest else self._objects[key[0]].get(key)
            if old != new:
                steps.append((old, new))
                latest[key] = new
        return steps

    def _wanted(self, change: Change) -> Object | None:
        """The object, or None if there is none, or none for these options."""
        if isinstance(change, Tombstone) or (isinstance(change, Pod) and not self._options.verified_pods):
            return None
        matches = self._options.labels_match
        if matches is None or isinstance(change, Namespace) or matches(labels_mapping(change.labels)):
            return change
        return None

    def _put(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            del self._objects[old.key[0]][old.key]
            _INDEX[type(old)](self, old, -1)
        if new is not None:
            self._objects[new.key[0]][new.key] = new
            _INDEX[type(new)](self, new, 1)
        if isinstance(new, EndpointSlice):
            self._held.release(new)
        if isinstance(old, Service) and new is None:
            self._held.drop(old.key)

    def _hold(self, old: Object | None, now: float) -> None:
        """Hold what vanished with an object that was put away, if it is a slice of a Service."""
        if isinstance(old, EndpointSlice) and self._service(old.service) is not None:
            self._held.hold(old, self._slices.get(old.service, ()), now)

    def _service(self, key: Key) -> Service | None:
        found = self._objects["Service"].get(key)
        return found if isinstance(found, Service) else None

    def _index_namespace(self, namespace: Namespace, by: int) -> None:
        """Found by its key alone."""

    def _index_service(self, service: Service, by: int) -> None:
        _count(self._services_in, service.key[1], by)

    def _index_slice(self, piece: EndpointSlice, by: int) -> None:
        others = tuple(other for other in self._slices.get(piece.service, ()) if other.key != piece.key)
        slices = (*others, piece) if by > 0 else others
        if slices:
            self._slices[piece.service] = slices
        else:
            del self._slices[piece.service]

    def _index_pod(self, pod: Pod, by: int) -> None:
        for place in _places(pod):
            _count(self._pods_at, place, by)

    # What a change touches

    def _touched(self, steps: Iterable[_Step]) -> _Touched:
        touched = _Touched()
        for one in chain.from_iterable(steps):
            if one is not None:
                _TOUCH[type(one)](self, one, touched)
        return touched

    def _touch_namespace(self, namespace: Namespace, touched: _Touched) -> None:
        """Its labels may decide on whether all in it is shown."""
        name = namespace.key[2]
        touched.namespaces[name] = None
        if self._options.namespace_matches is not None:
            touched.services.update((key, None) for key in self._objects["Service"] if key[1] == name)
            touched.pods.update((place, None) for place in self._pods_at if place[0] == name)

    def _touch_service(self, service: Service, touched: _Touched) -> None:
        touched.services[service.key] = None
        touched.namespaces[service.key[1]] = None

    def _touch_slice(self, piece: EndpointSlice, touched: _Touched) -> None:
        touched.services[piece.service] = None

    def _touch_pod(self, pod: Pod, touched: _Touched) -> None:
        touched.pods.update((place, None) for place in _places(pod))

    # What follows from it

    def _view(self, touched: _Touched) -> _View:
        found = ((key, self._recent.get(key) or self._subtree(key)) for key in touched.services)
        return _View(
            {key: one for key, one in found if one is not None},
            {name for name in touched.namespaces if self._namespace_exists(name)},
            {place for place in touched.pods if self._pods_at[place] and self._is_shown(place[0])},
        )

    def _difference(self, before: _View, after: _View) -> ZoneDelta:
        changed = (one for key, one in after.subtrees.items() if before.subtrees.get(key) != one)
        gone = (one.owner for key, one in before.subtrees.items() if key not in after.subtrees)
        return ZoneDelta(
            self._source,
            subtrees=tuple(changed),
            removed=tuple(gone),
            namespaces=_labels(after.namespaces - before.namespaces),
            namespaces_removed=_labels(before.namespaces - after.namespaces),
            pods=_pod_labels(after.pods - before.pods),
            pods_removed=_pod_labels(before.pods - after.pods),
            lacks=self.lacks,
            lacking=self.lacking,
        )

    def _forget(self, touched: _Touched) -> None:
        for key in touched.services:
            self._recent.pop(key, None)

    def _remember(self, published: _View) -> None:
        self._recent.update(published.subtrees)
        for key in list(islice(self._recent, max(0, len(self._recent) - RECENT_SUBTREES_MAX))):
            del self._recent[key]

    def _subtree(self, key: Key) -> Subtree | None:
        service = self._service(key)
        if service is None or not self._is_shown(key[1]):
            return None
        return subtree(service, (*self._slices.get(key, ()), *self._held.pieces(key)), self._options)

    def _namespace_exists(self, name: str) -> bool:
        known = ("Namespace", "", name) in self._objects["Namespace"] or name in self._services_in
        return (known or name in self._namespaces_taken_on_trust) and self._is_shown(name)

    def _is_shown(self, namespace: str) -> bool:
        options = self._options
        if options.namespaces is not None and namespace not in options.namespaces:
            return False
        if options.namespace_matches is None:
            return True
        known = self._objects["Namespace"].get(("Namespace", "", namespace))
        if known is None and self.lacks & LACKS_NAMESPACES:
            return False  # a selector may be for labels that are not there, and which there are is not known yet
        labels = labels_mapping(known.labels) if known is not None else {}
        return options.namespace_matches({**labels, NAMESPACE_NAME_LABEL: namespace})

    # The whole

    def _namespace_parts(self) -> Iterator[ZoneDelta]:
        known = {name for _, _, name in self._objects["Namespace"]}.union(
            self._services_in, self._namespaces_taken_on_trust
        )
        shown = _labels(name for name in known if self._is_shown(name))
        return (self._delta(namespaces=part) for part in _parts(shown))

    def _pod_parts(self) -> Iterator[ZoneDelta]:
        shown = _pod_labels(place for place in self._pods_at if self._is_shown(place[0]))
        return (self._delta(pods=part) for part in _parts(shown))

    def _subtree_parts(self) -> Iterator[ZoneDelta]:
        part: list[Subtree] = []
        octets = 0
        for one in filter(None, map(self._subtree, self._objects["Service"])):
            part.append(one)
            octets += _octets(one)
            if len(part) == PART_SUBTREES_MAX or octets > PART_OCTETS:
                yield self._delta(subtrees=tuple(part))
                part, octets = [], 0
        if part:
            yield self._delta(subtrees=tuple(part))

    def _delta(
        self,
        subtrees: tuple[Subtree, ...] = (),
        namespaces: tuple[bytes, ...] = (),
        pods: tuple[tuple[bytes, bytes], ...] = (),
    ) -> ZoneDelta:
        return ZoneDelta(
            self._source,
            self._serial,
            subtrees=subtrees,
            namespaces=namespaces,
            pods=pods,
            lacks=self.lacks,
            lacking=self.lacking,
        )


_INDEX: dict[type, Callable[[ClusterStore, Any, int], None]] = {
    Namespace: ClusterStore._index_namespace,
    Service: ClusterStore._index_service,
    EndpointSlice: ClusterStore._index_slice,
    Pod: ClusterStore._index_pod,
}
_TOUCH: dict[type, Callable[[ClusterStore, Any, _Touched], None]] = {
    Namespace: ClusterStore._touch_namespace,
    Service: ClusterStore._touch_service,
    EndpointSlice: ClusterStore._touch_slice,
    Pod: ClusterStore._touch_pod,
}

_T = TypeVar("_T")


def _places(pod: Pod) -> Iterator[_PodAddress]:
    """Where a Pod can be asked for: a terminating one until it is gone, one that ended nowhere."""
    if pod.phase not in _PHASES_WITHOUT_ADDRESS:
        yield from ((pod.key[1], address) for address in pod.addresses)


def _count(counter: Counter[_T], what: _T, by: int) -> None:
    counter[what] += by
    if not counter[what]:
        del counter[what]


def _labels(names: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(map(namespace_label, sorted(names)))


def _pod_labels(places: Iterable[_PodAddress]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((namespace_label(namespace), address) for namespace, address in sorted(places))


def _parts(names: tuple[_T, ...]) -> Iterator[tuple[_T, ...]]:
    return (names[at : at + PART_NAMES_MAX] for at in range(0, len(names), PART_NAMES_MAX))


def _octets(one: Subtree) -> int:
    return _SUBTREE_OVERHEAD_OCTETS + sum(len(hosts.addresses) + len(hosts.labels) for hosts in one.hosts)
