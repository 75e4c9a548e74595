"""Where a service is: endpoints and the immutable set of them that a target resolved to.

An EndpointSet is made anew for each change and never changed; whoever holds one may go on reading it. Times are those
of `time.monotonic()`, in seconds. Not here: what is known of an endpoint's load (kdns.client.cells), how a set comes
about (kdns.client.resolution, kdns.client.memory).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

Key = tuple[str, int]  # host and port: by them an endpoint is the same one before and after a change


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port that answers for a service.

    host: an IPv4 or IPv6 address as text, as `socket` writes it. priority: lower ones first (RFC 2782). weight: of
    the SRV record or the `static://` target; 1 where nothing says otherwise; 0 is the least, not none. name: what the
    SRV record calls it, without the last dot, or "": for people, not part of what it is.
    """

    host: str
    port: int
    priority: int = 0
    weight: int = 1
    name: str = ""

    @property
    def key(self) -> Key:
        """Host and port."""
        return self.host, self.port

    def __str__(self) -> str:
        """`10.0.0.1:80`, `[fd00::1]:80`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """What a target resolved to, with its own times.

    refresh_at: from then on whoever reads it has it asked anew, and goes on with this one. expires_at: from then on it
    is stale (RFC 8767). problem: why it could not be had anew, or why it is empty; None if all is well. since: when
    the problem began, or when the endpoints were last confirmed.
    """

    target: str
    endpoints: tuple[Endpoint, ...]
    resolved_at: float
    refresh_at: float = inf
    expires_at: float = inf
    problem: str | None = None
    since: float = 0.0

    def is_stale(self, now: float) -> bool:
        """Whether its TTL has run out: it is used all the same, for want of a better one."""
        return now >= self.expires_at

    def __len__(self) -> int:
        return len(self.endpoints)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self.endpoints)

    def __getitem__(self, index: int) -> Endpoint:
        return self.endpoints[index]
