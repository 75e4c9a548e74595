"""aiodns (c-ares) as the backend: for apps that have it already. Needs `pip install kdns[aiodns]`.

c-ares keeps answers on its own, denials too, and cannot be told not to: `flush` takes a fresh channel, which keeps
nothing. Its errors carry no SOA record, so nobody knows for how long a denial holds. It has a thread for each channel,
and one for closing them. Not here: our own stub, which has none of that (kdns.client.stub).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

from kdns.client.backend import Capabilities, Kind, Question, Reply, Service
from kdns.client.errors import OptionError
from kdns.client.reading import Fact, understand
from kdns.client.talking import place_of
from kdns.wire.iana import RRType, type_text

# What c-ares waits for the first answer of a server before it asks the next one, and how often it asks each.
TRY_SECONDS = 0.4
TRIES = 4
# Channels that were flushed away and still have questions; beyond it those of the oldest fail.
RETIRED_MAX = 4

_KINDS = {1: Kind.NODATA, 4: Kind.NXDOMAIN}  # ARES_ENODATA, ARES_ENOTFOUND


class _QuietLoop:
    """The loop, but for c-ares' thread, which goes on when a loop is closed: then nobody is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_soon_threadsafe(self, told: Callable[..., Any], *arguments: Any) -> None:  # noqa: ANN401
        try:
            self._loop.call_soon_threadsafe(told, *arguments)
        except RuntimeError:
            return  # closed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._loop, name)


class _Channel:
    """One resolver of aiodns, and the questions on it."""

    def __init__(self, servers: Sequence[str]) -> None:
        try:
            import aiodns
        except ImportError as error:
            raise OptionError("AiodnsBackend needs aiodns: pip install 'kdns[aiodns]'") from error
        loop = cast(asyncio.AbstractEventLoop, _QuietLoop(asyncio.get_running_loop()))
        self.resolver = aiodns.DNSResolver(servers, loop, timeout=TRY_SECONDS, tries=TRIES)
        self.asked: dict[_Asked, None] = {}
        self.was_used = False

    def close(self) -> None:
        """Close it, quietly if the loop is closed."""
        # aiodns has only a coroutine for it, which waits for nothing but this.
        with suppress(RuntimeError):
            self.resolver._cleanup()


class _Asked:
    """One question."""

    def __init__(self, backend: AiodnsBackend, channel: _Channel, question: Question, timeout: float,
                 told: Callable[[Reply], None]) -> None:  # fmt: skip
        self._backend, self._channel, self._question, self._told = backend, channel, question, told
        self._is_over = False
        self._timer = backend.loop.call_later(timeout, self._late, timeout)
        channel.asked[self] = None
        channel.was_used = True
        self._future: asyncio.Future[Any] | None = None
        try:
            self._future = channel.resolver.query_dns(question.name, type_text(question.rrtype))
        except Exception as error:  # what aiodns raises is many things; a question never does
            backend.loop.call_soon(self.end, Reply(Kind.FAILURE, text=f"aiodns: {error}"))
        else:
            self._future.add_done_callback(self._answered)

    def cancel(self) -> None:
        """Nobody waits for it."""
        self._leave()

    def _answered(self, future: asyncio.Future[Any]) -> None:
        if self._is_over or future.cancelled():
            return
        error = future.exception()
        if error is None:
            self.end(_read(self._question, future.result(), self._backend.text))
            return
        number = error.args[0] if error.args else None
        kind = _KINDS.get(number, Kind.FAILURE) if isinstance(number, int) else Kind.FAILURE
        text = f"{error.args[-1] if error.args else error} (c-ares, {self._backend.text})"
        self.end(Reply(kind, text=text))

    def _late(self, seconds: float) -> None:
        self.end(Reply(Kind.FAILURE, text=f"no answer in {seconds:g} s (c-ares, {self._backend.text})"))

    def end(self, reply: Reply) -> None:
        """It is over, unless it was before."""
        if not self._is_over:
            self._leave()
            self._told(reply)

    def _leave(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._timer.cancel()
        if self._future is not None and not self._future.done():
            self._future.remove_done_callback(self._answered)
            if not self._backend.loop.is_closed():
                self._future.cancel()
        self._channel.asked.pop(self, None)
        self._backend.left(self._channel)


class AiodnsBackend:
    """See the module's docstring, and kdns.client.backend.Backend. Raises OptionError without aiodns."""

    capabilities = Capabilities(negative_ttl=False, mixes_case=False, needs_thread=True)

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        self.loop = asyncio.get_running_loop()
        self.text = ", ".join(place_of(host, port).text for host, port in servers)
        self._servers = [_server_text(host, port) for host, port in servers]
        self._channel = _Channel(self._servers)
        self._retired: list[_Channel] = []
        self._is_closed = False

    def ask(self, question: Question, timeout: float, told: Callable[[Reply], None]) -> _Asked | asyncio.Handle:
        """Ask; see kdns.client.backend.Backend."""
        if self._is_closed:
            return self.loop.call_soon(told, Reply(Kind.FAILURE, text="the backend is closed"))
        return _Asked(self, self._channel, question, timeout, told)

    def flush(self) -> None:
        """Take a fresh channel. Questions on the former one go on; it is closed after the last."""
        if self._is_closed or not self._channel.was_used:
            return
        former, self._channel = self._channel, _Channel(self._servers)
        self._retired.append(former)
        self.left(former)
        while len(self._retired) > RETIRED_MAX:
            oldest = self._retired.pop(0)
            for asked in oldest.asked:
                self.loop.call_soon(asked.end, Reply(Kind.FAILURE, text="flushed too often (c-ares)"))
            oldest.close()

    def left(self, channel: _Channel) -> None:
        """For a question: it is over."""
        if channel in self._retired and not channel.asked:
            self._retired.remove(channel)
            channel.close()

    def close(self) -> None:
        """Close all channels; what is pending is never told."""
        self._is_closed = True
        for channel in [*self._retired, self._channel]:
            for asked in list(channel.asked):
                asked.cancel()
            channel.close()
        self._retired.clear()


def _server_text(host: str, port: int) -> str:
    """As c-ares wants it: `[fe80::1]:53%eth0`."""
    address, _, zone = host.partition("%")
    text = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{text}%{zone}" if zone else text


def _read(question: Question, result: Any, server: str) -> Reply:  # noqa: ANN401
    """What a pycares.DNSResult says."""
    return understand(question, _facts(result.answer), _facts(result.additional), False, None, server)


def _facts(records: Iterable[Any]) -> Iterable[Fact]:
    for record in records:
        read = _VALUES.get(record.type)
        if read is not None:
            yield Fact(_absolute(record.name), record.type, record.ttl, read(record.data))


def _absolute(name: str) -> str:
    return name.lower().rstrip(".") + "."


_VALUES: dict[int, Callable[[Any], Service | str]] = {
    int(RRType.A): lambda data: str(data.addr),
    int(RRType.AAAA): lambda data: str(data.addr),
    int(RRType.CNAME): lambda data: _absolute(data.cname),
    int(RRType.SRV): lambda data: Service(data.priority, data.weight, data.port, _absolute(data.target)),
}
