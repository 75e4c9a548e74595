"""The directives of a server block: one table of how each is read and printed, in CoreDNS's fixed order.

In: statements. Out: model.ServerBlock with what they say, and back to lines.
Not here: directives that have options of their own, each in a module named after it or after what it is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from kdns.corefile.access import parse_acl, parse_transfer, print_acl, print_transfer
from kdns.corefile.admin import (
    parse_health,
    parse_prometheus,
    parse_ready,
    print_health,
    print_prometheus,
    print_ready,
)
from kdns.corefile.autopath import parse_autopath, print_autopath
from kdns.corefile.cache import parse_cache, print_cache
from kdns.corefile.cluster import parse_kubernetes, print_kubernetes
from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, nearest
from kdns.corefile.forward import parse_forward, print_forward
from kdns.corefile.hosts import parse_hosts, print_hosts
from kdns.corefile.lexer import Token
from kdns.corefile.logs import parse_errors, parse_log, print_errors, print_log
from kdns.corefile.model import DEFAULT_BUFSIZE_OCTETS, Bind, ServerBlock, ZoneFile, is_address
from kdns.corefile.options import (
    Option,
    duration,
    flag,
    fold,
    fold_body,
    number,
    one_argument,
    some_arguments,
    with_options,
)
from kdns.corefile.parser import Statement
from kdns.corefile.refused import REFUSED
from kdns.corefile.rewriting import parse_rewrite, print_rewrite
from kdns.corefile.single import (
    parse_chaos,
    parse_loop,
    parse_minimal,
    parse_nsid,
    parse_reload,
    print_chaos,
    print_nsid,
    print_reload,
)
from kdns.corefile.template import parse_template, print_template
from kdns.corefile.zones import parse_fallthrough, parse_zones, print_fallthrough, zone_text

COREDNS_ORDER = (
    "root",
    "metadata",
    "geoip",
    "cancel",
    "tls",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "reload",
    "nsid",
    "bufsize",
    "bind",
    "debug",
    "trace",
    "ready",
    "health",
    "pprof",
    "prometheus",
    "errors",
    "log",
    "dnstap",
    "local",
    "dns64",
    "acl",
    "any",
    "chaos",
    "loadbalance",
    "tsig",
    "cache",
    "rewrite",
    "header",
    "dnssec",
    "autopath",
    "minimal",
    "template",
    "transfer",
    "hosts",
    "route53",
    "azure",
    "clouddns",
    "k8s_external",
    "kubernetes",
    "file",
    "auto",
    "secondary",
    "etcd",
    "loop",
    "forward",
    "grpc",
    "erratic",
    "whoami",
    "on",
    "sign",
    "view",
    "nomad",
    "shed",
)
"""Every directive of CoreDNS, in the order in which it acts whatever the order in the file (its plugin.cfg)."""

MIN_BUFSIZE_OCTETS = 512  # RFC 6891 section 6.2.3
MAX_BUFSIZE_OCTETS = 4096  # CoreDNS's own limit

_MAX_INTERFACE_NAME = 15  # IFNAMSIZ without its NUL
_ADDRESS_SHAPED = re.compile(r"\[.*|[0-9./]+(:[0-9]+)?|[0-9a-f.]*:[0-9a-f:.]*(/[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Directive:
    """How a directive changes the block it stands in, and its lines for a block; no lines where it says nothing."""

    option: Option[ServerBlock]
    lines: Callable[[ServerBlock], list[str]]


def apply_directives(block: ServerBlock, statements: tuple[Statement, ...]) -> ServerBlock:
    """The block with all that its directives say. Raises CorefileError."""
    whole = fold(block, statements, {name: entry.option for name, entry in DIRECTIVES.items()}, _unknown)
    if whole.autopath and whole.autopath.from_kubernetes and not whole.kubernetes:
        message = "`autopath @kubernetes` needs a `kubernetes` in the same server block"
        raise CorefileError(whole.autopath.position, message)
    return whole


def print_directives(block: ServerBlock) -> list[str]:
    """The lines of all directives of the block, in the fixed order."""
    return [line for entry in DIRECTIVES.values() for line in entry.lines(block)]


def _unknown(statement: Statement) -> CorefileError:
    name = statement.name.text
    if name in REFUSED:
        message = f"`{name}` is a directive of CoreDNS that kdns does not have: {REFUSED[name]}"
    elif statement.body is not None and not name.isidentifier():
        message = f"unknown directive `{name}`: for a second server block, every block needs its `{{` and `}}`"
    else:
        message = f"unknown directive `{name}`{nearest(name, DIRECTIVES) or nearest(name, REFUSED)}"
    return CorefileError(statement.position, message)


def _bufsize(block: ServerBlock, statement: Statement) -> ServerBlock:
    if not statement.arguments:
        return replace(block, bufsize=DEFAULT_BUFSIZE_OCTETS)
    argument = one_argument(statement, "octets")
    return replace(block, bufsize=number(argument, MIN_BUFSIZE_OCTETS, MAX_BUFSIZE_OCTETS))


def _print_bufsize(block: ServerBlock) -> list[str]:
    return [f"bufsize {block.bufsize}"] if block.bufsize != DEFAULT_BUFSIZE_OCTETS else []


def _bind(block: ServerBlock, statement: Statement) -> ServerBlock:
    start = Bind(_bind_names(statement))
    return replace(block, bind=(*block.bind, fold_body(start, statement, {"except": Option(_except)})))


def _except(bind: Bind, statement: Statement) -> Bind:
    return replace(bind, excluded=_bind_names(statement))


def _bind_names(statement: Statement) -> tuple[str, ...]:
    arguments = some_arguments(statement, "at least one address or interface")
    return tuple(dict.fromkeys(map(_bind_name, arguments)))


def _bind_name(argument: Token) -> str:
    """An address in its one spelling, or the name of an interface, which only the running server can look up."""
    text = argument.text
    if is_address(text):
        return str(ip_address(text))
    if _ADDRESS_SHAPED.fullmatch(text):
        message = f"`{text}` is no address: `bind` takes it alone; the port stands in the key of the server block"
        raise CorefileError(argument.position, message)
    if len(text) > _MAX_INTERFACE_NAME or "/" in text or any(character.isspace() for character in text):
        raise CorefileError(argument.position, f"`{text}` is neither an address nor the name of an interface")
    return text


def _print_bind(block: ServerBlock) -> list[str]:
    return [line for bind in block.bind for line in _print_one_bind(bind)]


def _print_one_bind(bind: Bind) -> list[str]:
    head = " ".join(["bind", *map(write, bind.addresses)])
    return with_options(head, [" ".join(["except", *map(write, bind.excluded)])] if bind.excluded else [])


def _loadbalance(block: ServerBlock, statement: Statement) -> ServerBlock:
    fold_body(block, statement, {}, {"prefer": "kdns does not prefer subnets; remove the line"})
    words = [argument.text for argument in statement.arguments]
    if words[:1] == ["weighted"]:
        message = "kdns has no weighted load balancing: use `loadbalance round_robin`"
        raise CorefileError(statement.arguments[0].position, message)
    if words not in ([], ["round_robin"]):
        raise CorefileError(statement.arguments[-1].position, "`loadbalance` takes nothing or round_robin")
    return replace(block, loadbalance=True)


def _print_loadbalance(block: ServerBlock) -> list[str]:
    return ["loadbalance"] if block.loadbalance else []


def _file(block: ServerBlock, statement: Statement) -> ServerBlock:
    path, *zones = some_arguments(statement, "the path of a zone file")
    start = ZoneFile(path.text, parse_zones(tuple(zones)) or block.zones, position=statement.position)
    for earlier in block.files:
        for zone in set(earlier.zones).intersection(start.zones):
            message = f"the zone {zone_text(zone)} is already read from {earlier.path} at {earlier.position}"
            raise CorefileError(statement.position, message)
    return replace(block, files=(*block.files, fold_body(start, statement, _FILE_OPTIONS)))


def _file_reload(value: ZoneFile, statement: Statement) -> ZoneFile:
    return replace(value, reload_ns=duration(one_argument(statement, "a duration")))


def _file_fallthrough(value: ZoneFile, statement: Statement) -> ZoneFile:
    return replace(value, fallthrough=parse_fallthrough(statement))


def _without_effect(value: ZoneFile, _statement: Statement) -> ZoneFile:
    return value


_FILE_OPTIONS: dict[str, Option[ZoneFile]] = {
    "reload": Option(_file_reload),
    "fallthrough": Option(_file_fallthrough),
    # A file is read again on any change; CoreDNS takes `upstream` without a meaning.
    "reload_by_mtime": Option(_without_effect),
    "upstream": Option(_without_effect),
}


def _print_files(block: ServerBlock) -> list[str]:
    return [line for file in block.files for line in _print_file(file)]


def _print_file(file: ZoneFile) -> list[str]:
    head = " ".join(["file", write(file.path), *map(zone_text, file.zones)])
    reload = [] if file.reload_ns is None else [f"reload {format_duration(file.reload_ns)}"]
    return with_options(head, [*reload, *print_fallthrough(file.fallthrough)])


def _kubernetes(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, kubernetes=parse_kubernetes(statement, block.zones))


def _print_kubernetes(block: ServerBlock) -> list[str]:
    return print_kubernetes(block.kubernetes) if block.kubernetes else []


def _ready(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, ready=parse_ready(statement))


def _print_ready(block: ServerBlock) -> list[str]:
    return print_ready(block.ready) if block.ready else []


def _health(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, health=parse_health(statement))


def _print_health(block: ServerBlock) -> list[str]:
    return print_health(block.health) if block.health else []


def _prometheus(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, prometheus=parse_prometheus(statement))


def _print_prometheus(block: ServerBlock) -> list[str]:
    return print_prometheus(block.prometheus) if block.prometheus else []


def _errors(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, errors=parse_errors(statement))


def _print_errors(block: ServerBlock) -> list[str]:
    return print_errors(block.errors) if block.errors else []


def _log(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, log=(*block.log, parse_log(statement)))


def _print_logs(block: ServerBlock) -> list[str]:
    return [line for log in block.log for line in print_log(log)]


def _reload(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, reload=parse_reload(statement))


def _print_reload(block: ServerBlock) -> list[str]:
    return print_reload(block.reload) if block.reload else []


def _nsid(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, nsid=parse_nsid(statement))


def _print_nsid(block: ServerBlock) -> list[str]:
    return print_nsid(block.nsid) if block.nsid else []


def _chaos(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, chaos=parse_chaos(statement))


def _print_chaos(block: ServerBlock) -> list[str]:
    return print_chaos(block.chaos) if block.chaos else []


def _acl(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, acl=(*block.acl, parse_acl(statement, block.zones)))


def _print_acls(block: ServerBlock) -> list[str]:
    return [line for acl in block.acl for line in print_acl(acl, block.zones)]


def _cache(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, cache=parse_cache(statement, block.zones))


def _print_cache(block: ServerBlock) -> list[str]:
    return print_cache(block.cache, block.zones) if block.cache else []


def _rewrite(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, rewrite=(*block.rewrite, parse_rewrite(statement)))


def _print_rewrites(block: ServerBlock) -> list[str]:
    return [line for rewrite in block.rewrite for line in print_rewrite(rewrite)]


def _autopath(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, autopath=parse_autopath(statement, block.zones))


def _print_autopath(block: ServerBlock) -> list[str]:
    return print_autopath(block.autopath, block.zones) if block.autopath else []


def _minimal(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, minimal=parse_minimal(statement))


def _template(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, templates=(*block.templates, parse_template(statement, block.zones)))


def _print_templates(block: ServerBlock) -> list[str]:
    return [line for template in block.templates for line in print_template(template, block.zones)]


def _transfer(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, transfer=(*block.transfer, parse_transfer(statement, block.zones)))


def _print_transfers(block: ServerBlock) -> list[str]:
    return [line for transfer in block.transfer for line in print_transfer(transfer, block.zones)]


def _hosts(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, hosts=parse_hosts(statement, block.zones))


def _print_hosts(block: ServerBlock) -> list[str]:
    return print_hosts(block.hosts, block.zones) if block.hosts else []


def _loop(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, loop=parse_loop(statement))


def _forward(block: ServerBlock, statement: Statement) -> ServerBlock:
    return replace(block, forward=(*block.forward, parse_forward(statement)))


def _print_forwards(block: ServerBlock) -> list[str]:
    return [line for forward in block.forward for line in print_forward(forward)]


DIRECTIVES: dict[str, Directive] = {
    "reload": Directive(Option(_reload), _print_reload),
    "nsid": Directive(Option(_nsid), _print_nsid),
    "bufsize": Directive(Option(_bufsize), _print_bufsize),
    "bind": Directive(Option(_bind, repeats=True, has_body=True), _print_bind),
    "debug": Directive(
        flag(lambda block: replace(block, debug=True)), lambda block: ["debug"] if block.debug else []
    ),
    "ready": Directive(Option(_ready, has_body=True), _print_ready),
    "health": Directive(Option(_health, has_body=True), _print_health),
    "prometheus": Directive(Option(_prometheus, has_body=True), _print_prometheus),
    "errors": Directive(Option(_errors, has_body=True), _print_errors),
    "log": Directive(Option(_log, repeats=True, has_body=True), _print_logs),
    "acl": Directive(Option(_acl, repeats=True, has_body=True), _print_acls),
    "any": Directive(flag(lambda block: replace(block, any=True)), lambda block: ["any"] if block.any else []),
    "chaos": Directive(Option(_chaos), _print_chaos),
    "loadbalance": Directive(Option(_loadbalance, has_body=True), _print_loadbalance),
    "cache": Directive(Option(_cache, has_body=True), _print_cache),
    "rewrite": Directive(Option(_rewrite, repeats=True, has_body=True), _print_rewrites),
    "autopath": Directive(Option(_autopath), _print_autopath),
    "minimal": Directive(Option(_minimal), lambda block: ["minimal"] if block.minimal else []),
    "template": Directive(Option(_template, repeats=True, has_body=True), _print_templates),
    "transfer": Directive(Option(_transfer, repeats=True, has_body=True), _print_transfers),
    "hosts": Directive(Option(_hosts, has_body=True), _print_hosts),
    "kubernetes": Directive(Option(_kubernetes, has_body=True), _print_kubernetes),
    "file": Directive(Option(_file, repeats=True, has_body=True), _print_files),
    "loop": Directive(Option(_loop), lambda block: ["loop"] if block.loop else []),
    "forward": Directive(Option(_forward, repeats=True, has_body=True), _print_forwards),
    "whoami": Directive(
        flag(lambda block: replace(block, whoami=True)), lambda block: ["whoami"] if block.whoami else []
    ),
}
"""Name to directive, in the order in which they act and are printed; a subsequence of COREDNS_ORDER."""
