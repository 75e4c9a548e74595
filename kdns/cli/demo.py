"""The demo that is served when nothing else is named: where its files are, and what to ask it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

DEMO_HOST = "127.0.0.1"
DEMO_PORT = 1053
QUESTIONS = (
    "web.shop.svc.cluster.local A",
    "_http._tcp.web.shop.svc.cluster.local SRV",
    "www.example.org A",
)


class DemoPaths(NamedTuple):
    """Files of the demo."""

    manifests: list[str]
    zones: list[str]


def demo_paths() -> DemoPaths:
    """The files that are installed with kdns. Both lists are empty if they are not."""
    directory = Path(str(files("kdns"))) / "demo"
    return DemoPaths(
        manifests=[str(path) for path in sorted(directory.glob("*.yaml"))],
        zones=[str(path) for path in sorted(directory.glob("*.zone"))],
    )


def dig_lines(host: str, port: int) -> list[str]:
    """Commands worth trying."""
    return [f"dig @{host} -p {port} {question}" for question in QUESTIONS]
