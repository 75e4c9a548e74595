"""In which order endpoints are tried, by priority and weight (RFC 2782, "Usage rules").

The RFC's own draw is inclusive at both ends: it gives two records of weight 1 the shares 2/3 and 1/3, and weight 0 less
than it says. The default is the race that draws the same way without that: each endpoint draws an exponential time
with its weight as the rate, and the first comes first (Efraimidis and Spirakis 2006). Not here: weighted picking for
each request (kdns.client.weighted).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from math import inf, log
from random import Random

from kdns.client.endpoint import Endpoint


def order(endpoints: Iterable[Endpoint], rng: Random, strict: bool = False) -> tuple[Endpoint, ...]:
    """Lowest priority number first; within one, at random by weight. strict: as the RFC writes it."""
    arrange = _as_written if strict else _by_race
    ranked = sorted(endpoints, key=_priority)
    return tuple(one for _, same in groupby(ranked, key=_priority) for one in arrange(list(same), rng))


def _by_race(endpoints: list[Endpoint], rng: Random) -> list[Endpoint]:
    """Those of weight 0 come last, in any order."""

    def finish(endpoint: Endpoint) -> tuple[float, float]:
        drawn = -log(1.0 - rng.random())
        return (drawn / endpoint.weight, 0.0) if endpoint.weight > 0 else (inf, drawn)

    return sorted(endpoints, key=finish)


def _as_written(endpoints: list[Endpoint], rng: Random) -> list[Endpoint]:
    """Weight 0 at the head, running sums, a uniform integer from 0 to the sum inclusive, the first not below it."""
    rng.shuffle(endpoints)  # the RFC leaves the order within equal weights open
    left = sorted(endpoints, key=lambda one: one.weight > 0)
    ordered = []
    while left:
        drawn = rng.randint(0, sum(one.weight for one in left))
        total = 0
        for index, one in enumerate(left):
            total += one.weight
            if total >= drawn:
                ordered.append(left.pop(index))
                break
    return ordered


def _priority(endpoint: Endpoint) -> int:
    return endpoint.priority
