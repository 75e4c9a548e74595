"""What the endurance run asks, and which answers are right when some of the names change meanwhile. Pure.

A name whose address changes may be answered with the address it had when the question was sent, with the next one, or
for a moment with one that it has no more: a cluster's DNS follows the API server, and so is behind it by a bit.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from typing import NamedTuple

import dns.message
import dns.rcode
import dns.rdatatype

from bench import outside

NAMESPACE = "shop"
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
STEADY = 200  # ClusterIP Services
CHANGING = 50  # headless ones, with one endpoint each
CLUSTER_IPS = int(IPv4Address("10.96.1.0"))
POD_IPS = int(IPv4Address("10.32.0.1"))
# How long after a change an old address is no wrong answer: kdns keeps what vanishes for half a second, and one that
# is starting on a busy machine takes its time.
STALE_SECONDS = 5.0


class Verdict(Enum):
    """What an answer is."""

    RIGHT = "right"
    STALE = "stale"  # an address that the name had, but for too long
    DENIED = "denied"  # a name that exists, or has an address
    INVENTED = "invented"  # an answer for a name that does not exist
    FOREIGN = "foreign"  # an address that the name never had, or not yet


class Judgement(NamedTuple):
    """A verdict, and for how many seconds the address had been another one when the question was sent."""

    verdict: Verdict
    stale_seconds: float = 0.0


class Question(NamedTuple):
    """A name. kind: for the report. answer: an address, NXDOMAIN, or "" for the `number`th name that changes."""

    kind: str
    name: str
    answer: str
    number: int = 0


@dataclass(slots=True)
class Changes:
    """The addresses of the names that change. Each entry: from when on (its write began), and which address."""

    _histories: list[list[tuple[float, float, str]]] = field(default_factory=list)
    _next: int = 0

    def __post_init__(self) -> None:
        self._histories = [[(0.0, 0.0, self.fresh_address())] for _ in range(CHANGING)]

    def fresh_address(self) -> str:
        """An address that no name has had."""
        self._next += 1
        return str(IPv4Address(POD_IPS + self._next))

    def current(self, number: int) -> str:
        """The address of a name."""
        return self._histories[number][-1][2]

    def changed(self, number: int, address: str, began: float, ended: float) -> None:
        """A name has another address: written between these two moments."""
        self._histories[number].append((began, ended, address))

    def judge(self, number: int, address: str, sent: float, answered: float) -> Judgement:
        """What an address is as the answer to a question."""
        history = self._histories[number]
        for at, (began, _, one) in enumerate(history):
            if one == address and began <= answered:
                replaced = history[at + 1][1] if at + 1 < len(history) else sent
                stale = max(0.0, sent - replaced)
                return Judgement(Verdict.RIGHT if stale <= STALE_SECONDS else Verdict.STALE, stale)
        return Judgement(Verdict.FOREIGN)


def judge(
    question: Question, message: dns.message.Message, sent: float, answered: float, changes: Changes
) -> Judgement:
    """What a reply is as the answer to a question; both times are monotonic seconds."""
    addresses = [
        record.to_text() for rrset in message.answer if rrset.rdtype == dns.rdatatype.A for record in rrset
    ]
    if question.answer == outside.NXDOMAIN:
        is_denied = message.rcode() == dns.rcode.NXDOMAIN and not addresses
        return Judgement(Verdict.RIGHT if is_denied else Verdict.INVENTED)
    if message.rcode() != dns.rcode.NOERROR or not addresses:
        return Judgement(Verdict.DENIED)
    if question.answer:
        return Judgement(Verdict.RIGHT if addresses == [question.answer] else Verdict.FOREIGN)
    # For a moment both the former address and the next one may be told: each has to be right.
    found = [changes.judge(question.number, address, sent, answered) for address in addresses]
    worst = max(found, key=lambda one: one.stale_seconds)
    return next((one for one in found if one.verdict is not Verdict.RIGHT), worst)


# What is asked


def steady_name(number: int) -> str:
    """A Service with a ClusterIP."""
    return f"web-{number}.{DOMAIN}"


def steady_address(number: int) -> str:
    """Its ClusterIP."""
    return str(IPv4Address(CLUSTER_IPS + number))


def changing_name(number: int) -> str:
    """A headless Service."""
    return f"db-{number}.{DOMAIN}"


def _steady(rng: random.Random, _: int) -> Question:
    number = rng.randrange(STEADY)
    return Question("cluster", steady_name(number), steady_address(number))


def _changing(rng: random.Random, _: int) -> Question:
    number = rng.randrange(CHANGING)
    return Question("changing", changing_name(number), "", number)


def _search(rng: random.Random, _: int) -> Question:
    """What a resolver with a search list asks first."""
    return Question("search list", f"{outside.host(rng.randrange(outside.HOSTS)).name}.{DOMAIN}", outside.NXDOMAIN)


def _host(rng: random.Random, _: int) -> Question:
    return Question("outside, again", *outside.host(rng.randrange(outside.HOSTS)))


def _unique(rng: random.Random, turn: int) -> Question:
    return Question("outside, new", *outside.unique(rng.randrange(outside.WILDCARDS), f"t{turn}"))


def _gone(_: random.Random, turn: int) -> Question:
    return Question("outside, NXDOMAIN", *outside.gone(turn))


MIX: tuple[tuple[int, Callable[[random.Random, int], Question]], ...] = (
    (30, _steady), (20, _changing), (15, _search), (15, _host), (10, _unique), (10, _gone),
)  # fmt: skip
_WEIGHTS = [weight for weight, _ in MIX]


def draw(rng: random.Random, turn: int) -> Question:
    """A question; `turn` makes the names that are to be new differ."""
    return rng.choices(MIX, _WEIGHTS)[0][1](rng, turn)
