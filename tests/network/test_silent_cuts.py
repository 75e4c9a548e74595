"""The way to the API server is cut, and nobody is told: no FIN, no RST, no ICMP.

A watch only listens, so that nothing but TCP's keepalive finds out. All cuts happen at the same time, each to a kdns
of its own, once for all tests; what was seen of each is told of below.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kdns.server.dialing import KEEPALIVE_COUNT, KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS
from tests.network.cuts import FORGETFUL, LASTING, Cut, mend
from tests.network.site import WATCHES, Site
from tests.support.namespaces import require_namespaces

LIMIT = KEEPALIVE_IDLE_SECONDS + KEEPALIVE_COUNT * KEEPALIVE_INTERVAL_SECONDS
SLACK = 5.0  # for the kernel's timers, and for a machine that does all this at once
# After that the next attempt comes within 1.6 s, and if that was too early, it has 5 s and the one after it 3.2 s.
BACK_WITHIN = 15.0
FRESH_SECONDS = 5.0  # data that is older ends readiness
CUTS = LASTING | FORGETFUL

all_cuts = pytest.mark.parametrize("name", CUTS)
lasting_cuts = pytest.mark.parametrize("name", LASTING)


@dataclass
class Look:
    """What kdns says of itself at one time."""

    staleness: float
    ready: int


@dataclass
class Seen:
    """What was seen of one cut. Times in seconds. requests: what the API server was asked for since it."""

    looks: list[Look] = field(default_factory=list)  # before it, in it if it lasts, and after it
    noticed_after: float = 0.0
    back_after: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # addresses of a Service made in the cut, when it was over
    log: str = ""


def _watch_through(directory: Path, cut: Cut) -> Seen:
    seen = Seen()
    with Site(directory) as site:
        site.serve("--ready-when", f"fresh={FRESH_SECONDS:g}s")
        site.wait_until_current()
        seen.looks.append(_look(site))
        site.ask_steadily()
        site.api.control.forget_requests()
        mark, began = site.server.mark(), time.monotonic()
        cut.make(site)
        site.api.control.apply(site.web("late", "10.96.0.2"))
        site.server.wait_for("; what is known stays answered", after=mark, patience=LIMIT + SLACK)
        seen.noticed_after = time.monotonic() - began
        if cut.mend is not None:
            site.wait_until(lambda: site.staleness() > 0)
            seen.looks.append(_look(site))
        mend(cut, site)
        mended = time.monotonic()
        site.wait_until_current(BACK_WITHIN)
        seen.back_after = time.monotonic() - mended
        site.wait_for_address("late", "10.96.0.2")
        seen.late = site.addresses("late")
        site.wait_until(lambda: site.get("/ready")[0] == 200)
        seen.looks.append(_look(site))
        seen.requests, seen.unanswered, seen.log = site.api.control.requests(), site.unanswered, site.server.log
    return seen


def _look(site: Site) -> Look:
    return Look(site.staleness(), site.get("/ready")[0])


Stories = dict[str, Future[Seen]]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    require_namespaces("nft")
    with ThreadPoolExecutor(len(CUTS)) as pool:
        yield {name: pool.submit(_watch_through, tmp_path_factory.mktemp("cut"), cut) for name, cut in CUTS.items()}


@all_cuts
def test_answers_go_on_all_the_time(stories: Stories, name: str) -> None:
    assert stories[name].result().unanswered == []


@lasting_cuts
def test_it_is_noticed_within_the_time_of_keepalive(stories: Stories, name: str) -> None:
    assert KEEPALIVE_IDLE_SECONDS < stories[name].result().noticed_after < LIMIT + SLACK


@pytest.mark.parametrize("name", FORGETFUL)
def test_a_host_that_knows_nothing_of_the_connection_is_noticed_by_the_first_keepalive(
    stories: Stories, name: str
) -> None:
    assert stories[name].result().noticed_after < KEEPALIVE_IDLE_SECONDS + SLACK


@lasting_cuts
def test_the_answers_are_said_to_be_as_old_as_the_cut_and_then_current_again(stories: Stories, name: str) -> None:
    seen = stories[name].result()
    before, noticed, after = seen.looks
    assert before.staleness == after.staleness == 0
    assert noticed.staleness > seen.noticed_after - 1


@lasting_cuts
def test_readiness_by_freshness_ends_when_it_is_noticed_and_comes_back(stories: Stories, name: str) -> None:
    assert [look.ready for look in stories[name].result().looks] == [200, 503, 200]


@all_cuts
def test_it_comes_back_soon_after_the_way_is_free(stories: Stories, name: str) -> None:
    assert stories[name].result().back_after < BACK_WITHIN


@all_cuts
def test_what_happened_in_the_cut_is_answered_after_it(stories: Stories, name: str) -> None:
    assert stories[name].result().late == ["10.96.0.2"]


@pytest.mark.parametrize("name", [*LASTING, "the API server has forgotten its connections"])
def test_watching_goes_on_from_the_last_version_and_nothing_is_listed(stories: Stories, name: str) -> None:
    requests = stories[name].result().requests
    assert {one["purpose"] for one in requests} == {"watch"}
    assert all(int(one["query"]["resourceVersion"]) > 0 for one in requests)
    assert len(requests) == WATCHES


def test_the_log_says_what_happened_and_what_it_means(stories: Stories) -> None:
    seen = stories["everything is dropped"].result()
    assert "what is known stays answered" in seen.log
    assert "watched again after" in seen.log
    assert "[ERROR]" not in seen.log
