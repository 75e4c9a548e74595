"""All of kdns between an API server and an answer, over simulated time and without sockets.

    FakeCluster -> Simulation -> Mirror -> Reading -> parcels -> Engine -> octets of replies

A `Control` is what a control process does with a cluster, a `Worker` what a worker does with what it is sent. The
`Chain` has one of each, and a second pair while it reloads; it is what the simulation talks to. `after_turn` is
called after each turn of control, `between_steps` in the middle of a worker's change.
Not here: what answers should be (history, expectation), what happens (the tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from random import Random

from kdns.answer.spec import ClusterSpec, SiteSpec, Specification
from kdns.kube.mirror import Mirror, Restored, resources_for
from kdns.kube.request import Failure, Headers, Notice, Request, Resource
from kdns.kube.schema import SchemaOptions
from kdns.kube.snapshot import Snapshot, decode, encode
from kdns.server.birth import Birth, Former, Situation, Verdict, judge
from kdns.server.feed import Change, Scope
from kdns.server.loading import load
from kdns.server.outage import Outage
from kdns.server.parcel import Parcel, unpack, unpack_file
from kdns.server.reading import Reading
from kdns.wire.name import from_text
from kdns.zone.cluster import PodNames
from kdns.zone.delta import ZoneDelta
from tests.statemachine.expectation import APEXES
from tests.support.engines import Served
from tests.support.fakeapi.cluster import EPOCH, FakeCluster
from tests.support.fakeapi.simulation import Simulation

STARTUP_TIMEOUT = 5.0
SERVER = "https://api.example"

_ZONES = tuple(map(from_text, APEXES))
_NUMBERS = 1 << 20  # of the requests of one control
_OWNERS = 100  # of one control


def options_of(verified_pods: bool, terminating_serving: bool) -> SchemaOptions:
    return SchemaOptions(verified_pods=verified_pods, terminating_serving=terminating_serving)


def sent(parts: Iterable[ZoneDelta]) -> Iterator[ZoneDelta]:
    """Deltas as they arrive at a worker."""
    parcel = Parcel(parts)
    return unpack(parcel.data) if parcel.data is not None else unpack_file(parcel.fd)


class Worker:
    """What answers. `between_steps` is called in the middle of a change.

    lacks: what the answers may be lacking: in the middle of a change it may be what is or what will be.
    """

    def __init__(self, options: SchemaOptions, between_steps: Callable[[], None] = lambda: None) -> None:
        pods = PodNames.VERIFIED if options.verified_pods else PodNames.INSECURE
        spec = ClusterSpec(_ZONES, 5, pods, (), (b"\xc0\x00\x02\x35",))
        self.served = Served(Specification((spec,), (SiteSpec(_ZONES, (0,)),), ((0,),)), ready=False)
        self.has_data = False
        self.lacks: set[int] = set()
        self._between_steps = between_steps
        self._generation = 0

    def take(self, scope: Scope, parts: Iterable[ZoneDelta], lacks: int) -> None:
        """An image as a whole; of a delta each part is a change of its own."""
        self.lacks.add(lacks)
        for parcel in [parts] if scope is Scope.IMAGE else [[part] for part in parts]:
            self._generation += 1
            change = Change(1, self._generation, scope, -1 if scope is Scope.IMAGE else 0, None)
            for _ in load(self.served.engine, change, sent(parcel)):
                if self.has_data:
                    self._between_steps()
        self.has_data, self.lacks = True, {lacks}


class Control:
    """What a control process does with one API server.

    former: what others answer with at this moment. published: what its own workers do. slot: two controls that live
    at the same time have different ones. restored: the snapshot that it began with.
    """

    def __init__(
        self, birth: Birth, mirror: Mirror, worker: Worker, now: float, number: int, slot: int,
        former: Callable[[], Former | None], restored: Snapshot | None,
    ) -> None:  # fmt: skip
        self.mirror, self.worker = mirror, worker
        self.number, self.slot = number, slot
        self.restored = restored
        self.former = former
        self.published: Former | None = None
        self.is_given_up = False
        self.notices: list[Notice] = []
        self.turns = self.deltas = self.images = 0
        self.heard_at = now
        self.is_told: dict[int, bool] = {}  # by owner: whether its answer is no refusal
        self._birth = birth
        self._now = self._began_at = now
        self._outage = Outage(SERVER)

    @property
    def is_published(self) -> bool:
        return self.published is not None

    @property
    def wake_at(self) -> float:
        """When a turn is due. While nothing is published, also when patience is over."""
        patience = (self._began_at + STARTUP_TIMEOUT, self.heard_at + STARTUP_TIMEOUT)
        ends = [end for end in patience if not self.is_published and end > self._now]
        return min([self.mirror.wake_at, self._outage.wake_at, *ends])

    def turn(self, now: float, unix_now: float) -> None:
        self._now = now
        self.turns += 1
        mirror = self.mirror
        turn = mirror.turn(now, int(unix_now))
        self.notices += turn.notices
        self.notices += self._outage.notices(mirror.stale_since, bool(mirror.lacks), now)
        reading = Reading()
        is_first = not self.is_published
        if is_first and not self._may_publish():
            return
        if is_first or turn.is_image:
            reading.scope = Scope.IMAGE
        elif turn.delta is not None:
            reading.change(turn.delta)
        if reading.scope is not None:
            self._publish(reading.scope, reading)

    def _publish(self, scope: Scope, reading: Reading) -> None:
        mirror, is_image = self.mirror, scope is Scope.IMAGE
        self.images += is_image
        self.deltas += not is_image
        self.published = Former(mirror.lacks, mirror.store.serial or 0)
        self.worker.take(scope, mirror.store.image() if is_image else reading.parts, mirror.lacks)

    def _may_publish(self) -> bool:
        """As kdns.server.control decides it."""
        mirror, restored = self.mirror, self.restored
        verdict = judge(self._birth, Situation(
            lacks=mirror.lacks,
            unconfirmed=mirror.unconfirmed,
            serial=restored.serial if restored is not None else None,
            is_settled=mirror.is_settled,
            is_late=self._now >= self._began_at + STARTUP_TIMEOUT,
            is_silent=self._now >= self.heard_at + STARTUP_TIMEOUT,
            former=self.former(),
            reading=int(self.worker.has_data),
        ))  # fmt: skip
        self.is_given_up = verdict is Verdict.GIVE_UP
        return verdict is Verdict.ENOUGH


class Chain:
    """See the module's docstring. To the simulation it stands for its controls: `control`, and `coming` if any."""

    def __init__(
        self, cluster: FakeCluster, options: SchemaOptions, rng: Random, now: float = 0.0
    ) -> None:
        self.options = options
        self.resources: tuple[Resource, ...] = resources_for(options, "")
        self.rng = rng
        self.after_turn: Callable[[], None] = lambda: None
        self.between_steps: Callable[[], None] = lambda: None
        self.snapshot = b""
        self.notices: list[Notice] = []
        self.requests_made = 0
        self._controls = 0
        self._told: dict[int, Request] = {}  # by owner: the last one, under the number that it has outside
        self.coming: Control | None = None
        self.simulation = Simulation(cluster, self, rng, start=now)
        self.control = self._new_control(Birth.START, self._new_worker(), None, lambda: None)

    # What happens to kdns

    def start(self, with_snapshot: bool) -> None:
        """The whole of kdns ends and starts anew: nobody answers meanwhile."""
        self.coming = None
        self.control = self._new_control(Birth.START, self._new_worker(), None, lambda: None, with_snapshot)

    def restart_control(self, with_snapshot: bool) -> None:
        """Control dies; its worker goes on."""
        dead, self.coming = self.control, None
        published = dead.published or dead.former()
        self.control = self._new_control(Birth.RESTART, dead.worker, dead, lambda: published, with_snapshot)

    def reload(self, with_snapshot: bool) -> None:
        """Another control and another worker are made ready beside those that answer."""
        answering = self.control
        self.coming = self._new_control(
            Birth.RELOAD, self._new_worker(), answering, lambda: answering.published, with_snapshot
        )

    def save(self) -> None:
        """Write a snapshot, as kdns.server.api and its keeper do."""
        mirror, now = self.control.mirror, self.simulation.now
        if mirror.restored or mirror.lacks or not self.control.is_published:
            return
        since = mirror.stale_since
        taken_at = EPOCH + (now if since is None else since)
        made = Snapshot(SERVER, mirror.cluster, taken_at, mirror.sections(), mirror.store.serial)
        self.snapshot = b"".join(map(bytes, encode([made])))

    @property
    def snapshot_versions(self) -> list[str]:
        """The resource versions in the snapshot."""
        snapshots = decode(self.snapshot) if self.snapshot else ()
        return [section.resource_version for one in snapshots for section in one.sections]

    def _new_worker(self) -> Worker:
        return Worker(self.options, lambda: self.between_steps())

    def _new_control(
        self, birth: Birth, worker: Worker, before: Control | None, former: Callable[[], Former | None],
        with_snapshot: bool = False,
    ) -> Control:  # fmt: skip
        """before: who has answered until now."""
        now = self.simulation.now
        restored = None
        if with_snapshot and self.snapshot:
            [one] = decode(self.snapshot)
            answered = former()
            is_newest = answered is None or answered.serial == one.serial
            restored = Restored(one, now - (EPOCH + now - one.taken_at), is_newest)
        former_serial = before.mirror.store.serial if before is not None else None
        mirror = Mirror(0, self.options, self.resources, self.rng, now, former_serial, restored, wants_identity=True)
        self._controls += 1
        slot = 1 - before.slot if before is not None and birth is Birth.RELOAD else before.slot if before else 0
        snapshot = restored.snapshot if restored is not None else None
        return Control(birth, mirror, worker, now, self._controls, slot, former, snapshot)

    # What the simulation sees

    @property
    def controls(self) -> list[Control]:
        return [self.control, self.coming] if self.coming is not None else [self.control]

    def requests(self) -> Iterator[tuple[int, Request]]:
        for control in self.controls:
            for own, request in control.mirror.requests():
                owner, number = control.slot * _OWNERS + own, control.number * _NUMBERS + request.number
                told = self._told.get(owner)
                if told is None or told.number != number:
                    told = self._told[owner] = replace(request, number=number)
                    self.requests_made += 1
                yield owner, told

    def _whose(self, owner: int, number: int) -> tuple[Control | None, int, int]:
        ordinal, own = divmod(number, _NUMBERS)
        control = next((one for one in self.controls if one.number == ordinal), None)
        return control, owner - (control.slot * _OWNERS if control is not None else 0), own

    def opened(self, owner: int, number: int, status: int, headers: Headers, now: float) -> None:
        control, own, own_number = self._whose(owner, number)
        if control is not None:
            control.is_told[own] = 200 <= status < 300
            control.mirror.opened(own, own_number, status, headers, now)

    def received(self, owner: int, number: int, block: bytes, now: float) -> None:
        control, own, own_number = self._whose(owner, number)
        if control is not None:
            control.heard_at = now if control.is_told[own] else control.heard_at
            control.mirror.received(own, own_number, block, now)

    def ended(self, owner: int, number: int, now: float) -> None:
        control, own, own_number = self._whose(owner, number)
        if control is not None:
            control.mirror.ended(own, own_number, now)

    def failed(self, owner: int, number: int, failure: Failure, now: float) -> None:
        control, own, own_number = self._whose(owner, number)
        if control is not None:
            control.mirror.failed(own, own_number, failure, now)

    @property
    def wake_at(self) -> float:
        return min((one.wake_at for one in self.controls), default=math.inf)

    def turn(self, now: float) -> None:
        for control in self.controls:
            control.turn(now, EPOCH + now)
            self.notices += control.notices
            control.notices.clear()
        if self.coming is not None and self.coming.is_published:
            self.control, self.coming = self.coming, None
        elif self.coming is not None and self.coming.is_given_up:
            self.coming = None
        self.after_turn()
