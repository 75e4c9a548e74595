"""Zones made of subtrees: the names of a cluster, forward and reverse (Kubernetes DNS specification 1.1.0).

A `ClusterState` is what one source has said so far; any number of `ForwardZone`s and `ReverseZone`s show it under
their apexes. The state is changed in place by `apply`, between queries, by the one thread that reads it, so that no
reader ever meets half a change.

Left of a forward apex (read right to left; all else is absent):
    svc, pod                             empty non-terminals
    <namespace>.svc, <namespace>.pod     empty, if the namespace exists
    <service>.<namespace>.svc and below  a subtree (kdns.zone.subtree)
    <address>.<namespace>.pod            computed from the name
    dns-version                          TXT "1.1.0"
    ns.dns                               this server

Not here: what an answer looks like (kdns.zone.lookup), what becomes a subtree (kdns.kube.schema).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from struct import Struct

from kdns.wire.iana import RRType
from kdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, is_subdomain, labels
from kdns.wire.query import name_end
from kdns.zone.addresses import IN_ADDR, IP6, dashed_label, parse_reverse, undashed
from kdns.zone.delta import ZoneDelta, next_serial
from kdns.zone.model import NO_RRSETS, Dependency, Found, Kind, RRsets
from kdns.zone.packed import all_addresses, denial_ttl, find_in_subtree, host_labels
from kdns.zone.reverse import ReverseIndex, empty
from kdns.zone.rrset import RRset, address_rrsets
from kdns.zone.subtree import Subtree

VERSION_TTL = 28800  # as CoreDNS has it; the specification's example too
SOA_TTL_MAX = 300
REFRESH, RETRY, EXPIRE = 7200, 1800, 86400

_SVC, _POD, _DNS, _NS, _VERSION = b"\x03svc", b"\x03pod", b"\x03dns", b"\x02ns", b"\x0bdns-version"
_STATIC = b""  # key of what no delta changes
# From one label's length octet to the next one's; one that is no length leads out of every name.
_OUT = MAX_NAME_OCTETS + 1
_LABEL_STEP = (_OUT, *range(2, MAX_LABEL_OCTETS + 2), *[_OUT] * (255 - MAX_LABEL_OCTETS))
_times = Struct(">5I").pack


class PodNames(Enum):
    """Which `1-2-3-4.namespace.pod` names exist (CoreDNS's `pods` option)."""

    DISABLED = "disabled"
    INSECURE = "insecure"
    VERIFIED = "verified"


class ClusterState:
    """What one source has said: subtrees, namespaces, pods. `source` is its index in the configuration."""

    def __init__(self, source: int) -> None:
        self.source = source
        self._serial: int | None = None
        self.subtrees: dict[bytes, Subtree] = {}
        self.namespaces: set[bytes] = set()
        self.pods: set[tuple[bytes, bytes]] = set()
        self.reverse = ReverseIndex()

    def apply(self, delta: ZoneDelta) -> set[Dependency]:
        """Make the change; returns what it may have made wrong in answers given before."""
        touched: set[bytes] = set()
        if delta.serial is not None and delta.serial != self._serial:
            self._serial = next_serial(self._serial, delta.serial)
        for owner in delta.removed:
            self._replace(owner, None, touched)
        for subtree in delta.subtrees:
            self._replace(subtree.owner, subtree, touched)
        self._apply_namespaces(delta, touched)
        self.pods.difference_update(delta.pods_removed)
        self.pods.update(delta.pods)
        return {(self.source, key) for key in touched}

    @property
    def serial(self) -> int:
        """The SOA serial of the last change."""
        return self._serial or 0

    def succeed(self, former: ClusterState) -> None:
        """Take the place of a former state: the serial that was seen there does not go back (RFC 1982)."""
        if former.serial != self.serial:
            self._serial = next_serial(former._serial, self.serial)

    def dismantle(self) -> Iterator[None]:
        """Take apart what nobody reads any more, in steps: freed at once it would hold up queries."""
        yield from empty(self.subtrees)
        yield from self.reverse.dismantle()

    def depends(self, key: bytes) -> Dependency:
        """The dependency on what stands under this key."""
        return self.source, key

    def _replace(self, owner: bytes, new: Subtree | None, touched: set[bytes]) -> None:
        old = self.subtrees.pop(owner, None)
        before = all_addresses(old) if old else set()
        after = all_addresses(new) if new else set()
        touched.add(owner)
        touched.update(map(_address_key, before | after))  # a host that stays may have got another label
        if new is not None:
            self.subtrees[owner] = new
            self.reverse.change(owner, before - after, after - before)
        elif old is not None:
            self.reverse.remove(owner, before)

    def _apply_namespaces(self, delta: ZoneDelta, touched: set[bytes]) -> None:
        self.namespaces.difference_update(delta.namespaces_removed)
        self.namespaces.update(delta.namespaces)
        for label in (*delta.namespaces_removed, *delta.namespaces):
            touched.update((label + _SVC, label + _POD))


class _ClusterZone:
    """What forward and reverse zones have in common: apex, SOA, NS."""

    def __init__(self, state: ClusterState, apex: bytes, forward: bytes, ttl: int, negative_ttl: int,
                 listeners: tuple[bytes, ...]) -> None:
        self._state = state
        self._apex = apex
        self._forward = forward  # the forward zone in which targets and name servers stand
        self._ttl = ttl
        self._negative_ttl = min(ttl, negative_ttl)
        self._listeners = listeners

    @property
    def apex(self) -> bytes:
        """The name of the zone."""
        return self._apex

    @property
    def serial(self) -> int:
        """The serial of the source's last change."""
        return self._state.serial

    @property
    def negative_ttl(self) -> int:
        """TTL of a denial."""
        return self._negative_ttl

    @property
    def soa(self) -> RRset:
        """The SOA record of now."""
        # A reverse zone's name server stands in the forward zone, where it has addresses.
        mname, rname = _NS + _DNS + self._forward, b"\x0ahostmaster" + self._forward
        times = _times(self.serial, REFRESH, RETRY, EXPIRE, self._negative_ttl)
        return RRset(self._apex, RRType.SOA, min(self._ttl, SOA_TTL_MAX), (mname + rname + times,))

    def _found(self, kind: Kind, owner: bytes, rrsets: RRsets = NO_RRSETS, key: bytes = _STATIC,
               lasting: bool = True) -> Found:
        return Found(kind, rrsets, owner, self._state.depends(key), None, lasting)

    def _absent(self, qname: bytes) -> Found:
        return self._found(Kind.ABSENT, qname, lasting=False)

    def _apex_node(self) -> Found:
        """Never kept: name servers and serial follow from all subtrees."""
        names = self._name_servers() or (_NS + _DNS + self._forward,)
        rrsets: RRsets = {RRType.SOA: self.soa, RRType.NS: RRset(self._apex, RRType.NS, self._ttl, names)}
        return self._found(Kind.NODE, self._apex, rrsets, lasting=False)

    def _name_servers(self) -> tuple[bytes, ...]:
        """The names of subtrees with this server's address among their hosts, as CoreDNS finds them."""
        names: list[bytes] = []
        for address in self._listeners:
            for owner in sorted(self._state.reverse.owners(address)):
                names += self._server_names(self._state.subtrees[owner], address)
        return tuple(dict.fromkeys(names))

    def _server_names(self, subtree: Subtree, address: bytes) -> Iterator[bytes]:
        if not subtree.headless:
            yield subtree.owner + self._forward
            return
        for label in host_labels(subtree, address):
            yield label + subtree.owner + self._forward


class ForwardZone(_ClusterZone):
    """A zone of subtrees, such as cluster.local."""

    def __init__(self, state: ClusterState, apex: bytes, ttl: int, negative_ttl: int, pods: PodNames,
                 listeners: tuple[bytes, ...] = ()) -> None:
        super().__init__(state, apex, apex, ttl, negative_ttl, listeners)
        self._pods = pods
        self._cut = len(apex)

    def find(self, qname: bytes) -> Found:
        """What stands at this name."""
        relative = qname[: -self._cut]
        starts: list[int] = []
        at, size = 0, len(relative)
        while at < size:
            starts.append(at)
            at += relative[at] + 1
        if not starts:
            return self._apex_node()
        branch = _BRANCHES.get(relative[starts[-1] :])
        return branch(self, qname, relative, starts) if branch else self._absent(qname)

    def denies(self, qname: bytes) -> int | None:
        """Names in no branch, of no subtree, or not in theirs: what search paths and random names ask for."""
        relative = qname[: -self._cut]
        first = second = third = -1  # where the three labels nearest to the apex start
        at, size = 0, len(relative)
        while at < size:
            third, second, first = second, first, at
            at += _LABEL_STEP[relative[at]]
        if at != size or not size or size + self._cut > MAX_NAME_OCTETS:
            return None  # no well-formed name
        branch = relative[first:]
        if branch != _SVC:
            return None if branch in _BRANCHES else self._negative_ttl
        if third < 0:
            return None
        subtree = self._state.subtrees.get(relative[third:])
        if subtree is None:
            return self._negative_ttl
        return denial_ttl(subtree, relative[:third], self._ttl, self._negative_ttl)

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """The A and AAAA rrsets of a name of this zone."""
        rrsets = self.find(name).rrsets
        return tuple(rrsets[rrtype] for rrtype in (RRType.A, RRType.AAAA) if rrtype in rrsets)

    def _find_svc(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) < 3:
            return self._namespace_node(qname, relative, starts)
        at = starts[-3]
        owner = relative[at:]
        subtree = self._state.subtrees.get(owner)
        if subtree is None:
            return self._absent(qname)
        return find_in_subtree(subtree, qname, relative[:at], self._apex, self._ttl, self._state.depends(owner))

    def _namespace_node(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) == 1:
            return self._found(Kind.EMPTY, qname)
        if relative[: starts[1]] not in self._state.namespaces:
            return self._absent(qname)
        return self._found(Kind.EMPTY, qname, key=relative)

    def _find_pod(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) < 3:
            return self._namespace_node(qname, relative, starts)
        namespace = relative[starts[1] : starts[2]]
        address = undashed(relative[1 : starts[1]]) if len(starts) == 3 else None
        if address is None or not self._pod_exists(namespace, address):
            return self._absent(qname)
        rrsets = address_rrsets(qname, self._ttl, (address,))
        return self._found(Kind.NODE, qname, rrsets, lasting=False)

    def _pod_exists(self, namespace: bytes, address: bytes) -> bool:
        if self._pods is PodNames.VERIFIED:
            return (namespace, address) in self._state.pods
        return self._pods is PodNames.INSECURE and namespace in self._state.namespaces

    def _find_version(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) > 1:
            return self._absent(qname)
        return self._found(Kind.NODE, qname, {RRType.TXT: RRset(qname, RRType.TXT, VERSION_TTL, (b"\x051.1.0",))})

    def _find_dns(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) == 1:
            return self._found(Kind.EMPTY, qname)
        if relative != _NS + _DNS:
            return self._absent(qname)
        return self._found(Kind.NODE, qname, address_rrsets(qname, self._ttl, self._listeners))


_Branch = Callable[[ForwardZone, bytes, bytes, list[int]], Found]
_BRANCHES: dict[bytes, _Branch] = {
    _SVC: ForwardZone._find_svc,
    _POD: ForwardZone._find_pod,
    _VERSION: ForwardZone._find_version,
    _DNS: ForwardZone._find_dns,
}


class ReverseZone(_ClusterZone):
    """PTR records for the addresses of subtrees, below in-addr.arpa or ip6.arpa or a part of them."""

    def __init__(self, state: ClusterState, apex: bytes, forward: bytes, ttl: int, negative_ttl: int,
                 listeners: tuple[bytes, ...] = ()) -> None:
        super().__init__(state, apex, forward, ttl, negative_ttl, listeners)
        self._octets, self._tree = (4, IN_ADDR) if is_subdomain(apex, IN_ADDR) else (16, IP6)

    def find(self, qname: bytes) -> Found:
        """What stands at this name."""
        if qname == self._apex:
            return self._apex_node()
        digits = parse_reverse(labels(qname[: -len(self._tree)] + b"\0"), self._octets)
        if digits is None:
            return self._absent(qname)
        if len(digits) < 2 * self._octets:
            exists = self._state.reverse.has_prefix(digits, self._octets)
            # Never kept: which address is the last one below a prefix is not tracked.
            return self._found(Kind.EMPTY, qname, lasting=False) if exists else self._absent(qname)
        return self._find_address(qname, bytes.fromhex(digits))

    def denies(self, qname: bytes) -> int | None:
        """Names that are no address's, and addresses of no subtree."""
        if qname == self._apex or name_end(qname, 0) != len(qname) or not is_subdomain(qname, self._apex):
            return None
        digits = parse_reverse(labels(qname[: -len(self._tree)] + b"\0"), self._octets)
        if digits is None:
            return self._negative_ttl
        if len(digits) < 2 * self._octets or self._state.reverse.owners(bytes.fromhex(digits)):
            return None
        return self._negative_ttl

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """None: reverse names own no addresses."""
        return ()

    def _find_address(self, qname: bytes, address: bytes) -> Found:
        names = (target + self._forward for target in ptr_targets(self._state, address))
        targets = tuple(name for name in names if len(name) <= MAX_NAME_OCTETS)
        if not targets:
            return self._absent(qname)
        rrsets: RRsets = {RRType.PTR: RRset(qname, RRType.PTR, self._ttl, targets)}
        return self._found(Kind.NODE, qname, rrsets, _address_key(address))


def ptr_targets(state: ClusterState, address: bytes) -> list[bytes]:
    """The relative names that an address belongs to, in the order to answer them in.

    A subtree's own address (a ClusterIP) stands alone. Else one name for each host: first the stable name below its
    governing headless owner (a label of its own), then below other headless owners, then below the rest.
    """
    subtrees = [state.subtrees[owner] for owner in sorted(state.reverse.owners(address))]
    owned = [subtree.owner for subtree in subtrees if address in subtree.addresses]
    if owned:
        return owned[:1]
    by_address = dashed_label(address)
    ranked = sorted(
        (not subtree.headless, label == by_address, subtree.owner, label)
        for subtree in subtrees
        for label in host_labels(subtree, address)
    )
    return [label + owner for _, _, owner, label in ranked]


def is_reverse(apex: bytes) -> bool:
    """Whether a zone of this name holds reverse names."""
    return is_subdomain(apex, IN_ADDR) or is_subdomain(apex, IP6)


def _address_key(address: bytes) -> bytes:
    return b"\0" + address  # no owner starts with the root label
