"""What is published when objects change: every real change, once, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import pytest

from kdns.kube.objects import NAMESPACE_NAME_LABEL, Change, Object, Tombstone
from kdns.kube.request import Resource
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import (
    PART_NAMES_MAX,
    PART_OCTETS,
    PART_SUBTREES_MAX,
    RECENT_SUBTREES_MAX,
    ClusterStore,
)
from kdns.zone.delta import LACKS_ENDPOINTS, LACKS_PODS, SERIAL_MASK, ZoneDelta
from tests.unit.kube.builders import Published, endpoint, namespace, packed, piece, pod, service, wire

WEB = wire("web", "shop", "svc")
KINDS = ("Namespace", "Service", "EndpointSlice", "Pod")


def store(*objects: Change, **options: object) -> ClusterStore:
    made = ClusterStore(3, SchemaOptions(**options))
    made.load(objects, 100)
    return made


def gone(one: Object) -> Tombstone:
    return Tombstone(one.key)


def web(address: str = "10.96.0.1", **spec: object) -> Object:
    return service("web", clusterIP=address, **spec)


def labelled(name: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: name in labels


# One change, one delta


def test_a_new_service_is_one_delta_with_its_namespace() -> None:
    delta = store().apply([web()], 101)
    assert delta is not None
    assert (delta.source, delta.serial, delta.reset) == (3, 101, False)
    assert [one.owner for one in delta.subtrees] == [WEB]
    assert delta.namespaces == (b"\x04shop",)
    assert delta.removed == delta.namespaces_removed == delta.pods == ()


def test_a_changed_service_is_sent_whole() -> None:
    kept = store(web(), piece("a", "10.0.0.1"))
    delta = kept.apply([piece("a", "10.0.0.1", "10.0.0.2")], 101)
    assert delta is not None
    (found,) = delta.subtrees
    assert found.addresses == (packed("10.96.0.1"),)
    assert found.hosts[0].addresses == packed("10.0.0.1", "10.0.0.2")
    assert (delta.namespaces, delta.removed) == ((), ())


def test_a_service_that_is_gone_is_removed_with_its_namespace_if_nothing_else_knows_it() -> None:
    delta = store(web()).apply([gone(web())], 101)
    assert delta == ZoneDelta(3, 101, removed=(WEB,), namespaces_removed=(b"\x04shop",))
    delta = store(web(), namespace("shop")).apply([gone(web())], 101)
    assert delta == ZoneDelta(3, 101, removed=(WEB,))


def test_changes_that_come_together_are_one_delta() -> None:
    kept = store(web(), piece("a", "10.0.0.1"))
    delta = kept.apply([piece("a"), piece("b", "10.0.0.1", "10.0.0.2"), service("api", clusterIP="None")], 101)
    assert delta is not None
    assert [one.owner for one in delta.subtrees] == [WEB, wire("api", "shop", "svc")]
    assert delta.subtrees[0].hosts[0].addresses == packed("10.0.0.1", "10.0.0.2")


def test_the_last_of_several_changes_of_an_object_counts() -> None:
    kept = store(web())
    assert kept.apply([web("10.96.0.2"), web("10.96.0.1")], 101) is None
    assert kept.apply([gone(web()), web()], 101) is None
    delta = kept.apply([web(), gone(web())], 101)
    assert delta is not None
    assert delta.removed == (WEB,)


# An update that changes no answer is not a change


@pytest.mark.parametrize(
    "change",
    [
        web(),
        web(selector={"app": "other"}),
        web(publishNotReadyAddresses=True),
        service("web", labels={"team": "x"}, clusterIP="10.96.0.1"),
        piece("a", "10.0.0.1"),
        piece("a", "10.0.0.1", endpoint("10.0.0.2", ready=False)),
        piece("a", endpoint("10.0.0.1", pod="web-0")),
        piece("b", "10.0.0.1"),
        piece("c", "10.0.0.9", of="orphan"),
        piece("c", "10.0.0.9", of="web", ns="data"),
        namespace("shop"),
        namespace("shop", team="x"),
        pod("p", "10.0.0.1"),
        Tombstone(("Service", "shop", "unknown")),
        Tombstone(("EndpointSlice", "shop", "unknown")),
        Tombstone(("Pod", "shop", "unknown")),
        Tombstone(("Namespace", "", "unknown")),
    ],
)
def test_an_update_that_changes_no_answer_gives_no_delta_and_no_serial(change: Change) -> None:
    kept = store(web(), piece("a", "10.0.0.1"))
    assert kept.apply([change], 101) is None
    assert kept.serial == 100


def test_no_changes_give_no_delta() -> None:
    assert store(web()).apply([], 101) is None


# Objects come and go in any order


def test_a_slice_may_come_before_its_service_and_stay_after_it() -> None:
    kept = store()
    assert kept.apply([piece("a", "10.0.0.1")], 101) is None
    delta = kept.apply([service("web", clusterIP="None")], 102)
    assert delta is not None
    assert delta.subtrees[0].hosts[0].addresses == packed("10.0.0.1")
    delta = kept.apply([gone(web())], 103)
    assert delta is not None
    assert delta.removed == (WEB,)
    assert kept.apply([gone(piece("a"))], 104) is None


def test_a_slice_whose_label_moves_touches_both_services() -> None:
    kept = store(web(), service("api", clusterIP="10.96.0.2"), piece("a", "10.0.0.1"))
    delta = kept.apply([piece("a", "10.0.0.1", of="api")], 101)
    assert delta is not None
    hosts = {one.owner: one.hosts for one in delta.subtrees}
    assert hosts[WEB] == ()
    assert hosts[wire("api", "shop", "svc")][0].addresses == packed("10.0.0.1")


def test_an_address_that_moves_between_slices_is_never_away() -> None:
    kept = store(web(), piece("a", "10.0.0.1"), piece("b"))
    assert kept.apply([piece("a"), piece("b", "10.0.0.1")], 101) is None
    assert kept.apply([piece("a", "10.0.0.1")], 102) is None
    assert kept.apply([piece("b")], 103) is None


def test_the_other_slices_stay_when_one_goes() -> None:
    kept = store(web(), piece("a", "10.0.0.1"), piece("b", "10.0.0.2"), piece("c", "10.0.0.3"))
    delta = kept.apply([gone(piece("b"))], 101)
    assert delta is not None
    assert delta.subtrees[0].hosts[0].addresses == packed("10.0.0.1", "10.0.0.3")


def test_a_service_that_becomes_an_alias_and_back_is_changed_not_removed() -> None:
    kept = store(web(), piece("a", "10.0.0.1"))
    delta = kept.apply([service("web", type="ExternalName", externalName="a.test")], 101)
    assert delta is not None
    assert (delta.subtrees[0].target, delta.subtrees[0].hosts, delta.removed) == (wire("a", "test") + b"\0", (), ())
    delta = kept.apply([web()], 102)
    assert delta is not None
    assert delta.subtrees[0].hosts[0].addresses == packed("10.0.0.1")


def test_a_service_that_is_nothing_without_endpoints_is_removed_not_sent_empty() -> None:
    kept = store(web(), noendpoints=True)
    delta = kept.apply([service("web", clusterIP="None")], 101)
    assert delta is not None
    assert (delta.subtrees, delta.removed) == ((), (WEB,))


# Namespaces


def test_a_namespace_exists_while_an_object_or_a_service_says_so() -> None:
    kept = store()
    first = kept.apply([namespace("shop")], 101)
    assert first == ZoneDelta(3, 101, namespaces=(b"\x04shop",))
    kept.apply([web()], 102)
    assert kept.apply([gone(namespace("shop"))], 103) is None
    last = kept.apply([gone(web())], 104)
    assert last is not None
    assert last.namespaces_removed == (b"\x04shop",)


def test_a_namespace_exists_while_a_service_in_it_is_known_though_no_namespace_is() -> None:
    kept = store(web(), service("api", clusterIP="10.96.0.2"))
    assert Published.image_of(kept).namespaces == {b"\x04shop"}
    for one, removed in ((web(), ()), (service("api"), (b"\x04shop",))):
        delta = kept.apply([gone(one)], 101)
        assert delta is not None
        assert delta.namespaces_removed == removed


def test_listed_namespaces_exist_where_namespaces_are_not_watched() -> None:
    kept = store(namespaces=frozenset({"shop", "data"}), namespaces_exist=True)
    assert Published.image_of(kept).namespaces == {b"\x04shop", b"\x04data"}
    delta = kept.apply([web()], 101)
    assert delta is not None
    assert delta.namespaces == ()
    delta = kept.apply([gone(web()), gone(namespace("shop"))], 102)
    assert delta == ZoneDelta(3, 102, removed=(WEB,))
    assert kept.apply([namespace("data"), namespace("other")], 103) is None


def test_listed_namespaces_that_no_cluster_can_have_do_not_exist() -> None:
    kept = store(namespaces=frozenset({"shop", "Shop", "sh_op", "a.b"}), namespaces_exist=True)
    assert Published.image_of(kept).namespaces == {b"\x04shop"}


def test_namespaces_exist_says_nothing_where_none_are_listed() -> None:
    assert Published.image_of(store(namespaces_exist=True)) == Published()


def test_only_named_namespaces_are_shown() -> None:
    kept = store(namespaces=frozenset({"data"}), verified_pods=True)
    assert kept.apply([namespace("shop"), web(), piece("a", "10.0.0.1"), pod("p", "10.0.0.1")], 101) is None
    delta = kept.apply(
        [namespace("data"), service("db", "data", clusterIP="10.96.0.9"), pod("q", "10.0.0.2", ns="data")], 102
    )
    assert delta is not None
    assert [one.owner for one in delta.subtrees] == [wire("db", "data", "svc")]
    assert delta.namespaces == (b"\x04data",)
    assert delta.pods == ((b"\x04data", packed("10.0.0.2")),)


def test_a_namespace_that_gets_the_label_is_shown_with_all_in_it() -> None:
    kept = store(
        namespace("shop"), web(), pod("p", "10.0.0.1"), namespace_matches=labelled("open"), verified_pods=True
    )
    assert Published.image_of(kept) == Published()
    shown = kept.apply([namespace("shop", open="yes")], 101)
    assert shown is not None
    assert (len(shown.subtrees), shown.namespaces, len(shown.pods)) == (1, (b"\x04shop",), 1)
    hidden = kept.apply([namespace("shop")], 102)
    assert hidden == ZoneDelta(
        3, 102, removed=(WEB,), namespaces_removed=(b"\x04shop",), pods_removed=((b"\x04shop", packed("10.0.0.1")),)
    )


def test_a_service_comes_before_its_labelled_namespace() -> None:
    kept = store(namespace_matches=labelled("open"))
    assert kept.apply([web()], 101) is None
    delta = kept.apply([namespace("shop", open="")], 102)
    assert delta is not None
    assert [one.owner for one in delta.subtrees] == [WEB]


def test_every_namespace_has_the_label_of_its_name() -> None:
    kept = store(web(), namespace_matches=lambda labels: labels[NAMESPACE_NAME_LABEL] == "shop")
    assert set(Published.image_of(kept).subtrees) == {WEB}


# Labels


def test_objects_without_the_labels_are_not_there() -> None:
    match = labelled("dns")
    dns = {"dns": "yes"}
    kept = store(labels_match=match, verified_pods=True)
    assert kept.apply([web(), piece("a", "10.0.0.1"), pod("p", "10.0.0.1")], 101) is None
    assert kept.apply([namespace("shop")], 102) is not None, "namespaces are not selected by labels"
    delta = kept.apply([service("web", labels=dns, clusterIP="None"), pod("q", "10.0.0.2", labels=dns)], 103)
    assert delta is not None
    assert delta.subtrees[0].hosts == ()
    assert delta.pods == ((b"\x04shop", packed("10.0.0.2")),)
    delta = kept.apply([piece("a", "10.0.0.1", labels=dns)], 104)
    assert delta is not None
    assert delta.subtrees[0].hosts[0].addresses == packed("10.0.0.1")


def test_an_object_that_loses_the_label_is_gone() -> None:
    kept = store(service("web", labels={"dns": ""}, clusterIP="10.96.0.1"), labels_match=labelled("dns"))
    delta = kept.apply([web()], 101)
    assert delta is not None
    assert delta.removed == (WEB,)


# Pods


def test_pods_are_said_only_when_wanted() -> None:
    assert store().apply([pod("p", "10.0.0.1")], 101) is None
    delta = store(verified_pods=True).apply([pod("p", "10.0.0.1", "fd00::1")], 101)
    assert delta == ZoneDelta(3, 101, pods=((b"\x04shop", packed("10.0.0.1")), (b"\x04shop", packed("fd00::1"))))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Unknown"])
def test_a_pod_that_ended_has_no_address(phase: str) -> None:
    kept = store(pod("p", "10.0.0.1"), verified_pods=True)
    delta = kept.apply([pod("p", "10.0.0.1", phase=phase)], 101)
    assert delta == ZoneDelta(3, 101, pods_removed=((b"\x04shop", packed("10.0.0.1")),))


def test_a_terminating_pod_stays_until_it_is_gone() -> None:
    kept = store(pod("p", "10.0.0.1"), verified_pods=True)
    assert kept.apply([pod("p", "10.0.0.1", ready=False, deleted=True)], 101) is None
    assert kept.apply([gone(pod("p"))], 102) is not None


def test_an_address_of_two_pods_stays_until_both_are_gone() -> None:
    kept = store(pod("p", "192.0.2.1"), pod("q", "192.0.2.1"), verified_pods=True)
    assert kept.apply([gone(pod("p"))], 101) is None
    assert kept.apply([gone(pod("q"))], 102) == ZoneDelta(3, 102, pods_removed=((b"\x04shop", packed("192.0.2.1")),))


def test_an_address_that_passes_from_pod_to_pod_is_never_away() -> None:
    kept = store(pod("p", "10.0.0.1"), verified_pods=True)
    assert kept.apply([gone(pod("p")), pod("q", "10.0.0.1")], 101) is None


# Serials


def test_a_serial_that_would_not_be_ahead_is_the_last_one_plus_one() -> None:
    kept = store(web())
    for wanted, serial in [(100, 101), (99, 102), (500, 500), (500, 501)]:
        delta = kept.apply([web(f"10.96.1.{serial % 256}")], wanted)
        assert delta is not None
        assert delta.serial == kept.serial == serial


def test_serials_wrap() -> None:
    kept = ClusterStore(0, SchemaOptions())
    kept.load([web()], SERIAL_MASK)
    delta = kept.apply([web("10.96.0.2")], SERIAL_MASK)
    assert delta is not None
    assert delta.serial == 0


def test_a_store_has_a_serial_once_it_was_told_of_one() -> None:
    kept = ClusterStore(0, SchemaOptions())
    assert kept.serial is None
    assert kept.apply([], (1 << 32) + 7) is None
    assert kept.serial == 7
    kept.load([web()], 5)
    assert kept.serial == 8


# What is not known wholly


def test_all_that_is_published_says_what_is_lacking() -> None:
    kept = store(web(), *(namespace(f"n{number}") for number in range(PART_NAMES_MAX + 1)))
    kept.lacks, kept.lacking = LACKS_ENDPOINTS | LACKS_PODS, (b"\x02n3",)
    parts = list(kept.image())
    assert len(parts) > 2
    assert {(part.lacks, part.lacking) for part in parts} == {(LACKS_ENDPOINTS | LACKS_PODS, (b"\x02n3",))}
    delta = kept.apply([web("10.96.0.2")], 101)
    assert delta is not None
    assert (delta.lacks, delta.lacking) == (LACKS_ENDPOINTS | LACKS_PODS, (b"\x02n3",))
    kept.lacks, kept.lacking = 0, ()
    assert {(part.lacks, part.lacking) for part in kept.image()} == {(0, ())}


def test_a_store_lacks_nothing_unless_it_is_said() -> None:
    assert [part.lacks for part in store().image()] == [0]


# All objects, to be written down


def test_the_objects_of_a_resource_are_those_of_its_kind_and_namespace() -> None:
    slices = piece("a", "10.0.0.1"), piece("a", "10.0.0.1", ns="data")
    services = web(), service("orphan", "data")
    kept = store(*services, *slices, namespace("shop"))
    pieces = Resource("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
    assert kept.objects(Resource("Service", "v1", "services")) == list(services)
    assert kept.objects(Resource("Namespace", "v1", "namespaces")) == [namespace("shop")]
    assert kept.objects(Resource("Pod", "v1", "pods")) == []
    assert kept.objects(pieces) == list(slices)
    assert kept.objects(replace(pieces, namespace="data")) == [slices[1]]
    assert kept.objects(replace(pieces, namespace="empty")) == []


def test_objects_that_were_taken_stay_as_they_were_when_the_store_goes_on() -> None:
    kept = store(web())
    found = kept.objects(Resource("Service", "v1", "services"))
    kept.apply([gone(web()), service("api")], 101)
    assert found == [web()]


def test_a_store_of_all_objects_of_another_says_the_same() -> None:
    kept = store(web(), piece("a", "10.0.0.1"), namespace("shop"), pod("p", "10.0.0.1"), verified_pods=True)
    objects = [one for kind in KINDS for one in kept.objects(Resource(kind, "", ""))]
    assert len(objects) == 4
    assert Published.image_of(store(*objects, verified_pods=True)) == Published.image_of(kept)


# What changed last is remembered


def test_a_service_that_changes_again_and_again_is_compared_with_what_was_published_last() -> None:
    kept = store(web(), piece("a", "10.0.0.1"))
    published = Published.image_of(kept)
    for number in range(5):
        published.take(kept.apply([piece("a", f"10.0.0.{number}")], 101))
        assert kept.apply([piece("a", f"10.0.0.{number}", endpoint("10.0.1.1", ready=False))], 101) is None
        assert published == Published.image_of(kept)


def test_what_is_remembered_is_forgotten_when_much_is_loaded() -> None:
    kept = store(web())
    kept.apply([piece("a", "10.0.0.1")], 101)
    kept.load([gone(piece("a"))], 102)
    delta = kept.apply([piece("a", "10.0.0.1")], 103)
    assert delta is not None
    assert delta.subtrees[0].hosts[0].addresses == packed("10.0.0.1")


def test_only_the_services_that_changed_last_are_remembered() -> None:
    kept = store()
    services = [service(f"s{number}", clusterIP="10.96.0.1") for number in range(RECENT_SUBTREES_MAX + 2)]
    kept.apply(services[:5], 101)
    kept.apply(services[5:], 102)
    assert len(kept._recent) == RECENT_SUBTREES_MAX
    assert set(kept._recent) == {one.key for one in services[2:]}


# The image


def test_the_image_of_nothing_is_a_reset() -> None:
    assert list(store().image()) == [ZoneDelta(3, 100, reset=True)]


def test_only_the_first_part_of_an_image_resets_and_all_have_the_serial() -> None:
    services = [service(f"s{number}", clusterIP="10.96.0.1") for number in range(3 * PART_SUBTREES_MAX)]
    parts = list(store(*services, namespace("shop"), namespace("empty")).image())
    assert [part.reset for part in parts] == [True] + [False] * (len(parts) - 1)
    assert {part.serial for part in parts} == {100}
    assert parts[0].namespaces == (b"\x05empty", b"\x04shop")
    assert [len(part.subtrees) for part in parts if part.subtrees] == [PART_SUBTREES_MAX] * 3


def test_parts_of_an_image_are_bounded() -> None:
    hosts = [f"10.0.{number // 250}.{number % 250}" for number in range(5000)]
    services = [service(f"s{number}", clusterIP="None") for number in range(40)]
    slices = [piece(f"s{number}", *hosts, of=f"s{number}") for number in range(40)]
    names = [namespace(f"n{number}") for number in range(PART_NAMES_MAX + 1)]
    pods = [pod(f"p{number}", host) for number, host in enumerate(hosts)]
    kept = store(*services, *slices, *names, *pods, verified_pods=True)
    parts = list(kept.image())
    largest = max(len(msgspec.msgpack.encode(one)) for part in parts for one in part.subtrees)
    assert all(len(msgspec.msgpack.encode(part)) < PART_OCTETS + largest for part in parts)
    assert all(len(part.namespaces) <= PART_NAMES_MAX and len(part.pods) <= PART_NAMES_MAX for part in parts)
    assert sum(len(part.subtrees) for part in parts) == 40
    assert sum(len(part.pods) for part in parts) == 5000


def test_the_image_holds_what_is_shown_and_nothing_else() -> None:
    kept = store(
        web(),
        service("db", "data", clusterIP="None"),
        service("secret", "vault", clusterIP="10.96.0.7"),
        piece("orphan", "10.0.0.9", of="orphan"),
        namespace("empty"),
        pod("p", "10.0.0.1"),
        pod("q", "10.0.0.2", ns="vault"),
        namespaces=frozenset({"shop", "data", "empty"}),
        verified_pods=True,
    )
    found = Published.image_of(kept)
    assert set(found.subtrees) == {WEB, wire("db", "data", "svc")}
    assert found.namespaces == {b"\x04shop", b"\x04data", b"\x05empty"}
    assert found.pods == {(b"\x04shop", packed("10.0.0.1"))}
