"""A tally of its own for an engine, and what it says."""

from __future__ import annotations

from collections import Counter

from kdns.answer.spec import Specification
from kdns.observe.families import KDNS_RESPONSES, Sample
from kdns.observe.tally import Layout, Server, Tally
from kdns.wire.name import to_text


def layout_of(specification: Specification) -> Layout:
    """Every zone of every listener; the listeners are called by their numbers."""
    zones = [to_text(apex) for site in specification.sites for apex in site.zones]
    caches = ["." if site.group is not None else "" for site in specification.sites for _ in site.zones]
    served = [tuple(specification.zone_numbers(sites).values()) for sites in specification.listeners]
    return Layout([Server(str(at), numbers) for at, numbers in enumerate(served)] or [Server("0", ())], zones, caches)


_NONE = Specification()


class Counting:
    """The tally of one engine, and its words."""

    def __init__(self, specification: Specification = _NONE) -> None:
        self.layout = layout_of(specification)
        self.words = [0] * self.layout.words
        self.tally = Tally(self.layout, self.words)

    def told(self, name: str) -> dict[tuple[str, ...], int]:
        """The samples of a metric that are not zero, by their labels; of a histogram, all buckets and the sum."""
        found: dict[tuple[str, ...], int] = {}
        for sample, count in self.samples().items():
            if sample.name == name:
                found[sample.labels] = found.get(sample.labels, 0) + count
        return found

    def samples(self) -> Counter[Sample]:
        """All that was counted."""
        self.tally.fold()
        return self.layout.samples(self.words)

    @property
    def replies(self) -> dict[tuple[str, ...], int]:
        """How many there were by transport, type and rcode."""
        return self.told(KDNS_RESPONSES)

    def total(self, name: str) -> int:
        """The sum of a metric."""
        return sum(self.told(name).values())
