"""kdns.server.footprint: what several processes use together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from kdns.observe.families import CPU_TIME, FDS_MAX, FDS_OPEN, MEMORY, START_TIME, Sample
from kdns.server.footprint import footprint


def _process(
    proc: Path, pid: int, *, ticks: tuple[int, int, int, int], pss: int, fds: int, children: str = ""
) -> None:
    own = proc / str(pid)
    (own / "task" / str(pid)).mkdir(parents=True)
    (own / "fd").mkdir()
    for number in range(fds):
        (own / "fd" / str(number)).touch()
    (own / "task" / str(pid) / "children").write_text(children)
    numbers = [1] * 10 + list(ticks) + [20, 0, 1, 0, 5000] + [0] * 30
    (own / "stat").write_text(f"{pid} (odd) name) S {' '.join(map(str, numbers))}\n")
    (own / "smaps_rollup").write_text(f"Rss: 999 kB\nPss:  {pss} kB\nPss_Anon: 7 kB\n")


def test_what_all_processes_use_is_added_up(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1700000000\n")
    _process(tmp_path, 1, ticks=(100, 50, 30, 20), pss=1000, fds=3, children="7 8 ")
    _process(tmp_path, 7, ticks=(10, 5, 0, 0), pss=200, fds=9)
    found = footprint(tmp_path, 1)  # 8 has ended meanwhile
    hertz = os.sysconf("SC_CLK_TCK")
    assert found[Sample(CPU_TIME)] == 215 / hertz
    assert found[Sample(MEMORY)] == 1200 * 1024
    assert found[Sample(FDS_OPEN)] == 9
    assert found[Sample(FDS_MAX)] > 9
    assert found[Sample(START_TIME)] == 1_700_000_000 + 5000 / hertz


def test_a_process_that_hides_its_maps_is_told_with_what_is_resident(tmp_path: Path) -> None:
    _process(tmp_path, 1, ticks=(1, 0, 0, 0), pss=1000, fds=1, children="7")
    _process(tmp_path, 7, ticks=(1, 0, 0, 0), pss=1000, fds=1)
    (tmp_path / "7" / "smaps_rollup").unlink()
    (tmp_path / "7" / "statm").write_text("9999 300 200 1 0 100 0\n")
    assert footprint(tmp_path, 1)[Sample(MEMORY)] == 1000 * 1024 + 300 * os.sysconf("SC_PAGE_SIZE")


def test_what_cannot_be_read_is_not_told(tmp_path: Path) -> None:
    assert footprint(tmp_path, 1).keys() == {Sample(FDS_MAX)}


def test_this_very_process_has_used_something() -> None:
    found = footprint()
    assert found[Sample(CPU_TIME)] > 0
    assert 1 << 20 < found[Sample(MEMORY)] < 1 << 34
    assert 0 < time.time() - found[Sample(START_TIME)] < 24 * 3600


def test_the_cpu_time_of_a_child_that_has_ended_is_kept() -> None:
    before = footprint()[Sample(CPU_TIME)]
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert footprint()[Sample(CPU_TIME)] > before
