"""Whatever a reflector is told, in any order: it never raises, never goes back, and always knows what is next."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kdns.kube.backoff import MAX_DELAY
from kdns.kube.ledger import is_behind
from kdns.kube.reflector import Resume
from kdns.kube.refusals import RETRY_AFTER_MAX
from kdns.kube.request import Failure, Fault, Outcome
from tests.unit.kube.reflecting import (
    EXPIRED,
    SERVICES,
    Driven,
    added,
    bookmark,
    deleted,
    end_bookmark,
    error,
    lines,
    modified,
    page,
    recorded,
    service_keys,
    service_object,
)

NAMES = st.sampled_from("abc")
VERSIONS = st.integers(1, 300)
EVENTS = st.one_of(
    st.builds(added, NAMES, VERSIONS),
    st.builds(modified, NAMES, VERSIONS),
    st.builds(deleted, NAMES, VERSIONS),
    st.builds(bookmark, VERSIONS),
    st.builds(end_bookmark, VERSIONS),
    st.builds(error, st.sampled_from([0, 403, 410, 429, 500, 504]), st.sampled_from(["", "Gone", "Timeout"])),
    st.just(EXPIRED),
    st.sampled_from([b"{}", b"{", b"[]", b"\xff", b'{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":1}}']),
)
PAGES = st.builds(
    lambda version, names, token: page(version, *(service_object(name, version) for name in names), token=token),
    VERSIONS,
    st.lists(NAMES, max_size=3),
    st.sampled_from(["", "", "next", "more"]),
)
BODIES = st.one_of(
    st.lists(EVENTS, max_size=6).map(lambda events: lines(*events)),
    PAGES,
    st.binary(max_size=30),
    st.sampled_from([recorded(name).body for name in ("watchlist_gate_off", "list_forbidden", "list_continue_410")]),
)
STATUSES = st.sampled_from([200, 200, 200, 302, 400, 401, 403, 404, 410, 422, 429, 500, 504])
RETRY_AFTER = st.sampled_from(["", "1", "7", "9999", "soon"])


class AnyInputs(RuleBasedStateMachine):
    """Tells a reflector anything; most of it of the current request."""

    @initialize(version=st.sampled_from([None, "", "150", "abc"]), seed=st.integers(0, 9))
    def begin(self, version: str | None, seed: int) -> None:
        resume = None if version is None else Resume(version, service_keys("a", "z"), 5.0)
        self.driven = Driven(SERVICES, resume, seed)
        self.version = self.driven.reflector.resource_version
        self.rollbacks = 0
        self.number = 1
        self.was_synced = self.driven.reflector.is_synced

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 20.0, 120.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.driven.now += seconds

    @rule(behind=st.integers(0, 2), status=STATUSES, retry_after=RETRY_AFTER)
    def opened(self, behind: int, status: int, retry_after: str) -> None:
        driven = self.driven
        self._check(driven.reflector.opened(driven.number - behind, status, {"retry-after": retry_after}, driven.now))

    @rule(behind=st.sampled_from([0, 0, 0, 1]), body=BODIES)
    def received(self, behind: int, body: bytes) -> None:
        self._check(self.driven.reflector.received(self.driven.number - behind, body, self.driven.now))

    @rule(behind=st.sampled_from([0, 0, 0, 1]))
    def ended(self, behind: int) -> None:
        self._check(self.driven.reflector.ended(self.driven.number - behind, self.driven.now))

    @rule(behind=st.sampled_from([0, 0, 0, 1]), fault=st.sampled_from(Fault))
    def failed(self, behind: int, fault: Fault) -> None:
        failure = Failure(fault, "why")
        self._check(self.driven.reflector.failed(self.driven.number - behind, failure, self.driven.now))

    @rule(status=STATUSES, body=BODIES)
    def answered(self, status: int, body: bytes) -> None:
        self._check(self.driven.answer(body, status))

    @rule()
    def woken(self) -> None:
        self._check(self.driven.reflector.wake(self.driven.now))
        assert self.driven.reflector.wake_at > self.driven.now, "it would be woken again and again"

    def _check(self, outcome: Outcome) -> None:
        reflector = self.driven.reflector
        assert not outcome.synced or reflector.is_synced
        if reflector.statistics.rollbacks == self.rollbacks:
            assert not is_behind(reflector.resource_version, self.version)
            assert reflector.resource_version or not self.version
        self.rollbacks, self.version = reflector.statistics.rollbacks, reflector.resource_version
        assert reflector.request.number >= self.number
        if reflector.request.number > self.number:
            assert reflector.request.due <= self.driven.now + max(2 * MAX_DELAY, RETRY_AFTER_MAX)
        self.number = reflector.request.number

    @invariant()
    def it_knows_what_is_next(self) -> None:
        reflector = self.driven.reflector
        assert reflector.request.path == "/api/v1/services"
        assert not math.isnan(reflector.wake_at)
        assert reflector.wake_at < math.inf

    @invariant()
    def what_was_known_wholly_stays_so(self) -> None:
        reflector = self.driven.reflector
        assert reflector.is_synced or not self.was_synced
        assert reflector.is_synced or not (reflector.is_live or reflector.is_confirmed)
        assert reflector.is_synced or not reflector.resource_version
        self.was_synced = reflector.is_synced

    @invariant()
    def a_watch_has_a_version_and_a_list_has_none(self) -> None:
        driven = self.driven
        if driven.purpose == "watch":
            assert driven.query["resourceVersion"]
        else:
            assert "resourceVersion" not in driven.query


AnyInputs.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyInputs = AnyInputs.TestCase
