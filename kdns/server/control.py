"""Control: reads what is to be answered, watches it, and tells the workers what changes. Answers nothing itself.

    files -> FileWatch: what is due -> sources: what changed -> publisher: to every worker -> log: visible

It says nothing to the workers before it has read everything, so that a control that is new withdraws nothing.
`strict` (a start, a reload): what cannot be read ends it, with the reasons. Otherwise (it follows one that died
while workers were answering) it waits until what is broken is repaired.
"""

from __future__ import annotations

import gc
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from kdns.observe.logs import Log
from kdns.server.assembly import Plan
from kdns.server.feed import MalformedMessage, Scope
from kdns.server.files import Events, FileWatch, Stamp
from kdns.server.process import EXIT_ERROR, trim_memory
from kdns.server.publisher import Publisher, Subscriber
from kdns.server.slots import Serials, Slots
from kdns.server.sockets import Address
from kdns.server.sources import ClusterSource, Reading, Source, make_source, time_of_change
from kdns.server.watch import stamps
from kdns.zone.delta import ZoneDelta

POLL_SECONDS = 0.1  # an edit is visible 0.1 to 0.3 s after its last write; more often would show in an idle CPU
MAX_POLL_SHARE = 0.02  # of a CPU: with so many files that looking takes longer, it is done less often
MAX_REMARKS = 20  # logged of one reading
MAX_UNSEEN = 1000  # changes that some worker has not acknowledged; the log loses the oldest, no answer does


@dataclass(frozen=True, slots=True)
class ControlPlan:
    """What a control is given at its birth.

    addresses: what is listened on, for the log. feeds: control's end of each worker slot's socket pair.
    serials: where the last serial is noted for whoever comes after.
    """

    plan: Plan
    addresses: Sequence[Address]
    feeds: Sequence[socket.socket]
    slots: Slots
    serials: Serials
    epoch: int
    strict: bool
    log: Log


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A change that is not visible everywhere yet; `text` is empty for the first image."""

    generation: int
    since: float
    text: str


def run_control(plan: ControlPlan) -> int:
    """Serve the workers until killed; returns the exit status if what is to be served cannot be."""
    gc.disable()  # the first load makes millions of values and no garbage
    control = Control(plan)
    if not control.load():
        plan.log.flush(patience_ms=1000)
        return EXIT_ERROR
    gc.freeze()
    gc.enable()
    trim_memory()
    return control.serve()


class Control:
    """The state of a control process."""

    def __init__(self, plan: ControlPlan) -> None:
        self._plan = plan
        self._log = plan.log
        former = plan.serials.last
        self._sources = [make_source(index, source, former) for index, source in enumerate(plan.plan.sources)]
        self._watch = FileWatch()
        self._unseen: deque[_Unseen] = deque(maxlen=MAX_UNSEEN)
        self._is_serving = False
        self._paths: list[set[str]] = []  # of each source, when they were looked at last
        self._sizes: list[list[int]] = []  # of each source: subtrees and rrsets in the last image
        self._told_missing: set[str] = set()

    def load(self) -> bool:
        """Read everything. False if something cannot be read, and that is not to be waited for."""
        while True:
            seen = self._look()
            events = self._watch.observe(seen, time.time())
            if self._plan.strict:
                events.read += events.emptied  # what is empty from the start says nothing, if it may
            self._read(events, seen)
            lacking = self._lacking(seen)
            is_settled = self._watch.is_settled() and not any(source.unread for source in self._sources)
            if is_settled and not lacking:
                return True
            if is_settled and self._plan.strict:
                return False
            self._log.flush()
            time.sleep(POLL_SECONDS)

    def serve(self) -> NoReturn:
        """Publish everything, and from then on what changes."""
        publisher = Publisher(
            self._plan.epoch, self._plan.feeds, self._image, lambda slot: self._plan.slots[slot].incarnation
        )
        self._unseen.append(_Unseen(publisher.generation, time.monotonic(), ""))
        self._is_serving = True
        with selectors.DefaultSelector() as selector:
            for subscriber in publisher.subscribers:
                selector.register(subscriber.sock, _events_for(subscriber), subscriber)
            due = time.monotonic()
            while True:
                self._exchange(publisher, selector, max(0.0, due - time.monotonic()))
                if time.monotonic() >= due:
                    looked = self._poll(publisher)
                    due = next_look(time.monotonic(), looked)
                self._tell_visible(publisher)
                self._log.flush()

    def _exchange(self, publisher: Publisher, selector: selectors.BaseSelector, timeout: float) -> None:
        """Hear the workers, and send images to those that lag."""
        for subscriber in publisher.subscribers:
            wanted = _events_for(subscriber)
            if selector.get_key(subscriber.sock).events != wanted:
                selector.modify(subscriber.sock, wanted, subscriber)
        for key, ready in selector.select(timeout):
            subscriber = key.data
            if ready & selectors.EVENT_READ:
                try:
                    publisher.receive(subscriber)
                except MalformedMessage as error:
                    self._log.error(f"kdns bug: worker {subscriber.index}: {error}")
            if ready & selectors.EVENT_WRITE and subscriber.is_lagging:
                publisher.catch_up(subscriber)

    def _look(self) -> dict[str, Stamp | None]:
        """What there is of all files of all sources."""
        self._paths = [source.paths() for source in self._sources]
        return stamps(set().union(*self._paths))

    def _lacking(self, seen: Mapping[str, Stamp | None]) -> bool:
        """Whether something is missing or broken; says what is missing."""
        may_be_empty = self._plan.strict
        missing = [path for path, stamp in seen.items() if stamp is None or not (stamp.size or may_be_empty)]
        for path in missing:
            self._tell_missing(path)
        return bool(missing) or any(source.broken for source in self._sources)

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
            if any(source.is_watched and source.holds(path) for source in self._sources):
                what = "vanished" if path in events.vanished else "is empty"
                self._log.warning(f"{path}: {what}: what it said last stays served")
        if events.read or events.vanished or events.renamed:
            for source, reading in self._read(events, seen):
                self._publish(publisher, source, reading, since)
            trim_memory()
        return looked

    def _read(self, events: Events, seen: Mapping[str, Stamp | None]) -> list[tuple[int, Reading]]:
        """Let each source read what is due, and tell what it has to say."""
        readings = []
        told: set[str] = set()  # two sources that read one file have the same to say of it
        for index, (source, paths) in enumerate(zip(self._sources, self._paths, strict=True)):
            if self._is_serving and not source.is_watched:
                continue
            reading = source.read(paths, events, seen, time_of_change(paths, seen), not self._is_serving)
            self._tell(source, reading, told)
            readings.append((index, reading))
        return readings

    def _tell(self, source: Source, reading: Reading, told: set[str]) -> None:
        """Log what came of reading some files, but for what is `told` already."""
        consequence = "; the last good data stays served" if self._is_serving else ""
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
        for path in reading.unchanged if self._is_serving else ():
            self._log.info(f"{path}: read again: no answer changes")

    def _publish(self, publisher: Publisher, index: int, reading: Reading, since: float) -> None:
        if reading.scope is None:
            return
        if reading.scope is Scope.IMAGE:
            generation = publisher.publish_image()
        else:
            generation = publisher.publish(reading.scope, index, reading.parts)
        self._note_serials()
        text = f"{self._sources[index]} {reading.what}"
        self._unseen.append(_Unseen(generation, since, text))

    def _image(self) -> Iterator[ZoneDelta]:
        """Everything of all sources, in parts; counts it on the way."""
        self._sizes = [[0, 0] for _ in self._sources]
        for source, sizes in zip(self._sources, self._sizes, strict=True):
            for part in source.image():
                sizes[0] += len(part.subtrees)
                sizes[1] += len(part.rrsets)
                yield part
        self._note_serials()

    def _note_serials(self) -> None:
        for source in self._sources:
            if isinstance(source, ClusterSource) and source.serial is not None:
                self._plan.serials.note(source.serial)

    def _tell_visible(self, publisher: Publisher) -> None:
        """Log each change that every worker answers from now."""
        visible = publisher.visible_generation
        while self._unseen and self._unseen[0].generation <= visible:
            change = self._unseen.popleft()
            if change.text:
                took_ms = (time.monotonic() - change.since) * 1000
                self._log.info(f"visible: {change.text} (generation {change.generation}, {took_ms:.0f} ms)")
            else:
                self._tell_ready()

    def _tell_ready(self) -> None:
        for source, (services, rrsets) in zip(self._sources, self._sizes, strict=True):
            size = f"{services} services" if isinstance(source, ClusterSource) else f"{rrsets} rrsets"
            self._log.info(f"{source}: {size} from {source.origins}")
            if ignored := source.ignored():
                self._log.info(f"{source}: not answered from: {ignored}")
        workers = len(self._plan.feeds)
        services, rrsets = (sum(column) for column in zip(*self._sizes, strict=True)) if self._sizes else (0, 0)
        addresses = ", ".join(map(str, self._plan.addresses))
        self._log.info(
            f"{'ready' if self._plan.strict else 'current again'}: {workers} worker{'s' * (workers != 1)},"
            f" {services} services, {rrsets} rrsets, listening on {addresses} (UDP and TCP)"
        )


def next_look(now: float, looked: float) -> float:
    """When to look at the files again, after looking has taken `looked` seconds.

    Reading what has changed does not count: the next change of a large file must not wait for the last one's cost.
    """
    return now + max(POLL_SECONDS, looked / MAX_POLL_SHARE)


def _events_for(subscriber: Subscriber) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if subscriber.is_lagging else 0)
