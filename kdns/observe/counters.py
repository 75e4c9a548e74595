"""Counters of one worker: plain integers in a list, an index for each combination of labels, no locks.

A kept reply knows its index, so that counting costs one addition. The list is copied to memory shared with the
supervisor now and then (kdns.server.slots), which sums over workers. Not here: counts by zone, listener and directive
(kdns.observe.tally), exposition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kdns.observe import families
from kdns.observe.families import Sample
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
_CODES = len(RCODES) + 1  # the last is for those that only upstreams know

DROPPED = len(PROTOCOLS) * (len(TYPES) + 1) * _CODES  # messages that got no reply: too short, or responses
SEND_FAILED = DROPPED + 1  # replies that the kernel did not take
PANICKED = SEND_FAILED + 1  # queries that a mistake of kdns kept from their answer
SLOTS = PANICKED + 1


# From the counter of a reply over UDP to that of the same reply over TCP.
TCP_COUNTERS = (len(TYPES) + 1) * _CODES


def reply_counter(tcp: bool, qtype: int, rcode: int) -> int:
    """The index that counts replies with these labels."""
    row = tcp * (_OTHER + 1) + _TYPE_AT.get(qtype, _OTHER)
    return row * _CODES + _RCODE_AT.get(rcode, len(RCODES))


def labels(index: int) -> dict[str, str]:
    """The labels of a reply counter."""
    row, rcode = divmod(index, _CODES)
    protocol, rrtype = divmod(row, _OTHER + 1)
    return {
        "proto": PROTOCOLS[protocol],
        "type": "other" if rrtype == _OTHER else type_text(TYPES[rrtype]),
        "rcode": "other" if rcode == len(RCODES) else rcode_text(RCODES[rcode]),
    }


def new_counts() -> list[int]:
    """Counters at zero."""
    return [0] * SLOTS


def samples(counts: Sequence[int]) -> Counter[Sample]:
    """What the counters say, under both names where CoreDNS has one; labels that are not counted are empty."""
    found: Counter[Sample] = Counter()
    for index, count in enumerate(counts[:DROPPED]):
        if count:  # most of some 200 combinations never are
            proto, rrtype, rcode = labels(index).values()
            found[Sample(families.KDNS_RESPONSES, (proto, rrtype, rcode))] += count
            found[Sample(families.REQUESTS, ("", "", "", proto, "", rrtype))] += count
            found[Sample(families.RESPONSES, ("", "", "", rcode, ""))] += count
    found[Sample(families.DROPPED)] = counts[DROPPED]
    found[Sample(families.SEND_FAILURES)] = counts[SEND_FAILED]
    found[Sample(families.PANICS)] = counts[PANICKED]
    return found
