"""kdns.server.errorlog: what is logged of names that could not be resolved outside, by the rules of their block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from kdns.observe.consolidate import ConsolidateRule
from kdns.observe.logs import Log
from kdns.server.errorlog import Errors
from kdns.wire.outside import Ask, Purpose, Source, Told, Unasked, unasked
from tests.support.messages import question

FAILED = Told(1, 2, 0, b"", (0, 0, 0), source=Source.FAILURE, text="no upstream answered")
RULE = ConsolidateRule(30 * 10**9, "no upstream")
LINE = "plugin/errors: 2 www.example.net. A: no upstream answered"


class Outside:
    """Takes questions, or not, and tells of them as it is bidden."""

    def __init__(self, told: Told, refusal: Told | None = None) -> None:
        self._told = told
        self._refusal = refusal

    def refusal(self, _: Ask) -> Told | None:
        return self._refusal

    def ask(self, _: Ask, on_told: Callable[[Told], None], patience: float = 0) -> None:
        on_told(self._told)

    def when_told(self, callback: Callable[[], None]) -> None:
        callback()


class Stage:
    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self.now = 100.0
        self.told: list[Told] = []

    def errors(self, *rules: tuple[ConsolidateRule, ...] | None, is_debugging: bool = False) -> Errors:
        return Errors(rules, Log(self._writer), is_debugging, lambda: self.now)

    def ask(
        self, errors: Errors, told: Told = FAILED, group: int = 0, purpose: Purpose = Purpose.CLIENT,
        refusal: Told | None = None,
    ) -> None:
        ask = Ask(1, group, question("www.example.net"), 0, False, b"\x7f\0\0\1", purpose)
        outside = errors.around(Outside(told, refusal))
        assert outside.refusal(ask) == refusal
        if refusal is None:
            outside.ask(ask, self.told.append)

    def shed(self, errors: Errors, *reasons: Unasked, group: int = 0) -> list[str]:
        """What is logged of questions that are shed for these reasons, in this order."""
        for reason in reasons:
            self.ask(errors, group=group, refusal=unasked(reason))
        return [line.removeprefix("[ERROR] plugin/errors: 2 www.example.net. A: ") for line in self.logged()]

    def logged(self) -> list[str]:
        os.write(self._writer, b"\n")
        return os.read(self._reader, 65536).decode().splitlines()[:-1]

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def test_a_failure_is_logged_and_told(stage: Stage) -> None:
    stage.ask(stage.errors(()))
    assert stage.told == [FAILED]
    assert stage.logged() == [f"[ERROR] {LINE}"]


def test_a_block_without_errors_logs_none(stage: Stage) -> None:
    errors = stage.errors(None, ())
    stage.ask(errors, group=0)
    assert stage.logged() == []
    stage.ask(errors, group=1)
    assert stage.logged() == [f"[ERROR] {LINE}"]


def test_where_nobody_logs_nothing_is_put_in_between(stage: Stage) -> None:
    outside = Outside(FAILED)
    assert stage.errors(None, None).around(outside) is outside
    assert stage.errors().around(outside) is outside


@pytest.mark.parametrize(
    ("told", "purpose"),
    [
        (Told(1, 2, 0, b"", (0, 0, 0), source=Source.FAILURE), Purpose.CLIENT),  # an upstream's own words
        (Told(1, 3, 0, b"", (0, 0, 0)), Purpose.CLIENT),
        (FAILED, Purpose.PREFETCH),
    ],
)
def test_what_is_no_error_is_not_logged(stage: Stage, told: Told, purpose: Purpose) -> None:
    stage.ask(stage.errors(()), told, purpose=purpose)
    assert stage.logged() == []
    assert stage.told == [told]


def test_a_question_that_is_refused_is_an_error(stage: Stage) -> None:
    stage.ask(stage.errors(()), refusal=unasked(Unasked.CLIENT))
    assert stage.logged() == ["[ERROR] plugin/errors: 2 www.example.net. A: too many queries of this client"]
    assert stage.told == []


def test_of_what_is_shed_each_block_has_one_line_a_second_for_each_reason(stage: Stage) -> None:
    errors = stage.errors((), ())
    client, died = Unasked.CLIENT, Unasked.DIED
    assert stage.shed(errors, client, client, died, client) == [client.value, died.value]
    assert stage.shed(errors, client, group=1) == [client.value]
    stage.now += 0.99
    assert stage.shed(errors, client, died) == []
    stage.now += 0.01
    assert stage.shed(errors, client, client, died) == [
        f"{client.value} (3 more since the last line)",
        f"{died.value} (1 more since the last line)",
    ]
    stage.now += 1
    assert stage.shed(errors, client, died) == [f"{client.value} (1 more since the last line)", died.value]


def test_what_the_forwarder_shed_counts_with_what_its_worker_did(stage: Stage) -> None:
    errors = stage.errors(())
    for _ in range(2):
        stage.ask(errors, unasked(Unasked.CLIENT, 1))
    assert stage.shed(errors, Unasked.CLIENT) == [Unasked.CLIENT.value]


def test_an_upstream_that_uses_the_same_code_is_told_of_each_time(stage: Stage) -> None:
    errors, theirs = stage.errors(()), Told(1, 2, 0, b"", (0, 0, 0), source=Source.FAILURE, ede=23, text="theirs")
    for _ in range(3):
        stage.ask(errors, theirs)
    assert len(stage.logged()) == 3


def test_a_rule_that_wants_what_was_shed_counts_all_of_it(stage: Stage) -> None:
    errors = stage.errors((ConsolidateRule(30 * 10**9, "^too many queries"),))
    assert stage.shed(errors, *[Unasked.FULL] * 5) == []
    errors.finish()
    assert stage.logged() == ["[ERROR] plugin/errors: 5 errors like '^too many queries' occurred in last 30s"]


def test_many_alike_are_one_line_when_their_time_is_over(stage: Stage) -> None:
    errors = stage.errors((RULE,))
    for _ in range(3):
        stage.ask(errors)
    errors.tick()
    assert stage.logged() == []
    stage.now += 30
    errors.tick()
    errors.tick()
    assert stage.logged() == ["[ERROR] plugin/errors: 3 errors like 'no upstream' occurred in last 30s"]


def test_at_the_end_what_is_counted_is_told(stage: Stage) -> None:
    errors = stage.errors((RULE,))
    stage.ask(errors)
    errors.finish()
    assert stage.logged() == ["[ERROR] plugin/errors: 1 errors like 'no upstream' occurred in last 30s"]


@pytest.mark.parametrize("is_debugging", [False, True])
def test_what_is_for_who_looks_for_a_fault_is_told_to_nobody_else(stage: Stage, is_debugging: bool) -> None:
    rule = ConsolidateRule(30 * 10**9, "upstream", "debug", True)
    stage.ask(stage.errors((rule,), is_debugging=is_debugging))
    assert stage.logged() == ([f"[DEBUG] {LINE}"] if is_debugging else [])
