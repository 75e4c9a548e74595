"""As much of RFC 1035 as the benchmark needs to compare two servers' replies, independent of kdns's own
code.

Not here: the load driver's messages, which `dnsload.c` builds itself.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
# Where the domain names begin in an rdata that holds names, and how many follow each other.
NAMES_AT = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 33: (6, 1)}
POINTERS_MAX = 64

Rr = tuple[bytes, int, bytes]  # owner and rdata uncompressed and folded; TTLs and the order are not compared


@dataclass(frozen=True, slots=True)
class Reply:
    """What two servers must agree on."""

    rcode: int
    authoritative: bool
    answer: tuple[Rr, ...]
    authority: tuple[Rr, ...]


def encode_query(name: str, rtype: str, message_id: int) -> bytes:
    """A query with RD=1 and without EDNS."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    qname = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    header = message_id.to_bytes(2, "big") + b"\x01\0\0\x01\0\0\0\0\0\0"
    return header + qname + TYPES[rtype].to_bytes(2, "big") + b"\0\x01"


def parse_reply(message: bytes) -> Reply:
    """Decode the header, answer and authority; ValueError or IndexError for a reply that is no DNS message."""
    at = 12
    for _ in range(_u16(message, 4)):
        at = _name(message, at)[1] + 4
    answer, at = _section(message, at, _u16(message, 6))
    authority, at = _section(message, at, _u16(message, 8))
    return Reply(message[3] & 15, bool(message[2] & 4), answer, authority)


def _section(message: bytes, at: int, count: int) -> tuple[tuple[Rr, ...], int]:
    found = []
    for _ in range(count):
        owner, at = _name(message, at)
        rtype, length = _u16(message, at), _u16(message, at + 8)
        found.append((owner, rtype, _rdata(message, at + 10, length, rtype)))
        at += 10 + length
    return tuple(sorted(found)), at


def _rdata(message: bytes, at: int, length: int, rtype: int) -> bytes:
    start, names = NAMES_AT.get(rtype, (length, 0))
    out, position = message[at : at + start], at + start
    for _ in range(names):
        name, position = _name(message, position)
        out += name
    # An SOA's serial is each server's own affair: the four octets after its names.
    return out + message[position + 4 if rtype == TYPES["SOA"] else position : at + length]


def _name(message: bytes, at: int) -> tuple[bytes, int]:
    """The name at this place, folded, and where the octets after it begin."""
    labels: list[bytes] = []
    end = 0
    for _ in range(256 + POINTERS_MAX):
        length = message[at]
        if length >= 0xC0:
            end = end or at + 2
            at = _u16(message, at) & 0x3FFF
        elif length == 0:
            return b"".join(labels) + b"\0", end or at + 1
        else:
            labels.append(message[at : at + 1 + length].lower())
            at += 1 + length
    raise ValueError("a name that does not end")


def _u16(message: bytes, at: int) -> int:
    if at + 2 > len(message):
        raise ValueError("the message ends early")
    return message[at] << 8 | message[at + 1]
