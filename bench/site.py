"""The site of the endurance run: two kdns, two upstreams, an API server; each can be ended and started again.

Everything is called from threads, and waits. Not here: who asks (bench.stub), when what is restarted
(bench.endurance).
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from bench import outside, peers, truth
from bench.forwarders import CACHE_NAMES
from bench.inputs import Inputs
from bench.truth import NAMESPACE, Changes
from tests.support.fakeapi import builders
from tests.support.fakeapi.process import FakeApiProcess

KDNS_ADDRESSES = ("127.0.53.1", "127.0.53.2")
LAMEDUCK_SECONDS = 1.0
READY_ZONES = ("cluster.local", outside.ZONE)
COREFILE = """\
.:{port} {{
    bind {address}
    errors {{
        consolidate 5s ".*"
    }}
    health {address}:{health} {{
        lameduck {lameduck}s
    }}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        fallthrough in-addr.arpa ip6.arpa
        ttl 0
    }}
    forward . {upstreams}
    cache 3600 {{
        success {names}
        denial {names}
    }}
}}
"""


class Victim(ABC):
    """Something that is restarted. name: for the report. asked_at: where the stub asks it, if it does."""

    name: str
    asked_at: tuple[str, int] | None = None

    @abstractmethod
    def end(self, is_kill: bool) -> None:
        """End it: by SIGKILL, or politely and wait."""

    @abstractmethod
    def start(self) -> None:
        """Start it again, and wait until it is there."""


class ServerVictim(Victim):
    """A server of bench.peers, always on the same port."""

    def __init__(
        self, name: str, peer: peers.Peer, directory: Path, address: str, port: int, data: Inputs,
        cores: Sequence[int], zones: Sequence[str],
    ) -> None:  # fmt: skip
        self.name, self.address, self.port = name, address, port
        self.log = directory / "log"
        self._zones = zones
        self._launch: Callable[[], peers.Server] = lambda: peers.launch(peer, directory, port, data, cores, address)
        self._server: peers.Server | None = None

    @property
    def server(self) -> peers.Server:
        """What runs. Raises RuntimeError if nothing does."""
        if self._server is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._server

    def start(self) -> None:
        """See Victim."""
        began = time.monotonic()
        self._server = self._launch()
        self._server.wait_ready(began, self._zones)

    def end(self, is_kill: bool) -> None:
        """See Victim."""
        server, self._server = self._server, None
        if server is None:
            return
        if is_kill:
            server.kill_first()
        else:
            server.stop()

    def close(self) -> None:
        """For good, whatever it does."""
        if self._server is not None:
            self._server.kill()


class ApiVictim(Victim):
    """The API server, and what is written there. It keeps what was written."""

    name = "API server"

    def __init__(self, directory: Path, changes: Changes) -> None:
        self._process = FakeApiProcess(directory)
        self._changes = changes
        self._lock = threading.Lock()  # nothing is written while it is away
        self.is_away = False

    def start(self) -> None:
        """See Victim."""
        with self._lock:
            self._process.start()
            self.is_away = False

    def end(self, is_kill: bool) -> None:
        """See Victim."""
        with self._lock:
            self.is_away = True
            if not is_kill:
                self._process.server("stop")
            self._process.kill()

    def close(self) -> None:
        """For good."""
        self._process.kill()

    def fill(self, directory: Path) -> Path:
        """Write the cluster; the kubeconfig."""
        port = [builders.port(80, "http")]
        control = self._process.control
        control.apply(builders.namespace(NAMESPACE))
        for number in range(truth.STEADY):
            address = truth.steady_address(number)
            control.apply(builders.service(NAMESPACE, f"web-{number}", port, clusterIP=address))
        for number in range(truth.CHANGING):
            control.apply(builders.headless(NAMESPACE, f"db-{number}", port))
            self._write(number, self._changes.current(number))
        return self._process.kubeconfig(directory / "kubeconfig")

    def change(self, number: int) -> bool:
        """Give a name another address; False while the API server is away."""
        with self._lock:
            if self.is_away:
                return False
            address, began = self._changes.fresh_address(), time.monotonic()
            self._write(number, address)
            self._changes.changed(number, address, began, time.monotonic())
            return True

    def _write(self, number: int, address: str) -> None:
        port = [builders.port(8080, "http")]
        self._process.control.apply(
            builders.endpoint_slice(NAMESPACE, f"db-{number}-1", f"db-{number}", [address], port)
        )


class Site:
    """Everything, started; ended with the block."""

    def __init__(self, directory: Path, cores: Sequence[int]) -> None:
        self._stack = ExitStack()
        self._cores = cores
        self.changes = Changes()
        with ExitStack() as stack:
            self._api_home = _home(directory, "api")
            self.api = ApiVictim(self._api_home, self.changes)
            stack.callback(self.api.close)
            self.api.start()
            kubeconfig = self.api.fill(directory)
            zone = {outside.ZONE: outside.write_zone(directory / "zone")}
            self._inputs = Inputs(directory / "unused", zone, directory / "unused")
            self.upstreams = [self._upstream(directory, number, stack) for number in (1, 2)]
            self.kdns = [self._kdns(directory, at, kubeconfig, stack) for at in range(len(KDNS_ADDRESSES))]
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def victims(self) -> list[Victim]:
        """In the order in which they are restarted."""
        (first, second), (one, two) = self.kdns, self.upstreams
        return [first, one, second, two, self.api]

    def _upstream(self, directory: Path, number: int, stack: ExitStack) -> ServerVictim:
        name = f"upstream {number}"
        home, peer = _home(directory, f"upstream-{number}"), peers.nsd(is_minimal=True)
        port = peers.free_port()
        victim = ServerVictim(name, peer, home, peers.ADDRESS, port, self._inputs, self._cores, [outside.ZONE])
        stack.callback(victim.close)
        victim.start()
        return victim

    def _kdns(self, directory: Path, at: int, kubeconfig: Path, stack: ExitStack) -> ServerVictim:
        address, home = KDNS_ADDRESSES[at], _home(directory, f"kdns-{at}")
        upstreams = " ".join(f"{one.address}:{one.port}" for one in self.upstreams)

        def command(_: Path, port: int, __: Inputs) -> list[str]:
            return [sys.executable, "-m", "kdns", "serve", "-conf", str(home / "Corefile"), "--workers", "1"]

        port = peers.free_port()
        (home / "Corefile").write_text(
            COREFILE.format(
                port=port, address=address, health=peers.free_port(), lameduck=LAMEDUCK_SECONDS,
                kubeconfig=kubeconfig, upstreams=upstreams, names=CACHE_NAMES,
            )
        )  # fmt: skip
        peer = peers.Peer("kdns", command, ("true",))
        victim = ServerVictim(f"kdns {'AB'[at]}", peer, home, address, port, self._inputs, self._cores, READY_ZONES)
        victim.asked_at = address, port
        stack.callback(victim.close)
        victim.start()
        return victim


def _home(directory: Path, name: str) -> Path:
    home = directory / name
    home.mkdir()
    return home
