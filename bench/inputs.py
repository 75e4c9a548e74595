"""The files that a benchmark run needs: the dump, the zone files and the queries of one cluster, made once
and kept.

They lie in bench/out/, in a directory named by the cluster's size, and are made anew when a generator
changed since.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import Size, build
from bench.dump import write_dump
from bench.queries import write_queries
from bench.zonefiles import ZONES, write_zone_files

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
GENERATORS = ("cluster.py", "dump.py", "zonefiles.py", "queries.py")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The same records, as each server reads them, and what is asked about them."""

    dump: Path
    zone_files: dict[str, Path]
    queries: Path


def prepare(size: Size, skew: float = 0.0) -> Inputs:
    """The inputs for a cluster of this size, made if they are missing or older than what makes them."""
    directory = OUT / f"cluster-{size.namespaces}-{size.services}-{size.endpoints}-{size.seed}"
    queries = directory / f"queries-{skew:g}.txt"
    zone_files = {zone: directory / "zones" / f"{zone}.zone" for zone in ZONES}
    inputs = Inputs(directory / "dump.json", zone_files, queries)
    # The queries are written last: where they are there and new, all the rest is.
    newest = max((HERE / name).stat().st_mtime for name in GENERATORS)
    if queries.exists() and queries.stat().st_mtime > newest:
        return inputs
    cluster = build(size)
    write_zone_files(cluster, directory / "zones")
    with inputs.dump.open("w", encoding="ascii") as out:
        write_dump(cluster, out)
    write_queries(cluster, queries, seed=size.seed, skew=skew)
    return inputs


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """The options that make up a `Size`."""
    default = Size()
    parser.add_argument("--namespaces", type=int, default=default.namespaces)
    parser.add_argument("--services", type=int, default=default.services)
    parser.add_argument("--endpoints", type=int, default=default.endpoints)
    parser.add_argument("--seed", type=int, default=default.seed)


def size_from(options: argparse.Namespace) -> Size:
    """The `Size` that the options ask for."""
    return Size(
        namespaces=min(options.namespaces, options.services),
        services=options.services,
        endpoints=options.endpoints,
        seed=options.seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write the dump, the zone files and the queries of a made-up cluster."
    )
    add_size_options(parser)
    parser.add_argument("--skew", type=float, default=0.0, help="weight of the n-th service: n**-skew")
    options = parser.parse_args()
    inputs = prepare(size_from(options), options.skew)
    for path in (inputs.dump, *inputs.zone_files.values(), inputs.queries):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
