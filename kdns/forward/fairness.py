"""Whose question waits for an upstream, and whose is shed: no client can take the room of the others.

There is room for so many questions in all, and for so many of one client. While there is none left, the client with
most of them loses its oldest, which is nearest to being given up; a newcomer with as many loses itself. Prefetches
take half of the room at most and go first. All that is counted by client is bounded by the questions that wait.

Not here: what a client hears that was shed (kdns.forward.resolver).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

# Clients that `TopClients` keeps: more are not looked at by anybody, and a row takes 200 octets.
TOP_CLIENTS = 256

W = TypeVar("W")


class Shed(Enum):
    """Why a question was shed; the values are labels of a metric."""

    CLIENT = "client"  # too many of this client
    FULL = "full"  # too many of all clients
    PREFETCH = "prefetch"  # nobody waited for it
    MAX_CONCURRENT = "max_concurrent"  # of the `forward` line


class Room(Generic[W]):
    """Those who wait, each by its client. in_all, of_one: how many there may be."""

    def __init__(self, in_all: int, of_one: int) -> None:
        self._in_all, self._of_one = in_all, of_one
        self._waiting: dict[bytes, dict[W, None]] = {}  # by client, the oldest first
        self._prefetches: dict[W, None] = {}
        # Clients by how many they have waiting, and the most that one has: so the heaviest is found at once. Not kept
        # before it gets tight: most of the time nobody has to be found.
        self._levels: dict[int, dict[bytes, None]] | None = None
        self._most = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._prefetches)

    def takes(self, client: bytes) -> bool:
        """Whether a question of this client may wait, and nobody has to leave for it: as nearly always."""
        own = self._waiting.get(client)
        return self._count + len(self._prefetches) < self._in_all and (own is None or len(own) < self._of_one)

    def refusal(self, client: bytes) -> Shed | None:
        """Why no further question of this client may wait; None if it may."""
        own = self._waiting.get(client)
        if own is not None and len(own) >= self._of_one:
            return Shed.CLIENT
        if len(self) < self._in_all or self._prefetches:
            return None
        return Shed.FULL if own is not None and len(own) >= self._most else None

    def refuses_prefetch(self) -> bool:
        """Whether there is no room for one."""
        return 2 * len(self) >= self._in_all

    def loser(self) -> W | None:
        """Who has to leave before the next one may enter, if anybody."""
        if len(self) < self._in_all:
            return None
        if self._prefetches:
            return next(iter(self._prefetches))
        levels = self._levels if self._levels is not None else self._begin_levels()
        heaviest = next(iter(levels[self._most]))
        return next(iter(self._waiting[heaviest]))

    def is_prefetch(self, waiter: W) -> bool:
        """Whether this is one of those."""
        return waiter in self._prefetches

    def enter(self, client: bytes, waiter: W) -> None:
        """It waits from now on."""
        own = self._waiting.get(client)
        if own is None:
            own = self._waiting[client] = {}
        own[waiter] = None
        self._count += 1
        if self._levels is not None:
            self._move(self._levels, client, len(own) - 1, len(own))
        elif 2 * self._count >= self._in_all:
            self._begin_levels()

    def enter_prefetch(self, waiter: W) -> None:
        """A prefetch waits from now on."""
        self._prefetches[waiter] = None

    def leave(self, client: bytes, waiter: W) -> None:
        """It does not wait any more."""
        if waiter in self._prefetches:
            del self._prefetches[waiter]
            return
        own = self._waiting[client]
        del own[waiter]
        self._count -= 1
        if not own:
            del self._waiting[client]
        if self._levels is not None:
            self._move(self._levels, client, len(own) + 1, len(own))
            if 4 * self._count < self._in_all:
                self._levels = None

    def _begin_levels(self) -> dict[int, dict[bytes, None]]:
        levels = self._levels = {}
        self._most = 0
        for client, own in self._waiting.items():
            self._move(levels, client, 0, len(own))
        return levels

    def _move(self, levels: dict[int, dict[bytes, None]], client: bytes, before: int, after: int) -> None:
        """Note that a client has more or fewer waiting."""
        if before:
            level = levels[before]
            del level[client]
            if not level:
                del levels[before]
        if after:
            level = levels.setdefault(after, {})
            level[client] = None
        if after > self._most or (before == self._most and before not in levels):
            self._most = after


@dataclass(slots=True)
class ClientCount:
    """What is known of one client: questions asked, and shed."""

    asked: int = 0
    shed: int = 0


class TopClients:
    """Who asks most, in bounded memory (Misra and Gries): a count is too low by at most `slack`."""

    def __init__(self, size: int = TOP_CLIENTS) -> None:
        self._size = size
        self._counts: dict[bytes, ClientCount] = {}
        self.slack = 0

    def asked(self, client: bytes, count: int = 1) -> None:
        """It asked so often."""
        known = self._counts.get(client)
        if known is not None:
            known.asked += count
        elif len(self._counts) < self._size:
            self._counts[client] = ClientCount(count)
        else:
            self._make_room(client, count)

    def shed(self, client: bytes, count: int = 1) -> None:
        """So many of its questions were shed."""
        known = self._counts.get(client)
        if known is not None:
            known.shed += count

    def top(self, count: int) -> list[tuple[bytes, ClientCount]]:
        """Those that asked most, the first first."""
        return sorted(self._counts.items(), key=lambda item: -item[1].asked)[:count]

    def _make_room(self, client: bytes, count: int) -> None:
        """Take as much off each, this one too: it pays for itself, for as many were added before."""
        less = min(count, min(known.asked for known in self._counts.values()))
        self.slack += less
        for other, known in list(self._counts.items()):
            known.asked -= less
            if not known.asked:
                del self._counts[other]
        if count > less:
            self._counts[client] = ClientCount(count - less)
