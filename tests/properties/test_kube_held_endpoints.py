"""Endpoints that vanish are held as a plain model says, and once the hold is over the objects alone decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from kdns.kube.columns import Host, pack_hosts, split_addresses, unpack_hosts
from kdns.kube.objects import Change, EndpointSlice, Key, Object, Tombstone, labels_mapping
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from tests.properties.test_kube_store_equals_rebuild import CHANGES, OBJECTS, OPTIONS, built
from tests.unit.kube.builders import Published, endpoint, packed, piece, service, wire

HOLD = 0.5
PAUSES = st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.375, 0.5, 1.0])  # sums of them are exact


class Model:
    """Which objects there are, and each held address with the slice that it was in last."""

    def __init__(self, options: SchemaOptions, objects: list[Object]) -> None:
        self._options = options
        self.objects: dict[Key, Object] = {}
        self.held: dict[tuple[Key, bytes], tuple[float, EndpointSlice]] = {}
        for one in objects:
            self.take(one, 0.0)
        self.held.clear()

    def take(self, change: Change, now: float) -> None:
        """One change; all that was held long enough by then is gone."""
        old = self.objects.pop(change.key, None)
        new = None if isinstance(change, Tombstone) or not self._is_seen(change) else change
        if new is not None:
            self.objects[new.key] = new
        if new is None and change.key[0] == "Service":
            self._let_go(lambda service, _: service == change.key)
        if isinstance(new, EndpointSlice):
            here = self._standing(new.service)
            self._let_go(lambda service, address: service == new.service and address in here)
        if isinstance(old, EndpointSlice) and old.service in self.objects:
            here = self._standing(old.service)
            for address in split_addresses(old.addresses, old.octets):
                if address not in here:
                    self.held[old.service, address] = (now + HOLD, old)

    def expire(self, now: float) -> None:
        self.held = {key: entry for key, entry in self.held.items() if entry[0] > now}

    def published(self) -> Published:
        return built(self._options, [*self.objects.values(), *self._held_slices()])

    def without_held(self) -> Published:
        return built(self._options, list(self.objects.values()))

    def only_unready(self) -> Iterator[tuple[Key, bytes]]:
        """The addresses that stand in slices of a Service and are ready in none."""
        slices = [one for one in self.objects.values() if isinstance(one, EndpointSlice)]
        ready = {(one.service, address) for one in slices for address in split_addresses(one.addresses, one.octets)}
        unready = {(one.service, address) for one in slices for address in split_addresses(one.unready, one.octets)}
        yield from unready - ready

    def _is_seen(self, one: Object) -> bool:
        matches = self._options.labels_match
        return matches is None or one.key[0] == "Namespace" or matches(labels_mapping(one.labels))

    def _let_go(self, goes: Callable[[Key, bytes], bool]) -> None:
        self.held = {key: entry for key, entry in self.held.items() if not goes(*key)}

    def _standing(self, service: Key) -> set[bytes]:
        slices = [one for one in self.objects.values() if isinstance(one, EndpointSlice) and one.service == service]
        return {address for one in slices for address in split_addresses(one.addresses + one.unready, one.octets)}

    def _held_slices(self) -> Iterator[EndpointSlice]:
        for number, ((_, address), (_, last)) in enumerate(self.held.items()):
            copies: list[Host] = [host for host in unpack_hosts(last) if host[0] == address]
            columns = pack_hosts(copies)
            yield replace(
                last,
                key=("EndpointSlice", last.key[1], f"held-{number}"),
                addresses=columns.addresses,
                hostnames=columns.hostnames,
                pod_names=columns.pod_names,
                unready=b"",
                draining=None,
            )


class Holding(RuleBasedStateMachine):
    """Changes in batches while time goes on; `published` is what a worker knows."""

    def __init__(self) -> None:
        super().__init__()
        self.start_anew(SchemaOptions(), [])

    @rule(options=OPTIONS, objects=st.lists(OBJECTS, max_size=6))
    def start_anew(self, options: SchemaOptions, objects: list[Object]) -> None:
        self.now = 0.0
        self.options = options
        self.model = Model(options, objects)
        self.store = ClusterStore(0, options, hold=HOLD)
        self.store.load(objects, 1)
        self.published = Published.image_of(self.store)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=5), pause=PAUSES)
    def change(self, changes: list[Change], pause: float) -> None:
        self.now += pause
        self.model.expire(self.now)
        for one in changes:
            self.model.take(one, self.now)
        before = Published.image_of(self.store)
        delta = self.store.apply(changes, 1, self.now)
        self.published.take(delta)
        assert (delta is None) == (self.published == before)

    @rule(pause=PAUSES)
    def wait(self, pause: float) -> None:
        self.now += pause
        self.model.expire(self.now)
        self.published.take(self.store.expire(self.now, 1))

    @rule(objects=st.lists(CHANGES, max_size=3))
    def load_more(self, objects: list[Change]) -> None:
        held = dict(self.model.held)
        for one in objects:
            self.model.take(one, self.now)
        self.model.held = {key: entry for key, entry in self.model.held.items() if held.get(key) == entry}
        self.store.load(objects, 1)
        self.published = Published.image_of(self.store)

    @rule()
    def settle(self) -> None:
        """Once the hold is over, the objects alone decide."""
        self.now += HOLD
        self.model.expire(self.now)
        self.published.take(self.store.expire(self.now, 1))
        assert self.published == self.model.without_held()
        assert self.store.next_expiry == inf

    @invariant()
    def published_is_what_the_model_says(self) -> None:
        assert self.published == self.model.published()
        assert self.published == Published.image_of(self.store)
        assert self.store.next_expiry == min((until for until, _ in self.model.held.values()), default=inf)

    @invariant()
    def what_became_unready_is_not_answered(self) -> None:
        if self.options.terminating_serving:
            return
        for service_key, address in self.model.only_unready():
            owner = wire(service_key[2], service_key[1], "svc")
            hosts = self.published.subtrees[owner].hosts if owner in self.published.subtrees else ()
            assert all(address not in split_addresses(one.addresses, one.octets) for one in hosts)


TestHolding = Holding.TestCase
TestHolding.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)


# Moves

WEB = wire("web", "shop", "svc")
ADDRESSES = [f"10.0.0.{number}" for number in range(1, 7)]
PLACES = st.fixed_dictionaries({address: st.sampled_from("abc") for address in ADDRESSES})


def slices(places: dict[str, str]) -> list[EndpointSlice]:
    """The slices a, b and c, if each address stands where these say."""
    return [piece(name, *(one for one, where in places.items() if where == name)) for name in "abc"]


@given(st.lists(PLACES, min_size=2, max_size=4), st.data())
def test_an_address_that_moves_between_slices_never_leaves_the_answer_whatever_the_order_of_events(
    states: list[dict[str, str]], data: st.DataObject
) -> None:
    """Each state is reached within the hold, by events in any order and in any batches."""
    store = ClusterStore(0, SchemaOptions(), hold=HOLD)
    store.load([service("web", clusterIP="None"), *slices(states[0])], 1)
    published = Published.image_of(store)
    now = 0.0
    for places in states[1:]:
        events = data.draw(st.permutations(slices(places)))
        cut = data.draw(st.integers(1, 2))
        for batch in (events[:cut], events[cut:]):
            published.take(store.apply(batch, 1, now))
            assert published.subtrees[WEB].hosts[0].addresses == packed(*ADDRESSES)
            assert len(published.subtrees[WEB].hosts) == 1
            now += data.draw(st.sampled_from([0.0, 0.125]))
            published.take(store.expire(now, 1))
            assert published.subtrees[WEB].hosts[0].addresses == packed(*ADDRESSES)
    assert store.next_expiry == inf


@given(OPTIONS, st.lists(OBJECTS, max_size=6), st.lists(CHANGES, max_size=6))
def test_changes_that_come_together_leave_the_same_as_one_after_the_other(
    options: SchemaOptions, objects: list[Object], changes: list[Change]
) -> None:
    together, singly = (ClusterStore(0, options, hold=HOLD) for _ in range(2))
    for store in (together, singly):
        store.load(objects, 1)
    together.apply(changes, 2, 1.0)
    for one in changes:
        singly.apply([one], 2, 1.0)
    assert Published.image_of(together) == Published.image_of(singly)
    assert together.next_expiry == singly.next_expiry


@given(st.sampled_from(ADDRESSES), st.lists(PLACES, min_size=1, max_size=3))
def test_an_address_that_became_unready_leaves_at_once_wherever_it_stood(
    failing: str, states: list[dict[str, str]]
) -> None:
    store = ClusterStore(0, SchemaOptions(), hold=HOLD)
    store.load([service("web", clusterIP="None"), *slices(states[0])], 1)
    for places in states:
        store.apply(slices(places), 1, 0.0)
    mixed = [
        piece(name, *(endpoint(one, ready=one != failing) for one, where in places.items() if where == name))
        for name in "abc"
    ]
    store.apply(mixed, 1, 0.0)
    (hosts,) = Published.image_of(store).subtrees[WEB].hosts
    assert hosts.addresses == packed(*(one for one in ADDRESSES if one != failing))
