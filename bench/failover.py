"""What does a client notice when one of two upstreams dies, and when it comes back?

200 names a second that nobody asked before, while one upstream is alive, silent (stopped, its socket still bound) or
gone (connection refused), and alive again; with each policy of `forward`. The addresses say which upstream answered.
README.md says what the rows mean.

    python -m bench.failover [--policies random sequential] [--deaths silent gone]
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench import forwarders, outside, peers
from bench.inputs import Inputs
from bench.processes import machine_line
from bench.report import table
from bench.stamps import Latencies, judged, told
from bench.wire import TYPES, encode_query, parse_reply

RATE = 200.0
POLICIES = ("random", "round_robin", "sequential")
SHIFT = 1 << 16  # by which the addresses of the upstream that dies are told from the others
ALIVE_SECONDS = 2.0
FIRST_SECONDS = 2.0  # in which the death may be noticed
LATER_SECONDS = 3.0
REVIVED_SECONDS = 3.0
PATIENCE_SECONDS = 5.0  # for the last replies: what resolvers have
ADDED_GOAL_MS = 250.0
REVIVAL_GOAL_SECONDS = 2.0
# Waiting for an upstream that does not answer takes 50 ms at least before kdns asks the next one. What takes less has
# been held up by the machine.
PAID_MS = 45.0
BUCKETS_MS = (0, 5, PAID_MS, 100, 250, 1000, 10_000)


@dataclass(slots=True)
class Asked:
    """One question. at, answered: monotonic seconds; answered is None if nobody has. shift: see `outside.unique`."""

    number: int
    at: float
    answered: float | None = None
    shift: int = 0
    is_right: bool = False

    @property
    def ms(self) -> float:
        """How long the answer took; as long as anybody waited if there was none."""
        return ((self.answered or self.at + PATIENCE_SECONDS) - self.at) * 1e3


class Event(NamedTuple):
    """Something that happens so many seconds after the beginning."""

    after: float
    what: Callable[[], None]


@dataclass(slots=True)
class Asker:
    """Asks names that nobody asked before, RATE times a second, whatever becomes of the questions before."""

    port: int
    count: int = 0
    _waiting: dict[int, Asked] = field(default_factory=dict)

    def run(self, seconds: float, events: Sequence[Event]) -> list[Asked]:
        """Ask for so long; the events happen in between."""
        asked, events = [], list(events)
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect((peers.ADDRESS, self.port))
            began = due = time.monotonic()
            while due < began + seconds:
                self._hear(sock, due)
                while events and time.monotonic() - began >= events[0].after:
                    events.pop(0).what()
                asked.append(self._ask(sock))
                due += 1 / RATE
            end = time.monotonic() + PATIENCE_SECONDS
            while self._waiting and time.monotonic() < end:
                self._hear(sock, min(end, time.monotonic() + 1 / RATE))
        self._waiting.clear()
        return asked

    def _ask(self, sock: socket.socket) -> Asked:
        self.count += 1
        name = _question(self.count).name
        one = Asked(self.count, time.monotonic())
        self._waiting[self.count & 0xFFFF] = one
        sock.send(encode_query(name, "A", self.count & 0xFFFF))
        return one

    def _hear(self, sock: socket.socket, until: float) -> None:
        while select.select([sock], [], [], max(0.0, until - time.monotonic()))[0]:
            message = sock.recv(4096)
            one = self._waiting.pop(int.from_bytes(message[:2], "big"), None)
            if one is not None:
                one.answered = time.monotonic()
                one.is_right, one.shift = judge(one.number, message)


def _question(number: int, shift: int = 0) -> outside.Expected:
    return outside.unique(number % outside.WILDCARDS, f"q{number}", shift)


def judge(number: int, message: bytes) -> tuple[bool, int]:
    """Whether this answers that question as one of the upstreams does, and by how much the address is shifted."""
    reply = parse_reply(message)
    addresses = [rdata for _, rtype, rdata in reply.answer if rtype == TYPES["A"]]
    for shift in (0, SHIFT):
        if reply.rcode == 0 and addresses == [socket.inet_aton(_question(number, shift).answer)]:
            return True, shift
    return False, 0


class Mortal:
    """An upstream that can die in two ways, and come back on the same port."""

    def __init__(self, directory: Path, inputs: Inputs, cores: Sequence[int]) -> None:
        self.port = port = peers.free_port()
        self._start: Callable[[], peers.Server] = partial(
            peers.launch, peers.nsd(is_minimal=True), directory, port, inputs, cores
        )
        self._server = self._start()
        self._server.wait_ready(time.monotonic(), inputs.zone_files)

    def fall_silent(self) -> None:
        """Its socket stays bound, but nobody reads."""
        self._server.signal(signal.SIGSTOP)

    def speak(self) -> None:
        """After `fall_silent`."""
        self._server.signal(signal.SIGCONT)

    def vanish(self) -> None:
        """Nobody listens on its port."""
        self._server.kill()

    def appear(self) -> None:
        """After `vanish`."""
        self._server = self._start()

    def stop(self) -> None:
        """For good."""
        self._server.kill()


DEATHS: dict[str, tuple[Callable[[Mortal], None], Callable[[Mortal], None]]] = {
    "silent": (Mortal.fall_silent, Mortal.speak),
    "gone": (Mortal.vanish, Mortal.appear),
}


def run(policy: str, deaths: Sequence[str], cores: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Let the first upstream die in these ways, one after the other; rows of a table."""
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="kdns-bench-failover-"))
        mortal = Mortal(_home(Path(made), "first"), _zone(Path(made), SHIFT), cores[1:])
        stack.callback(mortal.stop)
        inputs = _zone(Path(made), 0)
        living = stack.enter_context(peers.running(peers.nsd(is_minimal=True), inputs, cores[1:]))
        upstreams = [f"{peers.ADDRESS}:{port}" for port in (mortal.port, living.port)]
        peer = forwarders.kdns(upstreams, f"policy {policy}")
        asker = Asker(stack.enter_context(peers.running(peer, inputs, cores[:1])).port)
        asker.run(1.0, ())  # until the round-trip times are known
        for death in deaths:
            die, revive = DEATHS[death]
            events = (
                Event(ALIVE_SECONDS, partial(die, mortal)),
                Event(ALIVE_SECONDS + FIRST_SECONDS + LATER_SECONDS, partial(revive, mortal)),
            )
            total = ALIVE_SECONDS + FIRST_SECONDS + LATER_SECONDS + REVIVED_SECONDS
            yield from rows(f"{policy}, {death}", asker.run(total, events))
        mortal.fall_silent()
        # Ready when it answers for the cluster: what is asked of the upstreams meanwhile would be a warning.
        unwarned = replace(inputs, zone_files={"cluster.local": Path(made)})
        asker.port = stack.enter_context(peers.running(peer, unwarned, cores[:1])).port
        yield from rows_of_start(f"{policy}, silent before kdns starts", asker.run(FIRST_SECONDS + LATER_SECONDS, ()))


def _home(directory: Path, name: str) -> Path:
    home = directory / name
    home.mkdir()
    return home


def _zone(directory: Path, shift: int) -> Inputs:
    zone = outside.write_zone(directory / f"zone-{shift}", shift)
    return Inputs(directory / "unused", {outside.ZONE: zone}, directory / "unused")


def rows(what: str, asked: Sequence[Asked]) -> Iterator[tuple[str, ...]]:
    """The table of one death."""
    began, ends = asked[0].at, list[float]()
    phases: list[list[Asked]] = []
    for seconds in (ALIVE_SECONDS, FIRST_SECONDS, LATER_SECONDS, REVIVED_SECONDS):
        ends.append((ends[-1] if ends else began) + seconds)
        phases.append([one for one in asked if ends[-1] - seconds <= one.at < ends[-1]])
    alive, first, later, revived = phases
    usual = Latencies.of([round(one.ms * 1e6) for one in alive])
    found = Latencies.of([round(one.ms * 1e6) for one in first])
    paid = [one.at - ends[0] for one in first + later if one.ms >= PAID_MS]
    yield judged(f"{what}: p99 of the first {FIRST_SECONDS:g} s above the usual", found.p99_ms - usual.p50_ms,
                 ADDED_GOAL_MS, "ms")  # fmt: skip
    yield told("  usual p50 / p99 / max", f"{usual.p50_ms:.2f} / {usual.p99_ms:.2f} / {usual.max_ms:.2f} ms")
    yield told(f"  first {FIRST_SECONDS:g} s", histogram(first))
    yield told("  then", histogram(later))
    yield told("  who paid at all: so many, the last after", f"{len(paid)}, {max(paid, default=0.0):.2f} s")
    yield judged("  paid later", sum(one.ms >= PAID_MS for one in later), sum(one.ms >= PAID_MS for one in alive), "")
    yield judged("  without an answer", sum(one.answered is None for one in asked), 0, "")
    yield judged("  wrong", sum(one.answered is not None and not one.is_right for one in asked), 0, "")
    back = [one.at - ends[2] for one in revived if one.is_right and one.shift]
    yield judged("  back: asked again after", min(back, default=REVIVED_SECONDS), REVIVAL_GOAL_SECONDS, "s")
    yield judged("  paid then", sum(one.ms >= PAID_MS for one in revived), 0, "")


def rows_of_start(what: str, asked: Sequence[Asked]) -> Iterator[tuple[str, ...]]:
    """The table of a kdns that was started while the first upstream was silent."""
    first = [one for one in asked if one.at < asked[0].at + FIRST_SECONDS]
    later = asked[len(first) :]
    usual, found = (Latencies.of([round(one.ms * 1e6) for one in part]) for part in (later, first))
    added = found.p99_ms - usual.p50_ms
    yield judged(f"{what}: p99 of the first {FIRST_SECONDS:g} s above the usual", added, ADDED_GOAL_MS, "ms")
    yield told(f"  first {FIRST_SECONDS:g} s", histogram(first))
    yield told("  then", histogram(later))
    yield judged("  paid later", sum(one.ms >= PAID_MS for one in later), 0, "")
    yield judged("  without an answer, or wrong", sum(not one.is_right for one in asked), 0, "")


def histogram(asked: Sequence[Asked]) -> str:
    """How many took how long, and the longest."""
    counts = [
        (f"{low:g}-{high:g} ms", sum(low <= one.ms < high for one in asked)) for low, high in pairwise(BUCKETS_MS)
    ]
    longest = max((one.ms for one in asked), default=0.0)
    return ", ".join(f"{name}: {count}" for name, count in counts if count) + f"; max {longest:.1f} ms"


def main() -> int:
    options = _options()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2 or not peers.which("nsd"):
        print("needed are two cores, one for kdns, one for upstreams and client, and NSD", file=sys.stderr)
        return 2
    print(machine_line())
    print(f"{RATE:.0f} unique names a second, two upstreams; load average {os.getloadavg()[0]:.2f}")
    is_met = True
    for policy in options.policies:
        found = list(run(policy, options.deaths, cores))
        print(f"\n{table([('', 'measured', 'goal', ''), *found])}", flush=True)
        is_met = is_met and all(row[3] != "MISSED" for row in found)
    return 0 if is_met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a dead upstream costs a client, once and later.")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES, metavar="POLICY")
    parser.add_argument("--deaths", nargs="+", choices=list(DEATHS), default=list(DEATHS), metavar="DEATH")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
