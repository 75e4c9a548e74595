"""A cluster as its API server tells it: reflectors, the store they fill, and what follows for the answers.

    lines of the API server -> reflectors -> changes -> store -> what to publish (`Turn`)

A kind of objects counts as known when all reflectors that watch it have been whole once; where each watches one
namespace, it lacks in the namespaces of the others. Until then its objects are gathered in silence, and what is
lacking changes with an image; from then on a change is published as it comes, a relist all at once at its end, and
nothing is withdrawn because the API server is away.

With a snapshot everything is known from the start, but nothing is asked for before it is clear whether the snapshot
is of this cluster, or that the API server does not tell: then all is listed anew. Pure: whoever does the IO
(kdns.server.api) opens what `requests` asks for, tells what became of it, and calls `turn`.

Not here: the protocol of one resource (kdns.kube.reflector), what objects answer (kdns.kube.schema).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING

from kdns.kube.chorus import Chorus
from kdns.kube.decode import ObjectDecoder
from kdns.kube.failures import rolled_back
from kdns.kube.identity import Identity
from kdns.kube.ledger import is_behind
from kdns.kube.objects import Change
from kdns.kube.reflector import Reflector, Resume
from kdns.kube.request import Failure, Headers, Notice, Outcome, Request, Resource, Severity
from kdns.kube.schema import SchemaOptions, namespace_label
from kdns.kube.snapshot import Section, Snapshot, foreign
from kdns.kube.store import ClusterStore
from kdns.zone.delta import (
    LACKS_ENDPOINTS,
    LACKS_NAMESPACES,
    LACKS_PODS,
    LACKS_SERVICES,
    ZoneDelta,
    is_ahead,
    kinds_text,
)

if TYPE_CHECKING:
    from random import Random

# An endpoint that vanished although it was ready may be on its way to another slice: controllers write the two slices
# one after the other, some milliseconds apart, and are held up for longer only by a busy API server.
HOLD_SECONDS = 0.5

NAMESPACES_TOLD_MAX = 5  # in one line of the log

_LACKS = {
    "Service": LACKS_SERVICES,
    "EndpointSlice": LACKS_ENDPOINTS,
    "Namespace": LACKS_NAMESPACES,
    "Pod": LACKS_PODS,
}
# Pods that have ended have no address (as CoreDNS asks).
_PODS_WITH_ADDRESS = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"

IDENTITY = -1  # owner of the request that finds out which cluster it is; reflectors are counted from 0


@dataclass(slots=True)
class Turn:
    """What there is to publish and to log since the last turn.

    delta: the change of all that has come; None if no answer changes. is_image: everything is to be published anew
        instead, for what is lacking has changed. has_listed: a list has ended, for which much memory was needed.
    triggered: when happened what the delta shows of headless services, by the unix clock, as far as it is told.
    """

    delta: ZoneDelta | None = None
    is_image: bool = False
    has_listed: bool = False
    notices: list[Notice] = field(default_factory=list)
    triggered: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Restored:
    """A snapshot to begin with, and since when (monotonic seconds, maybe before the start of all) it is stale.

    is_newest: whether nobody answers from anything newer. Then it is watched on from there; else all is listed, for
        the first event of a watch does not say how many of those that are missing are still to come.
    """

    snapshot: Snapshot
    stale_since: float
    is_newest: bool = True


def resources_for(options: SchemaOptions, label_selector: str) -> tuple[Resource, ...]:
    """What to watch. With `namespaces`, only in them, so that a Role in each of them suffices."""
    kinds = [Resource("Service", "v1", "services", "", label_selector)]
    if not options.noendpoints:
        kinds.append(Resource("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", "", label_selector))
    if options.verified_pods:
        kinds.append(Resource("Pod", "v1", "pods", "", label_selector, _PODS_WITH_ADDRESS))
    if options.namespaces is None:
        return (Resource("Namespace", "v1", "namespaces"), *kinds)
    return tuple(replace(kind, namespace=one) for kind in kinds for one in sorted(options.namespaces))


class Mirror:
    """See the module's docstring. To be used by one caller; times are monotonic seconds.

    source: its index in the configuration. former_serial: what was published last of it by somebody else.
    restored: what to begin with; it is watched on from there if the API server is that of the same cluster.
    wants_identity: whether to find out which cluster it is, for a snapshot.

    kinds: all kinds that are watched (LACKS_... of kdns.zone.delta).
    """

    def __init__(
        self,
        source: int,
        options: SchemaOptions,
        resources: Sequence[Resource],
        rng: Random,
        now: float,
        former_serial: int | None = None,
        restored: Restored | None = None,
        wants_identity: bool = False,
    ) -> None:
        self._resources = tuple(resources)
        self._rng = rng
        self._keep = options.keep
        self._new_store = partial(ClusterStore, source, options, hold=HOLD_SECONDS)
        self._outcomes: list[tuple[int, Outcome]] = []
        self._chorus = Chorus()
        self._restored = restored  # until it is known whether its cluster is this one, or better not waited for
        self._doubted = restored.snapshot if restored is not None else None  # until it is known
        self._identity = Identity(rng, now) if wants_identity or restored is not None else None
        self._automata: dict[int, Reflector | Identity] = {}  # by owner
        if self._identity is not None:
            self._automata[IDENTITY] = self._identity
        self.kinds = _union(self._resources)
        self.reflectors: tuple[Reflector, ...] = ()
        if restored is None:
            self.store = self._new_store(former_serial)
            self._reflect(now, None, False)
        else:
            self.store = self._restore(restored.snapshot, former_serial)
        self.store.lacks, self.store.lacking = self._lacks_now()

    # What is known

    @property
    def cluster(self) -> str:
        """The UID of the cluster's namespace kube-system; "" while it is not known, or not to be known."""
        return (self._identity.uid or "") if self._identity is not None else ""

    @property
    def is_identified(self) -> bool:
        """Whether it is known which cluster it is, or that this is not to be known."""
        return self._identity is None or self._identity.uid is not None

    @property
    def lacks(self) -> int:
        """The kinds that are not known wholly, as of the last turn."""
        return self.store.lacks

    @property
    def unconfirmed(self) -> int:
        """The kinds that are known wholly, but not from the API server itself."""
        if self._restored is not None:
            return self.kinds & ~self.lacks
        return _union(one.resource for one in self.reflectors if not one.is_confirmed) & ~self.lacks

    @property
    def is_confirmed(self) -> bool:
        """Whether the API server itself has told all of it once."""
        return self._restored is None and all(one.is_confirmed for one in self.reflectors)

    @property
    def is_settled(self) -> bool:
        """Whether the API server itself has told all of it once, but for what it refuses to tell."""
        return self._restored is None and all(one.is_confirmed or one.refusal for one in self.reflectors)

    @property
    def stale_since(self) -> float | None:
        """Since when changes may have been missed; None if everything is current."""
        if self._restored is not None:
            return self._restored.stale_since
        return min((one.heard_at for one in self.reflectors if not one.is_live), default=None)

    @property
    def restored(self) -> Snapshot | None:
        """The snapshot that all of it still is, maybe of another cluster; None from the first request on."""
        return self._restored.snapshot if self._restored is not None else None

    @property
    def doubted(self) -> Snapshot | None:
        """The snapshot that it began with, until it is known whether that is of this cluster."""
        return self._doubted

    @property
    def failures(self) -> Mapping[str, int]:
        """Requests that came to nothing, by cause (Statistics of kdns.kube.reflector)."""
        counted: Counter[str] = Counter(self._identity.failures if self._identity is not None else ())
        for one in self.reflectors:
            counted.update(one.statistics.failures)
        return counted

    def progress(self) -> str:
        """What is known, for the log: `Services and Namespaces known, EndpointSlices not yet`."""
        where = ", ".join(label[1:].decode() for label in self.store.lacking[:NAMESPACES_TOLD_MAX])
        more = len(self.store.lacking) - NAMESPACES_TOLD_MAX
        there = (f" in {where}" if where else "") + (f" and {more} more namespaces" if more > 0 else "")
        parts = ((self.kinds & ~self.lacks, "known"), (self.lacks, f"not yet{there}"))
        return ", ".join(f"{kinds_text(kinds)} {what}" for kinds, what in parts if kinds)

    def sections(self) -> tuple[Section, ...]:
        """All objects, with what watching can go on from: a snapshot's content, as long as nothing is lacking."""
        return tuple(
            Section(one.resource.identity, one.resource_version, tuple(self.store.objects(one.resource)))
            for one in self.reflectors
        )

    # What to do, and what came of it

    def requests(self) -> Iterator[tuple[int, Request]]:
        """What is to be open, each with its owner: what becomes of it is told with that owner and its number."""
        return ((owner, one.request) for owner, one in self._automata.items() if one.request is not None)

    @property
    def wake_at(self) -> float:
        """When `turn` is due, whether anything has come or not."""
        return min([self.store.next_expiry, *(one.wake_at for one in self._automata.values())])

    def opened(self, owner: int, number: int, status: int, headers: Headers, now: float) -> None:
        """The answer to a request of this owner has begun."""
        self._outcomes.append((owner, self._automata[owner].opened(number, status, headers, now)))

    def received(self, owner: int, number: int, block: bytes, now: float) -> None:
        """Octets of an answer's body have come."""
        self._outcomes.append((owner, self._automata[owner].received(number, block, now)))

    def ended(self, owner: int, number: int, now: float) -> None:
        """An answer has ended as it should."""
        self._outcomes.append((owner, self._automata[owner].ended(number, now)))

    def failed(self, owner: int, number: int, failure: Failure, now: float) -> None:
        """A request has come to nothing."""
        self._outcomes.append((owner, self._automata[owner].failed(number, failure, now)))

    def turn(self, now: float, serial: int) -> Turn:
        """Take in all that has come. serial: what the serial should be if that changes an answer."""
        for owner, one in self._automata.items():
            if one.wake_at <= now:
                self._outcomes.append((owner, one.wake(now)))
        outcomes, self._outcomes = self._outcomes, []
        notices = [told for owner, outcome in outcomes for told in self._chosen(owner, outcome.notices, now)]
        delta = self._take(outcomes, now, serial)
        is_other = self._recognise(now, notices)
        lacks, lacking = self._lacks_now()
        has_listed = any(outcome.synced for _, outcome in outcomes)
        if (lacks, lacking) == (self.lacks, self.store.lacking) and not is_other:
            return Turn(delta, False, has_listed, notices, self._triggered(outcomes) if delta else [])
        self.store.lacks, self.store.lacking = lacks, lacking
        return Turn(None, True, has_listed, notices)

    # Inside

    def _chosen(self, owner: int, notices: list[Notice], now: float) -> Iterable[Notice]:
        if owner == IDENTITY or not notices:
            return notices
        return self._chorus.admit(str(self._resources[owner]), notices, now)

    def _lacks_now(self) -> tuple[int, tuple[bytes, ...]]:
        """The kinds that are not known wholly, and the labels of the namespaces where; () for all of the cluster."""
        if self._restored is not None:
            known = {section.resource for section in self._restored.snapshot.sections}
        else:
            known = {one.resource.identity for one in self.reflectors if one.is_synced}
        lacking = [one for one in self._resources if one.identity not in known]
        names = sorted({one.namespace for one in lacking})
        return _union(lacking), tuple(map(namespace_label, names)) if all(names) else ()

    def _is_lacking(self, resource: Resource) -> bool:
        """Whether objects of this resource are published as lacking, so that nobody answers from them."""
        where = self.store.lacking
        is_there = not where or namespace_label(resource.namespace) in where
        return is_there and bool(self.lacks & _LACKS[resource.kind])

    def _take(self, outcomes: Iterable[tuple[int, Outcome]], now: float, serial: int) -> ZoneDelta | None:
        """Put changes into the store: of what is not whole yet in silence, the rest as one change of the answers."""
        known: list[Change] = []
        for owner, outcome in outcomes:
            if not outcome.changes:
                continue
            if self._is_lacking(self._resources[owner]):
                self.store.load(outcome.changes, serial)
            else:
                known += outcome.changes
        if known:
            return self.store.apply(known, serial, now)
        return self.store.expire(now, serial) if self.store.next_expiry <= now else None

    def _triggered(self, outcomes: Iterable[tuple[int, Outcome]]) -> list[float]:
        """Of headless services alone, as CoreDNS: endpoints of others change no answer."""
        triggers = [trigger for _, outcome in outcomes for trigger in outcome.triggers]
        return [trigger.at for trigger in triggers if self.store.is_headless(trigger.service)]

    def _recognise(self, now: float, notices: list[Notice]) -> bool:
        """Decide about what was restored, once it is known which cluster this is. True if that is another one."""
        if self._doubted is None or self._identity is None:
            return False
        if self._identity.uid is None:
            if self._identity.is_withheld:
                self._watch_restored(now, is_sure=False)
            return False
        snapshot, self._doubted = self._doubted, None
        why = "" if self.is_confirmed else foreign(snapshot, self.cluster)
        if why:
            notices.append(Notice(Severity.ERROR, why))
            self._drop(now)
            return True
        is_sure = bool(self.cluster) and self.cluster == snapshot.cluster
        lost = _lost_version(snapshot, self._identity.resource_version) if self._restored is not None else ""
        if lost:
            trouble = rolled_back(self._identity.resource_version, lost)
            notices.append(Notice(trouble.severity, trouble.text))
        self._watch_restored(now, is_sure and not lost)
        return False

    def _watch_restored(self, now: float, is_sure: bool) -> None:
        """Begin to watch what was restored, unless that has begun."""
        restored, self._restored = self._restored, None
        if restored is not None:
            self._reflect(now, restored, is_sure and restored.is_newest)

    def _drop(self, now: float) -> None:
        """Begin anew, without what was restored."""
        self._restored = None
        self.store = self._new_store(self.store.serial)
        self.store.lacks = self.kinds
        self._reflect(now, None, False)

    def _restore(self, snapshot: Snapshot, former_serial: int | None) -> ClusterStore:
        """A store of what a snapshot says, whose serial does not go back: neither behind its own nor the former."""
        serial = snapshot.serial
        is_later = serial is not None and (former_serial is None or not is_ahead(former_serial, serial))
        store = self._new_store(serial if is_later else former_serial)
        wanted = serial if serial is not None and is_later else int(snapshot.taken_at)
        for section in snapshot.sections:
            store.load(section.objects, wanted)
        return store

    def _reflect(self, now: float, restored: Restored | None, is_sure: bool) -> None:
        """Make the reflectors. Where it is not sure that a resource version means anything here, all is listed."""
        decoder = ObjectDecoder(self._keep)
        sections = {one.resource: one for one in restored.snapshot.sections} if restored is not None else {}

        def resume(resource: Resource) -> Resume | None:
            section = sections.get(resource.identity)
            if section is None or restored is None:
                return None
            version = section.resource_version if is_sure else ""
            return Resume(version, [one.key for one in section.objects], restored.stale_since)

        former = [one.request.number for one in self.reflectors] or [0] * len(self._resources)
        self.reflectors = tuple(
            Reflector(one, decoder, self._rng, now, resume(one), number)
            for one, number in zip(self._resources, former, strict=True)
        )
        self._automata.update(enumerate(self.reflectors))


def _lost_version(snapshot: Snapshot, version: str) -> str:
    """The resource version of a snapshot that a store at `version` has not reached, or not any more; "" if none."""
    return next((one.resource_version for one in snapshot.sections if is_behind(version, one.resource_version)), "")


def _union(resources: Iterable[Resource]) -> int:
    return reduce(or_, (_LACKS[one.kind] for one in resources), 0)
