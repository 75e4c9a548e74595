"""What there is to expose at one moment, as plain values: the words between the supervisor and the exposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kdns.observe.families import Sample
from kdns.observe.status import Word


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """One cluster. label: no other one's. words: its figures by kdns.observe.status."""

    label: str
    words: Mapping[Word, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it.

    workers: how many are in which state. now_ns: by the clock of STALE_SINCE_NS. samples: whatever is of
    kdns.observe.families.
    """

    workers: Mapping[str, int]
    is_ready: bool
    clusters: Sequence[ClusterFacts]
    now_ns: int
    samples: Mapping[Sample, float] = field(default_factory=dict)
