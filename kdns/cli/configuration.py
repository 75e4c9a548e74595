"""Which configuration `kdns serve` reads: -conf, else the flags, else ./Corefile, else that of the cluster that the
environment names, else the demo. Does the reading.
"""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable
from dataclasses import dataclass

from kdns.cli.demo import DEMO_HOST, DEMO_PORT, demo_paths
from kdns.corefile import (
    Corefile,
    CorefileError,
    Position,
    Settings,
    decode,
    from_flags,
    parse_corefile,
    read_settings,
    with_kubeconfig,
)
from kdns.corefile.flags import KUBECONFIG_FLAG, KUBECONFIG_VARIABLE
from kdns.corefile.model import DEFAULT_PORT
from kdns.corefile.settings import SETTING_NAMES

DEFAULT_COREFILE = "Corefile"
IN_CLUSTER = "KUBERNETES_SERVICE_HOST"  # set in every container of a pod


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is to be served. `read` reads it, anew each time; it raises CorefileError.

    origin: where it comes from, for the log. settings: what is not said by a Corefile. is_demo: nothing was named.
    """

    read: Callable[[], Corefile]
    origin: str
    settings: Settings
    is_demo: bool = False


def choose(options: argparse.Namespace) -> Configuration:
    """The configuration that command line and environment ask for.

    Raises CorefileError for flags that contradict each other, and for settings that are wrong.
    """
    settings = read_settings({name: getattr(options, name) for name in SETTING_NAMES}, os.environ)
    named = [flag for flag in ("listen", "manifests", "zones") if getattr(options, flag)]
    if options.conf is not None:
        if named:
            message = f"with -conf, leave out --{named[0]}: the Corefile says it"
            raise CorefileError(Position("-conf"), message)
        return _from_corefile(options, options.conf, settings)
    if named or options.kubeconfig is not None:
        return Configuration(lambda: _from_flags(options, settings), "flags", settings)
    if os.path.exists(DEFAULT_COREFILE):
        return _from_corefile(options, DEFAULT_COREFILE, settings)
    if origin := _cluster_at_hand(settings):
        return Configuration(lambda: _from_flags(options, settings), origin, settings)
    return Configuration(lambda: _demo(options.dns_port or DEMO_PORT), "the demo", settings, is_demo=True)


def _cluster_at_hand(settings: Settings) -> str:
    """What the environment knows of a cluster; empty for nothing."""
    if settings.kubeconfig:
        return f"{KUBECONFIG_VARIABLE}={settings.kubeconfig}"
    return f"the cluster around us ({IN_CLUSTER})" if os.environ.get(IN_CLUSTER) else ""


def _from_corefile(options: argparse.Namespace, path: str, settings: Settings) -> Configuration:
    def read() -> Corefile:
        return _filled_in(read_corefile(path, options.dns_port or DEFAULT_PORT), options, settings)

    return Configuration(read, path, settings)


def _from_flags(options: argparse.Namespace, settings: Settings) -> Corefile:
    """What the flags say; those that say only where to listen stand for the cluster at hand."""
    has_data = bool(options.manifests or options.zones)
    corefile = from_flags(
        options.listen,
        options.manifests,
        options.zones,
        is_watched=options.kubeconfig is not None or (not has_data and bool(_cluster_at_hand(settings))),
        default_port=options.dns_port or DEFAULT_PORT,
    )
    return _filled_in(corefile, options, settings)


def _filled_in(corefile: Corefile, options: argparse.Namespace, settings: Settings) -> Corefile:
    if not settings.kubeconfig:
        return corefile
    place = KUBECONFIG_VARIABLE if options.kubeconfig is None else KUBECONFIG_FLAG
    return with_kubeconfig(corefile, settings.kubeconfig, place)


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
