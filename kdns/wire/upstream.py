"""Whether a message is the reply to what was sent to an upstream (RFC 5452 section 9, RFC 6891 section 7).

Who wants to forge a reply has to guess the message ID, the port and the letter case of the name (0x20,
draft-vixie-dnsext-dns0x20): the last is drawn and compared here. What does not match is not an answer and no error
either, for an error would let a guess that is wrong end the wait for the answer. Not here: addresses and ports, which
a connected socket compares, the draw of the ID, and whether the records of an answer are well-formed
(kdns.wire.message.layout).
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import NamedTuple, Protocol

from kdns.wire.iana import Rcode
from kdns.wire.message import layout
from kdns.wire.query import HEADER_OCTETS, OPCODE_BITS, QR_BIT, TC_BIT

_header = Struct(">3H").unpack_from
_TYPE_AND_CLASS_OCTETS = 4
_CASE_BIT = 0x20
# What may be changed in an octet of a name: the letter case. A length octet is no letter.
_CHANGEABLE = bytes(_CASE_BIT if octet < 128 and chr(octet).isalpha() else 0 for octet in range(256))
_FORMERR, _NOTIMP = int(Rcode.FORMERR), int(Rcode.NOTIMP)
_DENIES_OR_ANSWERS = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))


class RandomBits(Protocol):
    """The part of random.Random that is needed; random.SystemRandom has it too."""

    def getrandbits(self, k: int, /) -> int:
        """A number of `k` random bits."""


class Sent(NamedTuple):
    """A query on its way. question: name, type and class, in the letter case that was sent."""

    id: int
    question: bytes
    has_edns: bool


class Judged(Enum):
    """What has come for a query that was sent."""

    ANSWER = "answer"  # of any rcode; its records are still to be looked at
    TRUNCATED = "truncated"  # over UDP: ask again over TCP
    MISMATCH = "not for this query"  # ignore it, and keep waiting
    NO_CASE = "letter case not echoed"  # over UDP: forged, or of a server that folds; ask again over TCP
    MALFORMED = "malformed"  # from the one who was asked, and worth nothing
    EDNS_REFUSED = "EDNS not understood"  # ask again without


def randomise_case(question: bytes, rng: RandomBits) -> bytes:
    """A question with the letter case of its name drawn anew; type and class stay.

    `rng` must not be predictable from what it has given before: random.SystemRandom, or one seeded often from it.
    """
    name = question[:-_TYPE_AND_CLASS_OCTETS]
    octets = len(name)
    drawn = int.from_bytes(name.translate(_CHANGEABLE)) & rng.getrandbits(8 * octets)
    return (int.from_bytes(name) ^ drawn).to_bytes(octets) + question[octets:]


def judge(sent: Sent, reply: bytes, tcp: bool) -> Judged:
    """What a message is for the query that was sent; `tcp`: it came over a stream, which nobody else writes to."""
    if len(reply) < HEADER_OCTETS:
        return Judged.MISMATCH
    message_id, flags, questions = _header(reply)
    if message_id != sent.id or flags & (QR_BIT | OPCODE_BITS) != QR_BIT:
        return Judged.MISMATCH
    question = sent.question
    end = HEADER_OCTETS + len(question)
    if questions != 1:
        return _without_question(sent, flags, questions, reply)
    if reply[HEADER_OCTETS:end] != question:
        if not _same_but_for_case(question, reply[HEADER_OCTETS:end]):
            return Judged.MISMATCH
        if not tcp:
            return Judged.NO_CASE
    if flags & TC_BIT:
        # Over TCP there is no way to have it whole: an rrset that is cut must not be used (RFC 2181 section 9).
        return Judged.MALFORMED if tcp else Judged.TRUNCATED
    if flags & 15 in (_FORMERR, _NOTIMP) and sent.has_edns and _has_no_opt(reply):
        return Judged.EDNS_REFUSED
    return Judged.ANSWER


def _without_question(sent: Sent, flags: int, questions: int, reply: bytes) -> Judged:
    """Judge a reply that has not one question: an error may be all that a server says of a query it cannot read.

    As an answer it could be for any question; then it is ignored, for the one who guessed the ID may have sent it.
    """
    if questions or flags & 15 in _DENIES_OR_ANSWERS:
        return Judged.MISMATCH
    if flags & 15 in (_FORMERR, _NOTIMP) and sent.has_edns and _has_no_opt(reply):
        return Judged.EDNS_REFUSED
    return Judged.MALFORMED


def _same_but_for_case(question: bytes, other: bytes) -> bool:
    """Whether two questions are the same one; type and class may look like letters, and are none."""
    return (
        question[-_TYPE_AND_CLASS_OCTETS:] == other[-_TYPE_AND_CLASS_OCTETS:]
        and question[:-_TYPE_AND_CLASS_OCTETS].lower() == other[:-_TYPE_AND_CLASS_OCTETS].lower()
    )


def _has_no_opt(reply: bytes) -> bool:
    """A server that knows EDNS says so in every reply (RFC 6891 section 6.1.1), even to what it cannot read."""
    measured = layout(reply)
    return measured is None or measured.opt_at is None
