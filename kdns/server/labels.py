"""The labels of what workers count, from the plan: which listener is which `server`, which zones it has.

The supervisor and every worker make the same of the same plan, so that the words between them need no names.
Not here: the words (kdns.observe.tally).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdns.observe.tally import Layout, Server
from kdns.server.admin import server_label
from kdns.server.assembly import Plan
from kdns.server.sockets import Address
from kdns.wire.name import to_text


@dataclass(frozen=True, slots=True)
class Labels:
    """zones: for each listener, the numbers of its zones in the layout by their folded apexes."""

    layout: Layout
    zones: tuple[Mapping[bytes, int], ...]


def labels_of(plan: Plan) -> Labels:
    """A zone of a server block has one number, however many listeners the block has: kept replies are shared."""
    sites = plan.specification.sites
    numbers: list[dict[bytes, int]] = []
    texts: list[str] = []
    for site in sites:
        numbers.append({apex: len(texts) + at for at, apex in enumerate(site.zones)})
        texts += map(to_text, site.zones)
    listeners = plan.specification.listeners
    zones = tuple({apex: number for at in group for apex, number in numbers[at].items()} for group in listeners)
    servers = [
        Server(_label(addresses), tuple(served.values()))
        for addresses, served in zip(plan.addresses, zones, strict=True)
    ]
    return Labels(Layout(servers, texts), zones)


def _label(addresses: Sequence[Address]) -> str:
    """CoreDNS's name of all addresses has none."""
    (first, *_) = addresses
    return server_label("" if first.is_wildcard else first.host, first.port)
