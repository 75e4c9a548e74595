"""How many workers: min(CPUs we may use, CPU quota, a cap, what the memory limit leaves after control's share).

A container on a 64-core node with 170 Mi of memory and no CPU limit must start, so memory counts as well as
CPUs. Reads the affinity mask and the cgroup files (v2 and v1) through an argument; the decision is pure.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import NamedTuple

MAX_WORKERS = 4  # two answer 300,000 queries/s; more cores are of more use to the pods around us
MIB = 1 << 20
# What supervisor, control and the first worker hold of a cluster of 10,000 services and 150,000 endpoints.
BASE_OCTETS = 150 * MIB
WORKER_OCTETS = 40 * MIB  # what each further worker adds for that cluster
CGROUP_ROOT = "/sys/fs/cgroup"

ReadText = Callable[[str], str | None]


class Bound(NamedTuple):
    """One upper bound on the number of workers, and where it comes from."""

    workers: int
    reason: str


def decide(bounds: list[Bound]) -> Bound:
    """The bound that decides; at least one worker, whatever the bounds say."""
    lowest = min(bounds, key=lambda bound: bound.workers)
    return lowest._replace(workers=max(1, lowest.workers))


def bounds(cpus: int, read: ReadText) -> list[Bound]:
    """All bounds on this machine. `cpus`: size of the affinity mask; `read`: a file's text, None if there is none."""
    found = [Bound(cpus, "CPUs in the affinity mask"), Bound(MAX_WORKERS, "the default cap")]
    if (quota := cpu_quota(read)) is not None:
        found.append(Bound(math.ceil(quota), f"cgroup CPU quota of {quota:g}"))
    if (octets := memory_limit_octets(read)) is not None:
        workers = 1 + (octets - BASE_OCTETS) // WORKER_OCTETS
        found.append(Bound(workers, f"cgroup memory limit of {octets // MIB} MiB"))
    return found


def default_workers() -> Bound:
    """The decision for this process."""
    return decide(bounds(len(os.sched_getaffinity(0)), read_text))


def cpu_quota(read: ReadText) -> float | None:
    """The tightest CPU limit of our cgroup and its ancestors, in CPUs; None for no limit."""
    limits = [_v2_quota(read(f"{path}/cpu.max")) for path in _v2_directories(read)]
    limits += [_v1_quota(read, path) for path in _v1_directories(read, "cpu")]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit_octets(read: ReadText) -> int | None:
    """The tightest memory limit of our cgroup and its ancestors; None for no limit."""
    texts = [read(f"{path}/memory.max") for path in _v2_directories(read)]
    texts += [read(f"{path}/memory.limit_in_bytes") for path in _v1_directories(read, "memory")]
    limits = [int(text) for text in texts if text is not None and text.strip().isdecimal()]
    # cgroup v1 spells "no limit" as a number near 2^63.
    return min((limit for limit in limits if limit < 1 << 60), default=None)


def read_text(path: str) -> str | None:
    """A small file's text, None if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def _v2_quota(text: str | None) -> float | None:
    quota, _, period = (text or "max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _v1_quota(read: ReadText, path: str) -> float | None:
    quota, period = read(f"{path}/cpu.cfs_quota_us"), read(f"{path}/cpu.cfs_period_us")
    if quota is None or period is None or int(quota) <= 0:  # -1 is "no limit"
        return None
    return int(quota) / int(period)


def _memberships(read: ReadText) -> list[tuple[list[str], str]]:
    """The lines of /proc/self/cgroup: controllers (none for v2) and our path in their hierarchy."""
    lines = [line.split(":", 2) for line in (read("/proc/self/cgroup") or "").splitlines()]
    return [(line[1].split(",") if line[1] else [], line[2]) for line in lines if len(line) == 3]


def _v2_directories(read: ReadText) -> list[str]:
    return [
        root + ancestor
        for controllers, path in _memberships(read)
        if not controllers
        for root in (CGROUP_ROOT, f"{CGROUP_ROOT}/unified")
        for ancestor in _ancestors(path)
    ]


def _v1_directories(read: ReadText, controller: str) -> list[str]:
    return [
        f"{CGROUP_ROOT}/{name}{ancestor}"
        for controllers, path in _memberships(read)
        if controller in controllers
        for name in {controller, ",".join(controllers)}
        for ancestor in _ancestors(path)
    ]


def _ancestors(path: str) -> list[str]:
    """The path and everything above it; "" is the hierarchy's root, which is all a container may see of it."""
    parts = [part for part in path.split("/") if part]
    return ["".join(f"/{part}" for part in parts[:depth]) for depth in range(len(parts), -1, -1)]
