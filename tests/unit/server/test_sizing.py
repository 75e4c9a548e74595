"""kdns.server.sizing: how many workers, and why."""

from __future__ import annotations

import pytest

from kdns.server.sizing import (
    BASE_OCTETS,
    MAX_WORKERS,
    MIB,
    WORKER_OCTETS,
    ReadText,
    bounds,
    cpu_quota,
    decide,
    default_workers,
    memory_limit_octets,
)


def _machine(files: dict[str, str]) -> ReadText:
    return files.get


V2 = {"/proc/self/cgroup": "0::/\n"}


@pytest.mark.parametrize(
    ("cpus", "files", "workers", "reason"),
    [
        (1, {}, 1, "affinity"),
        (3, {}, 3, "affinity"),
        (64, {}, MAX_WORKERS, "cap"),
        (64, V2 | {"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2, "CPU quota of 1.5"),
        (64, V2 | {"/sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1, "CPU quota of 0.1"),
        (64, V2 | {"/sys/fs/cgroup/cpu.max": "max 100000\n"}, MAX_WORKERS, "cap"),
        # kubeadm's limit for CoreDNS, on a large node without a CPU limit
        (64, V2 | {"/sys/fs/cgroup/memory.max": str(170 * MIB)}, 1, "memory limit of 170 MiB"),
        (64, V2 | {"/sys/fs/cgroup/memory.max": str(10 * MIB)}, 1, "memory limit of 10 MiB"),
        (64, V2 | {"/sys/fs/cgroup/memory.max": str(BASE_OCTETS + WORKER_OCTETS)}, 2, "memory limit"),
        (64, V2 | {"/sys/fs/cgroup/memory.max": "max\n"}, MAX_WORKERS, "cap"),
    ],
)
def test_the_lowest_bound_decides_and_is_named(
    cpus: int, files: dict[str, str], workers: int, reason: str
) -> None:
    decided = decide(bounds(cpus, _machine(files)))
    assert decided.workers == workers
    assert reason in decided.reason


def test_limits_of_ancestors_count() -> None:
    files = {
        "/proc/self/cgroup": "0::/kubepods/pod1/kdns\n",
        "/sys/fs/cgroup/kubepods/pod1/kdns/cpu.max": "max 100000",
        "/sys/fs/cgroup/kubepods/pod1/cpu.max": "200000 100000",
        "/sys/fs/cgroup/kubepods/cpu.max": "400000 100000",
        "/sys/fs/cgroup/kubepods/pod1/kdns/memory.max": "1000",
        "/sys/fs/cgroup/kubepods/memory.max": "500",
    }
    assert cpu_quota(_machine(files)) == 2.0
    assert memory_limit_octets(_machine(files)) == 500


def test_cgroup_v1_is_read_where_a_container_sees_only_the_root() -> None:
    files = {
        "/proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{200 * MIB}\n",
    }
    assert cpu_quota(_machine(files)) == 0.5
    assert memory_limit_octets(_machine(files)) == 200 * MIB


def test_cgroup_v1_without_limits_is_no_limit() -> None:
    files = {
        "/proc/self/cgroup": "5:cpu:/\n4:memory:/\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert cpu_quota(_machine(files)) is None
    assert memory_limit_octets(_machine(files)) is None


@pytest.mark.parametrize("text", ["", "garbage\n", "0::\n", "0::/\n\x00"])
def test_nonsense_in_proc_is_no_limit(text: str) -> None:
    assert cpu_quota(_machine({"/proc/self/cgroup": text})) is None
    assert memory_limit_octets(_machine({"/proc/self/cgroup": text})) is None


def test_this_machine_gets_between_one_and_the_cap() -> None:
    assert 1 <= default_workers().workers <= MAX_WORKERS
