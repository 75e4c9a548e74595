"""The recorded list and watch of an API server (tests/data/kubernetes), as one stream in the order of time."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kdns.kube.decode import ObjectDecoder
from kdns.kube.objects import Change, Tombstone

RECORDED = Path(__file__).parents[1] / "data" / "kubernetes" / "recorded"
KINDS = {"namespaces": "Namespace", "services": "Service", "endpointslices": "EndpointSlice", "pods": "Pod"}


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    resource_version: str = msgspec.field(default="0", name="resourceVersion")


class _Meta(msgspec.Struct):
    metadata: _Metadata


class _List(_Meta):
    items: list[msgspec.Raw]


class _WatchEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


@dataclass(frozen=True)
class Event:
    """One object as the server sent it. `verb` is ADDED, MODIFIED, DELETED or BOOKMARK; ADDED for a list's items."""

    seconds: float
    kind: str
    verb: str
    json: bytes
    key: tuple[str, str, str]
    version: int

    def change(self, decoder: ObjectDecoder) -> Change:
        """What a store is told."""
        return Tombstone(self.key) if self.verb == "DELETED" else decoder.decode_json(self.kind, self.json, [])

    def __str__(self) -> str:
        return f"{self.seconds} s: {self.verb} {'/'.join(self.key)} at {self.version}"


def listed() -> list[Event]:
    """The objects at the start."""
    return [
        _event(0.0, kind, "ADDED", item)
        for resource, kind in KINDS.items()
        for item in _list(resource).items
    ]


def list_version() -> int:
    """The resourceVersion of the lists; the watches continue there."""
    versions = {int(_list(resource).metadata.resource_version) for resource in KINDS}
    assert len(versions) == 1
    return versions.pop()


def watched() -> list[Event]:
    """What happened then, bookmarks included. Watches are not in step: versions go back and forth a little."""
    return sorted(
        (event for resource, kind in KINDS.items() for event in _watch(resource, kind)),
        key=lambda event: event.seconds,
    )


def _list(resource: str) -> _List:
    return msgspec.json.decode(gzip.decompress((RECORDED / f"{resource}.list.json.gz").read_bytes()), type=_List)


def _watch(resource: str, kind: str) -> Iterator[Event]:
    for line in gzip.decompress((RECORDED / f"{resource}.watch.jsonl.gz").read_bytes()).splitlines():
        seconds, _, body = line.partition(b"\t")
        event = msgspec.json.decode(body, type=_WatchEvent)
        yield _event(float(seconds), kind, event.type, event.object)


def _event(seconds: float, kind: str, verb: str, body: msgspec.Raw) -> Event:
    octets = bytes(body)
    meta = msgspec.json.decode(octets, type=_Meta).metadata
    return Event(seconds, kind, verb, octets, (kind, meta.namespace, meta.name), int(meta.resource_version))
