"""What workers are told: answers, what stands in for them, and why there is none (RFC 8914).

Not here: which of them it is (kdns.forward.resolver).
"""

from __future__ import annotations

from enum import IntEnum

from kdns.forward.fairness import Shed
from kdns.forward.reply import Answer
from kdns.wire.iana import Rcode
from kdns.wire.outside import NO_EDE, Source, Told
from kdns.wire.query import RA_BIT

_NOTHING = (b"", (0, 0, 0))


class Why(IntEnum):
    """Extended DNS Error codes (RFC 8914 section 4)."""

    NONE = NO_EDE
    STALE_ANSWER = 3
    CACHED_ERROR = 13
    STALE_NXDOMAIN = 19
    NOT_AUTHORITATIVE = 20
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23


def fresh(number: int, answer: Answer, keep: int, prefetch_hits: int, source: Source) -> Told:
    """An answer that a worker may keep for `keep` seconds."""
    rcode, flags, body, counts, ttl_at, ttls, _, _ = answer
    return Told(number, rcode, flags, body, counts, ttl_at, ttls, keep, prefetch_hits if keep else 0, source)


def stale(number: int, answer: Answer) -> Told:
    """What has expired stands in; it is not kept, for the next answer may be a fresh one."""
    rcode, flags, body, counts, ttl_at, ttls, _, _ = answer
    why = Why.STALE_NXDOMAIN if rcode == Rcode.NXDOMAIN else Why.STALE_ANSWER
    return Told(number, rcode, flags, body, counts, ttl_at, ttls, source=Source.STALE, ede=why)


def failure(number: int, answer: Answer | None, is_cached: bool, keep: int) -> Told:
    """No upstream could answer. answer: the last of those that said so, whose words are passed on."""
    if answer is not None:
        rcode, flags, body, counts, ttl_at, ttls, _, _ = answer
        why = Why.CACHED_ERROR if is_cached else Why.NONE
        return Told(number, rcode, flags, body, counts, ttl_at, ttls, keep, source=Source.FAILURE, ede=why)
    why = Why.CACHED_ERROR if is_cached else Why.NO_REACHABLE_AUTHORITY
    return _failed(number, Rcode.SERVFAIL, why, "no upstream answered", keep)


def shed(number: int, reason: Shed) -> Told:
    """There is no room for the question."""
    return _failed(number, Rcode.SERVFAIL, Why.NETWORK_ERROR, _SHED[reason])


def not_ours(number: int) -> Told:
    """No `forward` line covers the name."""
    return _failed(number, Rcode.REFUSED, Why.NOT_AUTHORITATIVE, "no upstream for this name")


def _failed(number: int, rcode: int, why: Why, text: str, keep: int = 0) -> Told:
    return Told(number, rcode, RA_BIT, *_NOTHING, keep=keep, source=Source.FAILURE, ede=why, text=text)


_SHED: dict[Shed, str] = {
    Shed.CLIENT: "too many queries of this client",
    Shed.FULL: "too many queries",
    Shed.PREFETCH: "too many queries",
    Shed.MAX_CONCURRENT: "max_concurrent queries are on their way",
}
