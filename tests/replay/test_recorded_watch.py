"""A recorded watch, event by event, on the way that changes take from the store to the answers.

After each event all that it can have changed is asked of the engine that followed the deltas, and of one that was
built from nothing on the objects of that moment: the replies are the same octets, but for the order of records. Every
EVERYTHING_EACH events, and at the end, that is so for every name that ever occurs.

Time goes as it went in the recording. Where endpoints are held, answers are compared once the hold is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import inf
from struct import pack

import pytest
from msgspec.structs import replace

from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.kube.decode import ObjectDecoder
from kdns.kube.objects import Change, EndpointSlice, Key, Object, Pod, Tombstone
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.server.parcel import Parcel, unpack, unpack_file
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from kdns.zone.delta import ZoneDelta, is_ahead, next_serial
from tests.replay.asking import APEXES, STATIC, ancestors, names_in, questions, touched_names
from tests.replay.recording import Event, list_version, listed, watched
from tests.support.engines import Served
from tests.support.messages import Answer
from tests.support.subtrees import packed

EVERYTHING_EACH = 1000  # events; every name and type takes two seconds
HOLD = 0.5
SERVER = "10.244.2.3"  # a pod of the recording that goes away: the apex NS is the Service that has this server


@dataclass(frozen=True)
class Mode:
    """A way to serve the recorded cluster."""

    options: SchemaOptions
    pods: PodNames
    listeners: tuple[str, ...] = ()

    def serve(self, parts: Iterable[ZoneDelta]) -> Served:
        zones = tuple(map(from_text, APEXES))
        spec = ClusterSpec(zones, 5, self.pods, (), tuple(map(packed, self.listeners)))
        return Served(Specification((spec,), (SiteSpec(zones, (0,)),), ((0,),)), parts)


MODES = {
    "verified": Mode(SchemaOptions(verified_pods=True), PodNames.VERIFIED),
    "pod-names": Mode(SchemaOptions(endpoint_pod_names=True), PodNames.INSECURE, (SERVER,)),
    "some-namespaces": Mode(
        SchemaOptions(
            namespaces=frozenset(("shop", "empty")), ignore_empty_service=True, terminating_serving=True
        ),
        PodNames.INSECURE,
    ),
}


def sent(parts: Iterable[ZoneDelta]) -> list[ZoneDelta]:
    """Deltas as they arrive at a worker."""
    parcel = Parcel(parts)
    return list(unpack(parcel.data) if parcel.data is not None else unpack_file(parcel.fd))


class Replay:
    """The engine that follows, and what there is to build another one from.

    vanishing: no slice tells of endpoints that are not ready: they are there or not.
    """

    def __init__(self, mode: Mode, vanishing: bool = False) -> None:
        self._mode = mode
        self._vanishing = vanishing
        self._decoder = ObjectDecoder(mode.options.keep)
        self._objects: dict[Key, Object] = {}
        self._latest: dict[Key, Event] = {}
        self.store = ClusterStore(0, mode.options, hold=HOLD)
        self.store.load([self._note(event) for event in listed()], list_version())
        self.following = mode.serve(sent(self.store.image()))
        self._image: list[ZoneDelta] = []
        self._rebuild()

    def take(self, event: Event) -> ZoneDelta | None:
        """Let an event happen. An event that changes no object as far as DNS knows it must give no delta."""
        before = self._objects.get(event.key)
        delta = self.store.apply([self._note(event)], event.version, event.seconds)
        if delta is not None:
            assert self._objects.get(event.key) != before
            self._follow(delta)
        if self._objects.get(event.key) != before:
            self._rebuild()
        return delta

    @property
    def is_holding(self) -> bool:
        """Whether any endpoint is held."""
        return self.store.next_expiry != inf

    def wait(self, now: float) -> None:
        """Let time go on."""
        while self.store.next_expiry <= now:
            assert self.store.serial is not None
            delta = self.store.expire(self.store.next_expiry, self.store.serial)
            if delta is not None:
                self._follow(delta)

    def questions_about(self, event: Event) -> tuple[bytes, ...]:
        """What an event that is yet to happen can change."""
        if event.kind == "Pod" and not self._mode.options.verified_pods:
            return ()
        names = touched_names(self._latest.get(event.key), event) | {"cluster.local"}
        forward = frozenset(name for name in names if not name.endswith(".arpa"))
        return (
            *questions(forward, ("A", "AAAA", "SRV")),
            *questions(names - forward, ("PTR",)),
            *questions(ancestors(names), ("NS",)),
        )

    def _follow(self, delta: ZoneDelta) -> None:
        [arrived] = sent([delta])
        assert arrived == delta
        self.following.engine.apply(arrived)

    def _rebuild(self) -> None:
        """Have an engine made of the objects of now, with the serial of now.

        Of the same image, octet for octet, the same engine would be made.
        """
        store = ClusterStore(0, self._mode.options)
        assert self.store.serial is not None
        store.load(self._objects.values(), self.store.serial)
        image = list(store.image())
        if image != self._image:
            self._image, self.rebuilt = image, self._mode.serve(image)

    def _note(self, event: Event) -> Change:
        change = event.change(self._decoder)
        if self._vanishing and isinstance(change, EndpointSlice):
            change = replace(change, unready=b"", draining=None)
        self._latest[event.key] = event
        if isinstance(change, Tombstone) or (isinstance(change, Pod) and not self._mode.options.verified_pods):
            self._objects.pop(change.key, None)
        else:
            self._objects[change.key] = change
        return change


@cache
def every_name() -> frozenset[str]:
    """All names that ever occur, and all above them."""
    named: set[str] = set(STATIC)
    for event in (*listed(), *changes()):
        named |= names_in(event)
    return frozenset(named | ancestors(named))


@cache
def changes() -> tuple[Event, ...]:
    """The watch without its bookmarks."""
    return tuple(event for event in watched() if event.verb != "BOOKMARK")


def replies(served: Served, messages: Iterable[bytes]) -> Iterator[bytes]:
    for message in messages:
        reply = served.ask(message, tcp=True)
        assert reply is not None
        yield reply


def assert_same(replay: Replay, messages: tuple[bytes, ...], event: Event) -> None:
    """The octets are the same, or the records are."""
    pairs = zip(replies(replay.following, messages), replies(replay.rebuilt, messages), strict=True)
    for one, other in pairs:
        if one != other:
            assert contents(one) == contents(other), f"after {event}"


def contents(reply: bytes) -> object:
    """A reply but for the order of records."""
    answer = Answer(reply)
    return answer.question, answer.rcode, answer.flags, answer.counts, answer.sections()


def differ(before: Iterable[bytes], after: Iterable[bytes], serials: tuple[bytes, bytes]) -> bool:
    """Whether any answer differs in more than the serial and the order of records.

    Most differ in the serial alone: octets that are the same once it is replaced need not be decoded. One that does
    is enough, and the smallest are decoded first.
    """
    pairs = sorted(zip(before, after, strict=True), key=lambda pair: len(pair[0]) + len(pair[1]))
    return any(
        one.replace(*serials) != other and without_serial(one) != without_serial(other) for one, other in pairs
    )


def without_serial(reply: bytes) -> object:
    answer = Answer(reply)
    soa = {line for line in (*answer.answer, *answer.authority) if " SOA " in line}
    return answer.rcode, [records - soa for records in answer.sections()], len(soa)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_after_each_event_every_answer_equals_a_rebuild(mode: Mode) -> None:
    replay = Replay(mode)
    everything = questions(every_name())
    for count, event in enumerate(changes()):
        if count % EVERYTHING_EACH == 0:
            assert_same(replay, everything, event)
        touched = replay.questions_about(event)
        serial, before = replay.store.serial, list(replies(replay.following, touched))
        rebuilt = replay.rebuilt
        delta = replay.take(event)
        # Controllers say that an endpoint is not ready any more before they take it away.
        assert not replay.is_holding, f"an endpoint vanished while it was ready: {event}"
        if delta is not None or replay.rebuilt is not rebuilt:  # else both are as they were compared already
            assert_same(replay, touched, event)
        assert_serial_follows(delta, serial, replay.store.serial, event)
        if delta is not None:
            serials = pack(">L", serial), pack(">L", replay.store.serial)
            after = replies(replay.following, touched)
            assert differ(before, after, serials), f"a delta changed no answer after {event}"
    assert_same(replay, everything, changes()[-1])


def test_when_endpoints_vanish_answers_equal_a_rebuild_once_the_hold_is_over() -> None:
    replay = Replay(Mode(SchemaOptions(), PodNames.INSECURE), vanishing=True)
    touched: set[bytes] = set()
    held = compared = 0
    for event in changes():
        was_holding = replay.is_holding
        replay.wait(event.seconds)
        if touched and not replay.is_holding:
            assert_same_but_for_serial(replay, touched, event)
            touched.clear()
            compared += was_holding
        touched.update(replay.questions_about(event))
        replay.take(event)
        held += replay.is_holding
    replay.wait(changes()[-1].seconds + HOLD)
    assert not replay.is_holding
    assert_same_but_for_serial(replay, questions(every_name()), changes()[-1])
    assert held > 200
    assert compared > 5


def assert_same_but_for_serial(replay: Replay, messages: Iterable[bytes], event: Event) -> None:
    """What was held changes the serial once more when it goes."""
    for message in sorted(messages):
        one, other = next(replies(replay.following, [message])), next(replies(replay.rebuilt, [message]))
        assert one == other or without_serial(one) == without_serial(other), f"after {event}"


def assert_serial_follows(delta: ZoneDelta | None, before: int | None, after: int | None, event: Event) -> None:
    """It is the version of the last event that changed an answer, or one more than before; it never goes back."""
    assert before is not None
    assert after is not None
    if delta is None:
        assert after == before
        return
    assert delta.serial == after == next_serial(before, event.version)
    assert is_ahead(after, before)


def test_events_that_change_no_answer_give_no_delta() -> None:
    replay = Replay(MODES["verified"])
    silent = [event for event in changes() if replay.take(event) is None]
    labelled = {event.key for event in silent if b'"touched":"1"' in event.json}
    assert {("Service", "shop", "web"), ("EndpointSlice", "shop", "web-qhdrm")} <= labelled
    assert len(silent) > len(changes()) / 2  # Pods report their status all the time


def test_bookmarks_name_no_object() -> None:
    marks = [event for event in watched() if event.verb == "BOOKMARK"]
    assert marks
    assert {event.key[1:] for event in marks} == {("", "")}
