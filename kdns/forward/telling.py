"""What workers are told: answers, what stands in for them, and why there is none (RFC 8914).

Not here: which of them it is (kdns.forward.resolver).
"""

from __future__ import annotations

from math import ceil

from kdns.forward.fairness import Shed
from kdns.forward.reply import Answer
from kdns.forward.values import CacheSpec
from kdns.wire.iana import EDE, Rcode
from kdns.wire.outside import NO_EDE, Source, Told, Unasked, unasked
from kdns.wire.query import RA_BIT

_NOTHING = (b"", (0, 0, 0))


def fresh(
    number: int, answer: Answer, source: Source, keep: int = 0, cache: CacheSpec | None = None, whole: int = 0
) -> Told:
    """An answer that a worker may keep for `keep` seconds out of `whole`, as the `cache` line says."""
    if cache is None or not keep:
        return _told(number, answer, keep, source)
    hits = gap = left = 0
    if cache.prefetch_hits:
        hits, gap = cache.prefetch_hits, ceil(cache.prefetch_gap)
        left = ceil(cache.prefetch_percent * whole / 100)
    return Told(
        number, answer.rcode, answer.flags, answer.body, answer.counts, answer.ttl_at, answer.ttls, keep, hits,
        source, NO_EDE, "", cache.keeps_ttls, gap, left,
    )  # fmt: skip


def stale(number: int, answer: Answer) -> Told:
    """What has expired stands in; it is not kept, for the next answer may be a fresh one."""
    why = EDE.STALE_NXDOMAIN if answer.rcode == Rcode.NXDOMAIN else EDE.STALE_ANSWER
    return _told(number, answer, source=Source.STALE, ede=why)


def failure(number: int, answer: Answer | None, is_cached: bool, keep: int) -> Told:
    """No upstream could answer. answer: the last of those that said so, whose words count, or a stand-in."""
    if answer is not None and answer.text:
        return _failed(number, answer.rcode, EDE.CACHED_ERROR if is_cached else answer.ede, answer.text, keep)
    if answer is not None:
        why = EDE.CACHED_ERROR if is_cached else NO_EDE
        return _told(number, answer, keep, source=Source.FAILURE, ede=why)
    why = EDE.CACHED_ERROR if is_cached else EDE.NO_REACHABLE_AUTHORITY
    return _failed(number, Rcode.SERVFAIL, why, "no upstream answered", keep)


def shed(number: int, reason: Shed) -> Told:
    """There is no room for the question."""
    return unasked(_SHED[reason], number)


def not_ours(number: int) -> Told:
    """No `forward` line covers the name."""
    return _failed(number, Rcode.REFUSED, EDE.NOT_AUTHORITATIVE, "no upstream for this name")


def _told(
    number: int, answer: Answer, keep: int = 0, source: Source = Source.UPSTREAM, ede: int = NO_EDE
) -> Told:
    return Told(
        number, answer.rcode, answer.flags, answer.body, answer.counts, answer.ttl_at, answer.ttls, keep, 0,
        source, ede,
    )  # fmt: skip


def _failed(number: int, rcode: int, why: int, text: str, keep: int = 0) -> Told:
    return Told(number, rcode, RA_BIT, *_NOTHING, keep=keep, source=Source.FAILURE, ede=why, text=text)


_SHED: dict[Shed, Unasked] = {
    Shed.CLIENT: Unasked.CLIENT,
    Shed.FULL: Unasked.FULL,
    Shed.PREFETCH: Unasked.FULL,
    Shed.MAX_CONCURRENT: Unasked.MAX_CONCURRENT,
}
