"""Control: reads what is to be answered, watches it, and tells the workers what changes. Answers nothing itself.

    files -> FileWatch: what is due -> sources: what changed --+
    API servers -> streams -> mirrors: what changed -----------+-> publisher: to every worker -> log: visible

It says nothing to the workers before it knows enough, so that a control that is new withdraws nothing; what is
enough depends on who answers meanwhile (`Birth`). One thread around `select`; others read octets for it, and write
snapshots.
"""

from __future__ import annotations

import gc
import math
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import and_

from kdns.kube.request import Notice, Severity
from kdns.observe.logs import Log
from kdns.observe.status import Word
from kdns.server.api import ApiSource, access_of
from kdns.server.apiclient import AccessError, connect_to
from kdns.server.assembly import ClusterPlan, Plan, SourcePlan
from kdns.server.birth import NO_SERIAL, Birth, Former, Situation, Verdict, judge, withdrawn
from kdns.server.feed import MalformedMessage, Scope
from kdns.server.files import Events, FileWatch, Stamp
from kdns.server.keeper import SnapshotKeeper
from kdns.server.process import EXIT_ERROR, EXIT_OK, trim_memory
from kdns.server.programming import Programming
from kdns.server.publisher import Publisher, Subscriber
from kdns.server.reading import Reading
from kdns.server.slots import Serials, Slots
from kdns.server.sockets import Address
from kdns.server.sources import FileSource, HostsSource, Source, make_source, schema_options, time_of_change
from kdns.server.status import Statuses
from kdns.server.visible import Visibility
from kdns.server.watch import stamps
from kdns.zone.delta import ZoneDelta, kinds_text

POLL_SECONDS = 0.1  # an edit is visible 0.1 to 0.3 s after its last write; more often would show in an idle CPU
MAX_POLL_SHARE = 0.02  # of a CPU: with so many files that looking takes longer, it is done less often
ACCOUNT_SECONDS = 0.1  # the longest without an account, while changes come one after the other
RESTART_SECONDS = 5.0  # for files to stand still; what has to be waited for longer, the workers keep
MAX_WAIT_SECONDS = 1.0  # lines that the log could not take are tried again so often
MAX_REMARKS = 20  # logged of one reading


@dataclass(frozen=True, slots=True)
class ControlPlan:
    """What a control is given at its birth.

    addresses: what is listened on, for the log. feeds: control's end of each worker slot's socket pair.
    serials: where the last serial is noted for whoever comes after. statuses: where each source's state is told.
    former: where it is told of those who answer meanwhile, unless this is a start.
    """

    plan: Plan
    addresses: Sequence[Address]
    feeds: Sequence[socket.socket]
    slots: Slots
    serials: Serials
    statuses: Statuses
    epoch: int
    birth: Birth
    log: Log
    former: Statuses | None = None


def run_control(plan: ControlPlan) -> int:
    """Serve the workers until told to end. Returns the exit status, an error if what is to be served cannot be."""
    gc.disable()  # the first load makes millions of values and no garbage
    try:
        control = Control(plan)
    except AccessError as error:
        plan.log.error(str(error))
        plan.log.flush(patience_ms=1000)
        return EXIT_ERROR
    with _stop_signal() as stop:
        status = control.run(stop)
    plan.log.flush(patience_ms=1000)
    return status


class Control:
    """The state of a control process. Raises AccessError if an API server cannot even be tried."""

    def __init__(self, plan: ControlPlan) -> None:
        self._plan = plan
        self._log = plan.log
        self._birth = plan.birth
        self._selector = selectors.DefaultSelector()
        self._sources = [self._make_source(index, source) for index, source in enumerate(plan.plan.sources)]
        self._apis = [(place, one) for place, one in enumerate(self._sources) if isinstance(one, ApiSource)]
        self._files = [(place, one) for place, one in enumerate(self._sources) if not isinstance(one, ApiSource)]
        self._keeper: SnapshotKeeper | None = None
        for status in plan.statuses:
            status.begin()
        self._paths: dict[int, set[str]] = {}  # of each file source, when they were looked at last
        self._watch = FileWatch()
        self._visibility = Visibility()
        self._programming = Programming()
        self._publisher: Publisher | None = None
        self._is_ready_told = False
        self._account_due = 0.0
        self._sizes: list[list[int]] = []  # of each source: subtrees and rrsets in the last image
        self._told_missing: set[str] = set()
        self._born_at = time.monotonic()
        self._failed_reads = [0] * len(self._sources)
        self._kept: set[int] = set()  # places of sources of which the workers keep what they have
        self._known_from = 0  # the generation of the last image: from it on, all is known that is not kept

    def run(self, stop: socket.socket) -> int:
        """Find out what is to be answered, then say so and what changes, until `stop` is readable."""
        self._selector.register(stop, selectors.EVENT_READ, _STOP)
        for _, api in self._apis:
            self._selector.register(api, selectors.EVENT_READ)
        self._begin_snapshot()
        loaded = self._load()
        if loaded:
            _settle_memory()
            self._serve()
        for _, api in self._apis:
            api.close()
        if self._keeper is not None and loaded:
            self._note(self._keeper.finish(time.monotonic(), time.time()))
        return EXIT_ERROR if loaded is None else EXIT_OK

    def _make_source(self, index: int, plan: SourcePlan) -> Source | ApiSource:
        former = self._plan.serials.last
        if not (isinstance(plan, ClusterPlan) and plan.kubernetes.is_watched):
            return make_source(index, plan, former)
        client = connect_to(access_of(plan.kubernetes))
        options = schema_options(plan.kubernetes)
        answered = self._former(index)
        served = answered.serial if answered is not None else None
        return ApiSource(index, plan.kubernetes, options, client, former, time.monotonic(), served)

    def _former(self, place: int) -> Former | None:
        """What is answered at this moment of the same zones; what is lost of it anywhere, is lost."""
        former, ours = self._plan.former, self._plan.statuses[place]
        if former is None:
            return None
        rows = [ours] if self._birth is Birth.RESTART else former.answering(ours.origin)
        answered = [row.published for row in rows]
        known = [one for one in answered if one is not None]
        if len(known) < 2:
            return known[0] if known else None
        return Former(reduce(and_, (one.lacks for one in known)), NO_SERIAL)

    def _missed(self, place: int, api: ApiSource) -> int:
        """The kinds that are lacking, but for those that are so only in namespaces that nobody has answered for."""
        rows = self._plan.former.answering(self._plan.statuses[place].origin) if self._plan.former else []
        before = set().union(*(row.origin.namespaces for row in rows))
        is_all_new = all(row.origin.namespaces for row in rows) and before.isdisjoint(api.lacking_namespaces)
        return 0 if rows and api.lacking_namespaces and is_all_new else api.lacks

    def _begin_snapshot(self) -> None:
        settings = self._plan.plan.settings
        if not settings.snapshot or not self._apis:
            return
        apis = [api for _, api in self._apis]
        self._keeper = SnapshotKeeper(settings.snapshot, settings.snapshot_max_age, apis)
        self._selector.register(self._keeper, selectors.EVENT_READ)
        self._note(self._keeper.load(time.monotonic(), time.time()))

    # Before anything is said

    def _load(self) -> bool | None:
        """Read and hear everything. None if something cannot be had that is not waited for; False if told to end."""
        has_files: bool | None = False
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                has_files, due = self._load_files(), time.monotonic() + POLL_SECONDS
            if has_files is None:
                return None
            for place, api in self._apis:
                self._turn(place, api)
            verdicts = {place: self._verdict(place, api) for place, api in self._apis}
            if Verdict.GIVE_UP in verdicts.values():
                return None
            if has_files and Verdict.WAIT not in verdicts.values():
                for place, api in self._apis:
                    if verdicts[place] is Verdict.KEEP:
                        self._keep(place, f"{kinds_text(withdrawn(self._situation(place, api)))} not heard of")
                return True
            self._log.flush()
            if self._wait(due):
                return False

    def _load_files(self) -> bool | None:
        """Read what is due. Whether all files are good now, or kept; None if they are not, and that is not borne."""
        if not self._files:
            return True
        is_strict = self._birth is not Birth.RESTART
        seen = self._look()
        events = self._watch.observe(seen, time.time())
        if is_strict:
            events.read += events.emptied  # what is empty from the start says nothing, if it may
        self._read(events, seen)
        is_late = time.monotonic() >= self._born_at + RESTART_SECONDS and not is_strict
        if not is_late and (not self._watch.is_settled() or any(source.unread for _, source in self._files)):
            return False
        lacking = [place for place, source in self._files if self._lacks(place, source, seen, is_strict)]
        if is_strict:
            return None if lacking else True
        for place in lacking:
            self._keep(place, "not read")
        return True

    def _keep(self, place: int, what: str) -> None:
        """Leave the workers what they have of a source, and say so."""
        self._kept.add(place)
        since = "since control was restarted: the workers answer from what they have until then"
        self._log.warning(f"{self._sources[place]}: {what} again {since}")

    def _verdict(self, place: int, api: ApiSource) -> Verdict:
        """Whether what is known of a cluster is to be answered from."""
        situation = self._situation(place, api)
        verdict = judge(self._birth, situation)
        if verdict is Verdict.GIVE_UP:
            self._log.error(f"{api}: {_why_given_up(api, situation)}")
        return verdict

    def _situation(self, place: int, api: ApiSource) -> Situation:
        now = time.monotonic()
        return Situation(
            lacks=self._missed(place, api),
            unconfirmed=api.unconfirmed,
            serial=api.restored_serial,
            is_settled=api.is_settled,
            is_late=api.is_late(now),
            is_silent=api.is_silent(now),
            former=self._former(place),
            reading=sum(slot.is_reading for slot in self._plan.slots),
            namespaces=len(api.lacking_namespaces),
        )

    # From then on

    def _serve(self) -> None:
        """Publish everything, and from then on what changes, until told to end."""
        plan = self._plan
        for place in range(len(self._sources)):
            self._announce(place)
        publisher = self._publisher = Publisher(
            plan.epoch, plan.feeds, self._image, lambda slot: plan.slots[slot].incarnation, self._kept
        )
        for subscriber in publisher.subscribers:
            self._selector.register(subscriber.sock, _events_for(subscriber), subscriber)
        due = time.monotonic()
        while not self._wait(due if self._files else math.inf):
            generation = publisher.generation
            for place, api in self._apis:
                self._turn(place, api)
            if self._files and time.monotonic() >= due:
                looked = self._poll(publisher)
                due = next_look(time.monotonic(), looked)
            # What a worker has just been told it should answer from at once, even where it shares our CPU: all else
            # waits until it says that it does, or a little longer.
            if publisher.generation == generation or time.monotonic() >= self._account_due:
                self._account_due = time.monotonic() + ACCOUNT_SECONDS
                self._give_account(publisher)

    def _give_account(self, publisher: Publisher) -> None:
        """Say what has become of what was published, where people and probes look, and keep it."""
        for place, api in self._apis:
            if place not in self._kept:  # what the former control has reported is true
                api.report(self._plan.statuses[place])
        self._tell_visible(publisher)
        if self._keeper is not None:
            self._note(self._keeper.turn(time.monotonic(), time.time()))
        self._log.flush()

    def _wait(self, due: float) -> bool:
        """Wait for whatever comes first, and hear the workers. True if control is told to end."""
        due = min([due, *(api.wake_at for _, api in self._apis)])
        if self._keeper is not None and self._publisher is not None:
            due = min(due, self._keeper.wake_at)
        for subscriber in self._publisher.subscribers if self._publisher else ():
            wanted = _events_for(subscriber)
            if self._selector.get_key(subscriber.sock).events != wanted:
                self._selector.modify(subscriber.sock, wanted, subscriber)
        timeout = min(MAX_WAIT_SECONDS, max(0.0, due - time.monotonic()))
        for key, ready in self._selector.select(timeout):
            if key.data is _STOP:
                return True
            if isinstance(key.data, Subscriber) and self._publisher is not None:
                self._exchange(self._publisher, key.data, ready)
        return False

    def _exchange(self, publisher: Publisher, subscriber: Subscriber, ready: int) -> None:
        """Hear a worker, and send it an image if it lags."""
        if ready & selectors.EVENT_READ:
            try:
                publisher.receive(subscriber)
            except MalformedMessage as error:
                self._log.error(f"kdns bug: worker {subscriber.index}: {error}")
        if ready & selectors.EVENT_WRITE and subscriber.is_lagging:
            publisher.catch_up(subscriber)
            _settle_memory()

    # API servers

    def _turn(self, place: int, api: ApiSource) -> None:
        """Take in what an API server has said, and publish what follows."""
        now = time.monotonic()
        reading = api.turn(now, time.time())
        self._tell(api, reading, set())
        if self._publisher is not None:
            is_known = place not in self._kept or self._verdict(place, api) is Verdict.ENOUGH
            self._publish(self._publisher, place, reading, now, is_known)
            if reading.is_large:
                trim_memory()
        elif self._birth is not Birth.RESTART:  # there, what the former control has reported is true
            api.report(self._plan.statuses[place])

    # Files

    def _look(self) -> dict[str, Stamp | None]:
        """What there is of all files of all sources."""
        self._paths = {place: source.paths() for place, source in self._files}
        return stamps(set().union(*self._paths.values()))

    def _lacks(self, place: int, source: Source, seen: Mapping[str, Stamp | None], may_be_empty: bool) -> bool:
        """Whether something of a source is missing or broken; says what is missing."""
        if source.is_optional and may_be_empty:
            return bool(source.unread)
        stamps = {path: seen.get(path) for path in self._paths[place]}
        missing = [path for path, stamp in stamps.items() if stamp is None or not (stamp.size or may_be_empty)]
        for path in missing:
            self._tell_missing(path)
        return bool(missing or source.broken or source.unread)

    def _tell_missing(self, path: str) -> None:
        if path not in self._told_missing:
            self._told_missing.add(path)
            self._log.error(f"{path}: no such file, or nothing in it, or it cannot be reached")

    def _poll(self, publisher: Publisher) -> float:
        """Look at the files and publish what changed. Returns the seconds that looking took, reading left out."""
        since = time.monotonic()
        seen = self._look()
        events = self._watch.observe(seen, time.time())
        looked = time.monotonic() - since
        for path in (*events.vanished, *events.emptied):
            if any(source.is_watched and source.holds(path) for _, source in self._files):
                what = "vanished" if path in events.vanished else "is empty"
                self._log.warning(f"{path}: {what}: what it said last stays served")
        if events.read or events.vanished or events.renamed:
            for place, source, reading in self._read(events, seen):
                is_known = place not in self._kept or not self._lacks(place, source, seen, False)
                self._publish(publisher, place, reading, since, is_known)
            trim_memory()
        return looked

    def _read(self, events: Events, seen: Mapping[str, Stamp | None]) -> list[tuple[int, Source, Reading]]:
        """Let each source read what is due, and tell what it has to say."""
        readings = []
        told: set[str] = set()  # two sources that read one file have the same to say of it
        is_first = self._publisher is None
        for place, source in self._files:
            if not (is_first or source.is_watched):
                continue
            paths = self._paths[place]
            reading = source.read(paths, events, seen, time_of_change(paths, seen), is_first)
            self._tell(source, reading, told)
            status = self._plan.statuses[place]
            self._failed_reads[place] += bool(reading.errors)
            status[Word.FAILED_READS] = self._failed_reads[place]
            if isinstance(source, HostsSource):
                source.report(status)
            readings.append((place, source, reading))
        return readings

    # What is said

    def _note(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            _LOG[notice.severity](self._log, notice.text)

    def _tell(self, source: Source | ApiSource, reading: Reading, told: set[str]) -> None:
        """Log what came of a reading, but for what is `told` already."""
        stays = self._publisher is not None and not isinstance(source, ApiSource)
        consequence = "; the last good data stays served" if stays else ""
        errors = [error for error in reading.errors if error not in told]
        remarks = [remark for remark in reading.remarks if remark not in told]
        told.update(errors, remarks)
        for error in errors:
            self._log.error(error + consequence)
        for remark in remarks[:MAX_REMARKS]:
            self._log.warning(remark)
        if len(remarks) > MAX_REMARKS:
            more = len(remarks) - MAX_REMARKS
            self._log.warning(f"{source}: {more} more remarks: `kdns check` tells them all")
        for line in reading.news:
            self._log.info(line)
        for path in reading.unchanged if self._publisher else ():
            self._log.info(f"{path}: read again: no answer changes")

    def _publish(self, publisher: Publisher, place: int, reading: Reading, since: float, is_known: bool) -> None:
        """Tell the workers what has changed. is_known: we know it as well as those who were told before, if any."""
        source = self._sources[place]
        if place in self._kept and is_known:
            self._kept.discard(place)
            reading.scope, reading.what = Scope.IMAGE, "known again"
        if reading.scope is None or (not is_known and reading.scope is not Scope.IMAGE):
            return
        if is_known:
            self._announce(place)
        if reading.scope is Scope.IMAGE:
            generation = self._known_from = publisher.publish_image()
        else:
            generation = publisher.publish(reading.scope, place, reading.parts)
            self._programming.published(generation, self._plan.statuses[place], reading.triggered)
        self._note_serials()
        if self._keeper is not None:
            self._keeper.note_change()
        # A cluster that is watched changes all the time: that is only of interest to who looks for a fault.
        if self._plan.plan.is_debugging or reading.scope is Scope.IMAGE or not isinstance(source, ApiSource):
            self._visibility.published(generation, since, f"{source} {reading.what}")

    def _announce(self, place: int) -> None:
        """Before something is published: say what is answered then, for whoever comes after us."""
        source, status = self._sources[place], self._plan.statuses[place]
        if place in self._kept:
            return
        if isinstance(source, ApiSource):
            source.announce(status)
        else:
            status.published = Former(0, 0 if isinstance(source, _WHOLE) else source.serial or 0)

    def _image(self) -> Iterator[ZoneDelta]:
        """Everything of all sources, in parts; counts it on the way. What is not known is not said to be empty."""
        self._sizes = [[0, 0] for _ in self._sources]
        for place, (source, sizes) in enumerate(zip(self._sources, self._sizes, strict=True)):
            if place in self._kept and not isinstance(source, ApiSource):
                continue
            for part in source.image():
                sizes[0] += len(part.subtrees)
                sizes[1] += len(part.rrsets)
                yield part
        self._note_serials()

    def _note_serials(self) -> None:
        for source in self._sources:
            if not isinstance(source, _WHOLE) and source.serial is not None:
                self._plan.serials.note(source.serial)

    def _tell_visible(self, publisher: Publisher) -> None:
        """Log what every worker answers from now."""
        generation = publisher.visible_generation
        if not generation:  # a worker that is new has nothing yet
            return
        for status in self._plan.statuses:
            status[Word.VISIBLE_GENERATION], status[Word.IS_LOADED] = generation, True
        if not (self._is_ready_told or self._kept) and generation >= self._known_from:
            self._is_ready_told = True
            self._tell_ready()
        self._programming.visible(generation, time.time())
        for line in self._visibility.visible(generation, time.monotonic()):
            self._log.info(line)

    def _tell_ready(self) -> None:
        for source, (services, rrsets) in zip(self._sources, self._sizes, strict=True):
            size = f"{rrsets} rrsets" if isinstance(source, _WHOLE) else f"{services} services"
            self._log.info(f"{source}: {size} from {source.origins}")
            if isinstance(source, ApiSource) and source.lacks:
                missing = f"{source.progress()}: names that depend on what is missing are SERVFAIL until it is known"
                self._log.warning(f"{source}: {missing}")
            if ignored := source.ignored():
                self._log.info(f"{source}: not answered from: {ignored}")
        workers = len(self._plan.feeds)
        services, rrsets = (sum(column) for column in zip(*self._sizes, strict=True)) if self._sizes else (0, 0)
        addresses = ", ".join(map(str, self._plan.addresses))
        self._log.info(
            f"{'current again' if self._birth is Birth.RESTART else 'ready'}: {workers} worker{'s' * (workers != 1)},"
            f" {services} services, {rrsets} rrsets, listening on {addresses} (UDP and TCP)"
        )


def next_look(now: float, looked: float) -> float:
    """When to look at the files again, after looking has taken `looked` seconds.

    Reading what has changed does not count: the next change of a large file must not wait for the last one's cost.
    """
    return now + max(POLL_SECONDS, looked / MAX_POLL_SHARE)


def _why_given_up(api: ApiSource, situation: Situation) -> str:
    if situation.is_settled:
        kinds = kinds_text(withdrawn(situation))
        return f"{api.origins} refuses to tell of {kinds}, which are answered now: the old configuration stays"
    has_snapshot = situation.unconfirmed != 0
    snapshot = "the snapshot is older than what is answered" if has_snapshot else "there is no snapshot to go on from"
    return f"{api.origins} has told nothing for {api.startup_timeout:g} s, and {snapshot}"


_WHOLE = FileSource | HostsSource  # they change as a whole, and their serials are their own
_STOP = "stop"
_LOG: dict[Severity, Callable[[Log, str], None]] = {
    Severity.INFO: Log.info,
    Severity.WARNING: Log.warning,
    Severity.ERROR: Log.error,
}


def _events_for(subscriber: Subscriber) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if subscriber.is_lagging else 0)


def _settle_memory() -> None:
    """What has been read is here to stay: collections need not look at it, nor what was read it from take memory."""
    gc.freeze()
    gc.enable()
    trim_memory()


@contextmanager
def _stop_signal() -> Iterator[socket.socket]:
    """A socket that becomes readable with SIGTERM."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    yield reader
    signal.set_wakeup_fd(-1)
    reader.close()
    writer.close()
