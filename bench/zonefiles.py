"""Writes a made-up cluster as RFC 1035 master files, so that NSD, Knot and CoreDNS's `file` can serve what
kdns derives.

Three zones: cluster.local, in-addr.arpa and ip6.arpa, with the records of Kubernetes DNS-based service
discovery 1.1.0 and those that CoreDNS adds: SRV on the bare service name, and endpoint names below
ClusterIP services. Only ready endpoints have records. Weights are floor(100/n), n counting (address, port)
pairs before equal records are merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

from bench.cluster import CLUSTER_DOMAIN, Cluster, Pod, Port, Service

ZONES = (CLUSTER_DOMAIN, "in-addr.arpa", "ip6.arpa")
TTL = 5  # CoreDNS's default for cluster records, and of negative answers
APEX = """\
$ORIGIN {zone}.
$TTL {ttl}
@ SOA ns.dns.{zone}. hostmaster.{zone}. 1772352000 7200 1800 86400 {ttl}
@ NS ns.dns.{domain}.
"""
CLUSTER_APEX = "ns.dns A 127.0.0.1\ndns-version 28800 TXT 1.1.0\n"
ADDRESS_TYPES = {"IPv4": "A", "IPv6": "AAAA"}

Record = tuple[str, str, str]  # owner and rdata as in a master file; the type between them


def write_zone_files(cluster: Cluster, directory: Path) -> dict[str, Path]:
    """Write one file for each zone into the directory; the paths by zone name."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {zone: directory / f"{zone}.zone" for zone in ZONES}
    with ExitStack() as stack:
        files = {z: stack.enter_context(path.open("w", encoding="ascii")) for z, path in paths.items()}
        for zone, file in files.items():
            file.write(APEX.format(zone=zone, ttl=TTL, domain=CLUSTER_DOMAIN))
        files[CLUSTER_DOMAIN].write(CLUSTER_APEX)
        for service in cluster.services:
            for owner, rtype, rdata in service_records(cluster, service):
                zone = CLUSTER_DOMAIN
                if rtype == "PTR":
                    zone = "in-addr.arpa" if owner.endswith(".in-addr.arpa") else "ip6.arpa"
                files[zone].write(f"{owner.removesuffix('.' + zone)} {rtype} {rdata}\n")
    return paths


def service_records(cluster: Cluster, service: Service) -> Iterator[Record]:
    """Every record that one service and its pods give, owners absolute without the final dot."""
    if service.kind == "ExternalName":
        yield service.fqdn, "CNAME", f"{service.external_name}."
        return
    ready = [pod for pod in cluster.pods(service) if pod.ready]
    if service.kind == "ClusterIP":
        yield from _cluster_ip_records(service)
    elif ready:
        yield from _headless_records(service, ready)
    for pod in ready:
        yield from _endpoint_records(service, pod)


def _cluster_ip_records(service: Service) -> Iterator[Record]:
    for family, address in zip(service.families, service.cluster_ips, strict=True):
        yield service.fqdn, ADDRESS_TYPES[family], address
        yield ip_address(address).reverse_pointer, "PTR", f"{service.fqdn}."
    yield from _srv_records(service, service.fqdn, [service.fqdn] * len(service.families))


def _headless_records(service: Service, ready: list[Pod]) -> Iterator[Record]:
    for family in service.families:
        for pod in ready:
            yield service.fqdn, ADDRESS_TYPES[family], pod.addresses[family]
    yield from _srv_records(service, service.fqdn, [n for pod in ready for n in _endpoint_names(service, pod)])


def _endpoint_records(service: Service, pod: Pod) -> Iterator[Record]:
    names = _endpoint_names(service, pod)
    for family, name in zip(service.families, names, strict=True):
        address = pod.addresses[family]
        yield name, ADDRESS_TYPES[family], address
        yield ip_address(address).reverse_pointer, "PTR", f"{name}."
    for name in dict.fromkeys(names):
        for port in service.ports:
            yield name, "SRV", _srv(names.count(name) * len(service.ports), port, name)


def _endpoint_names(service: Service, pod: Pod) -> list[str]:
    return [f"{pod.endpoint_name(family)}.{service.fqdn}" for family in service.families]


def _srv_records(service: Service, owner: str, targets: list[str]) -> Iterator[Record]:
    """SRV on the bare name for all ports, and on _port._protocol for each named one."""
    for target in dict.fromkeys(targets):
        for port in service.ports:
            yield owner, "SRV", _srv(len(targets) * len(service.ports), port, target)
            if port.name:
                yield (
                    f"_{port.name}._{port.protocol.lower()}.{owner}",
                    "SRV",
                    _srv(len(targets), port, target),
                )


def _srv(sharing: int, port: Port, target: str) -> str:
    return f"0 {max(1, 100 // sharing)} {port.number} {target}."
