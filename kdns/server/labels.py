"""The labels of what workers count, from the plan: which listener is which `server`, which zones it has.

The supervisor and every worker make the same of the same plan, so that the words between them need no names.
Not here: the words (kdns.observe.tally).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from kdns.answer.spec import SiteSpec
from kdns.observe.tally import Layout, Server
from kdns.server.admin import server_label
from kdns.server.assembly import Plan
from kdns.server.forwarding import GroupPlan
from kdns.server.guarding import GuardLayout
from kdns.server.outside_metrics import Group
from kdns.server.sockets import Address
from kdns.wire.name import to_text


@dataclass(frozen=True, slots=True)
class Labels:
    """zones: for each listener, the numbers of its zones in the layout by their folded apexes."""

    layout: Layout
    zones: tuple[Mapping[bytes, int], ...]
    guards: GuardLayout


def labels_of(plan: Plan) -> Labels:
    """A zone of a server block has one number, however many listeners the block has: kept replies are shared."""
    specification = plan.specification
    texts = [to_text(apex) for site in specification.sites for apex in site.zones]
    caches = [cache_zones(group) for site, group in _groups(plan) for _ in site.zones]
    zones = tuple(map(specification.zone_numbers, specification.listeners))
    servers = [
        Server(_label(addresses), tuple(served.values()))
        for addresses, served in zip(plan.addresses, zones, strict=True)
    ]
    guards = GuardLayout(specification, [server.label for server in servers])
    return Labels(Layout(servers, texts, caches), zones, guards)


def groups_of(plan: Plan) -> tuple[Group, ...]:
    """The groups of the forwarder as metrics name them: by the first listener of their block."""
    servers = [_label(addresses) for addresses in plan.addresses]
    listeners = plan.specification.listeners
    return tuple(
        Group(next((servers[at] for at, sites in enumerate(listeners) if number in sites), ""), cache_zones(group))
        for number, (_, group) in enumerate(_groups(plan))
    )


def cache_zones(group: GroupPlan | None) -> str:
    """The zones of a `cache` line as metrics name them; "" without one."""
    return ",".join(map(to_text, group.cache.zones)) if group and group.cache else ""


def _groups(plan: Plan) -> Iterator[tuple[SiteSpec, GroupPlan | None]]:
    """The sites with what each forwards."""
    return zip_longest(plan.specification.sites, plan.groups)


def _label(addresses: Sequence[Address]) -> str:
    """CoreDNS's name of all addresses has none."""
    (first, *_) = addresses
    return server_label("" if first.is_wildcard else first.host, first.port)
