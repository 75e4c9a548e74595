"""What is deployed: valid by Kubernetes' schema, with no more rights than are used, and in CoreDNS's place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render
from kdns.corefile import parse_corefile
from tests.support.apischema import problems

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = ("nodelocal", "replace-coredns", "standalone")
Document = dict[str, Any]


def rendered(name: str) -> list[Document]:
    """The documents that are committed for an overlay."""
    return list(yaml.safe_load_all((DEPLOY / "rendered" / f"{name}.yaml").read_text()))


def one(documents: list[Document], kind: str) -> Document:
    """The only document of a kind."""
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def pod_spec(document: Document) -> Document:
    return document["spec"]["template"]["spec"]


def container(document: Document) -> Document:
    (found,) = pod_spec(document)["containers"]
    return found


def workloads() -> dict[str, Document]:
    """The Deployment or DaemonSet of each overlay."""
    kinds = ("Deployment", "DaemonSet")
    return {name: next(each for each in rendered(name) if each["kind"] in kinds) for name in OVERLAYS}


every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def test_these_are_all_overlays() -> None:
    assert render.names() == sorted(OVERLAYS)


@every_overlay
def test_every_object_is_valid_by_the_schema_of_the_api(name: str) -> None:
    assert [problem for document in rendered(name) for problem in problems(document)] == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("spec", "replica"), 2, "spec.replica: unknown field"),
        (("spec", "replicas"), "2", "spec.replicas: '2' is not of type int"),
        (("spec", "template", "spec", "containers"), {}, "spec.template.spec.containers: {} is not a list"),
        (("spec", "template", "spec", "hostNetwork"), "yes", "spec.template.spec.hostNetwork: 'yes' is not of type"),
        (("metadata", "labels"), {"a": 1}, "metadata.labels[a]: 1 is not of type str"),
        (("spec", "selector"), {"matchLabel": {}}, "spec.selector.matchLabel: unknown field"),
        (("spec", "strategy", "rollingUpdate", "maxSurge"), [], "maxSurge: [] is neither a number nor a text"),
    ],
)
def test_the_schema_check_finds_what_is_wrong(path: tuple[str, ...], value: object, problem: str) -> None:
    document = copy.deepcopy(one(rendered("standalone"), "Deployment"))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (found,) = problems(document)
    assert problem in found


def test_the_schema_check_finds_what_is_missing() -> None:
    service = copy.deepcopy(one(rendered("standalone"), "Service"))
    del service["spec"]["ports"][0]["port"]
    (found,) = problems(service)
    assert found.startswith("spec.ports[0]: ")
    assert problems({"apiVersion": "v1", "kind": "Secret"}) == ["('v1', 'Secret'): no kind that is deployed"]


@every_overlay
def test_no_object_comes_twice(name: str) -> None:
    identities = [render.identity(document) for document in rendered(name)]
    assert len(identities) == len(set(identities))


@every_overlay
def test_what_is_named_exists(name: str) -> None:
    """ConfigMaps and ServiceAccounts, but for those that kubeadm has made."""
    documents = rendered(name)
    workload = workloads()[name]
    made = {(each["kind"], each["metadata"]["name"]) for each in documents}
    made |= {("ConfigMap", "coredns"), ("ServiceAccount", "coredns")} if name == "replace-coredns" else set()
    assert ("ServiceAccount", pod_spec(workload)["serviceAccountName"]) in made
    for volume in pod_spec(workload)["volumes"]:
        assert ("ConfigMap", volume["configMap"]["name"]) in made
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()


@every_overlay
def test_the_container_has_no_more_than_it_needs(name: str) -> None:
    context = container(workloads()[name])["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert "privileged" not in context


@pytest.mark.parametrize("name", ["nodelocal", "standalone"])
def test_our_own_manifests_say_that_it_is_not_root_and_confined(name: str) -> None:
    workload = workloads()[name]
    context = pod_spec(workload)["securityContext"] | container(workload)["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 65532, 65532)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@every_overlay
def test_the_cluster_knows_what_it_may_use(name: str) -> None:
    spec = pod_spec(workloads()[name])
    for each in (*spec["containers"], *spec.get("initContainers", ())):
        assert {"cpu", "memory"} <= set(each["resources"]["requests"])
        assert "memory" in each["resources"]["limits"]
    assert spec["priorityClassName"].startswith("system-")
    assert spec["dnsPolicy"] == "Default"  # the cluster's DNS would be itself


@every_overlay
def test_coredns_arguments_and_ports_are_kept(name: str) -> None:
    found = container(workloads()[name])
    assert found["args"][:2] == ["-conf", "/etc/coredns/Corefile"]
    assert "command" not in found  # the entry point of the image is `kdns serve`
    ports = {(port["name"], port["containerPort"], port["protocol"]) for port in found["ports"]}
    assert {("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")} <= ports
    (mount,) = found["volumeMounts"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/coredns", True)


@pytest.mark.parametrize("name", ["replace-coredns", "standalone"])
def test_probes_are_coredns(name: str) -> None:
    found = container(workloads()[name])
    named = {port["name"]: port["containerPort"] for port in found["ports"]}
    for probe, path, port in (("livenessProbe", "/health", 8080), ("readinessProbe", "/ready", 8181)):
        get = found[probe]["httpGet"]
        assert (get["path"], named.get(get["port"], get["port"])) == (path, port)
    assert found["livenessProbe"]["initialDelaySeconds"] == 60


@pytest.mark.parametrize("name", ["replace-coredns", "standalone"])
def test_the_label_by_which_everybody_knows_the_cluster_dns_is_kept(name: str) -> None:
    workload = workloads()[name]
    assert workload["metadata"]["labels"]["k8s-app"] == "kube-dns"
    assert workload["spec"]["template"]["metadata"]["labels"]["k8s-app"] == "kube-dns"


def test_replacing_coredns_changes_the_image_and_nothing_else() -> None:
    overlay = DEPLOY / "overlays" / "replace-coredns"
    before = yaml.safe_load((overlay / "coredns.yaml").read_text())
    after = one(rendered("replace-coredns"), "Deployment")
    assert container(before)["image"].startswith("registry.k8s.io/coredns/coredns:")
    assert container(after)["image"] == container(one(rendered("standalone"), "Deployment"))["image"]
    container(before)["image"] = container(after)["image"]
    assert before == after


def test_the_service_is_kubeadms() -> None:
    service = one(rendered("standalone"), "Service")
    assert (service["metadata"]["namespace"], service["metadata"]["name"]) == ("kube-system", "kube-dns")
    assert service["spec"]["selector"] == {"k8s-app": "kube-dns"}
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert [(port["name"], port["port"], port["protocol"]) for port in service["spec"]["ports"]] == [
        ("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP"),
    ]  # fmt: skip


def test_the_service_account_may_list_and_watch_what_dns_is_made_of_and_nothing_else() -> None:
    rules = one(rendered("standalone"), "ClusterRole")["rules"]
    granted = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    assert granted == {("", "services"), ("", "namespaces"), ("discovery.k8s.io", "endpointslices")}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
    assert all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in rules)
    binding = one(rendered("standalone"), "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == one(rendered("standalone"), "ClusterRole")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "kdns", "namespace": "kube-system"}]


@pytest.mark.parametrize("name", ["nodelocal", "replace-coredns"])
def test_the_other_overlays_grant_nothing(name: str) -> None:
    assert [each for each in rendered(name) if each["apiVersion"].startswith("rbac")] == []


def test_a_disruption_and_a_lost_node_leave_a_replica() -> None:
    documents = rendered("standalone")
    deployment, budget = one(documents, "Deployment"), one(documents, "PodDisruptionBudget")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    spread = pod_spec(deployment)["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(each["labelSelector"]["matchLabels"].items() <= labels.items() for each in spread)


def test_the_end_of_a_pod_leaves_time_for_the_lame_duck() -> None:
    deployment = one(rendered("standalone"), "Deployment")
    assert "lameduck 5s" in one(rendered("standalone"), "ConfigMap")["data"]["Corefile"]
    assert pod_spec(deployment)["terminationGracePeriodSeconds"] >= 5 + 10


@pytest.mark.parametrize("name", ["nodelocal", "standalone"])
def test_kdns_understands_the_corefile(name: str) -> None:
    text = one(rendered(name), "ConfigMap")["data"]["Corefile"]
    upstream = {"KUBE_DNS_UPSTREAM_SERVICE_HOST": "10.96.0.11"}
    corefile = parse_corefile(text, environment=upstream)
    assert {block.port for block in corefile.blocks} == {53}
    assert all(block.forward for block in corefile.blocks)
    assert len(corefile.blocks) == text.count("errors\n")


def test_node_local_pods_are_not_behind_the_service_that_they_ask() -> None:
    documents = rendered("nodelocal")
    upstream, daemonset = one(documents, "Service"), one(documents, "DaemonSet")
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    assert not upstream["spec"]["selector"].items() <= labels.items()
    variable = upstream["metadata"]["name"].upper().replace("-", "_") + "_SERVICE_HOST"
    corefile = one(documents, "ConfigMap")["data"]["Corefile"]
    assert f"forward . {{${variable}}} {{\n        force_tcp\n" in corefile
    assert pod_spec(daemonset).get("enableServiceLinks", True)  # else the variable is not set


def test_node_local_pods_listen_on_one_address_of_the_node_and_probes_ask_there() -> None:
    daemonset = one(rendered("nodelocal"), "DaemonSet")
    corefile = one(rendered("nodelocal"), "ConfigMap")["data"]["Corefile"]
    assert pod_spec(daemonset)["hostNetwork"] is True
    assert corefile.count("bind 169.254.20.10\n") == corefile.count("errors\n") == 2
    for probe in ("livenessProbe", "readinessProbe"):
        get = container(daemonset)[probe]["httpGet"]
        assert f"{get['path'].strip('/')} {get['host']}:{get['port']}\n" in corefile
    assert daemonset["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "10%"}


def test_only_the_init_container_of_node_local_pods_is_root_and_it_may_change_interfaces_alone() -> None:
    (init,) = pod_spec(workloads()["nodelocal"])["initContainers"]
    assert init["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert init["securityContext"]["readOnlyRootFilesystem"] is True
    assert "169.254.20.10/32 dev nodelocaldns" in init["command"][2]
    assert pod_spec(workloads()["nodelocal"])["automountServiceAccountToken"] is False
