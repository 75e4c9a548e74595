"""What does an app notice when its service's replicas die, hang, vanish, restart and scale? Real processes.

An app calls a service of real processes through kdns.client at 500 requests a second, over asyncio streams with a pool
of connections for each endpoint; kdns serves the endpoints of a manifest, which changes as pods come and go. All runs
in a network namespace of its own, where packets to one replica can be dropped.

    python -m bench.client_real [--only kill stop ...] [--seconds 12] [--kind idempotent unsafe] [--json]

A request that is not idempotent must never be processed twice: each has an id, which the replicas log. It may be lost
only if it was written to a replica that a scenario hurts. Runs whose driver was more than 100 ms late are repeated.
Not here: the replicas (bench.replica), kdns and the manifest (bench.realservice).
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path

from bench.processes import machine_line
from bench.realservice import DNS, PORT, TARGET, Service, address_of, wait_for_port
from kdns.client import Balancer, BalancerOptions, Lease, Resolver, ResolverOptions, Retries

RATE = 500.0
CONNECT_SECONDS = 0.5
LAG_MOST = 0.1
REPEATS_MOST = 3
DEADLINE = 10.0  # of a call: beyond whatever a scenario takes to be mended
INSIDE = "KDNS_BENCH_INSIDE"
# Written and never answered, of 500 a second that are not idempotent: a stopped replica takes these before the others
# are cheaper.
LOST_MOST = {"nothing": 0, "stop": 5}


@dataclass
class Tally:
    """What a run came to.

    failed: idempotent calls; the next are of those that are not. lost: failed after they were written to a replica that
    is hurt; astray: failed otherwise; twice: processed more than once. lag: seconds that the driver was late at most.
    """

    scenario: str
    kind: str
    calls: int = 0
    failed: int = 0
    lost: int = 0
    astray: int = 0
    twice: int = 0
    lag: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    left_over: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)

    def is_bad(self) -> bool:
        """Whether anything happened that must not."""
        is_too_much = self.lost > LOST_MOST.get(self.scenario, inf)
        return bool(self.failed or self.astray or self.twice or self.left_over or is_too_much)


class Pool:
    """Connections to each endpoint, used again; what an app's HTTP client does."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
        self.written_to: dict[str, str] = {}  # by id: the address that the request went to last

    async def ask(self, lease: Lease, ident: str) -> str:
        """One request."""
        key = lease.endpoint.key
        reader, writer = self._take(key) or await self._connect(lease)
        try:
            lease.sent()
            self.written_to[ident] = lease.host
            writer.write(f"{ident}\n".encode())
            line = await reader.readline()
            if not line:
                raise ConnectionResetError(errno.ECONNRESET, "closed before it answered")
        except BaseException:
            writer.close()
            raise
        self._idle.setdefault(key, deque()).append((reader, writer))
        return line.decode().strip()

    def close(self) -> None:
        """Close all."""
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
        self._idle.clear()

    def _take(self, key: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        connections = self._idle.get(key)
        while connections:
            reader, writer = connections.pop()
            if not reader.at_eof() and reader.exception() is None and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _connect(self, lease: Lease) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Nothing was sent when this fails, whatever it fails with."""
        lease.was_sent = False
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(lease.host, lease.port)


class Run:
    """One scenario under load."""

    def __init__(self, service: Service, scenario: str, kind: str, seconds: float) -> None:
        self.service = service
        self.seconds = seconds
        self.tally = Tally(scenario, kind)
        self._latencies: list[float] = []
        self._pool = Pool()
        self._errors: Counter[str] = Counter()
        self._served: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()
        self.hurt: set[str] = set()

    async def go(self, scenario: Callable[[Run], Awaitable[None]]) -> Tally:
        """Send load while the scenario takes its course; then see that nothing is left over."""
        before = _what_is_open()
        resolver = Resolver(ResolverOptions(servers=(f"{DNS[0]}:{DNS[1]}",), domain="cluster.local"))
        options = BalancerOptions(retries=Retries(per_try_timeout=1.0))
        async with resolver, Balancer(TARGET, options, resolver=resolver) as balancer:
            await balancer.call(self._pool.ask, "first", idempotent=True, wait_for_ready=True, timeout=DEADLINE)
            course = asyncio.create_task(self._course(scenario))
            await self._load(balancer)
            await course
            await asyncio.gather(*self._waiting)
        self._pool.close()
        await asyncio.sleep(0.05)  # closed connections leave the loop in its next turns
        self.tally.left_over = _what_is_open()[len(before) :] if len(_what_is_open()) > len(before) else []
        return self._summed_up()

    async def _course(self, scenario: Callable[[Run], Awaitable[None]]) -> None:
        await asyncio.sleep(self.seconds / 6)
        await scenario(self)

    async def _load(self, balancer: Balancer) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(int(self.seconds * RATE)):
            due = start + number / RATE
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self.tally.lag = max(self.tally.lag, -wait)
                await asyncio.sleep(0)
            is_idempotent = self.tally.kind == "idempotent" or (self.tally.kind == "mixed" and number % 2 == 0)
            task = loop.create_task(self._call(balancer, number, is_idempotent))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _call(self, balancer: Balancer, number: int, is_idempotent: bool) -> None:
        ident = f"{'i' if is_idempotent else 'u'}{self.tally.scenario}{self.tally.kind}{number}"
        started = time.monotonic()
        self.tally.calls += 1
        try:
            answer = await balancer.call(self._asked, ident, idempotent=is_idempotent, timeout=DEADLINE)
            assert answer == ident
        except Exception as error:
            self._errors[f"{'idempotent' if is_idempotent else 'unsafe'}: {type(error).__name__}"] += 1
            self._count_failure(ident, is_idempotent)
        self._latencies.append(time.monotonic() - started)

    def _count_failure(self, ident: str, is_idempotent: bool) -> None:
        if is_idempotent:
            self.tally.failed += 1
        elif self._pool.written_to.get(ident) in self.hurt:
            self.tally.lost += 1
        else:
            self.tally.astray += 1

    async def _asked(self, lease: Lease, ident: str) -> str:
        answer = await self._pool.ask(lease, ident)
        self._served[str(lease.endpoint)] += 1
        return answer

    def _summed_up(self) -> Tally:
        tally = self.tally
        ids = Counter(
            ident for lines in self.service.processed().values() for ident in lines if ident.startswith("u")
        )
        tally.twice = sum(times > 1 for times in ids.values())
        ordered = sorted(self._latencies)
        tally.p50_ms = 1000 * ordered[len(ordered) // 2]
        tally.p99_ms = 1000 * ordered[len(ordered) * 99 // 100]
        tally.errors, tally.served = dict(self._errors), dict(self._served)
        return tally


async def nothing(run: Run) -> None:
    """All is well: the baseline."""


async def kill(run: Run) -> None:
    """SIGKILL one; DNS drops it a second later."""
    run.hurt.add(address_of(0))
    run.service.signal(0, signal.SIGKILL)
    await asyncio.sleep(1.0)
    run.service.publish(range(1, 4))


async def stop(run: Run) -> None:
    """SIGSTOP one: it takes connections and requests, and answers none. DNS names it on."""
    run.hurt.add(address_of(0))
    run.service.signal(0, signal.SIGSTOP)


async def black_hole(run: Run) -> None:
    """No packet reaches one of them any more, or comes from it."""
    run.hurt.add(address_of(0))
    drops = f"ip daddr {address_of(0)} drop\nip saddr {address_of(0)} drop"
    _nft(f"table ip hole {{\nchain out {{\ntype filter hook output priority 0\n{drops}\n}}\n}}")


async def rolling(run: Run) -> None:
    """Restart them one after another: out of DNS and SIGTERM at once, back in DNS when it listens again."""
    for number in range(4):
        run.hurt.add(address_of(number))
        run.service.publish(other for other in range(4) if other != number)
        run.service.signal(number, signal.SIGTERM)
        await run.service.gone()
        run.service.launch(number)
        await asyncio.get_running_loop().run_in_executor(None, wait_for_port, (address_of(number), PORT))
        run.service.publish(range(4))
        await asyncio.sleep(run.seconds / 20)


async def scale(run: Run) -> None:
    """From 4 to 10, then to 3: removal from DNS and SIGTERM at the same instant."""
    for number in range(4, 10):
        run.service.launch(number)
    loop = asyncio.get_running_loop()
    for number in range(4, 10):
        await loop.run_in_executor(None, wait_for_port, (address_of(number), PORT))
    run.service.publish(range(10))
    await asyncio.sleep(run.seconds / 3)
    run.service.publish(range(3))
    for number in range(3, 10):
        run.hurt.add(address_of(number))
        run.service.signal(number, signal.SIGTERM)
    await run.service.gone()


SCENARIOS: dict[str, Callable[[Run], Awaitable[None]]] = {
    "nothing": nothing,
    "kill": kill,
    "stop": stop,
    "black-hole": black_hole,
    "rolling": rolling,
    "scale": scale,
}


KINDS = ("idempotent", "unsafe", "mixed")


def run_one(name: str, kind: str, seconds: float) -> Tally:
    """One scenario on a service of its own; again if the driver was late."""
    for _ in range(REPEATS_MOST):
        with tempfile.TemporaryDirectory() as directory:
            service = Service(Path(directory))
            try:
                service.start(4)
                tally = asyncio.run(Run(service, name, kind, seconds).go(SCENARIOS[name]))
            finally:
                service.close()
                _nft("delete table ip hole", may_fail=True)
        if tally.lag <= LAG_MOST:
            break
    return tally


def _what_is_open() -> list[str]:
    """Threads, inotify instances and other descriptors of this process, without the event loop's own."""
    gc.collect()
    found = [f"thread {thread.name}" for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
    for entry in sorted(os.listdir("/proc/self/fd"), key=int):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{entry}").partition(":")[0])
    return sorted(found)


def _nft(rules: str, may_fail: bool = False) -> None:
    path = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run(["nft", rules], env=path, check=not may_fail, capture_output=may_fail)


def _enter_namespace() -> int:
    """The same command in a network namespace of its own, whose loopback interface is up."""
    inner = ["sh", "-c", 'PATH="$PATH:/usr/sbin:/sbin"; ip link set lo up && exec "$@"', "sh"]
    command = ["unshare", "--user", "--map-root-user", "--net", *inner, sys.executable, "-m", "bench.client_real"]
    return subprocess.run([*command, *sys.argv[1:]], env={**os.environ, INSIDE: "1"}, check=False).returncode


def main() -> int:
    """Print a line for each run; the exit status says whether anything was lost that must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=["idempotent", "unsafe"])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--json", action="store_true", help="one line of JSON for each run")
    options = parser.parse_args()
    if INSIDE not in os.environ:
        return _enter_namespace()
    logging.getLogger("kdns.client").setLevel(logging.ERROR)
    if not options.json:
        print(machine_line())
        print("scenario    kind        calls  failed  lost  astray  twice  p50 ms  p99 ms  lag ms  left over, errors")
    is_bad = False
    for name in options.only:
        for kind in options.kind:
            tally = run_one(name, kind, options.seconds)
            is_bad |= tally.is_bad()
            print(json.dumps(asdict(tally)) if options.json else _line(tally), flush=True)
    return int(is_bad)


def _line(tally: Tally) -> str:
    return (
        f"{tally.scenario:11} {tally.kind:10} {tally.calls:6} {tally.failed:7} {tally.lost:5} {tally.astray:7} "
        f"{tally.twice:6} {tally.p50_ms:7.1f} {tally.p99_ms:7.1f} {1000 * tally.lag:7.0f}  "
        f"{tally.left_over or ''} {tally.errors or ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
