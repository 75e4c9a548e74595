"""Prints a made-up cluster as `kubectl get ns,svc,endpointslices -A -o json` would: one List, keys sorted,
four spaces.

Written item by item. Endpoints, nine tenths of the text, come from a template: Python's json with
indentation is ten times slower, and its output is the same (a test compares them).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, TextIO

from bench.cluster import SLICE_ENDPOINTS_MAX, Cluster, Pod, Port, Service, uid

CREATED = "2026-03-01T08:{:02d}:{:02d}Z"
FIRST_RESOURCE_VERSION = 1000
ENDPOINTS_PLACEHOLDER = "ENDPOINTS"

ENDPOINT = """\
                {{
                    "addresses": [
                        "{address}"
                    ],
                    "conditions": {{
                        "ready": {ready},
                        "serving": {ready},
                        "terminating": {terminating}
                    }},{hostname}
                    "nodeName": "{node}",
                    "targetRef": {{
                        "kind": "Pod",
                        "name": "{name}",
                        "namespace": "{namespace}",
                        "uid": "{uid}"
                    }},
                    "zone": "{zone}"
                }}"""
HOSTNAME = '\n                    "hostname": "{hostname}",'

Object = dict[str, Any]


def write_dump(cluster: Cluster, out: TextIO) -> None:
    """Write the List; never more than one item is held."""
    out.write('{\n    "apiVersion": "v1",\n    "items": [\n')
    for number, item in enumerate(_items(cluster)):
        out.write(",\n" * (number > 0) + item)
    out.write('\n    ],\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n')


def _items(cluster: Cluster) -> Iterator[str]:
    rng = random.Random(cluster.size.seed)
    version = FIRST_RESOURCE_VERSION
    for name in cluster.namespaces:
        version += rng.randint(1, 9)
        yield _indented(_namespace(name, version, rng))
    uids = []
    for service in cluster.services:
        version += rng.randint(1, 9)
        uids.append(uid(rng))
        yield _indented(_service(service, uids[-1], version, rng))
    for service, owner in zip(cluster.services, uids, strict=True):
        for item in _slices(cluster, service, owner, rng):
            version += rng.randint(1, 9)
            item["metadata"]["resourceVersion"] = str(version)
            pods = item.pop("pods")
            yield _with_endpoints(item, service, pods)


def _indented(item: Object) -> str:
    text = json.dumps(item, indent=4, sort_keys=True)
    return "        " + text.replace("\n", "\n        ")


def _metadata(name: str, version: int, rng: random.Random, **more: object) -> Object:
    created = CREATED.format(rng.randrange(60), rng.randrange(60))
    return {
        "name": name,
        "uid": uid(rng),
        "resourceVersion": str(version),
        "creationTimestamp": created,
        **more,
    }


def _namespace(name: str, version: int, rng: random.Random) -> Object:
    labels = {"kubernetes.io/metadata.name": name, "team": name.split("-")[0]}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": _metadata(name, version, rng, labels=labels),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _service(service: Service, own_uid: str, version: int, rng: random.Random) -> Object:
    labels = {
        "app.kubernetes.io/instance": service.name,
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/name": service.name.split("-")[0],
        "helm.sh/chart": f"{service.name.split('-')[0]}-1.{rng.randrange(30)}.{rng.randrange(9)}",
    }
    annotations = {
        "meta.helm.sh/release-name": service.name,
        "meta.helm.sh/release-namespace": service.namespace,
    }
    item: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(service.name, version, rng, namespace=service.namespace, labels=labels),
        "spec": _service_spec(service),
        "status": {"loadBalancer": {}},
    }
    item["metadata"]["uid"] = own_uid
    if rng.random() < 0.4:  # applied with kubectl, which leaves the whole manifest behind
        applied = {k: item[k] for k in ("apiVersion", "kind", "spec")}
        applied["metadata"] = {"annotations": {}, "name": service.name, "namespace": service.namespace}
        text = json.dumps(applied, separators=(",", ":"), sort_keys=True)
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": text + "\n"}
    item["metadata"]["annotations"] = annotations
    return item


def _service_spec(service: Service) -> Object:
    selector = {
        "app.kubernetes.io/instance": service.name,
        "app.kubernetes.io/name": service.name.split("-")[0],
    }
    if service.kind == "ExternalName":
        return {"externalName": service.external_name, "sessionAffinity": "None", "type": "ExternalName"}
    ips = list(service.cluster_ips) or ["None"]
    return {
        "clusterIP": ips[0],
        "clusterIPs": ips,
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": list(service.families),
        "ipFamilyPolicy": "RequireDualStack" if len(service.families) > 1 else "SingleStack",
        "ports": [_port(port) | {"targetPort": port.name or port.number} for port in service.ports],
        "selector": selector,
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }


def _port(port: Port) -> Object:
    named = {"name": port.name} if port.name else {}
    return named | {"port": port.number, "protocol": port.protocol}


def _slices(cluster: Cluster, service: Service, owner: str, rng: random.Random) -> Iterator[Object]:
    """The service's slices, each with a key "pods" in place of its endpoints; an ExternalName service has none."""
    for family in () if service.kind == "ExternalName" else service.families:
        pods = cluster.pods(service)
        while True:
            part = list(islice(pods, SLICE_ENDPOINTS_MAX))
            # The controller keeps one slice with `endpoints: null` for a selector that matches nothing.
            if part or not service.pod_count:
                yield _slice(service, owner, family, rng) | {"pods": part}
            if len(part) < SLICE_ENDPOINTS_MAX:
                break


def _slice(service: Service, owner: str, family: str, rng: random.Random) -> Object:
    labels = {
        "app.kubernetes.io/instance": service.name,
        "app.kubernetes.io/name": service.name.split("-")[0],
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": service.name,
    }
    if service.kind == "Headless":
        labels["service.kubernetes.io/headless"] = ""
    reference = {
        "apiVersion": "v1",
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": "Service",
        "name": service.name,
        "uid": owner,
    }
    more = {
        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": CREATED.format(rng.randrange(60), 0)},
        "generateName": f"{service.name}-",
        "generation": rng.randint(1, 40),
        "labels": labels,
        "namespace": service.namespace,
        "ownerReferences": [reference],
    }
    return {
        "addressType": family,
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(f"{service.name}-{rng.getrandbits(24):06x}", 0, rng, **more),
        "ports": [_port(port) | {"name": port.name} for port in service.ports],
    }


def _with_endpoints(item: Object, service: Service, pods: list[Pod]) -> str:
    """The item as text, its endpoints filled in from the template."""
    text = _indented({**item, "endpoints": ENDPOINTS_PLACEHOLDER if pods else None})
    if not pods:
        return text
    endpoints = ",\n".join(_endpoint(pod, item["addressType"], service.namespace) for pod in pods)
    return text.replace(f'"{ENDPOINTS_PLACEHOLDER}"', f"[\n{endpoints}\n            ]", 1)


def _endpoint(pod: Pod, family: str, namespace: str) -> str:
    return ENDPOINT.format(
        address=pod.addresses[family],
        ready="true" if pod.ready else "false",
        terminating="true" if pod.terminating else "false",
        hostname=HOSTNAME.format(hostname=pod.hostname) if pod.hostname else "",
        node=pod.node,
        name=pod.name,
        namespace=namespace,
        uid=pod.uid,
        zone=pod.zone,
    )
