"""Zone transfers (RFC 5936 AXFR; RFC 1995 IXFR, as far as a server without history goes).

What is transferred is what queries are answered with: every rrset of the zone, the SOA first and last. A cluster's
zone is taken as it is at the start, however long the receiver takes: the Services are immutable values, of which a
list is made; rrsets are made of them when their message is. So a transfer holds one message and that list.
Left out of a cluster's zone: pod names that are computed from the question (`pods insecure`: every address exists),
and the spelling of ports and protocols without underscores. Reverse zones of a cluster are not transferred.

IXFR is answered with the SOA alone where the client has this serial or a later one, and with the whole zone else;
over UDP with the SOA alone (RFC 1995 section 2). AXFR over UDP is refused.
Not here: connections and their time limits (kdns.server.tcp), telling others of changes (RFC 1996), TSIG.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import chain
from typing import NamedTuple

from kdns.wire.builder import MAX_MESSAGE_OCTETS, MessageBuilder
from kdns.wire.iana import RRType
from kdns.wire.message import parse_message
from kdns.wire.name import MAX_NAME_OCTETS, suffixes
from kdns.wire.query import AA_BIT, QR_BIT, RD_BIT
from kdns.zone.addresses import dashed_label
from kdns.zone.cluster import ForwardZone
from kdns.zone.delta import is_ahead
from kdns.zone.masterzone import MasterZone
from kdns.zone.model import Kind, RRsets, Zone
from kdns.zone.packed import find_in_subtree
from kdns.zone.rrset import RRset, address_rrsets
from kdns.zone.state import POD, ClusterState
from kdns.zone.subtree import BY_ADDRESS, Subtree

# Octets of one message: compression pointers reach all of it (14 bits), and a receiver that stands still holds up no
# more. A larger record has a message of its own.
MESSAGE_OCTETS = 16_384

_ANSWER = 0
_SERIAL_FROM_END, _SERIAL_OCTETS = 20, 4
_FORWARD_NAMES = (b"\x0bdns-version", b"\x02ns\x03dns")  # those of a cluster that are no Service's


@dataclass(frozen=True, slots=True)
class TransferSpec:
    """One `transfer`: zones (folded apexes), and who may have them. everybody: `to *`."""

    zones: tuple[bytes, ...]
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    everybody: bool = False


# The zones that may be transferred: of a cluster, and of a file.
Transferable = ForwardZone | MasterZone


class Request(NamedTuple):
    """A query for a transfer. ident: its ID. question: as sent. opt: the OPT record of the reply, b"" for none."""

    ident: bytes
    flags: int
    question: bytes
    opt: bytes = b""


def is_allowed(specs: Iterable[TransferSpec], apex: bytes, client: bytes) -> bool:
    """Whether a client (packed address) may have a zone: as the `transfer` with the longest zone of it says."""
    ranked: dict[bytes, TransferSpec] = {}
    for spec in specs:
        for zone in spec.zones:
            ranked.setdefault(zone, spec)
    spec = next((ranked[name] for name in suffixes(apex) if name in ranked), TransferSpec(()))
    address = ip_address(client)
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return spec.everybody or any(address in network for network in spec.networks)


def known_serial(message: bytes) -> int | None:
    """The serial that the sender of an IXFR query has, from its authority section; None if it says none."""
    parsed = parse_message(message)
    soas = [record for record in parsed.authority if record.rrtype == RRType.SOA] if parsed else []
    return _serial(soas[0].rdata) if len(soas) == 1 else None


def is_current(known: int | None, soa: RRset) -> bool:
    """Whether a client with this serial has the zone already, or a later one (RFC 1982)."""
    return known is not None and not is_ahead(_serial(soa.rdatas[0]), known)


def _serial(rdata: bytes) -> int:
    return int.from_bytes(rdata[-_SERIAL_FROM_END:][:_SERIAL_OCTETS])


# What a zone holds


def is_known(zone: Transferable) -> bool:
    """Whether all of a zone is known."""
    return not (isinstance(zone, ForwardZone) and zone.state.lacks)


def contents_of(zone: Transferable) -> Iterator[RRset]:
    """All rrsets of a zone that is known but the SOA, as of now."""
    if isinstance(zone, MasterZone):
        return master_contents(zone.nodes)
    return cluster_contents(zone, zone.state, zone.lists_pods) or iter(())


def cluster_contents(zone: Zone, state: ClusterState, pods: bool = False) -> Iterator[RRset] | None:
    """All rrsets of a forward zone of a cluster but the SOA, as of now; None while it is not known wholly.

    state: what the zone shows. pods: whether pods have names (`pods verified`).
    """
    if state.lacks:
        return None
    names = (zone.apex, *(labels + zone.apex for labels in _FORWARD_NAMES))
    fixed = [rrset for name in names for rrset in _at(zone, name)]
    # Of the zone's TTL, which the rrsets of Services and pods have, the NS rrset tells.
    ttl = next(rrset.ttl for rrset in fixed if rrset.rrtype == RRType.NS)
    return chain(
        fixed,
        _of_services(list(state.subtrees.values()), zone.apex, ttl),
        _of_pods(list(state.pods) if pods else [], zone.apex, ttl),
    )


def _of_pods(pods: list[tuple[bytes, bytes]], apex: bytes, ttl: int) -> Iterator[RRset]:
    for namespace, address in pods:
        yield from address_rrsets(dashed_label(address) + namespace + POD + apex, ttl, (address,)).values()


def _of_services(subtrees: list[Subtree], apex: bytes, ttl: int) -> Iterator[RRset]:
    for subtree in subtrees:
        for prefix in _prefixes(subtree):
            name = prefix + subtree.owner + apex
            if len(name) <= MAX_NAME_OCTETS:
                found = find_in_subtree(subtree, name, prefix, apex, ttl, (0, b""))
                yield from found.rrsets.values()


def _at(zone: Zone, name: bytes) -> list[RRset]:
    found = zone.find(name)
    rrsets = found.rrsets.values() if found.kind is Kind.NODE else ()
    return [rrset for rrset in rrsets if rrset.rrtype != RRType.SOA]


def _prefixes(subtree: Subtree) -> Iterator[bytes]:
    """What stands left of a subtree's owner at each name with records, itself first."""
    yield b""
    ports = {port for hosts in subtree.hosts for port in hosts.ports} if subtree.headless else subtree.ports
    names = dict.fromkeys((port.name, port.protocol) for port in ports if port.name)
    yield from (_service_label(name) + _service_label(protocol) for name, protocol in names)
    yield from dict.fromkeys(_host_labels(subtree))


def _service_label(text: bytes) -> bytes:
    return (len(text) + 1).to_bytes() + b"_" + text


def _host_labels(subtree: Subtree) -> Iterator[bytes]:
    for hosts in subtree.hosts:
        labels = hosts.split_labels() if hosts.labels else iter([BY_ADDRESS] * len(hosts.split_addresses()))
        for label, address in zip(labels, hosts.split_addresses(), strict=True):
            yield dashed_label(address) if label == BY_ADDRESS else label


def master_contents(nodes: Mapping[bytes, RRsets]) -> Iterator[RRset]:
    """All rrsets of a zone file but the SOA, glue and what is below a cut included (RFC 5936 section 3.3).

    nodes: of a zone that never changes.
    """
    for rrsets in nodes.values():
        yield from (rrset for rrset in rrsets.values() if rrset.rrtype != RRType.SOA)


# Messages


def soa_message(request: Request, soa: RRset) -> bytes:
    """The reply that says no more than which serial there is."""
    builder = MessageBuilder(request.question, MAX_MESSAGE_OCTETS, request.opt)
    builder.add(_ANSWER, soa.owner, soa.rrtype, soa.ttl, soa.rdatas)
    return _finished(request, builder)


def messages(request: Request, soa: RRset, contents: Iterable[RRset]) -> Iterator[bytes]:
    """The messages of a whole zone, made one at a time. Question and OPT record stand in the first."""
    builder = MessageBuilder(request.question, MESSAGE_OCTETS, request.opt)
    for rrset in _framed(soa, contents):
        rdatas = rrset.rdatas
        while rdatas := rdatas[builder.add_some(_ANSWER, rrset.owner, rrset.rrtype, rrset.ttl, rdatas) :]:
            is_empty = not builder.counts[_ANSWER]
            if not is_empty:
                yield _finished(request, builder)
            # A record that does not fit even there is one that no zone can have (kdns.zone.masterfile).
            builder = MessageBuilder(b"", MAX_MESSAGE_OCTETS if is_empty else MESSAGE_OCTETS, b"")
    yield _finished(request, builder)


def _framed(soa: RRset, contents: Iterable[RRset]) -> Iterator[RRset]:
    yield soa
    yield from contents
    yield soa


def _finished(request: Request, builder: MessageBuilder) -> bytes:
    return request.ident + builder.finish(QR_BIT | AA_BIT | request.flags & RD_BIT)
