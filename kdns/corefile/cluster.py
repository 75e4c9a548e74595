"""The `kubernetes` directive: CoreDNS's options, and our own `manifests` and `terminating`.

    kubernetes [ZONES...] {
        kubeconfig PATH [CONTEXT]
        pods disabled|insecure|verified
        ttl SECONDS
        ...
    }

In: a statement and the zones of its server block. Out: model.Kubernetes, and back to lines.
Not here: how the API server is reached, and its credentials, which whoever serves reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Kind, Token
from kdns.corefile.model import DEFAULT_STARTUP_TIMEOUT_NS, DEFAULT_TTL, Kubernetes, PodMode
from kdns.corefile.options import (
    Option,
    choice,
    duration,
    flag,
    fold_body,
    number,
    one_argument,
    some_arguments,
    with_options,
)
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import TlsFiles
from kdns.corefile.selector import Selector, SelectorError, parse_selector
from kdns.corefile.zones import is_reverse, parse_fallthrough, parse_zones, print_fallthrough, zone_text

MAX_TTL = 3600  # CoreDNS's own limit

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_GONE = "CoreDNS has dropped this option, and it has no effect: remove the line"
_REFUSED = {
    "multicluster": "kdns does not serve the services of other clusters (ServiceImport): remove the line",
    "zonal": "kdns has no names for zones (`_zone`): remove the line",
    **dict.fromkeys(("resyncperiod", "upstream", "transfer"), _GONE),
}
# Options that cannot stand together, and what to do about it.
_KEEP_ONE = "keep one of them"
_FILES_OR_SERVER = "objects come from files or from an API server; keep one of them"
_NO_SERVER = "with files there is no API server to ask; leave it out"
_EXCLUSIVE: tuple[tuple[str, str, str], ...] = (
    ("namespaces", "namespace_labels", _KEEP_ONE),
    ("manifests", "kubeconfig", _FILES_OR_SERVER),
    ("manifests", "endpoint", _FILES_OR_SERVER),
    ("manifests", "tls", _NO_SERVER),
    ("manifests", "startup_timeout", _NO_SERVER),
    ("manifests", "apiserver_qps", _NO_SERVER),
    ("manifests", "apiserver_burst", _NO_SERVER),
    ("manifests", "apiserver_max_inflight", _NO_SERVER),
    ("kubeconfig", "endpoint", "each names an API server; keep one of them"),
    ("kubeconfig", "tls", "a kubeconfig names its own certificates; leave `tls` out"),
)
_URL_SCHEMES = ("http", "https")


def parse_kubernetes(statement: Statement, block_zones: tuple[bytes, ...]) -> Kubernetes:
    """The cluster that a `kubernetes` statement describes. Raises CorefileError."""
    zones = parse_zones(statement.arguments) or block_zones
    if all(map(is_reverse, zones)):
        message = "`kubernetes` needs a zone for names, as in `kubernetes cluster.local`"
        raise CorefileError(statement.position, message)
    start = Kubernetes(zones, position=statement.position)
    kubernetes = fold_body(start, statement, _OPTIONS, _REFUSED)
    _refuse_contradictions(kubernetes, {option.name.text: option.position for option in statement.body or ()})
    return kubernetes


def print_kubernetes(kubernetes: Kubernetes) -> list[str]:
    """The lines of the directive, those of its braces indented."""
    head = " ".join(["kubernetes", *map(zone_text, kubernetes.zones)])
    options = [line for write_option in _PRINTERS for line in write_option(kubernetes)]
    return with_options(head, options)


def _refuse_contradictions(kubernetes: Kubernetes, given: dict[str, Position]) -> None:
    """`given`: where each option stands, in their order."""
    for one, other, remedy in _EXCLUSIVE:
        if one in given and other in given:
            later = [place for name, place in given.items() if name in (one, other)][-1]
            raise CorefileError(later, f"`{one}` and `{other}` exclude each other: {remedy}")
    if kubernetes.tls and not kubernetes.endpoint:
        raise CorefileError(given["tls"], "`tls` is for an `endpoint`: add `endpoint URL`, or leave `tls` out")
    if kubernetes.tls and urlsplit(kubernetes.endpoint).scheme != "https":
        message = f"`tls` has no use for {kubernetes.endpoint}: write https://, or leave `tls` out"
        raise CorefileError(given["tls"], message)


def _manifests(value: Kubernetes, statement: Statement) -> Kubernetes:
    paths = tuple(token.text for token in some_arguments(statement, "at least one path"))
    return replace(value, manifests=value.manifests + paths)


def _kubeconfig(value: Kubernetes, statement: Statement) -> Kubernetes:
    path, *rest = some_arguments(statement, "the path of a kubeconfig")
    if len(rest) > 1:
        raise CorefileError(rest[1].position, "`kubeconfig` takes PATH [CONTEXT]")
    if not rest:
        return replace(value, kubeconfig=path.text)
    return replace(value, kubeconfig=path.text, context=rest[0].text, context_position=rest[0].position)


def _endpoint(value: Kubernetes, statement: Statement) -> Kubernetes:
    argument, *more = some_arguments(statement, "the URL of an API server")
    if not _is_http_url(argument.text):
        message = f"`{argument.text}` is no URL of an API server: write it as in https://192.0.2.1:6443"
        raise CorefileError(argument.position, message)
    return replace(value, endpoint=argument.text, unused_endpoints=tuple(token.text for token in more))


def _is_http_url(text: str) -> bool:
    """Whether this is `http(s)://HOST[:PORT][/PATH]`, and nothing more: no user, no query."""
    try:
        url = urlsplit(text)
        return (
            url.scheme in _URL_SCHEMES
            and bool(url.hostname)
            and url.port != 0
            and not any((url.username, url.password, url.query, url.fragment))
            and not any(character.isspace() for character in text)
        )
    except ValueError:  # of a port, or of brackets
        return False


def _tls(value: Kubernetes, statement: Statement) -> Kubernetes:
    """As CoreDNS takes it: three words, of which some may be empty (`""`)."""
    if len(statement.arguments) != 3:
        raise CorefileError(statement.position, "`tls` takes three files: CERT KEY CACERT")
    files = TlsFiles(*(argument.text for argument in statement.arguments))
    if bool(files.certificate) != bool(files.key) or not (files.certificate or files.ca):
        message = "an argument of `tls` is empty: give CERT and KEY together, and CACERT unless the system knows it"
        raise CorefileError(statement.position, message)
    return replace(value, tls=files)


def _startup_timeout(value: Kubernetes, statement: Statement) -> Kubernetes:
    return replace(value, startup_timeout_ns=duration(one_argument(statement, "a duration")))


def _api_limit(value: Kubernetes, statement: Statement) -> Kubernetes:
    """Limits of requests, which CoreDNS sets for its client. A watch is a handful of requests that stay open."""
    argument = one_argument(statement, "a number")
    if not _NUMBER.fullmatch(argument.text):
        raise CorefileError(argument.position, f"a number expected, not `{argument.text}`")
    return value


def _terminating(value: Kubernetes, statement: Statement) -> Kubernetes:
    argument = one_argument(statement, "serving")
    if argument.text != "serving":
        raise CorefileError(argument.position, f"`terminating` knows only serving, not `{argument.text}`")
    return replace(value, terminating_serving=True)


def _ttl(value: Kubernetes, statement: Statement) -> Kubernetes:
    return replace(value, ttl=number(one_argument(statement, "seconds"), 0, MAX_TTL))


def _pods(value: Kubernetes, statement: Statement) -> Kubernetes:
    argument = one_argument(statement, "one of disabled, insecure, verified")
    return replace(value, pods=choice(argument, PodMode))


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


def _print_kubeconfig(kubernetes: Kubernetes) -> list[str]:
    if not kubernetes.kubeconfig:
        return []
    words = [kubernetes.kubeconfig] + ([kubernetes.context] if kubernetes.context else [])
    return [" ".join(["kubeconfig", *map(write, words)])]


def _print_tls(files: TlsFiles | None) -> list[str]:
    return [] if files is None else [" ".join(["tls", *map(write, (files.certificate, files.key, files.ca))])]


def _print_startup_timeout(nanoseconds: int) -> list[str]:
    return [] if nanoseconds == DEFAULT_STARTUP_TIMEOUT_NS else [f"startup_timeout {format_duration(nanoseconds)}"]


def _print_selector(name: str, selector: Selector | None) -> list[str]:
    return [] if selector is None else [f"{name} {write(str(selector))}"]


_OPTIONS: dict[str, Option[Kubernetes]] = {
    "manifests": Option(_manifests, repeats=True),
    "kubeconfig": Option(_kubeconfig),
    "endpoint": Option(_endpoint),
    "tls": Option(_tls),
    "startup_timeout": Option(_startup_timeout),
    "apiserver_qps": Option(_api_limit),
    "apiserver_burst": Option(_api_limit),
    "apiserver_max_inflight": Option(_api_limit),
    "ttl": Option(_ttl),
    "pods": Option(_pods),
    "endpoint_pod_names": flag(lambda value: replace(value, endpoint_pod_names=True)),
    "namespaces": Option(_namespaces, repeats=True),
    "namespace_labels": Option(_namespace_labels),
    "labels": Option(_labels),
    "noendpoints": flag(lambda value: replace(value, noendpoints=True)),
    "ignore": Option(_ignore),
    "terminating": Option(_terminating),
    "fallthrough": Option(_fallthrough),
}

# One line or none each, in the order that --print-corefile shows.
_PRINTERS: tuple[Callable[[Kubernetes], list[str]], ...] = (
    lambda k: [" ".join(["manifests", *map(write, k.manifests)])] if k.manifests else [],
    _print_kubeconfig,
    lambda k: [f"endpoint {write(k.endpoint)}"] if k.endpoint else [],
    lambda k: _print_tls(k.tls),
    lambda k: _print_startup_timeout(k.startup_timeout_ns),
    lambda k: [f"ttl {k.ttl}"] if k.ttl != DEFAULT_TTL else [],
    lambda k: [f"pods {k.pods.value}"] if k.pods is not PodMode.DISABLED else [],
    lambda k: ["endpoint_pod_names"] if k.endpoint_pod_names else [],
    lambda k: [" ".join(["namespaces", *k.namespaces])] if k.namespaces else [],
    lambda k: _print_selector("namespace_labels", k.namespace_labels),
    lambda k: _print_selector("labels", k.labels),
    lambda k: ["noendpoints"] if k.noendpoints else [],
    lambda k: ["ignore empty_service"] if k.ignore_empty_service else [],
    lambda k: ["terminating serving"] if k.terminating_serving else [],
    lambda k: print_fallthrough(k.fallthrough),
)
