"""Whatever happens to a cluster, its API server, the network and kdns, and in whatever order: nothing that stands is
ever denied, and once all is well the answers are those of the cluster.

The whole of kdns but for its sockets, over simulated time. What must be so is in tests.statemachine.referee, what may
happen in tests.statemachine.world; what was found so stands in tests.statemachine.test_sequences.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.statemachine.world import CONDITIONS, PORTS, SERVICES, World
from tests.support.fakeapi.faults import REPLIES, TWISTS
from tests.support.fakeapi.resources import TYPES

Call = tuple[str, tuple[Any, ...]]  # of a method of World

PLACES = st.sampled_from(["shop", "shop", "data"])
NAMES = st.sampled_from(["web", "db"])
SLICES = st.sampled_from([f"{name}-{number}" for name in ("web", "db") for number in (1, 2)])
# Few, so that they meet again.
ADDRESSES = st.sampled_from([f"10.0.0.{last}" for last in range(1, 6)])
ADDRESSES_6 = st.sampled_from(["fd00::1", "fd00::2"])
HOW = st.sampled_from(["ready", "ready", *CONDITIONS])
HOSTS = st.dictionaries(ADDRESSES, HOW, max_size=3) | st.dictionaries(ADDRESSES_6, HOW, min_size=1)
PORT_SETS = st.sampled_from(sorted(PORTS))
RESOURCES = st.sampled_from([*TYPES, ""])
TIMES = st.integers(1, 4)
# Shorter than a latency; within what is held; around idle limits and backoffs; as long as a watch.
SPANS = st.sampled_from([0.0, 0.004, 0.03, 0.2, 0.6, 2.0, 6.0, 35.0, 100.0, 400.0])
WHILES = st.sampled_from([0.5, 5.0, 50.0, 500.0])


def call(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.tuples(st.just(method), st.tuples(*arguments))


ENDPOINTS = st.one_of(
    call("put_slice", PLACES, NAMES, st.integers(1, 2), HOSTS, PORT_SETS, st.sampled_from(["", "", "a"])),
    call("turn_endpoints", PLACES, SLICES, HOW),
    call("move_endpoints", PLACES, NAMES, st.booleans(), st.booleans(), st.sampled_from([0.0, 0.01, 0.3])),
    call("relabel_slice", PLACES, SLICES, NAMES),
    call("delete_slice", PLACES, SLICES),
)
OBJECTS = st.one_of(
    call("put_service", PLACES, NAMES, st.sampled_from(["headless", *SERVICES]), PORT_SETS),
    call("delete_service", PLACES, NAMES),
    call("put_namespace", PLACES),
    call("delete_namespace", PLACES),
    call("put_pod", PLACES, NAMES, ADDRESSES, st.sampled_from(["Running", "Pending", "Failed"])),
    call("delete_pod", PLACES, NAMES),
    call("burst", PLACES, NAMES),
)
FAULTS = st.one_of(
    call("refuse", st.sampled_from(sorted(REPLIES)), RESOURCES,
         st.sampled_from(["any", "list", "watch", "watchlist"]), TIMES),
    call("cut", st.sampled_from(["reset", "eof", "half-close", "stall"]), RESOURCES,
         st.sampled_from([-1, 0, 10, 700, 3000]), TIMES),
    call("send_odd_lines", st.sampled_from(sorted({*TWISTS} - {"huge"})), RESOURCES, TIMES),
    call("end_watches", RESOURCES, st.booleans()),
    call("reset"),
    call("sever"),
)  # fmt: skip
OUTAGES = st.one_of(
    call("go_down", st.sampled_from(["refused", "unreachable", "timeout", "tls", "credentials"]), WHILES),
    call("go_silent", WHILES),
    call("restart", st.booleans()),
    call("expire", RESOURCES),
    call("revoke", st.sampled_from([*TYPES]), WHILES),
    call("change_watch_lists", st.sampled_from(["refused", "error", "ignored", "endless"]), WHILES),
    call("stop_bookmarks", WHILES),
    call("balance", st.sampled_from([0, 1, None])),
    call("go_back", WHILES),
)
OURS = st.one_of(
    call("save"),
    call("start", st.booleans()),
    call("restart_control", st.booleans()),
    call("reload", st.booleans()),
    call("move_to_another_cluster"),
)


class FollowedCluster(RuleBasedStateMachine):
    """Something happens, and time passes, again and again."""

    @initialize(seed=st.integers(0, 99), verified_pods=st.booleans(), terminating=st.booleans(), seconds=SPANS)
    def begin(self, seed: int, verified_pods: bool, terminating: bool, seconds: float) -> None:
        self.world = World(seed, verified_pods, terminating)
        self.world.fill()
        self.world.wait(seconds)

    @rule(what=ENDPOINTS | ENDPOINTS | OBJECTS | FAULTS | OUTAGES | OURS, seconds=SPANS)
    def happens(self, what: Call, seconds: float) -> None:
        method, arguments = what
        getattr(self.world, method)(*arguments)
        self.world.referee.check_all()
        self.world.wait(seconds)
        self.world.check_requests()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


FollowedCluster.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 2, stateful_step_count=40, deadline=None
)
TestFollowedCluster = FollowedCluster.TestCase
