"""What all processes of kdns together use, as the metrics `process_*` tell it of one: CoreDNS is one, kdns several.

Read from /proc when somebody scrapes. Memory that processes share counts once (proportional set size). CPU time of
processes that have ended is the supervisor's, so that the sum does not go back.
Not here: limits (kdns.server.sizing).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path

from kdns.observe.families import CPU_TIME, FDS_MAX, FDS_OPEN, MEMORY, START_TIME, Sample

_PROC = Path("/proc")
_UTIME, _STIME, _CUTIME, _CSTIME = 11, 12, 13, 14  # in /proc/PID/stat, counted from the state, which is 0
_STARTED = 19
_PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def footprint(proc: Path = _PROC, pid: int | None = None) -> dict[Sample, float]:
    """The metrics of a process and of its children; those that cannot be read are left out."""
    own = os.getpid() if pid is None else pid
    pids = [own, *_children(proc, own)]
    cpu = sum(ticks for one in pids for ticks in _stat(proc, one)[_UTIME : _CSTIME + 1]) / _TICKS_A_SECOND
    told = {
        CPU_TIME: cpu,
        MEMORY: sum(_pss_octets(proc, one) for one in pids),
        FDS_OPEN: max(_open_fds(proc, one) for one in pids),
        FDS_MAX: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        START_TIME: _start_time(proc, own),
    }
    return {Sample(name): value for name, value in told.items() if value}


def _children(proc: Path, pid: int) -> Iterable[int]:
    return map(int, _read(proc / str(pid) / "task" / str(pid) / "children").split())


def _stat(proc: Path, pid: int) -> list[int]:
    """The numbers from the state on, which is none; nothing of a process that has ended."""
    fields = _read(proc / str(pid) / "stat").rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


def _pss_octets(proc: Path, pid: int) -> int:
    """Of a process that hides it, as all do whose program has capabilities: what is resident, shared or not."""
    for line in _read(proc / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    resident = _read(proc / str(pid) / "statm").split()[1:2]
    return int(resident[0]) * _PAGE_OCTETS if resident else 0


def _open_fds(proc: Path, pid: int) -> int:
    """Of the process that has most: the limit is for each."""
    try:
        return len(os.listdir(proc / str(pid) / "fd"))
    except OSError:
        return 0


def _start_time(proc: Path, pid: int) -> float:
    """By the unix clock, in seconds; 0 where it cannot be read."""
    booted = next((line.split()[1] for line in _read(proc / "stat").splitlines() if line.startswith("btime ")), "0")
    ticks = _stat(proc, pid)[_STARTED : _STARTED + 1]
    return int(booted) + ticks[0] / _TICKS_A_SECOND if ticks else 0.0


def _read(path: Path) -> str:
    """The text of a file; "" of a process that has just ended, or that hides it."""
    try:
        return path.read_text()
    except OSError:
        return ""
