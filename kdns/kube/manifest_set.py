"""The manifests of one source together: what changes when one of them does, and what looks wrong about them.

An object may stand in one file only. Where a Service with selector has no EndpointSlice in any file, its slices are
derived from the Pods. Not here: reading and watching files, which objects are answered from (kdns.kube.store).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from kdns.kube.derive import PodIndex, derive_slices
from kdns.kube.manifests import Manifest
from kdns.kube.objects import Change, EndpointSlice, Key, Object, Pod, Service, Tombstone, describe
from kdns.kube.problem import ManifestError, Problem

_T = TypeVar("_T", bound=Object)

_DERIVED_FROM = ("Service", "EndpointSlice", "Pod")


class ManifestSet:
    """The last good state of each file of a source."""

    def __init__(self) -> None:
        self._manifests: dict[str, Manifest] = {}
        self._derived: dict[Key, tuple[EndpointSlice, ...]] = {}  # by key of their Service

    def update(self, path: str, manifest: Manifest | None) -> list[Change]:
        """As update_all, for one file."""
        return self.update_all({path: manifest})

    def update_all(self, manifests: Mapping[str, Manifest | None]) -> list[Change]:
        """Files that are new, changed, or gone (None), at once: an object may move between them.

        Gives the changes of objects. Raises ManifestError, and changes nothing, if an object would stand in two
        files.
        """
        after = {**self._manifests, **{path: one for path, one in manifests.items() if one is not None}}
        for path, one in manifests.items():
            if one is None:
                after.pop(path, None)
        _refuse_duplicates(after, manifests)
        old = _objects(self._manifests[path] for path in manifests if path in self._manifests)
        new = _objects(one for one in manifests.values() if one is not None)
        self._manifests = after
        changes = _difference(old, new)
        return changes + self._derive({change.key[1] for change in changes if change.key[0] in _DERIVED_FROM})

    @property
    def ignored(self) -> Counter[str]:
        """How many objects of kinds that no answer depends on there are, by kind."""
        return sum((one.ignored for one in self._manifests.values()), Counter())

    def problems(self) -> Iterator[Problem]:
        """Remarks on all files, for the log and for `kdns check`."""
        services = {key for one in self._manifests.values() for key in one.objects if key[0] == "Service"}
        endpoints = self._endpoints()
        for manifest in self._manifests.values():
            yield from manifest.problems
            for found, line in manifest.located():
                message = _doubt(found, services, endpoints)
                if message:
                    yield Problem(manifest.path, line, f"{describe(found.key)}: {message}")

    def _endpoints(self) -> Counter[Key]:
        """How many endpoints each Service has, ready or not."""
        found: Counter[Key] = Counter()
        for piece in (*self._all(EndpointSlice), *(piece for pieces in self._derived.values() for piece in pieces)):
            found[piece.service] += piece.endpoints
        return found

    def _derive(self, namespaces: set[str]) -> list[Change]:
        """Derive anew what may have changed in these namespaces."""
        old = {key: pieces for key, pieces in self._derived.items() if key[1] in namespaces}
        new = self._derived_in(namespaces)
        self._derived = {key: pieces for key, pieces in self._derived.items() if key not in old} | new
        return _difference(_by_key(old), _by_key(new))

    def _derived_in(self, namespaces: set[str]) -> dict[Key, tuple[EndpointSlice, ...]]:
        pods: dict[str, list[Pod]] = defaultdict(list)
        for pod in self._all(Pod):
            if pod.key[1] in namespaces:
                pods[pod.key[1]].append(pod)
        if not pods:
            return {}
        index = {namespace: PodIndex(found) for namespace, found in pods.items()}
        written = {piece.service for piece in self._all(EndpointSlice)}
        derived = {
            service.key: derive_slices(service, index[service.key[1]])
            for service in self._all(Service)
            if service.selector and service.key[1] in index and service.key not in written
        }
        return {key: pieces for key, pieces in derived.items() if pieces}

    def _all(self, kind: type[_T]) -> Iterator[_T]:
        return (
            one for manifest in self._manifests.values() for one in manifest.objects.values() if isinstance(one, kind)
        )


def _refuse_duplicates(manifests: Mapping[str, Manifest], changed: Iterable[str]) -> None:
    for one in filter(None, map(manifests.get, changed)):
        for other in manifests.values():
            if other is not one:
                _refuse_common(one, other)


def _refuse_common(one: Manifest, other: Manifest) -> None:
    for key in sorted(one.objects.keys() & other.objects.keys()):
        elsewhere = f"{other.path}:{other.line_of(key)}"
        raise ManifestError(one.path, one.line_of(key), None, f"{describe(key)} stands here and in {elsewhere} too")


def _objects(manifests: Iterable[Manifest]) -> dict[Key, Object]:
    return {key: one for manifest in manifests for key, one in manifest.objects.items()}


def _by_key(derived: Mapping[Key, tuple[EndpointSlice, ...]]) -> dict[Key, Object]:
    return {piece.key: piece for pieces in derived.values() for piece in pieces}


def _difference(old: Mapping[Key, Object], new: Mapping[Key, Object]) -> list[Change]:
    gone: list[Change] = [Tombstone(key) for key in old if key not in new]
    return gone + [one for key, one in new.items() if old.get(key) != one]


def _doubt(found: Object, services: set[Key], endpoints: Mapping[Key, int]) -> str:
    """Why an object answers less than its author meant; "" if nothing speaks for that."""
    if isinstance(found, EndpointSlice) and found.service not in services:
        return f"it belongs to {describe(found.service)}, which is in no manifest, and so it answers nothing"
    if isinstance(found, Service) and found.selector and not endpoints.get(found.key):
        return f"no endpoints: no EndpointSlice lists any, selector {found.selector} matches no Pod with an address"
    return ""
