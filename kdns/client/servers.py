"""Which DNS servers are asked: those that the app names, else those of resolv.conf (resolv.conf(5)).

Not here: how they are asked, and in which order (kdns.wire.exchange, kdns.client.stub).
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from kdns.client.errors import OptionError
from kdns.client.options import ResolverOptions
from kdns.client.place import read_file

PORT = 53
# glibc's MAXNS; more would only make a failure take longer.
SERVERS_MOST = 3
# resolv.conf(5): without a nameserver line, the one on this machine.
LOCAL = "127.0.0.1"


class Server(NamedTuple):
    """host: an address, with its zone if it is a link-local one."""

    host: str
    port: int = PORT


def parse_server(text: str) -> Server:
    """`10.96.0.10`, `10.96.0.10:53`, `fd00::10`, `[fd00::10]:53`. Raises OptionError for anything else."""
    host, port = _split(text)
    if not is_address(host) or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise OptionError(f"{text!r} is no DNS server: write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT")
    return Server(host, int(port))


def servers_from(resolv_conf: str) -> tuple[Server, ...]:
    """Those of its `nameserver` lines that are addresses, as far as glibc would ask them; else the local one."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and is_address(words[1]):
            found.append(Server(words[1]))
    return tuple(found[:SERVERS_MOST]) or (Server(LOCAL),)


def find_servers(options: ResolverOptions) -> tuple[Server, ...]:
    """Those of the options, else of resolv.conf. Raises OptionError."""
    if options.servers:
        return tuple(map(parse_server, options.servers))
    return servers_from(read_file(options.resolv_conf))


def is_address(text: str) -> bool:
    """Whether it is an IPv4 address of four parts or an IPv6 address, maybe with a zone."""
    address, _, zone = text.partition("%")
    families = (socket.AF_INET6,) if zone else (socket.AF_INET, socket.AF_INET6)
    for family in families:
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        return True
    return False


def canonical(address: str) -> str:
    """An address as `socket.inet_ntop` writes it: one address has one text."""
    if ":" not in address:
        return address
    number, percent, zone = address.partition("%")
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, number)) + percent + zone


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closing, port = text[1:].partition("]")
        return host, port[1:] if port.startswith(":") else ("" if port or not closing else str(PORT))
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, str(PORT)
