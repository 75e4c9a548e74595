"""Two kdns at half load, for minutes, while every few seconds one thing is restarted: is anything lost, or wrong?

Restarted are in turn both kdns, both upstreams and the API server, politely and by SIGKILL. Meanwhile a stub resolver
with both kdns as its servers asks for names of the cluster, some of which change, names outside and names that do not
exist, and judges every answer; and load drivers ask both kdns. README.md says what the rows mean.

    python -m bench.endurance [--seconds 600] [--every 10] [--load 0.5] [--rate 300]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from bench import outside, truth
from bench.aftermath import NOT_JUDGED, Event, Load, Seen, Span, report
from bench.driver import Options, build_driver, run_driver
from bench.peers import which
from bench.processes import Neighbours, machine_line
from bench.report import table
from bench.site import KDNS_ADDRESSES, Site
from bench.stub import resolve
from bench.truth import Verdict

DOWN_SECONDS = 1.0  # between the end of something and its start
FIRST_EVENT_SECONDS = 3.0
CHANGES_RATE = 2.0  # a second
SECONDS_MAX = 3600.0
SATURATION_SECONDS = 3.0
DRIVER: Options = {"edns": 70, "cookie": 30, "x20": 50, "patient": 1}
DRIVER_LINES = 100_000
UNDER_WAY_MAX = 2_000  # resolutions; more would be a machine that does not keep up
BUSY_PERCENT = 50.0  # of a core, which others use: more, and what is late may be so because of them
COMPLAINTS = ("[ERROR]", "[WARNING]")
COMPLAINTS_MAX = 20
PATIENCE_SECONDS = 15.0  # for the last resolutions


@dataclass(slots=True)
class Run:
    """What happens during one run, and what has been seen."""

    site: Site
    rng: random.Random
    ends: float
    events: list[Event] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    changes: int = 0
    others: list[float] = field(default_factory=list)  # percent of a core that others used, by second
    busy: list[Span] = field(default_factory=list)  # when that was much
    left_out: int = 0  # resolutions that were due while too many were under way

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.ends - time.monotonic()

    async def ask(self, rate: float) -> None:
        """Resolve names at this rate, whatever becomes of those before."""
        servers = [(one.address, one.port) for one in self.site.kdns]
        under_way: set[asyncio.Task[None]] = set()
        began, turn = time.monotonic(), 0
        while self.left > 0:
            await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
            turn += 1
            if len(under_way) >= UNDER_WAY_MAX:
                self.left_out += 1
                continue
            # Half of the pods have the servers in the other order.
            task = asyncio.create_task(self._resolve(turn, servers[:: 1 if turn & 1 else -1]))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.wait_for(asyncio.gather(*under_way), PATIENCE_SECONDS)

    async def _resolve(self, turn: int, servers: list[tuple[str, int]]) -> None:
        question = truth.draw(self.rng, turn)
        found = await resolve(question.name, servers)
        judgement = None
        if found.message is not None:
            answered = found.at + found.seconds
            judgement = truth.judge(question, found.message, found.attempts[-1].at, answered, self.site.changes)
            if judgement.verdict is Verdict.RIGHT:  # in ten minutes they would come to a gigabyte
                found = found._replace(message=None)
        self.seen.append(Seen(question, found, judgement))

    async def look_around(self) -> None:
        """How much of the machine others use, each second."""
        neighbours = Neighbours()
        while self.left > 0:
            began = time.monotonic()
            await asyncio.sleep(1.0)
            percent = neighbours.percent()
            self.others.append(percent)
            if percent > BUSY_PERCENT:
                self.busy.append(Span(began, time.monotonic()))

    async def change(self) -> None:
        """Give names other addresses."""
        while self.left > 0:
            await asyncio.sleep(self.rng.expovariate(CHANGES_RATE))
            number = self.rng.randrange(truth.CHANGING)
            self.changes += await asyncio.to_thread(self.site.api.change, number)

    async def restart(self, every: float) -> None:
        """Restart one thing after the other."""
        began, victims = time.monotonic(), self.site.victims
        for turn in range(int(SECONDS_MAX)):
            await asyncio.sleep(max(0.0, began + FIRST_EVENT_SECONDS + turn * every - time.monotonic()))
            if self.left < every / 2:
                return
            victim, is_kill = victims[turn % len(victims)], bool(turn % 2)
            event = Event(victim.name, is_kill, time.monotonic(), victim.asked_at)
            self.events.append(event)
            await asyncio.to_thread(victim.end, is_kill)
            event.down = time.monotonic()
            await asyncio.sleep(DOWN_SECONDS)
            await asyncio.to_thread(victim.start)
            event.ended = time.monotonic()

    async def load(self, at: int, queries: Path, rate: int, every: float) -> None:
        """Have a driver ask one kdns, a new one every so many seconds."""
        kdns, seed = self.site.kdns[at], 1
        while self.left > 2.0:
            seconds = min(every, self.left - 1.0)
            options = DRIVER | {"address": kdns.address, "rate": rate, "seconds": seconds, "seed": 2 * seed + at}
            began = time.monotonic()
            result = await _driver(kdns.port, queries, options)
            self.loads.append(Load(kdns.name, began, time.monotonic(), result))
            seed += 1


async def _driver(port: int, queries: Path, options: Options) -> dict[str, Any]:
    """As run_driver; it is ended if we are."""
    return await asyncio.to_thread(run_driver, port, queries, sorted(os.sched_getaffinity(0)), options)


def driver_questions(rng: random.Random) -> Iterator[outside.Expected]:
    """What the drivers ask: as `truth.draw`, without the names that change."""
    for turn in range(DRIVER_LINES):
        question = truth.draw(rng, -turn)
        if question.answer:
            yield outside.Expected(question.name, question.answer)


def saturation(site: Site, queries: Path) -> float:
    """Queries/s that one kdns can answer of this mix."""
    kdns = site.kdns[0]
    options = DRIVER | {"address": kdns.address, "seconds": SATURATION_SECONDS}
    cores = sorted(os.sched_getaffinity(0))
    run_driver(kdns.port, queries, cores, options)  # what comes again is kept then
    return float(run_driver(kdns.port, queries, cores, options | {"seed": 2})["qps"])


async def _run(run: Run, queries: Path, load: int, options: argparse.Namespace) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(run.ask(options.rate))
        group.create_task(run.change())
        group.create_task(run.look_around())
        group.create_task(run.restart(options.every))
        for at in range(len(KDNS_ADDRESSES)) if load else ():
            group.create_task(run.load(at, queries, load, options.every))


def main() -> int:
    options = _options()
    if not which("nsd"):
        print("needed is NSD, as upstream", file=sys.stderr)
        return 2
    print(machine_line())
    build_driver()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kdns-bench-endurance-") as made:
        directory = Path(made)
        queries = outside.write_questions(directory / "queries", driver_questions(rng))
        with Site(directory, sorted(os.sched_getaffinity(0))) as site:
            most = saturation(site, queries)
            load = int(most * options.load / len(KDNS_ADDRESSES))
            print(f"one kdns answers {most:,.0f}/s; each is asked {load:,}/s by a driver; the stub resolves "
                  f"{options.rate:.0f} names/s, {options.seconds:.0f} s; load average {os.getloadavg()[0]:.2f}",
                  flush=True)  # fmt: skip
            run = Run(site, rng, time.monotonic() + options.seconds)
            with suppress(KeyboardInterrupt):
                asyncio.run(_run(run, queries, load, options))
            status = _print(run)
            for kdns in site.kdns:
                print(f"\n{kdns.name} said:\n{complaints(kdns.log)}")
    return status


def _print(run: Run) -> int:
    found = report(run.seen, run.events, run.loads, run.busy, len(run.others))
    print(f"\n{table([('', 'measured', 'goal', ''), *found.rows])}")
    print(f"\n{table(found.causes)}")
    for line in found.examples:
        print(line)
    print(f"\n{run.changes} changes of addresses; {run.left_out} resolutions not begun, as the machine was behind;"
          f" others used {mean(run.others):.0f} % of a core, and more than {BUSY_PERCENT:.0f} % in {len(run.busy)} of"
          f" {len(run.others)} seconds")  # fmt: skip
    verdicts = {row[3] for row in found.rows}
    verdict = next((one for one in ("MISSED", NOT_JUDGED) if one in verdicts), "OK")
    print(f"verdict: {verdict}")
    return 0 if verdict == "OK" else 1


def complaints(log: Path) -> str:
    """What a server logged that is no mere information: each kind once, with how often."""
    found = Counter(
        re.sub(r"\d+", "N", line.partition("] ")[2])
        for line in log.read_text(errors="replace").splitlines()
        if line.startswith(COMPLAINTS)
    )
    return "\n".join(f"{count:6} x {line}" for line, count in found.most_common(COMPLAINTS_MAX)) or "no complaints"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Half load and a restart every few seconds: lost or wrong names.")
    parser.add_argument("--seconds", type=float, default=600.0, help=f"at most {SECONDS_MAX:g}")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between restarts")
    parser.add_argument("--load", type=float, default=0.5, help="of the drivers: share of what one kdns can do")
    parser.add_argument("--rate", type=float, default=300.0, help="names that the stub resolves, a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.seconds = min(options.seconds, SECONDS_MAX)
    return options


if __name__ == "__main__":
    sys.exit(main())
