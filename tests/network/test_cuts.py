"""The way to the API server is cut: silently, loudly, or at the start; and the tests of what kdns makes of that.

Silence is found out only by TCP's keepalive, which takes half a minute. All silent cuts happen at the same time, each
to a kdns of its own, and in that half minute all the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from kdns.server.dialing import KEEPALIVE_IDLE_SECONDS
from tests.network.cuts import FORGETFUL, LASTING, Cut
from tests.network.shortcuts import STORIES
from tests.network.silence import BACK_WITHIN, CUTS, LIMIT, SLACK, Seen, watch_through
from tests.network.site import WATCHES
from tests.support.namespaces import require_namespaces

PATIENCE = 60.0  # until all silent cuts are made, on a loaded machine
Silence = dict[str, Future[Seen]]

all_cuts = pytest.mark.parametrize("name", CUTS)
lasting_cuts = pytest.mark.parametrize("name", LASTING)


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    """What is seen of the silent cuts; all are made by now."""
    require_namespaces("nft")
    cuts_made = [Event() for _ in CUTS]

    def watch(directory: Path, cut: Cut, cut_made: Event) -> Seen:
        try:
            return watch_through(directory, cut, cut_made.set)
        finally:
            cut_made.set()  # as good as made, for those who wait

    with ThreadPoolExecutor(len(CUTS)) as pool:
        futures = {
            name: pool.submit(watch, tmp_path_factory.mktemp("cut"), CUTS[name], cut_made)
            for name, cut_made in zip(CUTS, cuts_made, strict=True)
        }
        for cut_made in cuts_made:
            assert cut_made.wait(PATIENCE)
        yield futures


@pytest.fixture(scope="module")
def stories(silence: Silence, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[None]]]:
    """The others, while the silent ones wait."""
    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield {name: pool.submit(play, tmp_path_factory.mktemp("cut")) for name, play in STORIES.items()}


@pytest.mark.parametrize("name", STORIES)
def test_nothing_is_answered_wrongly_and_all_is_known_at_last(stories: dict[str, Future[None]], name: str) -> None:
    stories[name].result()


@all_cuts
def test_answers_go_on_all_the_time(silence: Silence, name: str) -> None:
    assert silence[name].result().unanswered == []


@lasting_cuts
def test_it_is_noticed_within_the_time_of_keepalive(silence: Silence, name: str) -> None:
    assert KEEPALIVE_IDLE_SECONDS < silence[name].result().noticed_after < LIMIT + SLACK


@pytest.mark.parametrize("name", FORGETFUL)
def test_a_host_that_knows_nothing_of_the_connection_is_noticed_by_the_first_keepalive(
    silence: Silence, name: str
) -> None:
    assert silence[name].result().noticed_after < KEEPALIVE_IDLE_SECONDS + SLACK


@lasting_cuts
def test_the_answers_are_said_to_be_as_old_as_the_cut_and_then_current_again(silence: Silence, name: str) -> None:
    seen = silence[name].result()
    before, noticed, after = seen.looks
    assert before.staleness == after.staleness == 0
    assert noticed.staleness > seen.noticed_after - 1


@lasting_cuts
def test_readiness_by_freshness_ends_when_it_is_noticed_and_comes_back(silence: Silence, name: str) -> None:
    assert [look.ready for look in silence[name].result().looks] == [200, 503, 200]


@all_cuts
def test_it_comes_back_soon_after_the_way_is_free(silence: Silence, name: str) -> None:
    assert silence[name].result().back_after < BACK_WITHIN


@all_cuts
def test_what_happened_in_the_cut_is_answered_after_it(silence: Silence, name: str) -> None:
    assert silence[name].result().late == ["10.96.0.2"]


@pytest.mark.parametrize("name", [*LASTING, "the API server has forgotten its connections"])
def test_watching_goes_on_from_the_last_version_and_nothing_is_listed(silence: Silence, name: str) -> None:
    requests = silence[name].result().requests
    assert {one["purpose"] for one in requests} == {"watch"}
    assert all(int(one["query"]["resourceVersion"]) > 0 for one in requests)
    assert len(requests) == WATCHES


def test_the_log_says_what_happened_and_what_it_means(silence: Silence) -> None:
    seen = silence["everything is dropped"].result()
    assert "what is known stays answered" in seen.log
    assert "watched again after" in seen.log
    assert "[ERROR]" not in seen.log
