"""The laboratory of docs/operations.md, in a directory: its Corefile, the processes that it starts, its transcript.

    with Lab(text, tmp_path) as lab:
        for step in lab.steps: lab.take(step)

What is shown is waited for: a command that prints something is run again until it prints that. Ports are others, and
process numbers are not compared. Not here: what the page says otherwise (test_operations).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self

from tests.server.hasty import HASTY
from tests.server.serving import ROOT, free_port

PORTS = ("1053", "1054", "8080", "8181", "9153")
PATIENCE = 30.0
_BETWEEN_LOOKS = 0.03  # seconds: each look is a process, and takes time from those that are waited for
_STEP = re.compile(
    r"^\$ (?P<command>.+)\n(?P<output>(?:(?!\$ |```).*\n)*)"
    r"|^    (?P<start>kdns serve (?P<arguments>.+) 2>(?P<log>\S+) & (?P<name>[A-Z]+)=\$!)$"
    r"|^    (?P<prepare>cp .+)$",
    re.MULTILINE,
)
_COREFILE = re.compile(r"^```corefile\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """One thing that the page says to do. output: what it shows then. name: of the variable of a process started."""

    command: str
    output: str = ""
    name: str = ""
    arguments: str = ""
    log: str = ""


def steps_of(text: str) -> list[Step]:
    """All that is to be done, in its order."""
    found = []
    for match in _STEP.finditer(text):
        said = {name: value or "" for name, value in match.groupdict().items()}
        command = said["command"] or said["start"] or said["prepare"]
        found.append(Step(command, said["output"], said["name"], said["arguments"], said["log"]))
    return found


def corefile_of(text: str) -> str:
    """The Corefile of the page."""
    (found,) = _COREFILE.findall(text)
    return found


class Lab:
    """See above."""

    def __init__(self, text: str, directory: Path) -> None:
        self.steps = steps_of(text)
        self._directory = directory
        self._ports = {port: str(free_port()) for port in PORTS}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "lab.corefile").write_text(self._local(corefile_of(text)))
        (directory / "zones").symlink_to(ROOT / "zones")
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait(PATIENCE)

    def take(self, step: Step) -> None:
        """Do it, and see that it shows what the page says."""
        if step.name:
            self._start(step)
        elif not step.output:
            assert self._run(step.command) == [], step.command
            self._await_ends(step.command)
        else:
            self._see(step)

    def _start(self, step: Step) -> None:
        # As `kdns serve`, but it looks after its configuration more often than a Corefile may ask for.
        words = self._local(step.arguments).split()
        with open(self._directory / step.log, "wb") as log:
            process = subprocess.Popen(
                [*HASTY, "kdns", "serve", *words], cwd=self._directory, env=self._environment, stderr=log
            )
        self._processes[step.name] = process
        self._environment[step.name] = str(process.pid)
        self._see(Step(f"grep -o '] ready: ' {step.log}", "] ready: \n"))

    def _await_ends(self, command: str) -> None:
        """Who asks right after may still be answered; the page shows what comes then."""
        for name, process in self._processes.items():
            if command == f"kill -KILL ${name}":
                process.wait(PATIENCE)

    def _see(self, step: Step) -> None:
        wanted, deadline = _normal(step.output), time.monotonic() + PATIENCE
        while (found := self._run(step.command)) != wanted:
            assert time.monotonic() < deadline, f"{step.command}: {found}, not {wanted}"
            threading.Event().wait(_BETWEEN_LOOKS)

    def _run(self, command: str) -> list[str]:
        here = re.sub(r"^kdns ", f"{sys.executable} -m kdns ", self._local(command))
        done = subprocess.run(
            ["bash", "-c", here], cwd=self._directory, env=self._environment, text=True, timeout=PATIENCE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        back = re.compile("|".join(self._ports.values()))
        names = {port: name for name, port in self._ports.items()}
        return _normal(back.sub(lambda port: names[port[0]], done.stdout))

    def _local(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self._ports[port[0]], text)


def _normal(output: str) -> list[str]:
    """Lines in any order, columns apart by one blank, process numbers alike."""
    lines = (re.sub(r"\(pid \d+\)", "(pid N)", line) for line in output.splitlines() if line.strip())
    return sorted(" ".join(line.split()) for line in lines)


