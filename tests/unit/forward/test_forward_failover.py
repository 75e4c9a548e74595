"""Which upstream a question goes to, and what happens while one does not answer."""

from __future__ import annotations

import pytest

from kdns.forward.exchange import DOWN_PATIENCE, SENDS_MAX
from kdns.forward.health import EDNS_REFUSALS_MIN, EDNS_REFUSED_SECONDS, HEDGE_MAX, HEDGE_MIN, Rank
from kdns.forward.values import CacheSpec, Fault, ForwardSpec, Limits, Policy, Send, Transport
from kdns.wire.iana import EDE, Rcode
from kdns.wire.outside import Source, Told
from kdns.wire.query import CD_BIT, RD_BIT
from tests.unit.forward.messages import OPT, ask, forward, group, question, record, reply, upstream
from tests.unit.forward.world import (
    Behaviour,
    Deed,
    World,
    dead,
    faulty,
    garbled,
    good,
    lying,
    no_garbage,
    only_over_tcp,
    saying,
    servfail,
    without_edns,
)

PROBE = b"\0\0\2\0\1"
ONE, TWO = "127.0.0.1", "127.0.0.2"
IN_TURN = {"policy": Policy.SEQUENTIAL}


GOOD = good()


def world(first: Behaviour, second: Behaviour = GOOD, **options: object) -> World:
    return World({ONE: first, TWO: second}, group(forward(**IN_TURN | options)))


def told(a_world: World, until: float = 10.0) -> tuple[float, Told]:
    """When the only question was told, and of what."""
    a_world.run(until)
    ((when, _, one),) = a_world.told
    return when, one


def hosts(a_world: World) -> list[str]:
    return [host for _, host, send in a_world.sent if send.question != PROBE]


def test_an_answer_is_told_to_the_worker_that_asked() -> None:
    one = world(good())
    one.ask(ask(number=7), worker=3)
    one.run(1.0)
    ((when, worker, said),) = one.told
    assert (when, worker, said.number, said.rcode) == (0.01, 3, 7, Rcode.NOERROR)
    assert (said.counts, said.ttls, said.keep, said.source) == ((1, 0, 0), (300,), 300, Source.UPSTREAM)
    assert said.body == record(300, bytes((0, 0, 0, 1)))
    assert said.flags == 0x80


def test_what_is_sent_is_the_question_with_letter_case_of_chance_and_the_flags_of_the_client() -> None:
    one = world(good())
    one.ask(ask(flags=RD_BIT | CD_BIT, dnssec_ok=True))
    one.run(1.0)
    ((_, _, send),) = one.sent
    assert send.question.lower() == question()
    assert send.question != question()
    assert send.flags == RD_BIT | CD_BIT
    assert (send.dnssec_ok, send.with_edns, send.transport, send.timeout) == (True, True, Transport.UDP, 2.0)


def test_a_silent_upstream_is_listened_to_while_the_next_one_is_asked() -> None:
    slow, second = good(0.3), good(0.4)
    one = world(slow, second)
    one.ask(ask())
    when, _ = told(one)
    assert when == 0.3
    assert one.asked_of(TWO) == [HEDGE_MAX]


def test_the_first_good_answer_wins() -> None:
    one = world(good(0.5))
    one.ask(ask())
    assert told(one)[0] == pytest.approx(HEDGE_MAX + 0.01)


def test_an_upstream_that_is_known_to_be_fast_is_waited_for_less() -> None:
    one = world(good(0.001))
    one.ask(ask("a.example"))
    one.run(1.0)
    one.behaviours[ONE] = dead
    one.ask(ask("b.example", 2))
    one.run(2.0)
    assert one.asked_of(TWO) == [pytest.approx(1.0 + HEDGE_MIN)]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNREACHABLE, Fault.BROKEN, Fault.TLS, Fault.NO_ROOM])
def test_an_upstream_that_cannot_be_reached_is_passed_over_at_once(fault: Fault) -> None:
    one = world(faulty(fault))
    one.ask(ask())
    assert told(one)[0] == 0.01


@pytest.mark.parametrize("behaviour", [garbled, lying, faulty(Fault.MALFORMED, 0.01)])
def test_a_reply_of_no_use_is_passed_over_at_once(behaviour: Behaviour) -> None:
    one = world(behaviour)
    one.ask(ask())
    when, said = told(one)
    assert when == 0.02
    assert one.answers[said.body[-4:]][0] == question()


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP, Rcode.FORMERR])
def test_an_upstream_that_cannot_answer_is_passed_over_at_once(rcode: Rcode) -> None:
    one = world(saying(rcode))
    one.ask(ask())
    when, said = told(one)
    assert (when, said.rcode) == (0.02, Rcode.NOERROR)


def test_the_last_refusal_is_told_if_all_refuse() -> None:
    one = world(saying(Rcode.SERVFAIL), saying(Rcode.REFUSED))
    one.ask(ask())
    when, said = told(one)
    assert (when, said.rcode, said.source) == (0.02, Rcode.REFUSED, Source.FAILURE)


def test_a_refusal_is_told_once_a_silent_upstream_had_its_time() -> None:
    one = world(dead, servfail)
    one.ask(ask())
    when, said = told(one)
    assert said.rcode == Rcode.SERVFAIL
    assert when <= 2 * HEDGE_MAX + 0.01


def test_failover_names_further_rcodes() -> None:
    one = world(saying(Rcode.NXDOMAIN), failover=(Rcode.NXDOMAIN,))
    one.ask(ask())
    assert told(one)[1].rcode == Rcode.NOERROR


def test_nxdomain_is_an_answer() -> None:
    one = world(saying(Rcode.NXDOMAIN))
    one.ask(ask())
    assert told(one)[1].rcode == Rcode.NXDOMAIN
    assert hosts(one) == [ONE]


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.NO_CASE])
def test_the_same_upstream_is_asked_over_tcp(fault: Fault) -> None:
    one = world(only_over_tcp(fault))
    one.ask(ask())
    assert told(one)[0] == 0.02
    assert [(host, send.transport) for _, host, send in one.sent] == [(ONE, Transport.UDP), (ONE, Transport.TCP)]
    assert one.sent[1][2].question == question()


def test_a_truncated_reply_that_came_through_is_asked_for_over_tcp() -> None:
    def cut(send: Send, a_world: World) -> tuple[float, bytes]:
        whole = a_world.answer_to(send)
        return 0.01, whole[:2] + b"\x83\x80" + whole[4:] if send.transport is Transport.UDP else whole

    one = world(cut)
    one.ask(ask())
    assert told(one)[1].counts == (1, 0, 0)
    assert [send.transport for _, _, send in one.sent] == [Transport.UDP, Transport.TCP]


def with_edns_of(a_world: World) -> list[bool]:
    return [send.with_edns for _, _, send in a_world.sent]


def refusing_edns_for(*names: str, opt: bytes = OPT) -> Behaviour:
    """As a server does through which the one who owns these names speaks."""
    asked_for = {question(name) for name in names}

    def behave(send: Send, world: World) -> Deed:
        if send.with_edns and send.question[:-4].lower() + send.question[-4:] in asked_for:
            return 0.01, Fault.NO_EDNS
        return 0.01, reply(send.question, (record(),), additional=(opt,) if send.with_edns and opt else ())

    return behave


def test_who_refuses_edns_is_asked_without_it_for_that_question_alone() -> None:
    one = world(refusing_edns_for("a.example"))
    one.ask(ask("a.example"))
    one.ask(ask("b.example", 2), 1.0)
    one.run(2.0)
    assert with_edns_of(one) == [True, False, True]
    assert [said.rcode for said in one.tells()] == [Rcode.NOERROR] * 2


def test_an_upstream_that_refuses_edns_for_several_questions_in_a_row_is_remembered() -> None:
    one = world(without_edns)
    for number in range(EDNS_REFUSALS_MIN + 1):
        one.ask(ask(f"{number}.example", number), float(number))
    one.run(10.0)
    assert with_edns_of(one) == [True, False] * EDNS_REFUSALS_MIN + [False]
    one.ask(ask("z.example"), EDNS_REFUSED_SECONDS + EDNS_REFUSALS_MIN)
    one.run(EDNS_REFUSED_SECONDS + 10.0)
    assert with_edns_of(one)[-2:] == [True, False]


def test_one_name_that_is_asked_for_over_and_over_says_nothing_of_edns() -> None:
    one = World({ONE: without_edns}, group(forward(upstream(1)), cache=None))
    for number in range(3 * EDNS_REFUSALS_MIN):
        one.ask(ask(number=number), float(number))
    one.run(20.0)
    assert with_edns_of(one) == [True, False] * (3 * EDNS_REFUSALS_MIN)


@pytest.mark.parametrize("opt", [OPT, b""])
def test_refusals_are_counted_anew_after_an_answer_to_a_question_with_edns(opt: bytes) -> None:
    names = [f"{number}.bad.example" for number in range(4 * EDNS_REFUSALS_MIN)]
    one = world(refusing_edns_for(*names, opt=opt))
    for number, name in enumerate(names):
        if number % (EDNS_REFUSALS_MIN - 1) == 0:
            one.ask(ask(f"{number}.good.example"), number - 0.5)
        one.ask(ask(name), float(number))
    one.run(20.0)
    asked_first = {send.question.lower(): send.with_edns for _, _, send in reversed(one.sent)}
    assert set(asked_first.values()) == {True}


def test_an_upstream_that_has_sent_an_opt_record_is_never_taken_for_one_without_edns() -> None:
    names = [f"{number}.bad.example" for number in range(3 * EDNS_REFUSALS_MIN)]
    one = world(refusing_edns_for(*names))
    one.ask(ask("good.example"))
    for number, name in enumerate(names):
        one.ask(ask(name), number + 1.0)
    one.ask(ask("last.example", dnssec_ok=True), 20.0)
    one.run(21.0)
    assert with_edns_of(one) == [True] + [True, False] * len(names) + [True]


def test_what_is_answered_without_edns_is_not_kept_for_those_who_want_signatures() -> None:
    one = world(refusing_edns_for("a.example"))
    one.ask(ask("a.example", dnssec_ok=True))
    one.run(1.0)
    assert [(said.rcode, said.keep, said.counts[0]) for said in one.tells()] == [(Rcode.NOERROR, 0, 1)]
    one.ask(ask("a.example", dnssec_ok=True))
    one.ask(ask("a.example"))
    one.run(2.0)
    assert with_edns_of(one) == [True, False, True, True, False, False]
    assert [said.keep for said in one.tells()] == [0, 0, 300]


def test_truncated_without_edns_it_is_asked_over_tcp_without_edns() -> None:
    def behave(send: Send, world: World) -> Deed:
        if send.with_edns:
            return 0.01, Fault.NO_EDNS
        return 0.01, Fault.TRUNCATED if send.transport is Transport.UDP else world.answer_to(send)

    one = world(behave)
    one.ask(ask())
    assert told(one)[1].counts == (1, 0, 0)
    sent = [(send.transport, send.with_edns) for _, _, send in one.sent]
    assert sent == [(Transport.UDP, True), (Transport.UDP, False), (Transport.TCP, False)]


@pytest.mark.parametrize(
    ("first", "second", "ede", "text"),
    [
        (dead, faulty(Fault.REFUSED), EDE.NO_REACHABLE_AUTHORITY, "no upstream answered"),
        (lying, dead, EDE.INVALID_DATA, "the upstreams' replies were malformed"),
        (faulty(Fault.MALFORMED), faulty(Fault.TLS), EDE.INVALID_DATA, "the upstreams' replies were malformed"),
        (faulty(Fault.TLS), faulty(Fault.REFUSED), EDE.NO_REACHABLE_AUTHORITY, "no upstream gave an answer of use"),
        (faulty(Fault.NO_CASE), dead, EDE.NO_REACHABLE_AUTHORITY, "no upstream gave an answer of use"),
    ],
)
def test_why_there_is_no_answer_is_told(first: Behaviour, second: Behaviour, ede: int, text: str) -> None:
    one = world(first, second)
    one.ask(ask())
    said = told(one)[1]
    assert (said.rcode, said.counts, said.ede, said.text) == (Rcode.SERVFAIL, (0, 0, 0), ede, text)


def test_an_upstream_whose_addresses_have_not_their_length_is_passed_over_and_counted() -> None:
    one = world(lambda send, world: (0.01, reply(send.question, (record(rdata=bytes(3)),))))
    one.ask(ask())
    said = told(one)[1]
    assert (said.rcode, said.body) == (Rcode.NOERROR, record(300, bytes((0, 0, 0, 1))))
    assert [upstream.malformed for upstream in one.resolver.upstreams] == [1, 0]


def test_force_tcp_and_tls_are_asked_over_nothing_else() -> None:
    one = world(dead, dead, force_tcp=True)
    one.ask(ask())
    one.run(10.0)
    assert {send.transport for _, _, send in one.sent} == {Transport.TCP}
    two = World({ONE: dead}, group(forward(upstream(1, is_tls=True, server_name="dns.example"))))
    two.ask(ask())
    two.run(10.0)
    assert {send.transport for _, _, send in two.sent} == {Transport.TLS}


def test_a_lost_message_to_the_only_upstream_is_sent_again() -> None:
    lost = iter([True])
    one = World(
        {ONE: lambda send, a_world: (0.01, None if next(lost, False) else a_world.answer_to(send))},
        group(forward(upstream(1))),
    )
    one.ask(ask())
    assert told(one)[0] == pytest.approx(HEDGE_MAX + 0.01)


def test_an_upstream_that_restarts_is_asked_again_after_a_moment() -> None:
    one = World({ONE: faulty(Fault.REFUSED)}, group(forward(upstream(1))))
    one.ask(ask())
    one.run(0.1)
    one.behaviours[ONE] = good()
    assert told(one)[0] == pytest.approx(HEDGE_MAX + 0.01)


def test_silence_of_all_is_servfail_when_patience_ends() -> None:
    one = world(dead, dead)
    one.ask(ask())
    when, said = told(one)
    assert (when, said.rcode, said.ede) == (4.0, Rcode.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY)
    assert said.text
    assert 4 <= len(hosts(one)) <= SENDS_MAX


def test_each_round_over_silent_upstreams_takes_twice_as_long() -> None:
    one = world(dead, dead)
    one.ask(ask())
    one.run(10.0)
    times = [when for when, _, send in one.sent if send.question != PROBE]
    assert times == pytest.approx([0.0, 0.2, 0.4, 0.8, 1.2, 2.0, 2.8])


def test_nothing_is_asked_of_upstreams_that_all_refuse_connections_for_long() -> None:
    one = world(faulty(Fault.REFUSED), faulty(Fault.REFUSED))
    one.ask(ask())
    when, said = told(one)
    assert when <= HEDGE_MAX
    assert said.rcode == Rcode.SERVFAIL
    one.ask(ask("b.example", 2))
    one.run(one.now)
    assert one.told[-1][0] == one.now


def all_down(**options: object) -> World:
    """Two upstreams that have been silent for so long that they are down; the clock is at 10 s."""
    one = world(dead, dead, **options)
    one.ask(ask())
    one.run(10.0)
    assert [upstream.rank for upstream in one.resolver.upstreams] == [Rank.DOWN, Rank.DOWN]
    return one


def test_while_all_are_known_to_be_silent_each_is_asked_once_and_the_client_hears_soon() -> None:
    one = all_down()
    one.ask(ask("b.example", 2))
    before = len(hosts(one))
    one.run(20.0)
    when, _, said = one.told[-1]
    assert (when, said.rcode, said.ede) == (10.0 + DOWN_PATIENCE, Rcode.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY)
    assert sorted(hosts(one)[before:]) == [ONE, TWO]


def test_many_upstreams_that_are_down_take_no_longer_than_two() -> None:
    count = 15
    upstreams = [upstream(number) for number in range(1, count + 1)]
    one = World({where.host: faulty(Fault.REFUSED) for where in upstreams}, group(forward(*upstreams)))
    for number in range(20):
        one.ask(ask(f"n{number}.example", number), number * 1.0)
    one.run(20.0)
    assert {upstream.rank for upstream in one.resolver.upstreams} == {Rank.DOWN}
    one.behaviours |= dict.fromkeys(one.behaviours, dead)
    one.ask(ask("b.example", 99))
    one.run(30.0)
    assert one.told[-1][0] == 20.0 + DOWN_PATIENCE


def test_a_question_goes_on_if_one_is_back_when_its_short_time_ends() -> None:
    one = all_down()
    one.ask(ask("b.example", 2))
    one.run(10.0)
    back = one.now + DOWN_PATIENCE
    one.behaviours[ONE] = lambda send, a_world: (
        0.01, a_world.answer_to(send) if send.question == PROBE or a_world.now >= back else None
    )  # fmt: skip
    one.run(20.0)
    when, _, said = one.told[-1]
    assert (said.number, said.rcode) == (2, Rcode.NOERROR)
    assert when <= back + HEDGE_MAX


def test_silence_that_is_no_news_yet_is_waited_for_as_ever() -> None:
    one = world(dead, dead, max_fails=0)
    one.ask(ask())
    one.run(10.0)
    one.ask(ask("b.example", 2))
    one.run(20.0)
    assert one.told[-1][0] == 14.0


def test_the_next_line_that_is_asked_has_the_whole_time() -> None:
    three = "127.0.0.3"
    lines = [forward(**IN_TURN, next_rcodes=(Rcode.NXDOMAIN,)), forward(upstream(3))]
    one = World({ONE: dead, TWO: dead, three: good(1.5)}, group(*lines))
    one.ask(ask())
    one.run(10.0)
    one.behaviours[ONE] = one.behaviours[TWO] = saying(Rcode.NXDOMAIN, 0.1)
    one.ask(ask("b.example", 2))
    one.run(20.0)
    when, _, said = one.told[-1]
    assert (said.number, said.rcode) == (2, Rcode.NOERROR)
    assert when == pytest.approx(11.6)


def test_one_that_was_down_is_asked_at_once_if_the_only_good_one_refuses() -> None:
    one = world(faulty(Fault.REFUSED), health_interval=100.0)
    for number in range(2):
        one.ask(ask(f"n{number}.example", number), number * 1.0)
    one.run(5.0)
    assert [upstream.rank for upstream in one.resolver.upstreams] == [Rank.DOWN, Rank.GOOD]
    one.behaviours[ONE], one.behaviours[TWO] = good(), faulty(Fault.REFUSED)
    one.ask(ask("b.example", 9))
    one.run(6.0)
    when, _, said = one.told[-1]
    assert (when, said.rcode) == (pytest.approx(5.01), Rcode.NOERROR)


def test_one_that_is_down_is_not_asked_while_a_good_one_may_still_answer() -> None:
    one = world(faulty(Fault.REFUSED), health_interval=100.0)
    for number in range(2):
        one.ask(ask(f"n{number}.example", number), number * 1.0)
    one.run(5.0)
    one.behaviours[TWO] = good(0.3)
    before = len(hosts(one))
    one.ask(ask("b.example", 9))
    one.run(6.0)
    assert set(hosts(one)[before:]) == {TWO}


def test_failfast_asks_none_while_all_are_down() -> None:
    one = world(faulty(Fault.REFUSED), faulty(Fault.REFUSED), is_failing_fast=True)
    one.ask(ask())
    one.run(1.0)
    before = hosts(one)
    one.ask(ask("b.example", 2))
    one.run(2.0)
    assert hosts(one) == before
    assert one.tells()[-1].rcode == Rcode.SERVFAIL


def test_while_all_are_down_one_is_tried_all_the_same() -> None:
    one = world(faulty(Fault.REFUSED), faulty(Fault.REFUSED), health_interval=100.0)
    one.ask(ask())
    one.run(1.0)
    one.behaviours[ONE] = one.behaviours[TWO] = good()
    one.ask(ask("b.example", 2))
    one.run(2.0)
    assert one.tells()[-1].rcode == Rcode.NOERROR


def test_a_dead_upstream_is_probed_and_is_back_with_its_first_answer() -> None:
    one = world(dead)
    one.ask(ask())
    one.run(5.0)
    probes = [host for _, host, send in one.sent if send.question == PROBE]
    assert set(probes) == {ONE}
    assert hosts(one) == [ONE, TWO]
    one.behaviours[ONE] = good()
    one.run(7.0)
    count = len(one.sent)
    one.ask(ask("b.example", 2))
    one.run(20.0)
    assert [host for _, host, _ in one.sent[count:]] == [ONE]


def test_probes_keep_their_distance_whatever_is_configured() -> None:
    one = world(faulty(Fault.REFUSED), health_interval=0.0)
    one.ask(ask())
    one.run(1.0)
    assert 5 < len([host for _, host, send in one.sent if send.question == PROBE]) <= 21


def test_a_question_is_asked_once_however_many_wait_for_it() -> None:
    one = world(good())
    for number in range(5):
        one.ask(ask(number=number, client=bytes((number,))), number * 0.001, worker=number)
    one.run(1.0)
    assert len(one.sent) == 1
    assert [(worker, said.number) for _, worker, said in one.told] == [(number, number) for number in range(5)]
    assert one.resolver.counts.joined == 4


def test_questions_that_may_be_answered_differently_have_their_own_flights() -> None:
    one = world(good())
    for number, (flags, dnssec_ok) in enumerate(
        [(RD_BIT, False), (RD_BIT, True), (RD_BIT | CD_BIT, False), (0, False)]
    ):
        one.ask(ask(number=number, flags=flags, dnssec_ok=dnssec_ok))
    one.run(1.0)
    assert len(one.sent) == 4


def test_the_longest_zone_decides_and_except_leaves_a_name_to_the_next() -> None:
    lines = [
        forward(upstream(1)),
        forward(upstream(2), zone="example.org", excluded=(b"\x07private\x07example\x03org\0",)),
    ]
    one = World({ONE: good(), TWO: good()}, group(*lines))
    for number, name in enumerate(["a.example.org", "example.org", "x.private.example.org", "notexample.org"]):
        one.ask(ask(name, number), float(number))
    one.run(10.0)
    assert [host for _, host, _ in one.sent] == [TWO, TWO, ONE, ONE]


def test_except_never_takes_away_the_name_of_the_zone_itself() -> None:
    zone = b"\x07example\x03org\0"
    one = World({ONE: good(), TWO: good()}, group(forward(zone="example.org", excluded=(zone,))))
    one.ask(ask("example.org"))
    one.ask(ask("www.example.org", 2))
    one.run(1.0)
    assert [said.rcode for said in one.tells()] == [Rcode.REFUSED, Rcode.NOERROR]


def test_a_name_that_no_line_covers_is_refused() -> None:
    one = World({ONE: good(), TWO: good()}, group(forward(zone="example.org")))
    one.ask(ask("www.example.com"))
    one.ask(ask("www.example.org", 2, group=5))
    one.run(1.0)
    assert [(said.rcode, said.ede) for said in one.tells()] == [(Rcode.REFUSED, EDE.NOT_AUTHORITATIVE)] * 2
    assert not one.sent
    assert one.resolver.counts.not_ours == 2


def test_a_late_answer_clears_its_upstream_and_tells_nobody_twice() -> None:
    one = world(good(0.9))
    one.ask(ask())
    one.run(10.0)
    assert len(one.told) == 1
    assert [upstream.fails for upstream in one.resolver.upstreams] == [0, 0]


def test_messages_that_nobody_waits_for_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.forward.exchange.ORPHANS_MAX", 3)
    one = world(dead)
    for number in range(20):
        one.ask(ask(f"n{number}.example", number))
    one.run(1.0)
    assert len(one.told) == 20
    assert len(one.resolver._exchange) <= 3 + 1  # and a probe


@pytest.mark.parametrize("behaviour", [garbled, dead, good(0.3), servfail])
def test_no_garbage_is_left_for_a_collector(behaviour: Behaviour) -> None:
    one = world(behaviour, policy=Policy.ROUND_ROBIN)
    with no_garbage():
        for number in range(50):
            one.ask(ask(f"n{number}.example", number), number * 0.001)
        one.run(10.0)
    assert len(one.told) == 50


def test_one_resolver_shares_the_health_of_an_upstream_over_its_lines() -> None:
    line = forward(upstream(1), upstream(1), zone="example.org")
    one = World({ONE: good()}, group(line, forward(upstream(1))), group(forward(upstream(1))))
    assert [one.spec.host for one in one.resolver.upstreams] == [ONE]
    two = World({ONE: good()}, group(forward(upstream(1)), forward(upstream(1), zone="a", max_fails=9)))
    assert len(two.resolver.upstreams) == 2


def test_a_line_without_upstreams_is_servfail_at_once() -> None:
    one = World({}, group(ForwardSpec(b"\0", ())))
    one.ask(ask())
    when, said = told(one)
    assert (when, said.rcode, said.ede) == (0.0, Rcode.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY)


def test_patience_can_be_set() -> None:
    one = World({ONE: dead}, group(forward(upstream(1)), cache=CacheSpec()), limits=Limits(patience=1.0))
    one.ask(ask())
    assert told(one)[0] == 1.0
