"""Log lines on standard error, in CoreDNS's look: `[INFO] text`, `[WARNING] text`, `[ERROR] text`; or, on request, as
JSON: one object on each line, with time (RFC 3339, UTC), level, message, and what else is told of it.

Writing never waits: a reader that has stopped (a full pipe, a held terminal) costs lines, never answers. The
descriptor is shared with other processes, so it cannot be made non-blocking; instead each line is small enough
to be written whole once `poll` says that there is room. Lost lines are counted, and the count is logged.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum

# PIPE_BUF: a pipe that polls writable takes that much without waiting, and whole, so lines of several
# processes never mix.
MAX_LINE_OCTETS = 4096
# About a thousand usual lines: enough for a burst at start, little enough for a reader that never comes back.
MAX_PENDING_OCTETS = 128 * 1024


class LogForm(Enum):
    """What a line looks like."""

    TEXT = "text"
    JSON = "json"


# What is told of a line besides its text, as JSON alone shows it; called only there.
Fields = Callable[[], Mapping[str, object]]


class Log:
    """One process's log. `quiet` silences what is merely informational (CoreDNS's -quiet).

    clock: the unix time in seconds.
    """

    def __init__(
        self,
        fd: int = 2,
        quiet: bool = False,
        form: LogForm = LogForm.TEXT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fd = fd
        self._quiet = quiet
        self._form = form
        self._clock = clock
        self._pending: deque[bytes] = deque()
        self._pending_octets = 0
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def info(self, text: str, fields: Fields | None = None) -> None:
        """Something that is as it should be."""
        if not self._quiet:
            self._say("info", text, fields)

    def warning(self, text: str, fields: Fields | None = None) -> None:
        """Something the operator should look at; answers are right all the same."""
        self._say("warning", text, fields)

    def error(self, text: str, fields: Fields | None = None) -> None:
        """Something that failed; says whose fault it is."""
        self._say("error", text, fields)

    def at(self, level: str, text: str, fields: Fields | None = None) -> None:
        """One of the above by its name, or "debug": whoever calls this knows whether anybody debugs."""
        if level != "info" or not self._quiet:
            self._say(level, text, fields)

    def line(self, text: str) -> None:
        """Write one line of text as it is; control characters are made harmless."""
        self._put(_encode(text))

    def _say(self, level: str, text: str, fields: Fields | None) -> None:
        if self._form is LogForm.TEXT:
            self.line(f"[{level.upper()}] {text}")
        else:
            self._put(_encode_json(self._clock(), level, text, fields() if fields else {}))

    def _put(self, line: bytes) -> None:
        if self._pending_octets + len(line) > MAX_PENDING_OCTETS:
            self._dropped += 1
        else:
            self._pending.append(line)
            self._pending_octets += len(line)
        self.flush()

    def flush(self, patience_ms: int = 0) -> None:
        """Write what is pending as far as the reader lets us, waiting at most `patience_ms` for each line."""
        while self._pending and self._is_writable(patience_ms):
            line = self._pending.popleft()
            self._pending_octets -= len(line)
            if not self._write(line):
                self._dropped += 1
                return
        if self._dropped and not self._pending and self._is_writable(patience_ms):
            lost = f"{self._dropped} log lines were dropped: standard error is not read fast enough"
            line = _encode(f"[WARNING] {lost}")
            if self._form is LogForm.JSON:
                line = _encode_json(self._clock(), "warning", lost, {})
            self._dropped = 0 if self._write(line) else self._dropped

    def forget_pending(self) -> None:
        """In a forked child: what is pending is the parent's to write."""
        self._pending.clear()
        self._pending_octets = self._dropped = 0

    def _is_writable(self, patience_ms: int) -> bool:
        return any(event & select.POLLOUT for _, event in self._poll.poll(patience_ms))

    def _write(self, line: bytes) -> bool:
        try:
            os.write(self._fd, line)
        except OSError:  # closed, or a full disk
            return False
        return True


def _encode(text: str) -> bytes:
    clean = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    line = clean.encode("utf-8", "backslashreplace")
    if len(line) >= MAX_LINE_OCTETS:
        line = line[: MAX_LINE_OCTETS - 4].decode("utf-8", "ignore").encode() + b"..."
    return line + b"\n"


def _encode_json(now: float, level: str, text: str, fields: Mapping[str, object]) -> bytes:
    """An object with the message last, cut where the line would become too long for one write."""
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = {"time": moment, "level": level, **fields}
    line = json.dumps({**head, "message": text}).encode()
    while len(line) >= MAX_LINE_OCTETS and text:
        # A character takes up to 12 octets when it is escaped: cut by what is surely too much, at least one.
        text = text[: len(text) - 1 - (len(line) - MAX_LINE_OCTETS) // 12].removesuffix("...")
        line = json.dumps({**head, "message": text + "..." if text else text}).encode()
    if len(line) >= MAX_LINE_OCTETS:  # fields alone are too many
        line = json.dumps({"time": moment, "level": level, "message": ""}).encode()
    return line + b"\n"
