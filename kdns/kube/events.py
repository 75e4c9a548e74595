"""What an API server writes into the bodies of its answers: events of a watch, pages of a list, Status objects.

Read in one pass, straight into the types of kdns.kube.api: nearly every object fits them. One that does not is named
by its metadata, which are all that is read then; and so it is where metadata may be enough, because the object may be
known already (72,000 a second, against 24,000 whole). Kinds and apiVersions are not looked at: items of a list have
none. Not here: lines (kdns.kube.lines), what a Status means (kdns.kube.refusals), packed objects (kdns.kube.decode).
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import field

from kdns.kube import api

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"
ERROR = "ERROR"

INITIAL_EVENTS_END = "k8s.io/initial-events-end"  # annotation of the bookmark that ends initial events (KEP-3157)

_T = TypeVar("_T")


class Unreadable(ValueError):
    """Octets that no API server writes: broken JSON, or something that is not what was asked for."""


class Event(msgspec.Struct, Generic[_T], gc=False):
    """A line of a watch."""

    type: str = ""
    object: _T | None = None


class StatusDetails(msgspec.Struct, gc=False):
    """A Status's details."""

    retry_after_seconds: int | None = field(default=None, name="retryAfterSeconds")


class Status(msgspec.Struct, gc=False):
    """meta/v1 Status: the body of a refusal, or the object of an ERROR event."""

    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: StatusDetails | None = None


class Sighting(msgspec.Struct, gc=False):
    """An object as an event or a list shows it.

    type: what happened to it (ADDED, ...). read: the whole of it; None if it does not fit, for the reason in `flaw`.
    status: what an ERROR event has instead of an object.
    """

    type: str
    meta: api.ObjectMeta
    read: api.ApiObject | None = None
    flaw: str = ""
    status: Status | None = None

    @property
    def resource_version(self) -> str:
        """Its resource version, "" if it has none."""
        return self.meta.resource_version or ""

    @property
    def ends_initial_events(self) -> bool:
        """Whether it is the bookmark that says so."""
        return (self.meta.annotations or {}).get(INITIAL_EVENTS_END) == "true"


class PageMeta(msgspec.Struct, gc=False):
    """metadata of a list."""

    resource_version: str | None = field(default=None, name="resourceVersion")
    token: str | None = field(default=None, name="continue")


class Page(msgspec.Struct, gc=False):
    """A list, or a part of one; its items are unread."""

    metadata: PageMeta | None = None
    items: list[msgspec.Raw] | None = None

    @property
    def resource_version(self) -> str:
        """Of the list, not of any item."""
        return (self.metadata and self.metadata.resource_version) or ""

    @property
    def token(self) -> str:
        """What to continue with; "" if this is the end."""
        return (self.metadata and self.metadata.token) or ""


class _HeadMeta(msgspec.Struct, gc=False):
    """As much of metadata as tells one state of an object from all others."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = field(default=None, name="resourceVersion")

    def whole(self) -> api.ObjectMeta:
        """As others know it."""
        return api.ObjectMeta(
            name=self.name, namespace=self.namespace, uid=self.uid, resource_version=self.resource_version
        )


class _Head(msgspec.Struct, gc=False):
    metadata: _HeadMeta | None = None

    def whole(self) -> api.ObjectMeta:
        return self.metadata.whole() if self.metadata is not None else api.ObjectMeta()


_EVENTS: dict[str, msgspec.json.Decoder[Any]] = {
    "Namespace": msgspec.json.Decoder(Event[api.ApiObject]),
    "Service": msgspec.json.Decoder(Event[api.Service]),
    "EndpointSlice": msgspec.json.Decoder(Event[api.EndpointSlice]),
    "Pod": msgspec.json.Decoder(Event[api.Pod]),
}
_ITEMS: dict[str, msgspec.json.Decoder[Any]] = {
    "Namespace": msgspec.json.Decoder(api.ApiObject),
    "Service": msgspec.json.Decoder(api.Service),
    "EndpointSlice": msgspec.json.Decoder(api.EndpointSlice),
    "Pod": msgspec.json.Decoder(api.Pod),
}
_event_head = msgspec.json.Decoder(Event[_Head])
_item_head = msgspec.json.Decoder(_Head)
_status = msgspec.json.Decoder(Status)
_status_event = msgspec.json.Decoder(Event[Status])
_page = msgspec.json.Decoder(Page)


class EventDecoder:
    """Reads what lists and watches of one kind contain."""

    def __init__(self, kind: str) -> None:
        self._event = _EVENTS[kind]
        self._item = _ITEMS[kind]

    def event(self, line: bytes) -> Sighting:
        """A line of a watch. Raises Unreadable."""
        try:
            event: Event[api.ApiObject] = self._event.decode(line)
        except msgspec.ValidationError as misfit:
            return self._misfit(line, misfit)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(str(error)) from None
        if event.type == ERROR:
            return Sighting(ERROR, api.ObjectMeta(), status=_read_error(line))
        read = event.object
        return Sighting(event.type, (read and read.metadata) or api.ObjectMeta(), read)

    def item(self, data: msgspec.Raw) -> Sighting:
        """An item of a list, as if it had just been added. Raises Unreadable."""
        try:
            read: api.ApiObject = self._item.decode(data)
        except msgspec.ValidationError as misfit:
            head = self.item_head(data)
            head.flaw = _readable(misfit)
            return head
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(str(error)) from None
        return Sighting(ADDED, read.metadata or api.ObjectMeta(), read)

    def event_head(self, line: bytes) -> Sighting:
        """A line of a watch, the metadata alone. Raises Unreadable."""
        event = _decode(_event_head, line)
        return Sighting(event.type, event.object.whole() if event.object is not None else api.ObjectMeta())

    def item_head(self, data: msgspec.Raw) -> Sighting:
        """An item of a list, the metadata alone. Raises Unreadable."""
        return Sighting(ADDED, _decode(_item_head, data).whole())

    def _misfit(self, line: bytes, misfit: msgspec.ValidationError) -> Sighting:
        sighting = self.event_head(line)
        if sighting.type == ERROR:
            sighting.status = _read_error(line)
        else:
            sighting.flaw = _readable(misfit)
        return sighting


def read_page(body: bytes | bytearray) -> Page:
    """A list, or a part of one. Raises Unreadable."""
    return _decode(_page, body)


def read_status(body: bytes | bytearray) -> Status:
    """The body of a refusal. One without a Status (`404 page not found`) is the message itself."""
    try:
        return _decode(_status, body)
    except Unreadable:
        return Status(message=bytes(body).decode("utf-8", "replace").strip())


def _read_error(line: bytes) -> Status:
    """The Status in an ERROR event; an empty one if there is none."""
    try:
        return _decode(_status_event, line).object or Status()
    except Unreadable:
        return Status()


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes | bytearray | msgspec.Raw) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from None


def _readable(error: msgspec.ValidationError) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.object.spec.ports[0].port`" with the place first."""
    what, _, place = str(error).partition(" - at `$")
    where = place.strip(".`").removeprefix("object").lstrip(".")
    return f"{where}: {what.replace('`', '').replace(' | null', '')}" if where else what
