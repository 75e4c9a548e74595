"""What does a name outside the cluster cost kdns, from its cache and from an upstream? And NSD, Unbound, dnsmasq?

The upstream is NSD on the core of the load driver, and its CPU is not counted. The yardstick is another NSD, on the
core of the forwarders, which is asked the same questions about the same zone of its own. README.md says more.

    python -m bench.forward [--quick] [--only hits-saturation misses-1000] [--seconds 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from bench import forwarders, outside, peers
from bench.driver import Options, build_driver, measure
from bench.inputs import Inputs
from bench.processes import machine_line
from bench.report import Series, comparison, table
from bench.stamps import judged

FULL: Options = {"edns": 70, "cookie": 30, "x20": 50}  # as bench.serve's full mix
UNIQUE: Options = {"miss": 100}  # a label of its own below a wildcard, so that nobody has it in a cache
VARIANT = "full"
YARDSTICK = "nsd"
OURS = "kdns"
HITS, MISSES = "hits", "misses"
WARM_UP: dict[str, Options] = {
    HITS: {"seconds": 20, "count": 8 * outside.HOSTS},
    # Other names than those that are measured; until the upstream's round-trip time is known, too.
    MISSES: {"seconds": 20, "count": 4000, "seed": 10_001},
}


class Scenario(NamedTuple):
    """What is measured. goal: CPU per query over that of NSD."""

    kind: str
    load: Options
    goal: float


SCENARIOS = {
    "hits-saturation": Scenario(HITS, FULL, 2.2),
    "hits-1000": Scenario(HITS, FULL | {"rate": 1_000}, 2.2),
    "misses-saturation": Scenario(MISSES, FULL | UNIQUE, 7.0),
    "misses-1000": Scenario(MISSES, FULL | UNIQUE | {"rate": 1_000}, 7.0),
}


class Stage(NamedTuple):
    """What has been started: the servers that are compared, the yardstick last; and the files of questions."""

    servers: list[peers.Server]
    questions: dict[str, Path]
    driver_cores: Sequence[int]


def main() -> int:
    options = _options()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2 or not peers.which("nsd"):
        print("needed are two cores, one for the servers, one for upstream and driver, and NSD", file=sys.stderr)
        return 2
    print(machine_line())
    build_driver()
    with tempfile.TemporaryDirectory(prefix="kdns-bench-forward-") as directory, ExitStack() as stack:
        stage = _stage(Path(directory), stack, cores, options.servers)
        found = [_measure(name, stage, options) for name in options.only]
    rows = [row for group in found for row in verdicts(group)]
    if rows:
        print(f"\n{table([('', 'measured', 'goal', ''), *rows])}")
    if options.json:
        record = {"machine": machine_line(), "series": [asdict(one) for group in found for one in group]}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if any(row[3] == "MISSED" for row in rows) else 0


def _stage(directory: Path, stack: ExitStack, cores: Sequence[int], names: Sequence[str] | None) -> Stage:
    """Start everything; the upstream and its askers share a core."""
    zone = outside.write_zone(directory / "zone")
    questions = {
        HITS: outside.write_questions(directory / HITS, map(outside.host, range(outside.HOSTS))),
        MISSES: outside.write_questions(directory / MISSES, map(outside.unique, range(outside.WILDCARDS))),
    }
    inputs = Inputs(directory / "unused", {outside.ZONE: zone}, questions[HITS])
    # A resolver's answers have no NS records beside them, and it is resolvers that are forwarded to.
    upstream = stack.enter_context(peers.running(peers.nsd(is_minimal=True), inputs, cores[1:]))
    kinds, missing = forwarders.available(f"{peers.ADDRESS}:{upstream.port}")
    kinds = [peer for peer in kinds if not names or peer.name in names] + [peers.nsd()]
    print("; ".join(f"{peer.name}: {peer.version_line()}" for peer in kinds))
    print("".join(f"{line}\n" for line in missing if not names), end="")
    servers = [stack.enter_context(peers.running(peer, inputs, cores[:1])) for peer in kinds]
    return Stage(servers, questions, cores[1:])


def _measure(name: str, stage: Stage, options: argparse.Namespace) -> list[Series]:
    scenario = SCENARIOS[name]
    queries = stage.questions[scenario.kind]
    group = [Series(name, VARIANT, server.name) for server in stage.servers]
    for server in stage.servers:
        measure(server, queries, stage.driver_cores, scenario.load | {"rate": 0} | WARM_UP[scenario.kind])
    for _ in range(options.rounds):
        limits: Options = {"seconds": options.seconds, "seed": options.seed}
        options.seed += 1  # no name ever comes twice
        for series, server in zip(group, stage.servers, strict=True):
            series.rounds.append(measure(server, queries, stage.driver_cores, scenario.load | limits))
    print(comparison(group, (YARDSTICK,)), flush=True)
    return group


def verdicts(group: Sequence[Series]) -> Iterator[tuple[str, ...]]:
    """What the goals say of one scenario; nothing if kdns or the yardstick did not take part."""
    by_name = {one.server: one for one in group}
    if OURS not in by_name or YARDSTICK not in by_name:
        return
    ours, name = by_name[OURS], group[0].scenario
    yield judged(f"{name}: CPU per query over NSD's", ours.ratio(by_name[YARDSTICK]), SCENARIOS[name].goal, "x")
    yield judged("  replies lost, or SERVFAIL", ours.total("lost"), 0, "")
    yield judged("  replies wrong", ours.total("wrong"), 0, "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU per query for names outside, of kdns and other forwarders.")
    parser.add_argument("--quick", action="store_true", help="one second each")
    parser.add_argument("--seconds", type=float, help="of each measurement (default 4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    names = list(SCENARIOS)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SCENARIO", help=" ".join(names))
    parser.add_argument(
        "--servers", nargs="+", metavar="SERVER", help="kdns unbound dnsmasq coredns (default: all there are)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every measurement there")
    options = parser.parse_args()
    options.seconds = options.seconds or (1.0 if options.quick else 4.0)
    return options


if __name__ == "__main__":
    sys.exit(main())
