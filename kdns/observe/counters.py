"""Counters of one worker: plain integers in a list, an index for each combination of labels, no locks.

A kept reply knows its index, so that counting costs one addition. The list is copied to memory shared with the
supervisor now and then (kdns.server.slots), which sums over workers. Not here: exposition.
"""

from __future__ import annotations

from kdns.wire.iana import Rcode, RRType, rcode_text, type_text

PROTOCOLS = ("udp", "tcp")
# One bucket for each type that clusters really ask for; the rest is "other", so that a client cannot grow this.
TYPES = (
    RRType.A,
    RRType.AAAA,
    RRType.SRV,
    RRType.PTR,
    RRType.CNAME,
    RRType.TXT,
    RRType.NS,
    RRType.SOA,
    RRType.MX,
    RRType.HTTPS,
    RRType.ANY,
)
RCODES = tuple(Rcode)

_TYPE_AT = {int(rrtype): at for at, rrtype in enumerate(TYPES)}
_RCODE_AT = {int(rcode): at for at, rcode in enumerate(RCODES)}
_OTHER = len(TYPES)

DROPPED = len(PROTOCOLS) * (len(TYPES) + 1) * len(RCODES)  # messages that got no reply: too short, or responses
SEND_FAILED = DROPPED + 1  # replies that the kernel did not take
SLOTS = SEND_FAILED + 1


# From the counter of a reply over UDP to that of the same reply over TCP.
TCP_COUNTERS = (len(TYPES) + 1) * len(RCODES)


def reply_counter(tcp: bool, qtype: int, rcode: int) -> int:
    """The index that counts replies with these labels."""
    row = tcp * (_OTHER + 1) + _TYPE_AT.get(qtype, _OTHER)
    return row * len(RCODES) + _RCODE_AT[rcode]


def labels(index: int) -> dict[str, str]:
    """The labels of a reply counter."""
    row, rcode = divmod(index, len(RCODES))
    protocol, rrtype = divmod(row, _OTHER + 1)
    return {
        "proto": PROTOCOLS[protocol],
        "type": "other" if rrtype == _OTHER else type_text(TYPES[rrtype]),
        "rcode": rcode_text(RCODES[rcode]),
    }


def new_counts() -> list[int]:
    """Counters at zero."""
    return [0] * SLOTS
