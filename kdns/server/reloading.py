"""`reload`: when to look whether the configuration has changed, and what a look means.

As in CoreDNS, the interval is drawn once for each configuration from INTERVAL +/- JITTER, so that many replicas of
one ConfigMap do not reload at the same moment. What is compared is what the texts say: the SHA-512 of the Corefile as
it was understood, imports and variables put in; a new comment changes nothing, a new file that a pattern matches
does. A change counts when the next look finds it again: a half-written file is neither loaded nor complained of.

`Decider` is pure; `ConfigurationWatch` reads. Not here: the reload itself (kdns.server.supervisor), zone files,
manifests and hosts files, which are watched without being asked for (kdns.server.files).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from random import Random
from typing import NamedTuple

from kdns.corefile import Corefile, CorefileError, print_corefile

HASH_NAME = "sha512"  # as CoreDNS's metric names it
# Between the look that sees a change and the one that confirms it: longer than any editor or kubelet writes, and
# little beside the minute that a ConfigMap takes to reach its volume.
SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, in seconds. jitter: at most half of the interval counts, as in CoreDNS."""

    interval: float = 30.0
    jitter: float = 15.0

    def draw(self, rng: Random) -> float:
        """The time between two looks of one configuration."""
        jitter = min(self.jitter, self.interval / 2)
        return self.interval + rng.uniform(-jitter, jitter)


def pace_of(corefile: Corefile) -> Pace | None:
    """What `reload` asks for, of the first block that has it; None where none has."""
    asked = next((block.reload for block in corefile.blocks if block.reload), None)
    return None if asked is None else Pace(asked.interval_ns / 1e9, asked.jitter_ns / 1e9)


class Version(NamedTuple):
    """What a look found. digest: of what it says. error: why it cannot be used, "" if it can."""

    digest: str
    error: str = ""


class Verdict(Enum):
    """What to do after a look."""

    NOTHING = 0
    RELOAD = 1
    REFUSE = 2  # it is bad, and that has not been said yet


class Decider:
    """Which look means what. Times are seconds by one clock; `due` is when to look, never without a pace."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._period = inf
        self._refused = self._candidate = ""
        self.due = inf
        self.in_use = ""

    def adopt(self, digest: str, pace: Pace | None, now: float) -> None:
        """This is answered from now, and looked at so often; None: not at all."""
        self.in_use = digest
        self._refused = self._candidate = ""
        self._period = pace.draw(self._rng) if pace else inf
        self.due = now + self._period

    def refuse(self, digest: str) -> None:
        """This cannot be used: it is not tried, nor told of, again before something else was seen."""
        self._refused = digest

    def judge(self, seen: Version, now: float) -> Verdict:
        """What a look at `now` means."""
        is_settled = seen.digest == self._candidate
        self._candidate = ""
        self.due = now + self._period
        if seen.digest == self.in_use:
            self._refused = ""
        elif seen.digest != self._refused:
            if is_settled:
                self._refused = seen.digest  # whatever comes of it, once is enough
                return Verdict.REFUSE if seen.error else Verdict.RELOAD
            self._candidate = seen.digest
            self.due = now + min(SETTLE_SECONDS, self._period)
        return Verdict.NOTHING


class ConfigurationWatch:
    """Reads the configuration, to use it or only to look.

    read: raises CorefileError. pace: how often a configuration wants to be looked at, None for never.
    """

    def __init__(
        self, read: Callable[[], Corefile], rng: Random, pace: Callable[[Corefile], Pace | None] = pace_of
    ) -> None:
        self._read = read
        self._pace = pace
        self._decider = Decider(rng)
        self._loading: tuple[Version, Pace | None] = (Version(""), None)
        self.complaint = ""  # what is wrong with what the last look saw

    @property
    def version(self) -> str:
        """The hash of what is in use, "" before anything is."""
        return self._decider.in_use

    def load(self) -> Corefile:
        """Read what is to be used. Raises CorefileError. `adopt` or `refuse` is to follow."""
        try:
            corefile = self._read()
        except CorefileError as error:
            self._loading = (_unusable(error), None)
            raise
        self._loading = (Version(digest_of(corefile)), self._pace(corefile))
        return corefile

    def adopt(self, now: float) -> None:
        """What was loaded last is in use."""
        version, pace = self._loading
        self._decider.adopt(version.digest, pace, now)

    def refuse(self) -> None:
        """What was loaded last could not be used."""
        self._decider.refuse(self._loading[0].digest)

    def look(self, now: float) -> Verdict:
        """See whether it has changed, if it is time. REFUSE: `complaint` says why."""
        if now < self._decider.due:
            return Verdict.NOTHING
        try:
            seen = Version(digest_of(self._read()))
        except CorefileError as error:
            seen = _unusable(error)
        self.complaint = seen.error
        return self._decider.judge(seen, now)


def no_watch() -> ConfigurationWatch:
    """One that never looks, for what is loaded without it."""
    return ConfigurationWatch(lambda: Corefile(()), Random())


def digest_of(corefile: Corefile) -> str:
    """The SHA-512 of what a configuration says, in hexadecimal."""
    try:
        text = print_corefile(corefile)
    except ValueError:  # a path of a flag that no Corefile can hold; flags ask for no looks
        text = repr(corefile.blocks)
    return hashlib.sha512(text.encode("utf-8", "surrogateescape")).hexdigest()


def _unusable(error: CorefileError) -> Version:
    """A text that cannot be understood is known by its first mistake and the place of it."""
    return Version(hashlib.sha512(str(error).encode("utf-8", "surrogateescape")).hexdigest(), str(error))
