"""Endpoints that misbehave: put between a balancer and the app's own function.

`Faults().around(fn)` is what `balancer.call` takes, and `faults.refuse("10.0.0.1:80")` makes every attempt there end as
if the pod were gone. Faults are as real ones look to asyncio code: the exceptions are those that streams raise. Not
here: faults of DNS (`ScriptedResolver.deny`).
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kdns.client.endpoint import Endpoint
from kdns.client.lease import Lease

T = TypeVar("T")
Fault = Callable[[Lease], Awaitable[None]]


class Faults:
    """Which endpoints misbehave, and how; endpoints are named as in logs, `10.0.0.1:80`.

    attempts: how many came to each endpoint, those that failed included.
    """

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self._before: dict[str, Fault] = {}
        self._after: dict[str, Exception] = {}

    def refuse(self, endpoint: str | Endpoint) -> None:
        """Nobody listens there: connection refused."""
        self._before[str(endpoint)] = _refuse

    def hang(self, endpoint: str | Endpoint) -> None:
        """It takes the request and never answers."""
        self._before[str(endpoint)] = _hang

    def reset(self, endpoint: str | Endpoint) -> None:
        """It takes the request, does what it asks, and dies before it answers."""
        self._after[str(endpoint)] = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    def fail(self, endpoint: str | Endpoint, error: Exception) -> None:
        """Every attempt raises this, without the app's function having run."""

        async def raise_error(lease: Lease) -> None:
            lease.sent()
            raise error

        self._before[str(endpoint)] = raise_error

    def slow(self, endpoint: str | Endpoint, seconds: float) -> None:
        """It answers so much later."""

        async def wait(lease: Lease) -> None:
            lease.sent()
            await asyncio.sleep(seconds)

        self._before[str(endpoint)] = wait

    def heal(self, endpoint: str | Endpoint) -> None:
        """It is well again."""
        self._before.pop(str(endpoint), None)
        self._after.pop(str(endpoint), None)

    def around(self, fn: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        """The function, with the faults of the endpoint that it is given."""

        async def faulty(lease: Lease, *args: object) -> T:
            name = str(lease.endpoint)
            self.attempts[name] += 1
            if name in self._before:
                await self._before[name](lease)
            value = await fn(lease, *args)
            if name in self._after:
                lease.sent()
                raise self._after[name]
            return value

        return faulty


async def _refuse(lease: Lease) -> None:
    raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ('{lease.host}', {lease.port})")


async def _hang(lease: Lease) -> None:
    lease.sent()
    await asyncio.get_running_loop().create_future()
