"""Our stub on real sockets, with servers that are odd or hostile; and that nothing is left open."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from random import Random

import pytest

from kdns.client.aiodns_backend import RETIRED_MAX, AiodnsBackend
from kdns.client.backend import Kind, Question, Reply
from kdns.client.blocking_stub import IN_FLIGHT_MAX as BLOCKING_MAX
from kdns.client.blocking_stub import BlockingStubBackend
from kdns.client.stub import IN_FLIGHT_MAX, WAITING_MAX, StubBackend
from kdns.client.talking import Preference, place_of
from tests.support.dnsclients import KINDS, STUBS, LoopClient, descriptors, opened
from tests.support.loopback import has_ipv6
from tests.support.upstreamserver import Asked, End, ScriptedUpstream

WEB = Question("web.test.", 1)
both = pytest.mark.parametrize("kind", STUBS)


def good(asked: Asked) -> bytes:
    return asked.answer("10.0.0.1")


@both
def test_ids_ports_and_letter_case_differ_from_query_to_query(kind: str) -> None:
    with ScriptedUpstream(good) as server, opened(kind, [("127.0.0.1", server.port)]) as client:
        for _ in range(20):
            assert client.ask("web.some-namespace.svc.test.", "A").kind is Kind.ANSWER
        assert len({asked.source for asked in server.asked}) > 15
        assert len({asked.message.id for asked in server.asked}) > 15
        assert len({asked.name for asked in server.asked}) > 15


@both
def test_a_reply_with_a_wrong_id_is_passed_over(kind: str) -> None:
    def script(asked: Asked) -> list[bytes]:
        reply = good(asked)
        return [bytes([reply[0] ^ 255]) + reply[1:].replace(b"\x0a\0\0\1", b"\x0a\6\6\6"), reply]

    with ScriptedUpstream(script) as server, opened(kind, [("127.0.0.1", server.port)]) as client:
        assert client.ask("web.test.", "A").addresses[0].address == "10.0.0.1"


@both
def test_a_flood_of_guesses_makes_it_ask_over_tcp(kind: str) -> None:
    def script(asked: Asked) -> list[bytes]:
        guess = bytes([asked.wire[0] ^ 255]) + asked.answer("6.6.6.6")[1:]
        return [good(asked)] if asked.tcp else [guess] * 12

    with ScriptedUpstream(script) as server, opened(kind, [("127.0.0.1", server.port)]) as client:
        assert client.ask("web.test.", "A").addresses[0].address == "10.0.0.1"
        assert [asked.tcp for asked in server.asked] == [False, True]


@both
def test_datagrams_of_others_never_reach_it(kind: str) -> None:
    with ScriptedUpstream(lambda _: None) as server, opened(kind, [("127.0.0.1", server.port)]) as client:
        def forge() -> None:
            asked = server.wait_for_queries(1)[0]
            server.send_from_elsewhere(asked.answer("6.6.6.6"), asked.source)
            server.send(good(asked), asked.source)

        forger = threading.Thread(target=forge)
        forger.start()
        assert client.ask("web.test.", "A").addresses[0].address == "10.0.0.1"
        forger.join()


@both
def test_a_server_that_folds_the_name_is_asked_over_tcp(kind: str) -> None:
    def script(asked: Asked) -> bytes:
        at = 12 + len("web.long-enough-for-chance.test.") + 1
        reply = good(asked)
        return reply[:12] + reply[12:at].lower() + reply[at:]

    with ScriptedUpstream(script) as server, opened(kind, [("127.0.0.1", server.port)]) as client:
        assert client.ask("web.long-enough-for-chance.test.", "A").kind is Kind.ANSWER
        assert [asked.tcp for asked in server.asked] == [False, True]


@both
def test_truncated_without_tcp_is_a_failure_that_says_so(kind: str) -> None:
    with ScriptedUpstream(Asked.truncated, with_tcp=False) as server:
        with opened(kind, [("127.0.0.1", server.port)]) as client:
            reply = client.ask("web.test.", "A", 2.0)
        assert reply.kind is Kind.FAILURE
        assert "over TCP" in reply.text


@both
@pytest.mark.parametrize("end", End)
def test_a_stream_that_breaks_makes_the_next_server_be_asked(kind: str, end: End) -> None:
    def script(asked: Asked) -> bytes | End:
        return end if asked.tcp else asked.truncated()

    with (
        ScriptedUpstream(script) as bad,
        ScriptedUpstream(good) as fine,
        opened(kind, [("127.0.0.1", bad.port), ("127.0.0.1", fine.port)]) as client,
    ):
        assert client.ask("web.test.", "A").kind is Kind.ANSWER


@both
def test_a_server_without_edns_is_asked_without(kind: str) -> None:
    def script(asked: Asked) -> bytes:
        return asked.rcode(1, with_edns=False) if asked.message.edns >= 0 else good(asked)

    with ScriptedUpstream(script) as server, opened(kind, [("127.0.0.1", server.port)]) as client:
        assert client.ask("web.test.", "A").kind is Kind.ANSWER


@both
def test_malformed_makes_the_next_server_be_asked(kind: str) -> None:
    with (
        ScriptedUpstream(lambda asked: good(asked)[:-16]) as bad,
        ScriptedUpstream(good) as fine,
        opened(kind, [("127.0.0.1", bad.port), ("127.0.0.1", fine.port)]) as client,
    ):
        assert client.ask("web.test.", "A").kind is Kind.ANSWER


@both
def test_a_closed_port_makes_the_next_server_be_asked(kind: str) -> None:
    with ScriptedUpstream(good) as closed:
        port = closed.port
    with ScriptedUpstream(good) as fine, opened(kind, [("127.0.0.1", port), ("127.0.0.1", fine.port)]) as client:
        assert client.ask("web.test.", "A").kind is Kind.ANSWER
    with opened(kind, [("127.0.0.1", port)]) as client:
        assert "connection refused" in client.ask("web.test.", "A").text


@both
def test_a_slow_server_is_heard_although_the_next_was_asked(kind: str) -> None:
    asked_next = threading.Event()

    def slow(asked: Asked) -> bytes:
        assert asked_next.wait(5.0)
        return asked.answer("10.0.0.7")

    def silent(_: Asked) -> None:
        asked_next.set()

    with (
        ScriptedUpstream(slow) as first,
        ScriptedUpstream(silent) as second,
        opened(kind, [("127.0.0.1", first.port), ("127.0.0.1", second.port)]) as client,
    ):
        assert client.ask("web.test.", "A").addresses[0].address == "10.0.0.7"


@both
def test_a_server_that_answered_is_preferred_to_a_dead_one(kind: str) -> None:
    with (
        ScriptedUpstream(lambda _: None) as dead,
        ScriptedUpstream(good) as fine,
        opened(kind, [("127.0.0.1", dead.port), ("127.0.0.1", fine.port)]) as client,
    ):
        for _ in range(5):
            assert client.ask("web.test.", "A").kind is Kind.ANSWER
        assert len(dead.asked) == 1


def test_a_preference_ends() -> None:
    preference = Preference()
    preference.answered(1, 10.0)
    assert [preference.first(at) for at in (10.0, 39.9, 40.0)] == [1, 1, 0]
    preference.answered(1, 20.0)
    assert preference.first(40.0) == 0  # not prolonged: the first server is tried again
    preference.answered(1, 50.0)
    preference.answered(0, 51.0)
    assert preference.first(52.0) == 0


@both
def test_ipv6_servers_are_asked(kind: str) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no ::1")
    with ScriptedUpstream(good, host="::1") as server, opened(kind, [("::1", server.port)]) as client:
        assert client.ask("web.test.", "A").kind is Kind.ANSWER


@both
@pytest.mark.parametrize("servers", [[], [("no address", 53)], [("255.255.255.255", 53)]])
def test_servers_that_cannot_be_asked_are_a_failure(kind: str, servers: list[tuple[str, int]]) -> None:
    # The broadcast address may not be connected to: no packet leaves this machine.
    with opened(kind, servers) as client:
        reply = client.ask("web.test.", "A", 0.3)
        assert reply.kind is Kind.FAILURE
        assert reply.text


def test_texts_of_servers_name_other_ports() -> None:
    assert [place_of(host, port).text for host, port in (("10.0.0.1", 53), ("10.0.0.1", 54), ("::1", 54))] == [
        "10.0.0.1", "10.0.0.1:54", "[::1]:54"
    ]  # fmt: skip


# Bounds, ends and what is left


@both
def test_nothing_is_left_open_after_close(kind: str) -> None:
    before, threads = descriptors(), threading.active_count()
    with ScriptedUpstream(lambda _: None) as silent:
        inside = descriptors()
        within = threading.active_count()
        with opened(kind, [("127.0.0.1", silent.port)]) as client:
            _leave_pending(client)
            assert len(descriptors()) > len(inside)
            assert threading.active_count() == within
        assert len(client.backend) == 0
        assert descriptors() == inside
    assert descriptors() == before
    assert threading.active_count() == threads


def _leave_pending(client: object) -> None:
    if not isinstance(client, LoopClient):
        for _ in range(5):
            client.backend.start(WEB, 5.0)  # type: ignore[attr-defined]
        return

    async def ask() -> None:
        for _ in range(5):
            client.backend.ask(WEB, 5.0, _never)
        await asyncio.sleep(0)

    client.runner.run(ask())


def _never(_: Reply) -> None:
    raise AssertionError("told although cancelled")


@pytest.mark.parametrize("kind", ["stub", "aiodns"])
def test_a_loop_that_was_closed_first_is_no_trouble(kind: str) -> None:
    with ScriptedUpstream(lambda _: None) as silent, opened(kind, [("127.0.0.1", silent.port)]) as client:
        _leave_pending(client)
        assert isinstance(client, LoopClient)
        client.runner.close()
        client.backend.close()


def test_what_is_cancelled_is_never_told_and_holds_no_socket() -> None:
    async def run(port: int) -> None:
        backend = StubBackend([("127.0.0.1", port)], Random(3))
        before = descriptors()
        pending = [backend.ask(WEB, 0.2, _never) for _ in range(3)]
        pending[0].cancel()
        await asyncio.sleep(0)
        pending[1].cancel()
        pending[2].cancel()
        pending[2].cancel()
        assert (descriptors(), len(backend)) == (before, 0)
        backend.close()
        refused: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        backend.ask(WEB, 1.0, refused.set_result)
        assert "closed" in (await refused).text

    with ScriptedUpstream(lambda _: None) as silent:
        asyncio.run(run(silent.port))


def test_more_questions_than_may_be_on_their_way_wait_for_their_turn() -> None:
    with ScriptedUpstream(good) as server, opened("stub", [("127.0.0.1", server.port)]) as client:
        replies = client.ask_all([("web.test.", "A")] * (IN_FLIGHT_MAX * 3))
        assert {reply.kind for reply in replies} == {Kind.ANSWER}


def test_more_questions_than_may_wait_fail_at_once_and_those_that_wait_in_time() -> None:
    with ScriptedUpstream(lambda _: None) as server, opened("stub", [("127.0.0.1", server.port)]) as client:
        replies = client.ask_all([("web.test.", "A")] * (IN_FLIGHT_MAX + WAITING_MAX + 1), 0.2)
        assert {reply.kind for reply in replies} == {Kind.FAILURE}
        assert sum("too many" in reply.text for reply in replies) == 1


def test_a_blocking_question_is_answered_by_looking_alone() -> None:
    with ScriptedUpstream(good) as server:
        backend = BlockingStubBackend([("127.0.0.1", server.port)])
        pending = backend.start(WEB, 5.0)
        server.wait_for_queries(1)
        while (reply := pending.poll(time.monotonic())) is None:
            pass
        assert reply.kind is Kind.ANSWER
        assert pending.poll(time.monotonic()) is pending.wait(0.0) is reply
        assert len(backend) == 0
        pending.cancel()
        backend.close()


def test_a_blocking_wait_ends_when_it_is_to() -> None:
    with ScriptedUpstream(lambda _: None) as server:
        backend = BlockingStubBackend([("127.0.0.1", server.port)])
        pending = backend.start(WEB, 5.0)
        assert pending.wait(time.monotonic() + 0.05) is None
        pending.cancel()
        assert pending.wait(time.monotonic() + 5.0) is None
        backend.close()
        assert "closed" in str(backend.start(WEB, 1.0).wait(0.0))


def test_blocking_questions_on_their_way_are_bounded() -> None:
    with ScriptedUpstream(lambda _: None) as server:
        backend = BlockingStubBackend([("127.0.0.1", server.port)])
        pending = [backend.start(WEB, 5.0) for _ in range(BLOCKING_MAX + 1)]
        reply = pending[-1].poll(time.monotonic())
        assert reply is not None
        assert "too many" in reply.text
        backend.close()


def test_a_stream_that_is_reset_at_once_leaves_the_loop_clean() -> None:
    async def run(port: int) -> None:
        loop = asyncio.get_running_loop()
        backend = StubBackend([("127.0.0.1", port)])
        for _ in range(20):
            told: asyncio.Future[Reply] = loop.create_future()
            backend.ask(WEB, 0.3, told.set_result)
            assert (await told).kind is Kind.FAILURE
        selector = loop._selector  # type: ignore[attr-defined]
        assert len(selector.get_map()) == 1  # the loop's own pipe
        backend.close()

    def script(asked: Asked) -> bytes | End:
        return End.RESET if asked.tcp else asked.truncated()

    with ScriptedUpstream(script) as server:
        asyncio.run(run(server.port))


def test_questions_on_channels_of_aiodns_flushed_away_are_bounded_and_told_later() -> None:
    async def run(port: int) -> None:
        loop = asyncio.get_running_loop()
        backend = AiodnsBackend([("127.0.0.1", port)])
        waiting = []
        for number in range(RETIRED_MAX + 1):
            told: asyncio.Future[Reply] = loop.create_future()
            backend.ask(Question(f"n{number}.test.", 1), 5.0, told.set_result)
            waiting.append(told)
            backend.flush()
            assert not told.done()
        assert (await waiting[0]).kind is Kind.FAILURE
        assert not any(told.done() for told in waiting[1:])
        backend.close()

    with ScriptedUpstream(lambda _: None) as silent:
        asyncio.run(run(silent.port))


def test_without_aiodns_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aiodns", None)

    async def make() -> None:
        AiodnsBackend([("127.0.0.1", 53)])

    with pytest.raises(ValueError, match=r"kdns\[aiodns\]"):
        asyncio.run(make())


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_backend_may_be_closed_again(kind: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with opened(kind, [sock.getsockname()]) as client:
            client.backend.close()
            client.backend.flush()
