"""Objects of several files: what changes when one is read again, and the same object in two of them."""

from __future__ import annotations

import pytest

from kdns.kube.manifest_set import ManifestSet
from kdns.kube.manifests import Manifest, parse_manifest
from kdns.kube.objects import Change, EndpointSlice, Tombstone
from kdns.kube.problem import ManifestError
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from tests.unit.kube.builders import packed

SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: {ip}, selector: {{app: {name}}}, ports: [{{port: 80}}]}}
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {ns}, labels: {{app: {app}}}}}
status: {{podIP: {ip}, phase: Running, conditions: [{{type: Ready, status: "{ready}"}}]}}
"""
SLICE = """\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: {of}}}}}
addressType: IPv4
endpoints: {endpoints}
"""


def service(name: str = "web", ip: str = "10.96.0.1") -> str:
    return SERVICE.format(name=name, ip=ip)


def pod(name: str, ip: str, app: str = "web", ready: bool = True, ns: str = "shop") -> str:
    return POD.format(name=name, ip=ip, app=app, ready=ready, ns=ns)


def piece(name: str = "web-1", of: str = "web", endpoints: str = "[{addresses: [10.0.0.9]}]") -> str:
    return SLICE.format(name=name, of=of, endpoints=endpoints)


def manifest(path: str, *texts: str) -> Manifest:
    return parse_manifest(path, "".join(texts).encode())


def names(changes: list[Change]) -> set[str]:
    return {("-" if isinstance(change, Tombstone) else "+") + change.key[2] for change in changes}


def slices(changes: list[Change]) -> list[EndpointSlice]:
    return [change for change in changes if isinstance(change, EndpointSlice)]


def messages(manifests: ManifestSet) -> list[str]:
    return [str(problem) for problem in manifests.problems()]


# Changes


def test_a_new_file_adds_what_is_in_it_and_a_file_that_is_gone_takes_it_away() -> None:
    manifests = ManifestSet()
    assert names(manifests.update("a", manifest("a", service("web"), service("api")))) == {"+web", "+api"}
    assert names(manifests.update("b", manifest("b", service("db")))) == {"+db"}
    assert names(manifests.update("a", None)) == {"-web", "-api"}
    assert manifests.update("a", None) == []


def test_only_objects_that_differ_are_changes() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web"), service("api"), service("old")))
    changes = manifests.update(
        "a", manifest("a", "# edited\n", service("api", "10.96.0.9"), service("web"), service("new"))
    )
    assert names(changes) == {"+api", "+new", "-old"}
    assert manifests.update("a", manifest("a", service("new"), service("web"), service("api", "10.96.0.9"))) == []


def test_an_object_may_move_between_files_that_change_together() -> None:
    manifests = ManifestSet()
    manifests.update_all({"a": manifest("a", service("web"), service("api")), "b": manifest("b")})
    after = {"a": manifest("a", service("web")), "b": manifest("b", service("api"))}
    assert manifests.update_all(after) == []
    assert manifests.update_all({"a": None, "c": manifest("c", service("web"))}) == []


# The same object in two files


def test_the_same_object_in_two_files_is_refused_with_both_places() -> None:
    manifests = ManifestSet()
    manifests.update("a.yaml", manifest("a.yaml", service("web")))
    with pytest.raises(ManifestError) as error:
        manifests.update("b.yaml", manifest("b.yaml", service("api"), service("web")))
    assert str(error.value) == "b.yaml:7: Service shop/web stands here and in a.yaml:2 too"


def test_two_new_files_with_the_same_object_are_refused() -> None:
    both = {path: manifest(path, service("web")) for path in ("a", "b")}
    with pytest.raises(ManifestError, match="a:2: Service shop/web stands here and in b:2 too"):
        ManifestSet().update_all(both)


def test_a_refused_update_changes_nothing() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web")))
    with pytest.raises(ManifestError):
        manifests.update("b", manifest("b", service("web", "10.96.0.2"), service("api"), pod("p", "10.0.0.1")))
    assert names(manifests.update("a", None)) == {"-web"}


# Derived slices


def test_slices_are_derived_where_there_are_pods_and_none_are_written() -> None:
    changes = ManifestSet().update(
        "a", manifest("a", service("web"), pod("p", "10.0.0.1"), pod("q", "10.0.0.2", "api"))
    )
    (derived,) = slices(changes)
    assert (derived.service, derived.addresses) == (("Service", "shop", "web"), packed("10.0.0.1"))
    assert (derived.ports[0].number, derived.key[:2]) == (80, ("EndpointSlice", "shop"))


def test_slices_are_not_derived_for_a_service_that_has_any_even_an_empty_one() -> None:
    text = service("web") + service("api", "10.96.0.2") + pod("p", "10.0.0.1") + pod("q", "10.0.0.2", "api")
    changes = ManifestSet().update("a", manifest("a", text, piece(endpoints="null")))
    assert {one.service[2]: one.addresses for one in slices(changes)} == {"web": b"", "api": packed("10.0.0.2")}


def test_pods_and_services_may_stand_in_different_files() -> None:
    manifests = ManifestSet()
    assert slices(manifests.update("pods", manifest("pods", pod("p", "10.0.0.1")))) == []
    changes = manifests.update("services", manifest("services", service("web")))
    assert [one.addresses for one in slices(changes)] == [packed("10.0.0.1")]


def test_pods_of_another_namespace_are_not_selected() -> None:
    assert slices(ManifestSet().update("a", manifest("a", service(), pod("p", "10.0.0.1", ns="data")))) == []


def test_derived_slices_follow_the_pods() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web")))
    first = manifests.update("p", manifest("p", pod("p", "10.0.0.1"), pod("q", "10.0.0.2")))
    assert [one.addresses for one in slices(first)] == [packed("10.0.0.1", "10.0.0.2")]
    second = manifests.update("p", manifest("p", pod("p", "10.0.0.1"), pod("q", "10.0.0.2", ready=False)))
    assert [(one.addresses, one.unready) for one in slices(second)] == [(packed("10.0.0.1"), packed("10.0.0.2"))]
    assert names(manifests.update("p", None)) == {"-p", "-q", "-web/derived-0"}


def test_a_manifest_of_a_pod_that_is_deleted_drains_it() -> None:
    manifests, store = ManifestSet(), ClusterStore(0, SchemaOptions(terminating_serving=True))
    headless = service("web").replace("10.96.0.1", "None")
    store.load(manifests.update("a", manifest("a", headless, pod("p", "10.0.0.1"), pod("q", "10.0.0.2"))), 1)
    leaving = pod("p", "10.0.0.1").replace("{name: p,", "{name: p, deletionTimestamp: 2026-03-01T08:00:00Z,")

    def addresses(*texts: str) -> list[bytes]:
        delta = store.apply(manifests.update("a", manifest("a", headless, *texts)), 2)
        return [hosts.addresses for hosts in delta.subtrees[0].hosts] if delta else []

    assert addresses(leaving, pod("q", "10.0.0.2")) == [packed("10.0.0.2")]
    assert addresses(leaving, pod("q", "10.0.0.2", ready=False)) == [packed("10.0.0.1")]
    assert addresses(leaving, pod("q", "10.0.0.2")) == [packed("10.0.0.2")]


def test_derived_slices_give_way_to_written_ones_and_come_back() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web"), pod("p", "10.0.0.1")))
    assert names(manifests.update("b", manifest("b", piece()))) == {"+web-1", "-web/derived-0"}
    assert names(manifests.update("b", None)) == {"-web-1", "+web/derived-0"}


def test_derived_slices_go_with_their_service() -> None:
    manifests = ManifestSet()
    manifests.update_all({"a": manifest("a", service("web")), "p": manifest("p", pod("p", "10.0.0.1"))})
    assert names(manifests.update("a", None)) == {"-web", "-web/derived-0"}


def test_derived_slices_elsewhere_are_left_alone() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web"), pod("p", "10.0.0.1")))
    other = manifest("b", service().replace("namespace: shop", "namespace: data"), pod("p", "10.0.0.1", ns="data"))
    assert {one.service for one in slices(manifests.update("b", other))} == {("Service", "data", "web")}


# Remarks


def test_a_selector_without_any_endpoint_is_a_problem() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web"), service("typo"), pod("p", "10.0.0.1")))
    why = "no endpoints: no EndpointSlice lists any, selector app=typo matches no Pod with an address"
    assert messages(manifests) == [f"a:7: Service shop/typo: {why}"]


def test_endpoints_that_are_not_ready_are_no_problem_of_the_manifest() -> None:
    manifests = ManifestSet()
    text = service("web") + service("api") + pod("p", "10.0.0.1", ready=False)
    unready = piece("api-1", "api", "[{addresses: [10.0.0.9], conditions: {ready: false}}]")
    manifests.update("a", manifest("a", text, unready))
    assert messages(manifests) == []


def test_a_service_without_selector_may_have_no_endpoints() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web").replace("selector: {app: web}, ", "")))
    assert messages(manifests) == []


def test_a_slice_whose_service_is_nowhere_is_a_problem() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", piece(of="api")))
    why = "it belongs to Service shop/api, which is in no manifest, and so it answers nothing"
    assert messages(manifests) == [f"a:2: EndpointSlice shop/web-1: {why}"]
    manifests.update("b", manifest("b", service("api")))
    assert messages(manifests) == []


def test_remarks_on_single_objects_are_among_the_problems() -> None:
    manifests = ManifestSet()
    manifests.update("a", manifest("a", service("web", "''"), pod("p", "10.0.0.1")))
    assert len(messages(manifests)) == 1
    assert messages(manifests)[0].startswith("a:2: Service shop/web: no clusterIP")
    manifests.update("a", None)
    assert messages(manifests) == []


def test_ignored_kinds_are_counted_over_all_files() -> None:
    manifests = ManifestSet()
    deployment = "---\napiVersion: apps/v1\nkind: Deployment\n"
    manifests.update("a", manifest("a", deployment, deployment))
    manifests.update("b", manifest("b", deployment, "---\napiVersion: v1\nkind: Secret\n"))
    assert manifests.ignored == {"Deployment": 3, "Secret": 1}
    manifests.update("a", None)
    assert manifests.ignored == {"Deployment": 1, "Secret": 1}
