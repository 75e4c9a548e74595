"""Which upstream of a `forward` line is asked: CoreDNS's three policies, each over those that fare best.

Not here: how they fare (kdns.forward.health), when the next one is asked (kdns.forward.exchange).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from kdns.forward.health import Rank, Upstream
from kdns.forward.values import Policy

if TYPE_CHECKING:
    from random import Random


_GOOD = Rank.GOOD  # reading a member of an enumeration costs more than comparing it


class Choice:
    """The upstreams of one line. is_failing_fast: none is asked while all are down."""

    def __init__(self, policy: Policy, upstreams: tuple[Upstream, ...], is_failing_fast: bool, rng: Random) -> None:
        self._upstreams = upstreams
        self._is_failing_fast = is_failing_fast
        self._rng = rng
        self._turn = -1
        self._pick = _PICKS[policy]

    def next(self, tried: Collection[int]) -> Upstream | None:
        """The one to ask, not one of those whose index is in `tried`; None if no other one is worth it."""
        upstreams = self._upstreams
        if len(upstreams) == 1 and upstreams[0].rank is _GOOD:
            return None if upstreams[0].index in tried else upstreams[0]
        if not tried and _are_good(upstreams):
            return self._pick(self, upstreams)
        best = min([upstream.rank for upstream in upstreams], default=Rank.DOWN)
        if best is Rank.DOWN:  # nobody knows better than chance
            return None if self._is_failing_fast else self._random(_untried(upstreams, tried))
        left = [one for one in _untried(upstreams, tried) if one.rank is not Rank.DOWN]
        if not left:
            return None
        lowest = min([one.rank for one in left])
        return self._pick(self, [one for one in left if one.rank is lowest])

    def last_resort(self, tried: Collection[int]) -> Upstream | None:
        """One of those that are down, once all others were of no use: it may be back. None if there are no others."""
        if all(upstream.rank is Rank.DOWN for upstream in self._upstreams):
            return None
        return self._random(_untried(self._upstreams, tried))

    def _random(self, upstreams: Sequence[Upstream]) -> Upstream | None:
        if len(upstreams) < 2:
            return upstreams[0] if upstreams else None
        return upstreams[int(self._rng.random() * len(upstreams))]

    def _round_robin(self, upstreams: Sequence[Upstream]) -> Upstream | None:
        """The first one behind the last one that was asked."""
        turn, count = self._turn, len(self._upstreams)
        found = min(upstreams, key=lambda one: (self._upstreams.index(one) - turn - 1) % count)
        self._turn = self._upstreams.index(found)
        return found

    def _sequential(self, upstreams: Sequence[Upstream]) -> Upstream | None:
        return upstreams[0]


def _are_good(upstreams: tuple[Upstream, ...]) -> bool:
    """As nearly always."""
    for upstream in upstreams:
        if upstream.rank is not _GOOD:
            return False
    return len(upstreams) > 0


def _untried(upstreams: tuple[Upstream, ...], tried: Collection[int]) -> list[Upstream]:
    return [one for one in upstreams if one.index not in tried] if tried else list(upstreams)


_PICKS: dict[Policy, Callable[[Choice, Sequence[Upstream]], Upstream | None]] = {
    Policy.RANDOM: Choice._random,
    Policy.ROUND_ROBIN: Choice._round_robin,
    Policy.SEQUENTIAL: Choice._sequential,
}
