"""The reply of an upstream, as it is kept and told: all that follows the question, without the OPT record.

Octets are passed on as they came wherever that is possible, for compression pointers hold behind a question of the
same length. A reply is worth something only under the question that was asked: no record in it is ever told under
another one. Not here: whether it is from the upstream at all (kdns.wire.upstream).
"""

from __future__ import annotations

import msgspec

from kdns.wire.iana import EDE, Rcode
from kdns.wire.lifetime import UNCACHEABLE, Lifetime, Limits, lifetime
from kdns.wire.message import Body, encode_body, layout, parse_message
from kdns.wire.outside import NO_EDE
from kdns.wire.query import AD_BIT, HEADER_OCTETS, RA_BIT, TC_BIT

# What is passed on of a header. AA is not: nothing told by us of others is authoritative, kept or not.
PASSED_FLAGS = RA_BIT | AD_BIT

_TYPE_AND_CLASS_OCTETS = 4


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What an upstream said. Fields as in kdns.wire.outside.Told; lifetime: for how long it may be kept.

    has_opt: the upstream knows EDNS. ede, text: why there is none, of what stands in where no upstream gave one.
    """

    rcode: int
    flags: int
    body: bytes
    counts: tuple[int, int, int]
    ttl_at: tuple[int, ...]
    ttls: tuple[int, ...]
    lifetime: Lifetime
    is_truncated: bool
    has_opt: bool
    ede: int = NO_EDE
    text: str = ""


def read_reply(reply: bytes, question: bytes, limits: Limits) -> Answer | None:
    """Read a reply to this folded question; None if it is malformed or the reply to another one."""
    name_end = HEADER_OCTETS + len(question) - _TYPE_AND_CLASS_OCTETS
    end = name_end + _TYPE_AND_CLASS_OCTETS
    # The type is not to be folded: HTTPS is 65, which is an "A" too.
    if reply[HEADER_OCTETS:name_end].lower() + reply[name_end:end] != question:
        return None
    measured = layout(reply, end)
    if measured is None or measured.question_end != end:
        return None
    if measured.opt_at is None or measured.opt_is_last:
        octets, counts, ttls = reply[end : measured.end], measured.counts, measured.ttls
        ttl_at = tuple([at - end for at in measured.ttl_at])
    else:
        body = _written_anew(reply, question)
        if body is None:
            return None
        octets, counts, ttl_at, ttls = body
    flags = measured.flags
    return Answer(
        measured.rcode, flags & PASSED_FLAGS, octets, counts, ttl_at, ttls, lifetime(measured, limits),
        flags & TC_BIT != 0, measured.opt_at is not None,
    )  # fmt: skip


def unkept(answer: Answer) -> Answer:
    """The same, to be told and not to be kept."""
    return msgspec.structs.replace(answer, lifetime=UNCACHEABLE)


def _none(ede: int, text: str) -> Answer:
    return Answer(Rcode.SERVFAIL, RA_BIT, b"", (0, 0, 0), (), (), UNCACHEABLE, False, False, ede, text)


# What stands in for the answer where upstreams were heard, and none said anything of use.
ALL_MALFORMED = _none(EDE.INVALID_DATA, "the upstreams' replies were malformed")
NONE_OF_USE = _none(EDE.NO_REACHABLE_AUTHORITY, "no upstream gave an answer of use")


def _written_anew(reply: bytes, question: bytes) -> Body | None:
    """The body of a reply with its OPT record in the middle."""
    message = parse_message(reply)
    return encode_body(question, *message[3:6]) if message is not None else None
