"""Endpoints of our own zone first. DNS does not tell zones, so the app does: by a function, or by networks.

Our zone has all requests while enough of it is up; else all zones share them, as what is left of ours would be
overrun (Envoy, "Zone aware routing", spills over by capacity; ours is all or nothing). Not here: which are up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kdns.client.cells import Cell, State
from kdns.client.endpoint import Endpoint
from kdns.client.errors import OptionError
from kdns.client.options import ZonePreference


def zone_teller(options: ZonePreference) -> Callable[[Endpoint], str | None]:
    """What tells an endpoint's zone. Raises OptionError for what is no network."""
    return options.zone_of if options.zone_of is not None else _by_networks(options.cidrs)


def prefer(
    cells: Sequence[Cell], options: ZonePreference, zone_of: Callable[[Endpoint], str | None]
) -> tuple[Cell, ...]:
    """Those of our zone while enough of them are up; else all."""
    ours = tuple(cell for cell in cells if zone_of(cell.endpoint) == options.zone)
    up = sum(cell.state is State.UP for cell in ours)
    return ours if ours and up >= options.healthy_least * len(ours) else tuple(cells)


def _by_networks(cidrs: Mapping[str, str]) -> Callable[[Endpoint], str | None]:
    networks: list[tuple[IPv4Network | IPv6Network, str]] = []
    for text, zone in cidrs.items():
        try:
            networks.append((ip_network(text), zone))
        except ValueError as error:
            raise OptionError(f"zone preference: {error}") from None
    # The longest prefix holds.
    networks.sort(key=lambda one: -one[0].prefixlen)

    def zone_of(endpoint: Endpoint) -> str | None:
        address = ip_address(endpoint.host)
        return next((zone for network, zone in networks if address in network), None)

    return zone_of
