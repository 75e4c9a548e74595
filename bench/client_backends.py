"""What does a DNS question cost an app, by the backend that asks it? README.md says what the columns mean.

One kdns serves a wildcard, and every question has a name of its own, so that nobody's cache answers. All runs in a
network namespace of its own, in which kdns has port 53 and resolv.conf names it, for getaddrinfo knows no other way.

    python -m bench.client_backends [--count 2000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from bench.processes import machine_line
from kdns.client.aiodns_backend import AiodnsBackend
from kdns.client.backend import Backend, Kind, Question, Reply
from kdns.client.blocking_stub import BlockingStubBackend
from kdns.client.stub import StubBackend

ZONE = """$ORIGIN bench.example.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 5
@ NS ns
ns A 127.0.0.1
* A 10.0.0.1
"""
SERVERS = [("127.0.0.1", 53)]
CONCURRENCY = (1, 32)
PATIENCE = 10.0
INSIDE = "KDNS_BENCH_INSIDE"  # set in the namespace

Ask = Callable[[str], Awaitable[bool]]

_numbers = count()


class Cost(NamedTuple):
    """Of one question, microseconds: of the clock, of this process's CPU with all its threads, and the 99th centile."""

    clock: float
    cpu: float
    p99: float


def main() -> int:
    options = _options()
    if INSIDE not in os.environ:
        return _enter_namespace()
    print(machine_line())
    print(f"{options.count} questions, {options.rounds} rounds, medians; microseconds for each question\n")
    print("| asked by | at a time | time | CPU | p99 of the time to its answer |\n|---|---:|---:|---:|---:|")
    with _serving():
        for at_a_time in CONCURRENCY:
            for name, measure in MEASURES.items():
                if at_a_time == 1 or name != "blocking stub":
                    costs = [measure(options.count, at_a_time) for _ in range(options.rounds)]
                    clock, cpu, p99 = (statistics.median(column) for column in zip(*costs, strict=True))
                    print(f"| {name} | {at_a_time} | {clock:.0f} | {cpu:.0f} | {p99:.0f} |", flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _enter_namespace() -> int:
    with tempfile.TemporaryDirectory() as directory:
        conf = Path(directory) / "resolv.conf"
        conf.write_text("nameserver 127.0.0.1\n")
        script = f'ip link set lo up && mount --bind {conf} /etc/resolv.conf && exec "$@"'
        again = [sys.executable, "-m", "bench.client_backends", *sys.argv[1:]]
        command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script, "sh", *again]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


@contextmanager
def _serving() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as directory:
        zone = Path(directory) / "zone"
        zone.write_text(ZONE)
        arguments = ["serve", "--listen", "127.0.0.1:53", "--workers", "1", "--zones", f"bench.example={zone}"]
        process = subprocess.Popen([sys.executable, "-m", "kdns", *arguments], stderr=subprocess.DEVNULL)
        try:
            _wait_until_answered()
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_until_answered() -> None:
    backend = BlockingStubBackend(SERVERS)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        reply = backend.start(Question(_name(), 1), 1.0).wait(deadline)
        if reply is not None and reply.kind is Kind.ANSWER:
            return
    raise SystemExit("the server does not answer")


def _name() -> str:
    """One that was never asked for."""
    return f"n{next(_numbers)}-{os.getpid()}.bench.example."


def _measure(made: Callable[[], Backend], questions: int, at_a_time: int) -> Cost:
    async def run() -> Cost:
        backend = made()
        try:
            return await _all(_asker(backend), questions, at_a_time)
        finally:
            backend.close()

    return asyncio.run(run())


def _asker(backend: Backend) -> Ask:
    loop = asyncio.get_running_loop()

    async def ask(name: str) -> bool:
        future: asyncio.Future[Reply] = loop.create_future()
        backend.ask(Question(name, 1), PATIENCE, future.set_result)
        return (await future).kind is Kind.ANSWER

    return ask


def _measure_getaddrinfo(questions: int, at_a_time: int) -> Cost:
    async def ask(name: str) -> bool:
        loop = asyncio.get_running_loop()
        return bool(await loop.getaddrinfo(name, 80, family=socket.AF_INET, type=socket.SOCK_STREAM))

    async def run() -> Cost:
        return await _all(ask, questions, at_a_time)

    return asyncio.run(run())


async def _all(ask: Ask, questions: int, at_a_time: int) -> Cost:
    """So many questions, so many at a time."""
    times: list[float] = []
    left = iter(range(questions))

    async def one_after_the_other() -> None:
        for _ in left:
            begun = time.perf_counter()
            if not await ask(_name()):
                raise SystemExit("a question had no answer")
            times.append(time.perf_counter() - begun)

    await ask(_name())
    clock, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_a_time)))
    return _cost(time.perf_counter() - clock, time.process_time() - cpu, times)


def _measure_blocking(questions: int, _: int) -> Cost:
    backend = BlockingStubBackend(SERVERS)
    times = []
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(questions):
        begun = time.perf_counter()
        reply = backend.start(Question(_name(), 1), PATIENCE).wait(time.monotonic() + PATIENCE)
        if reply is None or reply.kind is not Kind.ANSWER:
            raise SystemExit("a question had no answer")
        times.append(time.perf_counter() - begun)
    cost = _cost(time.perf_counter() - clock, time.process_time() - cpu, times)
    backend.close()
    return cost


def _cost(clock: float, cpu: float, times: list[float]) -> Cost:
    return Cost(clock / len(times) * 1e6, cpu / len(times) * 1e6, statistics.quantiles(times, n=100)[98] * 1e6)


MEASURES: dict[str, Callable[[int, int], Cost]] = {
    "stub": lambda questions, at_a_time: _measure(lambda: StubBackend(SERVERS), questions, at_a_time),
    "blocking stub": _measure_blocking,
    "aiodns": lambda questions, at_a_time: _measure(lambda: AiodnsBackend(SERVERS), questions, at_a_time),
    "loop.getaddrinfo": _measure_getaddrinfo,
}

if __name__ == "__main__":
    sys.exit(main())
