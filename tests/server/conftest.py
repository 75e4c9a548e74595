"""Fixtures. `serve`: kdns in processes of its own; see tests/server/serving.py for what it returns. `shop`: a cluster
at a fake API server that is up, and a kdns to watch it; see tests/server/watched.py. `authority`: signs certificates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server.serving import Server, free_port
from tests.support.peerserver import Authority

if TYPE_CHECKING:
    from tests.server.watched import Shop

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start kdns with these arguments and wait until it is ready; every one started is gone after the test.

    serve("--manifests", path)               listens on a free port of 127.0.0.1, with two workers
    serve("-conf", path, listen=False)       the Corefile says where; give port= to have `ask` know it
    serve(..., workers=1, is_ready=False)    does not wait
    serve(..., prefix=("env", "A=B"))        by a command that becomes kdns
    """
    servers: list[Server] = []

    def start(
        *arguments: object, workers: int = 2, port: int = 0, listen: bool = True, is_ready: bool = True,
        prefix: Sequence[str] = (),
    ) -> Server:  # fmt: skip
        port = port or free_port()
        where = ("--listen", f"127.0.0.1:{port}") if listen else ()
        server = Server(("serve", *where, "--workers", workers, *arguments), tmp_path, port, prefix=prefix)
        servers.append(server)
        if is_ready:
            server.wait_for(r"\] ready: ")
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def shop(serve: Serve, tmp_path: Path) -> Iterator[Shop]:
    from tests.server.watched import Shop, shop_api

    with shop_api() as api:
        yield Shop(serve, tmp_path, api)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()
