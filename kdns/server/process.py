"""Children: forked from the warm supervisor, gone when it is gone, free of its signal handling."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from kdns.observe.logs import Log

EXIT_OK = 0
EXIT_ERROR = 1  # the user's fault: configuration, data, a port that is taken
EXIT_BUG = 70  # sysexits' EX_SOFTWARE: an exception that should not have come so far
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

_SIGNAL_NAMES = {int(number): number.name for number in signal.Signals}
_libc = ctypes.CDLL(None, use_errno=True)
_RESET_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2)
# Ctrl-C and a hung-up terminal reach the whole process group; the supervisor alone decides what follows.
_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def fork(body: Callable[[], int]) -> int:
    """Fork a child that runs `body` and exits with what it returns. Returns the child's pid, in the parent only."""
    parent = os.getpid()
    # What stdio holds would be written by both.
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that comes before the child has its own handling must wait, not be swallowed by the parent's.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _RESET_SIGNALS + _IGNORED_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _run_child(body, parent, previous)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    return pid


def enter(name: str, keep: set[int], log: Log) -> None:
    """The first steps of a child: its name in `ps`, only its own descriptors, none of its parent's log lines.

    The parent's socket objects stay as they are in memory; they are never touched again in the child, which
    ends without clean-up, so that nobody closes a descriptor that has been given to something else since.
    """
    _libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
    log.forget_pending()
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in keep:
            with suppress(OSError):  # the listing's own descriptor is closed already
                os.close(fd)


def describe_status(status: int) -> str:
    """How a process ended, from its wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by {_SIGNAL_NAMES.get(-code, f'signal {-code}')}"


def trim_memory() -> None:
    """Give freed memory back to the kernel, where the C library can (glibc)."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _run_child(body: Callable[[], int], parent: int, mask: set[int | signal.Signals]) -> NoReturn:
    status = EXIT_BUG
    try:
        _die_with(parent)
        _reset_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = body()
    except BaseException:
        # The end of the line: nothing above may run in a child, so the bug is shown here.
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _die_with(parent: int) -> None:
    """Have the kernel kill us when the supervisor goes, however it goes."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before we asked
        os._exit(EXIT_BUG)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def is_stopped(pid: int) -> bool:
    """Whether a process stands still by SIGSTOP or the like; False where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False
