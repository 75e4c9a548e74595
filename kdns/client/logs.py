"""The lines that a balancer logs, all by the logger `kdns.client`: who is out, why, for how long; what cannot work.

A line names the target, the endpoint, whose fault it is and what follows. Not here: when they are due
(kdns.client.core).
"""

from __future__ import annotations

import logging

from kdns.client.endpoint import Endpoint, EndpointSet
from kdns.client.target import Target

log = logging.getLogger("kdns.client")

_MANIFEST = """apiVersion: v1
kind: Service
metadata: {{name: {service}-pods, namespace: {namespace}}}
spec:
  clusterIP: None
  selector: {{}}  # as in the Service {service}
  ports: [{{name: {port}, port: 80}}]  # as in the Service {service}"""


def ejected(target: str, endpoint: Endpoint, cause: str, seconds: float) -> None:
    """An endpoint is out."""
    log.warning("%s: %s is out for %.1f s: %s", target, endpoint, seconds, cause)


def returned(target: str, endpoint: Endpoint) -> None:
    """An endpoint is back."""
    log.info("%s: %s is back", target, endpoint)


def panic(target: str, up: int, of: int) -> None:
    """Fewer than the panic share are up."""
    log.warning("%s: only %d of %d endpoints are up; all are used until more are", target, up, of)


def virtual_address(target: Target, endpoints: EndpointSet) -> bool:
    """Say that a target has one address, which cannot be balanced over, if that is so. Whether it was said.

    The SRV target of a ClusterIP Service is the Service's own name, so there it is sure. An address alone does not
    tell a ClusterIP from a headless Service with one pod, so that is a remark for those who look for it.
    """
    if target.manifest is None or len(endpoints) != 1:
        return False
    service, namespace, port = target.manifest
    endpoint = endpoints[0]
    is_sure = target.is_srv and f"{endpoint.name}.".lower() == target.name.partition("._")[2].partition(".")[2]
    log.log(
        logging.WARNING if is_sure else logging.INFO,
        "%s has one address, %s, %s: kube-proxy picks a pod for each connection, and requests on one connection cannot "
        "be spread, ejected or retried by pod. To balance by request, add a headless Service and use it as the target:"
        "\n%s",
        target.text,
        endpoint.host,
        "a ClusterIP" if is_sure else "which is a ClusterIP unless this is a headless Service with one pod",
        _MANIFEST.format(service=service, namespace=namespace, port=port or "http"),
    )
    return True
