"""What the answering side is told of the configuration: sources, and the sites that serve them.

A source is one stream of ZoneDeltas (a `kubernetes` block, a zone file, a `hosts` line); deltas name it by its index
in `Specification.sources`. A site is one server block. Not here: the Corefile (kdns.corefile), which
kdns.server.assembly turns into this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from kdns.answer.acl import AclSpec
from kdns.answer.autopath import AutopathSpec
from kdns.answer.chaos import ChaosSpec
from kdns.answer.template import TemplateSpec
from kdns.answer.transfer import TransferSpec
from kdns.wire.rules import RewriteRule
from kdns.zone.cluster import PodNames
from kdns.zone.hosts import HostsSpec

MAX_UDP_OCTETS = 1232  # what crosses every path unfragmented (DNS flag day 2020); `bufsize` changes it
NEGATIVE_TTL = 5  # at most this long may a denial of a cluster name be believed


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A source of subtrees, served in one or more forward zones and any number of reverse zones.

    zones: folded apexes, forward ones first in the order written; the first forward one names PTR targets.
    ttl: TTL of positive answers.
    fallthrough: zones (folded names) in which a denial passes the question on; () for none.
    listeners: packed addresses that this server answers on: those of `ns.dns` where no subtree covers them.
    """

    zones: tuple[bytes, ...]
    ttl: int = 5
    pods: PodNames = PodNames.DISABLED
    fallthrough: tuple[bytes, ...] = ()
    listeners: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A source that is one zone file. fallthrough: as in ClusterSpec."""

    apex: bytes
    fallthrough: tuple[bytes, ...] = ()

    @property
    def zones(self) -> tuple[bytes, ...]:
        """Its one zone."""
        return (self.apex,)


SourceSpec = ClusterSpec | FileSpec | HostsSpec


@dataclass(frozen=True, slots=True)
class OutsideSpec:
    """One `forward` line: names at and below `zone` are for outside, but for those below `excluded` (`except`).

    An excluded name that is the zone itself is forwarded all the same, as CoreDNS does. All names are folded.
    """

    zone: bytes
    excluded: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """One server block: the names it takes (folded apexes) and what answers them, in order.

    sources: indexes into Specification.sources; whatever their order, hosts come first, then clusters, then files.
    any_hinfo: the `any` directive: ANY is answered HINFO without a lookup (RFC 8482).
    whoami: names that nothing else answers are answered with the client's address.
    max_udp_octets: cap on UDP replies (`bufsize`).
    group: under which index the forwarder knows the block's `forward` and `cache` lines; None without `forward`.
    outside: those `forward` lines. chaos: what names of class CH say of the server, if they are answered.
    acl: who may ask what, asked before anything else.
    nsid: what the server's identity is to who asks for it (RFC 5001), at most 128 octets; b"" for none.
    minimal: positive replies have nothing but their answer.
    rewrite: rules for questions and replies. templates: what answers by itself. autopath: whose names are searched.
    transfers: who may have which zones whole.
    """

    zones: tuple[bytes, ...]
    sources: tuple[int, ...] = ()
    any_hinfo: bool = False
    whoami: bool = False
    max_udp_octets: int = MAX_UDP_OCTETS
    group: int | None = None
    outside: tuple[OutsideSpec, ...] = ()
    chaos: ChaosSpec | None = None
    acl: tuple[AclSpec, ...] = ()
    nsid: bytes = b""
    minimal: bool = False
    rewrite: tuple[RewriteRule, ...] = ()
    templates: tuple[TemplateSpec, ...] = ()
    autopath: AutopathSpec | None = None
    transfers: tuple[TransferSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Specification:
    """All sources, and for each listener the sites that share it (indexes into `sites`)."""

    sources: tuple[SourceSpec, ...] = ()
    sites: tuple[SiteSpec, ...] = ()
    listeners: tuple[tuple[int, ...], ...] = field(default=())

    def zone_numbers(self, sites: tuple[int, ...]) -> dict[bytes, int]:
        """The zones that some sites take, by their numbers among the zones of all sites, for who counts by them."""
        first = list(accumulate((len(site.zones) for site in self.sites), initial=0))
        return {apex: first[at] + place for at in sites for place, apex in enumerate(self.sites[at].zones)}
