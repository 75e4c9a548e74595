"""Where something stands in a configuration text, and the one error of this room.

Rule: whatever is wrong with a configuration is a `CorefileError` that names file, line and column, whose fault it is
and what to do. Nothing here reads files; `file` is only a name for messages.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

# No name in a Corefile is longer; finding the nearest one takes the square of the length.
_MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count characters from 1. Line 0: a command line flag, not a file."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class CorefileError(Exception):
    """A configuration that cannot be used; `str()` reads `Corefile:3:5: message`."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(position, message)  # both, so that the error can be pickled on its way to another process
        self.position = position
        self.message = message

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"

    @property
    def file(self) -> str:
        """The file, or the flag, that is at fault."""
        return self.position.file

    @property
    def line(self) -> int:
        """The line, from 1; 0 for a flag."""
        return self.position.line

    @property
    def column(self) -> int:
        """The column in characters, from 1; 0 for a flag."""
        return self.position.column


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message, `: did you mean ...?`, where one of the known names is close, else nothing."""
    near = difflib.get_close_matches(name[:_MAX_NAME], sorted(known), n=1)
    return f": did you mean `{near[0]}`?" if near else ""
