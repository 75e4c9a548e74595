"""`--log-format json`: every line of every process is one object."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from tests.server.conftest import Serve
from tests.server.serving import free_port, service

WEB = "web.shop.svc.cluster.local"


def test_every_line_is_an_object_with_time_level_and_message(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(service("web", "10.0.0.1"))
    port = free_port()
    corefile = tmp_path / "Corefile.test"
    cluster = "kubernetes cluster.local {\n manifests shop.yaml\n }"
    corefile.write_text(f".:{port} {{\n bind 127.0.0.1\n log\n {cluster}\n}}\n")
    server = serve("-conf", corefile, "--log-format", "json", listen=False, port=port, is_ready=False)
    server.wait_for('"message": "ready: ')
    assert server.addresses(WEB) == ["10.0.0.1"]
    server.wait_for("NOERROR")
    assert server.stop() == 0
    told = [json.loads(line) for line in server.lines]
    assert {"time", "level", "message"} <= set.intersection(*(set(one) for one in told))
    assert {one["level"] for one in told} == {"info"}
    times = [datetime.fromisoformat(one["time"]) for one in told]
    assert max(times) > min(times)
    (query,) = (one for one in told if "NOERROR" in one["message"])
    assert f'"A IN {WEB}. udp ' in query["message"]
