"""What the guards of a worker count, in its slot: by `acl`, of cookies, and by the rate limit.

A guard counts in a list of its own (kdns.answer.guard); once a second what it has counted is added to the slot's
words, which outlive the worker. Supervisor and workers make the same `GuardLayout` of the same plan. Not here: what a
guard decides, the names and texts (kdns.observe.families), the memory (kdns.server.slots).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableSequence, Sequence

from kdns.answer.acl import Acl
from kdns.answer.engine import Engine
from kdns.answer.guard import Counted, counted
from kdns.answer.guarded import GuardedResponder
from kdns.answer.spec import Specification
from kdns.observe.families import ACL_ALLOWED, ACL_BLOCKED, ACL_DROPPED, ACL_FILTERED, COOKIES, RATE_LIMITED, Sample
from kdns.wire.name import to_text
from kdns.wire.rules import AclAction

_ACL = {
    AclAction.BLOCK.value: ACL_BLOCKED,
    AclAction.FILTER.value: ACL_FILTERED,
    AclAction.DROP.value: ACL_DROPPED,
}
# What is counted of all listeners together.
_OF_ALL = {
    "cookie_good": Sample(COOKIES, ("good",)),
    "cookie_new": Sample(COOKIES, ("new",)),
    "cookie_bad": Sample(COOKIES, ("bad",)),
    "cookie_malformed": Sample(COOKIES, ("malformed",)),
    "rrl_slip": Sample(RATE_LIMITED, ("slipped",)),
    "rrl_drop": Sample(RATE_LIMITED, ("dropped",)),
}


class GuardLayout:
    """Where which word stands: those of each guard one behind the other. Listeners with the same sites share one.

    servers: the label `server` of each listener; a guard's counts have that of its first one.
    """

    def __init__(self, specification: Specification, servers: Sequence[str]) -> None:
        first: dict[tuple[int, ...], int] = {}
        for at, indexes in enumerate(specification.listeners):
            first.setdefault(indexes, at)
        acls = [Acl(site.acl).zones if site.acl else () for site in specification.sites]
        self._samples: list[Sample] = []
        self.bases: dict[int, int] = {}  # where the words of each guard begin, by its first listener
        for indexes, at in first.items():
            self.bases[at] = len(self._samples)
            self._samples += [_sample(one, servers[at]) for one in counted(acls[site] for site in indexes)]

    @property
    def words(self) -> int:
        """How many there are."""
        return len(self._samples)

    def samples(self, words: Sequence[int] | memoryview) -> Counter[Sample]:
        """What the words say, the zeros left out."""
        found: Counter[Sample] = Counter()
        for sample, count in zip(self._samples, words, strict=True):
            if count:
                found[sample] += count
        return found


class GuardTally:
    """Brings what the guards of an engine count to the words of the worker's slot."""

    def __init__(self, layout: GuardLayout, engine: Engine, words: MutableSequence[int] | memoryview) -> None:
        self._words = words
        responders = ((base, engine.responder(listener)) for listener, base in layout.bases.items())
        self._guards = [(base, one.guard) for base, one in responders if isinstance(one, GuardedResponder)]

    def fold(self) -> None:
        """Add what was counted since the last time."""
        for base, guard in self._guards:
            for at, count in enumerate(guard.counts):
                if count:
                    guard.counts[at] = 0
                    self._words[base + at] += count


def _sample(one: Counted, server: str) -> Sample:
    """What one count of a guard is told as."""
    if one.what in _ACL:
        return Sample(_ACL[one.what], (server, to_text(one.zone), ""))
    return _OF_ALL.get(one.what) or Sample(ACL_ALLOWED, (server, ""))
