"""The objects of one resource as its lists and watches show them, and what has changed by that.

    lines of a watch, items of a list -> sightings -> ledger -> changes

An object that cannot be read stays as it was, and is named in a remark: its older state is nearer to the truth than a
denial, or than its Service without its endpoints. One of which no other state is known is left out.
Where much is known already, the metadata are read first, and the rest only of what is new: a relist after an API
server's restart costs a fraction of the first list. Not here: when to list and watch (kdns.kube.reflector).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kdns.kube import api
from kdns.kube.decode import ObjectDecoder, trigger_time
from kdns.kube.events import ADDED, MODIFIED, EventDecoder, Sighting, Unreadable
from kdns.kube.ledger import Ledger, Sweep, version_of
from kdns.kube.objects import Change, EndpointSlice, Key, describe
from kdns.kube.problem import InvalidObject
from kdns.kube.request import Notice, Severity, Trigger

_SHOWN = (ADDED, MODIFIED)


class Intake:
    """Takes in one resource. keys: of objects that are known from elsewhere, in versions that are not."""

    def __init__(self, kind: str, decoder: ObjectDecoder, keys: Iterable[Key] = ()) -> None:
        self._kind = kind
        self._decoder = decoder
        self._events = EventDecoder(kind)
        self._ledger = Ledger(keys)
        self._book: Ledger | Sweep = self._ledger
        self._looks_before_reading = False
        self._remarks: list[Notice] = []
        self._triggers: list[Trigger] = []

    def begin_list(self, holds_back: bool) -> None:
        """A list of all objects is to come; what was begun before is void. holds_back: see Sweep.

        What a first list has told before it broke off is of no version to go back to: it is read anew.
        """
        if not holds_back:
            self._ledger.forget_versions()
        self._book = Sweep(self._ledger, holds_back)
        self._looks_before_reading = any(self._ledger.versions.values())

    def finish_list(self) -> None:
        """The list is whole."""
        if isinstance(self._book, Sweep):
            self._book.finish()
        self._book = self._ledger
        self._looks_before_reading = False

    @property
    def arrivals(self) -> int:
        """How many objects the list in progress has shown."""
        return self._book.arrivals if isinstance(self._book, Sweep) else 0

    def look(self, line: bytes) -> Sighting | None:
        """What a line of a watch says; None if that is known, and has been taken in. Raises Unreadable."""
        if self._looks_before_reading:
            head = self._events.event_head(line)
            if head.type in _SHOWN and self._keeps(head):
                return None
        return self._events.event(line)

    def show_item(self, item: msgspec.Raw) -> None:
        """An item of a list."""
        try:
            if not (self._looks_before_reading and self._keeps(self._events.item_head(item))):
                self.show(self._events.item(item))
        except Unreadable as error:
            self._remark(Severity.WARNING, f"{self._kind}: an item of a list is left out: {error}")

    def show(self, sighting: Sighting) -> None:
        """An object is there, in this state."""
        key = self._key(sighting)
        if key is None:
            return
        version = version_of(sighting.meta)
        if self._book.is_known(key, version):
            self._book.keep(key)
        else:
            change = self._pack(key, sighting)
            if change is not None:
                self._book.put(key, version, change)
                self._note_trigger(change, sighting.meta)

    def hide(self, sighting: Sighting) -> None:
        """An object is not there any more."""
        key = self._key(sighting)
        if key is not None:
            self._book.drop(key)

    def ignore(self, sighting: Sighting) -> None:
        """An event of a type that is not known."""
        self._remark(
            Severity.WARNING, f"{self._kind}: watch events of the unknown type {sighting.type[:50]!r} are ignored"
        )

    def forget_versions(self) -> None:
        """Resource versions that were seen mean something else from now on."""
        self._ledger.forget_versions()

    def take(self) -> list[Change]:
        """What has changed since the last call."""
        return self._ledger.take()

    def take_triggers(self) -> list[Trigger]:
        """When what watches have shown since the last call was triggered; lists tell of what happened long ago."""
        triggers, self._triggers = self._triggers, []
        return triggers

    def take_remarks(self) -> list[Notice]:
        """What there is to say on objects since the last call."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def _keeps(self, head: Sighting) -> bool:
        """Whether this object is known in just this state; if so it is marked as seen."""
        key = self._key(head)
        if key is None or not self._book.is_known(key, version_of(head.meta)):
            return False
        self._book.keep(key)
        return True

    def _key(self, sighting: Sighting) -> Key | None:
        try:
            return self._decoder.key_of(self._kind, sighting.meta)
        except InvalidObject as error:
            self._remark(Severity.WARNING, f"{error}: ignored")
            return None

    def _pack(self, key: Key, sighting: Sighting) -> Change | None:
        """The object; None if it cannot be read."""
        if sighting.read is None:
            self._leave(key, f"{describe(key)}: {sighting.flaw}")
            return None
        remarks: list[str] = []
        change: Change | None = None
        try:
            change = self._decoder.pack(self._kind, sighting.read, remarks)
        except InvalidObject as error:
            self._leave(key, str(error))
        for remark in remarks:
            self._remark(Severity.INFO, remark)
        return change

    def _leave(self, key: Key, flaw: str) -> None:
        """Leave an object as it is known.

        The version that is known stays that of what is answered, so that each list reads this state of it again.
        """
        fate = "what was known of it stays" if self._book.stay(key) else "it is left out of all answers"
        self._remark(Severity.WARNING, f"{flaw}: {fate} until it is corrected")

    def _note_trigger(self, change: Change, meta: api.ObjectMeta | None) -> None:
        if not isinstance(change, EndpointSlice) or isinstance(self._book, Sweep):
            return
        at = trigger_time(meta)
        if at is not None:
            self._triggers.append(Trigger(change.service, at))

    def _remark(self, severity: Severity, text: str) -> None:
        self._remarks.append(Notice(severity, text))
