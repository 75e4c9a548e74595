"""Names outside, through all of kdns: workers, the forwarder, and upstreams that are scripted, or NSD."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.server.conftest import Serve
from tests.server.serving import Server, free_port, is_alive, rest_between_looks
from tests.support.peers import NSD, started
from tests.support.peerserver import Authority
from tests.support.programs import require
from tests.support.stopping import stop
from tests.support.upstreamserver import Asked, End, ScriptedUpstream

ZONE = """$ORIGIN example.org.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
www AAAA 2001:db8::80
alias CNAME www
many TXT "{many}"
"""
CLUSTER = """example.net. 300 IN SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 60
example.net. 300 IN NS ns.example.net.
www.example.net. 300 IN A 10.0.0.1
"""

Configured = Callable[..., Server]


def answered(asked: Asked) -> bytes:
    return asked.answer("192.0.2.1")


@pytest.fixture
def forwarding(serve: Serve, tmp_path: Path) -> Configured:
    """kdns with one server block: a zone of its own, and these lines."""

    def start(*lines: str, workers: int = 2) -> Server:
        port = free_port()
        (tmp_path / "example.net").write_text(CLUSTER)
        body = "\n".join(("bind 127.0.0.1", "errors", f"file {tmp_path}/example.net example.net", *lines))
        (tmp_path / "Corefile").write_text(f".:{port} {{\n{body}\n}}\n")
        return serve("-conf", tmp_path / "Corefile", listen=False, port=port, workers=workers)

    return start


def test_a_name_of_ours_is_not_forwarded_and_another_one_is(forwarding: Configured) -> None:
    with ScriptedUpstream(answered) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        assert server.addresses("www.example.net") == ["10.0.0.1"]
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        assert server.addresses("www.example.org", tcp=True) == ["192.0.2.1"]
        assert {asked.name.lower() for asked in upstream.asked} == {"www.example.org"}
        assert server.stop() == 0


def test_what_is_kept_is_asked_once_by_all_workers_and_counts_down(forwarding: Configured) -> None:
    with ScriptedUpstream(lambda asked: asked.answer("192.0.2.1", ttl=100)) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}", "cache 30")
        assert server.addresses_everywhere("www.example.org") == {("192.0.2.1",)}
        assert server.ask("www.example.org").answer[0].ttl <= 30
        assert len(upstream.asked) == 1


def test_without_cache_every_question_is_asked(forwarding: Configured) -> None:
    with ScriptedUpstream(answered) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        for _ in range(3):
            server.ask("www.example.org")
        assert len(upstream.asked) == 3


def test_equal_questions_at_the_same_time_are_asked_once(forwarding: Configured) -> None:
    go = threading.Event()

    def script(asked: Asked) -> bytes:
        go.wait(20)
        return asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        found: list[list[str]] = []

        def ask() -> None:
            found.append(server.addresses("www.example.org"))

        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        upstream.wait_for_queries(1)
        go.set()
        for client in clients:
            client.join(20)
        assert found == [["192.0.2.1"]] * 8
        assert len(upstream.asked) < 8


def test_a_truncated_answer_is_fetched_over_tcp(forwarding: Configured) -> None:
    def script(asked: Asked) -> bytes:
        return asked.answer(*(f"192.0.2.{n}" for n in range(1, 201))) if asked.tcp else asked.truncated()

    with ScriptedUpstream(script) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        over_udp = server.ask("www.example.org")
        assert over_udp.flags & dns.flags.TC
        assert len(server.addresses("www.example.org", tcp=True)) == 200
        assert {asked.tcp for asked in upstream.asked} == {False, True}


def test_a_server_that_folds_the_name_is_asked_over_tcp(forwarding: Configured) -> None:
    def script(asked: Asked) -> bytes:
        wire = asked.answer("192.0.2.1" if asked.tcp else "198.51.100.66")
        return wire if asked.tcp else wire.lower()

    with ScriptedUpstream(script) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        assert server.addresses("a-long-name-with-many-letters.example.org") == ["192.0.2.1"]


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_connection_that_ends_in_the_middle_fails_over(forwarding: Configured, end: End) -> None:
    with ScriptedUpstream(lambda _: end) as bad, ScriptedUpstream(answered) as good:
        upstreams = f"127.0.0.1:{bad.port} 127.0.0.1:{good.port}"
        server = forwarding(f"forward . {upstreams} {{\nforce_tcp\npolicy sequential\n}}")
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        assert all(asked.tcp for asked in good.asked)


def test_the_next_upstream_is_asked_when_one_refuses_is_silent_or_fails(forwarding: Configured) -> None:
    silent = ScriptedUpstream(lambda _: None)
    failing = ScriptedUpstream(lambda asked: asked.rcode(2))
    with silent, failing, ScriptedUpstream(answered) as good:
        ports = (free_port(), silent.port, failing.port, good.port)
        upstreams = " ".join(f"127.0.0.1:{port}" for port in ports)
        server = forwarding(f"forward . {upstreams} {{\npolicy sequential\n}}")
        began = time.monotonic()
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        assert time.monotonic() - began < 2.0  # 0.2 s, and what a loaded machine adds


def test_nobody_who_answers_is_servfail_with_its_reason(forwarding: Configured) -> None:
    server = forwarding(f"forward . 127.0.0.1:{free_port()}")
    query = dns.message.make_query("www.example.org", "A", use_edns=True)
    reply = dns.query.udp(query, server.address, port=server.port, timeout=10)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [option.code for option in reply.options if isinstance(option, dns.edns.EDEOption)] == [22]


def test_excepted_names_stay_here(forwarding: Configured) -> None:
    with ScriptedUpstream(answered) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port} {{\nexcept example.com\n}}")
        assert server.ask("www.example.com").rcode() == dns.rcode.REFUSED
        assert upstream.asked == []


def test_an_upstream_over_tls_is_verified_by_its_name(
    forwarding: Configured, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    good = ScriptedUpstream(answered, tls=authority.server("dns.example.org"))
    bad = ScriptedUpstream(answered, tls=authority.server("other.example.org"))
    with good, bad:
        line = "forward {} tls://127.0.0.1:{} {{\ntls {}/ca.pem\ntls_servername dns.example.org\n}}"
        server = forwarding(
            line.format("example.org", good.port, tmp_path), line.format("example.com", bad.port, tmp_path)
        )
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        mark = server.mark()
        assert server.ask("www.example.com", timeout=10).rcode() == dns.rcode.SERVFAIL
        server.wait_for(rf"tls://127\.0\.0\.1:{bad.port} \(dns\.example\.org\): no TLS connection: ", after=mark)
        assert bad.asked == []


def test_the_servers_of_a_resolv_conf_are_followed(forwarding: Configured, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.300\n")
    server = forwarding(f"forward . {file}")
    server.wait_for(r"resolv\.conf:1: `nameserver 192\.0\.2\.300` is no address")
    server.wait_for(r"resolv\.conf: names no servers")
    assert server.ask("www.example.org").rcode() == dns.rcode.SERVFAIL
    mark = server.mark()
    file.write_text("nameserver 127.0.0.1\nnameserver 127.0.0.2\n")
    server.wait_for("other servers are asked from now on", after=mark)


def test_a_forwarder_that_is_killed_is_replaced_and_only_names_outside_suffer(forwarding: Configured) -> None:
    silent = threading.Event()

    def script(asked: Asked) -> bytes | None:
        return None if silent.is_set() else asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        silent.set()
        replies: list[dns.message.Message] = []
        waiting = threading.Thread(target=lambda: replies.append(server.ask("slow.example.org")))
        waiting.start()
        upstream.wait_for_queries(2)
        first = server.children()["kdns-forwarder"]
        os.kill(first, signal.SIGKILL)
        assert server.addresses("www.example.net") == ["10.0.0.1"]
        waiting.join(20)
        assert [reply.rcode() for reply in replies] == [dns.rcode.SERVFAIL]
        server.wait_for(rf"forwarder \(pid {first}\) was killed by SIGKILL: restarted")
        server.wait_for_child("kdns-forwarder", other_than=first)
        silent.clear()
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        assert server.stop() == 0


def test_a_forwarder_that_stands_still_is_replaced(forwarding: Configured) -> None:
    with ScriptedUpstream(answered) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}")
        first = server.children()["kdns-forwarder"]
        stop(first)
        assert server.addresses("www.example.net") == ["10.0.0.1"]
        server.wait_for(rf"forwarder \(pid {first}\) is stuck")
        server.wait_for_child("kdns-forwarder", other_than=first)
        assert server.addresses("www.example.org") == ["192.0.2.1"]


def test_a_question_that_is_under_way_at_the_end_is_still_answered(forwarding: Configured) -> None:
    go = threading.Event()

    def script(asked: Asked) -> bytes:
        go.wait(20)
        return asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}", workers=1)
        forwarder = server.children()["kdns-forwarder"]
        found: list[list[str]] = []
        client = threading.Thread(target=lambda: found.append(server.addresses("www.example.org")))
        client.start()
        upstream.wait_for_queries(1)
        server.send(signal.SIGTERM)
        server.wait_for("stopping: finishing")
        go.set()
        client.join(20)
        assert found == [["192.0.2.1"]]
        assert server.wait() == 0
        assert not is_alive(forwarder)


def test_without_forward_there_is_no_forwarder(forwarding: Configured) -> None:
    assert "kdns-forwarder" not in forwarding("whoami").children()


def test_a_reload_may_begin_and_end_forwarding(forwarding: Configured, tmp_path: Path) -> None:
    with ScriptedUpstream(answered) as upstream:
        server = forwarding("whoami")
        assert server.addresses("www.example.org") == []
        before = (tmp_path / "Corefile").read_text()
        (tmp_path / "Corefile").write_text(before.replace("whoami", f"forward . 127.0.0.1:{upstream.port}"))
        server.send(signal.SIGHUP)
        server.wait_for("reloaded: ")
        assert server.addresses("www.example.org") == ["192.0.2.1"]
        mark = server.mark()
        (tmp_path / "Corefile").write_text(before)
        server.send(signal.SIGHUP)
        server.wait_for("reloaded: ", after=mark)
        assert server.addresses("www.example.org") == []
        while "kdns-forwarder" in server.children():  # it goes last
            rest_between_looks()


def test_a_forwarder_opens_no_more_descriptors_with_use(forwarding: Configured) -> None:
    def script(asked: Asked) -> bytes:
        return asked.answer("192.0.2.1") if asked.tcp else asked.truncated()

    with ScriptedUpstream(script) as upstream:
        server = forwarding(f"forward . 127.0.0.1:{upstream.port}", workers=1)
        pid = server.children()["kdns-forwarder"]

        def ask_some(turn: int) -> int:
            for n in range(100):
                assert server.addresses(f"n{n}-{turn}.example.org") == ["192.0.2.1"]
            return len(os.listdir(f"/proc/{pid}/fd"))

        counts = [ask_some(turn) for turn in range(3)]
        # 16 UDP sockets and a connection, besides what the process has anyway.
        assert max(counts) <= 40
        assert counts[2] <= counts[0] + 16


@pytest.mark.peers
def test_nsd_as_upstream_answers_all_that_it_knows(forwarding: Configured, tmp_path: Path) -> None:
    require("nsd")
    zone = tmp_path / "example.org"
    zone.write_text(ZONE.format(many='" "'.join("x" * 200 for _ in range(20))))
    with started(NSD, tmp_path / "nsd", {"example.org": zone}) as port:
        server = forwarding(f"forward . 127.0.0.1:{port}", "cache")
        assert server.addresses("www.example.org") == ["192.0.2.80"]
        assert server.addresses("www.example.org", "AAAA") == ["2001:db8::80"]
        alias = server.ask("alias.example.org")
        assert [rrset.rdtype.name for rrset in alias.answer] == ["CNAME", "A"]
        missing = server.ask("missing.example.org")
        assert missing.rcode() == dns.rcode.NXDOMAIN
        assert [rrset.rdtype.name for rrset in missing.authority] == ["SOA"]
        nodata = server.ask("www.example.org", "MX")
        assert (nodata.rcode(), nodata.answer) == (dns.rcode.NOERROR, [])
        large = server.ask("many.example.org", "TXT", tcp=True)
        assert len(large.answer[0][0].strings) == 20
        assert server.ask("many.example.org", "TXT").flags & dns.flags.TC
