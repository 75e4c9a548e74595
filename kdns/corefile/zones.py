"""Zones as a Corefile writes them: the keys of server blocks, zone arguments, reverse zones by network.

    example.org:1053   dns://example.org   .   :53   10.0.0.0/24   2001:db8::/32

A network stands for the reverse zones that cover it: one on an octet (IPv6: nibble) boundary, else one for each
sub-network on the next boundary, as in CoreDNS. In: tokens. Out: folded wire names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.lexer import Token
from kdns.corefile.model import is_address
from kdns.corefile.parser import Statement
from kdns.wire.name import ROOT, InvalidName, from_text, to_text

MAX_PORT = 65535

_TRANSPORT = re.compile(r"(?P<name>[a-z][a-z0-9+]*)://", re.IGNORECASE)
_NETWORK_SHAPED = re.compile(r"[0-9.]+/[0-9.]+|[0-9a-f.]*:[0-9a-f:.]*/[0-9]+", re.IGNORECASE)
# What a zone argument or a key may not hold as it is, because the language gives it a meaning.
_ESCAPES = {ord(c): f"\\{ord(c):03d}" for c in ":/,{}#"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a server block: its zones (several only for a network) and its port, if it names one."""

    zones: tuple[bytes, ...]
    port: int | None
    position: Position


def parse_key(token: Token) -> Key:
    """A key of a server block: `[dns://]ZONE[:PORT]`. Raises CorefileError."""
    text = _without_transport(token)
    if is_address(text) or _network(text) or _NETWORK_SHAPED.fullmatch(text):
        return Key(_zones(text, token.position), None, token.position)
    host, colon, port = text.rpartition(":")
    if not colon:
        return Key(_zones(text, token.position), None, token.position)
    return Key(_zones(host, token.position), parse_port(port, token.position), token.position)


def parse_zones(tokens: tuple[Token, ...]) -> tuple[bytes, ...]:
    """Zone arguments of a directive, each zone once. Raises CorefileError."""
    found = [zone for token in tokens for zone in parse_zone(token.text, token.position)]
    return tuple(dict.fromkeys(found))


def parse_zone(text: str, position: Position) -> tuple[bytes, ...]:
    """The zone, or zones of a network, that `text` names without a port. Raises CorefileError."""
    if not text:
        raise CorefileError(position, "the zone is empty: is the environment variable in it set?")
    return _zones(text, position)


def zone_text(zone: bytes) -> str:
    """The zone as a Corefile writes it, without the last dot: `example.org`, and `.` for the root."""
    text = to_text(zone).replace("\\\\", "\\092")  # a word must not end in a backslash
    return text.translate(_ESCAPES).removesuffix(".") or "."


def zone_words(zones: tuple[bytes, ...], block_zones: tuple[bytes, ...]) -> list[str]:
    """The zones of a directive as it names them: not at all if they are those of its server block."""
    return [] if zones == block_zones else list(map(zone_text, zones))


def parse_fallthrough(statement: Statement) -> tuple[bytes, ...]:
    """The zones of a `fallthrough` line; without any, the root, which is everything."""
    return parse_zones(statement.arguments) or (ROOT,)


def print_fallthrough(zones: tuple[bytes, ...] | None) -> list[str]:
    """The `fallthrough` line for these zones, if any."""
    if zones is None:
        return []
    return ["fallthrough" if zones == (ROOT,) else " ".join(["fallthrough", *map(zone_text, zones)])]


def is_reverse(zone: bytes) -> bool:
    """Whether the folded name is in the trees that map addresses to names."""
    return zone.endswith((b"\x07in-addr\x04arpa\0", b"\x03ip6\x04arpa\0"))


def _without_transport(token: Token) -> str:
    found = _TRANSPORT.match(token.text)
    if found is None:
        return token.text
    if found["name"].lower() != "dns":
        message = f"kdns serves plain DNS over UDP and TCP, not `{found.group()}`: remove this server block"
        raise CorefileError(token.position, message)
    return token.text[found.end() :]


def _zones(text: str, position: Position) -> tuple[bytes, ...]:
    network = _network(text)
    if network:
        return tuple(from_text(zone) for zone in _reverse_zones(network))
    if _NETWORK_SHAPED.fullmatch(text):
        raise CorefileError(position, f"`{text}` is no network: write it in full, as in 10.0.0.0/24 or 2001:db8::/32")
    if is_address(text.strip("[]")):
        raise _address_error(text, position)
    if ":" in text:
        raise CorefileError(position, f"`{text}` is no zone: only the key of a server block has a port, behind a `:`")
    return (_name(text, position),)


def _name(text: str, position: Position) -> bytes:
    try:
        zone = from_text(text).lower()
    except InvalidName as error:
        raise CorefileError(position, f"`{text}` is no zone: {error}") from None
    if is_address(to_text(zone)[:-1]):  # again, for escapes may have hidden it
        raise _address_error(text, position)
    return zone


def _address_error(text: str, position: Position) -> CorefileError:
    return CorefileError(position, f"`{text}` is an address, not a zone: give it to `bind`, and write the zone here")


def parse_port(text: str, position: Position) -> int:
    """The port number that the text spells. Raises CorefileError."""
    if not text:
        raise CorefileError(position, "a port must follow the `:`; is the environment variable in it set?")
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= MAX_PORT):
        raise CorefileError(position, f"`{text}` is no port: it is a number up to {MAX_PORT}")
    return int(text)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    """The network that `text` spells in full; host bits are cut off as in CoreDNS."""
    _, slash, prefix = text.partition("/")
    if not slash or not prefix.isdecimal():
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _reverse_zones(network: IPv4Network | IPv6Network) -> list[str]:
    """The reverse zones on the next octet or nibble boundary that make up the network."""
    step = 8 if network.version == 4 else 4
    boundary = -(-network.prefixlen // step) * step
    labels_cut = (network.max_prefixlen - boundary) // step
    pointers = [subnet.network_address.reverse_pointer for subnet in network.subnets(new_prefix=boundary)]
    return [".".join(pointer.split(".")[labels_cut:]) for pointer in pointers]
