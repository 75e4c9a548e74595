"""The client's search list, walked here in one go (CoreDNS's `autopath`).

A pod has `search shop.svc.cluster.local svc.cluster.local cluster.local ...` and `ndots:5`: it asks for
www.example.org.shop.svc.cluster.local first, and only after three or more denials for www.example.org. The suffix
tells the namespace, so nobody has to know pods. Walked is, for a name X of the client:

    X.<namespace>.svc.<zone>    asked; does not exist, or else it is answered and nothing here happens
    X.svc.<zone>, X.<zone>      looked up here
    X.<search>                  for each search domain of the node (resolv.conf), as far as the client has them too
    X                           the name itself

The first of these that exists is answered, for whatever type: the asked name as an alias of it, and its records or
their absence. If none exists, the asked name does not (NXDOMAIN, from the cluster's zone); the client goes on asking,
and hears what the caches know by then. If one cannot be resolved, it is SERVFAIL at once: the client's patience is
over by then. If one is refused, the walk ends as if none existed, and the client hears of it when it comes to it.
Nothing of this is kept with the cluster's replies, for no change of the cluster says that it ended; its
alias lives for seconds.

Limits, so that no full name gets an answer that is not its own:
    - X of one label is left alone: it may as well be a Service that is gone. The client walks its list itself.
    - So is X below a Service that the namespace has (a pod that is gone, a port without a name), and every suffix
      with a namespace that is not known.
    - What is left is a.b.<namespace>.svc.<zone>, meant as a full name, without a Service b: it may be answered as
      Service a of namespace b.
    - The search domains must be those of the clients: with other ones the client would have found another name.
    - A name with a last dot, or with as many dots as `ndots`, never gets here.
Not here: asking outside (kdns.answer.outside), what stands in the zones, files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import MAX_NAME_OCTETS, ROOT, InvalidName, from_text, is_subdomain, suffixes
from kdns.zone.model import Kind, Lookup, Zone
from kdns.zone.rrset import RRset
from kdns.zone.state import SVC

# Search domains of a node that are walked, each of which may cost a question outside: what resolvers took for long.
MAX_SEARCH_DOMAINS = 6

# TTL of the alias, at most: a name of the cluster that comes to exist ends it, and denials are believed as long.
ALIAS_TTL = 5

# They ask for what the asked name itself has, or for nothing that an alias leads to.
_LEFT_ALONE = frozenset((RRType.CNAME, RRType.ANY, RRType.AXFR, RRType.IXFR))


@dataclass(frozen=True, slots=True)
class AutopathSpec:
    """One `autopath`. zones: folded names; those asked have to be in one. search: see `search_domains`.

    own: a search list begins with namespaces, as pods have it; else `search` is all of it, and its first domain is
    the one that names are asked with.
    """

    zones: tuple[bytes, ...]
    search: tuple[bytes, ...] = ()
    own: bool = True


class Search(NamedTuple):
    """A walk under way.

    asked: the name that was asked for. denial: what is answered if no name exists. names: yet to be tried, in order.
    """

    asked: bytes
    denial: Lookup
    names: tuple[bytes, ...]


class Outward(NamedTuple):
    """The walk has come to a name for outside.

    chain: the alias that leads there (`leads_to`); with the answer for the name behind it the reply is whole.
    rest: where to go on if the answer is NXDOMAIN; whatever else it is ends the walk.
    """

    chain: Lookup
    rest: Search


# What the zones have for a name; None if it is for outside.
Look = Callable[[bytes], Lookup | None]


def search_domains(resolv_conf: str) -> tuple[bytes, ...]:
    """The search list of a resolv.conf(5), folded: that of its last `search` or `domain` line.

    What is no name is left out, and so is the root, which every walk ends with.
    """
    words: list[str] = []
    for line in resolv_conf.splitlines():
        keyword, *rest = line.split() or [""]
        if keyword == "search":
            words = rest
        elif keyword == "domain":
            words = rest[:1]
    names = dict.fromkeys(name for word in words if (name := _name(word)) not in (None, ROOT))
    return tuple(name for name in names if name is not None)[:MAX_SEARCH_DOMAINS]


def _name(word: str) -> bytes | None:
    try:
        return from_text(word).lower()
    except InvalidName:
        return None


def begin(spec: AutopathSpec, zone: Zone | None, asked: bytes, qtype: int, found: Lookup) -> Search | None:
    """The walk for a folded name that was denied as `found` says; None where it is left alone.

    zone: which has denied it, None if it was none of ours.
    """
    if found.rcode != Rcode.NXDOMAIN or found.answer or qtype in _LEFT_ALONE:
        return None
    ancestors = suffixes(asked)
    if not any(name in spec.zones for name in ancestors):
        return None
    bases = _cluster_names(zone, ancestors) if spec.own else _first_names(spec.search, asked)
    if bases is None:
        return None
    base, own = bases
    names = own + _below(base, spec.search if spec.own else spec.search[1:]) + (base + ROOT,)
    return Search(asked, found, tuple(dict.fromkeys(names)))


def walk(search: Search, look: Look) -> Lookup | Outward:
    """Go on until a name exists, or one is for outside, or there are no more, or one is refused."""
    asked, denial, names = search
    for at, name in enumerate(names, 1):
        found = look(name)
        if found is None:
            chain = aliased(asked, name, Lookup(Rcode.NOERROR, leads_to=name))
            return Outward(chain, search._replace(names=names[at:]))
        if found.rcode == Rcode.SERVFAIL:
            return found._replace(lasting=False)
        if found.rcode == Rcode.NOERROR:
            return aliased(asked, name, found)
        if found.rcode != Rcode.NXDOMAIN:
            break
    return denial._replace(lasting=False)


def aliased(asked: bytes, name: bytes, found: Lookup) -> Lookup:
    """The asked name as an alias of one that exists, or may."""
    ttls = [rrset.ttl for rrset in found.answer] + ([found.denial.ttl] if found.denial else [])
    alias = RRset(asked, RRType.CNAME, min([ALIAS_TTL, *ttls]), (name,))
    return found._replace(answer=(alias, *found.answer), authoritative=True, lasting=False)


# The client's name without its root label, and the names to try first.
_Bases = tuple[bytes, tuple[bytes, ...]]


def _cluster_names(zone: Zone | None, ancestors: list[bytes]) -> _Bases | None:
    """X and its names in the zone, if the asked name is X below a namespace, and may be meant so."""
    if zone is None:
        return None
    services = SVC + zone.apex
    below = [name for name in ancestors if is_subdomain(name, services)]
    if len(below) < 4:  # X of one label, or of none
        return None
    service, namespace = below[-3], below[-2]
    if zone.find(namespace).kind is not Kind.EMPTY or _is_service(zone, service):
        return None
    base = ancestors[0][: -len(namespace)]
    return base, _below(base, (services, zone.apex))


def _is_service(zone: Zone, name: bytes) -> bool:
    """Whether something of the cluster decides what stands here, be it that nothing does for now."""
    found = zone.find(name)
    return found.kind is not Kind.ABSENT or found.depends[1] != b""


def _first_names(search: tuple[bytes, ...], asked: bytes) -> _Bases | None:
    """X, if the asked name is X below the first search domain."""
    if not search or asked == search[0] or not is_subdomain(asked, search[0]):
        return None
    base = asked[: -len(search[0])]
    return (base, ()) if len(base) > base[0] + 1 else None


def _below(base: bytes, domains: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(base + domain for domain in domains if len(base) + len(domain) <= MAX_NAME_OCTETS)
