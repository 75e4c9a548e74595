"""The words between a worker and the forwarder: a question for outside, and what became of it.

Values that cross a process border; no message of DNS, but what one is made of. Not here: who carries them
(kdns.server), how an upstream is asked (kdns.forward), what a client hears of it (kdns.answer).
"""

from __future__ import annotations

from enum import Enum, IntEnum

import msgspec

from kdns.wire.iana import EDE, Rcode
from kdns.wire.query import RA_BIT

NO_EDE = -1


class Purpose(IntEnum):
    """Why it is asked."""

    CLIENT = 0  # a client waits
    PREFETCH = 1  # what is kept expires soon, and is asked for often


class Source(IntEnum):
    """Where an answer comes from."""

    UPSTREAM = 0
    CACHE_SUCCESS = 1
    CACHE_DENIAL = 2
    STALE = 3  # RFC 8767
    FAILURE = 4  # there is none


class Unasked(Enum):
    """Why we, not an upstream, left a question without an answer. The values are what clients read, with EDE 23."""

    CLIENT = "too many queries of this client"
    FULL = "too many queries"
    MAX_CONCURRENT = "max_concurrent queries are on their way"
    GONE = "no forwarder is there just now"
    DIED = "the forwarder ended before it answered"
    LATE = "the forwarder did not answer in time"
    OVERDUE = "the search for the name took too long"
    CHANGED = "the configuration changed while the name was looked up"


class Ask(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One question for outside.

    number: of the worker's choice, told back. group: index of the site (server block) whose `forward` and `cache`
    lines hold. question: folded name, type and class, as they stand in a message. flags: of the client's query, RD
    and CD count. client: its packed address.
    """

    number: int
    group: int
    question: bytes
    flags: int
    dnssec_ok: bool
    client: bytes
    purpose: Purpose = Purpose.CLIENT


class Told(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became of it.

    rcode: of 12 bits. flags: of the upstream's header (RA, AD). body: all that follows the question, the OPT record
    left out; compression pointers in it are right behind a question of this length. counts: records of the three
    sections. ttl_at: offsets of the TTLs in `body`; ttls: their values now. keep: seconds for which the worker may
    answer from it, 0 for not at all; keeps_ttls: with TTLs that stay as they are. prefetch_hits: so many hits, with
    no more than `prefetch_gap` seconds between two, make it worth a prefetch once no more than `prefetch_left` of its
    seconds are left; 0 for none. ede, text: why it is as it is (RFC 8914), NO_EDE and "" for no remark.
    """

    number: int
    rcode: int
    flags: int
    body: bytes
    counts: tuple[int, int, int]
    ttl_at: tuple[int, ...] = ()
    ttls: tuple[int, ...] = ()
    keep: int = 0
    prefetch_hits: int = 0
    source: Source = Source.UPSTREAM
    ede: int = NO_EDE
    text: str = ""
    keeps_ttls: bool = False
    prefetch_gap: int = 0
    prefetch_left: int = 0


def unasked(why: Unasked, number: int = 0) -> Told:
    """That a question has no answer, because of us. number: of the question, where that counts."""
    return Told(
        number, Rcode.SERVFAIL, RA_BIT, b"", (0, 0, 0), source=Source.FAILURE, ede=EDE.NETWORK_ERROR, text=why.value
    )


def is_unasked(told: Told) -> bool:
    """Whether it says no more than `unasked`: that it is our doing. An upstream may use the same EDE."""
    return told.ede == _NETWORK_ERROR and told.source == Source.FAILURE and told.text in _TEXTS


_NETWORK_ERROR = int(EDE.NETWORK_ERROR)
_TEXTS = frozenset(why.value for why in Unasked)
