"""A service of real processes: replicas on loopback addresses, and kdns, which names those that a manifest lists.

For use inside a network namespace of its own (bench.client_real), where ports are free and packets may be dropped. Not
here: load, scenarios.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

DNS = ("127.0.0.1", 1053)
PORT = 8080
TARGET = "replicas.shop:http"
TTL_SECONDS = 1
SERVICE_MILLISECONDS = 5.0
PATIENCE = 20.0

_COREFILE = """.:{port} {{
    bind {address}
    kubernetes cluster.local {{
        manifests {manifest}
        ttl {ttl}
    }}
}}
"""
_MANIFEST = """apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: v1
kind: Service
metadata: {{name: replicas, namespace: shop}}
spec: {{clusterIP: None, clusterIPs: [None], ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: replicas-1, namespace: shop, labels: {{kubernetes.io/service-name: replicas}}}}
addressType: IPv4
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints:
{endpoints}
"""


def address_of(number: int) -> str:
    """Of a replica, from 0 on."""
    return f"127.0.0.{11 + number}"


class Service:
    """kdns and the replicas; all end with `close`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._replicas: dict[int, subprocess.Popen[bytes]] = {}
        self._gone: list[subprocess.Popen[bytes]] = []
        self._dns: subprocess.Popen[bytes] | None = None

    def start(self, count: int) -> None:
        """Start so many replicas, and kdns, which names them."""
        for number in range(count):
            self.launch(number)
        for number in range(count):
            wait_for_port((address_of(number), PORT))
        self.publish(range(count))
        corefile = self._directory / "Corefile"
        corefile.write_text(
            _COREFILE.format(port=DNS[1], address=DNS[0], manifest=self._directory / "shop.yaml", ttl=TTL_SECONDS)
        )
        command = [sys.executable, "-m", "kdns", "serve", "-conf", str(corefile), "--workers", "1"]
        with (self._directory / "kdns.log").open("wb") as log:
            self._dns = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for_port(DNS)

    def launch(self, number: int) -> None:
        """Start a replica; `wait_for_port` says when it listens."""
        log = self._directory / f"{number}.log"
        arguments = [address_of(number), str(PORT), str(log), str(SERVICE_MILLISECONDS)]
        self._replicas[number] = subprocess.Popen([sys.executable, "-m", "bench.replica", *arguments])

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a replica a signal."""
        process = self._replicas[number]
        process.send_signal(what)
        if what in (signal.SIGTERM, signal.SIGKILL):
            self._gone.append(self._replicas.pop(number))

    async def gone(self) -> None:
        """Wait until those that were told to end have ended."""
        loop = asyncio.get_running_loop()
        for process in self._gone:
            await loop.run_in_executor(None, process.wait, PATIENCE)
        self._gone.clear()

    def publish(self, numbers: Iterable[int]) -> None:
        """DNS names these from now on: a file that is renamed into place, which kdns sees within 0.2 s."""
        endpoints = "\n".join(
            f"- {{addresses: [{address_of(number)}], conditions: {{ready: true}}}}" for number in numbers
        )
        fresh = self._directory / "shop.yaml.new"
        fresh.write_text(_MANIFEST.format(port=PORT, endpoints=endpoints))
        os.replace(fresh, self._directory / "shop.yaml")

    def processed(self) -> dict[int, list[str]]:
        """What each replica's log says."""
        logs = {path.stem: path.read_text().split() for path in self._directory.glob("*.log") if path.stem.isdigit()}
        return {int(stem): lines for stem, lines in logs.items()}

    def close(self) -> None:
        """End all."""
        processes = [*self._replicas.values(), *self._gone, *([self._dns] if self._dns else [])]
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in processes:
            process.wait()


def wait_for_port(place: tuple[str, int]) -> None:
    """Until somebody listens there. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(place, 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"nobody listens on {place}")
