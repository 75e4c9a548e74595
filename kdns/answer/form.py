"""The forms in which nearly all queries come, recognised without parsing.

RD set, nothing else asked of us: no OPT record, or one of a usual payload size that is empty or holds a client cookie
alone (RFC 7873), as dig and c-ares send it, with or without the AD bit that dig adds. Replies to these differ in the
OPT record alone as long as they fit into 512 octets, so that one kept reply serves them all. Every other form is
parsed (kdns.wire.query).
"""

from __future__ import annotations

from kdns.wire.query import AD_BIT, HEADER_OCTETS, OPT_OCTETS, RD_BIT, Query

# Payload sizes that resolvers send; any other is taken for the next smaller one.
COMMON_PAYLOADS = (512, 1220, 1232, 1280, 1400, 1410, 1432, 1452, 1472, 2048, 4096, 8192, 16384, 65535)

NAME_AT = HEADER_OCTETS - 2  # in a message without its ID
_COOKIE_OCTETS = 8

_FLAGS = (b"\x01\0", b"\x01\x20")  # RD; RD and AD, which no reply depends on
_WITHOUT_OPT = tuple(flags + b"\0\1" + bytes(6) for flags in _FLAGS)
_WITH_OPT = tuple(flags + b"\0\1" + bytes(4) + b"\0\1" for flags in _FLAGS)
_OPT_HEADS = {size: b"\0\0\x29" + size.to_bytes(2) + bytes(4) for size in COMMON_PAYLOADS}
_EMPTY = {head + b"\0\0": size for size, head in _OPT_HEADS.items()}
# RDLENGTH 12, option 10 of 8 octets; the cookie itself follows.
_BEFORE_COOKIE = {head + b"\0\x0c\0\x0a\0\x08": size for size, head in _OPT_HEADS.items()}
_COOKIE_OPT_OCTETS = OPT_OCTETS + 4 + _COOKIE_OCTETS
# The same with a server's cookie of 16 octets behind the client's: RDLENGTH 28, option 10 of 24 octets.
_WHOLE_COOKIE_OCTETS = _COOKIE_OCTETS + 16
_BEFORE_WHOLE_COOKIE = {head + b"\0\x1c\0\x0a\0\x18": size for size, head in _OPT_HEADS.items()}
_WHOLE_COOKIE_OPT_OCTETS = OPT_OCTETS + 4 + _WHOLE_COOKIE_OCTETS

Form = tuple[bytes, int]  # what stands between header and OPT, as sent; payload size, 0 without OPT


def form_of(asked: bytes) -> Form | None:
    """The form of a message (without its ID); None if it has to be parsed.

    What is taken for the question may still be anything: only a question that has been answered before is known.
    """
    if asked.startswith(_WITHOUT_OPT):
        return asked[NAME_AT:], 0
    if asked.startswith(_WITH_OPT):
        payload = _EMPTY.get(asked[-OPT_OCTETS:])
        if payload:
            return asked[NAME_AT:-OPT_OCTETS], payload
        payload = _BEFORE_COOKIE.get(asked[-_COOKIE_OPT_OCTETS:-_COOKIE_OCTETS])
        if payload:
            return asked[NAME_AT:-_COOKIE_OPT_OCTETS], payload
    return None


def form_with_cookie(asked: bytes) -> tuple[bytes, int, bytes | None] | None:
    """As form_of, and the body of the COOKIE option, if there is one; with a server's half of our length, too."""
    form = form_of(asked)
    if form is not None:
        question, payload = form
        has_cookie = payload > 0 and len(asked) > NAME_AT + len(question) + OPT_OCTETS
        return question, payload, asked[-_COOKIE_OCTETS:] if has_cookie else None
    payload = _BEFORE_WHOLE_COOKIE.get(asked[-_WHOLE_COOKIE_OPT_OCTETS:-_WHOLE_COOKIE_OCTETS], 0)
    if payload and asked.startswith(_WITH_OPT):
        return asked[NAME_AT:-_WHOLE_COOKIE_OPT_OCTETS], payload, asked[-_WHOLE_COOKIE_OCTETS:]
    return None


def is_common(query: Query) -> bool:
    """Whether a parsed query asks for nothing else than those forms do: it may share their kept reply."""
    return query.plain and query.flags & ~AD_BIT == RD_BIT and not (query.edns and query.edns.dnssec_ok)
