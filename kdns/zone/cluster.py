"""Zones made of subtrees: the names of a cluster, forward and reverse (Kubernetes DNS specification 1.1.0).

Any number of `ForwardZone`s and `ReverseZone`s show one ClusterState (kdns.zone.state) under their apexes.

Left of a forward apex (read right to left; all else is absent), and what has to be known wholly to answer it:
    (nothing)                            SOA and NS                      Services, EndpointSlices
    svc, pod                             empty non-terminals             -
    <namespace>.svc, <namespace>.pod     empty, if the namespace exists  -
    <service>.<namespace>.svc and below  a subtree (kdns.zone.subtree)   see `_needs_in_subtree`
    <address>.<namespace>.pod            computed from the name          Pods, where they are verified
    dns-version                          TXT "1.1.0"                     -
    ns.dns                               this server                     -

Reverse names need Services and EndpointSlices, and a denial of any name needs everything: what a source has not said
yet may be what is asked for. Each name says what it needs where it is found, and `_ClusterZone._if_known` is the one
place that decides on it: a name of which less is known is UNKNOWN.

Where a source lacks something in some namespaces alone (ClusterState.lacking), all other names below `svc` and `pod`
are known, and so is what stands in no namespace; the apex and reverse names follow from all namespaces.

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
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_PODS, LACKS_SERVICES, kinds_text
from kdns.zone.model import NO_RRSETS, Found, Kind, RRsets
from kdns.zone.packed import denial_ttl, find_in_subtree, host_labels
from kdns.zone.rrset import RRset, address_rrsets
from kdns.zone.state import POD, SVC, ClusterState, address_key
from kdns.zone.subtree import Subtree

VERSION_TTL = 28800  # as CoreDNS has it; the specification's example too
SOA_TTL_MAX = 300
REFRESH, RETRY, EXPIRE = 7200, 1800, 86400

_DNS, _NS, _VERSION = b"\x03dns", b"\x02ns", b"\x0bdns-version"
_STATIC = b""  # key of what no delta changes
_NOWHERE = b""  # in place of a namespace's label: of a name that is in none
# From one label's length octet to the next one's; one that is no length leads out of every name.
_OUT = MAX_NAME_OCTETS + 1
_LABEL_STEP = (_OUT, *range(2, MAX_LABEL_OCTETS + 2), *[_OUT] * (255 - MAX_LABEL_OCTETS))
_times = Struct(">5I").pack

_LACKS_HOSTS = LACKS_SERVICES | LACKS_ENDPOINTS


class PodNames(Enum):
    """Which `1-2-3-4.namespace.pod` names exist (CoreDNS's `pods` option)."""

    DISABLED = "disabled"
    INSECURE = "insecure"
    VERIFIED = "verified"


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
               lasting: bool = True, needs: int = 0, within: bytes | None = None) -> Found:
        return self._if_known(Found(kind, rrsets, owner, self._state.depends(key), None, lasting), needs, within)

    def _absent(self, qname: bytes, within: bytes | None = None) -> Found:
        return self._found(Kind.ABSENT, qname, lasting=False, within=within)

    def _if_known(self, found: Found, needs: int, within: bytes | None) -> Found:
        """What was found, if all that it follows from is known wholly; a denial follows from everything.

        needs: kinds of objects (LACKS_...) that decide what stands at an existing name.
        within: label of the namespace that they are in; None if they may be in any.
        """
        state = self._state
        lacks = state.lacks if within is None else state.lacks_in(within)
        if found.kind is not Kind.ABSENT:
            lacks &= needs
        if lacks:
            note = f"{kinds_text(lacks)} are not synced yet"
            return Found(Kind.UNKNOWN, NO_RRSETS, found.owner, state.depends(_STATIC), None, False, note)
        return found._replace(lasting=False) if found.depends[1] in state.changing else found

    def _apex_node(self) -> Found:
        """Never kept: name servers and serial follow from all subtrees."""
        names = self._name_servers() or (_NS + _DNS + self._forward,)
        rrsets: RRsets = {RRType.SOA: self.soa, RRType.NS: RRset(self._apex, RRType.NS, self._ttl, names)}
        return self._found(Kind.NODE, self._apex, rrsets, lasting=False, needs=_LACKS_HOSTS)

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

    @property
    def state(self) -> ClusterState:
        """What it shows."""
        return self._state

    @property
    def lists_pods(self) -> bool:
        """Whether its pods have names that can be listed: those of `pods insecure` are not, for all exist."""
        return self._pods is PodNames.VERIFIED

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
        return branch(self, qname, relative, starts) if branch else self._absent(qname, _NOWHERE)

    def denies(self, qname: bytes) -> int | None:
        """Names in no branch, of no subtree, or not in theirs: what search paths and random names ask for."""
        state = self._state
        if state.lacks and not state.lacking:
            return None
        relative = qname[: -self._cut]
        first = second = third = -1  # where the three labels nearest to the apex start
        at, size = 0, len(relative)
        while at < size:
            third, second, first = second, first, at
            at += _LABEL_STEP[relative[at]]
        if at != size or not size or size + self._cut > MAX_NAME_OCTETS:
            return None  # no well-formed name
        branch = relative[first:]
        if branch != SVC:
            return None if branch in _BRANCHES else self._negative_ttl
        if third < 0 or (state.lacks and relative[second:first] in state.lacking):
            return None
        subtree = state.subtrees.get(relative[third:])
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
        owner, within = relative[at:], relative[starts[-2] : starts[-1]]
        subtree = self._state.subtrees.get(owner)
        if subtree is None:
            return self._absent(qname, within)
        prefix = relative[:at]
        found = find_in_subtree(subtree, qname, prefix, self._apex, self._ttl, self._state.depends(owner))
        return self._if_known(found, _needs_in_subtree(subtree, prefix), within)

    def _namespace_node(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) == 1:
            return self._found(Kind.EMPTY, qname)
        namespace = relative[: starts[1]]
        if namespace not in self._state.namespaces:
            return self._absent(qname, namespace)
        return self._found(Kind.EMPTY, qname, key=relative)

    def _find_pod(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) < 3:
            return self._namespace_node(qname, relative, starts)
        namespace = relative[starts[-2] : starts[-1]]
        address = undashed(relative[1 : starts[1]]) if len(starts) == 3 else None
        if address is None or not self._pod_exists(namespace, address):
            return self._absent(qname, namespace)
        rrsets = address_rrsets(qname, self._ttl, (address,))
        needs = LACKS_PODS if self._pods is PodNames.VERIFIED else 0
        return self._found(Kind.NODE, qname, rrsets, lasting=False, needs=needs, within=namespace)

    def _pod_exists(self, namespace: bytes, address: bytes) -> bool:
        if self._pods is PodNames.VERIFIED:
            return (namespace, address) in self._state.pods
        return self._pods is PodNames.INSECURE and namespace in self._state.namespaces

    def _find_version(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) > 1:
            return self._absent(qname, _NOWHERE)
        return self._found(Kind.NODE, qname, {RRType.TXT: RRset(qname, RRType.TXT, VERSION_TTL, (b"\x051.1.0",))})

    def _find_dns(self, qname: bytes, relative: bytes, starts: list[int]) -> Found:
        if len(starts) == 1:
            return self._found(Kind.EMPTY, qname)
        if relative != _NS + _DNS:
            return self._absent(qname, _NOWHERE)
        return self._found(Kind.NODE, qname, address_rrsets(qname, self._ttl, self._listeners))


_Branch = Callable[[ForwardZone, bytes, bytes, list[int]], Found]
_BRANCHES: dict[bytes, _Branch] = {
    SVC: ForwardZone._find_svc,
    POD: ForwardZone._find_pod,
    _VERSION: ForwardZone._find_version,
    _DNS: ForwardZone._find_dns,
}


def _needs_in_subtree(subtree: Subtree, prefix: bytes) -> int:
    """Kinds of objects that decide what stands at an existing name, `prefix` left of a subtree's owner.

    Services alone decide on ClusterIPs, aliases and the ports below a ClusterIP. Hosts are one label below the owner;
    no host's label starts with an underscore (RFC 1123).
    """
    may_be_host = len(prefix) > 1 and len(prefix) == prefix[0] + 1 and prefix[1:2] != b"_"
    return _LACKS_HOSTS if subtree.headless or may_be_host else LACKS_SERVICES


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
            empty = self._found(Kind.EMPTY, qname, lasting=False, needs=_LACKS_HOSTS)
            return empty if exists else self._absent(qname)
        return self._find_address(qname, bytes.fromhex(digits))

    def denies(self, qname: bytes) -> int | None:
        """Names that are no address's, and addresses of no subtree."""
        if self._state.lacks:
            return None
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
        return self._found(Kind.NODE, qname, rrsets, address_key(address), needs=_LACKS_HOSTS)


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
