"""The directive `forward`: which names are asked of whom, and how.

    forward FROM TO... {
        except NAMES...
        policy random|round_robin|sequential
        ...
    }

TO is an address, `10.0.0.1`, `10.0.0.1:5353`, `2001:db8::1`, `[2001:db8::1]:53`, with `tls://` before it for DNS over
TLS, or the path of a file like /etc/resolv.conf. In: statements. Out: plugins.Forward, and back to lines.
Not here: reading such a file, which whoever forwards does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address, ip_address

from kdns.corefile.duration import format_duration
from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Token
from kdns.corefile.mnemonics import parse_rcode, rcode_word
from kdns.corefile.model import is_address
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
from kdns.corefile.plugins import (
    DEFAULT_EXPIRE_NS,
    DEFAULT_MAX_AGE_NS,
    DEFAULT_MAX_FAILS,
    DEFAULT_READ_TIMEOUT_NS,
    DNS_PORT,
    TLS_PORT,
    Forward,
    HealthCheck,
    Policy,
    TlsFiles,
    Upstream,
)
from kdns.corefile.zones import parse_port, parse_zone, parse_zones, zone_text

MAX_UPSTREAMS = 15  # CoreDNS's own limit
MAX_COUNT = 2**32 - 1  # CoreDNS's own limit of `max_fails`

_DEFAULT_PORTS = {"dns": DNS_PORT, "tls": TLS_PORT}
_TRANSPORT = re.compile(r"(?P<name>[a-z][a-z0-9+]*)://", re.IGNORECASE)
_OTHER_TRANSPORTS = "kdns forwards over plain DNS and over TLS: write an address, or `tls://` and an address"
_HOST_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_.]{0,251}[a-z0-9_.])?", re.IGNORECASE)
_ZONE_INDEX = re.compile(r"[-a-z0-9_.]{1,15}", re.IGNORECASE)
_REFUSED = {
    "doh_method": "kdns does not forward over HTTPS: use `tls://`, and remove the line",
    "resolver": "kdns looks up no names of upstreams: write their addresses, and remove the line",
}


def parse_forward(statement: Statement) -> Forward:
    """`forward FROM TO... { ... }`. Raises CorefileError."""
    zone, *targets = some_arguments(statement, "FROM and TO, as in `forward . /etc/resolv.conf`")
    if not targets:
        raise CorefileError(statement.position, "`forward` needs TO behind FROM, as in `forward . /etc/resolv.conf`")
    if len(targets) > MAX_UPSTREAMS:
        raise CorefileError(targets[MAX_UPSTREAMS].position, f"`forward` takes at most {MAX_UPSTREAMS} upstreams")
    start = Forward(_from(zone), tuple(map(_target, targets)), position=statement.position)
    forward = fold_body(start, statement, _OPTIONS, _REFUSED)
    _refuse_two_names(forward, statement)
    return forward


def print_forward(forward: Forward) -> list[str]:
    """The lines of the directive."""
    targets = [write(source if isinstance(source, str) else _upstream_text(source)) for source in forward.sources]
    head = " ".join(["forward", zone_text(forward.zone), *targets])
    options = [line for write_option in _PRINTERS for line in write_option(forward)]
    return with_options(head, options)


def _from(argument: Token) -> bytes:
    zones = parse_zone(argument.text, argument.position)
    if len(zones) > 1:
        message = f"`{argument.text}` stands for {len(zones)} reverse zones: write a `forward` for each"
        raise CorefileError(argument.position, message)
    return zones[0]


def _target(argument: Token) -> Upstream | str:
    """One TO. Raises CorefileError."""
    found = _TRANSPORT.match(argument.text)
    transport = found["name"].lower() if found else "dns"
    if transport not in _DEFAULT_PORTS:
        raise CorefileError(argument.position, f"`{argument.text}`: {_OTHER_TRANSPORTS}")
    text = argument.text[found.end() :] if found else argument.text
    if found is None and ("/" in text or text.endswith(".conf")):
        return text
    return _upstream(transport, text, argument)


def _upstream(transport: str, text: str, argument: Token) -> Upstream:
    host, port = _host_and_port(transport, text, argument.position)
    server_name = ""
    if transport == "tls" and "%" in host and not _is_link_local(host):
        host, _, server_name = host.partition("%")
        _refuse_server_name(server_name, argument.position)
    if not is_address(host) or not _has_good_index(host):
        raise CorefileError(argument.position, _not_an_upstream(argument.text))
    return Upstream(transport, str(ip_address(host)), port, server_name.lower())


def _host_and_port(transport: str, text: str, position: Position) -> tuple[str, int]:
    """What stands before and behind the port's colon; an address of IPv6 with a port needs brackets."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise CorefileError(position, f"`{text}` is no address: write it as in [2001:db8::1]:53")
        port_text = rest
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
        port_text = colon + port
    else:
        host, port_text = text, ""
    port_number = parse_port(port_text[1:], position) if port_text else _DEFAULT_PORTS[transport]
    if port_number == 0:
        raise CorefileError(position, f"`{text}`: port 0 is none that a server listens on")
    return host, port_number


def _is_link_local(host: str) -> bool:
    """Whether what stands behind `%` is the index of a zone, and not the name of a server."""
    address = host.partition("%")[0]
    return is_address(address) and isinstance(ip_address(address), IPv6Address) and ip_address(address).is_link_local


def _has_good_index(host: str) -> bool:
    _, sign, index = host.partition("%")
    return not sign or bool(_ZONE_INDEX.fullmatch(index))


def _not_an_upstream(text: str) -> str:
    if _HOST_NAME.fullmatch(text.partition(":")[0]) and not re.fullmatch(r"[0-9.:]+", text):
        return f"`{text}` is a name, which kdns would have to ask itself for: write the address of the server"
    return f"`{text}` is no upstream: write an address, ADDRESS:PORT, [IPV6]:PORT, or the path of a resolv.conf"


def _refuse_server_name(name: str, position: Position) -> None:
    if not _HOST_NAME.fullmatch(name):
        raise CorefileError(position, f"`{name}` is no name of a server: write it as in dns.example.org")


def _refuse_two_names(forward: Forward, statement: Statement) -> None:
    if forward.tls_server_name and any(upstream.server_name for upstream in forward.upstreams):
        option = next(option for option in statement.body or () if option.name.text == "tls_servername")
        message = "`tls_servername` and `%NAME` behind an upstream exclude each other: keep one of them"
        raise CorefileError(option.position, message)


def _upstream_text(upstream: Upstream) -> str:
    host, name = upstream.host, f"%{upstream.server_name}" if upstream.server_name else ""
    prefix = "tls://" if upstream.is_tls else ""
    if upstream.port == _DEFAULT_PORTS[upstream.transport]:
        return f"{prefix}[{host}{name}]" if ":" in host and name else f"{prefix}{host}{name}"
    return f"{prefix}[{host}{name}]:{upstream.port}" if ":" in host else f"{prefix}{host}{name}:{upstream.port}"


def _except(value: Forward, statement: Statement) -> Forward:
    zones = parse_zones(some_arguments(statement, "at least one name"))
    return replace(value, excluded=tuple(dict.fromkeys([*value.excluded, *zones])))


def _expire(value: Forward, statement: Statement) -> Forward:
    return replace(value, expire_ns=duration(one_argument(statement, "a duration")))


def _max_age(value: Forward, statement: Statement) -> Forward:
    return replace(value, max_age_ns=duration(one_argument(statement, "a duration")))


def _read_timeout(value: Forward, statement: Statement) -> Forward:
    argument = one_argument(statement, "a duration")
    read_timeout_ns = duration(argument)
    if not read_timeout_ns:
        raise CorefileError(argument.position, "no server answers in no time at all: write it as in 2s")
    return replace(value, read_timeout_ns=read_timeout_ns)


def _max_idle(value: Forward, statement: Statement) -> Forward:
    return replace(value, max_idle=_count(statement))


def _max_fails(value: Forward, statement: Statement) -> Forward:
    return replace(value, max_fails=_count(statement))


def _max_connect_attempts(value: Forward, statement: Statement) -> Forward:
    return replace(value, max_connect_attempts=_count(statement))


def _max_concurrent(value: Forward, statement: Statement) -> Forward:
    return replace(value, max_concurrent=_count(statement))


def _count(statement: Statement) -> int:
    return number(one_argument(statement, "a number"), 0, MAX_COUNT)


def _tls(value: Forward, statement: Statement) -> Forward:
    """From none to three files: the authority alone, or certificate and key, or all of them."""
    texts = tuple(argument.text for argument in statement.arguments)
    if len(texts) > 3:
        raise CorefileError(statement.arguments[3].position, "`tls` takes at most three files: CERT KEY CA")
    if "" in texts:
        raise CorefileError(statement.position, "an argument of `tls` is empty: leave it out")
    by_count = {0: ("", "", ""), 1: ("", "", *texts), 2: (*texts, ""), 3: texts}
    return replace(value, tls=TlsFiles(*by_count[len(texts)]))


def _tls_servername(value: Forward, statement: Statement) -> Forward:
    argument = one_argument(statement, "a name")
    _refuse_server_name(argument.text, argument.position)
    return replace(value, tls_server_name=argument.text.lower())


def _policy(value: Forward, statement: Statement) -> Forward:
    return replace(value, policy=choice(one_argument(statement, "a policy"), Policy))


def _health_check(value: Forward, statement: Statement) -> Forward:
    interval, *rest = some_arguments(statement, "a duration")
    check = HealthCheck(duration(interval))
    if not check.interval_ns:
        raise CorefileError(interval.position, "probes need a pause: `max_fails 0` turns them off")
    while rest:
        word, *rest = rest
        if word.text == "no_rec":
            check = replace(check, recursion_desired=False)
        elif word.text == "domain" and rest:
            name, *rest = rest
            check = replace(check, domain=_one_name(name))
        else:
            raise CorefileError(word.position, f"no_rec or domain NAME expected, not `{word.text}`")
    return replace(value, health_check=check)


def _one_name(argument: Token) -> bytes:
    zones = parse_zone(argument.text, argument.position)
    if len(zones) > 1:
        raise CorefileError(argument.position, f"`{argument.text}` is a network: a name is expected here")
    return zones[0]


def _next(value: Forward, statement: Statement) -> Forward:
    return replace(value, next_rcodes=_rcodes(statement, value.next_rcodes))


def _failover(value: Forward, statement: Statement) -> Forward:
    rcodes = _rcodes(statement, value.failover)
    if 0 in rcodes:
        message = "`failover` takes no NOERROR: with it, an answer would be thrown away"
        raise CorefileError(statement.position, message)
    return replace(value, failover=rcodes)


def _rcodes(statement: Statement, earlier: tuple[int, ...]) -> tuple[int, ...]:
    arguments = some_arguments(statement, "at least one rcode, such as SERVFAIL")
    return tuple(dict.fromkeys([*earlier, *map(parse_rcode, arguments)]))


def _print_tls(files: TlsFiles | None) -> list[str]:
    if files is None:
        return []
    return [" ".join(["tls", *map(write, filter(None, (files.certificate, files.key, files.ca)))])]


def _print_health_check(check: HealthCheck) -> list[str]:
    if check == HealthCheck():
        return []
    no_rec = [] if check.recursion_desired else ["no_rec"]
    domain = [] if check.domain == HealthCheck().domain else ["domain", zone_text(check.domain)]
    return [" ".join(["health_check", format_duration(check.interval_ns), *no_rec, *domain])]


def _print_count(name: str, count: int, default: int = 0) -> list[str]:
    return [] if count == default else [f"{name} {count}"]


def _print_rcodes(name: str, rcodes: tuple[int, ...]) -> list[str]:
    return [" ".join([name, *map(rcode_word, rcodes)])] if rcodes else []


_OPTIONS: dict[str, Option[Forward]] = {
    "except": Option(_except, repeats=True),
    "force_tcp": flag(lambda value: replace(value, force_tcp=True)),
    "prefer_udp": flag(lambda value: replace(value, prefer_udp=True)),
    "expire": Option(_expire),
    "max_age": Option(_max_age),
    "read_timeout": Option(_read_timeout),
    "max_idle_conns": Option(_max_idle),
    "max_fails": Option(_max_fails),
    "max_connect_attempts": Option(_max_connect_attempts),
    "tls": Option(_tls),
    "tls_servername": Option(_tls_servername),
    "policy": Option(_policy),
    "health_check": Option(_health_check),
    "max_concurrent": Option(_max_concurrent),
    "next": Option(_next, repeats=True),
    "next_on_nodata": flag(lambda value: replace(value, next_on_nodata=True)),
    "failfast_all_unhealthy_upstreams": flag(lambda value: replace(value, failfast_all_unhealthy=True)),
    "failover": Option(_failover, repeats=True),
}

# One line or none each, in the order of _OPTIONS.
_PRINTERS: tuple[Callable[[Forward], list[str]], ...] = (
    lambda f: [" ".join(["except", *map(zone_text, f.excluded)])] if f.excluded else [],
    lambda f: ["force_tcp"] if f.force_tcp else [],
    lambda f: ["prefer_udp"] if f.prefer_udp else [],
    lambda f: [] if f.expire_ns == DEFAULT_EXPIRE_NS else [f"expire {format_duration(f.expire_ns)}"],
    lambda f: [] if f.max_age_ns == DEFAULT_MAX_AGE_NS else [f"max_age {format_duration(f.max_age_ns)}"],
    lambda f: (
        [] if f.read_timeout_ns == DEFAULT_READ_TIMEOUT_NS else [f"read_timeout {format_duration(f.read_timeout_ns)}"]
    ),
    lambda f: _print_count("max_idle_conns", f.max_idle),
    lambda f: _print_count("max_fails", f.max_fails, DEFAULT_MAX_FAILS),
    lambda f: _print_count("max_connect_attempts", f.max_connect_attempts),
    lambda f: _print_tls(f.tls),
    lambda f: [f"tls_servername {f.tls_server_name}"] if f.tls_server_name else [],
    lambda f: [] if f.policy is Policy.RANDOM else [f"policy {f.policy.value}"],
    lambda f: _print_health_check(f.health_check),
    lambda f: _print_count("max_concurrent", f.max_concurrent),
    lambda f: _print_rcodes("next", f.next_rcodes),
    lambda f: ["next_on_nodata"] if f.next_on_nodata else [],
    lambda f: ["failfast_all_unhealthy_upstreams"] if f.failfast_all_unhealthy else [],
    lambda f: _print_rcodes("failover", f.failover),
)
