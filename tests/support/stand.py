"""A test in the resolver's place: has upstreams asked on a loop of its own, and keeps what becomes of it.

    with Stand() as stand:
        token = stand.ask(upstream.port)
        assert stand.outcome(token) ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import dns.message
import uvloop

from kdns.forward.values import Fault, Send, Transport, UpstreamSpec
from kdns.server.upstreams import Manners, Upstreams
from kdns.wire.name import from_text

PATIENCE = 20.0
TICK = 0.005
RD = 0x0100


def question(name: str = "www.example.org", rrtype: int = 1) -> bytes:
    return from_text(name) + rrtype.to_bytes(2, "big") + b"\0\1"


class Stand:
    """See the module's docstring. troubles: what an operator is told. Outcomes come in `outcomes`, by token."""

    def __init__(
        self,
        manners: Mapping[UpstreamSpec, Manners] | None = None,
        draw: Callable[[int], int] | None = None,
    ) -> None:
        self.loop = uvloop.new_event_loop()
        self.outcomes: dict[int, bytes | Fault] = {}
        self.troubles: list[str] = []
        more = () if draw is None else (draw,)
        self.upstreams = Upstreams(self.loop, self, manners or {}, lambda _, text: self.troubles.append(text), *more)
        self.on_failed: Callable[[int], None] = lambda _: None
        self._token = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.upstreams.close()
        self.run_until(lambda: len(asyncio.all_tasks(self.loop)) <= 1)
        for _ in range(3):  # what was closed takes leave
            self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def replied(self, token: int, reply: bytes) -> None:
        assert token not in self.outcomes
        self.outcomes[token] = reply

    def failed(self, token: int, fault: Fault) -> None:
        assert token not in self.outcomes
        self.outcomes[token] = fault
        self.on_failed(token)

    def ask(
        self,
        port: int,
        transport: Transport = Transport.UDP,
        *,
        name: str = "www.example.org",
        host: str = "127.0.0.1",
        server_name: str = "",
        timeout: float = PATIENCE,
        with_edns: bool = True,
    ) -> int:
        """Ask, and give the token."""
        self._token += 1
        spec = UpstreamSpec(host, port, transport is Transport.TLS, server_name)
        send = Send(self._token, 0, transport, question(name), RD, False, with_edns, timeout)
        self.upstreams.send(send, spec, time.monotonic())
        return self._token

    def turn(self) -> None:
        """Let what was asked be sent, and nothing more."""
        for _ in range(2):
            self.loop.run_until_complete(asyncio.sleep(0))

    def outcome(self, token: int) -> dns.message.Message | Fault:
        """Wait until something has become of it."""
        self.run_until(lambda: token in self.outcomes)
        found = self.outcomes[token]
        return found if isinstance(found, Fault) else dns.message.from_wire(found)

    def addresses(self, token: int) -> list[str]:
        """Those of an answer."""
        found = self.outcome(token)
        assert not isinstance(found, Fault), found
        return [rdata.to_text() for rrset in found.answer for rdata in rrset]

    def run_until(self, is_so: Callable[[], bool]) -> None:
        """Let the loop run, and the clock be looked at."""
        self.loop.run_until_complete(self._until(is_so))

    async def _until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, "it does not come to that"
            await asyncio.sleep(TICK)
            self.upstreams.sweep(time.monotonic())
