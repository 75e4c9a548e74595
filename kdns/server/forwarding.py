"""What the configuration says about names outside: the groups of the forwarder, and the servers of a resolv.conf.

In: directives, and texts of resolv.conf files. Out: GroupPlans, and from them the GroupSpecs that kdns.forward
understands. Pure. Not here: reading the files (kdns.server.nameservers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from kdns.corefile import CorefileError
from kdns.corefile.plugins import DNS_PORT, Cache, Forward, Upstream
from kdns.forward.values import CacheSpec, ForwardSpec, GroupSpec, Policy, UpstreamSpec
from kdns.server.probes import LoopPlan
from kdns.server.trust import NO_FILES, TrustFiles
from kdns.wire.name import is_subdomain

NAMESERVERS_MAX = 16  # of one file: more than CoreDNS takes of one `forward` line (15)
_NANOSECONDS = 10**9

Nameservers = Mapping[str, tuple[UpstreamSpec, ...]]


@dataclass(frozen=True, slots=True)
class ForwardPlan:
    """One `forward` line. `spec` is without its upstreams: `sources` names them, and files that name them.

    idle_max: connections to one upstream that are kept though they are not used; 0 for all of them. max_age: seconds
    after which a connection is not used again, 0 for no limit.
    """

    spec: ForwardSpec
    sources: tuple[UpstreamSpec | str, ...]
    trust: TrustFiles = NO_FILES
    idle_max: int = 0
    max_age: float = 300.0


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """All `forward` lines and the `cache` line of one server block. loop: where to look for loops, if at all."""

    forwards: tuple[ForwardPlan, ...] = ()
    cache: CacheSpec | None = None
    loop: LoopPlan | None = None


def group_plan(forwards: Sequence[Forward], cache: Cache | None) -> GroupPlan:
    """The group of the server block with these lines. Without a `forward`, nothing comes from outside to be kept."""
    return GroupPlan(tuple(map(_forward, forwards)), _cache(cache) if cache and forwards else None)


def loop_plan(zone: bytes, forwards: Sequence[Forward], where: str) -> LoopPlan | None:
    """What `loop` asks for in a server block: a name in each zone that is forwarded. zone: the block's first.

    where: what it listens on. None where nothing is forwarded: then nothing can come back.
    """
    apexes = (line.zone if is_subdomain(line.zone, zone) else zone for line in forwards)
    return LoopPlan(tuple(dict.fromkeys(apexes)), where) if forwards else None


def group_specs(plans: Sequence[GroupPlan], nameservers: Nameservers) -> tuple[GroupSpec, ...]:
    """The groups with the upstreams that there are now."""
    return tuple(
        GroupSpec(tuple(_with_upstreams(forward, nameservers) for forward in plan.forwards), plan.cache)
        for plan in plans
    )


def files_of(plans: Sequence[GroupPlan]) -> tuple[str, ...]:
    """The paths of all files that name upstreams, each once."""
    named = (source for plan in plans for forward in plan.forwards for source in forward.sources)
    return tuple(dict.fromkeys(source for source in named if isinstance(source, str)))


def settings_of(plans: Sequence[GroupPlan], nameservers: Nameservers) -> dict[UpstreamSpec, ForwardPlan]:
    """For each upstream the line whose certificates and time of keeping connections hold: the first that names it."""
    found: dict[UpstreamSpec, ForwardPlan] = {}
    for plan in plans:
        for forward in plan.forwards:
            for upstream in _upstreams(forward, nameservers):
                found.setdefault(upstream, forward)
    return found


def refuse_two_trusts(lines: Iterable[Forward]) -> None:
    """One upstream over TLS has one set of certificates, for connections are shared. Raises CorefileError."""
    seen: dict[UpstreamSpec, TrustFiles] = {}
    for line in lines:
        forward = _forward(line)
        for upstream in forward.sources:
            if not isinstance(upstream, UpstreamSpec) or not upstream.is_tls:
                continue
            if seen.setdefault(upstream, forward.trust) != forward.trust:
                where = f"tls://{upstream.host}:{upstream.port}"
                message = f"another `forward` asks {where} with other `tls` files: give both the same"
                raise CorefileError(line.position, message)


def parse_resolv_conf(text: str) -> tuple[tuple[UpstreamSpec, ...], list[str]]:
    """The servers of a resolv.conf (resolv.conf(5)) in their order, each once; and remarks: `line: text`."""
    found: dict[UpstreamSpec, None] = {}
    remarks = []
    for number, host in _nameserver_lines(text):
        try:
            ip_address(host)
        except ValueError:
            remarks.append(f"{number}: `nameserver {host}` is no address: it is not asked")
            continue
        found[UpstreamSpec(host, DNS_PORT)] = None
    if len(found) > NAMESERVERS_MAX:
        remarks.append(f"1: more than {NAMESERVERS_MAX} servers: only the first {NAMESERVERS_MAX} are asked")
    return tuple(found)[:NAMESERVERS_MAX], remarks


def _nameserver_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield number, words[1]


def _with_upstreams(forward: ForwardPlan, nameservers: Nameservers) -> ForwardSpec:
    return replace(forward.spec, upstreams=_upstreams(forward, nameservers))


def _upstreams(forward: ForwardPlan, nameservers: Nameservers) -> tuple[UpstreamSpec, ...]:
    found: dict[UpstreamSpec, None] = {}
    for source in forward.sources:
        found |= dict.fromkeys(nameservers.get(source, ()) if isinstance(source, str) else (source,))
    return tuple(found)


def _forward(line: Forward) -> ForwardPlan:
    spec = ForwardSpec(
        zone=line.zone,
        upstreams=(),
        excluded=line.excluded,
        force_tcp=line.force_tcp,
        policy=Policy(line.policy.value),
        max_fails=line.max_fails,
        expire=line.expire_ns / _NANOSECONDS,
        max_concurrent=line.max_concurrent,
        health_interval=line.health_check.interval_ns / _NANOSECONDS,
        health_name=line.health_check.domain,
        health_recursion_desired=line.health_check.recursion_desired,
        is_failing_fast=line.failfast_all_unhealthy,
        failover=line.failover,
        next_rcodes=line.next_rcodes,
        next_on_nodata=line.next_on_nodata,
        tries=line.max_connect_attempts,
        read_timeout=line.read_timeout_ns / _NANOSECONDS,
    )
    sources = tuple(
        _upstream(source, line.tls_server_name) if isinstance(source, Upstream) else source for source in line.sources
    )
    trust = TrustFiles(line.tls.certificate, line.tls.key, line.tls.ca) if line.tls else NO_FILES
    return ForwardPlan(spec, sources, trust, line.max_idle, line.max_age_ns / _NANOSECONDS)


def _upstream(upstream: Upstream, server_name: str) -> UpstreamSpec:
    """RFC 8310 section 8.1: without a name to verify, the address has to be in the certificate."""
    name = (upstream.server_name or server_name or upstream.host.partition("%")[0]) if upstream.is_tls else ""
    return UpstreamSpec(upstream.host, upstream.port, upstream.is_tls, name)


def _cache(line: Cache) -> CacheSpec:
    return CacheSpec(
        zones=line.zones,
        success_capacity=line.success_capacity,
        success_ttl=line.success_ttl,
        success_min_ttl=line.success_min_ttl,
        denial_capacity=line.denial_capacity,
        denial_ttl=line.denial_ttl,
        denial_min_ttl=line.denial_min_ttl,
        disabled_success=line.disabled_success,
        disabled_denial=line.disabled_denial,
        prefetch_hits=line.prefetch_amount,
        prefetch_gap=line.prefetch_ns / _NANOSECONDS,
        prefetch_percent=line.prefetch_percent,
        stale=line.stale_ns / _NANOSECONDS,
        is_verifying=line.is_stale_verified,
        verify_timeout=line.verify_timeout_ns / _NANOSECONDS,
        failure=line.servfail_ns / _NANOSECONDS,
        keeps_ttls=line.keepttl,
    )
