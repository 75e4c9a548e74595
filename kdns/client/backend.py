"""How the resolver asks DNS: what a backend is asked, what it says, and what it can and cannot do.

Names are texts, absolute and with the last dot; nothing searches. A backend neither caches nor coalesces for us: what
it keeps on its own must be let go by `flush`. Not here: the stub (kdns.client.stub, kdns.client.blocking_stub), aiodns
(kdns.client.aiodns_backend), what becomes of a reply (kdns.client.resolution).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol


class Question(NamedTuple):
    """name: absolute, lower case, with the last dot. rrtype: A, AAAA or SRV, by number (kdns.wire.iana)."""

    name: str
    rrtype: int


class Kind(Enum):
    """What a reply says."""

    ANSWER = "answer"
    NODATA = "NODATA"
    NXDOMAIN = "NXDOMAIN"
    FAILURE = "failure"  # SERVFAIL, REFUSED, no answer in time, nonsense: nothing is known


class Address(NamedTuple):
    """One A or AAAA record. owner: as in Question.name. address: as `socket.inet_ntop` writes it."""

    owner: str
    address: str


class Service(NamedTuple):
    """One SRV record. target: as in Question.name; "." says that there is no such service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


class Reply(NamedTuple):
    """What is known after a question.

    services: of a SRV question. addresses: those asked for, whose owner is then the end of the aliases; or those that
    came along with SRV records in the additional section. ttl: seconds for which all of it holds, for a denial by
    RFC 2308; None where the backend cannot know. text: for people: "NXDOMAIN of 10.96.0.10", "no answer in 5 s".
    """

    kind: Kind
    services: tuple[Service, ...] = ()
    addresses: tuple[Address, ...] = ()
    ttl: float | None = None
    text: str = ""


class Capabilities(NamedTuple):
    """What a backend can do; the conformance suite leaves out what is declared missing, and nothing else."""

    negative_ttl: bool = True  # tells for how long a denial holds
    mixes_case: bool = True  # 0x20
    needs_thread: bool = False
    blocking: bool = False
    failover_timeout: bool = True  # goes to the next server well before the whole timeout is over


class Pending(Protocol):
    """A question on its way."""

    def cancel(self) -> None:
        """Nobody waits for it; `told` is not called any more."""


class Backend(Protocol):
    """Belongs to the event loop that runs when it is made, and is used and closed there."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def ask(self, question: Question, timeout: float, told: Callable[[Reply], None]) -> Pending:
        """Ask; `told` is called once, later and from the loop, in `timeout` seconds at the latest. Never raises."""

    def flush(self) -> None:
        """Let go of whatever it keeps, so that the next question reaches a server."""

    def close(self) -> None:
        """Let go of sockets and timers; what is pending is never told."""


class BlockingPending(Protocol):
    """A question on its way that its callers drive: without thread or loop."""

    def poll(self, now: float) -> Reply | None:
        """What has come, without waiting; sends again, or to the next server, what is due."""

    def wait(self, until: float) -> Reply | None:
        """Wait for the reply; None if it has not come by `until` (time.monotonic)."""

    def cancel(self) -> None:
        """Let go of its sockets. After a reply there is nothing to let go of."""


class BlockingBackend(Protocol):
    """May be used by several threads, one at a time for each pending question."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def start(self, question: Question, timeout: float) -> BlockingPending:
        """Send the question, without waiting. Never raises."""

    def flush(self) -> None:
        """Let go of whatever it keeps."""

    def close(self) -> None:
        """Let go of sockets."""
