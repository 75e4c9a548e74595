"""Listening sockets: for each address, one UDP socket and one TCP listener per worker slot.

The supervisor binds them before anything else, so that a mistake shows at once, and holds them, so that what
is queued for a worker that dies waits for the next one. The kernel spreads clients over the slots
(SO_REUSEPORT). Not here: which addresses (kdns.server.assembly), reading queries (kdns.server.udp, kdns.server.tcp).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

WILDCARD_HOSTS = ("0.0.0.0", "::")  # "all addresses" is one socket for each family
# 5,000 waiting queries of 800 octets of kernel memory each: 30 ms at the rate of one busy core. More would only
# make queries wait until their clients have given up.
RECEIVE_BUFFER_OCTETS = 4 << 20
TCP_BACKLOG = 511  # connections that wait for accept: nginx's default, enough for a burst of one slice
_IP_PKTINFO = 8  # <linux/in.h>; not named by Python 3.11
_SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>
# A kernel without IPv6, or with it disabled, is no error for a wildcard.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

_REASONS: dict[int, str] = {
    errno.EADDRINUSE: "another process (or another kdns) listens there; stop it or choose another port",
    errno.EACCES: "no permission; ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this kernel does not speak that address family",
}


class Address(NamedTuple):
    """Where to listen: a numeric host (IPv6 with scope where link-local) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether it means all addresses of a family."""
        return self.host in WILDCARD_HOSTS


class BindError(Exception):
    """An address that cannot be listened on; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class SlotSockets:
    """What one worker slot listens on at one address."""

    address: Address
    listener: int
    udp: socket.socket
    tcp: socket.socket


@dataclass(frozen=True, slots=True)
class Binding:
    """All sockets of one address, one pair per worker slot."""

    address: Address
    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]

    def for_slot(self, slot: int, listener: int) -> SlotSockets:
        """The pair of one slot; `listener` is its index in the specification."""
        return SlotSockets(self.address, listener, self.udp[slot], self.tcp[slot])

    def refuse_queries(self) -> None:
        """Have the kernel refuse datagrams from now on; what is queued can still be read, and answered.

        A UDP socket that is connected hears nobody but its peer, which is itself here: whoever else asks is told at
        once that the port is closed, and tries elsewhere, instead of waiting for an answer. There is no way back:
        disconnected, it would not get its share of the clients again.
        """
        for sock in self.udp:
            with suppress(OSError):  # where it has no route to itself, closing will have to do
                sock.connect(sock.getsockname())

    def refuse_connections(self) -> None:
        """Have the kernel refuse connections from now on; those that nobody has accepted are reset."""
        for sock in self.tcp:
            with suppress(OSError):  # it does so already
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this process's hold on all of them."""
        close_all(self.udp + self.tcp)

    @property
    def receive_buffer_octets(self) -> int:
        """What the kernel granted, without the half that it keeps for its own bookkeeping."""
        return self.udp[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def bind_all(
    addresses: Iterable[Address], slots: int, held: dict[Address, Binding] | None = None
) -> dict[Address, Binding]:
    """Bind every address, taking over those in `held`. Raises BindError, and then holds nothing new.

    A wildcard's IPv6 half is left out where the kernel has no IPv6. Wildcards come first: they are refused when
    anybody has any address of the port, while an address below our own wildcard has to be shared with it.
    """
    held = held or {}
    bound: dict[Address, Binding] = {}
    try:
        for address in sorted(addresses, key=lambda address: not address.is_wildcard):
            binding = held.get(address) or _bind(address, slots, _is_shared(address, held | bound))
            if binding is not None:
                bound[address] = binding
    except BindError:
        for address, binding in bound.items():
            if address not in held:
                binding.close()
        raise
    return bound


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close this process's hold on some sockets."""
    for sock in sockets:
        sock.close()


def _is_shared(address: Address, held: Iterable[Address]) -> bool:
    """Whether we ourselves hold the port at an overlapping address: a wildcard that is narrowed, or the reverse."""
    return any(
        other.port == address.port and (other.is_wildcard or address.is_wildcard) for other in held
    )


def _bind(address: Address, slots: int, shared: bool) -> Binding | None:
    try:
        udp = _bind_kind(address, socket.SOCK_DGRAM, slots, shared, _prepare_udp)
    except OSError as error:
        if address.host == "::" and error.errno in _NO_IPV6:
            return None
        raise _bind_error("UDP", address, error) from None
    try:
        tcp = _bind_kind(address, socket.SOCK_STREAM, slots, shared, _prepare_tcp)
        for sock in tcp:
            sock.listen(TCP_BACKLOG)
    except OSError as error:
        close_all(udp)
        raise _bind_error("TCP", address, error) from None
    return Binding(address, udp, tcp)


def _bind_error(protocol: str, address: Address, error: OSError) -> BindError:
    reason = _REASONS.get(error.errno or 0, "")
    detail = (error.strerror or str(error)).lower()
    return BindError(f"cannot listen on {protocol} {address}: {detail}" + (f": {reason}" if reason else ""))


def _bind_kind(
    address: Address, kind: int, slots: int, shared: bool, prepare: Callable[[socket.socket, bool], None]
) -> tuple[socket.socket, ...]:
    """Bind one socket per slot. The first one asks for the port alone, so that it fails if somebody is there.

    With SO_REUSEPORT from the start, a second server of the same user would get a silent share of the queries.
    """
    family, _, _, _, sockaddr = socket.getaddrinfo(
        address.host, address.port, type=kind, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    bound: list[socket.socket] = []
    try:
        for slot in range(slots):
            sock = socket.socket(family, kind)
            bound.append(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            prepare(sock, address.is_wildcard)
            if slot > 0 or shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(sockaddr)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setblocking(False)
    except OSError:
        close_all(bound)
        raise
    return tuple(bound)


def _prepare_udp(sock: socket.socket, wildcard: bool) -> None:
    if wildcard:  # a reply has to leave from the address that was asked
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)  # cut to net.core.rmem_max
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_OCTETS)
    except PermissionError:
        return  # needs CAP_NET_ADMIN; what rmem_max allowed stands


def _prepare_tcp(sock: socket.socket, wildcard: bool) -> None:
    # Connections of a server that has just gone linger in TIME_WAIT; they are no reason not to start.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
