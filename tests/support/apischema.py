"""Kubernetes objects checked against the models of the package `kubernetes`, made from the API's own schema.

    problems(document)      [] or lines such as "spec.template.spec.containers[0].imagePullPollicy: unknown field"

Unknown fields, values of a wrong type and missing fields are problems. The models exist in two kinds, with setters
that raise and with pydantic; both have `openapi_types` and `attribute_map`, which is all that is used here, and both
refuse to be made without what is required.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubernetes import client

KINDS = {
    ("v1", "ServiceAccount"): "V1ServiceAccount",
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Service"): "V1Service",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("apps/v1", "DaemonSet"): "V1DaemonSet",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): "V1ClusterRole",
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): "V1ClusterRoleBinding",
}
_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "bool": bool, "int": int, "float": (int, float)}
_GENERIC = re.compile(r"(?P<kind>list|dict)[\[(](?:str, ?)?(?P<of>.+)[\])]$", re.IGNORECASE)
# What the schema says in words only ("int or string"), as far as it is used.
_INT_OR_STRING = {"targetPort", "port", "maxUnavailable", "maxSurge", "minAvailable"}


def problems(document: dict[str, Any]) -> list[str]:
    """What is wrong with an object."""
    kind = document.get("apiVersion", ""), document.get("kind", "")
    if kind not in KINDS:
        return [f"{kind}: no kind that is deployed"]
    return list(_check(document, KINDS[kind], ""))


def _check(value: Any, type_name: str, path: str) -> Iterator[str]:
    generic = _GENERIC.match(type_name)
    if generic:
        yield from _check_generic(value, generic["kind"].lower(), generic["of"], path)
    elif type_name in _PLAIN:
        is_bool = isinstance(value, bool)
        if not isinstance(value, _PLAIN[type_name]) or (is_bool and type_name != "bool"):
            yield f"{path}: {value!r} is not of type {type_name}"
    elif type_name == "object":
        if path.rpartition(".")[2] in _INT_OR_STRING and not isinstance(value, (int, str)):
            yield f"{path}: {value!r} is neither a number nor a text"
    else:
        yield from _check_model(value, type_name, path)


def _check_generic(value: Any, kind: str, of: str, path: str) -> Iterator[str]:
    if kind == "list" and isinstance(value, list):
        for at, one in enumerate(value):
            yield from _check(one, of, f"{path}[{at}]")
    elif kind == "dict" and isinstance(value, dict):
        for key, one in value.items():
            yield from _check(one, of, f"{path}[{key}]")
    else:
        yield f"{path}: {value!r} is not a {kind}"


def _check_model(value: Any, type_name: str, path: str) -> Iterator[str]:
    model = getattr(client, type_name)
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is not an object"
        return
    attributes = {field: attribute for attribute, field in model.attribute_map.items()}
    below = []
    for field, one in value.items():
        where = f"{path}.{field}".lstrip(".")
        if field not in attributes:
            below.append(f"{where}: unknown field")
        else:
            below += _check(one, model.openapi_types[attributes[field]], where)
    yield from below
    if not below:
        yield from _missing(model, {attributes[field]: one for field, one in value.items()}, path)


def _missing(model: Any, given: dict[str, Any], path: str) -> Iterator[str]:
    try:
        model(**given)
    except ValueError as error:
        yield f"{path}: {' '.join(str(error).split())}"
