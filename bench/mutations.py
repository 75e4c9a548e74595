"""Packets that nobody should send: valid queries, changed in ways that break parsers. The same seed gives the same.

Pure. Not here: sending them (bench.hostile, tests/hostile).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from struct import pack

HEADER_OCTETS = 12
MUTATIONS_MAX = 3  # in one packet: with more, hardly any gets past the header
EXTENSION_MAX = 64
QUESTIONS_MAX = 300  # octets; longer messages are not made longer still
OCTETS = (0, 1, 11, 12, 41, 63, 64, 0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xFF)  # where the meaning of an octet changes
NUMBERS = (0, 1, 2, 3, 255, 256, 512, 1232, 4096, 0x7FFF, 0x8000, 0xFFFF)
COOKIE = pack(">2H8s", 10, 8, b"\xaa" * 8)

Mutation = Callable[[Random, bytearray], None]


def seeds(names: Sequence[bytes], types: Sequence[int]) -> list[bytes]:
    """Valid queries for these wire names: plain, with EDNS, with a cookie; each name and type once in each form."""
    tails = (b"", opt(b""), opt(COOKIE))
    return [
        pack(">6H", 0, 0x0100, 1, 0, 0, bool(tail)) + name + pack(">2H", rrtype, 1) + tail
        for name in names
        for rrtype in types
        for tail in tails
    ]


def opt(options: bytes, payload: int = 1232) -> bytes:
    """An OPT record."""
    return b"\0" + pack(">2HIH", 41, payload, 0, len(options)) + options


def packets(seed: int, valid: Sequence[bytes], count: int) -> Iterator[bytes]:
    """So many packets, each a valid one with an ID of its own and some mutations."""
    return islice(_packets(Random(seed), valid), count)


def _packets(rng: Random, valid: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        packet = bytearray(rng.choice(valid))
        packet[:2] = rng.randbytes(2)
        for _ in range(rng.randint(1, MUTATIONS_MAX)):
            rng.choice(_MUTATIONS)(rng, packet)
        yield bytes(packet)


def _at(rng: Random, packet: bytearray, start: int = 0) -> int:
    """Somewhere in the packet from `start` on, where it is that long."""
    return rng.randrange(start, len(packet)) if len(packet) > start else 0


def _truncate(rng: Random, packet: bytearray) -> None:
    del packet[_at(rng, packet) :]


def _cut_out(rng: Random, packet: bytearray) -> None:
    at = _at(rng, packet)
    del packet[at : at + rng.randint(1, 8)]


def _extend(rng: Random, packet: bytearray) -> None:
    packet += rng.randbytes(rng.randint(1, EXTENSION_MAX))


def _insert(rng: Random, packet: bytearray) -> None:
    at = _at(rng, packet, HEADER_OCTETS)
    packet[at:at] = rng.randbytes(rng.randint(1, 8))


def _flip_bit(rng: Random, packet: bytearray) -> None:
    if packet:
        packet[_at(rng, packet)] ^= 1 << rng.randrange(8)


def _odd_octet(rng: Random, packet: bytearray) -> None:
    if packet:
        packet[_at(rng, packet)] = rng.choice(OCTETS)


def _first_length(rng: Random, packet: bytearray) -> None:
    packet[HEADER_OCTETS : HEADER_OCTETS + 1] = bytes((rng.choice(OCTETS),))


def _flags(rng: Random, packet: bytearray) -> None:
    packet[2:4] = rng.randbytes(2)


def _count(rng: Random, packet: bytearray) -> None:
    at = rng.choice((4, 6, 8, 10))
    packet[at : at + 2] = pack(">H", rng.choice(NUMBERS))


def _pointer(rng: Random, packet: bytearray) -> None:
    at = _at(rng, packet, HEADER_OCTETS)
    packet[at : at + 2] = pack(">H", 0xC000 | rng.choice((HEADER_OCTETS, at, at + 2, len(packet), 0x3FFF, 0)))


def _question_again(rng: Random, packet: bytearray) -> None:
    if len(packet) < QUESTIONS_MAX:
        packet += packet[HEADER_OCTETS:]


def _another_opt(rng: Random, packet: bytearray) -> None:
    packet += opt(COOKIE if rng.random() < 0.5 else b"", rng.choice(NUMBERS))
    packet[10:12] = pack(">H", rng.choice((1, 2, 3)))


def _number_near_end(rng: Random, packet: bytearray) -> None:
    """Where an OPT has its sizes, flags, RDLENGTH and option lengths."""
    at = max(0, len(packet) - rng.randint(2, 24))
    packet[at : at + 2] = pack(">H", rng.choice(NUMBERS))


def _type_and_class(rng: Random, packet: bytearray) -> None:
    end = packet.find(0, HEADER_OCTETS) + 1
    packet[end : end + 4] = rng.randbytes(2) + rng.choice((b"\0\1", b"\0\3", b"\0\xff", rng.randbytes(2)))


def _random_type(rng: Random, packet: bytearray) -> None:
    end = packet.find(0, HEADER_OCTETS) + 1
    packet[end : end + 2] = rng.randbytes(2)


def _letter_case(rng: Random, packet: bytearray) -> None:
    packet[HEADER_OCTETS:] = packet[HEADER_OCTETS:].swapcase()


def _long_name(rng: Random, packet: bytearray) -> None:
    label = bytes((rng.choice((1, 30, 63)),))
    packet[HEADER_OCTETS:HEADER_OCTETS] = (label + rng.randbytes(label[0])) * rng.randint(1, 5)


def _garbage(rng: Random, packet: bytearray) -> None:
    packet[2:] = rng.randbytes(rng.randint(0, EXTENSION_MAX))


_MUTATIONS: tuple[Mutation, ...] = (
    _truncate,
    _cut_out,
    _extend,
    _insert,
    _flip_bit,
    _odd_octet,
    _first_length,
    _flags,
    _count,
    _pointer,
    _question_again,
    _another_opt,
    _number_near_end,
    _type_and_class,
    _random_type,
    _letter_case,
    _long_name,
    _garbage,
)
