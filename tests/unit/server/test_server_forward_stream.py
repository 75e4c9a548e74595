"""kdns.server.upstream_stream, over real connections: pipelining, reconnects, idle ends, and TLS."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.forward.values import Fault, Transport, UpstreamSpec
from kdns.server.trust import Trust, TrustFiles
from kdns.server.upstream_stream import (
    CONNECTIONS_MAX,
    PIPELINE_MAX,
    SILENCE_SECONDS,
    SPREAD_FROM,
    StreamPool,
)
from kdns.server.upstreams import Manners
from kdns.wire.iana import Rcode
from tests.server.serving import free_port
from tests.support.peerserver import Authority
from tests.support.stand import Stand
from tests.support.upstreamserver import Asked, End, ScriptedUpstream

TCP, TLS = Transport.TCP, Transport.TLS


def answered(asked: Asked) -> bytes:
    return asked.answer("192.0.2.1")


def pool(stand: Stand) -> StreamPool:
    (one,) = [one for one in stand.upstreams._pools.values() if isinstance(one, StreamPool)]
    return one


def test_questions_share_a_connection_and_are_answered_in_any_order() -> None:
    held: list[Asked] = []

    def script(asked: Asked) -> list[bytes]:
        held.append(asked)
        if len(held) < 3:
            return []
        return [one.answer(f"192.0.2.{len(one.name.partition('.')[0])}") for one in reversed(held)]

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        tokens = [stand.ask(upstream.port, TCP, name=f"{label}.example.org") for label in ("a", "bb", "ccc")]
        found = [stand.addresses(token) for token in tokens]
        assert found == [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.3"]]
        assert upstream.connections == 1


def test_many_questions_are_spread_over_a_bounded_number_of_connections() -> None:
    go = threading.Event()

    def script(asked: Asked) -> bytes:
        go.wait(20)
        return asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        tokens = [stand.ask(upstream.port, TCP) for _ in range(CONNECTIONS_MAX * PIPELINE_MAX)]
        assert pool(stand).connections == CONNECTIONS_MAX
        assert stand.outcomes == {}
        assert stand.outcomes.get(stand.ask(upstream.port, TCP)) is Fault.NO_ROOM
        go.set()
        assert stand.addresses(tokens[-1]) == ["192.0.2.1"]
        stand.run_until(lambda: len(stand.upstreams) == 0)


def test_few_questions_need_one_connection() -> None:
    with ScriptedUpstream(lambda _: None) as upstream, Stand() as stand:
        for _ in range(SPREAD_FROM):
            stand.ask(upstream.port, TCP)
        assert pool(stand).connections == 1


def test_a_port_that_nobody_listens_on_refuses() -> None:
    with Stand() as stand:
        assert stand.outcome(stand.ask(free_port(), TCP)) is Fault.REFUSED


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_first_question_that_breaks_its_connection_is_broken(end: End) -> None:
    with ScriptedUpstream(lambda _: end) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port, TCP)) is Fault.BROKEN
        assert upstream.connections == 1


def test_a_question_on_a_connection_that_the_server_has_just_ended_is_sent_again() -> None:
    def script(asked: Asked) -> bytes | End:
        is_second_of_first = len(upstream.asked) == 2
        return End.RESET if is_second_of_first else asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        stand.outcome(stand.ask(upstream.port, TCP))
        assert stand.addresses(stand.ask(upstream.port, TCP)) == ["192.0.2.1"]
        assert upstream.connections == 2
        assert len(upstream.asked) == 3


def test_a_question_is_sent_twice_at_most() -> None:
    def script(asked: Asked) -> bytes | End:
        return asked.answer("192.0.2.1") if asked.name.startswith("good") else End.CLOSE

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        stand.outcome(stand.ask(upstream.port, TCP, name="good.example.org"))
        assert stand.outcome(stand.ask(upstream.port, TCP, name="bad.example.org")) is Fault.BROKEN
        assert len(upstream.asked) == 3


def test_a_server_that_answers_one_question_for_each_connection_is_given_one() -> None:
    def script(asked: Asked) -> list[bytes | End]:
        return [asked.answer("192.0.2.1"), End.CLOSE]

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        tokens = [stand.ask(upstream.port, TCP) for _ in range(3)]
        stand.run_until(lambda: all(token in stand.outcomes for token in tokens))
        tokens = [stand.ask(upstream.port, TCP) for _ in range(CONNECTIONS_MAX)]
        assert [stand.addresses(token) for token in tokens] == [["192.0.2.1"]] * CONNECTIONS_MAX


def test_an_idle_connection_is_closed_in_time() -> None:
    spec_idle = 0.05
    with ScriptedUpstream(answered) as upstream:
        spec = UpstreamSpec("127.0.0.1", upstream.port)
        with Stand({spec: Manners(idle=spec_idle)}) as stand:
            stand.outcome(stand.ask(upstream.port, TCP))
            began = time.monotonic()
            stand.run_until(lambda: pool(stand).connections == 0)
            assert time.monotonic() - began < 10
            assert stand.addresses(stand.ask(upstream.port, TCP)) == ["192.0.2.1"]
            assert upstream.connections == 2


def test_a_connection_that_is_too_old_is_closed_though_it_is_used() -> None:
    with ScriptedUpstream(answered) as upstream:
        spec = UpstreamSpec("127.0.0.1", upstream.port)
        with Stand({spec: Manners(max_age=0.05)}) as stand:
            began = time.monotonic()
            while upstream.connections < 3:
                assert stand.addresses(stand.ask(upstream.port, TCP)) == ["192.0.2.1"]
                assert time.monotonic() - began < 10


def test_only_so_many_idle_connections_are_kept() -> None:
    with ScriptedUpstream(answered) as upstream:
        spec = UpstreamSpec("127.0.0.1", upstream.port)
        with Stand({spec: Manners(idle_max=1)}) as stand:
            tokens = [stand.ask(upstream.port, TCP) for _ in range(SPREAD_FROM + 1)]
            assert [stand.addresses(token) for token in tokens] == [["192.0.2.1"]] * len(tokens)
            stand.run_until(lambda: pool(stand).connections == 1)
            assert upstream.connections == 2


def test_a_connection_that_has_become_silent_is_given_up() -> None:
    def script(asked: Asked) -> bytes | None:
        return None if asked.name.startswith("mute") else asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        mute = stand.ask(upstream.port, TCP, name="mute.example.org")
        stand.run_until(lambda: bool(upstream.asked))
        pool(stand).sweep(time.monotonic() + SILENCE_SECONDS)
        assert stand.outcome(mute) is Fault.TIMEOUT
        assert stand.addresses(stand.ask(upstream.port, TCP)) == ["192.0.2.1"]
        assert upstream.connections == 2


def test_a_reply_to_another_question_ends_the_connection() -> None:
    def script(asked: Asked) -> bytes:
        return asked.answer("198.51.100.66").replace(b"\x03www", b"\x03ftp")

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port, TCP)) is Fault.BROKEN
        stand.run_until(lambda: pool(stand).connections == 0)


def test_a_reply_that_nobody_waits_for_any_more_is_passed_over() -> None:
    held: list[Asked] = []

    def script(asked: Asked) -> list[bytes]:
        held.append(asked)
        return [one.answer("192.0.2.1") for one in held] if len(held) == 2 else []

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        gone = stand.ask(upstream.port, TCP)
        stand.run_until(lambda: bool(upstream.asked))
        stand.upstreams.cancel(gone)
        assert stand.addresses(stand.ask(upstream.port, TCP)) == ["192.0.2.1"]
        assert gone not in stand.outcomes
        assert upstream.connections == 1


def test_a_reply_that_is_cut_over_tcp_is_malformed() -> None:
    with ScriptedUpstream(lambda asked: asked.truncated()) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port, TCP)) is Fault.MALFORMED


def test_edns_that_is_refused_over_tcp_is_a_fault_of_its_own() -> None:
    with ScriptedUpstream(lambda asked: asked.rcode(Rcode.NOTIMP, with_edns=False)) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port, TCP)) is Fault.NO_EDNS


def test_a_reply_of_64_kilobytes_arrives_whole() -> None:
    def script(asked: Asked) -> bytes:
        return asked.answer(*(f"10.{n >> 8}.{n & 255}.1" for n in range(4080)))

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        assert len(stand.addresses(stand.ask(upstream.port, TCP))) == 4080


def test_connections_leave_no_descriptor_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for end in (None, End.CLOSE, End.RESET):
        with ScriptedUpstream(lambda asked, end=end: end or asked.answer("192.0.2.1")) as upstream, Stand() as stand:
            for _ in range(5):
                stand.outcome(stand.ask(upstream.port, TCP))
            stand.ask(upstream.port, TCP)  # is being opened when all ends
    with Stand() as stand:
        stand.outcome(stand.ask(free_port(), TCP))
    assert len(os.listdir("/proc/self/fd")) == before


# TLS


class Private:
    """An authority, and an upstream that it vouches for by some name."""

    def __init__(self, tmp_path: Path, name: str, script: Callable[[Asked], bytes] = answered) -> None:
        self.authority = Authority()
        self.ca = tmp_path / "ca.pem"
        self.ca.write_text(self.authority.pem)
        self.upstream = ScriptedUpstream(script, tls=self.authority.server(name))

    def stand(self, server_name: str, trust: TrustFiles | None = None) -> Stand:
        spec = UpstreamSpec("127.0.0.1", self.upstream.port, True, server_name)
        return Stand({spec: Manners(trust=TrustFiles(ca=str(self.ca)) if trust is None else trust)})


def test_a_server_is_asked_over_tls_if_its_certificate_has_the_name(tmp_path: Path) -> None:
    private = Private(tmp_path, "dns.example.org")
    with private.upstream as upstream, private.stand("dns.example.org") as stand:
        tokens = [stand.ask(upstream.port, TLS, server_name="dns.example.org") for _ in range(5)]
        assert [stand.addresses(token) for token in tokens] == [["192.0.2.1"]] * 5
        assert upstream.connections == 1
        assert stand.troubles == []


def test_a_server_may_be_vouched_for_by_its_address(tmp_path: Path) -> None:
    private = Private(tmp_path, "127.0.0.1")
    with private.upstream as upstream, private.stand("127.0.0.1") as stand:
        assert stand.addresses(stand.ask(upstream.port, TLS, server_name="127.0.0.1")) == ["192.0.2.1"]


def test_a_certificate_for_another_name_is_not_believed(tmp_path: Path) -> None:
    private = Private(tmp_path, "dns.example.net")
    with private.upstream as upstream, private.stand("dns.example.org") as stand:
        assert stand.outcome(stand.ask(upstream.port, TLS, server_name="dns.example.org")) is Fault.TLS
        assert "dns.example.org" in stand.troubles[0]
        assert upstream.asked == []


def test_a_certificate_of_nobody_known_is_not_believed(tmp_path: Path) -> None:
    private = Private(tmp_path, "dns.example.org")
    with private.upstream as upstream, private.stand("dns.example.org", TrustFiles()) as stand:
        assert stand.outcome(stand.ask(upstream.port, TLS, server_name="dns.example.org")) is Fault.TLS
        assert upstream.asked == []


def test_a_server_that_speaks_no_tls_is_not_asked_without() -> None:
    with ScriptedUpstream(lambda _: b"no TLS") as upstream, Stand() as stand:
        found = stand.outcome(stand.ask(upstream.port, TLS, server_name="dns.example.org", timeout=0.5))
        assert found in (Fault.TLS, Fault.TIMEOUT, Fault.BROKEN)
        assert upstream.asked == []


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    private = Private(tmp_path, "dns.example.org")
    missing = TrustFiles(ca=str(tmp_path / "missing.pem"))
    with private.upstream as upstream, private.stand("dns.example.org", missing) as stand:
        assert stand.outcome(stand.ask(upstream.port, TLS, server_name="dns.example.org")) is Fault.TLS
        assert "missing.pem: cannot be read" in stand.troubles[0]


def test_a_changed_authority_counts_at_the_next_connection(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificates")
    trust = Trust(TrustFiles(ca=str(ca)))
    with pytest.raises(OSError, match=r"ca\.pem: not CA certificates in PEM form"):
        trust()
    ca.write_text(Authority().pem)
    first = trust()
    assert trust() is first
    ca.write_text(Authority().pem + Authority().pem)
    assert trust() is not first
