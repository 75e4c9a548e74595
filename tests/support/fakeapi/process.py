"""A fake API server in a process of its own: it shares no interpreter with the test, and can be killed or stopped by
signals. What was written stays in a journal, so that it starts again where it was killed, on the same port.

    with FakeApiProcess(tmp_path) as server:
        server.control.apply(namespace("shop"))
        server.stop()
        server.kill()
        server.start()

It ends with the pipe to its parent. Not here: what it does (server).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Self, cast

from tests.support.fakeapi.apiserver import Behaviour
from tests.support.fakeapi.cache import End
from tests.support.fakeapi.cluster import FakeCluster
from tests.support.fakeapi.control import REMEMBERED, Control, Proxy
from tests.support.fakeapi.endpoint import Endpoint
from tests.support.fakeapi.journal import Journal
from tests.support.fakeapi.server import HOST, FakeApiServer
from tests.support.fakeapi.tls import Certificates, certificates
from tests.support.stopping import stop

_START_SECONDS = 20.0
_REPOSITORY = Path(__file__).parents[3]
# Operations of the server itself, beside those of Control.
_SERVER_OPERATIONS = frozenset(
    {"refuse", "accept", "present", "stall", "reset_connections", "connections", "stop"}
)


@dataclass(frozen=True)
class _Setup:
    """What a process is started with."""

    port: int
    has_tls: bool
    framing: str
    journal: str
    pairs: Certificates
    behaviour: Behaviour
    host: str


class FakeApiProcess(Endpoint):
    """As FakeApiServer; `directory` is where the journal goes, `prefix` a command that the process is started by."""

    def __init__(
        self, directory: Path, *, tls: bool = True, framing: str = "real", port: int = 0,
        behaviour: Behaviour | None = None, host: str = HOST, prefix: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(host, port, tls, certificates())
        self.control = cast(Control, Proxy(self._call))
        self._setup = _Setup(
            port, tls, framing, str(directory / "fakeapi.journal"), self.certificates, behaviour or Behaviour(),
            host,
        )  # fmt: skip
        self._prefix = prefix
        self._remembered: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start, on the same port as before and with what was written before."""
        if self._process is not None:
            return self
        ours, theirs = Pipe()
        command = [*self._prefix, sys.executable, "-m", "tests.support.fakeapi.process", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=_REPOSITORY)
        theirs.close()
        self._pipe = ours
        ours.send(self._setup_now())
        self.port = int(self._receive(_START_SECONDS))
        for each in self._remembered:
            self._exchange(each)
        return self

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is None or self._pipe is None:
            return
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._process = self._pipe = None

    def stop(self) -> None:
        """Make it silent with open sockets."""
        stop(self.pid)

    def go_on(self) -> None:
        """After `stop`."""
        os.kill(self.pid, signal.SIGCONT)

    def server(self, operation: str, *args: Any) -> Any:
        """An operation of the FakeApiServer within: refuse, accept, present, stall, reset_connections, ...

        `set` with a name and a value changes one of its attributes (framing, replica).
        """
        return self._exchange((operation, args, {}))

    def _setup_now(self) -> _Setup:
        return _Setup(**{**self._setup.__dict__, "port": self.port})

    def _call(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if name in REMEMBERED:
            self._remembered.append((name, args, named))
        return self._exchange((name, args, named))

    def _exchange(self, call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> Any:
        if self._pipe is None:
            raise RuntimeError("the process is not running")
        self._pipe.send(call)
        return self._receive(_START_SECONDS)

    def _receive(self, seconds: float) -> Any:
        assert self._pipe is not None
        if not self._pipe.poll(seconds):
            raise TimeoutError("the fake API server does not answer")
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return result


def main(descriptor: int) -> None:
    """The child: serves until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end us
    pipe = Connection(descriptor)
    setup: _Setup = pipe.recv()
    cluster = FakeCluster(
        epoch=time.time() - time.monotonic(), has_defaults=not Path(setup.journal).exists(),
        behaviour=setup.behaviour, now=time.monotonic(),
    )  # fmt: skip
    journal = Journal(cluster.store, Path(setup.journal))
    journal.rewrite()
    cluster.restart(end=End.BROKEN)
    server = FakeApiServer(
        cluster, tls=setup.has_tls, framing=setup.framing, port=setup.port, pairs=setup.pairs, host=setup.host
    )  # fmt: skip
    with server, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(server.port)
        while True:
            name, args, named = pipe.recv()
            pipe.send(_result(server, journal, name, args, named))
    os._exit(0)


def _result(server: FakeApiServer, journal: Journal, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    try:
        if name == "set":
            setattr(server, *args)
            return None
        if name in _SERVER_OPERATIONS:
            return getattr(server, name)(*args, **named)
        result = getattr(server.control, name)(*args, **named)
        if name == "rollback":
            journal.rewrite()
        pickle.dumps(result)
        return result
    except Exception as error:
        return error


if __name__ == "__main__":
    main(int(sys.argv[1]))
