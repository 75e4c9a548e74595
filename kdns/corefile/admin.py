"""The directives `health`, `ready` and `prometheus`: where the process is asked over HTTP how it is.

    health [HOST:PORT] { lameduck DURATION }
    ready [HOST:PORT]
    prometheus [HOST:PORT]

In: statements. Out: model.Health, Ready and Prometheus, and back to lines. Several blocks may name one address: all
three are about the process, and are served there once. Not here: the serving, and what ready means (settings.py).
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address

from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.model import (
    DEFAULT_HEALTH,
    DEFAULT_PROMETHEUS,
    DEFAULT_READY,
    Health,
    HttpAddress,
    Prometheus,
    Ready,
    is_address,
)
from kdns.corefile.options import Option, duration, fold_body, no_arguments, one_argument
from kdns.corefile.parser import Statement
from kdns.corefile.zones import parse_port

_MONITORS = ("until-ready", "continuously")
_ALL_DIGITS_AND_DOTS = re.compile(r"[0-9.]+")
_HOST_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_.]{0,251}[a-z0-9_])?", re.IGNORECASE)


def parse_health(statement: Statement) -> Health:
    """`health [HOST:PORT] { ... }`. Raises CorefileError."""
    start = Health(_address(statement, DEFAULT_HEALTH), position=statement.position)
    return fold_body(start, statement, _HEALTH_OPTIONS)


def print_health(health: Health) -> list[str]:
    """The lines of the directive."""
    head = _head("health", health.address, DEFAULT_HEALTH)
    if not health.lameduck_ns:
        return [head]
    return [f"{head} {{", f"    lameduck {format_duration(health.lameduck_ns)}", "}"]


def parse_ready(statement: Statement) -> Ready:
    """`ready [HOST:PORT] { ... }`. Raises CorefileError."""
    return fold_body(Ready(_address(statement, DEFAULT_READY), statement.position), statement, _READY_OPTIONS)


def print_ready(ready: Ready) -> list[str]:
    """The line of the directive."""
    return [_head("ready", ready.address, DEFAULT_READY)]


def parse_prometheus(statement: Statement) -> Prometheus:
    """`prometheus [HOST:PORT] { ... }`. Raises CorefileError."""
    start = Prometheus(_address(statement, DEFAULT_PROMETHEUS), statement.position)
    return fold_body(start, statement, _PROMETHEUS_OPTIONS, _PROMETHEUS_REFUSED)


def print_prometheus(prometheus: Prometheus) -> list[str]:
    """The line of the directive."""
    return [_head("prometheus", prometheus.address, DEFAULT_PROMETHEUS)]


def _head(name: str, address: HttpAddress, default: HttpAddress) -> str:
    return name if address == default else f"{name} {write(str(address))}"


def _address(statement: Statement, default: HttpAddress) -> HttpAddress:
    """The only argument, if there is one."""
    if not statement.arguments:
        return default
    argument = one_argument(statement, "HOST:PORT")
    return parse_http_address(argument.text, argument.position)


def parse_http_address(text: str, position: Position) -> HttpAddress:
    """`HOST:PORT`, `[IPV6-ADDRESS]:PORT` or `:PORT`. Raises CorefileError."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not colon or (":" in host) != is_bracketed or not _is_host(host):
        raise CorefileError(position, f"`{text}` is not HOST:PORT, [IPV6-ADDRESS]:PORT or :PORT")
    return HttpAddress(str(ip_address(host)) if is_address(host) else host.lower(), parse_port(port, position))


def _is_host(text: str) -> bool:
    """Whether this is an address, or may be a name, or is nothing: every address."""
    if not text or is_address(text):
        return True
    return bool(_HOST_NAME.fullmatch(text)) and not _ALL_DIGITS_AND_DOTS.fullmatch(text)


def _lameduck(health: Health, statement: Statement) -> Health:
    return replace(health, lameduck_ns=duration(one_argument(statement, "a duration")))


def _monitor(ready: Ready, statement: Statement) -> Ready:
    argument = one_argument(statement, f"one of {', '.join(_MONITORS)}")
    if argument.text not in _MONITORS:
        message = f"one of {', '.join(_MONITORS)} expected, not `{argument.text}`"
        raise CorefileError(argument.position, message)
    return ready  # without effect: --ready-when says whether readiness can end


def _runtime_metrics(prometheus: Prometheus, statement: Statement) -> Prometheus:
    no_arguments(statement)
    return prometheus  # without effect: they are those of Go


_HEALTH_OPTIONS: dict[str, Option[Health]] = {"lameduck": Option(_lameduck)}
_READY_OPTIONS: dict[str, Option[Ready]] = {"monitor": Option(_monitor)}
_PROMETHEUS_OPTIONS: dict[str, Option[Prometheus]] = {"runtime_metrics": Option(_runtime_metrics)}
_PROMETHEUS_REFUSED = {"tls": "kdns serves metrics over plain HTTP: leave it out, and bind to localhost"}
