"""Kubeconfig files and a pod's service account directory, for a client of the fake."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.support.fakeapi.access import ADMIN_TOKEN
from tests.support.fakeapi.resources import Json
from tests.support.fakeapi.tls import Certificates

CONTEXT = "fake"


def token_user(token: str = ADMIN_TOKEN) -> Json:
    return {"token": token}


def token_file_user(path: Path) -> Json:
    return {"tokenFile": str(path)}


def certificate_user(certificates: Certificates) -> Json:
    pair = certificates.client
    return {"client-certificate-data": _base64(pair.chain), "client-key-data": _base64(pair.key)}


def exec_user(command: str, *args: str) -> Json:
    """Credentials by a program that prints an ExecCredential."""
    api_version = "client.authentication.k8s.io/v1"
    return {
        "exec": {"apiVersion": api_version, "command": command, "args": list(args), "interactiveMode": "Never"}
    }  # fmt: skip


def kubeconfig(url: str, ca: bytes, user: Json | None = None) -> Json:
    """A kubeconfig with one context. `ca` b"" for plain HTTP."""
    cluster = {"server": url} | ({"certificate-authority-data": _base64(ca)} if ca else {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": token_user() if user is None else user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "current-context": CONTEXT,
    }


def write(path: Path, document: Json) -> Path:
    """As JSON, which is YAML too."""
    path.write_text(json.dumps(document, indent=1))
    return path


def write_service_account(
    directory: Path, ca: bytes, token: str = ADMIN_TOKEN, namespace: str = "kube-system"
) -> Path:
    """What the kubelet mounts into each pod."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.crt").write_bytes(ca)
    (directory / "token").write_text(token)
    (directory / "namespace").write_text(namespace)
    return directory


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
