"""The policies: each picks one cell in constant time, from a tuple that never changes.

Two random choices (Mitzenmacher 2001; Finagle's P2C) for least request and peak EWMA: two endpoints are drawn and the
better one is taken, which is nearly as good as the best of all and does not send everybody to the same one. Cost of
peak EWMA: latency, at least the floor, times one more than what is outstanding. Not here: who may be picked
(kdns.client.choice), hashing (kdns.client.hashing).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import exp
from random import Random

from kdns.client.cells import Cell
from kdns.client.ewma import Floor
from kdns.client.hashing import Rendezvous, Ring
from kdns.client.options import BalancerOptions, Policy
from kdns.client.picker import Picker
from kdns.client.weighted import Alias

Weights = Mapping[Cell, float] | None


class _Scan:
    """Looks at all, where the quick way found none with room, or some were tried. From a random place on."""

    __slots__ = ("_most", "cells")

    def __init__(self, cells: Sequence[Cell], max_outstanding: float) -> None:
        self.cells = tuple(cells)
        self._most = max_outstanding

    def pick_other(self, now: float, rng: Random, key: bytes | None, tried: Collection[Cell]) -> Cell | None:
        """See Picker: the cheapest of those left."""
        most = self._most
        left = [cell for cell in self.cells if cell.outstanding < most and cell not in tried]
        return min(left, key=lambda cell: (self._cost(cell, now), rng.random())) if left else None

    def _cost(self, cell: Cell, now: float) -> float:
        """What is compared where all are looked at."""
        return 0.0


class RoundRobin(_Scan):
    """Each in turn, from a random one on, so that not all clients begin with the same."""

    __slots__ = ("_at",)

    def __init__(self, cells: Sequence[Cell], max_outstanding: float) -> None:
        super().__init__(cells, max_outstanding)
        self._at = -1

    def pick(self, now: float, rng: Random, key: bytes | None) -> Cell | None:
        """See Picker."""
        cells = self.cells
        at = self._at
        at = self._at = (at + 1 if at >= 0 else int(rng.random() * len(cells))) % len(cells)
        cell = cells[at]
        return cell if cell.outstanding < self._most else self.pick_other(now, rng, key, ())


class Weighted(_Scan):
    """At random, by weight."""

    __slots__ = ("_alias",)

    def __init__(self, cells: Sequence[Cell], max_outstanding: float, weights: Sequence[float]) -> None:
        super().__init__(cells, max_outstanding)
        self._alias = Alias(weights)

    def pick(self, now: float, rng: Random, key: bytes | None) -> Cell | None:
        """See Picker."""
        cell = self.cells[self._alias.index(rng.random())]
        return cell if cell.outstanding < self._most else self.pick_other(now, rng, key, ())


class LeastRequest(_Scan):
    """Of two at random, the one with fewer outstanding, by weight."""

    __slots__ = ("_weights",)

    def __init__(self, cells: Sequence[Cell], max_outstanding: float, weights: Weights) -> None:
        super().__init__(cells, max_outstanding)
        self._weights = weights

    def pick(self, now: float, rng: Random, key: bytes | None) -> Cell | None:
        """See Picker."""
        cells = self.cells
        count = len(cells)
        random = rng.random
        first = cells[int(random() * count)]
        if count > 1:
            at = int(random() * (count - 1))
            second = cells[at]
            if second is first:
                second = cells[count - 1]
            weights = self._weights
            if weights is None:
                if second.outstanding < first.outstanding:
                    first = second
            elif (second.outstanding + 1) / weights[second] < (first.outstanding + 1) / weights[first]:
                first = second
        return first if first.outstanding < self._most else self.pick_other(now, rng, key, ())

    def _cost(self, cell: Cell, now: float) -> float:
        return (cell.outstanding + 1) / (1.0 if self._weights is None else self._weights[cell])


class PeakEwma(_Scan):
    """Of two at random, the one with the smaller cost."""

    __slots__ = ("_decay", "_floor", "_weights")

    def __init__(
        self, cells: Sequence[Cell], max_outstanding: float, weights: Weights, floor: Floor, decay: float
    ) -> None:
        super().__init__(cells, max_outstanding)
        self._weights = weights
        self._floor = floor
        self._decay = decay

    def pick(self, now: float, rng: Random, key: bytes | None) -> Cell | None:
        """See Picker. Written out, for it is on the way of every request.

        An average below the floor needs no decay: it counts as the floor.
        """
        cells = self.cells
        count = len(cells)
        random = rng.random
        first = cells[int(random() * count)]
        if count > 1:
            second = cells[int(random() * (count - 1))]
            if second is first:
                second = cells[count - 1]
            floor = self._floor.value
            one = first.ewma
            if one > floor:
                one *= exp((first.measured_at - now) / self._decay)
            other = second.ewma
            if other > floor:
                other *= exp((second.measured_at - now) / self._decay)
            one = (one if one > floor else floor) * (first.outstanding + 1)
            other = (other if other > floor else floor) * (second.outstanding + 1)
            weights = self._weights
            if weights is not None:
                one /= weights[first]
                other /= weights[second]
            if other < one or (other == one and second.outstanding < first.outstanding):
                first = second
        return first if first.outstanding < self._most else self.pick_other(now, rng, key, ())

    def _cost(self, cell: Cell, now: float) -> float:
        latency = max(cell.ewma * exp(min(0.0, cell.measured_at - now) / self._decay), self._floor.value)
        return latency * (cell.outstanding + 1) / (1.0 if self._weights is None else self._weights[cell])


def make_picker(
    policy: Policy, cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor, now: float
) -> Picker:
    """The picker of a policy over these cells, of which there is at least one."""
    return _MAKERS[policy](cells, options, weights, floor)


def _round_robin(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    """In slow start, at random by weight: a turn cannot be a part of one."""
    return RoundRobin(cells, options.max_outstanding) if weights is None else _random(cells, options, weights, floor)


def _random(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    return Weighted(cells, options.max_outstanding, [1.0 if weights is None else weights[cell] for cell in cells])


def _weighted(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    """By the weights of SRV records; the least of them is small, but not nothing (RFC 2782)."""
    shares = [max(cell.endpoint.weight, _WEIGHT_LEAST) * (1.0 if weights is None else weights[cell]) for cell in cells]
    return Weighted(cells, options.max_outstanding, shares)


def _least_request(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    return LeastRequest(cells, options.max_outstanding, weights)


def _peak_ewma(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    return PeakEwma(cells, options.max_outstanding, weights, floor, options.ewma.decay)


def _rendezvous(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    return Rendezvous(cells, options.hashing, options.max_outstanding)


def _ring(cells: Sequence[Cell], options: BalancerOptions, weights: Weights, floor: Floor) -> Picker:
    return Ring(cells, options.hashing, options.max_outstanding)


# "A very small chance": a hundredth of the smallest weight that is none.
_WEIGHT_LEAST = 0.01
_MAKERS: dict[Policy, Callable[[Sequence[Cell], BalancerOptions, Weights, Floor], Picker]] = {
    Policy.PEAK_EWMA: _peak_ewma,
    Policy.LEAST_REQUEST: _least_request,
    Policy.ROUND_ROBIN: _round_robin,
    Policy.RANDOM: _random,
    Policy.WEIGHTED: _weighted,
    Policy.RENDEZVOUS: _rendezvous,
    Policy.RING_HASH: _ring,
}
