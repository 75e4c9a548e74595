"""A configuration text to its model: the way in of this room.

In: text, and callables and mappings for what lies outside it. Out: model.Corefile, or a CorefileError for the first
thing that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from kdns.corefile.directives import apply_directives
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.imports import Read, flatten, no_files
from kdns.corefile.model import DEFAULT_PORT, Corefile, ServerBlock
from kdns.corefile.parser import Block, parse_blocks
from kdns.corefile.zones import Key, parse_key, zone_text

_NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


def parse_corefile(
    text: str,
    file: str = "Corefile",
    *,
    read: Read = no_files,
    environment: Mapping[str, str] = _NO_ENVIRONMENT,
    default_port: int = DEFAULT_PORT,
) -> Corefile:
    """The model of a configuration text.

    file: its path, for messages and for what `import` is relative to.
    read: reads the files that an `import` names.
    environment: what `{$NAME}` stands for.
    default_port: the port of keys that name none (`-dns.port`).
    Raises CorefileError, and nothing else.
    """
    tokens, sources = flatten(text, file, read, environment)
    blocks = parse_blocks(tokens)
    if not blocks:
        raise CorefileError(Position(file, 1, 1), "no server block: nothing to serve; start with `.:53 {`")
    served = _Served()
    return Corefile(tuple(one for block in blocks for one in _server_blocks(block, default_port, served)), sources)


def _server_blocks(block: Block, default_port: int, served: _Served) -> list[ServerBlock]:
    """What one block of the text says, once for each port that its keys name."""
    keys = [parse_key(token) for token in block.keys]
    zones = tuple(dict.fromkeys(zone for key in keys for zone in key.zones))
    # All keys share the directives: those that default to the zones of the block get the zones of all its keys.
    whole = apply_directives(ServerBlock(zones), block.statements)
    by_port: dict[int, list[Key]] = {}
    for key in keys:
        by_port.setdefault(default_port if key.port is None else key.port, []).append(key)
    return [served.add(whole, port, group) for port, group in by_port.items()]


class _Served:
    """Which zone is served where, to refuse a second block for it; dies with the parse."""

    def __init__(self) -> None:
        # (zone, port) to the addresses, as written, and the key of each block that serves it; none: every address.
        self._keys: dict[tuple[bytes, int], list[tuple[frozenset[str], Position]]] = {}

    def add(self, whole: ServerBlock, port: int, keys: list[Key]) -> ServerBlock:
        """The part of the block on this port, whose zones are then taken. Raises CorefileError."""
        addresses = frozenset(address for bind in whole.bind for address in bind.addresses)
        zones: list[bytes] = []
        for key in keys:
            for zone in key.zones:
                self._take(zone, port, addresses, key.position)
                zones.append(zone)
        return replace(whole, zones=tuple(zones), port=port, position=keys[0].position)

    def _take(self, zone: bytes, port: int, addresses: frozenset[str], position: Position) -> None:
        taken = self._keys.setdefault((zone, port), [])
        for others, earlier in taken:
            if not addresses or not others or addresses & others:
                message = f"{zone_text(zone)} on port {port} is already served by the block at {earlier}"
                raise CorefileError(position, f"{message}: join the two, or `bind` them to different addresses")
        taken.append((addresses, position))
