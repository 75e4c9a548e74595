"""What is remembered of one target, and what a resolution makes of it; without IO.

- An answer holds for its TTL, within bounds, and is asked for anew a little earlier, at a moment drawn at random.
- A denial holds as RFC 2308 says. It must be seen twice, `empty_gap` apart, before it takes the place of endpoints.
- A failure never clears: what is known is served, stale if need be, for up to `stale_most` (RFC 8767). It is tried
  again after a wait that doubles (RFC 9520).
- A failed endpoint is a reason to ask anew, but not twice within `early_gap`.

Not here: replies (kdns.client.resolution), where sets are kept (kdns.client.store), who waits (kdns.client.resolver).
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random

from kdns.client.backend import Kind
from kdns.client.endpoint import EndpointSet
from kdns.client.options import ResolverOptions
from kdns.client.resolution import Found
from kdns.client.target import Target

# Doublings of a failure's wait that are counted; the wait has long reached its bound by then.
_DOUBLINGS_MOST = 20


class Memory:
    """Of one target. `known` is what readers have; all else is between two resolutions."""

    __slots__ = ("_asked_at", "_confirmed_until", "_denied_at", "_failures", "_options", "_rng", "known", "target")

    def __init__(self, target: Target, options: ResolverOptions, rng: Random) -> None:
        self.target = target
        self.known: EndpointSet | None = None
        self._options = options
        self._rng = rng
        self._asked_at = -inf
        self._confirmed_until = -inf  # when the endpoints' TTL ran out
        self._denied_at: float | None = None
        self._failures = 0

    def asked(self, now: float) -> None:
        """A resolution begins."""
        self._asked_at = now

    def learned(self, found: Found, now: float) -> EndpointSet:
        """A resolution has come to this: what is known from now on."""
        learn = _LEARN[found.kind]
        self.known = learn(self, found, now)
        return self.known

    def hurry(self, now: float) -> EndpointSet | None:
        """An endpoint failed: what is known is to be asked for anew as soon as that is allowed; None if it was due."""
        known = self.known
        if known is None or not self.target.name:
            return None
        refresh_at = max(now, self._asked_at + self._options.early_gap)
        if refresh_at >= known.refresh_at:
            return None
        self.known = replace(known, refresh_at=refresh_at)
        return self.known

    def _answer(self, found: Found, now: float) -> EndpointSet:
        options, former = self._options, self.known
        self._failures, self._denied_at = 0, None
        ttl = options.negative_default if found.ttl is None else found.ttl
        if ttl == inf:
            return EndpointSet(self.target.text, found.endpoints, now, since=now)
        ttl = min(max(ttl, options.ttl_least), options.ttl_most)
        endpoints = found.endpoints
        if former is not None and frozenset(former.endpoints) == frozenset(endpoints):
            endpoints = former.endpoints  # the same ones: whoever compares sees that at once
        share = self._rng.uniform(options.refresh_from, options.refresh_to)
        self._confirmed_until = now + ttl
        return EndpointSet(self.target.text, endpoints, now, now + ttl * share, now + ttl, None, now)

    def _denial(self, found: Found, now: float) -> EndpointSet:
        options, former = self._options, self.known
        self._failures = 0
        if former is not None and former.endpoints:
            first = self._denied_at
            if first is None or now - first < options.empty_gap:
                self._denied_at = now if first is None else first
                again_at = self._denied_at + options.empty_gap
                return replace(former, refresh_at=again_at, problem=f"{found.text}, seen once", since=self._denied_at)
        ttl = options.negative_default if found.ttl is None else found.ttl
        until = now + min(max(ttl, options.ttl_least), options.negative_most)
        since = self._denied_at if self._denied_at is not None else _since(former, now)
        self._denied_at = None
        return EndpointSet(self.target.text, (), now, until, until, found.text, since)

    def _failure(self, found: Found, now: float) -> EndpointSet:
        options, former = self._options, self.known
        self._failures = min(self._failures + 1, _DOUBLINGS_MOST)
        wait = min(options.failure_first * 2.0 ** (self._failures - 1), options.failure_most)
        # Not all clients again at the same moment, and none before its time.
        again_at = now + min(wait * self._rng.uniform(1.0, 1.25), max(wait, options.failure_most))
        if former is not None and former.endpoints and now < self._confirmed_until + options.stale_most:
            since = former.since if former.problem is not None else now
            return replace(former, refresh_at=again_at, problem=found.text, since=since)
        return EndpointSet(self.target.text, (), now, again_at, again_at, found.text, _since(former, now))


def _since(former: EndpointSet | None, now: float) -> float:
    """When a target without endpoints came to have none."""
    return former.since if former is not None and former.problem is not None and not former.endpoints else now


_LEARN = {
    Kind.ANSWER: Memory._answer,
    Kind.NODATA: Memory._denial,
    Kind.NXDOMAIN: Memory._denial,
    Kind.FAILURE: Memory._failure,
}
