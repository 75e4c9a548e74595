"""What a change carries: ZoneDeltas as MessagePack, each after its length; packed once, sent to every worker.

A small parcel travels inside its message. A large one goes into a memfd that is sealed, so that a worker can
map it and decode one part at a time without a copy, sure that it never changes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable, Iterator

import msgspec

from kdns.zone.delta import ZoneDelta

# A message must fit a socket buffer several times over; the kernel's default (net.core.wmem_default) is 208 KiB.
MAX_INLINE_OCTETS = 32 * 1024
_LENGTH_OCTETS = 4
_F_ADD_SEALS = 1033  # <linux/fcntl.h>
_F_SEAL_ALL = 0x1 | 0x2 | 0x4 | 0x8  # no more seals, no shrinking, no growing, no writing

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ZoneDelta)


class MalformedParcel(Exception):
    """Octets that no kdns of this version packs: a bug of ours."""


class Parcel:
    """Packed parts. `data` holds them, or is None where they are in the memfd `fd` (then `close` it)."""

    __slots__ = ("data", "fd")

    def __init__(self, parts: Iterable[ZoneDelta]) -> None:
        self.fd = -1
        packed = bytearray()
        for part in parts:
            body = _encoder.encode(part)
            packed += len(body).to_bytes(_LENGTH_OCTETS, "big") + body
            if len(packed) > MAX_INLINE_OCTETS:
                self._spill(packed)
        if self.fd >= 0:
            self._spill(packed)
            fcntl.fcntl(self.fd, _F_ADD_SEALS, _F_SEAL_ALL)
        self.data = None if self.fd >= 0 else bytes(packed)

    def close(self) -> None:
        """Let go of the memfd; workers that were sent it have it still."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _spill(self, packed: bytearray) -> None:
        if self.fd < 0:
            self.fd = os.memfd_create("kdns-parcel", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        while packed:  # a memfd takes all at once, unless a signal comes in between
            del packed[: os.write(self.fd, packed)]


def unpack(data: bytes | memoryview) -> Iterator[ZoneDelta]:
    """The parts, each decoded when asked for. Raises MalformedParcel."""
    view, at = memoryview(data), 0
    while at < len(view):
        start = at + _LENGTH_OCTETS
        at = start + int.from_bytes(view[at:start], "big")
        if at > len(view):
            raise MalformedParcel("a part is longer than its parcel")
        try:
            yield _decoder.decode(view[start:at])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedParcel(f"a part does not decode: {error}") from None


def unpack_file(fd: int) -> Iterator[ZoneDelta]:
    """The parts in a memfd, which is closed at once; the mapping goes with the iterator."""
    try:
        octets = os.fstat(fd).st_size
        mapping = mmap.mmap(fd, octets, prot=mmap.PROT_READ) if octets else b""
    except (OSError, ValueError) as error:
        raise MalformedParcel(f"cannot map a parcel: {error}") from None
    finally:
        os.close(fd)
    return unpack(memoryview(mapping))
