"""kdns.server.process: what a forked child starts with, and how its end is told."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from kdns.observe.logs import Log
from kdns.server.process import EXIT_BUG, describe_status, enter, fork, trim_memory


def _wait(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def test_a_child_ends_with_what_its_body_returns() -> None:
    assert _wait(fork(lambda: 7)) == 7 << 8


def test_an_exception_in_a_child_is_shown_and_is_a_status_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise ValueError("out of a child")

    assert os.waitstatus_to_exitcode(_wait(fork(body))) == EXIT_BUG
    assert "ValueError: out of a child" in capfd.readouterr().err


def test_a_child_has_none_of_its_parents_signal_handling() -> None:
    former = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        reader, writer = os.pipe()

        def body() -> int:
            handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
            expected = [signal.SIG_DFL, signal.SIG_IGN, signal.SIG_IGN]
            os.write(writer, b"1")
            return 0 if handlers == expected and not signal.pthread_sigmask(signal.SIG_BLOCK, ()) else 1

        assert _wait(fork(body)) == 0
        assert os.read(reader, 1) == b"1"
        os.close(reader)
        os.close(writer)
    finally:
        signal.signal(signal.SIGTERM, former)


def test_a_child_keeps_only_its_own_descriptors_and_has_its_name() -> None:
    ours, others = os.pipe()

    def body() -> int:
        enter("kdns-test", {others}, Log())
        name = Path("/proc/self/comm").read_text().strip()
        os.write(others, name.encode())
        return len(set(os.listdir("/proc/self/fd")) - {"0", "1", "2", str(others)}) - 1  # the listing's own

    assert _wait(fork(body)) == 0
    assert os.read(ours, 100) == b"kdns-test"
    os.close(ours)
    os.close(others)


def test_a_child_whose_parent_is_gone_goes_too() -> None:
    reader, writer = os.pipe()

    def parent() -> int:
        def child() -> int:
            os.write(writer, b"%d\n" % os.getpid())
            signal.pause()
            return 0

        fork(child)
        signal.pause()
        return 0

    pid = fork(parent)
    grandchild = int(os.read(reader, 20))
    handle = os.pidfd_open(grandchild)
    os.kill(pid, signal.SIGKILL)
    _wait(pid)
    assert _has_ended(handle)
    for fd in (handle, reader, writer):
        os.close(fd)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with status 0"),
        (1 << 8, "ended with status 1"),
        (9, "was killed by SIGKILL"),
        (40, "was killed by signal 40"),
    ],
)
def test_an_end_is_told_in_words(status: int, text: str) -> None:
    assert describe_status(status) == text


def test_trimming_memory_does_no_harm() -> None:
    trim_memory()


def _has_ended(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(10_000))
