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

from kdns.answer.outside import Pending
from kdns.observe.querylog import Exchange
from kdns.observe.tally import Meter
from kdns.wire.outside import Ask, Told, Unasked, unasked

# A whole reply; what waits for it; None for silence.
Outcome = bytes | Pending | None

# What is told of each query and its reply when queries are logged.
Observer = Callable[[Exchange], None]


# In which a query has its reply, also one that waits for several answers in turn (`autopath`): stub resolvers give up
# after 5 s.
PATIENCE_SECONDS = 4.5


_NOBODY, _OVERDUE = unasked(Unasked.GONE), unasked(Unasked.OVERDUE)


class Outside(Protocol):
    """Who passes questions on: kdns.server.asking.Asker."""

    def refusal(self, ask: Ask) -> Told | None:
        """What is told instead of asking this question; None if it may be asked now. To be called before `ask`."""

    def ask(self, ask: Ask, on_told: Callable[[Told], None], patience: float = PATIENCE_SECONDS) -> None:
        """Ask a question that is not refused; `on_told` is called once, later.

        patience: seconds after which a failure is told at the latest.
        """

    def when_told(self, callback: Callable[[], None]) -> None:
        """For an `on_told`: have this called once the others have been told that are to be told now."""


def hand_over(outside: Outside | None, pending: Pending, send: Callable[[bytes], None]) -> bytes | None:
    """Ask for what a query waits for, and for what it waits for then; its reply goes to `send`, later.

    Where the question is refused the reply that says so is given back, to be sent at once.
    """
    if outside is None:
        return _finished(pending, _NOBODY)
    refusal = outside.refusal(pending.ask)
    if refusal is not None:
        return _finished(pending, refusal)
    outside.ask(pending.ask, _Wait(outside, pending, send).on_told)
    return None


class _Wait:
    """One query, for as long as it waits. Nothing refers back to it but who is to tell."""

    __slots__ = ("_deadline", "_outside", "_pending", "_send")

    def __init__(self, outside: Outside, pending: Pending, send: Callable[[bytes], None]) -> None:
        self._outside = outside
        self._pending = pending
        self._send = send
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def on_told(self, told: Told) -> None:
        """Send the reply, or ask for what it waits for next."""
        outcome = self._pending.finish(told)
        if isinstance(outcome, bytes):
            self._send(outcome)
            return
        self._pending = outcome
        patience = self._deadline - time.monotonic()
        refusal = self._outside.refusal(outcome.ask) if patience > 0 else _OVERDUE
        if refusal is None:
            self._outside.ask(outcome.ask, self.on_told, patience)
        else:
            self._send(_finished(outcome, refusal))


def _finished(pending: Pending, told: Told) -> bytes:
    """The reply to a query for which nothing more is asked, for the reason that is told."""
    outcome = pending.finish(told)
    return outcome if isinstance(outcome, bytes) else _finished(outcome, told)


def timed(pending: Pending, meter: Meter) -> Pending:
    """The same, the meter told how long its reply takes from now."""
    began_ns = time.perf_counter_ns()

    def tell(reply: bytes) -> bytes:
        meter.took(time.perf_counter_ns() - began_ns, 1)
        return reply

    return _told_of(pending, tell)


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
    return _told_of(outcome, tell)


def _told_of(pending: Pending, tell: Callable[[bytes], bytes]) -> Pending:
    def finish(told: Told) -> bytes | Pending:
        outcome = pending.finish(told)
        return tell(outcome) if isinstance(outcome, bytes) else _told_of(outcome, tell)

    return pending._replace(finish=finish)
