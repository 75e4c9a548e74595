"""Connections to an API server over networks that fail: refused, silent, reset, cut in the middle, or slow."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdns.kube.request import Fault
from kdns.server.apiclient import ApiAccess, ApiClient, Limits, connect_to
from kdns.server.dialing import KEEPALIVE_COUNT, KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, dial
from tests.server.scripted import answer_ok, anybody, ask
from tests.server.serving import free_port
from tests.support.arrivals import get, stream_threads, streaming, wait_for_no_stream
from tests.support.peerserver import PATIENCE, Authority, Peer, Talk

HASTY = Limits(connect=0.3, send=0.3, read=0.3, load=PATIENCE)


def _silent(talk: Talk) -> None:
    talk.request()
    talk.wait_for_end()


# Networks that fail


def _to(port: int, host: str = "127.0.0.1", scheme: str = "http", limits: Limits = HASTY) -> ApiClient:
    return connect_to(ApiAccess(endpoint=f"{scheme}://{host}:{port}"), limits)


def test_a_refused_connection_is_told_as_such() -> None:
    port = free_port()
    answer = ask(_to(port))
    assert (answer.fault, answer.text) == (
        Fault.REFUSED,
        f"http://127.0.0.1:{port}: connection refused: nothing listens there, at the moment or at all",
    )


def test_a_name_that_does_not_resolve_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    answer = ask(_to(6443, "api.example"))
    assert answer.fault is Fault.UNREACHABLE
    assert answer.text == "http://api.example:6443: its name does not resolve: Name or service not known"


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer(answer_ok) as peer:
        stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        found = [(*stream, ("127.0.0.1", free_port())), (*stream, ("127.0.0.1", peer.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert ask(_to(6443, "api.example")).status == 200


@contextmanager
def _full() -> Iterator[int]:
    """A port that neither takes nor refuses connections: its queue is full."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    with listener, socket.socket() as first, socket.socket() as last:
        for sock in (first, last):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_connection_that_is_never_made_is_given_up() -> None:
    with _full() as port:
        began = time.monotonic()
        answer = ask(_to(port))
        assert (answer.fault, answer.text) == (Fault.TIMEOUT, f"http://127.0.0.1:{port}: no connection in 0.3 s")
        assert 0.3 <= time.monotonic() - began < PATIENCE


def test_a_stream_that_is_closed_while_it_connects_ends_at_once() -> None:
    with _full() as port, streaming(_to(port, limits=Limits(connect=600.0))) as (streams, heard):
        streams.open(1, get("/x"))
        _wait_for_frame("_wait")
        streams.close(1)
        wait_for_no_stream()
        assert heard.is_quiet()


def test_a_handshake_that_is_never_answered_is_given_up(authority: Authority) -> None:
    with Peer(Talk.wait_for_end) as peer:
        answer = ask(_to(peer.port, scheme="https"))
        assert (answer.fault, answer.text) == (
            Fault.TIMEOUT,
            f"https://127.0.0.1:{peer.port}: no TLS handshake for 0.3 s",
        )


def test_a_stream_that_is_closed_in_its_handshake_ends_at_once() -> None:
    with Peer(Talk.wait_for_end) as peer:
        client = _to(peer.port, scheme="https", limits=Limits(connect=600.0))
        with streaming(client) as (streams, heard):
            streams.open(1, get("/x"))
            _wait_for_frame("start_tls")
            streams.close(1)
            wait_for_no_stream()
            assert heard.is_quiet()
        peer.wait_until_idle()


@pytest.mark.parametrize("sent",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
)
def test_a_connection_that_falls_silent_is_given_up(tmp_path: Path, authority: Authority, sent: bytes) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(sent)
        talk.wait_for_end()

    with Peer(script, authority.server("127.0.0.1")) as peer:
        client = anybody(tmp_path, peer, authority, Limits(read=0.3))
        answer = ask(client)
        assert answer.fault is Fault.TIMEOUT
        assert answer.text.endswith("nothing heard for 0.3 s")
        assert answer.status == (200 if sent.endswith(b"\r\n\r\n") else None)
        peer.wait_until_idle()


def test_the_read_limit_is_for_silence_and_not_for_the_whole(tmp_path: Path, authority: Authority) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            talk.sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                talk.sock.recv(1)
            talk.sock.settimeout(None)
            talk.send(b"x")

    with Peer(script) as peer:
        answer = ask(_to(peer.port, limits=Limits(read=1.0)))
        assert (answer.body, answer.failure) == (b"x" * 12, None)


def test_a_reset_in_mid_stream_is_broken_after_what_came_before(tmp_path: Path, authority: Authority) -> None:
    may_reset = threading.Event()

    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        talk.chunk(b"event\nhalf an ev")
        assert may_reset.wait(PATIENCE)
        talk.reset()

    with (
        Peer(script, authority.server("127.0.0.1")) as peer,
        streaming(anybody(tmp_path, peer, authority)) as (streams, heard),
    ):
        streams.open(1, get("/x"))
        heard.received(1, 16)
        may_reset.set()
        answer = heard.answer(1)
        assert (answer.body, answer.fault) == (b"event\nhalf an ev", Fault.BROKEN)


@pytest.mark.parametrize("how", ["close_notify", "no word"])
def test_an_end_of_tls_in_mid_stream_is_broken(tmp_path: Path, authority: Authority, how: str) -> None:
    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
        if how == "close_notify":
            talk.sock = talk.sock.unwrap()

    with Peer(script, authority.server("127.0.0.1")) as peer:
        answer = ask(anybody(tmp_path, peer, authority))
        assert (answer.body, answer.fault) == (b"ab", Fault.BROKEN)


def test_over_tls_a_body_without_a_length_is_not_whole_before_the_server_says_so(
    tmp_path: Path, authority: Authority
) -> None:
    def script(talk: Talk) -> None:
        path = talk.request().line.split()[1]
        talk.send(b"HTTP/1.0 200 OK\r\n\r\nbody")
        if path == "/whole":
            talk.sock.unwrap()

    with (
        Peer(script, authority.server("127.0.0.1")) as peer,
        streaming(anybody(tmp_path, peer, authority)) as (streams, heard),
    ):
        streams.open(1, get("/whole"))
        assert heard.answer(1).failure is None
        streams.open(1, get("/cut"))
        answer = heard.answer(1)
        assert (answer.body, answer.fault) == (b"body", Fault.BROKEN)


def test_a_closed_stream_ends_its_connection_at_once(tmp_path: Path, authority: Authority) -> None:
    with (
        Peer(_silent, authority.server("127.0.0.1")) as peer,
        streaming(anybody(tmp_path, peer, authority)) as (streams, heard),
    ):
        streams.open(1, get("/x"))
        peer.wait_for_requests(1)
        streams.close(1)
        wait_for_no_stream()
        peer.wait_until_idle()
        assert heard.is_quiet()


def test_a_large_body_over_tls_comes_whole_however_its_chunks_lie(tmp_path: Path, authority: Authority) -> None:
    line = bytes(range(32, 127)) * 20 + b"\n"
    body = line * 4000  # 7.6 MB

    def script(talk: Talk) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        stream = b"".join(b"800\r\n%s\r\n" % body[at : at + 2048] for at in range(0, len(body) // 2048 * 2048, 2048))
        rest = body[len(body) // 2048 * 2048 :]
        talk.send(stream + b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))

    with Peer(script, authority.server("127.0.0.1")) as peer:
        answer = ask(anybody(tmp_path, peer, authority))
        assert answer.failure is None
        assert answer.body == body


def test_many_connections_over_tls_leave_nothing_behind(tmp_path: Path, authority: Authority) -> None:
    with (
        Peer(_silent, authority.server("127.0.0.1")) as peer,
        streaming(anybody(tmp_path, peer, authority)) as (streams, heard),
    ):
        before = len(os.listdir("/proc/self/fd"))
        for round_ in range(200):
            asked = len(peer.asked)
            streams.open(round_ % 3, get("/x"))
            if round_ % 2:
                peer.wait_for_requests(asked + 1)
        streams.close_all()
        wait_for_no_stream()
        assert heard.is_quiet()
        deadline = time.monotonic() + PATIENCE
        while len(os.listdir("/proc/self/fd")) > before:
            assert time.monotonic() < deadline
            time.sleep(0)


def test_a_dead_path_is_noticed_by_the_kernel() -> None:
    cancel = os.eventfd(0)
    with Peer(_silent) as peer, dial("127.0.0.1", peer.port, cancel, HASTY) as connection:
        sock = connection._sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        settings = [
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
        assert settings == [KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT] == [15, 5, 3]
    os.close(cancel)


def _wait_for_frame(name: str) -> None:
    """Wait until a stream's thread is in a function of this name."""
    deadline = time.monotonic() + PATIENCE
    while name not in {name for thread in stream_threads() for name in _functions(thread)}:
        assert time.monotonic() < deadline
        time.sleep(0)


def _functions(thread: threading.Thread) -> Iterator[str]:
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back
