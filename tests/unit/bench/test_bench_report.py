"""Medians, ratios and tables; and the readings from /proc that they rest on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench import processes
from bench.driver import Measurement
from bench.processes import CpuReading
from bench.report import Series, comparison, find, table

ONE = Measurement(
    cpu_us=4.0,
    core_percent=99,
    qps=200_000,
    p50_us=500,
    p99_us=900,
    lost=0,
    wrong=0,
    truncated_percent=1,
    reply_octets=120,
    driver_percent=80,
    others_percent=1,
)


def series(server: str, *cpu_us: float) -> Series:
    return Series("udp-saturation", "full", server, [replace(ONE, cpu_us=us, lost=1) for us in cpu_us])


def test_the_ratio_is_taken_within_each_round_so_that_a_slow_round_does_not_tilt_it() -> None:
    ours, theirs = series("kdns", 6.0, 12.0, 6.0), series("nsd", 4.0, 8.0, 4.0)
    assert ours.ratio(theirs) == 1.5
    assert ours.median("cpu_us") == 6.0
    assert ours.total("lost") == 3


def test_the_comparison_has_a_row_for_each_server_with_its_ratio_to_nsd() -> None:
    text = comparison([series("kdns", 6.0), series("nsd", 4.0)])
    rows = {line.split()[0]: line.split() for line in text.splitlines()[2:]}
    assert rows["kdns"][1:4] == ["6.00", "1.50", "-"]
    assert rows["nsd"][1:4] == ["4.00", "1.00", "-"]


def test_a_series_is_found_by_its_three_names() -> None:
    found = [series("kdns", 1.0), series("nsd", 1.0)]
    assert find(found, "udp-saturation", "full", "nsd") is found[1]
    assert find(found, "udp-saturation", "plain", "nsd") is None


def test_columns_of_a_table_are_aligned() -> None:
    assert table([("what", "n"), ("a", "100")]) == "what    n\na     100"


def test_cpu_counts_new_threads_whole_and_refuses_to_lose_one() -> None:
    before, after = CpuReading({1: 100, 2: 50}), CpuReading({1: 150, 2: 50, 3: 7})
    assert after.since(before) == 57
    with pytest.raises(RuntimeError, match="ended during the measurement"):
        before.since(after)


def test_the_cpu_and_memory_of_a_child_are_seen() -> None:
    code = "import sys\nsum(range(3_000_000))\nprint('done', flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        before = processes.cpu([child.pid])
        child.stdout.readline()
        assert child.pid in processes.tree(os.getpid())
        assert processes.cpu([child.pid]).since(before) > 1_000_000
        assert 1_000_000 < processes.pss_octets([child.pid]) <= processes.rss_peak_octets([child.pid])
        child.communicate()


def test_a_process_that_has_gone_has_no_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert processes.pss_octets([child.pid]) == processes.rss_peak_octets([child.pid]) == 0


def test_the_machine_line_names_kernel_and_python() -> None:
    line = processes.machine_line()
    assert "Linux" in line
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in line


def test_what_this_process_uses_is_not_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    times, busy = iter((10.0, 12.0)), iter((1_000_000_000, 3_500_000_000))
    own = iter((CpuReading({1: 0}), CpuReading({1: 900_000_000, 2: 100_000_000})))
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(processes, "machine_busy_ns", lambda: next(busy))
    monkeypatch.setattr(processes, "tree", lambda root: [root, 2])

    def cpu(pids: list[int]) -> CpuReading:
        if pids == [2]:
            raise FileNotFoundError("it has just ended")
        return next(own)

    monkeypatch.setattr(processes, "cpu", cpu)
    assert processes.Neighbours().percent() == pytest.approx(75.0)
