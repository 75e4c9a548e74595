"""Hundreds of breakdowns of a cluster that is watched, with real threads and sockets: nothing of them is left.

The source is told the time, which leaps to whenever it is to be woken: no backoff is waited for. Streams for
themselves are in tests.unit.server.test_server_streams; this is about who opens and closes them.
"""

from __future__ import annotations

import gc
import os
import select
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.corefile import Kubernetes, PodMode
from kdns.kube.backoff import RESET_AFTER
from kdns.observe.status import Word
from kdns.server import streams
from kdns.server.api import ApiSource
from kdns.server.apiclient import ApiAccess, connect_to
from kdns.server.sources import schema_options
from kdns.server.status import Origin, SourceStatus
from kdns.wire.name import from_text
from tests.support.arrivals import stream_threads
from tests.support.fakeapi.builders import endpoint_slice, headless, namespace, port
from tests.support.fakeapi.faults import Cut, Fault, Reply
from tests.support.fakeapi.server import FakeApiServer

RESOURCES = 4
ROUNDS = 80
WARM_ROUNDS = 30  # until caches are full, and the interpreter has all that it will keep
PATIENCE_SECONDS = 20.0
# How long to wait before time leaps far, over the patience with a request that may be on its way; before a small
# leap, as over a backoff, hardly at all.
ANSWER_SECONDS = 0.05
FAR_SECONDS = 3.0
MOMENT_SECONDS = 0.001
# Of kdns's own memory; a stream that is not let go of has several kilobytes, and there are more than a thousand.
GROWTH_OCTETS_MAX = 64 << 10


class Turning:
    """A source, and time that passes when nothing else does."""

    def __init__(self, access: ApiAccess) -> None:
        kubernetes = Kubernetes((from_text("cluster.local"),), pods=PodMode.VERIFIED)
        self.now = time.monotonic()
        self.source = ApiSource(0, kubernetes, schema_options(kubernetes), connect_to(access), None, self.now)
        words = memoryview(bytearray(8 * len(Word))).cast("q")
        self.status = SourceStatus(Origin("cluster.local.", True), words)

    def turn(self, leaps: bool = True) -> None:
        """Take what comes soon; if nothing does, it is later."""
        is_far = self.source.wake_at > self.now + FAR_SECONDS
        ready, _, _ = select.select([self.source], [], [], ANSWER_SECONDS if is_far else MOMENT_SECONDS)
        if leaps and not ready:
            self.now = max(self.now, self.source.wake_at)
        self.source.turn(self.now, self.now)
        self.source.report(self.status)

    def until(self, is_so: Callable[[], bool], leaps: bool = True) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, self.source.progress()
            self.turn(leaps)

    @property
    def is_live(self) -> bool:
        return bool(self.status[Word.IS_SYNCED]) and self.status.stale_since_ns is None

    @property
    def asked(self) -> int:
        """Watches and lists that were begun."""
        return self.status[Word.WATCHES] + self.status[Word.LISTS]

    def break_down(self, api: FakeApiServer, number: int) -> None:
        """After some quiet time one of the ways in which all streams can end, and what follows from it."""
        before = self.asked
        self.now += RESET_AFTER
        if number % 2:
            api.control.fault(FAULTS[number // 2 % len(FAULTS)], times=RESOURCES)
        if not number % 8:
            api.control.expire()
        if not number % 10:
            api.refuse()
        if number % 3:
            api.reset_connections()
        else:
            api.control.end_watches()
        if not number % 10:
            self.turn()
            api.accept()
        self.until(lambda: self.is_live and self.asked >= before + RESOURCES)

    def until_settled(self) -> None:
        """One thread is left for each watch."""
        self.until(lambda: len(stream_threads()) == RESOURCES, leaps=False)
        assert self.is_live


FAULTS: list[Fault] = [Reply("500"), Reply("401"), Reply("410"), Reply("429"), Cut("reset", 0), Cut("eof", 300)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_hundreds_of_breakdowns_leave_no_thread_no_descriptor_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KNOCK_SECONDS", 0.005)  # threads have no part in leaps of time
    with FakeApiServer() as api:
        api.control.apply(
            namespace("shop"),
            headless("shop", "db", [port(5432)]),
            endpoint_slice("shop", "db-1", "db", ["10.0.0.1"], [port(5432)]),
        )
        turning = Turning(ApiAccess(str(api.kubeconfig(tmp_path / "kubeconfig"))))
        turning.until(lambda: turning.is_live)
        for number in range(WARM_ROUNDS):
            turning.break_down(api, number)
        turning.until_settled()
        gc.collect()
        open_before, asked_before = descriptors(), turning.asked
        tracemalloc.start()
        turning.break_down(api, 0)  # what is open now is traced, too
        turning.until_settled()
        before = tracemalloc.take_snapshot()
        for number in range(WARM_ROUNDS, ROUNDS):
            turning.break_down(api, number)
        turning.until_settled()
        gc.collect()
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
        turning.until(lambda: descriptors() <= open_before, leaps=False)
        assert turning.asked - asked_before >= (ROUNDS - WARM_ROUNDS) * RESOURCES
        ours = [tracemalloc.Filter(inclusive=True, filename_pattern="*/kdns/*")]
        grown = after.filter_traces(ours).compare_to(before.filter_traces(ours), "filename")
        assert sum(one.size_diff for one in grown) <= GROWTH_OCTETS_MAX, grown[:5]
        turning.source.close()
