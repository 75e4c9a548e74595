"""Builds and runs the load driver `dnsload.c`, and turns its line of JSON into a measurement of a server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.peers import Server

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
SOURCE = HERE / "dnsload.c"
BINARY = OUT / "dnsload"
GRACE = 30.0  # a driver that runs so much longer than asked for is stuck

WRONGS = ("mismatched", "not_response", "malformed", "unexpected", "wrong_answers")

Options = dict[str, int | float | str]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of the driver against one server."""

    cpu_us: float  # of all the server's threads, for each query answered
    core_percent: float  # how much of one core the server used
    qps: float
    p50_us: float
    p99_us: float
    lost: int  # without a reply in time, or not even sent in time, or SERVFAIL where an answer was expected
    wrong: int  # replies that broke a rule, or had another answer than what was expected
    truncated_percent: float
    reply_octets: float
    driver_percent: float
    others_percent: float  # of one core, used by neither the server nor the driver


def build_driver() -> Path:
    """Compile the driver unless the binary is newer than its source."""
    OUT.mkdir(exist_ok=True)
    if not BINARY.exists() or BINARY.stat().st_mtime < SOURCE.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(BINARY), str(SOURCE), "-lm"], check=True)
    return BINARY


def measure(server: Server, queries: Path, cores: Sequence[int], options: Options) -> Measurement:
    """Run the driver once on these cores and read the server's CPU before and after."""
    pids = server.pids()
    before, busy_before, started = processes.cpu(pids), processes.machine_busy_ns(), time.monotonic()
    result = run_driver(server.port, queries, cores, options)
    elapsed_ns = (time.monotonic() - started) * 1e9
    busy_ns = processes.machine_busy_ns() - busy_before
    cpu_ns = processes.cpu(server.pids()).since(before)
    answered = max(1, result["answered"])
    driver_ns = result["driver_cpu_seconds"] * 1e9
    return Measurement(
        cpu_us=cpu_ns / 1e3 / answered,
        core_percent=100 * cpu_ns / (result["seconds"] * 1e9),
        qps=result["qps"],
        p50_us=result["p50_us"],
        p99_us=result["p99_us"],
        lost=result["lost"] + result["overrun"] + result["failures"],
        wrong=sum(result[key] for key in WRONGS),
        truncated_percent=100 * result["truncated"] / answered,
        reply_octets=result["reply_octets"],
        driver_percent=100 * driver_ns / elapsed_ns,
        others_percent=max(0.0, 100 * (busy_ns - cpu_ns - driver_ns) / elapsed_ns),
    )


def run_driver(port: int, queries: Path, cores: Sequence[int], options: Options) -> dict[str, Any]:
    """Run the driver with its own options (see the head of dnsload.c); its result as printed."""
    words = [f"{key}={value}" for key, value in {"port": port, "queries": queries, **options}.items()]
    command = ["taskset", "-c", ",".join(map(str, cores)), str(BINARY), *words]
    timeout = float(options.get("seconds", 5)) + GRACE
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    if run.returncode:
        raise RuntimeError(f"the driver failed: {run.stderr.strip()}")
    result: dict[str, Any] = json.loads(run.stdout)
    return result
