"""Kubeconfigs and exec plugins for tests."""

from __future__ import annotations

import json
import sys
import textwrap
from base64 import b64encode
from pathlib import Path
from typing import Any

EXEC_VERSION = "client.authentication.k8s.io/v1"


def kubeconfig(directory: Path, cluster: dict[str, Any], user: dict[str, Any], name: str = "config") -> str:
    """Write a kubeconfig of one context, `test`, and return its path."""
    path = directory / name
    path.write_text(
        json.dumps(
            {
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": user}],
            },
            indent=1,
        )
    )
    return str(path)


def inline(pem: str) -> str:
    """PEM as a kubeconfig's `...-data`."""
    return b64encode(pem.encode()).decode()


def plugin(directory: Path, body: str, name: str = "plugin") -> dict[str, Any]:
    """An exec plugin: a Python script. Returns what belongs below `user`.

    The script has `give(**status)`, which prints the credential, and `runs`, how often it has been run, this time
    included.
    """
    path = directory / name
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        f"counter = pathlib.Path({str(directory / (name + '.runs'))!r})\n"
        "runs = int(counter.read_text()) + 1 if counter.exists() else 1\n"
        "counter.write_text(str(runs))\n"
        "def give(**status):\n"
        f"    print(json.dumps({{'kind': 'ExecCredential', 'apiVersion': {EXEC_VERSION!r}, 'status': status}}))\n"
        + textwrap.dedent(body)
    )
    path.chmod(0o755)
    return {"exec": {"command": str(path), "apiVersion": EXEC_VERSION, "interactiveMode": "Never"}}


def runs(directory: Path, name: str = "plugin") -> int:
    """How often a plugin has been run."""
    counter = directory / f"{name}.runs"
    return int(counter.read_text()) if counter.exists() else 0
