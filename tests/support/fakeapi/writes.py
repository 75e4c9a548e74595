"""Writes to the store as the API takes them: create, replace, merge patch, status, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.fakeapi.objects import Author, arranged, timestamp
from tests.support.fakeapi.resources import NAMESPACES, TYPES, Json, ResourceType, type_of
from tests.support.fakeapi.statuses import bad_request, conflict, exists, missing
from tests.support.fakeapi.store import Item, Store

MANAGER = "kubectl-client-side-apply"


class Writer:
    """Writes objects; all of it raises StatusError where a server refuses. `epoch`: what time it is when now is 0."""

    def __init__(self, store: Store, author: Author, epoch: float) -> None:
        self._store = store
        self._author = author
        self._epoch = epoch

    def create(self, value: Json, now: float, manager: str = MANAGER) -> Item:
        kind = type_of(value)
        made = self._author.created(kind, value, manager, self._time(now))
        namespace = made["metadata"].get("namespace", "")
        if kind.is_namespaced and self._store.get("namespaces", namespace) is None:
            raise missing(NAMESPACES, namespace)
        key = kind.key(made)
        if self._store.get(kind.plural, key) is not None:
            raise exists(kind, made["metadata"]["name"])
        return self._store.put(kind.plural, key, made, now)

    def replace(
        self, value: Json, now: float, manager: str = MANAGER, subresource: str = "", patch: Json | None = None
    ) -> Item:
        kind = type_of(value)
        key = kind.key(value)
        old = self._old(kind, key)
        wanted = value["metadata"].get("resourceVersion", "")
        if wanted and wanted != str(old.rv):
            raise conflict(kind, value["metadata"]["name"])
        made = self._author.replaced(kind, old.value, value, manager, self._time(now), subresource, patch)
        return old if made is old.value else self._store.put(kind.plural, key, made, now)

    def apply(self, value: Json, now: float, manager: str = MANAGER) -> Item:
        """Create or replace."""
        kind = type_of(value)
        name = value["metadata"].get("name")
        if not name or self._store.get(kind.plural, kind.key(value)) is None:
            return self.create(value, now, manager)
        return self.replace(value, now, manager)

    def patch(
        self, plural: str, namespace: str, name: str, patch: Json, now: float, subresource: str = ""
    ) -> Item:
        """A JSON merge patch (RFC 7396)."""
        kind = TYPES[plural]
        old = self._old(kind, f"{namespace}/{name}" if kind.is_namespaced else name)
        merged = merge(old.value, patch)
        merged |= {"kind": kind.kind, "apiVersion": kind.group_version}
        return self.replace(merged, now, "kubectl-patch", subresource, patch)

    def delete(self, plural: str, namespace: str, name: str, now: float) -> Item:
        """Returns the last state. A Namespace takes with it all that is in it."""
        kind = TYPES[plural]
        key = f"{namespace}/{name}" if kind.is_namespaced else name
        self._old(kind, key)
        if kind is NAMESPACES:
            self._terminate(key, now)
        return self._store.remove(plural, key, now)

    def _old(self, kind: ResourceType, key: str) -> Item:
        old = self._store.get(kind.plural, key)
        if old is None:
            raise missing(kind, key.rpartition("/")[2])
        return old

    def _terminate(self, name: str, now: float) -> None:
        value = self._old(NAMESPACES, name).value
        meta = {**value["metadata"], "deletionTimestamp": self._time(now)}
        value = arranged(NAMESPACES, {**value, "metadata": meta, "status": {"phase": "Terminating"}})
        self._store.put("namespaces", name, value, now)
        for kind in TYPES.values():
            for key in sorted(self._store.objects(kind.plural)):
                if kind.is_namespaced and key.startswith(f"{name}/"):
                    self._store.remove(kind.plural, key, now)
        self._store.put("namespaces", name, arranged(NAMESPACES, {**value, "spec": {}}), now)

    def _time(self, now: float) -> str:
        return timestamp(self._epoch + now)


def merge(value: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    if any(not isinstance(name, str) for name in patch):
        raise bad_request("a patch is an object")
    made = dict(value) if isinstance(value, Mapping) else {}
    for name, part in patch.items():
        if part is None:
            made.pop(name, None)
        else:
            made[name] = merge(made.get(name), part)
    return made
