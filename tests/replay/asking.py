"""What to ask after an event: the names that an object has anything to do with, read from its JSON alone.

Independent of how kdns derives names: this follows the text of Kubernetes' DNS specification.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import ip_address
from typing import Any

from kdns.wire.name import from_text
from tests.replay.recording import Event
from tests.support.messages import query

ZONE = "cluster.local"
TYPES = ("A", "AAAA", "SRV", "PTR", "TXT")
APEXES = (ZONE, "in-addr.arpa", "ip6.arpa")
# Names that no object speaks of: the branches, the static ones, and such as do not exist.
STATIC = (
    *APEXES,
    *(f"{label}.{ZONE}" for label in ("svc", "pod", "dns", "ns.dns", "dns-version", "absent", "web.shop")),
    f"absent.svc.{ZONE}",
    f"absent.shop.svc.{ZONE}",
    f"10-0-0-1.absent.pod.{ZONE}",
    "1.0.0.127.in-addr.arpa",
    "absent.in-addr.arpa",
)

_SERVICE_NAME = "kubernetes.io/service-name"


@cache
def questions(names: frozenset[str], types: tuple[str, ...] = TYPES) -> tuple[bytes, ...]:
    """Queries for all these names and types."""
    return tuple(query(from_text(name), rrtype) for name in sorted(names) for rrtype in types)


def names_in(event: Event) -> frozenset[str]:
    """Every name that this object could have something to do with."""
    return _names(event.kind, json.loads(event.json))


def touched_names(old: Event | None, new: Event) -> frozenset[str]:
    """The names that can change when one version of an object follows another: not every endpoint of a slice."""
    after = json.loads(new.json)
    if old is None or new.kind != "EndpointSlice":
        return names_in(new) | (names_in(old) if old else frozenset())
    before = json.loads(old.json)
    one, other = ({json.dumps(endpoint): endpoint for endpoint in _endpoints(piece)} for piece in (before, after))
    if new.verb != "DELETED":
        changed = one.keys() ^ other.keys()
        before["endpoints"] = after["endpoints"] = [{**one, **other}[text] for text in changed]
    return _names(new.kind, before) | _names(new.kind, after)


def ancestors(names: Iterable[str]) -> frozenset[str]:
    """All names above these, down to the zones."""
    found = set()
    for name in names:
        while name not in APEXES:
            name = name.partition(".")[2]
            found.add(name)
    return frozenset(found)


def _names(kind: str, value: dict[str, Any]) -> frozenset[str]:
    return frozenset(_NAMES[kind](value))


def _of_namespace(value: dict[str, Any]) -> Iterator[str]:
    for branch in ("svc", "pod"):
        yield f"{value['metadata']['name']}.{branch}.{ZONE}"


def _of_service(value: dict[str, Any]) -> Iterator[str]:
    meta, spec = value["metadata"], value["spec"]
    owner = f"{meta['name']}.{meta['namespace']}.svc.{ZONE}"
    yield from (owner, f"absent.{owner}", f"_tcp.{owner}", f"_http._udp.{owner}")
    yield from _port_names(owner, spec.get("ports") or ())
    yield from map(_reverse, (address for address in spec.get("clusterIPs") or () if address != "None"))
    yield f"{meta['namespace']}.svc.{ZONE}"


def _of_slice(value: dict[str, Any]) -> Iterator[str]:
    meta = value["metadata"]
    service = meta["labels"].get(_SERVICE_NAME)
    owner = f"{service}.{meta['namespace']}.svc.{ZONE}"
    yield owner
    yield from _port_names(owner, value.get("ports") or ())
    for endpoint in _endpoints(value):
        for address in endpoint["addresses"]:
            yield from (_reverse(address), f"{_dashed(address)}.{owner}")
        if endpoint.get("hostname"):
            yield f"{endpoint['hostname']}.{owner}"
        if "targetRef" in endpoint:
            yield f"{endpoint['targetRef']['name']}.{owner}"


def _of_pod(value: dict[str, Any]) -> Iterator[str]:
    for entry in value.get("status", {}).get("podIPs") or ():
        yield from (f"{_dashed(entry['ip'])}.{value['metadata']['namespace']}.pod.{ZONE}", _reverse(entry["ip"]))


_NAMES = {"Namespace": _of_namespace, "Service": _of_service, "EndpointSlice": _of_slice, "Pod": _of_pod}


def _endpoints(value: dict[str, Any]) -> list[dict[str, Any]]:
    return value.get("endpoints") or []


def _port_names(owner: str, ports: Iterable[dict[str, Any]]) -> Iterator[str]:
    for port in ports:
        protocol = f"_{port.get('protocol', 'TCP').lower()}.{owner}"
        yield protocol
        if port.get("name"):
            yield f"_{port['name']}.{protocol}"


def _dashed(address: str) -> str:
    """The label of an address: its text with dashes for dots and colons."""
    return address.replace(".", "-").replace(":", "-")


def _reverse(address: str) -> str:
    return ip_address(address).reverse_pointer
