"""One kdns for all hostile tests: it has to outlive them all, with one worker and the zones of the demo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.hostile import ZONES
from tests.server.serving import Server, free_port


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A kdns on 127.0.0.1 with one worker; at the end, its log must tell of no bug and it must stop as asked."""
    zone, manifest = ZONES
    port = free_port()
    arguments = ["serve", "--listen", f"127.0.0.1:{port}", "--workers", "1"]
    sources = ["--zones", f"example.org={zone}", "--manifests", manifest]
    server = Server([*arguments, *sources], tmp_path_factory.mktemp("target"), port)
    try:
        server.wait_for(r"\] ready: ")
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log
        assert "kdns bug" not in server.log
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def unharmed(target: Server) -> Iterator[None]:
    """Before and after each test the same worker answers over UDP and TCP, and its log tells of no bug."""
    worker = target.children()["kdns-worker-0"]
    yield
    assert target.children()["kdns-worker-0"] == worker
    for tcp in (False, True):
        assert target.addresses("web.example.org", tcp=tcp) == ["192.0.2.80", "192.0.2.81"]
    assert "Traceback" not in target.log
    assert "kdns bug" not in target.log
