"""kdns.server.upstream_udp, over real sockets: what is sent, what counts as a reply, and how sockets are replaced."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from itertools import pairwise
from random import Random

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.forward.values import Fault, Transport
from kdns.server.exchange import ID_BITS
from kdns.server.upstream_udp import AGE_SECONDS, RETIRED_MAX, SOCKETS_MAX, STRANGERS_MAX, USES_MAX, UdpPool
from kdns.wire.iana import Rcode
from tests.server.serving import free_port
from tests.support.loopback import has_ipv6
from tests.support.stand import Stand
from tests.support.upstreamserver import Asked, ScriptedUpstream


def answered(asked: Asked) -> bytes:
    return asked.answer("192.0.2.1")


def pool(stand: Stand) -> UdpPool:
    (one,) = [one for one in stand.upstreams._pools.values() if isinstance(one, UdpPool)]
    return one


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_query_has_the_question_as_given_rd_and_an_opt_without_options() -> None:
    with ScriptedUpstream(answered) as upstream, Stand() as stand:
        assert stand.addresses(stand.ask(upstream.port, name="WwW.Example.ORG")) == ["192.0.2.1"]
        (asked,) = upstream.asked
    assert asked.name == "WwW.Example.ORG"
    assert asked.message.flags == dns.flags.RD
    assert (asked.message.edns, asked.message.payload, asked.message.options) == (0, 1232, ())


def test_a_query_without_edns_has_no_opt() -> None:
    with ScriptedUpstream(answered) as upstream, Stand() as stand:
        stand.outcome(stand.ask(upstream.port, with_edns=False))
        assert upstream.asked[0].message.edns == -1


def test_an_upstream_is_asked_over_ipv6() -> None:
    if not has_ipv6():
        pytest.skip("no IPv6 here")
    with ScriptedUpstream(answered, host="::1") as upstream, Stand() as stand:
        assert stand.addresses(stand.ask(upstream.port, host="::1")) == ["192.0.2.1"]


def test_a_zone_that_this_machine_has_not_is_unreachable() -> None:
    with Stand() as stand:
        assert stand.outcome(stand.ask(53, host="fe80::1%nowhere")) is Fault.UNREACHABLE


def test_ids_and_ports_are_not_those_of_the_query_before() -> None:
    with ScriptedUpstream(answered) as upstream, Stand() as stand:
        for _ in range(200):
            stand.outcome(stand.ask(upstream.port))
        ids = [asked.message.id for asked in upstream.asked]
        ports = {asked.source for asked in upstream.asked}
    assert len(set(ids)) > 190  # of 65,536: five equal pairs are as unlikely as one in a hundred million
    assert len({(later - earlier) & 0xFFFF for earlier, later in pairwise(ids)}) > 190
    assert len(ports) > SOCKETS_MAX // 2


def test_a_closed_port_is_a_fault_at_once() -> None:
    with Stand() as stand:
        assert stand.outcome(stand.ask(free_port())) is Fault.REFUSED


def test_a_port_that_closes_is_a_fault_for_all_that_wait_there() -> None:
    upstream = ScriptedUpstream(lambda _: None)
    with Stand(draw=Random(1).getrandbits) as stand:
        tokens = [stand.ask(upstream.port) for _ in range(3)]
        stand.run_until(lambda: len(upstream.asked) == 3)
        upstream.close()
        last = stand.ask(upstream.port)
        assert stand.outcome(last) is Fault.REFUSED
        for token in tokens:
            stand.upstreams.cancel(token)
        assert len(stand.upstreams) == 0


def test_silence_is_a_time_out() -> None:
    with ScriptedUpstream(lambda _: None) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port, timeout=0.02)) is Fault.TIMEOUT


def test_of_what_was_cancelled_nothing_is_told() -> None:
    held: list[Asked] = []

    def script(asked: Asked) -> list[bytes]:
        if asked.name.startswith("gone"):
            held.append(asked)
            return []
        upstream.send(held[0].answer("192.0.2.7"), held[0].source)
        return [asked.answer("192.0.2.1")]

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        gone = stand.ask(upstream.port, name="gone.example.org")
        stand.run_until(lambda: bool(held))
        stand.upstreams.cancel(gone)
        stand.upstreams.cancel(gone)
        assert stand.addresses(stand.ask(upstream.port)) == ["192.0.2.1"]
        assert gone not in stand.outcomes


def test_what_is_cancelled_before_it_was_sent_is_not_sent() -> None:
    with ScriptedUpstream(answered) as upstream, Stand() as stand:
        stand.upstreams.cancel(stand.ask(upstream.port, name="gone.example.org"))
        assert stand.addresses(stand.ask(upstream.port)) == ["192.0.2.1"]
        assert [asked.name for asked in upstream.asked] == ["www.example.org"]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda wire: bytes((wire[0] ^ 1,)) + wire[1:], id="another ID"),
        pytest.param(lambda wire: wire.replace(b"\x03www", b"\x03ftp"), id="another name"),
        pytest.param(lambda wire: wire.replace(b"\x03org\0\0\x01", b"\x03org\0\0\x1c", 1), id="another type"),
        pytest.param(lambda wire: wire[:2] + bytes((wire[2] & 0x7F,)) + wire[3:], id="a query"),
        pytest.param(lambda wire: wire[:5], id="no header"),
        pytest.param(lambda _: b"", id="nothing"),
    ],
)
def test_what_is_not_for_this_query_is_passed_over(lie: Callable[[bytes], bytes]) -> None:
    def script(asked: Asked) -> list[bytes]:
        return [lie(asked.answer("198.51.100.66")), asked.answer("192.0.2.1")]

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        assert stand.addresses(stand.ask(upstream.port)) == ["192.0.2.1"]
        assert stand.upstreams.tallies.strangers == 1


def test_a_reply_from_another_port_is_not_heard_at_all() -> None:
    def script(asked: Asked) -> bytes:
        upstream.send_from_elsewhere(asked.answer("198.51.100.66"), asked.source)
        return asked.answer("192.0.2.1")

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        assert stand.addresses(stand.ask(upstream.port)) == ["192.0.2.1"]
        assert stand.upstreams.tallies.strangers == 0


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (lambda asked: asked.truncated(), Fault.TRUNCATED),
        (lambda asked: asked.answer("192.0.2.1").replace(b"\x03www", b"\x03wWw"), Fault.NO_CASE),
        (lambda asked: asked.rcode(Rcode.FORMERR, with_edns=False), Fault.NO_EDNS),
    ],
)
def test_what_a_reply_says_of_itself_is_a_fault(reply: Callable[[Asked], bytes], fault: Fault) -> None:
    with ScriptedUpstream(reply) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port)) is fault


def test_servfail_is_a_reply() -> None:
    with ScriptedUpstream(lambda asked: asked.rcode(Rcode.SERVFAIL)) as upstream, Stand() as stand:
        reply = stand.outcome(stand.ask(upstream.port))
        assert isinstance(reply, dns.message.Message)
        assert reply.rcode() == Rcode.SERVFAIL


def test_a_socket_at_which_somebody_guesses_is_given_up() -> None:
    def script(asked: Asked) -> None:
        for guess in range(STRANGERS_MAX + 2):
            wire = asked.answer("198.51.100.66")
            upstream.send((int.from_bytes(wire[:2], "big") ^ guess + 1).to_bytes(2, "big") + wire[2:], asked.source)

    with ScriptedUpstream(script) as upstream, Stand() as stand:
        assert stand.outcome(stand.ask(upstream.port)) is Fault.NO_CASE
        assert pool(stand).sockets == 0


def test_a_socket_is_replaced_after_its_uses() -> None:
    with ScriptedUpstream(answered) as upstream, Stand(draw=_always_the_same_socket()) as stand:
        for _ in range(2 * USES_MAX):
            stand.outcome(stand.ask(upstream.port))
        sources = [asked.source for asked in upstream.asked]
        assert pool(stand).sockets == 1
    assert len(set(sources[:USES_MAX])) == 1
    assert len(set(sources[USES_MAX:])) == 1
    assert sources[0] != sources[-1]


def test_a_socket_that_waits_is_kept_until_it_has_its_replies() -> None:
    held: list[Asked] = []

    def script(asked: Asked) -> list[bytes]:
        if asked.name.startswith("slow"):
            held.append(asked)
            return []
        if asked.name.startswith("go"):
            upstream.send(held[0].answer("192.0.2.7"), held[0].source)
        return [asked.answer("192.0.2.1")]

    with ScriptedUpstream(script) as upstream, Stand(draw=_always_the_same_socket()) as stand:
        slow = stand.ask(upstream.port, name="slow.example.org")
        for _ in range(USES_MAX):
            stand.outcome(stand.ask(upstream.port))
        assert pool(stand).sockets == 2
        stand.outcome(stand.ask(upstream.port, name="go.example.org"))
        assert stand.addresses(slow) == ["192.0.2.7"]
        assert pool(stand).sockets == 1


def test_sockets_stay_bounded_while_an_upstream_is_silent() -> None:
    before = open_descriptors()
    with ScriptedUpstream(lambda _: None) as upstream, Stand() as stand:
        for _ in range(USES_MAX * (SOCKETS_MAX + RETIRED_MAX)):
            stand.ask(upstream.port)
        assert SOCKETS_MAX < pool(stand).sockets <= SOCKETS_MAX + RETIRED_MAX
        stand.upstreams.sweep(time.monotonic() + 1e6)
        assert set(stand.outcomes.values()) == {Fault.TIMEOUT}
        assert pool(stand).sockets == 0
    assert open_descriptors() == before


def test_a_socket_that_is_idle_is_closed() -> None:
    with ScriptedUpstream(answered) as upstream, Stand() as stand:
        stand.outcome(stand.ask(upstream.port))
        assert pool(stand).sockets == 1
        pool(stand).sweep(time.monotonic() + AGE_SECONDS)
        assert pool(stand).sockets == 0


def test_without_descriptors_there_is_no_room() -> None:
    with ScriptedUpstream(answered) as upstream, Stand(draw=_always_the_same_socket()) as stand:
        stand.outcome(stand.ask(upstream.port))
        pool(stand).close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            token = stand.ask(upstream.port)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert stand.outcomes[token] is Fault.NO_ROOM
        assert stand.addresses(stand.ask(upstream.port)) == ["192.0.2.1"]


def test_who_is_told_of_a_fault_may_ask_and_cancel_at_once() -> None:
    with Stand(draw=_always_the_same_socket()) as stand, ScriptedUpstream(answered) as living:
        asked: list[int] = []

        def on_failed(token: int) -> None:
            stand.on_failed = lambda _: None
            for other in asked:
                if other != token:
                    stand.upstreams.cancel(other)
            asked.append(stand.ask(living.port))

        stand.on_failed = on_failed
        port = free_port()
        asked += stand.ask(port), stand.ask(port)
        stand.run_until(lambda: len(stand.upstreams) == 0)
        answers = [found for found in stand.outcomes.values() if isinstance(found, bytes)]
        assert len(answers) == 1


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.binary(max_size=60)), max_size=8))
def test_whatever_an_upstream_sends_the_question_ends_with_an_answer_or_a_fault(
    rubbish: list[tuple[bool, bool, bytes]],
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream, Stand() as stand:
        upstream.bind(("127.0.0.1", 0))
        upstream.settimeout(10)
        token = stand.ask(upstream.getsockname()[1])
        stand.turn()
        query, client = upstream.recvfrom(65535)
        asked = Asked(query, False, client[1])
        for has_id, is_reply, octets in rubbish:
            head = query[:2] * has_id + b"\x80\0" * is_reply
            upstream.sendto(head + octets, client)
        upstream.sendto(asked.answer("192.0.2.1"), client)
        found = stand.outcome(token)
        if not isinstance(found, Fault):
            assert found.rcode() != Rcode.NOERROR or stand.addresses(token) == ["192.0.2.1"]


def _always_the_same_socket() -> Callable[[int], int]:
    """Random IDs, but never another socket of the pool: the bits above an ID say which one."""
    rng = Random(2)
    return lambda _: rng.getrandbits(ID_BITS)


def test_transports_of_one_upstream_do_not_share_sockets() -> None:
    with ScriptedUpstream(answered) as upstream, Stand() as stand:
        over_udp, over_tcp = stand.ask(upstream.port), stand.ask(upstream.port, Transport.TCP)
        assert stand.addresses(over_udp) == stand.addresses(over_tcp) == ["192.0.2.1"]
        assert sorted(asked.tcp for asked in upstream.asked) == [False, True]
