"""Objects as a test writes them down: short, and complete enough for a real API server to take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.fakeapi.resources import Json

SERVICE_NAME = "kubernetes.io/service-name"


def namespace(name: str, labels: Mapping[str, str] | None = None) -> Json:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": _meta("", name, labels)}


def port(number: int, name: str = "", protocol: str = "TCP") -> Json:
    """Of a Service or an EndpointSlice."""
    return {"port": number, "protocol": protocol} | ({"name": name} if name else {})


def service(
    namespace_: str, name: str, ports: Iterable[Json] = (), labels: Mapping[str, str] | None = None, **spec: Any
) -> Json:
    """A Service without selector, so that its EndpointSlices are ours on a real cluster too.

    spec: further fields: clusterIP="None", type="ExternalName", externalName="db.example.com", ...
    """
    fields = {**spec, **({"ports": list(ports)} if ports else {})}
    return {"kind": "Service", "apiVersion": "v1", "metadata": _meta(namespace_, name, labels), "spec": fields}


def headless(namespace_: str, name: str, ports: Iterable[Json] = (), **spec: Any) -> Json:
    return service(namespace_, name, ports, clusterIP="None", **spec)


def external(namespace_: str, name: str, target: str) -> Json:
    return service(namespace_, name, type="ExternalName", externalName=target)


def endpoint(address: str, ready: bool | None = True, **fields: Any) -> Json:
    """fields: hostname, nodeName, zone, serving, terminating, ... `ready` None leaves the condition out."""
    others: Json = {name: fields.pop(name) for name in ("serving", "terminating") if name in fields}
    told = {name: value for name, value in ({"ready": ready} | others).items() if value is not None}
    return {"addresses": [address], **({"conditions": told} if told else {}), **fields}


def endpoint_slice(
    namespace_: str, name: str, owner: str, endpoints: Iterable[Json | str] = (), ports: Iterable[Json] = (),
    labels: Mapping[str, str] | None = None, family: str = "",
) -> Json:  # fmt: skip
    """A slice of the Service `owner`; an endpoint that is only an address is ready. family: IPv4 unless told."""
    made = [endpoint(each) if isinstance(each, str) else each for each in endpoints]
    guess = "IPv6" if made and ":" in made[0]["addresses"][0] else "IPv4"
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": _meta(namespace_, name, {SERVICE_NAME: owner, **(labels or {})}),
        "addressType": family or guess,
        "endpoints": made,
        "ports": list(ports),
    }


def pod(namespace_: str, name: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Json:
    """A Pod that no scheduler places; its addresses come with pod_status."""
    fields = {"containers": [{"name": "c", "image": "c"}], "schedulerName": "none", **spec}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": _meta(namespace_, name, labels), "spec": fields}


def pod_status(*addresses: str, phase: str = "Running", ready: bool = True) -> Json:
    """What a kubelet would write."""
    told = "True" if ready else "False"
    return {
        "phase": phase,
        "podIP": addresses[0] if addresses else "",
        "podIPs": [{"ip": address} for address in addresses],
        "conditions": [{"type": "Ready", "status": told}],
    }


def _meta(namespace_: str, name: str, labels: Mapping[str, str] | None) -> Json:
    placed = {"name": name} | ({"namespace": namespace_} if namespace_ else {})
    return placed | ({"labels": dict(labels)} if labels else {})
