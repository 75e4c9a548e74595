"""The directive `cache`: which answers from outside are kept, and for how long.

    cache [TTL] [ZONES...] {
        success CAPACITY [TTL [MINTTL]]
        denial CAPACITY [TTL [MINTTL]]
        prefetch AMOUNT [DURATION [PERCENTAGE%]]
        serve_stale [DURATION [immediate|verify [TIMEOUT]]]
        servfail DURATION
        disable success|denial [ZONES...]
        keepttl
    }

In: statements. Out: plugins.Cache, and back to lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from kdns.corefile.duration import format_duration
from kdns.corefile.errors import CorefileError
from kdns.corefile.lexer import Token
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
    DEFAULT_CAPACITY,
    DEFAULT_DENIAL_TTL,
    DEFAULT_PREFETCH_NS,
    DEFAULT_PREFETCH_PERCENT,
    DEFAULT_SERVFAIL_NS,
    DEFAULT_STALE_NS,
    DEFAULT_SUCCESS_TTL,
    DEFAULT_VERIFY_TIMEOUT_NS,
    MAX_TTL,
    Cache,
)
from kdns.corefile.zones import parse_zones, zone_text
from kdns.wire.name import ROOT

MIN_CAPACITY = 1024  # CoreDNS's own: less is taken for this
# Each reply kept takes a kilobyte or two; who writes more has a digit too many.
MAX_CAPACITY = 10_000_000
MIN_PERCENT, MAX_PERCENT = 10, 90  # CoreDNS's own limits
MAX_SERVFAIL_NS = 300 * 10**9  # RFC 9520 section 3.2, and CoreDNS
MAX_AMOUNT = 1_000_000_000


class _Kind(Enum):
    SUCCESS = "success"
    DENIAL = "denial"


class _Refresh(Enum):
    IMMEDIATE = "immediate"
    VERIFY = "verify"


def parse_cache(statement: Statement, block_zones: tuple[bytes, ...]) -> Cache:
    """`cache [TTL] [ZONES...] { ... }`. Raises CorefileError."""
    arguments = statement.arguments
    ttls: tuple[int, int] = (DEFAULT_SUCCESS_TTL, DEFAULT_DENIAL_TTL)
    if arguments and arguments[0].text.lstrip("-").isdecimal():
        ttls = (number(arguments[0], 1, MAX_TTL),) * 2
        arguments = arguments[1:]
    zones = parse_zones(arguments) or block_zones
    start = Cache(zones, success_ttl=ttls[0], denial_ttl=ttls[1], position=statement.position)
    return fold_body(start, statement, _OPTIONS)


def print_cache(cache: Cache, block_zones: tuple[bytes, ...]) -> list[str]:
    """The lines of the directive."""
    has_one_ttl = cache.success_ttl == cache.denial_ttl
    words = [str(cache.success_ttl)] if has_one_ttl else []
    words += [] if cache.zones == block_zones else map(_zone_word, cache.zones)
    options = [line for write_option in _PRINTERS for line in write_option(cache)]
    head = " ".join(["cache", *words])
    return with_options(head, options)


def _zone_word(zone: bytes) -> str:
    """The zone, with a last dot where it could be taken for a TTL."""
    text = zone_text(zone)
    return f"{text}." if text.isdecimal() else text


def _success(value: Cache, statement: Statement) -> Cache:
    capacity, ttl, min_ttl = _limits(statement, value.success_ttl)
    return replace(value, success_capacity=capacity, success_ttl=ttl, success_min_ttl=min_ttl)


def _denial(value: Cache, statement: Statement) -> Cache:
    capacity, ttl, min_ttl = _limits(statement, value.denial_ttl)
    return replace(value, denial_capacity=capacity, denial_ttl=ttl, denial_min_ttl=min_ttl)


def _limits(statement: Statement, ttl: int) -> tuple[int, int, int]:
    """CAPACITY, TTL (without one it is as before) and MINTTL."""
    capacity, *rest = _at_most_three(statement, "CAPACITY [TTL [MINTTL]]")
    ttl = number(rest[0], 1, MAX_TTL) if rest else ttl
    min_ttl = number(rest[1], 0, MAX_TTL) if len(rest) > 1 else 0
    # As in CoreDNS, the greatest TTL has the last word.
    return max(MIN_CAPACITY, number(capacity, 0, MAX_CAPACITY)), ttl, min(min_ttl, ttl)


def _at_most_three(statement: Statement, what: str) -> tuple[Token, ...]:
    arguments = some_arguments(statement, what)
    if len(arguments) > 3:
        raise CorefileError(arguments[3].position, f"`{statement.name.text}` takes {what}")
    return arguments


def _prefetch(value: Cache, statement: Statement) -> Cache:
    amount, *rest = _at_most_three(statement, "AMOUNT [DURATION [PERCENTAGE%]]")
    return replace(
        value,
        prefetch_amount=number(amount, 0, MAX_AMOUNT),
        prefetch_ns=duration(rest[0]) if rest else DEFAULT_PREFETCH_NS,
        prefetch_percent=_percent(rest[1]) if len(rest) > 1 else DEFAULT_PREFETCH_PERCENT,
    )


def _percent(argument: Token) -> int:
    if not argument.text.endswith("%"):
        raise CorefileError(argument.position, f"a percentage ends in %, as in 10%, not `{argument.text}`")
    return number(replace(argument, text=argument.text[:-1]), MIN_PERCENT, MAX_PERCENT)


def _serve_stale(value: Cache, statement: Statement) -> Cache:
    arguments = statement.arguments and _at_most_three(statement, "[DURATION [immediate|verify [TIMEOUT]]]")
    stale_ns = duration(arguments[0]) if arguments else DEFAULT_STALE_NS
    is_verified = len(arguments) > 1 and choice(arguments[1], _Refresh) is _Refresh.VERIFY
    timeout_ns = DEFAULT_VERIFY_TIMEOUT_NS
    if len(arguments) > 2:
        if not is_verified:
            raise CorefileError(arguments[2].position, "only verify takes a TIMEOUT")
        timeout_ns = duration(arguments[2])
    if not stale_ns:
        return value  # as in CoreDNS, it is off
    return replace(value, stale_ns=stale_ns, is_stale_verified=is_verified, verify_timeout_ns=timeout_ns)


def _servfail(value: Cache, statement: Statement) -> Cache:
    argument = one_argument(statement, "a duration")
    servfail_ns = duration(argument)
    if servfail_ns > MAX_SERVFAIL_NS:
        raise CorefileError(argument.position, "failures are kept for 5 minutes at most")
    return replace(value, servfail_ns=servfail_ns)


def _disable(value: Cache, statement: Statement) -> Cache:
    kind, *names = some_arguments(statement, "success or denial, and zones")
    zones = parse_zones(tuple(names)) or (ROOT,)
    if choice(kind, _Kind) is _Kind.SUCCESS:
        return replace(value, disabled_success=tuple(dict.fromkeys([*value.disabled_success, *zones])))
    return replace(value, disabled_denial=tuple(dict.fromkeys([*value.disabled_denial, *zones])))


def _print_limits(name: str, capacity: int, ttl: int, default_ttl: int, min_ttl: int) -> list[str]:
    if (capacity, ttl, min_ttl) == (DEFAULT_CAPACITY, default_ttl, 0):
        return []
    return [f"{name} {capacity} {ttl}" + (f" {min_ttl}" if min_ttl else "")]


def _print_success(cache: Cache) -> list[str]:
    default = cache.denial_ttl if cache.success_ttl == cache.denial_ttl else DEFAULT_SUCCESS_TTL
    return _print_limits("success", cache.success_capacity, cache.success_ttl, default, cache.success_min_ttl)


def _print_denial(cache: Cache) -> list[str]:
    default = cache.success_ttl if cache.success_ttl == cache.denial_ttl else DEFAULT_DENIAL_TTL
    return _print_limits("denial", cache.denial_capacity, cache.denial_ttl, default, cache.denial_min_ttl)


def _print_prefetch(cache: Cache) -> list[str]:
    values = (cache.prefetch_amount, cache.prefetch_ns, cache.prefetch_percent)
    if values == (0, DEFAULT_PREFETCH_NS, DEFAULT_PREFETCH_PERCENT):
        return []
    return [f"prefetch {cache.prefetch_amount} {format_duration(cache.prefetch_ns)} {cache.prefetch_percent}%"]


def _print_stale(cache: Cache) -> list[str]:
    if not cache.stale_ns:
        return []
    words = ["serve_stale", format_duration(cache.stale_ns)]
    if cache.is_stale_verified:
        words.append("verify")
        if cache.verify_timeout_ns != DEFAULT_VERIFY_TIMEOUT_NS:
            words.append(format_duration(cache.verify_timeout_ns))
    return [" ".join(words)]


def _print_disabled(kind: str, zones: tuple[bytes, ...]) -> list[str]:
    return [" ".join(["disable", kind, *map(zone_text, zones)])] if zones else []


_OPTIONS: dict[str, Option[Cache]] = {
    "success": Option(_success),
    "denial": Option(_denial),
    "prefetch": Option(_prefetch),
    "serve_stale": Option(_serve_stale),
    "servfail": Option(_servfail),
    "disable": Option(_disable, repeats=True),
    "keepttl": flag(lambda value: replace(value, keepttl=True)),
}

_PRINTERS: tuple[Callable[[Cache], list[str]], ...] = (
    _print_success,
    _print_denial,
    _print_prefetch,
    _print_stale,
    lambda c: [] if c.servfail_ns == DEFAULT_SERVFAIL_NS else [f"servfail {format_duration(c.servfail_ns)}"],
    lambda c: _print_disabled("success", c.disabled_success),
    lambda c: _print_disabled("denial", c.disabled_denial),
    lambda c: ["keepttl"] if c.keepttl else [],
)
