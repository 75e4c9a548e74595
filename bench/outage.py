"""What does kdns do to an API server that does not work, and to itself, while it stays so?

For an hour in which the clock is a number, the pure part alone is told of one failure after the other, and its
requests are counted. For some seconds of real time, kdns runs against a server that refuses connections, answers 500
or 403 to everything, or shows a certificate that is not trusted; its CPU, memory and requests are read.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench import peers, processes
from bench.stamps import judged, told
from bench.watchdata import Plan
from bench.watching import Layout, launched, process_name
from bench.watchserver import ApiProcess
from kdns.kube.backoff import FACTOR, FIRST_DELAY, MAX_DELAY
from kdns.kube.mirror import Mirror, resources_for
from kdns.kube.request import Failure, Fault, Request
from kdns.kube.schema import SchemaOptions

PLAN = Plan(services=100, endpoints=10)
HOUR = 3600.0
CPU_GOAL_PERCENT = 0.5  # of one core, above what kdns uses while nothing happens
GROWTH_GOAL_MB = 1.0
BEGINNING_SECONDS = 8.0  # the start, and the first failures, which come one after the other
_STEPS_MAX = 100_000  # of a simulated hour: more would be the very fault that is looked for
MB = 1e6

Tell = Callable[[Mirror, int, Request, float], None]


class Hour(NamedTuple):
    """A simulated hour: requests of all resources together, and the most that one of them made in any minute."""

    requests: int
    most_in_a_minute: int


def _failed(fault: Fault) -> Tell:
    def tell(mirror: Mirror, owner: int, request: Request, now: float) -> None:
        mirror.failed(owner, request.number, Failure(fault, fault.value), now)

    return tell


def _answered(status: int) -> Tell:
    def tell(mirror: Mirror, owner: int, request: Request, now: float) -> None:
        mirror.opened(owner, request.number, status, {}, now)
        mirror.received(owner, request.number, b'{"kind":"Status","status":"Failure","code":%d}' % status, now)
        mirror.ended(owner, request.number, now)

    return tell


FAILURES: dict[str, Tell] = {
    "refused": _failed(Fault.REFUSED),
    "500": _answered(500),
    "403": _answered(403),
    "TLS": _failed(Fault.TLS),
}


def requests_bound(seconds: float) -> int:
    """The most requests of one resource in so many seconds that the backoff allows, its jitter at the least."""
    now, delay, count = 0.0, FIRST_DELAY, 1
    while now + delay < seconds:
        now += delay
        delay = min(MAX_DELAY, delay * FACTOR)
        count += 1
    return count


def simulated(tell: Tell, seconds: float, seed: int) -> Hour:
    """Fail all requests for so long. Raises RuntimeError if there is no end of them."""
    options = SchemaOptions()
    mirror = Mirror(0, options, resources_for(options, ""), Random(seed), 0.0)
    asked: dict[int, int] = {}
    when: dict[int, deque[float]] = {}
    count = most = 0
    now = 0.0
    for _ in range(_STEPS_MAX):
        for owner, request in list(mirror.requests()):
            if request.due > now or asked.get(owner) == request.number:
                continue
            asked[owner] = request.number
            count += 1
            recent = when.setdefault(owner, deque())
            recent.append(now)
            while recent[0] <= now - 60:
                recent.popleft()
            most = max(most, len(recent))
            tell(mirror, owner, request, now)
        mirror.turn(now, 1)
        waiting = [request.due for owner, request in mirror.requests() if asked.get(owner) != request.number]
        now = max(min([mirror.wake_at, *waiting]), now)
        if now > seconds:
            return Hour(count, most)
    raise RuntimeError(f"more than {_STEPS_MAX} steps in {seconds:g} s")


class Seen(NamedTuple):
    """kdns for some seconds. requests: of all resources in a minute; None where nobody could count them."""

    cpu_percent: float
    control_percent: float
    requests: float | None
    growth_octets: int


def watched(kubeconfig: Path, layout: Layout, seconds: float, count: Callable[[], int | None]) -> Seen:
    """Run kdns and look at it."""
    with launched(kubeconfig, layout.server) as (server, _):
        time.sleep(BEGINNING_SECONDS)
        pids = server.pids()
        control = [pid for pid in pids if "control" in process_name(pid)]
        before, memory, asked = [_cpu_ns(pid) for pid in pids], processes.anonymous_octets(pids), count()
        control_before, since = sum(map(_cpu_ns, control)), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - since
        used, control_used = sum(map(_cpu_ns, pids)) - sum(before), sum(map(_cpu_ns, control)) - control_before
        growth, asked_since = processes.anonymous_octets(pids) - memory, count()
    requests = None if asked is None or asked_since is None else (asked_since - asked) * 60 / elapsed
    return Seen(used / elapsed / 1e7, control_used / elapsed / 1e7, requests, growth)


def _cpu_ns(pid: int) -> int:
    """CPU of a process, of threads that have ended too: in clock ticks, therefore."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * processes.TICK_NS


@contextmanager
def _refusing(api: ApiProcess, directory: Path) -> Iterator[Path]:
    """A kubeconfig of a port where nobody listens."""
    with socket.socket() as sock:  # bound, so that nobody else does
        sock.bind((peers.ADDRESS, 0))
        path = directory / "refused"
        path.write_text(api.kubeconfig.read_text().replace(f":{api.port}", f":{sock.getsockname()[1]}"))
        yield path


def run(layout: Layout, directory: Path, seconds: float) -> list[tuple[str, ...]]:
    """Measure; rows of a table."""
    found: list[tuple[str, ...]] = []
    resources = len(resources_for(SchemaOptions(), ""))
    bound = requests_bound(HOUR) * resources
    for name, tell in FAILURES.items():
        hour = simulated(tell, HOUR, seed=1)
        found.append(judged(f"{name}, a simulated hour: requests", hour.requests, bound, ""))
        found.append(told("  most of one resource in a minute", str(hour.most_in_a_minute)))
    with ApiProcess(PLAN, directory, layout.tester) as api, _refusing(api, directory) as refused:

        def connections() -> int:
            return api.statistics()["connections"]

        idle = watched(api.kubeconfig, layout, seconds, connections)
        found.append(told("nothing fails: CPU of all / of control", _cpu(idle)))
        found += _rows("refused", watched(refused, layout, seconds, lambda: None), idle)
        for status in (500, 403):
            api.behave(status=status)
            found += _rows(str(status), watched(api.kubeconfig, layout, seconds, connections), idle)
        found += _rows("TLS", watched(api.foreign_kubeconfig, layout, seconds, connections), idle)
    return found


def _rows(name: str, seen: Seen, idle: Seen) -> Iterator[tuple[str, ...]]:
    above = max(0.0, seen.cpu_percent - idle.cpu_percent)
    yield judged(f"{name}: CPU above idle", above, CPU_GOAL_PERCENT, "% of a core")
    yield told("  CPU of all / of control", _cpu(seen))
    if seen.requests is not None:
        yield told("  connections a minute", f"{seen.requests:.0f}")
    yield judged("  memory grows by", seen.growth_octets / MB, GROWTH_GOAL_MB, "MB")


def _cpu(seen: Seen) -> str:
    return f"{seen.cpu_percent:.2f} / {seen.control_percent:.2f} % of a core"
