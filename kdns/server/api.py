"""A source that is a cluster's API server: streams, the mirror they fill, and what the log and the status are told.

    streams (threads that read octets) -> mirror (pure) -> Reading: what to publish

Everything but the reading of octets happens in control's one thread, in `turn`. Not here: the protocol
(kdns.kube.reflector), connections (kdns.server.streams), the snapshot's file (kdns.server.snapshots).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from kdns.corefile import Kubernetes
from kdns.kube.mirror import Mirror, Restored, resources_for
from kdns.kube.request import Fault, Severity
from kdns.kube.schema import SchemaOptions
from kdns.kube.snapshot import Snapshot
from kdns.observe.status import Word
from kdns.server.apiclient import ApiAccess, ApiClient
from kdns.server.birth import Former
from kdns.server.feed import Scope
from kdns.server.outage import Outage
from kdns.server.reading import Reading
from kdns.server.status import SourceStatus
from kdns.server.streams import SUCCESS, Arrival, Ended, Failed, Opened, Received, Streams
from kdns.wire.name import to_text
from kdns.zone.delta import ZoneDelta


class ApiSource:
    """A cluster that is watched. Times are monotonic seconds.

    client: the way to its API server. former_serial: the serial that clients have seen last, whoever published it.
    served_serial: the one of this cluster that others answer with at this moment, if any do.
    startup_timeout: seconds. heard_at: when its API server has told something last, which no error does; at first,
        when this began.
    restored_serial: of the snapshot that it began with, None without one.
    """

    def __init__(
        self,
        index: int,
        kubernetes: Kubernetes,
        options: SchemaOptions,
        client: ApiClient,
        former_serial: int | None,
        now: float,
        served_serial: int | None = None,
    ) -> None:
        self.origins = client.server
        self.startup_timeout = kubernetes.startup_timeout_ns / 1e9
        self.heard_at = now
        self._began_at = now
        self._name = " ".join(map(to_text, kubernetes.zones))
        self._options = options
        self._resources = resources_for(options, str(kubernetes.labels or ""))
        self._make_mirror = partial(Mirror, index, options, self._resources, Random(), now, former_serial)
        self._streams = Streams(client)
        self._opened: dict[int, int] = {}  # the number of the request that is open, by owner
        self._is_telling: dict[int, bool] = {}  # whether the answer that is open is a success, by owner
        self._outage = Outage(client.server)
        self._served_serial = served_serial
        self.restored_serial: int | None = None
        self._is_restored = False
        self._deltas = self._images = 0
        self._mirror = self._make_mirror()

    def keep(self, snapshot: Snapshot | None, now: float, unix_now: float) -> None:
        """Before the first turn: `snapshot` will be asked for, and this is what there is to begin with."""
        self._is_restored = snapshot is not None
        restored = None
        if snapshot is not None:
            self.restored_serial = snapshot.serial
            is_newest = self._served_serial in (None, snapshot.serial)
            restored = Restored(snapshot, now - (unix_now - snapshot.taken_at), is_newest)
        self._mirror = self._make_mirror(restored, wants_identity=True)

    @property
    def fingerprint(self) -> str:
        """What is asked for, where, and what is kept of it: a snapshot made so serves only who asks for the same."""
        asked = ", ".join(f"{one} {one.label_selector}".strip() for one in self._resources)
        kept = "".join(f", {name}" for name, is_kept in self._options.keep._asdict().items() if is_kept)
        return f"{self.origins} ({asked}{kept})"

    def __str__(self) -> str:
        return self._name

    def fileno(self) -> int:
        """Readable when a turn is worth while."""
        return self._streams.fileno()

    @property
    def serial(self) -> int | None:
        """The serial of what was published last."""
        return self._mirror.store.serial

    @property
    def lacks(self) -> int:
        """The kinds of objects that are not known wholly (LACKS_... of kdns.zone.delta)."""
        return self._mirror.lacks

    @property
    def lacking_namespaces(self) -> tuple[str, ...]:
        """In which namespaces they are not; none for the whole cluster."""
        return tuple(label[1:].decode() for label in self._mirror.store.lacking)

    @property
    def unconfirmed(self) -> int:
        """The kinds that are known wholly, but not from the API server itself."""
        return self._mirror.unconfirmed

    @property
    def is_confirmed(self) -> bool:
        """Whether the API server itself has told everything once."""
        return self._mirror.is_confirmed

    @property
    def is_settled(self) -> bool:
        """Whether the API server itself has told everything once, but for what it refuses to tell."""
        return self._mirror.is_settled

    @property
    def is_identified(self) -> bool:
        """Whether it is known which cluster it is, or that this is not to be known."""
        return self._mirror.is_identified

    @property
    def has_snapshot(self) -> bool:
        """Whether there is something to write to disk."""
        return self._mirror.doubted is not None or (self.is_identified and not self.lacks)

    def is_late(self, now: float) -> bool:
        """Whether `startup_timeout` has passed."""
        return now >= self._began_at + self.startup_timeout

    def is_silent(self, now: float) -> bool:
        """Whether its API server has told nothing for `startup_timeout`, be it silent or failing."""
        return now >= self.heard_at + self.startup_timeout

    def progress(self) -> str:
        """What is known, for the log."""
        return self._mirror.progress()

    def ignored(self) -> str:
        """Nothing is sent that is ignored."""
        return ""

    @property
    def wake_at(self) -> float:
        """When a turn is due, whether anything has come or not."""
        waiting = [one.due for owner, one in self._mirror.requests() if self._opened.get(owner) != one.number]
        return min([self._mirror.wake_at, self._outage.wake_at, *waiting])

    def image(self) -> Iterator[ZoneDelta]:
        """The whole, in parts."""
        return self._mirror.store.image()

    def turn(self, now: float, unix_now: float) -> Reading:
        """Take in what has come, open what is due."""
        mirror = self._mirror
        arrivals = self._streams.take()
        if not arrivals and now < self.wake_at:
            return Reading()
        for arrival in arrivals:
            _TELL[type(arrival.what)](mirror, arrival, arrival.what, now)
            self._hear(arrival, now)
        turn = mirror.turn(now, int(unix_now))
        reading = Reading(is_large=turn.has_listed)
        for notice in (*turn.notices, *self._outage.notices(mirror.stale_since, bool(mirror.lacks), now)):
            _LINES[notice.severity](reading).append(f"{self._name}: {notice.text}")
        if turn.is_image:
            self._images += 1
            reading.scope, reading.what = Scope.IMAGE, mirror.progress()
        elif turn.delta is not None:
            self._deltas += 1
            reading.change(turn.delta)
            reading.triggered = turn.triggered
        self._open(now)
        return reading

    def snapshot(self, now: float, unix_now: float) -> Snapshot | None:
        """What to write to disk; None if nothing that is whole is known, or not of which cluster it is."""
        mirror = self._mirror
        if not self.has_snapshot:
            return None
        if mirror.restored is not None:
            return replace(mirror.restored, serial=self.serial)
        if not mirror.is_identified:  # of which cluster this is cannot be said; what was read stays as good as it was
            return mirror.doubted
        since = mirror.stale_since
        taken_at = unix_now if since is None else unix_now - (now - since)
        return Snapshot(self.fingerprint, mirror.cluster, taken_at, mirror.sections(), self.serial)

    def announce(self, status: SourceStatus) -> None:
        """Before something is published: whoever comes after us must not fall behind it, even if we die meanwhile."""
        status.published = Former(self.lacks, self.serial or 0, len(self.lacking_namespaces))

    def report(self, status: SourceStatus) -> None:
        """Tell the status what is so now."""
        mirror = self._mirror
        since = mirror.stale_since
        status.stale_since_ns = None if since is None else int(since * 1e9)
        status[Word.KINDS], status[Word.LACKS] = mirror.kinds, mirror.lacks
        status[Word.IS_SYNCED] = mirror.is_confirmed
        status[Word.IS_FROM_SNAPSHOT] = self._is_restored and not (mirror.is_confirmed or mirror.lacks)
        for word, kind in _COUNTED.items():
            status[word] = mirror.store.count(kind)
        status[Word.HELD_ENDPOINTS] = mirror.store.held
        self._report_counters(status)

    def _report_counters(self, status: SourceStatus) -> None:
        statistics = [one.statistics for one in self._mirror.reflectors]
        status[Word.DELTAS], status[Word.IMAGES] = self._deltas, self._images
        status[Word.LISTS] = sum(one.lists for one in statistics)
        status[Word.RELISTS] = sum(one.relists for one in statistics)
        status[Word.WATCHES] = sum(one.watches for one in statistics)
        failures: Counter[Word] = Counter()
        for cause, count in self._mirror.failures.items():
            failures[_FAILED.get(cause, Word.FAILED_STATUS)] += count
        for word in {*_FAILED.values(), Word.FAILED_STATUS}:
            status[word] = failures[word]

    def close(self) -> None:
        """Let go of all connections."""
        self._streams.close_all()

    def _hear(self, arrival: Arrival, now: float) -> None:
        """Note when it has told something: why it does not is not that."""
        if isinstance(arrival.what, Opened):
            self._is_telling[arrival.owner] = arrival.what.status in SUCCESS
        elif isinstance(arrival.what, Received) and self._is_telling[arrival.owner]:
            self.heard_at = now

    def _open(self, now: float) -> None:
        """Open what is due, or is to be tried before.

        What has been given up is closed with it, or already while the next one has to wait.
        """
        for owner, request in self._mirror.requests():
            if self._opened.get(owner) == request.number:
                continue
            if request.due <= now or request.when_heard_of:
                self._opened[owner] = request.number
                self._streams.open(owner, request)
            elif self._opened.pop(owner, None) is not None:
                self._streams.close(owner)


def access_of(kubernetes: Kubernetes) -> ApiAccess:
    """The way to an API server that a `kubernetes` block names."""
    tls = kubernetes.tls
    certificate, key, ca = (tls.certificate, tls.key, tls.ca) if tls is not None else ("", "", "")
    place = str(kubernetes.context_position)
    return ApiAccess(kubernetes.kubeconfig, kubernetes.context, kubernetes.endpoint, certificate, key, ca, place)


_COUNTED = {
    Word.SERVICES: "Service",
    Word.ENDPOINT_SLICES: "EndpointSlice",
    Word.NAMESPACES: "Namespace",
    Word.PODS: "Pod",
}
# By the causes that reflectors count; what is not among them is an answer of the API server.
_FAILED = {fault.name.lower(): Word[f"FAILED_{fault.name}"] for fault in Fault} | {
    "no_answer": Word.FAILED_TIMEOUT,
    "stalled": Word.FAILED_TIMEOUT,
    "unreadable": Word.FAILED_MALFORMED,
}
_TELL: dict[type, Callable[[Mirror, Arrival, Any, float], None]] = {
    Opened: lambda mirror, to, what, now: mirror.opened(to.owner, to.number, what.status, what.headers, now),
    Received: lambda mirror, to, what, now: mirror.received(to.owner, to.number, what.block, now),
    Ended: lambda mirror, to, what, now: mirror.ended(to.owner, to.number, now),
    Failed: lambda mirror, to, what, now: mirror.failed(to.owner, to.number, what.failure, now),
}
_LINES: dict[Severity, Callable[[Reading], list[str]]] = {
    Severity.INFO: lambda reading: reading.news,
    Severity.WARNING: lambda reading: reading.remarks,
    Severity.ERROR: lambda reading: reading.errors,
}
