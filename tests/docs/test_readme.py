"""What README.md shows is what happens: its console transcripts are run against the demo, its Corefile is parsed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.corefile import parse_corefile
from tests.server.serving import Server
from tests.support.programs import require

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).+\n)*)", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def transcript() -> list[tuple[str, str]]:
    return [(command, output) for block in blocks("console") for command, output in COMMAND.findall(block)]


def normal(output: str) -> list[str]:
    """Lines in any order, for answers rotate; columns apart by one blank."""
    return sorted(" ".join(line.split()) for line in output.splitlines() if line.strip())


def run(command: str, port: int) -> list[str]:
    """Run a command of the README with this kdns, on the port it has here."""
    here = re.sub(r"^kdns ", f"{sys.executable} -m kdns ", command).replace("-p 1053", f"-p {port}")
    done = subprocess.run(here, shell=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return normal(done.stdout)


def test_the_readme_has_transcripts_of_dig_and_check() -> None:
    assert {command.split()[0] for command, _ in transcript()} == {"dig", "kdns"}


@pytest.mark.peers
def test_the_dig_transcripts_happen_as_written(serve: Callable[..., Server]) -> None:
    require("dig")
    server = serve("--manifests", ROOT / "zones/shop.yaml", "--zones", ROOT / "zones/example.org.zone")
    for command, output in transcript():
        if command.startswith("dig"):
            assert run(command, server.port) == normal(output), command


def test_the_check_transcript_happens_as_written() -> None:
    for command, output in transcript():
        if command.startswith("kdns"):
            assert run(command, 0) == normal(output), command


def test_the_corefiles_are_corefiles() -> None:
    for text in blocks("corefile"):
        assert parse_corefile(text, "README.md").blocks


def test_the_make_targets_of_the_first_screen_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^    make (\w+)", README, re.MULTILINE)) <= set(targets)
