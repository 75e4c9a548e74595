"""`minimal`: positive replies have nothing but their answer, as in CoreDNS.

Denials keep their SOA, which says how long they hold, also those at the end of a chain of aliases (CoreDNS takes it
away there); referrals keep all, for they consist of it, and so do replies without an answer section. Not here: when a
reply is positive by its code, which who asks for this knows.
"""

from __future__ import annotations

from kdns.wire.iana import RRType
from kdns.wire.message import Body
from kdns.zone.model import Lookup

_TYPE_BEFORE_TTL = 4  # octets: a record's type and class stand right before its TTL
_RDLENGTH_AT, _RDATA_AT = 4, 6  # behind where its TTL stands


def minimal_lookup(found: Lookup) -> Lookup:
    """What was found, without what a client can do without. Only referrals have an authority section of rrsets."""
    return found._replace(additional=()) if found.answer and not found.authority else found


def minimal_body(body: Body) -> Body:
    """The same for the sections of a reply from outside that is NOERROR."""
    answers, authorities, _ = body.counts
    if not answers:
        return body
    is_denial = any(_type(body, at) == RRType.SOA for at in body.ttl_at[answers : answers + authorities])
    wanted = answers + (authorities if is_denial else 0)
    ttl_at = body.ttl_at[wanted - 1]
    end = ttl_at + _RDATA_AT + int.from_bytes(body.octets[ttl_at + _RDLENGTH_AT : ttl_at + _RDATA_AT])
    counts = (answers, wanted - answers, 0)
    return Body(body.octets[:end], counts, body.ttl_at[:wanted], body.ttls[:wanted])


def _type(body: Body, ttl_at: int) -> int:
    return int.from_bytes(body.octets[ttl_at - _TYPE_BEFORE_TTL : ttl_at - _TYPE_BEFORE_TTL + 2])
