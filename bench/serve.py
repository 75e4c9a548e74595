"""How much CPU does a query cost kdns, and how much NSD, Knot and CoreDNS? `make bench` runs this.

All servers run at the same time, pinned to one core, and are asked in turn from another core; rounds are
interleaved, so that a change of the machine's speed meets all of them. README.md says what the columns
mean.

    python -m bench.serve [--quick] [--only udp-saturation] [--variants full,plain] [--seconds 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from bench import peers
from bench.agree import disagreements
from bench.driver import Options, build_driver, measure
from bench.inputs import Inputs, add_size_options, prepare, size_from
from bench.processes import machine_line
from bench.report import Series, comparison, find

VARIANTS: dict[str, Options] = {
    "full": {"edns": 70, "cookie": 30, "x20": 50, "miss": 10},
    "plain": {"miss": 10},
    "edns": {"edns": 100, "miss": 10},
    "x20": {"x20": 100, "miss": 10},
    "cookie": {"cookie": 100, "miss": 10},
}
FIRST_PASS = "first-pass"
TWO_WORKERS = "two-workers"
SCENARIOS: dict[str, Options] = {
    FIRST_PASS: {},
    "udp-saturation": {},
    "udp-10000": {"rate": 10_000},
    "udp-1000": {"rate": 1_000},
    "tcp-saturation": {"proto": "tcp"},
    "tcp-10000": {"proto": "tcp", "rate": 10_000},
    "tcp-1000": {"proto": "tcp", "rate": 1_000},
}
EVERY_VARIANT_IN = "udp-saturation"  # elsewhere the full mix alone, unless --variants names more
TWO_WORKERS_SCENARIOS: dict[str, Options] = {
    # SO_REUSEPORT spreads sockets, not queries: many of them, so that both workers get about half.
    "two-workers-saturation": {"sockets": 32, "window": 4},
    "two-workers-10000": {"sockets": 32, "rate": 10_000},
}
WARM_UP_PASSES = 4  # forms (with OPT or without) are drawn: nearly every question comes in each of them
AGREE_QUESTIONS = 300
AGREE_SHOWN = 10
GOAL, LEAST = 1.0, 1.5  # CPU per query of kdns over NSD's, full mix at saturation


def main() -> int:
    options = _options()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        print("two cores are needed: one for the server, one for the driver", file=sys.stderr)
        return 2
    kinds = [peer for peer in peers.available() if not options.servers or peer.name in options.servers]
    print(machine_line())
    print("; ".join(f"{peer.name}: {peer.version_line()}" for peer in kinds))
    build_driver()
    _note("making the cluster, unless it is there")
    inputs = prepare(size_from(options), options.skew)
    found = list(_compare(kinds, inputs, cores, options))
    if TWO_WORKERS in options.only:
        found += _two_workers(kinds, inputs, cores, options)
    _print_goal(found)
    if options.json:
        record = {"machine": machine_line(), "series": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if any(series.total("wrong") for series in found) else 0


def _compare(
    kinds: Sequence[peers.Peer], inputs: Inputs, cores: Sequence[int], options: argparse.Namespace
) -> Iterator[Series]:
    """Measure every scenario on all servers in turn, printing each table as it is done."""
    with ExitStack() as stack:
        servers = []
        for peer in kinds:
            _note(f"starting {peer.name}")
            servers.append(stack.enter_context(peers.running(peer, inputs, cores[:1])))
        _print_agreement(servers, inputs.queries)
        for scenario, variant in _runs(options):
            group = [Series(scenario, variant, server.name) for server in servers]
            yield from _measure_group(group, servers, inputs, cores[1:], options)


def _measure_group(
    group: list[Series],
    servers: Sequence[peers.Server],
    inputs: Inputs,
    driver_cores: Sequence[int],
    options: argparse.Namespace,
) -> list[Series]:
    scenario, variant = group[0].scenario, group[0].variant
    load = VARIANTS[variant] | (SCENARIOS | TWO_WORKERS_SCENARIOS)[scenario]
    rounds, limits = options.rounds, {"seconds": options.seconds}
    if scenario == FIRST_PASS:  # each question once, and only the first time is the first
        rounds, limits = 1, {"seconds": 60, "count": _line_count(inputs.queries)}
    else:
        _warm_up(load, servers, inputs, driver_cores)
    for number in range(rounds):
        for series, server in zip(group, servers, strict=True):
            _note(f"{scenario} {variant} {series.server} {number + 1}/{rounds}")
            # The same queries for every server in a round, other ones (and other unknown names) in the next.
            seed = {"seed": options.seed + number}
            series.rounds.append(measure(server, inputs.queries, driver_cores, load | limits | seed))
    print(comparison(group), flush=True)
    return group


def _warm_up(
    load: Options, servers: Sequence[peers.Server], inputs: Inputs, driver_cores: Sequence[int]
) -> None:
    """Ask everything in every form, unmeasured: what a first question costs is a scenario of its own."""
    limits = {"seconds": 30, "count": WARM_UP_PASSES * _line_count(inputs.queries), "rate": 0}
    for server in servers:
        _note(f"warming up {server.name}")
        measure(server, inputs.queries, driver_cores, load | limits)


def _runs(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for scenario in SCENARIOS:
        default = list(VARIANTS) if scenario == EVERY_VARIANT_IN and not options.quick else ["full"]
        for variant in (options.variants or default) if scenario != FIRST_PASS else ["plain"]:
            if scenario in options.only:
                yield scenario, variant


def _two_workers(
    kinds: Sequence[peers.Peer], inputs: Inputs, cores: Sequence[int], options: argparse.Namespace
) -> list[Series]:
    """One worker and two, both on both cores, which they share with the driver; NSD shows what is usual."""
    names = {peer.name for peer in kinds}
    with ExitStack() as stack:
        servers = []
        for make in [make for make in (peers.kdns, peers.nsd) if make().name in names]:
            for workers in (1, 2):
                _note(f"starting {make(workers).name}")
                servers.append(stack.enter_context(peers.running(make(workers), inputs, cores)))
        found: list[Series] = []
        for scenario in TWO_WORKERS_SCENARIOS if servers else ():
            group = [Series(scenario, "full", server.name) for server in servers]
            found += _measure_group(group, servers, inputs, cores, options)
            for one, two in zip(group[::2], group[1::2], strict=True):
                print(f"{two.server} needs {two.ratio(one):.2f} times the CPU per query of {one.server}")
    return found


def _print_agreement(servers: Sequence[peers.Server], queries: Path) -> None:
    with queries.open() as lines:
        questions = [(line.split()[0], line.split()[1]) for line in islice(lines, AGREE_QUESTIONS)]
    if len(servers) < 2:
        return
    found = disagreements(servers, questions)
    print(f"{len(questions)} questions to all servers, {len(found)} answers differ from {servers[-1].name}'s")
    for line in found[:AGREE_SHOWN]:
        print(f"  {line}")


def _print_goal(found: Sequence[Series]) -> None:
    ours, nsd = (find(found, EVERY_VARIANT_IN, "full", name) for name in ("kdns", "nsd"))
    if ours and nsd:
        print(f"\nkdns needs {ours.ratio(nsd):.2f} times NSD's CPU per query (goal {GOAL}, at most {LEAST})")


def _line_count(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _note(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU per query of kdns, NSD, Knot and CoreDNS.")
    every = [*SCENARIOS, TWO_WORKERS]
    parser.add_argument("--quick", action="store_true", help="one second each, and the full mix alone")
    parser.add_argument("--seconds", type=float, help="of each measurement (default 4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="SCENARIO", help=" ".join(every))
    variants = list(VARIANTS)
    parser.add_argument("--variants", nargs="+", choices=variants, metavar="VARIANT", help=" ".join(variants))
    parser.add_argument(
        "--servers", nargs="+", metavar="SERVER", help="kdns nsd knot coredns (default: all there are)"
    )
    parser.add_argument(
        "--skew", type=float, default=0.0, help="weight of the n-th service: n**-skew (default 0: even)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every measurement there")
    add_size_options(parser)
    options = parser.parse_args()
    options.seconds = options.seconds or (1.0 if options.quick else 4.0)
    return options


if __name__ == "__main__":
    sys.exit(main())
