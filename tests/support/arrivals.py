"""What has come on Streams, waited for by its eventfd, as control does it.

    with streaming(client) as (streams, heard):
        streams.open(1, get("/api/v1/services"))
        answer = heard.answer(1)                  # waits for its end
        assert (answer.status, answer.body) == (200, b"...")
"""

from __future__ import annotations

import itertools
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kdns.kube.request import Failure, Fault, Headers, Request
from kdns.server.apiclient import ApiClient
from kdns.server.streams import Arrival, Ended, Failed, Opened, Received, Streams
from tests.support.peerserver import PATIENCE

_numbers = itertools.count(1)


def get(path: str, *query: tuple[str, str]) -> Request:
    """A request with a number of its own, due at once."""
    return Request(next(_numbers), path, query, 0.0)


@dataclass
class Answer:
    """All that came of one request. failure: None if it ended well."""

    status: int | None = None
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    failure: Failure | None = None

    @property
    def fault(self) -> Fault | None:
        """What kind of failure."""
        return self.failure.fault if self.failure else None

    @property
    def text(self) -> str:
        """What is said of the failure."""
        return self.failure.text if self.failure else ""


class Heard:
    """Everything that came, in order."""

    def __init__(self, streams: Streams) -> None:
        self.arrivals: list[Arrival] = []
        self._streams = streams
        self._poll = select.poll()
        self._poll.register(streams.fileno(), select.POLLIN)

    def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Take what comes until something is so."""
        deadline = time.monotonic() + patience
        while not condition():
            rest = deadline - time.monotonic()
            assert rest > 0, [(arrival.owner, type(arrival.what).__name__) for arrival in self.arrivals[-5:]]
            if self._poll.poll(rest * 1000):
                self.arrivals += self._streams.take()

    def wait(self) -> None:
        """Until there is something to take."""
        assert self._poll.poll(PATIENCE * 1000)

    def of(self, owner: int) -> list[Arrival]:
        """What came for one owner."""
        return [arrival for arrival in self.arrivals if arrival.owner == owner]

    def opened(self, owner: int) -> Answer:
        """Wait for the head of the owner's answer."""
        self.until(lambda: any(isinstance(arrival.what, Opened) for arrival in self.of(owner)))
        return self._answer(owner)

    def received(self, owner: int, octets: int) -> Answer:
        """Wait for so many octets of its body."""
        self.until(lambda: len(self._answer(owner).body) >= octets)
        return self._answer(owner)

    def answer(self, owner: int) -> Answer:
        """Wait for the end of the owner's answer, and forget it."""
        self.until(lambda: any(isinstance(arrival.what, Ended | Failed) for arrival in self.of(owner)))
        answer = self._answer(owner)
        self.arrivals = [arrival for arrival in self.arrivals if arrival.owner != owner]
        return answer

    def is_quiet(self) -> bool:
        """Whether there is nothing to take."""
        return not self._poll.poll(0)

    def _answer(self, owner: int) -> Answer:
        answer = Answer()
        for arrival in self.of(owner):
            if isinstance(arrival.what, Opened):
                answer.status, answer.headers = arrival.what.status, arrival.what.headers
            elif isinstance(arrival.what, Received):
                answer.body += arrival.what.block
            elif isinstance(arrival.what, Failed):
                answer.failure = arrival.what.failure
        return answer


@contextmanager
def streaming(client: ApiClient, **how: int) -> Iterator[tuple[Streams, Heard]]:
    """Streams of a client, and what comes of them; no thread of theirs is left afterwards."""
    streams = Streams(client, **how)
    try:
        yield streams, Heard(streams)
    finally:
        streams.close_all()
        wait_for_no_stream()
        streams.release()


def stream_threads() -> list[threading.Thread]:
    """The threads of all streams that there are."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("kdns-stream-")]


def wait_for_no_stream() -> None:
    """Wait for the ends of all streams' threads."""
    for thread in stream_threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()
