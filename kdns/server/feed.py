"""The messages between control and a worker, and the rules by which a worker follows.

    worker  -> control   Hello         send me the whole
    control -> worker    Change        the whole (IMAGE), one zone file (SOURCE), or one ZoneDelta (DELTA)
    worker  -> control   Acknowledge   this generation is what I answer from

Control numbers its changes with generations; the supervisor numbers controls with epochs and the workers of a
slot with incarnations. What is left over in a socket from a dead worker or a dead control is recognised by
those numbers. Pure. Not here: sending (kdns.server.publisher), loading (kdns.server.loading).
"""

from __future__ import annotations

from enum import Enum

import msgspec

from kdns.server.parcel import MAX_INLINE_OCTETS

MAX_MESSAGE_OCTETS = MAX_INLINE_OCTETS + 1024  # a parcel and the few numbers before it


class Scope(Enum):
    """What a change replaces."""

    IMAGE = "image"  # everything of all sources
    SOURCE = "source"  # everything of one zone file
    DELTA = "delta"  # what one ZoneDelta says


class Hello(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="hello"):
    """A worker without data, or one that lost its place, asks for an image."""

    incarnation: int


class Acknowledge(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="acknowledge"):
    """A worker answers from this generation of this control."""

    incarnation: int
    epoch: int
    generation: int


class Change(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="change"):
    """A change of `source` (-1 for an image); `parcel` is None where it comes as a memfd beside the message.

    kept: sources of an image of which the worker is to keep what it has, unless it has less or nothing.
    """

    epoch: int
    generation: int
    scope: Scope
    source: int
    parcel: bytes | None
    kept: tuple[int, ...] = ()


class MalformedMessage(Exception):
    """A message that no kdns of this version sends: a bug of ours."""


_encoder = msgspec.msgpack.Encoder()
_from_control = msgspec.msgpack.Decoder(Change)
_from_worker: msgspec.msgpack.Decoder[Hello | Acknowledge] = msgspec.msgpack.Decoder(Hello | Acknowledge)


def encode(message: Hello | Acknowledge | Change) -> bytes:
    """A message as it is sent."""
    return _encoder.encode(message)


def decode_from_control(data: bytes) -> Change:
    """Decode what a worker received. Raises MalformedMessage."""
    try:
        return _from_control.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedMessage(f"a message of control does not decode: {error}") from None


def decode_from_worker(data: bytes) -> Hello | Acknowledge:
    """Decode what control received. Raises MalformedMessage."""
    try:
        return _from_worker.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedMessage(f"a message of a worker does not decode: {error}") from None


class Verdict(Enum):
    """What a worker does with a change."""

    LOAD = "load"
    IGNORE = "ignore"
    ASK = "ask"  # something is missing in between: send Hello


class Follower:
    """A worker's place in the stream of changes."""

    def __init__(self) -> None:
        self._epoch = 0
        self._generation: int | None = None  # None: waiting for an image

    def judge(self, change: Change) -> Verdict:
        """Whether a change follows on what this worker has."""
        if change.epoch < self._epoch:
            return Verdict.IGNORE  # of a control that is dead
        if change.scope is Scope.IMAGE:
            return Verdict.LOAD
        if self._generation is None:
            return Verdict.IGNORE
        if change.epoch == self._epoch and change.generation <= self._generation:
            return Verdict.IGNORE
        if change.epoch == self._epoch and change.generation == self._generation + 1:
            return Verdict.LOAD
        return Verdict.ASK

    def loaded(self, change: Change) -> None:
        """The change is what this worker answers from now."""
        self._epoch, self._generation = change.epoch, change.generation

    def lost(self) -> None:
        """The place is lost: until the next image, nothing follows on anything."""
        self._generation = None
