"""A DNS that says what a test tells it, for both kinds of resolver: answers by question, counted.

`after` is how long an answer takes. Held questions are answered when the test lets them go. Not here: real servers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from kdns.client.backend import Address, Capabilities, Kind, Question, Reply, Service

A, AAAA, SRV = 1, 28, 33
FAILURE = Reply(Kind.FAILURE, text="no answer in 5 s")
NXDOMAIN = Reply(Kind.NXDOMAIN, ttl=5.0, text="NXDOMAIN of 10.96.0.10")


def addresses(name: str, those: Iterable[str], ttl: float = 30.0) -> Reply:
    """An answer to A or AAAA."""
    found = tuple(Address(name, one) for one in those)
    return Reply(Kind.ANSWER, (), found, ttl) if found else Reply(Kind.NODATA, ttl=ttl, text="NODATA of 10.96.0.10")


def services(those: dict[str, str], port: int = 8080, ttl: float = 30.0) -> Reply:
    """An answer to SRV: hosts and their addresses, which come along."""
    records = tuple(Service(0, 1, port, host) for host in those)
    return Reply(Kind.ANSWER, records, tuple(Address(host, one) for host, one in those.items()), ttl)


class Script:
    """What is answered to whom. asked: how often, by question. flushed: how often the cache was let go."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.asked: Counter[Question] = Counter()
        self.flushed = 0
        self.closed = 0
        self.after = 0.01
        self.is_held = False
        self.replies: dict[Question, Reply] = {}
        self._held: list[tuple[Question, Callable[[Reply], None]]] = []

    def say(self, name: str, v4: Iterable[str] = (), v6: Iterable[str] = (), ttl: float = 30.0) -> None:
        """From now on these addresses."""
        self.replies[Question(name, A)] = addresses(name, v4, ttl)
        self.replies[Question(name, AAAA)] = addresses(name, v6, ttl)

    def say_all(self, reply: Reply) -> None:
        """From now on the same to whatever is known."""
        self.replies = dict.fromkeys(self.replies, reply)

    def reply(self, question: Question) -> Reply:
        """What is said just now."""
        return self.replies.get(question, NXDOMAIN)

    def flush(self) -> None:
        """Counted."""
        self.flushed += 1

    def close(self) -> None:
        """Counted."""
        self.closed += 1


class _Timer:
    def __init__(self, handle: asyncio.TimerHandle | None) -> None:
        self._handle = handle

    def cancel(self) -> None:
        """Not told any more."""
        if self._handle is not None:
            self._handle.cancel()


class ScriptedBackend(Script):
    """For a Resolver; one for all loops, as what is counted is the point."""

    def ask(self, question: Question, timeout: float, told: Callable[[Reply], None]) -> _Timer:
        """Told `after` seconds later, or when it is let go."""
        self.asked[question] += 1
        if self.is_held:
            self._held.append((question, told))
            return _Timer(None)
        return _Timer(asyncio.get_running_loop().call_later(self.after, lambda: told(self.reply(question))))

    def let_go(self) -> None:
        """Answer what is held."""
        self.is_held = False
        held, self._held = self._held, []
        for question, told in held:
            told(self.reply(question))


class _BlockingQuestion:
    def __init__(self, script: BlockingScriptedBackend, question: Question) -> None:
        self._script = script
        self._question = question

    def poll(self, now: float) -> Reply | None:
        """An answer, if it is not held."""
        return None if self._script.is_held else self._script.reply(self._question)

    def wait(self, until: float) -> Reply | None:
        """Time passes until then, if it is held."""
        if self._script.is_held:
            self._script.waited(until)
        return self.poll(until)

    def cancel(self) -> None:
        """Nothing to let go of."""


class BlockingScriptedBackend(Script):
    """For a BlockingResolver. waited: called with how long somebody waits for what is held."""

    def __init__(self, waited: Callable[[float], None] = lambda until: None) -> None:
        super().__init__()
        self.waited = waited

    def start(self, question: Question, timeout: float) -> _BlockingQuestion:
        """A question on its way."""
        self.asked[question] += 1
        return _BlockingQuestion(self, question)
