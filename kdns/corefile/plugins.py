"""What the directives say that decide about queries and about names outside of our zones, as values.

forward, cache, loop, reload, hosts, rewrite, template, autopath, acl, chaos, nsid, minimal, transfer. The rules are
those of kdns.corefile.model: names of zones are folded wire names, values are immutable and compare by what they
mean, defaults are CoreDNS's unless a comment says otherwise. Times are nanoseconds where the name ends in `_ns`,
else seconds.
Not here: how they are read and printed (a module for each); the rules of rewrite and acl (kdns.wire.rules); what
they do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from kdns.corefile.errors import Position
from kdns.wire.name import ROOT
from kdns.wire.rules import AclRule, RewriteRule

DNS_PORT = 53
TLS_PORT = 853  # RFC 7858 section 3.1

DEFAULT_EXPIRE_NS = 10 * 10**9
# Ours; CoreDNS has none. The address of a Service leads a connection to one pod for as long as it is open: so pods
# that are new get their share, and one handshake in five minutes costs nothing.
DEFAULT_MAX_AGE_NS = 300 * 10**9
DEFAULT_READ_TIMEOUT_NS = 2 * 10**9
DEFAULT_MAX_FAILS = 2
DEFAULT_HEALTH_INTERVAL_NS = 500 * 10**6

DEFAULT_CAPACITY = 9984
DEFAULT_SUCCESS_TTL = 3600
DEFAULT_DENIAL_TTL = 1800
DEFAULT_PREFETCH_NS = 60 * 10**9
DEFAULT_PREFETCH_PERCENT = 10
DEFAULT_STALE_NS = 3600 * 10**9
DEFAULT_VERIFY_TIMEOUT_NS = 100 * 10**6
DEFAULT_SERVFAIL_NS = 5 * 10**9

DEFAULT_HOSTS_PATH = "/etc/hosts"
DEFAULT_HOSTS_TTL = 3600
DEFAULT_HOSTS_RELOAD_NS = 5 * 10**9

DEFAULT_RELOAD_NS = 30 * 10**9
DEFAULT_JITTER_NS = 15 * 10**9

MAX_TTL = 2**31 - 1  # RFC 2181 section 8


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths as written. Empty: no client certificate; the system's authorities."""

    certificate: str
    key: str
    ca: str


class Policy(Enum):
    """Which upstream is asked first."""

    RANDOM = "random"
    ROUND_ROBIN = "round_robin"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server to forward to, in its one spelling.

    transport: "dns" or "tls". host: an address, maybe with a zone index (`fe80::1%eth0`).
    server_name: what its certificate is to name, where it says so itself (`tls://9.9.9.9%dns.quad9.net`).
    """

    transport: str
    host: str
    port: int
    server_name: str = ""

    @property
    def is_tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.transport == "tls"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How an upstream that is down is probed: each interval, with a query for NS at `domain`."""

    interval_ns: int = DEFAULT_HEALTH_INTERVAL_NS
    recursion_desired: bool = True
    domain: bytes = ROOT


@dataclass(frozen=True, slots=True)
class Forward:
    """One `forward` line: names at and below `zone`, but for those at and below `excluded`, are asked of upstreams.

    upstreams, files: the order of all of them as written is `sources`; files are resolv.conf-like, paths as written.
    expire_ns: for how long a connection that is not used stays open. max_fails: failures in a row after which an
    upstream is down, 0 for never. max_concurrent: queries at a time. max_idle: connections kept for an upstream.
    max_connect_attempts: for one query. 0 of these three is no limit.
    failover: rcodes with which the next upstream is asked. next_rcodes: rcodes with which the next `forward` line is;
    next_on_nodata: so with NODATA. max_age_ns: after which a connection is not used again, 0 for no limit.
    read_timeout_ns: for which one message to an upstream is listened to.
    """

    zone: bytes
    sources: tuple[Upstream | str, ...]
    excluded: tuple[bytes, ...] = ()
    force_tcp: bool = False
    prefer_udp: bool = False
    expire_ns: int = DEFAULT_EXPIRE_NS
    max_age_ns: int = DEFAULT_MAX_AGE_NS
    read_timeout_ns: int = DEFAULT_READ_TIMEOUT_NS
    max_idle: int = 0
    max_fails: int = DEFAULT_MAX_FAILS
    max_connect_attempts: int = 0
    tls: TlsFiles | None = None
    tls_server_name: str = ""
    policy: Policy = Policy.RANDOM
    health_check: HealthCheck = HealthCheck()
    max_concurrent: int = 0
    next_rcodes: tuple[int, ...] = ()
    next_on_nodata: bool = False
    failfast_all_unhealthy: bool = False
    failover: tuple[int, ...] = ()
    position: Position = field(default=Position(), compare=False)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """The servers that are named by their address."""
        return tuple(source for source in self.sources if isinstance(source, Upstream))

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of files that name servers."""
        return tuple(source for source in self.sources if isinstance(source, str))


@dataclass(frozen=True, slots=True)
class Cache:
    """The `cache` line: answers for names in `zones` that came from outside are kept.

    Minimal TTLs are 0 unless written (CoreDNS: 5): kdns raises no TTL that nobody asked it to raise.
    prefetch_amount: so many queries without a gap of prefetch_ns make a name be asked again when prefetch_percent of
    its TTL is left; 0 is never. stale_ns: for how long what has expired may still be told; 0 is not at all.
    is_stale_verified: an upstream is asked first, for verify_timeout_ns. servfail_ns: for how long failures are kept.
    disabled_success, disabled_denial: zones whose answers, or denials, are not kept. keepttl: TTLs do not count down.
    """

    zones: tuple[bytes, ...]
    success_capacity: int = DEFAULT_CAPACITY
    success_ttl: int = DEFAULT_SUCCESS_TTL
    success_min_ttl: int = 0
    denial_capacity: int = DEFAULT_CAPACITY
    denial_ttl: int = DEFAULT_DENIAL_TTL
    denial_min_ttl: int = 0
    prefetch_amount: int = 0
    prefetch_ns: int = DEFAULT_PREFETCH_NS
    prefetch_percent: int = DEFAULT_PREFETCH_PERCENT
    stale_ns: int = 0
    is_stale_verified: bool = False
    verify_timeout_ns: int = DEFAULT_VERIFY_TIMEOUT_NS
    servfail_ns: int = DEFAULT_SERVFAIL_NS
    disabled_success: tuple[bytes, ...] = ()
    disabled_denial: tuple[bytes, ...] = ()
    keepttl: bool = False
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Loop:
    """`loop`: the process ends if what it forwards comes back to it."""

    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Reload:
    """`reload`: a changed Corefile is served. interval_ns: give or take up to jitter_ns, never over its half."""

    interval_ns: int = DEFAULT_RELOAD_NS
    jitter_ns: int = DEFAULT_JITTER_NS
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class HostsEntry:
    """A line of a hosts file: a packed address, and its names, folded."""

    address: bytes
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Hosts:
    """The `hosts` line: names and addresses of a hosts file (`path` as written), and of the Corefile (`inline`).

    ttl: seconds. reload_ns: how often the file is looked at; 0 for once. no_reverse: without PTR records.
    fallthrough: zones in which what is not known goes on to the next directive; None for nowhere.
    fallthrough_unsupported: so do other types of a name that is known.
    """

    zones: tuple[bytes, ...]
    path: str = DEFAULT_HOSTS_PATH
    inline: tuple[HostsEntry, ...] = ()
    ttl: int = DEFAULT_HOSTS_TTL
    reload_ns: int = DEFAULT_HOSTS_RELOAD_NS
    no_reverse: bool = False
    fallthrough: tuple[bytes, ...] | None = None
    fallthrough_unsupported: bool = False
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One `rewrite`."""

    rule: RewriteRule
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Template:
    """One `template`: replies made of the question.

    rrclass, rrtype: None for any. match: regular expressions, of which the first to match gives the groups; none:
    every name. answer, authority, additional: records in the form of a zone file, with gaps (kdns.zone.gaps), of
    which each group exists.
    extended_error: code and text (RFC 8914).
    fallthrough: zones in which a name that no expression matches goes on; None: it is SERVFAIL.
    """

    rrclass: int | None
    rrtype: int | None
    zones: tuple[bytes, ...]
    match: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    rcode: int = 0
    extended_error: tuple[int, str] | None = None
    fallthrough: tuple[bytes, ...] | None = None
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Autopath:
    """`autopath`: the search list is walked here. It is that of a file (`resolv_conf`), or of the pod that asks."""

    zones: tuple[bytes, ...]
    resolv_conf: str = ""
    from_kubernetes: bool = False
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Acl:
    """One `acl`: its rules are for queries for names at and below `zones`; who no rule matches is answered."""

    zones: tuple[bytes, ...]
    rules: tuple[AclRule, ...] = ()
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Chaos:
    """`chaos`: names of class CH say who this server is. version: empty for kdns's own. authors: none for kdns's."""

    version: str = ""
    authors: tuple[str, ...] = ()
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Nsid:
    """`nsid`: who asks for it (RFC 5001) hears `data`; empty: the host's name."""

    data: str = ""
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Minimal:
    """`minimal`: replies hold no more than they must."""

    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One `transfer`: these zones are transferred (AXFR) to whom it says.

    to: each `*` for everybody, an address, a network, or ADDRESS:PORT; those with an address and no network are told
    of changes.
    """

    zones: tuple[bytes, ...]
    to: tuple[str, ...]
    position: Position = field(default=Position(), compare=False)
