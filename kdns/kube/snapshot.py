"""Snapshots: what was known of clusters, as octets of a file, for a start while their API servers are away.

    prelude   magic, format version
    frames    each after its length, MessagePack: a header; for each source its head; for each resource of it a head
              and the objects in parts
    trailer   checksum of all before it, length of the file, end mark

The end mark and the length tell a file that was cut short from one that was damaged. The checksum is a BLAKE2b:
what was not written so must never become an answer. A CRC of 32 bits lets one in four thousand million damaged files
pass, to save 1 ms per MB; SHA-256 is slower where the processor has no instructions for it. No checksum proves an
author: who may write the file may make up its answers, hence its mode 0600.

A snapshot is read by the version of the format that it was written in, and only with the same objects
(kdns.kube.objects): it is worth less than the risk of guessing. Not here: files and threads (kdns.server.snapshots),
what a snapshot is used for (kdns.kube.mirror).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec.structs import replace

from kdns import __version__
from kdns.kube.decode import ObjectDecoder
from kdns.kube.objects import EndpointSlice, Key, Namespace, Object, Pod, Service
from kdns.kube.request import Notice, Severity

FORMAT_VERSION = 2  # raised with every change of this module that an older one would misread

# Bounds of one part of a section: to encode one holds up the other threads of the process, for some 0.1 ms.
# A part ends with the object that crosses the second bound; an EndpointSlice has some 200 kB at the very most.
PART_OBJECTS_MAX = 64
PART_OCTETS = 1 << 16

# Clocks that are kept differ by far less; one that differs by more tells nothing about an age.
FUTURE_TOLERANCE_SECONDS = 300.0

_MAGIC = b"\x89kdns\r\n\x1a"  # as PNG's: a transfer that takes it for text breaks it
_END = b"kdns-end"
_DIGEST_OCTETS = 32
_PRELUDE = struct.Struct(f">{len(_MAGIC)}sI")
_TRAILER = struct.Struct(f">{_DIGEST_OCTETS}sQ{len(_END)}s")
_LENGTH = struct.Struct(">I")
_PART_HEAD = struct.Struct(">IBH")  # a frame's length, MessagePack's "array 16", how many objects
_ARRAY_16 = 0xDC

_SHARED_FIELDS = ("labels", "ports", "selector", "targets", "families", "subdomain", "phase")
_KEY_FIELDS = ("key", "service")

_T = TypeVar("_T")
_Share = Callable[[Any], Any]


class SnapshotError(ValueError):
    """Octets that are no snapshot, or none that can be used; says why."""


@dataclass(frozen=True, slots=True)
class Section:
    """The objects of one resource.

    resource: which one (identity of kdns.kube.request.Resource). resource_version: where to watch on from.
    objects: all of one kind.
    """

    resource: str
    resource_version: str
    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was known of one cluster, wholly.

    fingerprint: what was asked for, where, and how it was decoded: one line, for the log shows it. A snapshot serves
        only who asks for the same. cluster: UID of its namespace kube-system; "" if unknown.
    taken_at: unix time at which its API server said last that this is so, which may be long before it was written.
    serial: the SOA serial that this was answered with; None if it never was.
    """

    fingerprint: str
    cluster: str
    taken_at: float
    sections: tuple[Section, ...]
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Snapshots to start with, by fingerprint, and what the log is told of them and of those that are refused."""

    snapshots: dict[str, Snapshot]
    notices: list[Notice]


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """Who wrote the file. layout: of which fields its objects are made."""

    writer: str
    layout: str
    sources: int


class _SourceHead(msgspec.Struct, frozen=True, array_like=True):
    fingerprint: str
    cluster: str
    taken_at: float
    sections: int
    serial: int | None


class _SectionHead(msgspec.Struct, frozen=True, array_like=True):
    """kind: of its objects; "" if there are none."""

    resource: str
    kind: str
    resource_version: str
    objects: int


def layout_of(*structs: type[msgspec.Struct]) -> str:
    """A short text that is another one once these, or what they are made of, have other fields or types of fields."""
    found = dict.fromkeys(part for one in structs for part in _structs_in(one))
    fields = [(one.__name__, name, str(one.__annotations__[name])) for one in found for name in one.__struct_fields__]
    return blake2b(repr(fields).encode(), digest_size=8).hexdigest()


def _structs_in(hint: object) -> Iterator[type[msgspec.Struct]]:
    """The structs that values of a type hold."""
    parts = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
        parts = tuple(get_type_hints(hint).values())
    for part in parts:
        yield from _structs_in(part)


_KINDS: tuple[type[Object], ...] = (Namespace, Service, EndpointSlice, Pod)
_LAYOUT = layout_of(*_KINDS)
_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(_Header)
_source_decoder = msgspec.msgpack.Decoder(_SourceHead)
_section_decoder = msgspec.msgpack.Decoder(_SectionHead)
_part_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "Namespace": msgspec.msgpack.Decoder(list[Namespace]),
    "Service": msgspec.msgpack.Decoder(list[Service]),
    "EndpointSlice": msgspec.msgpack.Decoder(list[EndpointSlice]),
    "Pod": msgspec.msgpack.Decoder(list[Pod]),
}
_shared_of = {kind: [name for name in kind.__struct_fields__ if name in _SHARED_FIELDS] for kind in _KINDS}
_keys_of = {kind: [name for name in kind.__struct_fields__ if name in _KEY_FIELDS] for kind in _KINDS}


# Writing


def encode(snapshots: Sequence[Snapshot]) -> Iterator[bytes | bytearray]:
    """The octets of a file, in chunks that are short to make."""
    digest = blake2b(digest_size=_DIGEST_OCTETS)
    octets = _TRAILER.size
    for chunk in _chunks(snapshots):
        digest.update(chunk)
        octets += len(chunk)
        yield chunk
    yield _TRAILER.pack(digest.digest(), octets, _END)


def _chunks(snapshots: Sequence[Snapshot]) -> Iterator[bytes | bytearray]:
    yield _PRELUDE.pack(_MAGIC, FORMAT_VERSION)
    yield _frame(_Header(__version__, _LAYOUT, len(snapshots)))
    for one in snapshots:
        yield _frame(_SourceHead(one.fingerprint, one.cluster, one.taken_at, len(one.sections), one.serial))
        for section in one.sections:
            objects = section.objects
            kind = type(objects[0]).__name__ if objects else ""
            yield _frame(_SectionHead(section.resource, kind, section.resource_version, len(objects)))
            yield from _parts(objects)


def _frame(value: msgspec.Struct) -> bytes:
    body = _encoder.encode(value)
    return _LENGTH.pack(len(body)) + body


def _parts(objects: Iterable[Object]) -> Iterator[bytearray]:
    """Frames of objects, each a MessagePack array."""
    part, count = bytearray(_PART_HEAD.size), 0
    for one in objects:
        _encoder.encode_into(one, part, -1)
        count += 1
        if count == PART_OBJECTS_MAX or len(part) >= PART_OCTETS:
            yield _headed(part, count)
            part, count = bytearray(_PART_HEAD.size), 0
    if count:
        yield _headed(part, count)


def _headed(part: bytearray, count: int) -> bytearray:
    _PART_HEAD.pack_into(part, 0, len(part) - _LENGTH.size, _ARRAY_16, count)
    return part


# Reading


def decode(data: bytes) -> tuple[Snapshot, ...]:
    """What a file says. Its objects share what they have in common. Raises SnapshotError, and nothing else."""
    frames = _Frames(_verified(data))
    header = frames.read(_header_decoder)
    if header.layout != _LAYOUT:
        raise SnapshotError(
            f"it was written by kdns {header.writer}, whose objects have other fields than those of {__version__}"
        )
    share = ObjectDecoder().share
    found = tuple(_snapshot(frames, share) for _ in range(header.sources))
    if not frames.is_at_end:
        raise SnapshotError("more follows than it says")
    return found


def _verified(data: bytes) -> memoryview:
    """The frames of a file that is whole."""
    view = memoryview(data)
    _refuse_other_formats(view)
    body, trailer = view[: -_TRAILER.size], view[-_TRAILER.size :]
    if len(data) < _PRELUDE.size + _TRAILER.size or trailer[-len(_END) :] != _END:
        raise SnapshotError(_without_end(data))
    digest, octets, _ = _TRAILER.unpack(trailer)
    if octets != len(data):
        raise SnapshotError(f"it is damaged: it has {len(data)} octets and should have {octets}")
    if blake2b(body, digest_size=_DIGEST_OCTETS).digest() != digest:
        raise SnapshotError("it is damaged: its content does not match its checksum")
    return body[_PRELUDE.size :]


def _without_end(data: bytes) -> str:
    """What is wrong with a file whose end is not where it should be."""
    end = data.rfind(_END) + len(_END)
    start = end - _TRAILER.size
    if start >= _PRELUDE.size and _TRAILER.unpack_from(data, start)[1] == end:
        return f"it is damaged: it has {len(data)} octets, and its end is after {end}: something was appended to it"
    return f"it is cut short: its end is not there after {len(data)} octets"


def _refuse_other_formats(data: memoryview) -> None:
    if not data:
        raise SnapshotError("it is empty")
    if data[: len(_MAGIC)] != _MAGIC[: len(data)]:
        raise SnapshotError("it is no snapshot of kdns")
    if len(data) < _PRELUDE.size:
        raise SnapshotError(f"it is cut short: it has {len(data)} octets")
    version = _PRELUDE.unpack_from(data)[1]
    if version != FORMAT_VERSION:
        age = "a later" if version > FORMAT_VERSION else "an older"
        raise SnapshotError(f"it was written by {age} kdns: format {version}, and this kdns reads {FORMAT_VERSION}")


class _Frames:
    """The frames of a file, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def read(self, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
        """The next frame's value. Raises SnapshotError if there is none, or another one."""
        start = self._at + _LENGTH.size
        self._at = start + int.from_bytes(self._data[self._at : start], "big")
        if start > len(self._data) or self._at > len(self._data):
            raise SnapshotError("less follows than it says")
        try:
            return decoder.decode(self._data[start : self._at])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SnapshotError(f"what it says cannot be read: {error}") from None


def _snapshot(frames: _Frames, share: _Share) -> Snapshot:
    head = frames.read(_source_decoder)
    if not math.isfinite(head.taken_at):
        raise SnapshotError("what it says cannot be read: it was taken at no time")
    sections = tuple(_section(frames, share) for _ in range(head.sections))
    return Snapshot(head.fingerprint, head.cluster, head.taken_at, sections, head.serial)


def _section(frames: _Frames, share: _Share) -> Section:
    head = frames.read(_section_decoder)
    decoder = _part_decoders.get(head.kind)
    if decoder is None and head.objects:
        raise SnapshotError(f"what it says cannot be read: nothing is known of objects of kind {head.kind!r}")
    objects: list[Object] = []
    while decoder is not None and len(objects) < head.objects:
        part = frames.read(decoder)
        if not part:
            raise SnapshotError("less follows than it says")
        objects += [_shared(one, share) for one in part]
    if len(objects) > head.objects:
        raise SnapshotError("more follows than it says")
    return Section(head.resource, head.resource_version, tuple(objects))


def _shared(one: Object, share: _Share) -> Object:
    """The object, made of values that others are made of too (as kdns.kube.decode makes them)."""
    kind = type(one)
    fields: dict[str, Any] = {name: share(getattr(one, name)) for name in _shared_of[kind]}
    fields |= {name: _shared_key(getattr(one, name), share) for name in _keys_of[kind]}
    return replace(one, **fields)


def _shared_key(key: Key, share: _Share) -> Key:
    kind, namespace, name = key
    shared: Key = share((share(kind), share(namespace), name))
    return shared


# Choosing


def choose(snapshots: Sequence[Snapshot], wanted: Iterable[str], now: float, max_age: float) -> Chosen:
    """Which snapshots to start with. wanted: fingerprints. now: unix time. max_age: seconds."""
    by_fingerprint = {one.fingerprint: one for one in snapshots}
    chosen = Chosen({}, [])
    for fingerprint in dict.fromkeys(wanted):
        one = by_fingerprint.get(fingerprint)
        if one is None:
            chosen.notices.append(_refused(fingerprint, _other_configuration(snapshots)))
        elif doubt := _doubt(one, now, max_age):
            chosen.notices.append(_refused(fingerprint, doubt))
        else:
            chosen.snapshots[fingerprint] = one
            chosen.notices.append(Notice(Severity.INFO, f"used for {fingerprint}: {_size(one, now)}"))
    return chosen


def foreign(snapshot: Snapshot, cluster: str) -> str:
    """Why a snapshot must not be used any more, now that the API server says which cluster it is; "" if it may.

    Where one of the two is unknown, nothing speaks against it.
    """
    if snapshot.cluster in ("", cluster) or not cluster:
        return ""
    return (
        f"the snapshot is of another cluster (its kube-system has UID {snapshot.cluster}, here it has {cluster}):"
        " it is dropped, and nothing is answered before the API server has told everything"
    )


def _refused(fingerprint: str, why: str) -> Notice:
    return Notice(Severity.WARNING, f"not used for {fingerprint}, which starts without it: {why}")


def _doubt(one: Snapshot, now: float, max_age: float) -> str:
    """Why a snapshot is not to be trusted at this time; "" if it is."""
    age = now - one.taken_at
    if age > max_age:
        return f"it is {_duration(age)} old, and the limit is {_duration(max_age)}"
    if age < -FUTURE_TOLERANCE_SECONDS:
        return (
            f"it was taken {_duration(-age)} in the future, so its age cannot be told;"
            " the clock of this machine is wrong, or was when it was written"
        )
    return ""


def _other_configuration(snapshots: Sequence[Snapshot]) -> str:
    others = ", ".join(one.fingerprint for one in snapshots) or "no cluster"
    return f"it was written with another configuration, for {others}"


def _size(one: Snapshot, now: float) -> str:
    objects = sum(len(section.objects) for section in one.sections)
    return f"{objects} objects, {_duration(max(0.0, now - one.taken_at))} old"


def _duration(seconds: float) -> str:
    """For people: two units at most, 25h3m or 42s."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
