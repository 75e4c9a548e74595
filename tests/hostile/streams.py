"""TCP connections that misbehave on purpose, and such as do not, from any address of 127.0.0.0/8."""

from __future__ import annotations

import socket
import struct

from tests.server.serving import Server

PATIENCE = 5.0


def connect(server: Server, source: str = "127.0.0.1") -> socket.socket:
    """A connection that sends each octet as it is written."""
    sock = socket.create_connection((server.address, server.port), PATIENCE, (source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def framed(message: bytes) -> bytes:
    """A message as it goes onto a stream."""
    return len(message).to_bytes(2, "big") + message


def read_reply(sock: socket.socket) -> bytes:
    """The next reply, b"" if the server closes first."""
    head = read_exactly(sock, 2)
    return read_exactly(sock, int.from_bytes(head, "big")) if head else b""


def read_exactly(sock: socket.socket, octets: int) -> bytes:
    """So many octets, b"" if the server closes first."""
    found = b""
    while len(found) < octets:
        more = sock.recv(octets - len(found))
        if not more:
            return b""
        found += more
    return found


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_closed_by_server(sock: socket.socket) -> bool:
    """Wait until the server sends something or closes; whether it closed."""
    try:
        return not sock.recv(1)
    except ConnectionError:
        return True
