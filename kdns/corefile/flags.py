"""The flags of `kdns serve` that stand for a Corefile: `--listen`, `--manifests`, `--kubeconfig`, `--zones` to the
same model.

    kdns serve --listen 127.0.0.1:1053 --manifests shop.yaml --zones zones/example.org.zone

A zone file is named for its origin, `example.org.zone`, or given as `ORIGIN=PATH`. Errors name the flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import PurePosixPath

from kdns.corefile.environment import write
from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.model import (
    DEFAULT_PORT,
    Bind,
    Corefile,
    Errors,
    Kubernetes,
    PodMode,
    ServerBlock,
    ZoneFile,
    is_address,
)
from kdns.corefile.settings import KUBECONFIG
from kdns.corefile.zones import parse_port, parse_zone, zone_text
from kdns.wire.name import ROOT, from_text

CLUSTER_ZONES = (from_text("cluster.local"), from_text("in-addr.arpa"), from_text("ip6.arpa"))
ZONE_SUFFIX = ".zone"

KUBECONFIG_FLAG = Position("--kubeconfig")
KUBECONFIG_VARIABLE = Position(KUBECONFIG)
_LISTEN = Position("--listen")
_MANIFESTS = Position("--manifests")
_ZONES = Position("--zones")


def from_flags(
    listen: Sequence[str],
    manifests: Sequence[str],
    zones: Sequence[str],
    *,
    is_watched: bool = False,
    default_port: int = DEFAULT_PORT,
) -> Corefile:
    """The configuration that the flags stand for: one server block for the root on each port listened on.

    listen: `ADDRESS:PORT`, `[ADDRESS]:PORT` or `:PORT`; none means every address on `default_port`.
    manifests: paths, served as `cluster.local` and its reverse zones, with `pods insecure`.
    zones: paths of zone files, `ORIGIN.zone` or `ORIGIN=PATH`.
    is_watched: the same cluster, but as its API server tells it: that of the cluster around us, unless
        `with_kubeconfig` names another one.
    Raises CorefileError.
    """
    if manifests and is_watched:
        message = "with --manifests, leave out --kubeconfig: objects come from files or from an API server"
        raise CorefileError(_MANIFESTS, message)
    if not manifests and not zones and not is_watched:
        message = "nothing to serve: name objects with --manifests or --kubeconfig, or zone files with --zones"
        raise CorefileError(_LISTEN, message)
    for path in manifests:
        _check_path(path, _MANIFESTS)
    has_cluster = bool(manifests) or is_watched
    kubernetes = Kubernetes(CLUSTER_ZONES, pods=PodMode.INSECURE, manifests=tuple(manifests)) if has_cluster else None
    files = tuple(map(_zone_file, zones))
    _refuse_second_file(files)
    return Corefile(
        tuple(
            ServerBlock(
                (ROOT,), port, bind=bind, errors=Errors(), kubernetes=kubernetes, files=files, position=_LISTEN
            )
            for port, bind in _listeners(listen or (f":{default_port}",))
        )
    )


def with_kubeconfig(corefile: Corefile, path: str, place: Position) -> Corefile:
    """The same, with `kubeconfig path` wherever an API server is watched and the Corefile does not say which.

    place: KUBECONFIG_FLAG or KUBECONFIG_VARIABLE. Raises CorefileError.
    """
    if not any(block.kubernetes and block.kubernetes.is_in_cluster for block in corefile.blocks):
        return corefile
    _check_path(path, place)
    return replace(corefile, blocks=tuple(_with_kubeconfig(block, path) for block in corefile.blocks))


def _with_kubeconfig(block: ServerBlock, path: str) -> ServerBlock:
    if block.kubernetes is None or not block.kubernetes.is_in_cluster:
        return block
    return replace(block, kubernetes=replace(block.kubernetes, kubeconfig=path))


def _listeners(listen: Sequence[str]) -> list[tuple[int, tuple[Bind, ...]]]:
    """The ports listened on and the addresses on each; no Bind for every address."""
    by_port: dict[int, list[str]] = {}
    for text in listen:
        address, port = _address_and_port(text)
        by_port.setdefault(port, []).append(address)
    return [(port, _bind(port, addresses)) for port, addresses in by_port.items()]


def _bind(port: int, addresses: list[str]) -> tuple[Bind, ...]:
    if "" not in addresses:
        return (Bind(tuple(dict.fromkeys(addresses))),)
    if set(addresses) != {""}:
        message = f"`:{port}` is every address already: leave out the other addresses of this port"
        raise CorefileError(_LISTEN, message)
    return ()


def _address_and_port(text: str) -> tuple[str, int]:
    """The address in its one spelling, empty for every address, and the port."""
    address, colon, port = text.rpartition(":")
    is_bracketed = address.startswith("[") and address.endswith("]")
    address = address[1:-1] if is_bracketed else address
    if not colon or (address and not is_address(address)) or (":" in address) != is_bracketed:
        raise CorefileError(_LISTEN, f"`{text}` is not ADDRESS:PORT, [IPV6-ADDRESS]:PORT or :PORT")
    return str(ip_address(address)) if address else "", parse_port(port, _LISTEN)


def _zone_file(text: str) -> ZoneFile:
    origin, sign, path = text.partition("=")
    if not sign:
        path, name = text, PurePosixPath(text).name
        if not name.endswith(ZONE_SUFFIX) or name == ZONE_SUFFIX:
            message = f"the origin of `{text}` is not clear: name the file ORIGIN.zone, or give ORIGIN=PATH"
            raise CorefileError(_ZONES, message)
        origin = name.removesuffix(ZONE_SUFFIX)
    _check_path(path, _ZONES)
    return ZoneFile(path, parse_zone(origin, _ZONES), position=_ZONES)


def _check_path(path: str, flag: Position) -> None:
    """Refuse a path that the Corefile shown by --print-corefile could not hold."""
    try:
        write(path)
    except ValueError as error:
        raise CorefileError(flag, f"the path `{path}` cannot be used: {error}") from None
    if not path:
        raise CorefileError(flag, "the path is empty")


def _refuse_second_file(files: tuple[ZoneFile, ...]) -> None:
    seen: dict[bytes, str] = {}
    for file in files:
        for zone in file.zones:
            if zone in seen:
                message = f"the zone {zone_text(zone)} is given twice, by {seen[zone]} and {file.path}"
                raise CorefileError(_ZONES, message)
            seen[zone] = file.path
