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

import msgspec


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
        each address, in the same order; b"\\0" for a host named by its address.
    """

    octets: int
    ports: tuple[Port, ...]
    addresses: bytes
    labels: bytes = b""


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
