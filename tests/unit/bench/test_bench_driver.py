"""The load driver, asked to judge a small server that answers well, or in one way badly."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import pytest

from bench.driver import build_driver, run_driver

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

Answer = Callable[[bytes], bytes | None]
COUNT = 200
CORES = sorted(os.sched_getaffinity(0))


def well(query: bytes) -> bytes:
    return query[:2] + b"\x84\x03" + query[4:]


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries"
    path.write_text("# a comment\nweb.shop.svc.cluster.local A\n_http._tcp.web.shop.svc.cluster.local SRV\n")
    return path


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if shutil.which("cc"):
        build_driver()


@contextmanager
def udp_server(answer: Answer, seen: list[bytes]) -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, client = sock.recvfrom(4096)
                if len(query) < 12:  # the test is over
                    return
                seen.append(query)
                if (reply := answer(query)) is not None:
                    sock.sendto(reply, client)

        yield from _serving(serve, sock)


@contextmanager
def tcp_server(answer: Answer, seen: list[bytes]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                while prefix := stream.read(2):
                    seen.append(stream.read(int.from_bytes(prefix, "big")))
                    reply = answer(seen[-1])
                    if reply is not None:
                        connection.sendall(len(reply).to_bytes(2, "big") + reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def _serving(serve: Callable[[], None], sock: socket.socket) -> Iterator[int]:
    thread = threading.Thread(target=serve)
    thread.start()
    address = sock.getsockname()
    try:
        yield int(address[1])
    finally:
        with socket.socket(type=socket.SOCK_DGRAM) as end:
            end.sendto(b"end", address)
        thread.join()


def run(queries: Path, answer: Answer = well, **options: int | float | str) -> tuple[dict[str, Any], list[bytes]]:
    seen: list[bytes] = []
    server = tcp_server if options.get("proto") == "tcp" else udp_server
    limits = {"seconds": 5, "count": COUNT, "sockets": 1, "window": 8, "timeout_ms": 200}
    with server(answer, seen) as port:
        return run_driver(port, queries, CORES, limits | options), seen


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_a_good_server_is_found_good(queries: Path, proto: str) -> None:
    result, seen = run(queries, proto=proto)
    assert result["sent"] == result["answered"] == len(seen) >= COUNT
    assert result["rcodes"] == {"3": len(seen)}
    assert result["authoritative"] == len(seen)
    assert not any(
        result[key] for key in ("lost", "mismatched", "unexpected", "not_response", "malformed", "reconnects")
    )
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["p999_us"]


def test_every_query_is_one_that_dnspython_reads_and_the_shares_are_as_asked_for(queries: Path) -> None:
    result, seen = run(queries, count=2000, edns=50, cookie=20, x20=50, miss=10)
    messages = [dns.message.from_wire(query) for query in seen]
    cookies = [o for m in messages for o in m.options if o.otype == dns.edns.OptionType.COOKIE]
    names = [m.question[0].name.to_text() for m in messages]
    mixed = [name for name in names if name != name.lower()]
    unknown = [name for name in names if not name.lower().startswith(("web.", "_http."))]
    assert all(m.edns == -1 or (m.edns, m.payload) == (0, 1232) for m in messages)
    assert len(cookies) == result["cookie"]
    assert sum(m.edns == 0 for m in messages) == result["edns"]
    assert len(set(unknown)) == len(unknown) == result["miss"]
    for part, percent in ((result["edns"], 50), (len(cookies), 20), (len(mixed), 50), (len(unknown), 10)):
        assert percent - 5 < 100 * part / len(seen) < percent + 5


def test_unknown_names_of_another_seed_are_others(queries: Path) -> None:
    first, second = ({query[12:26] for query in run(queries, miss=100, seed=seed)[1]} for seed in (1, 2))
    assert not first & second


def test_the_same_seed_sends_the_same_queries_behind_the_id(queries: Path) -> None:
    runs = (run(queries, miss=10, x20=50, cookie=30, seed=5)[1] for _ in range(2))
    first, second = ([query[2:] for query in seen[:COUNT]] for seen in runs)
    assert first == second


def test_queries_without_reply_are_lost(queries: Path) -> None:
    result, _ = run(queries, lambda query: well(query) if query[1] & 1 else None, count=20)
    assert result["lost"] > 0
    assert result["answered"] + result["lost"] == result["sent"]


@pytest.mark.parametrize(
    ("answer", "counter"),
    [
        (lambda query: well(query[:12] + query[12:].upper()), "mismatched"),
        (lambda query: well(query)[:12], "mismatched"),
        (lambda query: bytes([query[0] ^ 0x80]) + well(query)[1:], "unexpected"),
        (lambda query: query, "not_response"),
        (lambda query: well(query)[:11], "malformed"),
    ],
)
def test_replies_that_break_a_rule_are_counted(queries: Path, answer: Answer, counter: str) -> None:
    result, _ = run(queries, answer, count=8)
    assert result[counter] == 8


A_RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4"


def addresses(*packed: bytes) -> Answer:
    """NOERROR with an alias in front of these addresses."""
    alias = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x0c"
    count = (1 + len(packed)).to_bytes(2, "big")
    records = alias + b"".join(A_RECORD + one for one in packed)

    def answer(query: bytes) -> bytes:
        return query[:2] + b"\x84\0\0\1" + count + b"\0\0\0\0" + query[12:] + records

    return answer


@pytest.mark.parametrize(
    ("expected", "answer", "counter"),
    [
        ("192.0.2.7", addresses(b"\xc0\0\2\7"), ""),
        ("192.0.2.7", addresses(b"\xc0\0\2\x08", b"\xc0\0\2\7"), ""),
        ("192.0.2.7", addresses(b"\xc0\0\2\x08"), "wrong_answers"),
        ("192.0.2.7", addresses(), "wrong_answers"),
        ("192.0.2.7", lambda query: addresses(b"\xc0\0\2\7")(query)[:-1], "wrong_answers"),
        ("192.0.2.7", well, "wrong_answers"),
        ("192.0.2.7", lambda query: query[:2] + b"\x84\2" + query[4:], "failures"),
        ("NXDOMAIN", well, ""),
        ("NXDOMAIN", addresses(b"\xc0\0\2\7"), "wrong_answers"),
        ("NXDOMAIN", lambda query: query[:2] + b"\x84\5" + query[4:], "failures"),
    ],
)
def test_an_answer_is_judged_by_what_is_expected(tmp_path: Path, expected: str, answer: Answer, counter: str) -> None:
    path = tmp_path / "expected"
    path.write_text(f"web.example A {expected}\n")
    result, _ = run(path, answer, count=8, miss=50)
    found = {key: result[key] for key in ("wrong_answers", "failures", "mismatched", "malformed") if result[key]}
    assert found == ({counter: 8} if counter else {})


def test_an_expectation_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expected"
    path.write_text("web.example A 192.0.2\n")
    with pytest.raises(RuntimeError, match="must be an IPv4 address or NXDOMAIN"):
        run_driver(5300, path, CORES, {})


def test_a_reply_that_came_too_late_is_not_taken_for_one_to_another_query(queries: Path) -> None:
    """Its ID is not used again while there are others."""
    held: list[bytes] = []

    def answer(query: bytes) -> bytes | None:
        held.append(well(query))
        return held.pop(0) if len(held) > 8 else None

    result, _ = run(queries, answer, count=0, seconds=0.5, timeout_ms=20, rate=200)
    assert result["lost"] > 8
    assert result["unexpected"] > 8
    assert result["mismatched"] == 0


def test_where_nobody_listens_a_patient_driver_asks_on(queries: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.9", 0))
        port = bound.getsockname()[1]
    options: dict[str, int | float | str] = {"address": "127.0.0.9", "seconds": 0.2, "rate": 100, "timeout_ms": 50}
    result = run_driver(port, queries, CORES, options | {"patient": 1})
    assert result["sent"] == result["lost"] > 5
    assert result["refused"] > 0
    with pytest.raises(RuntimeError, match="refused"):
        run_driver(port, queries, CORES, options)


def test_the_open_loop_sends_at_the_rate_asked_for(queries: Path) -> None:
    result, _ = run(queries, count=0, seconds=1, rate=500)
    assert 400 < result["sent"] < 600
    assert result["answered"] == result["sent"]


def test_a_connection_that_the_server_closed_is_opened_anew_and_its_queries_are_lost(queries: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            listener.accept()[0].close()
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                while prefix := stream.read(2):
                    reply = well(stream.read(int.from_bytes(prefix, "big")))
                    connection.sendall(len(reply).to_bytes(2, "big") + reply)

        thread = threading.Thread(target=serve)
        thread.start()
        options: dict[str, int | float | str] = {"proto": "tcp", "sockets": 1, "window": 4, "count": 50, "seconds": 5}
        result = run_driver(int(listener.getsockname()[1]), queries, CORES, options)
        thread.join()
    assert result["reconnects"] == 1
    assert 1 <= result["lost"] <= 4
    assert result["answered"] == result["sent"] - result["lost"]


@pytest.mark.parametrize(
    "wrong", [{"address": "192.0.2.1"}, {"seconds": 0}, {"seconds": 601}, {"edns": 101}, {"nonsense": 1}]
)
def test_an_option_out_of_its_bounds_is_refused(queries: Path, wrong: dict[str, int | float | str]) -> None:
    with pytest.raises(RuntimeError, match="driver failed"):
        run_driver(5300, queries, CORES, wrong)
