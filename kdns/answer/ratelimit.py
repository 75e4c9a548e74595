"""Response rate limiting: how many replies a second go to the clients of one network over UDP (`--rrl`).

Whoever forges the address of a victim makes servers send their replies there. With a limit the victim gets no more
than that from us; of what is over it, every second reply is a short one that says TC, and so costs nobody more than
the query did: a real client behind the same network comes back by TCP, which cannot be forged, or has a DNS cookie.

    limiter.judge(client, now)      PASS, or SLIP (answer with TC), or DROP

Each network has a bucket of tokens of one second's worth, kept as the time at which it would be full again (the
generic cell rate algorithm). Not here: who is never limited (kdns.answer.guard), clocks.
"""

from __future__ import annotations

from enum import Enum

# A network here is what one customer or one node usually has: RFC 6177, and the smallest block that is routed.
PREFIX_OCTETS = {4: 3, 16: 7}  # /24 and /56
# Networks in one generation; there are two, and one that is asked from again is taken over. Some 250 octets each:
# 16 MB at the most. Random forged addresses can only push out networks that are not being flooded.
NETWORKS_MAX = 32768

_V4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2


class Judgement(Enum):
    """What becomes of a reply."""

    PASS = "pass"
    SLIP = "slip"  # a short one that says TC
    DROP = "drop"


class RateLimiter:
    """See the module's docstring. rate: replies a second for one network, 1 or more."""

    def __init__(self, rate: int, networks: int = NETWORKS_MAX) -> None:
        self._interval = 1.0 / rate
        self._most = 1.0 - 0.5 * self._interval  # so far ahead a bucket may be emptied; half, as floats are not exact
        self._networks = networks
        self._new: dict[bytes, _Bucket] = {}
        self._old: dict[bytes, _Bucket] = {}

    def judge(self, client: bytes, now: float) -> Judgement:
        """Whether a reply may go to a packed address; now: seconds of any clock."""
        bucket = self._bucket(network_of(client))
        ahead = bucket.full_at - now
        if not 0.0 < ahead <= 1.0 + self._interval:  # it is full; or the clock went back
            ahead = 0.0
        if ahead > self._most:
            bucket.refused += 1
            return Judgement.SLIP if bucket.refused & 1 else Judgement.DROP
        bucket.full_at = now + ahead + self._interval
        return Judgement.PASS

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def _bucket(self, network: bytes) -> _Bucket:
        bucket = self._new.get(network)
        if bucket is None:
            bucket = self._old.pop(network, None) or _Bucket()
            if len(self._new) >= self._networks:
                self._old, self._new = self._new, {}
            self._new[network] = bucket
        return bucket


class _Bucket:
    """full_at: when the bucket of a network is full again. refused: replies that were over the limit."""

    __slots__ = ("full_at", "refused")

    def __init__(self) -> None:
        self.full_at = 0.0
        self.refused = 0


def network_of(client: bytes) -> bytes:
    """The network of a packed address; an IPv4-mapped IPv6 address is an IPv4 one."""
    if len(client) == 16 and client.startswith(_V4_MAPPED):
        client = client[12:]
    return client[: PREFIX_OCTETS[len(client)]]


def share(rate: int, workers: int) -> int:
    """What each worker may send for all of them to keep to a rate: the kernel spreads clients over them by port.

    At least one reply a second, so that nobody is shut out.
    """
    return -(-rate // workers)
