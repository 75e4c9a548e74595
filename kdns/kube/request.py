"""What a reflector asks of an API server, and what it is told in return: the words between kdns.kube.reflector
(which does no IO) and whoever does it for it.

    Resource    what is watched: a kind, maybe in one namespace, maybe by selectors
    Request     one GET: a list, a page of one, or a watch
    Failure     why a request came to nothing before the server answered, or in the middle of its answer
    Outcome     what followed from one input: changed objects, whether the resource is in sync, lines for the log

Not here: connections and credentials (kdns.server), what a change answers (kdns.kube.store).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from kdns.kube.objects import Change, Key

Headers = Mapping[str, str]  # names in lower case


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of objects as one reflector watches it.

    kind: "Service". group_version: "v1", "discovery.k8s.io/v1". plural: "services".
    namespace: only the objects in it, so that a Role in it suffices; "" for all.
    label_selector, field_selector: in Kubernetes' text form, "" for none.
    """

    kind: str
    group_version: str
    plural: str
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    @property
    def path(self) -> str:
        """The path of its collection: /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices."""
        root = "/apis" if "/" in self.group_version else "/api"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}/{self.group_version}{place}/{self.plural}"

    @property
    def group(self) -> str:
        """The API group as RBAC rules name it: "" for v1."""
        return self.group_version.rpartition("/")[0]

    @property
    def identity(self) -> str:
        """What tells it from every other resource: its path and its selectors."""
        return "?".join(filter(None, (self.path, self.label_selector, self.field_selector)))

    @property
    def rule(self) -> str:
        """The RBAC rule that lets it be watched, as it stands in a Role or ClusterRole."""
        return f'{{apiGroups: ["{self.group}"], resources: ["{self.plural}"], verbs: ["list", "watch"]}}'

    def __str__(self) -> str:
        return f"{self.plural} in {self.namespace}" if self.namespace else self.plural


@dataclass(frozen=True, slots=True)
class Request:
    """One GET.

    number: counts the requests of one reflector; what is told of an earlier one is stale.
    due: when to send it (monotonic seconds), not before.
    when_heard_of: it may be sent before it is due, as soon as something listens there again: the last connection was
        refused. To find out costs an API server nothing that is away.
    """

    number: int
    path: str
    query: tuple[tuple[str, str], ...]
    due: float
    when_heard_of: bool = False


class Fault(Enum):
    """What a request can come to nothing from."""

    REFUSED = "connection refused"
    UNREACHABLE = "unreachable"  # no route, no such host, and the like
    TIMEOUT = "timed out"
    BROKEN = "connection broken"  # reset, or its end in the middle of an answer
    TLS = "TLS"  # the certificate is not to be trusted, or ours is not trusted
    CREDENTIALS = "credentials"  # they cannot be had: a file or an exec plugin failed
    MALFORMED = "malformed"  # it answers, but not as an API server does


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed, whose fault it is and what to do, in `text`."""

    fault: Fault
    text: str


class Severity(Enum):
    """How loud a notice is logged."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the log."""

    severity: Severity
    text: str


class Trigger(NamedTuple):
    """A change of the cluster that the endpoints of a service followed. service: its key. at: the unix time."""

    service: Key
    at: float


@dataclass(slots=True)
class Outcome:
    """What followed from one input.

    changes: objects that are new, changed or gone, in order. From the first sync on they come so that applying all
        changes of one Outcome at once leaves nothing half done: a relist gives all of its changes with its end.
    synced: the resource has become whole with this outcome: the first time, or again after a relist.
    triggers: of EndpointSlices that a watch has shown, what they are of and when that changed.
    """

    changes: list[Change] = field(default_factory=list)
    synced: bool = False
    notices: list[Notice] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
