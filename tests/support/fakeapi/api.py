"""One way to change a cluster, be it the fake or a real one: what tests that are to run on both write with.

    with Api(kubeconfig, is_real=False) as api:
        shop = api.namespace("shop")                      # its name here is its own: kdns-test-3f9a12-shop
        api.apply(service(shop, "web", [port(80)]), endpoint_slice(shop, "web-1", "web", ["10.0.0.1"]))
        api.set_pod_status(shop, "web-0", pod_status("10.0.0.9"))
        api.delete("services", shop, "web")

All that it makes is in namespaces of its own, which carry OWNER_LABEL. They are removed at the end, and with them
what earlier runs have left. On a real cluster, slices are made by hand for Services without selector (see builders),
so that no controller has a say; Pods are never scheduled, and their status is written by us.

Not here: watching; which cluster it is (tests/realapi/conftest.py).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

from tests.support.fakeapi import builders
from tests.support.fakeapi.resources import NAMESPACES, PODS, SERVICES, TYPES, Json, ResourceType, type_of

OWNER_LABEL = "kdns.test/run"
_PREFIX = "kdns-test"
_MERGE = "application/merge-patch+json"
_TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)
# A new namespace has no service account for its first moments, and takes no Pods until it has.
_READY_SECONDS = 20.0
_RETRY_SECONDS = 0.2
# What an earlier run left behind is removed if it is older: another run may be going on.
_ABANDONED = timedelta(hours=1)
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return dict(json.loads(self.body))


class ApiRefusal(Exception):
    """An answer that is no success."""

    def __init__(self, what: str, answer: Answer) -> None:
        super().__init__(f"{what}: {answer.status} {answer.body.decode(errors='replace')[:500]}")
        self.answer = answer


class Api:
    """The administrator's access to a cluster; is_real: whether it is a real one."""

    def __init__(self, kubeconfig: Path, is_real: bool) -> None:
        self.kubeconfig = kubeconfig
        self.is_real = is_real
        self.run = secrets.token_hex(3)
        self._configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=self._configuration, persist_config=False)
        files = {"ca_certs": "ssl_ca_cert", "cert_file": "cert_file", "key_file": "key_file"}
        told = {name: getattr(self._configuration, field) for name, field in files.items()}
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, **told)

    def __enter__(self) -> Self:
        self._remove_abandoned()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.remove_all()
        finally:
            self._pool.clear()

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """Make a namespace of our own; returns what it is called."""
        own = f"{_PREFIX}-{self.run}-{name}"
        self.create(builders.namespace(own, {**(labels or {}), OWNER_LABEL: self.run}))
        return own

    def create(self, value: Json) -> Json:
        kind = type_of(value)
        path = kind.path(value["metadata"].get("namespace", ""))
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            answer = self.request("POST", path, body=value)
            if not _lacks_service_account(kind, answer) or time.monotonic() > deadline:
                return self._succeeded(f"creating {path}", answer).json
            time.sleep(_RETRY_SECONDS)

    def replace(self, value: Json) -> Json:
        """Put a new state in the place of what there is; a ClusterIP stays unless it is named."""
        kind, meta = type_of(value), value["metadata"]
        path = kind.path(meta.get("namespace", ""), meta["name"])
        old = self._succeeded(path, self.request("GET", path)).json
        changed = {**value, "metadata": {**meta, "resourceVersion": old["metadata"]["resourceVersion"]}}
        if kind is SERVICES and _keeps_address(old["spec"], value.get("spec") or {}):
            kept = {name: old["spec"][name] for name in _ALLOCATED if name in old["spec"]}
            changed["spec"] = {**kept, **value["spec"]}
        return self._succeeded(path, self.request("PUT", path, body=changed)).json

    def apply(self, *values: Json) -> None:
        """Create or replace each."""
        for value in values:
            try:
                self.create(value)
            except ApiRefusal as refusal:
                if refusal.answer.status != 409:
                    raise
                self.replace(value)

    def patch(self, plural: str, namespace: str, name: str, patch: Json) -> Json:
        """A JSON merge patch."""
        path = TYPES[plural].path(namespace, name)
        return self._succeeded(path, self.request("PATCH", path, body=patch, content_type=_MERGE)).json

    def set_pod_status(self, namespace: str, name: str, status: Json) -> Json:
        path = PODS.path(namespace, name, "status")
        return self._succeeded(path, self.request("PATCH", path, body={"status": status}, content_type=_MERGE)).json

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """At once, and without complaint if it is gone already."""
        path = TYPES[plural].path(namespace, name)
        answer = self.request("DELETE", path, body={"gracePeriodSeconds": 0} if plural == "pods" else None)
        if answer.status != 404:
            self._succeeded(path, answer)

    def objects(self, plural: str, namespace: str = "") -> list[Json]:
        path = TYPES[plural].path(namespace)
        return list(self._succeeded(path, self.request("GET", path)).json["items"] or ())

    def remove_all(self) -> None:
        """Remove all namespaces of this run, with what is in them."""
        self._remove(self._owned(f"{OWNER_LABEL}={self.run}"))

    # What is asked directly, for tests of the protocol itself

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Json | None = None,
        content_type: str = "application/json", token: str | None = None,
    ) -> Answer:  # fmt: skip
        """token: another than the administrator's; "" for none."""
        response = self._pool.request(
            method, self._url(path, query), headers=self._headers(token) | {"Content-Type": content_type},
            body=None if body is None else json.dumps(body),
        )  # fmt: skip
        return Answer(response.status, response.headers, response.data)

    @contextmanager
    def watch(self, path: str, **query: str) -> Iterator[Iterator[Json]]:
        """The events of a watch as they come."""
        url = self._url(path, {"watch": "1", "timeoutSeconds": "30", **query})
        response = self._pool.request("GET", url, headers=self._headers(None), preload_content=False)
        try:
            yield (json.loads(line) for line in response)
        finally:
            response.close()

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._configuration.host.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")

    def _headers(self, token: str | None) -> dict[str, str]:
        if token is None:
            told = self._configuration.get_api_key_with_prefix("BearerToken")
        else:
            told = token and f"Bearer {token}"
        return {"Authorization": told} if told else {}

    def _succeeded(self, what: str, answer: Answer) -> Answer:
        if answer.status not in (200, 201, 202):
            raise ApiRefusal(what, answer)
        return answer

    def _owned(self, selector: str) -> list[Json]:
        answer = self.request("GET", NAMESPACES.path(), {"labelSelector": selector})
        return list(self._succeeded("namespaces", answer).json["items"] or ())

    def _remove_abandoned(self) -> None:
        now = datetime.now(UTC)
        self._remove(
            each for each in self._owned(OWNER_LABEL)
            if now - datetime.fromisoformat(each["metadata"]["creationTimestamp"]) > _ABANDONED
        )  # fmt: skip

    def _remove(self, namespaces: Iterator[Json] | list[Json]) -> None:
        for each in namespaces:
            self.delete("namespaces", "", each["metadata"]["name"])


def _keeps_address(old: Json, new: Json) -> bool:
    """Whether a Service goes on as one with a ClusterIP."""
    return "clusterIP" not in new and "ExternalName" not in (old.get("type"), new.get("type"))


def _lacks_service_account(kind: ResourceType, answer: Answer) -> bool:
    return kind is PODS and answer.status == 403 and b"serviceaccount" in answer.body


def names(objects: list[Any]) -> list[str]:
    """Of objects as a list has them."""
    return [each["metadata"]["name"] for each in objects]
