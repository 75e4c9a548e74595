"""Listening sockets: for each address, one UDP socket and one TCP listener per worker slot.

The supervisor reserves each address before anything else, so that a mistake shows at once, and makes and holds all
sockets, so that what is queued for a worker that dies waits for the next one. The kernel spreads clients over the
slots (SO_REUSEPORT).

A worker opens those of its slot when it can answer. Until then the kernel refuses who asks (ICMP port unreachable,
TCP reset), so that resolvers turn to the next server at once, instead of waiting for seconds. TCP sockets are bound
from the start, and refuse until they listen. A bound UDP socket takes what comes, unless it is connected to itself,
and then there is no way back: so one more of them is, and has the port until those of the slots have it.

Not here: which addresses (kdns.server.assembly), reading queries (kdns.server.udp, kdns.server.tcp).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
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

_SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]

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
    """What one worker slot listens on at one address. `listener` is its index in the specification."""

    address: Address
    listener: int
    udp: socket.socket
    tcp: socket.socket

    def open(self) -> None:
        """Have the kernel deliver here from now on, if it does not do so already. Raises BindError."""
        _open_udp(self.address, self.udp)
        try:
            self.tcp.listen(TCP_BACKLOG)
        except OSError as error:
            raise _bind_error("TCP", self.address, error) from None


@dataclass(frozen=True, slots=True)
class Binding:
    """All sockets of one address, one pair per worker slot.

    reservation: has the UDP port, and takes nothing, until a slot is open.
    """

    address: Address
    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]
    reservation: socket.socket

    def for_slot(self, slot: int, listener: int) -> SlotSockets:
        """The pair of one slot; `listener` is its index in the specification."""
        return SlotSockets(self.address, listener, self.udp[slot], self.tcp[slot])

    def end_reservation(self) -> None:
        """Give the reservation up once a slot has the port, for a socket more has the kernel spread unevenly."""
        if self.reservation.fileno() >= 0 and any(map(_is_bound, self.udp)):
            self.reservation.close()

    def refuse_queries(self) -> None:
        """Have the kernel refuse datagrams from now on; what is queued can still be read, and answered.

        A UDP socket that is connected hears nobody but its peer, which is itself here: whoever else asks is told at
        once that the port is closed, and tries elsewhere, instead of waiting for an answer. There is no way back:
        disconnected, it would not get its share of the clients again.
        """
        for sock in filter(_is_bound, self.udp):
            _refuse_datagrams(sock, sock.getsockname())  # where that cannot be, closing will have to do

    def refuse_connections(self) -> None:
        """Have the kernel refuse connections from now on; those that nobody has accepted are reset."""
        for sock in self.tcp:
            with suppress(OSError):  # it does so already
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this process's hold on all of them."""
        close_all((*self.udp, *self.tcp, self.reservation))

    @property
    def receive_buffer_octets(self) -> int:
        """What the kernel granted, without the half that it keeps for its own bookkeeping."""
        return self.udp[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def bind_all(
    addresses: Iterable[Address], slots: int, held: dict[Address, Binding] | None = None
) -> dict[Address, Binding]:
    """Reserve every address, taking over those in `held`. Raises BindError, and then holds nothing new.

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
        reservation, *udp = _bind_udp(address, slots, shared)
    except OSError as error:
        if address.host == "::" and error.errno in _NO_IPV6:
            return None
        raise _bind_error("UDP", address, error) from None
    try:
        tcp = _bind_tcp(address, slots, shared)
    except OSError as error:
        close_all((reservation, *udp))
        raise _bind_error("TCP", address, error) from None
    return Binding(address, tuple(udp), tcp, reservation)


def _bind_error(protocol: str, address: Address, error: OSError) -> BindError:
    reason = _REASONS.get(error.errno or 0, "")
    detail = (error.strerror or str(error)).lower()
    return BindError(f"cannot listen on {protocol} {address}: {detail}" + (f": {reason}" if reason else ""))


def _bind_udp(address: Address, slots: int, shared: bool) -> list[socket.socket]:
    """The reservation, which is bound, and one socket per slot, to be bound when its worker can answer."""
    family, sockaddr = _socket_address(address)
    made: list[socket.socket] = []
    try:
        made.append(_socket(family, socket.SOCK_DGRAM))
        made[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        made[0].bind(sockaddr)
        # At once: what comes in the 10 us between is lost. SO_REUSEPORT, for the slots (see `_bind_first`), can wait.
        is_refusing = _refuse_datagrams(made[0], sockaddr)
        made[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(slots):
            made.append(_socket(family, socket.SOCK_DGRAM))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _prepare_udp(made[-1], address.is_wildcard)
            if not is_refusing:  # rather than have the reservation swallow what comes, let it wait for the workers
                made[-1].bind(sockaddr)
    except OSError:
        close_all(made)
        raise
    return made


def _bind_first(sock: socket.socket, sockaddr: _SocketAddress, shared: bool) -> None:
    """Bind alone, so that it fails if somebody is there, and share the port with those that come then.

    With SO_REUSEPORT from the start, a second server of the same user would get a silent share of the queries.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
    sock.bind(sockaddr)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _refuse_datagrams(sock: socket.socket, itself: _SocketAddress) -> bool:
    """Connect a bound UDP socket to itself, so that the kernel refuses all others; False if it has no route there.

    One that is bound to a wildcard has the port of the loopback address alone then.
    """
    with suppress(OSError):
        sock.connect(itself)
        return True
    return False


def _open_udp(address: Address, sock: socket.socket) -> None:
    _, sockaddr = _socket_address(address)
    try:
        sock.bind(sockaddr)
    except OSError as error:
        if not _is_bound(sock):  # else a former worker of the slot has done it
            raise _bind_error("UDP", address, error) from None


def _is_bound(sock: socket.socket) -> bool:
    return bool(sock.getsockname()[1])


def _bind_tcp(address: Address, slots: int, shared: bool) -> tuple[socket.socket, ...]:
    """One bound socket per slot, which does not listen yet."""
    family, sockaddr = _socket_address(address)
    bound: list[socket.socket] = []
    try:
        for slot in range(slots):
            sock = _socket(family, socket.SOCK_STREAM)
            bound.append(sock)
            # Connections of a server that has just gone linger in TIME_WAIT; they are no reason not to start.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind_first(sock, sockaddr, shared or slot > 0)
    except OSError:
        close_all(bound)
        raise
    return tuple(bound)


def _socket(family: int, kind: int) -> socket.socket:
    sock = socket.socket(family, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setblocking(False)
    return sock


def _socket_address(address: Address) -> tuple[int, _SocketAddress]:
    """Family, and what `bind` takes: with the scope of a link-local address."""
    family, _, _, _, sockaddr = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    return family, sockaddr


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
