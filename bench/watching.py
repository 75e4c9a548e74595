"""kdns as the watch benchmarks run it: on the kubeconfig of an API server, pinned to cores of its own.

Not here: what is measured (bench.freshness, bench.churn, bench.sync, bench.outage).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import peers

NAME = "kdns"
COREFILE = """\
.:{port} {{
    bind {address}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which cores kdns may use, and which everything that tests it."""

    server: tuple[int, ...]
    tester: tuple[int, ...]

    def __str__(self) -> str:
        return f"kdns on CPU {_list(self.server)}, API server and clients on CPU {_list(self.tester)}"


class Launched(NamedTuple):
    """kdns, which may not answer yet, and when it was started (monotonic seconds)."""

    server: peers.Server
    started: float


@contextmanager
def launched(
    kubeconfig: Path, cores: Sequence[int], workers: int = 1, text: str = COREFILE
) -> Iterator[Launched]:
    """Start kdns, and stop it at the end. text: of its Corefile."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kdns-bench-watch-")))
        port, log, corefile = peers.free_port(), directory / "log", directory / "Corefile"
        corefile.write_text(text.format(port=port, address=peers.ADDRESS, kubeconfig=kubeconfig))
        taskset = ["taskset", "-c", _list(cores)]
        command = [*taskset, sys.executable, "-m", "kdns", "serve", "-conf", str(corefile), "--workers", str(workers)]
        with log.open("wb") as out:
            started = time.monotonic()
            process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=peers.ROOT
            )
        server = peers.Server(NAME, process, port, log)
        stack.callback(server.stop)
        yield Launched(server, started)


def process_name(pid: int) -> str:
    """What a process of kdns is: its name as `ps` shows it; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _list(cores: Sequence[int]) -> str:
    return ",".join(map(str, cores))
