"""A stub resolver as glibc's: one question at a time to each server in turn, a new socket for each, twice around.

It asks the next server at once if nobody listens or the answer is SERVFAIL, REFUSED or NOTIMP, and after `timeout` if
there is none. What became of each attempt is kept. Not here: search lists, TCP, what a right answer is (bench.truth).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import dns.exception
import dns.message
import dns.rcode

TIMEOUT_SECONDS = 1.0  # resolv.conf's `timeout:1`; 5 by default
ROUNDS = 2  # resolv.conf's `attempts`, by default
_NEXT = frozenset((dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP))

ANSWERED = "answered"
TIMED_OUT = "timed out"
NOBODY = "nobody listens"
STRANGE = "not an answer to this"

Server = tuple[str, int]


class Attempt(NamedTuple):
    """One message to one server. at: monotonic seconds. outcome: one of the above, or an rcode's name."""

    at: float
    server: Server
    outcome: str


class Resolution(NamedTuple):
    """What became of a name. message: the answer; None if no attempt brought one, or it need not be kept."""

    at: float
    seconds: float
    attempts: tuple[Attempt, ...]
    message: dns.message.Message | None

    @property
    def failures(self) -> Iterator[Attempt]:
        """The attempts that brought no answer."""
        return (one for one in self.attempts if one.outcome != ANSWERED)


class _Exchange(asyncio.DatagramProtocol):
    """What comes back to a query: octets, or an error."""

    def __init__(self, message_id: bytes) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._message_id = message_id

    def datagram_received(self, data: bytes, _: tuple[str | Any, int]) -> None:
        if data[:2] == self._message_id and not self.reply.done():
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def resolve(name: str, servers: Sequence[Server]) -> Resolution:
    """Ask for the A records of a name."""
    began = time.monotonic()
    attempts: list[Attempt] = []
    for server in tuple(servers) * ROUNDS:
        query = dns.message.make_query(name, "A")
        sent = time.monotonic()
        outcome, message = await _attempt(query, server)
        attempts.append(Attempt(sent, server, outcome))
        if message is not None:
            return Resolution(began, time.monotonic() - began, tuple(attempts), message)
    return Resolution(began, time.monotonic() - began, tuple(attempts), None)


async def _attempt(query: dns.message.Message, server: Server) -> tuple[str, dns.message.Message | None]:
    loop = asyncio.get_running_loop()
    wire = query.to_wire()
    transport, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(wire[:2]), remote_addr=server)
    transport.sendto(wire)
    try:
        octets = await asyncio.wait_for(exchange.reply, TIMEOUT_SECONDS)
    except TimeoutError:
        return TIMED_OUT, None
    except OSError:
        return NOBODY, None
    finally:
        transport.close()
    return judge(query, octets)


def judge(query: dns.message.Message, octets: bytes) -> tuple[str, dns.message.Message | None]:
    """What a reply is worth: its message if it is an answer."""
    try:
        message = dns.message.from_wire(octets)
    except dns.exception.DNSException:
        return STRANGE, None
    if not query.is_response(message):
        return STRANGE, None
    if message.rcode() in _NEXT:
        return dns.rcode.to_text(message.rcode()), None
    return ANSWERED, message
