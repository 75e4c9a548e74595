"""Tests that run on the fake API server always, and on a real one when KDNS_TEST_KUBECONFIG names a kubeconfig of it.

A test that takes `api` runs on both, and must be written so that it may: in namespaces of its own (`api.namespace`),
beside whatever else is in the cluster. Nobody sends traffic to the addresses that it writes down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server.serving import Server, free_port
from tests.support.fakeapi.api import Api
from tests.support.fakeapi.server import FakeApiServer

REAL_KUBECONFIG = "KDNS_TEST_KUBECONFIG"


@pytest.fixture(scope="session")
def fake_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a fake that serves all tests of the session, as the real one does."""
    with FakeApiServer() as server:
        yield server.kubeconfig(tmp_path_factory.mktemp("fake") / "config")


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.realapi)])
def api(request: pytest.FixtureRequest, fake_kubeconfig: Path) -> Iterator[Api]:
    """A cluster to write to; `api.kubeconfig` is the way for kdns to watch it."""
    is_real = request.param == "real"
    if is_real and not os.environ.get(REAL_KUBECONFIG):
        pytest.skip(f"no real API server: {REAL_KUBECONFIG} names no kubeconfig")
    path = Path(os.environ[REAL_KUBECONFIG]) if is_real else fake_kubeconfig
    with Api(path, is_real) as one:
        yield one


@dataclass(frozen=True)
class Watched:
    """A cluster, and kdns that watches it."""

    api: Api
    server: Server


@pytest.fixture
def watched(api: Api, tmp_path: Path) -> Iterator[Watched]:
    port = free_port()
    arguments = ("serve", "--kubeconfig", api.kubeconfig, "--listen", f"127.0.0.1:{port}", "--workers", 1)
    server = Server(arguments, tmp_path, port)
    try:
        server.wait_for(r"\] ready: ")
        yield Watched(api, server)
    finally:
        server.kill()
