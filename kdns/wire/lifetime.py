"""For how long a reply of an upstream holds (RFC 2308 section 5, RFC 2181 sections 5.2 and 8, RFC 8767, RFC 9520).

A reply is kept and sent whole, its TTLs counting down, so it holds for as long as the least of all of them. The
authority and additional sections count too: else an address beside a SRV record would be sent, at TTL 0, long after
it expired, and clients take it from there without asking. A denial holds no longer than its SOA record's MINIMUM
either; one without an SOA record is not kept. TTL 0 is never kept, whatever minimum is configured, and a TTL with the
top bit set is 0, as RFC 2181 has it: RFC 8767 section 4 would have it large, but whoever sends it means neither.
Signatures that expire earlier than their TTL are for a validator to see. Not here: the cache itself, and when what
has expired may still stand in (kdns.forward).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from kdns.wire.iana import Rcode
from kdns.wire.message import Layout

# Nobody means more than this, whatever is configured: RFC 8767 section 4, and RFC 2308 section 5 for denials.
MAX_SUCCESS_SECONDS = 7 * 86400
MAX_DENIAL_SECONDS = 86400
STALE_TTL = 30  # of what is sent although it has expired (RFC 8767 section 5)
# A failure is kept, too, or each client's retry would become one of ours: 1 s at least, 5 minutes at most, says
# RFC 9520 section 3.2. Names in a cluster are expected back sooner than that.
FIRST_FAILURE_SECONDS = 1.0
MAX_FAILURE_SECONDS = 30.0

_new = tuple.__new__  # as in kdns.wire.message
_MAX_DOUBLINGS = 5  # reaches MAX_FAILURE_SECONDS
_NOERROR, _NXDOMAIN = int(Rcode.NOERROR), int(Rcode.NXDOMAIN)


class Kind(Enum):
    """What a reply says of the name."""

    SUCCESS = "success"
    DENIAL = "denial"  # NXDOMAIN or NODATA, maybe at the end of aliases
    FAILURE = "failure"  # any other rcode: see failure_seconds
    UNCACHEABLE = "uncacheable"  # TTL 0, a denial without SOA, a referral, aliases that end nowhere


class Limits(NamedTuple):
    """Seconds for which replies are kept at most and at least; the most wins over the least."""

    success_most: int = 3600
    success_least: int = 0
    denial_most: int = 1800
    denial_least: int = 0


class Lifetime(NamedTuple):
    """seconds: more than 0 for SUCCESS and DENIAL, else 0."""

    kind: Kind
    seconds: int


_SUCCESS, _DENIAL = Kind.SUCCESS, Kind.DENIAL  # reading a member of an enumeration costs more than comparing it
_FAILURE = Lifetime(Kind.FAILURE, 0)
UNCACHEABLE = Lifetime(Kind.UNCACHEABLE, 0)


def lifetime(reply: Layout, limits: Limits) -> Lifetime:
    """What a reply is and for how many seconds it may be kept.

    Aliases without a record of the type asked for, and without an SOA record, are not kept, though they have TTLs:
    to a stub resolver that reply denies the type, and nothing says for how long (RFC 2308 section 2.2).
    """
    rcode = reply.rcode
    if rcode == _NOERROR and reply.is_answered:
        least_ttl = reply.ttls[0] if len(reply.ttls) == 1 else min(reply.ttls)
        return _kept(_SUCCESS, least_ttl, limits.success_least, min(limits.success_most, MAX_SUCCESS_SECONDS))
    if rcode != _NOERROR and rcode != _NXDOMAIN:
        return _FAILURE
    if reply.soa is None:
        return UNCACHEABLE
    most = min(limits.denial_most, MAX_DENIAL_SECONDS)
    return _kept(_DENIAL, min(*reply.ttls, *reply.soa), limits.denial_least, most)


def failure_seconds(failures: int, most: float) -> float:
    """For how long it is not asked again after so many failures of one question in a row (RFC 9520 section 3.2).

    most: as configured, 0 for not at all.
    """
    doublings = min(max(failures, 1) - 1, _MAX_DOUBLINGS)
    return min(FIRST_FAILURE_SECONDS * (1 << doublings), MAX_FAILURE_SECONDS, most)


def _kept(kind: Kind, ttl: int, least: int, most: int) -> Lifetime:
    seconds = least if ttl < least else ttl
    seconds = most if seconds > most else seconds
    return _new(Lifetime, (kind, seconds)) if ttl > 0 and seconds > 0 else UNCACHEABLE
