"""kdns.server.waiting and kdns.server.udp: clients that wait for an answer from outside, over UDP."""

from __future__ import annotations

import errno

import pytest

from kdns.answer.outside import Pending
from kdns.observe.families import SEND_FAILURES
from kdns.observe.querylog import Exchange
from kdns.server import waiting
from kdns.server.udp import BATCH
from kdns.server.waiting import PATIENCE_SECONDS, hand_over, observed
from kdns.wire.iana import EDE
from kdns.wire.outside import Source, Unasked, unasked
from tests.support.corefiles import served_by
from tests.support.engines import Served
from tests.support.forwarding import SHED, FakeOutside, answering, forwarding
from tests.support.loopback import Server, ask, client, has_ipv6, receive_all
from tests.support.messages import COOKIE, Answer, mixed_case, opt, option, query, question
from tests.support.shop import SUBTREES, WEB
from tests.unit.server.test_udp import Kernel

WWW = "www.example.net"
ANSWER = f"{WWW}. 300 A 192.0.2.80"
CLIENT = (b"\x7f\0\0\1", 5353)
ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no ::1 here")


@pytest.fixture
def served() -> Served:
    return forwarding(*SUBTREES)


@pytest.fixture
def outside() -> FakeOutside:
    return FakeOutside()


def test_a_reply_comes_when_it_is_told(served: Served, outside: FakeOutside) -> None:
    with Server(served.responder, outside=outside) as server, client(server) as one:
        assert ask(server, one, query(mixed_case(WWW), ident=7)) == []
        assert [asked.question for asked, _ in outside.asked] == [question(WWW)]
        assert server.udp.waiting == 1
        outside.tell(ANSWER)
        [reply] = map(Answer, receive_all(one))
        assert (reply.ident, reply.rdata, reply.question) == (7, ["192.0.2.80"], f"{mixed_case(WWW)}. IN A")
        assert server.udp.waiting == 0


def test_what_is_kept_is_answered_from_then_on(served: Served, outside: FakeOutside) -> None:
    with Server(served.responder, outside=outside) as server, client(server) as one:
        ask(server, one, query(WWW))
        outside.tell(ANSWER, keep=60, source=Source.CACHE_SUCCESS)
        receive_all(one)
        for edns in (b"", opt()):
            [reply] = ask(server, one, query(WWW, ident=8, edns=edns))
            assert (Answer(reply).ident, Answer(reply).rdata) == (8, ["192.0.2.80"])
        assert outside.asked == []


def test_cluster_names_do_not_wait_for_those_outside(served: Served, outside: FakeOutside) -> None:
    """In one batch, in any order, and with any number of them waiting."""
    with Server(served.responder, outside=outside) as server, client(server) as one:
        queries = [query(f"h{at}.test", ident=at) if at % 3 else query(WEB, ident=at) for at in range(3 * BATCH)]
        replies = [Answer(reply) for reply in ask(server, one, *queries)]
        assert [(reply.ident, reply.rdata) for reply in replies] == [
            (at, ["10.0.0.1"]) for at in range(0, 3 * BATCH, 3)
        ]
        assert server.udp.waiting == len(outside.asked) == 2 * BATCH


def test_each_client_hears_its_own_reply_in_the_order_of_the_answers(served: Served, outside: FakeOutside) -> None:
    with (
        Server(served.responder, "0.0.0.0", wildcard=True, outside=outside) as server,
        client(server, "127.0.0.2") as one, client(server, "127.9.8.7") as other,
    ):
        one.send(query("a.test", ident=1))
        other.send(query("b.test", ident=2))
        one.send(query("c.test", ident=3))
        server.run()
        for at, name in ((2, "c"), (1, "b"), (0, "a")):
            outside.tell(f"{name}.test. 60 A 192.0.2.{at}", at=at)
        assert [(Answer(reply).ident, Answer(reply).rdata) for reply in receive_all(one)] == [
            (3, ["192.0.2.2"]), (1, ["192.0.2.0"]),
        ]
        assert [(Answer(reply).ident, Answer(reply).rdata) for reply in receive_all(other)] == [(2, ["192.0.2.1"])]


@ipv6
@pytest.mark.parametrize(("host", "wildcard"), [("::1", False), ("::", True)])
def test_ipv6_clients_are_answered_too(
    served: Served, outside: FakeOutside, host: str, wildcard: bool
) -> None:
    with Server(served.responder, host, wildcard, outside=outside) as server, client(server, "::1") as one:
        ask(server, one, query(WWW))
        outside.tell(ANSWER)
        assert [Answer(reply).rdata for reply in receive_all(one)] == [["192.0.2.80"]]


def test_other_batches_in_between_leave_it_alone(served: Served, outside: FakeOutside) -> None:
    with (
        Server(served.responder, "0.0.0.0", wildcard=True, outside=outside) as server,
        client(server, "127.0.0.2") as one, client(server, "127.0.0.3") as other,
    ):
        ask(server, one, query(WWW, ident=1))
        for _ in range(3):
            assert len(ask(server, other, *[query(WEB)] * BATCH)) == BATCH
        outside.tell(*(f"{WWW}. 60 A 10.0.0.{at}" for at in range(28)))
        assert [len(Answer(reply).rdata) for reply in receive_all(one)] == [28]
        assert len(ask(server, other, query(WEB))) == 1


@pytest.mark.parametrize("is_there", [False, True])
def test_without_room_or_forwarder_the_client_hears_so_at_once(served: Served, is_there: bool) -> None:
    outside = FakeOutside()
    outside.refused = SHED
    with Server(served.responder, outside=outside if is_there else None) as server, client(server) as one:
        replies = ask(server, one, query(WEB, ident=1), query(WWW, ident=2, edns=opt()), query(WEB, ident=3))
        assert [(Answer(reply).ident, Answer(reply).rcode) for reply in replies] == [
            (1, "NOERROR"), (2, "SERVFAIL"), (3, "NOERROR"),
        ]
        why = Unasked.FULL if is_there else Unasked.GONE
        assert Answer(replies[1]).ede == [(EDE.NETWORK_ERROR, why.value)]
        assert server.udp.waiting == 0


@pytest.mark.parametrize("qtype", ["HTTPS", 97])
@pytest.mark.parametrize("edns", [b"", opt(), opt(options=option(COOKIE, bytes(8)))])
def test_a_type_that_folds_to_another_is_asked_as_itself(
    served: Served, outside: FakeOutside, qtype: str | int, edns: bytes
) -> None:
    message = query(mixed_case(WWW), qtype, ident=9, edns=edns)
    with Server(served.responder, outside=outside) as server, client(server) as one:
        ask(server, one, message)
        [(asked, _)] = outside.asked
        end = len(message) - len(edns)
        assert asked.question == message[12 : end - 4].lower() + message[end - 4 : end]
        outside.tell()
        [reply] = receive_all(one)
        assert reply[12:end] == message[12:end]
        assert (Answer(reply).ident, Answer(reply).rcode) == (9, "NOERROR")


@pytest.mark.parametrize("why", Unasked)
@pytest.mark.parametrize("edns", [b"", opt(), opt(options=option(COOKIE, bytes(8)))])
@pytest.mark.parametrize("is_late", [False, True])
def test_what_has_no_answer_because_of_us_says_why(served: Served, why: Unasked, edns: bytes, is_late: bool) -> None:
    outside = FakeOutside()
    outside.refused = None if is_late else unasked(why)
    with Server(served.responder, outside=outside) as server, client(server) as one:
        replies = ask(server, one, query(WWW, ident=2, edns=edns))
        for _, on_told in outside.asked:
            assert replies == []
            on_told(unasked(why, 1))
            outside.afterwards.pop()()
            replies = receive_all(one)
        [reply] = map(Answer, replies)
        assert (reply.ident, reply.rcode, reply.flags) == (2, "SERVFAIL", {"QR", "RD", "RA"})
        assert reply.ede == ([(EDE.NETWORK_ERROR, why.value)] if edns else [])
        assert server.udp.waiting == 0


def test_late_replies_that_come_together_are_sent_together(
    served: Served, outside: FakeOutside, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(served.responder, outside=outside) as server, client(server) as one:
        for start in (0, BATCH):
            ask(server, one, *[query(f"h{at}.test", ident=at) for at in range(start, start + BATCH)])
        kernel = Kernel(monkeypatch)
        for asked, on_told in outside.asked[: BATCH + 1]:
            on_told(answering(asked, "h.test. 60 A 192.0.2.1"))
        assert (receive_all(one), len(outside.afterwards)) == ([], 1)
        outside.afterwards.pop()()
        assert [Answer(reply).ident for reply in receive_all(one)] == list(range(BATCH + 1))
        assert kernel.counts == [BATCH, 1]
        assert server.udp.waiting == BATCH - 1


def test_a_late_reply_that_cannot_be_sent_is_counted(
    served: Served, outside: FakeOutside, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(served.responder, outside=outside) as server, client(server) as one:
        ask(server, one, query(WWW), query(WWW))
        Kernel(monkeypatch, -errno.EPERM)
        outside.tell(ANSWER)
        outside.tell(ANSWER)
        assert (len(receive_all(one)), served.counting.total(SEND_FAILURES), server.udp.waiting) == (1, 1, 0)


def test_an_observer_is_told_once_there_is_a_reply(served: Served, outside: FakeOutside) -> None:
    told: list[Exchange] = []
    with Server(served.responder, observer=told.append, outside=outside) as server, client(server) as one:
        ask(server, one, query(WWW, ident=1), query(WEB, ident=2))
        assert [Answer(what.reply).ident for what in told] == [2]
        outside.tell(ANSWER)
        [reply] = receive_all(one)
        assert (told[1].query, told[1].reply, told[1].tcp) == (query(WWW, ident=1), reply, False)
        assert told[1].client[1] == one.getsockname()[1]
        assert told[1].duration_ns > told[0].duration_ns
        outside.refused = SHED
        ask(server, one, query("b.test", ident=3))
        assert Answer(told[2].reply).rcode == "SERVFAIL"


def test_what_is_dropped_is_not_observed() -> None:
    assert observed(None, b"", CLIENT, False, 0, pytest.fail) is None


def test_what_is_handed_over_is_told_to_its_sender(served: Served, outside: FakeOutside) -> None:
    sent: list[bytes] = []
    pending = served.pend(query(WWW))
    assert hand_over(outside, pending, sent.append) is None
    (ask_, on_told), = outside.asked
    assert (ask_, sent) == (pending.ask, [])
    on_told(answering(ask_, ANSWER))
    assert [Answer(reply).rdata for reply in sent] == [["192.0.2.80"]]


# Queries that wait for several answers in turn


def searching() -> Served:
    """A walk over a search domain of the node, and the name itself."""
    return served_by(". {\nautopath @kubernetes\nkubernetes cluster.local\nforward . 192.0.2.53\n}\n", *SUBTREES,
                     resolv_conf="search corp.test\n")


POD_WWW = f"{WWW}.shop.svc.cluster.local"


def test_what_is_told_may_lead_to_the_next_question(outside: FakeOutside) -> None:
    with Server(searching().responder, outside=outside) as server, client(server) as one:
        assert ask(server, one, query(POD_WWW, ident=7)) == []
        outside.tell(rcode="NXDOMAIN")
        assert receive_all(one) == []
        assert server.udp.waiting == 1
        assert [asked.question for asked, _ in outside.asked] == [question(WWW)]
        assert all(0 < patience <= PATIENCE_SECONDS for patience in outside.patience)
        outside.tell(ANSWER)
        [reply] = map(Answer, receive_all(one))
        assert (reply.ident, reply.rdata) == (7, [f"{WWW}.", "192.0.2.80"])
        assert server.udp.waiting == 0


def test_a_question_that_nobody_takes_in_the_middle_is_servfail(outside: FakeOutside) -> None:
    with Server(searching().responder, outside=outside) as server, client(server) as one:
        ask(server, one, query(POD_WWW))
        outside.refused = SHED
        outside.tell(rcode="NXDOMAIN")
        [reply] = map(Answer, receive_all(one))
        assert reply.rcode == "SERVFAIL"
        assert server.udp.waiting == 0


def test_nothing_more_is_asked_once_the_patience_of_the_client_is_over(
    outside: FakeOutside, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(searching().responder, outside=outside) as server, client(server) as one:
        ask(server, one, query(POD_WWW, edns=opt()))
        now = waiting.time.monotonic()
        monkeypatch.setattr(waiting.time, "monotonic", lambda: now + PATIENCE_SECONDS)
        outside.tell(rcode="NXDOMAIN")
        [reply] = map(Answer, receive_all(one))
        assert (reply.rcode, outside.asked) == ("SERVFAIL", [])
        assert reply.ede == [(EDE.NETWORK_ERROR, Unasked.OVERDUE.value)]


def test_the_observer_is_told_of_the_reply_and_of_nothing_before() -> None:
    seen: list[Exchange] = []
    pending = searching().pend(query(POD_WWW))
    outcome = observed(pending, query(POD_WWW), CLIENT, False, 0, seen.append)
    for rcode, answer in (("NXDOMAIN", ()), ("NOERROR", (ANSWER,))):
        assert isinstance(outcome, Pending)
        assert seen == []
        outcome = outcome.finish(answering(outcome.ask, *answer, rcode=rcode))
    assert [exchange.reply for exchange in seen] == [outcome]
