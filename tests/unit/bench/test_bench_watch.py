"""What the watch benchmarks make of moments and rounds, and of an API server's words."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import outage, watch
from bench.churn import PLAN, Round, questions
from bench.churn import rows as churn_rows
from bench.driver import Measurement
from bench.stamps import Latencies, judged, percentile, told
from bench.sync import Samples
from bench.wire import TYPES, encode_query
from kdns.kube.backoff import Backoff

# Stamps


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[int], percent: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert 100 * sum(value <= found for value in ordered) >= percent * len(ordered)
    assert all(
        100 * sum(value <= lower for value in ordered) < percent * len(ordered) for lower in ordered if lower < found
    )


def test_latencies_are_told_in_milliseconds_whatever_their_order() -> None:
    nanoseconds = [1_000_000 * n for n in range(100, 0, -1)]
    assert Latencies.of(nanoseconds) == Latencies(100, 50.0, 99.0, 100.0)


def test_one_latency_is_all_of_them() -> None:
    assert Latencies.of([1_500_000]) == Latencies(1, 1.5, 1.5, 1.5)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Latencies.of([])


@pytest.mark.parametrize(("value", "verdict"), [(0.5, "ok"), (0.51, "MISSED")])
def test_a_figure_is_judged_by_its_goal(value: float, verdict: str) -> None:
    assert judged("p50", value, 0.5, "ms") == ("p50", f"{value:.2f} ms", "<= 0.50", verdict)


def test_a_figure_without_a_goal_is_not_judged() -> None:
    assert told("rate", "100") == ("rate", "100", "", "")


# Churn


def _measured(p99_us: float, lost: int = 0) -> Measurement:
    return Measurement(5.0, 50.0, 1000.0, 100.0, p99_us, lost, 0, 0.0, 100.0, 10.0, 1.0)


def test_churn_is_judged_by_the_median_of_the_ratios_within_each_round() -> None:
    pairs = ((1, 9), (100, 150), (50, 60))
    rounds = [Round(_measured(idle), _measured(with_churn), 100) for idle, with_churn in pairs]
    rows = {row[0]: row for row in churn_rows(rounds, 1000)}
    assert rows["p99 with churn over idle, median of rounds"][1:] == ("1.50 x", "<= 2.00", "ok")
    assert rows["the rounds"][1] == "9.00, 1.50, 1.20"


def test_one_lost_query_misses_the_goal() -> None:
    rows = {row[0]: row for row in churn_rows([Round(_measured(10), _measured(10, lost=1), 100)], 1000)}
    assert rows["queries lost"][3] == watch.MISSED


def test_the_questions_are_about_what_there_is_and_the_same_for_the_same_seed() -> None:
    lines = list(questions(PLAN, 500, seed=3))
    assert lines == list(questions(PLAN, 500, seed=3))
    assert {line.split()[1] for line in lines} == {"A", "AAAA", "PTR"}
    for line in lines:
        name, rtype = line.split()
        assert rtype in TYPES
        assert len(encode_query(name, rtype, 1)) > 12
        assert name.endswith((".svc.cluster.local", ".in-addr.arpa"))


# Sync


def test_a_peak_is_that_of_the_time_that_is_asked_for() -> None:
    samples = Samples([(1.0, 10), (2.0, 30), (3.0, 20)])
    assert (samples.peak(), samples.peak(until=1.5), samples.peak(since=2.5)) == (30, 10, 20)
    assert samples.peak(since=4.0) == 0


# Outage


@given(st.integers(0, 2**32))
def test_no_backoff_makes_more_requests_than_the_bound(seed: int) -> None:
    backoff, now, count = Backoff(random.Random(seed)), 0.0, 1
    while (now := now + backoff.next_delay(now)) < outage.HOUR:
        count += 1
    assert count <= outage.requests_bound(outage.HOUR)


@pytest.mark.parametrize("name", outage.FAILURES)
def test_an_hour_of_any_failure_is_simulated_within_the_bound_and_the_same_for_the_same_seed(name: str) -> None:
    hour = outage.simulated(outage.FAILURES[name], outage.HOUR, seed=5)
    assert 3 * 60 < hour.requests <= 3 * outage.requests_bound(outage.HOUR)
    assert hour == outage.simulated(outage.FAILURES[name], outage.HOUR, seed=5)
    assert 1 <= hour.most_in_a_minute <= outage.requests_bound(60.0)


# The command


def test_all_sections_run_unless_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def section(name: str) -> object:
        return lambda *_: ran.append(name) or [judged(name, 1, 1, "")]

    monkeypatch.setattr(watch, "SECTIONS", {name: section(name) for name in ("one", "two")})
    monkeypatch.setattr(watch.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("sys.argv", ["watch"])
    assert (watch.main(), ran) == (0, ["one", "two"])
    monkeypatch.setattr("sys.argv", ["watch", "--only", "two"])
    assert (watch.main(), ran) == (0, ["one", "two", "two"])


def test_the_exit_status_tells_of_a_goal_that_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SECTIONS", {"one": lambda *_: [judged("a", 2, 1, ""), told("b", "c")]})
    monkeypatch.setattr(watch.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("sys.argv", ["watch"])
    assert watch.main() == 1


def test_one_core_is_not_enough(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(watch.os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr("sys.argv", ["watch"])
    assert watch.main() == 2
    assert "two cores are needed" in capsys.readouterr().err


def test_the_sections_are_those_of_the_readme() -> None:
    text = (Path(watch.__file__).parent / "README.md").read_text()
    assert all(f"`{name}`" in text for name in watch.SECTIONS)
    assert json.dumps(sorted(watch.SECTIONS)) == '["churn", "freshness", "outage", "sync"]'
