"""What is wrong with an object or a manifest, and where: errors and remarks for people.

An error keeps the last good state; a Problem is a remark about a manifest that is used nevertheless.
"""

from __future__ import annotations

from typing import NamedTuple


class InvalidObject(ValueError):
    """An object that the API server would refuse; the message names it and says why."""


class ManifestError(ValueError):
    """A manifest that cannot be used, with the place in it, counted from 1; `column` may be unknown."""

    def __init__(self, path: str, line: int, column: int | None, message: str) -> None:
        super().__init__(path, line, column, message)
        self.path = path
        self.line = line
        self.column = column
        self.message = message

    def __str__(self) -> str:
        column = "" if self.column is None else f":{self.column}"
        return f"{self.path}:{self.line}{column}: {self.message}"


class Problem(NamedTuple):
    """A remark about an object of a manifest: what it answers is likely not what its author meant."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"
