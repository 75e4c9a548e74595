"""The configuration model to what the processes need: a specification for the engine, addresses, sources to read.

In: a Corefile, and callables that know this machine's addresses. Out: a Plan. No IO of its own. Sources
are numbered once: two ports that serve the same cluster, or the same zone file, share its data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from socket import gethostname

from kdns import __version__
from kdns.answer.acl import AclSpec
from kdns.answer.chaos import ChaosSpec
from kdns.answer.spec import ClusterSpec, FileSpec, OutsideSpec, SiteSpec, SourceSpec, Specification
from kdns.answer.transfer import TransferSpec
from kdns.corefile import Corefile, CorefileError, Kubernetes, Listener, ServerBlock, Settings, ZoneFile
from kdns.corefile.access import EVERYBODY
from kdns.corefile.plugins import Chaos, Hosts, Nsid, Transfer
from kdns.corefile.remarks import remarks
from kdns.observe.consolidate import ConsolidateRule
from kdns.observe.querylog import LoggedBlock, LogRule, QueryLog
from kdns.server.admin import AdminPlan, admin_plan
from kdns.server.cookiesecret import read_secrets
from kdns.server.forwarding import GroupPlan, group_plan, loop_plan, refuse_two_trusts
from kdns.server.rules import Read, autopath_spec, rewrite_rules, template_specs
from kdns.server.sockets import WILDCARD_HOSTS, Address
from kdns.server.textfile import read_text
from kdns.wire.cookie import Secrets
from kdns.zone.cluster import PodNames
from kdns.zone.hosts import HostsSpec

Resolve = Callable[[str], Sequence[str]]
Machine = Callable[[], Sequence[str]]


_AUTHORS = b"the authors of kdns"  # for `chaos` without any

NO_SETTINGS = Settings()
NO_ADMIN = AdminPlan()


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A cluster, to be read from manifests or watched at its API server."""

    kubernetes: Kubernetes


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A zone file to be read as this zone (a folded apex)."""

    file: ZoneFile
    apex: bytes


@dataclass(frozen=True, slots=True)
class HostsPlan:
    """A hosts file to be read, and the lines of the same form that the Corefile has."""

    hosts: Hosts


SourcePlan = ClusterPlan | FilePlan | HostsPlan


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is served.

    addresses: for each listener of the specification, where it listens: two addresses for a wildcard.
    sources: what to read, in the order of the specification's sources.
    query_logs: for each listener, what it logs of its queries.
    settings: what is said of the whole process. admin: what is served besides DNS.
    with_traces: failures of kdns itself are logged with where they came from (`debug`, `errors { stacktrace }`).
    is_debugging: every change of a cluster is logged (`debug`).
    groups: what each site of the specification forwards, and keeps of that.
    secrets: what DNS cookies are made with, None for no cookies.
    errors: what each site of the specification says of errors; None for nothing.
    remarks: what looks wrong in the configuration, a line each.
    """

    specification: Specification
    addresses: tuple[tuple[Address, ...], ...]
    sources: tuple[SourcePlan, ...]
    query_logs: tuple[QueryLog, ...]
    settings: Settings = NO_SETTINGS
    admin: AdminPlan = NO_ADMIN
    with_traces: bool = False
    is_debugging: bool = False
    groups: tuple[GroupPlan, ...] = ()
    secrets: Secrets | None = field(default=None, repr=False)
    errors: tuple[tuple[ConsolidateRule, ...] | None, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_forwarding(self) -> bool:
        """Whether any name is for outside."""
        return any(group.forwards for group in self.groups)

    @property
    def all_addresses(self) -> list[Address]:
        """Every address once."""
        return list(dict.fromkeys(address for group in self.addresses for address in group))


def assemble(
    corefile: Corefile,
    resolve: Resolve,
    machine: Machine,
    settings: Settings = NO_SETTINGS,
    *,
    host: Callable[[], str] = gethostname,
    read: Read = read_text,
    secrets: Callable[[str], Secrets] = read_secrets,
) -> Plan:
    """Make the plan of a configuration.

    resolve: the addresses of an interface, OSError if there is none of that name. machine: all addresses that
    clients elsewhere may use. host: this machine's name. read: the text of a resolv.conf. secrets: those in a file.
    Raises CorefileError.
    """
    for block in corefile.blocks:
        _check(block, resolve)
    refuse_two_trusts(line for block in corefile.blocks for line in block.forward)
    listeners = corefile.listeners(resolve)
    assembler = _Assembler(listeners, machine, host, read)
    sites = [assembler.site(block, group) for group, block in enumerate(corefile.blocks)]
    specification = Specification(
        sources=tuple(assembler.specs),
        sites=tuple(sites),
        listeners=tuple(
            tuple(_index(corefile.blocks, block) for block in listener.blocks) for listener in listeners
        ),
    )
    return Plan(
        specification,
        tuple(map(_addresses, listeners)),
        tuple(assembler.plans),
        tuple(QueryLog([_logged(block) for block in listener.blocks]) for listener in listeners),
        settings,
        admin_plan(corefile, settings),
        any(block.debug or (block.errors and block.errors.stacktrace) for block in corefile.blocks),
        any(block.debug for block in corefile.blocks),
        tuple(_group(block, listeners) for block in corefile.blocks),
        secrets(settings.cookie_secret) if settings.cookie_secret else None,
        tuple(map(_error_rules, corefile.blocks)),
        remarks=remarks(corefile),
    )


@dataclass
class _Assembler:
    """Numbers the sources as they are met."""

    listeners: Sequence[Listener]
    machine: Machine
    host: Callable[[], str]
    read: Read
    plans: list[SourcePlan] = field(default_factory=list)
    specs: list[SourceSpec] = field(default_factory=list)

    def site(self, block: ServerBlock, group: int) -> SiteSpec:
        hosts = [self._hosts(block.hosts)] if block.hosts else []
        clusters = [self._cluster(block.kubernetes)] if block.kubernetes else []
        files = [self._file(file, apex) for file in block.files for apex in file.zones]
        return SiteSpec(
            zones=block.zones,
            sources=(*hosts, *clusters, *files),
            any_hinfo=block.any,
            whoami=block.whoami,
            max_udp_octets=block.bufsize,
            group=group if block.forward else None,
            outside=tuple(OutsideSpec(line.zone, line.excluded) for line in block.forward),
            chaos=self._chaos(block.chaos) if block.chaos else None,
            acl=tuple(AclSpec(line.zones, line.rules) for line in block.acl),
            nsid=self._nsid(block.nsid) if block.nsid else b"",
            minimal=block.minimal is not None,
            rewrite=rewrite_rules(block),
            templates=template_specs(block),
            autopath=autopath_spec(block, self.read),
            transfers=tuple(map(_transfer, block.transfer)),
        )

    def _chaos(self, chaos: Chaos) -> ChaosSpec:
        return ChaosSpec(
            (chaos.version or f"kdns-{__version__}").encode(),
            tuple(author.encode() for author in chaos.authors) or (_AUTHORS,),
            self.host().encode("utf-8", "surrogateescape"),
        )

    def _nsid(self, nsid: Nsid) -> bytes:
        return (nsid.data or self.host()).encode("utf-8", "surrogateescape")

    def _hosts(self, hosts: Hosts) -> int:
        spec = HostsSpec(
            hosts.zones,
            hosts.ttl,
            not hosts.no_reverse,
            hosts.fallthrough or (),
            passes_types=hosts.fallthrough_unsupported,
        )
        return self._number(HostsPlan(hosts), spec)

    def _cluster(self, kubernetes: Kubernetes) -> int:
        spec = ClusterSpec(
            zones=kubernetes.zones,
            ttl=kubernetes.ttl,
            pods=PodNames(kubernetes.pods.value),
            fallthrough=kubernetes.fallthrough or (),
            listeners=self._listening(kubernetes),
        )
        return self._number(ClusterPlan(kubernetes), spec)

    def _file(self, file: ZoneFile, apex: bytes) -> int:
        return self._number(FilePlan(file, apex), FileSpec(apex, file.fallthrough or ()))

    def _number(self, plan: SourcePlan, spec: SourceSpec) -> int:
        if plan not in self.plans:
            self.plans.append(plan)
            self.specs.append(spec)
        return self.plans.index(plan)

    def _listening(self, kubernetes: Kubernetes) -> tuple[bytes, ...]:
        """The addresses that this cluster is served at, packed: those of the machine where it is all of them."""
        hosts: dict[str, None] = {}
        for listener in self.listeners:
            if any(block.kubernetes == kubernetes for block in listener.blocks):
                hosts |= dict.fromkeys([listener.address] if listener.address else self.machine())
        return tuple(dict.fromkeys(ip_address(host.partition("%")[0]).packed for host in hosts))


def _check(block: ServerBlock, resolve: Resolve) -> None:
    """Refuse what cannot be listened on, with its place."""
    if block.port == 0:
        raise CorefileError(block.position, "port 0 is none to listen on: give one from 1 to 65535")
    try:
        block.addresses(resolve)
    except OSError:
        names = " ".join(name for bind in block.bind for name in (*bind.addresses, *bind.excluded))
        message = f"`bind {names}`: this machine has no interface of that name; give an address or an interface"
        raise CorefileError(block.position, message) from None


def _addresses(listener: Listener) -> tuple[Address, ...]:
    hosts = WILDCARD_HOSTS if listener.address is None else (listener.address,)
    return tuple(Address(host, listener.port) for host in hosts)


def _transfer(transfer: Transfer) -> TransferSpec:
    """A port is for telling of changes: whoever has the address may have the zone."""
    networks = [ip_network(_host(target)) for target in transfer.to if target != EVERYBODY]
    return TransferSpec(transfer.zones, tuple(networks), EVERYBODY in transfer.to)


def _host(target: str) -> str:
    """A target of `to` without its port."""
    if target.startswith("["):
        return target[1:].partition("]")[0]
    return target.partition(":")[0] if target.count(":") == 1 else target


def _group(block: ServerBlock, listeners: Sequence[Listener]) -> GroupPlan:
    plan = group_plan(block.forward, block.cache)
    if block.loop is None:
        return plan
    hosts = [one.address or "" for one in listeners if any(served is block for served in one.blocks)]
    where = ", ".join(f"[{host}]:{block.port}" if ":" in host else f"{host}:{block.port}" for host in hosts)
    return replace(plan, loop=loop_plan(block.zones[0], block.forward, where))


def _logged(block: ServerBlock) -> LoggedBlock:
    return LoggedBlock(
        block.zones,
        tuple(
            LogRule(log.names, log.format, frozenset(one.value for one in log.classes), log.min_duration_ns or 0)
            for log in block.log
        ),
    )


def _error_rules(block: ServerBlock) -> tuple[ConsolidateRule, ...] | None:
    if block.errors is None:
        return None
    return tuple(
        ConsolidateRule(one.period_ns, one.pattern, one.level.value, one.show_first)
        for one in block.errors.consolidate
    )


def _index(blocks: Sequence[ServerBlock], block: ServerBlock) -> int:
    """Where this very block stands; another one may be equal to it."""
    return next(index for index, one in enumerate(blocks) if one is block)
