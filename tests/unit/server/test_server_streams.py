"""kdns.server.streams over plain connections: order, bounds, closing, and that nothing is left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from kdns.kube.request import Fault
from kdns.server import streams as streams_module
from kdns.server.apiclient import ApiAccess, Limits, connect_to
from kdns.server.streams import (
    ARRIVAL_OCTETS,
    BATCH_OCTETS,
    BLOCK_OCTETS,
    REFUSAL_OCTETS,
    Ended,
    Failed,
    Opened,
    Received,
    Streams,
)
from tests.support.arrivals import Heard, get, stream_threads, streaming, wait_for_no_stream
from tests.support.peerserver import PATIENCE, Peer, Talk

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


@contextmanager
def _streams(script: Callable[[Talk], None], **how: int) -> Iterator[tuple[Streams, Heard, Peer]]:
    with Peer(script) as peer:
        client = connect_to(ApiAccess(endpoint=f"http://127.0.0.1:{peer.port}"), Limits(read=PATIENCE))
        with streaming(client, **how) as (streams, heard):
            yield streams, heard, peer


def _until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0)


def _answering(body: bytes) -> Callable[[Talk], None]:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return script


# What arrives


def test_an_answer_arrives_as_its_head_its_blocks_and_its_end() -> None:
    with _streams(_answering(b"abc")) as (streams, heard, peer):
        request = get("/api/v1/services", ("limit", "500"))
        streams.open(7, request)
        heard.until(lambda: any(arrival.what == Ended() for arrival in heard.arrivals))
        assert {(arrival.owner, arrival.number) for arrival in heard.arrivals} == {(7, request.number)}
        kinds = [type(arrival.what) for arrival in heard.arrivals]
        assert (kinds[0], kinds[-1], set(kinds[1:-1])) == (Opened, Ended, {Received})
        assert peer.asked[0].line == "GET /api/v1/services?limit=500 HTTP/1.1"
        assert heard.answer(7).body == b"abc"
        assert heard.is_quiet()


def test_a_head_arrives_before_there_is_any_body() -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(HEAD)
        talk.wait_for_end()

    with _streams(script) as (streams, heard, _):
        streams.open(1, get("/watch"))
        assert (heard.opened(1).status, heard.opened(1).headers["content-type"]) == (200, "application/json")


def test_events_arrive_as_they_are_sent() -> None:
    go_on = threading.Semaphore(0)

    def script(talk: Talk) -> None:
        talk.request()
        talk.send(HEAD)
        for event in (b'{"a":1}\n', b'{"b":', b"2}\n"):
            talk.chunk(event)
            assert go_on.acquire(timeout=PATIENCE)
        talk.send(LAST)

    with _streams(script) as (streams, heard, _):
        streams.open(1, get("/watch"))
        for octets in (8, 13, 16):
            assert len(heard.received(1, octets).body) == octets
            go_on.release()
        assert heard.answer(1).body == b'{"a":1}\n{"b":2}\n'


def test_a_slow_drip_of_single_octets_is_put_together() -> None:
    stream = HEAD + b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: z\r\n\r\n"

    def script(talk: Talk) -> None:
        talk.request()
        for index in range(len(stream)):
            talk.send(stream[index : index + 1])

    with _streams(script) as (streams, heard, _):
        streams.open(1, get("/watch"))
        answer = heard.answer(1)
        assert (answer.body, answer.failure) == (b"hello world", None)


def test_streams_of_several_owners_do_not_mix() -> None:
    def script(talk: Talk) -> None:
        path = talk.request().line.split()[1]
        talk.send(HEAD)
        for _ in range(50):
            talk.chunk(path.encode() + b"\n")
        talk.send(LAST)

    with _streams(script) as (streams, heard, _):
        for owner in range(8):
            streams.open(owner, get(f"/{owner}"))
        for owner in range(8):
            assert heard.answer(owner).body == f"/{owner}\n".encode() * 50


@pytest.mark.parametrize("status", [b"403 Forbidden", b"429 Too Many Requests", b"500 Oops", b"302 Found"])
def test_an_answer_that_is_no_success_arrives_with_its_body(status: bytes) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        fields = b"Retry-After: 1\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 4"
        talk.send(b"HTTP/1.1 %s\r\n%s\r\n\r\nbody" % (status, fields))

    with _streams(script) as (streams, heard, peer):
        streams.open(1, get("/x"))
        answer = heard.answer(1)
        assert (answer.status, answer.body, answer.failure) == (int(status[:3]), b"body", None)
        assert answer.headers["retry-after"] == "1"
        assert len(peer.asked) == 1  # a redirect is not followed


def test_the_body_of_a_refusal_is_bounded() -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 500 Oops\r\n\r\n")
        with suppress(OSError):
            while True:
                talk.send(b"x" * 65536)

    with _streams(script) as (streams, heard, peer):
        streams.open(1, get("/x"))
        answer = heard.answer(1)
        assert (len(answer.body), answer.failure) == (REFUSAL_OCTETS, None)
        peer.wait_until_idle()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        HEAD,
        HEAD + b"5\r\nab",
        HEAD + b"2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    ],
)
def test_an_end_in_the_middle_is_a_broken_connection(sent: bytes) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(sent)

    with _streams(script) as (streams, heard, peer):
        streams.open(1, get("/x"))
        answer = heard.answer(1)
        assert answer.fault is Fault.BROKEN
        place = f"http://127.0.0.1:{peer.port}"
        assert answer.text == f"{place}: the connection broke: it ended in the middle of an answer"
        assert answer.body == (b"ab" if sent.endswith((b"ab", b"ab\r\n")) else b"")


def test_what_came_before_a_reset_is_passed_on_first() -> None:
    may_reset = threading.Event()

    def script(talk: Talk) -> None:
        talk.request()
        talk.send(HEAD)
        talk.chunk(b"event\n")
        assert may_reset.wait(PATIENCE)
        talk.reset()

    with _streams(script) as (streams, heard, _):
        streams.open(1, get("/x"))
        heard.received(1, 6)
        may_reset.set()
        answer = heard.answer(1)
        assert (answer.body, answer.fault) == (b"event\n", Fault.BROKEN)
        assert "Connection reset by peer" in answer.text


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", HEAD + b"zz\r\n", b"HTTP/1.1 200 OK\r\n:\r\n\r\n"])
def test_what_is_no_http_is_malformed(sent: bytes) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(sent)
        talk.wait_for_end()

    with _streams(script) as (streams, heard, _):
        streams.open(1, get("/x"))
        assert heard.answer(1).fault is Fault.MALFORMED


# Bounds


def test_a_large_body_waits_at_the_queues_bound_until_it_is_taken() -> None:
    size, bound = 32 << 20, 1 << 20
    block = b"x" * (64 << 10)

    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            talk.send(block)

    with _streams(script, queue_octets=bound) as (streams, heard, _):
        streams.open(1, get("/x"))
        total, largest = 0, 0
        heard.opened(1)
        _until(lambda: streams._octets > bound - BLOCK_OCTETS - ARRIVAL_OCTETS)  # the thread waits for room
        while total < size:
            heard.until(lambda: heard.arrivals)
            largest = max(largest, streams._octets)
            total += sum(len(a.what.block) for a in heard.arrivals if isinstance(a.what, Received))
            heard.arrivals.clear()
        assert total == size
        assert largest <= bound


def test_one_take_is_a_bounded_batch_and_the_rest_stays_signalled() -> None:
    with _streams(_answering(b"x" * (3 * BATCH_OCTETS))) as (streams, heard, peer):
        streams.open(1, get("/x"))
        peer.wait_until_idle()
        wait_for_no_stream()
        assert not heard.is_quiet()
        batches = []
        while not heard.is_quiet():
            batches.append(sum(arrival.octets for arrival in streams.take()))
        assert len(batches) >= 3
        assert max(batches) <= BATCH_OCTETS + BLOCK_OCTETS + ARRIVAL_OCTETS
        assert streams.take() == []


def test_tiny_blocks_count_more_than_their_octets() -> None:
    arrival = streams_module.Arrival(1, 1, Received(b"x"))
    assert arrival.octets == 1 + ARRIVAL_OCTETS
    assert streams_module.Arrival(1, 1, Ended()).octets == ARRIVAL_OCTETS


# Closing


def _silent(talk: Talk) -> None:
    talk.request()
    talk.send(HEAD)
    talk.wait_for_end()


def test_a_closed_stream_ends_at_once_though_the_server_is_silent() -> None:
    with _streams(_silent) as (streams, heard, peer):
        streams.open(1, get("/x"))
        heard.opened(1)
        streams.close(1)
        wait_for_no_stream()
        peer.wait_until_idle()
        assert heard.is_quiet()


def test_a_stream_that_waits_for_room_ends_when_it_is_closed() -> None:
    with _streams(_answering(b"x" * (8 << 20)), queue_octets=256 << 10) as (streams, heard, _):
        streams.open(1, get("/x"))
        _until(lambda: streams._octets > (256 << 10) - BLOCK_OCTETS - ARRIVAL_OCTETS)
        streams.close(1)
        wait_for_no_stream()
        assert (streams.take(), heard.is_quiet(), streams._octets) == ([], True, 0)


def test_nothing_of_a_stream_is_delivered_once_it_is_closed() -> None:
    with _streams(_answering(b"x" * 100_000)) as (streams, heard, peer):
        streams.open(1, get("/first"))
        streams.open(2, get("/second"))
        peer.wait_for_requests(2)
        heard.wait()
        streams.close(1)
        heard.arrivals.clear()
        assert len(heard.answer(2).body) == 100_000
        assert heard.of(1) == []


def test_a_new_request_of_an_owner_takes_the_place_of_the_former_one() -> None:
    with _streams(_silent) as (streams, heard, peer):
        numbers = []
        for index in range(5):
            request = get(f"/{index}")
            numbers.append(request.number)
            streams.open(1, request)
        heard.until(lambda: any(arrival.number == numbers[-1] for arrival in heard.arrivals))
        heard.arrivals.clear()
        streams.open(1, last := get("/last"))
        heard.until(lambda: heard.arrivals)
        assert {arrival.number for arrival in heard.arrivals} == {last.number}
        assert peer.wait_for_requests(2)


def test_closing_what_is_not_open_does_nothing() -> None:
    with _streams(_silent) as (streams, heard, _):
        streams.close(1)
        streams.close_all()
        assert heard.is_quiet()


def test_a_thousand_openings_and_closings_leave_no_thread_and_no_descriptor() -> None:
    with _streams(_silent) as (streams, heard, _):
        streams.open(0, get("/warm"))
        heard.opened(0)
        streams.close_all()
        wait_for_no_stream()
        before = len(os.listdir("/proc/self/fd"))
        for round_ in range(1000):
            streams.open(round_ % 4, get("/x"))
            if round_ % 3 == 0:
                heard.until(lambda owner=round_ % 4: heard.of(owner))
            if round_ % 5 == 0:
                streams.close(round_ % 4)
            heard.arrivals.clear()
            if len(stream_threads()) > 32:  # let the loaded machine come after
                _wait_for_all_but(streams)
        streams.close_all()
        wait_for_no_stream()
        assert streams.take() == []
        _until(lambda: len(os.listdir("/proc/self/fd")) <= before)  # the server's side closes when it is told


def _wait_for_all_but(streams: Streams) -> None:
    """Wait for the threads of streams that have been closed."""
    open_now = {f"kdns-stream-{owner}" for owner in streams._streams}
    for thread in stream_threads():
        if thread.name not in open_now:
            thread.join(PATIENCE)


# What the machine cannot give


def test_without_descriptors_a_request_fails_and_control_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with _streams(_answering(b"ok")) as (streams, heard, _):
        with monkeypatch.context() as patch:
            patch.setattr(streams_module.os, "eventfd", _out_of_descriptors)
            streams.open(1, get("/x"))
        answer = heard.answer(1)
        assert answer.fault is Fault.UNREACHABLE
        assert "no thread to read with" in answer.text
        streams.open(1, get("/x"))
        assert heard.answer(1).body == b"ok"


def test_without_threads_a_request_fails_and_control_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with _streams(_answering(b"ok")) as (streams, heard, _):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _out_of_threads)
            streams.open(1, get("/x"))
        assert "can't start new thread" in heard.answer(1).text
        streams.open(1, get("/x"))
        assert heard.answer(1).body == b"ok"


def _out_of_descriptors(*_: int) -> int:
    raise OSError(24, "Too many open files")


def _out_of_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_failure_is_the_last_that_comes() -> None:
    with _streams(_answering(b"ok")) as (streams, heard, peer):
        peer.close()
        streams.open(1, get("/x"))
        heard.until(lambda: heard.arrivals)
        assert [type(arrival.what) for arrival in heard.arrivals] == [Failed]
        assert heard.answer(1).fault is Fault.REFUSED


# Connections that are lent


def _told_when(go_on: threading.Event, data: bytes, stays: bool = True) -> Callable[[Talk], None]:
    """A head, and the rest when it is time."""

    def script(talk: Talk) -> None:
        talk.request()
        talk.send(HEAD)
        assert go_on.wait(PATIENCE)
        talk.send(data)
        if stays:
            talk.wait_for_end()

    return script


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_what_comes_on_a_quiet_stream_is_taken_without_its_thread() -> None:
    go_on = threading.Event()
    with _streams(_told_when(go_on, _chunk(b"event\n"))) as (streams, heard, _):
        streams.open(1, get("/watch"))
        heard.opened(1)
        _until(lambda: len(streams._loans) == 1)
        loans = list(streams._loans.values())
        go_on.set()
        assert heard.received(1, 6).body == b"event\n"
        assert list(streams._loans.values()) == loans
        assert (loans[0].is_over.is_set(), heard.is_quiet()) == (False, True)


def test_a_burst_on_a_quiet_stream_arrives_whole_and_in_order() -> None:
    go_on = threading.Event()
    lines = b"".join(b"%06d %s\n" % (number, b"x" * 100) for number in range(10_000))
    with _streams(_told_when(go_on, _chunk(lines))) as (streams, heard, _):
        streams.open(1, get("/watch"))
        heard.opened(1)
        _until(lambda: len(streams._loans) == 1)
        go_on.set()
        assert heard.received(1, len(lines)).body == lines
        _until(lambda: len(streams._loans) == 1)  # quiet again


@pytest.mark.parametrize(
    ("rest", "body", "fault"),
    [
        (LAST, b"", None),
        (_chunk(b"last\n") + LAST, b"last\n", None),
        (b"", b"", Fault.BROKEN),
        (b"5\r\nla", b"la", Fault.BROKEN),
        (b"zz\r\n", b"", Fault.MALFORMED),
        (_chunk(b"last\n") + b"zz\r\n", b"", Fault.MALFORMED),
    ],
)
def test_how_a_quiet_stream_ends_is_told(rest: bytes, body: bytes, fault: Fault | None) -> None:
    go_on = threading.Event()
    with _streams(_told_when(go_on, rest, stays=False)) as (streams, heard, _):
        streams.open(1, get("/watch"))
        heard.opened(1)
        _until(lambda: len(streams._loans) == 1)
        go_on.set()
        answer = heard.answer(1)
        assert (answer.body, answer.fault) == (body, fault)
        assert not streams._loans


def test_a_quiet_stream_that_is_closed_ends_and_nothing_of_it_is_delivered() -> None:
    go_on = threading.Event()
    with _streams(_told_when(go_on, _chunk(b"event\n"))) as (streams, heard, peer):
        streams.open(1, get("/watch"))
        heard.opened(1)
        _until(lambda: len(streams._loans) == 1)
        go_on.set()
        heard.wait()
        streams.close(1)
        assert (streams.take(), heard.is_quiet(), streams._loans) == ([], True, {})
        wait_for_no_stream()
        peer.wait_until_idle()


def test_a_quiet_stream_that_stays_so_for_too_long_is_given_up() -> None:
    with Peer(_silent) as peer:
        streams = Streams(connect_to(ApiAccess(endpoint=f"http://127.0.0.1:{peer.port}"), Limits(read=0.2)))
        heard = Heard(streams)
        streams.open(1, get("/watch"))
        answer = heard.answer(1)
        assert (answer.status, answer.fault) == (200, Fault.TIMEOUT)
        assert "nothing heard for 0.2 s" in answer.text
        streams.close_all()
        wait_for_no_stream()
        streams.release()
