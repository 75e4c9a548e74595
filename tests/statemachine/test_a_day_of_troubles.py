"""A day of simulated time, in which much goes wrong: answers follow, nothing piles up, and nobody is asked too often.

Each hour the API server restarts up to three times and is away for minutes, connections break, credentials expire;
once a backup is restored, once it is away for eight hours, and kdns itself begins anew and is reloaded. The end of
each hour is quiet: then everything must be as it should be. What must be so at any moment is checked after each turn
(tests.statemachine.referee).

HYPOTHESIS_PROFILE=thorough makes more days, of more changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from kdns.kube.backoff import MAX_DELAY
from kdns.kube.decode import ObjectDecoder
from kdns.observe.tally import Meter, Tally
from tests.statemachine.chain import Chain
from tests.statemachine.expectation import ZONE
from tests.statemachine.footprint import entries, in_modules
from tests.statemachine.referee import message, questions_about
from tests.statemachine.world import World
from tests.support.fakeapi.churn import Churn

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
CHURN_SECONDS = 2.0 if IS_THOROUGH else 30.0  # between two changes, on average
JOB_SECONDS = 200.0  # between Services under names that never come again
SEEDS = range(5) if IS_THOROUGH else range(1)

HOUR = 3600.0
BUSY_SECONDS = 3000.0  # of each hour: what goes wrong begins in them, and has passed before the hour has
OUTAGE_SECONDS_MAX = 200.0
AWAY = range(9, 17)  # the hours in which the API server is away
ROLLED_BACK = 4  # the hour of the backup
PLACE = "default"  # the only namespace that churn does not touch
ANCHOR = f"anchor.{PLACE}.svc.{ZONE}"

# What may have been left over of a day, besides what a start on the same objects has: counts by cause, remarks that
# are not repeated, denials of one length. A leak of one entry for each request, change or job is several hundred.
LEFT_OVER_ENTRIES_MAX = 250


class Day:
    """A World that is worked on all the time, and one plan for each hour."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed, verified_pods=True)
        self.rng = Random(seed)
        self.churn = Churn(self.world.cluster, self.rng)
        self.is_quiet = False
        self.jobs = 0
        self.world.put_service(PLACE, "anchor", "headless", "http")
        self.world.put_slice(PLACE, "anchor", 1, {"10.1.0.1": "ready", "10.1.0.2": "ready"}, "http")
        self.churn.fill(50, 0.0)
        self.world.wait(5.0)
        look = self.world.referee.look
        self.world.chain.after_turn = lambda: (look(), self._check_anchor())[0]
        self._again(CHURN_SECONDS, lambda: self.churn.write(self.world.now))
        self._again(JOB_SECONDS, self._job)

    def plan(self, hour: int) -> None:
        """What goes wrong in this hour, at random times of its busy part."""
        rng, world = self.rng, self.world
        kinds: list[Callable[[], None]] = [
            *[lambda: world.restart(rng.random() < 0.5)] * rng.randint(0, 3),
            lambda: world.go_down(rng.choice(("refused", "timeout", "tls")), rng.uniform(10.0, OUTAGE_SECONDS_MAX)),
            lambda: world.refuse(rng.choice(("401", "403", "429", "500", "503")), "", "any", rng.randint(1, 8)),
            lambda: world.cut(rng.choice(("reset", "eof", "stall")), "", rng.randint(-1, 3000), 2),
            rng.choice((world.sever, world.reset, lambda: world.go_silent(rng.uniform(1.0, OUTAGE_SECONDS_MAX)))),
            world.save,
        ]
        if hour % 3 == 0:
            kinds.append(lambda: world.expire(""))
        kinds += {ROLLED_BACK: [lambda: world.go_back(120.0)], 6: [lambda: world.reload(True)],
                  7: [lambda: world.restart_control(False)], 19: [lambda: world.start(True)],
                  20: [lambda: world.reload(False)], 21: [lambda: world.balance(None)]}.get(hour, [])  # fmt: skip
        for happen in kinds:
            world.chain.simulation.after(rng.uniform(0.0, BUSY_SECONDS), happen)

    def _again(self, every: float, action: Callable[[], None]) -> None:
        def act() -> None:
            if not self.is_quiet:
                action()
            self._again(every, action)

        self.world.chain.simulation.after(self.rng.expovariate(1 / every), act)

    def _job(self) -> None:
        """A Service that comes and goes."""
        self.jobs += 1
        name, world = f"job-{self.jobs}", self.world
        world.put_service(PLACE, name, self.rng.choice(("headless", "ClusterIP")), "http")
        address = f"10.{2 + self.jobs // 250}.0.{self.jobs % 250}"
        world.put_slice(PLACE, name, 1, {address: "ready"}, "http")
        world.put_pod(PLACE, name, address, "Running")
        world.chain.simulation.after(JOB_SECONDS / 2, lambda: self._end(name))

    def _end(self, name: str) -> None:
        self.world.delete_pod(PLACE, name)
        self.world.delete_slice(PLACE, f"{name}-1")
        self.world.delete_service(PLACE, name)

    def _check_anchor(self) -> None:
        worker = self.world.chain.control.worker
        if worker.has_data:
            reply = worker.served.ask(message((ANCHOR, "A")))
            assert reply is not None
            assert reply[3] & 15 == 0
            assert reply[6:8] == b"\0\2"


@dataclass
class Hour:
    """What an hour came to. entries: in what control and worker hold."""

    requests: int
    entries: int
    expected: int
    notices: int


def fresh_entries(world: World) -> int:
    """What a kdns holds that has just begun with the same cluster, and has been asked the same."""
    chain = Chain(world.cluster, world.options, Random(1), world.now)
    chain.simulation.run_until(world.now + 3.0)
    assert chain.control.mirror.is_confirmed
    worker = chain.control.worker
    for question in (*world.history.questions, *questions_about(world.referee.names_of_interest())):
        worker.served.ask(message(question), tcp=True)
    found = held_entries(chain)
    chain.simulation.sever()
    return found


def held_entries(chain: Chain) -> int:
    """Without what has a bound of its own: what decoded objects share, and where replies of each kind are counted."""
    return entries([chain.control.mirror, chain.control.worker.served.engine], without=(ObjectDecoder, Tally, Meter))


def run_hour(day: Day, hour: int) -> Hour:
    world, chain = day.world, day.world.chain
    requests, notices = chain.requests_made, len(chain.notices)
    if hour == AWAY.start:
        world.go_down("refused", len(AWAY) * HOUR - 2 * OUTAGE_SECONDS_MAX)
    elif hour not in AWAY:
        day.plan(hour)
    world.wait((hour + 1) * HOUR - 2 * OUTAGE_SECONDS_MAX - world.now)
    day.is_quiet = True
    world.wait((hour + 1) * HOUR - world.now)
    if hour not in AWAY or hour == AWAY[-1]:
        world.wait_until_current()
        world.referee.check_settled()
    day.is_quiet = False
    requests, notices = chain.requests_made - requests, len(chain.notices) - notices
    return Hour(requests, held_entries(chain), fresh_entries(world), notices)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_of_troubles_ends_as_it_began(seed: int) -> None:
    day = Day(seed)
    hours = [run_hour(day, hour) for hour in range(12)]
    in_kdns = in_modules("kdns")
    hours += [run_hour(day, hour) for hour in range(12, 24)]
    assert in_modules("kdns") <= in_kdns + LEFT_OVER_ENTRIES_MAX
    watched = len(day.world.chain.resources) + 1
    away = hours[AWAY.start : AWAY.stop - 1]
    for made in hours:
        assert made in away or made.entries <= made.expected + LEFT_OVER_ENTRIES_MAX, hours
    for made in away:
        assert made.entries <= hours[AWAY.start - 1].entries + LEFT_OVER_ENTRIES_MAX
        assert made.requests <= watched * (HOUR / MAX_DELAY + 1)
        assert made.notices <= 10
    assert max(made.requests for made in hours) <= watched * 150
    assert max(made.notices for made in hours) <= 200
