"""The operating system's random bits, fetched many at a time.

What is drawn for questions to upstreams (IDs, sockets, letter case) must not be guessed from what was drawn before
(RFC 5452 section 4.3), so that it comes from the system's generator and from nothing else. A system call for each
draw would cost as much as half a question; nothing is lost by fetching for some hundred questions at once, as long as
no two processes share what was fetched: a forwarder makes its own. Not here: what is drawn (kdns.forward,
kdns.server.upstream_udp).
"""

from __future__ import annotations

import os
from random import SystemRandom

_STORE_OCTETS = 8192
_FLOAT_BITS = 53  # of a float's mantissa, as random.random has them


class Draws(SystemRandom):
    """random.SystemRandom, with a store. Not to be shared over a fork."""

    def __init__(self) -> None:
        super().__init__()
        self._store = b""
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        """A number of `k` random bits."""
        octets = (k + 7) >> 3
        at, end = self._at, self._at + octets
        if end > len(self._store):
            self._store = os.urandom(max(_STORE_OCTETS, octets))
            at, end = 0, octets
        self._at = end
        return int.from_bytes(self._store[at:end]) >> 8 * octets - k

    def random(self) -> float:
        """A number from 0 to 1, which it is not."""
        return self.getrandbits(_FLOAT_BITS) * 2.0**-_FLOAT_BITS
