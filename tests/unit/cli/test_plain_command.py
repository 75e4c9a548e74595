"""The command of a plain install, in processes of their own in which nothing of the extras can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "aiodns", "cachetools", "dns", "dnslib", "kubernetes", "msgspec", "opentelemetry", "prometheus_client",
            "pycares", "uvloop", "yaml",
        }:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from kdns.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *words], cwd=directory, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("words", [(), ("serve",), ("-conf", "Corefile"), ("check", "a.yaml"), ("check", "a.zone")])
def test_what_needs_the_server_says_so_in_one_line_and_ends_with_2(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("is not installed: pip install 'kdns[server]'\n")


@pytest.mark.parametrize("words", [("version",), ("--version",), ("--help",), ("serve", "--help"), ("-plugins",)])
def test_what_needs_no_server_works_without_it(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kdns" in done.stdout or "dns." in done.stdout
