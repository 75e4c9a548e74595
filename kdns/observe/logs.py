"""Log lines on standard error, in CoreDNS's look: `[INFO] text`, `[WARNING] text`, `[ERROR] text`.

Writing never waits: a reader that has stopped (a full pipe, a held terminal) costs lines, never answers. The
descriptor is shared with other processes, so it cannot be made non-blocking; instead each line is small enough
to be written whole once `poll` says that there is room. Lost lines are counted, and the count is logged.
"""

from __future__ import annotations

import os
import select
from collections import deque

# PIPE_BUF: a pipe that polls writable takes that much without waiting, and whole, so lines of several
# processes never mix.
MAX_LINE_OCTETS = 4096
# About a thousand usual lines: enough for a burst at start, little enough for a reader that never comes back.
MAX_PENDING_OCTETS = 128 * 1024


class Log:
    """One process's log. `quiet` silences what is merely informational (CoreDNS's -quiet)."""

    def __init__(self, fd: int = 2, quiet: bool = False) -> None:
        self._fd = fd
        self._quiet = quiet
        self._pending: deque[bytes] = deque()
        self._pending_octets = 0
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def info(self, text: str) -> None:
        """Something that is as it should be."""
        if not self._quiet:
            self.line(f"[INFO] {text}")

    def warning(self, text: str) -> None:
        """Something the operator should look at; answers are right all the same."""
        self.line(f"[WARNING] {text}")

    def error(self, text: str) -> None:
        """Something that failed; says whose fault it is."""
        self.line(f"[ERROR] {text}")

    def line(self, text: str) -> None:
        """Write one line as it is (the query log's way in); control characters are made harmless."""
        line = _encode(text)
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
            lost = f"[WARNING] {self._dropped} log lines were dropped: standard error is not read fast enough"
            self._dropped = 0 if self._write(_encode(lost)) else self._dropped

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
