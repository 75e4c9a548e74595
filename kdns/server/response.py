"""An HTTP/1.1 response as a client reads it (RFC 9112 sections 4 to 8): octets in, head and body octets out. Pure.

An API server sends a watch in chunks of 2,048 octets. What that costs for each chunk is most of what reading costs,
so that this takes large blocks, and walks the chunks in them by slices. Not here: connections (kdns.server.dialing),
trailers (read, and passed over), content codings (never asked for), what stands in a request.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD_OCTETS_MAX = 65536  # an API server's is under 1 kB; its Warning fields may add some
LINE_OCTETS_MAX = 4096  # of a chunk's size with its extensions, and of a line of the trailer

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: ([^\r\n]*))?")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_WITHOUT_CONTENT = (204, 304)


class MalformedResponse(Exception):
    """What came is not an HTTP/1.1 response, or not one to what we send."""


class TruncatedResponse(Exception):
    """The connection ended before the response did."""


class Head(NamedTuple):
    """What comes before the body. headers: names in lower case, several fields of a name joined by commas."""

    status: int
    reason: str
    headers: dict[str, str]


class Response:
    """One response, fed with what comes in blocks of any size.

    head: None until it is there as a whole; interim ones (1xx) are passed over.
    is_complete: the body is whole, and nothing that is fed from now on belongs to it.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self._start = b""  # of the head, while it is not whole
        self._body: _Counted | _Chunked | _UntilClose | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the body is whole."""
        return self._body is not None and self._body.is_complete

    def end(self) -> None:
        """The connection has ended. Raises TruncatedResponse if the response has not."""
        if isinstance(self._body, _UntilClose):
            self._body.is_complete = True
        elif not self.is_complete:
            raise TruncatedResponse("it ended in the middle of an answer")

    def feed(self, data: bytes) -> bytes:
        """Take in what came, and return what of it is content. Raises MalformedResponse."""
        while self._body is None:
            data = self._start + data
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > HEAD_OCTETS_MAX:
                if len(data) > HEAD_OCTETS_MAX:
                    raise MalformedResponse(f"no end of the response's head in {HEAD_OCTETS_MAX} octets")
                self._start = data
                return b""
            self._start = b""
            self._take_head(parse_head(data[:end]))
            data = data[end + 4 :]
        return self._body.feed(data) if data else b""

    def _take_head(self, head: Head) -> None:
        if 100 <= head.status < 200 and head.status != 101:
            return
        self._body = _body_of(head)
        self.head = head


def parse_head(data: bytes) -> Head:
    """The status line and the fields, without the empty line that ends them. Raises MalformedResponse."""
    first, *rest = data.split(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise MalformedResponse(f"not the beginning of an HTTP/1.1 response: {_shown(first)}")
    headers: dict[str, str] = {}
    for field in map(_FIELD_LINE.fullmatch, rest):
        if field is None:
            raise MalformedResponse("a line of the response's head is not a header field")
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1").strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(int(line[1]), (line[2] or b"").decode("latin-1"), headers)


def _body_of(head: Head) -> _Counted | _Chunked | _UntilClose:
    """How the end of the body is found (RFC 9112 section 6.3)."""
    if head.status in _WITHOUT_CONTENT:
        return _Counted(0)
    coding = head.headers.get("content-encoding", "identity").lower()
    if coding not in ("", "identity"):
        raise MalformedResponse(f"the content is {_shown(coding.encode())} encoded, which was not asked for")
    transfer = head.headers.get("transfer-encoding")
    if transfer is not None:
        if transfer.lower() != "chunked":
            raise MalformedResponse(f"an unknown transfer coding: {_shown(transfer.encode())}")
        return _Chunked()
    length = head.headers.get("content-length")
    if length is None:
        return _UntilClose()
    if not (length.isascii() and length.isdigit() and len(length) <= 15):
        raise MalformedResponse(f"a Content-Length that is none: {_shown(length.encode())}")
    return _Counted(int(length))


def _shown(text: bytes) -> str:
    """Some of what a server sent, for the log."""
    return repr(text[:60].decode("latin-1"))


class _UntilClose:
    """Content that ends with the connection."""

    def __init__(self) -> None:
        self.is_complete = False

    def feed(self, data: bytes) -> bytes:
        return data


class _Counted:
    """Content of a length told beforehand."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def is_complete(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes) -> bytes:
        content = data[: self._left]
        self._left -= len(content)
        return content


class _Chunked:
    """Content in chunks (RFC 9112 section 7.1)."""

    def __init__(self) -> None:
        self.is_complete = False
        self._left = 0  # octets of the present chunk that are to come, its line end included
        self._line = b""  # a line that is not whole: a chunk's size, or one of the trailer
        self._in_trailer = False

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        data, at = self._line + data, 0
        self._line = b""
        while not self.is_complete:
            if self._left:
                at = self._cross(data, at, parts)
                if self._left:
                    break
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._take_line(data[at:end])
            at = end + 2
        return b"".join(parts)

    def _cross(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take of the present chunk what is there; returns where it ends."""
        end = at + self._left
        if end <= len(data):
            if self._left > 2:
                parts.append(data[at : end - 2])
            if data[max(at, end - 2) : end] != b"\r\n"[-self._left :]:
                raise MalformedResponse("a chunk is longer than it says")
            self._left = 0
            return end
        rest = data[at:]
        content = max(0, self._left - 2)
        if len(rest) > content and rest[content:] != b"\r":
            raise MalformedResponse("a chunk is longer than it says")
        parts.append(rest[:content])
        self._left -= len(rest)
        return len(data)

    def _take_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.is_complete = not line
            return
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise MalformedResponse(f"not the size of a chunk: {_shown(line)}")
        octets = int(size[1], 16)
        self._left = octets + 2 if octets else 0
        self._in_trailer = not octets

    def _keep(self, line: bytes) -> None:
        if len(line) > LINE_OCTETS_MAX:
            raise MalformedResponse(f"a line between chunks is over {LINE_OCTETS_MAX} octets")
        self._line = line
