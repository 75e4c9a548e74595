"""Lines out of a byte stream: a watch is one JSON value to a line (Kubernetes API concepts, "Efficient detection of
changes").

In: octets as they come, however they are cut; an API server cuts them every 2,048 octets. Out: whole lines without
their ends. Time is linear in the octets, for blocks of one octet and for a line of megabytes alike. Not here: what
the lines say (kdns.kube.events).
"""

from __future__ import annotations

# etcd takes no object of more than 1.5 MB; as JSON it may be somewhat longer. A longer line is no event, and would
# only fill the memory: the stream is given up (kdns.kube.reflector).
MAX_LINE_OCTETS = 8 << 20

_END = b"\n"


class LineSplitter:
    """The lines of one stream. Keeps at most one line that is not whole, of MAX_LINE_OCTETS and one block."""

    __slots__ = ("_half", "is_overlong")

    def __init__(self) -> None:
        self._half = bytearray()
        self.is_overlong = False  # a line was longer than is allowed: there is nothing after it any more

    def feed(self, block: bytes) -> list[bytes]:
        """Add octets that arrived; the lines that are whole with them, empty ones left out."""
        if self.is_overlong:
            return []
        whole, _, rest = block.rpartition(_END)
        lines = self._complete(whole) if len(rest) < len(block) else []
        self._half += rest
        if len(self._half) > MAX_LINE_OCTETS:
            self._give_up()
        return lines

    @property
    def pending_octets(self) -> int:
        """How much is kept of a line that is not whole."""
        return len(self._half)

    def _complete(self, octets: bytes) -> list[bytes]:
        """The lines of octets that end with a line, what was kept before them."""
        if self._half:
            octets = bytes(self._half + octets)
            self._half = bytearray()
        lines = octets.split(_END)
        for index, line in enumerate(lines):
            if len(line) > MAX_LINE_OCTETS:
                self._give_up()
                del lines[index:]
                break
        return [line for line in lines if line]

    def _give_up(self) -> None:
        self.is_overlong = True
        self._half = bytearray()
