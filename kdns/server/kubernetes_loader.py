"""Has the `kubernetes` package make credentials of a kubeconfig's cluster and user. A program of its own.

Run by kdns.server.credentials for a moment, because in the process that watches the package would stay: importing
`kubernetes.config` takes 33 to 59 MB and a quarter of a second, it waits for an exec plugin without a bound, it only
logs what went wrong with one, and it leaves private keys in temporary files. Here all of that ends with the process.

    stdin    {"cluster": {...}, "user": {...}, "seconds": 30}
    stdout   {"authorization": "Bearer ...", "ca": PEM, "certificate": PEM, "key": PEM, "expires": unix time or null}
             or {"error": text}

It imports nothing of kdns: it is started by its path, whatever is on Python's.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from typing import Any

MEMORY_DIRECTORY = "/dev/shm"  # keys that pass through it never reach a disk


def load(cluster: dict[str, Any], user: dict[str, Any], directory: str) -> dict[str, Any]:
    """The credentials. directory: where the package may put keys. Raises whatever the package raises."""
    from kubernetes.client import Configuration
    from kubernetes.config.kube_config import KubeConfigLoader

    names = {"context": {"cluster": "cluster", "user": "user"}}
    loader = KubeConfigLoader(
        {
            "current-context": "context",
            "contexts": [{"name": "context", **names}],
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
        },
        config_base_path="",
        temp_file_path=directory,
    )
    configuration = Configuration()
    loader.load_and_set(configuration)
    keys = configuration.api_key
    expiry = getattr(loader, "expiry", None)
    return {
        # Older versions of the package call it by the second name.
        "authorization": keys.get("BearerToken") or keys.get("authorization") or "",
        "ca": _contents(configuration.ssl_ca_cert),
        "certificate": _contents(configuration.cert_file),
        "key": _contents(configuration.key_file),
        "expires": expiry.timestamp() if expiry else None,
    }


class Complaints(logging.Handler):
    """Collects what the package has to say: what went wrong with an exec plugin, it tells nobody else."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.texts.append(record.getMessage())


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What is written to stdout for what was read from stdin."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    place = MEMORY_DIRECTORY if os.access(MEMORY_DIRECTORY, os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix="kdns-") as directory:
            found = load(question["cluster"], question["user"], directory)
    except ImportError as error:
        return {"error": f"{error}: a kubeconfig needs the package `kubernetes`: pip install 'kdns[server]'"}
    except Exception as error:  # of the package, which raises many kinds
        return {"error": str(error) or type(error).__name__}
    finally:
        logging.getLogger().removeHandler(complaints)
    return {"error": "; ".join(complaints.texts)} if complaints.texts else found


def _contents(path: str | None) -> str:
    if not path:
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _end(*_: object) -> None:
    """Whoever started us may be gone: nothing that we have started, which is in our process group, outlives us."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Answer one question."""
    question = json.load(sys.stdin)
    signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, question["seconds"])
    json.dump(answer(question), sys.stdout)


if __name__ == "__main__":
    main()
