"""What the failover benchmark makes of questions and how long each took."""

from __future__ import annotations

import socket
import threading

import dns.message
import dns.rrset
import pytest

from bench import failover
from bench.failover import ALIVE_SECONDS, FIRST_SECONDS, LATER_SECONDS, REVIVED_SECONDS, SHIFT, Asked
from bench.wire import encode_query

STEP = 0.1
DEATH = ALIVE_SECONDS
REVIVAL = ALIVE_SECONDS + FIRST_SECONDS + LATER_SECONDS
BEGAN = 1000.0


def reply(number: int, shift: int = 0, address: str = "") -> bytes:
    question = failover._question(number, shift)
    message = dns.message.make_response(dns.message.from_wire(encode_query(question.name, "A", number)))
    message.answer.append(dns.rrset.from_text(f"{question.name}.", 60, "IN", "A", address or question.answer))
    return message.to_wire()


@pytest.mark.parametrize("shift", [0, SHIFT])
def test_an_answer_shows_which_upstream_gave_it(shift: int) -> None:
    assert failover.judge(77, reply(77, shift)) == (True, shift)


def test_the_answer_to_another_question_is_wrong() -> None:
    assert failover.judge(78, reply(77)) == (False, 0)


def test_no_question_comes_twice() -> None:
    assert len({failover._question(number).name for number in range(5000)}) == 5000


def course(ms_at_death: float = 1.0, ms_later: float = 1.0, back_after: float = 0.5) -> list[Asked]:
    """A question every STEP seconds; those right behind the death take their time."""
    found = []
    total = ALIVE_SECONDS + FIRST_SECONDS + LATER_SECONDS + REVIVED_SECONDS
    for number in range(round(total / STEP)):
        after = number * STEP
        is_at_death = DEATH <= after < DEATH + 2 * STEP
        is_later = DEATH + FIRST_SECONDS <= after < REVIVAL
        ms = ms_at_death if is_at_death else ms_later if is_later else 1.0
        shift = SHIFT if after >= REVIVAL + back_after or after < DEATH else 0
        found.append(Asked(number, BEGAN + after, BEGAN + after + ms / 1e3, shift, True))
    return found


def verdicts(asked: list[Asked]) -> dict[str, str]:
    return {row[0].strip().partition(":")[2] or row[0].strip(): row[3] for row in failover.rows("x", asked) if row[3]}


def test_an_upstream_whose_death_costs_a_moment_is_no_miss() -> None:
    assert set(verdicts(course(ms_at_death=52.0)).values()) == {"ok"}


@pytest.mark.parametrize(
    ("asked", "missed"),
    [
        (course(ms_at_death=400.0), " p99 of the first 2 s above the usual"),
        (course(ms_later=52.0), "paid later"),
        (course(back_after=2.5), " asked again after"),
    ],
)
def test_what_costs_more_or_longer_is_a_miss(asked: list[Asked], missed: str) -> None:
    assert [what for what, verdict in verdicts(asked).items() if verdict == "MISSED"] == [missed]


def test_what_nobody_answered_is_a_miss_and_took_as_long_as_anybody_waited() -> None:
    asked = course()
    asked[30].answered = None
    assert asked[30].ms == 1e3 * failover.PATIENCE_SECONDS
    assert verdicts(asked)["without an answer"] == "MISSED"


def test_a_start_is_judged_by_its_first_moment_and_by_what_is_paid_later() -> None:
    def asked(ms_later: float) -> list[Asked]:
        ms = [200.0] * 3 + [1.0] * 17 + [ms_later] + [1.0] * 19
        return [Asked(n, BEGAN + n * STEP, BEGAN + n * STEP + each / 1e3, 0, True) for n, each in enumerate(ms)]

    for ms_later, verdict in ((1.0, "ok"), (52.0, "MISSED")):
        rows = list(failover.rows_of_start("x", asked(ms_later)))
        assert [row[3] for row in rows if row[3]] == ["ok", verdict, "ok"]
    assert rows[0][1] == "199.00 ms"


def test_a_histogram_counts_every_question_once() -> None:
    asked = [Asked(n, BEGAN, BEGAN + ms / 1e3) for n, ms in enumerate((1.0, 4.0, 60.0, 4900.0))]
    assert failover.histogram(asked) == "0-5 ms: 2, 45-100 ms: 1, 1000-10000 ms: 1; max 4900.0 ms"


def test_all_questions_are_asked_and_answers_and_events_come_in_between() -> None:
    happened = []
    with socket.socket(type=socket.SOCK_DGRAM) as upstream:
        upstream.settimeout(10)
        upstream.bind(("127.0.0.1", 0))

        def answer() -> None:
            for number in range(1, 6):
                query, client = upstream.recvfrom(512)
                happened.append(query[:2])
                upstream.sendto(reply(number, SHIFT), client)

        thread = threading.Thread(target=answer)
        thread.start()
        event = failover.Event(2.5 / failover.RATE, lambda: happened.append(b"event"))
        asked = failover.Asker(upstream.getsockname()[1]).run(4.5 / failover.RATE, [event])
        thread.join()
    assert [one for one in happened if one != b"event"] == [n.to_bytes(2, "big") for n in range(1, 6)]
    assert b"event" in happened[1:]
    assert [(one.is_right, one.shift) for one in asked] == [(True, SHIFT)] * 5


def test_what_is_not_answered_is_waited_for_no_longer_than_patience_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "PATIENCE_SECONDS", 0.02)
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        asked = failover.Asker(silent.getsockname()[1]).run(1.5 / failover.RATE, ())
    assert [one.answered for one in asked] == [None, None]
