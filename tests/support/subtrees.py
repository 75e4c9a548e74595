"""Subtrees in short: what the schema makes of a Service, without the Service."""

from __future__ import annotations

from ipaddress import ip_address

from kdns.wire.name import from_text
from kdns.zone.subtree import HostSet, Port, Subtree


def packed(text: str) -> bytes:
    """An address as octets."""
    return ip_address(text).packed


def relative(text: str) -> bytes:
    """Labels in wire form without the root label."""
    return from_text(text).lower()[:-1]


def owner(text: str) -> bytes:
    """`web.shop` as the owner of its subtree."""
    return relative(f"{text}.svc")


def ports(text: str) -> tuple[Port, ...]:
    """Ports written `http/tcp/80`; `/tcp/80` has no name."""
    return tuple(_port(*item.split("/")) for item in text.split())


def service(name: str, *addresses: str, port: str = "http/tcp/80", hosts: tuple[HostSet, ...] = (),
            note: str = "", hidden: bool = False) -> Subtree:
    """A Service with ClusterIPs."""
    return Subtree(owner(name), tuple(map(packed, addresses)), ports(port), hosts, note=note, hidden=hidden)


def headless(name: str, hosts: str = "", port: str = "http/tcp/80") -> Subtree:
    """A headless Service; for its hosts see host_sets."""
    return Subtree(owner(name), hosts=host_sets(hosts, port), headless=True)


def alias(name: str, target: str) -> Subtree:
    """An ExternalName Service."""
    return Subtree(owner(name), target=from_text(target).lower())


def host_sets(text: str, port: str = "http/tcp/80") -> tuple[HostSet, ...]:
    """Ready hosts written `10.1.0.1=db-0 10.1.0.2 2001:db8::1=db-0`, one set for each family."""
    found: list[HostSet] = []
    hosts = [(packed(address), label) for address, _, label in (item.partition("=") for item in text.split())]
    for octets in (4, 16):
        family = [(address, label) for address, label in hosts if len(address) == octets]
        labels = b"".join(bytes((len(label),)) + label.encode() for _, label in family)
        if family:
            addresses = b"".join(address for address, _ in family)
            found.append(HostSet(octets, ports(port), addresses, labels if labels.strip(b"\0") else b""))
    return tuple(found)


def all_addresses(subtree: Subtree) -> set[bytes]:
    """Every address that a subtree has reverse names for."""
    return {*subtree.addresses, *(address for hosts in subtree.hosts for address in hosts.split_addresses())}


def _port(name: str, protocol: str, number: str) -> Port:
    return Port(name.encode(), protocol.encode(), int(number))
