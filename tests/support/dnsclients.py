"""The client's DNS backends, asked alike, whether they are driven by a loop or by their callers.

    with opened("stub", [("127.0.0.1", port)]) as client:
        reply = client.ask("web.example.", "A")
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdns.client.aiodns_backend import AiodnsBackend
from kdns.client.backend import Backend, Capabilities, Question, Reply
from kdns.client.blocking_stub import BlockingStubBackend
from kdns.client.stub import StubBackend
from kdns.wire.iana import RRType

PATIENCE = 5.0
KINDS = ("stub", "blocking", "aiodns")
STUBS = ("stub", "blocking")

Servers = Sequence[tuple[str, int]]


class LoopClient:
    """A Backend, and a loop for it."""

    def __init__(self, made: type[StubBackend] | type[AiodnsBackend], servers: Servers) -> None:
        self.runner = asyncio.Runner()

        async def make() -> Backend:
            return made(servers)

        self.backend: Any = self.runner.run(make())

    @property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities

    def ask_all(self, questions: Sequence[tuple[str, str]], timeout: float = PATIENCE) -> list[Reply]:
        return self.runner.run(self._ask_all(questions, timeout))

    def ask(self, name: str, rrtype: str, timeout: float = PATIENCE) -> Reply:
        return self.ask_all([(name, rrtype)], timeout)[0]

    async def _ask_all(self, questions: Sequence[tuple[str, str]], seconds: float) -> list[Reply]:
        loop = asyncio.get_running_loop()
        waiting = []
        for name, rrtype in questions:
            future: asyncio.Future[Reply] = loop.create_future()
            self.backend.ask(Question(name, RRType[rrtype]), seconds, future.set_result)
            assert not future.done()  # told later, and not from within
            waiting.append(future)
        return await asyncio.gather(*waiting)

    def close(self) -> None:
        self.backend.close()
        self.runner.close()


class BlockingClient:
    """A BlockingBackend."""

    def __init__(self, servers: Servers) -> None:
        self.backend = BlockingStubBackend(servers)

    @property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities

    def ask_all(self, questions: Sequence[tuple[str, str]], timeout: float = PATIENCE) -> list[Reply]:
        pending = [self.backend.start(Question(name, RRType[rrtype]), timeout) for name, rrtype in questions]
        replies = [one.wait(time.monotonic() + timeout + 1.0) for one in pending]
        return [reply for reply in replies if reply is not None]

    def ask(self, name: str, rrtype: str, timeout: float = PATIENCE) -> Reply:
        return self.ask_all([(name, rrtype)], timeout)[0]

    def close(self) -> None:
        self.backend.close()


Client = LoopClient | BlockingClient


@contextmanager
def opened(kind: str, servers: Servers) -> Iterator[Client]:
    """A client, closed at the end."""
    client: Client
    if kind == "blocking":
        client = BlockingClient(servers)
    else:
        client = LoopClient(StubBackend if kind == "stub" else AiodnsBackend, servers)
    try:
        yield client
    finally:
        client.close()


def descriptors() -> set[str]:
    """What this process has open: sockets and event files, by number and inode."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{path.name} {os.readlink(path)}")
        except FileNotFoundError:
            continue  # the directory itself
    return found
