"""Do the servers serve the same records? Compares their replies to a part of the questions, over TCP so
that all fits.

Compared are the rcode, AA, the answer as a set, and for an empty answer whether the SOA stands in the
authority section. TTLs, order, serials and the NS records that some servers add to a positive answer are
each server's own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.peers import Server
from bench.wire import TYPES, Reply

Essence = tuple[int, bool, tuple[object, ...], bool]


def essence(reply: Reply) -> Essence:
    """What two servers must agree on."""
    negative = not reply.answer and any(rtype == TYPES["SOA"] for _, rtype, _ in reply.authority)
    return reply.rcode, reply.authoritative, reply.answer, negative


def disagreements(servers: Sequence[Server], questions: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each question and server that answers otherwise than the last server in the list."""
    *others, reference = servers
    found = []
    for name, rtype in questions:
        expected = reference.ask(name, rtype, tcp=True)
        for server in others:
            reply = server.ask(name, rtype, tcp=True)
            if reply is None or expected is None or essence(reply) != essence(expected):
                found.append(f"{name} {rtype}: {_words(server, reply)}, {_words(reference, expected)}")
    return found


def _words(server: Server, reply: Reply | None) -> str:
    if reply is None:
        return f"{server.name} is silent"
    rcode, authoritative, answer, negative = essence(reply)
    return f"{server.name} rcode {rcode}, aa {authoritative:d}, {len(answer)} records, soa {negative:d}"
