"""Names and addresses of a hosts file, as zones (hosts(5); CoreDNS's `hosts`).

`parse_hosts` reads the text: a line that cannot be used is a remark with its place, and the other lines count all the
same, for whoever edits /etc/hosts does not test it. `hosts_zones` shows what was read under the apexes of one
directive; a new text makes new zones, and these never change.

    a name with addresses          A and AAAA; every other type is NODATA
    *.name                         the addresses of all names one label below `name` that have none of their own
    a name above one               an empty non-terminal (RFC 8020): NODATA
    an address with names          PTR (the first 64), below in-addr.arpa and ip6.arpa, whatever the directive's zones
    all else                       does not exist

Names outside the directive's zones are left out, from reverse names too. Wildcards are CoreDNS's, not RFC 4592's: one
speaks for one label, for names with others below them as well, and an address does not lead back to it. `*` is a
label like any other where it is not the first.

Where `fallthrough` covers a name, the site passes on what is empty or absent (kdns.answer.site), so that a name with
A alone is NODATA for AAAA, and is never asked for elsewhere; with `passes_types` it is for types that no hosts file
can have. Reverse names without an entry are always passed on: a hosts file does not claim to know all addresses.

A denial carries a SOA, or no resolver would believe it for any time (RFC 2308 section 5): CoreDNS answers SERVFAIL
instead. A hosts file has none, so it is made up as resolvers do for local zones: MNAME `localhost.`, RNAME
`nobody.invalid.`, and a MINIMUM of seconds, since the file may change at any time. It stands in denials alone and is
no data of the apex: a question for it is passed on, or denied, like any other.
Over a zone that has one, the site puts that in its place.
Not here: files and inline entries of a Corefile (kdns.server.sources), which zone decides a name (kdns.answer.site).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from kdns.wire.iana import RRType
from kdns.wire.name import ROOT, InvalidName, from_text, is_subdomain, parent, suffixes
from kdns.wire.query import name_end
from kdns.zone.addresses import IN_ADDR, IP6, reverse_name
from kdns.zone.model import NO_RRSETS, Dependency, Found, Kind, RRsets, Zone
from kdns.zone.record import Problem
from kdns.zone.rrset import RRset, address_rrsets

# Pairs of a name and an address: some 300 octets each, so 60 MB in a worker. The longest block lists that people keep
# in hosts files have about 170,000.
MAX_ENTRIES = 200_000

# Remarks that one text gives: a binary taken for a hosts file should not fill the log.
MAX_REMARKS = 20

# Names that an address leads back to, the first ones: a block list gives 0.0.0.0 a hundred thousand.
MAX_REVERSE_NAMES = 64

FREED_AT_ONCE = 256  # names, between two looks at the sockets, at some 0.3 us each

NEGATIVE_TTL = 5  # of a denial, at most: the file is looked at every few seconds too

_MNAME, _RNAME = from_text("localhost"), from_text("nobody.invalid")
_REFRESH, _RETRY, _EXPIRE = 3600, 1200, 604800  # nobody transfers it; Unbound's values for its local zones
_WILDCARD = b"\x01*"
_WHOLE = b""  # the one key under which a hosts file announces changes
_TYPES: frozenset[int] = frozenset((RRType.A, RRType.AAAA, RRType.PTR))
_times = Struct(">5I").pack


class HostsEntry(NamedTuple):
    """One line: a packed address and its folded names, the canonical one first."""

    address: bytes
    names: tuple[bytes, ...]


class HostsText(NamedTuple):
    """What a hosts file says, in order, and what of it could not be used."""

    entries: tuple[HostsEntry, ...]
    remarks: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class HostsSpec:
    """One `hosts` directive.

    zones: folded apexes. ttl: of all records. reverse: whether addresses have PTR records.
    fallthrough: zones (folded names) in which a denial passes the question on; () for none.
    negative_ttl: most seconds that a denial may be believed.
    passes_types: in those zones, questions for other types than A, AAAA and PTR are passed on too.
    """

    zones: tuple[bytes, ...]
    ttl: int = 3600
    reverse: bool = True
    fallthrough: tuple[bytes, ...] = ()
    negative_ttl: int = NEGATIVE_TTL
    passes_types: bool = False


def parse_hosts(text: str, path: str) -> HostsText:
    """Read the text of a hosts file; `path` is where it comes from, for remarks."""
    entries: list[HostsEntry] = []
    remarks: list[Problem] = []
    room = MAX_ENTRIES
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        entry, faults = _parse_line(line)
        remarks += [Problem(path, number, message, token) for message, token in faults]
        if entry is None:
            continue
        if len(entry.names) > room:
            remarks.insert(0, Problem(path, number, f"more than {MAX_ENTRIES} names; this and all below is left out"))
            break
        room -= len(entry.names)
        entries.append(entry)
    return HostsText(tuple(entries), _bounded(remarks, path))


def _bounded(remarks: list[Problem], path: str) -> tuple[Problem, ...]:
    if len(remarks) <= MAX_REMARKS:
        return tuple(remarks)
    more = Problem(path, remarks[MAX_REMARKS - 1].line, f"and {len(remarks) - MAX_REMARKS + 1} more such remarks")
    return (*remarks[: MAX_REMARKS - 1], more)


_Fault = tuple[str, str]  # message and the word at fault


def _parse_line(line: str) -> tuple[HostsEntry | None, list[_Fault]]:
    words = line.partition("#")[0].split()
    if not words:
        return None, []
    address = parse_address(words[0])
    if address is None:
        return None, [("not an IPv4 or IPv6 address: the line is left out", words[0])]
    if len(words) == 1:
        return None, [("an address without a name: the line is left out", words[0])]
    names: dict[bytes, None] = {}
    faults: list[_Fault] = []
    for word in words[1:]:
        try:
            names[from_text(word).lower()] = None
        except InvalidName as error:
            faults.append((f"not a name, and left out: {error}", word))
    return (HostsEntry(address, tuple(names)) if names else None), faults


def parse_address(text: str) -> bytes | None:
    """A packed address; the scope of a link-local one is left out, and an IPv4-mapped one is IPv4, as CoreDNS has it.

    None for what is no address, such as the short forms that inet_aton takes.
    """
    try:
        if ":" not in text:
            return IPv4Address(text).packed
        address = IPv6Address(text.partition("%")[0])
    except AddressValueError:
        return None
    return address.ipv4_mapped.packed if address.ipv4_mapped else address.packed


def rrsets_of(entries: Iterable[HostsEntry]) -> Iterator[RRset]:
    """Entries as a ZoneDelta carries them: an rrset for each name of each line, in order; its TTL means nothing."""
    for address, names in entries:
        rrtype = RRType.A if len(address) == 4 else RRType.AAAA
        yield from (RRset(name, rrtype, 0, (address,)) for name in names)


def entries_of(rrsets: Iterable[RRset]) -> Iterator[HostsEntry]:
    """The entries again, a line for each name; their zones are the same."""
    return (HostsEntry(rrset.rdatas[0], (rrset.owner,)) for rrset in rrsets)


class HostsZones(NamedTuple):
    """The zones of one directive by apex, those of reverse names among them, and where each passes a denial on."""

    zones: dict[bytes, Zone]
    fallthrough: Mapping[bytes, tuple[bytes, ...]]


def hosts_zones(source: int, spec: HostsSpec, entries: Iterable[HostsEntry], serial: int = 1) -> HostsZones:
    """The zones of a directive with these entries; see HostsBuilder."""
    builder = HostsBuilder(source, spec)
    for entry in entries:
        builder.add(entry)
    return builder.build(serial)


class HostsBuilder:
    """Collects the entries of one directive, one at a time, so that whoever feeds it can stop between two queries.

    source: its index in the configuration, which all that is found depends on.
    """

    def __init__(self, source: int, spec: HostsSpec) -> None:
        self._depends = (source, _WHOLE)
        self._spec = spec
        self._apexes = frozenset(spec.zones)
        self._forward = _Tree(lambda qname, values: address_rrsets(qname, spec.ttl, values))
        self._reverse = _Tree(lambda qname, values: {RRType.PTR: RRset(qname, RRType.PTR, spec.ttl, values)})

    def add(self, entry: HostsEntry) -> None:
        """Add a line of the file."""
        owner = reverse_name(entry.address)
        for name in entry.names:
            if self._apexes.isdisjoint(suffixes(name)):
                continue
            self._forward.add(name, entry.address)
            if not self._spec.reverse or name.startswith(_WILDCARD):
                continue
            if self._reverse.count(owner) < MAX_REVERSE_NAMES:
                self._reverse.add(owner, name)

    def dismantle(self) -> Iterator[None]:
        """Forget all entries, in steps, once no zone of theirs is asked any more."""
        yield from self._forward.dismantle()
        yield from self._reverse.dismantle()

    def build(self, serial: int = 1) -> HostsZones:
        """The zones, after which nothing can be added.

        serial: of the SOA in denials, higher than the last if the entries changed.
        """
        spec = self._spec
        zones: dict[bytes, Zone] = {
            apex: HostsZone(apex, self._reverse if _is_reverse(apex) else self._forward, self._depends, spec, serial)
            for apex in apexes_of(spec)
        }
        return HostsZones(zones, fallthrough_of(spec))


def apexes_of(spec: HostsSpec) -> tuple[bytes, ...]:
    """The apexes of all zones of a directive, those of reverse names among them."""
    return tuple(dict.fromkeys((*spec.zones, IN_ADDR, IP6) if spec.reverse else spec.zones))


def fallthrough_of(spec: HostsSpec) -> dict[bytes, tuple[bytes, ...]]:
    """Where each zone of a directive passes on what it does not have."""
    return {apex: (apex,) if _is_reverse(apex) else spec.fallthrough for apex in apexes_of(spec)}


def types_of(spec: HostsSpec) -> frozenset[int] | None:
    """The types with which names of a directive stay there, None for all."""
    return _TYPES if spec.passes_types else None


def _is_reverse(apex: bytes) -> bool:
    return is_subdomain(apex, IN_ADDR) or is_subdomain(apex, IP6)


_Maker = Callable[[bytes, tuple[bytes, ...]], RRsets]


class _Tree:
    """Values at names, in order and maybe more than once, and the empty names above; `make` gives a name's rrsets."""

    def __init__(self, make: _Maker) -> None:
        self._make = make
        self._values: dict[bytes, list[bytes]] = {}
        self._above: set[bytes] = set()
        self._has_wildcards = False  # few have, and then no name is looked for twice

    def add(self, name: bytes, value: bytes) -> None:
        values = self._values.get(name)
        if values is not None:
            values.append(value)
            return
        self._values[name] = [value]
        self._has_wildcards = self._has_wildcards or name.startswith(_WILDCARD)
        while name != ROOT and (name := parent(name)) not in self._above:
            self._above.add(name)

    def count(self, name: bytes) -> int:
        return len(self._values.get(name, ()))

    def rrsets(self, name: bytes) -> RRsets | None:
        """The rrsets of a name, none of an empty one; None if it does not exist."""
        values = self._values.get(name)
        if values is None:
            return NO_RRSETS if name in self._above else None
        return self._make(name, tuple(dict.fromkeys(values)))

    def wildcard(self, name: bytes) -> bytes | None:
        """The wildcard that speaks for a well-formed name without values of its own, if there is one."""
        if not self._has_wildcards or name in self._values:
            return None
        wildcard = _WILDCARD + parent(name)
        return wildcard if name != ROOT and wildcard in self._values else None

    def dismantle(self) -> Iterator[None]:
        while self._values or self._above:
            for _ in range(min(FREED_AT_ONCE, len(self._values))):
                self._values.popitem()
            for _ in range(min(FREED_AT_ONCE, len(self._above))):
                self._above.pop()
            yield

    def __contains__(self, name: bytes) -> bool:
        return name in self._values or name in self._above


class HostsZone:
    """One apex of a directive, as lookup sees it (kdns.zone.model.Zone). Made by `hosts_zones`."""

    __slots__ = ("_apex", "_depends", "_negative_ttl", "_serial", "_tree", "_ttl")

    def __init__(self, apex: bytes, tree: _Tree, depends: Dependency, spec: HostsSpec, serial: int) -> None:
        self._apex = apex
        self._tree = tree
        self._depends = depends
        self._ttl = spec.ttl
        self._negative_ttl = min(spec.ttl, spec.negative_ttl)
        self._serial = serial

    @property
    def apex(self) -> bytes:
        """The name of the zone."""
        return self._apex

    @property
    def serial(self) -> int:
        """How often the entries have changed; nobody compares it but caches of denials."""
        return self._serial

    @property
    def soa(self) -> RRset:
        """The SOA record that denials carry; see the module."""
        times = _times(self._serial, _REFRESH, _RETRY, _EXPIRE, self._negative_ttl)
        return RRset(self._apex, RRType.SOA, self._negative_ttl, (_MNAME + _RNAME + times,))

    @property
    def negative_ttl(self) -> int:
        """TTL of a denial."""
        return self._negative_ttl

    def find(self, qname: bytes) -> Found:
        """What stands at this name. The apex exists whatever the file says. Names under a wildcard do not last."""
        rrsets = self._tree.rrsets(qname)
        if rrsets:
            return Found(Kind.NODE, rrsets, qname, self._depends)
        wildcard = self._tree.wildcard(qname)
        if wildcard is not None:
            found = self._tree.rrsets(wildcard) or NO_RRSETS
            return Found(Kind.WILDCARD, found, wildcard, self._depends, None, False)
        if rrsets is not None or qname == self._apex:
            return Found(Kind.EMPTY, NO_RRSETS, qname, self._depends)
        return Found(Kind.ABSENT, NO_RRSETS, qname, self._depends, None, False)

    def denies(self, qname: bytes) -> int | None:
        """The negative TTL for well-formed names in the zone that no entry, wildcard or name below speaks for."""
        if qname in self._tree or qname == self._apex:
            return None
        # A label may hold the octets of the apex: then the name ends like it, and stands elsewhere in the tree.
        if name_end(qname, 0) != len(qname) or not is_subdomain(qname, self._apex):
            return None
        if self._tree.wildcard(qname) is not None:
            return None
        return self._negative_ttl

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """The A and AAAA rrsets at exactly this name."""
        rrsets = self._tree.rrsets(name) or NO_RRSETS
        return tuple(rrsets[rrtype] for rrtype in (RRType.A, RRType.AAAA) if rrtype in rrsets)
