"""What a Corefile says, as values: the one configuration model, whether it came from a file or from flags.

Rules: names of zones are folded wire names; all values are immutable and compare by what they mean, so that
positions do not count; defaults are CoreDNS's unless a comment says otherwise.
Not here: what decides about queries and names outside (plugins.py); the text they are read from (build.py) and
printed to (printer.py); interfaces and files, which whoever serves looks up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address

from kdns.corefile.errors import CorefileError, Position
from kdns.corefile.logformat import COMMON_LOG_FORMAT
from kdns.corefile.plugins import (
    Acl,
    Autopath,
    Cache,
    Chaos,
    Forward,
    Hosts,
    Loop,
    Minimal,
    Nsid,
    Reload,
    Rewrite,
    Template,
    TlsFiles,
    Transfer,
)
from kdns.corefile.selector import Selector
from kdns.wire.name import ROOT

DEFAULT_PORT = 53
# CoreDNS caps nothing without `bufsize`; we keep to what crosses every path unfragmented (DNS flag day 2020).
DEFAULT_BUFSIZE_OCTETS = 1232
DEFAULT_TTL = 5
DEFAULT_STARTUP_TIMEOUT_NS = 5 * 10**9


class PodMode(Enum):
    """The `pods` option: which names `1-2-3-4.namespace.pod` exist."""

    DISABLED = "disabled"
    INSECURE = "insecure"
    VERIFIED = "verified"


class ResponseClass(Enum):
    """The classes of replies that `log` can be limited to."""

    ALL = "all"
    DENIAL = "denial"
    ERROR = "error"
    SUCCESS = "success"


class LogLevel(Enum):
    """How loud a consolidated error is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Bind:
    """One `bind` line: addresses and names of interfaces, and which of their addresses not (`except`)."""

    addresses: tuple[str, ...]
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A cluster served as one or more zones; without `manifests`, as its API server tells it.

    manifests: paths as written, relative to the working directory.
    kubeconfig, context: how to reach the API server; no context is the current one.
    context_position: where the context is named, if it is.
    endpoint, tls: the same, said by a URL instead; unused_endpoints: URLs behind it, for a remark. Neither this nor
        `kubeconfig`: that of the cluster around us.
    startup_timeout_ns: how long a start waits for the first data, and queries are refused.
    terminating_serving: endpoints that terminate and still serve stand in where a service has no others.
    namespaces, namespace_labels: show only these namespaces; at most one of the two is given.
    labels: show only services, and their endpoints, with these labels.
    fallthrough: zones in which a denial goes on to the next directive; None for nowhere, the root for everywhere.
    """

    zones: tuple[bytes, ...]
    ttl: int = DEFAULT_TTL
    pods: PodMode = PodMode.DISABLED
    endpoint_pod_names: bool = False
    namespaces: tuple[str, ...] = ()
    namespace_labels: Selector | None = None
    labels: Selector | None = None
    noendpoints: bool = False
    ignore_empty_service: bool = False
    fallthrough: tuple[bytes, ...] | None = None
    manifests: tuple[str, ...] = ()
    kubeconfig: str = ""
    context: str = ""
    endpoint: str = ""
    tls: TlsFiles | None = None
    startup_timeout_ns: int = DEFAULT_STARTUP_TIMEOUT_NS
    terminating_serving: bool = False
    position: Position = field(default=Position(), compare=False)
    context_position: Position = field(default=Position(), compare=False)
    unused_endpoints: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_watched(self) -> bool:
        """Whether an API server is asked, and no files are read."""
        return not self.manifests

    @property
    def is_in_cluster(self) -> bool:
        """Whether it is the API server of the cluster that kdns itself runs in."""
        return self.is_watched and not self.kubeconfig and not self.endpoint


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """A `file` line: one master file, served as each of `zones`.

    path: as written, relative to the working directory.
    reload_ns: `reload`; 0 asks to read the file once. Other intervals say nothing to kdns, which watches the file.
    """

    path: str
    zones: tuple[bytes, ...]
    reload_ns: int | None = None
    fallthrough: tuple[bytes, ...] | None = None
    position: Position = field(default=Position(), compare=False)

    @property
    def is_watched(self) -> bool:
        """Whether changes of the file are served while running."""
        return self.reload_ns != 0


@dataclass(frozen=True, slots=True)
class Consolidate:
    """Errors that match `pattern` are counted for `period_ns` and logged as one line."""

    period_ns: int
    pattern: str
    level: LogLevel = LogLevel.ERROR
    show_first: bool = False


@dataclass(frozen=True, slots=True)
class Errors:
    """`errors`: failures while answering are logged."""

    consolidate: tuple[Consolidate, ...] = ()
    stacktrace: bool = False
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Log:
    """One `log` line: replies to names below `names`, of these classes or slower than `min_duration_ns`.

    format: placeholders of kdns.corefile.logformat, `{common}` and `{combined}` already put in.
    """

    names: tuple[bytes, ...] = (ROOT,)
    format: str = COMMON_LOG_FORMAT
    classes: frozenset[ResponseClass] = frozenset({ResponseClass.ALL})
    min_duration_ns: int | None = None
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where HTTP is served. host: an address, a host name, or empty for every address. Port 0: any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DEFAULT_HEALTH = HttpAddress("", 8080)
DEFAULT_READY = HttpAddress("", 8181)
DEFAULT_PROMETHEUS = HttpAddress("localhost", 9153)


@dataclass(frozen=True, slots=True)
class Health:
    """`health`: /health says that the process lives. lameduck_ns: how long the end is put off."""

    address: HttpAddress = DEFAULT_HEALTH
    lameduck_ns: int = 0
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """`ready`: /ready says whether to send queries here."""

    address: HttpAddress = DEFAULT_READY
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """`prometheus`: /metrics, and in them the queries of this block."""

    address: HttpAddress = DEFAULT_PROMETHEUS
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """Zones on one port and what answers them.

    A block of the text whose keys name several ports is one of these for each port.
    bind: empty means every address.
    loadbalance: whether the directive was given; addresses are rotated either way.
    """

    zones: tuple[bytes, ...]
    port: int = DEFAULT_PORT
    reload: Reload | None = None
    nsid: Nsid | None = None
    bufsize: int = DEFAULT_BUFSIZE_OCTETS
    bind: tuple[Bind, ...] = ()
    debug: bool = False
    ready: Ready | None = None
    health: Health | None = None
    prometheus: Prometheus | None = None
    errors: Errors | None = None
    log: tuple[Log, ...] = ()
    acl: tuple[Acl, ...] = ()
    any: bool = False
    chaos: Chaos | None = None
    loadbalance: bool = False
    cache: Cache | None = None
    rewrite: tuple[Rewrite, ...] = ()
    autopath: Autopath | None = None
    minimal: Minimal | None = None
    templates: tuple[Template, ...] = ()
    transfer: tuple[Transfer, ...] = ()
    hosts: Hosts | None = None
    kubernetes: Kubernetes | None = None
    files: tuple[ZoneFile, ...] = ()
    loop: Loop | None = None
    forward: tuple[Forward, ...] = ()
    whoami: bool = False
    position: Position = field(default=Position(), compare=False)

    def addresses(self, resolve: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
        """The addresses to listen on; empty for every address. `resolve` gives those of an interface by its name.

        Raises CorefileError when `bind` is given but leaves no address.
        """
        found = [address for bind in self.bind for address in _bound(bind, resolve)]
        if self.bind and not found:
            raise CorefileError(self.position, "`bind` leaves no address to listen on")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Listener:
    """A place to listen on, over UDP and TCP, and the blocks served there. No address means every address."""

    address: str | None
    port: int
    blocks: tuple[ServerBlock, ...]


@dataclass(frozen=True, slots=True)
class Corefile:
    """A whole configuration. `sources`: the files it was read from, imports included, to watch for changes."""

    blocks: tuple[ServerBlock, ...]
    sources: tuple[str, ...] = field(default=(), compare=False)

    @property
    def lameduck_ns(self) -> int:
        """How long the end is put off: the longest `lameduck`. CoreDNS waits for one after the other."""
        return max((block.health.lameduck_ns for block in self.blocks if block.health), default=0)

    def listeners(self, resolve: Callable[[str], Sequence[str]]) -> tuple[Listener, ...]:
        """Where to listen, in the order written. `resolve` gives the addresses of an interface by its name.

        Raises CorefileError when a block is left without an address, or two serve a zone in the same place.
        """
        groups: dict[tuple[str | None, int], list[ServerBlock]] = {}
        for block in self.blocks:
            for address in block.addresses(resolve) or (None,):
                group = groups.setdefault((address, block.port), [])
                _refuse_served(block, group)
                group.append(block)
        return tuple(Listener(address, port, tuple(blocks)) for (address, port), blocks in groups.items())


def is_address(text: str) -> bool:
    """Whether the text is an IP address, and not the name of an interface."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _refuse_served(block: ServerBlock, group: list[ServerBlock]) -> None:
    """Refuse a zone that another block of the group serves: interfaces may come down to one address."""
    for earlier in group:
        if not set(earlier.zones).isdisjoint(block.zones):
            message = f"after `bind` is looked up, this block serves a zone that the one at {earlier.position} serves"
            raise CorefileError(block.position, message)


def _bound(bind: Bind, resolve: Callable[[str], Sequence[str]]) -> list[str]:
    excluded = {address for name in bind.excluded for address in _resolved(name, resolve)}
    found = [address for name in bind.addresses for address in _resolved(name, resolve)]
    return [address for address in found if address not in excluded]


def _resolved(name: str, resolve: Callable[[str], Sequence[str]]) -> Sequence[str]:
    return (name,) if is_address(name) else resolve(name)
