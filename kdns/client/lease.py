"""One endpoint, lent for one attempt: where to connect, and how it went.

Leaving the block says how it went, by the exception or its absence (kdns.client.classify); `ok`, `fail` and
`retry_after` say otherwise. `sent` tells that the request is about to be handed to a connection: from then on a request
that is not idempotent is never sent again. Not here: who lends it (kdns.client.balancer and its blocking twin).
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from kdns.client.cells import Cell
from kdns.client.classify import outcome_of
from kdns.client.endpoint import Endpoint
from kdns.client.outcome import OK, Outcome, Safety

Patience = tuple[bool, float | None]  # whether to wait for endpoints, and for how many seconds at most
IMPATIENT: Patience = (False, None)


class Lender(Protocol):
    """A balancer, for its leases."""

    def reached(self, cell: Cell, started: float) -> None:
        """A lease's attempt has a connection."""

    def left(self, until: float) -> float:
        """Seconds until then."""


class Lease:
    """An endpoint for one attempt.

    endpoint: where. number: of the attempt in its call, from 1 on. until: when the attempt is over (time.monotonic),
    inf for never; for async code that is enforced, blocking code gives `timeout` to its socket.
    """

    __slots__ = ("_lender", "_outcome", "cell", "endpoint", "number", "started", "until", "was_sent")
    _lender: Lender
    _outcome: Outcome | None
    cell: Cell
    endpoint: Endpoint
    number: int
    started: float
    until: float
    was_sent: bool | None

    def __init__(self, lender: Lender, cell: Cell, started: float, number: int = 1, until: float = inf) -> None:
        self._lender = lender
        self.cell = cell
        self.started = started
        self._outcome = None
        self.was_sent = None
        self.endpoint = cell.endpoint
        self.number = number
        self.until = until

    @property
    def host(self) -> str:
        """The address to connect to."""
        return self.endpoint.host

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.endpoint.port

    @property
    def is_leaving(self) -> bool:
        """Whether DNS does not name the endpoint any more: finish what is under way, and take another lease."""
        return self.cell.is_leaving

    @property
    def timeout(self) -> float | None:
        """Seconds that are left for the attempt, as sockets take them: never 0, which would mean not to wait."""
        return None if self.until == inf else max(_TIMEOUT_LEAST, self._lender.left(self.until))

    def sent(self) -> None:
        """The request is about to be handed to a connection; call it where `fn` does other work before that."""
        self.was_sent = True
        self._lender.reached(self.cell, self.started)

    def ok(self) -> None:
        """The endpoint did well, whatever exception may follow."""
        self._outcome = OK

    def fail(self, text: str = "said to have failed", *, safe: bool = False) -> None:
        """The endpoint failed, though no exception says so: an answer of 503, say.

        safe: the server did not begin to process the request, so that any request may be sent again.
        """
        again_after = self._outcome.again_after if self._outcome is not None else None
        safety = Safety.REFUSED if safe else Safety.MAYBE_PROCESSED
        self._outcome = Outcome(False, safety, again_after=again_after, text=text)

    def retry_after(self, seconds: float) -> None:
        """The server wants no other attempt for so many seconds (Retry-After); negative: none at all (gRPC)."""
        self._outcome = Outcome(False, Safety.MAYBE_PROCESSED, again_after=seconds, text=f"retry after {seconds} s")

    def outcome(self, error: BaseException | None) -> Outcome:
        """How it went: what was said, else what the exception means."""
        if self._outcome is not None:
            return self._outcome
        return OK if error is None else outcome_of(error, self.was_sent)

    def __repr__(self) -> str:
        return f"<Lease {self.endpoint} attempt {self.number}>"


# A socket's timeout of 0 would make it non-blocking.
_TIMEOUT_LEAST = 0.001
