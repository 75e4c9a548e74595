"""A client that asks one question at a time, and knows how long each answer takes.

Not here: load (bench.driver).
"""

from __future__ import annotations

import socket
import time

from bench.peers import ADDRESS

REPLY_SECONDS = 1.0
REPLY_OCTETS_MAX = 4096


class Lost(Exception):
    """A question was not answered."""


class Client:
    """Asks for the addresses of names, one question at a time."""

    def __init__(self, port: int) -> None:
        self._sock = socket.socket(type=socket.SOCK_DGRAM)
        self._sock.settimeout(REPLY_SECONDS)
        self._sock.connect((ADDRESS, port))
        self._number = 0

    def ask(self, query: bytes) -> bytes:
        """Ask once. Raises Lost if there is no answer."""
        self._number = (self._number + 1) & 0xFFFF
        message_id = self._number.to_bytes(2, "big")
        self._sock.send(message_id + query[2:])
        while True:
            try:
                reply = self._sock.recv(REPLY_OCTETS_MAX)
            except TimeoutError:
                raise Lost(f"no answer in {REPLY_SECONDS:g} s") from None
            if reply[:2] == message_id:
                return reply

    def round_trips(self, query: bytes, seconds: float, pause: float) -> list[int]:
        """How many nanoseconds each answer takes, asking for so long, with a pause in between."""
        found = []
        end = time.monotonic_ns() + int(seconds * 1e9)
        while (since := time.monotonic_ns()) < end:
            self.ask(query)
            found.append(time.monotonic_ns() - since)
            time.sleep(pause)
        return found

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()
