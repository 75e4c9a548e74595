"""The file system of the image, made on this machine by the steps of the Dockerfile.

`/opt/kdns` and `/image` become directories of the test, `python` the interpreter of the tests; all else is run as it
is written. But one step needs the package index: instead of `pip install` what is installed here is copied, without
`kubernetes` and what that brings: it is the bulk of the packages, and only kubeconfigs need it.
Not here: running it (tests.support.pods).
"""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
VENV, ROOT = "/opt/kdns", "/image"  # as the Dockerfile names them
# kdns[server] without kubernetes; PyYAML's name as it is registered.
DISTRIBUTIONS = ("cachetools", "dnslib", "dnspython", "msgspec", "prometheus_client", "pyyaml", "uvloop")


class Instruction(NamedTuple):
    """A line of a Dockerfile: `RUN`, and what it says."""

    name: str
    text: str


@dataclass(frozen=True)
class Image:
    """A root directory and, in it, the environment."""

    root: Path
    venv: Path

    @property
    def interpreter(self) -> Path:
        """The file with the capability, seen from out here."""
        return self.root / self.venv.relative_to("/") / "bin" / f"python3.{sys.version_info.minor}"

    @property
    def command(self) -> list[str]:
        """`kdns`, seen from inside."""
        return [str(self.venv / "bin" / "kdns")]


def dockerfile() -> list[Instruction]:
    """The instructions of our Dockerfile."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Instruction(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def make_image(directory: Path) -> Image:
    """Run the steps of the build below this directory."""
    image = Image(directory / "image", directory / "kdns")
    for instruction in dockerfile():
        if instruction.name == "RUN":
            _run(shlex.split(instruction.text), image)
    return image


def _run(words: list[str], image: Image) -> None:
    if words[:3] == ["python", "-m", "pip"]:
        _install(image.venv)
        return
    here = {"python": sys.executable, VENV: str(image.venv), ROOT: str(image.root)}
    subprocess.run([here.get(word, word) for word in words], check=True, cwd=REPOSITORY)


def _install(venv: Path) -> None:
    packages = next((venv / "lib").glob("python3.*/site-packages"))
    for name in DISTRIBUTIONS:
        _copy(importlib.metadata.distribution(name), packages)
    shutil.copytree(REPOSITORY / "kdns", packages / "kdns", ignore=shutil.ignore_patterns("__pycache__"))


def _copy(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    """The files of an installed package, but for its commands."""
    for file in distribution.files or ():
        if file.parts[0] != ".." and "__pycache__" not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(file.locate()), target)
