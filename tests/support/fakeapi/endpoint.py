"""Where a fake API server is reached, whether it is a thread of the test or a process: what both have alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from tests.support.fakeapi import kubeconfig
from tests.support.fakeapi.resources import Json
from tests.support.fakeapi.tls import Certificates


class Endpoint(ABC):
    """Starts with `with` or start(). port: 0 before it has started, if any will do."""

    def __init__(self, host: str, port: int, tls: bool, certificates: Certificates) -> None:
        self.host = host
        self.port = port
        self.has_tls = tls
        self.certificates = certificates

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"{'https' if self.has_tls else 'http'}://{self.host}:{self.port}"

    @property
    def ca(self) -> bytes:
        return self.certificates.ca if self.has_tls else b""

    def kubeconfig(self, path: Path, user: Json | None = None) -> Path:
        """Write a kubeconfig; the administrator's with a token, unless another user is given (see kubeconfig)."""
        return kubeconfig.write(path, kubeconfig.kubeconfig(self.url, self.ca, user))

    @abstractmethod
    def start(self) -> Self:
        """Listen, on the same port as before."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL, or what is like it."""

    def restart(self) -> None:
        self.kill()
        self.start()
