"""What stands at the names of a subtree (Kubernetes DNS specification 1.1.0, sections 2.3 and 2.4).

Subtrees are packed; rrsets are made here, one type at a time, when an answer is compiled. SRV weights are CoreDNS's:
floor(100 / n), at least 1, where n counts each host and address before equal targets are merged.
Not here: the names above a subtree (kdns.zone.cluster).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from struct import Struct

from kdns.wire.iana import RRType
from kdns.wire.name import MAX_NAME_OCTETS
from kdns.zone.addresses import dashed_label, undashed
from kdns.zone.model import NO_RRSETS, Dependency, Found, Kind
from kdns.zone.rrset import RRset, address_rrsets
from kdns.zone.subtree import BY_ADDRESS, HostSet, Port, Subtree

HEADLESS_NEGATIVE_TTL = 1  # its first host becomes ready any moment, and is asked for by name before that
# Columns of labels that have an index at a time: one SRV answer looks up each of its hosts in the same one or two.
INDEXED_MAX = 4
_SRV_PRIORITY = 0
_WEIGHT_SUM = 100

_srv_head = Struct(">3H").pack

# Makes the rrset of one type; None if there is none.
_Maker = Callable[[], RRset | None]


class ComputedRRsets(Mapping[int, RRset]):
    """Rrsets made when asked for, once: the SRV rrset of a thousand hosts costs nothing while only A is asked."""

    def __init__(self, makers: dict[int, _Maker]) -> None:
        self._makers = makers
        self._made: dict[int, RRset | None] = {}

    def __getitem__(self, rrtype: int) -> RRset:
        if rrtype not in self._made and rrtype in self._makers:
            self._made[rrtype] = self._makers[rrtype]()
        rrset = self._made.get(rrtype)
        if rrset is None:
            raise KeyError(rrtype)
        return rrset

    def __iter__(self) -> Iterator[int]:
        return (rrtype for rrtype in self._makers if rrtype in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)  # the first one decides: `len` would make them all


def find_in_subtree(
    subtree: Subtree, qname: bytes, prefix: bytes, apex: bytes, ttl: int, depends: Dependency
) -> Found:
    """What stands at `qname`, which is `prefix` (labels, maybe none) left of the subtree's owner."""
    if subtree.hidden or (subtree.headless and not subtree.hosts):
        negative_ttl = min(HEADLESS_NEGATIVE_TTL, ttl) if subtree.headless else None
        return Found(Kind.ABSENT, NO_RRSETS, qname, depends, negative_ttl, False)
    view = _View(subtree, qname, apex, ttl)
    found = view.owner() if not prefix else view.below(prefix)
    if found is None:
        return Found(Kind.ABSENT, NO_RRSETS, qname, depends, None, False)
    note = "" if prefix else subtree.note
    return Found(Kind.NODE if found else Kind.EMPTY, found, qname, depends, None, True, note)


def denial_ttl(subtree: Subtree, prefix: bytes, ttl: int, negative_ttl: int) -> int | None:
    """TTL of the denial of the name `prefix` left of the owner; None if the name may exist."""
    if subtree.headless and not subtree.hosts:
        return min(HEADLESS_NEGATIVE_TTL, ttl)
    if subtree.hidden or (prefix and _View(subtree, b"", b"", 0).below(prefix) is None):
        return negative_ttl
    return None


class _View:
    """One subtree as seen from one name; the methods give rrsets, {} for an empty name, None for no such name."""

    def __init__(self, subtree: Subtree, qname: bytes, apex: bytes, ttl: int) -> None:
        self._subtree = subtree
        self._qname = qname
        self._ttl = ttl
        self._base = subtree.owner + apex

    def owner(self) -> Mapping[int, RRset]:
        subtree = self._subtree
        if subtree.target:
            return {RRType.CNAME: RRset(self._qname, RRType.CNAME, self._ttl, (subtree.target,))}
        if subtree.headless:
            return self._computed(lambda octets: _host_addresses(subtree, octets), lambda port: True)
        if not subtree.addresses:
            return NO_RRSETS
        return self._computed(
            lambda octets: [address for address in subtree.addresses if len(address) == octets], lambda port: True
        )

    def below(self, prefix: bytes) -> Mapping[int, RRset] | None:
        first_end = prefix[0] + 1
        rest = prefix[first_end:]
        if not rest:
            return self._host(prefix) or self._protocol(prefix)
        if len(rest) == rest[0] + 1:
            return self._port(_bare(prefix[1:first_end]), _bare(rest[1:]))
        return None

    def _protocol(self, label: bytes) -> Mapping[int, RRset] | None:
        protocol = _bare(label[1:])
        return NO_RRSETS if any(port.name and port.protocol == protocol for port in self._ports()) else None

    def _port(self, name: bytes, protocol: bytes) -> Mapping[int, RRset] | None:
        if not name or not any(port.name == name and port.protocol == protocol for port in self._ports()):
            return None
        return ComputedRRsets({RRType.SRV: lambda: self._srv(lambda p: p.name == name and p.protocol == protocol)})

    def _host(self, label: bytes) -> Mapping[int, RRset] | None:
        """A host's rrsets; several hosts may share one label."""
        here = [(hosts, address) for hosts in self._subtree.hosts for address in _addresses_named(hosts, label)]
        if not here:
            return None
        rrsets = address_rrsets(self._qname, self._ttl, list(dict.fromkeys(address for _, address in here)))
        ports = [port for hosts, _ in here for port in hosts.ports]
        if ports:
            rrsets[RRType.SRV] = self._srv_rrset([(port, self._qname) for port in ports])
        return rrsets

    def _computed(
        self, addresses: Callable[[int], list[bytes]], wanted: Callable[[Port], bool]
    ) -> ComputedRRsets:
        def make(rrtype: int, octets: int) -> RRset | None:
            rdatas = tuple(addresses(octets))
            return RRset(self._qname, rrtype, self._ttl, rdatas) if rdatas else None

        return ComputedRRsets({
            RRType.A: lambda: make(RRType.A, 4),
            RRType.AAAA: lambda: make(RRType.AAAA, 16),
            RRType.SRV: lambda: self._srv(wanted),
        })

    def _ports(self) -> Iterator[Port]:
        """Ports that have SRV records at or below the owner."""
        if self._subtree.headless:
            for hosts in self._subtree.hosts:
                yield from hosts.ports
        elif self._subtree.addresses:
            yield from self._subtree.ports

    def _srv(self, wanted: Callable[[Port], bool]) -> RRset | None:
        """SRV records of all wanted ports of the owner; see the module's docstring for the weights."""
        if self._subtree.headless:
            room = MAX_NAME_OCTETS - len(self._base)  # a host whose name is too long for DNS has none
            records = [
                (port, label + self._base)
                for hosts in self._subtree.hosts
                for label in _labels(hosts)
                if len(label) <= room
                for port in hosts.ports
                if wanted(port)
            ]
        else:
            ports = [port for port in self._ports() if wanted(port)]
            records = [(port, self._base) for port in ports for _ in self._subtree.addresses]
        return self._srv_rrset(records) if records else None

    def _srv_rrset(self, records: list[tuple[Port, bytes]]) -> RRset:
        weight = max(1, _WEIGHT_SUM // len(records))
        rdatas = (_srv_head(_SRV_PRIORITY, weight, port.number) + target for port, target in records)
        return RRset(self._qname, RRType.SRV, self._ttl, tuple(dict.fromkeys(rdatas)))


def host_labels(subtree: Subtree, address: bytes) -> set[bytes]:
    """The labels (wire form) of the hosts with this address."""
    own = {hosts.label_at(at) for hosts in subtree.hosts if (at := hosts.index(address)) >= 0}
    return {dashed_label(address) if label == BY_ADDRESS else label for label in own}


def _labels(hosts: HostSet) -> Iterator[bytes]:
    """The wire label of each host, in order."""
    if not hosts.labels:
        yield from map(dashed_label, hosts.split_addresses())
        return
    for label, address in zip(hosts.split_labels(), hosts.split_addresses(), strict=True):
        yield dashed_label(address) if label == BY_ADDRESS else label


def _host_addresses(subtree: Subtree, octets: int) -> list[bytes]:
    """The distinct addresses of one family of all hosts."""
    sets = [hosts for hosts in subtree.hosts if hosts.octets == octets]
    return list(dict.fromkeys(address for hosts in sets for address in hosts.split_addresses()))


def _addresses_named(hosts: HostSet, label: bytes) -> Iterator[bytes]:
    """The addresses of the hosts with this wire label."""
    address = undashed(label[1:])
    if address is not None and (at := hosts.index(address)) >= 0 and hosts.label_at(at) == BY_ADDRESS:
        yield address
    if label in hosts.labels:  # cheap, and false for nearly all; it may still be the inside of others
        for at in _places_of(hosts).get(label, ()):
            yield from hosts.split_addresses(at, at + 1)


@lru_cache(maxsize=INDEXED_MAX)
def _places_of(hosts: HostSet) -> dict[bytes, list[int]]:
    """Which hosts have each label."""
    places: dict[bytes, list[int]] = {}
    for at, label in enumerate(hosts.split_labels()):
        places.setdefault(label, []).append(at)
    return places


def _bare(label: bytes) -> bytes:
    """A port's or protocol's label without its underscore; CoreDNS answers both spellings."""
    return label[1:] if label[:1] == b"_" else label
