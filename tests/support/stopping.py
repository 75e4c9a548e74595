"""SIGSTOP that has taken effect when it returns: the signal alone only says that a process is going to stop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_PATIENCE_SECONDS = 20.0


def stop(pid: int) -> None:
    """Stop a process, and return when none of its threads runs any more (or when it is gone)."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(state not in "TtZX" for state in _states(pid)):
        assert time.monotonic() < deadline, f"process {pid} does not stop"


def _states(pid: int) -> list[str]:
    """The state of each thread, by its letter in proc(5)."""
    try:
        tasks = [task.joinpath("stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [stat.rpartition(")")[2].split()[0] for stat in tasks]
