"""One question and several servers, without sockets: what is sent when, and how it ends."""

from __future__ import annotations

from math import inf
from random import Random

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from kdns.wire.exchange import (
    PATIENCE_SECONDS,
    SENDS_MAX,
    STRANGERS_MAX,
    TURNS,
    Action,
    Close,
    Done,
    Exchange,
    Send,
    Turn,
    turn_of,
)
from kdns.wire.framing import frame
from kdns.wire.upstream import Judged
from tests.support.messages import question

ASKED = question("web.shop.svc.cluster.local")


def exchange(servers: int = 2, timeout: float = 5.0, seed: int = 7, first: int = 0) -> Exchange:
    return Exchange(ASKED, [f"10.0.0.{n}" for n in range(servers)], timeout, 100.0, Random(seed), first)


def sends(actions: list[Action]) -> list[Send]:
    return [action for action in actions if isinstance(action, Send)]


def only(actions: list[Action]) -> Send:
    (found,) = sends(actions)
    return found


def done(actions: list[Action]) -> Done:
    (found,) = [action for action in actions if isinstance(action, Done)]
    assert actions[-1] is found
    return found


def query(sent: Send) -> dns.message.Message:
    return dns.message.from_wire(sent.octets[2:] if sent.tcp else sent.octets)


def reply(sent: Send, rcode: int = 0, flags: int = dns.flags.RA, address: str = "10.1.2.3", edns: bool = True) -> bytes:
    made = dns.message.make_response(query(sent))
    made.flags |= flags
    made.set_rcode(rcode)
    if not edns:
        made.use_edns(False)
    if not rcode:
        made.answer.append(dns.rrset.from_text(made.question[0].name, 30, "IN", "A", address))
    octets = made.to_wire()
    return frame(octets) if sent.tcp else octets


def test_the_first_message_is_a_query_of_the_first_server_with_edns_1232() -> None:
    sent = only(exchange().start(100.0))
    assert (sent.server, sent.tcp) == (0, False)
    asked = query(sent)
    assert asked.payload == 1232
    assert asked.flags == dns.flags.RD
    assert asked.question[0].name.to_text().lower() == "web.shop.svc.cluster.local."


def test_id_and_letter_case_are_drawn() -> None:
    drawn = {(query(sent).id, query(sent).question[0].name.to_text()) for sent in
             (only(exchange(seed=seed).start(100.0)) for seed in range(50))}  # fmt: skip
    assert len({one for one, _ in drawn}) > 45
    assert len({name for _, name in drawn}) > 45


def test_an_answer_ends_it_and_closes_the_socket() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    actions = made.received(sent.token, reply(sent), 100.1)
    assert actions[0] == Close(sent.token)
    over = done(actions)
    assert over.message is not None
    assert (over.server, over.reason) == (0, "")
    assert made.wake_at == inf
    assert made.is_over
    assert made.received(sent.token, reply(sent), 100.2) == made.woken(200.0) == []


def test_a_reply_with_another_id_is_passed_over() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    wrong = (query(sent).id ^ 1).to_bytes(2, "big") + reply(sent)[2:]
    assert made.received(sent.token, wrong, 100.1) == []
    assert done(made.received(sent.token, reply(sent), 100.2)).message


def test_many_datagrams_that_answer_nothing_make_it_ask_over_tcp() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    for _ in range(STRANGERS_MAX):
        assert made.received(sent.token, b"nonsense", 100.1) == []
    again = only(made.received(sent.token, b"nonsense", 100.1))
    assert (again.server, again.tcp) == (0, True)


def test_truncated_is_asked_again_over_tcp_of_the_same_server() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    again = only(made.received(sent.token, reply(sent, flags=dns.flags.TC), 100.1))
    assert (again.server, again.tcp) == (0, True)
    octets = reply(again)
    for at in range(len(octets) - 1):
        assert made.received(again.token, octets[at : at + 1], 100.2) == []
    assert done(made.received(again.token, octets[-1:], 100.2)).message


def test_letter_case_that_is_not_echoed_is_asked_again_over_tcp_with_the_case_as_it_is() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    folded = reply(sent)[:12] + ASKED + reply(sent)[12 + len(ASKED) :]
    again = only(made.received(sent.token, folded, 100.1))
    assert again.tcp
    assert ASKED in again.octets


def test_a_server_without_edns_is_asked_without() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    again = only(made.received(sent.token, reply(sent, rcode=1, edns=False), 100.1))
    assert (again.server, again.tcp, query(again).edns) == (0, False, -1)
    assert done(made.received(again.token, reply(again, edns=False), 100.2)).message


def test_servfail_and_refused_make_the_next_server_be_asked_at_once() -> None:
    for rcode in (dns.rcode.SERVFAIL, dns.rcode.REFUSED):
        made = exchange()
        sent = only(made.start(100.0))
        following = only(made.received(sent.token, reply(sent, rcode), 100.1))
        assert following.server == 1
        assert done(made.received(following.token, reply(following), 100.2)).server == 1


def test_when_all_refuse_it_is_over_at_once_and_says_who() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    following = only(made.received(sent.token, reply(sent, dns.rcode.SERVFAIL), 100.1))
    over = done(made.received(following.token, reply(following, dns.rcode.REFUSED), 100.2))
    assert over.reason == "SERVFAIL (10.0.0.0), REFUSED (10.0.0.1)"


def test_a_silent_server_is_still_listened_to_while_the_next_is_asked() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    assert made.wake_at == 100.0 + PATIENCE_SECONDS
    assert only(made.woken(made.wake_at)).server == 1
    over = done(made.received(sent.token, reply(sent), 101.0))
    assert over.server == 0


def test_an_nxdomain_is_an_answer() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    assert done(made.received(sent.token, reply(sent, dns.rcode.NXDOMAIN), 100.1)).reason == ""


def test_a_referral_makes_the_next_server_be_asked() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    referral = dns.message.make_response(query(sent))
    referral.authority.append(dns.rrset.from_text("local.", 30, "IN", "NS", "ns.local."))
    assert only(made.received(sent.token, referral.to_wire(), 100.1)).server == 1


def test_a_refused_connection_makes_the_next_server_be_asked_at_once() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    actions = made.failed(sent.token, "connection refused", 100.0)
    assert actions[0] == Close(sent.token)
    assert only(actions).server == 1


def test_what_comes_for_a_socket_that_was_closed_is_passed_over() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    made.failed(sent.token, "connection refused", 100.0)
    assert made.failed(sent.token, "connection refused", 100.0) == []
    assert made.received(sent.token, reply(sent), 100.0) == []


def test_nothing_is_due_before_its_time() -> None:
    made = exchange()
    made.start(100.0)
    assert made.woken(100.0 + PATIENCE_SECONDS / 2) == []


def test_a_refusal_counts_only_when_nobody_is_left_who_may_answer() -> None:
    made = exchange()
    first = only(made.start(100.0))
    second = only(made.woken(made.wake_at))
    assert sends(made.received(second.token, reply(second, dns.rcode.SERVFAIL), 100.5)) == []
    assert not made.is_over
    assert done(made.received(first.token, reply(first), 100.6)).reason == ""


def test_malformed_makes_the_next_server_be_asked() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    assert only(made.received(sent.token, reply(sent)[:-20], 100.1)).server == 1


def test_servers_that_refuse_connections_are_tried_once_more_and_then_it_is_over() -> None:
    made = exchange(servers=1)
    sent = only(made.start(100.0))
    assert sends(made.failed(sent.token, "connection refused", 100.0)) == []
    again = only(made.woken(made.wake_at))
    over = done(made.failed(again.token, "connection refused", 100.4))
    assert over == Done(None, None, "connection refused (10.0.0.0)")


def test_silence_ends_at_the_timeout_after_rounds_that_grow() -> None:
    made = exchange(servers=1)
    made.start(100.0)
    times = []
    while not made.is_over:
        at = made.wake_at
        actions = made.woken(at)
        times += [round(at - 100.0, 3)] * len(sends(actions))
    assert times == [0.4, 1.2, 2.8]
    assert at == 105.0
    assert done(actions).reason == "no answer in 5 s: silent (10.0.0.0)"


def test_short_timeouts_leave_time_for_each_server() -> None:
    made = exchange(servers=3, timeout=0.4)
    made.start(100.0)
    asked = [only(made.woken(made.wake_at)).server for _ in range(2)]
    assert asked == [1, 2]
    assert made.deadline == 100.4


def test_the_server_that_is_to_be_first_is() -> None:
    assert only(exchange(servers=3, first=2).start(100.0)).server == 2


def test_a_stream_that_ends_early_makes_the_next_server_be_asked() -> None:
    made = exchange()
    sent = only(made.start(100.0))
    again = only(made.received(sent.token, reply(sent, flags=dns.flags.TC), 100.1))
    assert only(made.received(again.token, b"", 100.1)).server == 1


def test_each_judgement_has_its_turn() -> None:
    assert set(TURNS) == set(Judged)
    assert turn_of(Turn.TCP, False, True) is turn_of(Turn.WITHOUT_EDNS, True, False) is Turn.NEXT
    assert turn_of(Turn.TCP, True, False) is Turn.TCP


EVENTS = st.sampled_from(["wake", "fail", "servfail", "truncated", "garbage", "close", "formerr", "case"])


@given(st.lists(st.tuples(EVENTS, st.integers(0, 7)), max_size=40), st.integers(1, 4), st.integers(0, 2**32))
def test_whatever_comes_sends_are_bounded_and_every_socket_is_closed_once(
    events: list[tuple[str, int]], servers: int, seed: int
) -> None:
    made = exchange(servers, seed=seed)
    actions = made.start(100.0)
    now = 100.0
    for kind, which in events:
        live = _live(actions)
        if kind == "wake" or not live:
            now = min(made.wake_at, 200.0)
            actions += made.woken(now)
            continue
        actions += _happen(made, live[which % len(live)], kind, now)
    while not made.is_over:
        actions += made.woken(made.wake_at)
    assert len(sends(actions)) <= SENDS_MAX
    assert _live(actions) == []
    closed = [action.token for action in actions if isinstance(action, Close)]
    assert sorted(closed) == sorted(sent.token for sent in sends(actions))
    assert sum(isinstance(action, Done) for action in actions) == 1
    assert isinstance(actions[-1], Done)


def _live(actions: list[Action]) -> list[Send]:
    closed = {action.token for action in actions if isinstance(action, Close)}
    return [sent for sent in sends(actions) if sent.token not in closed]


def _happen(made: Exchange, sent: Send, kind: str, now: float) -> list[Action]:
    if kind == "fail":
        return made.failed(sent.token, "connection refused", now)
    octets = {
        "servfail": lambda: reply(sent, 2),
        "truncated": lambda: reply(sent, flags=dns.flags.TC),
        "garbage": lambda: b"\0\5gabcd" if sent.tcp else b"garbage",
        "close": lambda: b"",
        "formerr": lambda: reply(sent, 1, edns=False),
        "case": lambda: reply(sent, 3).swapcase()[:12] + reply(sent, 3)[12:].lower(),
    }[kind]()
    return made.received(sent.token, octets, now)
