"""Records as they stand in a master file, and what is said about them: errors and warnings with file and line.

Not here: how a file becomes records (kdns.zone.masterfile) and records a zone (kdns.zone.assemble).
"""

from __future__ import annotations

from typing import NamedTuple

from kdns.wire.iana import type_text
from kdns.wire.name import to_text

MAX_TOKEN_CHARS = 64  # shown of the token at fault: a line of base64 in a log helps nobody


class Record(NamedTuple):
    """One record of a file.

    path, line: where it starts; of the $INCLUDEd file if it stands in one.
    owner: as written, absolute, uncompressed.
    rdata: uncompressed, its names as written, absolute.
    canonical: `rdata` with its names in lower case (RFC 4034 section 6.2), by which duplicates are known.
    """

    path: str
    line: int
    owner: bytes
    rrtype: int
    ttl: int
    rdata: bytes
    canonical: bytes

    @property
    def where(self) -> str:
        """`path:line`."""
        return f"{self.path}:{self.line}"

    def __str__(self) -> str:
        return f"{to_text(self.owner)} {type_text(self.rrtype)}"


class Problem(NamedTuple):
    """A warning about a zone that can be served all the same; `str()` reads `path:line: message (near 'token')`."""

    path: str
    line: int
    message: str
    token: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}{_near(self.token)}"


class ZoneFileError(Exception):
    """A zone file that cannot be served, by its operator's fault; reads as a Problem does.

    line: where the record or directive at fault starts.
    token: the word at fault, "" if it is not one word.
    """

    def __init__(self, path: str, line: int, message: str, token: str = "") -> None:
        super().__init__(path, line, message, token)  # all, so that it can be pickled
        self.path = path
        self.line = line
        self.message = message
        self.token = token

    def __str__(self) -> str:
        return str(Problem(self.path, self.line, self.message, self.token))


def _near(token: str) -> str:
    if not token:
        return ""
    shown = token if len(token) <= MAX_TOKEN_CHARS else token[:MAX_TOKEN_CHARS] + "..."
    return f" (near {shown!r})"
