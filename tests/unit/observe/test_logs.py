"""kdns.observe.logs: lines that never make the writer wait."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.observe.logs import MAX_LINE_OCTETS, MAX_PENDING_OCTETS, Log, LogForm


class Pipe:
    """A small pipe, and what was written to it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 16384)
        os.set_blocking(self.reader, False)

    def read(self) -> str:
        data = b""
        while True:
            try:
                part = os.read(self.reader, 65536)
            except BlockingIOError:
                return data.decode()
            if not part:
                return data.decode()
            data += part

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            try:
                os.close(fd)
            except OSError:
                continue


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe()
    yield one
    one.close()


def test_lines_have_corednss_look(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    log.info("as it should be")
    log.warning("odd")
    log.error("wrong")
    log.line("a line of its own")
    assert pipe.read() == "[INFO] as it should be\n[WARNING] odd\n[ERROR] wrong\na line of its own\n"


def test_quiet_silences_information_only(pipe: Pipe) -> None:
    log = Log(pipe.writer, quiet=True)
    log.info("as it should be")
    log.warning("odd")
    log.error("wrong")
    assert pipe.read() == "[WARNING] odd\n[ERROR] wrong\n"


def test_a_text_cannot_forge_a_line_or_move_the_cursor(pipe: Pipe) -> None:
    Log(pipe.writer).info("qname\n[ERROR] forged\x1b[2J")
    assert pipe.read() == "[INFO] qname\\x0a[ERROR] forged\\x1b[2J\n"


def test_a_long_text_is_cut_to_what_a_pipe_takes_whole(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    log.info("ü" * MAX_LINE_OCTETS)
    line = pipe.read()
    assert len(line.encode()) <= MAX_LINE_OCTETS
    assert line.endswith("ü...\n")


def test_a_reader_that_has_stopped_costs_no_waiting_and_gets_the_lines_later_in_order(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    lines = [f"line {number} {'x' * 100}" for number in range(200)]
    for line in lines:
        log.line(line)
    received = pipe.read()
    for _ in range(100):
        log.flush()
        received += pipe.read()
    assert received.splitlines() == lines


def test_lines_beyond_the_bound_are_dropped_counted_and_the_count_is_logged(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    total = 3 * MAX_PENDING_OCTETS // 1000
    for number in range(total):
        log.line(f"{number} ".ljust(999, "x"))
    received = ""
    for _ in range(400):
        received += pipe.read()
        log.flush()
    *kept, last = received.splitlines()
    assert last == f"[WARNING] {total - len(kept)} log lines were dropped: standard error is not read fast enough"
    assert [int(line.split()[0]) for line in kept] == list(range(len(kept)))
    log.line("afterwards")
    assert pipe.read() == "afterwards\n"


def test_a_closed_standard_error_ends_nothing(pipe: Pipe) -> None:
    os.close(pipe.reader)
    log = Log(pipe.writer)
    for _ in range(10):
        log.error("nobody hears this")
    log.flush()


def test_a_child_does_not_repeat_what_its_parent_has_not_written_yet(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    for number in range(100):
        log.line(f"{number} ".ljust(999, "x"))
    pipe.read()
    log.forget_pending()
    log.line("the child's")
    assert pipe.read() == "the child's\n"


def test_flush_with_patience_waits_for_a_reader(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    for number in range(20):
        log.line(f"{number} ".ljust(999, "x"))
    if os.fork() == 0:  # a reader of its own, which takes its time
        try:
            os.close(pipe.writer)
            os.set_blocking(pipe.reader, True)
            while os.read(pipe.reader, 1000):
                pass
        finally:
            os._exit(0)
    log.flush(patience_ms=5000)
    os.close(pipe.writer)
    _, status = os.wait()
    assert status == 0
    assert not log._pending


def _json_log(pipe: Pipe, **options: bool) -> Log:
    return Log(pipe.writer, form=LogForm.JSON, clock=lambda: 1_700_000_000.0625, **options)


def test_json_lines_have_time_level_and_message(pipe: Pipe) -> None:
    log = _json_log(pipe)
    log.info("as it should be")
    log.at("warning", 'odd: "x"\n\x1b[0m')
    assert [json.loads(line) for line in pipe.read().splitlines()] == [
        {"time": "2023-11-14T22:13:20.062Z", "level": "info", "message": "as it should be"},
        {"time": "2023-11-14T22:13:20.062Z", "level": "warning", "message": 'odd: "x"\n\x1b[0m'},
    ]


def test_json_lines_show_what_else_is_told_and_text_does_not_even_ask(pipe: Pipe) -> None:
    _json_log(pipe).info("a query", lambda: {"rcode": "NOERROR", "size": 45})
    told = json.loads(pipe.read())
    assert (told["rcode"], told["size"], told["message"]) == ("NOERROR", 45, "a query")
    Log(pipe.writer).info("a query", lambda: {"never": 1 / 0})
    assert pipe.read() == "[INFO] a query\n"


def test_quiet_json_and_quiet_levels_say_no_information(pipe: Pipe) -> None:
    log = _json_log(pipe, quiet=True)
    log.info("as it should be")
    log.at("info", "as it should be")
    log.at("error", "wrong")
    assert [json.loads(line)["level"] for line in pipe.read().splitlines()] == ["error"]


def test_a_level_by_its_name_looks_as_the_level_does(pipe: Pipe) -> None:
    log = Log(pipe.writer)
    for level in ("debug", "info", "warning", "error"):
        log.at(level, "x")
    assert pipe.read() == "[DEBUG] x\n[INFO] x\n[WARNING] x\n[ERROR] x\n"


def test_lost_json_lines_are_told_in_json(pipe: Pipe) -> None:
    log = _json_log(pipe)
    for _ in range(200):
        log.error("x" * 3000)
    pipe.read()
    lines = []
    while not any("were dropped" in line for line in lines):
        log.flush()
        lines = pipe.read().splitlines()
    assert all(json.loads(line)["level"] for line in lines)


@given(st.text(max_size=6000) | st.text(alphabet="\x00\U0001f600x", min_size=2000, max_size=6000), st.booleans())
def test_any_text_is_one_whole_json_line_that_fits(text: str, is_wordy: bool) -> None:
    pipe = Pipe()
    try:
        fields = {"much": "x" * MAX_LINE_OCTETS} if is_wordy else {"some": 1}
        _json_log(pipe).error(text, lambda: fields)
        written = pipe.read()
    finally:
        pipe.close()
    assert written.endswith("\n")
    assert written.count("\n") == 1
    assert len(written.encode()) <= MAX_LINE_OCTETS
    told = json.loads(written)
    assert told["level"] == "error"
    assert told["message"] == text or is_wordy or (len(told["message"]) > 300 and told["message"].endswith("..."))
