"""kdns.server.errorlog: what is logged of names that could not be resolved outside, by the rules of their block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from kdns.observe.consolidate import ConsolidateRule
from kdns.observe.logs import Log
from kdns.server.errorlog import Errors
from kdns.wire.outside import Ask, Purpose, Source, Told
from tests.support.messages import question

FAILED = Told(1, 2, 0, b"", (0, 0, 0), source=Source.FAILURE, text="no upstream answered")
RULE = ConsolidateRule(30 * 10**9, "no upstream")
LINE = "plugin/errors: 2 www.example.net. A: no upstream answered"


class Outside:
    """Takes questions, or not, and tells of them as it is bidden."""

    def __init__(self, told: Told | None) -> None:
        self._told = told

    def ask(self, _: Ask, on_told: Callable[[Told], None], patience: float = 0) -> bool:
        if self._told is not None:
            on_told(self._told)
        return self._told is not None

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
        self, errors: Errors, told: Told | None = FAILED, group: int = 0, purpose: Purpose = Purpose.CLIENT
    ) -> bool:
        ask = Ask(1, group, question("www.example.net"), 0, False, b"\x7f\0\0\1", purpose)
        return errors.around(Outside(told)).ask(ask, self.told.append)

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
    assert stage.ask(stage.errors(()))
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


def test_a_question_that_is_not_taken_is_an_error(stage: Stage) -> None:
    assert not stage.ask(stage.errors(()), None)
    [line] = stage.logged()
    assert line.startswith("[ERROR] plugin/errors: 2 www.example.net. A: too many queries")
    assert stage.told == []


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
