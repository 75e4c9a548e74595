"""The endurance run's pure parts: which answer is right when, what a stub takes for one, what a restart explains."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import aftermath, outside, stub, truth
from bench.aftermath import NEIGHBOURS, NOT_JUDGED, UNEXPLAINED, Event, Load, Seen, Span, report
from bench.endurance import complaints, driver_questions
from bench.stub import ANSWERED, NOBODY, TIMED_OUT, Attempt, Resolution
from bench.truth import STALE_SECONDS, Changes, Judgement, Question, Verdict

A, B = ("127.0.53.1", 5300), ("127.0.53.2", 5300)
CHANGING = Question("changing", truth.changing_name(3), "", 3)
STEADY = Question("cluster", truth.steady_name(1), truth.steady_address(1))
OUTSIDE = Question("outside, again", *outside.host(5))
GONE = Question("outside, NXDOMAIN", *outside.gone(5))


def message(question: Question, *addresses: str, rcode: int = dns.rcode.NOERROR) -> dns.message.Message:
    reply = dns.message.make_response(dns.message.make_query(question.name, "A"))
    reply.set_rcode(rcode)
    if addresses:
        reply.answer.append(dns.rrset.from_text_list(f"{question.name}.", 5, "IN", "A", addresses))
    return reply


# Which answer is right


def verdict(question: Question, *addresses: str, rcode: int = dns.rcode.NOERROR) -> Verdict:
    return truth.judge(question, message(question, *addresses, rcode=rcode), 10.0, 10.1, Changes()).verdict


@pytest.mark.parametrize("question", [STEADY, OUTSIDE])
def test_a_name_that_does_not_change_has_one_answer(question: Question) -> None:
    assert verdict(question, question.answer) is Verdict.RIGHT
    assert verdict(question, "192.0.2.1") is Verdict.FOREIGN
    assert verdict(question, question.answer, "192.0.2.1") is Verdict.FOREIGN
    assert verdict(question) is Verdict.DENIED
    assert verdict(question, rcode=dns.rcode.NXDOMAIN) is Verdict.DENIED


def test_a_name_that_does_not_exist_is_denied_and_nothing_else() -> None:
    assert verdict(GONE, rcode=dns.rcode.NXDOMAIN) is Verdict.RIGHT
    assert verdict(GONE, "192.0.2.1") is Verdict.INVENTED
    assert verdict(GONE) is Verdict.INVENTED


def test_an_address_is_right_from_when_it_is_written_until_a_while_after_the_next_one() -> None:
    changes = Changes()
    first, second = changes.current(3), changes.fresh_address()
    assert changes.judge(3, second, 90.0, 99.0).verdict is Verdict.FOREIGN
    changes.changed(3, second, 100.0, 100.2)
    assert changes.current(3) == second
    assert changes.judge(3, second, 99.9, 100.1) == Judgement(Verdict.RIGHT)
    assert changes.judge(3, second, 99.0, 99.9).verdict is Verdict.FOREIGN  # not written yet
    assert changes.judge(3, first, 100.1, 100.3) == Judgement(Verdict.RIGHT)
    assert changes.judge(3, first, 101.2, 101.3) == Judgement(Verdict.RIGHT, pytest.approx(1.0))
    late = 100.2 + STALE_SECONDS + 1.0
    assert changes.judge(3, first, late, late).verdict is Verdict.STALE
    assert changes.judge(3, second, late, late) == Judgement(Verdict.RIGHT)
    assert changes.judge(4, second, late, late).verdict is Verdict.FOREIGN


def test_of_several_addresses_each_has_to_be_right() -> None:
    changes = Changes()
    first, second = changes.current(3), changes.fresh_address()
    changes.changed(3, second, 100.0, 100.1)

    def judged(at: float, *addresses: str) -> Judgement:
        return truth.judge(CHANGING, message(CHANGING, *addresses), at, at, changes)

    assert judged(100.5, first, second) == Judgement(Verdict.RIGHT, pytest.approx(0.4))
    assert judged(100.1 + STALE_SECONDS + 1, first, second).verdict is Verdict.STALE
    assert judged(100.5, second, "192.0.2.1").verdict is Verdict.FOREIGN


@given(st.lists(st.integers(0, truth.CHANGING - 1), max_size=30), st.floats(0.0, 40.0))
def test_the_address_of_the_moment_is_always_right(writes: list[int], asked: float) -> None:
    changes = Changes()
    for at, number in enumerate(writes):
        if at <= asked:
            changes.changed(number, changes.fresh_address(), at, at + 0.5)
    for number in range(truth.CHANGING):
        assert changes.judge(number, changes.current(number), asked, asked) == Judgement(Verdict.RIGHT)


def test_every_kind_is_asked_and_what_is_to_be_new_is() -> None:
    rng = random.Random(1)
    found = [truth.draw(rng, turn) for turn in range(3000)]
    kinds = {one.kind for one in found}
    assert len(kinds) == len(truth.MIX)
    new = [one.name for one in found if one.kind in ("outside, new", "outside, NXDOMAIN")]
    assert len(set(new)) == len(new) > 300
    assert all(len(one.name) < 253 for one in found)


def test_the_drivers_ask_nothing_that_changes() -> None:
    found = list(driver_questions(random.Random(1)))
    assert 0.7 < len(found) / 100_000 < 0.9
    assert all(one.answer for one in found)
    assert not any(one.name.startswith("db-") for one in found)


# The stub


def test_a_reply_is_an_answer_unless_it_says_that_another_server_should_be_asked() -> None:
    query = dns.message.make_query(STEADY.name, "A")
    reply = dns.message.make_response(query)
    assert stub.judge(query, reply.to_wire()) == (ANSWERED, reply)
    reply.set_rcode(dns.rcode.NXDOMAIN)
    assert stub.judge(query, reply.to_wire())[0] == ANSWERED
    reply.set_rcode(dns.rcode.SERVFAIL)
    assert stub.judge(query, reply.to_wire()) == ("SERVFAIL", None)
    assert stub.judge(query, reply.to_wire()[:11]) == (stub.STRANGE, None)
    assert stub.judge(dns.message.make_query("other.example", "A"), reply.to_wire()) == (stub.STRANGE, None)


def test_the_stub_asks_the_next_server_after_silence_or_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub, "TIMEOUT_SECONDS", 0.05)
    with (
        socket.socket(type=socket.SOCK_DGRAM) as silent,
        socket.socket(type=socket.SOCK_DGRAM) as answering,
        socket.socket(type=socket.SOCK_DGRAM) as closed,
    ):
        for sock in (silent, answering, closed):
            sock.bind(("127.0.0.1", 0))
        answering.settimeout(10)
        servers = [sock.getsockname() for sock in (silent, closed, answering)]
        closed.close()

        def answer() -> None:
            octets, client = answering.recvfrom(512)
            answering.sendto(dns.message.make_response(dns.message.from_wire(octets)).to_wire(), client)

        thread = threading.Thread(target=answer)
        thread.start()
        found = asyncio.run(stub.resolve(STEADY.name, servers))
        thread.join()
        assert [one.outcome for one in found.attempts] == [TIMED_OUT, NOBODY, ANSWERED]
        assert found.message is not None
        assert found.seconds >= 0.05
        lost = asyncio.run(stub.resolve(STEADY.name, servers[:2]))
        assert [one.outcome for one in lost.failures] == [TIMED_OUT, NOBODY] * stub.ROUNDS
        assert lost.message is None


# What a restart explains


def event(name: str, began: float = 100.0, ended: float = 103.0) -> Event:
    return Event(name, False, began, {"kdns A": A, "kdns B": B}.get(name), began + 1.0, ended)


@pytest.mark.parametrize(
    ("name", "question", "server", "is_explained"),
    [
        ("kdns A", STEADY, A, True),
        ("kdns A", OUTSIDE, A, True),
        ("kdns A", STEADY, B, False),
        ("upstream 1", OUTSIDE, B, True),
        ("upstream 1", GONE, B, True),
        ("upstream 1", STEADY, B, False),
        ("API server", CHANGING, A, True),
        ("API server", OUTSIDE, A, False),
    ],
)
def test_a_restart_explains_what_depends_on_it(
    name: str, question: Question, server: stub.Server, is_explained: bool
) -> None:
    assert event(name).explains(question, Attempt(101.0, server, TIMED_OUT)) is is_explained


@pytest.mark.parametrize(("at", "is_explained"), [(98.9, False), (99.5, True), (105.9, True), (106.1, False)])
def test_a_restart_explains_what_was_asked_around_it(at: float, is_explained: bool) -> None:
    assert event("kdns A").explains(STEADY, Attempt(at, A, NOBODY)) is is_explained


def test_the_latest_restart_is_the_cause() -> None:
    events = [event("kdns A"), event("upstream 2", 104.0, 105.0)]
    assert aftermath.cause(OUTSIDE, Attempt(104.5, A, "SERVFAIL"), events) == "upstream 2, politely"
    assert aftermath.cause(STEADY, Attempt(104.5, A, "SERVFAIL"), events) == "kdns A, politely"
    assert aftermath.cause(STEADY, Attempt(200.0, A, "SERVFAIL"), events) == UNEXPLAINED


# The report


def seen(question: Question, *outcomes: str, at: float = 101.0, verdict: Verdict | None = Verdict.RIGHT) -> Seen:
    attempts = tuple(Attempt(at + n, (A, B)[n % 2], outcome) for n, outcome in enumerate(outcomes))
    found = None if verdict is None else message(question, "192.0.2.1")
    return Seen(question, Resolution(at, len(outcomes) - 0.9, attempts, found), verdict and Judgement(verdict))


def load(name: str, began: float, **counts: int) -> Load:
    keys = ("answered", "lost", "overrun", "failures", "refused", "mismatched", "not_response", "malformed",
            "unexpected", "wrong_answers")  # fmt: skip
    return Load(name, began, began + 5.0, dict.fromkeys(keys, 0) | counts)


def judged(rows: list[tuple[str, ...]]) -> dict[str, str]:
    return {row[0]: row[3] for row in rows if row[3]}


def test_what_restarts_explain_misses_nothing() -> None:
    found = report(
        [seen(STEADY, ANSWERED), seen(STEADY, NOBODY, ANSWERED), seen(CHANGING, TIMED_OUT, ANSWERED)],
        [event("kdns A")],
        [load("kdns A", 99.0, lost=5, refused=4, unexpected=3, answered=90), load("kdns B", 99.0, answered=100)],
    )
    assert set(judged(found.rows).values()) == {"ok"}
    assert found.examples == []
    assert found.causes[1][:6] == ("kdns A, politely", "1", "2.00", "1", "1", "0")
    assert found.causes[1][-3:] == ("5", "4", "0")


@pytest.mark.parametrize(
    ("one", "missed"),
    [
        (seen(STEADY, ANSWERED, verdict=Verdict.DENIED), "wrong answers"),
        (seen(CHANGING, ANSWERED, verdict=Verdict.STALE), "wrong answers"),
        (seen(STEADY, *[NOBODY, TIMED_OUT] * 2, at=100.0, verdict=None), "lost names"),
        (seen(STEADY, "SERVFAIL", ANSWERED, at=200.0), "attempts without an answer that no restart explains"),
    ],
)
def test_what_is_wrong_lost_or_unexplained_is_a_miss_with_an_example(one: Seen, missed: str) -> None:
    events = [event("kdns A"), event("kdns B")]
    found = report([one], events, [])
    assert [what for what, verdict in judged(found.rows).items() if verdict == "MISSED"] == [missed]
    assert len(found.examples) == 1
    assert one.question.name in found.examples[0]


def test_what_was_late_while_others_used_the_machine_is_put_down_to_them() -> None:
    one, driven = seen(STEADY, TIMED_OUT, ANSWERED, at=200.0), load("kdns B", 199.0, lost=3)
    for busy, verdict in (([Span(200.5, 201.5)], "ok"), ([Span(210.0, 211.0)], "MISSED")):
        found = report([one], [event("kdns A")], [driven], busy)
        rows = judged(found.rows)
        assert rows["attempts without an answer that no restart explains"] == verdict
        assert rows["load: unanswered while this kdns was not restarted"] == verdict
        assert bool(found.examples) is (verdict == "MISSED")
        row = next(row for row in found.causes if row[0] == (NEIGHBOURS if verdict == "ok" else UNEXPLAINED))
        assert (row[3], row[-3]) == ("1", "3")


def test_a_lost_name_is_lost_and_a_wrong_answer_wrong_whoever_used_the_machine() -> None:
    lost = seen(STEADY, *[NOBODY, TIMED_OUT] * 2, at=200.0, verdict=None)
    wrong = seen(STEADY, ANSWERED, at=200.0, verdict=Verdict.DENIED)
    found = report([lost, lost, wrong], [], [], [Span(190.0, 230.0)], 40.0)
    rows = {row[0].strip(): row for row in found.rows}
    assert (rows["lost names"][1].split()[0], rows["lost names"][3]) == ("2.00", "MISSED")
    assert rows["of these while others used the machine"][1] == "2"
    assert rows["wrong answers"][3] == "MISSED"
    quiet = report([lost], [], [], [Span(300.0, 301.0)], 1000.0)
    assert {row[0].strip(): row for row in quiet.rows}["of these while others used the machine"][1] == "0"


@pytest.mark.parametrize(("noisy", "verdict"), [(20.0, "ok"), (21.0, NOT_JUDGED)])
def test_what_seems_good_is_not_judged_where_others_used_the_machine_for_much_of_the_run(
    noisy: float, verdict: str
) -> None:
    found = report([seen(STEADY, ANSWERED)], [], [], [Span(0.0, noisy)], 100.0)
    assert set(judged(found.rows).values()) == {verdict}


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([event("API server", 95.0, 97.0)], "ok"),
        ([event("API server", 102.0, 104.0)], "MISSED"),
        ([event("API server", 88.0, 89.0)], "MISSED"),
        ([event("API server", 90.0, 91.0)], "ok"),
        ([event("kdns A", 50.0, 52.0)], "MISSED"),
    ],
)
def test_an_old_address_is_no_wrong_answer_while_the_api_server_may_not_have_been_asked_again(
    events: list[Event], verdict: str
) -> None:
    found = report([seen(CHANGING, ANSWERED, verdict=Verdict.STALE)], events, [])
    assert judged(found.rows)["wrong answers"] == verdict


@pytest.mark.parametrize(
    ("one", "missed"),
    [
        (load("kdns B", 99.0, lost=1), "load: unanswered while this kdns was not restarted"),
        (load("kdns A", 200.0, failures=1), "load: unanswered while this kdns was not restarted"),
        (load("kdns A", 99.0, wrong_answers=1), "load: wrong answers"),
    ],
)
def test_a_driver_s_losses_without_a_restart_and_its_wrong_answers_are_misses(one: Load, missed: str) -> None:
    found = report([seen(STEADY, ANSWERED)], [event("kdns A")], [one])
    assert [what for what, verdict in judged(found.rows).items() if verdict == "MISSED"] == [missed]


def test_complaints_of_a_log_are_told_once_by_kind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("[INFO] ready\n[ERROR] 3 of 7\n[ERROR] 4 of 7\n[WARNING] slow\n")
    assert complaints(log).split("\n") == ["     2 x N of N", "     1 x slow"]
    log.write_text("[INFO] ready\n")
    assert complaints(log) == "no complaints"
