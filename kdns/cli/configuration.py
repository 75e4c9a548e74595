"""Which configuration `kdns serve` reads: -conf, else the flags, else ./Corefile, else the demo. Does the reading."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable
from dataclasses import dataclass

from kdns.cli.demo import DEMO_HOST, DEMO_PORT, demo_paths
from kdns.corefile import Corefile, CorefileError, Position, decode, from_flags, parse_corefile
from kdns.corefile.model import DEFAULT_PORT

DEFAULT_COREFILE = "Corefile"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is to be served. `read` reads it, anew each time; it raises CorefileError.

    origin: where it comes from, for the log. is_demo: nothing was named.
    """

    read: Callable[[], Corefile]
    origin: str
    is_demo: bool = False


def choose(options: argparse.Namespace) -> Configuration:
    """The configuration that the command line asks for. Raises CorefileError for flags that contradict each other."""
    named = [flag for flag in ("listen", "manifests", "zones") if getattr(options, flag)]
    port = options.dns_port or DEFAULT_PORT
    if options.conf is not None:
        if named:
            message = f"with -conf, leave out --{named[0]}: the Corefile says it"
            raise CorefileError(Position("-conf"), message)
        return Configuration(lambda: read_corefile(options.conf, port), options.conf)
    if named:
        return Configuration(
            lambda: from_flags(options.listen, options.manifests, options.zones, default_port=port), "flags"
        )
    if os.path.exists(DEFAULT_COREFILE):
        return Configuration(lambda: read_corefile(DEFAULT_COREFILE, port), DEFAULT_COREFILE)
    return Configuration(lambda: _demo(options.dns_port or DEMO_PORT), "the demo", is_demo=True)


def read_corefile(path: str, default_port: int) -> Corefile:
    """Read a Corefile and what it imports. Raises CorefileError."""
    return parse_corefile(
        _read_text(path), path, read=_read_imports, environment=os.environ, default_port=default_port
    )


def _demo(port: int) -> Corefile:
    paths = demo_paths()
    return from_flags([f"{DEMO_HOST}:{port}"], paths.manifests, paths.zones)


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return decode(file.read(), path)
    except OSError as error:
        raise CorefileError(Position(path), (error.strerror or str(error)).lower()) from None


def _read_imports(pattern: str) -> list[tuple[str, str]]:
    return [(path, _read_text(path)) for path in sorted(glob.glob(pattern)) if os.path.isfile(path)]
