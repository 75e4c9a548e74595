"""A request after a refused connection: tried until somebody listens, told as one that failed when it is due."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from kdns.kube.request import Fault, Request
from kdns.server import streams as streams_module
from kdns.server.apiclient import ApiAccess, ApiClient, Limits, connect_to
from kdns.server.streams import Streams
from tests.support.arrivals import Heard, get, streaming, wait_for_no_stream
from tests.support.peerserver import PATIENCE

LATER = 600.0  # seconds: nothing here waits so long
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "KNOCK_SECONDS", 0.01)


@pytest.fixture
def place() -> Iterator[socket.socket]:
    """A port that is ours, and where nobody listens yet."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def client(place: socket.socket) -> ApiClient:
    return connect_to(ApiAccess(endpoint=f"http://127.0.0.1:{place.getsockname()[1]}"), Limits(read=PATIENCE))


@pytest.fixture
def knocks(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released by each attempt to send."""
    attempts, send = threading.Semaphore(0), client.send

    def counted(*arguments: object) -> object:
        attempts.release()
        return send(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "send", counted)
    return attempts


@pytest.fixture
def heard_of(client: ApiClient) -> Iterator[tuple[Streams, Heard]]:
    with streaming(client) as both:
        yield both


def early(seconds: float) -> Request:
    due = time.monotonic() + seconds
    return Request(get("/x").number, "/x", (), due, when_heard_of=True)


def some(knocks: threading.Semaphore, count: int = 3) -> None:
    for _ in range(count):
        assert knocks.acquire(timeout=PATIENCE)


def answer_one(place: socket.socket, answer: bytes) -> None:
    place.settimeout(PATIENCE)
    place.listen()
    with closing(place.accept()[0]) as talk:
        assert talk.recv(65536).startswith(b"GET /x ")
        talk.sendall(answer)


def test_it_is_sent_as_soon_as_somebody_listens_and_no_refusal_before_is_told(
    place: socket.socket, knocks: threading.Semaphore, heard_of: tuple[Streams, Heard]
) -> None:
    streams, heard = heard_of
    began = time.monotonic()
    streams.open(1, early(LATER))
    some(knocks)
    assert heard.is_quiet()
    answer_one(place, ANSWER)
    found = heard.answer(1)
    assert (found.status, found.body, found.failure) == (200, b"ok", None)
    assert time.monotonic() < began + LATER / 2


def test_when_it_is_due_a_refusal_is_told(heard_of: tuple[Streams, Heard]) -> None:
    streams, heard = heard_of
    request = early(0.1)
    streams.open(1, request)
    assert heard.answer(1).fault is Fault.REFUSED
    assert time.monotonic() >= request.due


def test_one_that_is_due_is_sent_once(knocks: threading.Semaphore, heard_of: tuple[Streams, Heard]) -> None:
    streams, heard = heard_of
    streams.open(1, get("/x"))
    assert heard.answer(1).fault is Fault.REFUSED
    wait_for_no_stream()
    some(knocks, 1)
    assert not knocks.acquire(blocking=False)


def test_any_other_failure_is_told_at_once(
    place: socket.socket, knocks: threading.Semaphore, heard_of: tuple[Streams, Heard]
) -> None:
    streams, heard = heard_of
    streams.open(1, early(LATER))
    some(knocks)
    answer_one(place, b"")
    assert heard.answer(1).fault is Fault.BROKEN


def test_nobody_knocks_once_the_stream_is_closed(
    knocks: threading.Semaphore, heard_of: tuple[Streams, Heard]
) -> None:
    streams, heard = heard_of
    streams.open(1, early(LATER))
    some(knocks, 1)
    streams.close(1)
    wait_for_no_stream()
    assert heard.is_quiet()


@pytest.mark.parametrize("how", [lambda streams: streams.close(1), lambda streams: streams.close_all()])
def test_a_wait_between_two_knocks_ends_with_its_stream(
    how: Callable[[Streams], None], heard_of: tuple[Streams, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "KNOCK_SECONDS", LATER)
    streams, heard = heard_of
    streams.open(1, early(LATER))
    how(streams)
    wait_for_no_stream()
    assert heard.is_quiet()
