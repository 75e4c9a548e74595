"""The `kubernetes` directive: CoreDNS's options that concern answers, and our own `manifests`.

    kubernetes [ZONES...] {
        manifests PATH...
        pods disabled|insecure|verified
        ttl SECONDS
        ...
    }

In: a statement and the zones of its server block. Out: model.Kubernetes, and back to lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Kind, Token
from kdns.corefile.model import DEFAULT_TTL, Kubernetes, PodMode
from kdns.corefile.options import Option, choice, fold_body, no_arguments, number, one_argument, some_arguments
from kdns.corefile.parser import Statement
from kdns.corefile.selector import Selector, SelectorError, parse_selector
from kdns.corefile.zones import is_reverse, parse_zones, zone_text
from kdns.wire.name import ROOT

MAX_TTL = 3600  # CoreDNS's own limit

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_NO_API_SERVER = "kdns does not watch an API server yet; serve files with `manifests PATH...` instead"
_GONE = "CoreDNS has dropped this option, and it has no effect: remove the line"
_REFUSED = {
    **dict.fromkeys(
        (
            "apiserver_burst",
            "apiserver_max_inflight",
            "apiserver_qps",
            "endpoint",
            "kubeconfig",
            "multicluster",
            "startup_timeout",
            "tls",
            "zonal",
        ),
        _NO_API_SERVER,
    ),
    **dict.fromkeys(("resyncperiod", "upstream", "transfer"), _GONE),
}


def parse_kubernetes(statement: Statement, block_zones: tuple[bytes, ...]) -> Kubernetes:
    """The cluster that a `kubernetes` statement describes. Raises CorefileError."""
    zones = parse_zones(statement.arguments) or block_zones
    if all(map(is_reverse, zones)):
        message = "`kubernetes` needs a zone for names, as in `kubernetes cluster.local`"
        raise CorefileError(statement.position, message)
    start = Kubernetes(zones, position=statement.position)
    kubernetes = fold_body(start, statement, _OPTIONS, _REFUSED)
    _refuse_contradictions(kubernetes)
    _require_manifests(kubernetes)
    return kubernetes


def print_kubernetes(kubernetes: Kubernetes) -> list[str]:
    """The lines of the directive, those of its braces indented."""
    head = " ".join(["kubernetes", *map(zone_text, kubernetes.zones)])
    options = [f"    {line}" for write_option in _PRINTERS for line in write_option(kubernetes)]
    return [f"{head} {{", *options, "}"] if options else [head]


def parse_fallthrough(statement: Statement) -> tuple[bytes, ...]:
    """The zones of a `fallthrough` line; without any, the root, which is everything."""
    return parse_zones(statement.arguments) or (ROOT,)


def print_fallthrough(zones: tuple[bytes, ...] | None) -> list[str]:
    """The `fallthrough` line for these zones, if any."""
    if zones is None:
        return []
    return ["fallthrough" if zones == (ROOT,) else " ".join(["fallthrough", *map(zone_text, zones)])]


def _refuse_contradictions(kubernetes: Kubernetes) -> None:
    if kubernetes.namespaces and kubernetes.namespace_labels is not None:
        message = "`namespaces` and `namespace_labels` exclude each other: keep one of them"
        raise CorefileError(kubernetes.position, message)


def _require_manifests(kubernetes: Kubernetes) -> None:
    # The only place that insists on manifests: without them CoreDNS asks the API server of the cluster it runs in.
    if not kubernetes.manifests:
        message = "`kubernetes` without objects: kdns does not watch an API server yet, add `manifests PATH...`"
        raise CorefileError(kubernetes.position, message)


def _manifests(value: Kubernetes, statement: Statement) -> Kubernetes:
    paths = tuple(token.text for token in some_arguments(statement, "at least one path"))
    return replace(value, manifests=value.manifests + paths)


def _ttl(value: Kubernetes, statement: Statement) -> Kubernetes:
    return replace(value, ttl=number(one_argument(statement, "seconds"), 0, MAX_TTL))


def _pods(value: Kubernetes, statement: Statement) -> Kubernetes:
    argument = one_argument(statement, "one of disabled, insecure, verified")
    return replace(value, pods=choice(argument, PodMode))


def _endpoint_pod_names(value: Kubernetes, statement: Statement) -> Kubernetes:
    no_arguments(statement)
    return replace(value, endpoint_pod_names=True)


def _noendpoints(value: Kubernetes, statement: Statement) -> Kubernetes:
    no_arguments(statement)
    return replace(value, noendpoints=True)


def _ignore(value: Kubernetes, statement: Statement) -> Kubernetes:
    argument = one_argument(statement, "empty_service")
    if argument.text != "empty_service":
        raise CorefileError(argument.position, f"`ignore` knows only empty_service, not `{argument.text}`")
    return replace(value, ignore_empty_service=True)


def _fallthrough(value: Kubernetes, statement: Statement) -> Kubernetes:
    return replace(value, fallthrough=parse_fallthrough(statement))


def _namespaces(value: Kubernetes, statement: Statement) -> Kubernetes:
    arguments = some_arguments(statement, "at least one namespace")
    for argument in arguments:
        if not _NAMESPACE.fullmatch(argument.text):
            raise CorefileError(argument.position, f"`{argument.text}` cannot be the name of a namespace")
    names = dict.fromkeys([*value.namespaces, *(argument.text for argument in arguments)])
    return replace(value, namespaces=tuple(names))


def _namespace_labels(value: Kubernetes, statement: Statement) -> Kubernetes:
    return replace(value, namespace_labels=_selector(statement))


def _labels(value: Kubernetes, statement: Statement) -> Kubernetes:
    return replace(value, labels=_selector(statement))


def _selector(statement: Statement) -> Selector:
    """The label selector that the arguments spell, joined by spaces as CoreDNS joins them."""
    arguments = some_arguments(statement, "a label selector")
    try:
        return parse_selector(" ".join(argument.text for argument in arguments))
    except SelectorError as error:
        at = _at_offset(arguments, error.offset)
        raise CorefileError(at, f"`{statement.name.text}` is no label selector: {error}") from None


def _at_offset(arguments: tuple[Token, ...], offset: int) -> Position:
    """Where the character at `offset` of the joined arguments stands in the file."""
    for argument in arguments:
        if offset <= len(argument.text):
            break
        offset -= len(argument.text) + 1
    column = argument.position.column + offset + (argument.kind is Kind.QUOTED)
    return replace(argument.position, column=column)


def _print_selector(name: str, selector: Selector | None) -> list[str]:
    return [] if selector is None else [f"{name} {write(str(selector))}"]


_OPTIONS: dict[str, Option[Kubernetes]] = {
    "manifests": Option(_manifests, repeats=True),
    "ttl": Option(_ttl),
    "pods": Option(_pods),
    "endpoint_pod_names": Option(_endpoint_pod_names),
    "namespaces": Option(_namespaces, repeats=True),
    "namespace_labels": Option(_namespace_labels),
    "labels": Option(_labels),
    "noendpoints": Option(_noendpoints),
    "ignore": Option(_ignore),
    "fallthrough": Option(_fallthrough),
}

# One line or none each, in the order that --print-corefile shows.
_PRINTERS: tuple[Callable[[Kubernetes], list[str]], ...] = (
    lambda k: [" ".join(["manifests", *map(write, k.manifests)])] if k.manifests else [],
    lambda k: [f"ttl {k.ttl}"] if k.ttl != DEFAULT_TTL else [],
    lambda k: [f"pods {k.pods.value}"] if k.pods is not PodMode.DISABLED else [],
    lambda k: ["endpoint_pod_names"] if k.endpoint_pod_names else [],
    lambda k: [" ".join(["namespaces", *k.namespaces])] if k.namespaces else [],
    lambda k: _print_selector("namespace_labels", k.namespace_labels),
    lambda k: _print_selector("labels", k.labels),
    lambda k: ["noendpoints"] if k.noendpoints else [],
    lambda k: ["ignore empty_service"] if k.ignore_empty_service else [],
    lambda k: print_fallthrough(k.fallthrough),
)
