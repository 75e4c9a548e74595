"""What Linux says about a server: the CPU and memory of a process and all its descendants, and how busy the
machine is.

CPU comes from /proc/PID/task/TID/schedstat (nanoseconds on a CPU, for each thread), where the kernel has
it, else from the clock ticks in /proc/PID/task/TID/stat. Work that the kernel does for a packet counts for
whoever is running: on loopback that is mostly the sender of that packet, and it is so for every server
alike.

Memory is the proportional set size (PSS): a page that n processes share counts 1/n for each, so the sum
over a forked family counts it once.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuReading:
    """Nanoseconds of CPU of each thread of a process tree, by thread id."""

    by_thread: dict[int, int]

    def since(self, earlier: CpuReading) -> int:
        """Nanoseconds used between the two; a thread that is new counts whole.

        Raises RuntimeError if a thread ended in between: its CPU is gone from /proc, and the sum would be too small.
        """
        if gone := earlier.by_thread.keys() - self.by_thread.keys():
            raise RuntimeError(f"threads {sorted(gone)} ended during the measurement: their CPU cannot be counted")
        return sum(ns - earlier.by_thread.get(tid, 0) for tid, ns in self.by_thread.items())


def tree(root: int) -> list[int]:
    """The process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _stat(directory: Path) -> list[str]:
    """The fields of a stat file from the state on (the third), or nothing if the process is gone."""
    try:
        return (directory / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu(pids: list[int]) -> CpuReading:
    """Read the CPU that all threads of these processes have used so far."""
    by_thread = {}
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            by_thread[int(task.name)] = _thread_ns(task)
    return CpuReading(by_thread)


def _thread_ns(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except FileNotFoundError:  # CONFIG_SCHED_INFO is off
        fields = _stat(task)
        return (int(fields[11]) + int(fields[12])) * TICK_NS


def pin(pids: list[int], cores: set[int]) -> None:
    """Pin every thread, also where a server has pinned its own (Knot does)."""
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def pss_octets(pids: list[int]) -> int:
    """The sum of PSS; a process that has just gone counts nothing."""
    return sum(_rollup_octets(pid) for pid in pids)


def anonymous_octets(pids: list[int]) -> int:
    """The part of the PSS that is no file's: what does not change when somebody else maps the same files."""
    return sum(_rollup_octets(pid, "Pss_Anon:") for pid in pids)


def _rollup_octets(pid: int, key: str = "Pss:") -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return _kib_line(text, key) * 1024


def rss_peak_octets(pids: list[int]) -> int:
    """The sum of each process's highest resident size: above the truth where pages are shared."""
    total = 0
    for pid in pids:
        try:
            total += _kib_line((PROC / str(pid) / "status").read_text(), "VmHWM:") * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def _kib_line(text: str, key: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(key)), 0)


def machine_busy_ns() -> int:
    """Nanoseconds that all cores together were not idle since boot, in clock ticks."""
    user, nice, system, _, _, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_NS


class Neighbours:
    """What everybody but this process and its descendants uses of the machine."""

    def __init__(self) -> None:
        self._busy, self._own, self._at = machine_busy_ns(), _living_cpu(), time.monotonic()

    def percent(self) -> float:
        """Of one core, since the last call. What a process that has ended used at its end counts as others'."""
        busy, own, now = machine_busy_ns(), _living_cpu(), time.monotonic()
        before = self._own.by_thread
        used = sum(ns - before.get(tid, 0) for tid, ns in own.by_thread.items())
        others = busy - self._busy - used
        elapsed = (now - self._at) * 1e9
        self._busy, self._own, self._at = busy, own, now
        return max(0.0, 100 * others / elapsed)


def _living_cpu() -> CpuReading:
    """That of this process and its descendants, but for those that end at this moment."""
    found: dict[int, int] = {}
    for pid in tree(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= cpu([pid]).by_thread
    return CpuReading(found)


def machine_line() -> str:
    """CPU model, number of CPUs, kernel and Python, in one line."""
    lines = (PROC / "cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
