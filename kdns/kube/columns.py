"""Endpoints in packed columns, as an EndpointSlice keeps them: packing and unpacking.

A column of addresses has `octets` of each; a column of labels has one wire label of each, b"\\0" where there is none,
and is b"" if there is none at all. Rows are sorted and distinct.

Not here: what the columns mean (kdns.kube.objects), what is read into them (kdns.kube.decode, kdns.kube.derive).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from kdns.kube.names import V4_OCTETS, V6_OCTETS
from kdns.kube.objects import EndpointSlice, Hosts

NO_LABEL = b"\0"

Host = tuple[bytes, bytes, bytes]  # packed address, wire labels of hostname and pod name (b"\0" for none)

_ADDRESS = {V4_OCTETS: Struct(f"{V4_OCTETS}s"), V6_OCTETS: Struct(f"{V6_OCTETS}s")}


@dataclass(slots=True)
class HostSorter:
    """The hosts of a slice that is to be, sorted by what may be done with them.

    ready: to be answered with. unready: addresses that are not. draining: those of them that are terminating and
    still serving.
    """

    ready: set[Host] = field(default_factory=set)
    unready: set[bytes] = field(default_factory=set)
    draining: set[Host] = field(default_factory=set)

    def columns(self) -> dict[str, Any]:
        """The fields of an EndpointSlice that hold them. Where copies differ, an address is ready if one is."""
        ready = pack_hosts(self.ready)
        unready = self.unready.difference(host[0] for host in self.ready) if self.unready else ()
        draining = [host for host in self.draining if host[0] in unready]
        return {
            "addresses": ready.addresses,
            "hostnames": ready.hostnames,
            "pod_names": ready.pod_names,
            "unready": b"".join(sorted(unready)),
            "draining": pack_hosts(draining) if draining else None,
        }


def pack_hosts(hosts: Iterable[Host]) -> Hosts:
    """Distinct hosts, in any order."""
    columns = [b"".join(column) for column in zip(*sorted(hosts), strict=True)] or [b"", b"", b""]
    addresses, hostnames, pod_names = columns
    return Hosts(addresses, _unless_blank(hostnames), _unless_blank(pod_names))


def unpack_hosts(piece: EndpointSlice) -> Iterator[Host]:
    """The hosts of a slice that are ready."""
    addresses = split_addresses(piece.addresses, piece.octets)
    count = len(addresses)
    return zip(addresses, split_labels(piece.hostnames, count), split_labels(piece.pod_names, count), strict=True)


def split_addresses(packed: bytes, octets: int) -> list[bytes]:
    """The addresses of a column."""
    return [address for (address,) in _ADDRESS[octets].iter_unpack(packed)]


def split_labels(packed: bytes, count: int) -> list[bytes]:
    """The labels of a column of so many rows."""
    if not packed:
        return [NO_LABEL] * count
    labels, at = [], 0
    while at < len(packed):
        end = at + packed[at] + 1
        labels.append(packed[at:end])
        at = end
    return labels


def _unless_blank(labels: bytes) -> bytes:
    return labels if labels.strip(NO_LABEL) else b""
