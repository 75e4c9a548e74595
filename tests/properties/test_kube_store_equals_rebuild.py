"""Whatever happens in a cluster, who applied the deltas knows what a store says that was built from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kdns.kube.objects import Change, Key, Tombstone
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from kdns.zone.delta import is_ahead
from tests.unit.kube.builders import Published, draining, endpoint, namespace, piece, pod, service

NAMESPACES = st.sampled_from(["shop", "data"])
SERVICES = st.sampled_from(["web", "api"])
LABELS = st.sampled_from([{}, {"dns": "yes"}])
V4 = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.9"])
V6 = st.sampled_from(["fd00::1", "fd00::2"])
PORTS = st.sampled_from([None, [{"name": "http", "port": 80}], [{"name": "http", "port": 80}, {"port": 81}]])
SPECS = st.sampled_from(
    [
        {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]},
        {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}], "sessionAffinity": "ClientIP"},
        {"clusterIPs": ["fd00:96::1", "10.96.0.2"]},
        {"clusterIP": "None"},
        {"type": "ExternalName", "externalName": "db.example.org"},
        {"type": "ExternalName", "externalName": "192.0.2.1"},
        {},
    ]
)


def endpoints(addresses: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, object]]]:
    return st.lists(
        st.builds(
            lambda address, made, hostname, target: made(address, pod=target, hostname=hostname),
            addresses,
            st.sampled_from([endpoint, partial(endpoint, ready=True), partial(endpoint, ready=False), draining]),
            st.sampled_from([None, "a", "b"]),
            st.sampled_from([None, "web-0"]),
        ),
        max_size=3,
    )


def slices(family: str, addresses: st.SearchStrategy[str]) -> st.SearchStrategy[Change]:
    return st.builds(
        lambda name, hosts, of, ns, ports, labels: piece(
            f"{family.lower()}-{name}", *hosts, of=of, ns=ns, ports=ports, family=family, labels=labels
        ),
        st.sampled_from("123"),
        endpoints(addresses),
        SERVICES,
        NAMESPACES,
        PORTS,
        LABELS,
    )


OBJECTS: st.SearchStrategy[Change] = st.one_of(
    st.builds(lambda name, labels: namespace(name, **labels), NAMESPACES, LABELS),
    st.builds(lambda name, ns, labels, spec: service(name, ns, labels, **spec), SERVICES, NAMESPACES, LABELS, SPECS),
    slices("IPv4", V4),
    slices("IPv6", V6),
    st.builds(
        lambda name, ns, labels, addresses, phase: pod(name, *addresses, ns=ns, labels=labels, phase=phase),
        st.sampled_from(["p", "q"]),
        NAMESPACES,
        LABELS,
        st.lists(V4 | V6, max_size=2),
        st.sampled_from(["Running", "Pending", "Failed"]),
    ),
)
CHANGES = st.one_of(OBJECTS, OBJECTS.map(lambda one: Tombstone(one.key)))


def has_label(labels: Mapping[str, str]) -> bool:
    return labels.get("dns") == "yes"


OPTIONS = st.builds(
    SchemaOptions,
    namespaces=st.sampled_from([None, frozenset({"shop"})]),
    namespace_matches=st.sampled_from([None, has_label]),
    labels_match=st.sampled_from([None, has_label]),
    noendpoints=st.booleans(),
    ignore_empty_service=st.booleans(),
    endpoint_pod_names=st.booleans(),
    verified_pods=st.booleans(),
    namespaces_exist=st.booleans(),
    terminating_serving=st.booleans(),
)


def built(options: SchemaOptions, objects: list[Change]) -> Published:
    store = ClusterStore(0, options)
    store.load(objects, 1)
    return Published.image_of(store)


class Cluster(RuleBasedStateMachine):
    """Changes one by one and in batches; `published` is what a worker knows."""

    def __init__(self) -> None:
        super().__init__()
        self.options: SchemaOptions | None = None
        self.objects: dict[Key, Change] = {}
        self.published = Published()

    @rule(options=OPTIONS, objects=st.lists(OBJECTS, max_size=6))
    def start_anew(self, options: SchemaOptions, objects: list[Change]) -> None:
        self.options = options
        self.store = ClusterStore(0, options)
        self.objects = {one.key: one for one in objects}
        self.store.load(objects, 1)
        self.published = Published.image_of(self.store)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=5), wanted=st.integers(0, 1 << 33))
    def change(self, changes: list[Change], wanted: int) -> None:
        if self.options is None:
            return
        before, serial = built(self.options, list(self.objects.values())), self.store.serial
        for one in changes:
            self.objects.pop(one.key, None)
            if not isinstance(one, Tombstone):
                self.objects[one.key] = one
        delta = self.store.apply(changes, wanted)
        self.published.take(delta)
        # A delta goes out exactly if an answer changed, and then with a later serial.
        assert (delta is None) == (built(self.options, list(self.objects.values())) == before)
        assert serial is not None
        assert self.store.serial is not None
        assert self.store.serial == serial if delta is None else is_ahead(self.store.serial, serial)

    @invariant()
    def published_is_what_a_rebuild_says(self) -> None:
        if self.options is not None:
            assert self.published == built(self.options, list(self.objects.values()))
            assert self.published == Published.image_of(self.store)


TestStoreEqualsRebuild = Cluster.TestCase
TestStoreEqualsRebuild.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)


@given(OPTIONS, st.lists(OBJECTS, max_size=12, unique_by=lambda one: one.key), st.randoms(use_true_random=False))
def test_the_order_in_which_objects_come_makes_no_difference(
    options: SchemaOptions, objects: list[Change], random: Random
) -> None:
    shuffled = list(objects)
    random.shuffle(shuffled)
    one_by_one = ClusterStore(0, options)
    published = Published.image_of(one_by_one)
    for serial, one in enumerate(shuffled):
        published.take(one_by_one.apply([one], serial))
    assert published == built(options, objects) == built(options, shuffled)


@given(OPTIONS, st.lists(OBJECTS, max_size=12))
def test_hosts_of_a_set_are_distinct_and_sorted_and_labelled_each_or_not_at_all(
    options: SchemaOptions, objects: list[Change]
) -> None:
    for one in built(options, objects).subtrees.values():
        for hosts in one.hosts:
            octets = hosts.octets
            addresses = [hosts.addresses[at : at + octets] for at in range(0, len(hosts.addresses), octets)]
            assert addresses == sorted(set(addresses))
            assert addresses
            assert not hosts.labels or _count_labels(hosts.labels) == len(addresses)
            assert hosts.labels.strip(b"\0") or not hosts.labels
        assert len(set(one.hosts)) == len(one.hosts)


def _count_labels(packed: bytes) -> int:
    count = at = 0
    while at < len(packed):
        at += packed[at] + 1
        count += 1
    assert at == len(packed)
    return count
