"""The directive `hosts`: names and addresses in the form of /etc/hosts, from a file and from the Corefile itself.

    hosts [FILE [ZONES...]] {
        ADDRESS NAMES...
        ttl SECONDS
        no_reverse
        reload DURATION
        fallthrough [ZONES...]
        fallthrough_unsupported
    }

In: statements. Out: plugins.Hosts, and back to lines. Not here: reading the file.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, nearest
from kdns.corefile.lexer import Token
from kdns.corefile.model import is_address
from kdns.corefile.options import Option, duration, flag, fold, number, one_argument, some_arguments, with_options
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import (
    DEFAULT_HOSTS_PATH,
    DEFAULT_HOSTS_RELOAD_NS,
    DEFAULT_HOSTS_TTL,
    Hosts,
    HostsEntry,
)
from kdns.corefile.zones import parse_fallthrough, parse_zones, print_fallthrough, zone_text, zone_words
from kdns.wire.name import InvalidName, from_text

MAX_HOSTS_TTL = 65535  # CoreDNS's own limit


def parse_hosts(statement: Statement, block_zones: tuple[bytes, ...]) -> Hosts:
    """`hosts [FILE [ZONES...]] { ... }`. Raises CorefileError."""
    arguments = statement.arguments and some_arguments(statement, "a path")
    start = Hosts(
        parse_zones(arguments[1:]) or block_zones,
        arguments[0].text if arguments else DEFAULT_HOSTS_PATH,
        tuple(_entry(line) for line in statement.body or () if is_address(line.name.text)),
        position=statement.position,
    )
    options = [line for line in statement.body or () if not is_address(line.name.text)]
    hosts = fold(start, options, _OPTIONS, _unknown)
    if hosts.fallthrough_unsupported and hosts.fallthrough is None:
        option = next(option for option in options if option.name.text == "fallthrough_unsupported")
        raise CorefileError(option.position, "`fallthrough_unsupported` widens `fallthrough`: add that, too")
    return hosts


def print_hosts(hosts: Hosts, block_zones: tuple[bytes, ...]) -> list[str]:
    """The lines of the directive."""
    zones = zone_words(hosts.zones, block_zones)
    path = [write(hosts.path)] if zones or hosts.path != DEFAULT_HOSTS_PATH else []
    head = " ".join(["hosts", *path, *zones])
    return with_options(head, [*map(_entry_text, hosts.inline), *_option_lines(hosts)])


def _option_lines(hosts: Hosts) -> list[str]:
    reload_ns = hosts.reload_ns
    return [
        *([] if hosts.ttl == DEFAULT_HOSTS_TTL else [f"ttl {hosts.ttl}"]),
        *(["no_reverse"] if hosts.no_reverse else []),
        *([] if reload_ns == DEFAULT_HOSTS_RELOAD_NS else [f"reload {format_duration(reload_ns)}"]),
        *print_fallthrough(hosts.fallthrough),
        *(["fallthrough_unsupported"] if hosts.fallthrough_unsupported else []),
    ]


def _entry(line: Statement) -> HostsEntry:
    address = ip_address(line.name.text)
    if "%" in line.name.text:
        raise CorefileError(line.position, f"`{address}`: an address in DNS has no zone index; leave it out")
    if line.body is not None:
        raise CorefileError(line.position, "an address takes names, and no `{ }`")
    names = map(_name, some_arguments(line, "at least one name"))
    return HostsEntry(address.packed, tuple(dict.fromkeys(names)))


def _name(argument: Token) -> bytes:
    try:
        return from_text(argument.text).lower()
    except InvalidName as error:
        raise CorefileError(argument.position, f"`{argument.text}` is no name: {error}") from None


def _entry_text(entry: HostsEntry) -> str:
    return " ".join([str(ip_address(entry.address)), *map(zone_text, entry.names)])


def _unknown(option: Statement) -> CorefileError:
    name = option.name.text
    hint = nearest(name, _OPTIONS) or ": a line begins with an address, or with an option"
    return CorefileError(option.position, f"`hosts` has no option `{name}`{hint}")


def _ttl(value: Hosts, statement: Statement) -> Hosts:
    return replace(value, ttl=number(one_argument(statement, "seconds"), 1, MAX_HOSTS_TTL))


def _reload(value: Hosts, statement: Statement) -> Hosts:
    return replace(value, reload_ns=duration(one_argument(statement, "a duration")))


def _fallthrough(value: Hosts, statement: Statement) -> Hosts:
    return replace(value, fallthrough=parse_fallthrough(statement))


_OPTIONS: dict[str, Option[Hosts]] = {
    "ttl": Option(_ttl),
    "no_reverse": flag(lambda value: replace(value, no_reverse=True)),
    "reload": Option(_reload),
    "fallthrough": Option(_fallthrough),
    "fallthrough_unsupported": flag(lambda value: replace(value, fallthrough_unsupported=True)),
}
