"""What a balancer looks like at one moment, as values: for a debug page, a log, a test.

Not here: how it came about over time (kdns.client.hooks).
"""

from __future__ import annotations

from dataclasses import dataclass

from kdns.client.cells import UNMEASURED, Cell, State
from kdns.client.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One endpoint.

    is_picked: new requests may go there just now; it may be up and not picked: of a farther zone, a lower priority, or
    another client's subset. out_for: seconds until it is tried again, 0 if it is up. latency: seconds, decayed;
    None before the first answer. good, bad: attempts since the start. is_leaving: DNS does not name it any more.
    """

    endpoint: Endpoint
    state: State
    is_picked: bool
    outstanding: int
    latency: float | None
    out_for: float
    good: int
    bad: int
    is_leaving: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole balancer.

    age: seconds since the endpoints were resolved. problem: why they could not be had anew, or there are none.
    is_panic: too many are out, so all are used. floor: seconds, the least latency that peak EWMA counts with.
    """

    target: str
    endpoints: tuple[EndpointStatus, ...]
    outstanding: int
    age: float
    is_stale: bool
    problem: str | None
    is_panic: bool
    floor: float


def status(cell: Cell, is_picked: bool, now: float) -> EndpointStatus:
    """What a cell says just now."""
    return EndpointStatus(
        cell.endpoint,
        cell.state,
        is_picked,
        cell.outstanding,
        None if cell.ewma == UNMEASURED else cell.ewma,
        0.0 if cell.state is State.UP else max(0.0, cell.until - now),
        cell.good,
        cell.bad,
        cell.is_leaving,
    )
