"""Replies that wait for the forwarder: handing their questions over, and telling the query log of them in the end.

A query for a name of ours is answered in the turn of the loop in which it is read, and never waits: only what has to
come from outside does, so that no slow upstream and no flood of outside names holds up a cluster name. Not here: who
asks (kdns.server.asking), what is made of the answer (kdns.answer.outside), how the reply gets to the client
(kdns.server.udp, kdns.server.tcp).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from kdns.answer.outside import SHED, Pending
from kdns.observe.querylog import Exchange
from kdns.observe.tally import Meter
from kdns.wire.outside import Ask, Told

# A whole reply; what waits for it; None for silence.
Outcome = bytes | Pending | None

# What is told of each query and its reply when queries are logged.
Observer = Callable[[Exchange], None]


class Outside(Protocol):
    """Who passes questions on: kdns.server.asking.Asker."""

    def ask(self, ask: Ask, on_told: Callable[[Told], None]) -> bool:
        """Whether the question was taken; `on_told` is called once then, and never otherwise."""


def hand_over(outside: Outside | None, pending: Pending, send: Callable[[bytes], None]) -> bytes | None:
    """Ask for what a query waits for; its reply goes to `send`, later.

    Where the question is not taken the reply that says so is given back, to be sent at once.
    """
    finish = pending.finish

    def on_told(told: Told) -> None:
        send(finish(told))

    return None if outside is not None and outside.ask(pending.ask, on_told) else finish(SHED)


def timed(pending: Pending, meter: Meter) -> Pending:
    """The same, the meter told how long its reply takes from now."""
    finish, began_ns = pending.finish, time.perf_counter_ns()

    def finish_and_tell(told: Told) -> bytes:
        reply = finish(told)
        meter.took(time.perf_counter_ns() - began_ns, 1)
        return reply

    return Pending(pending.ask, finish_and_tell)


def observed(
    outcome: Outcome, query: bytes, client: tuple[bytes, int], tcp: bool, began_ns: int, observer: Observer
) -> Outcome:
    """What became of a query, the observer told of the reply, now or once there is one."""
    if outcome is None:
        return None

    def tell(reply: bytes) -> bytes:
        observer(Exchange(query, reply, client, tcp, time.perf_counter_ns() - began_ns))
        return reply

    if isinstance(outcome, bytes):
        return tell(outcome)
    finish = outcome.finish
    return Pending(outcome.ask, lambda told: tell(finish(told)))
