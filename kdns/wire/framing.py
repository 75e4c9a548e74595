"""DNS messages over a byte stream (RFC 1035 section 4.2.2, RFC 7766 section 8): a length, then the message.

In: octets as they come, however they are cut. Out: whole messages. Not here: connections (kdns.server.tcp).
Rule: whoever feeds a Framer stops reading from the peer while `has_message` holds, so that it never keeps more
than one message that is not whole, plus what one read returned.
"""

from __future__ import annotations

LENGTH_OCTETS = 2
MAX_MESSAGE_OCTETS = 65535


class Framer:
    """The receiving half of one stream. Any octets are a valid stream, so nothing here can fail."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add octets that arrived."""
        self._buffer += data

    def take(self) -> bytes | None:
        """Remove and return the oldest message if it is whole. It may be empty, which is not None."""
        if not self.has_message:
            return None
        end = LENGTH_OCTETS + (self._buffer[0] << 8 | self._buffer[1])
        message = bytes(self._buffer[LENGTH_OCTETS:end])
        del self._buffer[:end]
        return message

    @property
    def has_message(self) -> bool:
        """Whether `take` would return something."""
        buffer = self._buffer
        return len(buffer) >= LENGTH_OCTETS and len(buffer) >= LENGTH_OCTETS + (buffer[0] << 8 | buffer[1])

    @property
    def pending_octets(self) -> int:
        """How much is kept: messages not taken yet and the beginning of one that is not whole."""
        return len(self._buffer)


def frame(message: bytes) -> bytes:
    """A message of at most MAX_MESSAGE_OCTETS as it goes onto a stream."""
    return len(message).to_bytes(LENGTH_OCTETS, "big") + message
