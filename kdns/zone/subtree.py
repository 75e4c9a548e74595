"""Subtree: one owner and the names below it, packed; for a cluster that is one Service.

150,000 endpoint names as dictionaries of rrsets would cost 300 octets each in every worker. A subtree keeps
them as packed arrays of addresses, and the rrsets of a name are made when it is asked for and its answer
compiled. All names in here are relative to the zone, so that several zones can serve the same subtree.

    owner               A/AAAA, SRV      `addresses`, or of all hosts if `headless`; or CNAME `target`
    _tcp.owner          (empty)          one for each protocol of a port that has a name
    _http._tcp.owner    SRV              one for each port with a name
    host.owner          A/AAAA, SRV      a host's label, or its address with dashes

Not here: which Service gives which subtree (kdns.kube.schema), reverse names (kdns.zone.reverse).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

BY_ADDRESS = b"\0"  # in a column of labels: this host is named by its address


class Port(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A port: `name` is folded and without underscore, b"" for a port without a name; `protocol` b"tcp"."""

    name: bytes
    protocol: bytes
    number: int


class HostSet(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Hosts of one address family that share their ports.

    octets: 4 or 16, the length of an address.
    addresses: packed addresses, `octets` each, distinct, in a stable order.
    labels: b"" if every host is named by its address; else one wire label (length octet and text, folded) for
        each address, in the same order; BY_ADDRESS for a host named by its address.
    """

    octets: int
    ports: tuple[Port, ...]
    addresses: bytes
    labels: bytes = b""

    def split_addresses(self, start: int = 0, end: int | None = None) -> list[bytes]:
        """The addresses of the hosts from `start` up to `end`."""
        packed, octets = self.addresses, self.octets
        stop = len(packed) if end is None else end * octets
        return [packed[at : at + octets] for at in range(start * octets, stop, octets)]

    def split_labels(self) -> Iterator[bytes]:
        """The label of each host as it stands in the column; nothing where there is no column."""
        packed, at = self.labels, 0
        while at < len(packed):
            end = at + packed[at] + 1
            yield packed[at:end]
            at = end

    def index(self, address: bytes) -> int:
        """Which host has this address; -1 if none has."""
        if len(address) != self.octets:
            return -1
        at = self.addresses.find(address)
        while at > 0 and at % self.octets:  # the end of one address and the start of the next
            at = self.addresses.find(address, at + 1)
        return at // self.octets

    def label_at(self, index: int) -> bytes:
        """The label of one host as it stands in the column."""
        packed, at = self.labels, 0
        if not packed:
            return BY_ADDRESS
        for _ in range(index):
            at += packed[at] + 1
        return packed[at : at + packed[at] + 1]


class Subtree(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """One owner and the names below it.

    owner: relative wire name without root label, folded: b"\\x03web\\x04shop\\x03svc".
    addresses: packed addresses (4 or 16 octets each) of the owner itself: ClusterIPs.
    ports: ports of the owner itself; with `headless` the hosts' ports count instead.
    hosts: what stands below the owner; only hosts that may be answered with (ready ones).
    headless: the owner's address and SRV rrsets are those of its hosts; without hosts it does not exist.
    target: absolute wire name the owner is an alias for; b"" for none.
    note: why the owner owns nothing although it exists, for EDE; "" for no remark.
    hidden: the owner and all below it do not exist (`ignore empty_service`), though its reverse names do.
    """

    owner: bytes
    addresses: tuple[bytes, ...] = ()
    ports: tuple[Port, ...] = ()
    hosts: tuple[HostSet, ...] = ()
    headless: bool = False
    target: bytes = b""
    note: str = ""
    hidden: bool = False
