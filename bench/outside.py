"""The names outside the cluster: a zone that upstreams serve, and what is asked about it, with the answers expected.

Three kinds of names, each with an address that no other has, so that an answer under the wrong name shows:

    host-N.outside.example      names that come again and again
    LABEL.wN.outside.example    wildcards: any label, so that a name need never come twice
    gone-N.outside.example      names that do not exist

Not here: names of the cluster (bench.cluster, bench.watchdata).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

ZONE = "outside.example"
HOSTS = 1_000
WILDCARDS = 1_000
HOST_ADDRESSES = int(IPv4Address("10.200.0.1"))
WILDCARD_ADDRESSES = int(IPv4Address("10.201.0.1"))
TTL = 3600  # longer than any run
DENIAL_TTL = 60
NXDOMAIN = "NXDOMAIN"
_APEX = """\
$ORIGIN {zone}.
$TTL {ttl}
@ SOA ns hostmaster 1 7200 1800 86400 {denial_ttl}
@ NS ns
ns A 127.0.0.1
"""


class Expected(NamedTuple):
    """A question for an A record, and the address that the answer must have, or NXDOMAIN."""

    name: str
    answer: str


def host(number: int) -> Expected:
    """A name that comes again and again."""
    return Expected(f"host-{number}.{ZONE}", str(IPv4Address(HOST_ADDRESSES + number)))


def unique(number: int, label: str = "x", shift: int = 0) -> Expected:
    """A name below a wildcard. shift: of all addresses of the zone, by which its servers can be told apart."""
    return Expected(f"{label}.w{number}.{ZONE}", str(IPv4Address(WILDCARD_ADDRESSES + number + shift)))


def gone(number: int) -> Expected:
    """A name that does not exist."""
    return Expected(f"gone-{number}.{ZONE}", NXDOMAIN)


def write_zone(path: Path, shift: int = 0) -> Path:
    """Write the zone as a master file. shift: see `unique`."""
    lines = [_APEX.format(zone=ZONE, ttl=TTL, denial_ttl=DENIAL_TTL)]
    lines += (f"{one.name}. A {one.answer}\n" for one in map(host, range(HOSTS)))
    lines += (f"{one.name}. A {one.answer}\n" for one in (unique(n, "*", shift) for n in range(WILDCARDS)))
    path.write_text("".join(lines))
    return path


def write_questions(path: Path, questions: Iterable[Expected], seed: int = 1) -> Path:
    """Write questions for the load driver, in random order."""
    lines = [f"{one.name} A {one.answer}\n" for one in questions]
    random.Random(seed).shuffle(lines)
    path.write_text("".join(lines))
    return path
