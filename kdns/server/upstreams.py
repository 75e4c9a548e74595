"""All upstreams of a resolver: carries out what it wants asked, and tells it what became of that.

Each message to an upstream is an Exchange until it is answered, has failed, timed out, or been cancelled; of each the
resolver hears once, and of those that it has cancelled, nothing. Not here: how an upstream is spoken to
(kdns.server.upstream_udp, upstream_stream), which one is asked and what follows (kdns.forward).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from kdns.forward.values import Fault, Send, Transport, UpstreamSpec
from kdns.server.draws import Draws
from kdns.server.exchange import Draw, Endpoint, Exchange, Outcome
from kdns.server.trust import NO_FILES, Trust, TrustFiles
from kdns.server.upstream_stream import SILENCE_SECONDS, StreamPool, Tls
from kdns.server.upstream_udp import UdpPool

# Time-outs are late by no more than that; kdns.forward has asked another upstream long before.
SWEEP_SECONDS = 0.05
# Messages under way: two upstreams each for all the questions that the resolver admits (Limits.in_flight).
EXCHANGES_MAX = 8192
_PROTOCOLS = {Transport.TCP: "tcp", Transport.TLS: "tcp-tls"}  # as CoreDNS names them


@dataclass(frozen=True, slots=True)
class Manners:
    """How an upstream's connections are kept.

    idle: seconds without a question. idle_max: how many of those that have none, 0 for all. trust: the certificates
    that count, over TLS. max_age: seconds after which none is used, 0 for no limit. silence: seconds after a question
    without an octet, after which the other side is gone.
    """

    idle: float = 10.0
    idle_max: int = 0
    trust: TrustFiles = NO_FILES
    max_age: float = 0.0
    silence: float = SILENCE_SECONDS


@dataclass(slots=True)
class Tallies:
    """What has been counted. strangers: replies that answer nothing. no_room: exchanges over EXCHANGES_MAX."""

    strangers: int = 0
    no_room: int = 0


class Upstreams:
    """See the module's docstring.

    outcome: the resolver's side. manners: of each upstream. on_trouble: told what an operator has to mend.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outcome: Outcome,
        manners: Mapping[UpstreamSpec, Manners],
        on_trouble: Callable[[UpstreamSpec, str], None],
        draw: Draw | None = None,
    ) -> None:
        self._loop = loop
        self._outcome = outcome
        self._manners = manners
        self._on_trouble = on_trouble
        self._draw = draw or Draws().getrandbits
        self._pools: dict[tuple[UpstreamSpec, Transport], UdpPool | StreamPool] = {}
        self._udp: dict[UpstreamSpec, UdpPool] = {}  # those of them that are asked nearly always
        self._trusts: dict[TrustFiles, Trust] = {}
        self._exchanges: dict[int, Exchange] = {}
        self.tallies = Tallies()

    def __len__(self) -> int:
        """Messages under way."""
        return len(self._exchanges)

    def connections(self) -> dict[tuple[UpstreamSpec, str], tuple[int, int]]:
        """By upstream and transport: questions for which there was a connection, and for which one was made."""
        return {
            (upstream, _PROTOCOLS[transport]): (pool.reused, pool.opened)
            for (upstream, transport), pool in self._pools.items()
            if isinstance(pool, StreamPool)
        }

    def send(self, send: Send, upstream: UpstreamSpec, now: float) -> None:
        """Ask an upstream; what becomes of it is told, maybe at once."""
        if len(self._exchanges) >= EXCHANGES_MAX:
            self.tallies.no_room += 1
            self._outcome.failed(send.token, Fault.NO_ROOM)
            return
        exchange = self._exchanges[send.token] = Exchange(send, send.token, now + send.timeout)
        pool: UdpPool | StreamPool | None = self._udp.get(upstream) if send.transport is Transport.UDP else None
        try:
            pool = pool or self._pool(upstream, send.transport)
        except OSError:  # an address of a family, or with a zone, that this machine does not have
            self.failed(send.token, Fault.UNREACHABLE)
            return
        pool.send(exchange, now)

    def cancel(self, token: int) -> None:
        """Nobody waits for it any more. Nothing is told of it."""
        exchange = self._take(token)
        if exchange is not None and exchange.home is not None:
            exchange.home.leave(exchange)

    def replied(self, token: int, reply: bytes) -> None:
        """For the pools: there is a reply."""
        if self._take(token) is not None:
            self._outcome.replied(token, reply)

    def failed(self, token: int, fault: Fault) -> None:
        """For the pools: there is none."""
        if self._take(token) is not None:
            self._outcome.failed(token, fault)

    def sweep(self, now: float) -> None:
        """Tell of what has timed out, and close what has been idle for long. To be called each SWEEP_SECONDS."""
        late = [token for token, exchange in self._exchanges.items() if exchange.deadline <= now]
        for token in late:
            exchange = self._take(token)
            if exchange is not None:  # what is told of one may cancel others
                if exchange.home is not None:
                    exchange.home.leave(exchange)
                self._outcome.failed(token, Fault.TIMEOUT)
        for pool in self._pools.values():
            pool.sweep(now)

    def close(self) -> None:
        """Close everything; nothing is told of any more."""
        for exchange in self._exchanges.values():
            exchange.is_over = True
        self._exchanges.clear()
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._udp.clear()

    def _take(self, token: int) -> Exchange | None:
        exchange = self._exchanges.pop(token, None)
        if exchange is not None:
            exchange.is_over = True
        return exchange

    def _pool(self, upstream: UpstreamSpec, transport: Transport) -> UdpPool | StreamPool:
        """Raises OSError."""
        pool = self._pools.get((upstream, transport))
        if pool is None:
            pool = self._pools[upstream, transport] = self._new_pool(upstream, transport)
        return pool

    def _new_pool(self, upstream: UpstreamSpec, transport: Transport) -> UdpPool | StreamPool:
        endpoint = endpoint_of(upstream)
        if transport is Transport.UDP:
            pool = self._udp[upstream] = UdpPool(self._loop, endpoint, self, self._draw, self._count_stranger)
            return pool
        manners = self._manners.get(upstream, Manners())
        tls = Tls(upstream.server_name, self._trust(manners.trust)) if transport is Transport.TLS else None
        trouble = partial(self._on_trouble, upstream)
        return StreamPool(
            self._loop, endpoint, self, self._draw, manners.idle, manners.idle_max, tls, trouble, manners.max_age,
            manners.silence,
        )  # fmt: skip

    def _trust(self, files: TrustFiles) -> Trust:
        return self._trusts.setdefault(files, Trust(files))

    def _count_stranger(self) -> None:
        self.tallies.strangers += 1


def endpoint_of(upstream: UpstreamSpec) -> Endpoint:
    """Where it listens. Raises OSError for an address that this machine cannot have."""
    family, _, _, _, sockaddr = socket.getaddrinfo(
        upstream.host, upstream.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    return Endpoint(family, sockaddr)
