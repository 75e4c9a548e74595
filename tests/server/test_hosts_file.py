"""`hosts` in processes: a file that comes later, changes, goes, and a control that is killed meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.server.conftest import Serve
from tests.server.probing import http_port, wait_for_metric
from tests.server.serving import Server, free_port
from tests.server.serving import replace as write

ENTRIES = "coredns_hosts_entries"


def kill_control(server: Server) -> int:
    """Kill it, and give the log's place before."""
    mark, control = server.mark(), server.children()["kdns-control"]
    os.kill(control, signal.SIGKILL)
    server.wait_for_child("kdns-control", other_than=control)
    return mark


def test_a_hosts_file_may_come_later_and_what_it_says_outlives_it_and_control(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "Corefile").write_text(
        f".:{port} {{\n bind 127.0.0.1\n prometheus 127.0.0.1:0\n errors\n"
        " hosts hosts.txt {\n 192.0.2.9 inline\n ttl 60\n }\n rewrite ttl prefix foo- 30\n}\n"
    )
    server = serve("-conf", "Corefile", listen=False, port=port)
    metrics = http_port(server, "/metrics")
    assert f"Corefile:5:2: {tmp_path}/hosts.txt: no such hosts file" in server.log
    assert "Corefile:9:2: `prefix foo-` gets a last dot" in server.log
    assert "hosts hosts.txt: 1 rrsets from the Corefile\n" in server.log
    assert server.addresses("inline") == ["192.0.2.9"]
    assert wait_for_metric(metrics, ENTRIES, 1)["coredns_hosts_reload_timestamp_seconds"] == 0

    mark = server.mark()
    write(tmp_path / "hosts.txt", "192.0.2.1 node1 # a node\nnonsense node2\n192.0.2.3 inline\n")
    server.wait_for(r"hosts\.txt:2: .*not an IPv4 or IPv6 address", after=mark)
    server.wait_for(r"visible: .*hosts hosts\.txt 2 names", after=mark)
    assert server.addresses_everywhere("inline") == {("192.0.2.3", "192.0.2.9")}
    assert server.addresses("node1") == ["192.0.2.1"]
    assert wait_for_metric(metrics, ENTRIES, 3)["coredns_hosts_reload_timestamp_seconds"] > 0

    server.wait_for("current again", after=kill_control(server))
    assert server.addresses("node1") == ["192.0.2.1"]

    (tmp_path / "hosts.txt").unlink()
    server.wait_for(r"hosts\.txt: vanished", after=mark)
    mark = kill_control(server)
    server.wait_for(r"hosts hosts\.txt: not read again", after=mark)
    assert server.addresses_everywhere("node1") == {("192.0.2.1",)}
    write(tmp_path / "hosts.txt", "192.0.2.4 node1\n")
    server.wait_for("visible: .*known again", after=mark)
    assert server.addresses_everywhere("node1") == {("192.0.2.4",)}
    assert "kdns bug" not in server.log
    assert server.stop() == 0
