"""`loop`: kdns whose upstreams lead back to it ends and says so; one whose upstreams do not is left alone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import dns.rcode
import dns.rdatatype
import pytest

from tests.server.conftest import Serve
from tests.server.serving import Server, free_port, rest_between_looks
from tests.support.upstreamserver import Asked, ScriptedUpstream

ZONE = """example.net. 300 IN SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 60
example.net. 300 IN NS ns.example.net.
www.example.net. 300 IN A 10.0.0.1
"""
DETECTED = r'plugin/loop: Loop \(127\.0\.0\.\d -> 127\.0\.0\.1:{port}\) detected for zone "\.", see https://coredns\.io'

Configured = Callable[..., Server]


@pytest.fixture
def looping(serve: Serve, tmp_path: Path) -> Configured:
    """kdns with `loop`, a zone of its own, and these lines; its Corefile is named by the port."""
    (tmp_path / "example.net").write_text(ZONE)

    def start(port: int, *lines: str, workers: int = 2, is_ready: bool = True) -> Server:
        path = tmp_path / f"Corefile-{port}"
        path.write_text(corefile(tmp_path, port, *lines))
        return serve("-conf", path, listen=False, port=port, workers=workers, is_ready=is_ready)

    return start


def corefile(directory: Path, port: int, *lines: str) -> str:
    body = "\n".join(("bind 127.0.0.1", "errors", "loop", f"file {directory}/example.net example.net", *lines))
    return f".:{port} {{\n{body}\n}}\n"


def probes(upstream: ScriptedUpstream) -> list[str]:
    return [
        asked.name.lower() for asked in upstream.asked if asked.message.question[0].rdtype == dns.rdatatype.HINFO
    ]


def wait_for_probes(upstream: ScriptedUpstream, count: int) -> None:
    while len(set(probes(upstream))) < count:
        rest_between_looks()


def test_kdns_that_forwards_to_itself_ends_and_says_what_to_do(looping: Configured) -> None:
    port = free_port()
    server = looping(port, f"forward . 127.0.0.1:{port}", "cache 30", is_ready=False)
    assert server.wait() == 1
    server.wait_for(DETECTED.format(port=port))
    server.wait_for(r'Query: "HINFO \d+\.\d+\."\. What kdns forwards comes back to it: name upstreams')
    assert "kdns bug" not in server.log
    assert "restarted" not in server.log


def test_two_that_forward_to_each_other_both_end(looping: Configured) -> None:
    ports = free_port(), free_port()
    servers = [
        looping(port, f"forward . 127.0.0.1:{other}", is_ready=False)
        for port, other in (ports, reversed(ports))
    ]  # fmt: skip
    # Whoever is the first to find out is no upstream of the other one any more.
    ended = next(server for server in iter_ended(servers))
    assert ended.wait() == 1
    ended.wait_for(DETECTED.format(port=ended.port))


def iter_ended(servers: list[Server]) -> list[Server]:
    while True:
        ended = [server for server in servers if server.process.poll() is not None]
        if ended:
            return ended
        rest_between_looks()


def test_an_upstream_that_answers_is_asked_once_and_left_alone(looping: Configured) -> None:
    with ScriptedUpstream(lambda asked: asked.rcode(dns.rcode.NXDOMAIN)) as upstream:
        port = free_port()
        server = looping(port, f"forward . 127.0.0.1:{upstream.port}")
        wait_for_probes(upstream, 1)
        # A client that asks for HINFO itself, over and over, is none of that.
        assert {server.ask("1.2", "HINFO").rcode() for _ in range(8)} == {dns.rcode.NXDOMAIN}
        assert len([name for name in probes(upstream) if name != "1.2."[:-1]]) == 1
        assert server.stop() == 0


def test_upstreams_that_are_dead_or_silent_are_no_loop(looping: Configured) -> None:
    silent = ScriptedUpstream(lambda asked: None)
    with silent:
        server = looping(free_port(), f"forward . 127.0.0.1:{silent.port} 127.0.0.1:{free_port()}")
        wait_for_probes(silent, 1)
        assert server.addresses("www.example.net") == ["10.0.0.1"]
        assert server.stop() == 0


def test_one_block_may_forward_to_another_one_of_the_same_process(serve: Serve, tmp_path: Path) -> None:
    with ScriptedUpstream(lambda asked: asked.answer("192.0.2.1")) as upstream:
        first, second = free_port(), free_port()
        (tmp_path / "Corefile").write_text(
            f".:{first} {{\n bind 127.0.0.1\n loop\n forward . 127.0.0.1:{second}\n}}\n"
            f".:{second} {{\n bind 127.0.0.1\n loop\n forward . 127.0.0.1:{upstream.port}\n}}\n"
        )
        server = serve("-conf", tmp_path / "Corefile", listen=False, port=first)
        wait_for_probes(upstream, 2)  # that of each block
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        assert server.stop() == 0


def test_a_reload_is_no_loop_and_finds_one(looping: Configured, tmp_path: Path) -> None:
    def script(asked: Asked) -> bytes:
        return asked.rcode(dns.rcode.NXDOMAIN)

    with ScriptedUpstream(script) as upstream:
        port = free_port()
        server = looping(port, f"forward . 127.0.0.1:{upstream.port}")
        wait_for_probes(upstream, 1)
        server.send(signal.SIGHUP)
        server.wait_for("reloaded: only the new")
        wait_for_probes(upstream, 3)  # of the new processes, and again when only they read queries
        (tmp_path / f"Corefile-{port}").write_text(corefile(tmp_path, port, f"forward . 127.0.0.1:{port}"))
        server.send(signal.SIGHUP)
        assert server.wait() == 1
        server.wait_for(DETECTED.format(port=port))
