"""kdns.observe.logs: lines that never make the writer wait."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from kdns.observe.logs import MAX_LINE_OCTETS, MAX_PENDING_OCTETS, Log


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
