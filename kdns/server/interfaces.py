"""Addresses of a network interface, by name, for `bind eth0`: one rtnetlink dump (RFC 3549 section 2.3.3.2).

The standard library cannot list addresses, and asking the kernel is one message. `parse_addresses` is pure.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x001 | 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface index
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_RECEIVE_OCTETS = 64 * 1024  # the kernel fills at most 32 KiB per read of a dump
_IPV6_LINK_LOCAL = b"\xfe\x80"


def interface_addresses(name: str) -> list[str]:
    """Addresses of an interface as text, link-local ones with their scope (`fe80::1%eth0`).

    Raises OSError if there is no such interface.
    """
    index = socket.if_nametoindex(name)
    return [_to_text(packed, name) for found, packed in parse_addresses(_dump()) if found == index]


def machine_addresses() -> list[str]:
    """Addresses that other machines may use: neither loopback nor link-local; loopback if there is nothing else."""
    found = [ip_address(packed) for _, packed in parse_addresses(_dump())]
    usable = [str(address) for address in found if not address.is_loopback and not address.is_link_local]
    return usable or [str(address) for address in found if address.is_loopback]


def parse_addresses(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(interface index, packed address) of each RTM_NEWADDR in a run of netlink messages."""
    for kind, body in _messages(data):
        if kind == _RTM_NEWADDR:
            attributes = dict(_attributes(body[_IFADDRMSG.size :]))
            # IFA_ADDRESS is the peer on point-to-point links, where IFA_LOCAL is ours.
            packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
            if packed is not None and len(packed) in (4, 16):
                yield _IFADDRMSG.unpack_from(body)[4], packed


def _dump() -> bytes:
    request = _HEADER.pack(_HEADER.size + _IFADDRMSG.size, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(request + _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        data = b""
        while True:
            part = netlink.recv(_RECEIVE_OCTETS)
            data += part
            if any(kind in (_NLMSG_DONE, _NLMSG_ERROR) for kind, _ in _messages(part)):
                return data


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while len(data) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _to_text(packed: bytes, interface: str) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    scope = f"%{interface}" if packed.startswith(_IPV6_LINK_LOCAL) else ""
    return socket.inet_ntop(socket.AF_INET6, packed) + scope
