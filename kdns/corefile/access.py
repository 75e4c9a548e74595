"""The directives `acl` and `transfer`: who may ask, and who may have whole zones.

    acl [ZONES...] {
        allow|block|filter|drop [type TYPES...] [net NETWORKS...]
    }
    transfer [ZONES...] {
        to *|ADDRESS|ADDRESS:PORT|NETWORK...
    }

In: statements. Out: plugins.Acl and plugins.Transfer, and back to lines.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import Token
from kdns.corefile.mnemonics import parse_type, type_word
from kdns.corefile.model import is_address
from kdns.corefile.options import Option, fold_body, some_arguments, with_options
from kdns.corefile.parser import Statement
from kdns.corefile.plugins import DNS_PORT, Acl, Transfer
from kdns.corefile.zones import parse_port, parse_zones, zone_words
from kdns.wire.rules import AclAction, AclRule

EVERYBODY = "*"
_SECTIONS = ("type", "net")


def parse_acl(statement: Statement, block_zones: tuple[bytes, ...]) -> Acl:
    """`acl [ZONES...] { ... }`. Raises CorefileError."""
    zones = parse_zones(statement.arguments) or block_zones
    acl = fold_body(Acl(zones, position=statement.position), statement, _ACL_OPTIONS)
    if not acl.rules:
        raise CorefileError(statement.position, "`acl` needs a rule in `{ }`, such as `block net 10.0.0.0/8`")
    return acl


def print_acl(acl: Acl, block_zones: tuple[bytes, ...]) -> list[str]:
    """The lines of the directive."""
    return with_options(" ".join(["acl", *zone_words(acl.zones, block_zones)]), map(_rule_text, acl.rules))


def parse_transfer(statement: Statement, block_zones: tuple[bytes, ...]) -> Transfer:
    """`transfer [ZONES...] { to ... }`. Raises CorefileError."""
    start = Transfer(parse_zones(statement.arguments) or block_zones, (), position=statement.position)
    transfer = fold_body(start, statement, {"to": Option(_to, repeats=True)})
    if not transfer.to:
        raise CorefileError(statement.position, "`transfer` needs `to` in `{ }`: who may have the zone, or `*`")
    return transfer


def print_transfer(transfer: Transfer, block_zones: tuple[bytes, ...]) -> list[str]:
    """The lines of the directive."""
    head = " ".join(["transfer", *zone_words(transfer.zones, block_zones)])
    return with_options(head, [" ".join(["to", *map(write, transfer.to)])])


def _rule(acl: Acl, statement: Statement) -> Acl:
    words: dict[str, list[Token]] = {}
    section = ""
    for argument in statement.arguments:
        if argument.text in _SECTIONS and argument.text not in words:
            section = argument.text
            words[section] = []
        elif section:
            words[section].append(argument)
        else:
            raise CorefileError(argument.position, f"`type` or `net` expected, not `{argument.text}`")
    for name, arguments in words.items():
        if not arguments:
            raise CorefileError(statement.position, f"`{name}` needs at least one word behind it, or `*`")
    rule = AclRule(AclAction(statement.name.text), _types(words.get("type", [])), _networks(words.get("net", [])))
    return replace(acl, rules=(*acl.rules, rule))


def _types(arguments: list[Token]) -> frozenset[int]:
    is_all = any(argument.text == EVERYBODY for argument in arguments)
    return frozenset() if is_all else frozenset(map(parse_type, arguments))


def _networks(arguments: list[Token]) -> tuple[IPv4Network | IPv6Network, ...]:
    is_all = any(argument.text == EVERYBODY for argument in arguments)
    return () if is_all else tuple(dict.fromkeys(map(_network, arguments)))


def _network(argument: Token) -> IPv4Network | IPv6Network:
    try:
        return ip_network(argument.text, strict=False)
    except ValueError:
        message = f"`{argument.text}` is no network: write it as in 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1"
        raise CorefileError(argument.position, message) from None


def _rule_text(rule: AclRule) -> str:
    words = [rule.action.value]
    if rule.types:
        words += ["type", *map(type_word, sorted(rule.types))]
    if rule.networks:
        words += ["net", *map(str, rule.networks)]
    return " ".join(words)


def _to(transfer: Transfer, statement: Statement) -> Transfer:
    found = map(_target, some_arguments(statement, "addresses, or `*` for everybody"))
    return replace(transfer, to=tuple(dict.fromkeys([*transfer.to, *found])))


def _target(argument: Token) -> str:
    """`*`, an address, a network, or an address with a port other than 53, in its one spelling."""
    text = argument.text
    if text == EVERYBODY:
        return text
    if is_address(text):
        return str(ip_address(text))
    if "/" in text:
        return str(_network(argument))
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not colon or not is_address(host) or (":" in host) != is_bracketed:
        message = f"`{text}` is nobody: write `*`, an address, ADDRESS:PORT, [IPV6]:PORT, or a network"
        raise CorefileError(argument.position, message)
    host, number = str(ip_address(host)), parse_port(port, argument.position)
    if number == DNS_PORT:
        return host
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


_ACL_OPTIONS: dict[str, Option[Acl]] = {action.value: Option(_rule, repeats=True) for action in AclAction}
